//! Edits of a case that keep the rest of it valid: positions and faults follow the steps that they
//! name.

use std::ops::Range;

use crate::case::{Case, Epoch};

/// The case without some steps of an epoch, both counted from 0.
pub(super) fn without_steps(case: &Case, epoch: usize, steps: Range<usize>) -> Case {
    let mut case = case.clone();
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let (gone, from) = (number(steps.len()), number(steps.start));
    let until = from.saturating_add(gone);
    // A step of the case is counted from 1, so the removed ones are those in `from + 1..=until`.
    let moved = |step: u32| if step > until { step - gone } else { step.min(from) };
    for fault in case.faults.iter_mut().filter(|fault| fault.epoch == number(epoch + 1)) {
        // A fault counts calls from its step on: then it counts from the step that took its place.
        fault.step = match fault.step {
            step if step > from && step <= until => from + 1,
            step => moved(step),
        };
    }
    let Some(edited) = case.epochs.get_mut(epoch) else { return case };
    edited.steps.drain(steps);
    if let Some(crash) = &mut edited.crash {
        crash.position.step = moved(crash.position.step);
    }
    case
}

/// The case without an epoch: without its steps, its faults and its crash.
pub(super) fn without_epoch(case: &Case, epoch: usize) -> Case {
    let mut case = case.clone();
    case.epochs.remove(epoch);
    let number = u32::try_from(epoch + 1).unwrap_or(u32::MAX);
    case.faults.retain(|fault| fault.epoch != number);
    for fault in case.faults.iter_mut().filter(|fault| fault.epoch > number) {
        fault.epoch -= 1;
    }
    if case.epochs.is_empty() {
        case.epochs.push(Epoch::default());
    }
    trimmed(case)
}

/// The case without the crash between an epoch and the next one: the steps of both are one epoch.
pub(super) fn joined(case: &Case, epoch: usize) -> Case {
    let mut case = case.clone();
    let next = if epoch + 1 < case.epochs.len() {
        case.epochs.remove(epoch + 1)
    } else {
        Epoch::default()
    };
    let Some(first) = case.epochs.get_mut(epoch) else { return case };
    let before = u32::try_from(first.steps.len()).unwrap_or(u32::MAX);
    first.steps.extend(next.steps);
    first.crash = next.crash;
    if let Some(crash) = &mut first.crash {
        crash.position.step = crash.position.step.saturating_add(before);
    }
    let number = u32::try_from(epoch + 1).unwrap_or(u32::MAX);
    for fault in case.faults.iter_mut().filter(|fault| fault.epoch > number) {
        fault.epoch -= 1;
        if fault.epoch == number {
            fault.step = fault.step.saturating_add(before);
        }
    }
    trimmed(case)
}

/// The case without empty epochs at its end, which change nothing.
pub(super) fn trimmed(mut case: Case) -> Case {
    while case.epochs.len() > 1
        && case.epochs.last().is_some_and(|last| {
            last.steps.is_empty()
                && last.crash.is_none()
                && last.turns.as_ref().is_none_or(Vec::is_empty)
        })
    {
        case.epochs.pop();
    }
    case
}
