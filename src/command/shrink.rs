//! The verb `shrink`: makes a case small that fails.

use super::Exit;
use super::args::ShrinkArgs;
use super::replay::entry_of;
use super::terminal::{Terminal, Tone};
use crate::campaign::client::Client;
use crate::campaign::corpus::read_case;
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::campaign::target;
use crate::case::Case;
use crate::report::page::grouped;
use crate::report::text::{Commands, report};
use crate::shrink::{Counts, shrink as shrink_case};

/// `shrink`. The file is left as it is; the smaller case is written into the target folder each
/// time that one is found, so that an interrupt keeps the best.
pub(super) fn shrink(
    registry: &Registry,
    args: &ShrinkArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let saved = read_case(&args.file)?;
    let entry = entry_of(registry, &saved)?;
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-small.case");
    let mut client = Client::start()?;
    let mut best = saved.case.clone();
    let mut progress = |case: &Case, recoveries: u64| {
        if *case != best {
            if best == saved.case {
                let path = target::folder().join(&name);
                let text = "each smaller case is written to it, so you may interrupt this";
                terminal.notice(&format!("{}: {text}", path.display()));
            }
            best.clone_from(case);
            // The last write says what is wrong with the folder.
            let _ = target::write(&name, &case.to_string());
        }
        let (budget, counts) = (grouped(args.budget), Counts::of(case));
        let spent = grouped(recoveries);
        terminal.working(format!("{spent}/{budget} recoveries  {}: {counts}", entry.name));
    };
    let shrunk = shrink_case(&mut client, &entry, &saved.case, args.budget, &mut progress)
        .map_err(|problem| saved.locate(problem))?;
    terminal.clear_progress();
    let text = shrunk.finding.case.to_string();
    let written = target::write(&name, &text);
    let path = match &written {
        Ok(path) => path.display().to_string(),
        Err(_) => name.clone(),
    };
    let replay = format!("crashpoint replay {path}");
    let commands = Commands { replay, shrunk: Some(shrunk.to_string()), ..Commands::default() };
    terminal.block(Tone::Bad, &report(&shrunk.finding, &commands));
    if shrunk.elsewhere {
        let why = "the smaller case loses what another line wrote: it may be another bug";
        terminal.notice(why);
    }
    match written {
        Ok(path) => terminal.status(Tone::Plain, "Case", &path.display().to_string()),
        Err(problem) => {
            terminal.notice(&format!("the case could not be written: {problem}"));
            text.lines().for_each(|line| terminal.line(line));
        }
    }
    Ok(Exit::Violation)
}
