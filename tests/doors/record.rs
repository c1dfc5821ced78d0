//! How the calls of a run are logged, and how a run ends.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crashpoint::Profile;
use crashpoint::inner::case::fault::{Fault, FaultClass, InjectionKind};
use crashpoint::inner::disk::Errno;
use crashpoint::inner::disk::effect::{Effect, Sync};
use crashpoint::inner::disk::space::Space;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::host::probe::{in_child, past_the_doors};
use crashpoint::inner::log::{self, Mark, Payload};
use crashpoint::inner::process::doors::traps;
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{
    self, Budget, EXIT_HUNG, EXIT_LEAKED, Setup, Sink, Stacks, World,
};

use crate::harness::{self, Ran, at, errno, run, run_in};

fn script() -> std::io::Result<()> {
    fs::create_dir(at("d"))?;
    let mut file = OpenOptions::new().create(true).append(true).open(at("d/log"))?;
    for n in 0..20_u32 {
        file.write_all(&n.to_le_bytes())?;
        file.seek(SeekFrom::Start(u64::from(n)))?;
    }
    file.sync_all()?;
    fs::rename(at("d/log"), at("log"))?;
    assert_eq!(fs::read_dir(at(""))?.count(), 2);
    fs::remove_dir(at("d"))
}

#[test]
fn equal_scripts_leave_equal_logs() {
    let (one, two) = (run(script), run(script));
    assert!(one.log.len() > 1000);
    assert_eq!(one.log, two.log);
}

#[test]
fn a_call_without_its_own_record_changes_the_next_record() {
    let seek_to = |offset| {
        move || {
            let mut file = File::create(at("a"))?;
            file.seek(SeekFrom::Start(offset))?;
            file.sync_all()
        }
    };
    let (one, two) = (run(seek_to(1)), run(seek_to(2)));
    assert_eq!(one.doors(), two.doors());
    assert!(!one.doors().contains(&"lseek64"));
    assert_ne!(one.log, two.log);
}

#[test]
fn the_effects_of_a_call_come_before_it_and_replay_to_the_same_tree() {
    let ran = run(script);
    let mut tree = Tree::new();
    for record in log::records(&ran.log) {
        if let Payload::Effect(effect) = record.payload {
            tree.apply(&effect, record.at);
        }
    }
    assert_eq!(tree.digest(), ran.tree.digest());
    let events: Vec<_> = ran.events().collect();
    let sync = events.iter().position(|e| matches!(e, Payload::Effect(Effect::Sync(_))));
    let sync = sync.expect("the script syncs");
    assert!(matches!(events[sync + 1], Payload::Call(call) if call.door == "fsync"));
}

#[test]
fn errors_are_recorded_as_negative_numbers() {
    let ran = run(|| {
        assert_eq!(errno(File::open(at("none"))), Some(libc::ENOENT));
        Ok(())
    });
    assert_eq!(ran.calls()[0].result, -i64::from(libc::ENOENT));
}

#[test]
fn records_have_return_addresses_if_asked_for() {
    let ran = run_in(|setup| setup.stacks = Stacks::All, || File::create(at("a")).map(drop));
    let stack = ran.calls()[0].stack.to_vec();
    assert!(stack.len() >= 8 * 8 && stack.len() <= 8 * 32);
    let plain = run(|| File::create(at("a")).map(drop));
    assert!(plain.calls()[0].stack.is_empty());
}

#[test]
fn only_syncs_have_return_addresses_if_only_those_are_asked_for() {
    let script = || {
        let mut file = File::options().create(true).append(true).open(at("a"))?;
        file.write_all(b"x")?;
        file.sync_all()?;
        let flags = libc::O_DSYNC;
        let mut synced = File::options().write(true).custom_flags(flags).open(at("a"))?;
        synced.write_all(b"y")
    };
    let ran = run_in(|setup| setup.stacks = Stacks::OfSyncs, script);
    let stacked = |call: &&log::Call<'_>| !call.stack.is_empty();
    let calls = ran.calls();
    let doors: Vec<&str> = calls.iter().filter(stacked).map(|call| call.door).collect();
    assert_eq!(doors, ["fsync", "write"]);
    assert_eq!(calls.iter().filter(|call| call.door == "write").count(), 2);
}

