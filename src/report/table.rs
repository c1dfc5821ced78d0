//! The table of a run, and the lines about its parts.

use std::fmt;

use super::event::{MuteVerdict, PartDone, Row};
use super::page::{COLUMNS, grouped};

/// The longest name with which a row fits into 80 columns; a longer name has its own line.
const NAME: usize = 20;
/// The columns that are left after the status.
const AFTER_STATUS: usize = COLUMNS - 13 - 2;

/// The table, a line each.
pub(crate) fn table(rows: &[Row<'_>]) -> Vec<String> {
    let names = rows.iter().map(|row| row.sim.len());
    let width = names.filter(|len| *len <= NAME).max().unwrap_or(0).max(12);
    let mut lines = vec![format!(
        "{:<width$} {:<11} {:>6} {:>6} {:>7} {:>10} {:>5} {:>8}",
        "sim", "profile", "points", "states", "recover", "violations", "known", "shadowed"
    )];
    let mut above = "";
    for row in rows {
        let (tally, is_long) = (&row.tally, row.sim.len() > NAME);
        if is_long && above != row.sim {
            lines.push(row.sim.to_owned());
        }
        above = row.sim;
        lines.push(format!(
            "{:<width$} {:<11} {:>6} {:>6} {:>7} {:>10} {:>5} {:>8}",
            if is_long { "" } else { row.sim },
            row.profile,
            grouped(tally.points),
            grouped(tally.states),
            grouped(tally.recoveries),
            grouped(tally.violations),
            tally.known,
            grouped(tally.shadowed),
        ));
    }
    lines
}

/// The results of a part: the text after its status, and a second line if they do not fit on one.
pub(crate) fn part(done: &PartDone<'_>) -> (String, Option<String>) {
    let tally = &done.result.tally;
    let what = format!("{} on {}", done.sim, done.profile);
    let share = match tally.faults {
        0 => format!(
            "exhaustive at {} of {} crash points",
            grouped(tally.exhaustive_points),
            grouped(tally.points)
        ),
        faults => format!("{} faults, one at a time", grouped(faults)),
    };
    match done.result.findings.len() {
        0 if what.len() + share.len() > AFTER_STATUS => (what, Some(share)),
        0 => (format!("{what}: {share}"), None),
        kinds => {
            let signatures = if kinds == 1 { "signature" } else { "signatures" };
            let violations = grouped(tally.violations);
            (format!("{what}: {violations} violations, {kinds} {signatures}"), Some(share))
        }
    }
}

impl fmt::Display for MuteVerdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed { class, states } => write!(f, "{class} ({} states)", grouped(*states)),
            Self::NotNeeded { profile } => write!(f, "not needed on {profile}"),
            Self::NotSeen { states } => {
                write!(f, "this sim cannot see it ({} states)", grouped(*states))
            }
        }
    }
}
