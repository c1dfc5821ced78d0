//! A run: fixed workloads of each sim on each profile, from one seed, and what came of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::seed::Seed;
use crate::campaign::client::{Answer, Client, Problem};
use crate::campaign::registry::Entry;
use crate::case::{Case, Epoch, Expect, Lines};
use crate::explore::protocol::{Budget, Failure, Request, Tally, Task};
use crate::process::world::Stacks;

/// How many steps a workload may have; its seed says which. Short ones are explored to the bottom,
/// long ones reach what only grown stores do.
pub(crate) const SIZES: [usize; 6] = [3, 6, 12, 8, 24, 48];
/// How many steps follow a recovery.
const AFTER_RECOVERY: usize = 3;

/// One sim on one profile: how many workloads, how deep.
#[derive(Clone)]
pub(crate) struct Part {
    /// The sim.
    pub(crate) entry: Entry,
    /// The profile.
    pub(crate) profile: String,
    /// How many workloads.
    pub(crate) workloads: u64,
    /// What is spent on each.
    pub(crate) budget: Budget,
}

/// What came of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// The counts over all workloads.
    pub(crate) tally: Tally,
    /// The violations, one for each signature, in the order in which they were found.
    pub(crate) failures: Vec<Failure>,
    /// What the user should know, said once.
    pub(crate) notices: Vec<String>,
    /// How many workloads were run.
    pub(crate) workloads: u64,
}

/// Runs a part; `progress` sees workload number and counts so far.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn run(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[(String, String)],
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<Verdict, Problem> {
    let mut verdict = Verdict::default();
    for number in 0..part.workloads {
        let request = Request { known: known.to_vec(), ..request(part, seed, number) };
        verdict.ask(client, part, &request, number, progress)?;
        if part.budget.stop && !verdict.failures.is_empty() {
            break;
        }
    }
    Ok(verdict)
}

/// How many steps the workloads have of which every call fails.
pub(crate) const FAILING: [usize; 3] = [4, 8, 16];

/// Fails every call of some short workloads of a part, and of a recovery behind each, so many of
/// them at most; `progress` as in [`run`].
///
/// # Errors
/// See [`Problem`].
pub(crate) fn fail_calls(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[(String, String)],
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<Verdict, Problem> {
    let mut verdict = Verdict::default();
    for (number, steps) in (0..).zip(FAILING) {
        let request = faults_of(part, seed.derive("faults", number), steps);
        let request = Request { known: known.to_vec(), ..request };
        verdict.ask(client, part, &request, number, progress)?;
    }
    Ok(verdict)
}

impl Verdict {
    /// Adds what comes of workload `number` of a part.
    fn ask(
        &mut self,
        client: &mut Client,
        part: &Part,
        request: &Request,
        number: u64,
        progress: &mut dyn FnMut(u64, &Tally),
    ) -> Result<(), Problem> {
        let before = self.tally;
        let answer = client.ask(&part.entry, request, &mut |tally| {
            let mut sum = before;
            sum.add(tally);
            progress(number, &sum);
        })?;
        self.take(answer);
        progress(number + 1, &self.tally);
        Ok(())
    }

    fn take(&mut self, answer: Answer) {
        self.workloads += 1;
        self.tally.add(&answer.tally);
        for failure in answer.failures {
            let same = |seen: &Failure| seen.signature == failure.signature;
            if !self.failures.iter().any(same) {
                self.failures.push(failure);
            }
        }
        for notice in answer.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }
}

/// The request for workload `number` of a part.
pub(crate) fn request(part: &Part, seed: Seed, number: u64) -> Request {
    request_for(part, seed.derive(part.entry.name, number))
}

/// The request for the workload of a seed, as a report names it.
pub(crate) fn request_for(part: &Part, seed: Seed) -> Request {
    request_of(part, seed, SIZES[(seed.0 % SIZES.len() as u64) as usize])
}

/// The request for a workload of up to so many steps.
pub(crate) fn request_of(part: &Part, seed: Seed, size: usize) -> Request {
    let steps = (part.entry.generate)(seed, size);
    let mut case = Case::new(part.entry.name, &part.profile, seed);
    case.faults = (part.entry.faults)(seed, steps.len());
    if case.faults.is_empty() {
        let delays = part.entry.profile(&part.profile).is_ok_and(|profile| profile.delays);
        case.space = (part.entry.space)(seed, delays);
    }
    case.epochs = vec![Epoch { steps, ..Epoch::default() }];
    let continuation = match part.entry.continuation {
        true => (part.entry.generate)(seed.derive("afterlife", 0), AFTER_RECOVERY),
        false => Vec::new(),
    };
    Request {
        case: case.to_string(),
        task: Task::Explore,
        continuation: continuation.iter().map(ToString::to_string).collect(),
        budget: part.budget,
        known: Vec::new(),
        muted: None,
        stacks: Stacks::None,
        keep: None,
    }
}

/// The request to fail every call of a workload of up to so many steps.
pub(crate) fn faults_of(part: &Part, seed: Seed, size: usize) -> Request {
    let request = request_of(part, seed, size);
    let mut case = Case::new(part.entry.name, &part.profile, seed);
    case.epochs = vec![Epoch { steps: (part.entry.generate)(seed, size), ..Epoch::default() }];
    Request { case: case.to_string(), task: Task::Faults, ..request }
}

/// A sync call site, and the workloads that come to it: in the others there is nothing to mute.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The call site, `file:line`, with its callers.
    pub(crate) site: String,
    /// What it syncs.
    pub(crate) what: String,
    /// Numbers of workloads.
    pub(crate) workloads: Vec<u64>,
}

