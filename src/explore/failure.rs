//! A violation with everything that a report and a case say about it.

use crate::base::text::{Word, quote, words};
use crate::case::{Case, Crash, Epoch, Expect};
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::rot::Rot;
use crate::log::Phase;
use crate::oracle::{AfterFault, CrashKind, ItemDiff, Violation};
use crate::sim::model::Model;

use super::calls::Calls;
use super::event::Outcome;
use super::explorer::Explorer;
use super::protocol::{Failure, ItemRow, PieceRow};
use super::walk::{DOWN, Line, Point};

/// The word by which a case says how many pages of an interrupted write had been copied.
pub(crate) const PAGES: &str = "pages=";

/// The word by which a case says that the cache dropped the pages whose write had failed.
pub(crate) const EVICTED: &str = "cache=evicted";

/// A crash, and what it left.
pub(crate) struct Crashed<'a> {
    pub(crate) kind: CrashKind,
    pub(crate) point: &'a Point,
    pub(crate) left: Left,
}

/// What a crash left of what was written.
pub(crate) enum Left {
    /// All of it: the process died between two changes.
    All,
    /// All of it, and so many pages of the write that the process died in.
    Pages(u64),
    /// All of it but the pages whose write had failed before: the process died, and the cache
    /// dropped them.
    Evicted,
    /// What a fate says: the power went.
    Fate(Fate),
    /// The same, but some of it is not what was written, where this is promised.
    Rotten(Fate, Rot, AfterFault),
}

impl Crashed<'_> {
    /// What may be lost: what the kernel could not write is in no better hands than after a loss
    /// of power.
    pub(crate) fn judged_as(&self) -> CrashKind {
        match self.left {
            Left::Evicted => CrashKind::Power,
            _ => self.kind,
        }
    }
}

impl Left {
    fn words(&self, pending: &Pending) -> Vec<Word> {
        let text = match self {
            Self::All => return Vec::new(),
            Self::Pages(pages) => format!("{PAGES}{pages}"),
            Self::Evicted => EVICTED.to_owned(),
            Self::Fate(fate) => fate.text(pending),
            Self::Rotten(fate, rot, _) => {
                format!("{} {}", fate.text(pending), quote(&rot.word()))
            }
        };
        words(&text).unwrap_or_default()
    }
}

/// The life that a crash ended, with the crash.
pub(crate) fn epoch(line: &Line, calls: &Calls, crashed: &Crashed<'_>, pending: &Pending) -> Epoch {
    let point = crashed.point;
    let steps = line.epoch.steps.iter().take(point.step as usize).cloned().collect();
    let crash = Crash {
        kind: crashed.kind,
        step: point.step,
        effect: point.effect,
        returned: point.returned,
        replies: point.replies,
        ended: point.ended,
        within: within(calls, point).map(str::to_owned),
        down: DOWN,
        fate: crashed.left.words(pending),
    };
    let turns = line.turns.as_ref().map(|turns| turns[..point.turns.min(turns.len())].to_vec());
    Epoch { steps, crash: Some(crash), turns }
}

/// The call that was under way at a point, or the next one that changes something. Behind a step
/// that returned there is none: what comes next is of a step that the case leaves out.
pub(crate) fn within<'c>(calls: &'c Calls, point: &Point) -> Option<&'c str> {
    if point.returned && point.flight.is_none() {
        return None;
    }
    calls.name(point.flight.unwrap_or(point.effects))
}

/// The failure of a run that no crash interrupted.
pub(crate) fn without_crash<M: Model>(
    explorer: &Explorer<'_, M>,
    violation: &Violation,
    outcome: &Outcome,
) -> Failure {
    let epoch = Epoch { turns: outcome.turns.clone(), ..explorer.case.epochs[0].clone() };
    let case = Case { epochs: vec![epoch], ..explorer.case.clone() };
    failure(case, violation, outcome)
}

