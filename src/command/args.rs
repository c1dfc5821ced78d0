//! The arguments of the command.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::seed::Seed;
use crate::nightly::arguments::Shares;
use crate::nightly::shard::Shard;
use crate::shrink::BUDGET;

/// Runs storage engines on a simulated disk, cuts the power everywhere, and checks what they
/// promised.
#[derive(Parser)]
#[command(name = "crashpoint", version, args_conflicts_with_subcommands = true)]
#[command(after_long_help = EXITS)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Test sims from one seed (the default): a table, and exit 0 only if nothing was violated
    /// and the canary was found
    Run(RunArgs),
    /// Test without end: resumable, in shards that can be merged, with a report
    Campaign(CampaignArgs),
    /// Add up the directories of a campaign's shards, finished or not
    Merge(MergeArgs),
    /// Replay a case file, or the workload of a sim and a seed
    Replay(ReplayArgs),
    /// Make a case file that fails small, and write the smaller case beside the other results
    Shrink(ShrinkArgs),
    /// Show every state that a crash may leave of a few calls
    Litmus(LitmusArgs),
    /// List sims, promises and profiles
    List,
}

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The sims to run; all of them if none is named
    #[arg(value_name = "SIM")]
    pub(crate) sims: Vec<String>,
    /// The seed that decides the run: a number, 0x and 16 hexadecimal digits, or a Git hash
    #[arg(long, default_value = "1")]
    pub(crate) seed: Seed,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Mute each sync call site in turn and see which are load-bearing
    #[arg(long)]
    pub(crate) mute_syncs: bool,
    /// Fail each call of some short workloads, and of a recovery, in turn
    #[arg(long, conflicts_with = "mute_syncs")]
    pub(crate) fail_calls: bool,
    /// How many jobs to run at once, such as one sim on one profile; as many as there are CPUs if
    /// not given. The results are the same for any number
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Show and save each failure as it was found. `CRASHPOINT_SHRINK=0` does the same
    #[arg(long)]
    pub(crate) no_shrink: bool,
    /// Write one JSON object per event to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl RunArgs {
    /// The number of jobs that run at once.
    pub(crate) fn jobs(&self) -> NonZero<usize> {
        self.jobs
            .unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }
}

/// The flags of `campaign`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CampaignArgs {
    /// The sims to test; all of them if none is named
    #[arg(value_name = "SIM")]
    pub(crate) sims: Vec<String>,
    /// The name, from which every seed follows: another name tests other workloads
    #[arg(long, default_value = "nightly", value_parser = campaign_name)]
    pub(crate) name: String,
    /// End after this time, such as 8h, 90m or 30s; without it and --cells, only a signal ends it
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// End after the first N cells of the whole campaign; a cell is one workload of one sim on one
    /// profile
    #[arg(long, value_name = "N")]
    pub(crate) cells: Option<u64>,
    /// How many cells to work on at once; as many as there are CPUs if not given
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Only part I of N, counted from 0. If not given, the variables of a scheduler say it: Slurm,
    /// Bazel, Buildkite, CircleCI, GitLab, Kubernetes, HyperQueue, in this order
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Only this profile; may be given several times
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// The shares of the lanes: crashes, failed calls with full disks, schedules of threads
    #[arg(long, value_name = "A,B,C", default_value = "6,1,1", value_parser = shares)]
    pub(crate) shares: Shares,
    /// The directory of the ledger, the findings, the summary and the report; one that exists is
    /// continued
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// End at the first new finding
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Exit 1 if some fault kind, relaxation, op or promise never came up
    #[arg(long)]
    pub(crate) require_all: bool,
    /// Print a job file for this command line, and do nothing else
    #[arg(long, value_name = "SYSTEM", value_enum)]
    pub(crate) print: Option<System>,
}

/// The arguments of `merge`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MergeArgs {
    /// Directories of one campaign
    #[arg(value_name = "DIR", required = true)]
    pub(crate) from: Vec<PathBuf>,
    /// The directory of the result; one that exists is added to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Exit 1 if some fault kind, relaxation, op or promise never came up
    #[arg(long)]
    pub(crate) require_all: bool,
}

/// A system that runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// An array of Slurm.
    Slurm,
    /// An indexed job of Kubernetes.
    Kubernetes,
    /// A workflow of GitHub Actions.
    GithubActions,
    /// A job of HyperQueue.
    Hyperqueue,
    /// A service and a timer of systemd.
    Systemd,
}

/// A name that is part of paths.
fn campaign_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !text.is_empty() && text.len() <= 100 && text.chars().all(plain) && !text.starts_with('.')
    {
        true => Ok(text.to_owned()),
        false => Err("a name has letters, digits, `-`, `_` and `.`, 100 at most".to_owned()),
    }
}

/// A time such as `8h`, `90m`, `30s` or `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 8h, 90m, 30s or 1h30m".to_owned();
    let (mut seconds, mut digits) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'd' => 24 * 60 * 60,
            'h' => 60 * 60,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let number: u64 = std::mem::take(&mut digits).parse().map_err(|_| wrong())?;
        let more = number.checked_mul(unit).ok_or_else(wrong)?;
        seconds = seconds.checked_add(more).filter(|&all| all < 1 << 40).ok_or_else(wrong)?;
    }
    match digits.is_empty() && !text.is_empty() {
        true => Ok(Duration::from_secs(seconds)),
        false => Err(wrong()),
    }
}

/// The shares of the lanes.
fn shares(text: &str) -> Result<Shares, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    let shares = numbers.ok().and_then(|numbers| Shares::try_from(numbers).ok());
    match shares {
        Some(shares) if shares.iter().any(|share| *share > 0) => Ok(shares),
        _ => Err("expected three numbers such as 6,1,1, not all of them 0".to_owned()),
    }
}

/// The arguments of `replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// A case file, or the name of a sim
    #[arg(value_name = "FILE|SIM")]
    pub(crate) what: String,
    /// With a sim: the seed of its workload, as a report prints it
    pub(crate) seed: Option<Seed>,
    /// With a sim: the profile
    #[arg(long, value_name = "NAME", default_value = "posix")]
    pub(crate) profile: String,
    /// Print every call
    #[arg(long)]
    pub(crate) trace: bool,
    /// Write the crash state out as real files
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Recover in one process, without limits, so that breakpoints work
    #[arg(long)]
    pub(crate) debug: bool,
}

/// The arguments of `shrink`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShrinkArgs {
    /// A case file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How many recoveries to spend
    #[arg(long, value_name = "N", default_value_t = BUDGET)]
    pub(crate) budget: u64,
}

/// The arguments of `litmus`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LitmusArgs {
    /// The program: `setup` and `body`, one call a line
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Let one pending write be torn
    #[arg(long)]
    pub(crate) tear: bool,
    /// Print one JSON object per profile
    #[arg(long)]
    pub(crate) json: bool,
}

/// The exit codes, as the help shows them; [`super::Exit`] in words.
const EXITS: &str = "\
Exit codes:
  0  no violation
  1  a violation was found, a case did not come out as it expects, or the canary was missed
  2  the arguments, a file or the machine are to blame
  3  the same thing done twice made different calls: a bug of the harness
  75  the machine does not allow it now: a full disk, a missing permission, a lock: try again
  130, 143  Ctrl-C or SIGTERM ended it; a campaign continues when it is run again";
