//! A lock that needs no memory and no other call: what doors may take wherever they are entered.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A value behind a spin lock. Only one thread of a world runs at a time, so nobody waits long:
/// a contender is a thread of the harness that sets a mark.
pub(crate) struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `taken` lets one thread at a time to the value.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A value that nobody holds.
    pub(crate) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits until nobody holds the value and takes it.
    #[inline]
    pub(crate) fn take(&self) -> Held<'_, T> {
        loop {
            if let Some(held) = self.try_take() {
                return held;
            }
            thread::yield_now();
        }
    }

    /// Takes the value if nobody holds it.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Held<'_, T>> {
        let free = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        // Not a `Held` made beforehand: to drop that would free what another one holds.
        free.is_ok().then(|| Held(self))
    }
}

/// The value, held until this is dropped.
pub(crate) struct Held<'a, T>(&'a Lock<T>);

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: who has a `Held` is the only one.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: who has a `Held` is the only one.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_value() {
        let lock = Lock::new(0u32);
        let held = lock.take();
        assert!(lock.try_take().is_none());
        assert!(lock.try_take().is_none(), "an attempt frees nothing");
        drop(held);
        assert!(lock.try_take().is_some());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let mut held = lock.take();
                        let before = *held;
                        std::hint::spin_loop();
                        *held = before + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.take(), 40_000);
    }
}
