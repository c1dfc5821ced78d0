//! The text of a fate in a case, in the grammar of [`super::fate`].

use std::ops::Range;

use super::content::PAGE;
use super::fate::{Fate, Keep, Tear};
use super::naming::Names;
use super::pending::Pending;
use super::piece::Group;
use super::profile::Survivors;
use super::tearing;
use crate::base::text::{TextError, Word, quote};

impl Fate {
    /// The fate in the words of a case.
    pub fn text(&self, pending: &Pending) -> String {
        let names = pending.names();
        let mut text = match self.base {
            Keep::Nothing => String::from("keep=nothing"),
            Keep::All => String::from("keep=all"),
            Keep::Prefix(count) => format!("keep={count}"),
        };
        for (group, cut) in &self.exceptions {
            let word = [names.group(group), format!(":{cut}").into_bytes()].concat();
            text += &format!(" {}", quote(&word));
        }
        if let Some(Tear { group, piece, kept, junk }) = &self.tear {
            let piece = piece.map_or(String::new(), |piece| format!(":{piece}"));
            let mut ranges: Vec<String> = kept.iter().map(range_text).collect();
            ranges.extend(junk.iter().map(|junk| format!("{}?", range_text(junk))));
            let ranges = format!("{piece}:{}", ranges.join("+"));
            text += &format!(" tear={}", quote(&[names.group(group), ranges.into()].concat()));
        }
        if self.stale {
            text += " stale";
        }
        text
    }

    /// Reads a fate from the words of a line, for the groups that are pending now.
    ///
    /// # Errors
    /// The column of the wrong word, and the expected one. Among others, a path that leads nowhere,
    /// a group with no pending piece, and a count beyond the pieces of a group are errors.
    pub fn parse(words: &[Word], pending: &Pending) -> Result<Self, TextError> {
        let names = pending.names();
        let Some((first, rest)) = words.split_first() else {
            return Err(TextError::new(1, "expected keep=nothing, keep=all or keep=NUMBER"));
        };
        let mut fate = Self::of(parse_base(first, pending)?);
        for word in rest {
            let wrong = |message: String| TextError::new(word.column, message);
            if let Some(tear) = word.bytes.strip_prefix(b"tear=") {
                let tear = parse_tear(tear, &names).map_err(wrong)?;
                if tear.junk.is_some() && !pending.profile().tear.garbage {
                    let name = pending.profile().name;
                    return Err(wrong(format!("on {name} no sector holds junk")));
                }
                if fate.tear.replace(tear).is_some() {
                    return Err(wrong("a fate has one tear at most".into()));
                }
                continue;
            }
            if word.bytes == b"stale" {
                if !pending.profile().stale {
                    let name = pending.profile().name;
                    return Err(wrong(format!("on {name} no block is stale")));
                }
                fate.stale = true;
                continue;
            }
            let (group, count) = split_word(&word.bytes).map_err(wrong)?;
            let group = names.find(group).map_err(|error| wrong(error.to_string()))?;
            let length = pending.group(&group).map_or(0, Group::len);
            let cut = count.parse().ok().filter(|cut| *cut <= length).ok_or_else(|| {
                wrong(format!("expected a count of kept pieces from 0 to {length}"))
            })?;
            if fate.exceptions.insert(group, cut).is_some() {
                return Err(wrong(format!("{} is named twice", word.text())));
            }
        }
        let Some(tear) = &fate.tear else { return Ok(fate) };
        let name = || String::from_utf8_lossy(&names.group(&tear.group)).into_owned();
        let message = if !pending.tears_data(&fate) {
            format!("after the kept pieces of {} there is no data to tear", name())
        } else if !tearing::may_tear_so(pending, &fate) {
            let profile = pending.profile().name;
            format!("on {profile} {} does not tear there, or not into these ranges", name())
        } else {
            return Ok(fate);
        };
        let torn = words.iter().find(|word| word.bytes.starts_with(b"tear="));
        Err(TextError::new(torn.map_or(1, |word| word.column), message))
    }
}

fn parse_base(word: &Word, pending: &Pending) -> Result<Keep, TextError> {
    let count = |text: &str| text.parse().ok().filter(|count| *count <= pending.len());
    let base = match word.bytes.strip_prefix(b"keep=") {
        Some(b"nothing") => Some(Keep::Nothing),
        Some(b"all") => Some(Keep::All),
        Some(number) => std::str::from_utf8(number).ok().and_then(count).map(Keep::Prefix),
        None => None,
    };
    base.ok_or_else(|| {
        let length = pending.len();
        let message = format!("expected keep=nothing, keep=all or keep=NUMBER up to {length}");
        TextError::new(word.column, message)
    })
}

/// The parts of a word before and after its last colon.
fn split_word(word: &[u8]) -> Result<(&[u8], &str), String> {
    let colon = word.iter().rposition(|&byte| byte == b':');
    let parts = colon.map(|at| (&word[..at], std::str::from_utf8(&word[at + 1..])));
    match parts {
        Some((group, Ok(number))) => Ok((group, number)),
        _ => Err("expected GROUP:COUNT, such as log@4096:1, log.size:0 or log.entry:1".into()),
    }
}

fn parse_tear(word: &[u8], names: &Names<'_>) -> Result<Tear, String> {
    let (mut group, ranges) = split_word(word)?;
    let mut piece = None;
    // The name of a group never ends in a colon and a number.
    if let Ok((front, number)) = split_word(group)
        && let Ok(number) = number.parse()
    {
        (group, piece) = (front, Some(number));
    }
    let group = names.find(group).map_err(|error| error.to_string())?;
    let Survivors { kept, junk } = parse_ranges(ranges)?;
    Ok(Tear { group, piece, kept, junk })
}

fn range_text(range: &Range<u16>) -> String {
    match range.start {
        0 => range.end.to_string(),
        start => format!("{start}..{}", range.end),
    }
}

/// The ranges that survive, and the last one if it holds junk.
fn parse_ranges(text: &str) -> Result<Survivors, String> {
    let (mut ranges, mut junk) = (Vec::<Range<u16>>::new(), None);
    for part in text.split('+') {
        let bytes = part.strip_suffix('?').unwrap_or(part);
        let (start, end) = bytes.split_once("..").unwrap_or(("0", bytes));
        let range = match (start.parse::<u16>(), end.parse::<u16>()) {
            (Ok(start), Ok(end)) if start < end && usize::from(end) <= PAGE => start..end,
            _ => return Err(format!("expected END or START..END up to {PAGE}, found {part}")),
        };
        let before = ranges.last().or(junk.as_ref());
        if junk.is_some() || before.is_some_and(|last| last.end > range.start) {
            return Err(format!("{part} comes after what follows it"));
        }
        if part.ends_with('?') {
            junk = Some(range);
        } else {
            ranges.push(range);
        }
    }
    Ok(Survivors { kept: ranges, junk })
}
