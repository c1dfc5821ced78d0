//! Random litmus programs over the whole grammar; each call of them succeeds.

use crashpoint::Profile;
use crashpoint::inner::litmus::{Program, explore};

use crate::chance::Chance;

const FILES: &[&str] = &["a", "b", "d/a", "d/c", "e/b"];
const NAMES: &[&str] = &["a", "b", "c", "n", "d/a", "d/c", "d/n", "e/b", "e/n"];
const DIRECTORIES: &[&str] = &["d", "e", "f", "d/s"];
const LENGTHS: &[&str] = &["10", "100", "4096", "5000", "9000"];
const OFFSETS: &[&str] = &["0", "0", "50", "4096", "6000"];

/// A program, as a text.
pub(crate) fn program(chance: &mut Chance) -> String {
    let mut draft =
        Draft { chance, text: "setup\nmkdir d\nmkdir e\n".into(), marks: 0, handles: 0 };
    for letter in ["o", "p", "q"] {
        let (file, length) = (draft.chance.of(FILES), draft.chance.of(LENGTHS));
        draft.add(&format!("write {file} 0 {length} {letter}"));
    }
    if draft.chance.below(3) == 0 {
        let line = format!("link {} {}", draft.name(), draft.name());
        draft.add(&line);
    }
    draft.text.push_str("body\n");
    let length = 2 + draft.chance.below(4);
    let mut calls = 0;
    for _ in 0..100 {
        let line = draft.call();
        if draft.add(&line) {
            calls += 1;
            let syncs = ["fsync", "fdatasync", "sync", "msync"];
            if syncs.iter().any(|sync| line.starts_with(sync)) {
                draft.text.push_str(&format!("mark m{}\n", draft.marks));
                draft.marks += 1;
            }
        }
        if calls == length {
            break;
        }
    }
    let last = format!("{} {}", draft.chance.of(&["fsync", "fdatasync"]), draft.subject());
    if draft.add(&last) {
        draft.text.push_str("mark end\n");
    }
    draft.text
}

struct Draft<'a> {
    chance: &'a mut Chance,
    text: String,
    marks: usize,
    handles: usize,
}

impl Draft<'_> {
    /// Adds a line, if its call succeeds.
    fn add(&mut self, line: &str) -> bool {
        let text = format!("{}{line}\n", self.text).replace("body\n", "") + "body\n";
        let runs = Program::parse(&text)
            .is_ok_and(|program| explore(&program, &Profile::TAIL_PREFIX, false).is_ok());
        if runs {
            self.text.push_str(line);
            self.text.push('\n');
        }
        runs
    }

    fn name(&mut self) -> &'static str {
        self.chance.of(NAMES)
    }

    /// A file, a directory or a descriptor.
    fn subject(&mut self) -> String {
        match self.chance.below(8) {
            0 => self.chance.of(&[".", "d", "e", "f"]).into(),
            1 | 2 if self.handles > 0 => format!("%h{}", self.chance.below(self.handles)),
            _ => self.name().into(),
        }
    }

    fn handle(&mut self) -> String {
        self.handles += 1;
        format!("%h{}", self.handles - 1)
    }

    fn call(&mut self) -> String {
        let letter = self.chance.of(&["v", "w", "x", "y", "z"]);
        let (offset, length) = (self.chance.of(OFFSETS), self.chance.of(LENGTHS));
        let p = self.subject();
        match self.chance.below(32) {
            0 => format!("creat {}", self.name()),
            1 => format!("open-trunc {}", self.name()),
            2 | 3 => format!("write {p} {offset} {length} {letter}"),
            4 | 5 => format!("append {p} {length} {letter}"),
            6 => format!("truncate {p} {}", self.chance.of(&["0", "50", "4096", "5000", "12000"])),
            7 => format!("fallocate {p} {offset} {length}{}", self.chance.of(&["", " keep-size"])),
            8 => format!("{} {p} {offset} {length}", self.chance.of(&["punch", "zero"])),
            9 => format!("mkdir {}", self.chance.of(DIRECTORIES)),
            10 => format!("rmdir {}", self.chance.of(DIRECTORIES)),
            11 | 12 => format!("unlink {}", self.name()),
            13..=17 => format!("rename {} {}", self.name(), self.name()),
            18 => {
                let (old, new) = (self.chance.of(DIRECTORIES), self.chance.of(DIRECTORIES));
                format!("rename {old} {new}")
            }
            19 => format!("exchange {} {}", self.name(), self.name()),
            20 | 21 => format!("link {} {}", self.name(), self.name()),
            22 if self.handles > 0 => {
                let handle = self.chance.below(self.handles);
                format!("link %h{handle} {}", self.name())
            }
            22 | 23 => format!("open {} {}", self.name(), self.handle()),
            24 => format!("tmpfile {} {}", self.chance.of(&[".", "d"]), self.handle()),
            25 => format!("symlink a {}", self.name()),
            26 => format!("setxattr {p} user.a {letter} 3"),
            27 => format!("times {p} 1000"),
            28 => format!("fdatasync {p}"),
            29 | 30 => format!("fsync {p}"),
            _ => "sync".into(),
        }
    }
}
