//! Checks recovery from every image of a log that a crash can leave, byte by byte, and from every
//! flipped bit.

use std::collections::BTreeMap;

use super::record::{ParseError, encode_cursor, encode_delete, encode_put, parse};
use super::scan::{Damage, HEADER, judge, scan};
use super::{Bugs, Cursor, SnapshotError, VersionToken};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;

/// A log as it was written.
struct Written {
    bytes: Vec<u8>,
    /// Where the header and each record end.
    ends: Vec<usize>,
}

impl Written {
    fn new() -> Self {
        Self { bytes: HEADER.to_vec(), ends: vec![HEADER.len()] }
    }

    fn put(&mut self, key: &str, value: &[u8], version: VersionToken) -> &mut Self {
        encode_put(&mut self.bytes, key, value, version).expect("within the limits");
        self.sealed()
    }

    fn delete(&mut self, key: &str, revision: u64) -> &mut Self {
        let version = VersionToken::from_u64(revision);
        encode_delete(&mut self.bytes, key, version).expect("within the limits");
        self.sealed()
    }

    fn cursor(&mut self, revision: u64) -> &mut Self {
        encode_cursor(&mut self.bytes, Cursor::from_u64(revision));
        self.sealed()
    }

    fn sealed(&mut self) -> &mut Self {
        self.ends.push(self.bytes.len());
        self
    }

    /// Checks that exactly the records before an image's first lost byte are found; `None` if they
    /// are.
    fn wrongly_read(&self, image: &[u8]) -> Option<String> {
        let mut wanted = 0;
        for &end in &self.ends {
            if image.get(wanted..end) != Some(&self.bytes[wanted..end]) {
                break;
            }
            wanted = end;
        }
        match scan(image, Bugs::default()) {
            Ok(found) if found.end == wanted => None,
            Ok(found) => Some(format!("history ends at {}, not at {wanted}", found.end)),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Bytes that look like data, an occasional zero among them.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..len).map(|_| next()).collect()
}

/// A value that is itself the tail of a log: if it is torn, no records may be read from it.
fn records_as_value() -> Vec<u8> {
    let mut inner = Written::new();
    inner.put("inner", &[7; 40], VersionToken::from_u64(1)).cursor(9).delete("inner", 2);
    inner.bytes.split_off(HEADER.len())
}

/// A log of at most one block with every kind of record, its first value `shift` bytes longer.
fn one_block(shift: usize) -> Written {
    let ten = VersionToken::from_bytes(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]).expect("ten bytes");
    let mut log = Written::new();
    log.put("a", &noise(30 + shift, 1), VersionToken::from_u64(1)).cursor(1);
    log.put("empty", &[], VersionToken::unknown());
    log.put("zeros", &[0; 700], VersionToken::from_u64(2)).delete("a", 3).cursor(3);
    log.put("records", &records_as_value(), ten);
    log.put(&"k".repeat(300), &noise(400, 2), VersionToken::from_u64(4)).cursor(4);
    for revision in 5..34 {
        log.put(&format!("key.{revision}"), &noise(20, revision), VersionToken::from_u64(5));
        log.cursor(u64::from(revision));
    }
    log.delete("zeros", 34).cursor(34);
    assert!(log.bytes.len() <= BLOCK, "{} bytes", log.bytes.len());
    log
}

/// A log of `blocks` blocks, with records across blocks and one larger than a block.
fn blocks(blocks: usize) -> Written {
    let mut log = Written::new();
    for revision in 1..=2 * blocks as u32 {
        let len = if revision == 5 { 6000 } else { 900 + 97 * revision as usize };
        let token = VersionToken::from_u64(u64::from(revision));
        log.put(&format!("key.{revision}"), &noise(len, revision), token);
        log.cursor(u64::from(revision));
    }
    assert_eq!(log.bytes.len().div_ceil(BLOCK), blocks, "{} bytes", log.bytes.len());
    log
}

/// Checks images and counts them.
struct Images<'a> {
    log: &'a Written,
    image: Vec<u8>,
    seen: usize,
}

impl<'a> Images<'a> {
    fn of(log: &'a Written) -> Self {
        Self { log, image: log.bytes.clone(), seen: 0 }
    }

    /// Sets `start..stop` to its first `filled` bytes in the log, followed by zeros.
    fn set(&mut self, start: usize, stop: usize, filled: usize) {
        let stop = stop.min(self.log.bytes.len());
        let kept = (start + filled).min(stop);
        self.image[start..kept].copy_from_slice(&self.log.bytes[start..kept]);
        self.image[kept..stop].fill(0);
    }

    fn check(&mut self, size: usize, what: impl Fn() -> String) {
        self.seen += 1;
        if let Some(wrong) = self.log.wrongly_read(&self.image[..size]) {
            panic!("{wrong}: {}, size {size}", what());
        }
    }
}

