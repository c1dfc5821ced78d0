//! Locks of whole files and of byte ranges.

use std::collections::BTreeMap;

use crashpoint::inner::disk::lock::{ByteRange, LockKind, LockOwner, RangeLock};
use crashpoint::inner::disk::{Disk, Errno, Handle};
use proptest::prelude::{Strategy, any};
use proptest::{option, prop_assert_eq};

use crate::compare::runner;
use crate::{CREATE, READ, disk, open};

const SHARED: LockKind = LockKind::Shared;
const EXCLUSIVE: LockKind = LockKind::Exclusive;
const PROCESS: LockOwner = LockOwner::Process(1);
const OTHER: LockOwner = LockOwner::Process(2);

/// A disk and two handles of one file.
fn two() -> (Disk, Handle, Handle) {
    let mut disk = disk();
    let (one, other) = (open(&mut disk, "f", CREATE), open(&mut disk, "f", CREATE));
    (disk, one, other)
}

fn range(first: u64, last: u64) -> ByteRange {
    ByteRange { first, last }
}

#[test]
fn an_exclusive_lock_keeps_other_handles_out() {
    let (mut disk, one, other) = two();
    assert_eq!(disk.flock(one, libc::LOCK_EX), Ok(()));
    assert_eq!(disk.flock(one, libc::LOCK_EX), Ok(()), "the same lock again does not conflict");
    for op in [libc::LOCK_SH, libc::LOCK_EX] {
        assert_eq!(disk.flock(other, op | libc::LOCK_NB), Err(Errno::EWOULDBLOCK));
        assert_eq!(disk.flock(other, op), Err(Errno::EDEADLK), "it would have to wait");
    }
    assert_eq!(disk.flock(one, libc::LOCK_UN), Ok(()));
    assert_eq!(disk.flock(other, libc::LOCK_EX), Ok(()));
}

#[test]
fn shared_locks_do_not_conflict() {
    let (mut disk, one, other) = two();
    assert_eq!(disk.flock(one, libc::LOCK_SH), Ok(()));
    assert_eq!(disk.flock(other, libc::LOCK_SH), Ok(()));
    assert_eq!(disk.flock(one, libc::LOCK_EX | libc::LOCK_NB), Err(Errno::EWOULDBLOCK));
    assert_eq!(disk.flock(other, libc::LOCK_EX), Ok(()), "the refused change gave the lock up");
}

#[test]
fn a_lock_goes_with_the_last_reference_to_its_handle() {
    let (mut disk, one, other) = two();
    disk.share(one).expect("it is open");
    assert_eq!(disk.flock(one, libc::LOCK_EX), Ok(()));
    disk.close(one).expect("it is open");
    assert_eq!(disk.flock(other, libc::LOCK_EX | libc::LOCK_NB), Err(Errno::EWOULDBLOCK));
    disk.close(one).expect("it is open");
    assert_eq!(disk.flock(other, libc::LOCK_EX | libc::LOCK_NB), Ok(()));
}

#[test]
fn flock_has_three_operations() {
    let (mut disk, one, _) = two();
    for op in [0, libc::LOCK_SH | libc::LOCK_EX, 64] {
        assert_eq!(disk.flock(one, op), Err(Errno::EINVAL));
    }
}

#[test]
fn whole_file_locks_and_range_locks_do_not_conflict() {
    let (mut disk, one, other) = two();
    assert_eq!(disk.flock(one, libc::LOCK_EX), Ok(()));
    assert_eq!(disk.lock_range(other, PROCESS, Some(EXCLUSIVE), ByteRange::ALL), Ok(()));
}

#[test]
fn ranges_conflict_where_they_overlap_and_one_is_exclusive() {
    let (mut disk, h, _) = two();
    assert_eq!(disk.lock_range(h, PROCESS, Some(SHARED), range(10, 19)), Ok(()));
    assert_eq!(disk.lock_range(h, OTHER, Some(SHARED), range(15, 24)), Ok(()));
    assert_eq!(disk.lock_range(h, OTHER, Some(EXCLUSIVE), range(19, 30)), Err(Errno::EAGAIN));
    assert_eq!(disk.lock_range(h, OTHER, Some(EXCLUSIVE), range(20, 30)), Ok(()));
    assert_eq!(disk.lock_range(h, OTHER, Some(EXCLUSIVE), range(0, 9)), Ok(()));
}

