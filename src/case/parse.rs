//! Reads the text of a case.

use std::time::Duration;

use super::{
    Case, Crash, Creation, Epoch, Errors, Expect, FORMAT, Identity, Position, RESERVED, Step,
};
use crate::base::seed::Seed;
use crate::base::text::{TextError, Word, words};
use crate::case::fault::Fault;
use crate::case::turn::Turn;
use crate::disk::Errno;
use crate::disk::space::Space;
use crate::oracle::{Class, CrashKind};

/// Why a text is not a case: the line (from 1), the column and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {error}")]
pub struct CaseError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column and message.
    pub error: TextError,
}

/// The lines of a text that hold the parts of a case, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseLines {
    /// The `sim` line.
    pub sim: usize,
    /// The `profile` line.
    pub profile: usize,
    /// The line of each fault.
    pub faults: Vec<usize>,
    /// The lines of each epoch.
    pub epochs: Vec<EpochLines>,
}

/// The lines that hold the parts of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochLines {
    /// Of each step.
    pub steps: Vec<usize>,
    /// Of its crash, if it has one.
    pub crash: Option<usize>,
}

/// The most crashes in one case; each costs a recovery.
pub(super) const MOST_CRASHES: usize = 100;
/// The most bytes that all words of a case may expand to: a short text can repeat a long value.
const MOST_BYTES: usize = 64 << 20;

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// The line and the column of what is wrong, and what was expected there.
    #[cfg(any(test, feature = "inner"))]
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        Self::parse_with_lines(text).map(|(case, _)| case)
    }

    /// Reads a case, and says where in the text its parts are.
    ///
    /// # Errors
    /// See [`Case::parse`].
    pub fn parse_with_lines(text: &str) -> Result<(Self, CaseLines), CaseError> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.number = index + 1;
            if index == 0
                && let Some(format) = format(line).map_err(|error| CaseError { line: 1, error })?
            {
                reader.format = format;
                continue;
            }
            reader.line(line).map_err(|error| CaseError { line: index + 1, error })?;
        }
        let last = text.lines().count().max(1);
        reader.finish().map_err(|error| CaseError { line: last, error })
    }
}

