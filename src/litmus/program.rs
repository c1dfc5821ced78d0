//! A litmus program as text: a few calls, one per line.
//!
//! ```text
//! # a comment
//! setup
//!   write f 0 4096 o
//! body
//!   creat h
//!   write f 0 100 n
//!   fsync f
//!   mark m
//! ```
//!
//! `#` starts a comment; the state after `setup` is durable. Paths are relative to the root of the
//! file system, which is `.`; numbers are bytes; FILL is one letter. The ops:
//!
//! | op | meaning |
//! |---|---|
//! | `creat P` | create a file that does not exist |
//! | `open-trunc P`, `close P` | `open(O_RDWR or O_CREAT or O_TRUNC)`; close the descriptor |
//! | `write P OFFSET LENGTH FILL` | one `pwrite` |
//! | `append P LENGTH FILL` | one `pwrite` at the end |
//! | `map P`, `unmap P` | map the file whole, shared and writable; end the map |
//! | `store P OFFSET LENGTH FILL` | stores through the map, before the next call sees them |
//! | `msync P OFFSET LENGTH` | `msync(MS_SYNC)` of a range of the map |
//! | `truncate P SIZE` | `ftruncate` |
//! | `fallocate P OFFSET LENGTH [keep-size]` | |
//! | `mkdir P`, `rmdir P`, `unlink P`, `rename A B`, `link A B`, `symlink TARGET P` | |
//! | `fsync P`, `fdatasync P` | of a file or a directory |
//! | `sync` | `syncfs` |
//! | `mark NAME` | visible outside: if it is in a state, everything before it had returned |

use crate::base::text::{TextError, Word, words};

/// The largest offset or size that a program may name: exploring walks every block of a write.
const MOST_BYTES: u64 = 1 << 40;
/// The longest write.
const LONGEST: u64 = 1 << 24;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The ops whose effects are durable before the body begins.
    pub setup: Vec<ProgramLine>,
    /// The ops that a crash may interrupt.
    pub body: Vec<ProgramLine>,
}

/// An op and its position in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLine {
    /// The line, counted from 1.
    pub number: usize,
    /// The column at which it begins, counted from 1.
    pub column: usize,
    /// The op.
    pub op: Op,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "inner",
    expect(missing_docs, reason = "the table of this file explains each call")
)]
pub enum Op {
    Creat(Vec<u8>),
    OpenTrunc(Vec<u8>),
    Close(Vec<u8>),
    Write { path: Vec<u8>, offset: u64, length: u64, fill: u8 },
    Append { path: Vec<u8>, length: u64, fill: u8 },
    Map(Vec<u8>),
    Unmap(Vec<u8>),
    Store { path: Vec<u8>, offset: u64, length: u64, fill: u8 },
    Msync { path: Vec<u8>, offset: u64, length: u64 },
    Truncate { path: Vec<u8>, size: u64 },
    Fallocate { path: Vec<u8>, offset: u64, length: u64, keep_size: bool },
    Mkdir(Vec<u8>),
    Rmdir(Vec<u8>),
    Unlink(Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    Link(Vec<u8>, Vec<u8>),
    Symlink { target: Vec<u8>, path: Vec<u8> },
    Fsync(Vec<u8>),
    Fdatasync(Vec<u8>),
    Sync,
    Mark(String),
}

/// The reason why a text is no program, or why a program cannot run, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {error}")]
pub struct LitmusError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column and message.
    pub error: TextError,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// The line and the column of the error, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, LitmusError> {
        let mut program = Self { setup: Vec::new(), body: Vec::new() };
        let mut section = None;
        for (index, line) in text.lines().enumerate() {
            let on_line = |error| LitmusError { line: index + 1, error };

            let words = words(line).map_err(on_line)?;
            let [first, rest @ ..] = words.as_slice() else { continue };
            let column = first.column;
            let began = section.is_some();
            match (first.bytes.as_slice(), rest) {
                (b"setup", []) if !began => section = Some(false),
                (b"body", []) if section != Some(true) => section = Some(true),
                (b"setup" | b"body", []) => {
                    let message = "`setup` comes once and first, `body` once and last";
                    return Err(on_line(TextError::new(column, message)));
                }
                _ => {
                    let op = Op::parse(first, rest).map_err(on_line)?;
                    let line = ProgramLine { number: index + 1, column, op };
                    match section {
                        Some(true) => program.body.push(line),
                        Some(false) => program.setup.push(line),
                        None => {
                            let message = "expected `setup` or `body` before the first op";
                            return Err(on_line(TextError::new(column, message)));
                        }
                    }
                }
            }
        }
        if section != Some(true) {
            let error = TextError::new(1, "the program has no `body`");
            return Err(LitmusError { line: text.lines().count().max(1), error });
        }
        Ok(program)
    }
}

