//! The entry of `cargo test`: one call that tests a sim and panics with the report of what it
//! found.

use std::path::{Path, PathBuf};

use super::passed::{Passed, note, notes};
use crate::base::digest::Digest;
use crate::base::seed::Seed;
use crate::campaign::client::Client;
use crate::campaign::corpus::{corpus, locate};
use crate::campaign::entry::{Entry, sim};
use crate::campaign::jobs::{FAILING, Part};
use crate::campaign::problem::Problem;
use crate::campaign::replay::{self, ReplayOptions, Surprise, as_expected};
use crate::campaign::run::{self, PartResult};
use crate::campaign::spend::{self, Ended};
use crate::campaign::target;
use crate::case::Case;
use crate::explore::finding::Finding;
use crate::explore::job::{Budget, Job, Task};
use crate::explore::tally::Tally;
use crate::host::pair::{Check, Pair, Run};
use crate::oracle::Class;
use crate::report::text::{Commands, report};
#[cfg(feature = "inner")]
use crate::shrink::Counts;
use crate::shrink::{self, Shown};
use crate::sim::Sim;
use crate::sim::store::{KeyValue, Store};

/// The seed of a `cargo test`, unless `CRASHPOINT_SEED` names another.
const SEED: Seed = Seed(1);
/// How many recoveries `cargo test` spends on a sim and its first profile, unless
/// `CRASHPOINT_BUDGET` says otherwise: some seconds. Each other profile gets a third.
const BUDGET: u64 = 2400;
/// Faults that [`check_faults`] tries on a workload.
const FAULTS: u64 = 600;
/// Recoveries on each profile to say where a failure happens and why.
const VERDICT: u64 = 64;

/// Tests a sim: workloads from a fixed seed, on every profile, power cut at every point.
///
/// # Panics
/// With the report, when a promise was broken; or with what the machine does not allow.
#[track_caller]
pub fn check<S: Sim>() {
    check_entry(&sim::<S>());
}

/// Tests a key-value store with the ready-made workload and model.
///
/// # Panics
/// See [`check`].
#[track_caller]
pub fn check_store<S: Store>() {
    check::<KeyValue<S>>();
}

/// Tests two functions: `run` works in an empty directory and acknowledges what it did, `check`
/// is given what must have survived, reopens, and says what is wrong. Neither may capture
/// anything. `check` is also called on the live directory, after `run`.
///
/// # Panics
/// See [`check`].
#[track_caller]
pub fn check_pair<R: Run, C: Check>(run: R, check: C) {
    let _ = (run, check);
    check_entry(&sim::<Pair<R, C>>());
}

#[track_caller]
fn check_entry(entry: &Entry) {
    let failed = match try_configured(entry) {
        Ok(failed) => failed,
        Err(problem) => panic!("crashpoint cannot test {}: {problem}", entry.name),
    };
    if let Some(text) = failed {
        panic!("\n{text}");
    }
}

/// The report of the first failure, with the seed and the budget of the environment.
fn try_configured(entry: &Entry) -> Result<Option<String>, Problem> {
    let seed = variable("CRASHPOINT_SEED", SEED)?;
    let budget: u64 = variable("CRASHPOINT_BUDGET", BUDGET)?;
    if budget == 0 {
        let why = "a test without recoveries tests nothing; the default is";
        return Err(Problem::Environment(format!("CRASHPOINT_BUDGET=0: {why} {BUDGET}")));
    }
    try_check(entry, seed, budget, shrink::is_asked_for()?)
}

/// The report of the first failure of a sim at this seed, with this budget or the default one.
///
/// # Panics
/// If the machine does not allow it.
#[cfg(feature = "inner")]
#[track_caller]
pub fn check_at(entry: &Entry, seed: Seed, budget: Option<u64>) -> Option<String> {
    try_check(entry, seed, budget.unwrap_or(BUDGET), false)
        .unwrap_or_else(|problem| cannot_test(entry, &problem))
}