#[derive(Default)]
struct Reader {
    story: Vec<String>,
    sim: Option<String>,
    profile: Option<String>,
    seed: Option<Seed>,
    expect: Option<Expect>,
    known: Option<String>,
    faults: Vec<Fault>,
    space: Option<Space>,
    cache: Option<bool>,
    identity: Option<Identity>,
    errors: Option<Errors>,
    creation: Option<Creation>,
    epochs: Vec<Epoch>,
    began: bool,
    /// The line that is being read.
    number: usize,
    /// The format that the first line names.
    format: u32,
    /// How many bytes the words so far expand to.
    bytes: usize,
    lines: CaseLines,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), TextError> {
        if let Some(comment) = line.strip_prefix('#').filter(|_| !self.began) {
            self.story.push(comment.trim().to_owned());
            return Ok(());
        }
        let words = words(line)?;
        let [first, rest @ ..] = words.as_slice() else { return Ok(()) };
        self.began = true;
        self.bytes += words.iter().map(|word| word.bytes.len()).sum::<usize>();
        if self.bytes > MOST_BYTES {
            return Err(TextError::new(1, "the case expands to more than 64 MiB up to here"));
        }
        let keyword = first.text();
        let in_header = self.epochs.is_empty();
        match keyword.as_str() {
            "fault" if in_header => {
                self.faults.push(Fault::parse(&self.fault_words(rest))?);
                self.lines.faults.push(self.number);
            }
            "crash" => self.crash(Crash::parse(rest)?)?,
            "turns" => {
                let turns = parse_turns(first, rest)?;
                self.epoch().0.turns.get_or_insert_default().extend(turns);
            }
            "reopen" => {
                no_words(rest)?;
                self.step(Step::Reopen);
            }
            "read-back" => {
                no_words(rest)?;
                self.step(Step::ReadBack);
            }
            "sleep" => {
                let duration = parse_duration(one_word(first, rest)?)?;
                self.step(Step::Sleep(duration));
            }
            _ if in_header && RESERVED.contains(&keyword.as_str()) => {
                self.header(&keyword, first, rest)?;
            }
            _ if RESERVED.contains(&keyword.as_str()) => {
                let message = format!("`{keyword}` belongs before the first step");
                return Err(TextError::new(first.column, message));
            }
            _ => self.step(Step::Op(words)),
        }
        Ok(())
    }

    /// The words of a fault as format 1 has them.
    fn fault_words(&self, words: &[Word]) -> Vec<Word> {
        let mut words = words.to_vec();
        if self.format == 0 {
            for word in &mut words {
                if let Some(number) = word.bytes.strip_prefix(b"life=") {
                    word.bytes = [b"epoch=", number].concat();
                }
            }
        }
        words
    }

    fn step(&mut self, step: Step) {
        let number = self.number;
        let (epoch, lines) = self.epoch();
        epoch.steps.push(step);
        lines.steps.push(number);
    }

    fn crash(&mut self, crash: Crash) -> Result<(), TextError> {
        let crashes = self.epochs.iter().filter(|epoch| epoch.crash.is_some()).count();
        if crashes == MOST_CRASHES {
            return Err(TextError::new(1, format!("more than {MOST_CRASHES} crashes in one case")));
        }
        let number = self.number;
        let (epoch, lines) = self.epoch();
        epoch.crash = Some(crash);
        lines.crash = Some(number);
        Ok(())
    }

    /// The epoch that the next step belongs to: a new one after a crash.
    fn epoch(&mut self) -> (&mut Epoch, &mut EpochLines) {
        if self.epochs.last().is_none_or(|epoch| epoch.crash.is_some()) {
            self.epochs.push(Epoch::default());
            self.lines.epochs.push(EpochLines::default());
        }
        let last = self.epochs.len() - 1;
        (&mut self.epochs[last], &mut self.lines.epochs[last])
    }

    fn header(&mut self, keyword: &str, first: &Word, rest: &[Word]) -> Result<(), TextError> {
        let again = match keyword {
            "sim" => self.sim.is_some(),
            "profile" => self.profile.is_some(),
            "seed" => self.seed.is_some(),
            "known" => self.known.is_some(),
            "space" => self.space.is_some(),
            "cache" => self.cache.is_some(),
            "identity" => self.identity.is_some(),
            "errors" => self.errors.is_some(),
            "creation" => self.creation.is_some(),
            _ => self.expect.is_some(),
        };
        if again {
            return Err(TextError::new(first.column, format!("a second `{keyword}` line")));
        }
        match keyword {
            "sim" => {
                self.sim = Some(one_word(first, rest)?.text());
                self.lines.sim = self.number;
            }
            "profile" => {
                self.profile = Some(one_word(first, rest)?.text());
                self.lines.profile = self.number;
            }
            "seed" => {
                let word = one_word(first, rest)?;
                let seed = word.text().parse::<Seed>();
                self.seed =
                    Some(seed.map_err(|error| TextError::new(word.column, error.to_string()))?);
            }
            "known" => self.known = Some(one_word(first, rest)?.text()),
            "space" => self.space = Some(parse_space(rest)?),
            "cache" => {
                self.cache = Some(either(first, rest, ("kept", false), ("evicted", true))?);
            }
            "identity" => {
                let (shared, own) = (("shared", Identity::Shared), ("own", Identity::PerEpoch));
                self.identity = Some(either(first, rest, own, shared)?);
            }
            "errors" => {
                let judged = ("judged", Errors::Judged);
                let uncertain = ("uncertain", Errors::Uncertain);
                self.errors = Some(either(first, rest, judged, uncertain)?);
            }
            "creation" => {
                let apart = ("apart", Creation::Apart);
                let in_session = ("in-session", Creation::InSession);
                self.creation = Some(either(first, rest, apart, in_session)?);
            }
            _ => self.expect = Some(Expect::parse(first, rest)?),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Case, CaseLines), TextError> {
        let missing = |what: &str| TextError::new(1, format!("the case has no `{what}` line"));
        if self.epochs.is_empty() {
            self.epochs.push(Epoch::default());
            self.lines.epochs.push(EpochLines::default());
        }
        let case = Case {
            story: self.story,
            sim: self.sim.ok_or_else(|| missing("sim"))?,
            profile: self.profile.ok_or_else(|| missing("profile"))?,
            seed: self.seed.ok_or_else(|| missing("seed"))?,
            expect: self.expect.ok_or_else(|| missing("expect"))?,
            known: self.known,
            faults: self.faults,
            space: self.space,
            evicts: self.cache.unwrap_or(false),
            identity: self.identity.unwrap_or(match self.format {
                0 => Identity::Shared,
                _ => Identity::PerEpoch,
            }),
            errors: self.errors.unwrap_or(match self.format {
                0 | 1 => Errors::Uncertain,
                _ => Errors::Judged,
            }),
            creation: self.creation.unwrap_or(match self.format {
                0..=2 => Creation::Apart,
                _ => Creation::InSession,
            }),
            epochs: self.epochs,
        };
        Ok((case, self.lines))
    }
}

