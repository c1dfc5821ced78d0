//! Repeats a recovery, and finds the first call in which the two differ.

use crate::disk::tree::Tree;
use crate::log::{Payload, records};
use crate::process::world::Stacks;
use crate::sim::model::Model;

use super::conditions::Conditions;
use super::event::{Outcome, call_digest};
use super::explorer::Explorer;
use super::made_call::MadeCall;
use super::message::{CallDifference, Nondeterminism};
use super::runner::{PriorCrash, Recorded};
use super::stop::Stop;

/// How often a recovery that differed is repeated to find the call in which it differs.
const TRIES: usize = 6;

/// Recovers a crash state again, and compares the digest with that of the first outcome.
pub(crate) fn recheck<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    prior: &PriorCrash,
    conditions: &Conditions,
    first: &Outcome,
) -> Result<Recorded, Stop> {
    let stacks = explorer.job.stacks;
    let epoch = &explorer.continuation;
    let again = explorer.runner.recover_alone(tree, prior, conditions, epoch, stacks)?;
    if again.outcome.digest == first.digest {
        return Ok(again);
    }
    let digests = [first.digest, again.outcome.digest];
    let difference = difference(explorer, tree, prior, conditions)?;
    let call = match difference {
        Some(_) => None,
        None => other_answer(explorer, tree, prior, conditions, first)?,
    };
    let notices = Vec::new();
    Err(Stop::NotDeterministic(Box::new(Nondeterminism { digests, difference, call, notices })))
}

/// The first calls in which two runs of a recovery differ, if it differs again.
fn difference<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    prior: &PriorCrash,
    conditions: &Conditions,
) -> Result<Option<CallDifference>, Stop> {
    let first = calls(explorer, tree, prior, conditions)?;
    for _ in 0..TRIES {
        let again = calls(explorer, tree, prior, conditions)?;
        let shared = first.iter().zip(&again).take_while(|(one, other)| one == other).count();
        if shared < first.len().max(again.len()) {
            let calls = [first.get(shared).cloned(), again.get(shared).cloned()];
            return Ok(Some(CallDifference(calls)));
        }
    }
    Ok(None)
}

/// The first call of a recovery that had another answer in its first run, which may have been that
/// of a state with the same digest.
fn other_answer<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    prior: &PriorCrash,
    conditions: &Conditions,
    first: &Outcome,
) -> Result<Option<MadeCall>, Stop> {
    let runner = &mut explorer.runner;
    let epoch = &explorer.continuation;
    let log = runner.recover_alone(tree, prior, conditions, epoch, Stacks::All)?.log;
    let mut firsts = first.calls.iter();
    for record in records(&log) {
        let Payload::Call(call) = record.payload else { continue };
        let Some(before) = firsts.next() else { break };
        if *before != call_digest(&call) {
            let line = runner.sites.resolve(call.stack).into_iter().next();
            return Ok(Some(MadeCall::new(&call, line)));
        }
    }
    Ok(None)
}

fn calls<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    prior: &PriorCrash,
    conditions: &Conditions,
) -> Result<Vec<MadeCall>, Stop> {
    let runner = &mut explorer.runner;
    let epoch = &explorer.continuation;
    let log = runner.recover_alone(tree, prior, conditions, epoch, Stacks::All)?.log;
    let mut calls = Vec::new();
    for record in records(&log) {
        if let Payload::Call(call) = record.payload {
            let line = runner.sites.resolve(call.stack).into_iter().next();
            calls.push(MadeCall::new(&call, line));
        }
    }
    Ok(calls)
}
