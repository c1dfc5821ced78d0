//! Refuses targets on which the doors would silently not work.

fn main() {}