/// A sink that makes a call itself, and counts how often that went to the host.
#[derive(Default)]
struct Nosy {
    records: AtomicU32,
    on_the_host: AtomicU32,
}

impl Sink for Nosy {
    fn append(&self, _: &log::Record<'_>) -> bool {
        self.records.fetch_add(1, Relaxed);
        // If a door served this call, it would wait forever for the world.
        self.on_the_host.fetch_add(fs::metadata(at("")).is_err().into(), Relaxed);
        true
    }
}

#[test]
fn a_call_that_a_door_makes_goes_to_the_kernel() {
    let nosy: &'static Nosy = Box::leak(Box::default());
    harness::alone(|| {
        World::install(Setup::new(Tree::new(), nosy));
        seam::engine(script).expect("the script works");
        World::remove();
    });
    assert!(nosy.records.load(Relaxed) > 10);
    assert_eq!(nosy.on_the_host.load(Relaxed), nosy.records.load(Relaxed));
}

fn with_fault(fault: Fault, script: impl FnOnce() -> std::io::Result<()> + Send) -> Ran<()> {
    run_in(|setup| setup.faults = vec![fault], script)
}

#[test]
fn a_short_write_is_followed_by_one_that_fails() {
    let error = InjectionKind::NoSpace;
    let fault = Fault { step: 1, ..Fault::new(error.with(2), FaultClass::Write, 2) };
    let ran = with_fault(fault, || {
        let mut file = File::create(at("a"))?;
        file.write_all(b"step 0, ")?;
        world::step(1);
        file.write_all(b"first, ")?;
        assert_eq!(file.write(b"second")?, 2);
        assert_eq!(errno(file.write(b"cond")), Some(libc::ENOSPC));
        file.write_all(b"third")?;
        assert_eq!(fs::read(at("a"))?, b"step 0, first, sethird");
        Ok(())
    });
    let faults: Vec<_> = ran.calls().into_iter().filter(|call| call.fault.is_some()).collect();
    let results: Vec<_> = faults.iter().map(|call| call.result).collect();
    assert_eq!(results, [2, -i64::from(libc::ENOSPC)]);
}

#[test]
fn a_failed_sync_is_an_effect_and_the_next_one_works() {
    let error = InjectionKind::Io;
    let fault = Fault::new(error, FaultClass::Sync, 1);
    let ran = with_fault(fault, || {
        let file = File::create(at("a"))?;
        assert_eq!(errno(file.sync_all()), Some(libc::EIO));
        file.sync_all()
    });
    let sync = Sync::Inode(ran.ino("a"));
    let effects = ran.effects();
    assert_eq!(effects[effects.len() - 2..], [Effect::SyncFailed(sync), Effect::Sync(sync)]);
}

#[test]
fn a_failed_sync_is_reported_once_to_each_descriptor_that_was_open() {
    let error = InjectionKind::Io;
    let fault = Fault::new(error, FaultClass::Sync, 1);
    with_fault(fault, || {
        let mut file = File::create(at("a"))?;
        let (same, other) = (file.try_clone()?, File::open(at("a"))?);
        let (root, unaffected) = (File::open(at(""))?, File::create(at("b"))?);
        file.write_all(b"bytes")?;
        assert_eq!(errno(file.sync_all()), Some(libc::EIO));
        same.sync_all()?;
        unaffected.sync_all()?;
        File::open(at("a"))?.sync_all()?;
        assert_eq!(errno(other.sync_data()), Some(libc::EIO));
        other.sync_data()?;
        for synced in [&root, &file] {
            assert_eq!(errno(rustix::fs::syncfs(synced).map_err(Into::into)), Some(libc::EIO));
            rustix::fs::syncfs(synced)?;
        }
        assert_eq!(fs::read(at("a"))?, b"bytes");
        Ok(())
    });
}

