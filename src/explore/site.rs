//! Source lines: which line of the engine made a call, and by which callers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A line of source code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceLine {
    /// The file from its crate's folder on; without debug information, the name of the function.
    pub place: String,
    /// The line, if there is debug information.
    pub line: Option<u32>,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A call site: a source line and its callers, the innermost first. The callers belong to it
/// because an engine may make all its syncs through one function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallSite(pub Vec<SourceLine>);

/// `src/a/b.rs:7 < 12 < c.rs:3`: each caller without the file or folder that it shares with the
/// line before it.
impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&SourceLine> = None;
        for line in &self.0 {
            match last {
                None => write!(f, "{line}")?,
                Some(last) => write!(f, " < {}", relative(line, last))?,
            }
            last = Some(line);
        }
        Ok(())
    }
}

/// The part of a source line that differs from another one.
fn relative(site: &SourceLine, last: &SourceLine) -> String {
    let folder = |site: &SourceLine| site.place.rsplit_once('/').map(|(at, _)| at.to_owned());
    match site.line {
        Some(line) if last.line.is_some() && site.place == last.place => line.to_string(),
        _ if folder(site).is_some() && folder(site) == folder(last) => {
            let text = site.to_string();
            text.rsplit('/').next().unwrap_or(&text).to_owned()
        }
        _ => site.to_string(),
    }
}

/// Resolves return addresses to source lines, each address once.
#[derive(Default)]
pub(crate) struct Sites {
    known: BTreeMap<Vec<u8>, Vec<SourceLine>>,
}

impl Sites {
    /// The innermost frames outside the standard library and the harness.
    pub(crate) fn resolve(&mut self, stack: &[u8]) -> Vec<SourceLine> {
        if stack.is_empty() {
            return Vec::new();
        }
        if !self.known.contains_key(stack) {
            self.known.insert(stack.to_vec(), source_lines(stack));
        }
        self.known[stack].clone()
    }
}

/// The number of frames in a call site.
const FRAMES: usize = 3;

fn source_lines(stack: &[u8]) -> Vec<SourceLine> {
    let mut lines = Vec::new();
    let mut fallback = None;
    let library = crate::process::seam::library::code().unwrap_or_default();
    for address in stack.as_chunks::<8>().0 {
        // A return address is that of the instruction after the call.
        let address = u64::from_le_bytes(*address).saturating_sub(1) as usize;
        // It may have debug information on one machine and none on another.
        if library.contains(&address) {
            continue;
        }
        // Of inlined frames the innermost comes first.
        backtrace::resolve(address as *mut std::ffi::c_void, |symbol| {
            match symbol.filename().zip(symbol.lineno()) {
                Some((file, line)) if !is_ours_or_std(file) => {
                    lines.push(SourceLine { place: short(file), line: Some(line) });
                }
                Some(_) => {}
                None => fallback = fallback.take().or(symbol.name().map(|name| name.to_string())),
            }
        });
        if lines.len() >= FRAMES {
            break;
        }
    }
    lines.truncate(FRAMES);
    if lines.is_empty() {
        lines.extend(fallback.map(|place| SourceLine { place, line: None }));
    }
    lines
}

/// Frames of the standard library, of the C library and of the harness itself.
fn is_ours_or_std(file: &Path) -> bool {
    let text = file.to_string_lossy();
    // Distributions build the C library from relative paths, which do not exist on this machine;
    // the C code of an engine is built from absolute ones.
    let is_c = file.extension().is_some_and(|extension| extension == "c" || extension == "S");
    if text.contains("/glibc-") || (is_c && file.is_relative() && !file.exists()) {
        return true;
    }
    let harness = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    text.starts_with("/rustc/")
        || text.contains("/backtrace-")
        || text.contains("/lib/rustlib/src/")
        || text.starts_with(harness)
        || (text.starts_with("src/") && Path::new(harness).join(&text[4..]).exists())
}

/// A path from the crate's folder on, without the part that differs between machines.
fn short(file: &Path) -> String {
    let text = file.to_string_lossy();
    if let Ok(here) = std::env::current_dir()
        && let Ok(inside) = file.strip_prefix(&here)
    {
        return inside.display().to_string();
    }
    let parts: Vec<&str> = text.split('/').collect();
    let source = parts.iter().rposition(|part| matches!(*part, "src" | "tests" | "examples"));
    let from = source.map_or(parts.len().saturating_sub(2), |at| at.saturating_sub(1));
    parts[from..].join("/")
}
