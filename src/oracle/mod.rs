//! What a store promised, and whether what came back keeps it.

pub mod model;
