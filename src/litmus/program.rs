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
//! file system, which is `.`; numbers are bytes; FILL is one letter.
//!
//! A file is opened at its first use (and, for `write`, `append`, `fallocate` and `zero`, created
//! if missing), and its descriptor is kept. It follows renames of its name. After its name was
//! removed the descriptor is still used, until there is a new file of that name. A `%HANDLE` is a
//! descriptor that no name leads to; it may be used wherever P is the file to work on. The ops:
//!
//! | op | meaning |
//! |---|---|
//! | `creat P` | create a file that does not exist |
//! | `open-trunc P`, `close P` | `open(O_RDWR or O_CREAT or O_TRUNC)`; close the descriptor |
//! | `open P %HANDLE` | open a file or directory for a handle of its own |
//! | `tmpfile P %HANDLE` | `open(O_TMPFILE)` in the directory P |
//! | `link %HANDLE P` | `linkat(AT_EMPTY_PATH)` |
//! | `write P OFFSET LENGTH FILL` | one `pwrite` |
//! | `append P LENGTH FILL` | one `pwrite` at the end |
//! | `map P`, `unmap P` | map the file whole, shared and writable; end the map |
//! | `store P OFFSET LENGTH FILL` | stores through the map, before the next call sees them |
//! | `msync P OFFSET LENGTH` | `msync(MS_SYNC)` of a range of the map |
//! | `truncate P SIZE` | `ftruncate` |
//! | `fallocate P OFFSET LENGTH [keep-size]` | |
//! | `punch P OFFSET LENGTH` | `FALLOC_FL_PUNCH_HOLE` |
//! | `zero P OFFSET LENGTH [keep-size]` | `FALLOC_FL_ZERO_RANGE` |
//! | `collapse P OFFSET LENGTH`, `insert P OFFSET LENGTH` | refused: not simulated |
//! | `exchange A B` | `RENAME_EXCHANGE` |
//! | `setxattr P NAME FILL LENGTH`, `removexattr P NAME` | NAME as `user.a` |
//! | `times P SECONDS` | set the time of modification |
//! | `mkdir P`, `rmdir P`, `unlink P`, `rename A B`, `link A B`, `symlink TARGET P` | |
//! | `fsync P`, `fdatasync P` | of a file or a directory |
//! | `sync` | `syncfs` |
//! | `mark NAME` | visible outside: if it is in a state, everything before it had returned |

use crate::base::text::{TextError, Word, words};
use crate::disk::linux;

/// The largest offset or size that a program may name: exploring walks every block of a write.
const MOST_BYTES: u64 = 1 << 40;
/// The longest write.
const LONGEST: u64 = 1 << 24;
/// The latest time, in seconds since 1970: that of an inode of ext4.
const LATEST: u64 = 15_000_000_000;

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
    Open { path: Vec<u8>, handle: Vec<u8> },
    Tmpfile { path: Vec<u8>, handle: Vec<u8> },
    Allocate { path: Vec<u8>, offset: u64, length: u64, mode: AllocateMode },
    Exchange(Vec<u8>, Vec<u8>),
    SetAttribute { path: Vec<u8>, name: Vec<u8>, value: Vec<u8> },
    RemoveAttribute { path: Vec<u8>, name: Vec<u8> },
    Times { path: Vec<u8>, seconds: u64 },
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

/// The operation of a `fallocate` on its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "inner",
    expect(missing_docs, reason = "the names are those of the kernel's flags")
)]
pub enum AllocateMode {
    Extend,
    KeepSize,
    Punch,
    Zero,
    ZeroKeepSize,
    Collapse,
    Insert,
}

impl AllocateMode {
    /// The flags of the call.
    pub fn flags(self) -> i32 {
        match self {
            Self::Extend => 0,
            Self::KeepSize => linux::FALLOC_FL_KEEP_SIZE,
            Self::Punch => linux::FALLOC_FL_PUNCH_HOLE | linux::FALLOC_FL_KEEP_SIZE,
            Self::Zero => linux::FALLOC_FL_ZERO_RANGE,
            Self::ZeroKeepSize => linux::FALLOC_FL_ZERO_RANGE | linux::FALLOC_FL_KEEP_SIZE,
            Self::Collapse => linux::FALLOC_FL_COLLAPSE_RANGE,
            Self::Insert => linux::FALLOC_FL_INSERT_RANGE,
        }
    }

    fn parse(op: &str, rest: &[Word]) -> Result<Self, TextError> {
        let keep = match op {
            "fallocate" | "zero" => keep_size(rest)?,
            _ => match rest {
                [] => false,
                [word, ..] => return Err(TextError::new(word.column, "expected nothing")),
            },
        };
        Ok(match (op, keep) {
            ("punch", _) => Self::Punch,
            ("collapse", _) => Self::Collapse,
            ("insert", _) => Self::Insert,
            ("zero", false) => Self::Zero,
            ("zero", true) => Self::ZeroKeepSize,
            (_, true) => Self::KeepSize,
            (_, false) => Self::Extend,
        })
    }
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
            ("open", [p, h]) => Self::Open { path: path(p), handle: handle(h)? },
            ("tmpfile", [p, h]) => Self::Tmpfile { path: path(p), handle: handle(h)? },
            (
                "fallocate" | "punch" | "zero" | "collapse" | "insert",
                [p, offset, length, keep @ ..],
            ) => Self::Allocate {
                path: path(p),
                offset: number(offset, MOST_BYTES)?,
                length: number(length, MOST_BYTES)?,
                mode: AllocateMode::parse(&op, keep)?,
            },
            ("exchange", [one, other]) => Self::Exchange(path(one), path(other)),
            ("setxattr", [p, name, letter, length]) => Self::SetAttribute {
                path: path(p),
                name: path(name),
                value: vec![fill(letter)?; number(length, LONGEST)? as usize],
            },
            ("removexattr", [p, name]) => Self::RemoveAttribute { path: path(p), name: path(name) },
            ("times", [p, seconds]) => {
                Self::Times { path: path(p), seconds: number(seconds, LATEST)? }
            }
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
        "open" | "tmpfile" => "PATH %HANDLE",
        "fallocate" | "zero" => "PATH OFFSET LENGTH [keep-size]",
        "punch" | "collapse" | "insert" => "PATH OFFSET LENGTH",
        "rename" | "link" | "exchange" => "OLD NEW",
        "setxattr" => "PATH NAME FILL LENGTH",
        "removexattr" => "PATH NAME",
        "times" => "PATH SECONDS",
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

fn handle(word: &Word) -> Result<Vec<u8>, TextError> {
    let is_handle = word.bytes.len() > 1 && word.bytes[0] == b'%';
    let wrong = || TextError::new(word.column, "expected %HANDLE, a word after a percent sign");
    is_handle.then(|| word.bytes.clone()).ok_or_else(wrong)
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
        wrong("body\n  punch f 0 1 keep-size", 2, 15, "nothing");
        wrong("body\n  tmpfile . h", 2, 13, "%HANDLE");
        wrong("creat f", 1, 1, "before the first op");
        wrong("setup\n creat f", 2, 1, "no `body`");
        wrong("body\nsetup\n", 2, 1, "once and first");
        wrong("", 1, 1, "no `body`");
    }
}
