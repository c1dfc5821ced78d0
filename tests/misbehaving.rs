//! Stores that misbehave in every way that a process can, in the run or only when they recover:
//! each way is distinguished and named, and the process that tests them survives.

#[path = "wild/bypasses.rs"]
mod bypasses;
#[path = "wild/calls.rs"]
mod calls;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crashpoint::inner::sim::store::{KeyModel, KeyOp};
use crashpoint::{Ack, Engine, Error, KeyValue, Promises, Sim, State, Step, Store};
use expect_test::{Expect, expect};

/// One way to misbehave.
trait Act: 'static {
    const NAME: &'static str;
    /// Short, for stores that use it up.
    const CPU: Duration = Duration::from_millis(500);

    fn act(dir: &Path) -> Result<(), Error>;

    /// Falsifies the result of a scan.
    fn falsify(_: &mut Vec<(Vec<u8>, Vec<u8>)>) {}
}

/// A store that keeps its promises except for the act: at the first put, or when it recovers.
/// It holds everything in memory; a sync replaces one file.
struct Snapshot<A, const RECOVERY: bool> {
    dir: PathBuf,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    recovered: bool,
    act: PhantomData<A>,
}

/// A file that exists while the store is open, and so after a crash.
const OPEN: &str = "open";

impl<A: Act, const RECOVERY: bool> Store for Snapshot<A, RECOVERY> {
    const NAME: &'static str = A::NAME;
    const CPU: Duration = A::CPU;

    fn open(dir: &Path) -> Result<Self, Error> {
        let recovered = dir.join(OPEN).exists();
        if RECOVERY && recovered {
            A::act(dir)?;
        }
        File::create(dir.join(OPEN))?;
        let bytes = fs::read(dir.join("items")).unwrap_or_default();
        let text = String::from_utf8(bytes)?;
        let mut items = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').ok_or("a line without a space")?;
            items.insert(key.into(), value.into());
        }
        Ok(Self { dir: dir.to_owned(), items, recovered, act: PhantomData })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if !RECOVERY {
            A::act(&self.dir)?;
        }
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut text = Vec::new();
        for (key, value) in &self.items {
            text.extend_from_slice(&[key, &b" "[..], value, b"\n"].concat());
        }
        let new = self.dir.join("items.new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(new, self.dir.join("items"))?;
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let mut items: Vec<_> = self.items.clone().into_iter().collect();
        if self.recovered == RECOVERY {
            A::falsify(&mut items);
        }
        Ok(items)
    }
}

impl<A, const RECOVERY: bool> Drop for Snapshot<A, RECOVERY> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut text = Vec::new();
        for (key, value) in &self.items {
            text.extend_from_slice(&[key, &b" "[..], value, b"\n"].concat());
        }
        // On `posix` a power loss may leave one file under both names of a rename: writing to
        // `items.new` would then empty `items`.
        let _ = fs::remove_file(self.dir.join("items.new"));
        let replaced = fs::write(self.dir.join("items.new"), text)
            .and_then(|()| File::open(self.dir.join("items.new"))?.sync_all())
            .and_then(|()| fs::rename(self.dir.join("items.new"), self.dir.join("items")))
            .and_then(|()| fs::remove_file(self.dir.join(OPEN)));
        replaced.expect("nothing fails here");
    }
}

/// The report of a check; `None` if it passes.
fn says(check: fn()) -> Option<String> {
    let payload = std::panic::catch_unwind(check).err()?;
    let text = payload.downcast_ref::<String>().expect("a check panics with a text");
    Some(text.clone())
}

/// The lines of a report with the violation and its place, or the whole of another text.
fn gist(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(digest) = lines.iter().position(|line| line.starts_with("  digest ")) {
        let following = lines[digest + 2..].iter().take_while(|line| !line.is_empty()).count();
        lines.truncate(digest + 2 + following);
        // A fact that is left out may take two lines.
        let mut left_out = false;
        lines.retain(|line| {
            let word = line.split_whitespace().next().unwrap_or_default();
            let more = left_out && line.starts_with("           ");
            let unsteady = ["seed", "shrunk", "disk", "digest", "crash", ""];
            left_out = more || unsteady.contains(&word);
            !left_out
        });
    }
    lines.iter().map(|line| format!("{}\n", without_numbers(line))).collect()
}

