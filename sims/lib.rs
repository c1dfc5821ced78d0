//! The registry of sims: one line each.

pub mod aof;
pub mod append_log;
pub mod checkpoint;
pub mod document_log;
pub mod engines;
pub mod fjall_fold;
pub mod toy;
pub mod toy_threads;

use std::path::PathBuf;

use crashpoint::Registry;
use crashpoint::sim;
use crashpoint::{AfterFault, FaultKind};

/// The bug that every run must find.
const CANARY: &str = "no-dir-sync-after-rename";

/// A right answer whatever call fails or takes long: what an engine promises of which it is said
/// that a failed call takes nothing back. A read that is wrong without an error is none that
/// failed; and what is promised for a certain time (`timed`) hangs on a disk that is fast enough.
fn whatever_fails(timed: bool) -> Vec<(FaultKind, AfterFault)> {
    let wrong = |fault_kind| matches!(fault_kind, FaultKind::CorruptRead | FaultKind::BitRot);
    let fails = FaultKind::ALL.into_iter().filter(|fault_kind| !wrong(*fault_kind));
    let promised = fails.filter(|fault_kind| !timed || *fault_kind != FaultKind::Slow);
    promised.map(|fault_kind| (fault_kind, AfterFault::Right)).collect()
}

/// The same, and what is promised after bit rot.
fn whatever_fails_or_rots(timed: bool, after_rot: AfterFault) -> Vec<(FaultKind, AfterFault)> {
    [whatever_fails(timed), vec![(FaultKind::BitRot, after_rot)]].concat()
}

/// Every sim that is shipped, and the canary.
pub fn registry() -> Registry {
    #[cfg_attr(
        not(any(feature = "batpak", feature = "kevy", feature = "moltendb")),
        expect(unused_mut, reason = "origins are added")
    )]
    let mut sims = vec![
        sim::<append_log::AppendLog>(),
        sim::<aof::Aof<aof::Always>>(),
        sim::<aof::Aof<aof::EverySec>>(),
        sim::<aof::Aof<aof::No>>(),
        sim::<checkpoint::Checkpoint>(),
        sim::<document_log::DocumentLog>(),
        sim::<document_log::DocumentLog<document_log::AsyncMode>>(),
        sim::<document_log::DocumentLog<document_log::Clients<document_log::SyncMode>>>(),
        sim::<document_log::DocumentLog<document_log::Clients<document_log::AsyncMode>>>(),
        sim::<fjall_fold::FjallFoldSim>(),
        sim::<fjall_fold::FjallFoldSim<fjall_fold::Synced>>(),
        sim::<toy::ToySim<0>>(),
        sim::<toy_threads::ThreadsSim<0>>(),
    ];
    // They break promises: a run of them is not expected to pass.
    #[cfg(feature = "kevy")]
    sims.extend(aof::origin::sims());
    #[cfg(feature = "moltendb")]
    sims.extend(document_log::origin::sims());
    #[cfg(feature = "batpak")]
    sims.extend(checkpoint::origin::sims());
    Registry {
        sims,
        canary: toy::planted().into_iter().find(|entry| entry.name == CANARY),
        corpus: corpus(),
    }
}

/// The folder of saved cases.
pub fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus"))
}

/// How much of something a test was asked for by a variable of the environment, if it was.
///
/// # Panics
/// If the variable holds no number.
pub fn asked_for(variable: &str) -> Option<u64> {
    let value = std::env::var_os(variable)?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{variable}: {value:?} is no number")))
}
