//! Tears: which pending blocks may survive in part, and which of these tears to try first.
//!
//! A device tears what it is writing when the power goes: the data of the interrupted call, or any
//! older data that is written back during a later call or the sync. There are many of the second
//! kind, so each way of going through them here has a bound: complete lists are for short logs, a
//! draw looks at one piece, and the ranking at the newest pieces.

use std::ops::Range;

use super::content::PAGE;
use super::fate::{Fate, Keep, Tear};
use super::pending::Pending;
use super::piece::{Group, GroupId, Piece, PieceChange};
use super::profile::{Survivors, TearRule};

/// The newest pieces that [`ranked`] looks at: older ones were the newest at earlier points.
const RANKED: usize = 32;
/// The most tears of one block that [`tears`] lists.
const MOST_WAYS: usize = 1 << 12;

/// A piece that may be torn, the cut of its group, and the ways in which it may tear.
pub(super) struct Tearable {
    pub(super) group: GroupId,
    pub(super) cut: usize,
    /// The torn piece, counted from 1.
    piece: usize,
    /// The bytes that differ from the version that the cut keeps.
    written: Range<u16>,
    rule: TearRule,
    parts: Parts,
    pub(super) ways: u64,
}

impl Tearable {
    pub(super) fn fates(&self, fate: &Fate) -> impl Iterator<Item = Fate> {
        (0..self.ways).filter_map(|way| self.fate(fate, way))
    }

    /// The fate with one of the tears.
    fn fate(&self, fate: &Fate, way: u64) -> Option<Fate> {
        let Range { start, end } = self.written;
        let Survivors { kept, junk } = match self.parts {
            Parts::All => self.rule.way(start, end, way),
            Parts::Edges => self.rule.edges(start, end).into_iter().nth(way as usize)?,
        };
        let piece = (self.piece > self.cut + 1).then_some(self.piece);
        let tear = Tear { group: self.group.clone(), piece, kept, junk };
        Some(Fate { tear: Some(tear), ..fate.clone().with(self.group.clone(), self.cut) })
    }

    /// Whether the version below the torn one is the one before it or the durable one.
    fn is_near(&self) -> bool {
        self.cut == 0 || self.cut + 1 == self.piece
    }
}

/// The parts of a block that may survive.
#[derive(Clone, Copy)]
enum Parts {
    /// All that the profile allows.
    All,
    /// Those at the ends of what was written.
    Edges,
}

/// Each way in which a block that this effect wrote may tear, with `base` kept of all other groups.
/// The block is torn between the new version and either the one before or the durable one.
pub fn tears(pending: &Pending, effect: u64, base: Keep) -> impl Iterator<Item = Fate> {
    let near = in_flight(pending, Some(effect)).into_iter().filter(Tearable::is_near);
    near.flat_map(move |torn| {
        let fates: Vec<Fate> = torn.fates(&Fate::of(base)).take(MOST_WAYS).collect();
        fates
    })
}

/// Tears of blocks that earlier effects wrote and that are written back now, with all else kept:
/// the most telling first. These are blocks that were written more than once since the last sync,
/// then first blocks of files, which often hold their headers, then the newest. Nothing where
/// the profile does not tear at write-back.
pub fn ranked(pending: &Pending, in_flight: Option<u64>) -> Vec<Fate> {
    if !pending.profile().tear.any {
        return Vec::new();
    }
    let mut pieces: Vec<(&GroupId, &Piece)> = pending
        .pieces()
        .rev()
        .take(RANKED)
        .filter(|(_, piece)| Some(piece.effect) != in_flight && may_tear(pending, piece))
        .collect();
    pieces.sort_by_key(|(id, piece)| {
        let again =
            matches!(id, GroupId::Block(..)) && pending.group(id).is_some_and(|g| g.len() > 1);
        let header = matches!(piece.change, PieceChange::Data { block: 0, .. });
        (!again, !header)
    });
    let torn: Vec<Tearable> = pieces
        .iter()
        .flat_map(|(id, piece)| tears_of(pending, id, piece.seq, Parts::Edges, true))
        .collect();
    // One tear of each block, before the second of any.
    let most = torn.iter().map(|torn| torn.ways).max().unwrap_or(0);
    let each = |at: u64| torn.iter().filter_map(move |torn| torn.fate(&Fate::all(), at));
    (0..most).flat_map(each).collect()
}