/// The report of the first failure, if there is one.
fn try_check(
    entry: &Entry,
    seed: Seed,
    budget: u64,
    shrinks: bool,
) -> Result<Option<String>, Problem> {
    let mut client = Client::start()?;
    let mut passed = Passed::new(entry, seed, client.notices());
    for (number, profile) in entry.profiles.iter().enumerate() {
        // One failure is reported, so the search stops at the first.
        let each = Budget { stop: true, verdict: VERDICT, ..Budget::default() };
        let name = profile.name.to_owned();
        let part = Part { entry: *entry, profile: name, workloads: 0, budget: each };
        // What a stronger disk leaves, the first may leave, too.
        let share = if number == 0 { budget } else { budget.div_ceil(3) };
        let (mut result, mut ended) = (PartResult::default(), Ended::Found);
        if number == 0 {
            result = spend::uncut(&mut client, &part, seed, budget)?;
            passed.uncut(&result);
        }
        if result.findings.is_empty() {
            passed.promises_something()?;
            (result, ended) = spend::spend(&mut client, &part, seed, share)?;
        }
        if number == 0 && result.findings.is_empty() && !(entry.survives)().is_empty() {
            let failing = spend::failing(&mut client, &part, seed, budget)?;
            passed.failing(&failing);
            result.findings.extend(failing.findings);
        }
        if let Some(finding) = result.findings.first().cloned() {
            let shown = shrink::shown(&mut client, entry, finding, shrinks, &mut |_| {})?;
            result.notices.extend(shown.notice.clone());
            let mut text = finding_text(entry, &shown, seed, budget)?;
            text.push_str(&notes(&result));
            return Ok(Some(text));
        }
        passed.part(&part, &result, ended, share);
    }
    target::write(&format!("{}.txt", entry.name), &passed.text())?;
    Ok(None)
}

fn finding_text(entry: &Entry, shown: &Shown, seed: Seed, budget: u64) -> Result<String, Problem> {
    let finding = &shown.finding;
    let class = finding.violation.class();
    let written = save(entry, finding);
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let commands = Commands {
        replay: format!("CRASHPOINT_SEED={seed} CRASHPOINT_BUDGET={budget} cargo test {test}"),
        keep: written
            .as_ref()
            .ok()
            .map(|path| format!("mv {} corpus/{}/{class}.case", path.display(), entry.name)),
        shrunk: shown.shrunk.clone(),
        verdict_of_first: shown.verdict_of_first,
    };
    let mut text = report(finding, &commands);
    text.push_str(opt_out(class));
    if let Err(problem) = written {
        text.push_str(&note(&format!("this case could not be written: {problem}")));
        text.push_str(&finding.case.to_string());
    }
    if let Some(Ok(path)) = shown.first.as_ref().map(|first| save(entry, first)) {
        let path = path.display();
        let why = "the smaller case loses what another line wrote; as it was found";
        text.push_str(&note(&format!("{why}: {path}")));
    }
    Ok(text)
}

/// Saves the case of a finding; returns the path.
fn save(entry: &Entry, finding: &Finding) -> Result<PathBuf, Problem> {
    let name = format!("{}-{}-{}.case", entry.name, finding.violation.class(), finding.digest);
    target::write(&name, &finding.case.to_string())
}

/// The constant that the author of an engine may declare, if this behaviour is intended.
fn opt_out(class: Class) -> &'static str {
    match class {
        Class::CreateInterrupted => {
            "  note     `const CREATED_APART: bool = true` shows what comes after this\n"
        }
        Class::OpFailed => {
            "  note     an error that belongs to the contract of an op is `Refused` (no effect) or\n           \
             `Uncertain`\n"
        }
        Class::Leaked => {
            "  note     `const THREADS_MAY_STAY: bool = true` if they belong to a pool for the \
             whole\n           process\n"
        }
        _ => "",
    }
}

