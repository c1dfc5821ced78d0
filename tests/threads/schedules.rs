//! Seeds reach the orders of threads in which a bug shows.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::rig::{By, at, in_fork_server, scenes};
use crashpoint::inner::host::fork_server::ForkServer;

scenes! {
    Order {
        let workers: Vec<_> = (0..3)
            .map(|index| {
                thread::spawn(move || {
                    for step in 0..2 {
                        let name = format!("{index}{step}");
                        fs::write(at(&name), b"x").expect("the disk works");
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("it does not panic");
        }
        String::new()
    }
    AcknowledgedBeforeTheSync {
        let created = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&created);
        let writer = thread::spawn(move || {
            let file = fs::File::create(at("f")).expect("the disk works");
            other.store(true, Ordering::Release);
            file.sync_all().expect("the disk works");
            fs::write(at("synced"), b"").expect("the disk works");
        });
        while !created.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let early = fs::metadata(at("synced")).is_err();
        writer.join().expect("it does not panic");
        early.to_string()
    }
}

#[test]
fn seeds_reach_most_orders_of_three_writers() {
    let mut fork_server = ForkServer::start().expect("the fork server starts");
    let orders: BTreeSet<Vec<String>> = (0..200)
        .map(|seed| {
            let left = in_fork_server::<Order>(&mut fork_server, By::Seed(seed));
            left.calls.into_iter().filter(|call| call.contains("open")).collect()
        })
        .collect();
    // Six files, two per thread in a fixed order: 90 possible orders.
    assert!(orders.len() > 30, "{}", orders.len());
}

#[test]
fn some_seed_shows_the_gap_between_an_acknowledgement_and_its_sync() {
    let mut fork_server = ForkServer::start().expect("the fork server starts");
    let early = |seed| {
        in_fork_server::<AcknowledgedBeforeTheSync>(&mut fork_server, By::Seed(seed)).said == "true"
    };
    let found = (0..40).map(early).filter(|&early| early).count();
    assert!((1..40).contains(&found), "{found} of 40");
}
