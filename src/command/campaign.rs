//! The verb `campaign`: cells without end, each in the ledger before it counts.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::args::CampaignArgs;
use super::outcome::{finish, write_all};
use super::terminal::{Terminal, Tone};
use super::{Exit, find, interrupt, jobfile};
use crate::base::digest::Digester;
use crate::campaign::client::Client;
use crate::campaign::entry::Entry;
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::campaign::{corpus, target};
use crate::explore::job::Kind;
use crate::explore::tally::Tally;
use crate::nightly::arguments::{Campaign, FORMAT, Header, Planned};
use crate::nightly::cell::{Cell, Met, Outcome};
use crate::nightly::ledger::{Ledger, Opened};
use crate::nightly::shard::{Shard, of_environment};
use crate::nightly::total::Total;
use crate::nightly::universe::Universe;
use crate::nightly::work::{Subject, work};
use crate::nightly::{build, findings};
use crate::report::page::grouped;

/// How often the summary and the report are written while a campaign runs.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// `campaign`.
pub(super) fn campaign(
    registry: &Registry,
    args: &CampaignArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let subjects = subjects(registry, args)?;
    if let Some(system) = args.print {
        jobfile::job_file(system, args).lines().for_each(|line| terminal.line(line));
        return Ok(Exit::Clean);
    }
    let shard = shard(args, terminal)?;
    let campaign = campaign_of(&subjects, args)?;
    let entries: Vec<Entry> = subjects.values().map(|subject| subject.entry).collect();
    let universe = Universe::new(&campaign, &entries);
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.name, shard));
    let header = Header { campaign, shards: vec![shard] };
    let Opened { ledger, total, cut } = Ledger::open(&folder, &header)?;
    announce(&folder, shard, &total, cut, terminal);
    let mut client = Client::start()?;
    client.notices().iter().for_each(|notice| terminal.notice(notice));
    let mut run = Run { args, folder, ledger, total, universe, written: now(), new: 0 };
    run.save()?;
    let failed = run.all(&mut client, &subjects, shard, terminal).err();
    terminal.clear_progress();
    let written = write_all(&run.folder, &run.total, &run.universe);
    if let Some(problem) = failed {
        return Err(problem);
    }
    written?;
    let exit = finish(&run.folder, &run.total, &run.universe, args.require_all, terminal);
    let bytes = run.ledger.length();
    let text = format!("{}, {} KiB", run.folder.join("ledger.jsonl").display(), bytes >> 10);
    terminal.status(Tone::Plain, "Ledger", &text);
    Ok(match interrupt::exit() {
        Some(ended) => {
            terminal.status(Tone::Odd, "Interrupted", "run the same command to continue");
            ended
        }
        None => exit,
    })
}

#[expect(clippy::disallowed_methods, reason = "real time decides how many cells there are")]
fn now() -> Instant {
    Instant::now()
}

/// The sims of a campaign with their known findings.
fn subjects(
    registry: &Registry,
    args: &CampaignArgs,
) -> Result<BTreeMap<&'static str, Subject>, Problem> {
    let mut entries = Vec::new();
    for name in &args.sims {
        entries.push(*find(registry, name).map_err(Problem::Environment)?);
    }
    if entries.is_empty() {
        entries.clone_from(&registry.sims);
    }
    let mut subjects = BTreeMap::new();
    for entry in entries {
        for profile in &args.profiles {
            entry.profile(profile).map_err(Problem::environment)?;
        }
        let known = corpus::known(&corpus::corpus(&registry.corpus, entry.name)?);
        subjects.insert(entry.name, Subject { entry, known });
    }
    Ok(subjects)
}

/// The shard that the flag names, or else a scheduler.
fn shard(args: &CampaignArgs, terminal: &mut Terminal) -> Result<Shard, Problem> {
    if let Some(shard) = args.shard {
        return Ok(shard);
    }
    let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let Some((shard, scheduler)) = of_environment(&variable).map_err(Problem::environment)? else {
        return Ok(Shard::WHOLE);
    };
    terminal.notice(&format!("shard {shard}, as {scheduler} says"));
    // Bazel wants to know that the program divides its work.
    if let Some(file) = variable("TEST_SHARD_STATUS_FILE") {
        std::fs::write(&file, "")
            .map_err(|error| Problem::Unavailable(format!("{file}: {error}")))?;
    }
    Ok(shard)
}

