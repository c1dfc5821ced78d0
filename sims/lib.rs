//! The engines that crashpoint ships with, their sims, and the registry of these sims.

pub mod aof;
pub mod append_log;
pub mod checkpoint;
pub mod document_log;
pub mod engines;
pub mod fjall_fold;
pub mod ledger;
mod support;
pub mod toy;
pub mod toy_threads;

use std::path::PathBuf;

use crashpoint::{Registry, sim};

/// The sim with a planted bug that every run must find.
const CANARY: &str = "no-dir-sync-after-rename";

/// Every sim that is shipped, the origins of their engines if built with them, and the canary.
pub fn registry() -> Registry {
    #[cfg_attr(
        not(any(feature = "batpak", feature = "kevy", feature = "moltendb")),
        expect(unused_mut, reason = "features add the origins to it")
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
        sim::<ledger::LedgerSim>(),
        sim::<toy::ToySim<0>>(),
        sim::<toy_threads::ThreadsSim<0>>(),
    ];
    // The origins break their promises: a run of them is not expected to pass.
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

/// The number in an environment variable that sets how much a test does; `None` if it is unset.
///
/// # Panics
/// If the variable is set to anything but a number.
pub fn number_from_env(variable: &str) -> Option<u64> {
    let value = std::env::var_os(variable)?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{variable}: {value:?} is not a number")))
}
