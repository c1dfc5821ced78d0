//! What every other part uses: digests, seeds, the words of a text, virtual time.

pub mod digest;
pub mod seed;
pub mod text;
pub mod time;
