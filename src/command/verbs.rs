//! What the verbs of the command do and print.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::base::seed::Seed;
use crate::campaign::client::{Answer, Client, Problem};
use crate::campaign::parts::{self, Progress};
use crate::campaign::registry::Entry;
use crate::campaign::run::{self, Part, ReplayOptions, Saved, Site, Verdict};
use crate::campaign::target;
use crate::case::Expect;
use crate::command::out::{Tone, grouped, wrapped};
use crate::command::{Exit, Registry, ReplayArgs, RunArgs};
use crate::disk::profile::Profile;
use crate::explore::protocol::{Budget, Failure, Tally};
use crate::oracle::{self, FaultKind};
use crate::report::text::{Commands, report};

pub(crate) use crate::command::out::Out;

/// What `run` does with a sim on one profile, when so many sims share its time.
fn part(entry: Entry, profile: String, sharing: usize) -> Part {
    let budget = Budget::of_run(entry.recoveries);
    let workloads = (entry.workloads / (sharing.max(1) as u64)).max(1);
    Part { entry, profile, workloads, budget }
}

/// Events for machines: one JSON object a line, if a file was named.
struct Json {
    file: Option<std::fs::File>,
}

impl Json {
    fn create(path: Option<&Path>) -> Result<Self, Problem> {
        let create = |path: &Path| {
            std::fs::File::create(path).map_err(|error| {
                Problem::Environment(format!("--json {}: {error}", path.display()))
            })
        };
        Ok(Self { file: path.map(create).transpose()? })
    }

    fn write(&mut self, event: &serde_json::Value) -> Result<(), Problem> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{event}").map_err(|error| Problem::Environment(format!("--json: {error}")))
    }
}

/// One row of the table.
struct Row {
    sim: &'static str,
    profile: String,
    tally: Tally,
    failures: Vec<Failure>,
}

/// `run`: every sim on its profiles, the canary, one table.
pub(crate) fn run(
    client: &mut Client,
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    out: &mut Out,
) -> Result<Exit, Problem> {
    let started = now();
    let mut json = Json::create(args.json.as_deref())?;
    for notice in client.notices() {
        out.notice(&notice);
    }
    let names: Vec<&str> = sims.iter().map(|entry| entry.name).collect();
    json.write(&json!({ "event": "start", "seed": args.seed.to_string(), "sims": names }))?;
    let planned = planned(registry, sims, args, sims.len())?;
    let mut rows = Vec::new();
    let shown = RefCell::new(&mut *out);
    parts::side_by_side(
        &planned,
        args.jobs(),
        Client::start,
        |client, planned, progress| run_part(client, planned, args, progress),
        |at| shown.borrow_mut().progress(&at.what, at.done, at.all, &at.tally),
        |planned, ran| {
            rows.push(show_part(&planned.part, ran, &mut json, &mut shown.borrow_mut())?);
            Ok(())
        },
    )?;
    let canary = find_canary(client, registry, args.seed, &mut json, out)?;
    table(&rows, out);
    summary(&rows, canary.as_ref(), args, &mut json, out, started)
}

fn profiles(entry: &Entry, args: &RunArgs) -> Result<Vec<String>, Problem> {
    Ok(match &args.profile {
        Some(name) => {
            entry.profile(name).map_err(Problem::Environment)?;
            vec![name.clone()]
        }
        None => entry.profiles.iter().map(|profile| profile.name.to_owned()).collect(),
    })
}

#[expect(clippy::disallowed_methods, reason = "how long a run took is shown, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

/// A part, and what is known about its sim: class and signature.
struct Planned {
    part: Part,
    known: Vec<(String, String)>,
}

/// The parts of a run in the order of its table, when so many sims share its time.
fn planned(
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    sharing: usize,
) -> Result<Vec<Planned>, Problem> {
    let mut planned = Vec::new();
    for entry in sims {
        let known = run::known(&run::corpus(&registry.corpus, entry.name)?);
        for profile in profiles(entry, args)? {
            planned.push(Planned { part: part(*entry, profile, sharing), known: known.clone() });
        }
    }
    Ok(planned)
}

/// What is done with a part.
type Runs = fn(
    &mut Client,
    &Part,
    Seed,
    &[(String, String)],
    &mut dyn FnMut(u64, &Tally),
) -> Result<Verdict, Problem>;