#[test]
fn a_process_and_a_handle_are_different_owners() {
    let (mut disk, one, other) = two();
    let handle = LockOwner::Handle(one);
    assert_eq!(disk.lock_range(one, PROCESS, Some(EXCLUSIVE), ByteRange::ALL), Ok(()));
    let refused = disk.lock_range(one, handle, Some(SHARED), ByteRange::ALL);
    assert_eq!(refused, Err(Errno::EAGAIN));
    assert_eq!(disk.lock_range(other, PROCESS, Some(SHARED), ByteRange::ALL), Ok(()));
    assert_eq!(disk.lock_range(one, handle, Some(SHARED), ByteRange::ALL), Ok(()));
}

#[test]
fn a_test_returns_the_first_conflicting_lock() {
    let (mut disk, h, _) = two();
    assert_eq!(disk.lock_range(h, OTHER, Some(EXCLUSIVE), range(10, 10)), Ok(()));
    assert_eq!(disk.lock_range(h, OTHER, Some(SHARED), range(5, 6)), Ok(()));
    let first = RangeLock { range: range(5, 6), owner: OTHER, kind: SHARED };
    let second = RangeLock { range: range(10, 10), owner: OTHER, kind: EXCLUSIVE };
    assert_eq!(disk.test_range(h, PROCESS, EXCLUSIVE, ByteRange::ALL), Ok(Some(first)));
    assert_eq!(disk.test_range(h, PROCESS, SHARED, ByteRange::ALL), Ok(Some(second)));
    assert_eq!(disk.test_range(h, PROCESS, EXCLUSIVE, range(7, 9)), Ok(None));
    assert_eq!(disk.test_range(h, OTHER, EXCLUSIVE, ByteRange::ALL), Ok(None));
}

#[test]
fn an_unlock_in_the_middle_splits_a_lock() {
    let (mut disk, h, _) = two();
    assert_eq!(disk.lock_range(h, PROCESS, Some(EXCLUSIVE), range(0, 99)), Ok(()));
    assert_eq!(disk.lock_range(h, PROCESS, None, range(40, 59)), Ok(()));
    let left = RangeLock { range: range(0, 39), owner: PROCESS, kind: EXCLUSIVE };
    let right = RangeLock { range: range(60, 99), owner: PROCESS, kind: EXCLUSIVE };
    assert_eq!(disk.test_range(h, OTHER, SHARED, range(0, 59)), Ok(Some(left)));
    assert_eq!(disk.test_range(h, OTHER, SHARED, range(40, 99)), Ok(Some(right)));
    assert_eq!(disk.test_range(h, OTHER, SHARED, range(40, 59)), Ok(None));
}

#[test]
fn locks_of_one_kind_that_touch_become_one() {
    let (mut disk, h, _) = two();
    for part in [range(0, 9), range(20, 29), range(10, 19)] {
        assert_eq!(disk.lock_range(h, PROCESS, Some(SHARED), part), Ok(()));
    }
    let joined = RangeLock { range: range(0, 29), owner: PROCESS, kind: SHARED };
    assert_eq!(disk.test_range(h, OTHER, EXCLUSIVE, range(15, 15)), Ok(Some(joined)));
}

#[test]
fn a_range_lock_needs_the_right_to_do_what_it_guards() {
    let (mut disk, _, _) = two();
    let reader = open(&mut disk, "f", READ);
    let writer = open(&mut disk, "f", libc::O_WRONLY);
    assert_eq!(disk.lock_range(reader, PROCESS, Some(SHARED), ByteRange::ALL), Ok(()));
    let refused = disk.lock_range(reader, PROCESS, Some(EXCLUSIVE), ByteRange::ALL);
    assert_eq!(refused, Err(Errno::EBADF));
    let refused = disk.lock_range(writer, PROCESS, Some(SHARED), ByteRange::ALL);
    assert_eq!(refused, Err(Errno::EBADF));
    assert_eq!(disk.lock_range(writer, PROCESS, Some(EXCLUSIVE), ByteRange::ALL), Ok(()));
}

#[test]
fn process_locks_are_dropped_by_call_and_handle_locks_with_the_handle() {
    let (mut disk, one, other) = two();
    let ino = disk.ino(one).expect("it is open");
    assert_eq!(disk.lock_range(one, PROCESS, Some(EXCLUSIVE), range(0, 0)), Ok(()));
    let handle = LockOwner::Handle(one);
    assert_eq!(disk.lock_range(one, handle, Some(EXCLUSIVE), range(1, 1)), Ok(()));
    disk.close(one).expect("it is open");
    assert_eq!(disk.test_range(other, OTHER, SHARED, range(1, 1)), Ok(None));
    assert!(disk.test_range(other, OTHER, SHARED, range(0, 0)).is_ok_and(|lock| lock.is_some()));
    disk.drop_process_locks(ino, 2);
    assert!(disk.test_range(other, OTHER, SHARED, range(0, 0)).is_ok_and(|lock| lock.is_some()));
    disk.drop_process_locks(ino, 1);
    assert_eq!(disk.test_range(other, OTHER, SHARED, range(0, 0)), Ok(None));
}

