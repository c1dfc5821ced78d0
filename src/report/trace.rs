//! The calls and marks of an epoch as lines for people.

use crate::base::text::quote;
use crate::explore::made_call::MadeCall;
use crate::explore::message::Recording;
use crate::log::{Mark, Payload, Phase, records};

/// A heading, one line for each call and each mark, and the ending.
pub(crate) fn trace(recording: &Recording) -> Vec<String> {
    let heading = match recording.epoch {
        1 => "-- the run".to_owned(),
        epoch => format!("-- after crash {}", epoch - 1),
    };
    let mut lines = vec![heading];
    let mut sources = recording.lines.iter();
    for record in records(&recording.log) {
        let line = match record.payload {
            Payload::Effect(_) => continue,
            Payload::Call(call) => {
                call_text(&MadeCall::new(&call, sources.next().cloned().flatten()))
            }
            Payload::Mark(mark) => match mark_text(&mark) {
                Some(text) => format!("-- {text}"),
                None => continue,
            },
        };
        lines.push(format!("{} {line}", record.at));
    }
    lines.push(format!("-- {}", recording.ending));
    lines
}

/// A call in one line, with the source line that made it.
fn call_text(call: &MadeCall) -> String {
    let text = call.to_string();
    let rest = text.strip_prefix(&call.name).unwrap_or_default();
    format!("{:<12}{rest}", call.name)
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
        Mark::Returned(step, Err(error)) => format!("step {step} failed: {}", error.text),
        Mark::Uncertain(step, error) => format!("step {step} was cut short: {error}"),
        Mark::Refused(step, error) => format!("step {step} had no effect: {error}"),
        Mark::IssuedBy(client, number) => format!("client {client}, op {number}"),
        Mark::ReturnedBy(client, Ok(ack)) => format!("client {client} returned: {ack}"),
        Mark::ReturnedBy(client, Err(error)) => format!("client {client} failed: {}", error.text),
        Mark::UncertainBy(client, error) => format!("client {client} was cut short: {error}"),
        Mark::RefusedBy(client, error) => format!("client {client} had no effect: {error}"),
        Mark::Acked(level, what) => format!("acknowledged as {level}: {what}"),
        Mark::Inconsistent(how) => format!("inconsistent: {how}"),
        Mark::Outside(path) => format!("outside the mount: {}", quote(path)),
        Mark::Host(what) => format!("read from the host: {}", quote(what)),
        Mark::NotSimulated(call, _) => format!("not simulated: {call}"),
        Mark::Hung(why) => format!("hung: {why}"),
        Mark::Turn(turn) => format!("turn {}: thread {}", turn.decision, turn.thread),
        Mark::Panicked { thread, place, message, .. } => {
            format!("thread {thread} panicked at {place}, and was not joined: {message}")
        }
        Mark::Leaked(threads) => format!("threads that outlived the engine: {threads}"),
        Mark::Stopped => "the file system takes no more changes".to_owned(),
        Mark::Full => "the disk is full".to_owned(),
        Mark::Evicted => "cache evicted".to_owned(),
        Mark::Observed(_)
        | Mark::Decisions(_)
        | Mark::SawClock
        | Mark::Saw(_)
        | Mark::Injected(_)
        | Mark::Done => return None,
    })
}
