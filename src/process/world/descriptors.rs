//! The engine's simulated descriptors: numbers that the kernel never gives out.

use std::ffi::c_int;
use std::ops::RangeInclusive;

/// The lowest simulated descriptor. The kernel's own limit on descriptors is 1 << 20 by default,
/// so that such a number that goes past the doors is refused and not mistaken for a file.
pub(crate) const FIRST: c_int = 1 << 20;

/// How many a process may have open, whatever it sets.
const LIMIT: usize = 1 << 16;

/// How many a process may have open until it sets `RLIMIT_NOFILE`.
const USUAL: usize = 1024;

/// Whether a descriptor is simulated.
#[inline(always)]
pub(crate) fn is_simulated(fd: c_int) -> bool {
    fd >= FIRST
}

/// Whether a number is too high for a descriptor.
pub(crate) fn is_beyond(fd: c_int) -> bool {
    slot(fd).is_some_and(|slot| slot >= LIMIT)
}

/// One descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor<T> {
    /// The thing that it refers to.
    pub(crate) referent: T,
    /// `FD_CLOEXEC`.
    pub(crate) close_on_exec: bool,
}

/// All descriptors of a process.
pub(crate) struct Descriptors<T> {
    slots: Vec<Option<Descriptor<T>>>,
    /// From here on no number is given.
    limit: usize,
}

impl<T> Descriptors<T> {
    /// None.
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), limit: USUAL }
    }

    /// Sets how many may be open; those beyond it stay open.
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit.min(LIMIT);
    }

    /// Gives a descriptor the lowest free number from `least` on; `None` if there is none left.
    pub(crate) fn add(&mut self, least: c_int, descriptor: Descriptor<T>) -> Option<c_int> {
        let least = usize::try_from(least.saturating_sub(FIRST)).unwrap_or(0);
        let free = self.slots.iter().skip(least).position(Option::is_none);
        let slot = free.map_or(self.slots.len().max(least), |skipped| least + skipped);
        self.put(slot, descriptor).ok().map(|_| number(slot))
    }

    /// Puts a descriptor at a number of the caller's choice; returns the one that it replaced, or
    /// the new one if the number is too high.
    pub(crate) fn set(
        &mut self,
        fd: c_int,
        descriptor: Descriptor<T>,
    ) -> Result<Option<Descriptor<T>>, Descriptor<T>> {
        match slot(fd) {
            Some(slot) => self.put(slot, descriptor),
            None => Err(descriptor),
        }
    }

    fn put(
        &mut self,
        slot: usize,
        descriptor: Descriptor<T>,
    ) -> Result<Option<Descriptor<T>>, Descriptor<T>> {
        if slot >= self.limit {
            return Err(descriptor);
        }
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        Ok(self.slots[slot].replace(descriptor))
    }

    /// The descriptor of a number.
    #[inline]
    pub(crate) fn get(&self, fd: c_int) -> Option<&Descriptor<T>> {
        self.slots.get(slot(fd)?)?.as_ref()
    }

    /// The descriptor of a number, mutable.
    pub(crate) fn get_mut(&mut self, fd: c_int) -> Option<&mut Descriptor<T>> {
        self.slots.get_mut(slot(fd)?)?.as_mut()
    }

    /// The numbers of a range that are in use.
    pub(crate) fn open_in(&self, range: RangeInclusive<c_int>) -> Vec<c_int> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        used.map(|(slot, _)| number(slot)).filter(|fd| range.contains(fd)).collect()
    }

    /// Frees all numbers; returns their descriptors.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Descriptor<T>> + use<T> {
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// Frees a number; returns its descriptor.
    pub(crate) fn remove(&mut self, fd: c_int) -> Option<Descriptor<T>> {
        self.slots.get_mut(slot(fd)?)?.take()
    }
}

fn slot(fd: c_int) -> Option<usize> {
    usize::try_from(fd.checked_sub(FIRST)?).ok()
}

fn number(slot: usize) -> c_int {
    FIRST + c_int::try_from(slot).expect("a slot is below the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(referent: u8) -> Descriptor<u8> {
        Descriptor { referent, close_on_exec: false }
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let mut all = Descriptors::new();
        assert_eq!(all.add(0, descriptor(1)), Some(FIRST));
        assert_eq!(all.add(0, descriptor(2)), Some(FIRST + 1));
        assert_eq!(all.remove(FIRST).map(|d| d.referent), Some(1));
        assert_eq!(all.add(FIRST + 5, descriptor(3)), Some(FIRST + 5));
        assert_eq!(all.add(0, descriptor(4)), Some(FIRST));
        assert!(all.get(FIRST + 3).is_none());
    }

    #[test]
    fn a_number_of_the_callers_choice_replaces_its_descriptor() {
        let mut all = Descriptors::new();
        assert!(matches!(all.set(FIRST + 9, descriptor(1)), Ok(None)));
        assert!(matches!(all.set(FIRST + 9, descriptor(2)), Ok(Some(d)) if d.referent == 1));
        assert!(all.set(FIRST + 1024, descriptor(3)).is_err());
        all.limit(2000);
        assert!(all.set(FIRST + 1024, descriptor(3)).is_ok());
        assert!(all.set(4, descriptor(3)).is_err());
    }
}
