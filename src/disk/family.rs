//! Families of fates: which of the many to try, and in which order.
//!
//! None of these chooses anything by itself: they are complete lists, or take their draws from
//! the caller.

use std::collections::VecDeque;
use std::ops::Range;

use super::fate::{Fate, Keep};
use super::pending::Pending;
use super::piece::{GroupId, What};

/// Every prefix of the pending pieces in their global order, from nothing to all.
pub fn prefixes(pending: &Pending) -> impl Iterator<Item = Fate> {
    (0..=pending.len()).map(Fate::prefix)
}

/// All pieces but the last of one group, all but its last two, and so on; group by group.
pub fn all_but_one(pending: &Pending) -> impl Iterator<Item = Fate> {
    pending
        .groups()
        .flat_map(|(id, group)| (0..group.len()).rev().map(|cut| Fate::all().with(id.clone(), cut)))
}

/// Only the first piece of one group, only its first two, and so on; group by group.
pub fn only_one(pending: &Pending) -> impl Iterator<Item = Fate> {
    pending
        .groups()
        .flat_map(|(id, group)| (1..=group.len()).map(|cut| Fate::nothing().with(id.clone(), cut)))
}

/// Each way in which a block that this effect wrote may tear, with `base` kept of all other
/// groups. The effect is the one that the crash interrupts: what was written before it had
/// time to reach the disk whole.
pub fn tears(pending: &Pending, effect: u64, base: Keep) -> impl Iterator<Item = Fate> {
    tearable(pending, effect).into_iter().flat_map(move |Tearable { group, cut, kept }| {
        let fate = Fate::of(base).with(group.clone(), cut);
        kept.into_iter().map(move |kept| fate.clone().torn(group.clone(), kept))
    })
}

/// A cut of each group at random, and perhaps a tear in what the effect in flight wrote.
/// `draw(n)` must return a number below n.
pub fn random(
    pending: &Pending,
    in_flight: Option<u64>,
    draw: &mut impl FnMut(usize) -> usize,
) -> Fate {
    let mut fate = Fate::nothing();
    for (id, group) in pending.groups() {
        fate = fate.with(id.clone(), draw(group.len() + 1));
    }
    let mut tearable = in_flight.map_or_else(Vec::new, |effect| tearable(pending, effect));
    if tearable.is_empty() || draw(2) == 0 {
        return fate;
    }
    let Tearable { group, cut, mut kept } = tearable.swap_remove(draw(tearable.len()));
    let kept = kept.swap_remove(draw(kept.len()));
    fate.with(group.clone(), cut).torn(group, kept)
}

/// How many fates [`exhaustive`] goes through: the cuts of all groups times each other, each
/// with every tear that it allows. `None` if they are more than `limit`.
pub fn count(pending: &Pending, in_flight: Option<u64>, limit: u64) -> Option<u64> {
    let mut cuts = 1u64;
    for (_, group) in pending.groups() {
        cuts = cuts.checked_mul(group.len() as u64 + 1).filter(|cuts| *cuts <= limit)?;
    }
    let mut all = cuts;
    for Tearable { group, kept, .. } in in_flight.map_or_else(Vec::new, |e| tearable(pending, e)) {
        let length = pending.group(&group)?.len() as u64;
        all = all.checked_add((cuts / (length + 1)).checked_mul(kept.len() as u64)?)?;
    }
    Some(all).filter(|all| *all <= limit)
}

/// Every fate: each combination of cuts, each with no tear and with every one that it allows.
/// Where pieces need others, several fates leave the same disk; [`Pending::fingerprint`] tells.
pub fn exhaustive(pending: &Pending, in_flight: Option<u64>) -> Exhaustive {
    let groups = pending.groups().map(|(id, group)| (id.clone(), 0, group.len())).collect();
    let tearable = in_flight.map_or_else(Vec::new, |effect| tearable(pending, effect));
    Exhaustive { groups, tearable, torn: VecDeque::new(), done: false }
}

/// The iterator of [`exhaustive`].
pub struct Exhaustive {
    /// Each group, its cut in the next fate and its length.
    groups: Vec<(GroupId, usize, usize)>,
    tearable: Vec<Tearable>,
    /// The torn fates with the cuts of the fate that was last.
    torn: VecDeque<Fate>,
    done: bool,
}

impl Iterator for Exhaustive {
    type Item = Fate;

    fn next(&mut self) -> Option<Fate> {
        if let Some(fate) = self.torn.pop_front() {
            return Some(fate);
        }
        if self.done {
            return None;
        }
        let mut fate = Fate::nothing();
        let cuts = self.groups.iter().filter(|(_, cut, _)| *cut > 0);
        fate.exceptions = cuts.map(|(id, cut, _)| (id.clone(), *cut)).collect();
        for Tearable { group, cut, kept } in &self.tearable {
            if fate.exceptions.get(group).copied().unwrap_or(0) == *cut {
                let torn = kept.iter().map(|kept| fate.clone().torn(group.clone(), kept.clone()));
                self.torn.extend(torn);
            }
        }
        self.done = !self.advance();
        Some(fate)
    }
}

impl Exhaustive {
    /// Counts the cuts on by one; false at the end.
    fn advance(&mut self) -> bool {
        for (_, cut, length) in self.groups.iter_mut().rev() {
            if *cut < *length {
                *cut += 1;
                return true;
            }
            *cut = 0;
        }
        false
    }
}

/// A piece that may tear: behind which cut it stands, and what may survive of it.
struct Tearable {
    group: GroupId,
    cut: usize,
    kept: Vec<Vec<Range<u16>>>,
}

fn tearable(pending: &Pending, effect: u64) -> Vec<Tearable> {
    let rule = &pending.profile().tear;
    let mut tearable = Vec::new();
    for (id, piece) in pending.pieces().rev().take_while(|(_, piece)| piece.effect >= effect) {
        let What::Data { start, end, .. } = piece.what else { continue };
        let group = pending.group(id).map(|group| group.pieces()).unwrap_or_default();
        let cut = group.partition_point(|other| other.seq < piece.seq);
        let kept = rule.survivors(start, end);
        if piece.effect == effect && rule.classes.contains(&piece.class) && !kept.is_empty() {
            tearable.push(Tearable { group: id.clone(), cut, kept });
        }
    }
    tearable.reverse();
    tearable
}