/// A line without the numbers that change with this file.
fn without_numbers(line: &str) -> String {
    match line.split_once(".rs:") {
        None => line.trim().to_owned(),
        Some((head, tail)) => {
            // A caller in the same file is a bare number.
            let digit = |c: char| c.is_ascii_digit();
            let mut tail = tail.trim_start_matches(digit);
            while let Some(caller) = tail.strip_prefix(" < ").filter(|rest| rest.starts_with(digit))
            {
                tail = caller.trim_start_matches(digit);
            }
            format!("{}.rs:N{}", head.trim_start(), without_numbers(tail))
        }
    }
}

/// Checks the reports of an act in the run, and of the same act only in recovery.
fn check_act<A: Act>(expected: &Expect) {
    let run = says(crashpoint::check_store::<Snapshot<A, false>>).expect("in the run");
    let recovery = says(crashpoint::check_store::<Snapshot<A, true>>).expect("in recovery");
    expected.assert_eq(&format!("{}\n{}", gist(&run), gist(&recovery)));
}

/// Declares acts.
macro_rules! acts {
    ($($name:ident $word:literal |$dir:ident| $act:expr;)*) => {
        $(
            struct $name;

            impl Act for $name {
                const NAME: &'static str = $word;

                fn act($dir: &Path) -> Result<(), Error> {
                    $act
                }
            }
        )*
    };
}

struct CallsOften;

impl Act for CallsOften {
    const NAME: &'static str = "calls-often";
    // As in other stores: its budget of calls ends first.
    const CPU: Duration = Duration::from_secs(10);

    fn act(dir: &Path) -> Result<(), Error> {
        loop {
            fs::metadata(dir)?;
        }
    }
}

#[path = "wild/errors.rs"]
mod errors;
#[path = "wild/panics.rs"]
mod panics;

acts! {
    Nothing "good-store" |_dir| Ok(());
    Fails "fails" |_dir| Err("no such luck".into());
    Panics "panics" |_dir| panic!("unexpected");
    PanicsInTwoLines "panics-twice" |_dir| panic!("first line\nsecond line");
    Aborts "aborts" |_dir| std::process::abort();
    Exits "exits" |_dir| std::process::exit(0);
    Overflows "overflows" |dir| recurse(dir);
    Spins "spins" |_dir| loop { std::hint::spin_loop() };
    SleepsLong "sleeps-long" |_dir| loop { std::thread::sleep(Duration::MAX) };
    SleepsOften "sleeps-often" |_dir| loop { std::thread::sleep(Duration::from_secs(60)) };
    Waits "waits" |_dir| wait_for_the_host();
    Deadlocks "deadlocks" |_dir| lock_twice();
    Eats "eats" |_dir| eat();
    Leaves "leaves-a-thread" |_dir| leave_a_thread();
    SpinsBeside "spins-beside" |_dir| spin_beside();
    LooksOutside "looks-outside" |dir| note_what_is_real(dir);
    Spawns "spawns" |_dir| spawn();
    Forks "forks" |_dir| Ok(calls::fork()?);
    ForksBare "forks-bare" |_dir| Ok(bypasses::fork_bare()?);
    Replaces "replaces-itself" |_dir| Ok(bypasses::replace()?);
    ForksInside "forks-inside" |_dir| fork_inside();
    Pipes "pipes" |dir| make_pipe(dir);
    Rearranges "rearranges" |dir| Ok(calls::rearrange_pages(&new(dir)?)?);
    Locks "locks" |dir| lock_from_two_descriptors(dir);
}

fn new(dir: &Path) -> Result<File, Error> {
    Ok(File::create_new(dir.join("map"))?)
}

fn make_pipe(dir: &Path) -> Result<(), Error> {
    let path = dir.join("pipe").into_os_string().into_string().expect("the mount is text");
    bypasses::make_pipe(&std::ffi::CString::new(path).expect("a path has no NUL"));
    Ok(())
}

