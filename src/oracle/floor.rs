//! Floors: how many ops must survive a crash. Acknowledgements raise them, now or at a later time.

use std::collections::BTreeMap;

use crate::base::time::Time;
use crate::sim::engine::{Ack, Level};
use crate::sim::promise::CrashKind;

/// The number of one client's ops that must survive one kind of crash.
#[derive(Clone, Debug, Default)]
struct Floor {
    now: u32,
    /// From each time on, at least this number. Times and numbers both rise strictly.
    later: Vec<(Time, u32)>,
}

impl Floor {
    fn at(&self, time: Time) -> u32 {
        let due = self.later.partition_point(|(deadline, _)| *deadline <= time);
        let later = due.checked_sub(1).map_or(0, |last| self.later[last].1);
        self.now.max(later)
    }

    fn raise(&mut self, count: u32) {
        self.now = self.now.max(count);
    }

    fn raise_from(&mut self, deadline: Time, count: u32) {
        while self.later.last().is_some_and(|(last, _)| *last >= deadline) {
            self.later.pop();
        }
        self.later.push((deadline, count));
    }

    /// Applies what is due at `time`, which keeps the list of later promises short.
    fn take_due(&mut self, time: Time) {
        self.now = self.at(time);
        self.later.retain(|(deadline, _)| *deadline > time);
    }
}

/// One client's floor for each kind of crash.
#[derive(Clone, Debug, Default)]
struct ClientFloors {
    process: Floor,
    power: Floor,
}

/// The floors of a store, by client: for the whole of it, and for its parts where the order is
/// promised part by part.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors {
    whole: Vec<ClientFloors>,
    parts: BTreeMap<Vec<u8>, Vec<ClientFloors>>,
}

impl Floors {
    /// An op returned `ack` at `at`, which covers the first `count` ops of this client, in this
    /// part or, for `None`, in the whole store.
    pub(super) fn promise(
        &mut self,
        part: Option<Vec<u8>>,
        client: usize,
        count: u32,
        ack: Ack,
        at: Time,
    ) {
        let clients = match part {
            None => &mut self.whole,
            Some(part) => self.parts.entry(part).or_default(),
        };
        if clients.len() <= client {
            clients.resize_with(client + 1, ClientFloors::default);
        }
        let ClientFloors { process, power } = &mut clients[client];
        for (floor, needed) in [(process, Level::Flushed), (power, Level::Durable)] {
            floor.take_due(at);
            match ack {
                Ack::Now(level) | Ack::Rising(level, ..) if level >= needed => floor.raise(count),
                Ack::Within(level, delay) | Ack::Rising(_, level, delay) if level >= needed => {
                    floor.raise_from(at + delay, count);
                }
                Ack::Now(_) | Ack::Within(..) | Ack::Rising(..) => {}
            }
        }
    }

    /// Applies what is due at `time`; what was promised for later is void.
    pub(super) fn settle(&mut self, time: Time) {
        for both in self.whole.iter_mut().chain(self.parts.values_mut().flatten()) {
            for floor in [&mut both.process, &mut both.power] {
                floor.take_due(time);
                floor.later.clear();
            }
        }
    }

    /// The number of ops of each client that must survive a crash: in this part, what is promised
    /// for the whole store included, or, for `None`, in the whole store. No op must survive of a
    /// client beyond the end of the list.
    pub(super) fn low(&self, part: Option<&[u8]>, kind: CrashKind, time: Time) -> Vec<u32> {
        let at = |both: &ClientFloors| match kind {
            CrashKind::Process => both.process.at(time),
            CrashKind::Power => both.power.at(time),
        };
        let mut low: Vec<u32> = self.whole.iter().map(at).collect();
        let part = part.and_then(|part| self.parts.get(part)).map_or(&[][..], Vec::as_slice);
        low.resize(low.len().max(part.len()), 0);
        for (low, both) in low.iter_mut().zip(part) {
            *low = (*low).max(at(both));
        }
        low
    }

    /// The sum of all floors. No floor ever falls, so along one run equal sums mean equal floors.
    pub(super) fn sum(&self, kind: CrashKind, time: Time) -> u64 {
        let sum = |low: Vec<u32>| low.into_iter().map(u64::from).sum::<u64>();
        let parts = self.parts.keys().map(|part| sum(self.low(Some(part), kind, time)));
        sum(self.low(None, kind, time)) + parts.sum::<u64>()
    }
}
