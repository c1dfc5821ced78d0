//! Bit rot: stored bytes that differ from those that were written.
//!
//! A case writes it as one word after the fate of a crash: `rot=FILE@OFFSET:bitN` (bit N of the
//! byte at the offset is flipped, N from 0 to 7), `:zeros` or `:junk` (the sector of 512 bytes
//! there reads as zeros, or as bytes that were never written). FILE is a path in the crash state.

use std::fmt;
use std::ops::Range;

use super::content::Content;
use super::effect::Ino;
use super::tree::{Body, Node, Tree};
use crate::base::digest::hash;
use crate::base::text::{TextError, Word};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// How many draws are made to find bytes that change and that some promise covers.
const TRIES: u32 = 32;

/// Damage to stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rot {
    /// The path of the file, from the store's folder.
    pub path: Vec<u8>,
    /// The offset in the file, in bytes; for a sector, its first byte.
    pub offset: u64,
    /// The damage.
    pub damage: Damage,
}

/// A place that may rot, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotting<'a> {
    /// The damage to be done.
    pub rot: &'a Rot,
    /// The file's bytes before.
    pub content: &'a [u8],
    /// The bytes that change.
    pub bytes: Range<usize>,
    /// The paths of all files that are not empty, sorted.
    pub files: &'a [Vec<u8>],
}

impl Rotting<'_> {
    /// Whether the damage is in the file with this path, without a leading slash.
    pub fn is_in(&self, path: &str) -> bool {
        self.rot.path == path.as_bytes()
    }

    /// The bytes after those that change.
    pub fn after(&self) -> &[u8] {
        &self.content[self.bytes.end..]
    }
}

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Damage {
    /// This bit of a byte is flipped.
    Bit(u8),
    /// A sector reads as zeros.
    Zeros,
    /// A sector reads as bytes that were never written.
    Junk,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit(bit) => write!(f, "bit {bit} flipped at"),
            Self::Zeros => f.write_str("a sector of zeros at"),
            Self::Junk => f.write_str("a sector of junk at"),
        }
    }
}

impl Rot {
    /// The place of the damage, as file and offset.
    pub fn place(&self) -> String {
        format!("{}@{}", String::from_utf8_lossy(&self.path), self.offset)
    }