#[test]
fn a_failed_syncfs_is_reported_to_the_descriptors_of_each_dirty_file() {
    let fault = Fault::new(InjectionKind::Io, FaultClass::Sync, 2);
    with_fault(fault, || {
        let (mut dirty, mut clean) = (File::create(at("a"))?, File::create(at("b"))?);
        clean.write_all(b"bytes")?;
        clean.sync_all()?;
        dirty.write_all(b"bytes")?;
        assert_eq!(errno(rustix::fs::syncfs(&clean).map_err(Into::into)), Some(libc::EIO));
        clean.sync_all()?;
        assert_eq!(errno(dirty.sync_all()), Some(libc::EIO));
        dirty.sync_all()?;
        Ok(())
    });
}

#[test]
fn a_sync_without_room_is_marked_as_an_eviction_before_it_loses_anything() {
    let space = Space { pages: 2, inodes: u64::MAX, error: Errno::ENOSPC, delayed: true };
    let set = |setup: &mut Setup| (setup.space, setup.profile) = (Some(space), Profile::EXT4);
    let ran = run_in(set, || {
        let mut file = File::create(at("a"))?;
        file.write_all(&[b'v'; 8192])?;
        // A name for which there is no space evicts nothing.
        assert_eq!(errno(fs::create_dir(at("b"))), Some(libc::ENOSPC));
        assert_eq!(errno(file.sync_all()), Some(libc::ENOSPC));
        Ok(())
    });
    let recorded = log::records(&ran.log).filter_map(|record| match record.payload {
        Payload::Mark(Mark::Evicted) => Some("mark"),
        Payload::Effect(Effect::SyncFailed(_)) => Some("sync"),
        Payload::Effect(Effect::Evict { .. }) => Some("evict"),
        _ => None,
    });
    assert_eq!(recorded.collect::<Vec<_>>(), ["mark", "sync", "evict", "evict"]);
}

#[test]
fn an_evicted_file_reads_back_what_was_on_disk_and_keeps_its_size() {
    let error = InjectionKind::Io;
    let fault = Fault { step: 1, ..Fault::new(error, FaultClass::Sync, 1) };
    let set = |setup: &mut Setup| (setup.faults, setup.evicts) = (vec![fault], true);
    let ran = run_in(set, || {
        let mut file = File::create(at("a"))?;
        file.write_all(b"old")?;
        file.sync_all()?;
        world::step(1);
        file.write_all(b"new")?;
        assert_eq!(errno(file.sync_all()), Some(libc::EIO));
        assert_eq!(fs::read(at("a"))?, b"old\0\0\0");
        file.write_all(b"more")?;
        file.sync_all()?;
        assert_eq!(fs::read(at("a"))?, b"old\0\0\0more");
        Ok(())
    });
    assert!(ran.events().any(|event| matches!(event, Payload::Mark(Mark::Evicted))));
}

#[test]
fn a_file_system_that_turned_read_only_refuses_every_change() {
    let error = InjectionKind::Io;
    let fault = Fault::new(error, FaultClass::Sync, 1);
    let set = |setup: &mut Setup| {
        (setup.faults, setup.profile) = (vec![fault], Profile::EXT4_JOURNAL);
    };
    run_in(set, || {
        let mut file = File::create(at("a"))?;
        file.write_all(b"bytes")?;
        let refused = Some(libc::EROFS);
        assert_eq!(errno(file.sync_all()), refused);
        assert_eq!(errno(file.sync_all()), refused);
        assert_eq!(errno(file.write(b"more")), refused);
        assert_eq!(errno(File::create(at("b"))), refused);
        assert_eq!(errno(fs::rename(at("a"), at("b"))), refused);
        assert_eq!(fs::read(at("a"))?, b"bytes");
        Ok(())
    });
}

