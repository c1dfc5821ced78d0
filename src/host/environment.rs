//! What the environment allows: kernels, containers and sandboxes refuse different things.

use serde::{Deserialize, Serialize};

use super::cpu::is_pinned;

/// What the environment of a template allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Address-space randomisation is on, because `personality` was refused: addresses differ
    /// from run to run.
    pub aslr: bool,
    /// The template runs on one CPU.
    pub pinned: bool,
    /// A seccomp filter may raise a signal: calls with a simulated descriptor that pass the doors
    /// are trapped.
    pub seccomp: bool,
    /// Syscall user dispatch is there: raw system calls reach the doors.
    pub dispatch: bool,
    /// What a child says on its standard error before it dies can be kept or shown.
    pub last_words: bool,
}

impl Environment {
    /// Looks around. Changes nothing.
    pub(crate) fn observe(last_words: bool) -> Self {
        Self {
            aslr: has_aslr(),
            pinned: is_pinned(),
            seccomp: has_seccomp(),
            dispatch: has_dispatch(),
            last_words,
        }
    }

    /// What is missing, one line each; none if nothing is.
    pub fn notices(&self) -> Vec<String> {
        let missing = [
            (self.aslr, "personality is refused: addresses differ from run to run (aslr=on)"),
            (!self.seccomp, "seccomp is refused: a call that passes the doors is not trapped"),
            (!self.dispatch, "syscall user dispatch is refused: raw system calls pass the doors"),
            (!self.last_words, "memfd_create is refused: the last words of an abort are lost"),
            (!self.pinned, "no CPU is free: not pinned, runs are slower"),
        ];
        missing.into_iter().filter(|(is, _)| *is).map(|(_, line)| line.to_owned()).collect()
    }
}

fn has_aslr() -> bool {
    /// Asks for the personality without a change of it.
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: asks for a number.
    let persona = unsafe { libc::personality(ASK) };
    persona < 0 || persona & libc::ADDR_NO_RANDOMIZE == 0
}

fn has_seccomp() -> bool {
    let action: u32 = libc::SECCOMP_RET_TRAP;
    // SAFETY: asks whether an action is known, and reads one number.
    let known = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    known == 0
}

fn has_dispatch() -> bool {
    const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
    // SAFETY: switches off what is off, which fails where it is not known.
    unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_said_in_one_line() {
        let all = Environment {
            aslr: false,
            pinned: true,
            seccomp: true,
            dispatch: true,
            last_words: true,
        };
        assert!(all.notices().is_empty());
        let none = Environment {
            aslr: true,
            pinned: false,
            seccomp: false,
            dispatch: false,
            last_words: false,
        };
        let notices = none.notices();
        assert_eq!(notices.len(), 5);
        assert!(notices.iter().all(|line| !line.contains('\n')));
    }
}
