//! A run in a few words, and the oracle's verdict on it.

use std::time::Duration;

use crashpoint::inner::oracle::{Crash, Found, NoViolation, Observed, Oracle, ReadBack, Violation};
use crashpoint::{Ack, Class, CrashKind, Level, Model, Promises, State, Time};

use crate::models::{Op, op, state};

pub(crate) const BUFFERED: Ack = Ack::BUFFERED;
pub(crate) const FLUSHED: Ack = Ack::FLUSHED;
pub(crate) const DURABLE: Ack = Ack::DURABLE;

/// Virtual time in milliseconds.
pub(crate) fn ms(millis: u64) -> Time {
    Time::START + Duration::from_millis(millis)
}

pub(crate) fn within(level: Level, millis: u64) -> Ack {
    Ack::Within(level, Duration::from_millis(millis))
}

/// A run: an oracle, the last step, and the time. Each event takes a millisecond, unless the test
/// sets the time with [`Run::at`].
pub(crate) struct Run<M: Model> {
    pub(crate) oracle: Oracle<M>,
    pub(crate) step: u32,
    pub(crate) now: Time,
}

impl<M: Model> Clone for Run<M> {
    fn clone(&self) -> Self {
        Self { oracle: self.oracle.clone(), ..*self }
    }
}

/// The result of a check, with only the class of a violation.
pub(crate) type CheckResult = Result<NoViolation, Class>;

/// The state was allowed.
pub(crate) const PASSES: CheckResult = Ok(NoViolation::Checked);

impl<M: Model<Op = Op>> Run<M> {
    pub(crate) fn new() -> Self {
        Self::with(Promises::default())
    }

    pub(crate) fn with(promises: Promises<M>) -> Self {
        Self { oracle: Oracle::new(promises), step: 0, now: Time::START }
    }

    /// Continues at this time.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = ms(millis);
        self
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(1);
    }

    /// A client issues an op; returns the step.
    pub(crate) fn issue_by(&mut self, client: usize, line: &str) -> u32 {
        self.step += 1;
        self.oracle.issue(self.step, client, &op(line), self.now);
        self.tick();
        self.step
    }

    pub(crate) fn issue(&mut self, line: &str) -> u32 {
        self.issue_by(0, line)
    }

    pub(crate) fn returns(&mut self, step: u32, ack: Ack) {
        self.oracle.returned(step, Ok(ack), self.now);
        self.tick();
    }

    pub(crate) fn fails(&mut self, step: u32) {
        self.oracle.returned(step, Err(()), self.now);
        self.tick();
    }

    /// An op that returns with a promise.
    pub(crate) fn ok(&mut self, line: &str, ack: Ack) -> &mut Self {
        let step = self.issue(line);
        self.returns(step, ack);
        self
    }

    /// An op that returns an error.
    pub(crate) fn err(&mut self, line: &str) -> &mut Self {
        let step = self.issue(line);
        self.fails(step);
        self
    }

    /// An op that is refused.
    pub(crate) fn refused(&mut self, line: &str) -> &mut Self {
        let step = self.issue(line);
        self.refuses(step);
        self
    }

    pub(crate) fn refuses(&mut self, step: u32) {
        self.oracle.refused(step, self.now);
        self.tick();
    }

    pub(crate) fn crash(&self, kind: CrashKind) -> Crash {
        Crash { kind, at: self.now, creating: false }
    }

    pub(crate) fn seen(&self, state: State) -> Observed {
        let read = ReadBack { state, ..ReadBack::default() };
        Observed { from: self.now, to: self.now, found: Found::Read(read) }
    }

    pub(crate) fn judge(&self, kind: CrashKind, line: &str) -> Result<NoViolation, Violation> {
        self.oracle.check(&self.crash(kind), &self.seen(state(line)))
    }

    /// The verdict if the power fails now and the store then shows this.
    pub(crate) fn power(&self, line: &str) -> CheckResult {
        self.judge(CrashKind::Power, line).map_err(|violation| violation.class())
    }

    /// The verdict if the process dies now and the store then shows this.
    pub(crate) fn process(&self, line: &str) -> CheckResult {
        self.judge(CrashKind::Process, line).map_err(|violation| violation.class())
    }

    /// The store crashes now, and a recovery returns and shows this.
    pub(crate) fn recovers(&mut self, kind: CrashKind, line: &str) -> CheckResult {
        let (crash, seen) = (self.crash(kind), self.seen(state(line)));
        self.tick();
        self.oracle.recovered(&crash, &seen).map_err(|violation| violation.class())
    }

    /// The store crashes now, and a recovery returns; it cannot be read, but is used anyway.
    pub(crate) fn recovered_unread(&mut self, kind: CrashKind) {
        let crash = self.crash(kind);
        self.oracle.recovered_unread(&crash, crash.at);
    }

    /// The store crashes now, and its recovery is cut short.
    pub(crate) fn interrupted(&mut self, kind: CrashKind) {
        self.oracle.interrupted(&self.crash(kind));
        self.tick();
    }
}
