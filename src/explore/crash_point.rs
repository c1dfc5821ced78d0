//! A crash point: a position in a log, and what is known there.

use crate::base::time::Time;
use crate::case::Position;
use crate::log::{Mark, Payload, Phase, Record, records};

use super::job::Near;

/// A position in a log, and what is known there.
#[derive(Clone, Debug)]
pub(crate) struct CrashPoint {
    pub(crate) at: Time,
    pub(crate) position: Position,
    /// The opening or closing that returned last.
    pub(crate) phase: Option<Phase>,
    /// The number of changes in the whole log so far, those of `Effect::syncs_mount` too.
    pub(crate) effects: u64,
    /// The change whose call has not returned.
    pub(crate) flight: Option<u64>,
    /// The number of scheduling decisions out of the default order so far.
    pub(crate) turns: usize,
    /// Whether an opening of the store has begun: before that it may only have been created.
    pub(crate) begun: bool,
}

impl CrashPoint {
    /// The beginning of a log; a recovery begins when its machine is up again.
    pub(crate) fn start(log: &[u8]) -> Self {
        Self {
            at: records(log).next().map_or(Time::START, |record| record.at),
            position: Position::default(),
            phase: None,
            effects: 0,
            flight: None,
            turns: 0,
            begun: false,
        }
    }

    /// Whether this is where a job looks; `call` is the call here, as a case names it.
    pub(crate) fn is_near(&self, near: &Near, call: Option<&str>) -> bool {
        let Near::Call { step, returned, effect, within } = near else { return false };
        // An engine numbers its files: with fewer steps the same one has another number.
        let unnumbered = |call: &str| call.replace(|c: char| c.is_ascii_digit(), "");
        (self.position.step, self.position.returned) == (*step, *returned)
            && effect.is_none_or(|effect| effect == self.position.effect)
            && call.map(unnumbered) == within.as_deref().map(unnumbered)
    }

    /// Moves past a record; says whether a crash there may leave something new. `steps` is the
    /// number of steps in the epoch.
    pub(crate) fn pass(&mut self, record: &Record<'_>, steps: usize) -> bool {
        // A change is logged with its stamp, which the coarse clock gave it.
        self.at = self.at.max(record.at);
        match record.payload {
            // Not counted, so that the cases keep their positions that were saved when an engine's
            // sync of this folder went to the host. A crash right after it leaves nothing that one
            // before it does not.
            Payload::Effect(effect) if effect.syncs_mount() => {
                self.effects += 1;
                false
            }
            Payload::Effect(_) => {
                self.flight = Some(self.effects);
                self.effects += 1;
                self.position.effect += 1;
                self.position.ended = 0;
                true
            }
            Payload::Call(_) => {
                self.flight = None;
                false
            }
            Payload::Mark(mark) => self.pass_mark(&mark, steps),
        }
    }

    fn pass_mark(&mut self, mark: &Mark<'_>, steps: usize) -> bool {
        let issued = matches!(mark, Mark::Issued(_));
        let returned = ended_step(mark).is_some();
        let replied =
            matches!(mark, Mark::ReturnedBy(..) | Mark::RefusedBy(..) | Mark::UncertainBy(..));
        // A store that was opened or closed may have promised to survive.
        let ended = match mark {
            Mark::End(phase @ (Phase::Open | Phase::Close), Ok(())) => Some(*phase),
            _ => None,
        };
        self.phase = ended.or(self.phase);
        self.turns += usize::from(matches!(mark, Mark::Turn(_)));
        self.begun |= matches!(mark, Mark::Begin(Phase::Open));
        let begins = match *mark {
            Mark::Issued(step) => Some(step),
            // The closing counts as one more step.
            _ if ends(mark, steps) => ended_step(mark).map(|step| step + 1),
            _ => None,
        };
        let position = &mut self.position;
        position.ended += u32::from(ended.is_some());
        position.returned |= returned;
        position.replies = if returned { 0 } else { position.replies + u32::from(replied) };
        if let Some(step) = begins {
            *position = Position::start_of(step);
        }
        issued || returned || replied || ended.is_some()
    }
}

/// The step that returned with this mark.
fn ended_step(mark: &Mark<'_>) -> Option<u32> {
    match *mark {
        Mark::Returned(step, _) | Mark::Refused(step, _) | Mark::Uncertain(step, _) => Some(step),
        _ => None,
    }
}

/// Whether the last of `steps` steps returned with this mark.
pub(crate) fn ends(mark: &Mark<'_>, steps: usize) -> bool {
    ended_step(mark).is_some_and(|step| step as usize == steps)
}