/// The result of a search for a planted bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// The class of the first violation, if one was found.
    pub class: Option<Class>,
    /// Its report.
    pub report: String,
    /// The case that replays it, as text.
    pub case: String,
    /// Distinct crash states that were judged until the end.
    pub states: u64,
    /// Schedules in which workloads were recorded until the end.
    pub schedules: u64,
    /// Digest of the recorded runs.
    pub run: Digest,
    /// Digest of everything that was done, every recovery included.
    pub digest: Digest,
}

/// Runs workloads of a seed on one profile until the first violation: for tests that a planted bug
/// is found, or that a sim is clean far beyond the budget of a `cargo test`.
///
/// # Panics
/// If the machine does not allow it.
#[track_caller]
pub fn find(entry: &Entry, profile: &str, seed: Seed, workloads: u64) -> Found {
    let budget = Budget {
        recoveries: 600,
        exhaustive: 128,
        nested: 150,
        schedules: 24,
        even: false,
        stop: true,
        recheck: 2,
        verdict: 0,
    };
    let part = Part { entry: *entry, profile: profile.to_owned(), workloads, budget };
    let run = || run::run(&mut Client::start()?, &part, seed, &[], &mut |_, _| {});
    let result = run().unwrap_or_else(|problem| cannot_test(entry, &problem));
    let first = result.findings.first();
    Found {
        class: first.map(|finding| finding.violation.class()),
        report: first.map(plain_report).unwrap_or_default(),
        case: first.map(|finding| finding.case.to_string()).unwrap_or_default(),
        states: result.tally.states,
        schedules: result.tally.schedules,
        run: result.tally.run,
        digest: result.tally.digest,
    }
}

/// A report without commands.
fn plain_report(finding: &Finding) -> String {
    report(finding, &Commands::default())
}

#[track_caller]
fn cannot_test(entry: &Entry, problem: &Problem) -> ! {
    panic!("crashpoint cannot test {}: {problem}", entry.name)
}

/// Records the first workload of a seed, without recoveries: a test of determinism can compare the
/// digests of such runs for many seeds.
///
/// # Panics
/// If the machine does not allow it.
#[track_caller]
pub fn record(entry: &Entry, profile: &str, seed: Seed, steps: usize) -> Tally {
    let (profile, budget) = (profile.to_owned(), Budget::default());
    let part = Part { entry: *entry, profile, workloads: 1, budget };
    let job = Job { task: Task::Record, ..part.job_of(seed, steps) };
    let run = || Client::start()?.run(entry, &job, &mut |_| {});
    run().unwrap_or_else(|problem| cannot_test(entry, &problem)).tally
}

/// The result of failing every call.
#[derive(Clone, Debug)]
pub struct FailedCalls {
    /// Runs and recoveries with one failed call or a full disk.
    pub faults: u64,
    /// Distinct crash states that were judged.
    pub states: u64,
    /// The classes and the `fault` and `space` lines of the violations, one of each kind.
    pub violations: Vec<(Class, String)>,
    /// The report of the first.
    pub report: String,
    /// The case that replays the first, as text.
    pub case: String,
    /// Crash states whose recovery had nothing to be compared with.
    pub unchecked: u64,
    /// Digest of everything that was done.
    pub digest: Digest,
}

