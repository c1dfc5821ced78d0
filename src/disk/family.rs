//! Families of fates: which to try, and in which order.
//!
//! None of these makes random choices itself: they are complete lists, or take their draws from the
//! caller.

use std::collections::{BTreeMap, VecDeque};

use super::fate::Fate;
use super::pending::Pending;
use super::piece::{Group, GroupId, Requirement};
use super::profile::PieceClass;
use super::tearing::{self, Tearable};

/// A random cut of each group, and perhaps a tear of data that was on its way to the medium.
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
    tearing::drawn(pending, in_flight, &fate, draw).unwrap_or(fate)
}

/// The number of fates that [`exhaustive`] goes through, or `None` if it is above `limit`. Costs at
/// most `limit` of them.
pub fn count(pending: &Pending, in_flight: Option<u64>, limit: u64) -> Option<u64> {
    // A prefix of all pieces satisfies every profile.
    if pending.len() as u64 >= limit {
        return (pending.is_empty() && limit > 0).then_some(1);
    }
    if !pending.is_constrained() {
        return count_free(pending, in_flight, limit);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let count = exhaustive(pending, in_flight).take(most).count() as u64;
    (count <= limit).then_some(count)
}

/// The same where no piece needs another: the product of the numbers of cuts of all groups, each
/// with every tear that it allows.
fn count_free(pending: &Pending, in_flight: Option<u64>, limit: u64) -> Option<u64> {
    let mut cuts = 1u64;
    for (_, group) in pending.groups() {
        cuts = cuts.checked_mul(group.len() as u64 + 1).filter(|cuts| *cuts <= limit)?;
    }
    let mut all = if may_be_stale(pending) { cuts.checked_mul(2)? } else { cuts };
    for torn in tearing::under_way(pending, in_flight) {
        let others = cuts / (pending.group(&torn.group)?.len() as u64 + 1);
        all = all.checked_add(others.checked_mul(torn.kept.len() as u64)?)?;
    }
    Some(all).filter(|all| *all <= limit)
}

/// Every fate: each combination of cuts whose requirements hold, each with no tear and with every
/// one that it allows, and again with stale blocks where there may be some. The tears are those of
/// the effect in flight and, where the profile tears at write-back, the ones that
/// [`TearRule::edges`] lists of all other pending blocks.
///
/// [`TearRule::edges`]: super::profile::TearRule::edges
pub fn exhaustive(pending: &Pending, in_flight: Option<u64>) -> Exhaustive {
    Exhaustive::new(pending, tearing::under_way(pending, in_flight))
}

/// The same, where any one pending block may be torn in every way, whatever the profile says of
/// write-back.
pub fn exhaustive_torn(pending: &Pending) -> Exhaustive {
    Exhaustive::new(pending, tearing::anywhere(pending))
}

/// The same, where only data of the effect in flight tears; nothing without one.
pub fn exhaustive_calm(pending: &Pending, in_flight: Option<u64>) -> Exhaustive {
    Exhaustive::new(pending, tearing::in_flight(pending, in_flight))
}

/// The number of fates that [`exhaustive_calm`] goes through, or `None` if it is above `limit`.
pub fn count_calm(pending: &Pending, in_flight: Option<u64>, limit: u64) -> Option<u64> {
    if pending.len() as u64 >= limit {
        return (pending.is_empty() && limit > 0).then_some(1);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let count = exhaustive_calm(pending, in_flight).take(most).count() as u64;
    (count <= limit).then_some(count)
}

/// The iterator of [`exhaustive`]: depth first over the groups, starting with those that others
/// need.
pub struct Exhaustive {
    groups: Vec<GroupCut>,
    tearable: Vec<Tearable>,
    stale: bool,
    /// The torn fates with the cuts of the last fate, and the stale one.
    torn: VecDeque<Fate>,
    done: bool,
}

/// The cuts of one group.
struct GroupCut {
    id: GroupId,
    /// The cut in the next fate.
    cut: usize,
    length: usize,
    /// The requirements of its pieces on groups before it, and of pieces of groups before it on it.
    edges: Vec<Edge>,
}

/// If group `of` keeps more than `above` pieces, then group `on` must keep at least `least`; with
/// `while_last` only if `of` keeps exactly one more.
#[derive(Clone, Copy)]
struct Edge {
    of: usize,
    above: usize,
    on: usize,
    least: usize,
    or_nothing: bool,
    while_last: bool,
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
        let cuts = self.groups.iter().filter(|group| group.cut > 0);
        fate.exceptions = cuts.map(|group| (group.id.clone(), group.cut)).collect();
        for torn in &self.tearable {
            if fate.exceptions.get(&torn.group).copied().unwrap_or(0) == torn.cut {
                self.torn.extend(torn.fates(&fate));
            }
        }
        if self.stale {
            self.torn.push_back(Fate { stale: true, ..fate.clone() });
        }
        self.done = match self.groups.last() {
            Some(last) => !self.seek(self.groups.len() - 1, last.cut + 1),
            None => true,
        };
        Some(fate)
    }
}

impl Exhaustive {
    fn new(pending: &Pending, tearable: Vec<Tearable>) -> Self {
        let mut groups: Vec<GroupCut> = pending
            .groups()
            .map(|(id, group)| GroupCut {
                id: id.clone(),
                cut: 0,
                length: group.len(),
                edges: vec![],
            })
            .collect();
        if pending.is_constrained() {
            groups.sort_by_key(|group| rank(&group.id));
            link(pending, &mut groups);
        }
        let stale = may_be_stale(pending);
        Self { groups, tearable, stale, torn: VecDeque::new(), done: false }
    }

    /// Finds the next cuts whose requirements hold, where the group at `level` keeps `cut` pieces
    /// or more, and the groups before it keep what they keep now; or goes back to those groups.
    /// False at the end.
    fn seek(&mut self, mut level: usize, mut cut: usize) -> bool {
        loop {
            let length = self.groups[level].length;
            while cut <= length {
                self.groups[level].cut = cut;
                if self.holds(level) {
                    break;
                }
                cut += 1;
            }
            if cut > length {
                let Some(before) = level.checked_sub(1) else { return false };
                (level, cut) = (before, self.groups[before].cut + 1);
                continue;
            }
            level += 1;
            if level == self.groups.len() {
                return true;
            }
            cut = 0;
        }
    }

    /// Whether the requirements among the groups up to this one hold.
    fn holds(&self, level: usize) -> bool {
        self.groups[level].edges.iter().all(|edge| {
            let has = self.groups[edge.on].cut;
            let kept = self.groups[edge.of].cut;
            kept <= edge.above
                || edge.while_last && kept > edge.above + 1
                || has >= edge.least
                || (edge.or_nothing && has == 0)
        })
    }
}

/// The rank of a group: a group that is needed mostly comes before those that need it.
fn rank(id: &GroupId) -> u8 {
    match id {
        GroupId::Log => 0,
        GroupId::Inode(_) => 1,
        GroupId::Entry(..) => 2,
        GroupId::Block(..) => 3,
        GroupId::Size(_) => 4,
        GroupId::Attribute(..) => 5,
    }
}

/// Notes the requirements of one group on another with the later of the two.
fn link(pending: &Pending, groups: &mut [GroupCut]) {
    let index: BTreeMap<GroupId, usize> =
        groups.iter().enumerate().map(|(at, group)| (group.id.clone(), at)).collect();
    for of in 0..groups.len() {
        let pieces = pending.group(&groups[of].id).map(Group::pieces).unwrap_or_default();
        for (above, piece) in pieces.iter().enumerate() {
            for need in piece.needs() {
                let Some(&on) = index.get(&need.group) else { continue };
                let least = pending.group(&need.group).map_or(0, |on| on.before(need.seq + 1));
                if least > 0 {
                    let Requirement { or_nothing, while_last, .. } = *need;
                    let edge = Edge { of, above, on, least, or_nothing, while_last };
                    groups[of.max(on)].edges.push(edge);
                }
            }
        }
    }
}

/// Whether a crash may leave blocks whose content was never written there.
pub(crate) fn may_be_stale(pending: &Pending) -> bool {
    pending.profile().stale && pending.pieces().any(|(_, piece)| piece.class == PieceClass::Extend)
}
