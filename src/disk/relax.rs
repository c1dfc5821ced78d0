//! Relaxations: how a crash state differs from one of a disk that writes at once and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::effect::Ino;
use super::fate::Fate;
use super::keep::Loss;
use super::pending::Pending;
use super::piece::{Piece, PieceChange};
use super::profile::PieceClass;
use super::tree::Name;

/// A named way in which a disk may surprise an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relaxation {
    /// R1: a change that no sync covered is gone.
    LostUnsyncedData,
    /// R2: a size is present without its data.
    SizeBeforeData,
    /// R3: whole blocks below the size read as zeros.
    ZeroTail,
    /// R4: they read as bytes that were never written there.
    GarbageTail,
    /// R5: data is present and older data of another block is not.
    DataReorder,
    /// R6: a block is half old and half new.
    TornBlock,
    /// R7: a name is gone though its file was synced since.
    DirentLostAfterFileFsync,
    /// R8: a change of a directory is present and an older one is not.
    DiropReorder,
    /// R9: one half of a rename is present.
    NonatomicRename,
    /// R10: data written in place is present and an older change of names, sizes or attributes is
    /// not.
    OverwriteOvertakesMetadata,
    /// R11: a rename is gone though the file was `fdatasync`ed since.
    FdatasyncDropsRename,
    /// R12: durable bytes have changed.
    BitRot,
    /// R13: a change of names or sizes is present and older data is not: delayed allocation.
    MetadataOvertakesData,
    /// R14: a sector that was being written holds junk.
    GarbageSector,
}

impl Relaxation {
    /// Every relaxation, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::LostUnsyncedData,
        Self::SizeBeforeData,
        Self::ZeroTail,
        Self::GarbageTail,
        Self::DataReorder,
        Self::TornBlock,
        Self::DirentLostAfterFileFsync,
        Self::DiropReorder,
        Self::NonatomicRename,
        Self::OverwriteOvertakesMetadata,
        Self::FdatasyncDropsRename,
        Self::BitRot,
        Self::MetadataOvertakesData,
        Self::GarbageSector,
    ];

    /// Its name in reports and cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostUnsyncedData => "lost-unsynced-data",
            Self::SizeBeforeData => "size-before-data",
            Self::ZeroTail => "zero-tail",
            Self::GarbageTail => "garbage-tail",
            Self::DataReorder => "data-reorder",
            Self::TornBlock => "torn-block",
            Self::DirentLostAfterFileFsync => "dirent-lost-after-file-fsync",
            Self::DiropReorder => "dirop-reorder",
            Self::NonatomicRename => "nonatomic-rename",
            Self::OverwriteOvertakesMetadata => "overwrite-overtakes-metadata",
            Self::FdatasyncDropsRename => "fdatasync-drops-rename",
            Self::BitRot => "bit-rot",
            Self::MetadataOvertakesData => "metadata-overtakes-data",
            Self::GarbageSector => "garbage-sector",
        }
    }
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Pending {
    /// The relaxations that a fate uses. Costs as much as there are pending pieces.
    pub fn relaxations(&self, fate: &Fate) -> BTreeSet<Relaxation> {
        let losses = self.losses(fate);
        let mut used = BTreeSet::new();
        if losses.is_empty() {
            return used;
        }
        let lost: BTreeMap<u64, &Loss<'_>> =
            losses.iter().map(|loss| (loss.piece.seq, loss)).collect();
        let kept: Vec<&Piece> = self
            .pieces()
            .map(|(_, piece)| piece)
            .filter(|piece| !lost.contains_key(&piece.seq))
            .collect();
        let superseded = Superseded::of(&kept);
        for loss in &losses {
            if loss.junk.is_some() {
                used.insert(Relaxation::GarbageSector);
            } else if !loss.kept.is_empty() {
                used.insert(Relaxation::TornBlock);
            }
            if !superseded.is(loss.piece) {
                used.insert(Relaxation::LostUnsyncedData);
                self.overtaken(loss.piece, &kept, &mut used);
                self.promised(loss.piece, &lost, &mut used);
            }
        }
        self.unfilled(&kept, &lost, &mut used);
        if fate.stale && self.profile().stale && used.contains(&Relaxation::ZeroTail) {
            used.remove(&Relaxation::ZeroTail);
            used.insert(Relaxation::GarbageTail);
        }
        used
    }

    /// Adds the relaxations of pieces that are kept though an older piece is lost.
    fn overtaken(&self, lost: &Piece, kept: &[&Piece], used: &mut BTreeSet<Relaxation>) {
        for piece in kept.iter().filter(|piece| piece.effect > lost.effect) {
            used.extend(match (kind(lost), kind(piece)) {
                (PieceKind::Data, PieceKind::Data) if block(lost) != block(piece) => {
                    block(lost).and(block(piece)).map(|_| Relaxation::DataReorder)
                }
                (PieceKind::Data, PieceKind::Name) => Some(Relaxation::MetadataOvertakesData),
                (PieceKind::Data, PieceKind::Size) if lost.file() != piece.file() => {
                    Some(Relaxation::MetadataOvertakesData)
                }
                (PieceKind::Name | PieceKind::Size, PieceKind::Data) if in_place(piece) => {
                    Some(Relaxation::OverwriteOvertakesMetadata)
                }
                (PieceKind::Name, PieceKind::Name) => Some(Relaxation::DiropReorder),
                _ => None,
            });
        }
        let zeroed =
            |piece: &&&Piece| piece.effect == lost.effect && piece.class == PieceClass::Zero;
        if lost.class == PieceClass::Resize && kept.iter().any(|piece| zeroed(&piece)) {
            used.insert(Relaxation::OverwriteOvertakesMetadata);
        }
    }

    /// Adds the relaxations of a lost change of names.
    fn promised(
        &self,
        lost: &Piece,
        all_lost: &BTreeMap<u64, &Loss<'_>>,
        used: &mut BTreeSet<Relaxation>,
    ) {
        if let Some(other) = self.rename_partners.get(&lost.seq)
            && !all_lost.contains_key(other)
        {
            used.insert(Relaxation::NonatomicRename);
        }
        if let Some(synced) = self.synced_names.get(&lost.seq) {
            let rename = lost.changes().len() > 1 || self.rename_partners.contains_key(&lost.seq);
            if synced.data && rename {
                used.insert(Relaxation::FdatasyncDropsRename);
            }
            if synced.whole || !rename {
                used.insert(Relaxation::DirentLostAfterFileFsync);
            }
        }
    }

    /// Adds the relaxations of sizes that are kept without their data.
    fn unfilled(
        &self,
        kept: &[&Piece],
        lost: &BTreeMap<u64, &Loss<'_>>,
        used: &mut BTreeSet<Relaxation>,
    ) {
        let sizes =
            kept.iter().filter(|piece| matches!(piece.class, PieceClass::Grow | PieceClass::Reach));
        for size in sizes {
            let Some(ino) = size.file() else { continue };
            let newer = kept.iter().any(|piece| {
                piece.seq > size.seq
                    && piece.file() == Some(ino)
                    && piece.class == PieceClass::Resize
            });
            let data = lost.range(..size.seq).map(|(_, loss)| loss.piece);
            let data = data.rev().find(|piece| {
                piece.effect == size.effect
                    && piece.file() == Some(ino)
                    && matches!(piece.change, PieceChange::Data { .. })
            });
            let Some(data) = data.filter(|_| !newer) else { continue };
            used.insert(Relaxation::SizeBeforeData);
            if matches!(data.class, PieceClass::Fill | PieceClass::Extend) {
                used.insert(Relaxation::ZeroTail);
            }
        }
    }
}

