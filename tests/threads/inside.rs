//! What the C library does on its own behalf arrives at the world: streams, walks, locks, forks.

use crashpoint::inner::process::world::MOUNT;

use crate::rig::{Left, same_in_every_process, scenes};
use crate::stdio;
use crate::{bypasses, c, signals};

/// Enough that each pair of calls occurs.
const CALLS: usize = 400;

scenes! {
    Streams {
        (0..20).map(|seed| stdio::streams(MOUNT, seed, CALLS)).collect()
    }
    Far { stdio::far(MOUNT) }
    Wide { stdio::wide(MOUNT) }
    Walks { stdio::walks(MOUNT) }
    Shared { stdio::shared(MOUNT) }
    Semaphore { c::semaphore_past_the_symbols().to_owned() }
    ReadsAhead { stdio::read_ahead(MOUNT).to_string() }
    ForksInside { format!("{:?}", bypasses::fork_inside()) }
    Blocks { signals::raw_call_with_all_blocked(MOUNT) }
    Faults { signals::own_handler() }
    Reserved { signals::reserved() }
}

fn once<S: crate::rig::IsScene>() -> Left {
    same_in_every_process::<S>(0..1).remove(0)
}

/// The same on the simulated disk and in a real directory.
fn alike<S: crate::rig::IsScene>(on_disk: impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    let left = once::<S>();
    assert_eq!(left.hung, None);
    assert_eq!(left.refused, [""; 0]);
    let real = on_disk(folder.path().to_str().expect("ASCII"));
    assert!(!real.is_empty());
    for (line, (here, there)) in left.said.lines().zip(real.lines()).enumerate() {
        assert_eq!(here, there, "line {line}, after\n{}", context(&real, line));
    }
    assert_eq!(left.said, real, "{:?}", left.ending);
}

fn context(text: &str, line: usize) -> String {
    text.lines().take(line).skip(line.saturating_sub(12)).collect::<Vec<_>>().join("\n")
}

#[test]
fn streams_do_what_they_do_on_a_real_disk() {
    alike::<Streams>(|dir| (0..20).map(|seed| stdio::streams(dir, seed, CALLS)).collect());
}

#[test]
fn a_stream_reaches_beyond_4_gib() {
    alike::<Far>(stdio::far);
}

#[test]
fn a_stream_may_be_wide() {
    alike::<Wide>(stdio::wide);
}

#[test]
fn a_stream_reads_as_far_ahead_as_on_a_real_disk() {
    alike::<ReadsAhead>(|dir| stdio::read_ahead(dir).to_string());
}

#[test]
fn the_c_librarys_walks_find_the_files_of_the_disk() {
    alike::<Walks>(stdio::walks);
}

#[test]
fn the_lock_of_a_stream_is_the_schedules() {
    let mut orders = std::collections::BTreeSet::new();
    for left in same_in_every_process::<Shared>(0..12) {
        assert_eq!(left.hung, None);
        assert_eq!(left.said, "120006 true");
        orders.insert(left.digest);
    }
    assert!(orders.len() > 3, "the seed decides who has it: {}", orders.len());
}

#[test]
fn a_wait_inside_the_c_library_is_the_schedules() {
    for left in same_in_every_process::<Semaphore>(0..4) {
        assert_eq!((left.said.as_str(), left.hung), ("came", None));
    }
}

#[test]
fn a_fork_inside_the_c_library_is_refused_by_name() {
    let left = once::<ForksInside>();
    assert_eq!(left.said, format!("Some({})", libc::ENOSYS));
    assert_eq!(left.refused, ["clone"]);
}

#[test]
fn a_raw_call_is_served_while_the_engine_blocks_all_signals() {
    let left = once::<Blocks>();
    assert_eq!(left.said, "[0, 0] true");
}

#[test]
fn an_engine_may_handle_its_own_faults() {
    let left = once::<Faults>();
    assert_eq!(left.said, "2 true");
    assert_eq!(left.refused, [""; 0]);
}

#[test]
fn the_signals_of_the_harness_are_kept() {
    let left = once::<Reserved>();
    assert_eq!(left.said, format!("{0} {0}", libc::EINVAL));
    assert_eq!(left.refused, ["sigaction of SIGSYS", "sigaction of SIGRTMAX-3"]);
}
