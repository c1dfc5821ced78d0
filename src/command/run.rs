//! The verb `run`: every sim on its profiles, the canary, one table.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use super::args::RunArgs;
use super::plan::{Planned, part, planned, profiles};
use super::save::save_or_name;
use super::terminal::{Terminal, Tone};
use super::{Exit, find, interrupt, mute};
use crate::base::seed::Seed;
use crate::campaign::client::Client;
use crate::campaign::entry::Entry;
use crate::campaign::jobs::{FAILING, Part};
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::campaign::run::{self, PartResult};
use crate::campaign::side_by_side::{Progress, side_by_side};
use crate::campaign::target;
use crate::explore::job::Kind;
use crate::explore::tally::Tally;
use crate::host::cpu;
use crate::report::event::{Canary, Event, FORMAT, PartDone, Row, Summary, Violated};
use crate::report::json::Json;
use crate::report::page::grouped;
use crate::report::table;
use crate::report::text::{Commands, report};
use crate::shrink::{Counts, Shown, is_asked_for, shown};

/// `run`.
pub(super) fn run(
    registry: &Registry,
    args: &RunArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let mut sims = Vec::new();
    for name in &args.sims {
        sims.push(*find(registry, name).map_err(Problem::Environment)?);
    }
    if sims.is_empty() {
        sims.clone_from(&registry.sims);
    }
    for sim in &sims {
        profiles(sim, args)?;
    }
    if args.mute_syncs {
        return mute::mute_syncs(registry, &sims, args, terminal);
    }
    run_sims(registry, &sims, args, terminal)
}

fn run_sims(
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let started = now();
    let shrinks = !args.no_shrink && is_asked_for()?;
    let mut client = Client::start()?;
    let mut json = Json::create(args.json.as_deref())?;
    for notice in client.notices() {
        terminal.notice(&notice);
    }
    let names: Vec<&str> = sims.iter().map(|entry| entry.name).collect();
    let (format, seed, processor) = (FORMAT, args.seed, cpu::model());
    json.write(&Event::Start { format, seed, sims: names, processor })?;
    let planned = planned(registry, sims, args, sims.len())?;
    let mut rows = Vec::new();
    let shown = RefCell::new(&mut *terminal);
    side_by_side(
        &planned,
        args.jobs(),
        Client::start,
        |client, planned, progress| run_part(client, planned, args, shrinks, progress),
        |at| shown.borrow_mut().progress(&at.what, at.done, at.all, &at.tally),
        |planned, ran| {
            rows.push(show_part(&planned.part, &ran, &mut json, &mut shown.borrow_mut())?);
            Ok(())
        },
    )?;
    if let Some(exit) = interrupt::exit() {
        cut_short(rows, planned.len(), args, &mut json, terminal)?;
        return Ok(exit);
    }
    let canary = find_canary(&mut client, registry, args.seed, &mut json, terminal)?;
    terminal.line("");
    table::table(&rows).iter().for_each(|line| terminal.line(line));
    terminal.line("");
    let exit = summary(&rows, canary.as_ref(), args, terminal, started)?;
    let found = match &canary {
        None => Canary::None,
        Some(result) if result.findings.is_empty() => Canary::Missed,
        Some(_) => Canary::Found,
    };
    json.write(&Event::Summary(Summary { seed: args.seed, sims: rows, canary: found }))?;
    Ok(exit)
}

#[expect(clippy::disallowed_methods, reason = "the time of a run is shown, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

/// Shows what was found until a signal ended the run.
fn cut_short(
    rows: Vec<Row<'static>>,
    parts: usize,
    args: &RunArgs,
    json: &mut Json,
    terminal: &mut Terminal,
) -> Result<(), Problem> {
    terminal.clear_progress();
    terminal.line("");
    table::table(&rows).iter().for_each(|line| terminal.line(line));
    terminal.line("");
    let mut all = Tally::default();
    rows.iter().for_each(|row| all.add(&row.tally));
    let text = format!(
        "seed {}, ended by a signal: {} of {parts} parts begun, {} states, {} violations",
        args.seed,
        rows.len(),
        grouped(all.states),
        grouped(all.violations)
    );
    let tone = if all.violations > 0 { Tone::Bad } else { Tone::Odd };
    terminal.status(tone, "Interrupted", &text);
    let path = target::write("report.txt", &terminal.transcript)?;
    terminal.status(Tone::Plain, "Report", &path.display().to_string());
    json.write(&Event::Summary(Summary { seed: args.seed, sims: rows, canary: Canary::None }))
}

/// A way to run a part.
type RunPart = fn(
    &mut Client,
    &Part,
    Seed,
    &[Kind],
    &mut dyn FnMut(u64, &Tally),
) -> Result<PartResult, Problem>;

/// The results of a part, and its findings as they are shown.
struct Replayed {
    result: PartResult,
    shown: Vec<Shown>,
}

