//! The verb `litmus`: reads a program and prints what each profile allows.

use serde::Serialize;

use super::Exit;
use super::args::LitmusArgs;
use super::terminal::Terminal;
use crate::base::text::quote;
use crate::campaign::problem::Problem;
use crate::disk::profile::Profile;
use crate::litmus::{LitmusState, Program, explore};
use crate::report::event::FORMAT;
use crate::report::page::grouped;

/// One line of `--json`.
#[derive(Serialize)]
struct ProfileStates<'a> {
    format: u32,
    program: &'a str,
    profile: &'a str,
    states: &'a [LitmusState],
}

/// Prints every state of a program on one profile, or on each.
///
/// # Errors
/// The file cannot be read, or a line of it is wrong.
pub(super) fn litmus(args: &LitmusArgs, terminal: &mut Terminal) -> Result<Exit, Problem> {
    if let Some(profile) = &args.profile {
        Profile::find(profile, &[]).map_err(Problem::environment)?;
    }
    let shown = quote(args.file.display().to_string().as_bytes());
    let wrong = |why: String| Problem::Environment(format!("{shown}: {why}"));
    let bytes = std::fs::read(&args.file).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("the file is not text".to_owned()))?;
    let program = Program::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let name = args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let named = args.profile.as_deref().and_then(Profile::by_name);
    let profiles = named.map_or_else(|| Profile::all().to_vec(), |profile| vec![profile]);
    for profile in profiles {
        let states =
            explore(&program, &profile, args.tear).map_err(|why| wrong(why.to_string()))?;
        if args.json {
            let line = ProfileStates {
                format: FORMAT,
                program: &name,
                profile: profile.name,
                states: &states,
            };
            let line = serde_json::to_string(&line).map_err(|error| wrong(error.to_string()))?;
            terminal.line(&line);
        } else {
            show(&name, &profile, &states, terminal);
        }
    }
    Ok(Exit::Clean)
}

/// A heading, and one line for each state.
fn show(name: &str, profile: &Profile, states: &[LitmusState], terminal: &mut Terminal) {
    terminal.line(&format!("{name} on {}: {} states", profile.name, grouped(states.len() as u64)));
    let text = |state: &LitmusState| match state.state.as_slice() {
        [] => "(nothing)".to_owned(),
        lines => lines.join("  "),
    };
    let width = states.iter().map(|state| text(state).len()).max().unwrap_or(0).min(WIDEST);
    for state in states {
        let names: Vec<&str> =
            state.relaxations.iter().map(|relaxation| relaxation.name()).collect();
        let line = format!("  {:<width$}  {}", text(state), names.join(", "));
        terminal.line(line.trim_end());
    }
}

/// The widest column of states: longer states push the relaxations to the right.
const WIDEST: usize = 60;