/// The failure of a recovery. `afterlife` says whether it came after the first of the steps that
/// follow a recovery, which then belong to the case.
pub(crate) fn after_crash<M: Model>(
    explorer: &Explorer<'_, M>,
    line: &Line,
    epoch: Epoch,
    continuation: bool,
    violation: &Violation,
    outcome: &Outcome,
) -> Failure {
    let mut epochs = line.epochs.clone();
    epochs.push(epoch);
    let turns = outcome.turns.clone();
    if continuation {
        epochs.push(Epoch { turns, ..explorer.continuation.clone() });
    } else if turns.is_some() {
        epochs.push(Epoch { turns, ..Epoch::default() });
    }
    failure(Case { epochs, ..explorer.case.clone() }, violation, outcome)
}

fn failure(mut case: Case, violation: &Violation, outcome: &Outcome) -> Failure {
    case.expect = Expect::Violation(violation.class(), Some(violation.signature.clone()));
    case.known = None;
    let shown =
        |value: &Option<Vec<u8>>| value.as_deref().map_or_else(|| "absent".to_owned(), quote);
    let row = |diff: &ItemDiff| ItemRow {
        item: quote(&diff.item),
        expected: shown(&diff.expected),
        found: shown(&diff.found),
        note: diff.note.clone(),
    };
    Failure {
        case: case.to_string(),
        class: violation.class().to_string(),
        signature: violation.signature.to_string(),
        headline: violation.class().headline().to_owned(),
        message: violation.message.clone(),
        point: String::new(),
        items: violation.details.iter().map(row).collect(),
        pieces: Vec::new(),
        counts: [0; 3],
        digest: outcome.digest,
        relaxations: Vec::new(),
        verdict: String::new(),
    }
}

/// The words for a crash point.
pub(crate) fn place(crashed: &Crashed<'_>, calls: &Calls, depth: u32, pending: &Pending) -> String {
    let point = crashed.point;
    let kind = match (crashed.kind, &crashed.left) {
        (CrashKind::Power, _) => "power lost",
        (CrashKind::Process, Left::Evicted) => "process died, cache evicted,",
        (CrashKind::Process, _) if pending.has_undecided() => "process died, cache kept,",
        (CrashKind::Process, _) => "process died",
    };
    let kind = match &crashed.left {
        Left::Rotten(_, rot, _) => format!("{kind} and {} {},", rot.damage, rot.place()),
        _ => kind.to_owned(),
    };
    let epoch = if depth > 0 { "after a recovery, " } else { "" };
    let step = if point.step == 0 { "opening".to_owned() } else { format!("step {}", point.step) };
    let call = match (within(calls, point), point.flight) {
        (Some(call), Some(_)) => format!(", in {call}"),
        (Some(call), None) => format!(", before {call}"),
        (None, _) => String::new(),
    };
    if point.returned && point.flight.is_none() {
        return format!("{kind} {epoch}when {step} had returned, at {}", point.at);
    }
    let changes = if point.effect == 1 { "change" } else { "changes" };
    let phase = match (point.ended, point.phase) {
        (0, _) | (_, None | Some(Phase::ReadBack)) => "",
        (_, Some(Phase::Open)) => ", when opening had returned",
        (_, Some(Phase::Close)) => ", when closing had returned",
    };
    let effect = point.effect;
    format!("{kind} {epoch}in {step}, {effect} {changes} into it{phase}{call}, at {}", point.at)
}

/// What became of the pending pieces: the rows of those that were lost or torn, and how many were
/// pending, kept and torn.
pub(crate) fn pieces(pending: &Pending, fate: &Fate, calls: &Calls) -> (Vec<PieceRow>, [u64; 3]) {
    let losses = pending.losses(fate);
    let names = pending.names();
    let torn = losses.iter().filter(|loss| !loss.kept.is_empty()).count() as u64;
    let rows = losses
        .iter()
        .map(|loss| PieceRow {
            what: names.piece(loss.piece),
            fate: match loss.kept.first() {
                None => "lost".to_owned(),
                Some(kept) => format!("torn, {}..{} kept", kept.start, kept.end),
            },
            site: calls.site(loss.piece.effect).map(str::to_owned),
        })
        .collect();
    let all = pending.len() as u64;
    (rows, [all, all - losses.len() as u64, torn])
}