/// The sync call sites that the workloads of a part come to, in the order of their names.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn sync_sites(
    client: &mut Client,
    part: &Part,
    seed: Seed,
) -> Result<Vec<Site>, Problem> {
    let mut sites: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for number in 0..part.workloads {
        let mut request = request(part, seed, number);
        request.task = Task::Record;
        request.stacks = Stacks::OfSyncs;
        for site in client.ask(&part.entry, &request, &mut |_| {})?.sites {
            sites.entry(site).or_default().push(number);
        }
    }
    let site = |((site, what), workloads)| Site { site, what, workloads };
    Ok(sites.into_iter().map(site).collect())
}

/// Runs a part with one sync call site doing nothing, to the first violation; `progress` sees how
/// many workloads are done. What is known says nothing about a site.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn mute(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[(String, String)],
    site: &Site,
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<Verdict, Problem> {
    let mut verdict = Verdict::default();
    for (done, number) in (0..).zip(&site.workloads) {
        let mut request = request(part, seed, *number);
        request.known = known.to_vec();
        request.muted = Some(site.site.clone());
        request.stacks = Stacks::OfSyncs;
        request.budget.stop = true;
        verdict.ask(client, part, &request, done, progress)?;
        if !verdict.failures.is_empty() {
            break;
        }
    }
    Ok(verdict)
}

/// A case file.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says, and in these words: errors name lines and columns of them.
    pub(crate) case: Case,
    text: String,
    /// Where in the text the parts of the case are.
    pub(crate) lines: Lines,
}

impl Saved {
    /// The file as an error names it, with what is wrong in it.
    pub(crate) fn wrong(&self, why: impl std::fmt::Display) -> Problem {
        Problem::Environment(format!("{}: {why}", self.path.display()))
    }

    /// Checks that a sim knows the ops.
    fn known_to(&self, entry: &Entry) -> Result<(), Problem> {
        for (epoch, lines) in self.case.epochs.iter().zip(&self.lines.epochs) {
            (entry.knows)(epoch).map_err(|(step, error)| {
                let line = lines.steps.get(step - 1).copied().unwrap_or_default();
                self.wrong(format!("line {line}, {error}"))
            })?;
        }
        Ok(())
    }
}

/// Replays a case.
///
/// # Errors
/// See [`Problem`]; those that the case is to blame for name its file.
pub(crate) fn replay(
    client: &mut Client,
    entry: &Entry,
    saved: &Saved,
    options: ReplayOptions,
) -> Result<Answer, Problem> {
    saved.known_to(entry)?;
    let request = Request {
        case: saved.text.clone(),
        task: Task::Replay { trace: options.trace, debug: options.debug },
        continuation: Vec::new(),
        budget: Budget::default(),
        known: Vec::new(),
        muted: None,
        stacks: Stacks::All,
        keep: options.keep,
    };
    client.ask(entry, &request, &mut |_| {}).map_err(|problem| match problem {
        Problem::Environment(why) => saved.wrong(why),
        Problem::NotDeterministic(_) => problem,
    })
}

