//! A child's log without the calls: what was done and seen, in order, and how the child ended.

use crate::base::digest::{Digest, Digester, hash};
use crate::base::time::Time;
use crate::case::turn::Turn;
use crate::disk::sight::Sights;
use crate::host::ending::Ending;
use crate::host::script;
use crate::log::{Call, EngineError, Mark, Payload, Phase, Record, encoded, records};
use crate::oracle::FaultKind;
use crate::sim::engine::{Ack, Level};
use crate::sim::state::State;

use super::refusal::Refusal;

/// One thing that a child did or saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// When: in an [`Outcome`] counted from the child's beginning, else from the run's.
    pub(crate) at: Time,
    pub(crate) kind: EventKind,
}

/// The kind of an event, with its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EventKind {
    /// A phase began.
    Began(Phase),
    /// Opening the store ended.
    Opened(Result<(), EngineFailure>),
    /// Closing it ended.
    Closed(Result<(), EngineFailure>),
    /// A read-back ended.
    Read(Result<(), EngineFailure>),
    /// A step was issued.
    Issued(u32),
    /// A step returned.
    Returned(u32, Result<Ack, EngineFailure>),
    /// A step was refused.
    Refused(u32),
    /// A step was cut short.
    Uncertain(u32),
    /// Within the step, a client issued one of its ops.
    IssuedBy(usize, usize),
    /// The op of a client returned.
    ReturnedBy(usize, Result<Ack, EngineFailure>),
    /// The op of a client was refused.
    RefusedBy(usize),
    /// The op of a client was cut short.
    UncertainBy(usize),
    /// Something was acknowledged outside of a step's own promise.
    Acked(Level, String),
    /// The state that a read-back showed.
    Observed(State),
    /// The parts of a read-back disagreed.
    Inconsistent(String),
    /// This many threads outlived the engine.
    Leaked(u32),
    /// A panic ended a thread that was not joined.
    Panicked { thread: u32, name: String, place: String, message: String },
    /// An error was injected.
    Injected(FaultKind),
    /// The cache dropped pages whose write had failed.
    Evicted,
    /// The file system takes no more changes, or is full.
    Stopped,
    /// The script was carried out to its end.
    Done,
}

impl EventKind {
    /// The level that an acknowledgement promises now or later, if this is one.
    pub(crate) fn acknowledged(&self) -> Option<Level> {
        match self {
            Self::Returned(_, Ok(ack)) | Self::ReturnedBy(_, Ok(ack)) => Some(ack.level()),
            Self::Acked(level, _) => Some(*level),
            _ => None,
        }
    }
}

/// An error that the engine returned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EngineFailure {
    /// Two errors with the same kind count as the same error.
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// The events of a child, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) ending: Ending,
    /// The source line of a bad ending, if it is known.
    pub(crate) place: Option<String>,
    /// Digest of every call and mark with its time since the child began. A child that ran out of
    /// CPU time was stopped at an arbitrary point: its digest only says that it was.
    pub(crate) digest: Digest,
    /// A short digest of each of the first calls, to name the one in which a repeated recovery
    /// differs.
    pub(crate) calls: Vec<u32>,
    /// The number of calls.
    pub(crate) made: u64,
    /// Digest of what was done until the store was open, without the bytes: the calls in their
    /// order, their paths, and whether they failed.
    pub(crate) acts: Digest,
    /// The number of changes of the disk.
    pub(crate) effects: u64,
    /// Whether the engine read a clock.
    pub(crate) timed: bool,
    /// The parts of the disk that the engine saw, beyond those in the digest of its state.
    pub(crate) sights: Sights,
    /// The first call of the engine that is not simulated.
    pub(crate) refused: Option<Refusal>,
    /// Why the run was ended as hung.
    pub(crate) hung: Option<String>,
    /// Files outside the mount that the engine opened for writing.
    pub(crate) outside: Vec<String>,
    /// Files and properties of the host that the engine read.
    pub(crate) host: Vec<String>,
    /// How its threads were scheduled, if it had more than one.
    pub(crate) turns: Option<Vec<Turn>>,
    /// The number of decisions in its schedule, if it ran to the end.
    pub(crate) decisions: Option<u64>,
}

