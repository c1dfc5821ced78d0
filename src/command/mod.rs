//! The command: verbs, flags, exit codes.

pub(crate) mod litmus;
pub(crate) mod out;
pub(crate) mod verbs;

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::base::seed::Seed;
use crate::base::text::quote;
use crate::campaign::client::{Client, Problem};
use crate::campaign::registry::Entry;
use crate::campaign::run::{self, ReplayOptions};
use crate::disk::profile::Profile;

/// What the command works on.
#[derive(Clone)]
pub struct Registry {
    /// The sims, in the order of the table.
    pub sims: Vec<Entry>,
    /// A sim with a bug that each run must find.
    pub canary: Option<Entry>,
    /// The folder of saved cases, one folder a sim.
    pub corpus: PathBuf,
}

impl Registry {
    /// The sim of this name; the canary is one too.
    fn find(&self, name: &str) -> Result<&Entry, Problem> {
        self.look_up(name).map_err(Problem::Environment)
    }

    fn look_up(&self, name: &str) -> Result<&Entry, String> {
        let mut all = self.sims.iter().chain(&self.canary);
        all.find(|entry| entry.name == name).ok_or_else(|| {
            let all = self.sims.iter().chain(&self.canary);
            let names: Vec<&str> = all.map(|entry| entry.name).collect();
            let (name, names) = (quote(name.as_bytes()), names.join(", "));
            format!("there is no sim `{name}`; there are: {names}")
        })
    }
}

/// Runs storage engines on a simulated disk, cuts the power everywhere, and checks what they
/// promised.
#[derive(Parser)]
#[command(name = "crashpoint", version, args_conflicts_with_subcommands = true)]
#[command(after_long_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Subcommand)]
enum Verb {
    /// Test sims from one seed (the default): a table, and exit 0 only if nothing was violated
    /// and the canary was found
    Run(RunArgs),
    /// Replay a case file, or the workload of a sim and a seed
    Replay(ReplayArgs),
    /// Show every state that a crash may leave of a few calls
    Litmus(LitmusArgs),
    /// List sims, promises and profiles
    List,
}

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The sims to run; all of them if none is named
    #[arg(value_name = "SIM")]
    pub sims: Vec<String>,
    /// The seed that decides the run: a number, 0x and 16 hexadecimal digits, or a Git hash
    #[arg(long, default_value = "1")]
    pub seed: Seed,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Mute each sync call site in turn and see which are load-bearing
    #[arg(long)]
    pub mute_syncs: bool,
    /// Fail each call of some short workloads, and of a recovery, in turn
    #[arg(long, conflicts_with = "mute_syncs")]
    pub fail_calls: bool,
    /// How many sims to run at once; as many as there are CPUs if not given. The results are the
    /// same for any number
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Write one JSON object per event to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl RunArgs {
    /// How many sims run at once.
    pub(crate) fn jobs(&self) -> NonZero<usize> {
        self.jobs
            .unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }
}

/// The arguments of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// A case file, or the name of a sim
    #[arg(value_name = "FILE|SIM")]
    pub what: String,
    /// With a sim: the seed of its workload, as a report prints it
    pub seed: Option<Seed>,
    /// With a sim: the profile
    #[arg(long, value_name = "NAME", default_value = "posix")]
    pub profile: String,
    /// Print every call
    #[arg(long)]
    pub trace: bool,
    /// Write the crash state out as real files
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Recover in one process, without limits, so that breakpoints work
    #[arg(long)]
    pub debug: bool,
}

/// The arguments of `litmus`.
#[derive(Args, Clone, Debug)]
pub struct LitmusArgs {
    /// The program: `setup` and `body`, one call a line
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Let one pending write be torn
    #[arg(long)]
    pub tear: bool,
    /// Print one JSON object per profile
    #[arg(long)]
    pub json: bool,
}

/// The exit codes, as the help shows them; [`Exit`] in words.
const EXITS: &str = "\
Exit codes:
  0  no violation
  1  a violation was found, a case did not come out as it expects, or the canary was missed
  2  the arguments, a file or the machine are to blame
  3  the same thing done twice made different calls: a bug of the harness";

