//! The seccomp filter: the table of system calls as a program that the kernel runs at each call.
//!
//! It allows our own way to the kernel, traps all other calls from outside the C library, and
//! those from inside that the table names (seccomp(2), and Documentation/userspace-api/
//! seccomp_filter.rst for the structure that it reads).

use std::ops::Range;

use libc::sock_filter;

use crate::process::world::descriptors::FIRST;

use super::calls::{ROWS, SystemCall, Trap};

/// The offsets of a system call's parts in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ORIGIN: u32 = 8;
const ARGUMENTS: u32 = 16;

/// The bytes of each argument and of the origin; the lower half comes first.
const WIDTH: u32 = 8;
const UPPER: u32 = 4;

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;

/// From this number on a call is one of the 32-bit calls of x32.
const X32: u32 = 0x4000_0000;

/// The addresses that the filter knows.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// The origin of our own way to the kernel.
    pub(super) own: usize,
    /// The code of the C library.
    pub(super) library: Range<usize>,
    /// The memory in which the C library stores the id of the calling thread: its forks pass an
    /// address in there.
    pub(super) thread: Range<usize>,
}

impl Addresses {
    /// Whether the filter, which compares 32 bits at a time, can tell the ranges apart.
    pub(super) fn fit(&self) -> bool {
        [&self.library, &self.thread]
            .into_iter()
            .all(|range| !range.is_empty() && upper(range.start) == upper(range.end))
    }
}

/// The filter for these addresses.
pub(super) fn filter(addresses: &Addresses) -> Vec<sock_filter> {
    let Addresses { own, library, .. } = addresses;
    let mut program = vec![
        load(ARCHITECTURE),
        when(libc::BPF_JEQ, X86_64, 1, 0),
        trap(),
        load(ORIGIN),
        when(libc::BPF_JEQ, lower(*own), 0, 3),
        load(ORIGIN + UPPER),
        when(libc::BPF_JEQ, upper(*own), 0, 1),
        allow(),
        load(ORIGIN + UPPER),
        when(libc::BPF_JEQ, upper(library.start), 1, 0),
        trap(),
        load(ORIGIN),
        when(libc::BPF_JGE, lower(library.start), 1, 0),
        trap(),
        when(libc::BPF_JGT, lower(library.end), 0, 1),
        trap(),
        load(NUMBER),
        when(libc::BPF_JGE, X32, 0, 1),
        trap(),
    ];
    let mut rows: Vec<&SystemCall> = ROWS.iter().filter(|row| row.trap != Trap::Never).collect();
    rows.sort_by_key(|row| row.number);
    program.extend(search(&rows, addresses));
    program
}

/// Finds the row of the number that is loaded, and decides by it.
fn search(rows: &[&SystemCall], addresses: &Addresses) -> Vec<sock_filter> {
    let [row] = rows else {
        let (left, right) = rows.split_at(rows.len() / 2);
        let Some(first) = right.first() else { return vec![allow()] };
        let left = search(left, addresses);
        let length = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let mut found = vec![
            when(libc::BPF_JGE, first.number as u32, 0, 1),
            step((libc::BPF_JMP | libc::BPF_JA) as u16, 0, 0, length),
        ];
        found.extend(left);
        found.extend(search(right, addresses));
        return found;
    };
    let mut found = vec![when(libc::BPF_JEQ, row.number as u32, 1, 0), allow()];
    found.extend(match row.trap {
        Trap::Always => vec![trap()],
        Trap::Never => vec![allow()],
        Trap::Descriptor(positions) => descriptors(positions),
        Trap::Process => process(&addresses.thread),
    });
    found
}

/// Traps a call of which any argument at these positions is a simulated descriptor. From 1 << 31 on
/// it is a negative `int`.
fn descriptors(positions: &[u8]) -> Vec<sock_filter> {
    let mut checks = Vec::new();
    for &position in positions {
        checks.extend([
            load(ARGUMENTS + u32::from(position) * WIDTH),
            when(libc::BPF_JGE, FIRST.cast_unsigned(), 0, 2),
            when(libc::BPF_JGE, 1 << 31, 1, 0),
            trap(),
        ]);
    }
    checks.push(allow());
    checks
}