/// The kept pieces that replaced lost ones, so that the loss does not matter.
struct Superseded<'a> {
    /// The newest kept version of each block.
    blocks: BTreeMap<(Ino, u64), u64>,
    /// The newest kept size of each file.
    sizes: BTreeMap<Ino, u64>,
    /// The newest kept value of each extended attribute.
    attributes: BTreeMap<(Ino, &'a Name), u64>,
    /// The kept truncations of each file, each with the first block that it removed.
    cut: BTreeMap<Ino, Vec<(u64, u64)>>,
}

impl<'a> Superseded<'a> {
    fn of(kept: &[&'a Piece]) -> Self {
        let (blocks, sizes, cut) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut superseded = Self { blocks, sizes, attributes: BTreeMap::new(), cut };
        for piece in kept {
            match piece.change {
                PieceChange::Data { ino, block, more, .. } => {
                    superseded.blocks.extend((block..=block + more).map(|b| ((ino, b), piece.seq)));
                }
                PieceChange::Size { ino, old, new } => {
                    superseded.sizes.insert(ino, piece.seq);
                    if new < old {
                        let first = new.div_ceil(super::content::PAGE as u64);
                        superseded.cut.entry(ino).or_default().push((piece.seq, first));
                    }
                }
                PieceChange::Attribute(ref change) => {
                    superseded.attributes.insert((change.ino, &change.name), piece.seq);
                }
                PieceChange::Entries(_) => {}
            }
            if let (PieceChange::Data { ino, .. }, Some(_)) = (&piece.change, piece.sizes()) {
                superseded.sizes.insert(*ino, piece.seq);
            }
        }
        superseded
    }

    fn is(&self, lost: &Piece) -> bool {
        match lost.change {
            PieceChange::Data { ino, block, more, .. } => (block..=block + more).all(|block| {
                let newer = self.blocks.get(&(ino, block)).is_some_and(|seq| *seq > lost.seq);
                let cuts = self.cut.get(&ino).into_iter().flatten();
                newer || cuts.into_iter().any(|(seq, first)| *seq > lost.seq && block >= *first)
            }),
            PieceChange::Size { ino, .. } => {
                self.sizes.get(&ino).is_some_and(|seq| *seq > lost.seq)
            }
            PieceChange::Attribute(ref change) => {
                let newest = self.attributes.get(&(change.ino, &change.name));
                newest.is_some_and(|seq| *seq > lost.seq)
            }
            PieceChange::Entries(_) => false,
        }
    }
}

/// The kind of change that a piece makes, as the relaxations distinguish them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    Data,
    Size,
    Name,
}

fn kind(piece: &Piece) -> PieceKind {
    match piece.change {
        PieceChange::Data { .. } if piece.class == PieceClass::Hole => PieceKind::Size,
        PieceChange::Data { .. } => PieceKind::Data,
        // Without it the written data is not found.
        PieceChange::Size { .. } if matches!(piece.class, PieceClass::Grow | PieceClass::Reach) => {
            PieceKind::Data
        }
        PieceChange::Size { .. } | PieceChange::Attribute(_) => PieceKind::Size,
        PieceChange::Entries(_) => PieceKind::Name,
    }
}

fn block(piece: &Piece) -> Option<(Ino, u64)> {
    match piece.change {
        PieceChange::Data { ino, block, .. } => Some((ino, block)),
        _ => None,
    }
}

fn in_place(piece: &Piece) -> bool {
    matches!(piece.class, PieceClass::Overwrite | PieceClass::Zero)
}
