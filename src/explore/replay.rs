//! Carries a case out as it is written: record, crash where it says, recover, and so on.

use std::path::Path;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::text::quote;
use crate::base::time::Time;
use crate::case::{Crash, Epoch};
use crate::disk::effect::Kind;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::rot::{Rot, Rotting};
use crate::disk::tree::{Body, Tree};
use crate::log::{Payload, records};
use crate::oracle::{AfterFault, CrashKind, Violation};
use crate::process::world::Stacks;
use crate::sim::model::Model;

use super::calls::Calls;
use super::event::{event, fault_kind};
use super::explorer::{After, Explorer, Recovered, Stop};
use super::failure::{self, Crashed, EVICTED, Left, PAGES};
use super::judge::Judge;
use super::protocol::{Failure, Frame, Task};
use super::trace;
use super::walk::{Line, Point};

/// Replays the case of a request.
pub(crate) fn replay<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    let (trace, debug) = match explorer.request.task {
        Task::Replay { trace, debug } => (trace, debug),
        Task::Explore | Task::Record | Task::Faults => (false, false),
    };
    let epochs = explorer.case.epochs.clone();
    let mut judge = Judge::new(explorer.promises(), explorer.created_apart());
    let mut run = explorer.record(Stacks::All)?;
    explorer.tally.run = run.outcome.digest;
    explorer.note(Digest(0), run.outcome.digest);
    let mut pending = Pending::new(Tree::new(), &explorer.profile);
    let mut before: Option<Failure> = None;
    let mut start = Time::START;
    for (depth, epoch) in epochs.iter().enumerate() {
        let number = u32::try_from(depth + 1).unwrap_or(u32::MAX);
        judge.begin(Rc::new(explorer.steps(epoch)?), explorer.lasting(number));
        if trace {
            trace_epoch(explorer, depth, &run, &pending);
        }
        let Some(crash) = &epoch.crash else {
            let violated = judge.outcome(&run.outcome, start);
            return finish(explorer, violated, &run, before);
        };
        let line = Line {
            epochs: epochs[..depth].to_vec(),
            epoch: epoch.clone(),
            depth: u32::try_from(depth).unwrap_or(u32::MAX),
            turns: None,
            muted: false,
        };
        let calls = Calls::index(&run.log, &mut explorer.sites);
        let line_number = explorer.lines.epochs.get(depth).and_then(|lines| lines.crash);
        let mut whole = judge.clone();
        let reached = reach(crash, epoch, &run.log, &calls, &mut pending, &mut judge);
        if let (Err(_), Err(violation)) = (&reached, whole.outcome(&run.outcome, start)) {
            // It never came to the crash because it went wrong before.
            return finish(explorer, Err(violation), &run, before);
        }
        let point = reached.map_err(|why| on_line(line_number, &why))?;
        let left = left(crash, &pending, explorer.after_rot())
            .map_err(|why| on_line(line_number, &why))?;
        let crashed = Crashed { kind: crash.kind, point: &point, left };
        let mut told = describe(explorer, &line, &calls, &crashed, &pending);
        pending = fall(&crashed, &run.log, &pending);
        fallen(&crashed, &mut judge);
        let next = epochs.get(depth + 1).cloned().unwrap_or_default();
        let last = depth + 2 >= epochs.len();
        if let Some(folder) = explorer.request.keep.clone().filter(|_| last) {
            keep(pending.live(), &folder)?;
        }
        if debug && last {
            explorer.debug();
        }
        let tree = pending.live().clone();
        start = point.at + crash.down;
        let acked = Rc::clone(judge.acked(crashed.judged_as()));
        let epoch = number.saturating_add(1);
        let after = After { kind: crash.kind, at: point.at, epoch, down: crash.down, acked };
        run = explorer.recover_alone(&tree, &after, &next, Stacks::All)?;
        explorer.note(tree.digest(), run.outcome.digest);
        told.digest = run.outcome.digest;
        before = Some(told);
        if depth + 1 == epochs.len() {
            judge.begin(Rc::default(), explorer.lasting(epoch));
            if trace {
                trace_epoch(explorer, depth + 1, &run, &pending);
            }
            let violated = judge.outcome(&run.outcome, start);
            return finish(explorer, violated, &run, before);
        }
    }
    Ok(())
}

fn finish<M: Model>(
    explorer: &mut Explorer<'_, M>,
    violated: Result<(), Violation>,
    run: &Recovered,
    told: Option<Failure>,
) -> Result<(), Stop> {
    let Err(violation) = violated else { return Ok(()) };
    let mut failure = failure::without_crash(explorer, &violation, &run.outcome);
    if let Some(told) = told {
        failure.point = told.point;
        failure.pieces = told.pieces;
        failure.counts = told.counts;
    }
    failure.case = explorer.case.to_string();
    explorer.violated(failure)
}