/// Traps a `clone` that makes a process, but for the explorer's own: they pass the address of the
/// id of their thread, on which no engine ever runs.
fn process(thread: &Range<usize>) -> Vec<sock_filter> {
    let id = ARGUMENTS + 3 * WIDTH;
    vec![
        load(ARGUMENTS),
        when(libc::BPF_JSET, libc::CLONE_VM.cast_unsigned(), 0, 1),
        allow(),
        load(id + UPPER),
        when(libc::BPF_JEQ, upper(thread.start), 0, 4),
        load(id),
        when(libc::BPF_JGE, lower(thread.start), 0, 2),
        when(libc::BPF_JGT, lower(thread.end), 1, 0),
        allow(),
        trap(),
    ]
}

fn lower(address: usize) -> u32 {
    address as u32
}

fn upper(address: usize) -> u32 {
    (address as u64 >> 32) as u32
}

fn load(offset: u32) -> sock_filter {
    step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, offset)
}

/// Compares the loaded word with `to`, and skips the next `yes` or `no` steps.
fn when(comparison: u32, to: u32, yes: u8, no: u8) -> sock_filter {
    step((libc::BPF_JMP | comparison | libc::BPF_K) as u16, yes, no, to)
}

fn allow() -> sock_filter {
    step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ALLOW)
}

