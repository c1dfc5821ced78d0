//! The same recovery carried out again: where it goes another way is named.

use crate::case::Epoch;
use crate::disk::tree::Tree;
use crate::log::{Payload, records};
use crate::oracle::Model;
use crate::process::world::Stacks;

use super::explorer::{After, Explorer, Stop};
use super::trace::call_text;

/// How often a recovery is carried out once more to see where it differs from itself.
const TRIES: usize = 6;

/// A call, and all that a digest knows of it.
#[derive(PartialEq)]
struct Made {
    thread: u32,
    text: String,
    /// Digests of the bytes that it carried and of the calls before it that have no record.
    bytes: u64,
    unrecorded: u64,
}

/// The first calls that two runs of a recovery do not share, if it can be had to differ again.
pub(super) fn difference<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    after: &After,
    epoch: &Epoch,
) -> Result<Option<String>, Stop> {
    let first = calls(explorer, tree, after, epoch)?;
    for _ in 0..TRIES {
        let again = calls(explorer, tree, after, epoch)?;
        let shared = first.iter().zip(&again).take_while(|(one, other)| one == other).count();
        if shared < first.len().max(again.len()) {
            return Ok(Some(told(first.get(shared), again.get(shared))));
        }
    }
    Ok(None)
}

fn calls<M: Model>(
    explorer: &mut Explorer<'_, M>,
    tree: &Tree,
    after: &After,
    epoch: &Epoch,
) -> Result<Vec<Made>, Stop> {
    let log = explorer.recover_alone(tree, after, epoch, Stacks::All)?.log;
    let mut calls = Vec::new();
    for record in records(&log) {
        if let Payload::Call(call) = record.payload {
            let text = call_text(&call, &mut explorer.sites);
            let (bytes, unrecorded) = (call.bytes, call.unrecorded);
            calls.push(Made { thread: call.thread, text, bytes, unrecorded });
        }
    }
    Ok(calls)
}

fn told(one: Option<&Made>, other: Option<&Made>) -> String {
    let text = |made: Option<&Made>| match made {
        Some(Made { thread, text, .. }) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            format!("`{}` on thread {thread}", words.join(" "))
        }
        None => "no call".to_owned(),
    };
    let (one_text, other_text) = (text(one), text(other));
    match (one, other) {
        _ if one_text != other_text => format!("{one_text}, and then {other_text}"),
        (Some(one), Some(other)) if one.bytes != other.bytes => {
            format!("{one_text} once carried other bytes")
        }
        _ => format!("before {one_text} it read a clock, waited or asked for entropy otherwise"),
    }
}
