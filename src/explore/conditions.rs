//! The conditions of a run: its faults, the size of its disk, and its cache.

use crate::case::fault::Fault;
use crate::case::{Case, Errors};
use crate::disk::space::Space;

/// The conditions of a run besides its workload and its crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Injected errors, in all epochs.
    pub(crate) faults: Vec<Fault>,
    /// The size of the first epoch's disk, if it is limited.
    pub(crate) space: Option<Space>,
    /// Whether the page cache drops pages whose write failed, as soon as the sync has failed.
    pub(crate) evicts: bool,
}

impl Conditions {
    /// The conditions that a case names.
    pub(crate) fn of(case: &Case) -> Self {
        Self { faults: case.faults.clone(), space: case.space, evicts: case.evicts }
    }

    /// A run with one fault.
    pub(crate) fn with_fault(fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }

    /// What an error means in a run of this case. A small disk shortens writes and fills holes of
    /// maps before any call says that it is full: there an error always has a reason.
    pub(crate) fn errors(&self, case: &Case) -> Errors {
        if self.space.is_some() { Errors::Uncertain } else { case.errors }
    }

    /// A case under these conditions.
    pub(crate) fn in_case(&self, case: &Case) -> Case {
        Case { faults: self.faults.clone(), space: self.space, evicts: self.evicts, ..case.clone() }
    }

    /// The faults of an epoch; 1 is the first.
    pub(crate) fn faults_of(&self, epoch: u32) -> Vec<Fault> {
        self.faults.iter().filter(|fault| fault.epoch == epoch).copied().collect()
    }

    /// Whether a fault of an epoch lasts to its end.
    pub(crate) fn lasting(&self, epoch: u32) -> bool {
        self.faults_of(epoch).iter().any(Fault::lasts)
    }
}