/// Tells the judge of a crash that left this disk.
fn fallen<M: Model>(crashed: &Crashed<'_>, judge: &mut Judge<M>) {
    judge.crash(crashed.judged_as(), crashed.point.at);
    if let Left::Rotten(.., answer) = crashed.left {
        judge.rotten(answer);
    }
}

/// Walks a log up to the crash point of a case.
fn reach<M: Model>(
    crash: &Crash,
    epoch: &Epoch,
    log: &[u8],
    calls: &Calls,
    pending: &mut Pending,
    judge: &mut Judge<M>,
) -> Result<Point, String> {
    let mut found = Point::start(log);
    let there = |point: &Point| {
        (point.step, point.effect, point.returned, point.replies, point.ended)
            == (crash.step, crash.effect, crash.returned, crash.replies, crash.ended)
    };
    let steps = steps(crash, epoch);
    let mut records = records(log);
    while !there(&found) {
        let Some(record) = records.next() else {
            return Err(never(crash, epoch, log));
        };
        found.pass(&record, steps);
        match record.payload {
            Payload::Effect(effect) => pending.apply(&effect, record.at),
            Payload::Mark(mark) => {
                if let Some(event) = event(record.at, &mark) {
                    judge.event(&event).map_err(|violation| {
                        format!("violated before the crash: {}", violation.message)
                    })?;
                }
            }
            Payload::Call(call) => {
                if let Some(event) = fault_kind(record.at, &call) {
                    let _ = judge.event(&event);
                }
            }
        }
    }
    let now = failure::within(calls, &found);
    // What came next may have been of a step that the case leaves out.
    let last = found.flight.is_none() && now.is_none();
    if crash.within.is_some() && crash.within.as_deref() != now && !last {
        let then = crash.within.as_deref().unwrap_or_default();
        let now = now.unwrap_or("the end");
        return Err(format!(
            "at step={} effect={} the run is in {now}, not in {then}: the case no longer fits",
            crash.step, crash.effect
        ));
    }
    Ok(found)
}

fn on_line(line: Option<usize>, why: &str) -> Stop {
    let colon = if why.starts_with("column ") { "," } else { ":" };
    Stop::Refused(match line {
        Some(line) => format!("line {line}{colon} {why}"),
        None => why.to_owned(),
    })
}

/// How many steps the run had that a crash point is counted in. What returns last is followed by
/// the closing, unless there were more steps, which a case leaves out.
fn steps(crash: &Crash, epoch: &Epoch) -> usize {
    let last = crash.step as usize == epoch.steps.len();
    epoch.steps.len() + usize::from(crash.returned && last)
}

/// Why a run does not come to a crash point: it has fewer steps, or the step changes less.
fn never(crash: &Crash, epoch: &Epoch, log: &[u8]) -> String {
    let Crash { step, effect, .. } = *crash;
    let steps = epoch.steps.len();
    if step as usize > steps + 1 {
        return format!(
            "the run never comes to step={step}: closing, step={}, is its last",
            steps + 1
        );
    }
    let mut point = Point::start(log);
    let most = records(log)
        .filter_map(|record| {
            point.pass(&record, self::steps(crash, epoch));
            (point.step == step).then_some(point.effect)
        })
        .max();
    match most {
        Some(most) if most >= effect && crash.replies > 0 => {
            let replies = crash.replies;
            format!("the run never comes to step={step} effect={effect} replies={replies}")
        }
        Some(most) if most >= effect && crash.ended > 0 => {
            let ended = crash.ended;
            format!("step={step} effect={effect} never has ended={ended} openings and closings")
        }
        Some(most) if most >= effect => {
            format!("step={step} never returns: drop `returned`, or the case no longer fits")
        }
        Some(most) => {
            format!("the run never comes to step={step} effect={effect}: effect={most} is its last")
        }
        None => format!("the run never comes to step={step}"),
    }
}

