//! The verb `merge`: adds up the directories of a campaign's shards, finished or not.

use super::Exit;
use super::args::MergeArgs;
use super::outcome::{finish, write_all};
use super::terminal::{Terminal, Tone};
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::nightly::ledger::{self, Hold};
use crate::nightly::merge::Union;
use crate::nightly::universe::Universe;
use crate::report::page::grouped;

/// `merge`.
pub(super) fn merge(
    registry: &Registry,
    args: &MergeArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Problem> {
    let mut union = None;
    for folder in &args.from {
        Union::add_folder(&mut union, folder)?;
    }
    // Held until the end: nothing else may change what is there.
    let hold = Hold::take(&args.out)?;
    if hold.has_ledger {
        Union::add_folder(&mut union, &args.out)?;
    }
    let union = union.ok_or_else(|| Problem::environment("there is nothing to merge"))?;
    let total = union.total().map_err(Problem::Environment)?;
    ledger::replace(&args.out, &union.text())?;
    let entries: Vec<_> = registry.all().copied().collect();
    let universe = Universe::new(&total.header.campaign, &entries);
    write_all(&args.out, &total, &universe)?;
    let (shards, cells) = (total.header.shards.len(), grouped(total.cells.len() as u64));
    let text = format!(
        "{}: {shards} shards, {cells} cells, in {}",
        total.header.campaign.name,
        args.out.display()
    );
    terminal.status(Tone::Plain, "Merged", &text);
    Ok(finish(&args.out, &total, &universe, args.require_all, terminal))
}
