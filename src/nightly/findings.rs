//! The findings of a campaign as files: one case for each signature, in the smallest form that any
//! cell showed.

use std::path::{Path, PathBuf};

use super::replace::write;
use super::total::{Best, Found, Total};
use crate::base::digest::hash;
use crate::campaign::problem::Problem;
use crate::explore::job::Kind;

/// The folder of the findings in the directory of a campaign.
pub(crate) const FOLDER: &str = "findings";

/// The most letters of a signature in a file name.
const LONGEST: usize = 80;

/// The name of the case file of a finding.
pub(crate) fn file_name(kind: &Kind) -> String {
    format!("{}.case", plain(&kind.signature.to_string()))
}

/// A name that any file system takes, and that no other text gets.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let kept: String = text.chars().map(|c| if keep(c) { c } else { '-' }).collect();
    let kept = kept.trim_start_matches('.');
    if kept == text && text.len() <= LONGEST {
        return text.to_owned();
    }
    let short: String = kept.chars().take(LONGEST).collect();
    format!("{short}-{:08x}", hash(text.as_bytes()) as u32)
}

/// The path of the case of a finding, from the directory of its campaign on.
pub(crate) fn path(sim: &str, kind: &Kind) -> PathBuf {
    [FOLDER, &plain(sim), &file_name(kind)].iter().collect()
}

/// Writes the case of each finding whose file is not as it should be; returns the paths.
///
/// # Errors
/// The path, and the error of the system.
pub(crate) fn save(folder: &Path, total: &Total) -> Result<Vec<PathBuf>, Problem> {
    let mut written = Vec::new();
    for ((sim, kind), found) in &total.findings {
        let Some(best) = &found.best else { continue };
        let path = folder.join(path(sim, kind));
        let text = kept(&total.header.campaign.name, found, best);
        if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        write(&path, &text)?;
        written.push(path);
    }
    Ok(written)
}

/// The text of a case as it is kept. This is the one place through which each saved case goes: a
/// shrinker belongs here, as long as it is a pure function of the case.
fn kept(campaign: &str, found: &Found, best: &Best) -> String {
    let Found { cells, first, profiles, .. } = found;
    let (one, profiles) = (*cells == 1, profiles.iter().map(String::as_str).collect::<Vec<_>>());
    let seen = if one { "1 cell".to_owned() } else { format!("{cells} cells") };
    let story = [
        format!("# Campaign {campaign}: in {seen}, on {}.", profiles.join(", ")),
        format!("# First: {first}. This case: {}.", best.cell),
    ];
    let (head, rest) = best.shown.case.split_once('\n').unwrap_or((&best.shown.case, ""));
    format!("{head}\n{}\n{rest}", story.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Class, Signature};

    #[test]
    fn names_of_files_are_plain_and_differ() {
        let name = |signature: Signature| file_name(&Kind { class: signature.class(), signature });
        let bare = Signature::new(Class::Hole);
        assert_eq!(name(bare.clone()), "hole.case");
        let at = |source: &str| name(bare.clone().with_payload("put").with_source(source));
        assert_eq!(at("src/a.rs:1").len(), "hole-put-src-a.rs-1-01234567.case".len());
        assert_ne!(at("src/a.rs:1"), at("src/a.rs/1"));
        let long = at(&"x/".repeat(300));
        assert!(long.len() < 100, "{long}");
        assert_eq!(plain("..").matches('.').count(), 0);
        assert!(!plain("../../etc").contains('/'));
    }
}