fn run_part(
    client: &mut Client,
    planned: &Planned,
    args: &RunArgs,
    shrinks: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Replayed, Problem> {
    let Planned { part, known } = planned;
    let what = part.title();
    let (run, all): (RunPart, _) = match args.fail_calls {
        true => (run::fail_calls, FAILING.len() as u64),
        false => (run::run, part.workloads),
    };
    let mut result = run(client, part, args.seed, known, &mut |done, tally| {
        progress(Progress { what: what.clone(), done, all, tally: *tally });
    })?;
    let mut all_shown = Vec::new();
    for finding in &mut result.findings {
        if result.interrupted {
            all_shown.push(Shown::unreplayed(finding.clone()));
            continue;
        }
        let tally = result.tally;
        let mut better = |counts: &Counts| {
            let what = format!("{what}: shrinking, {counts}");
            progress(Progress { what, done: all, all, tally });
        };
        let shown = shown(client, &part.entry, finding.clone(), shrinks, &mut better)?;
        finding.clone_from(&shown.finding);
        all_shown.push(shown);
    }
    Ok(Replayed { result, shown: all_shown })
}

/// Prints and saves the results of a part.
fn show_part(
    part: &Part,
    ran: &Replayed,
    json: &mut Json,
    terminal: &mut Terminal,
) -> Result<Row<'static>, Problem> {
    let Replayed { result, shown } = ran;
    terminal.clear_progress();
    for notice in &result.notices {
        terminal.notice(&format!("{}: {notice}", part.entry.name));
    }
    let done = PartDone::new(part, result);
    show_status(&done, terminal);
    json.write(&Event::Part(done))?;
    for shown in shown {
        let (path, written) = save_or_name(&shown.finding);
        if let Some(notice) = &shown.notice {
            terminal.notice(&format!("{}: {notice}", path.display()));
        }
        let violated = Violated::new(part, shown, path.display().to_string());
        show_finding(&violated, &path, terminal);
        if let Err(problem) = written {
            terminal.notice(&format!("this case could not be written: {problem}"));
            shown.finding.case.to_string().lines().for_each(|line| terminal.line(line));
        }
        if let Some(first) = &shown.first {
            let path = save_or_name(first).0;
            terminal.notice(&format!(
                "the smaller case loses what another line wrote; as it was found: {}",
                path.display()
            ));
        }
        json.write(&Event::Violation(violated))?;
    }
    Ok(Row { sim: part.entry.name, profile: part.profile.clone(), tally: result.tally })
}

fn show_finding(violated: &Violated<'_>, path: &Path, terminal: &mut Terminal) {
    let (path, sim) = (path.display(), violated.sim);
    let commands = Commands {
        replay: format!("crashpoint replay {path}"),
        keep: Some(format!("mv {path} corpus/{sim}/{}.case", violated.class)),
        shrunk: violated.shrunk.map(str::to_owned),
        verdict_of_first: violated.verdict_of_first,
    };
    terminal.block(Tone::Bad, &report(violated.finding, &commands));
}

fn show_status(done: &PartDone<'_>, terminal: &mut Terminal) {
    let (tone, word) = match (done.result.findings.is_empty(), done.result.tally.shadowed > 0) {
        (false, _) => (Tone::Bad, "FAIL"),
        (true, true) => (Tone::Odd, "KNOWN"),
        (true, false) => (Tone::Good, "PASS"),
    };
    let (text, below) = table::part(done);
    terminal.status(tone, word, &text);
    if let Some(below) = below {
        terminal.line(&format!("{:>12} {below}", ""));
    }
}

/// Runs the canary until its bug is found.
fn find_canary(
    client: &mut Client,
    registry: &Registry,
    seed: Seed,
    json: &mut Json,
    terminal: &mut Terminal,
) -> Result<Option<PartResult>, Problem> {
    let Some(entry) = registry.canary else { return Ok(None) };
    let mut part = part(entry, "posix".to_owned(), 1);
    part.budget.stop = true;
    part.budget.verdict = 0;
    let result = run::run(client, &part, seed, &[], &mut |done, tally| {
        terminal.progress("the canary", done, part.workloads, tally);
    })?;
    terminal.clear_progress();
    let (found, states) = (!result.findings.is_empty(), result.tally.states);
    json.write(&Event::Canary { found, states })?;
    Ok(Some(result))
}

fn summary(
    rows: &[Row<'_>],
    canary: Option<&PartResult>,
    args: &RunArgs,
    terminal: &mut Terminal,
    started: Instant,
) -> Result<Exit, Problem> {
    let first = canary.and_then(|result| result.findings.first());
    match (canary, first) {
        (Some(result), Some(finding)) => {
            let (class, states) = (finding.violation.class(), grouped(result.tally.states));
            terminal.status(Tone::Good, "Canary", &format!("found: {class} after {states} states"));
        }
        (Some(_), None) => {
            let text = "NOT FOUND: a planted bug went unseen, so trust nothing above";
            terminal.status(Tone::Bad, "Canary", text);
        }
        (None, _) => {}
    }
    let found = canary.is_none() || first.is_some();
    let mut all = Tally::default();
    rows.iter().for_each(|row| all.add(&row.tally));
    let seconds = now().duration_since(started).as_secs_f64();
    let text = format!(
        "seed {}, {} states, {} violations, digest {}, {seconds:.0} s",
        args.seed,
        grouped(all.states),
        grouped(all.violations),
        all.digest
    );
    if all.unchecked > 0 {
        let text = format!("{} states could not be compared", grouped(all.unchecked));
        terminal.status(Tone::Odd, "Unchecked", &text);
    }
    let bad = all.violations > 0 || !found;
    terminal.status(if bad { Tone::Bad } else { Tone::Good }, "Summary", &text);
    match target::write("report.txt", &terminal.transcript) {
        Ok(path) => terminal.status(Tone::Plain, "Report", &path.display().to_string()),
        // What was found has been shown, and decides the exit code.
        Err(problem) => terminal.notice(&format!("the report could not be written: {problem}")),
    }
    Ok(if bad { Exit::Violation } else { Exit::Clean })
}
