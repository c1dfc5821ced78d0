//! The case file: one run as text that a person can read, write and edit, and that replays.
//!
//! ```text
//! # What the story is, in comment lines.
//! sim append-log
//! profile posix
//! seed 0x92c17f0300000040
//! expect lost-write
//! fault ENOSPC step=2 write=1 after=100
//! put a 1
//! checkpoint 1
//! crash power step=2 effect=3 in=write:log keep=nothing down=1.5s
//! put b 2
//! ```
//!
//! Header lines come first, in any order; `expect pass`, or the class of the violation that must
//! be found. Then the steps, counted from 1: an op of the sim in its own words, `reopen` (close
//! and open), or `sleep 50ms`. A `crash` line ends a life; what follows it are the steps of the
//! next one, which begins with a recovery. `step=0` is the opening of a life, the step behind the
//! last is its closing; `effect=N` says that N changes of the disk had been made within the step,
//! `returned` that it had returned, `replies=N` that within it so many ops of clients had,
//! `ended=N` that N openings and closings of the store had returned since the last of these
//! changes.
//! What the crash keeps is the text form of a [`crate::disk::fate`], and a word of
//! [`crate::disk::rot`] behind it says what of that rots; a process crash keeps all, but
//! with `cache=evicted` not the pages whose write had failed before. A line `cache evicted` in the
//! header says that these pages are dropped as soon as a sync fails, while the engine goes on;
//! without it they stay in the cache. A line `space pages=40 inodes=9` limits the disk of the first
//! life (see [`crate::disk::space`]); the machines behind the crashes have room.
//!
//! An engine with threads is scheduled from the seed, unless a life has lines `turns 17>2 21>1`:
//! then by the rule that a thread goes on as long as it can, but for these decisions (see
//! [`crate::process::world::schedule`]); `turns none` is the rule alone.

pub mod fault;
pub mod turn;

use std::fmt;
use std::time::Duration;

use crate::base::seed::Seed;
use crate::base::text::{TextError, Word, quote, words};
use crate::case::fault::Fault;
use crate::case::turn::Turn;
use crate::disk::Errno;
use crate::disk::space::Space;
use crate::oracle::CrashKind;
use crate::oracle::{Class, Signature};

/// One run, as text holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Comment lines at the head, without `# `.
    pub story: Vec<String>,
    /// The name of the sim.
    pub sim: String,
    /// The name of the profile.
    pub profile: String,
    /// The seed of what the engine draws from the system.
    pub seed: Seed,
    /// What must come out of it.
    pub expect: Expect,
    /// Set for a known finding: where it is reported or why it is accepted. Violations with the
    /// signature of `expect` are then counted as shadowed.
    pub known: Option<String>,
    /// Injected errors.
    pub faults: Vec<Fault>,
    /// How much the disk of the first life holds, if that is little.
    pub space: Option<Space>,
    /// Whether the cache drops pages whose write failed, as soon as the sync has failed.
    pub evicts: bool,
    /// From one opening to the crash, or to the end.
    pub epochs: Vec<Epoch>,
}

/// What must come out of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No violation.
    Pass,
    /// A violation of this class, and of this signature if one is given.
    Violation(Class, Option<Signature>),
}

/// A part of a run from an opening of the store to a crash or to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Its steps; step 1 is the first.
    pub steps: Vec<Step>,
    /// The crash that ends it.
    pub crash: Option<Crash>,
    /// Which threads were given the turn out of order; `None` leaves it to the seed.
    pub turns: Option<Vec<Turn>>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An op of the sim: its words.
    Op(Vec<Word>),
    /// Close the store and open it again.
    Reopen,
    /// Let virtual time pass.
    Sleep(Duration),
}

/// Where and how a life ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Process or power.
    pub kind: CrashKind,
    /// Which step; 0 is the opening.
    pub step: u32,
    /// How many changes of the disk had been made within the step.
    pub effect: u32,
    /// Whether the step had returned.
    pub returned: bool,
    /// How many ops of clients had returned within the step.
    pub replies: u32,
    /// How many openings and closings had returned since the last change within the step.
    pub ended: u32,
    /// The call that was under way or came next, `door:path`, to notice that a case no longer
    /// fits its engine.
    pub within: Option<String>,
    /// How long the machine is down.
    pub down: Duration,
    /// What is kept: the words of a fate.
    pub fate: Vec<Word>,
}

