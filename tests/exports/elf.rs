//! The functions in the dynamic symbol table of a shared library (ELF, 64 bits, little-endian; see
//! elf(5)).

use std::collections::BTreeMap;

/// Who can refer to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Export {
    /// The library's own parts: its version is private.
    Private,
    /// Programs that were linked against an old version of the library.
    Old,
    /// Programs that are linked today.
    Linked,
}

struct Image<'a>(&'a [u8]);

impl<'a> Image<'a> {
    fn number(&self, at: usize, size: usize) -> Option<usize> {
        let bytes = self.0.get(at..at.checked_add(size)?)?;
        let mut whole = [0; 8];
        whole[..size].copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(whole)).ok()
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        let rest = self.0.get(at..)?;
        std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == 0)?]).ok()
    }
}

/// A section: where it starts, its size, and the number of the section that it refers to.
#[derive(Clone, Copy)]
struct Section {
    kind: usize,
    start: usize,
    size: usize,
    link: usize,
}

const DYNAMIC_SYMBOLS: usize = 11;
const VERSION_DEFINITIONS: usize = 0x6fff_fffd;
const VERSIONS: usize = 0x6fff_ffff;

fn sections(image: &Image<'_>) -> Option<Vec<Section>> {
    let (table, size) = (image.number(0x28, 8)?, image.number(0x3a, 2)?);
    let section = |index: usize| {
        let at = table + index * size;
        Some(Section {
            kind: image.number(at + 4, 4)?,
            start: image.number(at + 0x18, 8)?,
            size: image.number(at + 0x20, 8)?,
            link: image.number(at + 0x28, 4)?,
        })
    };
    (0..image.number(0x3c, 2)?).map(section).collect()
}

/// The names of the versions by number.
fn versions<'a>(image: &Image<'a>, all: &[Section]) -> Option<BTreeMap<usize, &'a str>> {
    let section = all.iter().find(|section| section.kind == VERSION_DEFINITIONS)?;
    let strings = all.get(section.link)?.start;
    let mut versions = BTreeMap::new();
    let mut at = section.start;
    loop {
        let (index, name, next) =
            (image.number(at + 4, 2)?, image.number(at + 12, 4)?, image.number(at + 16, 4)?);
        versions.insert(index, image.text(strings + image.number(at + name, 4)?)?);
        if next == 0 {
            return Some(versions);
        }
        at += next;
    }
}

/// The functions that a library defines, each with the most that can refer to it.
pub(crate) fn exports(bytes: &[u8]) -> Option<BTreeMap<String, Export>> {
    const ENTRY: usize = 24;
    const FUNCTIONS: [usize; 2] = [2, 10];
    const HIDDEN: usize = 1 << 15;
    let image = Image(bytes);
    let all = sections(&image)?;
    let symbols = all.iter().find(|section| section.kind == DYNAMIC_SYMBOLS)?;
    let numbers = all.iter().find(|section| section.kind == VERSIONS)?;
    let strings = all.get(symbols.link)?.start;
    let versions = versions(&image, &all)?;
    let mut exports = BTreeMap::new();
    for index in 0..symbols.size / ENTRY {
        let at = symbols.start + index * ENTRY;
        let (kind, section) = (image.number(at + 4, 1)? & 0xf, image.number(at + 6, 2)?);
        if section == 0 || !FUNCTIONS.contains(&kind) {
            continue;
        }
        let name = image.text(strings + image.number(at, 4)?)?;
        let version = image.number(numbers.start + 2 * index, 2)?;
        let private =
            versions.get(&(version & !HIDDEN)).is_some_and(|name| name.ends_with("PRIVATE"));
        let export = match (private, version & HIDDEN != 0) {
            (true, _) => Export::Private,
            (false, true) => Export::Old,
            (false, false) => Export::Linked,
        };
        let most = exports.entry(name.to_owned()).or_insert(export);
        *most = export.max(*most);
    }
    Some(exports)
}
