//! Writes a case as the text that is read back.

use std::fmt;
use std::time::Duration;

use super::parse::MAGIC;
use super::{Case, Crash, Creation, Errors, Expect, FORMAT, Identity, Step};
use crate::base::text::{Word, quote};
use crate::case::turn::Turn;
use crate::disk::Errno;
use crate::disk::space::Space;
use crate::oracle::CrashKind;

/// Writes a limit in the form that `parse_space` reads.
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

/// Writes a duration in the form that `parse_duration` reads.
pub(super) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if nanos.is_multiple_of(unit) {
            return format!("{}{name}", nanos / unit);
        }
    }
    format!("{nanos}ns")
}

/// The words after `turns`, a readable number of them on each line.
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
            Self::ReadBack => f.write_str("read-back"),
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
        write!(f, "crash {kind} {}", self.position)?;
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
        writeln!(f, "{MAGIC} {FORMAT}")?;
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
        if self.identity == Identity::Shared {
            writeln!(f, "identity shared")?;
        }
        if self.errors == Errors::Uncertain {
            writeln!(f, "errors uncertain")?;
        }
        if self.creation == Creation::Apart {
            writeln!(f, "creation apart")?;
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

impl Case {
    /// The lines of its faults and of its limited disk.
    pub(crate) fn conditions(&self) -> Vec<String> {
        let faults = self.faults.iter().map(ToString::to_string);
        let space = self.space.iter().map(|space| format!("space {}", show_space(space)));
        faults.chain(space).collect()
    }
}
