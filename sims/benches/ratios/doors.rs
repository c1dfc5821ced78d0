//! The doors that engines call most, against the same calls on tmpfs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::host::region::Region;
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{MOUNT, Setup, World};

use crate::{median, time, tmpfs};

const CALLS: usize = 20_000;
const ROUNDS: usize = 15;
const BYTES: [u8; 100] = [7; 100];

/// One kind of call, made [`CALLS`] times on a file.
type Act = fn(&mut File);

const ACTS: [(&str, Act); 5] = [
    ("lseek", |file| {
        for at in 0..CALLS {
            file.seek(SeekFrom::Start(at as u64)).expect("seeks");
        }
    }),
    ("pwrite 100 bytes", |file| {
        for at in 0..CALLS {
            file.write_all_at(&BYTES, (at % 600) as u64 * 100).expect("writes");
        }
    }),
    ("append 100 bytes", |file| {
        for _ in 0..CALLS {
            file.write_all(&BYTES).expect("writes");
        }
    }),
    ("fsync", |file| {
        for _ in 0..CALLS {
            file.sync_all().expect("syncs");
        }
    }),
    ("pwrite and fsync", |file| {
        for at in 0..CALLS {
            file.write_all_at(&BYTES, (at % 600) as u64 * 100).expect("writes");
            file.sync_all().expect("syncs");
        }
    }),
];

/// Nanoseconds for one of the calls, on a file in a directory.
fn nanos(dir: &Path, act: Act) -> f64 {
    let mut file = File::create(dir.join("file")).expect("creates");
    time(|| act(&mut file)).as_secs_f64() * 1e9 / CALLS as f64
}

/// The same on the simulated disk: the cost of the door, the disk and the record.
fn simulated(act: Act) -> f64 {
    let region = Box::leak(Box::new(Region::with_capacity(16 << 20).expect("memory")));
    World::install(Setup::new(Tree::new(), region));
    let mut file = seam::engine(|| File::create(Path::new(MOUNT).join("file"))).expect("creates");
    let took = time(|| seam::engine(|| act(&mut file)));
    seam::engine(|| drop(file));
    World::remove();
    took.as_secs_f64() * 1e9 / CALLS as f64
}

pub(crate) fn table() {
    println!("doors, against tmpfs: nanoseconds a call, {CALLS} calls, {ROUNDS} rounds");
    for (name, act) in ACTS {
        let dir = tmpfs();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(nanos(dir.path(), act));
            ours.push(simulated(act));
        }
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
        println!("  {name:<18} tmpfs {theirs:7.0}   ours {ours:7.0}   ratio {ratio:5.2}");
    }
    println!();
}
