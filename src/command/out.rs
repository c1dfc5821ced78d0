//! What the command shows: results on stdout in one status column, progress and warnings on
//! stderr, a redrawn line on a terminal and `key=value` lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::campaign::client::Problem;
use crate::command::Color;
use crate::explore::protocol::Tally;

/// How a line's first word is coloured.
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

/// Where the command writes.
pub(crate) struct Out {
    colour: bool,
    stderr_colour: bool,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    /// Everything that went to stdout, without colour: the saved report.
    pub(crate) transcript: String,
}

/// How often a progress line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(60);

impl Out {
    /// Decides once whether there is colour.
    pub(crate) fn new(color: Color) -> Self {
        // NO_COLOR changes how things look, never what they are.
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
        // A closed pipe means that the reader has seen enough: no error of ours.
        let _ = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    /// What stands in the way, on stderr.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        self.clear_progress();
        let style = if self.stderr_colour { Tone::Bad.style() } else { Style::new() };
        let _ = writeln!(std::io::stderr(), "{style}error{style:#}: {problem}");
    }

    /// Something to know, on stderr.
    pub(crate) fn notice(&mut self, text: &str) {
        let style = if self.stderr_colour { Tone::Odd.style() } else { Style::new() };
        let write = || writeln!(std::io::stderr(), "{style}note{style:#}: {text}");
        let _ = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    /// How far a part is: redrawn on a terminal; elsewhere a line a minute.
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
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix:>12} [{elapsed_precise}] {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix("Running");
            bar
        });
        // What a narrow terminal cuts off is the end.
        bar.set_message(format!(
            "{done}/{all}  {} states  {} violations  {what}",
            grouped(tally.states),
            grouped(tally.violations)
        ));
        bar.tick();
    }

    /// Takes the progress line away.
    pub(crate) fn clear_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The columns of a page.
pub(crate) const COLUMNS: usize = 80;

/// Text in lines of a page's width where its words allow it; the first begins with `first`, the
/// others with `rest`.
pub(crate) fn wrapped(first: &str, rest: &str, text: &str) -> Vec<String> {
    wrapped_within(COLUMNS, first, rest, text)
}

/// The same, with so many columns.
pub(crate) fn wrapped_within(columns: usize, first: &str, rest: &str, text: &str) -> Vec<String> {
    let length = |text: &str| text.chars().count();
    let mut lines = vec![first.to_owned()];
    let mut fresh = true;
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| length(line));
        if !fresh && line + 1 + length(word) > columns {
            lines.push(rest.to_owned());
            fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if fresh { "" } else { " " });
            line.push_str(word);
        }
        fresh = false;
    }
    lines
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_the_width_of_a_page_and_a_long_word_stays_whole() {
        let words = "four ".repeat(30);
        let lines = wrapped("  - ", "    ", words.trim_end());
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{lines:?}");
        assert_eq!(lines.len(), 2);
        let long = "x".repeat(100);
        assert_eq!(wrapped("a ", "", &format!("b {long} c")), ["a b", &long, "c"]);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
