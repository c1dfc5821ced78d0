//! The descriptors that a program keeps, by the names through which it uses them.

use std::collections::BTreeMap;

/// Descriptors by path or by `%HANDLE`. One that was opened by a path follows the renames of the
/// path; one with a handle stays what it was opened as.
#[derive(Debug)]
pub struct Descriptors<D> {
    kept: BTreeMap<Vec<u8>, D>,
}

impl<D> Default for Descriptors<D> {
    fn default() -> Self {
        Self { kept: BTreeMap::new() }
    }
}

impl<D> Descriptors<D> {
    /// Whether a word is a handle and not a path.
    pub fn is_handle(word: &[u8]) -> bool {
        word.first() == Some(&b'%')
    }

    /// The descriptor that is kept for a path or a handle.
    pub fn get(&self, word: &[u8]) -> Option<&D> {
        self.kept.get(word)
    }

    /// Keeps a descriptor. Returns the one that was kept there before.
    pub fn keep(&mut self, word: &[u8], descriptor: D) -> Option<D> {
        self.kept.insert(word.to_vec(), descriptor)
    }

    /// Takes out a descriptor, to close it.
    pub fn take(&mut self, word: &[u8]) -> Option<D> {
        self.kept.remove(word)
    }

    /// Follows a rename of a file or of a directory. Returns the descriptors of what was replaced:
    /// no path leads to them any more.
    pub fn rename(&mut self, old: &[u8], new: &[u8]) -> Vec<D> {
        let moved = self.take_below(old);
        let replaced = self.take_below(new);
        self.put_below(new, moved);
        replaced.into_iter().map(|(_, descriptor)| descriptor).collect()
    }

    /// Follows the exchange of two names.
    pub fn exchange(&mut self, one: &[u8], other: &[u8]) {
        let (first, second) = (self.take_below(one), self.take_below(other));
        self.put_below(other, first);
        self.put_below(one, second);
    }

    /// Takes out the descriptors of a path and of everything below it, each with the rest of its
    /// path.
    fn take_below(&mut self, path: &[u8]) -> Vec<(Vec<u8>, D)> {
        let is_below = |kept: &[u8]| {
            kept.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let below: Vec<Vec<u8>> = self.kept.keys().filter(|kept| is_below(kept)).cloned().collect();
        let taken = below.into_iter().filter_map(|kept| {
            let rest = kept[path.len()..].to_vec();
            Some((rest, self.kept.remove(&kept)?))
        });
        taken.collect()
    }

    fn put_below(&mut self, path: &[u8], descriptors: Vec<(Vec<u8>, D)>) {
        for (rest, descriptor) in descriptors {
            self.kept.insert([path, &rest].concat(), descriptor);
        }
    }
}
