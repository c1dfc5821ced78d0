//! A state that was read back, in the form that histories are compared with.

use std::collections::BTreeSet;

use super::diff::differences;
use crate::base::time::Time;
use crate::sim::model::Model;
use crate::sim::state::State;

/// The state that was read back, with the times of the read and the items to leave out.
#[derive(Clone)]
pub(super) struct Reading<'a> {
    pub(super) from: Time,
    pub(super) to: Time,
    pub(super) state: &'a State,
    /// Items that are not compared: they could not be read, or they expire during the read.
    pub(super) hidden: BTreeSet<Vec<u8>>,
}

impl Reading<'_> {
    /// Whether a model shows this state: each item as at the start or at the end of the read.
    pub(super) fn fits<M: Model>(&self, model: &mut M) -> bool {
        let early = model.state(self.from);
        if early.digest() == self.state.digest() && early == self.state {
            return true;
        }
        if !M::TIMED && self.hidden.is_empty() {
            return false;
        }
        let early = early.clone();
        let late = model.state(self.to);
        differences(&early, self.state).iter().all(|change| {
            self.hidden.contains(&*change.item)
                || late.get(&change.item) == self.state.get(&change.item)
        })
    }
}
