//! Counts what an exploration does and reports its findings.

use std::collections::BTreeSet;
use std::time::Instant;

use super::activity::Activity;
use super::finding::Finding;
use super::job::{Budget, Kind};
use super::message::Message;
use super::stop::Stop;
use super::tally::Tally;
use crate::base::digest::{Digest, Digester};

/// Counts what an exploration does and reports its findings.
pub(crate) struct Reporter<'r> {
    /// The counts so far, without what the runner counts.
    pub(crate) tally: Tally,
    /// What came up, if the job asks for it.
    pub(crate) activity: Option<Activity>,
    /// Distinct crash states so far.
    states: BTreeSet<Digest>,
    reported: BTreeSet<Kind>,
    known: BTreeSet<Kind>,
    stops: bool,
    wants_verdicts: bool,
    digester: Digester,
    started: Instant,
    send: Box<dyn FnMut(&Message) + 'r>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the cost of an exploration is real time; it decides nothing"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl<'r> Reporter<'r> {
    /// A reporter that sends by `send`.
    pub(crate) fn new(budget: &Budget, known: &[Kind], send: impl FnMut(&Message) + 'r) -> Self {
        Self {
            tally: Tally::default(),
            activity: None,
            states: BTreeSet::new(),
            reported: BTreeSet::new(),
            known: known.iter().cloned().collect(),
            stops: budget.stop,
            wants_verdicts: budget.verdict > 0,
            digester: Digester::default(),
            started: now(),
            send: Box::new(send),
        }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Message) {
        (self.send)(message);
    }

    /// Counts a crash state.
    pub(crate) fn state(&mut self, digest: Digest) {
        self.states.insert(digest);
    }

    /// Adds a run or a recovery to the digest of the exploration.
    pub(crate) fn note(&mut self, state: Digest, recovered: Digest) {
        self.digester.add_number(state.0);
        self.digester.add_number(recovered.0);
    }

    /// Whether a finding of this kind will be reported, and with a verdict.
    pub(crate) fn wants_verdict(&self, kind: &Kind) -> bool {
        self.wants_verdicts && !self.reported.contains(kind) && !self.known.contains(kind)
    }

    /// Counts a finding, and reports the first of its kind.
    pub(crate) fn found(&mut self, finding: Finding) -> Result<(), Stop> {
        let kind = finding.kind();
        if self.known.contains(&kind) {
            self.tally.shadowed += 1;
            self.tally.known += u64::from(self.reported.insert(kind));
            return Ok(());
        }
        self.tally.violations += 1;
        if self.reported.insert(kind) {
            self.send(&Message::Finding(Box::new(finding)));
        }
        if self.stops { Err(Stop::Found) } else { Ok(()) }
    }

    /// The counts, with these of the runner.
    pub(crate) fn counts(&self, recoveries: u64, calls: u64, in_children: f64) -> Tally {
        let seconds = now().duration_since(self.started).as_secs_f64();
        Tally {
            states: self.states.len() as u64,
            recoveries,
            calls,
            digest: self.digester.clone().finish(),
            seconds,
            harness_seconds: seconds - in_children,
            ..self.tally
        }
    }
}
