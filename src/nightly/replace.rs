//! A file that is replaced: a crash leaves the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::campaign::problem::Problem;

/// Replaces a file, so that a crash leaves the old one or the new one.
///
/// # Errors
/// The path, and the error of the system.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let replace = || -> io::Result<()> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().display();
        let temporary = folder.join(format!(".{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(|error| Problem::Unavailable(format!("{}: {error}", path.display())))
}
