//! How pieces stop being pending: they become durable, or can never be found again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::content::{Content, PAGE, SharedPage};
use super::effect::{Effect, Ino, Kind, Sync};
use super::pending::Pending;
use super::piece::{
    Aspect, AttributeChange, EntryChange, Group, GroupId, Piece, PieceChange, aspects, replaced,
    seq_digest,
};
use super::profile::SyncRule;
use super::tree::{Body, Name, Node};
use crate::base::time::Time;

/// Blocks of a file.
pub(super) type Blocks = RangeInclusive<u64>;

const ALL_BLOCKS: Blocks = 0..=u64::MAX;

impl Pending {
    /// Makes durable the pieces that a successful sync promises.
    pub(super) fn sync(&mut self, sync: Sync) {
        self.settle_synced(sync);
        self.note_synced_names(sync);
        self.note_nameless();
    }

    fn settle_synced(&mut self, sync: Sync) {
        let mut limits = BTreeMap::new();
        let blocks = blocks_of(sync);
        let rule = self.rule(sync);
        if sync == Sync::All {
            self.forget_restated();
        } else if let (true, Some(&(ino, _))) = (rule.alone, self.synced(sync).first()) {
            if self.was_replaced(ino) {
                return;
            }
            self.restate(sync);
        }
        for key in self.synced(sync) {
            for (id, &seq) in self.unsynced.get(&key).into_iter().flatten() {
                if !matches!(id, GroupId::Block(_, number) if !blocks.contains(number)) {
                    let limit = limits.entry(id.clone()).or_default();
                    *limit = seq.max(*limit);
                }
            }
        }
        if let (true, Some((ino, _))) = (rule.alone, self.synced(sync).first()) {
            return self.settle_alone(*ino, limits);
        }
        if let Some((_, seq)) = self.newest(&GroupId::Log).filter(|_| rule.log) {
            limits.insert(GroupId::Log, seq);
        }
        if let (true, Sync::Inode(ino) | Sync::Written { ino, data_only: false, .. }) =
            (rule.touched, sync)
            && let Some(touched) = self.touched.remove(&ino)
        {
            let limit = limits.entry(GroupId::Log).or_default();
            *limit = touched.max(*limit);
        }
        self.close_limits(&mut limits, matches!(sync, Sync::Pages { .. } | Sync::Written { .. }));
        self.settle(limits);
    }

    /// Makes the whole log durable, with its requirements.
    pub(super) fn commit(&mut self) {
        let Some((_, newest)) = self.newest(&GroupId::Log) else { return };
        let mut limits = BTreeMap::from([(GroupId::Log, newest)]);
        self.close_limits(&mut limits, false);
        self.settle(limits);
    }

    /// Notes the changes of a file's names that are still pending after it was synced.
    fn note_synced_names(&mut self, sync: Sync) {
        let (Sync::Inode(ino) | Sync::Data(ino)) = sync else { return };
        let aspects = [Aspect::Names, Aspect::Swapped].map(|aspect| (ino, aspect));
        let newest = aspects.iter().filter_map(|key| self.unsynced.get(key));
        let names = |piece: &Piece| {
            let mut named = piece.changes().iter().flat_map(|c| c.old.into_iter().chain(c.new));
            named.any(|named| named == ino)
        };
        let ids: BTreeSet<&GroupId> = newest.flat_map(BTreeMap::keys).collect();
        let groups = ids.into_iter().filter_map(|id| self.groups.get(id));
        let pieces = groups.flat_map(|group| group.pieces()).filter(|piece| names(piece));
        let seqs: Vec<u64> = pieces.map(|piece| piece.seq).collect();
        for seq in seqs {
            let synced = self.synced_names.entry(seq).or_default();
            match sync {
                Sync::Data(_) => synced.data = true,
                _ => synced.whole = true,
            }
        }
    }

    /// Notes the files without a name of which a commit of the log would leave nothing to log: on
    /// ext4 the inode is then on the medium, and only its name is not.
    fn note_nameless(&mut self) {
        for (ino, synced) in &mut self.nameless {
            *synced |= !self.unsynced.contains_key(&(*ino, Aspect::Data));
        }
    }

