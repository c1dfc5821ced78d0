//! The verb `replay`: a case file, or the workload of a sim and a seed.

use std::path::{Path, PathBuf};

use super::args::ReplayArgs;
use super::plan::part;
use super::save::save;
use super::terminal::{Terminal, Tone};
use super::{Exit, find};
use crate::base::seed::Seed;
use crate::campaign::client::{Client, JobResult};
use crate::campaign::corpus::{SavedCase, read_case};
use crate::campaign::entry::Entry;
use crate::campaign::jobs::Part;
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::campaign::replay::{self, ReplayOptions, as_expected};
use crate::case::Expect;
use crate::report::page::grouped;
use crate::report::text::{Commands, report};
use crate::report::trace::trace;

/// `replay`.
pub(super) fn replay(
    registry: &Registry,
    args: &ReplayArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    if let Some(seed) = args.seed {
        let entry = *find(registry, &args.what).map_err(Problem::Environment)?;
        entry.profile(&args.profile).map_err(Problem::environment)?;
        return replay_seed(entry, seed, args, terminal);
    }
    let path = PathBuf::from(&args.what);
    if registry.find(&args.what).is_some() && !path.exists() {
        let why = format!("`replay {}` needs the seed of a workload, or a case file", args.what);
        return Err(Problem::Environment(why));
    }
    let saved = read_case(&path)?;
    let entry = entry_of(registry, &saved)?;
    let keep = args.keep.as_ref().map(std::path::absolute).transpose();
    let keep = keep.map_err(|error| Problem::Environment(format!("--keep: {error}")))?;
    let options = ReplayOptions { trace: args.trace, debug: args.debug, keep };
    replay_case(&entry, &saved, options, terminal)
}

/// The sim of a case, if it knows the profile.
pub(super) fn entry_of(registry: &Registry, saved: &SavedCase) -> Result<Entry, Problem> {
    let wrong =
        |line: usize, why: &dyn std::fmt::Display| saved.wrong(format!("line {line}: {why}"));
    let (case, lines) = (&saved.case, &saved.lines);
    let entry = *find(registry, &case.sim).map_err(|why| wrong(lines.sim, &why))?;
    entry.profile(&case.profile).map_err(|why| wrong(lines.profile, &why))?;
    Ok(entry)
}

fn replay_case(
    entry: &Entry,
    saved: &SavedCase,
    options: ReplayOptions,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let SavedCase { path, case, .. } = saved;
    let mut client = Client::start()?;
    let result = replay::replay(&mut client, entry, case, options)
        .map_err(|problem| saved.locate(problem))?;
    for line in result.recordings.iter().flat_map(trace) {
        terminal.line(&line);
    }
    for notice in &result.notices {
        terminal.notice(notice);
    }
    show_findings(path, &result, terminal);
    let exit = match as_expected(case, &result) {
        Ok(()) if matches!(case.expect, Expect::Pass) => {
            terminal.status(Tone::Good, "PASS", &format!("{}: no violation", path.display()));
            Exit::Clean
        }
        Ok(()) => {
            let text = format!("{}: {}, as the case expects", path.display(), case.expect);
            terminal.status(Tone::Odd, "Reproduced", &text);
            Exit::Violation
        }
        Err(surprise) => {
            terminal.status(Tone::Bad, "Surprise", &format!("{}: {surprise}", path.display()));
            Exit::Violation
        }
    };
    terminal.status(Tone::Plain, "Digest", &result.tally.digest.to_string());
    Ok(exit)
}

fn show_findings(path: &Path, result: &JobResult, terminal: &mut Terminal) {
    for finding in &result.findings {
        let replay = format!("crashpoint replay {}", path.display());
        terminal.block(Tone::Bad, &report(finding, &Commands { replay, ..Commands::default() }));
    }
}

/// `replay SIM SEED`: the workload of a seed, explored as `run` explores it.
fn replay_seed(
    entry: Entry,
    seed: Seed,
    args: &ReplayArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    if args.trace || args.debug || args.keep.is_some() {
        let why = "--trace, --keep and --debug need a case file, which names one crash";
        return Err(Problem::environment(why));
    }
    let mut client = Client::start()?;
    let part = Part { workloads: 1, ..part(entry, args.profile.clone(), 1) };
    let mut result = client.run(&entry, &part.job_for(seed), &mut |tally| {
        terminal.progress(entry.name, 0, 1, tally);
    })?;
    terminal.clear_progress();
    for finding in &mut result.findings {
        let path = save(finding)?;
        if let Some(notice) = replay::name_lines(&mut client, &entry, finding)? {
            terminal.notice(&format!("{}: {notice}", path.display()));
        }
        let replay = format!("crashpoint replay {}", path.display());
        terminal.block(Tone::Bad, &report(finding, &Commands { replay, ..Commands::default() }));
    }
    let tally = &result.tally;
    let text = format!(
        "{}, seed {seed}: {} states, {} violations, digest {}",
        part.title(),
        grouped(tally.states),
        grouped(tally.violations),
        tally.digest
    );
    let bad = !result.findings.is_empty();
    let (tone, word) = if bad { (Tone::Bad, "FAIL") } else { (Tone::Good, "PASS") };
    terminal.status(tone, word, &text);
    Ok(if bad { Exit::Violation } else { Exit::Clean })
}
