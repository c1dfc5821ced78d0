//! The build under test: a digest of this program's file.

use std::fs::File;
use std::io::Read;

use xxhash_rust::xxh3::Xxh3;

use crate::campaign::problem::Problem;

/// The digest of the file that this process was started from.
///
/// # Errors
/// It cannot be read.
pub(crate) fn of_this_program() -> Result<u64, Problem> {
    let digest = || -> std::io::Result<u64> {
        let mut file = File::open("/proc/self/exe")?;
        let (mut hash, mut buffer) = (Xxh3::default(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hash.digest()),
                read => hash.update(&buffer[..read]),
            }
        }
    };
    digest().map_err(|error| Problem::Environment(format!("/proc/self/exe: {error}")))
}
