//! What the harness costs, as ratios to the same work done by hand on tmpfs with real system
//! calls, in one run: figures that mean something on any machine.
//!
//! `cargo bench -p sims`; with names behind it (`recovery`, `doors`, ...) only these.
#![expect(clippy::print_stdout, reason = "it prints its table")]

mod by_hand;
mod doors;
mod memory;
mod opening;
mod points;

use std::time::{Duration, Instant};

fn main() {
    // Cargo adds `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|name| name != "--bench").collect();
    if by_hand::child(&names) {
        return;
    }
    let tables: [(&str, fn()); 5] = [
        ("recovery", by_hand::table),
        ("doors", doors::table),
        ("points", points::table),
        ("memory", memory::table),
        ("opening", opening::table),
    ];
    for (name, table) in tables {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            table();
        }
    }
}

/// How long something takes.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// How much CPU time something takes, in this process and in those that it started and waited
/// for, in seconds: what else runs on the machine does not count. The kernel counts in hundredths.
fn cpu(work: impl FnOnce()) -> f64 {
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
        let behind_the_name = stat.rsplit_once(") ").expect("a name").1;
        let fields = behind_the_name.split(' ').skip(11).take(4);
        fields.map(|ticks| ticks.parse::<f64>().expect("ticks") / 100.0).sum::<f64>()
    };
    let before = used();
    work();
    used() - before
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Where real files are as fast as they can be.
fn tmpfs() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a directory on tmpfs")
}
