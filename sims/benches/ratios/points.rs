//! The harness's own time for a crash point, which must not grow with the length of a run.

use crashpoint::inner::check::measure;
use crashpoint::inner::explore::job::Budget;
use crashpoint::inner::explore::tally::Tally;
use crashpoint::{Entry, OpOf, Promises, Seed, Sim, Step, sim};
use proptest::collection::vec;
use proptest::prelude::*;
use sims::append_log::{AppendLog, LogEngine, LogModel, LogOp, Shipped};

use crate::median;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const ROUNDS: usize = 2;

/// The append log with exactly the given number of ops, on few keys with short values, and
/// compacted now and then: its files are as large after 100 ops as after 10,000.
struct Steady;

impl Sim for Steady {
    type Engine = LogEngine<Shipped>;
    type Model = LogModel;

    const NAME: &'static str = "append-log-steady";
    const ABOUT: &'static str = "the append log, for this bench";
    const AFTER_RECOVERY: bool = false;

    fn promises() -> Promises<LogModel> {
        AppendLog::<Shipped>::promises()
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<OpOf<AppendLog>>>> {
        let put = (0..4u8, any::<u16>()).prop_map(|(key, value)| {
            LogOp::Put(format!("k{key}"), value.to_string().into_bytes(), Vec::new())
        });
        let op = prop_oneof![60 => put, 28 => (1..9999u64).prop_map(LogOp::Checkpoint),
            10 => Just(LogOp::Sync), 2 => Just(LogOp::Compact)];
        vec(op.prop_map(Step::Op), steps).boxed()
    }
}

pub(crate) fn table() {
    let entry = sim::<Steady>();
    // The seed of a workload without a fault, since a run with one would not be comparable.
    let seed = (1..).map(Seed).find(|seed| (entry.faults)(*seed, 100).is_empty());
    let seed = seed.expect("about half have none");
    println!("time for a crash point as runs grow, outside the children that run the engine, and");
    println!("in all; ratios to the shortest run of the same round");
    let rounds: Vec<Vec<Tally>> =
        (0..ROUNDS).map(|_| SIZES.iter().map(|&size| one(&entry, seed, size)).collect()).collect();
    for (at, size) in SIZES.iter().enumerate() {
        let column = |figure: &dyn Fn(&[Tally]) -> f64| {
            median(rounds.iter().map(|round| figure(round)).collect())
        };
        let outside = column(&|round| outside(&round[at]));
        let all = column(&|round| in_all(&round[at]));
        let outside_grew = column(&|round| self::outside(&round[at]) / self::outside(&round[0]));
        let all_grew = column(&|round| in_all(&round[at]) / in_all(&round[0]));
        let Tally { points, recoveries, .. } = rounds[0][at];
        println!(
            "  {size:>6} ops {points:>7} points {recoveries:>7} recoveries   outside \
             {outside:6.1} us, ratio {outside_grew:4.2}   in all {all:7.1} us, ratio {all_grew:4.2}"
        );
    }
    println!();
}

fn one(entry: &Entry, seed: Seed, size: usize) -> Tally {
    let budget = Budget {
        recoveries: size as u64,
        exhaustive: 8,
        nested: 0,
        schedules: 1,
        even: false,
        stop: true,
        recheck: 0,
        verdict: 0,
    };
    measure(entry, "posix", seed, size, budget)
}

/// Microseconds for a crash point, outside the children that run the engine.
fn outside(tally: &Tally) -> f64 {
    tally.harness_seconds * 1e6 / tally.points as f64
}

/// Microseconds for a crash point.
fn in_all(tally: &Tally) -> f64 {
    tally.seconds * 1e6 / tally.points as f64
}
