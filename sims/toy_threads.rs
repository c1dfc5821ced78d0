//! The sim of the toy store with threads, without a bug and with each planted bug that shows only
//! under certain schedules.

use std::path::Path;

use crashpoint::{Ack, Engine, Entry, Error, Level, Promises, Sim, State, Step, sim};
use proptest::prelude::*;

use crate::engines::toy_threads::{ThreadBug, ToyThreads};
use crate::support;
use crate::toy::{ToyModel, ToyOp, ToySim};

/// The adapter of the toy with bug number `BUG` of [`ThreadBug::ALL`], counted from 1; 0 means no
/// bug.
pub struct ThreadsEngine<const BUG: usize>(ToyThreads);

const fn bug(number: usize) -> Option<ThreadBug> {
    if number == 0 { None } else { Some(ThreadBug::ALL[number - 1]) }
}

impl<const BUG: usize> Engine for ThreadsEngine<BUG> {
    type Op = ToyOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self(ToyThreads::open(dir, bug(BUG))?))
    }

    fn apply(&mut self, op: &ToyOp) -> Result<Ack, Error> {
        match op {
            ToyOp::One(op) => self.0.write(std::slice::from_ref(op))?,
            ToyOp::Batch(batch) => self.0.write(batch)?,
            ToyOp::Sync => {
                self.0.sync()?;
                return Ok(Ack::DURABLE);
            }
            ToyOp::Checkpoint => {
                self.0.checkpoint()?;
                return Ok(Ack::DURABLE);
            }
        }
        Ok(Ack::BUFFERED)
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(self.0.scan().into_iter().collect())
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        Some(Ok(self.0.get(item)))
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.0.len()))
    }

    fn close(self) -> Result<(), Error> {
        Ok(self.0.close()?)
    }
}

/// The sim of the toy with threads and bug number `BUG`; 0 means no bug.
pub struct ThreadsSim<const BUG: usize>;

impl<const BUG: usize> Sim for ThreadsSim<BUG> {
    type Engine = ThreadsEngine<BUG>;
    type Model = ToyModel;

    const NAME: &'static str = match bug(BUG) {
        Some(bug) => bug.name(),
        None => "toy-threads",
    };
    // The recorded schedules of a workload share these.
    const RECOVERIES: u64 = 300;
    const ABOUT: &'static str = match bug(BUG) {
        Some(bug) => bug.pattern(),
        None => "a small store with flushers and a compactor; the host of the concurrency bugs",
    };

    fn promises() -> Promises<ToyModel> {
        let quotes = [
            (
                "sync and checkpoint survive power loss, with all before them",
                "survives power loss, with all before it",
            ),
            (
                "after a close, all before it survives the process",
                "survives the process, with all before it",
            ),
            ("what open shows survives power loss", "what it shows survives power loss"),
            (
                "a crash leaves a prefix; a batch is atomic",
                "A crash leaves a prefix of the calls; of a batch all or nothing.",
            ),
        ];
        Promises {
            recovery: Level::Durable,
            close: Level::Flushed,
            survives: support::right_after_failed_calls(false),
            sources: support::sources("engines/toy_threads.rs", quotes),
            ..Promises::default()
        }
    }

    /// The same workloads as the toy without threads.
    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<ToyOp>>> {
        ToySim::<0>::workload(steps)
    }
}

/// The toy with each of its concurrency bugs, in the order of [`ThreadBug::ALL`].
pub fn planted() -> Vec<Entry> {
    macro_rules! entries {
        ($($number:literal)*) => { vec![$(sim::<ThreadsSim<$number>>()),*] };
    }
    entries!(1 2 3 4 5 6 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<ThreadsSim<0>>(24, 100);
    }

    #[test]
    fn every_bug_has_an_entry() {
        let names: Vec<&str> = planted().iter().map(|entry| entry.name).collect();
        assert_eq!(names, ThreadBug::ALL.map(ThreadBug::name));
    }
}
