//! The command: its verbs and its exit codes.

mod args;
mod campaign;
mod interrupt;
mod jobfile;
mod list;
mod litmus;
mod merge;
mod mute;
mod outcome;
mod plan;
mod replay;
mod run;
mod save;
mod shrink;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(feature = "inner")]
use clap::CommandFactory;
use clap::Parser;

use crate::base::text::quote;
use crate::campaign::entry::Entry;
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;

use args::{Cli, Verb};
use terminal::Terminal;

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
    /// The machine does not allow it now: a full disk, a missing permission, a lock that another
    /// process holds. `EX_TEMPFAIL` of sysexits(3).
    Unavailable = 75,
    /// Ctrl-C ended it.
    Interrupted = 128 + 2,
    /// SIGTERM ended it.
    Terminated = 128 + 15,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command for the sims of a registry: the whole of a binary's `main`.
pub fn main(registry: &Registry) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // A closed pipe is not an error.
            let _ = error.print();
            return if usage { Exit::Usage.into() } else { Exit::Clean.into() };
        }
    };
    let mut terminal = Terminal::new(cli.color);
    let done = match cli.verb {
        None => interrupt::install().and_then(|()| run::run(registry, &cli.run, &mut terminal)),
        Some(Verb::Run(args)) => {
            interrupt::install().and_then(|()| run::run(registry, &args, &mut terminal))
        }
        Some(Verb::Campaign(args)) => {
            interrupt::install().and_then(|()| campaign::campaign(registry, &args, &mut terminal))
        }
        Some(Verb::Merge(args)) => merge::merge(registry, &args, &mut terminal),
        Some(Verb::Replay(args)) => replay::replay(registry, &args, &mut terminal),
        Some(Verb::Shrink(args)) => shrink::shrink(registry, &args, &mut terminal),
        Some(Verb::Litmus(args)) => litmus::litmus(&args, &mut terminal),
        Some(Verb::List) => {
            list::list(registry, &mut terminal);
            Ok(Exit::Clean)
        }
    };
    let exit = done.unwrap_or_else(|problem| {
        terminal.problem(&problem);
        match problem {
            Problem::Environment(_) | Problem::Refused(_) => Exit::Usage,
            Problem::NotDeterministic(_) => Exit::NotDeterministic,
            Problem::Unavailable(_) => Exit::Unavailable,
        }
    });
    exit.into()
}

/// The help of the command and of each verb: for tests of other texts that name them.
#[cfg(feature = "inner")]
pub fn usage() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = command.render_long_help().to_string();
    for verb in command.get_subcommands_mut() {
        text.push_str(&verb.render_long_help().to_string());
    }
    text
}

/// The sim of this name.
fn find<'r>(registry: &'r Registry, name: &str) -> Result<&'r Entry, String> {
    registry.find(name).ok_or_else(|| {
        let names: Vec<&str> = registry.all().map(|entry| entry.name).collect();
        let (name, names) = (quote(name.as_bytes()), names.join(", "));
        format!("there is no sim `{name}`; there are: {names}")
    })
}
