//! Runs a scene in its own process, on the engine's side of a world, and keeps the outcome.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::host::child::{self, Limits};
use crashpoint::inner::host::ending::Ending;
use crashpoint::inner::host::fork_server::{ForkServer, Reply};
use crashpoint::inner::host::region::Region;
use crashpoint::inner::log::{Mark, Payload, Record, records};
use crashpoint::inner::process::doors::traps;
use crashpoint::inner::process::seam::{self, Side};
use crashpoint::inner::process::world::schedule::{Plan, Turn};
use crashpoint::inner::process::world::{self, MOUNT, Setup, World};
use serde::{Deserialize, Serialize};

/// The outcome of a scene.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The text that it returned; empty if it did not finish.
    pub(crate) said: String,
    pub(crate) ending: Ending,
    /// Why it was hung, in words.
    pub(crate) hung: Option<String>,
    /// Each call: thread, door, path and result.
    pub(crate) calls: Vec<String>,
    /// Calls that are not simulated.
    pub(crate) refused: Vec<String>,
    /// Its turns: decision and thread.
    pub(crate) turns: Vec<(u64, u32)>,
    /// How many threads were left over at its end.
    pub(crate) leaked: u32,
    /// A digest of all its records with their times.
    pub(crate) digest: u64,
}

/// How a scene is scheduled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum By {
    Seed(u64),
    Turns(Vec<(u64, u32)>),
}

/// Runs a scene in a fresh fork server.
pub(crate) fn left<S: IsScene>(by: By) -> Left {
    let mut fork_server = ForkServer::start().expect("the fork server starts");
    in_fork_server::<S>(&mut fork_server, by)
}

/// Runs a scene in this fork server.
pub(crate) fn in_fork_server<S: IsScene>(fork_server: &mut ForkServer, by: By) -> Left {
    let mut frames = Vec::new();
    let request = serde_json::to_vec(&by).expect("it serialises");
    fork_server
        .call(explore::<S>, &request, &mut |frame| frames.push(frame.to_vec()))
        .expect("ends");
    serde_json::from_slice(&frames.concat()).expect("the outcome")
}

/// A scene as a type, so that another process can run it.
pub(crate) trait IsScene {
    fn play() -> String;
}

/// Defines scenes.
macro_rules! scenes {
    ($($name:ident $body:block)*) => {
        $(
            struct $name;
            impl $crate::rig::IsScene for $name {
                fn play() -> String $body
            }
        )*
    };
}
pub(crate) use scenes;

fn explore<S: IsScene>(request: &[u8], reply: &mut Reply<'_>) {
    traps::install().expect("this kernel has seccomp");
    let by: By = serde_json::from_slice(request).expect("a plan");
    let region = Region::new().expect("memory");
    let limits = Limits { cpu: Duration::from_secs(2), ..Limits::default() };
    let ending = child::run(&region, &limits, |region| {
        let turn = |(decision, thread)| Turn { decision, thread };
        let schedule = match by {
            By::Seed(seed) => Plan::Drawn { seed, decisions: None },
            By::Turns(turns) => Plan::Listed(turns.into_iter().map(turn).collect()),
        };
        World::install(Setup { schedule, ..Setup::new(Tree::new(), region) });
        // Engine code allocates on both sides of the seam; so does this allocator.
        NOISY.store(true, Ordering::Relaxed);
        let said = seam::engine(S::play);
        let threads = crashpoint::inner::process::settle(world::now() + Duration::from_secs(1));
        NOISY.store(false, Ordering::Relaxed);
        world::mark(Mark::Leaked(u32::try_from(threads).unwrap_or(u32::MAX)));
        world::mark(Mark::Observed(said.as_bytes()));
    });
    let left = read(region.bytes(), ending);
    reply.send(&serde_json::to_vec(&left).expect("it serialises"));
}

fn read(log: &[u8], ending: Ending) -> Left {
    let mut left = Left {
        said: String::new(),
        ending,
        hung: None,
        calls: Vec::new(),
        refused: Vec::new(),
        turns: Vec::new(),
        leaked: 0,
        digest: 0,
    };
    for Record { at, payload } in records(log) {
        match payload {
            Payload::Call(call) => {
                let path = String::from_utf8_lossy(call.path);
                left.calls.push(format!("{} {} {path} {}", call.thread, call.door, call.result));
            }
            Payload::Mark(Mark::Observed(said)) => {
                left.said = String::from_utf8_lossy(said).into_owned();
            }
            Payload::Mark(Mark::Hung(why)) => left.hung = Some(why.to_owned()),
            Payload::Mark(Mark::NotSimulated(call, _)) => left.refused.push(call.to_owned()),
            Payload::Mark(Mark::Turn(turn)) => left.turns.push((turn.decision, turn.thread)),
            Payload::Mark(Mark::Leaked(threads)) => left.leaked = threads,
            _ => {}
        }
        let line = format!("{at:?} {payload:?}");
        left.digest = line.bytes().fold(left.digest, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(9)
        });
    }
    left
}

/// The path of a file on the simulated disk.
pub(crate) fn at(name: &str) -> String {
    format!("{MOUNT}/{name}")
}

/// Runs a scene with these seeds, each three times in separate processes and once from the list of
/// its turns. The three must be the same to the last record; the fourth must have the same calls
/// and turns, and the same reason if it hangs.
pub(crate) fn same_in_every_process<S: IsScene>(seeds: std::ops::Range<u64>) -> Vec<Left> {
    let mut fork_server = ForkServer::start().expect("the fork server starts");
    let mut all = Vec::new();
    for seed in seeds {
        let first = in_fork_server::<S>(&mut fork_server, By::Seed(seed));
        for again in
            [in_fork_server::<S>(&mut fork_server, By::Seed(seed)), left::<S>(By::Seed(seed))]
        {
            assert_eq!(again, first, "seed {seed}");
        }
        // The list itself takes memory, so the addresses may differ, but nothing else.
        let listed = in_fork_server::<S>(&mut fork_server, By::Turns(first.turns.clone()));
        let order = |left: &Left| (left.calls.clone(), left.turns.clone(), left.hung.clone());
        assert_eq!(order(&listed), order(&first), "the turns of seed {seed}");
        all.push(first);
    }
    all
}

/// An allocator like those that engines bring along: it takes a lock and reads the clock.
struct Noisy;

static NOISY: AtomicBool = AtomicBool::new(false);
static INSIDE: Mutex<()> = Mutex::new(());
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ENGINES: AtomicU64 = AtomicU64::new(0);

// SAFETY: memory is the system's; the rest allocates nothing.
#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Noisy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if NOISY.load(Ordering::Relaxed) {
            ENGINES.fetch_add(u64::from(seam::side() == Side::Engine), Ordering::Relaxed);
            let _inside = INSIDE.lock();
            #[expect(clippy::disallowed_methods, reason = "the call is what is tested")]
            let now = Instant::now();
            ALLOCATIONS.fetch_add(u64::from(now.elapsed() < Duration::MAX), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noisy = Noisy;

/// How many blocks were allocated on the engine's side of the seam.
pub(crate) fn engine_allocations() -> u64 {
    ENGINES.load(Ordering::Relaxed)
}

/// How often the allocator took its lock and read the clock.
pub(crate) fn noisy_allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}