/// Why a text is no case: the line (from 1), the column and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {error}")]
pub struct CaseError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column and message.
    pub error: TextError,
}

/// Which lines of a text the parts of a case stand on, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The `sim` line.
    pub sim: usize,
    /// The `profile` line.
    pub profile: usize,
    /// The lines of each life.
    pub epochs: Vec<EpochLines>,
}

/// Which lines the parts of a life stand on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochLines {
    /// Of each step.
    pub steps: Vec<usize>,
    /// Of its crash, if it has one.
    pub crash: Option<usize>,
}

/// More crashes than anybody follows; each costs a recovery.
const MOST_CRASHES: usize = 100;
/// The bytes that all words of a case may stand for: a short text can name a long value often.
const MOST_BYTES: usize = 64 << 20;

/// The words that a sim's ops must not begin with.
pub const RESERVED: [&str; 12] = [
    "sim", "profile", "seed", "expect", "known", "fault", "space", "cache", "turns", "crash",
    "reopen", "sleep",
];

impl Case {
    /// An empty case for a sim.
    pub fn new(sim: &str, profile: &str, seed: Seed) -> Self {
        Self {
            story: Vec::new(),
            sim: sim.to_owned(),
            profile: profile.to_owned(),
            seed,
            expect: Expect::Pass,
            known: None,
            faults: Vec::new(),
            space: None,
            evicts: false,
            epochs: vec![Epoch::default()],
        }
    }

    /// Reads a case.
    ///
    /// # Errors
    /// The line and the column of what is wrong, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        Self::parse_with_lines(text).map(|(case, _)| case)
    }

    /// Reads a case, and says where in the text its parts are.
    ///
    /// # Errors
    /// See [`Case::parse`].
    pub fn parse_with_lines(text: &str) -> Result<(Self, Lines), CaseError> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.number = index + 1;
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
    epochs: Vec<Epoch>,
    began: bool,
    /// The line that is being read.
    number: usize,
    /// How many bytes the words so far stand for.
    bytes: usize,
    lines: Lines,
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
            return Err(TextError::new(1, "the case stands for more than 64 MiB up to here"));
        }
        let keyword = first.text();
        let in_header = self.epochs.is_empty();
        match keyword.as_str() {
            "fault" if in_header => self.faults.push(Fault::parse(rest)?),
            "crash" => self.crash(Crash::parse(rest)?)?,
            "turns" => {
                let turns = parse_turns(first, rest)?;
                self.epoch().0.turns.get_or_insert_default().extend(turns);
            }
            "reopen" => {
                none(rest)?;
                self.step(Step::Reopen);
            }
            "sleep" => {
                let duration = parse_duration(one(first, rest)?)?;
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

    /// The life that the next step belongs to: a new one after a crash.
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
            _ => self.expect.is_some(),
        };
        if again {
            return Err(TextError::new(first.column, format!("a second `{keyword}` line")));
        }
        match keyword {
            "sim" => {
                self.sim = Some(one(first, rest)?.text());
                self.lines.sim = self.number;
            }
            "profile" => {
                self.profile = Some(one(first, rest)?.text());
                self.lines.profile = self.number;
            }
            "seed" => {
                let word = one(first, rest)?;
                let seed = word.text().parse::<Seed>();
                self.seed =
                    Some(seed.map_err(|error| TextError::new(word.column, error.to_string()))?);
            }
            "known" => self.known = Some(one(first, rest)?.text()),
            "space" => self.space = Some(parse_space(rest)?),
            "cache" => {
                let word = one(first, rest)?;
                self.cache = Some(match word.bytes.as_slice() {
                    b"kept" => false,
                    b"evicted" => true,
                    _ => return Err(TextError::new(word.column, "expected `kept` or `evicted`")),
                });
            }
            _ => self.expect = Some(Expect::parse(first, rest)?),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Case, Lines), TextError> {
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
            epochs: self.epochs,
        };
        Ok((case, self.lines))
    }
}

fn none(rest: &[Word]) -> Result<(), TextError> {
    match rest {
        [] => Ok(()),
        [extra, ..] => Err(TextError::new(extra.column, "one word too many")),
    }
}