/// Fails every call of a workload of up to `steps` steps, and every call of a recovery after it,
/// in turn: once, and from then on, in each way in which a kernel may fail it and for which the
/// sim promises something. At most `faults` faults are tried, drawn from the seed where there are
/// more, and up to half as many small disks.
///
/// # Panics
/// If the machine does not allow it.
#[track_caller]
pub fn fail_every_call(
    entry: &Entry,
    profile: &str,
    seed: Seed,
    steps: usize,
    faults: u64,
) -> FailedCalls {
    let job = failing_job(entry, profile, seed, steps, faults);
    let run = || Client::start()?.run(entry, &job, &mut |_| {});
    let result = run().unwrap_or_else(|problem| cannot_test(entry, &problem));
    let first = result.findings.first();
    FailedCalls {
        faults: result.tally.faults,
        states: result.tally.states,
        violations: result
            .findings
            .iter()
            .map(|finding| (finding.violation.class(), finding.case.conditions().join("; ")))
            .collect(),
        report: first.map(plain_report).unwrap_or_default(),
        case: first.map(|finding| finding.case.to_string()).unwrap_or_default(),
        unchecked: result.tally.unchecked,
        digest: result.tally.digest,
    }
}

fn failing_job(entry: &Entry, profile: &str, seed: Seed, steps: usize, faults: u64) -> Job {
    let budget = Budget { recoveries: faults, ..Budget::default() };
    let part = Part { entry: *entry, profile: profile.to_owned(), workloads: 1, budget };
    part.failing_job(seed, steps)
}

/// Fails every call of some short workloads of a sim ([`fail_every_call`]), on the weakest profile.
///
/// # Panics
/// With the report, if a promise was broken; if the sim lists no fault that it survives; or if the
/// machine does not allow it.
#[track_caller]
pub fn check_faults<S: Sim>() {
    assert!(
        !S::promises().survives.is_empty(),
        "crashpoint cannot test {}: it promises nothing after an injected error, so that none would \
         be tried. List what it survives, and how, in `Promises::survives` (a `Store`: in \
         `SURVIVES`), such as `(FaultKind::FailedWrite, AfterFault::Loud)`",
        S::NAME
    );
    let entry = sim::<S>();
    match try_faults(&entry) {
        Ok(None) => {}
        Ok(Some(text)) => panic!("\n{text}"),
        Err(problem) => cannot_test(&entry, &problem),
    }
}

/// The report and the case of the first failure, if there is one.
fn try_faults(entry: &Entry) -> Result<Option<String>, Problem> {
    let shrinks = shrink::is_asked_for()?;
    let mut client = Client::start()?;
    for (number, steps) in (0..).zip(FAILING) {
        let job = failing_job(entry, "posix", SEED.derive("faults", number), steps, FAULTS);
        let result = client.run(entry, &job, &mut |_| {})?;
        let Some(first) = result.findings.into_iter().next() else { continue };
        let Shown { finding, shrunk, notice, .. } =
            shrink::shown(&mut client, entry, first, shrinks, &mut |_| {})?;
        let commands = Commands { shrunk, ..Commands::default() };
        let notice = notice.as_deref().map(note).unwrap_or_default();
        let (report, case) = (report(&finding, &commands), &finding.case);
        return Ok(Some(format!("{report}{notice}\n{case}")));
    }
    Ok(None)
}

/// Explores one workload of up to `steps` steps on one profile, and returns the counts: for
/// benches.
///
/// # Panics
/// If the machine does not allow it, or a promise was broken.
#[cfg(feature = "inner")]
#[track_caller]
pub fn measure(entry: &Entry, profile: &str, seed: Seed, steps: usize, budget: Budget) -> Tally {
    let part = Part { entry: *entry, profile: profile.to_owned(), workloads: 1, budget };
    let job = part.job_of(seed, steps);
    let run = || Client::start()?.run(entry, &job, &mut |_| {});
    let result = run().unwrap_or_else(|problem| cannot_test(entry, &problem));
    if let Some(finding) = result.findings.first() {
        panic!("{}: {}", entry.name, finding.violation.class());
    }
    result.tally
}

/// A case that was made small.
#[cfg(feature = "inner")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// The smallest case, as text.
    pub case: String,
    /// Its steps.
    pub steps: usize,
    /// Its crashes.
    pub crashes: usize,
    /// The recoveries that it took.
    pub recoveries: u64,
    /// What was shrunk to what.
    pub summary: String,
}