    /// The profile's rule for a sync call. `sync` has none: it makes everything durable.
    fn rule(&self, sync: Sync) -> SyncRule {
        let profile = &self.profile;
        let (ino, of_file) = match sync {
            Sync::All => return SyncRule::default(),
            Sync::Inode(ino) => (ino, profile.fsync_file),
            Sync::Data(ino) => (ino, profile.fdatasync_file),
            Sync::Written { ino, data_only: true, .. } => (ino, profile.fdatasync_file),
            Sync::Written { ino, data_only: false, .. } => (ino, profile.fsync_file),
            Sync::Pages { ino, .. } => (ino, profile.sync_range),
        };
        match self.live.node(ino).map(Node::kind) {
            Some(Kind::File) => of_file,
            Some(Kind::Directory) => profile.fsync_directory,
            Some(Kind::Symlink) | None => SyncRule::default(),
        }
    }

    /// The aspects of inodes that a sync call makes durable, by the rules of the profile.
    fn synced(&self, sync: Sync) -> Vec<(Ino, Aspect)> {
        let rule = self.rule(sync);
        // Reading a file does not need its attributes, so `fdatasync` leaves them, as on ext4.
        // Where it logs the whole inode with its names, it takes them along, as on xfs and btrfs.
        let whole = matches!(sync, Sync::Inode(_) | Sync::Written { data_only: false, .. });
        let ino = match sync {
            Sync::All => return self.unsynced.keys().copied().collect(),
            Sync::Inode(ino) | Sync::Data(ino) => ino,
            Sync::Pages { ino, .. } | Sync::Written { ino, .. } => ino,
        };
        let wanted = [
            (rule.data, Aspect::Data),
            (rule.size, Aspect::Size),
            (rule.entries, Aspect::Entries),
            (rule.names, Aspect::Names),
            (rule.swapped, Aspect::Swapped),
            (rule.birth, Aspect::Birth),
            (whole || rule.names, Aspect::Attributes),
        ];
        wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, aspect)| (ino, aspect)).collect()
    }

    /// Adds the requirements of the pieces up to the limits. A sync of some pages alone (`ranged`)
    /// writes them without those before them.
    fn close_limits(&self, limits: &mut BTreeMap<GroupId, u64>, ranged: bool) {
        let mut open: Vec<GroupId> = limits.keys().cloned().collect();
        while let Some(id) = open.pop() {
            let (Some(group), Some(&limit)) = (self.group(&id), limits.get(&id)) else { continue };
            if !self.constrained.contains(&id) {
                continue;
            }
            for need in group.needs(group.before(limit + 1)).filter(|need| {
                !(need.or_nothing || ranged && need.in_turn || self.is_given_up(need))
            }) {
                if limits.get(&need.group).is_none_or(|limit| *limit < need.seq) {
                    limits.insert(need.group.clone(), need.seq);
                    open.push(need.group.clone());
                }
            }
        }
    }

    /// Makes the pieces up to the limits durable, each group up to its own.
    fn settle(&mut self, limits: BTreeMap<GroupId, u64>) {
        let mut settled = Vec::new();
        for (id, limit) in limits {
            let Some(group) = self.groups.get(&id) else { continue };
            let cut = group.before(limit + 1);
            settled.extend(self.take(&id, cut));
        }
        self.make_durable(settled);
    }

    /// Makes durable only the part of the log that a sync of one inode needs: its own pieces,
    /// wherever they are in the log, the older changes of the same entries, and the pieces that put
    /// the directories above where they are; of some renames only a part, see [`Self::leave_rest`].
    fn settle_alone(&mut self, ino: Ino, mut limits: BTreeMap<GroupId, u64>) {
        let reaches_log = limits.remove(&GroupId::Log).is_some();
        let mut settled = Vec::new();
        for (id, limit) in limits {
            let cut = self.group(&id).map_or(0, |group| group.before(limit + 1));
            settled.extend(self.take(&id, cut));
        }
        if reaches_log {
            let log = self.group(&GroupId::Log).map(Group::pieces).unwrap_or_default();
            let wanted = self.wanted_of_log(ino, log);
            let mut taken = self.take_from_log(|piece| wanted.contains(&piece.seq));
            taken.iter_mut().for_each(|piece| self.leave_rest(ino, piece));
            settled.extend(taken);
        }
        self.make_durable(settled);
    }

    /// Leaves a part of a rename in the log, in its old position, if a sync needs only the other
    /// part:
    ///
    /// - if the directory of the new name is synced and the old name is in another one, the old
    ///   name of the file;
    /// - if a file is synced over one of whose names another was renamed, everything but the loss
    ///   of that name.
    fn leave_rest(&mut self, ino: Ino, piece: &mut Piece) {
        let [to, from] = piece.changes() else { return };
        let (to, from) = (to.clone(), from.clone());
        if self.taken_changes(ino, piece).len() == 1 {
            self.split(piece, vec![to], vec![from]);
        } else if replaced(piece, ino) {
            let gone = EntryChange { new: None, ..to.clone() };
            self.split(piece, vec![gone], vec![EntryChange { old: None, ..to }, from]);
        }
    }

    /// The changes of a piece that a sync of one inode needs: of a file that was moved into a
    /// synced directory only the new name.
    fn taken_changes<'a>(&self, ino: Ino, piece: &'a Piece) -> &'a [EntryChange] {
        let changes = piece.changes();
        let [to, from] = changes else { return changes };
        let is_directory = |ino| self.live.node(ino).map(Node::kind) == Some(Kind::Directory);
        let moves = to.dir == ino && from.dir != ino && from.new.is_none();
        if moves && !to.new.is_none_or(is_directory) { &changes[..1] } else { changes }
    }

    /// Divides a piece that was taken out of the log into two, and puts one of them back.
    fn split(&mut self, piece: &mut Piece, taken: Vec<EntryChange>, left: Vec<EntryChange>) {
        for ino in left.iter().filter_map(|change| change.new) {
            *self.pending_links.entry(ino).or_default() += 1;
        }
        let left =
            Piece { change: PieceChange::Entries(left.into()), needs: None, ..piece.clone() };
        piece.change = PieceChange::Entries(taken.into());
        self.pending_sum = self.pending_sum.wrapping_add(seq_digest(left.seq));
        self.order.insert(left.seq, GroupId::Log);
        let other = self.next_seq();
        self.rename_partners.insert(left.seq, other);
        // The durable tree is not the one that the whole piece would have left.
        self.stamp();
        Arc::make_mut(self.groups.entry(GroupId::Log).or_default()).insert(left);
        self.renew_log();
    }

    /// Takes pieces out of the log, wherever they are in it.
    fn take_from_log(&mut self, wanted: impl Fn(&Piece) -> bool) -> Vec<Piece> {
        let Some(group) = self.groups.remove(&GroupId::Log) else { return Vec::new() };
        let mut taken = Vec::new();
        let rest = Arc::unwrap_or_clone(group).rebuild(|piece| {
            if wanted(&piece) {
                taken.push(piece);
                return None;
            }
            Some(piece)
        });
        if rest.is_empty() {
            self.constrained.remove(&GroupId::Log);
        } else {
            self.groups.insert(GroupId::Log, Arc::new(rest));
        }
        taken.iter().for_each(|piece| self.uncount(piece, &GroupId::Log));
        self.renew_log();
        taken
    }

    /// The pieces of the log without which an inode is not found as it is now.
    fn wanted_of_log(&self, ino: Ino, log: &[Piece]) -> BTreeSet<u64> {
        let rule = self.rule(Sync::Inode(ino));
        let mut wanted = BTreeSet::new();
        // The last wanted change of each entry: later ones are not needed for it.
        let mut entries: BTreeMap<(Ino, Name), u64> = BTreeMap::new();
        let mut named = BTreeSet::from([ino]);
        // Directories that are removed: without them, files moved out of them would be nowhere.
        let mut emptied = BTreeSet::new();
        loop {
            let before = wanted.len();
            for piece in log.iter().rev() {
                let unknown = replaced(piece, ino) && !self.has_other_name(piece, ino);
                let is_of = piece.inode() == Some(ino)
                    || piece.changes().iter().any(|change| {
                        let mut names = change.old.into_iter().chain(change.new);
                        names.any(|name| named.contains(&name) && !(unknown && name == ino))
                            || (rule.entries && change.dir == ino)
                            || emptied.contains(&change.dir)
                            || entries
                                .get(&(change.dir, change.name.clone()))
                                .is_some_and(|newest| piece.seq < *newest)
                    });
                if !is_of || !wanted.insert(piece.seq) {
                    continue;
                }
                for change in self.taken_changes(ino, piece) {
                    let newest = entries.entry((change.dir, change.name.clone())).or_default();
                    *newest = piece.seq.max(*newest);
                    named.insert(change.dir);
                    let removed = change.old.filter(|old| self.live.node(*old).is_none());
                    emptied.extend(removed);
                }
            }
            if wanted.len() == before {
                return wanted;
            }
        }
    }

    /// Whether a file has another name in the directory in which a rename took one from it. If not,
    /// the log tree has no record of the loss.
    fn has_other_name(&self, rename: &Piece, ino: Ino) -> bool {
        let dir = rename.changes().first().and_then(|to| self.live.node(to.dir));
        let directory = dir.and_then(Node::directory);
        directory.is_some_and(|directory| directory.entries.values().any(|name| *name == ino))
    }

    /// Recomputes which pieces of the log are the newest of each inode.
    fn renew_log(&mut self) {
        let Some(log) = self.groups.get(&GroupId::Log).cloned() else { return };
        for piece in log.pieces() {
            for key in aspects(piece) {
                self.unsynced.entry(key).or_default().insert(GroupId::Log, piece.seq);
            }
        }
    }

    /// Moves pieces that are no longer pending into the durable tree.
    fn make_durable(&mut self, mut settled: Vec<Piece>) {
        // Entries follow each other across groups.
        settled.sort_by_key(|piece| piece.seq);
        let (mut files, mut named) = (BTreeSet::new(), BTreeSet::new());
        let (mut blocks, mut touched) = (BTreeMap::new(), Vec::new());
        for piece in &settled {
            files.extend(piece.file());
            self.add_blocks_of(piece, &mut touched);
            blocks.extend(touched.drain(..).map(|block| (block, piece.seq)));
            if let Some((ino, _, size)) = piece.sizes()
                && self.sized.get(&ino).is_none_or(|sized| *sized < piece.seq)
            {
                self.change_durable(ino, |content| content.set_size(size));
                self.sized.insert(ino, piece.seq);
            }
            if let Some(AttributeChange { ino, name, new, .. }) = piece.attribute()
                && let Some(node) = self.durable.node_mut(*ino)
            {
                node.set_attribute(name, new.clone());
            }
            if !self.restated.is_empty() {
                self.forget_restated_before(piece.seq, piece.changes());
            }
            self.settle_times(piece);
            for change in piece.changes() {
                self.durable.place(change.dir, &change.name, change.new);
                named.extend(change.old.into_iter().chain(change.new));
            }
        }
        blocks.into_iter().for_each(|((ino, number), seq)| self.settle_block(ino, number, seq));
        for ino in files {
            self.drop_older_sizes(ino);
            self.note_untrimmed(ino);
        }
        named.into_iter().for_each(|ino| self.forget_if_unnamed(ino));
    }

    /// Takes the first pieces of a group out of the group and of all counts of pending pieces.
    pub(super) fn take(&mut self, id: &GroupId, cut: usize) -> Vec<Piece> {
        let Some(group) = self.groups.get_mut(id) else { return Vec::new() };
        let taken = Arc::make_mut(group).take(cut);
        if group.is_empty() {
            self.groups.remove(id);
            self.constrained.remove(id);
        }
        taken.iter().for_each(|piece| self.uncount(piece, id));
        taken
    }

    /// Takes a piece out of all counts of pending pieces.
    pub(super) fn uncount(&mut self, piece: &Piece, id: &GroupId) {
        self.order.remove(&piece.seq);
        let digest = seq_digest(piece.seq);
        self.pending_sum = self.pending_sum.wrapping_sub(digest);
        self.settled_sum = self.settled_sum.wrapping_add(digest);
        if let Some((ino, ..)) = piece.sizes() {
            self.sizes.remove(&(ino, id.home(), piece.seq));
        }
        self.forget_times(piece);
        self.synced_names.remove(&piece.seq);
        self.rename_partners.remove(&piece.seq);
        for change in piece.changes() {
            self.uncount_link(change.new);
            let entry = (change.dir, change.name.clone());
            if self.moved.get(&entry).is_some_and(|(_, seq)| *seq <= piece.seq) {
                self.moved.remove(&entry);
            }
            let born = change.new.map(|ino| (ino, Aspect::Birth));
            if let Some(born) = born.filter(|key| self.is_newest(*key, id, piece.seq)) {
                self.mark_clean(born, id);
            }
        }
        for key in aspects(piece) {
            if self.is_newest(key, id, piece.seq) {
                self.mark_clean(key, id);
            }
        }
    }

    fn is_newest(&self, key: (Ino, Aspect), id: &GroupId, seq: u64) -> bool {
        self.unsynced.get(&key).and_then(|newest| newest.get(id)) == Some(&seq)
    }

    pub(super) fn mark_clean(&mut self, key: (Ino, Aspect), id: &GroupId) {
        if let Some(newest) = self.unsynced.get_mut(&key) {
            newest.remove(id);
            if newest.is_empty() {
                self.unsynced.remove(&key);
            }
        }
    }

    fn uncount_link(&mut self, ino: Option<Ino>) {
        let Some(ino) = ino else { return };
        if let Some(count) = self.pending_links.get_mut(&ino) {
            *count -= 1;
            if *count == 0 {
                self.pending_links.remove(&ino);
            }
        }
    }

    /// Adds the blocks of which a piece made a version.
    pub(super) fn add_blocks_of(&self, piece: &Piece, blocks: &mut Vec<(Ino, u64)>) {
        match piece.blocks() {
            None => {}
            Some((ino, first, last)) if first == last => blocks.push((ino, first)),
            Some((ino, first, last)) => {
                let versions = self.blocks.range((ino, first)..=(ino, last));
                let touched = versions.filter(|(_, block)| block.has(piece.seq));
                blocks.extend(touched.map(|(key, _)| *key));
            }
        }
    }

    /// Moves the versions of a block up to that of a piece into the durable content.
    fn settle_block(&mut self, ino: Ino, number: u64, seq: u64) {
        let Some(versions) = self.blocks.get(&(ino, number)) else { return };
        let count = versions.before(seq + 1);
        let page = self.version(ino, number, count);
        self.change_durable(ino, |content| content.set_page(number, page));
        if let Some(versions) = self.blocks.get_mut(&(ino, number)) {
            Arc::make_mut(versions).forget(count);
            if versions.is_empty() {
                self.blocks.remove(&(ino, number));
            }
        }
        self.drop_older_versions(ino, number, seq);
    }

    /// Drops the versions of a block that are older than its durable one: the log may have made a
    /// hole of the block, or a failed sync left them undecided.
    fn drop_older_versions(&mut self, ino: Ino, number: u64, seq: u64) {
        let id = GroupId::Block(ino, number);
        if let Some(cut) =
            self.groups.get(&id).map(|group| group.before(seq)).filter(|cut| *cut > 0)
        {
            self.take(&id, cut);
        }
    }

    /// Drops the sizes of a file that are older than its durable one.
    fn drop_older_sizes(&mut self, ino: Ino) {
        let (id, sized) = (GroupId::Size(ino), self.sized.get(&ino).copied().unwrap_or(0));
        if let Some(cut) =
            self.groups.get(&id).map(|group| group.before(sized)).filter(|cut| *cut > 0)
        {
            self.take(&id, cut);
        }
    }

    /// The page of a block after the first `count` of its pending versions.
    pub(super) fn version(&self, ino: Ino, number: u64, count: usize) -> Option<SharedPage> {
        let durable = self.durable.node(ino).and_then(Node::content).and_then(|c| c.page(number));
        let Some(versions) = self.blocks.get(&(ino, number)) else { return durable.cloned() };
        if count == versions.len() {
            // The newest version is in the cache: nothing has to be built.
            let node = self.live.node(ino).or_else(|| self.freed_inodes.get(&ino));
            return node.and_then(Node::content).and_then(|c| c.page(number)).cloned();
        }
        versions.page(count, durable)
    }

    pub(super) fn change_durable(&mut self, ino: Ino, change: impl FnOnce(&mut Content)) {
        if let Some(Node { body: Body::File(content), .. }) = self.durable.node_mut(ino) {
            change(content);
        }
    }

    /// Notes whether the durable content of a file may reach beyond its durable size: only one
    /// of the two may have been made durable. Once nothing of it is pending, it does not.
    fn note_untrimmed(&mut self, ino: Ino) {
        let versions = self.blocks.range((ino, 0)..=(ino, u64::MAX)).next();
        if versions.is_some() || self.unsynced.contains_key(&(ino, Aspect::Size)) {
            self.untrimmed.insert(ino);
        } else {
            self.untrimmed.remove(&ino);
        }
    }

    /// Frees an inode: its last name and its last descriptor are gone. Its content stays as long as
    /// a crash may bring a name back: an fsynced file whose unlink is lost has its data.
    pub(super) fn free(&mut self, ino: Ino, at: Time) {
        let Some(node) = self.live.node(ino).cloned() else { return };
        self.live.apply(&Effect::Free { ino }, at);
        self.nameless.remove(&ino);
        self.freed_inodes.insert(ino, node);
        self.forget_if_unnamed(ino);
    }

    /// Forgets a freed inode if no entry, durable or pending, can lead to it any more. The removal
    /// of a directory needs all changes in it, so none of those is pending.
    fn forget_if_unnamed(&mut self, ino: Ino) {
        let named = self.durable.node(ino).is_some_and(|node| node.links > 0);
        if named
            || self.pending_links.contains_key(&ino)
            || self.freed_inodes.remove(&ino).is_none()
        {
            return;
        }
        self.durable.apply(&Effect::Free { ino }, Time::START);
        self.forget_content(ino);
    }

    fn forget_content(&mut self, ino: Ino) {
        let blocks = GroupId::Block(ino, 0)..=GroupId::Block(ino, u64::MAX);
        let mut ids: Vec<GroupId> = self.groups.range(blocks).map(|(id, _)| id.clone()).collect();
        ids.extend([GroupId::Size(ino), GroupId::Inode(ino)]);
        let attributes = self.groups.range(GroupId::Attribute(ino, Name::default())..);
        let attributes = attributes.map(|(id, _)| id.clone());
        ids.extend(
            attributes.take_while(|id| matches!(id, GroupId::Attribute(of, _) if *of == ino)),
        );
        for id in ids {
            self.take(&id, usize::MAX);
        }
        self.forget_logged(ino);
        let numbers: Vec<u64> =
            self.blocks.range((ino, 0)..=(ino, u64::MAX)).map(|(&(_, number), _)| number).collect();
        for number in numbers {
            self.blocks.remove(&(ino, number));
        }
        self.undecided.retain(|(of, _)| *of != ino);
        self.former_parents.remove(&ino);
        self.untrimmed.remove(&ino);
        self.sized.remove(&ino);
        self.timed.remove(&ino);
        self.touched.remove(&ino);
        self.reserved.remove(&ino);
    }

    /// Takes the changes of an inode's content out of the log.
    fn forget_logged(&mut self, ino: Ino) {
        let is_of = |piece: &Piece| piece.inode() == Some(ino);
        let logged = self.group(&GroupId::Log);
        if logged.is_some_and(|log| log.pieces().iter().any(is_of)) {
            self.take_from_log(is_of);
        }
    }
}

/// The blocks that a sync call covers.
pub(super) fn blocks_of(sync: Sync) -> Blocks {
    match sync {
        Sync::Pages { offset, length, .. } | Sync::Written { offset, length, .. } if length > 0 => {
            let last = offset.saturating_add(length - 1);
            offset / PAGE as u64..=last / PAGE as u64
        }
        Sync::Pages { offset, .. } => offset / PAGE as u64..=u64::MAX,
        Sync::Inode(_) | Sync::Data(_) | Sync::Written { .. } | Sync::All => ALL_BLOCKS,
    }
}
