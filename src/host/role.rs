//! The role of this process: whether it can be a fork server, and whether it is one.

use std::sync::atomic::{AtomicBool, Ordering};

/// The environment variable that makes a process a fork server. Its value is the number of the
/// descriptor that the client is at the other end of.
pub(crate) const VARIABLE: &str = "CRASHPOINT_TEMPLATE";

/// Makes the dynamic loader bind all calls between libraries at once: otherwise each child would
/// bind the calls that it makes. The fork server drops it from its environment.
pub(crate) const BIND: &str = "LD_BIND_NOW";

/// Settings of the C library: it does without restartable sequences, in whose memory the kernel
/// shows each thread the number of its processor. The fork server drops it from its environment.
pub(crate) const TUNABLES: &str = "GLIBC_TUNABLES";

/// Where the dynamic loader finds libraries that the binary cannot start without. The fork server
/// drops it from its environment.
pub(crate) const LIBRARIES: &str = "LD_LIBRARY_PATH";

static LINKED: AtomicBool = AtomicBool::new(false);
static FORK_SERVER: AtomicBool = AtomicBool::new(false);

/// Notes that this process came in through our `__libc_start_main`, and whether it is a fork
/// server.
pub(super) fn set(fork_server: bool) {
    LINKED.store(true, Ordering::Relaxed);
    FORK_SERVER.store(fork_server, Ordering::Relaxed);
}

/// Whether this process came in through our `__libc_start_main`. If not, the linker took another
/// one, and the binary must never be started again as a fork server: it would run its own `main`.
pub(crate) fn is_linked() -> bool {
    LINKED.load(Ordering::Relaxed)
}

/// Whether this process is a fork server, or was forked from one.
pub(crate) fn is_fork_server() -> bool {
    FORK_SERVER.load(Ordering::Relaxed)
}
