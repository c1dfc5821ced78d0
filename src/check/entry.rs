//! The entry of `cargo test`: one call that tests a sim and panics with the report of what it
//! found.

use std::path::Path;

use crate::base::digest::Digest;
use crate::base::seed::Seed;
use crate::campaign::client::{Client, Problem};
use crate::campaign::registry::{Entry, sim};
use crate::campaign::run::{self, Part, ReplayOptions, Verdict};
use crate::campaign::target;
use crate::explore::protocol::{Budget, Failure, Request, Tally, Task};
use crate::host::pair::{Check, Pair, Run};
use crate::oracle::Class;
use crate::report::text::{Commands, report};
use crate::sim::Sim;
use crate::sim::store::{KeyValue, Store};

/// The seed of a `cargo test`, unless `CRASHPOINT_SEED` names another.
const SEED: Seed = Seed(1);
/// How many recoveries `cargo test` spends on a sim and a profile, unless `CRASHPOINT_BUDGET`
/// says otherwise: some seconds.
const BUDGET: u64 = 2400;
/// Faults that [`check_faults`] tries on a workload.
const FAULTS: u64 = 600;
/// Recoveries for each workload.
const WORKLOAD: u64 = 400;
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
    let failed = match try_check(entry) {
        Ok(failed) => failed,
        Err(problem) => panic!("crashpoint cannot test {}: {problem}", entry.name),
    };
    if let Some(text) = failed {
        panic!("\n{text}");
    }
}

/// The report of the first failure, if there is one.
fn try_check(entry: &Entry) -> Result<Option<String>, Problem> {
    let seed = variable("CRASHPOINT_SEED", SEED)?;
    let budget: u64 = variable("CRASHPOINT_BUDGET", BUDGET)?;
    let mut client = Client::start()?;
    let mut passed = String::new();
    for profile in entry.profiles {
        let part = Part {
            entry: *entry,
            profile: profile.name.to_owned(),
            workloads: budget.div_ceil(WORKLOAD).max(1),
            // One failure is reported: what comes after the first is not looked for.
            budget: Budget {
                recoveries: WORKLOAD.min(budget),
                stop: true,
                verdict: VERDICT,
                ..Budget::default()
            },
        };
        let mut verdict = run::run(&mut client, &part, seed, &[], &mut |_, _| {})?;
        if let Some(mut failure) = verdict.failures.first().cloned() {
            verdict.notices.extend(run::name_sites(&mut client, entry, &mut failure)?);
            let mut text = failure_text(entry, &failure, seed, budget)?;
            text.push_str(&notes(&verdict));
            return Ok(Some(text));
        }
        passed.push_str(&notes(&verdict));
        passed.push_str(&summary(&part, seed, &verdict));
    }
    for (promise, source) in (entry.promises)() {
        passed.push_str(&format!("  checked: {promise} ({source})\n"));
    }
    target::write(&format!("{}.txt", entry.name), &passed)?;
    Ok(None)
}

fn failure_text(
    entry: &Entry,
    failure: &Failure,
    seed: Seed,
    budget: u64,
) -> Result<String, Problem> {
    let name = format!("{}-{}-{}.case", entry.name, failure.class, failure.digest);
    let path = target::write(&name, &failure.case)?;
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let commands = Commands {
        replay: format!("CRASHPOINT_SEED={seed} CRASHPOINT_BUDGET={budget} cargo test {test}"),
        keep: Some(format!("mv {} corpus/{}/{}.case", path.display(), entry.name, failure.class)),
    };
    let mut text = report(failure, &commands);
    text.push_str(way_out(&failure.class));
    Ok(text)
}

/// What an engine that means to be as it is may say.
fn way_out(class: &str) -> &'static str {
    if class == Class::CreateInterrupted.to_string() {
        "  note     `const CREATED_APART: bool = true` shows what lies behind this\n"
    } else if class == Class::Leaked.to_string() {
        "  note     `const THREADS_MAY_STAY: bool = true` if a pool for the whole process has them\n"
    } else {
        ""
    }
}

/// What the user should know beside the verdict.
fn notes(verdict: &Verdict) -> String {
    verdict.notices.iter().map(|notice| format!("  note     {notice}\n")).collect()
}