/// What came of a part, and what replaying its failures told.
struct Ran {
    verdict: Verdict,
    /// A line for each failure that replays differently, with its place among them.
    differing: Vec<(usize, String)>,
}

fn run_part(
    client: &mut Client,
    planned: &Planned,
    args: &RunArgs,
    progress: &mut dyn FnMut(Progress),
) -> Result<Ran, Problem> {
    let Planned { part, known } = planned;
    let what = format!("{} on {}", part.entry.name, part.profile);
    let (run, all): (Runs, _) = match args.fail_calls {
        true => (run::fail_calls, run::FAILING.len() as u64),
        false => (run::run, part.workloads),
    };
    let mut verdict = run(client, part, args.seed, known, &mut |done, tally| {
        progress(Progress { what: what.clone(), done, all, tally: *tally });
    })?;
    let mut differing = Vec::new();
    for (number, failure) in verdict.failures.iter_mut().enumerate() {
        let notice = run::name_sites(client, &part.entry, failure)?;
        differing.extend(notice.map(|notice| (number, notice)));
    }
    Ok(Ran { verdict, differing })
}

/// Prints and saves what came of a part.
fn show_part(part: &Part, ran: Ran, json: &mut Json, out: &mut Out) -> Result<Row, Problem> {
    let Ran { verdict, differing } = ran;
    out.clear_progress();
    for notice in &verdict.notices {
        out.notice(&format!("{}: {notice}", part.entry.name));
    }
    show_verdict(part, &verdict, out);
    json.write(&json!({
        "event": "part", "sim": part.entry.name, "profile": part.profile,
        "workloads": verdict.workloads, "points": verdict.tally.points,
        "states": verdict.tally.states, "violations": verdict.tally.violations,
        "faults": verdict.tally.faults,
    }))?;
    for (number, failure) in verdict.failures.iter().enumerate() {
        let path = save(part.entry.name, failure)?;
        for (_, notice) in differing.iter().filter(|(which, _)| *which == number) {
            out.notice(&format!("{}: {notice}", path.display()));
        }
        show_failure(part, failure, &path, json, out)?;
    }
    let Verdict { tally, failures, .. } = verdict;
    Ok(Row { sim: part.entry.name, profile: part.profile.clone(), tally, failures })
}

fn show_failure(
    part: &Part,
    failure: &Failure,
    path: &Path,
    json: &mut Json,
    out: &mut Out,
) -> Result<(), Problem> {
    let (path, sim) = (path.display(), part.entry.name);
    let commands = Commands {
        replay: format!("crashpoint replay {path}"),
        keep: Some(format!("mv {path} corpus/{sim}/{}.case", failure.class)),
    };
    out.block(Tone::Bad, &report(failure, &commands));
    json.write(&json!({
        "event": "violation", "sim": sim, "profile": part.profile,
        "class": failure.class, "signature": failure.signature, "message": failure.message,
        "case": path.to_string(),
    }))
}

/// A part and what was explored of it fit into 80 columns, behind the status.
const FITS: usize = 80 - 13 - 2;

fn show_verdict(part: &Part, verdict: &Verdict, out: &mut Out) {
    let tally = &verdict.tally;
    let (tone, word) = match (verdict.failures.is_empty(), tally.shadowed > 0) {
        (false, _) => (Tone::Bad, "FAIL"),
        (true, true) => (Tone::Odd, "KNOWN"),
        (true, false) => (Tone::Good, "PASS"),
    };
    let what = format!("{} on {}", part.entry.name, part.profile);
    let share = match tally.faults {
        0 => format!(
            "exhaustive at {} of {} crash points",
            grouped(tally.exhaustive_points),
            grouped(tally.points)
        ),
        faults => format!("{} faults, one at a time", grouped(faults)),
    };
    match verdict.failures.len() {
        0 if what.len() + share.len() > FITS => {
            out.status(tone, word, &what);
            out.line(&format!("{:>12} {share}", ""));
        }
        0 => out.status(tone, word, &format!("{what}: {share}")),
        kinds => {
            let signatures = if kinds == 1 { "signature" } else { "signatures" };
            let violations = grouped(tally.violations);
            let text = format!("{what}: {violations} violations, {kinds} {signatures}");
            out.status(tone, word, &text);
            out.line(&format!("{:>12} {share}", ""));
        }
    }
}

/// Saves the case of a failure; returns where.
fn save(sim: &str, failure: &Failure) -> Result<PathBuf, Problem> {
    let name = format!("{sim}-{}-{}.case", failure.class, failure.digest);
    target::write(&name, &failure.case)
}

