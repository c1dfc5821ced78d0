//! The command's output: results on stdout with a status column, notes and progress on stderr.
//! Progress is one redrawn line on a terminal, and `key=value` lines elsewhere.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Color;
use crate::campaign::problem::Problem;
use crate::explore::tally::Tally;
use crate::report::page::grouped;

/// The colour of a line's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Passed.
    Good,
    /// Violated.
    Bad,
    /// Worth a look.
    Odd,
    /// Neither.
    Plain,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Odd => AnsiColor::Yellow.on_default().bold(),
            Self::Plain => Style::new().bold(),
        }
    }
}

/// The terminal that the command writes to.
pub(crate) struct Terminal {
    colour: bool,
    stderr_colour: bool,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    /// Notes that were shown.
    noted: BTreeSet<String>,
    /// Everything written to stdout, without colour: the saved report.
    pub(crate) transcript: String,
}

/// How often a progress line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(60);

impl Terminal {
    /// Decides once whether to use colour.
    pub(crate) fn new(color: Color) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let decide = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        };
        Self {
            colour: decide(std::io::stdout().is_terminal()),
            stderr_colour: decide(std::io::stderr().is_terminal()),
            bar: None,
            last: None,
            noted: BTreeSet::new(),
            transcript: String::new(),
        }
    }

    /// A line with a word in the status column.
    pub(crate) fn status(&mut self, tone: Tone, word: &str, text: &str) {
        let plain = format!("{word:>12} {text}");
        let style = tone.style();
        let coloured = format!("{style}{word:>12}{style:#} {text}");
        self.print(&plain, &coloured);
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, text: &str) {
        self.print(text, text);
    }

    /// Text of several lines; the first word of the first line is coloured.
    pub(crate) fn block(&mut self, tone: Tone, text: &str) {
        for (number, line) in text.lines().enumerate() {
            match line.trim_start().split_once(' ') {
                Some((word, rest)) if number == 0 => self.status(tone, word, rest),
                _ => self.line(line),
            }
        }
    }

    fn print(&mut self, plain: &str, coloured: &str) {
        self.transcript.push_str(plain);
        self.transcript.push('\n');
        let text = if self.colour { coloured } else { plain };
        let write = || writeln!(std::io::stdout(), "{text}");
        // A closed pipe is not an error: the reader has seen enough.
        let _ = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    /// An error, on stderr.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        self.clear_progress();
        let style = if self.stderr_colour { Tone::Bad.style() } else { Style::new() };
        let _ = writeln!(std::io::stderr(), "{style}error{style:#}: {problem}");
    }

    /// A note, on stderr.
    pub(crate) fn notice(&mut self, text: &str) {
        let style = if self.stderr_colour { Tone::Odd.style() } else { Style::new() };
        let write = || writeln!(std::io::stderr(), "{style}note{style:#}: {text}");
        let _ = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    /// A note, on stderr, unless it was shown before.
    pub(crate) fn notice_once(&mut self, text: &str) {
        if self.noted.insert(text.to_owned()) {
            self.notice(text);
        }
    }

    /// The progress of a part: redrawn on a terminal; elsewhere a line a minute.
    pub(crate) fn progress(&mut self, what: &str, done: u64, all: u64, tally: &Tally) {
        if std::io::stderr().is_terminal() {
            self.redraw(what, done, all, tally);
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "how often progress is shown is real time")]
        let now = Instant::now();
        let started = *self.last.get_or_insert(now);
        if now.duration_since(started) >= LINE_EVERY {
            self.last = Some(now);
            let _ = writeln!(
                std::io::stderr(),
                "part={what:?} workloads={done}/{all} points={} states={} recoveries={} violations={}",
                tally.points,
                tally.states,
                tally.recoveries,
                tally.violations
            );
        }
    }

    fn redraw(&mut self, what: &str, done: u64, all: u64, tally: &Tally) {
        // Where there is no end, there is nothing to divide by.
        let of = if all == 0 { String::new() } else { format!("/{all}") };
        // A narrow terminal cuts off the end.
        self.working(format!(
            "{done}{of}  {} states  {} violations  {what}",
            grouped(tally.states),
            grouped(tally.violations)
        ));
    }

    /// What is being done: redrawn on a terminal, and nothing elsewhere.
    pub(crate) fn working(&mut self, text: String) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix:>12} [{elapsed_precise}] {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix("Running");
            bar
        });
        bar.set_message(text);
        bar.tick();
    }

    /// Removes the progress line.
    pub(crate) fn clear_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
