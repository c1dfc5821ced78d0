//! Follows a run from moment to moment and says at the first one that breaks a promise.

use crate::engine::Level;
use crate::log::Phase;
use crate::oracle::model::Model;
use crate::oracle::{Class, CrashKind, Oracle, Violation};
use crate::process::ending::Ending;
use crate::sim::{OpOf, Sim, Step};
use crate::state::State;
use crate::time::Time;

use super::moment::{Moment, Outcome, What};

/// The oracle of a run, and where in the run it is.
pub(crate) struct Judge<S: Sim> {
    oracle: Oracle<S::Model>,
    /// The steps of this life; the oracle knows its ops by number.
    steps: std::rc::Rc<Vec<Step<OpOf<S>>>>,
    ops: Vec<Option<crate::oracle::OpId>>,
    /// What the next read-back follows.
    after: After,
    /// The first read-back after a crash, until the second is compared with it.
    first: Option<State>,
    /// Whether any opening of the store ever returned.
    created: bool,
    /// The phase that began and has not ended, and since when.
    phase: Option<(Phase, Time)>,
    step: u32,
}

/// What a read-back follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// A crash that no recovery has returned from.
    Crash(CrashKind, Time),
    /// A recovery that returned, and a restart without a crash.
    Recovery,
    /// A restart without a crash.
    Restart,
    /// Nothing: the store is open and was written to.
    Live,
}

impl<S: Sim> Clone for Judge<S> {
    fn clone(&self) -> Self {
        Self {
            oracle: self.oracle.clone(),
            steps: self.steps.clone(),
            ops: self.ops.clone(),
            after: self.after,
            first: self.first.clone(),
            created: self.created,
            phase: self.phase,
            step: self.step,
        }
    }
}

impl<S: Sim> Judge<S> {
    /// Before the first opening.
    pub(crate) fn new() -> Self {
        Self {
            oracle: Oracle::new(S::promises()),
            steps: std::rc::Rc::default(),
            ops: Vec::new(),
            after: After::Restart,
            first: None,
            created: false,
            phase: None,
            step: 0,
        }
    }

    /// A life with these steps begins.
    pub(crate) fn begin(&mut self, steps: Vec<Step<OpOf<S>>>) {
        self.ops = vec![None; steps.len()];
        self.steps = std::rc::Rc::new(steps);
        self.step = 0;
        self.phase = None;
    }

    /// The machine stops here.
    pub(crate) fn crash(&mut self, kind: CrashKind, at: Time) {
        if let After::Crash(before, then) = self.after {
            self.oracle.interrupted(before, then);
        }
        self.after = After::Crash(kind, at);
        self.first = None;
    }

    /// Whether a step of this life was issued.
    pub(crate) fn in_steps(&self) -> bool {
        self.step > 0
    }

    /// A number that changes whenever what a crash of this kind must leave changes.
    pub(crate) fn bound(&self, kind: CrashKind, at: Time) -> u64 {
        self.oracle.bound(kind, at)
    }

    /// Judges all that a child did that began at `start`, and how it ended.
    pub(crate) fn outcome(&mut self, outcome: &Outcome, start: Time) -> Result<(), Violation> {
        for moment in &outcome.moments {
            let at = start + moment.at.since(Time::START);
            self.moment(&Moment { at, ..moment.clone() })?;
        }
        if let Some(why) = &outcome.hung {
            return Err(self.ended(Class::Hung, why.clone(), None));
        }
        self.ending(&outcome.ending)
    }

    fn ending(&self, ending: &Ending) -> Result<(), Violation> {
        let class = match ending {
            Ending::Finished => return Ok(()),
            Ending::Panicked { .. } => Class::Panicked,
            Ending::OutOfMemory { .. } => Class::OutOfMemory,
            Ending::HungSpin { .. } | Ending::Asleep { .. } => Class::Hung,
            _ => Class::Aborted,
        };
        Err(self.ended(class, ending.to_string(), ending.location()))
    }

