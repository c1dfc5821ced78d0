//! Saved cases: files that are replayed by every test.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::problem::Problem;
use crate::case::{Case, CaseLines, Expect};
use crate::explore::job::Kind;
use crate::explore::message::{CasePart, Refusal};

/// A case file.
#[derive(Clone, Debug)]
pub(crate) struct SavedCase {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its contents.
    pub(crate) case: Case,
    /// The lines of its parts.
    pub(crate) lines: CaseLines,
}

impl SavedCase {
    /// A problem with the file.
    pub(crate) fn wrong(&self, why: impl std::fmt::Display) -> Problem {
        Problem::Environment(format!("{}: {why}", self.path.display()))
    }

    /// A problem of its replay, with the file and, if a part of the case is wrong, the line.
    pub(crate) fn locate(&self, problem: Problem) -> Problem {
        match problem {
            Problem::Refused(refusal) => self.wrong(locate(&self.lines, &refusal)),
            Problem::Environment(why) => self.wrong(why),
            Problem::Unavailable(_) | Problem::NotDeterministic(_) => problem,
        }
    }
}

/// A refusal with the line and the column of the part of a case that is wrong.
pub(crate) fn locate(lines: &CaseLines, refusal: &Refusal) -> String {
    let line = refusal.part.and_then(|part| match part {
        CasePart::Crash(epoch) => lines.epochs.get(epoch)?.crash,
        CasePart::Step(epoch, step) => lines.epochs.get(epoch)?.steps.get(step).copied(),
        CasePart::Fault(fault) => lines.faults.get(fault).copied(),
    });
    let line = line.map(|line| format!("line {line}"));
    let column = refusal.column.map(|column| format!("column {column}"));
    let place: Vec<String> = line.into_iter().chain(column).collect();
    let colon = if place.is_empty() { "" } else { ": " };
    format!("{}{colon}{}", place.join(", "), refusal.why)
}

/// Reads the cases of a sim from its folder in a corpus, in the order of their names. A missing
/// folder holds none.
///
/// # Errors
/// A file that cannot be read or is no case, by name.
pub(crate) fn corpus(folder: &Path, sim: &str) -> Result<Vec<SavedCase>, Problem> {
    let folder = folder.join(sim);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Problem::Environment(format!("{}: {error}", folder.display())));
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    paths.iter().map(|path| read_case(path)).collect()
}

/// Reads a case file.
///
/// # Errors
/// The file, and the line and column of what is wrong in it.
pub(crate) fn read_case(path: &Path) -> Result<SavedCase, Problem> {
    let wrong = |error: String| Problem::Environment(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_CASE + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LONGEST_CASE {
        return Err(wrong(format!("too long for a case: more than {} MiB", LONGEST_CASE >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&b| b == b'\n')
            .count();
        wrong(format!("line {line}: not UTF-8"))
    })?;
    let (case, lines) = Case::parse_with_lines(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(SavedCase { path: path.to_owned(), case, lines })
}

/// The most bytes of a case file: a case is for people to read.
const LONGEST_CASE: u64 = 4 << 20;

/// The known findings among some cases.
pub(crate) fn known(cases: &[SavedCase]) -> Vec<Kind> {
    let finding = |case: &Case| match (&case.known, &case.expect) {
        (Some(_), Expect::Violation(class, Some(signature))) => {
            Some(Kind { class: *class, signature: signature.clone() })
        }
        _ => None,
    };
    cases.iter().filter_map(|saved| finding(&saved.case)).collect()
}
