//! The cost of the harness, as ratios to the same work done by hand on tmpfs with real system calls
//! in the same run, so that the figures are comparable between machines.
//!
//! `cargo bench -p sims` prints all tables; `cargo bench -p sims -- recovery doors` only these.
#![expect(clippy::print_stdout, reason = "prints its tables")]

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

/// The real time that `work` takes.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The CPU time in seconds that `work` takes in this process and in the children that it waits for,
/// without what else runs on the machine. The kernel counts in hundredths of a second.
fn cpu(work: impl FnOnce()) -> f64 {
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
        let after_the_name = stat.rsplit_once(") ").expect("a name").1;
        let fields = after_the_name.split(' ').skip(11).take(4);
        fields.map(|ticks| ticks.parse::<f64>().expect("ticks") / 100.0).sum::<f64>()
    };
    let before = used();
    work();
    used() - before
}

/// The median; the upper one if the number of figures is even.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A directory on tmpfs, where real files are fastest.
fn tmpfs() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a directory on tmpfs")
}