/// Replays a failure once with the stacks of its calls, to name the source line that wrote each of
/// its lost and torn pieces: recording them in every run would cost more than the runs. Returns
/// what the user should know if the case does not come out as it was found.
///
/// # Errors
/// See [`Problem`]; a case that cannot be replayed is no problem but something to know.
pub(crate) fn name_sites(
    client: &mut Client,
    entry: &Entry,
    failure: &mut Failure,
) -> Result<Option<String>, Problem> {
    if failure.pieces.iter().all(|piece| piece.site.is_some()) {
        return Ok(None);
    }
    let saved = parse_case(Path::new("the case"), failure.case.clone())?;
    let differs =
        |why: String| Ok(Some(format!("the case of this failure replays differently: {why}")));
    let answer = match replay(client, entry, &saved, ReplayOptions::default()) {
        Ok(answer) => answer,
        Err(Problem::Environment(why)) => return differs(why),
        Err(problem) => return Err(problem),
    };
    if let Err(why) = as_expected(&saved.case, &answer) {
        return differs(why);
    }
    let again = answer.failures.first().map_or(&[][..], |again| &again.pieces);
    for (piece, again) in failure.pieces.iter_mut().zip(again) {
        if (&piece.what, &piece.fate) == (&again.what, &again.fate) {
            piece.site.clone_from(&again.site);
        }
    }
    Ok(None)
}

/// How a case is replayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayOptions {
    /// List every call.
    pub(crate) trace: bool,
    /// Recover in the explorer itself, without limits.
    pub(crate) debug: bool,
    /// Write the files of the last crash state into this directory.
    pub(crate) keep: Option<PathBuf>,
}

/// Whether an answer is what a case expects; if not, why.
pub(crate) fn as_expected(case: &Case, answer: &Answer) -> Result<(), String> {
    match (&case.expect, answer.failures.first()) {
        (Expect::Pass, None) => Ok(()),
        (Expect::Pass, Some(failure)) => {
            Err(format!("expected no violation, found {}: {}", failure.class, failure.message))
        }
        (Expect::Violation(class, _), None) => Err(format!("expected {class}, found no violation")),
        (Expect::Violation(class, signature), Some(failure)) => {
            let signature = signature.as_ref().map(ToString::to_string);
            let same = class.to_string() == failure.class
                && signature.is_none_or(|signature| signature == failure.signature);
            if same {
                return Ok(());
            }
            Err(format!(
                "expected {}, found {} ({})",
                case.expect, failure.class, failure.signature
            ))
        }
    }
}

/// Reads the cases of a sim from its folder in a corpus, in the order of their names. A missing
/// folder holds none.
///
/// # Errors
/// A file that cannot be read or is no case, by name.
pub(crate) fn corpus(folder: &Path, sim: &str) -> Result<Vec<Saved>, Problem> {
    let folder = folder.join(sim);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Problem::Environment(format!("{}: {error}", folder.display())));
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    paths.iter().map(|path| read_case(path)).collect()
}

/// Reads a case file.
///
/// # Errors
/// The file, and the line and column of what is wrong in it.
pub(crate) fn read_case(path: &Path) -> Result<Saved, Problem> {
    let wrong = |error: String| Problem::Environment(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_CASE + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LONGEST_CASE {
        return Err(wrong(format!("too long for a case: more than {} MiB", LONGEST_CASE >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&b| b == b'\n')
            .count();
        wrong(format!("line {line}: not UTF-8"))
    })?;
    parse_case(path, text)
}

/// Reads the text of a case; errors name it by `path`.
///
/// # Errors
/// The line and column of what is wrong in it.
pub(crate) fn parse_case(path: &Path, text: String) -> Result<Saved, Problem> {
    let wrong = |error| Problem::Environment(format!("{}: {error}", path.display()));
    let (case, lines) = Case::parse_with_lines(&text).map_err(wrong)?;
    Ok(Saved { path: path.to_owned(), case, text, lines })
}

/// A case is for people to read: nothing longer than this is one.
const LONGEST_CASE: u64 = 4 << 20;

/// Class and signature of the known findings among some cases.
pub(crate) fn known(cases: &[Saved]) -> Vec<(String, String)> {
    let finding = |case: &Case| match (&case.known, &case.expect) {
        (Some(_), Expect::Violation(class, Some(signature))) => {
            Some((class.to_string(), signature.to_string()))
        }
        _ => None,
    };
    cases.iter().filter_map(|saved| finding(&saved.case)).collect()
}
