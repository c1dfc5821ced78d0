//! A failure as text: what was lost, where the power went, the steps, and the commands that
//! show it again.

use std::fmt::Write;

use crate::case::Case;
use crate::command::out::{COLUMNS, wrapped, wrapped_within};
use crate::explore::protocol::{Failure, ItemRow, PieceRow};

/// How a failure can be seen again.
pub(crate) struct Commands {
    /// Replays it.
    pub(crate) replay: String,
    /// Keeps it as a regression test.
    pub(crate) keep: Option<String>,
}

/// What goes on a line below its fact.
const REST: &str = "           ";
/// The most rows of a table that a report shows.
const ROWS: usize = 12;
/// The most steps that a report shows before the crash.
const STEPS: usize = 30;

/// The whole report, under 80 columns where the names allow it.
pub(crate) fn report(failure: &Failure, commands: &Commands) -> String {
    let case = Case::parse(&failure.case).ok();
    let mut text = String::new();
    let sim = case.as_ref().map_or("", |case| case.sim.as_str());
    let profile = case.as_ref().map_or("", |case| case.profile.as_str());
    let title = format!("{sim} on {profile}: {}", failure.headline);
    for part in wrapped("        FAIL ", "             ", &title) {
        line(&mut text, part);
    }
    line(&mut text, String::new());
    facts(&mut text, failure, case.as_ref());
    items(&mut text, &failure.items);
    if let Some(case) = &case {
        steps(&mut text, case);
    }
    pieces(&mut text, &failure.pieces);
    command(&mut text, "  Replay   ", &commands.replay);
    if let Some(keep) = &commands.keep {
        command(&mut text, "  Keep     ", keep);
    }
    text
}

/// A command that a shell takes as it stands, in several lines if it is long.
fn command(text: &mut String, heading: &str, command: &str) {
    let lines = wrapped_within(COLUMNS - " \\".len(), heading, REST, command);
    for (index, part) in lines.iter().enumerate() {
        let end = if index + 1 < lines.len() { " \\" } else { "" };
        line(text, format!("{part}{end}"));
    }
}

fn line(text: &mut String, line: String) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn facts(text: &mut String, failure: &Failure, case: Option<&Case>) {
    if let Some(case) = case {
        line(text, format!("  seed     {}", case.seed));
        for fault in &case.faults {
            line(text, format!("  fault    {}", fault.to_string().trim_start_matches("fault ")));
        }
    }
    if failure.point.is_empty() {
        line(text, "  crash    none: it happens without one".to_owned());
    } else {
        let parts = wrapped("  crash    ", REST, &failure.point);
        parts.into_iter().for_each(|part| line(text, part));
        let [pending, kept, torn] = failure.counts;
        let lost = pending.saturating_sub(kept + torn);
        line(
            text,
            format!("  disk     {pending} pieces pending: {kept} kept, {lost} lost, {torn} torn"),
        );
    }
    line(text, format!("  class    {}  ({})", failure.class, failure.signature));
    line(text, format!("  digest   {}", failure.digest));
    if !failure.verdict.is_empty() {
        let parts = wrapped("  verdict  ", REST, &failure.verdict);
        parts.into_iter().for_each(|part| line(text, part));
    }
    line(text, String::new());
    for part in failure.message.lines() {
        wrapped("  ", "  ", part).into_iter().for_each(|part| line(text, part));
    }
    line(text, String::new());
}

fn items(text: &mut String, items: &[ItemRow]) {
    if items.is_empty() {
        return;
    }
    line(text, "  Expected after recovery, and found:".to_owned());
    let short = |value: &str| shorten(value, 20);
    let width = |heading: &str, of: fn(&ItemRow) -> &str| {
        items
            .iter()
            .take(ROWS)
            .map(|row| short(of(row)).chars().count())
            .max()
            .unwrap_or(0)
            .max(heading.len())
    };
    let item = width("item", |row| &row.item);
    let expected = width("expected", |row| &row.expected);
    let found = width("found", |row| &row.found);
    line(text, format!("    {:<item$}  {:<expected$}  found", "item", "expected"));
    for row in items.iter().take(ROWS) {
        let (name, want, have) = (short(&row.item), short(&row.expected), short(&row.found));
        line(text, format!("    {name:<item$}  {want:<expected$}  {have:<found$}  {}", row.note));
    }
    more(text, items.len(), ROWS, "items");
    line(text, String::new());
}

fn more(text: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        line(text, format!("    ... and {} more {what}", all - shown));
    }
}

/// Cuts the middle out of a long word.
fn shorten(value: &str, width: usize) -> String {
    let chars: Vec<char> = value.chars().collect();
    if chars.len() <= width {
        return value.to_owned();
    }
    let head: String = chars[..width - 8].iter().collect();
    let tail: String = chars[chars.len() - 5..].iter().collect();
    format!("{head}...{tail}")
}

fn steps(text: &mut String, case: &Case) {
    for (number, epoch) in case.epochs.iter().enumerate() {
        let heading = match (number, &epoch.crash) {
            (0, None) => "  Steps:",
            (0, Some(_)) => "  Steps up to the crash:",
            (_, None) => "  Recovery, and then:",
            (_, Some(_)) => "  Recovery, and then up to the next crash:",
        };
        if number > 0 && epoch.steps.is_empty() && epoch.crash.is_none() {
            continue;
        }
        line(text, heading.to_owned());
        let skipped = epoch.steps.len().saturating_sub(STEPS);
        if skipped > 0 {
            line(text, format!("       ({skipped} steps before these are in the case)"));
        }
        for (index, step) in epoch.steps.iter().enumerate().skip(skipped) {
            line(text, format!("  {:>4}  {}", index + 1, shorten(&step.to_string(), 70)));
        }
        if let Some(crash) = &epoch.crash {
            line(text, format!("        {crash}"));
        }
    }
    line(text, String::new());
}

fn pieces(text: &mut String, pieces: &[PieceRow]) {
    if pieces.is_empty() {
        return;
    }
    line(text, "  The pieces that decided it:".to_owned());
    let width = |of: fn(&PieceRow) -> &str| {
        pieces.iter().take(ROWS).map(|row| of(row).chars().count()).max().unwrap_or(0)
    };
    let (what, fate) = (width(|row| &row.what), width(|row| &row.fate));
    for row in pieces.iter().take(ROWS) {
        let site = row.site.as_deref().unwrap_or_default();
        let mut row_text = String::new();
        let _ = write!(row_text, "    {:<what$}  {:<fate$}  {site}", row.what, row.fate);
        line(text, row_text);
    }
    more(text, pieces.len(), ROWS, "pieces");
    line(text, String::new());
}
