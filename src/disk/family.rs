//! Families of fates: which of the many to try, and in which order.
//!
//! None of these chooses anything by itself: they are complete lists, or take their draws from
//! the caller.

use std::collections::VecDeque;
use std::ops::Range;

use super::content::PAGE;
use super::fate::{Fate, Keep, Tear};
use super::pending::Pending;
use super::piece::{Group, GroupId, What};

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
/// groups; what the block was torn out of is its version before, and the durable one. The
/// effect is the one that the crash interrupts: what was written before it had time to reach
/// the disk whole.
pub fn tears(pending: &Pending, effect: u64, base: Keep) -> impl Iterator<Item = Fate> {
    let tearable = tearable(pending, effect).into_iter();
    let nearest = tearable.filter(|torn| torn.cut == 0 || torn.cut + 1 == torn.piece);
    nearest.flat_map(move |torn| torn.fates(&Fate::of(base)).collect::<Vec<_>>())
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
    let torn = tearable.swap_remove(draw(tearable.len()));
    let which = draw(torn.kept.len());
    let torn = torn.fates(&fate).nth(which);
    torn.unwrap_or(fate)
}

/// How many fates [`exhaustive`] goes through: the cuts of all groups times each other, each
/// with every tear that it allows. `None` if they are more than `limit`.
pub fn count(pending: &Pending, in_flight: Option<u64>, limit: u64) -> Option<u64> {
    let mut cuts = 1u64;
    for (_, group) in pending.groups() {
        cuts = cuts.checked_mul(group.len() as u64 + 1).filter(|cuts| *cuts <= limit)?;
    }
    let mut all = cuts;
    for torn in in_flight.map_or_else(Vec::new, |effect| tearable(pending, effect)) {
        let others = cuts / (pending.group(&torn.group)?.len() as u64 + 1);
        all = all.checked_add(others.checked_mul(torn.kept.len() as u64)?)?;
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
        for torn in &self.tearable {
            if fate.exceptions.get(&torn.group).copied().unwrap_or(0) == torn.cut {
                self.torn.extend(torn.fates(&fate));
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

/// A piece that may tear out of what a cut keeps of its block, and what may survive of it.
struct Tearable {
    group: GroupId,
    cut: usize,
    /// The torn piece, counted from 1.
    piece: usize,
    kept: Vec<Vec<Range<u16>>>,
}

impl Tearable {
    fn fates(&self, fate: &Fate) -> impl Iterator<Item = Fate> {
        let cut = fate.clone().with(self.group.clone(), self.cut);
        let piece = (self.piece > self.cut + 1).then_some(self.piece);
        self.kept.iter().map(move |kept| {
            let tear = Tear { group: self.group.clone(), piece, kept: kept.clone() };
            Fate { tear: Some(tear), ..cut.clone() }
        })
    }
}

/// All tears of what an effect wrote, in the global order of its pieces.
fn tearable(pending: &Pending, effect: u64) -> Vec<Tearable> {
    let mut tearable = Vec::new();
    let since = pending.pieces().rev().take_while(|(_, piece)| piece.effect >= effect);
    let classes = pending.profile().tear.classes;
    for (id, piece) in since {
        if piece.effect == effect && classes.contains(&piece.class) {
            tearable.extend(tears_of(pending, id, piece.seq));
        }
    }
    tearable.reverse();
    tearable
}

/// The tears of one piece out of each version that may be on the disk.
fn tears_of(pending: &Pending, id: &GroupId, seq: u64) -> Vec<Tearable> {
    let pieces = pending.group(id).map(Group::pieces).unwrap_or_default();
    let last = pieces.partition_point(|piece| piece.seq < seq);
    let first = if matches!(id, GroupId::Block(..)) { 0 } else { last };
    let (mut from, mut to) = (PAGE as u16, 0);
    let mut tears = Vec::new();
    for cut in (first..=last).rev() {
        // What differs is what all pieces behind the cut have written.
        let What::Data { start, end, .. } = pieces[cut].what else { break };
        (from, to) = (start.min(from), end.max(to));
        let kept = pending.profile().tear.survivors(from, to);
        if !kept.is_empty() {
            tears.push(Tearable { group: id.clone(), cut, piece: last + 1, kept });
        }
    }
    tears
}
