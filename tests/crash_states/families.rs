//! Small families of fates.

use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::pending::Pending;

/// All pieces but the last of one group, all but its last two, and so on; group by group.
pub(crate) fn all_but_one(pending: &Pending) -> impl Iterator<Item = Fate> {
    pending
        .groups()
        .flat_map(|(id, group)| (0..group.len()).rev().map(|cut| Fate::all().with(id.clone(), cut)))
}

/// Only the first piece of one group, only its first two, and so on; group by group.
pub(crate) fn only_one(pending: &Pending) -> impl Iterator<Item = Fate> {
    pending
        .groups()
        .flat_map(|(id, group)| (1..=group.len()).map(|cut| Fate::nothing().with(id.clone(), cut)))
}
