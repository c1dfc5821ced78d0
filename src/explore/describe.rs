//! Describes crashes and lost pieces for a finding.

use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::oracle::CrashKind;

use super::calls::Calls;
use super::crash_state::{Crashed, Left};
use super::finding::{Cache, CrashScene, LostPiece, NearbyCall, Pieces};
use super::lineage::within;

/// A crash as a report describes it.
pub(crate) fn scene(
    crashed: &Crashed<'_>,
    calls: &Calls,
    recovered: bool,
    pending: &Pending,
) -> CrashScene {
    let point = crashed.point;
    let cache = match (crashed.kind, &crashed.left) {
        (CrashKind::Process, Left::Evicted) => Cache::Evicted,
        (CrashKind::Process, _) if pending.has_undecided() => Cache::Kept,
        _ => Cache::Unaffected,
    };
    let call = within(calls, point).map(str::to_owned).map(|call| match point.flight {
        Some(_) => NearbyCall::InFlight(call),
        None => NearbyCall::Next(call),
    });
    CrashScene {
        kind: crashed.kind,
        cache,
        rot: match &crashed.left {
            Left::Rotten(_, rot, _) => Some(rot.clone()),
            _ => None,
        },
        recovered,
        position: point.position,
        phase: point.phase,
        call,
        at: point.at,
    }
}

/// The fate of the pending pieces, with the source line that wrote each lost one.
pub(crate) fn pieces(crashed: &Crashed<'_>, pending: &Pending, calls: &Calls) -> Pieces {
    match &crashed.left {
        Left::Fate(fate) | Left::Rotten(fate, ..) => pieces_of(fate, pending, calls),
        Left::All | Left::Pages(_) | Left::Evicted => Pieces::default(),
    }
}

fn pieces_of(fate: &Fate, pending: &Pending, calls: &Calls) -> Pieces {
    let losses = pending.losses(fate);
    let names = pending.names();
    let lost = losses.iter().map(|loss| LostPiece {
        name: names.piece(loss.piece),
        kept: loss.kept.first().cloned(),
        junk: loss.junk.clone(),
        line: calls.line(loss.piece.effect).cloned(),
    });
    let pending = pending.len() as u64;
    Pieces {
        pending,
        kept: pending - losses.len() as u64,
        torn: losses.iter().filter(|loss| !loss.kept.is_empty() || loss.junk.is_some()).count()
            as u64,
        losses: lost.collect(),
    }
}