/// What a case says that its crash left.
fn left(
    crash: &Crash,
    pending: &Pending,
    after_rot: fn(&Rotting<'_>) -> AfterFault,
) -> Result<Left, String> {
    if crash.kind == CrashKind::Power {
        let (last, rest) = match crash.fate.split_last() {
            Some((last, rest)) if last.bytes.starts_with(b"rot=") => (Some(last), rest),
            _ => (None, &crash.fate[..]),
        };
        let fate = Fate::parse(rest, pending).map_err(|error| error.to_string())?;
        let Some(last) = last else { return Ok(Left::Fate(fate)) };
        let rot = Rot::parse(last).map_err(|error| error.to_string())?;
        let answer = rot.asked(&pending.keep(&fate).tree, after_rot).ok_or_else(|| {
            format!("the crash state has no {}: nothing can rot there", rot.place())
        })?;
        return Ok(Left::Rotten(fate, rot, answer));
    }
    match crash.fate.as_slice() {
        [] => Ok(Left::All),
        [word] if word.bytes == EVICTED.as_bytes() => Ok(Left::Evicted),
        [word] => {
            let text = word.text();
            let pages = text.strip_prefix(PAGES).and_then(|number| number.parse().ok());
            pages.map(Left::Pages).ok_or_else(|| {
                let column = word.column;
                let text = quote(&word.bytes);
                format!(
                    "column {column}: `{text}` does not go with a process crash: expected {PAGES}N or {EVICTED}"
                )
            })
        }
        [_, extra, ..] => Err(format!(
            "column {}: a process crash takes {PAGES}N or {EVICTED} at most",
            extra.column
        )),
    }
}

/// The disk after the crash.
fn fall(crashed: &Crashed<'_>, log: &[u8], pending: &Pending) -> Pending {
    let point = crashed.point;
    match &crashed.left {
        Left::Fate(fate) => Pending::new(pending.keep(fate).tree, pending.profile()),
        Left::Rotten(fate, rot, _) => {
            let mut tree = pending.keep(fate).tree;
            rot.apply(&mut tree);
            Pending::new(tree, pending.profile())
        }
        Left::All => pending.process_crash(point.at),
        Left::Evicted => pending.evicted(point.at),
        Left::Pages(pages) => {
            let mut effects = records(log).filter_map(|record| match record.payload {
                Payload::Effect(effect) => Some((effect, record.at)),
                _ => None,
            });
            match effects.nth(point.effects as usize) {
                Some((effect, at)) => pending.partial_write(&effect, *pages, at),
                None => pending.process_crash(point.at),
            }
        }
    }
}

/// What a report says about a crash, before it is known what comes of it.
fn describe<M: Model>(
    explorer: &Explorer<'_, M>,
    line: &Line,
    calls: &Calls,
    crashed: &Crashed<'_>,
    pending: &Pending,
) -> Failure {
    let mut failure = Failure {
        case: explorer.case.to_string(),
        point: failure::place(crashed, calls, line.depth, pending),
        ..Failure::default()
    };
    if let Left::Fate(fate) | Left::Rotten(fate, ..) = &crashed.left {
        (failure.pieces, failure.counts) = failure::pieces(pending, fate, calls);
    }
    failure
}

fn trace_epoch<M: Model>(
    explorer: &mut Explorer<'_, M>,
    depth: usize,
    run: &Recovered,
    pending: &Pending,
) {
    let heading = if depth == 0 { "the run".to_owned() } else { format!("after crash {depth}") };
    explorer.send(&Frame::Trace(format!("-- {heading}")));
    for line in trace::lines(&run.log, pending.live(), &mut explorer.sites) {
        explorer.send(&Frame::Trace(line));
    }
    explorer.send(&Frame::Trace(format!("-- {}", run.outcome.ending)));
}

/// Writes a crash state out as real files.
fn keep(tree: &Tree, folder: &Path) -> Result<(), Stop> {
    let failed = |path: &Path, error: std::io::Error| {
        Stop::Refused(format!("--keep {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let occupied =
        std::fs::read_dir(folder).map_err(|error| failed(folder, error))?.next().is_some();
    if occupied {
        return Err(Stop::Refused(format!("--keep {}: it is not empty", folder.display())));
    }
    let mut paths: Vec<_> = tree.paths().into_iter().collect();
    paths.sort_by(|one, other| one.1.cmp(&other.1));
    for (ino, path) in paths {
        let Some(node) = tree.node(ino) else { continue };
        let path = folder.join(String::from_utf8_lossy(&path).as_ref());
        let write = || match &node.body {
            Body::File(content) => std::fs::write(&path, content.to_vec()),
            Body::Directory(_) => std::fs::create_dir_all(&path),
            Body::Symlink(target) => {
                std::os::unix::fs::symlink(String::from_utf8_lossy(target).as_ref(), &path)
            }
        };
        debug_assert!(matches!(node.kind(), Kind::File | Kind::Directory | Kind::Symlink));
        write().map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
