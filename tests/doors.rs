//! Calls of an unmodified program reach the simulated world.
//!
//! Nothing here names a door: that `std::fs`, `tempfile` and rustix reach them at all is a fact
//! about how this binary was linked.

#[path = "wild/bypasses.rs"]
mod bypasses;
#[path = "wild/calls.rs"]
mod calls;
#[path = "doors/data.rs"]
mod data;
#[path = "doors/harness.rs"]
mod harness;
#[path = "doors/host.rs"]
mod host;
#[path = "doors/live.rs"]
mod live;
#[path = "doors/map.rs"]
mod map;
#[path = "wild/mapped.rs"]
mod mapped;
#[path = "doors/names.rs"]
mod names;
#[path = "doors/record.rs"]
mod record;
#[path = "doors/refused.rs"]
mod refused;
#[path = "doors/time.rs"]
mod time;

use crashpoint::inner::host::probe::self_test;

#[test]
fn every_call_of_the_self_test_arrives() {
    assert_eq!(harness::alone(self_test), []);
}
