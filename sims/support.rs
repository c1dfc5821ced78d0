//! Code that several sims share: tables of promises, item names, generated values, and the check
//! against a real directory.

use crashpoint::{AfterFault, FaultKind, Source};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::engines::append_log::VersionToken;

/// The item that shows the cursor of a stream.
pub(crate) const CURSOR: &[u8] = b"cursor";

/// The item that shows a key; the prefix keeps it apart from [`CURSOR`].
pub(crate) fn item(key: &str) -> Vec<u8> {
    [b"key ", key.as_bytes()].concat()
}

/// Promises, each with the sentence that it restates, all from the documentation in `at`.
pub(crate) fn sources<const N: usize>(
    at: &'static str,
    quotes: [(&'static str, &'static str); N],
) -> Vec<Source> {
    quotes.into_iter().map(|(promise, sentence)| Source { promise, sentence, at }).collect()
}

/// Right answers after every fault that fails or delays a call: for an engine whose documentation
/// says that a failed call takes nothing back. Reads that return wrong bytes are not included,
/// since no call fails there. A promise with a deadline (`timed`) holds only on a disk that is fast
/// enough, so slow calls are left out too.
pub(crate) fn right_after_failed_calls(timed: bool) -> Vec<(FaultKind, AfterFault)> {
    let wrong = |fault_kind| matches!(fault_kind, FaultKind::CorruptRead | FaultKind::BitRot);
    let fails = FaultKind::ALL.into_iter().filter(|fault_kind| !wrong(*fault_kind));
    let promised = fails.filter(|fault_kind| !timed || *fault_kind != FaultKind::Slow);
    promised.map(|fault_kind| (fault_kind, AfterFault::Right)).collect()
}

/// As [`right_after_failed_calls`], and `after_rot` after bit rot.
pub(crate) fn right_after_failed_calls_and_rot(
    timed: bool,
    after_rot: AfterFault,
) -> Vec<(FaultKind, AfterFault)> {
    [right_after_failed_calls(timed), vec![(FaultKind::BitRot, after_rot)]].concat()
}

/// Values that are empty, short, about a sector or several blocks long: a record of the longest
/// spans pages and takes two writes. Some are filled with zeros, which a reader could mistake for
/// space that was never written.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![1 => Just(0usize), 6 => 1..30usize, 2 => 400..1400usize,
        1 => 5000..13000usize];
    (any::<u16>(), length, prop_oneof![3 => Just(b'v'), 1 => Just(0u8)]).prop_map(
        |(number, length, fill)| {
            let mut value = if length == 0 { Vec::new() } else { number.to_string().into_bytes() };
            value.resize(length.max(value.len()), fill);
            value
        },
    )
}

/// Version tokens: mostly numbers, and some of the greatest length.
pub(crate) fn version() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (1..u64::from(u16::MAX)).prop_map(|n| VersionToken::from_u64(n).as_bytes().to_vec()),
        1 => vec(any::<u8>(), 10),
    ]
}

/// Compares a sim's engine with its model in a temporary directory, which is returned. Fails
/// unless more than `least` steps ran, since fewer would prove little.
#[cfg(test)]
pub(crate) fn check_in_a_real_directory<S: crashpoint::Sim>(
    workloads: u64,
    least: u64,
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let seed = crashpoint::Seed(7);
    let steps = crashpoint::check_on_real_disk::<S>(dir.path(), seed, workloads);
    assert!(steps > least, "only {steps} steps ran");
    dir
}