/// What a passing test leaves behind.
fn summary(part: &Part, seed: Seed, verdict: &Verdict) -> String {
    let tally = &verdict.tally;
    let schedules = if tally.schedules > verdict.workloads {
        format!(" in {} schedules ({} histories)", tally.schedules, tally.histories)
    } else {
        String::new()
    };
    format!(
        "{} on {}: no violation\n  seed {seed}, {} workloads{}, {} crash points, exhaustive at {}, \
         sampled at {}\n  {} distinct crash states, {} recoveries, {} of them crashed in turn\n  \
         digest {}\n",
        part.entry.name,
        part.profile,
        verdict.workloads,
        schedules,
        tally.points,
        tally.exhaustive_points,
        tally.points - tally.exhaustive_points,
        tally.states,
        tally.recoveries,
        tally.nested,
        tally.digest,
    )
}

/// What came of looking for a bug that was planted.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The class of the first violation, if one was found.
    pub class: Option<Class>,
    /// Its report.
    pub report: String,
    /// The case that replays it, as text.
    pub case: String,
    /// Distinct crash states that were judged until then.
    pub states: u64,
    /// Schedules in which workloads were recorded until then.
    pub schedules: u64,
    /// Digest of the recorded runs.
    pub run: Digest,
    /// Digest of all that was done, every recovery included.
    pub digest: Digest,
}

/// Runs workloads of a seed on one profile until the first violation: how a test shows that a
/// planted bug is found, or that a sim is clean far beyond the budget of a `cargo test`.
///
/// # Panics
/// With what the machine does not allow.
#[track_caller]
pub fn find(entry: &Entry, profile: &str, seed: Seed, workloads: u64) -> Finding {
    let part = Part {
        entry: *entry,
        profile: profile.to_owned(),
        workloads,
        budget: Budget {
            recoveries: 600,
            exhaustive: 128,
            nested: 150,
            schedules: 24,
            stop: true,
            recheck: 2,
            verdict: 0,
        },
    };
    let run = || run::run(&mut Client::start()?, &part, seed, &[], &mut |_, _| {});
    let verdict = match run() {
        Ok(verdict) => verdict,
        Err(problem) => panic!("crashpoint cannot test {}: {problem}", entry.name),
    };
    let commands = Commands { replay: String::new(), keep: None };
    let first = verdict.failures.first();
    Finding {
        class: first.and_then(|failure| failure.class.parse().ok()),
        report: first.map(|failure| report(failure, &commands)).unwrap_or_default(),
        case: first.map(|failure| failure.case.clone()).unwrap_or_default(),
        states: verdict.tally.states,
        schedules: verdict.tally.schedules,
        run: verdict.tally.run,
        digest: verdict.tally.digest,
    }
}

/// Records the first workload of a seed, and recovers nothing: the digest of that run is what a
/// test of determinism can compare for many seeds.
///
/// # Panics
/// With what the machine does not allow.
#[track_caller]
pub fn record(entry: &Entry, profile: &str, seed: Seed, steps: usize) -> Tally {
    let part = Part {
        entry: *entry,
        profile: profile.to_owned(),
        workloads: 1,
        budget: Budget::default(),
    };
    let request = Request { task: Task::Record, ..run::request_of(&part, seed, steps) };
    match Client::start().and_then(|mut client| client.ask(entry, &request, &mut |_| {})) {
        Ok(answer) => answer.tally,
        Err(problem) => panic!("crashpoint cannot run {}: {problem}", entry.name),
    }
}

/// What came of failing every call.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Runs and recoveries that each had one call fail.
    pub faults: u64,
    /// Distinct crash states that were judged.
    pub states: u64,
    /// The classes and the `fault` and `space` lines of the violations, one for each signature.
    pub violations: Vec<(Class, String)>,
    /// The report of the first.
    pub report: String,
    /// The case that replays the first, as text.
    pub case: String,
    /// Crash states whose recovery could not be compared with anything.
    pub unchecked: u64,
    /// Digest of all that was done.
    pub digest: Digest,
}