/// The first word of a case from format 1 on.
pub(super) const MAGIC: &str = "crashpoint-case";

/// The format that a first line names, if it names one.
fn format(line: &str) -> Result<Option<u32>, TextError> {
    let Some(rest) = line.strip_prefix(MAGIC).filter(|rest| rest.starts_with([' ', '\t'])) else {
        return if line.trim_end() == MAGIC {
            Err(TextError::new(1, format!("`{MAGIC}` needs the number of a format")))
        } else {
            Ok(None)
        };
    };
    let column = MAGIC.len() + 2;
    match rest.trim().parse::<u32>() {
        Ok(format @ 1..=FORMAT) => Ok(Some(format)),
        Ok(format) => {
            let message = format!(
                "this case has format {format}, and this version reads up to format {FORMAT}: \
                 replay it with a newer crashpoint"
            );
            Err(TextError::new(column, message))
        }
        Err(_) => Err(TextError::new(column, "expected the number of a format, such as 1")),
    }
}

fn no_words(rest: &[Word]) -> Result<(), TextError> {
    match rest {
        [] => Ok(()),
        [extra, ..] => Err(TextError::new(extra.column, "one word too many")),
    }
}

/// One of two words, each with its meaning.
fn either<T>(
    first: &Word,
    rest: &[Word],
    (one, meaning): (&str, T),
    (other, its): (&str, T),
) -> Result<T, TextError> {
    let word = one_word(first, rest)?;
    match word.bytes.as_slice() {
        bytes if bytes == one.as_bytes() => Ok(meaning),
        bytes if bytes == other.as_bytes() => Ok(its),
        _ => Err(TextError::new(word.column, format!("expected `{one}` or `{other}`"))),
    }
}

fn one_word<'a>(keyword: &Word, rest: &'a [Word]) -> Result<&'a Word, TextError> {
    match rest {
        [word] => Ok(word),
        [] => {
            let message = format!("`{}` needs one word after it", keyword.text());
            Err(TextError::new(keyword.column, message))
        }
        [_, extra, ..] => Err(TextError::new(extra.column, "one word too many")),
    }
}

impl Expect {
    fn parse(keyword: &Word, rest: &[Word]) -> Result<Self, TextError> {
        let (class, signature) = match rest {
            [class] => (class, None),
            [class, signature] => (class, Some(signature)),
            _ => return one_word(keyword, rest).map(|_| Self::Pass),
        };
        if class.bytes == b"pass" && signature.is_none() {
            return Ok(Self::Pass);
        }
        let named = class.text().parse::<Class>().map_err(|_| {
            let classes = Class::ALL.map(|class| class.to_string()).join(", ");
            TextError::new(class.column, format!("expected `pass` or one of: {classes}"))
        })?;
        let signature = match signature {
            Some(word) => Some(word.text().parse().map_err(|_| {
                TextError::new(word.column, "expected a signature as a report prints it")
            })?),
            None => None,
        };
        Ok(Self::Violation(named, signature))
    }
}

