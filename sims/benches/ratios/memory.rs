//! The memory that many crash states of a large store take, against the store itself.

use std::fs;

use crashpoint::inner::disk::effect::{Effect, Ino, Kind, Sync};
use crashpoint::inner::disk::fate::{Fate, Keep};
use crashpoint::inner::disk::keep::CrashState;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::piece::GroupId;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::{Profile, Time};

/// The size of the store in bytes.
const STORE: u64 = 64 << 20;
const STATES: u64 = 10_000;
/// The number of blocks that are overwritten and not synced: the end of a journal, or pages
/// anywhere.
const PENDING: u64 = 16;
const BLOCK: u64 = 4096;

/// The resident memory of this process in bytes.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse::<u64>().expect("a number") * 1024
}

/// A synced store of one file, with unsynced writes to blocks at a distance of `apart` bytes.
fn store(apart: u64) -> Pending {
    let mut disk = Pending::new(Tree::new(), &Profile::POSIX);
    let ino = Ino(2);
    let mut apply = |effect: Effect<'_>| disk.apply(&effect, Time::START);
    apply(Effect::Inode { ino, kind: Kind::File, mode: 0o644, target: b"" });
    apply(Effect::Entry { dir: Ino::ROOT, name: b"store", ino: Some(ino) });
    let bytes: Vec<u8> = (0..STORE).map(|at| ((at * 31) >> 7) as u8).collect();
    apply(Effect::Write { ino, offset: 0, bytes: &bytes });
    apply(Effect::Sync(Sync::All));
    for number in 0..PENDING {
        apply(Effect::Write {
            ino,
            offset: number * apart,
            bytes: &[number as u8; BLOCK as usize],
        });
    }
    disk
}

/// The fate that keeps the blocks whose bits are set.
fn fate(apart: u64, bits: u64) -> Fate {
    let mut fate = Fate::of(Keep::Nothing);
    for number in (0..PENDING).filter(|number| bits >> number & 1 == 1) {
        fate.exceptions.insert(GroupId::Block(Ino(2), number * apart / BLOCK), 1);
    }
    fate
}

pub(crate) fn table() {
    println!("{STATES} crash states of a store of {} MiB, {PENDING} blocks pending", STORE >> 20);
    for (how, apart) in [("adjacent", BLOCK), ("scattered", STORE / PENDING)] {
        let disk = store(apart);
        let (before, mut most) = (resident(), 0);
        for bits in 0..STATES {
            let state = disk.keep(&fate(apart, bits));
            most = most.max(resident().saturating_sub(before));
            drop(state);
        }
        let before = resident();
        let states: Vec<CrashState> =
            (0..STATES).map(|bits| disk.keep(&fate(apart, bits))).collect();
        let held = resident().saturating_sub(before);
        let mut digests: Vec<_> = states.iter().map(|state| state.digest).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len() as u64, STATES, "some states are equal");
        println!(
            "  {how:<13} in addition to the disk: one at a time {:.2} of the store, all held at \
             once {:.2}",
            most as f64 / STORE as f64,
            held as f64 / STORE as f64
        );
    }
    println!();
}
