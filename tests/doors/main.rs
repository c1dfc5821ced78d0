//! Calls of an unmodified program reach the simulated world.
//!
//! Nothing here names a door: that `std::fs`, `tempfile` and rustix reach them at all is a fact
//! about how this binary was linked.

#[path = "../wild/bypasses.rs"]
mod bypasses;
#[path = "../wild/calls.rs"]
mod calls;
mod data;
mod harness;
mod host;
mod live;
mod machine;
mod map;
#[path = "../wild/mapped.rs"]
mod mapped;
mod names;
mod record;
mod refused;
mod time;

use crashpoint::inner::host::probe::self_test;

#[test]
fn every_call_of_the_self_test_arrives() {
    assert_eq!(harness::alone(self_test), []);
}
