//! The calls of a run as lines that a person reads.

use crate::base::text::quote;
use crate::disk::tree::Tree;
use crate::log::{Call, Mark, Payload, Phase, records};

use super::calls::Sites;

/// One line for each call and each mark of a log.
pub(crate) fn lines(log: &[u8], _tree: &Tree, sites: &mut Sites) -> Vec<String> {
    let mut lines = Vec::new();
    for record in records(log) {
        let line = match record.payload {
            Payload::Effect(_) => continue,
            Payload::Call(call) => call_text(&call, sites),
            Payload::Mark(mark) => match mark_text(&mark) {
                Some(text) => format!("-- {text}"),
                None => continue,
            },
        };
        lines.push(format!("{} {line}", record.at));
    }
    lines
}

/// A call in one line, with the source line that made it.
pub(super) fn call_text(call: &Call<'_>, sites: &mut Sites) -> String {
    let path = if call.path.is_empty() { String::new() } else { quote(call.path) };
    let other =
        if call.other.is_empty() { String::new() } else { format!(" {}", quote(call.other)) };
    let [first, second] = call.arguments;
    let result = match call.result {
        error if error < 0 => crate::disk::errno::Errno(-error as i32).to_string(),
        number => number.to_string(),
    };
    let fault = if call.fault.is_some() { "  (injected)" } else { "" };
    let site = sites.resolve(call.stack).into_iter().next();
    let site = site.map(|site| format!("  {site}")).unwrap_or_default();
    format!("{:<12} {path}{other} {first} {second} = {result}{fault}{site}", call.door)
}

fn mark_text(mark: &Mark<'_>) -> Option<String> {
    let phase = |phase: &Phase| match phase {
        Phase::Open => "open",
        Phase::ReadBack => "read back",
        Phase::Close => "close",
    };
    Some(match mark {
        Mark::Begin(which) => phase(which).to_owned(),
        Mark::End(which, Ok(())) => format!("{} returned", phase(which)),
        Mark::End(which, Err(error)) => format!("{} failed: {}", phase(which), error.text),
        Mark::Issued(step) => format!("step {step}"),
        Mark::Returned(step, Ok(ack)) => format!("step {step} returned: {ack}"),
        Mark::Returned(step, Err(error)) => format!("step {step} failed: {error}"),
        Mark::Refused(step, error) => format!("step {step} had no effect: {error}"),
        Mark::IssuedBy(client, number) => format!("client {client}, op {number}"),
        Mark::ReturnedBy(client, Ok(ack)) => format!("client {client} returned: {ack}"),
        Mark::ReturnedBy(client, Err(error)) => format!("client {client} failed: {error}"),
        Mark::RefusedBy(client, error) => format!("client {client} had no effect: {error}"),
        Mark::Acked(level, what) => format!("acknowledged as {level}: {what}"),
        Mark::Inconsistent(how) => format!("inconsistent: {how}"),
        Mark::Outside(path) => format!("outside the mount: {}", quote(path)),
        Mark::NotSimulated(call) => format!("not simulated: {call}"),
        Mark::Hung(why) => format!("hung: {why}"),
        Mark::Turn(turn) => format!("turn {}: thread {}", turn.decision, turn.thread),
        Mark::Panicked { thread, place, message, .. } => {
            format!("thread {thread} panicked at {place}, and nobody joined it: {message}")
        }
        Mark::Leaked(threads) => format!("threads that outlived the engine: {threads}"),
        Mark::Stopped => "the file system takes no more changes".to_owned(),
        Mark::Full => "the disk is full".to_owned(),
        Mark::Evicted => "cache evicted".to_owned(),
        Mark::Observed(_) | Mark::Decisions(_) | Mark::SawClock | Mark::Done => return None,
    })
}
