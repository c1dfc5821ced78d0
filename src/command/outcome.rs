//! The outcome of a campaign: its files, and what the terminal shows of it.

use std::collections::BTreeMap;
use std::path::Path;

use super::Exit;
use super::terminal::{Terminal, Tone};
use crate::campaign::problem::Problem;
use crate::explore::tally::Tally;
use crate::nightly::cell::{Counts, Group};
use crate::nightly::estimate::Estimate;
use crate::nightly::findings;
use crate::nightly::page::page;
use crate::nightly::replace::write;
use crate::nightly::summary::summary;
use crate::nightly::total::Total;
use crate::nightly::universe::Universe;
use crate::report::event::Row;
use crate::report::page::{COLUMNS, grouped, wrapped_within};
use crate::report::table;

/// The file of the summary.
const SUMMARY: &str = "summary.json";
/// The file of the report.
const REPORT: &str = "report.html";

/// The columns after the status.
const WIDTH: usize = COLUMNS - 13;

/// Writes everything that follows from the ledger.
///
/// # Errors
/// The system refuses.
pub(super) fn write_all(folder: &Path, total: &Total, universe: &Universe) -> Result<(), Problem> {
    findings::save(folder, total)?;
    write(&folder.join(REPORT), &page(total, universe))?;
    write(&folder.join(SUMMARY), &summary(total, universe))
}

/// Shows a campaign; returns the exit code.
pub(super) fn finish(
    folder: &Path,
    total: &Total,
    universe: &Universe,
    require_all: bool,
    terminal: &mut Terminal,
) -> Exit {
    let mut rows = Vec::new();
    for ((sim, profile), counts) in &total.rows {
        rows.push(Row { sim, profile: profile.clone(), tally: tally(counts) });
    }
    terminal.line("");
    table::table(&rows).iter().for_each(|line| terminal.line(line));
    terminal.line("");
    for ((sim, kind), found) in &total.findings {
        let (signature, cells) = (&kind.signature, cells(found.cells));
        let path = folder.join(findings::path(sim, kind));
        show(terminal, Tone::Bad, "Finding", &format!("{sim}: {signature}, in {cells}"));
        // In one line, to be pasted.
        terminal.line(&format!("{:>12} crashpoint replay {}", "", path.display()));
    }
    for ((sim, why), times) in &total.refused {
        let text = format!("{sim}, {}: {why}", cells(*times));
        show(terminal, Tone::Bad, "Refused", &text);
    }
    for cell in total.differing.keys() {
        show(terminal, Tone::Bad, "Differs", &format!("{cell}: the ledger has both outcomes"));
    }
    let missing = activation(total, universe, terminal);
    left(total, terminal);
    let counts = total.counts();
    if counts.unchecked > 0 {
        let text = format!("{} states could not be compared", grouped(counts.unchecked));
        show(terminal, Tone::Odd, "Unchecked", &text);
    }
    let exit = exit(total, missing && require_all);
    let text = format!(
        "{}: {} cells, {} states, {} violations, {} signatures",
        total.header.campaign.name,
        grouped(counts.cells),
        grouped(counts.states),
        grouped(counts.violations),
        total.findings.len()
    );
    let tone = if exit == Exit::Clean { Tone::Good } else { Tone::Bad };
    show(terminal, tone, "Summary", &text);
    terminal.status(Tone::Plain, "Report", &folder.join(REPORT).display().to_string());
    exit
}

/// A number of cells.
fn cells(number: u64) -> String {
    format!("{} {}", grouped(number), if number == 1 { "cell" } else { "cells" })
}

/// What an outcome means: a harness that cannot be trusted comes first.
fn exit(total: &Total, missing: bool) -> Exit {
    if !total.differing.is_empty() {
        Exit::NotDeterministic
    } else if !total.findings.is_empty() || missing {
        Exit::Violation
    } else if !total.refused.is_empty() {
        Exit::Usage
    } else {
        Exit::Clean
    }
}

/// Shows how much came up, and what never did; returns whether there is such a thing.
fn activation(total: &Total, universe: &Universe, terminal: &mut Terminal) -> bool {
    let mut groups: BTreeMap<Group, (usize, usize)> = BTreeMap::new();
    for ((group, _), times) in universe.table(total) {
        let (seen, all) = groups.entry(*group).or_default();
        *seen += usize::from(times > 0);
        *all += 1;
    }
    let parts: Vec<String> = groups
        .iter()
        .map(|(group, (seen, all))| format!("{seen} of {all} {}", group.name()))
        .collect();
    show(terminal, Tone::Plain, "Activated", &parts.join(", "));
    let mut never: BTreeMap<Group, Vec<&str>> = BTreeMap::new();
    for (group, name) in universe.missing(total) {
        never.entry(*group).or_default().push(name);
    }
    for (group, names) in &never {
        let text = format!("{}: {}", group.name(), names.join(", "));
        show(terminal, Tone::Odd, "Never", &text);
    }
    !never.is_empty()
}

/// Shows what is left to find.
fn left(total: &Total, terminal: &mut Terminal) {
    for estimate in Estimate::all(total) {
        let text = format!(
            "{} of workloads would show new {} (an estimate from {}: {} seen, {} of them once)",
            estimate.words(),
            estimate.species.name(),
            grouped(estimate.workloads),
            grouped(estimate.seen),
            grouped(estimate.once)
        );
        show(terminal, Tone::Plain, "Left", &text);
    }
}

/// A line with a status, in several if it is long.
fn show(terminal: &mut Terminal, tone: Tone, word: &str, text: &str) {
    for (number, line) in wrapped_within(WIDTH, "", "", text).iter().enumerate() {
        if number == 0 {
            terminal.status(tone, word, line);
        } else {
            terminal.line(&format!("{:>12} {line}", ""));
        }
    }
}

/// Counts as the table of a run shows them.
fn tally(counts: &Counts) -> Tally {
    Tally {
        points: counts.points,
        exhaustive_points: counts.exhaustive_points,
        states: counts.states,
        recoveries: counts.recoveries,
        violations: counts.violations,
        shadowed: counts.shadowed,
        ..Tally::default()
    }
}