fn fork_inside() -> Result<(), Error> {
    bypasses::fork_inside();
    Ok(())
}

/// Needs more stack than there is.
fn recurse(dir: &Path) -> Result<(), Error> {
    let depth = descend(dir, 1 << 40);
    Err(format!("came back from {depth}").into())
}

#[inline(never)]
fn descend(dir: &Path, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let mut frame = [depth; 512];
    frame[depth % 512] = descend(std::hint::black_box(dir), depth - 1);
    std::hint::black_box(frame)[0] + 1
}

/// Starts a thread that sleeps for ever, and drops its handle.
fn leave_a_thread() -> Result<(), Error> {
    let sleep = || loop {
        std::thread::sleep(Duration::from_secs(3600))
    };
    std::thread::Builder::new().spawn(sleep)?;
    Ok(())
}

#[inline(never)]
fn spin_until(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {}
}

/// Spins on a second thread, without a call, until the first sets a flag, which it never does.
fn spin_beside() -> Result<(), Error> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| spin_until(&stop));
        std::thread::yield_now();
        std::thread::sleep(Duration::from_secs(1));
    });
    Ok(())
}

/// Writes to a file the number that the real machine has for a directory of this process.
fn note_what_is_real(dir: &Path) -> Result<(), Error> {
    // Of what it reads, only the number differs.
    fs::read("/proc/self/limits")?;
    let number = fs::metadata("/proc/self")?.ino();
    Ok(fs::write(dir.join("noted"), format!("{number:>40}"))?)
}

fn spawn() -> Result<(), Error> {
    let status = std::process::Command::new("true").status()?;
    if status.success() { Ok(()) } else { Err("it failed".into()) }
}

fn wait_for_the_host() -> Result<(), Error> {
    let (mut reader, _writer) = std::io::pipe()?;
    Ok(reader.read_exact(&mut [0])?)
}

fn lock_twice() -> Result<(), Error> {
    let mutex = std::sync::Mutex::new(());
    let _one = mutex.lock().expect("it is not poisoned");
    let _two = std::hint::black_box(&mutex).lock().expect("it is not poisoned");
    Ok(())
}

fn eat() -> Result<(), Error> {
    let mut eaten = Vec::new();
    loop {
        eaten.push(Vec::<u8>::with_capacity(64 << 20));
    }
}

fn lock_from_two_descriptors(dir: &Path) -> Result<(), Error> {
    let (one, two) = (File::create(dir.join("lock"))?, File::open(dir.join("lock"))?);
    one.lock()?;
    Ok(two.lock()?)
}