fn campaign_of(
    subjects: &BTreeMap<&'static str, Subject>,
    args: &CampaignArgs,
) -> Result<Campaign, Problem> {
    let mut digester = Digester::default();
    digester.add_number(build::of_this_program()?);
    let mut sims = Vec::new();
    for Subject { entry, known } in subjects.values() {
        let mut profiles = match args.profiles.is_empty() {
            true => entry.profiles.iter().map(|profile| profile.name.to_owned()).collect(),
            false => args.profiles.clone(),
        };
        profiles.sort();
        profiles.dedup();
        for Kind { class, signature } in known {
            digester.add(format!("{} {class} {signature}", entry.name).as_bytes());
        }
        let survives = !(entry.survives)().is_empty();
        sims.push(Planned { sim: entry.name.to_owned(), profiles, survives });
    }
    let (name, build) = (args.name.clone(), digester.finish().to_string());
    Ok(Campaign { format: FORMAT, name, build, sims, shares: args.shares })
}

/// The directory if none is named.
fn default_folder(name: &str, shard: Shard) -> PathBuf {
    let folder = target::folder().join("campaigns");
    match shard {
        Shard::WHOLE => folder.join(name),
        Shard { index, of } => folder.join(format!("{name}-{index}-of-{of}")),
    }
}

fn announce(folder: &Path, shard: Shard, total: &Total, cut: u64, terminal: &mut Terminal) {
    let campaign = &total.header.campaign;
    let of = if shard == Shard::WHOLE { String::new() } else { format!(", shard {shard}") };
    let text = format!("{}{of}, build {}, in {}", campaign.name, campaign.build, folder.display());
    terminal.status(Tone::Plain, "Campaign", &text);
    if cut > 0 {
        let text = format!("the last line of the ledger was torn: {cut} bytes cut off");
        terminal.notice(&text);
    }
    if !total.cells.is_empty() {
        let (cells, found) = (grouped(total.cells.len() as u64), total.findings.len());
        let text = format!("{cells} cells are done, with {found} findings");
        terminal.status(Tone::Plain, "Resumed", &text);
    }
}

/// A campaign under way.
struct Run<'a> {
    args: &'a CampaignArgs,
    folder: PathBuf,
    ledger: Ledger,
    total: Total,
    universe: Universe,
    /// When the summary was written.
    written: Instant,
    /// New findings.
    new: u64,
}

/// A report of a worker.
enum Report {
    Progress(Cell, Box<Tally>),
    Done(Cell, Box<(Outcome, Met)>),
    Failed(Problem),
}

