//! The engine's actions for the signals of faults, whose handler is the harness's.

use std::ffi::{c_int, c_void};

/// The signals of a fault that the harness handles first.
pub(crate) const FAULTS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// An action as rt_sigaction(2) takes it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Action {
    pub(crate) handler: usize,
    pub(crate) flags: u64,
    pub(crate) restorer: usize,
    pub(crate) mask: u64,
}

/// The actions for [`FAULTS`]. At first each is the default.
#[derive(Default)]
pub(crate) struct Actions([Action; FAULTS.len()]);

impl Actions {
    /// Sets the action for a fault, if there is a new one; returns the one before.
    pub(crate) fn replace(&mut self, signal: c_int, new: Option<Action>) -> Action {
        let Some(at) = FAULTS.iter().position(|&fault| fault == signal) else {
            return Action::default();
        };
        let before = self.0[at];
        self.0[at] = new.unwrap_or(before);
        before
    }

    /// The engine's handler for a fault, which is due now; `None` if it has none.
    pub(crate) fn take_handler(&mut self, signal: c_int) -> Option<Handler> {
        let action = self.replace(signal, None);
        if matches!(action.handler, libc::SIG_DFL | libc::SIG_IGN) {
            return None;
        }
        if action.flags & SA_RESETHAND != 0 {
            self.replace(signal, Some(Action::default()));
        }
        Some(Handler(action))
    }
}

const SA_RESETHAND: u64 = libc::SA_RESETHAND as u32 as u64;
const SA_SIGINFO: u64 = libc::SA_SIGINFO as u64;

/// A handler of the engine.
pub(crate) struct Handler(Action);

impl Handler {
    /// Calls it.
    ///
    /// # Safety
    /// The arguments are those that the kernel passed to a handler of this process with SA_SIGINFO.
    pub(crate) unsafe fn call(
        &self,
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
    ) {
        type Full = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        type Plain = extern "C" fn(c_int);
        let handler = std::ptr::with_exposed_provenance::<c_void>(self.0.handler);
        // SAFETY: the engine gave sigaction(2) this function for its signal; its type follows from
        // the flag.
        unsafe {
            if self.0.flags & SA_SIGINFO != 0 {
                std::mem::transmute::<*const c_void, Full>(handler)(signal, info, context);
            } else {
                std::mem::transmute::<*const c_void, Plain>(handler)(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_due_until_it_is_reset() {
        let mut actions = Actions::default();
        assert!(actions.take_handler(libc::SIGSEGV).is_none());
        let once = Action { handler: 0x1000, flags: SA_RESETHAND, ..Action::default() };
        assert_eq!(actions.replace(libc::SIGSEGV, Some(once)).handler, libc::SIG_DFL);
        assert_eq!(actions.replace(libc::SIGSEGV, None).handler, 0x1000);
        assert!(actions.take_handler(libc::SIGBUS).is_none());
        assert!(actions.take_handler(libc::SIGSEGV).is_some());
        assert!(actions.take_handler(libc::SIGSEGV).is_none(), "it was for one fault");
    }
}
