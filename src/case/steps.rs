//! Steps of a sim as a case holds them, and back.

use super::Step;
use crate::base::text::{TextError, words};
use crate::sim;
use crate::sim::engine::Operation;

/// The step as a case holds it: an op becomes the words of its line.
pub fn to_case<Op: Operation>(step: &sim::Step<Op>) -> Step {
    match step {
        sim::Step::Op(op) => match words(&op.to_string()) {
            Ok(words) => Step::Op(words),
            Err(error) => unreachable!("{op:?} is displayed outside the grammar: {error}"),
        },
        sim::Step::Reopen => Step::Reopen,
        sim::Step::Sleep(duration) => Step::Sleep(*duration),
        sim::Step::ReadBack => Step::ReadBack,
    }
}

/// The step that a case holds.
///
/// # Errors
/// As [`Operation::parse`].
pub fn from_case<Op: Operation>(step: &Step) -> Result<sim::Step<Op>, TextError> {
    Ok(match step {
        Step::Op(words) => sim::Step::Op(Op::parse(words)?),
        Step::Reopen => sim::Step::Reopen,
        Step::Sleep(duration) => sim::Step::Sleep(*duration),
        Step::ReadBack => sim::Step::ReadBack,
    })
}
