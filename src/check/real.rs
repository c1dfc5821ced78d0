//! Runs a sim's workloads, engine and model on a real disk, without any simulation.

use std::path::Path;

use crate::base::seed::Seed;
use crate::base::time::Time;
use crate::campaign::entry::generate;
use crate::campaign::jobs::SIZES;
use crate::oracle::Model;
use crate::sim::engine::{Engine, Refused};
use crate::sim::{Sim, Step};

/// Runs workloads of a seed in directories below `dir`, on whatever file system that is, and
/// compares the engine with the model: after each reopening, at the end, and after a last
/// reopening. Returns the number of steps taken.
///
/// # Panics
/// If the engine shows another state than the model, or fails.
pub fn check_on_real_disk<S: Sim>(dir: &Path, seed: Seed, workloads: u64) -> u64 {
    let mut taken = 0;
    for number in 0..workloads {
        let seed = seed.derive(S::NAME, number);
        let steps = generate::<S>(seed, SIZES[(number % SIZES.len() as u64) as usize]);
        taken += steps.len() as u64;
        let dir = dir.join(format!("{}-{number}", S::NAME));
        std::fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        if let Err(error) = workload::<S>(&dir, &steps) {
            panic!("{} on a real disk, seed {seed}: {error}", S::NAME);
        }
    }
    taken
}

fn workload<S: Sim>(dir: &Path, steps: &[Step<crate::sim::OpOf<S>>]) -> Result<(), String> {
    let mut model = S::Model::default();
    let mut engine = open::<S>(dir)?;
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Op(op) => match engine.apply(op) {
                Ok(_) => model.apply(op, Time::START),
                Err(error) if error.is::<Refused>() => {}
                Err(error) => return Err(format!("step {}: {error}", index + 1)),
            },
            Step::Reopen => {
                engine.close().map_err(|error| error.to_string())?;
                engine = open::<S>(dir)?;
                compare::<S>(&mut engine, &mut model)?;
            }
            Step::ReadBack => compare::<S>(&mut engine, &mut model)?,
            Step::Sleep(duration) => std::thread::sleep(*duration),
        }
    }
    compare::<S>(&mut engine, &mut model)?;
    engine.close().map_err(|error| error.to_string())?;
    compare::<S>(&mut open::<S>(dir)?, &mut model)
}

fn open<S: Sim>(dir: &Path) -> Result<S::Engine, String> {
    S::Engine::open(dir).map_err(|error| format!("open: {error}"))
}

fn compare<S: Sim>(engine: &mut S::Engine, model: &mut S::Model) -> Result<(), String> {
    let found = engine.scan().map_err(|error| format!("scan: {error}"))?;
    let expected = model.state(Time::START);
    if found == *expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, found {found:?}"))
}