/// A fate with a tear of data that is on its way to the medium; none half of the time, and where
/// what was drawn does not tear.
pub(super) fn drawn(
    pending: &Pending,
    effect: Option<u64>,
    fate: &Fate,
    draw: &mut impl FnMut(usize) -> usize,
) -> Option<Fate> {
    let any = pending.profile().tear.any && !pending.is_empty();
    let mut torn = match any {
        // Half of these are of the write in flight, as on a device that tears only that.
        true if draw(2) == 0 => {
            let (id, piece) = pending.pieces().rev().nth(draw(pending.len()))?;
            if !may_tear(pending, piece) {
                return None;
            }
            tears_of(pending, id, piece.seq, Parts::All, false)
        }
        _ => in_flight(pending, effect),
    };
    if torn.is_empty() || draw(2) == 0 {
        return None;
    }
    let torn = torn.swap_remove(draw(torn.len()));
    torn.fate(fate, draw(usize::try_from(torn.ways).ok()?) as u64)
}

/// The tears of data that may be on its way to the medium when the machine stops: each of the
/// effect in flight, and those at the edges of all other pending blocks where the profile tears at
/// write-back. Costs as much as all pending pieces.
pub(super) fn under_way(pending: &Pending, effect: Option<u64>) -> Vec<Tearable> {
    let rule = &pending.profile().tear;
    if !rule.any {
        return in_flight(pending, effect);
    }
    if rule.subset {
        return anywhere(pending);
    }
    let parts = |piece: &Piece| match Some(piece.effect) == effect {
        true => Parts::All,
        false => Parts::Edges,
    };
    let torn = pending.pieces().filter(|(_, piece)| may_tear(pending, piece));
    torn.flat_map(|(id, piece)| tears_of(pending, id, piece.seq, parts(piece), false)).collect()
}

/// All tears of all pending data.
pub(super) fn anywhere(pending: &Pending) -> Vec<Tearable> {
    let torn = pending.pieces().filter(|(_, piece)| may_tear(pending, piece));
    torn.flat_map(|(id, piece)| tears_of(pending, id, piece.seq, Parts::All, false)).collect()
}

/// All tears of data that the effect in flight wrote, in the global order of its pieces.
pub(super) fn in_flight(pending: &Pending, effect: Option<u64>) -> Vec<Tearable> {
    let Some(effect) = effect else { return Vec::new() };
    let since = pending.pieces().rev().take_while(|(_, piece)| piece.effect >= effect);
    let torn = since.filter(|(_, piece)| piece.effect == effect && may_tear(pending, piece));
    let mut torn: Vec<Tearable> =
        torn.flat_map(|(id, piece)| tears_of(pending, id, piece.seq, Parts::All, false)).collect();
    torn.reverse();
    torn
}

/// Whether the profile lets the tear of a fate happen, at whatever time.
pub(super) fn may_tear_so(pending: &Pending, fate: &Fate) -> bool {
    let (Some(tear), Some((seq, cut))) = (&fate.tear, pending.torn_piece(fate)) else {
        return false;
    };
    let left = Survivors { kept: tear.kept.clone(), junk: tear.junk.clone() };
    let tears = tears_of(pending, &tear.group, seq, Parts::All, false);
    tears.iter().filter(|torn| torn.cut == cut).any(|torn| {
        let Range { start, end } = torn.written;
        (0..torn.ways).any(|way| torn.rule.way(start, end, way) == left)
    })
}

fn may_tear(pending: &Pending, piece: &Piece) -> bool {
    pending.profile().tear.classes.contains(&piece.class)
}

/// The tears of one piece out of each version that may be on the disk; with `newest`, only out of
/// the one before it.
fn tears_of(
    pending: &Pending,
    id: &GroupId,
    seq: u64,
    parts: Parts,
    newest: bool,
) -> Vec<Tearable> {
    let rule = pending.profile().tear;
    let pieces = pending.group(id).map(Group::pieces).unwrap_or_default();
    let last = pieces.partition_point(|piece| piece.seq < seq);
    let first = if matches!(id, GroupId::Block(..)) && !newest { 0 } else { last };
    let (mut from, mut to) = (PAGE as u16, 0);
    let mut tears = Vec::new();
    for cut in (first..=last).rev() {
        // A version without the first one of its block cannot be on the medium.
        if !may_tear(pending, &pieces[cut]) {
            break;
        }
        // The difference is everything that the pieces after the cut have written.
        let PieceChange::Data { start, end, .. } = pieces[cut].change else { break };
        (from, to) = (start.min(from), end.max(to));
        let ways = match parts {
            Parts::All => rule.ways(from, to),
            Parts::Edges => rule.edges(from, to).len() as u64,
        };
        if ways > 0 {
            let (group, written) = (id.clone(), from..to);
            tears.push(Tearable { group, cut, piece: last + 1, written, rule, parts, ways });
        }
    }
    tears
}
