//! The basics that all other modules use: digests, seeds, words of text, virtual time.

pub mod digest;
pub mod seed;
pub mod text;
pub mod time;
