//! Names a violation: finds which promise was broken by comparison with the nearest allowed state.
//!
//! `Oracle::name` finds the allowed history that differs from the state read in the fewest items,
//! and extends it to a line from the empty store to the end of the run. For each item that differs
//! it looks for the value found along that line. If the value is from before the nearest history,
//! an op is missing; if it is from after it, an op is there too early. The class is the first of
//! the table in [`super`] that holds.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::candidates::Oracle;
use super::diff::ItemChange;
use super::history::{Issued, NodeId};
use super::reading::Reading;
use super::violation::{Class, ItemDiff, Signature, Violation};
use crate::base::text::quote;
use crate::base::time::Time;
use crate::sim::engine::Ack;
use crate::sim::model::Model;
use crate::sim::promise::{CrashKind, Order};

/// The origin of a value that was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// It is from before the nearest history: the op at this place, which changed it, is missing.
    Before(usize),
    /// It is from the op at this place, after the nearest history.
    After(usize),
    /// It is from an op of another history that the store may have had.
    Elsewhere(NodeId),
    /// It is from an op that a recovery ruled out, or it has expired.
    Gone(NodeId),
    /// No op ever wrote it to the item.
    Never,
}

/// An item that differs.
struct DifferingItem<'a> {
    item: &'a [u8],
    expected: Option<&'a [u8]>,
    found: Option<&'a [u8]>,
    origin: Origin,
}

/// Everything that a violation is named from.
struct Evidence<'a, M: Model> {
    oracle: &'a Oracle<M>,
    reading: &'a Reading<'a>,
    /// The changes of each history, by id.
    view: &'a [Cow<'a, [ItemChange]>],
    /// The part of the store that is judged; `None` is the whole of it.
    part: Option<Vec<u8>>,
    line: Vec<NodeId>,
    /// The place of the nearest allowed history on the line.
    nearest: usize,
    /// The place of a history that shows exactly what was read, but lacks ops that must survive; 0
    /// if that history is not on the line.
    earlier: Option<usize>,
    low: Vec<u32>,
}

impl<M: Model> Oracle<M> {
    /// The violation of a state that is not allowed.
    pub(super) fn name(&self, kind: CrashKind, at: Time, reading: &Reading<'_>) -> Violation {
        let view = self.graph.view(reading.from);
        let evidence = |reading| match self.promises.order {
            Order::PrefixPerPart(_) | Order::PerKey => {
                self.evidence_of_part(kind, at, reading, &view)
            }
            _ => self.evidence(self.floors.low(None, kind, at), reading, &view),
        };
        // Items that expire during the read are named only if nothing else is wrong.
        let mut narrow = reading.clone();
        narrow.hidden.extend(self.due(reading));
        let narrow = evidence(&narrow);
        if narrow.findings().is_empty() {
            evidence(reading).violation()
        } else {
            narrow.violation()
        }
    }

