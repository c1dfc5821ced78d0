//! Follows a run event by event and reports the first violation.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::time::Time;
use crate::case::Errors;
use crate::host::ending::Ending;
use crate::log::Phase;
use crate::oracle::CrashKind;
use crate::oracle::{AfterFault, Bound, Oracle, Promises};
use crate::oracle::{Class, Violation};
use crate::oracle::{Crash, Found, NoViolation, Observed, ReadBack};
use crate::sim::Step;
use crate::sim::model::Model;

use super::acked::{Acked, Acks};
use super::event::{EngineFailure, Event, EventKind, Outcome};

/// The oracle's number of the first client of a step; 0 is the client that issues the steps.
const CLIENTS: usize = 1;

/// The oracle of a run, and where in the run it is.
pub(crate) struct Judge<M: Model> {
    oracle: Oracle<M>,
    /// The steps of this epoch.
    steps: Rc<Vec<Step<M::Op>>>,
    /// The number of steps in earlier epochs: the oracle numbers steps across epochs.
    steps_before: u32,
    /// The event before the next read-back.
    after: Follows,
    /// The first read-back after a crash, until the second is compared with it.
    first: Option<Observed>,
    /// Whether any opening of the store ever returned.
    created: bool,
    /// The phase in progress, and when it began.
    phase: Option<(Phase, Time)>,
    step: u32,
    /// The op that each client of the step issued last.
    issued_by: BTreeMap<usize, usize>,
    /// Whether a fault of this epoch lasts to its end: until then the store need not work.
    lasting: bool,
    /// Whether a fault was injected: a failure that it caused may not recur on a retry.
    injected: bool,
    /// Whether a fault was injected, bytes rotted, or the disk was full or took no more changes, in
    /// this epoch or before: only then may an op or a close fail.
    faulted: bool,
    /// Whether an error of an op or a close is judged at all.
    errors: Errors,
    /// The violation of an open or read-back that failed after a fault, unless a retry succeeds.
    excused: Option<Violation>,
    /// Whether a read-back failed, which was excused, and none has succeeded since.
    unread: bool,
    /// Whether the file system takes no more changes: no retry of a failed open will succeed.
    stopped: bool,
    /// How the parts of the read-back in progress disagree.
    inconsistent: Option<String>,
    /// Whether some read-back was not compared with anything.
    unchecked: bool,
    /// The acknowledgements outside of the steps' own promises.
    acks: Acks,
}

/// The event that a read-back follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// A crash that no recovery has returned from.
    Crash(Crash),
    /// A recovery that returned, and a restart without a crash.
    Recovery(Crash),
    /// A restart without a crash.
    Restart,
    /// Nothing: the store is open and was written to.
    Live,
}

impl<M: Model> Clone for Judge<M> {
    fn clone(&self) -> Self {
        Self {
            oracle: self.oracle.clone(),
            steps: Rc::clone(&self.steps),
            first: self.first.clone(),
            excused: self.excused.clone(),
            inconsistent: self.inconsistent.clone(),
            acks: self.acks.clone(),
            issued_by: self.issued_by.clone(),
            ..*self
        }
    }
}

impl<M: Model> Judge<M> {
    /// A judge before the first opening; `created` says whether the store already exists.
    pub(crate) fn new(promises: Promises<M>, created: bool, errors: Errors) -> Self {
        Self {
            oracle: Oracle::new(promises),
            steps: Rc::default(),
            steps_before: 0,
            after: Follows::Restart,
            first: None,
            created,
            phase: None,
            step: 0,
            issued_by: BTreeMap::new(),
            lasting: false,
            injected: false,
            faulted: false,
            errors,
            excused: None,
            unread: false,
            stopped: false,
            inconsistent: None,
            unchecked: false,
            acks: Acks::default(),
        }
    }

    /// Begins an epoch with these steps; `lasting` says whether a fault lasts to its end.
    pub(crate) fn begin(&mut self, steps: Rc<Vec<Step<M::Op>>>, lasting: bool) {
        self.lasting = lasting;
        self.steps_before += self.steps.len() as u32;
        self.steps = steps;
        self.step = 0;
        self.phase = None;
    }

    /// A crash ends the epoch.
    pub(crate) fn crash(&mut self, kind: CrashKind, at: Time) {
        if let Follows::Crash(before) = self.after {
            self.oracle.interrupted(&before);
        }
        self.after = Follows::Crash(Crash { kind, at, creating: !self.created });
        self.first = None;
        self.excused = None;
        self.unread = false;
        self.stopped = false;
    }

