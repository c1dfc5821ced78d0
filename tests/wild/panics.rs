//! Panics on threads of the engine, some of which the engine never notices.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, Builder};

use crashpoint::Error;
use expect_test::expect;

use super::{Act, Snapshot, check_act, says};

acts! {
    Detached "panics-detached" |_dir| detached();
    Forgotten "panics-forgotten" |_dir| forgotten();
    WaitedFor "panics-waited-for" |_dir| waited_for();
    Survived "panics-survived" |dir| joined().and_then(|()| scoped()).and_then(|()| caught(dir));
}

fn detached() -> Result<(), Error> {
    drop(Builder::new().name("remover".into()).spawn(|| panic!("nothing to remove"))?);
    Ok(())
}

/// The handle is forgotten, so that the thread is never joined.
fn forgotten() -> Result<(), Error> {
    std::mem::forget(Builder::new().spawn(|| panic!("nobody listens"))?);
    Ok(())
}

/// The other thread panics before it reaches the gate.
fn waited_for() -> Result<(), Error> {
    let gate = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            if fs::metadata("/proc/crashpoint").is_ok() {
                panic!("before the gate");
            }
            gate.wait();
        });
        gate.wait();
    });
    Ok(())
}

fn joined() -> Result<(), Error> {
    let lost = Builder::new().spawn(|| panic!("the writer"))?;
    thread::sleep(std::time::Duration::from_millis(1));
    if lost.join().is_err() { Ok(()) } else { Err("it should have panicked".into()) }
}

fn scoped() -> Result<(), Error> {
    let both = || thread::scope(|scope| drop(scope.spawn(|| panic!("in a scope"))));
    match std::panic::catch_unwind(both) {
        Err(_) => Ok(()),
        Ok(()) => Err("it should have panicked".into()),
    }
}

/// A worker that survives panics of its jobs, as a pool's workers do.
fn caught(dir: &Path) -> Result<(), Error> {
    let (send, jobs) = mpsc::channel::<fn()>();
    let (done, is_done) = mpsc::channel();
    let work = move || {
        for job in jobs {
            let result = std::panic::catch_unwind(job);
            // The caller may have ended already.
            let _ = done.send(result.is_err());
        }
    };
    Builder::new().spawn(work)?;
    send.send(|| panic!("a job"))?;
    let failed = is_done.recv()?;
    fs::metadata(dir)?;
    if failed { Ok(()) } else { Err("it should have panicked".into()) }
}

#[test]
fn a_panic_on_a_thread_that_is_never_joined_is_reported_with_its_thread_and_location() {
    check_act::<Detached>(&expect![[r#"
        FAIL panics-detached on posix: panicked
        class    panicked  (panicked:thread@tests/wild/panics.rs:N)
        thread 2 `remover` panicked at tests/wild/panics.rs:N, and was not joined:
        nothing to remove

        FAIL panics-detached on posix: panicked
        class    panicked  (panicked:thread@tests/wild/panics.rs:N)
        thread 2 `remover` panicked at tests/wild/panics.rs:N, and was not joined:
        nothing to remove
    "#]]);
    let forgotten = says(crashpoint::check_store::<Snapshot<Forgotten, false>>).expect("it fails");
    assert!(forgotten.contains("panicked at tests/wild/panics.rs"), "{forgotten}");
    assert!(forgotten.contains(", and was not joined: nobody"), "{forgotten}");
}

#[test]
fn a_deadlock_after_a_panic_names_the_panic() {
    check_act::<WaitedFor>(&expect![[r#"
        FAIL panics-waited-for on posix: hangs
        class    hung  (hung:step)
        in step 1: is in a deadlock: thread 1 waits for a futex; before that, thread 2
        panicked at tests/wild/panics.rs:N: before the gate

        FAIL panics-waited-for on posix: hangs
        class    hung  (hung:open)
        while opening: is in a deadlock: thread 1 waits for a futex; before that,
        thread 2 panicked at tests/wild/panics.rs:N: before the gate
    "#]]);
}

#[test]
fn a_panic_that_the_engine_joins_or_catches_is_not_reported() {
    assert_eq!(says(crashpoint::check_store::<Snapshot<Survived, false>>), None);
}