    /// Draws damage to bytes of a tree that `may` rot; `None` if no draw would change any.
    /// `draw(n)` must return a number below n.
    pub fn draw(
        tree: &Tree,
        draw: &mut impl FnMut(u64) -> u64,
        may: impl Fn(&Rotting<'_>) -> bool,
    ) -> Option<Self> {
        let files = files(tree);
        let names: Vec<Vec<u8>> = files.iter().map(|(path, _)| path.clone()).collect();
        for _ in 0..TRIES {
            // Small files matter as much as large ones.
            let (path, size) = files.get(draw(files.len().max(1) as u64) as usize)?.clone();
            let offset = draw(size);
            let sector = offset - offset % SECTOR;
            let rot = match draw(4) {
                0 => Self { path, offset: sector, damage: Damage::Zeros },
                1 => Self { path, offset: sector, damage: Damage::Junk },
                _ => Self { path, offset, damage: Damage::Bit(draw(8) as u8) },
            };
            let may_be = rot.at(tree, &names, &may).unwrap_or(false);
            if may_be && rot.apply(&mut tree.clone()) {
                return Some(rot);
            }
        }
        None
    }

    /// The answer of `ask` about it; `None` if the tree has no such place.
    pub fn asked<T>(&self, tree: &Tree, ask: impl Fn(&Rotting<'_>) -> T) -> Option<T> {
        let names: Vec<Vec<u8>> = files(tree).into_iter().map(|(path, _)| path).collect();
        self.at(tree, &names, &ask)
    }

    fn at<T>(&self, tree: &Tree, files: &[Vec<u8>], ask: &impl Fn(&Rotting<'_>) -> T) -> Option<T> {
        let node = self.find(tree).and_then(|ino| tree.node(ino));
        let content = node.and_then(Node::content)?.to_vec();
        let from = usize::try_from(self.offset).ok().filter(|from| *from < content.len())?;
        let bytes = from..content.len().min(from + self.length() as usize);
        Some(ask(&Rotting { rot: self, content: &content, bytes, files }))
    }

    /// How many bytes change, if the file has them.
    fn length(&self) -> u64 {
        match self.damage {
            Damage::Bit(_) => 1,
            Damage::Zeros | Damage::Junk => SECTOR,
        }
    }

    /// Does the damage; returns whether anything changed.
    pub fn apply(&self, tree: &mut Tree) -> bool {
        let Some(ino) = self.find(tree) else { return false };
        let Some(Node { body: Body::File(content), .. }) = tree.node_mut(ino) else { return false };
        let length = self.length().min(content.size().saturating_sub(self.offset)) as usize;
        let mut bytes = vec![0; length];
        content.read(self.offset, &mut bytes);
        let before = bytes.clone();
        match self.damage {
            Damage::Bit(bit) => bytes.iter_mut().for_each(|byte| *byte ^= 1 << bit),
            Damage::Zeros => bytes.fill(0),
            Damage::Junk => {
                for (number, chunk) in bytes.chunks_mut(8).enumerate() {
                    let seed = [self.offset.to_le_bytes(), (number as u64).to_le_bytes()].concat();
                    chunk.copy_from_slice(&hash(&seed).to_le_bytes()[..chunk.len()]);
                }
            }
        }
        content.write(self.offset, &bytes);
        bytes != before
    }

    /// The file, if the tree has it.
    pub fn find(&self, tree: &Tree) -> Option<Ino> {
        tree.at(&self.path)
    }

    /// The word of a case, without its quotes.
    pub fn word(&self) -> Vec<u8> {
        let damage = match self.damage {
            Damage::Bit(bit) => format!("bit{bit}"),
            Damage::Zeros => "zeros".to_owned(),
            Damage::Junk => "junk".to_owned(),
        };
        [b"rot=", &self.path[..], format!("@{}:{damage}", self.offset).as_bytes()].concat()
    }

    /// Reads the word of a case.
    ///
    /// # Errors
    /// The column of the word, and the expected forms.
    pub fn parse(word: &Word) -> Result<Self, TextError> {
        let wrong = || {
            let message = "expected rot=FILE@OFFSET:bitN, rot=FILE@OFFSET:zeros or \
                           rot=FILE@OFFSET:junk, N from 0 to 7";
            TextError::new(word.column, message)
        };
        let rest = word.bytes.strip_prefix(b"rot=").ok_or_else(wrong)?;
        let at = rest.iter().rposition(|&byte| byte == b'@').ok_or_else(wrong)?;
        let place = std::str::from_utf8(&rest[at + 1..]).map_err(|_| wrong())?;
        let (offset, damage) = place.split_once(':').ok_or_else(wrong)?;
        let offset: u64 = offset.parse().map_err(|_| wrong())?;
        let damage = match damage {
            "zeros" => Damage::Zeros,
            "junk" => Damage::Junk,
            _ => {
                let bit = damage.strip_prefix("bit").and_then(|bit| bit.parse().ok());
                Damage::Bit(bit.filter(|bit| *bit < 8).ok_or_else(wrong)?)
            }
        };
        if damage != Damage::Zeros && damage != Damage::Junk || offset.is_multiple_of(SECTOR) {
            return Ok(Self { path: rest[..at].to_vec(), offset, damage });
        }
        Err(TextError::new(word.column, format!("a sector begins at a multiple of {SECTOR}")))
    }
}

/// The files of a tree that are not empty, by path, with their sizes.
fn files(tree: &Tree) -> Vec<(Vec<u8>, u64)> {
    let mut files: Vec<(Vec<u8>, u64)> = Vec::new();
    for (ino, path) in tree.paths() {
        let size = tree.node(ino).and_then(Node::content).map_or(0, Content::size);
        files.extend((size > 0).then_some((path, size)));
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::{quote, words};
    use crate::base::time::Time;
    use crate::disk::effect::{Effect, Kind};

    fn tree(bytes: &[u8]) -> Tree {
        let mut tree = Tree::new();
        let ino = tree.next_ino();
        let effects = [
            Effect::Inode { ino, kind: Kind::File, mode: 0o644, target: b"" },
            Effect::Entry { dir: Ino::ROOT, name: b"a f", ino: Some(ino) },
            Effect::Write { ino, offset: 0, bytes },
        ];
        effects.iter().for_each(|effect| tree.apply(effect, Time::START));
        tree
    }

    fn content(tree: &Tree) -> Vec<u8> {
        let ino = tree.entry(Ino::ROOT, b"a f").expect("it exists");
        tree.node(ino).and_then(Node::content).expect("a file").to_vec()
    }

    #[test]
    fn rot_reads_back_and_changes_only_its_bytes() {
        for (text, wanted) in [
            (r#""rot=a f@1:bit0""#, [b'o'; 600]),
            (r#""rot=a f@0:zeros""#, [b'o'; 600]),
            (r#""rot=a f@512:junk""#, [b'o'; 600]),
        ] {
            let words = words(text).expect("words");
            let rot = Rot::parse(&words[0]).expect("it parses");
            assert_eq!(quote(&rot.word()), text);
            let mut tree = tree(&wanted);
            assert!(rot.apply(&mut tree));
            let found = content(&tree);
            assert_eq!(found.len(), 600);
            let changed: Vec<usize> = (0..600).filter(|&at| found[at] != wanted[at]).collect();
            let (from, to) = match rot.damage {
                Damage::Bit(_) => (1, 2),
                Damage::Zeros => (0, 512),
                Damage::Junk => (512, 600),
            };
            assert_eq!(changed.first(), Some(&from));
            assert!(changed.iter().all(|at| (from..to).contains(at)));
        }
    }

    #[test]
    fn damage_that_changes_nothing_is_not_drawn() {
        let mut draws = [0, 0, 0, 0, 0, 0].into_iter().cycle();
        let mut draw = |_: u64| draws.next().unwrap_or_default();
        assert_eq!(Rot::draw(&tree(&[0; 600]), &mut draw, |_| true), None);
        assert_eq!(Rot::draw(&tree(b""), &mut draw, |_| true), None);
        assert!(Rot::draw(&tree(b"o"), &mut draw, |_| true).is_some());
    }

    #[test]
    fn damage_that_no_promise_covers_is_not_drawn() {
        let text = b"an entry\nanother\n";
        let mut number = 0;
        let mut draw = |below: u64| {
            number += 7;
            number % below
        };
        let followed = |at: &Rotting<'_>| at.is_in("a f") && at.after().contains(&b'\n');
        for _ in 0..100 {
            let rot = Rot::draw(&tree(text), &mut draw, followed).expect("there are some");
            assert!(matches!(rot.damage, Damage::Bit(_)) && rot.offset < 16, "{rot:?}");
        }
        assert_eq!(Rot::draw(&tree(text), &mut draw, |at| at.is_in("other")), None);
    }

    #[test]
    fn a_wrong_word_is_refused() {
        for text in ["rot=f", "rot=f@x:zeros", "rot=f@1:zeros", "rot=f@1:bit8", "rot=f@1:heat"] {
            let words = words(text).expect("words");
            assert!(Rot::parse(&words[0]).is_err(), "{text}");
        }
    }
}