    /// Bytes rotted while the machine was down, at a place for which the sim promises `answer`.
    pub(crate) fn rotten(&mut self, answer: AfterFault) {
        self.injected = true;
        self.faulted = true;
        self.oracle.rotten(answer);
    }

    /// The inputs, in addition to the disk, of how a crash of this kind is judged.
    pub(crate) fn bound(&self, kind: CrashKind, at: Time) -> (u64, usize) {
        let Bound { low, shown, .. } = self.oracle.bound(kind, at);
        // Both only ever strengthen within an epoch, so equal sums mean that both are equal.
        (low + u64::from(!shown) + self.acked(kind).texts().len() as u64, self.oracle.candidates())
    }

    /// The acknowledgements outside of the steps' own promises that cover such a crash.
    pub(crate) fn acked(&self, kind: CrashKind) -> &Rc<Acked> {
        self.acks.surviving(kind)
    }

    /// Whether a step of this epoch was issued.
    pub(crate) fn in_steps(&self) -> bool {
        self.step > 0
    }

    /// Whether some read-back was not compared with anything.
    pub(crate) fn unchecked(&self) -> bool {
        self.unchecked
    }

    /// Judges the events of a child that began at `start`, and how it ended.
    pub(crate) fn outcome(&mut self, outcome: &Outcome, start: Time) -> Result<(), Violation> {
        for event in &outcome.events {
            let at = start + event.at.since(Time::START);
            self.event(&Event { at, ..event.clone() })?;
        }
        if let Some(why) = &outcome.hung {
            return self.ended(Class::Hung, why.clone(), None);
        }
        self.ending(&outcome.ending, outcome.place.as_deref())?;
        match self.excused.take() {
            Some(violation) if !(outcome.finished() || self.stopped || self.lasting) => {
                Err(violation)
            }
            _ => Ok(()),
        }
    }

    fn ending(&mut self, ending: &Ending, place: Option<&str>) -> Result<(), Violation> {
        let class = match ending {
            Ending::Finished => return Ok(()),
            Ending::Panicked { .. } => Class::Panicked,
            Ending::OutOfMemory { .. } => Class::OutOfMemory,
            Ending::HungSpin { .. } | Ending::Asleep { .. } => Class::Hung,
            Ending::Aborted { .. } | Ending::StackOverflow { .. } | Ending::Killed { .. } => {
                Class::Aborted
            }
        };
        let (how, place) = match (ending, place) {
            (Ending::Panicked { .. }, place) => (ending.to_string(), place),
            (_, None) => (ending.to_string(), None),
            (Ending::Aborted { .. }, Some(at)) => (format!("{ending}\nat {at}"), place),
            // A child is ended like this at an arbitrary place: it is not part of the signature.
            (_, Some(at)) => (format!("{ending}\nat {at}"), None),
        };
        self.ended(class, how, place)
    }

    fn ended(&mut self, class: Class, how: String, source: Option<&str>) -> Result<(), Violation> {
        let place = match (self.phase, self.step) {
            (Some((Phase::Open, _)), _) => "while opening".to_owned(),
            (Some((Phase::Close, _)), _) => "while closing".to_owned(),
            (Some((Phase::ReadBack, _)), _) => "while reading back".to_owned(),
            (None, step) => format!("in step {step}"),
        };
        let mut violation = Violation::new(class, format!("{place}: {how}"));
        let signature = violation.signature.with_payload(self.phase_word());
        violation.signature = signature.with_source(source.unwrap_or_default());
        self.promised(violation)
    }

    /// Reports a violation, unless a fault was injected after which the sim promises nothing.
    fn promised(&mut self, violation: Violation) -> Result<(), Violation> {
        if self.oracle.answer() > AfterFault::Nothing {
            return Err(violation);
        }
        self.unchecked = true;
        Ok(())
    }

