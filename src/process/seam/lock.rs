//! A lock that neither allocates nor makes a call, so that doors may take it anywhere.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A value protected by a spin lock. Only one thread of a world runs at a time, so waits are short:
/// the other contender is a thread of the harness that sets a mark.
pub(crate) struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `taken` gives one thread at a time access to the value.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A value that is free.
    pub(crate) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits until the value is free and takes it.
    #[inline]
    pub(crate) fn take(&self) -> Held<'_, T> {
        loop {
            if let Some(held) = self.try_take() {
                return held;
            }
            thread::yield_now();
        }
    }

    /// Takes the value if it is free.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Held<'_, T>> {
        let free = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        // A `Held` must not be made before: dropping it would free the holder's lock.
        free.is_ok().then(|| Held(self))
    }
}

/// The value, held until this is dropped.
pub(crate) struct Held<'a, T>(&'a Lock<T>);

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: only the holder of the lock has a `Held`.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: only the holder of the lock has a `Held`.
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
    fn one_thread_at_a_time_has_the_value() {
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
