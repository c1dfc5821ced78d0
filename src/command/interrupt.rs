//! Signals that ask the command to end: the first one lets it show what it found.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Exit;
use crate::campaign::problem::Problem;
use crate::host::interrupt;

/// From now on the first Ctrl-C or SIGTERM ends the jobs under way, and the second the process.
#[expect(clippy::disallowed_methods, reason = "the thread waits for signals, and runs no engine")]
pub(super) fn install() -> Result<(), Problem> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Problem::environment)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if interrupt::requested().is_some() {
                std::process::exit(128 + signal);
            }
            interrupt::request(signal);
        }
    });
    Ok(())
}

/// The exit code of a command that a signal ended, if one did.
pub(super) fn exit() -> Option<Exit> {
    interrupt::requested().map(|signal| match signal {
        SIGTERM => Exit::Terminated,
        _ => Exit::Interrupted,
    })
}