fn one<'a>(keyword: &Word, rest: &'a [Word]) -> Result<&'a Word, TextError> {
    match rest {
        [word] => Ok(word),
        [] => {
            let message = format!("`{}` needs one word behind it", keyword.text());
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
            _ => return one(keyword, rest).map(|_| Self::Pass),
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

/// Writes a limit so that [`parse_space`] reads it back.
fn show_space(space: &Space) -> String {
    let number = |name: &str, n: u64| (n < u64::MAX).then(|| format!("{name}={n}"));
    let words = [
        number("pages", space.pages),
        number("inodes", space.inodes),
        (space.error == Errno::EDQUOT).then(|| "EDQUOT".to_owned()),
        space.delayed.then(|| "delayed".to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
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
fn parse_duration(word: &Word) -> Result<Duration, TextError> {
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

/// Writes a duration so that [`parse_duration`] reads it back.
fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if nanos.is_multiple_of(unit) {
            return format!("{}{name}", nanos / unit);
        }
    }
    format!("{nanos}ns")
}

impl Crash {
    /// Reads the words behind `crash`.
    fn parse(rest: &[Word]) -> Result<Self, TextError> {
        let [kind, rest @ ..] = rest else {
            return Err(TextError::new(1, "expected `crash power` or `crash process`"));
        };
        let kind = match kind.bytes.as_slice() {
            b"power" => CrashKind::Power,
            b"process" => CrashKind::Process,
            _ => return Err(TextError::new(kind.column, "expected `power` or `process`")),
        };
        let (mut step, mut effect) = (None, None);
        let mut crash = Self {
            kind,
            step: 0,
            effect: 0,
            returned: false,
            replies: 0,
            ended: 0,
            within: None,
            down: Duration::ZERO,
            fate: Vec::new(),
        };
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
                Some(("replies", value)) => crash.replies = number(value)?,
                Some(("ended", value)) => crash.ended = number(value)?,
                Some(("in", value)) => crash.within = Some(value.to_owned()),
                Some(("down", value)) => {
                    let word = Word { bytes: value.into(), column: word.column };
                    crash.down = parse_duration(&word)?;
                }
                _ if text == "returned" => crash.returned = true,
                _ => crash.fate.push(word.clone()),
            }
        }
        let missing = || TextError::new(1, "a crash needs step=N and effect=N");
        crash.step = step.ok_or_else(missing)?;
        crash.effect = effect.ok_or_else(missing)?;
        Ok(crash)
    }
}

/// The words behind `turns`, so many on a line that it stays readable.
fn turn_lines(turns: &[Turn]) -> Vec<String> {
    const ON_A_LINE: usize = 10;
    if turns.is_empty() {
        return vec!["none".to_owned()];
    }
    let word = |turn: &Turn| format!("{}>{}", turn.decision, turn.thread);
    turns
        .chunks(ON_A_LINE)
        .map(|chunk| chunk.iter().map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

fn join(words: &[Word]) -> String {
    words.iter().map(|word| quote(&word.bytes)).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(words) => f.write_str(&join(words)),
            Self::Reopen => f.write_str("reopen"),
            Self::Sleep(duration) => write!(f, "sleep {}", show_duration(*duration)),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CrashKind::Power => "power",
            CrashKind::Process => "process",
        };
        write!(f, "crash {kind} step={} effect={}", self.step, self.effect)?;
        if self.returned {
            f.write_str(" returned")?;
        }
        if self.replies > 0 {
            write!(f, " replies={}", self.replies)?;
        }
        if self.ended > 0 {
            write!(f, " ended={}", self.ended)?;
        }
        if let Some(call) = &self.within {
            write!(f, " {}", quote(format!("in={call}").as_bytes()))?;
        }
        if !self.down.is_zero() {
            write!(f, " down={}", show_duration(self.down))?;
        }
        if !self.fate.is_empty() {
            write!(f, " {}", join(&self.fate))?;
        }
        Ok(())
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Violation(class, None) => write!(f, "{class}"),
            Self::Violation(class, Some(signature)) => {
                write!(f, "{class} {}", quote(signature.to_string().as_bytes()))
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        writeln!(f, "sim {}", quote(self.sim.as_bytes()))?;
        writeln!(f, "profile {}", quote(self.profile.as_bytes()))?;
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "expect {}", self.expect)?;
        if let Some(known) = &self.known {
            writeln!(f, "known {}", quote(known.as_bytes()))?;
        }
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        if let Some(space) = &self.space {
            writeln!(f, "space {}", show_space(space))?;
        }
        if self.evicts {
            writeln!(f, "cache evicted")?;
        }
        for epoch in &self.epochs {
            for line in epoch.turns.as_deref().map(turn_lines).unwrap_or_default() {
                writeln!(f, "turns {line}")?;
            }
            for step in &epoch.steps {
                writeln!(f, "{step}")?;
            }
            if let Some(crash) = &epoch.crash {
                writeln!(f, "{crash}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"# The header write was lost.
# Found by hand.
sim append-log
profile posix
seed 0x92c17f0300000040
expect lost-write
known "tracker: issue 12"
fault ENOSPC step=2 write=1 after=100
space pages=40 inodes=9 EDQUOT delayed
cache evicted
put a "x y"
sleep 50ms
reopen
crash power step=2 effect=3 in=write:log down=1500ms keep=nothing log@4096:2
put b "v"*5000
crash process step=1 effect=2 replies=3
put c 1
crash process step=1 effect=0 returned ended=2
"#;

    #[test]
    fn a_case_reads_back() {
        let case = Case::parse(CASE).expect("it parses");
        assert_eq!(case.to_string(), CASE);
        assert_eq!(case.epochs.len(), 3);
        assert_eq!(case.epochs[1].crash.as_ref().map(|crash| crash.replies), Some(3));
        assert_eq!(case.epochs[0].steps.len(), 3);
    }

    #[test]
    fn the_parts_of_a_case_know_their_lines() {
        let (case, lines) = Case::parse_with_lines(CASE).expect("it parses");
        assert_eq!((lines.sim, lines.profile), (3, 4));
        let first = EpochLines { steps: vec![11, 12, 13], crash: Some(14) };
        let second = EpochLines { steps: vec![15], crash: Some(16) };
        let third = EpochLines { steps: vec![17], crash: Some(18) };
        assert_eq!(lines.epochs, [first, second, third]);
        assert_eq!(lines.epochs.len(), case.epochs.len());
    }

    #[test]
    fn a_case_that_stands_for_too_much_is_refused() {
        let head = "sim a\nprofile posix\nseed 1\nexpect pass\n";
        let crashes = |count| head.to_owned() + &"crash power step=0 effect=0\n".repeat(count);
        assert!(Case::parse(&crashes(MOST_CRASHES)).is_ok());
        let error = Case::parse(&crashes(MOST_CRASHES + 1)).unwrap_err();
        assert_eq!(error.line, 5 + MOST_CRASHES);
        let long = head.to_owned() + &"put \"a\"*40000000\n".repeat(2);
        assert_eq!(Case::parse(&long).unwrap_err().line, 6);
    }

    #[test]
    fn a_wrong_case_names_line_and_column() {
        let wrong = |from: &str, to: &str| {
            let error = Case::parse(&CASE.replace(from, to)).unwrap_err();
            (error.line, error.error.column)
        };
        assert_eq!(wrong("0x92c17f0300000040", "0xzz"), (5, 6));
        assert_eq!(wrong("lost-write", "lost-right"), (6, 8));
        assert_eq!(wrong("50ms", "50 ms"), (12, 10));
        assert_eq!(wrong("50ms", "5x"), (12, 7));
        assert_eq!(wrong("crash power", "crash flood"), (14, 7));
        assert_eq!(wrong("reopen", "sim other"), (13, 1));
        assert_eq!(wrong("reopen", "reopen now"), (13, 8));
        assert_eq!(wrong("reopen", "fault EIO step=1 sync=1"), (13, 1));
        assert_eq!(wrong("EDQUOT delayed", "delayed soon"), (9, 33));
        assert_eq!(wrong("cache evicted", "cache gone"), (10, 7));
        assert_eq!(wrong("profile posix", "sim other"), (4, 1));
        assert_eq!(wrong("sim append-log\n", ""), (17, 1));
        assert_eq!(wrong("\"x y\"", "\"x y"), (11, 7));
    }

    #[test]
    fn durations_read_back() {
        for text in ["0s", "50ms", "1500ms", "7us", "13ns"] {
            let word = Word { bytes: text.into(), column: 1 };
            assert_eq!(show_duration(parse_duration(&word).expect("it parses")), text);
        }
        let word = Word { bytes: "1.5s".into(), column: 1 };
        assert_eq!(parse_duration(&word), Ok(Duration::from_millis(1500)));
    }
}