fn trap() -> sock_filter {
    step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_TRAP)
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: usize = 0x7fff_f7c0_0000;
    const THREAD: usize = 0x7fff_f7ff_1740;
    const OWN: usize = 0x5555_5555_4321;
    const SIMULATED: u64 = FIRST as u64 + 3;

    fn addresses() -> Addresses {
        Addresses {
            own: OWN,
            library: LIBRARY..LIBRARY + 0x10_0000,
            thread: THREAD..THREAD + 0x1000,
        }
    }

    /// A call as the kernel shows it to the filter.
    struct Made {
        architecture: u32,
        number: i64,
        origin: usize,
        arguments: [u64; 6],
    }

    fn made(number: i64, origin: usize, arguments: [u64; 6]) -> Made {
        Made { architecture: X86_64, number, origin, arguments }
    }

    impl Made {
        fn word(&self, offset: u32) -> u32 {
            let half = |value: u64| (value >> (offset % WIDTH * 8)) as u32;
            match offset {
                NUMBER => self.number as u32,
                ARCHITECTURE => self.architecture,
                8..16 => half(self.origin as u64),
                _ => half(self.arguments[((offset - ARGUMENTS) / WIDTH) as usize]),
            }
        }
    }

    /// Carries the filter out, as the kernel does; returns its verdict and the steps it took.
    fn verdict(filter: &[sock_filter], call: &Made) -> (u32, usize) {
        let (mut at, mut word, mut steps) = (0, 0, 0);
        loop {
            let step = filter[at];
            at += 1;
            steps += 1;
            let code = u32::from(step.code);
            match code & 0x07 {
                libc::BPF_LD => word = call.word(step.k),
                libc::BPF_RET => return (step.k, steps),
                _ if code & 0xf0 == libc::BPF_JA => at += step.k as usize,
                _ => {
                    let yes = match code & 0xf0 {
                        libc::BPF_JEQ => word == step.k,
                        libc::BPF_JGE => word >= step.k,
                        libc::BPF_JGT => word > step.k,
                        libc::BPF_JSET => word & step.k != 0,
                        other => panic!("{other:#x}"),
                    };
                    at += usize::from(if yes { step.jt } else { step.jf });
                }
            }
        }
    }

    fn trapped(call: &Made) -> bool {
        verdict(&filter(&addresses()), call).0 == libc::SECCOMP_RET_TRAP
    }

    #[test]
    fn each_row_is_trapped_as_the_table_says() {
        for row in ROWS {
            let inside = |arguments| trapped(&made(row.number, LIBRARY + 9, arguments));
            let name = row.name();
            assert_eq!(inside([3; 6]), matches!(row.trap, Trap::Always | Trap::Process), "{name}");
            for at in 0..6 {
                let mut arguments = [libc::CLONE_VM as u64; 6];
                arguments[at] = SIMULATED;
                let listed = match row.trap {
                    Trap::Descriptor(positions) => positions.contains(&(at as u8)),
                    trap => trap == Trap::Always,
                };
                if row.trap != Trap::Process {
                    assert_eq!(inside(arguments), listed, "{name} {at}");
                }
            }
            assert!(trapped(&made(row.number, LIBRARY - 1, [0; 6])), "{name}");
            assert!(trapped(&made(row.number, LIBRARY + 0x10_0001, [0; 6])), "{name}");
            assert!(trapped(&made(row.number, LIBRARY + (1 << 32), [0; 6])), "{name}");
            assert!(!trapped(&made(row.number, OWN, [SIMULATED; 6])), "{name}");
        }
    }

    #[test]
    fn a_call_without_a_row_is_trapped_outside_the_c_library_alone() {
        assert!(!trapped(&made(libc::SYS_brk, LIBRARY, [SIMULATED; 6])));
        assert!(trapped(&made(libc::SYS_brk, OWN + 2, [0; 6])));
        assert!(!trapped(&made(libc::SYS_brk, OWN, [0; 6])));
        assert!(trapped(&made(libc::SYS_brk, OWN + (1 << 32), [0; 6])));
    }

    #[test]
    fn negative_and_host_descriptors_are_no_simulated_ones() {
        for fd in [0, 3, u64::from(u32::MAX), libc::AT_FDCWD as u64] {
            assert!(!trapped(&made(libc::SYS_read, LIBRARY, [fd, 0, 0, 0, 0, 0])), "{fd}");
        }
        // The upper half of the register is none of the descriptor's.
        let dirty = SIMULATED | 0xdead_beef << 32;
        assert!(trapped(&made(libc::SYS_read, LIBRARY, [dirty, 0, 0, 0, 0, 0])));
    }

    #[test]
    fn only_the_explorer_forks() {
        let fork = |flags: u64, id: usize| {
            trapped(&made(libc::SYS_clone, LIBRARY, [flags, 0, 0, id as u64, 0, 0]))
        };
        let plain = (libc::CLONE_CHILD_SETTID | libc::SIGCHLD) as u64;
        assert!(!fork(plain, THREAD + 0x2d0));
        assert!(fork(plain, THREAD + 0x1001));
        assert!(fork(plain, THREAD - 8));
        assert!(fork(plain, THREAD + (1 << 32)));
        assert!(fork(plain, 0));
        assert!(!fork(plain | libc::CLONE_VM as u64, 0), "a thread");
    }

    #[test]
    fn calls_of_other_architectures_are_trapped() {
        let i386 = Made { architecture: 0x4000_0003, ..made(libc::SYS_brk, LIBRARY, [0; 6]) };
        assert!(trapped(&i386));
        assert!(trapped(&made(i64::from(X32) + libc::SYS_brk, LIBRARY, [0; 6])));
    }

    #[test]
    fn a_call_is_decided_in_few_steps() {
        let filter = filter(&addresses());
        assert!(filter.len() < 4096, "the kernel takes no longer program: {}", filter.len());
        for number in 0..500 {
            let (_, steps) = verdict(&filter, &made(number, LIBRARY, [3; 6]));
            assert!(steps <= 48, "{number}: {steps}");
        }
    }

    #[test]
    fn a_range_over_a_border_of_4_gib_does_not_fit() {
        assert!(addresses().fit());
        let library = 0x7fff_ffff_0000..0x8000_0001_0000;
        assert!(!Addresses { library, ..addresses() }.fit());
    }
}