    fn evidence<'a>(
        &'a self,
        low: Vec<u32>,
        reading: &'a Reading<'a>,
        view: &'a [Cow<'a, [ItemChange]>],
    ) -> Evidence<'a, M> {
        let nodes = &self.graph.nodes;
        let mut differing = vec![usize::MAX; nodes.len()];
        for id in self.graph.kept() {
            let above = nodes[id].parent.map_or(seen_items(reading, |_| true), |up| differing[up]);
            differing[id] = step(above, &view[id], reading, |_| true);
        }
        let allowed = self.graph.kept().filter(|id| nodes[*id].reaches(&low));
        let nearest = allowed.min_by_key(|id| (differing[*id], Reverse(*id))).unwrap_or(0);
        let line = self.line_through(nearest);
        let place = |wanted: NodeId| line.iter().position(|id| *id == wanted).unwrap_or(0);
        let same: Vec<_> = self.graph.kept().filter(|id| differing[*id] == 0).collect();
        let on_line = same.iter().rev().find(|id| line.contains(id));
        let earlier = on_line.or(same.last()).map(|id| place(*id));
        let nearest = place(nearest);
        Evidence { oracle: self, reading, view, part: None, line, nearest, earlier, low }
    }

    /// Judges the first part that can be at no place of a line, on the line where the fewest items
    /// of it differ.
    fn evidence_of_part<'a>(
        &'a self,
        kind: CrashKind,
        at: Time,
        reading: &'a Reading<'a>,
        view: &'a [Cow<'a, [ItemChange]>],
    ) -> Evidence<'a, M> {
        let judged = |path: Vec<NodeId>| {
            let part = self.places(kind, at, view, reading, &path).err();
            self.part_evidence(path, part.unwrap_or_default(), kind, at, reading, view)
        };
        let all = self.paths().map(judged);
        let mut ranked: Vec<_> =
            all.map(|evidence| (evidence.findings().len(), evidence)).collect();
        ranked.sort_by_key(|(findings, _)| Reverse(*findings));
        let nearest = ranked.pop().map(|(_, evidence)| evidence);
        nearest.unwrap_or_else(|| self.evidence(self.floors.low(None, kind, at), reading, view))
    }

    fn part_evidence<'a>(
        &'a self,
        line: Vec<NodeId>,
        part: Vec<u8>,
        kind: CrashKind,
        at: Time,
        reading: &'a Reading<'a>,
        view: &'a [Cow<'a, [ItemChange]>],
    ) -> Evidence<'a, M> {
        let low = self.floors.low(Some(&part), kind, at);
        let of_part = |item: &[u8]| self.promises.part(item).as_ref() == Some(&part);
        let (mut nearest, mut earlier) = ((usize::MAX, Reverse(0)), None);
        let mut differing = seen_items(reading, of_part);
        for (place, id) in line.iter().enumerate() {
            differing = step(differing, &view[*id], reading, of_part);
            if self.graph.nodes[*id].reaches(&low) {
                nearest = nearest.min((differing, Reverse(place)));
            } else if differing == 0 {
                earlier = Some(place);
            }
        }
        let nearest = nearest.1.0;
        Evidence { oracle: self, reading, view, part: Some(part), line, nearest, earlier, low }
    }

    /// The longest history through a node; the youngest of several.
    fn line_through(&self, id: NodeId) -> Vec<NodeId> {
        let mut line = self.graph.path(id);
        let mut through = vec![false; self.graph.nodes.len()];
        through[id] = true;
        let mut last = id;
        for below in self.graph.kept().filter(|below| *below > id) {
            if self.graph.nodes[below].parent.is_some_and(|parent| through[parent]) {
                through[below] = true;
                last = below;
            }
        }
        let below = self.graph.path(last);
        line.extend(&below[line.len()..]);
        line
    }
}

/// The number of items that differ before any op: all items that were read and count.
fn seen_items(reading: &Reading<'_>, counts: impl Fn(&[u8]) -> bool) -> usize {
    reading.state.iter().filter(|(item, _)| counts(item) && !reading.hidden.contains(*item)).count()
}

/// The number of items that differ after these changes.
fn step(
    mut differing: usize,
    changes: &[ItemChange],
    reading: &Reading<'_>,
    counts: impl Fn(&[u8]) -> bool,
) -> usize {
    for change in changes.iter().filter(|c| counts(&c.item) && !reading.hidden.contains(&*c.item)) {
        let seen = reading.state.get(&change.item);
        differing += usize::from(change.new.as_deref() != seen);
        differing -= usize::from(change.old.as_deref() != seen);
    }
    differing
}

impl<'a, M: Model> Evidence<'a, M> {
    fn violation(&self) -> Violation {
        let findings = self.findings();
        let (class, culprit) = self.class(&findings);
        let word = culprit.map(|issued| word(&issued.op.to_string())).unwrap_or_default();
        let details = findings.iter().map(|finding| ItemDiff {
            item: finding.item.to_vec(),
            expected: finding.expected.map(<[u8]>::to_vec),
            found: finding.found.map(<[u8]>::to_vec),
            note: self.note(finding),
        });
        Violation {
            signature: Signature::new(class).with_payload(&word),
            details: details.collect(),
            message: self.message(class, culprit, findings.len()),
        }
    }

    fn message(&self, class: Class, culprit: Option<&Issued<M::Op>>, differing: usize) -> String {
        let items = if differing == 1 { "item differs" } else { "items differ" };
        let nearest = self.line[..=self.nearest].iter().rev().find_map(|id| self.issued(*id));
        let after = nearest.map_or("the empty store".into(), |i| format!("after step {}", i.step));
        let what = culprit.map_or(String::new(), |i| format!(", step {} `{}`", i.step, i.op));
        let headline = class.headline();
        format!("{headline}{what}: {differing} {items} from the nearest allowed state, {after}")
    }