#[test]
fn every_size_with_every_set_of_lost_sectors_gives_the_records_before_the_loss() {
    let log = one_block(0);
    let sectors = log.bytes.len().div_ceil(SECTOR);
    let mut images = Images::of(&log);
    for kept in 0..1_usize << sectors {
        for sector in 0..sectors {
            let filled = if kept >> sector & 1 == 1 { SECTOR } else { 0 };
            images.set(sector * SECTOR, (sector + 1) * SECTOR, filled);
        }
        for size in 0..=log.bytes.len() {
            images.check(size, || format!("sectors kept {kept:b}"));
        }
    }
    assert_eq!((sectors, images.seen), (7, 128 * (log.bytes.len() + 1)));
}

#[test]
fn a_sector_last_written_when_a_record_ended_in_it_gives_the_records_before_the_loss() {
    let log = one_block(0);
    let sectors = log.bytes.len().div_ceil(SECTOR);
    let mut images = Images::of(&log);
    for kept in 0..1_usize << sectors {
        for sector in 0..sectors {
            let filled = if kept >> sector & 1 == 1 { SECTOR } else { 0 };
            images.set(sector * SECTOR, (sector + 1) * SECTOR, filled);
        }
        let start = kept.trailing_ones() as usize * SECTOR;
        for end in log.ends.iter().filter(|end| (start..start + SECTOR).contains(end)) {
            images.set(start, start + SECTOR, end - start);
            images.check(log.bytes.len(), || format!("sectors kept {kept:b}, and up to {end}"));
        }
    }
    assert_eq!(images.seen, 601);
}

#[test]
fn it_makes_no_difference_which_field_lies_across_a_sector_boundary() {
    let mut seen = 0;
    for shift in 0..SECTOR {
        let log = one_block(shift);
        let mut images = Images::of(&log);
        for end in &log.ends {
            for size in end - 2..=*end {
                images.check(size, || format!("shift {shift}"));
            }
        }
        for lost in 0..log.bytes.len().div_ceil(SECTOR) {
            let start = lost * SECTOR;
            let ends = log.ends.iter().filter(|end| (start..start + SECTOR).contains(end));
            for filled in ends.map(|end| end - start).chain([0]) {
                images.set(start, start + SECTOR, filled);
                images.check(log.bytes.len(), || {
                    format!("shift {shift}, sector {lost} lost except for {filled} bytes")
                });
            }
            images.set(start, start + SECTOR, SECTOR);
        }
        seen += images.seen;
    }
    assert_eq!(seen, 147_347);
}

#[test]
fn every_mix_of_block_versions_with_one_block_torn_gives_at_least_what_was_synced() {
    let log = blocks(4);
    let mut seen = 0;
    for (record, &synced) in log.ends.iter().enumerate() {
        let mut images = Images::of(&log);
        let written: Vec<usize> = log.ends[record..].to_vec();
        block_versions(&mut images, &written, synced / BLOCK, &mut |images| {
            for &size in &written {
                images.check(size, || format!("synced {synced}"));
            }
            for size in (synced.next_multiple_of(BLOCK)..=log.bytes.len()).step_by(BLOCK) {
                images.check(size, || format!("synced {synced}"));
            }
        });
        seen += images.seen;
    }
    assert_eq!(seen, 529_983);
}

/// Visits each mix of the versions that writes left the blocks from `block` on in, and each in
/// which one block is torn between its oldest and its newest version.
fn block_versions(
    images: &mut Images<'_>,
    written: &[usize],
    block: usize,
    visit: &mut impl FnMut(&mut Images<'_>),
) {
    let start = block * BLOCK;
    if start >= images.log.bytes.len() {
        return visit(images);
    }
    let mut versions: Vec<usize> =
        written.iter().map(|end| end.clamp(&start, &(start + BLOCK)) - start).collect();
    versions.dedup();
    let (oldest, newest) = (versions[0], versions[versions.len() - 1]);
    for version in versions {
        images.set(start, start + BLOCK, version);
        block_versions(images, written, block + 1, visit);
    }
    // Torn either way round: the first sectors new and the others old, or the reverse. At most one
    // block is torn, so those after it are whole or lost.
    for cut in (SECTOR..BLOCK).step_by(SECTOR) {
        for (front, back) in [(newest, oldest), (oldest, newest)] {
            images.set(start, start + BLOCK, back);
            let filled_back = images.image.clone();
            images.set(start, start + BLOCK, front);
            let stop = (start + BLOCK).min(images.image.len());
            let middle = (start + cut).min(stop);
            images.image[middle..stop].copy_from_slice(&filled_back[middle..stop]);
            images.set_rest(block + 1, BLOCK);
            visit(images);
            images.set_rest(block + 1, 0);
            visit(images);
        }
    }
}

impl Images<'_> {
    fn set_rest(&mut self, from: usize, filled: usize) {
        for block in from..self.image.len().div_ceil(BLOCK) {
            self.set(block * BLOCK, (block + 1) * BLOCK, filled);
        }
    }
}