/// Runs the canary until it is found.
fn find_canary(
    client: &mut Client,
    registry: &Registry,
    seed: Seed,
    json: &mut Json,
    out: &mut Out,
) -> Result<Option<Row>, Problem> {
    let Some(entry) = registry.canary else { return Ok(None) };
    let mut part = part(entry, "posix".to_owned(), 1);
    part.budget.stop = true;
    part.budget.verdict = 0;
    let verdict = run::run(client, &part, seed, &[], &mut |done, tally| {
        out.progress("the canary", done, part.workloads, tally);
    })?;
    out.clear_progress();
    let event = json!({
        "event": "canary", "found": !verdict.failures.is_empty(), "states": verdict.tally.states,
    });
    json.write(&event)?;
    let Verdict { tally, failures, .. } = verdict;
    Ok(Some(Row { sim: entry.name, profile: part.profile, tally, failures }))
}

/// With names up to this long a row of the table fits into 80 columns; a longer one stands above
/// its rows.
const NAME: usize = 20;

fn table(rows: &[Row], out: &mut Out) {
    out.line("");
    let names = rows.iter().map(|row| row.sim.len());
    let width = names.filter(|len| *len <= NAME).max().unwrap_or(0).max(12);
    out.line(&format!(
        "{:<width$} {:<11} {:>6} {:>6} {:>7} {:>10} {:>5} {:>8}",
        "sim", "profile", "points", "states", "recover", "violations", "known", "shadowed"
    ));
    let mut above = "";
    for row in rows {
        let (tally, is_long) = (&row.tally, row.sim.len() > NAME);
        if is_long && above != row.sim {
            out.line(row.sim);
        }
        above = row.sim;
        out.line(&format!(
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
    out.line("");
}

fn summary(
    rows: &[Row],
    canary: Option<&Row>,
    args: &RunArgs,
    json: &mut Json,
    out: &mut Out,
    started: Instant,
) -> Result<Exit, Problem> {
    let found = canary.is_none_or(|row| !row.failures.is_empty());
    match canary {
        Some(row) if found => {
            let class = row.failures.first().map_or("", |failure| failure.class.as_str());
            let text = format!("found: {class} after {} states", grouped(row.tally.states));
            out.status(Tone::Good, "Canary", &text);
        }
        Some(_) => {
            let text = "NOT FOUND: a planted bug went unseen, so trust nothing above";
            out.status(Tone::Bad, "Canary", text);
        }
        None => {}
    }
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
        out.status(Tone::Odd, "Unchecked", &text);
    }
    let bad = all.violations > 0 || !found;
    out.status(if bad { Tone::Bad } else { Tone::Good }, "Summary", &text);
    let path = target::write("report.txt", &out.transcript)?;
    out.status(Tone::Plain, "Report", &path.display().to_string());
    json.write(&summary_event(rows, args.seed, canary.map(|_| found)))?;
    Ok(if bad { Exit::Violation } else { Exit::Clean })
}

fn summary_event(rows: &[Row], seed: Seed, canary: Option<bool>) -> serde_json::Value {
    let sims: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            let tally = &row.tally;
            json!({
                "sim": row.sim, "profile": row.profile, "crash_points": tally.points,
                "exhaustive_points": tally.exhaustive_points, "states": tally.states,
                "recoveries": tally.recoveries, "violations": tally.violations,
                "known": tally.known, "shadowed": tally.shadowed,
                "unchecked": tally.unchecked,
                "digest": tally.digest.to_string(), "seconds": tally.seconds,
            })
        })
        .collect();
    let canary = match canary {
        Some(true) => "found",
        Some(false) => "missed",
        None => "none",
    };
    json!({ "event": "summary", "seed": seed.to_string(), "sims": sims, "canary": canary })
}

/// A sync call site of a part, to be muted.
struct Muted<'a> {
    planned: &'a Planned,
    site: Site,
    /// With the first of a part: how many there are.
    first_of: Option<usize>,
}

