//! The fate of what is pending: which pieces a crash keeps, loses and tears; the families of
//! fates that are worth trying; and how a case writes one down.
//!
//! # Grammar
//!
//! A fate is a line of words (see [`crate::base::text`]):
//!
//! ```text
//! FATE  = keep=BASE [GROUP:COUNT ...] [tear=GROUP[:COUNT]:RANGE[+RANGE ...]] [stale]
//! BASE  = nothing | all | NUMBER      NUMBER: the first that many pending pieces
//! GROUP = FILE@OFFSET                 one block of a file, by its offset in bytes
//!       | FILE.size                   the size of a file
//!       | ENTRY.entry                 one entry of a directory, by its path
//!       | FILE.data                   all of a file, where the profile keeps it in order
//!       | namespace                   all entries, where the profile keeps them in order
//! RANGE = END | START..END            bytes of the torn block that survive; END is 0..END
//! ```
//!
//! COUNT is how many of the group's pending pieces are kept; in a tear, the last of so many is the
//! one that is torn, if it is not the one right behind those that are kept. `stale`: new blocks
//! that were lost and that a size leads to hold junk, where the profile allows it. What stands last
//! decides what a word is, so a path may hold any of `@`, `.` and `:`. A path is that of the live
//! tree. An inode without a name there is called by its last name; if another has it now, by that
//! name with `//1`, `//2` and so on behind it, the youngest inode first; if it never had one, by
//! `//` and its number. No file name holds a `/`, so these are not paths. A path that begins like a
//! word of this grammar (`keep=`, `tear=`) has `./` before it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::PAGE;
use super::naming::Names;
use super::pending::Pending;
use super::piece::{Group, GroupId};
use crate::base::text::{TextError, Word, quote};

/// What a crash keeps of the groups that a fate does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No piece.
    Nothing,
    /// All pieces.
    All,
    /// The first pieces in their global order, as many as this.
    Prefix(usize),
}

/// What remains of a piece behind a group's cut: the bytes of its block in these ranges. The
/// other bytes of the block are those that the cut keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tear {
    /// The group.
    pub group: GroupId,
    /// Which of its pending pieces is torn, counted from 1; `None` is the one right behind the
    /// cut. A page goes out as it is, so a block that has a group of its own may tear between
    /// two versions that do not follow each other. In a shared group only the piece right
    /// behind the cut can tear.
    pub piece: Option<usize>,
    /// The ranges that survive, in bytes from the start of the block, in order.
    pub kept: Vec<Range<u16>>,
}

/// Which pieces a crash keeps: one cut for each group, and at most one tear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What is kept of the groups that are not in `exceptions`.
    pub base: Keep,
    /// How many of its pending pieces a group keeps.
    pub exceptions: BTreeMap<GroupId, usize>,
    /// The piece that survives in part, if one does.
    pub tear: Option<Tear>,
    /// New blocks that are lost and that a size leads to hold junk, not zeros.
    pub stale: bool,
}

impl Fate {
    /// Keeps what the base says.
    pub fn of(base: Keep) -> Self {
        Self { base, exceptions: BTreeMap::new(), tear: None, stale: false }
    }

    /// Keeps no pending piece.
    pub fn nothing() -> Self {
        Self::of(Keep::Nothing)
    }

    /// Keeps every pending piece.
    pub fn all() -> Self {
        Self::of(Keep::All)
    }

    /// Keeps the first `count` pending pieces in their global order.
    pub fn prefix(count: usize) -> Self {
        Self::of(Keep::Prefix(count))
    }

    /// The same but for one group, which keeps its first `cut` pending pieces.
    pub fn with(mut self, group: GroupId, cut: usize) -> Self {
        self.exceptions.insert(group, cut);
        self
    }

    /// The same with a tear of the piece right behind a group's cut.
    pub fn torn(mut self, group: GroupId, kept: impl IntoIterator<Item = Range<u16>>) -> Self {
        self.tear = Some(Tear { group, piece: None, kept: kept.into_iter().collect() });
        self
    }

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
        if let Some(Tear { group, piece, kept }) = &self.tear {
            let piece = piece.map_or(String::new(), |piece| format!(":{piece}"));
            let ranges: Vec<String> = kept.iter().map(range_text).collect();
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
    /// The column of the word that is wrong, and what was expected: among others a path that
    /// leads nowhere, a group with no pending piece, and a count beyond the pieces of a group.
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
            let group = names.find(group).map_err(wrong)?;
            let length = pending.group(&group).map_or(0, Group::len);
            let cut = count.parse().ok().filter(|cut| *cut <= length).ok_or_else(|| {
                wrong(format!("expected a count of kept pieces from 0 to {length}"))
            })?;
            if fate.exceptions.insert(group, cut).is_some() {
                return Err(wrong(format!("{} is named twice", word.text())));
            }
        }
        match &fate.tear {
            Some(tear) if !pending.tears_data(&fate) => {
                let name = String::from_utf8_lossy(&names.group(&tear.group)).into_owned();
                let message = format!("behind what is kept of {name} there is no data to tear");
                Err(TextError::new(words.last().map_or(1, |word| word.column), message))
            }
            _ => Ok(fate),
        }
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

/// What stands before the last colon and what stands behind it.
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
    Ok(Tear { group: names.find(group)?, piece, kept: parse_ranges(ranges)? })
}

fn range_text(range: &Range<u16>) -> String {
    match range.start {
        0 => range.end.to_string(),
        start => format!("{start}..{}", range.end),
    }
}

fn parse_ranges(text: &str) -> Result<Vec<Range<u16>>, String> {
    let mut ranges: Vec<Range<u16>> = Vec::new();
    for part in text.split('+') {
        let (start, end) = part.split_once("..").unwrap_or(("0", part));
        let range = match (start.parse::<u16>(), end.parse::<u16>()) {
            (Ok(start), Ok(end)) if start < end && usize::from(end) <= PAGE => start..end,
            _ => return Err(format!("expected END or START..END up to {PAGE}, found {part}")),
        };
        if ranges.last().is_some_and(|last| last.end > range.start) {
            return Err(format!("{part} comes after what follows it"));
        }
        ranges.push(range);
    }
    Ok(ranges)
}