/// Exit codes, as documented in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// No violation.
    Clean = 0,
    /// A violation was found, or a case did not come out as it expects, or the canary was missed.
    Violation = 1,
    /// The arguments, a file or the machine are to blame.
    Usage = 2,
    /// The same thing was done twice with different calls: the harness is to blame.
    NotDeterministic = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command over a registry of sims: the whole of a binary's `main`.
pub fn main(registry: &Registry) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // A closed pipe is no error of ours.
            let _ = error.print();
            return if usage { Exit::Usage.into() } else { Exit::Clean.into() };
        }
    };
    let mut out = verbs::Out::new(cli.color);
    let done = match cli.verb {
        None => run(registry, &cli.run, &mut out),
        Some(Verb::Run(args)) => run(registry, &args, &mut out),
        Some(Verb::Replay(args)) => replay(registry, &args, &mut out),
        Some(Verb::Litmus(args)) => litmus(&args, &mut out),
        Some(Verb::List) => {
            verbs::list(registry, &mut out);
            Ok(Exit::Clean)
        }
    };
    let exit = done.unwrap_or_else(|problem| {
        out.problem(&problem);
        match problem {
            Problem::Environment(_) => Exit::Usage,
            Problem::NotDeterministic(_) => Exit::NotDeterministic,
        }
    });
    exit.into()
}

/// The help of the command and of each verb, one after the other: for tests of what else is
/// written about them.
pub fn usage() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = command.render_long_help().to_string();
    for verb in command.get_subcommands_mut() {
        text.push_str(&verb.render_long_help().to_string());
    }
    text
}

fn litmus(args: &LitmusArgs, out: &mut verbs::Out) -> Result<Exit, Problem> {
    if let Some(profile) = &args.profile {
        Profile::find(profile, &[]).map_err(|error| Problem::Environment(error.to_string()))?;
    }
    litmus::litmus(args, out)?;
    Ok(Exit::Clean)
}

fn run(registry: &Registry, args: &RunArgs, out: &mut verbs::Out) -> Result<Exit, Problem> {
    let mut sims = Vec::new();
    for name in &args.sims {
        sims.push(*registry.find(name)?);
    }
    if sims.is_empty() {
        sims.clone_from(&registry.sims);
    }
    for sim in &sims {
        args.profile
            .as_ref()
            .map_or(Ok(()), |name| sim.profile(name).map(drop))
            .map_err(Problem::Environment)?;
    }
    if args.mute_syncs {
        return verbs::mute_syncs(registry, &sims, args, out);
    }
    let mut client = Client::start()?;
    verbs::run(&mut client, registry, &sims, args, out)
}

fn replay(registry: &Registry, args: &ReplayArgs, out: &mut verbs::Out) -> Result<Exit, Problem> {
    if let Some(seed) = args.seed {
        let entry = *registry.find(&args.what)?;
        entry.profile(&args.profile).map_err(Problem::Environment)?;
        let mut client = Client::start()?;
        return verbs::replay_seed(&mut client, entry, seed, args, out);
    }
    let path = PathBuf::from(&args.what);
    if registry.find(&args.what).is_ok() && !path.exists() {
        let message =
            format!("`replay {}` needs the seed of a workload, or a case file", args.what);
        return Err(Problem::Environment(message));
    }
    let saved = run::read_case(&path)?;
    let on_line = |line| move |why| format!("line {line}: {why}");
    let entry = registry.look_up(&saved.case.sim).map_err(on_line(saved.lines.sim));
    let entry = *entry.map_err(|why| saved.wrong(why))?;
    let profile = entry.profile(&saved.case.profile).map_err(on_line(saved.lines.profile));
    profile.map_err(|why| saved.wrong(why))?;
    let mut client = Client::start()?;
    let keep = args.keep.as_ref().map(std::path::absolute).transpose();
    let keep = keep.map_err(|error| Problem::Environment(format!("--keep: {error}")))?;
    let options = ReplayOptions { trace: args.trace, debug: args.debug, keep };
    verbs::replay_case(&mut client, &entry, &saved, options, out)
}