    fn phase_word(&self) -> &'static str {
        match self.phase {
            Some((Phase::Open, _)) => "open",
            Some((Phase::Close, _)) => "close",
            Some((Phase::ReadBack, _)) => "read",
            None => "step",
        }
    }

    /// Judges one event.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Violation> {
        let at = event.at;
        match &event.kind {
            EventKind::Began(phase) => self.phase = Some((*phase, at)),
            EventKind::Opened(Ok(())) => {
                self.phase = None;
                self.created = true;
                self.excused = None;
            }
            EventKind::Opened(Err(error)) => return self.failed(Class::OpenFailed, error, at),
            EventKind::Closed(result) => return self.closed(result.as_ref(), at),
            EventKind::Read(Ok(())) => {
                self.phase = None;
                self.excused = None;
            }
            EventKind::Read(Err(error)) => return self.failed(Class::ReadFailed, error, at),
            EventKind::Issued(step) => self.issued(*step, at),
            EventKind::Returned(..)
            | EventKind::Refused(_)
            | EventKind::Uncertain(_)
            | EventKind::ReturnedBy(..)
            | EventKind::RefusedBy(_)
            | EventKind::UncertainBy(_) => return self.op_ended(&event.kind, at),
            EventKind::IssuedBy(client, number) => self.issued_by(*client, *number, at),
            EventKind::Acked(level, what) => self.acks.push(*level, what),
            EventKind::Inconsistent(how) => self.inconsistent = Some(how.clone()),
            EventKind::Injected(fault_kind) => {
                self.injected = true;
                self.faulted = true;
                // A promise that was not due at the crash does not become due in the recovery.
                let at = if let Follows::Crash(crash) = self.after { crash.at } else { at };
                self.oracle.injected(*fault_kind, at);
            }
            EventKind::Observed(state) => {
                let from = self.phase.map_or(at, |(_, since)| since);
                let inconsistent = self.inconsistent.take();
                let read = ReadBack { state: state.clone(), failed: Vec::new(), inconsistent };
                let seen = Observed { from, to: at, found: Found::Read(read) };
                return self.observed(seen);
            }
            EventKind::Leaked(threads) => {
                let s = if *threads == 1 { "" } else { "s" };
                let message =
                    format!("{threads} thread{s} of the engine still ran after its close");
                return self.promised(Violation::new(Class::Leaked, message));
            }
            EventKind::Evicted => self.oracle.evicted(),
            EventKind::Stopped => {
                self.stopped = true;
                self.faulted = true;
            }
            EventKind::Panicked { thread, name, place, message } => {
                let name = if name.is_empty() { String::new() } else { format!(" `{name}`") };
                let message = format!(
                    "thread {thread}{name} panicked at {place}, and was not joined: {message}"
                );
                let mut violation = Violation::new(Class::Panicked, message);
                violation.signature = violation.signature.with_payload("thread").with_source(place);
                return self.promised(violation);
            }
            EventKind::Done => {}
        }
        Ok(())
    }

    /// An op of a step or of a client ended, in one of the ways that it may.
    fn op_ended(&mut self, how: &EventKind, at: Time) -> Result<(), Violation> {
        match how {
            EventKind::Returned(step, result) => {
                if let Err(error) = result {
                    let op = self.op(*step).map(ToString::to_string);
                    self.op_failed(op, error)?;
                }
                let result = result.as_ref().map(|ack| *ack).map_err(|_| ());
                self.oracle.returned(self.steps_before + step, result, at);
            }
            EventKind::Uncertain(step) => {
                self.oracle.returned(self.steps_before + step, Err(()), at);
            }
            EventKind::Refused(step) => self.oracle.refused(self.steps_before + step, at),
            EventKind::ReturnedBy(client, result) => {
                if let Err(error) = result {
                    let op = self.client_op(*client).map(ToString::to_string);
                    self.op_failed(op, error)?;
                }
                let result = result.as_ref().map(|ack| *ack).map_err(|_| ());
                self.oracle.returned_by(CLIENTS + client, result, at);
            }
            EventKind::UncertainBy(client) => {
                self.oracle.returned_by(CLIENTS + client, Err(()), at);
            }
            EventKind::RefusedBy(client) => self.oracle.refused_by(CLIENTS + client, at),
            _ => {}
        }
        Ok(())
    }

    fn issued(&mut self, step: u32, at: Time) {
        self.step = step;
        self.continue_unread(at);
        self.after = Follows::Live;
        if let Some(Step::Op(op)) = self.steps.get(step as usize - 1)
            && M::clients(op).is_none()
        {
            self.oracle.issue(self.steps_before + step, 0, op, at);
        }
    }

    fn issued_by(&mut self, client: usize, number: usize, at: Time) {
        self.issued_by.insert(client, number);
        let Some(Step::Op(op)) = self.steps.get((self.step as usize).wrapping_sub(1)) else {
            return;
        };
        let ops = M::clients(op).and_then(|clients| clients.get(client));
        if let Some(op) = ops.and_then(|ops| ops.get(number)) {
            self.oracle.issue(self.steps_before + self.step, CLIENTS + client, op, at);
        }
    }

    /// Judges a failed opening or read-back. Once a fault was injected, it is a violation only if
    /// no retry succeeds. The kind of the error is part of the signature.
    fn failed(&mut self, class: Class, error: &EngineFailure, at: Time) -> Result<(), Violation> {
        let from = self.phase.take().map_or(at, |(_, since)| since);
        let seen = Observed { from, to: at, found: Found::Failed(class, error.text.clone()) };
        let judged = self.observed(seen).map_err(|mut violation| {
            violation.signature = violation.signature.with_more(&error.kind);
            violation
        });
        let judged = match judged {
            Err(violation) if self.injected => {
                self.excused = Some(violation);
                Ok(())
            }
            judged => judged,
        };
        self.unread |= class == Class::ReadFailed;
        judged
    }

    /// A clean close promises what the sim says; one that failed promises nothing.
    fn closed(&mut self, result: Result<&(), &EngineFailure>, at: Time) -> Result<(), Violation> {
        self.phase = None;
        if result.is_ok() {
            self.continue_unread(at);
            self.oracle.closed(at);
        }
        if self.after == Follows::Live {
            self.after = Follows::Restart;
        }
        match result {
            Err(error) if self.judges_errors() => {
                let mut violation = Violation::new(Class::CloseFailed, &*error.text);
                violation.signature = violation.signature.with_more(&error.kind);
                self.promised(violation)
            }
            _ => Ok(()),
        }
    }

    /// Judges an op that returned an error: without a fault there is no reason for one.
    fn op_failed(&mut self, op: Option<String>, error: &EngineFailure) -> Result<(), Violation> {
        if !self.judges_errors() {
            return Ok(());
        }
        let op = op.unwrap_or_default();
        let word = op.split(' ').next().unwrap_or_default();
        let message = format!("step {}, {word}: {}", self.step, error.text);
        let mut violation = Violation::new(Class::OpFailed, message);
        violation.signature = violation.signature.with_payload(word).with_more(&error.kind);
        self.promised(violation)
    }

    fn judges_errors(&self) -> bool {
        self.errors == Errors::Judged && !self.faulted
    }

    /// The op of a step of this epoch, if the step is one.
    fn op(&self, step: u32) -> Option<&M::Op> {
        match self.steps.get((step as usize).wrapping_sub(1))? {
            Step::Op(op) => Some(op),
            Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
        }
    }

    /// The op that a client issued last.
    fn client_op(&self, client: usize) -> Option<&M::Op> {
        M::clients(self.op(self.step)?)?.get(client)?.get(*self.issued_by.get(&client)?)
    }

    /// Continues with a store whose recovery could not be read back: from now on its promises build
    /// on whatever the crash left.
    fn continue_unread(&mut self, at: Time) {
        if !std::mem::take(&mut self.unread) {
            return;
        }
        let crash = match self.after {
            Follows::Crash(crash) => crash,
            Follows::Restart => Crash { kind: CrashKind::Process, at, creating: false },
            Follows::Recovery(_) | Follows::Live => return,
        };
        self.oracle.recovered_unread(&crash, at);
        self.after = Follows::Live;
    }

    fn observed(&mut self, seen: Observed) -> Result<(), Violation> {
        let read = matches!(seen.found, Found::Read(_));
        self.unread &= !read;
        let passed = match self.after {
            Follows::Crash(crash) => {
                let passed = self.oracle.recovered(&crash, &seen)?;
                if read {
                    self.first = Some(seen);
                    self.after = Follows::Recovery(crash);
                }
                passed
            }
            Follows::Recovery(crash) => {
                if let Some(first) = self.first.take()
                    && let Err(violation) = self.oracle.check_idempotent(&first, &seen)
                {
                    self.promised(violation)?;
                }
                self.after = Follows::Live;
                self.oracle.check(&crash, &seen)?
            }
            Follows::Restart => {
                let at = seen.from;
                let restart = Crash { kind: CrashKind::Process, at, creating: false };
                let passed = self.oracle.recovered(&restart, &seen)?;
                if read {
                    self.after = Follows::Live;
                }
                passed
            }
            Follows::Live => self.oracle.check_live(&seen)?,
        };
        self.unchecked |= passed == NoViolation::Unchecked;
        Ok(())
    }
}
