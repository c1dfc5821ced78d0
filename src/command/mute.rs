//! `run --mute-syncs`: a table of sync call sites and whether each one is needed.

use std::cell::RefCell;

use super::Exit;
use super::args::RunArgs;
use super::plan::{Planned, planned};
use super::terminal::{Terminal, Tone};
use crate::campaign::client::Client;
use crate::campaign::entry::Entry;
use crate::campaign::jobs::Part;
use crate::campaign::mute::{self, ReachedSite};
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::campaign::run::PartResult;
use crate::campaign::side_by_side::{Progress, side_by_side};
use crate::explore::tally::Tally;
use crate::host::cpu;
use crate::report::event::{Event, FORMAT, Muted};
use crate::report::json::Json;
use crate::report::page::COLUMNS;

/// A sync call site of a part, to be muted.
struct ToMute<'a> {
    planned: &'a Planned,
    site: ReachedSite,
    /// With the first site of a part: the number of its sites.
    first_of: Option<usize>,
}

/// `run --mute-syncs`. First all workloads are recorded to find the sites; then each site is muted
/// by whichever worker is free.
pub(super) fn mute_syncs(
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let mut json = Json::create(args.json.as_deref())?;
    let names: Vec<&str> = sims.iter().map(|entry| entry.name).collect();
    let (format, seed, processor) = (FORMAT, args.seed, cpu::model());
    json.write(&Event::Start { format, seed, sims: names, processor })?;
    // A site that matters is found soon; to show that one does not matter, much must be explored.
    let planned = planned(registry, sims, args, 1)?;
    let shown = RefCell::new(&mut *terminal);
    let progress = |at: Progress| shown.borrow_mut().progress(&at.what, at.done, at.all, &at.tally);
    let mut to_mute = Vec::new();
    side_by_side(
        &planned,
        args.jobs(),
        Client::start,
        |client, Planned { part, .. }, progress| {
            let what = format!("{}: sync call sites", part.title());
            progress(Progress { what, done: 0, all: part.workloads, tally: Tally::default() });
            mute::sync_sites(client, part, args.seed)
        },
        progress,
        |planned, sites| {
            let count = sites.len();
            if count == 0 {
                show_count(&planned.part, count, &mut shown.borrow_mut());
            }
            for (index, site) in sites.into_iter().enumerate() {
                to_mute.push(ToMute { planned, site, first_of: (index == 0).then_some(count) });
            }
            Ok(())
        },
    )?;
    side_by_side(
        &to_mute,
        args.jobs(),
        Client::start,
        |client, ToMute { planned: Planned { part, known }, site, .. }, progress| {
            let what = format!("{} without {}", part.title(), site.sync.site);
            let all = site.workloads.len() as u64;
            mute::mute(client, part, args.seed, known, site, &mut |done, tally| {
                progress(Progress { what: what.clone(), done, all, tally: *tally });
            })
        },
        progress,
        |to_mute, result| show(to_mute, &result, &mut json, &mut shown.borrow_mut()),
    )?;
    Ok(Exit::Clean)
}

fn show_count(part: &Part, sites: usize, terminal: &mut Terminal) {
    terminal.clear_progress();
    let text = format!("{}: {sites} sync call sites", part.title());
    terminal.status(Tone::Plain, "Muted", &text);
}

fn show(
    to_mute: &ToMute<'_>,
    result: &PartResult,
    json: &mut Json,
    terminal: &mut Terminal,
) -> Result<(), Problem> {
    let ToMute { planned: Planned { part, .. }, site, first_of } = to_mute;
    terminal.clear_progress();
    let muted = Muted::new(part, &site.sync, result, *first_of);
    if let Some(count) = muted.first_of {
        show_count(part, count, terminal);
    }
    let (verdict, call, site) = (muted.verdict.to_string(), muted.syncs, muted.site);
    let row = format!("  {verdict:<38} {call:<9} {site}");
    if row.len() <= COLUMNS {
        terminal.line(&row);
    } else {
        terminal.line(&format!("  {verdict:<38} {call}"));
        terminal.line(&format!("{:>12} {site}", ""));
    }
    json.write(&Event::Muted(muted))
}
