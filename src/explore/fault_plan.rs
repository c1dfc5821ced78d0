//! The faults that a workload gets from its seed, as far as its sim promises something after them.
//!
//! Every other workload has a failed write or sync. Of the rest one in five has some other fault,
//! if the sim promises something whichever call fails, and a few of those without have a small
//! disk. Each kind of fault is drawn from its own stream, so that adding a kind does not change the
//! faults of the others.

use crate::base::seed::Seed;
use crate::case::fault::{Fault, FaultClass as C, InjectionKind as E};
use crate::disk::Errno;
use crate::disk::space::Space;
use crate::explore::chooser::{Choice, Chooser};
use crate::oracle::{AfterFault, FaultKind, Promises};
use crate::sim::Sim;

/// A fault without its place and parameter: what is injected, into which calls, and whether it
/// lasts.
type RareFault = (E, C, bool);

/// The faults besides failed writes and syncs, all of them equally rare.
const RARE_FAULTS: [RareFault; 28] = [
    (E::Io, C::Open, false),
    (E::Io, C::Read, false),
    (E::Io, C::Rename, false),
    (E::Io, C::Unlink, false),
    (E::Io, C::Truncate, false),
    (E::Io, C::Stat, false),
    (E::Io, C::Close, false),
    (E::Io, C::Write, true),
    (E::Io, C::Sync, true),
    (E::Io, C::Call, true),
    (E::NoSpace, C::Create, false),
    (E::NoSpace, C::Mkdir, false),
    (E::NoSpace, C::Rename, false),
    (E::NoSpace, C::Allocate, false),
    (E::NoSpace, C::Sync, false),
    (E::NoSpace, C::Call, true),
    (E::Quota, C::Write, false),
    (E::Quota, C::Call, true),
    (E::Files, C::Open, false),
    (E::Files, C::Open, true),
    (E::Interrupted, C::Call, false),
    (E::Interrupted, C::Close, false),
    (E::ReadOnly, C::Write, false),
    (E::ReadOnly, C::Sync, false),
    (E::Short, C::Read, false),
    (E::Short, C::Write, false),
    (E::Corrupt, C::Read, false),
    (E::Slow, C::Call, false),
];

/// One workload in this many has a given one of the rare faults.
const RARE: u64 = 112;
/// One rare fault in this many waits for the recovery.
const LATER: u64 = 4;

/// Of the workloads without a fault, one in this many has a small disk.
const SMALL_DISK: u64 = 24;

/// Draws the size of a workload's disk, if it is small; `delays` says that the profile delays its
/// allocation.
pub(crate) fn space<S: Sim>(seed: Seed, delays: bool) -> Option<Space> {
    let promises = S::promises();
    let promised = |fault_kind| promises.answer(fault_kind) > AfterFault::Nothing;
    let mut random = Chooser::new(seed.derive("space", 0));
    let mut draw = |options| random.choose(Choice::Fault, options);
    if !FaultKind::OF_EVERY_CALL.into_iter().all(promised) || draw(SMALL_DISK) > 0 {
        return None;
    }
    // An engine's need is unknown: as likely between 2 and 4 as between 512 and 1,024.
    let least = 2 << draw(9);
    let pages = least + draw(least);
    let inodes = if draw(4) == 0 { 3 + draw(8) } else { u64::MAX };
    let error = if draw(4) == 0 { Errno::EDQUOT } else { Errno::ENOSPC };
    Some(Space { pages, inodes, error, delayed: delays && draw(2) == 0 })
}

/// Draws the faults of a workload with `steps` steps. A fault may wait for a call that never comes.
pub(crate) fn faults<S: Sim>(seed: Seed, steps: usize) -> Vec<Fault> {
    let promises = S::promises();
    let promised = |fault_kind| promises.answer(fault_kind) > AfterFault::Nothing;
    let any = FaultKind::OF_EVERY_CALL.into_iter().all(promised);
    let kinds = RARE_FAULTS.into_iter().filter(|_| any);
    let rare = || kinds.into_iter().find_map(|kind| rare(&promises, kind, seed, steps));
    common(&promises, seed, steps).or_else(rare).into_iter().collect()
}

/// A failed write or sync, in every other workload.
fn common<M: crate::oracle::Model>(
    promises: &Promises<M>,
    seed: Seed,
    steps: usize,
) -> Option<Fault> {
    let mut random = Chooser::new(seed);
    let mut draw = |options| random.choose(Choice::Fault, options);
    let survives = |fault_kind| promises.answer(fault_kind) == AfterFault::Right;
    if !survives(FaultKind::FailedWrite) || !survives(FaultKind::FailedSync) || draw(2) > 0 {
        return None;
    }
    let step = draw(steps as u64 + 1) as u32;
    let nth = 1 + draw(3) as u32;
    Some(match draw(3) {
        0 => Fault { step, ..Fault::new(E::Io, C::Sync, nth) },
        1 => Fault { step, ..Fault::new(E::Io, C::Write, nth) },
        _ => {
            let after = draw(40);
            Fault { step, ..Fault::new(E::NoSpace.with(after), C::Write, nth) }
        }
    })
}

