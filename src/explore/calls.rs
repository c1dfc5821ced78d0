//! Which call each change of the disk belongs to, and which source line made that call.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::effect::Effect;
use crate::log::{Payload, records};

use super::message::SyncSite;
use super::site::{CallSite, Sites, SourceLine};

/// The name under which the world records stores through maps.
const STORES: &str = "store";

/// The calls of a log, by the changes that they made.
#[derive(Default)]
pub(crate) struct Calls {
    /// Each call that changed something: `call:path`, and its call site, which is empty unless the
    /// stacks were recorded.
    calls: Vec<(String, CallSite)>,
    /// The call of each change; changes after the last call belong to one that did not return.
    owners: Vec<u32>,
    /// The changes after which a process cannot have ended: stores through maps that come from
    /// between two calls have no order, so the log's own order is none that a program made.
    inside_stores: BTreeSet<u64>,
    /// The syncs of the folder above the store, which positions do not count.
    uncounted: BTreeSet<u64>,
}

impl Calls {
    /// Reads a log once; `sites` resolves and remembers source lines.
    pub(crate) fn index(log: &[u8], sites: &mut Sites) -> Self {
        let mut calls = Self::default();
        // The first change since the last record that is none, or since the first of several calls
        // of stores in a row.
        let mut stored = 0;
        for record in records(log) {
            let number = u32::try_from(calls.calls.len()).unwrap_or(u32::MAX);
            match record.payload {
                Payload::Effect(effect) => {
                    if effect.syncs_mount() {
                        calls.uncounted.insert(calls.owners.len() as u64);
                    }
                    calls.owners.push(number);
                }
                Payload::Call(call) if calls.owners.last() == Some(&number) => {
                    let path = String::from_utf8_lossy(call.path);
                    let path = path.trim_start_matches('/');
                    let name = format!("{}:{path}", plain(call.door));
                    calls.calls.push((name, CallSite(sites.resolve(call.stack))));
                    if call.door == STORES {
                        calls.inside_stores.extend(stored..calls.owners.len() as u64 - 1);
                    } else {
                        stored = calls.owners.len() as u64;
                    }
                }
                Payload::Call(_) | Payload::Mark(_) => stored = calls.owners.len() as u64,
            }
        }
        calls
    }

    /// `call:path` of the call that made change `number` of the log, counted from 0.
    pub(crate) fn name(&self, number: u64) -> Option<&str> {
        Some(self.call(number)?.0.as_str())
    }

    /// The name of the call of the first change from this number on that positions count.
    pub(crate) fn name_of_counted(&self, number: u64) -> Option<&str> {
        self.name((number..).find(|number| !self.uncounted.contains(number))?)
    }

    /// The innermost source line of that call outside the standard library and the harness.
    pub(crate) fn line(&self, number: u64) -> Option<&SourceLine> {
        self.call(number)?.1.0.first()
    }

    /// The call site of that call, if its stack was recorded.
    pub(crate) fn site(&self, number: u64) -> Option<&CallSite> {
        Some(&self.call(number)?.1).filter(|site| !site.0.is_empty())
    }

    /// Whether no process can have ended just after this change: it is one of several stores
    /// through maps, of which a process makes all before it makes another call.
    pub(crate) fn is_inside_stores(&self, number: u64) -> bool {
        self.inside_stores.contains(&number)
    }

    fn call(&self, number: u64) -> Option<&(String, CallSite)> {
        self.calls.get(*self.owners.get(number as usize)? as usize)
    }
}

/// The usual name of a call: without the 64 of the large-file variants.
fn plain(door: &str) -> &str {
    door.strip_suffix("64").unwrap_or(door)
}

/// The sync call sites of a log, each once, in order.
pub(crate) fn sync_sites(log: &[u8], sites: &mut Sites) -> Vec<SyncSite> {
    let calls = Calls::index(log, sites);
    let mut found = BTreeMap::new();
    let mut number = 0;
    for record in records(log) {
        let Payload::Effect(effect) = record.payload else { continue };
        if let (Effect::Sync(_), Some(site), Some(name)) =
            (effect, calls.site(number), calls.name(number))
        {
            let call = name.split(':').next().unwrap_or_default();
            let sync = SyncSite { site: site.clone(), call: call.to_owned() };
            found.entry(site.clone()).or_insert(sync);
        }
        number += 1;
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use crate::disk::effect::Ino;
    use crate::log::{Call, Record, encode};

    #[test]
    fn a_process_cannot_end_between_stores_that_no_call_divides() {
        let write = Payload::Effect(Effect::Write { ino: Ino(2), offset: 0, bytes: b"x" });
        let call = |door| {
            Payload::Call(Call {
                door,
                fd: -1,
                path: b"a",
                other: b"",
                arguments: [0; 2],
                result: 0,
                bytes: 0,
                unrecorded: 0,
                fault: None,
                thread: 1,
                stack: b"",
            })
        };
        let (store, pwrite) = (call(STORES), call("pwrite"));
        // Two pages of one file and one of another; a call; one page alone; two writes of a call.
        let records =
            [write, write, store, write, store, write, pwrite, write, store, write, write, pwrite];
        let mut log = vec![0; 4096];
        let mut used = 0;
        for payload in records {
            let record = Record { at: Time::START, payload };
            used += encode(&record, &mut log[used..]).expect("it fits");
        }
        let calls = Calls::index(&log[..used], &mut Sites::default());
        let inside: Vec<u64> = (0..7).filter(|&change| calls.is_inside_stores(change)).collect();
        assert_eq!(inside, [0, 1]);
    }
}
