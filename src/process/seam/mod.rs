//! The side of the engine/harness boundary that a thread is on: the first thing a door reads.
//!
//! The flag is a const-initialised cell without a destructor, hence one load relative to the
//! thread pointer: a door may be entered before `main`, inside `malloc` and in the destructors of
//! thread-locals.

pub(crate) mod altstack;
pub(crate) mod auxv;
pub(crate) mod heap;
pub(crate) mod kernel;
pub(crate) mod library;
pub(crate) mod lock;
pub(crate) mod reach;

use std::cell::Cell;

/// The owner of the calls that a thread makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The harness: every door passes the call to the C library.
    Harness,
    /// The engine: the doors serve the call in the simulated world.
    Engine,
}

thread_local! {
    static SIDE: Cell<Side> = const { Cell::new(Side::Harness) };
}

/// The side of the calling thread. A thread starts on the harness's side.
#[inline(always)]
pub fn side() -> Side {
    SIDE.get()
}

/// Runs `f` on the engine's side of the seam, and returns from there even if it panics.
pub fn engine<R>(f: impl FnOnce() -> R) -> R {
    let _back = cross(Side::Engine);
    f()
}

/// Runs `f` on the harness's side. For tests of what the harness must not do.
#[cfg(feature = "inner")]
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    let _back = harness();
    f()
}

/// Moves the calling thread to the harness's side until the guard is dropped. A door does this
/// before all else, so that its own calls (an allocator that reads the clock, a panic's message) go
/// to the kernel and not through a second door.
pub(crate) fn harness() -> Back {
    cross(Side::Harness)
}

/// Moves the calling thread to the engine's side for good: it belongs to the engine, and its
/// thread-locals are destroyed there too.
pub(crate) fn become_engine() {
    SIDE.set(Side::Engine);
}

fn cross(side: Side) -> Back {
    Back(SIDE.replace(side))
}

/// Moves the thread back to the side that it came from.
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
    fn a_panic_returns_the_thread_to_its_side() {
        let panicked = std::panic::catch_unwind(|| engine(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(side(), Side::Harness);
    }
}