/// A given rare fault, in few workloads.
fn rare<M: crate::oracle::Model>(
    promises: &Promises<M>,
    (kind, class, always): RareFault,
    seed: Seed,
    steps: usize,
) -> Option<Fault> {
    let promised = C::ALL
        .into_iter()
        .filter(|call| class.counts(*call) && kind.applies_to(*call) && *call != C::Call)
        .all(|call| promises.answer(kind.fault_kind(call)) > AfterFault::Nothing);
    let name = format!("fault {} {} {always}", kind.name(), class.name());
    let mut random = Chooser::new(seed.derive(&name, 0));
    let mut draw = |options| random.choose(Choice::Fault, options);
    if !promised || draw(RARE) > 0 {
        return None;
    }
    let epoch = if draw(LATER) == 0 { 2 } else { 1 };
    let step = if epoch == 1 { draw(steps as u64 + 1) as u32 } else { 0 };
    let most = if class == C::Call || epoch == 2 { 24 } else { 3 };
    let nth = 1 + draw(most) as u32;
    let injection = kind.with(match kind {
        E::Slow => 200 << draw(6),
        E::Short => 1 + draw(40),
        E::Corrupt => draw(200),
        _ => 0,
    });
    Some(Fault { epoch, step, always, ..Fault::new(injection, class, nth) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::store::{Bytes, KeyValue, Store};
    use std::collections::BTreeSet;
    use std::path::Path;

    /// A store that promises a right answer after every kind of fault, or nothing after any.
    struct Promising<const ALL: bool>;

    const ALL_FAULT_KINDS: &[(FaultKind, AfterFault)] = &{
        let mut all = [(FaultKind::BitRot, AfterFault::Right); FaultKind::ALL.len()];
        let mut at = 0;
        while at < all.len() {
            all[at].0 = FaultKind::ALL[at];
            at += 1;
        }
        all
    };

    impl<const ALL: bool> Store for Promising<ALL> {
        const SURVIVES: &'static [(FaultKind, AfterFault)] =
            if ALL { ALL_FAULT_KINDS } else { &[] };
        fn open(_: &Path) -> Result<Self, crate::sim::engine::Error> {
            Ok(Self)
        }
        fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), crate::sim::engine::Error> {
            Ok(())
        }
        fn delete(&mut self, _: &[u8]) -> Result<(), crate::sim::engine::Error> {
            Ok(())
        }
        fn sync(&mut self) -> Result<(), crate::sim::engine::Error> {
            Ok(())
        }
        fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, crate::sim::engine::Error> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn each_rare_fault_is_drawn_about_equally_often_and_only_if_something_is_promised_after_it() {
        let mut seen = BTreeSet::new();
        let mut rare = 0;
        for number in 0..4_000 {
            let seed = Seed(5).derive("workload", number);
            assert_eq!(faults::<KeyValue<Promising<false>>>(seed, 9), []);
            let faults = faults::<KeyValue<Promising<true>>>(seed, 9);
            for fault in faults {
                let kind = (fault.injection.kind(), fault.class, fault.always);
                rare += u64::from(RARE_FAULTS.contains(&kind));
                seen.insert(kind);
            }
        }
        assert!(RARE_FAULTS.iter().all(|kind| seen.contains(kind)), "{seen:?}");
        assert!((300..600).contains(&rare), "{rare} of 4000 workloads have a rare fault");
    }

    #[test]
    fn few_disks_are_small_and_only_with_delayed_allocation_does_a_sync_find_that() {
        let drawn = |delays| {
            let seeds = (0..4_000).map(|number| Seed(5).derive("workload", number));
            seeds.filter_map(|seed| space::<KeyValue<Promising<true>>>(seed, delays)).collect()
        };
        let (early, late): (Vec<Space>, Vec<Space>) = (drawn(false), drawn(true));
        assert!((100..250).contains(&early.len()), "{} of 4000 workloads", early.len());
        assert_eq!(early.len(), late.len());
        assert!(!early.iter().any(|space| space.delayed));
        let count = |is: fn(&Space) -> bool| late.iter().filter(|space| is(space)).count();
        assert!(count(|space| space.delayed) > 40);
        assert!(count(|space| space.inodes < 11) > 20);
        assert!(count(|space| space.error == Errno::EDQUOT) > 20);
        assert!(count(|space| space.pages < 8) > 10 && count(|space| space.pages > 256) > 10);
        let seed = Seed(5).derive("workload", 1);
        assert_eq!(space::<KeyValue<Promising<false>>>(seed, true), None);
    }

    #[test]
    fn a_common_fault_is_the_one_that_its_seed_has_always_given() {
        let promises = KeyValue::<Promising<true>>::promises();
        let seed = |number| Seed(5).derive("workload", number);
        let drawn = (0..12).filter_map(|number| common(&promises, seed(number), 9));
        let drawn: Vec<_> = drawn.map(|fault| fault.to_string()).collect();
        assert_eq!(
            drawn,
            [
                "fault EIO step=9 write=3",
                "fault EIO step=7 sync=1",
                "fault ENOSPC step=4 write=2 after=7",
                "fault EIO step=6 sync=3",
            ]
        );
    }
}
