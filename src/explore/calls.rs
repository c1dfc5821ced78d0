//! Which call each change of the disk belongs to, and which source line made that call.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::effect::Effect;
use crate::log::{Payload, records};

/// The calls of a log, by the changes that they made.
#[derive(Default)]
pub(crate) struct Calls {
    /// Of each call that changed something: `door:path`, and the source lines that led to it, the
    /// innermost first, if they were recorded.
    calls: Vec<(String, Vec<String>)>,
    /// The call of each change; changes behind the last call belong to one that did not return.
    owners: Vec<u32>,
}

impl Calls {
    /// Goes through a log once; `sites` resolves and remembers source lines.
    pub(crate) fn index(log: &[u8], sites: &mut Sites) -> Self {
        let mut calls = Self::default();
        for record in records(log) {
            let number = u32::try_from(calls.calls.len()).unwrap_or(u32::MAX);
            match record.payload {
                Payload::Effect(_) => calls.owners.push(number),
                Payload::Call(call) if calls.owners.last() == Some(&number) => {
                    let path = String::from_utf8_lossy(call.path);
                    let path = path.trim_start_matches('/');
                    let name = format!("{}:{path}", plain(call.door));
                    calls.calls.push((name, sites.resolve(call.stack)));
                }
                Payload::Call(_) | Payload::Mark(_) => {}
            }
        }
        calls
    }

    /// `door:path` of the call that made change `number` of the log, counted from 0.
    pub(crate) fn name(&self, number: u64) -> Option<&str> {
        Some(self.call(number)?.0.as_str())
    }

    /// The innermost source line of that call outside the standard library and the harness.
    pub(crate) fn site(&self, number: u64) -> Option<&str> {
        self.call(number)?.1.first().map(String::as_str)
    }

    /// The call site of that call: its source line, and those that called it, since an engine may
    /// have one function through which all its syncs go.
    pub(crate) fn call_site(&self, number: u64) -> Option<String> {
        let lines = &self.call(number)?.1;
        let (first, callers) = lines.split_first()?;
        let mut site = first.clone();
        let mut last = first;
        for caller in callers {
            site.push_str(&format!(" < {}", beside(caller, last)));
            last = caller;
        }
        Some(site)
    }

    fn call(&self, number: u64) -> Option<&(String, Vec<String>)> {
        self.calls.get(*self.owners.get(number as usize)? as usize)
    }
}

/// What of `file:line` differs from the one before: the line alone if the file is the same, no
/// folder if the folder is.
fn beside<'a>(site: &'a str, last: &str) -> &'a str {
    let file = |site: &str| site.rsplit_once(':').map(|(file, _)| file.to_owned());
    let folder = |site: &str| site.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    if file(site).is_some() && file(site) == file(last) {
        return site.rsplit(':').next().unwrap_or(site);
    }
    if folder(site).is_some() && folder(site) == folder(last) {
        return site.rsplit('/').next().unwrap_or(site);
    }
    site
}

/// The name of a door as people know the call: without the 64 of the large-file forms.
fn plain(door: &str) -> &str {
    door.strip_suffix("64").unwrap_or(door)
}

/// Turns return addresses into source lines, each once.
#[derive(Default)]
pub(crate) struct Sites {
    known: BTreeMap<Vec<u8>, Vec<String>>,
}

impl Sites {
    /// The innermost frames outside the standard library and the harness, as `file:line`.
    pub(crate) fn resolve(&mut self, stack: &[u8]) -> Vec<String> {
        if stack.is_empty() {
            return Vec::new();
        }
        if !self.known.contains_key(stack) {
            self.known.insert(stack.to_vec(), source_lines(stack));
        }
        self.known[stack].clone()
    }
}

/// How many frames make a call site.
const FRAMES: usize = 3;

fn source_lines(stack: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut fallback = None;
    for address in stack.as_chunks::<8>().0 {
        // A return address is the instruction behind the call.
        let address = u64::from_le_bytes(*address).saturating_sub(1) as usize;
        // Of inlined frames the innermost comes first.
        backtrace::resolve(address as *mut std::ffi::c_void, |symbol| {
            match symbol.filename().zip(symbol.lineno()) {
                Some((file, line)) if !is_ours_or_std(file) => {
                    lines.push(format!("{}:{line}", short(file)));
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
        lines.extend(fallback);
    }
    lines
}

/// Frames of the standard library, of the C library and of the harness itself.
fn is_ours_or_std(file: &Path) -> bool {
    let text = file.to_string_lossy();
    // Distributions build the C library below relative paths, which lead nowhere on this machine;
    // the C code of an engine is built below absolute ones.
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

/// A path without the part that differs from machine to machine: from the crate's folder on.
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

/// The sync call sites of a log, each with what it syncs.
pub(crate) fn sync_sites(log: &[u8], sites: &mut Sites) -> BTreeMap<String, String> {
    let calls = Calls::index(log, sites);
    let mut found = BTreeMap::new();
    let mut number = 0;
    for record in records(log) {
        let Payload::Effect(effect) = record.payload else { continue };
        if let (Effect::Sync(_), Some(site), Some(name)) =
            (effect, calls.call_site(number), calls.name(number))
        {
            let door = name.split(':').next().unwrap_or_default();
            found.entry(site).or_insert_with(|| door.to_owned());
        }
        number += 1;
    }
    found
}
