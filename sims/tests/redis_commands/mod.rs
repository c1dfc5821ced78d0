//! The commands of the keyspace sim's workloads, for the tests against its origin and Redis.

use crashpoint::Seed;
use crashpoint::inner::case::Step;
use sims::aof::{Aof, No};
use sims::engines::aof::Bytes;

/// The Redis commands of a workload of the sim, with times to live that outlast the test.
pub(crate) fn commands(seed: u64, steps: usize) -> Vec<Vec<Bytes>> {
    let sim = crashpoint::sim::<Aof<No>>();
    let own = [&b"save"[..], b"snapshot", b"truncate", b"rewrite", b"sync", b"wait"];
    let mut all = Vec::new();
    for step in (sim.generate)(Seed(seed), steps) {
        let Step::Op(words) = step else { continue };
        let mut words: Vec<Bytes> = words.into_iter().map(|word| word.bytes).collect();
        if own.contains(&words[0].as_slice()) {
            continue;
        }
        let timed = words[0] == b"pexpire" || (words[0] == b"set" && words.len() == 5);
        if let Some(last) = words.last_mut().filter(|_| timed) {
            last.extend_from_slice(b"00000");
        }
        all.push(words);
    }
    all
}
