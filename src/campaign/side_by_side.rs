//! Works on the parts of a run in parallel: each worker has its own fork server and takes the next
//! part when it has finished one. Results are reported in the order of the parts.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::problem::Problem;
use crate::explore::tally::Tally;
use crate::host::interrupt;

/// The progress of a part.
pub(crate) struct Progress {
    /// A description of the work in progress.
    pub(crate) what: String,
    /// The number of workloads done.
    pub(crate) done: u64,
    /// The number of workloads.
    pub(crate) all: u64,
    /// The counts so far.
    pub(crate) tally: Tally,
}

/// Does `work` on each part, `jobs` at once; `begin` makes the resource of a worker. `progress`
/// sees the first part that is not done, `done` each result in the order of the parts.
///
/// # Errors
/// The error of the first part, in their order, that had one. No part is begun after an error.
pub(crate) fn side_by_side<'p, P: Sync, W, T: Send>(
    parts: &'p [P],
    jobs: NonZero<usize>,
    begin: impl Fn() -> Result<W, Problem> + Sync,
    work: impl Fn(&mut W, &P, &mut dyn FnMut(Progress)) -> Result<T, Problem> + Sync,
    mut progress: impl FnMut(Progress),
    mut done: impl FnMut(&'p P, T) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, reports) = channel();
    let worker = |sender: Sender<Report<T>>| {
        let mut with = None;
        while !stop.load(Ordering::Relaxed) && interrupt::requested().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(number) else { return };
            let result = begun(&mut with, &begin).and_then(|with| {
                work(with, part, &mut |at| send(&sender, Report::Progress(number, at)))
            });
            // An interrupt ends the fork server that was being started.
            if result.is_err() && interrupt::requested().is_some() {
                return;
            }
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            send(&sender, Report::Done(number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(parts.len()) {
            let sender = sender.clone();
            scope.spawn(|| worker(sender));
        }
        drop(sender);
        let mut first = 0;
        let mut waiting = BTreeMap::new();
        for report in reports {
            match report {
                Report::Progress(number, at) if number == first => progress(at),
                Report::Progress(..) => {}
                Report::Done(number, result) => {
                    waiting.insert(number, result);
                }
            }
            while let Some(result) = waiting.remove(&first) {
                let shown = result.and_then(|result| done(&parts[first], result));
                if shown.is_err() {
                    stop.store(true, Ordering::Relaxed);
                    return shown;
                }
                first += 1;
            }
        }
        Ok(())
    })
}

/// A report of a worker, with the number of its part.
enum Report<T> {
    Progress(usize, Progress),
    Done(usize, Result<T, Problem>),
}

/// The worker's resource, made when it is first needed.
fn begun<W>(
    with: &mut Option<W>,
    begin: impl Fn() -> Result<W, Problem>,
) -> Result<&mut W, Problem> {
    match with {
        Some(with) => Ok(with),
        None => Ok(with.insert(begin()?)),
    }
}

fn send<T>(sender: &Sender<Report<T>>, report: Report<T>) {
    // The receiver is gone if an earlier part had an error: then this report does not matter.
    let _ = sender.send(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [u64; 6] = [3, 1, 4, 1, 5, 9];

    /// Does parts, of which `bad` fails. Returns the results in the order in which they were
    /// shown, and the error.
    fn done_with(jobs: usize, bad: u64) -> (Vec<u64>, Option<String>) {
        let mut shown = Vec::new();
        let gate = std::sync::Barrier::new(jobs);
        let ended = side_by_side(
            &PARTS,
            NonZero::new(jobs).expect("some"),
            || {
                // All workers have a part before one of them is done.
                gate.wait();
                Ok(())
            },
            |(), part, _| match *part == bad {
                true => Err(Problem::Environment(format!("part {part}"))),
                false => Ok(part * 10),
            },
            |_| {},
            |_, result| {
                shown.push(result);
                Ok(())
            },
        );
        (shown, ended.err().map(|error| error.to_string()))
    }

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        for jobs in [1, 2, 6] {
            assert_eq!(done_with(jobs, 0), (vec![30, 10, 40, 10, 50, 90], None), "{jobs}");
        }
    }

    #[test]
    fn the_first_error_in_order_ends_the_run_after_the_results_before_it() {
        for jobs in [1, 2, 6] {
            let (shown, error) = done_with(jobs, 4);
            assert_eq!((shown, error.as_deref()), (vec![30, 10], Some("part 4")), "{jobs}");
        }
    }

    #[test]
    fn there_are_no_more_workers_than_parts() {
        let begun = AtomicUsize::new(0);
        let begin = || {
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let jobs = NonZero::new(64).expect("some");
        let work = |(): &mut (), _: &u64, _: &mut dyn FnMut(Progress)| Ok(());
        side_by_side(&[1], jobs, begin, work, |_| {}, |_, ()| Ok(())).expect("no error");
        assert_eq!(begun.into_inner(), 1);
    }
}