/// `run --mute-syncs`: a table of sync call sites and what each one is for. First all workloads are
/// recorded to find the sites; then each site is muted by whichever worker is free.
pub(crate) fn mute_syncs(
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    out: &mut Out,
) -> Result<Exit, Problem> {
    let mut json = Json::create(args.json.as_deref())?;
    // A site that matters is found soon; of one that seems not to, much is to be seen.
    let planned = planned(registry, sims, args, 1)?;
    let shown = RefCell::new(&mut *out);
    let progress = |at: Progress| shown.borrow_mut().progress(&at.what, at.done, at.all, &at.tally);
    let mut muted = Vec::new();
    parts::side_by_side(
        &planned,
        args.jobs(),
        Client::start,
        |client, Planned { part, .. }, progress| {
            let what = format!("{} on {}: sync call sites", part.entry.name, part.profile);
            progress(Progress { what, done: 0, all: part.workloads, tally: Tally::default() });
            run::sync_sites(client, part, args.seed)
        },
        progress,
        |planned, sites| {
            let many = sites.len();
            if many == 0 {
                show_sites(&planned.part, many, &mut shown.borrow_mut());
            }
            for (at, site) in sites.into_iter().enumerate() {
                muted.push(Muted { planned, site, first_of: (at == 0).then_some(many) });
            }
            Ok(())
        },
    )?;
    parts::side_by_side(
        &muted,
        args.jobs(),
        Client::start,
        |client, Muted { planned: Planned { part, known }, site, .. }, progress| {
            let what = format!("{} on {} without {}", part.entry.name, part.profile, site.site);
            let all = site.workloads.len() as u64;
            run::mute(client, part, args.seed, known, site, &mut |done, tally| {
                progress(Progress { what: what.clone(), done, all, tally: *tally });
            })
        },
        progress,
        |muted, verdict| show_muted(muted, &verdict, &mut json, &mut shown.borrow_mut()),
    )?;
    Ok(Exit::Clean)
}

fn show_sites(part: &Part, sites: usize, out: &mut Out) {
    out.clear_progress();
    let what = format!("{} on {}", part.entry.name, part.profile);
    out.status(Tone::Plain, "Muted", &format!("{what}: {sites} sync call sites"));
}

fn show_muted(
    muted: &Muted<'_>,
    verdict: &Verdict,
    json: &mut Json,
    out: &mut Out,
) -> Result<(), Problem> {
    let Muted { planned: Planned { part, .. }, site: Site { site, what, .. }, first_of } = muted;
    out.clear_progress();
    if let Some(sites) = first_of {
        show_sites(part, *sites, out);
    }
    let words = muted_verdict(verdict, &part.profile);
    let row = format!("  {words:<38} {what:<9} {site}");
    if row.len() <= 80 {
        out.line(&row);
    } else {
        out.line(&format!("  {words:<38} {what}"));
        out.line(&format!("{:>12} {site}", ""));
    }
    json.write(&json!({
        "event": "muted", "sim": part.entry.name, "profile": part.profile,
        "site": site, "syncs": what, "verdict": words, "states": verdict.tally.states,
    }))
}

fn muted_verdict(verdict: &Verdict, profile: &str) -> String {
    let tally = &verdict.tally;
    match verdict.failures.first() {
        Some(failure) => format!("{} ({} states)", failure.class, grouped(tally.states)),
        None if tally.muted == 0 => format!("not needed on {profile}"),
        None => format!("this sim cannot see it ({} states)", grouped(tally.states)),
    }
}

/// `replay FILE`.
pub(crate) fn replay_case(
    client: &mut Client,
    entry: &Entry,
    saved: &Saved,
    options: ReplayOptions,
    out: &mut Out,
) -> Result<Exit, Problem> {
    let Saved { path, case, .. } = saved;
    let answer = run::replay(client, entry, saved, options)?;
    for line in &answer.trace {
        out.line(line);
    }
    for notice in &answer.notices {
        out.notice(notice);
    }
    show_replayed(path, &answer, out);
    let exit = match run::as_expected(case, &answer) {
        Ok(()) if matches!(case.expect, Expect::Pass) => {
            out.status(Tone::Good, "PASS", &format!("{}: no violation", path.display()));
            Exit::Clean
        }
        Ok(()) => {
            let text = format!("{}: {}, as the case expects", path.display(), case.expect);
            out.status(Tone::Odd, "Reproduced", &text);
            Exit::Violation
        }
        Err(why) => {
            out.status(Tone::Bad, "Surprise", &format!("{}: {why}", path.display()));
            Exit::Violation
        }
    };
    out.status(Tone::Plain, "Digest", &answer.tally.digest.to_string());
    Ok(exit)
}