#[test]
fn a_range_counts_from_the_start_the_offset_or_the_end_and_may_run_backwards() {
    let (mut disk, h, _) = two();
    disk.write(h, &[0; 100]).expect("it is writable");
    disk.seek(h, 10, libc::SEEK_SET).expect("it is open");
    let ask = |whence, start, length| disk.byte_range(h, whence, start, length);
    assert_eq!(ask(libc::SEEK_SET, 5, 3), Ok(range(5, 7)));
    assert_eq!(ask(libc::SEEK_CUR, 5, 3), Ok(range(15, 17)));
    assert_eq!(ask(libc::SEEK_END, -5, 0), Ok(range(95, i64::MAX.unsigned_abs())));
    assert_eq!(ask(libc::SEEK_SET, 5, -3), Ok(range(2, 4)));
    assert_eq!(ask(libc::SEEK_SET, 5, -5), Ok(range(0, 4)));
    assert_eq!(ask(libc::SEEK_SET, 5, -6), Err(Errno::EINVAL));
    assert_eq!(ask(libc::SEEK_SET, -1, 0), Err(Errno::EINVAL));
    assert_eq!(ask(libc::SEEK_SET, 0, i64::MIN), Err(Errno::EINVAL));
    assert_eq!(ask(libc::SEEK_SET, i64::MIN, i64::MIN), Err(Errno::EINVAL));
    assert_eq!(ask(libc::SEEK_SET, i64::MAX, 1), Ok(range(i64::MAX as u64, i64::MAX as u64)));
    assert_eq!(ask(libc::SEEK_SET, i64::MAX, 2), Err(Errno::EOVERFLOW));
    assert_eq!(ask(libc::SEEK_CUR, i64::MAX, 1), Err(Errno::EOVERFLOW));
    assert_eq!(ask(9, 0, 0), Err(Errno::EINVAL));
}

/// The lock that each owner holds on each byte: a simple model of range locks.
type Bytes = BTreeMap<(u64, LockOwner), LockKind>;

fn model_conflict(bytes: &Bytes, owner: LockOwner, kind: LockKind, range: ByteRange) -> bool {
    bytes.iter().any(|(&(byte, holder), &held)| {
        let overlaps = (range.first..=range.last).contains(&byte);
        overlaps && holder != owner && (held == EXCLUSIVE || kind == EXCLUSIVE)
    })
}

#[test]
fn range_locks_agree_with_a_table_of_bytes() {
    let kind = any::<bool>().prop_map(|shared| if shared { SHARED } else { EXCLUSIVE });
    let step = (0..3i32, option::weighted(0.7, kind), 0..12u64, 0..6u64);
    let outcome = runner().run(&proptest::collection::vec(step, 0..40), |steps| {
        let (mut disk, h, _) = two();
        let mut bytes = Bytes::new();
        for (owner, kind, first, length) in steps {
            let (owner, part) = (LockOwner::Process(owner), range(first, first + length));
            let refused = kind.is_some_and(|kind| model_conflict(&bytes, owner, kind, part));
            let expected = if refused { Err(Errno::EAGAIN) } else { Ok(()) };
            prop_assert_eq!(disk.lock_range(h, owner, kind, part), expected);
            if !refused {
                for byte in part.first..=part.last {
                    bytes.remove(&(byte, owner));
                    bytes.extend(kind.map(|kind| ((byte, owner), kind)));
                }
            }
            for byte in 0..20 {
                let shown = disk.test_range(h, LockOwner::Process(9), EXCLUSIVE, range(byte, byte));
                let holders: Vec<_> = bytes
                    .iter()
                    .filter(|((at, _), _)| *at == byte)
                    .map(|(k, v)| (k.1, *v))
                    .collect();
                match shown.expect("it is open") {
                    None => prop_assert_eq!(holders, []),
                    Some(lock) => {
                        proptest::prop_assert!(holders.contains(&(lock.owner, lock.kind)));
                    }
                }
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
