//! The toy with threads under test, as it should be and with each of the bugs that need a certain
//! order of its threads.

use std::path::Path;

use crashpoint::State;
use crashpoint::{Ack, Engine, Error, Level};
use crashpoint::{Entry, sim};
use crashpoint::{Promises, Source};
use crashpoint::{Sim, Step};
use proptest::prelude::*;

use crate::engines::toy_threads::{ThreadBug, ToyThreads};
use crate::toy::{ToyModel, ToyOp, ToySim};

/// The toy with bug number `BUG` of [`ThreadBug::ALL`], counted from 1; 0 is none.
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

/// The sim of the toy with threads, with a bug or without.
pub struct ThreadsSim<const BUG: usize>;

impl<const BUG: usize> Sim for ThreadsSim<BUG> {
    type Engine = ThreadsEngine<BUG>;
    type Model = ToyModel;

    const NAME: &'static str = match bug(BUG) {
        Some(bug) => bug.name(),
        None => "toy-threads",
    };
    // Several schedules are recorded, each with a share of these.
    const RECOVERIES: u64 = 300;
    const ABOUT: &'static str = match bug(BUG) {
        Some(bug) => bug.pattern(),
        None => "a small store with flushers and a compactor; the host of the bugs of threads",
    };

    fn promises() -> Promises<ToyModel> {
        let source = |promise, sentence| Source { promise, sentence, at: "engines/toy_threads.rs" };
        Promises {
            recovery: Level::Durable,
            close: Level::Flushed,
            survives: crate::whatever_fails(false),
            sources: vec![
                source(
                    "sync and checkpoint survive power loss, with all before them",
                    "survives power loss, with all before it",
                ),
                source(
                    "what was closed survives the process",
                    "survives the process, with all before it",
                ),
                source("what open shows survives power loss", "what it shows survives power loss"),
                source(
                    "a crash leaves a prefix; a batch is atomic",
                    "A crash leaves a prefix of the calls; of a batch all or nothing.",
                ),
            ],
            ..Promises::default()
        }
    }

    /// That of the toy without threads.
    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<ToyOp>>> {
        ToySim::<0>::workload(steps)
    }
}

/// The toy with each of its bugs of threads, in the order of [`ThreadBug::ALL`].
pub fn planted() -> Vec<Entry> {
    macro_rules! entries {
        ($($number:literal)*) => { vec![$(sim::<ThreadsSim<$number>>()),*] };
    }
    entries!(1 2 3 4 5 6 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::Seed;

    #[test]
    fn a_real_directory_shows_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let steps = crashpoint::check_on_real_disk::<ThreadsSim<0>>(dir.path(), Seed(7), 24);
        assert!(steps > 100, "{steps} steps are too few to mean something");
    }

    #[test]
    fn every_bug_is_an_entry() {
        let names: Vec<&str> = planted().iter().map(|entry| entry.name).collect();
        assert_eq!(names, ThreadBug::ALL.map(ThreadBug::name));
    }
}