/// The event of a mark, if it is one that is judged.
pub(crate) fn event(at: Time, mark: &Mark<'_>) -> Option<Event> {
    let failure = |error: EngineError<'_>| EngineFailure {
        kind: error.kind.to_owned(),
        text: error.text.to_owned(),
    };
    let owned = |result: Result<(), EngineError<'_>>| result.map_err(failure);
    let kind = match *mark {
        Mark::Begin(phase) => EventKind::Began(phase),
        Mark::End(Phase::Open, result) => EventKind::Opened(owned(result)),
        Mark::End(Phase::Close, result) => EventKind::Closed(owned(result)),
        Mark::End(Phase::ReadBack, result) => EventKind::Read(owned(result)),
        Mark::Issued(step) => EventKind::Issued(step),
        Mark::Returned(step, result) => EventKind::Returned(step, result.map_err(failure)),
        Mark::Refused(step, _) => EventKind::Refused(step),
        Mark::Uncertain(step, _) => EventKind::Uncertain(step),
        Mark::IssuedBy(client, number) => EventKind::IssuedBy(client as usize, number as usize),
        Mark::ReturnedBy(client, result) => {
            EventKind::ReturnedBy(client as usize, result.map_err(failure))
        }
        Mark::RefusedBy(client, _) => EventKind::RefusedBy(client as usize),
        Mark::UncertainBy(client, _) => EventKind::UncertainBy(client as usize),
        Mark::Acked(level, what) => EventKind::Acked(level, what.to_owned()),
        Mark::Observed(bytes) => EventKind::Observed(script::decode(bytes)),
        Mark::Inconsistent(how) => EventKind::Inconsistent(how.to_owned()),
        Mark::Done => EventKind::Done,
        Mark::Stopped | Mark::Full => EventKind::Stopped,
        Mark::Evicted => EventKind::Evicted,
        Mark::Leaked(threads) => EventKind::Leaked(threads),
        Mark::Panicked { thread, name, place, message } => EventKind::Panicked {
            thread,
            name: name.to_owned(),
            place: place.to_owned(),
            message: message.to_owned(),
        },
        Mark::Outside(_)
        | Mark::Host(_)
        | Mark::NotSimulated(..)
        | Mark::Hung(_)
        | Mark::Turn(_)
        | Mark::Decisions(_)
        | Mark::SawClock
        | Mark::Saw(_)
        | Mark::Injected(_) => return None,
    };
    Some(Event { at, kind })
}

/// The error that was injected into a call, if one was.
pub(crate) fn injected(at: Time, call: &Call<'_>) -> Option<Event> {
    call.fault.map(|fault_kind| Event { at, kind: EventKind::Injected(fault_kind) })
}

/// Digest of the calls until the store was open. A call that is repeated counts once.
fn acts(log: &[u8]) -> Digest {
    let mut digester = Digester::default();
    let mut last = None;
    for record in records(log) {
        match record.payload {
            Payload::Mark(Mark::End(Phase::Open, _)) => break,
            Payload::Call(call) => {
                let act = (call.door, call.path, call.other, call.result.min(0));
                if last.replace(act) != Some(act) {
                    digester.add(call.door.as_bytes());
                    digester.add(call.path);
                    digester.add(call.other);
                    digester.add(&act.3.to_le_bytes());
                }
            }
            _ => {}
        }
    }
    digester.finish()
}

