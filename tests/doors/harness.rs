//! Runs a script on the engine's side of a fresh world and keeps the outcome.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crashpoint::Time;
use crashpoint::inner::disk::Ino;
use crashpoint::inner::disk::effect::Effect;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::log::{self, Call, Payload, Record};
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{self, MOUNT, Note, Setup, Sink, World};

/// A log in memory.
#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

impl Sink for Memory {
    fn append(&self, record: &Record<'_>) -> bool {
        let mut space = vec![0; 1 << 16];
        let mut used = log::encode(record, &mut space);
        if used.is_none() {
            space.resize(1 << 24, 0);
            used = log::encode(record, &mut space);
        }
        let Some(used) = used else { return false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&space[..used]);
        true
    }
}

/// The outcome of a script: its result, and the state of its world at the end.
pub(crate) struct Ran<R> {
    pub(crate) result: R,
    pub(crate) log: Vec<u8>,
    pub(crate) tree: Tree,
    pub(crate) notes: Vec<Note>,
    pub(crate) now: Time,
    pub(crate) saw_clock: bool,
}

impl<R> Ran<R> {
    pub(crate) fn events(&self) -> impl Iterator<Item = Payload<'_>> {
        log::records(&self.log).map(|record| record.payload)
    }

    pub(crate) fn effects(&self) -> Vec<Effect<'_>> {
        let effect = |event| if let Payload::Effect(effect) = event { Some(effect) } else { None };
        self.events().filter_map(effect).collect()
    }

    /// The inode of a name in the root directory at the end.
    pub(crate) fn ino(&self, name: &str) -> Ino {
        self.tree.entry(Ino::ROOT, name.as_bytes()).expect("it is on the disk")
    }

    pub(crate) fn calls(&self) -> Vec<Call<'_>> {
        let call = |event| if let Payload::Call(call) = event { Some(call) } else { None };
        self.events().filter_map(call).collect()
    }

    pub(crate) fn doors(&self) -> Vec<&str> {
        self.calls().iter().map(|call| call.door).collect()
    }
}

/// A path on the simulated disk.
pub(crate) fn at(name: &str) -> PathBuf {
    Path::new(MOUNT).join(name)
}

/// The error number of a failure.
pub(crate) fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// The names in a directory of the simulated disk, in order.
pub(crate) fn names(directory: &str) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = fs::read_dir(at(directory))?.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// A process has one world.
static ONE: Mutex<()> = Mutex::new(());

/// Runs a function that installs its own world.
pub(crate) fn alone<R>(run: impl FnOnce() -> R) -> R {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    run()
}

/// Runs a function on the harness's side while a world with an empty disk is installed.
pub(crate) fn with_world<R>(run: impl FnOnce() -> R) -> R {
    alone(|| {
        World::install(Setup::new(Tree::new(), Box::leak(Box::<Memory>::default())));
        let result = run();
        World::remove();
        result
    })
}

/// Runs a script on a fresh thread, on the engine's side of a world with an empty disk.
pub(crate) fn run<R: Send>(script: impl FnOnce() -> io::Result<R> + Send) -> Ran<R> {
    run_in(|_| {}, script)
}

/// As [`run`], in a world that `change` sets up.
pub(crate) fn run_in<R: Send>(
    change: impl FnOnce(&mut Setup),
    script: impl FnOnce() -> io::Result<R> + Send,
) -> Ran<R> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sink: &'static Memory = Box::leak(Box::default());
    let mut setup = Setup::new(Tree::new(), sink);
    change(&mut setup);
    let live = move || {
        World::install(setup);
        seam::engine(script)
    };
    let ran = thread::scope(|scope| scope.spawn(live).join());
    let (tree, notes) = (world::tree(), world::notes());
    let (now, saw_clock) = (world::now(), world::saw_clock());
    World::remove();
    let result = match ran {
        Ok(result) => result.expect("the script works"),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let log = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ran { result, log, tree: tree.expect("a world is installed"), notes, now, saw_clock }
}
