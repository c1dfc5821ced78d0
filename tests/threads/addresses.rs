//! The addresses that an engine sees are the same in each process, whatever the harness holds when
//! it forks the process.

use std::fs;
use std::sync::Mutex;
use std::thread;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::host::child::{self, Limits};
use crashpoint::inner::host::fork_server::{ForkServer, Reply};
use crashpoint::inner::host::region::Region;
use crashpoint::inner::log::{Mark, Payload, records};
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{self, Setup, World};

use crate::rig::at;

thread_local! {
    static LOCAL: u64 = const { 7 };
}

fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// Addresses of heap blocks of each size, on the stack and of thread-locals, for this thread and
/// two others, with calls in between that make the harness allocate.
fn look() -> String {
    fn own(name: &str) -> Vec<usize> {
        let mut seen = vec![address(&seen_on_stack()), LOCAL.with(address)];
        for size in [1, 24, 100, 1000, 5000, 200_000, 3_000_000] {
            let block = vec![1u8; size];
            let zeros = vec![0u8; size];
            fs::write(at(name), &block).expect("the disk works");
            seen.extend([address(&*block), address(&*zeros)]);
            drop(block);
            let mut grown = Vec::with_capacity(size / 2 + 1);
            grown.extend_from_slice(&zeros);
            seen.push(address(&*grown));
        }
        seen
    }
    fn seen_on_stack() -> u64 {
        std::hint::black_box(3)
    }
    // The harness allocates what it keeps of these calls before the other threads' stacks are
    // mapped.
    let first = own("c");
    let kept = Mutex::new(Vec::new());
    let others = thread::scope(|scope| {
        let other = |name: &'static str| {
            let kept = &kept;
            move || {
                kept.lock().expect("no panic").push(Box::new(1u32));
                own(name)
            }
        };
        let both = [scope.spawn(other("a")), scope.spawn(other("b"))];
        both.map(|thread| thread.join().expect("it does not panic"))
    });
    format!("{first:x?} {others:x?}")
}

/// Forks one process after the other, holding different memory each time.
fn entry(_: &[u8], reply: &mut Reply<'_>) {
    let mut region = Region::new().expect("memory");
    let mut held: Vec<Vec<u8>> = Vec::new();
    for round in 0..8usize {
        for size in [24, 100, 1000, 5000, 200_000, 3_000_000] {
            held.push(vec![1; size + round]);
        }
        if round % 3 == 2 {
            held.retain(|block| block.len() % 5 < 3);
        }
        region.reset();
        let ending = child::run(&region, &Limits::default(), |region| {
            World::install(Setup::new(Tree::new(), region));
            // Depending on the round, this reuses memory that the explorer has freed, or does not.
            let own = std::hint::black_box(vec![1u8; 2_500_000]);
            let said = seam::engine(look);
            drop(own);
            world::mark(Mark::Observed(said.as_bytes()));
        });
        assert!(ending.is_finished(), "{ending}");
        for record in records(region.bytes()) {
            if let Payload::Mark(Mark::Observed(said)) = record.payload {
                reply.send(said);
            }
        }
    }
}

#[test]
fn an_engine_sees_the_same_addresses_in_each_process() {
    let mut seen = Vec::new();
    let mut fork_server = ForkServer::start().expect("the fork server starts");
    fork_server
        .call(entry, b"", &mut |frame| seen.push(String::from_utf8_lossy(frame).into_owned()))
        .expect("it ends");
    assert_eq!(seen.len(), 8);
    for other in &seen[1..] {
        assert_eq!(other, &seen[0]);
    }
}