fn show_replayed(path: &Path, answer: &Answer, out: &mut Out) {
    for failure in &answer.failures {
        let replay = format!("crashpoint replay {}", path.display());
        out.block(Tone::Bad, &report(failure, &Commands { replay, keep: None }));
    }
}

/// `replay SIM SEED`: the workload of a seed, explored as `run` explores it.
pub(crate) fn replay_seed(
    client: &mut Client,
    entry: Entry,
    seed: Seed,
    args: &ReplayArgs,
    out: &mut Out,
) -> Result<Exit, Problem> {
    if args.trace || args.debug || args.keep.is_some() {
        let message = "--trace, --keep and --debug go with a case file, which names one crash";
        return Err(Problem::Environment(message.to_owned()));
    }
    let part = Part { workloads: 1, ..part(entry, args.profile.clone(), 1) };
    let request = run::request_for(&part, seed);
    let mut answer = client.ask(&entry, &request, &mut |tally| {
        out.progress(entry.name, 0, 1, tally);
    })?;
    out.clear_progress();
    for failure in &mut answer.failures {
        let path = save(entry.name, failure)?;
        if let Some(notice) = run::name_sites(client, &entry, failure)? {
            out.notice(&format!("{}: {notice}", path.display()));
        }
        let replay = format!("crashpoint replay {}", path.display());
        out.block(Tone::Bad, &report(failure, &Commands { replay, keep: None }));
    }
    let tally = &answer.tally;
    let text = format!(
        "{} on {}, seed {seed}: {} states, {} violations, digest {}",
        entry.name,
        part.profile,
        grouped(tally.states),
        grouped(tally.violations),
        tally.digest
    );
    let bad = !answer.failures.is_empty();
    out.status(if bad { Tone::Bad } else { Tone::Good }, if bad { "FAIL" } else { "PASS" }, &text);
    Ok(if bad { Exit::Violation } else { Exit::Clean })
}

/// What a sim answers after each harm, in words, and after which it promises nothing.
fn fault_budget(survives: &[(FaultKind, oracle::AfterFault)]) -> Vec<String> {
    let answer =
        |fault_kind| survives.iter().find(|(listed, _)| *listed == fault_kind).map(|(_, how)| *how);
    let rows = [
        ("answers rightly after", Some(oracle::AfterFault::Right)),
        ("answers rightly or with an error after", Some(oracle::AfterFault::Loud)),
        ("promises nothing after", None),
    ];
    let line = |(words, how): (&str, Option<oracle::AfterFault>)| {
        let shown = |fault_kind: &FaultKind| {
            answer(*fault_kind).filter(|how| *how > oracle::AfterFault::Nothing) == how
        };
        // What is promised after it may be so for some files only: the promises say which.
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
pub(crate) fn list(registry: &Registry, out: &mut Out) {
    out.line("Sims");
    for entry in &registry.sims {
        let (first, rest) = (format!("  {:<12} ", entry.name), " ".repeat(15));
        wrapped(&first, &rest, entry.about).iter().for_each(|line| out.line(line));
        for (promise, source) in (entry.promises)() {
            let rest = " ".repeat(19);
            let first = format!("{}- ", &rest[2..]);
            wrapped(&first, &rest, &promise).iter().for_each(|line| out.line(line));
            let source = format!("({source})");
            wrapped(&rest, &rest, &source).iter().for_each(|line| out.line(line));
        }
        let rest = " ".repeat(19);
        for line in fault_budget(&(entry.survives)()).into_iter().chain(own_profiles(entry)) {
            wrapped(&format!("{}- ", &rest[2..]), &rest, &line).iter().for_each(|l| out.line(l));
        }
    }
    out.line("");
    if let Some(entry) = &registry.canary {
        out.line("Canary: a sim with a bug, which each run must find");
        out.line(&format!("  {}", entry.name));
        out.line(&format!("  {:<12} {}", "", entry.about));
        out.line("");
    }
    list_profiles("Profiles", Profile::all(), out);
    out.line("");
    list_profiles("Profiles that are used only where named", Profile::variants(), out);
}

fn list_profiles(title: &str, profiles: &[Profile], out: &mut Out) {
    out.line(title);
    for profile in profiles {
        let rest = " ".repeat(20);
        let first = format!("  {:<17} ", profile.name);
        wrapped(&first, &rest, profile.promise).iter().for_each(|line| out.line(line));
    }
}
