//! The arguments of the command.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::seed::Seed;
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
  3  the same thing done twice made different calls: a bug of the harness";