    fn issued(&self, id: NodeId) -> Option<&'a Issued<M::Op>> {
        self.oracle.graph.nodes[id].issued.map(|place| &self.oracle.issued[place])
    }

    fn counts(&self, item: &[u8]) -> bool {
        let in_part = self.part.is_none() || self.oracle.promises.part(item) == self.part;
        in_part && !self.reading.hidden.contains(item)
    }

    /// The items that differ from the nearest allowed history, in the order of their bytes.
    fn findings(&self) -> Vec<DifferingItem<'a>> {
        let mut expected: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for id in &self.line[..=self.nearest] {
            let changes = self.view[*id].iter().filter(|change| self.counts(&change.item));
            expected.extend(changes.map(|change| (&*change.item, change.new.as_deref())));
        }
        for (item, _) in self.reading.state.iter().filter(|(item, _)| self.counts(item)) {
            expected.entry(item).or_default();
        }
        let differ = |(item, expected): (&'a [u8], Option<&'a [u8]>)| {
            let found = self.reading.state.get(item);
            let origin = || self.origin(item, found);
            (expected != found).then(|| DifferingItem { item, expected, found, origin: origin() })
        };
        expected.into_iter().filter_map(differ).collect()
    }

    /// The origin of the value that was found.
    fn origin(&self, item: &[u8], found: Option<&[u8]>) -> Origin {
        // The places at which the item changes, and to what.
        let changes = self.line.iter().enumerate().flat_map(|(place, id)| {
            let of_item = self.view[*id].iter().filter(move |change| *change.item == *item);
            of_item.map(move |change| (place, change.new.as_deref()))
        });
        let changes: Vec<_> = std::iter::once((0, None)).chain(changes).collect();
        let after = changes.partition_point(|(place, _)| *place <= self.nearest);
        let (before, after) = changes.split_at(after);
        let last = before.windows(2).rev().find(|pair| pair[0].1 == found);
        if let Some(pair) = last {
            return Origin::Before(pair[1].0);
        }
        if let Some((place, _)) = after.iter().find(|(_, new)| *new == found) {
            return Origin::After(*place);
        }
        self.written(item, found)
    }

    /// The origin of a value that no op on the line explains.
    fn written(&self, item: &[u8], found: Option<&[u8]>) -> Origin {
        let graph = &self.oracle.graph;
        let wrote = |id: &NodeId| {
            let mut changes = graph.nodes[*id].changes.iter();
            changes.any(|change| *change.item == *item && change.new.as_deref() == found)
        };
        let mut writers: Vec<_> = (0..graph.nodes.len()).rev().filter(wrote).collect();
        let elsewhere = |id: &NodeId| graph.kept[*id] && !self.line.contains(id);
        match writers.iter().position(elsewhere) {
            Some(at) => Origin::Elsewhere(writers.swap_remove(at)),
            None => writers.first().map_or(Origin::Never, |id| Origin::Gone(*id)),
        }
    }

    /// The class, and the op to blame: the missing one, the torn one, ...
    fn class(&self, findings: &[DifferingItem<'a>]) -> (Class, Option<&'a Issued<M::Op>>) {
        let first = |wanted: fn(Origin) -> Option<Option<NodeId>>| {
            findings.iter().find_map(|finding| Some((finding, wanted(finding.origin)?)))
        };
        let blame = |found: (&DifferingItem<'_>, Option<NodeId>)| {
            found.1.map_or_else(|| self.last_writer(found.0.item), |id| self.issued(id))
        };
        let never = |origin| (origin == Origin::Never).then_some(None);
        let gone = |origin| if let Origin::Gone(id) = origin { Some(Some(id)) } else { None };
        let apart = |origin| if let Origin::Elsewhere(id) = origin { Some(Some(id)) } else { None };
        if let Some(found) = first(never) {
            return (Class::PhantomValue, blame(found));
        }
        if let Some(earlier) = self.earlier {
            return (Class::LostWrite, self.first_change(earlier + 1));
        }
        if let Some(found) = first(gone) {
            return (Class::Resurrected, blame(found));
        }
        if let Some(found) = first(apart) {
            return (Class::WrongValue, blame(found));
        }
        self.class_by_order(findings)
    }

    /// The class if all values that were found are from the line: ops are out of order.
    fn class_by_order(&self, findings: &[DifferingItem<'a>]) -> (Class, Option<&'a Issued<M::Op>>) {
        if let Some(torn) = findings.iter().find_map(|finding| self.torn(finding)) {
            return (Class::TornBatch, self.issued(self.line[torn]));
        }
        let missing = |finding: &DifferingItem<'_>| match finding.origin {
            Origin::Before(place) => Some(place),
            _ => None,
        };
        let first = findings.iter().filter_map(missing).min();
        let culprit = match first {
            Some(place) => self.issued(self.line[place]),
            None => self.first_change(self.nearest + 1),
        };
        let undeleted = |finding: &DifferingItem<'_>| {
            let deletes =
                |change: &ItemChange| *change.item == *finding.item && change.new.is_none();
            finding.found.is_some()
                && missing(finding).is_some_and(|at| self.view[self.line[at]].iter().any(deletes))
        };
        if first.is_some() && findings.iter().all(undeleted) {
            return (Class::Resurrected, culprit);
        }
        if self.oracle.rotten && first.is_some() {
            return (Class::LostWrite, culprit);
        }
        (Class::Hole, culprit)
    }

    /// The place of the op of a finding, if another of its items shows that the op is torn: present
    /// where this one is missing, or the reverse.
    fn torn(&self, finding: &DifferingItem<'_>) -> Option<usize> {
        let (place, there) = match finding.origin {
            Origin::Before(place) => (place, false),
            Origin::After(place) => (place, true),
            _ => return None,
        };
        let contrary = |change: &ItemChange| {
            let seen = self.reading.state.get(&change.item);
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            *change.item != *finding.item
                && self.counts(&change.item)
                && seen == if there { old } else { new }
        };
        self.view[self.line[place]].iter().any(contrary).then_some(place)
    }

    /// The first op on the line, from a place on, that changes an item that is judged.
    fn first_change(&self, from: usize) -> Option<&'a Issued<M::Op>> {
        let line = self.line.get(from..).unwrap_or(&[]);
        let changes = |id: &&NodeId| self.view[**id].iter().any(|c| self.counts(&c.item));
        line.iter().find(changes).and_then(|id| self.issued(*id))
    }

    /// The op that wrote the expected value of an item.
    fn last_writer(&self, item: &[u8]) -> Option<&'a Issued<M::Op>> {
        let writes = |id: &&NodeId| self.view[**id].iter().any(|c| *c.item == *item);
        let line = &self.line[..=self.nearest];
        line.iter().rev().find(writes).and_then(|id| self.issued(*id))
    }

    /// The note on a finding: where its two values come from.
    fn note(&self, finding: &DifferingItem<'a>) -> String {
        let step = |id: NodeId| self.issued(id).map_or(0, |issued| issued.step);
        let mut notes = Vec::new();
        let missing = match finding.origin {
            Origin::Before(place) => self.issued(self.line[place]),
            _ => None,
        };
        notes.extend(missing.or_else(|| self.last_writer(finding.item)).map(|i| self.promise(i)));
        notes.extend(match finding.origin {
            Origin::Before(_) => None,
            Origin::After(place) => {
                Some(format!("found the value of step {}", step(self.line[place])))
            }
            Origin::Elsewhere(id) => Some(format!("found a value of step {}", step(id))),
            Origin::Gone(id) => Some(format!("found a value of step {}, which was gone", step(id))),
            Origin::Never => Some(self.stray(finding.found)),
        });
        notes.join("; ")
    }

    /// The note on a value that was never written to its item.
    fn stray(&self, found: Option<&[u8]>) -> String {
        let changes = self.oracle.graph.nodes.iter().flat_map(|node| &node.changes);
        let mut others = changes.filter(|change| change.new.as_deref() == found && found.is_some());
        match others.next() {
            Some(change) => format!("found a value of {}", quote(&change.item)),
            None => "was never written".into(),
        }
    }

    /// The note on an op: how it returned, and whether it must survive.
    fn promise(&self, issued: &Issued<M::Op>) -> String {
        let step = issued.step;
        let own = match issued.result {
            None => format!("in flight at step {step}"),
            Some((Ok(ack), _)) => format!("acknowledged {ack} at step {step}"),
            Some((Err(()), _)) => format!("failed at step {step}"),
        };
        let durable = matches!(issued.result, Some((Ok(Ack::DURABLE), _)));
        if self.low.get(issued.client).is_none_or(|low| issued.index >= *low) {
            return format!("{own}, may be lost");
        }
        let last = self.low[issued.client] - 1;
        let covers = |i: &&Issued<M::Op>| i.client == issued.client && i.index == last;
        match self.oracle.issued.iter().find(covers) {
            Some(cover) if cover.step != step && !durable => {
                format!("{own}, covered by step {}", cover.step)
            }
            _ => own,
        }
    }
}

/// The first word of an op, which names its kind.
fn word(op: &str) -> String {
    op.split_whitespace().next().unwrap_or_default().into()
}
