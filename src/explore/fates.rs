//! Chooses the crash states to visit at a point: all of them if they are few, else the most
//! revealing ones and then samples of each family.

use crate::disk::family;
use crate::disk::fate::{Fate, Keep};
use crate::disk::pending::Pending;
use crate::disk::piece::GroupId;
use crate::disk::tearing;

use super::chooser::{Choice, Chooser};

/// The most fates that are drawn at a point: many of them leave disks that were seen before.
pub(super) const TRIES: u64 = 96;
/// Half of the draws of a piece are among this many of the newest pieces: the effects of older ones
/// were visited at earlier points.
const RECENT: u64 = 12;
/// The most tears of data that is written back that are listed at a point where they are too many.
const TORN: usize = 8;
/// Those of them that are visited there whatever the budget.
pub(super) const SURE: usize = 2;

/// Every fate, if there are at most `limit`. Where nothing is pending, the only fate is returned
/// whatever the limit: nothing can be drawn there.
pub(super) fn all(
    pending: &Pending,
    in_flight: Option<u64>,
    limit: u64,
) -> Option<impl Iterator<Item = Fate> + use<>> {
    family::count(pending, in_flight, limit.max(1))?;
    Some(family::exhaustive(pending, in_flight))
}

/// Every fate but those with tears of data that is written back, if there are at most `limit`.
pub(super) fn calm(
    pending: &Pending,
    in_flight: Option<u64>,
    limit: u64,
) -> Option<impl Iterator<Item = Fate> + use<>> {
    family::count_calm(pending, in_flight, limit)?;
    Some(family::exhaustive_calm(pending, in_flight))
}

/// Tears of data that is written back, for a point where they are too many to visit all: the most
/// telling ones with all else kept, each followed by one that is drawn.
pub(super) fn written_back(
    pending: &Pending,
    in_flight: Option<u64>,
    chooser: &mut Chooser,
) -> Vec<Fate> {
    let mut draw = |options: usize| chooser.choose(Choice::Fate, options as u64) as usize;
    let mut fates = Vec::new();
    for ranked in tearing::ranked(pending, in_flight).into_iter().take(TORN) {
        fates.push(ranked);
        let drawn = family::random(pending, in_flight, &mut draw);
        fates.extend(Some(drawn).filter(|fate| fate.tear.is_some()));
    }
    fates
}

/// Draws fates where there are too many to visit all.
pub(super) struct Sampler {
    /// Fates that are visited in any case, in reverse order.
    first: Vec<Fate>,
}

impl Sampler {
    /// Nothing kept and everything kept come first, then tears of the write in flight and of what
    /// is written back.
    pub(super) fn new(pending: &Pending, in_flight: Option<u64>) -> Self {
        let mut first: Vec<Fate> =
            tearing::ranked(pending, in_flight).into_iter().take(SURE).collect();
        if let Some(effect) = in_flight {
            first.extend(tearing::tears(pending, effect, Keep::All).take(4));
            first.extend(tearing::tears(pending, effect, Keep::Nothing).take(2));
        }
        first.push(Fate::all());
        first.push(Fate::nothing());
        Self { first }
    }

    /// The next fate to visit.
    pub(super) fn next(
        &mut self,
        pending: &Pending,
        in_flight: Option<u64>,
        chooser: &mut Chooser,
    ) -> Fate {
        if let Some(fate) = self.first.pop() {
            return fate;
        }
        let mut draw = |options: u64| chooser.choose(Choice::Fate, options);
        let pieces = pending.len() as u64;
        let mut fate = match draw(4) {
            0 => Fate::prefix(draw(pieces + 1) as usize),
            1 => {
                let (group, cut) = piece(pending, &mut draw);
                pending.lowered(&Fate::all().with(group, cut))
            }
            2 => {
                let (group, cut) = piece(pending, &mut draw);
                Fate::nothing().with(group, cut + 1)
            }
            _ => {
                let mut draw = |options| draw(options as u64) as usize;
                let fate = family::random(pending, in_flight, &mut draw);
                // Cuts drawn for each group independently need nearly everything together, and
                // keep nearly nothing if lowered. Each is used half of the time.
                if pending.is_constrained() && draw(2) == 0 { pending.lowered(&fate) } else { fate }
            }
        };
        fate.stale |= family::may_be_stale(pending) && draw(2) == 0;
        fate
    }
}

/// A pending piece: its group, and how many pieces of the group come before it.
fn piece(pending: &Pending, draw: &mut impl FnMut(u64) -> u64) -> (GroupId, usize) {
    let pieces = pending.len() as u64;
    let back = if draw(2) == 0 { draw(pieces.min(RECENT)) } else { draw(pieces) };
    let Some((group, piece)) = pending.pieces().rev().nth(back as usize) else {
        unreachable!("a point without pending pieces has one crash state, which is not drawn");
    };
    let before = pending
        .group(group)
        .map_or(0, |group| group.pieces().partition_point(|other| other.seq < piece.seq));
    (group.clone(), before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::profile::Profile;
    use crate::disk::tree::Tree;

    #[test]
    fn where_nothing_is_pending_the_one_fate_is_visited_whatever_the_limit() {
        let pending = Pending::new(Tree::new(), &Profile::POSIX);
        assert_eq!(all(&pending, None, 0).map(Iterator::count), Some(1));
    }
}
