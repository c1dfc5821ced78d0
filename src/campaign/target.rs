//! Writes results into `crashpoint/` in Cargo's target folder.

use std::path::{Path, PathBuf};

use super::problem::Problem;

/// The folder: in the target folder of the running binary, else under the current directory.
pub(crate) fn folder() -> PathBuf {
    let tagged = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let executable = std::env::current_exe().unwrap_or_default();
    let target = executable.ancestors().skip(1).find(tagged).map(Path::to_path_buf);
    target.unwrap_or_else(|| PathBuf::from("target")).join("crashpoint")
}

/// Writes a file there; returns its path, relative to the current directory where it is below it.
///
/// # Errors
/// The path, and the error of the system.
pub(crate) fn write(name: &str, text: &str) -> Result<PathBuf, Problem> {
    let folder = folder();
    let path = folder.join(name);
    let write = || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(&path, text)
    };
    write().map_err(|error| Problem::Environment(format!("{}: {error}", path.display())))?;
    let here = std::env::current_dir().unwrap_or_default();
    Ok(path.strip_prefix(here).map(Path::to_path_buf).unwrap_or(path))
}
