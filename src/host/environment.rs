//! The capabilities of the environment: kernels, containers and sandboxes refuse different things.

use serde::{Deserialize, Serialize};

use super::cpu::is_pinned;
use super::shelf;
use crate::process::seam::heap;
use crate::process::world::timestamp;

/// What the environment allows a fork server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Address-space randomisation is on, because `personality` was refused: addresses differ
    /// from run to run.
    pub aslr: bool,
    /// The fork server runs on one CPU.
    pub pinned: bool,
    /// A seccomp filter may raise a signal: calls with a simulated descriptor that go past the
    /// doors are trapped.
    pub seccomp: bool,
    /// A child's last output to standard error can be kept.
    pub last_words: bool,
    /// The engine has its own heap, whose addresses do not depend on the harness.
    pub heap: bool,
    /// A child's maps get addresses that do not depend on the harness.
    pub shelf: bool,
    /// Reading the processor's time stamp may be made to fault: the engine gets virtual time.
    pub time_stamp: bool,
}

impl Environment {
    /// Finds out. Changes nothing.
    pub(crate) fn observe(last_words: bool) -> Self {
        Self {
            aslr: has_aslr(),
            pinned: is_pinned(),
            seccomp: has_seccomp(),
            last_words,
            heap: heap::exists(),
            shelf: shelf::exists(),
            time_stamp: timestamp::can_arm(),
        }
    }

    /// The missing capabilities, one line each.
    pub fn notices(&self) -> Vec<String> {
        let missing = [
            (self.aslr, "personality is refused: addresses differ from run to run (aslr=on)"),
            (!self.seccomp, "seccomp is refused: a call that goes past the doors is not trapped"),
            (!self.last_words, "memfd_create is refused: the last words of an abort are lost"),
            (!self.pinned, "no CPU is free: not pinned, runs are slower"),
            (
                !self.heap,
                "64 GiB of address space are refused (ulimit -v, vm.overcommit_memory): the engine \
                 shares the harness's heap, and an engine that depends on addresses runs otherwise",
            ),
            (
                !self.shelf,
                "1 TiB of address space is refused (ulimit -v, vm.overcommit_memory): an engine \
                 that depends on the addresses of its maps runs otherwise",
            ),
            (
                !self.time_stamp,
                "PR_SET_TSC is refused: an engine that reads the processor's time stamp (rdtsc) \
                 is not deterministic",
            ),
        ];
        missing.into_iter().filter(|(is, _)| *is).map(|(_, line)| line.to_owned()).collect()
    }
}

fn has_aslr() -> bool {
    /// Asks for the personality without a change of it.
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: `personality` takes and returns numbers.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_reported_in_one_line() {
        let all = Environment {
            aslr: false,
            pinned: true,
            seccomp: true,
            last_words: true,
            heap: true,
            shelf: true,
            time_stamp: true,
        };
        assert!(all.notices().is_empty());
        let none = Environment {
            aslr: true,
            pinned: false,
            seccomp: false,
            last_words: false,
            heap: false,
            shelf: false,
            time_stamp: false,
        };
        let notices = none.notices();
        assert_eq!(notices.len(), 7);
        assert!(notices.iter().all(|line| !line.contains('\n')));
    }
}
