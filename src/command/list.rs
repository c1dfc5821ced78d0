//! The verb `list`: sims, promises, profiles.

use super::terminal::Terminal;
use crate::campaign::entry::Entry;
use crate::campaign::registry::Registry;
use crate::disk::profile::Profile;
use crate::oracle::{AfterFault, FaultKind};
use crate::report::page::wrapped;

/// The promises of a sim after each kind of fault, in words.
fn fault_budget(survives: &[(FaultKind, AfterFault)]) -> Vec<String> {
    let answer =
        |fault_kind| survives.iter().find(|(listed, _)| *listed == fault_kind).map(|(_, how)| *how);
    let rows = [
        ("answers correctly after", Some(AfterFault::Right)),
        ("answers correctly or with an error after", Some(AfterFault::Loud)),
        ("promises nothing after", None),
    ];
    let line = |(words, how): (&str, Option<AfterFault>)| {
        let shown = |fault_kind: &FaultKind| {
            answer(*fault_kind).filter(|how| *how > AfterFault::Nothing) == how
        };
        // The promise may hold for some files only: the promises say which.
        let named = |fault_kind: &FaultKind| match fault_kind {
            FaultKind::BitRot if how.is_some() => format!("{fault_kind} where promised"),
            fault_kind => fault_kind.to_string(),
        };
        let fault_kinds: Vec<_> = FaultKind::ALL.iter().filter(|h| shown(h)).map(named).collect();
        (!fault_kinds.is_empty()).then(|| format!("{words}: {}", fault_kinds.join(", ")))
    };
    rows.into_iter().filter_map(line).collect()
}

/// The profiles that a sim is tested on, if they are not the usual ones.
fn own_profiles(entry: &Entry) -> Vec<String> {
    let names =
        |profiles: &[Profile]| profiles.iter().map(|profile| profile.name).collect::<Vec<_>>();
    if names(entry.profiles) == names(Profile::usual()) {
        return Vec::new();
    }
    let row = |profile: &Profile| format!("tested on {}: {}", profile.name, profile.promise);
    entry.profiles.iter().map(row).collect()
}

/// `list`.
pub(super) fn list(registry: &Registry, terminal: &mut Terminal) {
    terminal.line("Sims");
    for entry in &registry.sims {
        let (first, rest) = (format!("  {:<12} ", entry.name), " ".repeat(15));
        wrapped(&first, &rest, entry.about).iter().for_each(|line| terminal.line(line));
        for (promise, source) in (entry.promises)() {
            let rest = " ".repeat(19);
            let first = format!("{}- ", &rest[2..]);
            wrapped(&first, &rest, &promise).iter().for_each(|line| terminal.line(line));
            let source = format!("({source})");
            wrapped(&rest, &rest, &source).iter().for_each(|line| terminal.line(line));
        }
        let rest = " ".repeat(19);
        for line in fault_budget(&(entry.survives)()).into_iter().chain(own_profiles(entry)) {
            wrapped(&format!("{}- ", &rest[2..]), &rest, &line)
                .iter()
                .for_each(|l| terminal.line(l));
        }
    }
    terminal.line("");
    if let Some(entry) = &registry.canary {
        terminal.line("Canary: a sim with a bug, which each run must find");
        terminal.line(&format!("  {}", entry.name));
        terminal.line(&format!("  {:<12} {}", "", entry.about));
        terminal.line("");
    }
    list_profiles("Profiles", Profile::all(), terminal);
    terminal.line("");
    list_profiles("Profiles that are used only where named", Profile::variants(), terminal);
}

fn list_profiles(title: &str, profiles: &[Profile], terminal: &mut Terminal) {
    terminal.line(title);
    for profile in profiles {
        let rest = " ".repeat(20);
        let first = format!("  {:<17} ", profile.name);
        wrapped(&first, &rest, profile.promise).iter().for_each(|line| terminal.line(line));
    }
}
