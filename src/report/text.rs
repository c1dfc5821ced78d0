//! A finding as text: what was lost, where the crash came, the steps, and the commands that
//! replay and keep it.

use super::page::{COLUMNS, wrapped, wrapped_within};
use crate::base::text::quote;
use crate::case::Case;
use crate::disk::relax::Relaxation;
use crate::explore::finding::{Cache, CrashScene, Finding, LostPiece, NearbyCall, Verdict};
use crate::log::Phase;
use crate::oracle::{CrashKind, ItemDiff};

/// How a failure can be seen again, and how its case came about.
#[derive(Default)]
pub(crate) struct Commands {
    /// Replays it.
    pub(crate) replay: String,
    /// Keeps it as a regression test.
    pub(crate) keep: Option<String>,
    /// What was shrunk to what.
    pub(crate) shrunk: Option<String>,
    /// Whether the verdict is that of the failure before it was shrunk.
    pub(crate) verdict_of_first: bool,
}

/// The indentation of a fact's further lines.
const REST: &str = "           ";
/// The most rows of a table that a report shows.
const ROWS: usize = 12;
/// The most steps that a report shows before the crash.
const STEPS: usize = 30;

/// The whole report, within 80 columns where the names allow it.
pub(crate) fn report(finding: &Finding, commands: &Commands) -> String {
    let mut text = described_with(finding, commands);
    command(&mut text, "  Replay   ", &commands.replay);
    if let Some(keep) = &commands.keep {
        command(&mut text, "  Keep     ", keep);
    }
    text
}

/// The report without commands: for a case that has no path yet.
pub(crate) fn described(finding: &Finding) -> String {
    described_with(finding, &Commands::default())
}

fn described_with(finding: &Finding, commands: &Commands) -> String {
    let case = &finding.case;
    let mut text = String::new();
    let headline = finding.violation.class().headline();
    let title = format!("{} on {}: {headline}", case.sim, case.profile);
    for part in wrapped("        FAIL ", "             ", &title) {
        line(&mut text, part);
    }
    line(&mut text, String::new());
    facts(&mut text, finding, commands);
    items(&mut text, &finding.violation.details);
    steps(&mut text, case);
    pieces(&mut text, &finding.pieces.losses);
    text
}

/// A command that can be pasted into a shell, in several lines if it is long.
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

fn facts(text: &mut String, finding: &Finding, commands: &Commands) {
    let case = &finding.case;
    line(text, format!("  seed     {}", case.seed));
    for part in commands.shrunk.iter().flat_map(|shrunk| wrapped("  shrunk   ", REST, shrunk)) {
        line(text, part);
    }
    for fault in &case.faults {
        line(text, format!("  fault    {}", fault.to_string().trim_start_matches("fault ")));
    }
    let crash = match &finding.crash {
        None if case.evicts => Some(CACHE_EVICTED.to_owned()),
        None => None,
        Some(scene) if case.evicts => Some(format!("{}, {CACHE_EVICTED}", crash(scene))),
        Some(scene) => Some(crash(scene)),
    };
    match crash {
        None => line(text, "  crash    none: it happens without one".to_owned()),
        Some(crash) => {
            wrapped("  crash    ", REST, &crash).into_iter().for_each(|part| line(text, part));
            let pieces = &finding.pieces;
            let lost = pieces.pending.saturating_sub(pieces.kept + pieces.torn);
            let (pending, kept, torn) = (pieces.pending, pieces.kept, pieces.torn);
            let disk = format!("{pending} pieces pending: {kept} kept, {lost} lost, {torn} torn");
            line(text, format!("  disk     {disk}"));
        }
    }
    let (class, signature) = (finding.violation.class(), &finding.violation.signature);
    line(text, format!("  class    {class}  ({signature})"));
    line(text, format!("  digest   {}", finding.digest));
    if let Some(verdict) = &finding.verdict {
        let of = if commands.verdict_of_first { "as it was found, " } else { "" };
        let parts = wrapped("  verdict  ", REST, &format!("{of}{}", self::verdict(verdict)));
        parts.into_iter().for_each(|part| line(text, part));
    }
    line(text, String::new());
    for part in finding.violation.message.lines() {
        wrapped("  ", "  ", part).into_iter().for_each(|part| line(text, part));
    }
    line(text, String::new());
}

const CACHE_EVICTED: &str = "cache evicted when a sync had failed";

