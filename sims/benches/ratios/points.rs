//! The harness's own time for a crash point, as runs grow: it must stay the same.

use crashpoint::explore::protocol::Budget;
use crashpoint::oracle::Promises;
use crashpoint::seed::Seed;
use crashpoint::sim::{OpOf, Sim, Step};
use crashpoint::{measure, sim};
use proptest::collection::vec;
use proptest::prelude::*;
use sims::append_log::{AppendLog, LogEngine, LogModel, LogOp, Shipped};

use crate::median;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const ROUNDS: usize = 2;

/// The append log with as many ops as are asked for, on few keys with short values: what it holds
/// is the same size after 100 ops and after 10,000.
struct Steady;

impl Sim for Steady {
    type Engine = LogEngine<Shipped>;
    type Model = LogModel;

    const NAME: &'static str = "append-log-steady";
    const ABOUT: &'static str = "the append log, for its bench";
    const AFTERLIFE: bool = false;

    fn promises() -> Promises<LogModel> {
        AppendLog::<Shipped>::promises()
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<OpOf<AppendLog>>>> {
        let put = (0..4u8, any::<u16>()).prop_map(|(key, value)| {
            LogOp::Put(format!("k{key}"), value.to_string().into_bytes(), Vec::new())
        });
        let op = prop_oneof![6 => put, 3 => (1..9999u64).prop_map(LogOp::Checkpoint),
            1 => Just(LogOp::Sync)];
        vec(op.prop_map(Step::Op), steps).boxed()
    }
}

pub(crate) fn table() {
    let entry = sim::<Steady>();
    // The seed of a workload that has no fault: it would be compared with others that have one.
    let seed = (1..).map(Seed).find(|seed| (entry.faults)(*seed, 100).is_empty());
    let seed = seed.expect("every other has none");
    println!("harness time for a crash point, outside of children that run the engine");
    for size in SIZES {
        let budget = Budget {
            recoveries: 2 * size as u64,
            exhaustive: 8,
            nested: 0,
            stop: true,
            recheck: 0,
            verdict: 0,
        };
        let tallies: Vec<_> =
            (0..ROUNDS).map(|_| measure(&entry, "posix", seed, size, budget)).collect();
        let points =
            median(tallies.iter().map(|t| t.harness_seconds * 1e6 / t.points as f64).collect());
        let states =
            median(tallies.iter().map(|t| t.harness_seconds * 1e6 / t.recoveries as f64).collect());
        let tally = tallies[0];
        println!(
            "  {size:>6} ops {:>7} points {:>7} recoveries   {points:6.1} us a point   \
             {states:6.1} us a recovery   {:4.1} s in all",
            tally.points, tally.recoveries, tally.seconds
        );
    }
    println!();
}
