//! A crash state: one disk that a crash may leave, and how it came about.

use std::rc::Rc;
use std::time::Duration;

use crate::base::digest::Digest;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::rot::Rot;
use crate::disk::tree::Tree;
use crate::oracle::{AfterFault, CrashKind};
use crate::sim::model::Model;

use super::boot::Boot;
use super::crash_point::CrashPoint;
use super::judge::Judge;
use super::runner::PriorCrash;

/// How long the machine is down after a crash.
pub(crate) const DOWN: Duration = Duration::from_secs(1);

/// A crash, and what it left of what was written.
#[derive(Clone)]
pub(crate) struct Crashed<'a> {
    pub(crate) kind: CrashKind,
    pub(crate) point: &'a CrashPoint,
    pub(crate) left: Left,
}

/// The part of the written data that a crash left.
#[derive(Clone)]
pub(crate) enum Left {
    /// All of it: the process died between two changes.
    All,
    /// All of it, and this many pages of the write that the process died in.
    Pages(u64),
    /// All of it but the pages whose write had failed: the process died, and the cache dropped
    /// them.
    Evicted,
    /// The part that a fate keeps: the power was lost.
    Fate(Fate),
    /// The part that a fate keeps, with rotten bytes, for which the engine promises something.
    Rotten(Fate, Rot, AfterFault),
}

impl Crashed<'_> {
    /// The kind of crash that bounds what may be lost: pages that the kernel could not write are
    /// as exposed as after a power loss.
    pub(crate) fn judged_as(&self) -> CrashKind {
        match self.left {
            Left::Evicted => CrashKind::Power,
            _ => self.kind,
        }
    }

    /// The disk after the crash, `tree` on the medium or in the cache, with what is pending on it.
    pub(crate) fn pending_after(&self, tree: &Tree, before: &Pending) -> Pending {
        match self.left {
            Left::Fate(_) | Left::Rotten(..) => Pending::new(tree.clone(), before.profile()),
            Left::Evicted => before.evicted(self.point.at),
            Left::All | Left::Pages(_) => before.process_crash(self.point.at),
        }
    }

    /// The crash as a recovery sees it: it happened in this boot, and the recovery begins this
    /// epoch.
    pub(crate) fn prior<M: Model>(&self, judge: &Judge<M>, boot: Boot, epoch: u32) -> PriorCrash {
        let acked = Rc::clone(judge.acked(self.judged_as()));
        PriorCrash { kind: self.kind, at: self.point.at, epoch, down: DOWN, boot, acked }
    }

    /// The judge after the crash.
    pub(crate) fn judge_after<M: Model>(&self, judge: &Judge<M>) -> Judge<M> {
        let mut judge = judge.clone();
        judge.crash(self.judged_as(), self.point.at);
        if let Left::Rotten(.., answer) = self.left {
            judge.rotten(answer);
        }
        judge
    }
}

/// One disk that a crash may leave.
pub(crate) struct CrashState<'a> {
    pub(crate) crashed: Crashed<'a>,
    pub(crate) tree: Tree,
    pub(crate) digest: Digest,
    /// The pending pieces on it, if they do not follow from the crash.
    pub(crate) pending: Option<Pending>,
}
