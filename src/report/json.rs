//! Events for machines: one JSON object a line, if a file was named.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::event::Event;
use crate::campaign::problem::Problem;

/// The JSON file of a run.
pub(crate) struct Json {
    file: Option<File>,
}

impl Json {
    /// Creates the file.
    ///
    /// # Errors
    /// The path, and the error of the system.
    pub(crate) fn create(path: Option<&Path>) -> Result<Self, Problem> {
        let create = |path: &Path| {
            File::create(path).map_err(|error| {
                Problem::Environment(format!("--json {}: {error}", path.display()))
            })
        };
        Ok(Self { file: path.map(create).transpose()? })
    }

    /// Writes an event.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn write(&mut self, event: &Event<'_>) -> Result<(), Problem> {
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_string(event)
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(file, "{line}"))
            .map_err(|error| Problem::Environment(format!("--json: {error}")))
    }
}