#[test]
fn a_store_that_fails_is_open_failed() {
    let recovery = says(crashpoint::check_store::<Snapshot<Fails, true>>).expect("in recovery");
    expect![[r#"
        FAIL fails on posix: cannot be opened after a crash during its creation
        class    create-interrupted  (create-interrupted:open-failed)
        no such luck
    "#]]
    .assert_eq(&gist(&recovery));
}

#[test]
fn a_panic_is_named_with_its_place() {
    check_act::<Panics>(&expect![[r#"
        FAIL panics on posix: panicked
        class    panicked  (panicked:step@tests/misbehaving.rs:N)
        in step 1: panicked at tests/misbehaving.rs:N: unexpected

        FAIL panics on posix: panicked
        class    panicked  (panicked:open@tests/misbehaving.rs:N)
        while opening: panicked at tests/misbehaving.rs:N: unexpected
    "#]]);
    check_act::<PanicsInTwoLines>(&expect![[r#"
        FAIL panics-twice on posix: panicked
        class    panicked  (panicked:step@tests/misbehaving.rs:N)
        in step 1: panicked at tests/misbehaving.rs:N: first line
        second line

        FAIL panics-twice on posix: panicked
        class    panicked  (panicked:open@tests/misbehaving.rs:N)
        while opening: panicked at tests/misbehaving.rs:N: first line
        second line
    "#]]);
}

#[test]
fn an_abort_is_named_with_its_last_words() {
    check_act::<Aborts>(&expect![[r#"
        FAIL aborts on posix: ended the process
        class    aborted  (aborted:step@tests/misbehaving.rs:N)
        in step 1: aborted by SIGABRT
        at tests/misbehaving.rs:N

        FAIL aborts on posix: ended the process
        class    aborted  (aborted:open@tests/misbehaving.rs:N)
        while opening: aborted by SIGABRT
        at tests/misbehaving.rs:N
    "#]]);
    check_act::<Exits>(&expect![[r#"
        FAIL exits on posix: ended the process
        class    aborted  (aborted:step)
        in step 1: ended the process with exit code 0

        FAIL exits on posix: ended the process
        class    aborted  (aborted:open)
        while opening: ended the process with exit code 0
    "#]]);
}

#[test]
fn a_good_store_passes_in_the_process_that_saw_a_bad_one() {
    assert!(says(crashpoint::check_store::<Snapshot<Exits, false>>).is_some());
    crashpoint::check_store::<Snapshot<Nothing, false>>();
}

#[test]
fn a_full_stack_is_distinguished_from_other_aborts() {
    check_act::<Overflows>(&expect![[r#"
        FAIL overflows on posix: ended the process
        class    aborted  (aborted:step)
        in step 1: overflowed its stack
        at tests/misbehaving.rs:N

        FAIL overflows on posix: ended the process
        class    aborted  (aborted:open)
        while opening: overflowed its stack
        at tests/misbehaving.rs:N
    "#]]);
}

#[test]
fn a_difference_between_runs_is_named_with_its_call() {
    let said = says(crashpoint::check_store::<Snapshot<LooksOutside, true>>).expect("in recovery");
    assert!(said.contains("not deterministic"), "{said}");
    let call = "the first difference: `write noted 40 0 = 40 tests/misbehaving.rs:";
    assert!(said.contains(call) && said.contains("carried other bytes"), "{said}");
    assert!(said.contains("; note: the engine read from the host: /proc/self/limits"), "{said}");
}

#[test]
fn an_endless_loop_is_hung() {
    let run = says(crashpoint::check_store::<Snapshot<Spins, false>>).expect("in the run");
    let recovery = says(crashpoint::check_store::<Snapshot<Spins, true>>).expect("in recovery");
    let text = format!("{}\n{}", gist(&run), gist(&recovery));
    // Where the CPU limit interrupts a loop depends on the machine, so the line is not compared.
    let lines = text.lines().filter(|line| !line.starts_with("at "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    expect![[r#"
        FAIL spins on posix: hangs
        class    hung  (hung:step)
        in step 1: used up its CPU time without an end

        FAIL spins on posix: hangs
        class    hung  (hung:open)
        while opening: used up its CPU time without an end
    "#]]
    .assert_eq(&text);
}

#[test]
fn an_endless_sleep_in_virtual_time_is_hung() {
    check_act::<SleepsLong>(&expect![[r#"
        FAIL sleeps-long on posix: hangs
        class    hung  (hung:step)
        in step 1: does not end within 86400s of virtual time

        FAIL sleeps-long on posix: hangs
        class    hung  (hung:open)
        while opening: does not end within 86400s of virtual time
    "#]]);
    check_act::<SleepsOften>(&expect![[r#"
        FAIL sleeps-often on posix: hangs
        class    hung  (hung:step)
        in step 1: does not end within 86400s of virtual time

        FAIL sleeps-often on posix: hangs
        class    hung  (hung:open)
        while opening: does not end within 86400s of virtual time
    "#]]);
}

#[test]
fn an_endless_loop_of_calls_is_hung() {
    check_act::<CallsOften>(&expect![[r#"
        FAIL calls-often on posix: hangs
        class    hung  (hung:step)
        in step 1: does not end within 1000000 calls

        FAIL calls-often on posix: hangs
        class    hung  (hung:open)
        while opening: does not end within 1000000 calls
    "#]]);
}

#[test]
fn a_wait_for_the_host_is_not_simulated() {
    check_act::<Waits>(&expect![[r#"
        crashpoint cannot test waits: waits called read that waits for descriptor 6, which is not simulated (tests/misbehaving.rs:N); nothing in this process can end that wait: leave the network and the input off under test

        crashpoint cannot test waits: waits called read that waits for descriptor 6, which is not simulated (tests/misbehaving.rs:N); nothing in this process can end that wait: leave the network and the input off under test
    "#]]);
}

#[test]
fn a_lock_taken_twice_is_a_deadlock() {
    check_act::<Deadlocks>(&expect![[r#"
        FAIL deadlocks on posix: hangs
        class    hung  (hung:step)
        in step 1: is in a deadlock: thread 1 waits for a futex

        FAIL deadlocks on posix: hangs
        class    hung  (hung:open)
        while opening: is in a deadlock: thread 1 waits for a futex
    "#]]);
}

#[test]
fn a_file_lock_that_is_never_released_is_a_deadlock() {
    check_act::<Locks>(&expect![[r#"
        FAIL locks on posix: hangs
        class    hung  (hung:step)
        in step 1: is in a deadlock: thread 1 waits for a lock on a file

        FAIL locks on posix: hangs
        class    hung  (hung:open)
        while opening: is in a deadlock: thread 1 waits for a lock on a file
    "#]]);
}

#[test]
fn a_thread_that_outlives_its_store_is_leaked() {
    check_act::<Leaves>(&expect![[r#"
        FAIL leaves-a-thread on posix: left threads behind
        class    leaked  (leaked)
        1 thread of the engine still ran after its close

        FAIL leaves-a-thread on posix: left threads behind
        class    leaked  (leaked)
        1 thread of the engine still ran after its close
    "#]]);
}

#[test]
fn a_thread_that_spins_without_a_call_is_hung() {
    check_act::<SpinsBeside>(&expect![[r#"
        FAIL spins-beside on posix: hangs
        class    hung  (hung:step)
        in step 1: used up its CPU time without an end
        at tests/misbehaving.rs:N

        FAIL spins-beside on posix: hangs
        class    hung  (hung:open)
        while opening: used up its CPU time without an end
        at tests/misbehaving.rs:N
    "#]]);
}

#[test]
fn refused_memory_is_distinguished_from_other_aborts() {
    check_act::<Eats>(&expect![[r#"
        FAIL eats on posix: asked for too much memory
        class    out-of-memory  (out-of-memory:step)
        in step 1: ran out of memory; its last words: memory allocation of 67108864
        bytes failed

        FAIL eats on posix: asked for too much memory
        class    out-of-memory  (out-of-memory:open)
        while opening: ran out of memory; its last words: memory allocation of
        67108864 bytes failed
    "#]]);
}

#[test]
fn a_call_that_is_not_simulated_is_named() {
    check_act::<Spawns>(&expect![[r#"
        crashpoint cannot test spawns: spawns called posix_spawnp, which is not simulated (tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test

        crashpoint cannot test spawns: spawns called posix_spawnp, which is not simulated (tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test
    "#]]);
    check_act::<Forks>(&expect![[r#"
        crashpoint cannot test forks: forks called fork, which is not simulated (tests/wild/calls.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test

        crashpoint cannot test forks: forks called fork, which is not simulated (tests/wild/calls.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test
    "#]]);
    check_act::<ForksBare>(&expect![[r#"
        crashpoint cannot test forks-bare: forks-bare called _Fork, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test

        crashpoint cannot test forks-bare: forks-bare called _Fork, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test
    "#]]);
    check_act::<Replaces>(&expect![[r#"
        crashpoint cannot test replaces-itself: replaces-itself called execve, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test

        crashpoint cannot test replaces-itself: replaces-itself called execve, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test
    "#]]);
    check_act::<ForksInside>(&expect![[r#"
        crashpoint cannot test forks-inside: forks-inside called clone, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test

        crashpoint cannot test forks-inside: forks-inside called clone, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); do the work in the engine's own process, or leave that feature off under test
    "#]]);
    check_act::<Pipes>(&expect![[r#"
        crashpoint cannot test pipes: pipes called mkfifo, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); put sockets and pipes outside the store's directory

        crashpoint cannot test pipes: pipes called mkfifo, which is not simulated (tests/wild/bypasses.rs:N< tests/misbehaving.rs:N); put sockets and pipes outside the store's directory
    "#]]);
    check_act::<Rearranges>(&expect![[r#"
        crashpoint cannot test rearranges: rearranges called remap_file_pages, which is not simulated (tests/wild/calls.rs:N< tests/misbehaving.rs:N); configure the engine not to make it, or ask for it in an issue

        crashpoint cannot test rearranges: rearranges called remap_file_pages, which is not simulated (tests/wild/calls.rs:N< tests/misbehaving.rs:N); configure the engine not to make it, or ask for it in an issue
    "#]]);
}

/// Scans one of its keys twice.
struct ScansTwice;

impl Act for ScansTwice {
    const NAME: &'static str = "scans-twice";

    fn act(_: &Path) -> Result<(), Error> {
        Ok(())
    }

    fn falsify(items: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        items.extend(items.first().cloned());
    }
}

#[test]
fn a_scan_that_lists_a_key_twice_is_read_failed() {
    check_act::<ScansTwice>(&expect![[r#"
        FAIL scans-twice on posix: cannot be read after a crash
        class    read-failed  (read-failed)
        the scan lists a twice

        FAIL scans-twice on posix: cannot be read after a crash
        class    read-failed  (read-failed)
        the scan lists a twice
    "#]]);
}

/// Writes a file that is not on the simulated disk.
struct WritesOutside;

impl Act for WritesOutside {
    const NAME: &'static str = "writes-outside";

    fn act(_: &Path) -> Result<(), Error> {
        Ok(fs::write(std::env::temp_dir().join("crashpoint-outside"), "x")?)
    }
}

#[test]
fn a_file_outside_the_directory_is_noted() {
    crashpoint::check_store::<Snapshot<WritesOutside, false>>();
    let text = written("writes-outside.txt");
    assert!(text.contains("  note     the engine opened a file outside its directory"), "{text}");
    assert!(text.contains("crashpoint-outside\n"), "{text}");
}

/// The file that a passing check wrote to Cargo's target folder.
fn written(name: &str) -> String {
    let test = std::env::current_exe().expect("a path");
    let tagged = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let target = test.ancestors().skip(1).find(tagged).expect("the target folder");
    fs::read_to_string(target.join("crashpoint").join(name)).expect("a text")
}

/// An engine whose lookup does not find the items of its scan.
struct Blind(Snapshot<Nothing, false>);

impl Engine for Blind {
    type Op = KeyOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        Store::open(dir).map(Self)
    }

    fn apply(&mut self, op: &KeyOp) -> Result<Ack, Error> {
        match op {
            KeyOp::Put(key, value) => self.0.put(key, value)?,
            KeyOp::Delete(key) => self.0.delete(key)?,
            KeyOp::Sync => {
                self.0.sync()?;
                return Ok(Ack::DURABLE);
            }
        }
        Ok(Ack::BUFFERED)
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(self.0.scan()?.into_iter().collect())
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let found = self.0.items.get(item).filter(|_| !self.0.recovered);
        Some(Ok(found.cloned()))
    }
}

/// The sim of the blind engine.
struct BlindSim;

impl Sim for BlindSim {
    type Engine = Blind;
    type Model = KeyModel;

    const NAME: &'static str = "blind";
    const ABOUT: &'static str = "an engine whose lookup finds nothing after a crash";

    fn promises() -> Promises<KeyModel> {
        KeyValue::<Snapshot<Nothing, false>>::promises()
    }

    fn workload(steps: usize) -> proptest::strategy::BoxedStrategy<Vec<Step<KeyOp>>> {
        KeyValue::<Snapshot<Nothing, false>>::workload(steps)
    }
}

#[test]
fn a_lookup_that_contradicts_the_scan_is_inconsistent() {
    let said = says(crashpoint::check::<BlindSim>).expect("it disagrees");
    expect![[r#"
        FAIL blind on posix: contradicts itself
        class    inconsistent  (inconsistent)
        get a is absent, the scan has 0
    "#]]
    .assert_eq(&gist(&said));
}
