//! The door of signals.

use std::ffi::c_int;

use libc::pid_t;

use crate::process::seam;
use crate::process::seam::kernel::set_errno;
use crate::process::world;
use crate::process::world::door::Door;

use super::doors;

doors! {
    fn kill(pid: pid_t, signal: c_int) -> c_int = signal;
}

/// Passes on a signal that the engine sends to itself, or to a group. The simulated machine has no
/// other process: a stored id of an earlier epoch leads to none.
fn signal(_: &'static Door, pid: pid_t, signal: c_int) -> Option<c_int> {
    let own = world::enter(|world| world.pid)?;
    if pid != own && pid > 0 {
        set_errno(libc::ESRCH);
        return Some(-1);
    }
    let _harness = seam::harness();
    // SAFETY: kill(2) has no precondition; on the harness's side `getpid` is the kernel's.
    Some(unsafe { libc::kill(if pid == own { libc::getpid() } else { pid }, signal) })
}