    fn ended(&self, class: Class, how: String, location: Option<String>) -> Violation {
        let place = match (self.phase, self.step) {
            (Some((Phase::Open, _)), _) => "while opening".to_owned(),
            (Some((Phase::Close, _)), _) => "while closing".to_owned(),
            (Some((Phase::ReadBack, _)), _) => "while reading back".to_owned(),
            (None, step) => format!("in step {step}"),
        };
        Violation::new(class, phase_word(self.phase), location, format!("{place}: {how}"))
    }

    /// One thing that happened.
    pub(crate) fn moment(&mut self, moment: &Moment) -> Result<(), Violation> {
        let at = moment.at;
        match &moment.what {
            What::Began(phase) => self.phase = Some((*phase, at)),
            What::Opened(result) => return self.opened(result),
            What::Closed(result) => self.closed(result),
            What::Read(result) => {
                self.phase = None;
                if let Err(error) = result {
                    return self.loud(Class::ReadFailed, "read", error);
                }
            }
            What::Issued(step) => self.issued(*step, at),
            What::Returned(step, result) => {
                let op = self.ops.get(*step as usize - 1).copied().flatten();
                if let Some(op) = op {
                    self.oracle.returned(op, result.as_ref().map(|ack| *ack).map_err(|_| ()), at);
                }
            }
            What::Inconsistent(how) => {
                return Err(Violation::new(Class::Inconsistent, "read", None, how.clone()));
            }
            What::Observed(state) => return self.observed(state, at),
            What::Done => {}
        }
        Ok(())
    }

    fn issued(&mut self, step: u32, at: Time) {
        self.step = step;
        self.after = After::Live;
        let index = step as usize - 1;
        if let Some(Step::Op(op)) = self.steps.get(index) {
            self.ops[index] = Some(self.oracle.issue(op.clone(), 0, at));
        }
    }

    fn opened(&mut self, result: &Result<(), String>) -> Result<(), Violation> {
        self.phase = None;
        match result {
            Ok(()) => {
                self.created = true;
                Ok(())
            }
            Err(error) if !self.created && matches!(self.after, After::Crash(..)) => {
                self.loud(Class::CreateInterrupted, "open", error)
            }
            Err(error) => self.loud(Class::OpenFailed, "open", error),
        }
    }

    fn loud(&self, class: Class, what: &str, error: &str) -> Result<(), Violation> {
        Err(Violation::new(class, what, None, error.to_owned()))
    }

    /// A clean close that returned lost nothing; one that failed promises nothing.
    fn closed(&mut self, result: &Result<(), String>) {
        self.phase = None;
        if result.is_ok() {
            self.oracle.acknowledge_all(Level::Flushed);
        }
        if self.after == After::Live {
            self.after = After::Restart;
        }
    }

    fn observed(&mut self, state: &State, at: Time) -> Result<(), Violation> {
        let from = self.phase.map_or(at, |(_, since)| since);
        match self.after {
            After::Crash(kind, then) => {
                self.oracle.check(kind, then, (from, at), state)?;
                self.oracle.recovered(kind, then, (from, at), state);
                self.first = Some(state.clone());
                self.after = After::Recovery;
            }
            After::Recovery => {
                if let Some(first) = self.first.take().filter(|_| !S::Model::TIMED) {
                    Oracle::<S::Model>::same(&first, state)?;
                }
                self.after = After::Live;
            }
            After::Restart => {
                self.oracle.check(CrashKind::Process, from, (from, at), state)?;
                self.oracle.recovered(CrashKind::Process, from, (from, at), state);
                self.after = After::Live;
            }
            After::Live => self.oracle.check_live((from, at), state)?,
        }
        Ok(())
    }
}

fn phase_word(phase: Option<(Phase, Time)>) -> &'static str {
    match phase {
        Some((Phase::Open, _)) => "open",
        Some((Phase::Close, _)) => "close",
        Some((Phase::ReadBack, _)) => "read",
        None => "step",
    }
}