/// Runs a script in a child, which may end at any call; its exit status, and the words of its
/// marks.
fn end_of(budget: Budget, script: impl FnOnce()) -> (Option<i32>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a file of the host");
    let sink: &'static ToFile = Box::leak(Box::new(ToFile(file.reopen().expect("it is there"))));
    let status = harness::alone(|| {
        in_child(|| {
            World::install(Setup { budget, ..Setup::new(Tree::new(), sink) });
            seam::engine(script);
        })
    });
    let log = fs::read(file.path()).expect("it is there");
    let words = |record: log::Record<'_>| match record.payload {
        Payload::Mark(Mark::Hung(what) | Mark::NotSimulated(what, _)) => Some(what.to_owned()),
        _ => None,
    };
    (status, log::records(&log).filter_map(words).collect())
}

/// A log in a file, which outlives the process.
struct ToFile(File);

impl Sink for ToFile {
    fn append(&self, record: &log::Record<'_>) -> bool {
        let mut space = [0; 4096];
        let used = log::encode(record, &mut space);
        used.is_some_and(|used| (&self.0).write_all(&space[..used]).is_ok())
    }
}

fn look_20_times() {
    for _ in 0..20 {
        let _ = fs::metadata(at("none"));
    }
}

#[test]
fn a_run_over_its_budget_of_calls_is_hung() {
    let within = Budget { calls: 20, ..Budget::default() };
    assert_eq!(end_of(within, look_20_times), (Some(0), vec![]));
    let over = Budget { calls: 19, ..Budget::default() };
    assert_eq!(
        end_of(over, look_20_times),
        (Some(EXIT_HUNG), vec!["does not end within 19 calls".to_owned()])
    );
}

#[test]
fn a_run_over_its_budget_of_time_is_hung() {
    let over = Budget { time: Duration::from_secs(5), ..Budget::default() };
    let sleep = || {
        std::thread::sleep(Duration::from_secs(6));
        look_20_times();
    };
    let words = vec!["does not end within 5s of virtual time".to_owned()];
    assert_eq!(end_of(over, sleep), (Some(EXIT_HUNG), words));
}

#[test]
fn waiting_for_a_lock_that_no_thread_can_release_is_a_deadlock() {
    let script = || {
        let (one, two) = (File::create(at("a")).expect("new"), File::open(at("a")).expect("there"));
        one.lock().expect("it is free");
        drop(two.lock());
    };
    let words = vec!["is in a deadlock: thread 1 waits for a lock on a file".to_owned()];
    assert_eq!(end_of(Budget::default(), script), (Some(EXIT_HUNG), words));
}

#[test]
fn a_system_call_past_the_doors_is_served() {
    let script = || {
        traps::install().expect("this kernel has seccomp");
        let file = File::create(at("a")).expect("the doors still work");
        assert_eq!(past_the_doors(file.as_raw_fd()), 0);
        assert_eq!(past_the_doors(file.as_raw_fd() + 1), -i64::from(libc::EBADF));
    };
    assert_eq!(end_of(Budget::default(), script), (Some(0), vec![]));
}

#[test]
fn a_simulated_descriptor_that_the_harness_passes_to_the_kernel_ends_the_run() {
    let script = || {
        traps::install().expect("this kernel has seccomp");
        let file = File::create(at("a")).expect("the doors still work");
        crashpoint::inner::process::seam::outside(|| past_the_doors(file.as_raw_fd()));
    };
    let words = vec!["fsync".to_owned()];
    assert_eq!(end_of(Budget::default(), script), (Some(EXIT_LEAKED), words));
}

#[test]
fn with_traps_set_the_doors_and_the_kernel_work_as_before() {
    let script = || {
        traps::install().expect("this kernel has seccomp");
        fs::write(at("a"), b"x").expect("the disk works");
        assert_eq!(fs::read(at("a")).expect("the disk works"), b"x");
        assert!(!fs::read("/proc/self/stat").expect("the host works").is_empty());
        assert!(File::open("/none").is_err());
    };
    assert_eq!(end_of(Budget::default(), script), (Some(0), vec![]));
}