/// Fails every call of a workload of up to so many steps, and every call of a recovery behind it,
/// in turn: once, and from then on, in each way that a kernel may fail it and for which the sim
/// promises something. At most so many faults are tried, drawn from the seed where there are more;
/// and up to half as many disks that are soon full.
///
/// # Panics
/// With what the machine does not allow.
#[track_caller]
pub fn fail_every_call(
    entry: &Entry,
    profile: &str,
    seed: Seed,
    steps: usize,
    faults: u64,
) -> Failed {
    let budget = Budget { recoveries: faults, ..Budget::default() };
    let part = Part { entry: *entry, profile: profile.to_owned(), workloads: 1, budget };
    let request = run::faults_of(&part, seed, steps);
    let ask = || Client::start()?.ask(entry, &request, &mut |_| {});
    let answer = match ask() {
        Ok(answer) => answer,
        Err(problem) => panic!("crashpoint cannot test {}: {problem}", entry.name),
    };
    let commands = Commands { replay: String::new(), keep: None };
    let injected = |line: &&str| line.starts_with("fault ") || line.starts_with("space ");
    let violation = |failure: &Failure| {
        let faults = failure.case.lines().filter(injected);
        Some((failure.class.parse().ok()?, faults.collect::<Vec<_>>().join("; ")))
    };
    let first = answer.failures.first();
    Failed {
        faults: answer.tally.faults,
        states: answer.tally.states,
        violations: answer.failures.iter().filter_map(violation).collect(),
        report: first.map(|failure| report(failure, &commands)).unwrap_or_default(),
        case: first.map(|failure| failure.case.clone()).unwrap_or_default(),
        unchecked: answer.tally.unchecked,
        digest: answer.tally.digest,
    }
}

/// Fails every call of some short workloads of a sim ([`fail_every_call`]), on the weakest profile.
///
/// # Panics
/// With the report, when a promise was broken; or with what the machine does not allow.
#[track_caller]
pub fn check_faults<S: Sim>() {
    for (number, steps) in (0..).zip(run::FAILING) {
        let seed = SEED.derive("faults", number);
        let failed = fail_every_call(&sim::<S>(), "posix", seed, steps, FAULTS);
        assert!(failed.violations.is_empty(), "\n{}\n{}", failed.report, failed.case);
    }
}

/// Explores one workload of up to so many steps on one profile, and says what that cost: what a
/// bench measures.
///
/// # Panics
/// With what the machine does not allow, and if a promise was broken.
#[doc(hidden)]
#[track_caller]
pub fn measure(entry: &Entry, profile: &str, seed: Seed, steps: usize, budget: Budget) -> Tally {
    let part = Part { entry: *entry, profile: profile.to_owned(), workloads: 1, budget };
    let request = run::request_of(&part, seed, steps);
    let ask = || Client::start()?.ask(entry, &request, &mut |_| {});
    match ask() {
        Ok(answer) if answer.failures.is_empty() => answer.tally,
        Ok(answer) => panic!("{}: {}", entry.name, answer.failures[0].class),
        Err(problem) => panic!("crashpoint cannot test {}: {problem}", entry.name),
    }
}

/// Replays the text of a case, which must come out as it expects.
///
/// # Errors
/// How it came out instead, or what is wrong in it.
pub fn check_case(entry: &Entry, text: &str) -> Result<(), String> {
    let replay = || {
        let saved = run::parse_case(Path::new("the case"), text.to_owned())?;
        let mut client = Client::start()?;
        let answer = run::replay(&mut client, entry, &saved, ReplayOptions::default())?;
        Ok::<_, Problem>(run::as_expected(&saved.case, &answer))
    };
    replay().unwrap_or_else(|problem| Err(problem.to_string()))
}

/// Replays every case of a sim in a corpus folder: each must come out as it expects.
///
/// # Panics
/// With the file and what differs.
#[track_caller]
pub fn check_corpus<S: Sim>(corpus: &Path) {
    let entry = sim::<S>();
    let replay = || -> Result<Vec<String>, Problem> {
        let mut wrong = Vec::new();
        let cases = run::corpus(corpus, entry.name)?;
        let mut client = Client::start()?;
        for saved in cases {
            let answer = run::replay(&mut client, &entry, &saved, ReplayOptions::default())?;
            if let Err(why) = run::as_expected(&saved.case, &answer) {
                wrong.push(format!("{}: {why}", saved.path.display()));
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

/// A variable of the environment that shapes a `cargo test`; echoed in each failure.
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