impl Run<'_> {
    /// Works on cells until they, the time or the patience end.
    fn all(
        &mut self,
        client: &mut Client,
        subjects: &BTreeMap<&'static str, Subject>,
        shard: Shard,
        terminal: &mut Terminal,
    ) -> Result<(), Problem> {
        let campaign = self.total.header.campaign.clone();
        let done = self.total.cells.clone();
        let cells = campaign.cells(shard, self.args.cells);
        let left = Mutex::new(cells.filter(|cell| !done.contains_key(cell)));
        let (stop, until) = (AtomicBool::new(false), self.args.time.map(|time| now() + time));
        let (sender, reports) = channel();
        let next = || {
            let over = stop.load(Ordering::Relaxed) || until.is_some_and(|until| now() >= until);
            let cell = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
            if over { None } else { cell() }
        };
        let campaign = &campaign;
        let worker = |client: &mut Client, sender: &Sender<Report>| {
            while let Some(cell) = next() {
                let Some(subject) = subjects.get(cell.sim.as_str()) else { return };
                let mut progress = |tally: &Tally| {
                    let _ = sender.send(Report::Progress(cell.clone(), Box::new(*tally)));
                };
                let report = match work(client, subject, campaign, &cell, &mut progress) {
                    Ok(None) => return,
                    Ok(Some(done)) => Report::Done(cell, Box::new(done)),
                    Err(_) if crate::host::interrupt::requested().is_some() => return,
                    Err(problem) => Report::Failed(problem),
                };
                if sender.send(report).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            let jobs = self.args.jobs.or_else(|| thread::available_parallelism().ok());
            for _ in 1..jobs.map_or(1, NonZero::get) {
                let sender = sender.clone();
                scope.spawn(move || match Client::start() {
                    Ok(mut client) => worker(&mut client, &sender),
                    Err(problem) => drop(sender.send(Report::Failed(problem))),
                });
            }
            scope.spawn(move || worker(client, &sender));
            let ended = self.collect(&reports, &stop, terminal);
            stop.store(true, Ordering::Relaxed);
            ended
        })
    }

    /// Takes in what workers report.
    fn collect(
        &mut self,
        reports: &std::sync::mpsc::Receiver<Report>,
        stop: &AtomicBool,
        terminal: &mut Terminal,
    ) -> Result<(), Problem> {
        for report in reports {
            match report {
                Report::Progress(cell, tally) => self.progress(&cell, &tally, terminal),
                Report::Failed(problem) if crate::host::interrupt::requested().is_none() => {
                    return Err(problem);
                }
                Report::Failed(_) => {}
                Report::Done(cell, done) => {
                    let (outcome, met) = *done;
                    self.progress(&cell, &Tally::default(), terminal);
                    self.done(cell, outcome, met, terminal)?;
                    if self.args.fail_fast && self.new > 0 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(())
    }

    fn progress(&self, cell: &Cell, tally: &Tally, terminal: &mut Terminal) {
        let counts = self.total.counts();
        let all = Tally {
            points: counts.points + tally.points,
            states: counts.states + tally.states,
            recoveries: counts.recoveries + tally.recoveries,
            violations: counts.violations + tally.violations,
            ..Tally::default()
        };
        let of = self.args.cells.unwrap_or(0);
        terminal.progress(&cell.to_string(), counts.cells, of, &all);
    }

    /// Counts a cell once its line is in the ledger, and shows what is new in it.
    fn done(
        &mut self,
        cell: Cell,
        outcome: Outcome,
        met: Met,
        terminal: &mut Terminal,
    ) -> Result<(), Problem> {
        let reports: BTreeMap<Kind, String> =
            met.cases.iter().map(|(kind, shown)| (kind.clone(), shown.report.clone())).collect();
        let notices = met.notices.clone();
        let line = self.total.line(cell, outcome, met);
        self.ledger.append(&line)?;
        let known: Vec<Kind> = reports
            .keys()
            .filter(|kind| {
                self.total.findings.contains_key(&(line.cell.sim.clone(), (*kind).clone()))
            })
            .cloned()
            .collect();
        let refused = self.total.refused.len();
        self.total.add(&line).map_err(Problem::Environment)?;
        let smaller = !line.cases.is_empty();
        for notice in notices {
            terminal.notice_once(&format!("{}: {notice}", line.cell.sim));
        }
        for (kind, report) in reports.iter().filter(|(kind, _)| !known.contains(kind)) {
            self.new += 1;
            terminal.block(Tone::Bad, report);
            terminal.status(Tone::Bad, "New", &line.cell.to_string());
            let path = self.folder.join(findings::path(&line.cell.sim, kind));
            // In one line, to be pasted.
            terminal.line(&format!("{:>12} crashpoint replay {}", "", path.display()));
        }
        if let Some(how) = &line.outcome.differs {
            let text = format!("{}: not the same when done twice", line.cell);
            terminal.status(Tone::Bad, "Differs", &text);
            how.lines().for_each(|line| terminal.line(&format!("{:>12} {line}", "")));
        }
        if self.total.refused.len() > refused
            && let Some(why) = &line.outcome.refused
        {
            terminal.status(Tone::Bad, "Refused", &format!("{}: {why}", line.cell.sim));
        }
        if smaller {
            self.save()?;
        }
        if now().duration_since(self.written) >= WRITE_EVERY {
            write_all(&self.folder, &self.total, &self.universe)?;
            self.written = now();
        }
        Ok(())
    }

    fn save(&self) -> Result<(), Problem> {
        findings::save(&self.folder, &self.total).map(drop)
    }
}