impl Op {
    fn parse(first: &Word, rest: &[Word]) -> Result<Self, TextError> {
        let path = |word: &Word| word.bytes.clone();
        let op = first.text();
        Ok(match (op.as_str(), rest) {
            ("creat", [p]) => Self::Creat(path(p)),
            ("open-trunc", [p]) => Self::OpenTrunc(path(p)),
            ("close", [p]) => Self::Close(path(p)),
            ("write", [p, offset, length, letter]) => Self::Write {
                path: path(p),
                offset: number(offset, MOST_BYTES)?,
                length: number(length, LONGEST)?,
                fill: fill(letter)?,
            },
            ("append", [p, length, letter]) => Self::Append {
                path: path(p),
                length: number(length, LONGEST)?,
                fill: fill(letter)?,
            },
            ("map", [p]) => Self::Map(path(p)),
            ("unmap", [p]) => Self::Unmap(path(p)),
            ("store", [p, offset, length, letter]) => Self::Store {
                path: path(p),
                offset: number(offset, MOST_BYTES)?,
                length: number(length, LONGEST)?,
                fill: fill(letter)?,
            },
            ("msync", [p, offset, length]) => Self::Msync {
                path: path(p),
                offset: number(offset, MOST_BYTES)?,
                length: number(length, MOST_BYTES)?,
            },
            ("truncate", [p, size]) => {
                Self::Truncate { path: path(p), size: number(size, MOST_BYTES)? }
            }
            ("fallocate", [p, offset, length, keep @ ..]) => Self::Fallocate {
                path: path(p),
                offset: number(offset, MOST_BYTES)?,
                length: number(length, MOST_BYTES)?,
                keep_size: keep_size(keep)?,
            },
            ("mkdir", [p]) => Self::Mkdir(path(p)),
            ("rmdir", [p]) => Self::Rmdir(path(p)),
            ("unlink", [p]) => Self::Unlink(path(p)),
            ("rename", [old, new]) => Self::Rename(path(old), path(new)),
            ("link", [old, new]) => Self::Link(path(old), path(new)),
            ("symlink", [to, p]) => Self::Symlink { target: path(to), path: path(p) },
            ("fsync", [p]) => Self::Fsync(path(p)),
            ("fdatasync", [p]) => Self::Fdatasync(path(p)),
            ("sync", []) => Self::Sync,
            ("mark", [name]) => Self::Mark(name.text()),
            _ => return Err(TextError::new(first.column, usage(&op))),
        })
    }
}

/// The words expected after the name of an op.
fn usage(op: &str) -> String {
    let words = match op {
        "creat" | "open-trunc" | "close" | "mkdir" | "rmdir" | "unlink" | "fsync" | "fdatasync"
        | "map" | "unmap" => "PATH",
        "write" | "store" => "PATH OFFSET LENGTH FILL",
        "msync" => "PATH OFFSET LENGTH",
        "append" => "PATH LENGTH FILL",
        "truncate" => "PATH SIZE",
        "fallocate" => "PATH OFFSET LENGTH [keep-size]",
        "rename" | "link" => "OLD NEW",
        "symlink" => "TARGET PATH",
        "mark" => "NAME",
        "sync" | "setup" | "body" => return format!("expected nothing after `{op}`"),
        _ => return format!("there is no op `{op}`"),
    };
    format!("expected `{op} {words}`")
}

fn number(word: &Word, most: u64) -> Result<u64, TextError> {
    let number = word.text().parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| TextError::new(word.column, format!("expected a number up to {most}")))
}

fn fill(word: &Word) -> Result<u8, TextError> {
    match *word.bytes {
        [letter] if letter.is_ascii_alphanumeric() => Ok(letter),
        _ => Err(TextError::new(word.column, "expected FILL, one letter or digit")),
    }
}

fn keep_size(words: &[Word]) -> Result<bool, TextError> {
    match words {
        [] => Ok(false),
        [word] if word.bytes == b"keep-size" => Ok(true),
        [word, ..] => Err(TextError::new(word.column, "expected `keep-size` or nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong(text: &str, line: usize, column: usize, message: &str) {
        let error = Program::parse(text).expect_err("it is wrong");
        assert_eq!((error.line, error.error.column), (line, column), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn a_program_reads_its_sections_and_skips_comments() {
        let text = "# c\nsetup\n  write f 0 10 o # x\nbody\n  append f 5 n\n  mark m\n";
        let program = Program::parse(text).expect("it parses");
        assert_eq!(program.setup.len(), 1);
        let append = Op::Append { path: b"f".to_vec(), length: 5, fill: b'n' };
        assert_eq!(program.body[0], ProgramLine { number: 5, column: 3, op: append });
        assert_eq!(program.body[1].op, Op::Mark("m".into()));
    }

    #[test]
    fn a_wrong_program_names_line_and_word() {
        wrong("body\n  wriet f 0 1 n", 2, 3, "no op `wriet`");
        wrong("body\n  write f 0 1", 2, 3, "PATH OFFSET LENGTH FILL");
        wrong("body\n  write f zero 1 n", 2, 11, "a number");
        wrong("body\n  write f 0 1 nn", 2, 15, "one letter");
        wrong("body\n  fallocate f 0 1 keep", 2, 19, "keep-size");
        wrong("creat f", 1, 1, "before the first op");
        wrong("setup\n creat f", 2, 1, "no `body`");
        wrong("body\nsetup\n", 2, 1, "once and first");
        wrong("", 1, 1, "no `body`");
    }
}