/// A crash in words.
fn crash(scene: &CrashScene) -> String {
    let position = &scene.position;
    let kind = match (scene.kind, scene.cache) {
        (CrashKind::Power, _) => "power lost",
        (CrashKind::Process, Cache::Evicted) => "process died, cache evicted,",
        (CrashKind::Process, Cache::Kept) => "process died, cache kept,",
        (CrashKind::Process, Cache::Unaffected) => "process died",
    };
    let kind = match &scene.rot {
        Some(rot) => format!("{kind} and {} {},", rot.damage, rot.place()),
        None => kind.to_owned(),
    };
    let epoch = if scene.recovered { "after a recovery, " } else { "" };
    let step = match position.step {
        0 => "opening".to_owned(),
        step => format!("step {step}"),
    };
    let in_flight = matches!(scene.call, Some(NearbyCall::InFlight(_)));
    if position.returned && !in_flight {
        return format!("{kind} {epoch}when {step} had returned, at {}", scene.at);
    }
    let call = match &scene.call {
        Some(NearbyCall::InFlight(call)) => format!(", in {call}"),
        Some(NearbyCall::Next(call)) => format!(", before {call}"),
        None => String::new(),
    };
    let phase = match (position.ended, scene.phase) {
        (0, _) | (_, None | Some(Phase::ReadBack)) => "",
        (_, Some(Phase::Open)) => ", when opening had returned",
        (_, Some(Phase::Close)) => ", when closing had returned",
    };
    let effect = position.effect;
    let changes = if effect == 1 { "change" } else { "changes" };
    format!("{kind} {epoch}in {step}, {effect} {changes} into it{phase}{call}, at {}", scene.at)
}

/// A verdict in words.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    let kept: Vec<String> = verdict
        .kept
        .iter()
        .map(|kept| match kept.sampled {
            true => format!("{} (sampled)", kept.profile),
            false => kept.profile.clone(),
        })
        .collect();
    let mut text = match kept.as_slice() {
        [] => "lost on every profile".to_owned(),
        kept => format!("lost on {}; kept on {}", verdict.lost.join(", "), kept.join(", ")),
    };
    let names: Vec<&str> = verdict.decided_by.iter().copied().map(Relaxation::name).collect();
    if !names.is_empty() {
        text += &format!("; decided by {}", names.join(", "));
    }
    text
}

/// One row of the table of items.
struct ItemRow {
    item: String,
    expected: String,
    found: String,
    note: String,
}

impl ItemRow {
    fn new(diff: &ItemDiff) -> Self {
        let shown = |value: &Option<Vec<u8>>| {
            value.as_deref().map_or_else(|| "absent".to_owned(), |value| short(&quote(value)))
        };
        Self {
            item: short(&quote(&diff.item)),
            expected: shown(&diff.expected),
            found: shown(&diff.found),
            note: diff.note.clone(),
        }
    }
}

fn short(value: &str) -> String {
    shorten(value, 20)
}

fn items(text: &mut String, diffs: &[ItemDiff]) {
    if diffs.is_empty() {
        return;
    }
    line(text, "  Expected after recovery, and found:".to_owned());
    let rows: Vec<ItemRow> = diffs.iter().take(ROWS).map(ItemRow::new).collect();
    let width = |heading: &str, of: fn(&ItemRow) -> &str| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.max().unwrap_or(0).max(heading.len())
    };
    let item = width("item", |row| &row.item);
    let expected = width("expected", |row| &row.expected);
    let found = width("found", |row| &row.found);
    line(text, format!("    {:<item$}  {:<expected$}  found", "item", "expected"));
    for row in &rows {
        let ItemRow { item: name, expected: want, found: have, note } = row;
        line(text, format!("    {name:<item$}  {want:<expected$}  {have:<found$}  {note}"));
    }
    more(text, diffs.len(), ROWS, "items");
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

fn pieces(text: &mut String, losses: &[LostPiece]) {
    if losses.is_empty() {
        return;
    }
    line(text, "  The pieces that decided it:".to_owned());
    let fate = |piece: &LostPiece| match (&piece.junk, &piece.kept) {
        (Some(junk), _) => format!("torn, junk in {}..{}", junk.start, junk.end),
        (None, None) => "lost".to_owned(),
        (None, Some(kept)) => format!("torn, {}..{} kept", kept.start, kept.end),
    };
    let width = |of: &dyn Fn(&LostPiece) -> usize| losses.iter().take(ROWS).map(of).max();
    let name = width(&|piece| piece.name.chars().count()).unwrap_or(0);
    let fates = width(&|piece| fate(piece).chars().count()).unwrap_or(0);
    for piece in losses.iter().take(ROWS) {
        let source = piece.line.as_ref().map(ToString::to_string).unwrap_or_default();
        line(text, format!("    {:<name$}  {:<fates$}  {source}", piece.name, fate(piece)));
    }
    more(text, losses.len(), ROWS, "pieces");
    line(text, String::new());
}