impl Outcome {
    /// Reads the log of a child that began at `start`.
    pub(crate) fn read(log: &[u8], ending: Ending, start: Time) -> Self {
        let mut outcome = Self {
            events: Vec::new(),
            place: ending.location(),
            ending,
            digest: Digest(0),
            calls: Vec::new(),
            made: 0,
            acts: Digest(0),
            effects: 0,
            timed: false,
            sights: Sights::default(),
            refused: None,
            hung: None,
            outside: Vec::new(),
            host: Vec::new(),
            turns: None,
            decisions: None,
        };
        outcome.acts = acts(log);
        let mut digester = Digester::default();
        let mut scratch = Vec::new();
        for record in records(log) {
            let at = Time::START + record.at.since(start);
            let record = Record { at, ..record };
            digest(&record, &mut digester, &mut scratch);
            match record.payload {
                Payload::Effect(_) => outcome.effects += 1,
                Payload::Call(call) => {
                    outcome.made += 1;
                    if outcome.calls.len() < CALLS {
                        outcome.calls.push(call_digest(&call));
                    }
                    if call.thread > 1 {
                        outcome.turns.get_or_insert_default();
                    }
                    outcome.events.extend(injected(record.at, &call));
                }
                Payload::Mark(mark) => outcome.note(record.at, &mark),
            }
        }
        // A child that did not finish may have read a clock without reporting it.
        outcome.timed |= !outcome.ending.is_finished();
        if matches!(outcome.ending, Ending::HungSpin { .. }) {
            digester = Digester::default();
            digester.add(b"spin");
        }
        outcome.digest = digester.finish();
        outcome
    }

    fn note(&mut self, at: Time, mark: &Mark<'_>) {
        match mark {
            Mark::NotSimulated(call, stack) => {
                self.refused.get_or_insert_with(|| Refusal {
                    call: (*call).to_owned(),
                    stack: stack.to_vec(),
                });
            }
            Mark::SawClock => self.timed = true,
            Mark::Saw(sight) => {
                self.sights.add(*sight);
            }
            Mark::Decisions(decisions) => self.decisions = Some(*decisions),
            Mark::Turn(turn) => self.turns.get_or_insert_default().push(*turn),
            Mark::Hung(why) => self.hung = Some((*why).to_owned()),
            Mark::Outside(path) => {
                self.outside.push(String::from_utf8_lossy(path).into_owned());
            }
            Mark::Host(what) => self.host.push(String::from_utf8_lossy(what).into_owned()),
            _ => self.events.extend(event(at, mark)),
        }
    }

    /// Its approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        /// The bytes that the allocator and the nodes of a tree add to an item.
        const ITEM: usize = 80;
        let heap = |event: &Event| match &event.kind {
            EventKind::Observed(state) => {
                state.iter().map(|(item, value)| ITEM + item.len() + value.len()).sum()
            }
            EventKind::Opened(Err(failed))
            | EventKind::Closed(Err(failed))
            | EventKind::Returned(_, Err(failed))
            | EventKind::ReturnedBy(_, Err(failed))
            | EventKind::Read(Err(failed)) => failed.kind.len() + failed.text.len(),
            EventKind::Panicked { name, place, message, .. } => {
                name.len() + place.len() + message.len()
            }
            EventKind::Acked(_, text) | EventKind::Inconsistent(text) => text.len(),
            _ => 0,
        };
        let events: usize = self.events.iter().map(|event| size_of::<Event>() + heap(event)).sum();
        let turns = self.turns.as_ref().map_or(0, |turns| turns.len() * size_of::<Turn>());
        size_of::<Self>() + events + turns + self.calls.len() * size_of::<u32>()
    }

    /// Whether the script was carried out to its end.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.events.last(), Some(Event { kind: EventKind::Done, .. }))
    }
}

/// How many calls of a recovery have a digest of their own.
const CALLS: usize = 256;

/// A short digest of a call without its return addresses.
pub(crate) fn call_digest(call: &Call<'_>) -> u32 {
    let call = Call { stack: &[], ..*call };
    hash(&postcard::to_allocvec(&call).unwrap_or_default()) as u32
}

/// Adds a record to the digest of a run: calls without their return addresses, which differ from
/// build to build, and marks. Effects, evictions among them, follow from the calls, and name
/// inodes by numbers that may differ between two disks that no process can distinguish.
fn digest(record: &Record<'_>, digester: &mut Digester, scratch: &mut Vec<u8>) {
    let record = match record.payload {
        Payload::Effect(_) | Payload::Mark(Mark::Evicted) => return,
        Payload::Call(call) => {
            Record { payload: Payload::Call(Call { stack: &[], ..call }), ..*record }
        }
        Payload::Mark(_) => *record,
    };
    digester.add(encoded(&record, scratch));
}
