//! Whose side a thread is on: the first thing that every door reads.
//!
//! The flag is a const-initialised cell without a destructor, hence one load relative to the
//! thread pointer: a door may be entered before `main`, inside `malloc` and in the destructors of
//! thread-locals.

pub(crate) mod altstack;
pub(crate) mod dispatch;
pub(crate) mod heap;
pub(crate) mod kernel;
pub(crate) mod lock;

use std::cell::Cell;

/// Whose calls a thread makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The harness's: every door leads to the kernel.
    Harness,
    /// The engine's: the doors lead into the simulated world.
    Engine,
}

thread_local! {
    static SIDE: Cell<Side> = const { Cell::new(Side::Harness) };
}

/// The side of the calling thread. A thread starts on the harness's.
#[inline(always)]
pub fn side() -> Side {
    SIDE.get()
}

/// Runs `f` on the engine's side of the seam, and comes back also if it panics.
pub fn engine<R>(f: impl FnOnce() -> R) -> R {
    let _back = cross(Side::Engine);
    f()
}

/// Takes the calling thread to the harness's side until the guard is dropped. A door does this
/// before all else, so that what it calls itself (an allocator that reads the clock, a panic's
/// message) goes to the kernel and not through a second door.
pub(crate) fn harness() -> Back {
    cross(Side::Harness)
}

/// Takes the calling thread to the engine's side for good: it is the engine's, and its
/// thread-locals are destroyed there too.
pub(crate) fn become_engine() {
    SIDE.set(Side::Engine);
}

fn cross(side: Side) -> Back {
    Back(SIDE.replace(side))
}

/// Takes the thread back to where it came from.
pub(crate) struct Back(Side);

impl Drop for Back {
    fn drop(&mut self) {
        SIDE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_on_the_engines_side_only_inside_engine() {
        assert_eq!(side(), Side::Harness);
        engine(|| {
            assert_eq!(side(), Side::Engine);
            let back = harness();
            assert_eq!(side(), Side::Harness);
            drop(back);
            assert_eq!(side(), Side::Engine);
        });
        assert_eq!(side(), Side::Harness);
    }

    #[test]
    fn a_panic_brings_the_thread_back() {
        let panicked = std::panic::catch_unwind(|| engine(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(side(), Side::Harness);
    }
}