/// Reads `pages=N`, `inodes=N`, `EDQUOT` and `delayed`, in any order.
fn parse_space(rest: &[Word]) -> Result<Space, TextError> {
    let most = u64::MAX;
    let mut space = Space { pages: most, inodes: most, error: Errno::ENOSPC, delayed: false };
    for word in rest {
        let wrong = || TextError::new(word.column, "expected pages=N, inodes=N, EDQUOT or delayed");
        let text = word.text();
        match text.split_once('=') {
            Some(("pages", number)) => space.pages = number.parse().map_err(|_| wrong())?,
            Some(("inodes", number)) => space.inodes = number.parse().map_err(|_| wrong())?,
            None if text == "EDQUOT" => space.error = Errno::EDQUOT,
            None if text == "delayed" => space.delayed = true,
            _ => return Err(wrong()),
        }
    }
    if (space.pages, space.inodes) == (most, most) {
        return Err(TextError::new(1, "`space` needs pages=N or inodes=N"));
    }
    Ok(space)
}

/// Reads `none`, or a list such as `17>2 21>1`.
fn parse_turns(keyword: &Word, rest: &[Word]) -> Result<Vec<Turn>, TextError> {
    if let [word] = rest
        && word.bytes == b"none"
    {
        return Ok(Vec::new());
    }
    if rest.is_empty() {
        return Err(TextError::new(keyword.column, "`turns` needs `none` or DECISION>THREAD"));
    }
    let turn = |word: &Word| {
        let text = word.text();
        let numbers = text.split_once('>').and_then(|(decision, thread)| {
            Some(Turn { decision: decision.parse().ok()?, thread: thread.parse().ok()? })
        });
        let message = "expected a decision and a thread, such as 17>2";
        numbers.ok_or_else(|| TextError::new(word.column, message))
    };
    rest.iter().map(turn).collect()
}

/// Reads `50ms`, `1.5s`, `10us`, `0s`.
pub(super) fn parse_duration(word: &Word) -> Result<Duration, TextError> {
    let text = word.text();
    let wrong = || TextError::new(word.column, "expected a duration such as 50ms, 1.5s or 10us");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let unit: u64 = match &text[digits.len()..] {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return Err(wrong()),
    };
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return Err(wrong());
    }
    let nanos = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| wrong())? };
    let scale = 10u64.pow(u32::try_from(fraction.len()).unwrap_or(9));
    Ok(Duration::from_nanos(nanos.saturating_add(part * unit / scale)))
}

impl Crash {
    /// Reads the words after `crash`.
    pub(super) fn parse(rest: &[Word]) -> Result<Self, TextError> {
        let [kind, rest @ ..] = rest else {
            return Err(TextError::new(1, "expected `crash power` or `crash process`"));
        };
        let kind = match kind.bytes.as_slice() {
            b"power" => CrashKind::Power,
            b"process" => CrashKind::Process,
            _ => return Err(TextError::new(kind.column, "expected `power` or `process`")),
        };
        let (mut step, mut effect) = (None, None);
        let mut position = Position::default();
        let mut crash =
            Self { kind, position, within: None, down: Duration::ZERO, fate: Vec::new() };
        for word in rest {
            let text = word.text();
            let number = |text: &str| {
                text.parse::<u32>().map_err(|_| {
                    let message = format!("expected a number up to {}", u32::MAX);
                    TextError::new(word.column, message)
                })
            };
            match text.split_once('=') {
                Some(("step", value)) => step = Some(number(value)?),
                Some(("effect", value)) => effect = Some(number(value)?),
                Some(("replies", value)) => position.replies = number(value)?,
                Some(("ended", value)) => position.ended = number(value)?,
                Some(("in", value)) => crash.within = Some(value.to_owned()),
                Some(("down", value)) => {
                    let word = Word { bytes: value.into(), column: word.column };
                    crash.down = parse_duration(&word)?;
                }
                _ if text == "returned" => position.returned = true,
                _ => crash.fate.push(word.clone()),
            }
        }
        let missing = || TextError::new(1, "a crash needs step=N and effect=N");
        position.step = step.ok_or_else(missing)?;
        position.effect = effect.ok_or_else(missing)?;
        crash.position = position;
        Ok(crash)
    }
}
