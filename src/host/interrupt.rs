//! An interrupt: a person or a scheduler asks this process to end, and the jobs under way end at
//! once, so that what they found so far can be shown.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

/// The signal that asked, and the channels to fork servers.
static STATE: Mutex<(Option<c_int>, BTreeSet<RawFd>)> = Mutex::new((None, BTreeSet::new()));

/// The signal that asked this process to end, if one did.
pub(crate) fn requested() -> Option<c_int> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).0
}

/// Ends every job under way, and every later one; its fork server ends, too.
#[cfg_attr(not(feature = "command"), expect(dead_code, reason = "only the command is interrupted"))]
pub(crate) fn request(signal: c_int) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.0 = Some(signal);
    state.1.iter().for_each(|&fd| shut(fd));
}

/// The channel to a fork server, as long as it is open.
pub(crate) struct Registered(RawFd);

impl Registered {
    /// Registers a channel that stays open until this is dropped.
    pub(crate) fn new(fd: RawFd) -> Self {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.insert(fd);
        if state.0.is_some() {
            shut(fd);
        }
        Self(fd)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        STATE.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.0);
    }
}

fn shut(fd: RawFd) {
    // SAFETY: the descriptor is a socket that is open: its owner drops its `Registered`, which
    // waits for the lock that the caller holds, before it closes it.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}