#[test]
fn a_flipped_bit_before_other_records_is_reported_except_where_the_format_cannot() {
    let log = blocks(4);
    let last = log.ends[log.ends.len() - 2];
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    for at in HEADER.len()..log.bytes.len() {
        for bit in 0..8 {
            let mut image = log.bytes.clone();
            image[at] ^= 1 << bit;
            let record = log.ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
            let verdict = match scan(&image, Bugs::default()) {
                Err(SnapshotError::Corrupted) => "reported".to_owned(),
                Err(error) => panic!("byte {at} bit {bit}: {error}"),
                Ok(found) => {
                    assert_eq!(found.end, record, "byte {at} bit {bit}: not a prefix");
                    let seen = match parse(&image[record..]) {
                        Err(ParseError::Incomplete) => None,
                        Err(ParseError::Damaged { seen }) => Some(seen),
                        other => panic!("byte {at} bit {bit}: {other:?}"),
                    };
                    format!("{:?}", judge(&image, record, seen))
                }
            };
            let place = if at < last { "with records after it" } else { "in the last record" };
            *verdicts.entry(format!("{place}: {verdict}")).or_default() += 1;
        }
    }
    let lines: Vec<String> = verdicts.iter().map(|(verdict, n)| format!("{verdict} {n}")).collect();
    // The flips that are not reported, with records after them, are in a length that now points
    // past the end.
    let wanted = [
        "in the last record: Garbage 108",
        "in the last record: TornTail 4",
        "with records after it: TornTail 291",
        "with records after it: reported 124549",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn a_flipped_bit_in_the_header_is_an_invalid_format() {
    let log = one_block(0);
    for bit in 0..8 * HEADER.len() {
        let mut image = log.bytes.clone();
        image[bit / 8] ^= 1 << (bit % 8);
        let found = scan(&image, Bugs::default());
        assert!(matches!(found, Err(SnapshotError::InvalidFormat(_))), "bit {bit}: {found:?}");
    }
}

#[test]
fn a_torn_header_is_no_log_and_a_strange_one_is_an_error() {
    // The header's last byte is zero: five bytes and zeros are the header.
    for kept in 0..HEADER.len() - 1 {
        for zeros in [0, 1, 6, 506, 5000] {
            let mut image = HEADER[..kept].to_vec();
            image.resize(kept + zeros, 0);
            let found = scan(&image, Bugs::default()).expect("torn, not strange");
            assert_eq!((found.end, found.is_empty()), (0, true), "{kept} bytes, {zeros} zeros");
        }
    }
    // The first page lost, the second kept.
    let mut image = blocks(6).bytes;
    image[..BLOCK].fill(0);
    assert_eq!(scan(&image, Bugs::default()).expect("a lost page").end, 0);
    for strange in [b"abc".as_slice(), b"XXXX\x02\x00", b"PGSX", b"PGSS\x01\x00", b"PGSS\x03\x00"] {
        let found = scan(strange, Bugs::default());
        assert!(matches!(found, Err(SnapshotError::InvalidFormat(_))), "{strange:?}: {found:?}");
    }
}

#[test]
fn garbage_after_the_last_record_is_dropped_and_before_a_record_it_is_an_error() {
    let log = one_block(0);
    let mut image = log.bytes.clone();
    image.extend([0x51, 0x52, 0x53, 0x54, 0x55, 0x56]);
    assert_eq!(judge(&image, log.bytes.len(), Some(5)), Damage::Garbage);
    assert_eq!(scan(&image, Bugs::default()).expect("a tail").end, log.bytes.len());
    encode_cursor(&mut image, Cursor::from_u64(99));
    assert!(matches!(scan(&image, Bugs::default()), Err(SnapshotError::Corrupted)));
}

#[test]
fn a_record_of_a_later_format_is_an_error_even_as_the_last_one() {
    let mut log = one_block(0);
    let start = log.bytes.len();
    log.bytes.extend([0, 0, 0, 0, 3, 12]);
    log.bytes.extend([1; 12]);
    let crc = crc32fast::hash(&log.bytes[start + 4..]);
    log.bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(scan(&log.bytes, Bugs::default()), Err(SnapshotError::InvalidFormat(_))));
}

#[test]
fn hostile_bytes_after_damage_are_searched_in_bounded_time() {
    let mut image = Written::new().put("a", b"1", VersionToken::unknown()).bytes.clone();
    let damaged = image.len();
    image.extend([0xff; 5]);
    // At every seventh byte a put of an empty key and a value of 100,000 bytes seems to start.
    image.extend([1, 0, 0, 0xa0, 0x86, 1, 0].repeat(50_000));
    assert_eq!(judge(&image, damaged, Some(5)), Damage::Corrupt);
}

#[test]
fn the_planted_bugs_of_recovery_show_in_these_images() {
    let log = one_block(0);
    let fails = |image: &[u8], bugs| scan(image, bugs).is_err();
    let mut lost = log.bytes.clone();
    lost[SECTOR..2 * SECTOR].fill(0);
    assert!(fails(&lost, Bugs { lost_page_is_an_error: true, ..Bugs::default() }));
    let mut zeros = log.bytes.clone();
    zeros.extend([0; 5]);
    assert!(fails(&zeros, Bugs { zero_tail_is_an_error: true, ..Bugs::default() }));
    assert!(fails(&HEADER[..3], Bugs { header_in_place: true, ..Bugs::default() }));
}