/// Shrinks the text of a case that fails as it expects.
///
/// # Errors
/// See [`check_case`].
#[cfg(feature = "inner")]
pub fn shrink_case(entry: &Entry, text: &str, budget: u64) -> Result<Small, CaseFailed> {
    let not_replayed = |why: &dyn std::fmt::Display| CaseFailed::NotReplayed(why.to_string());
    let (case, lines) = Case::parse_with_lines(text).map_err(|error| not_replayed(&error))?;
    let run = || shrink::shrink(&mut Client::start()?, entry, &case, budget, &mut |_, _| {});
    let shrunk = run().map_err(|problem| match problem {
        Problem::Refused(refusal) => CaseFailed::NotReplayed(locate(&lines, &refusal)),
        problem => not_replayed(&problem),
    })?;
    let counts = Counts::of(&shrunk.finding.case);
    Ok(Small {
        case: shrunk.finding.case.to_string(),
        steps: counts.steps,
        crashes: counts.crashes,
        recoveries: shrunk.recoveries,
        summary: shrunk.to_string(),
    })
}

/// Why the outcome of a case is not as it expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseFailed {
    /// It is not a case, or the machine does not allow its replay.
    #[error("{0}")]
    NotReplayed(String),
    /// The outcome differs.
    #[error(transparent)]
    Surprise(#[from] Surprise),
}

/// Replays the text of a case, whose outcome must be as it expects.
///
/// # Errors
/// How the outcome differs, or what is wrong in the text.
pub fn check_case(entry: &Entry, text: &str) -> Result<(), CaseFailed> {
    let not_replayed = |why: &dyn std::fmt::Display| CaseFailed::NotReplayed(why.to_string());
    let (case, lines) = Case::parse_with_lines(text).map_err(|error| not_replayed(&error))?;
    let replay = || replay::replay(&mut Client::start()?, entry, &case, ReplayOptions::default());
    let result = replay().map_err(|problem| match problem {
        Problem::Refused(refusal) => CaseFailed::NotReplayed(locate(&lines, &refusal)),
        problem => not_replayed(&problem),
    })?;
    Ok(as_expected(&case, &result)?)
}

/// Replays every case of a sim in its folder of a corpus: each outcome must be as the case expects.
///
/// # Panics
/// With each file whose outcome differs, and how; or if the folder is missing.
#[track_caller]
pub fn check_corpus<S: Sim>(folder: &Path) {
    let entry = sim::<S>();
    let replay = || -> Result<Vec<String>, Problem> {
        let mut wrong = Vec::new();
        if !folder.is_dir() {
            let why = "no such folder: name the one that has a folder for each sim";
            return Err(Problem::Environment(format!("{}: {why}", folder.display())));
        }
        let cases = corpus(folder, entry.name)?;
        let mut client = Client::start()?;
        for saved in cases {
            let options = ReplayOptions::default();
            let result = replay::replay(&mut client, &entry, &saved.case, options)
                .map_err(|problem| saved.locate(problem))?;
            if let Err(surprise) = as_expected(&saved.case, &result) {
                wrong.push(format!("{}: {surprise}", saved.path.display()));
            }
        }
        Ok(wrong)
    };
    match replay() {
        Ok(wrong) if wrong.is_empty() => {}
        Ok(wrong) => panic!("{}", wrong.join("\n")),
        Err(problem) => panic!("crashpoint cannot replay the corpus of {}: {problem}", entry.name),
    }
}

/// An environment variable that configures `cargo test`; each failure prints these.
fn variable<T>(name: &str, default: T) -> Result<T, Problem>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    #[expect(clippy::disallowed_methods, reason = "the two documented variables of `cargo test`")]
    let value = std::env::var(name);
    match value {
        Ok(text) => {
            text.parse().map_err(|error| Problem::Environment(format!("{name}={text}: {error}")))
        }
        Err(_) => Ok(default),
    }
}
