//! Doors to C++'s `std::random_device`, which libstdc++ serves by the processor's own random
//! numbers (`rdrand`), without a call: here they are drawn from the seed.
//!
//! The linker exports these doors only if libstdc++ is on its command line. Where it is not, and a
//! library brings libstdc++ along, the library finds libstdc++'s own functions.

use std::ffi::c_void;

use crate::process::world::door::Door;

use super::doors;
use super::entropy::random_number;

doors! {
    fn _ZNSt13random_device9_M_getvalEv(device: *mut c_void) -> u32 = value;
    fn _ZNSt13random_device16_M_getval_pretr1Ev(device: *mut c_void) -> u32 = value;
    fn _ZNKSt13random_device13_M_getentropyEv(device: *const c_void) -> f64 = bits_of_entropy;
}

fn value(door: &'static Door, _: *mut c_void) -> Option<u32> {
    random_number(door)
}

/// All bits of a value.
fn bits_of_entropy(_: &'static Door, _: *const c_void) -> Option<f64> {
    crate::process::world::enter(|_| f64::from(u32::BITS))
}
