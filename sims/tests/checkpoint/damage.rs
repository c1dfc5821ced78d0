//! Damaged event stores: each reason to ignore a checkpoint, each byte of it flipped, and damaged
//! segments and footers.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sims::engines::checkpoint::{Config, Ignored, Store, StoreError};
use tempfile::TempDir;

use crate::rig::{dump, events, files, fill, numbered, open, place, plain, segment};

/// The body of a checkpoint, for forging one with a valid checksum.
#[derive(Serialize, Deserialize)]
struct Body {
    global_sequence: u64,
    watermark_segment_id: u64,
    watermark_offset: u64,
    interner_strings: Vec<String>,
    entries: Vec<Row>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    event_id: ByteBuf,
    correlation_id: ByteBuf,
    causation_id: Option<ByteBuf>,
    entity_id: u32,
    scope_id: u32,
    kind: u16,
    wall_ms: u64,
    clock: u32,
    prev_hash: [u8; 32],
    event_hash: [u8; 32],
    segment_id: u64,
    offset: u64,
    length: u32,
    global_sequence: u64,
}

fn seal(body: &[u8]) -> Vec<u8> {
    let mut data = b"FBATCK\x02\x00".to_vec();
    data.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    data.extend_from_slice(body);
    data
}

/// A checkpoint that was changed and has a valid checksum.
fn lie(data: &[u8], change: impl Fn(&mut Body)) -> Vec<u8> {
    let mut body: Body = rmp_serde::from_slice(&data[12..]).expect("decodes");
    change(&mut body);
    seal(&rmp_serde::to_vec_named(&body).expect("encodes"))
}

/// Three finished segments of a few events each, some in a batch, and their checkpoint.
fn finished() -> (TempDir, std::path::PathBuf) {
    let (dir, path) = place();
    let mut store =
        Store::open(&path, Config { segment_len: 1500, ..Config::default() }).expect("opens");
    fill(&mut store, 0..5);
    store.append_batch(&[numbered(5), numbered(6), numbered(7)]).expect("appends");
    fill(&mut store, 8..10);
    store.close().expect("closes");
    assert_eq!(files(&dir), ["000001.fbat", "000002.fbat", "000003.fbat", "index.ckpt"]);
    (dir, path)
}

/// The events of the store, and why it ignored its checkpoint, if it did.
fn opened(path: &Path) -> (Vec<String>, Option<String>) {
    let mut store = open(path);
    let ignored = store.checkpoint_ignored().map(Ignored::to_string);
    (events(&mut store), ignored)
}

#[test]
fn a_damaged_checkpoint_is_ignored_with_a_reason_and_no_answer_is_wrong() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    let table: [(&str, Damage); 20] = [
        ("0 bytes, fewer than a header's 12", |_| Vec::new()),
        ("11 bytes, fewer than a header's 12", |data| data[..11].to_vec()),
        ("bad magic", |data| [b"FBATCX", &data[6..]].concat()),
        ("version 1, not 2", |data| [b"FBATCK\x01\x00", &data[8..]].concat()),
        ("version 99, not 2", |data| [b"FBATCK\x63\x00", &data[8..]].concat()),
        ("its checksum is wrong", |data| [&data[..8], &[0; 4], &data[12..]].concat()),
        ("its checksum is wrong", |data| data[..data.len() - 1].to_vec()),
        ("its checksum is wrong", |data| [data, &[0]].concat()),
        ("cannot be decoded: ", |_| seal(b"nothing of the kind")),
        ("cannot be decoded: ", |_| seal(b"")),
        ("segment 7 does not exist", |data| lie(data, |body| body.watermark_segment_id = 7)),
        ("it reaches past the end of segment 1", |data| {
            lie(data, |body| body.watermark_segment_id = 0)
        }),
        ("it reaches past the end of segment 3", |data| {
            lie(data, |body| body.watermark_offset += 1)
        }),
        ("it reaches past the end of segment 1", |data| {
            lie(data, |body| {
                let last = body.entries.iter().rposition(|row| row.segment_id == 1);
                body.entries[last.expect("some")].length = u32::MAX;
            })
        }),
        ("it has no string 900", |data| lie(data, |body| body.entries[1].entity_id = 900)),
        ("it has no string 0", |data| lie(data, |body| body.entries[1].scope_id = 0)),
        ("its entries are out of order", |data| lie(data, |body| body.entries.swap(1, 2))),
        ("segment 1 holds a different event than it says", |data| {
            lie(data, |body| {
                let last = body.entries.iter().rposition(|row| row.segment_id == 1);
                body.entries[last.expect("some")].event_hash[0] ^= 1;
            })
        }),
        ("segment 3 holds events that it does not know", |data| {
            lie(data, |body| drop(body.entries.pop()))
        }),
        ("segment 3 holds events that it does not know", |data| {
            lie(data, |body| body.watermark_offset -= 1)
        }),
    ];
    let (_dir, path) = finished();
    let right = dump(&path, plain());
    let checkpoint = path.join("index.ckpt");
    let data = fs::read(&checkpoint).expect("reads");
    assert_eq!(opened(&path), (right.clone(), None));
    for (says, damage) in table {
        fs::write(&checkpoint, damage(&data)).expect("writes");
        let (found, ignored) = opened(&path);
        let ignored = ignored.unwrap_or_default();
        assert!(ignored.contains(says), "{ignored:?}, not {says:?}");
        assert_eq!(found, right, "{says}");
        // The next close replaces it by a good one.
        open(&path).close().expect("closes");
        assert_eq!(opened(&path), (right.clone(), None), "{says}");
    }
}

#[test]
fn no_answer_is_wrong_whichever_byte_of_a_checkpoint_is_flipped() {
    let (_dir, path) = finished();
    let right = dump(&path, plain());
    let checkpoint = path.join("index.ckpt");
    let data = fs::read(&checkpoint).expect("reads");
    let mut reasons = std::collections::BTreeSet::new();
    for at in (0..data.len()).filter(|at| *at < 12 || at % 3 == 0) {
        let mut damaged = data.clone();
        damaged[at] ^= 0x11;
        fs::write(&checkpoint, damaged).expect("writes");
        let (found, ignored) = opened(&path);
        assert_eq!(found, right, "byte {at}");
        reasons.insert(ignored.expect("is ignored"));
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    let wanted = ["bad magic", "its checksum is wrong", "version 19, not 2", "version 4354, not 2"];
    assert_eq!(reasons, wanted);
}

#[test]
fn a_missing_linked_or_unreadable_checkpoint_is_ignored() {
    let (dir, path) = finished();
    let right = dump(&path, plain());
    let checkpoint = path.join("index.ckpt");
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&checkpoint, &elsewhere).expect("renames");
    assert_eq!(opened(&path), (right.clone(), Some("there is none".into())));
    std::os::unix::fs::symlink(&elsewhere, &checkpoint).expect("links");
    let before = fs::read(&elsewhere).expect("reads");
    assert_eq!(opened(&path), (right.clone(), Some("its name is a symbolic link".into())));
    // Nothing is written through the link, and the failed checkpoint does no harm.
    let mut store = open(&path);
    fill(&mut store, 20..21);
    let refused = store.checkpoint().expect_err("is refused");
    assert!(
        matches!(&refused, StoreError::Io(error) if error.to_string().contains("symbolic link"))
    );
    store.close().expect("closes");
    assert_eq!(fs::read(&elsewhere).expect("reads"), before);
    fs::remove_file(&checkpoint).expect("removes");
    fs::create_dir(&checkpoint).expect("makes");
    let (found, ignored) = opened(&path);
    assert_eq!(found.len(), right.len() + 1);
    assert!(ignored.expect("is ignored").contains("cannot be read"));
    let mut store = open(&path);
    fill(&mut store, 21..22);
    store.close().expect("closes although no checkpoint can be written");
    assert_eq!(dump(&path, plain()).len(), right.len() + 2);
}

#[test]
fn no_answer_is_wrong_with_a_stale_or_foreign_checkpoint() {
    let (_dir, path) = place();
    let config = Config { segment_len: 900, ..Config::default() };
    let checkpoint = path.join("index.ckpt");
    let mut store = Store::open(&path, config).expect("opens");
    let mut kept = Vec::new();
    for round in 0..6 {
        fill(&mut store, round * 10..round * 10 + 3);
        store.append_batch(&[numbered(round * 10 + 3), numbered(round * 10 + 4)]).expect("appends");
        match round % 3 {
            0 => store.checkpoint().expect("writes"),
            1 => drop(store.compact().expect("compacts")),
            _ => {
                store.close().expect("closes");
                store = Store::open(&path, config).expect("opens");
            }
        }
        kept.push(fs::read(&checkpoint).expect("reads"));
    }
    drop(store);
    let (_other, other) = finished();
    kept.push(fs::read(other.join("index.ckpt")).expect("reads"));
    let right = dump(&path, plain());
    assert_eq!(right.len(), 30);
    let mut used = 0;
    for (number, data) in kept.iter().enumerate() {
        fs::write(&checkpoint, data).expect("writes");
        let (found, ignored) = opened(&path);
        assert_eq!(found, right, "checkpoint {number}: {ignored:?}");
        used += usize::from(ignored.is_none());
    }
    assert!((1..kept.len()).contains(&used), "{used} of {} were used", kept.len());
}

#[test]
fn a_checkpoint_does_not_hide_that_a_segment_is_shorter_or_missing() {
    let (dir, path) = finished();
    let right = dump(&path, plain());
    let file = fs::File::options().write(true).open(segment(&dir, 3)).expect("opens");
    file.set_len(700).expect("cuts");
    for (gone, says) in [(None, "past the end of segment 3"), (Some(3), "segment 3 does not exist")]
    {
        if let Some(id) = gone {
            fs::remove_file(segment(&dir, id)).expect("removes");
        }
        let plain = Store::open(&path, plain()).expect("opens");
        let store = open(&path);
        let ignored = store.checkpoint_ignored().expect("is ignored").to_string();
        assert!(ignored.contains(says), "{ignored}");
        let answers =
            |store: &Store| store.entries().map(|row| format!("{row:?}")).collect::<Vec<_>>();
        assert_eq!(answers(&store), answers(&plain));
        assert!(store.len() < right.len());
    }
}

#[test]
fn the_next_sequence_number_is_restored_from_the_checkpoint() {
    let (_dir, path) = finished();
    let checkpoint = path.join("index.ckpt");
    let data = fs::read(&checkpoint).expect("reads");
    fs::write(&checkpoint, lie(&data, |body| body.global_sequence = 77)).expect("writes");
    let mut store = open(&path);
    assert_eq!(store.append(&numbered(50)).expect("appends").sequence, 77);
}

#[test]
fn no_answer_is_wrong_whichever_byte_of_a_footer_is_flipped() {
    let (dir, path) = finished();
    let right = dump(&path, plain());
    let footed = Config { checkpoint: false, ..Config::default() };
    assert_eq!(dump(&path, footed), right);
    let data = fs::read(segment(&dir, 1)).expect("reads");
    let trailer = data.last_chunk::<16>().expect("is there");
    let start = u64::from_le_bytes(*trailer.first_chunk().expect("is there")) as usize;
    for at in start..data.len() {
        let mut damaged = data.clone();
        damaged[at] ^= 0x11;
        fs::write(segment(&dir, 1), damaged).expect("writes");
        assert_eq!(dump(&path, footed), right, "byte {at}");
    }
}

#[test]
fn damage_followed_by_frames_is_an_error_that_says_where() {
    let (dir, path) = finished();
    let whole = fs::read(segment(&dir, 3)).expect("reads");
    let refused = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut data = whole.clone();
        damage(&mut data);
        fs::write(segment(&dir, 3), data).expect("writes");
        Store::open(&path, plain()).expect_err("is damaged").to_string()
    };
    let header = 8 + u32::from_be_bytes(*whole[4..].first_chunk().expect("is there")) as usize;
    let damaged = format!("segment 3 is corrupt at byte {header}: a frame is damaged, and frames");
    assert!(refused(&|data| data[header + 40] ^= 1).contains(&damaged));
    // A length that is invalid or points past the end of the file is reported in the same way.
    assert!(refused(&|data| data[header] = 0xff).contains(&damaged));
    assert!(refused(&|data| data[header + 2] ^= 0x40).contains(&damaged));
    assert!(refused(&|data| data[0] = b'X').contains("corrupt at byte 0: no header"));
    let foreign = fs::read(segment(&dir, 1)).expect("reads");
    let says = refused(&|data| data.clone_from(&foreign));
    assert!(says.contains("the header is that of segment 1"), "{says}");
    // Only the last segment may be torn, not the first.
    let mut first = fs::read(segment(&dir, 1)).expect("reads");
    fs::write(segment(&dir, 3), &whole).expect("writes");
    first.truncate(5);
    fs::write(segment(&dir, 1), &first).expect("writes");
    let says = Store::open(&path, plain()).expect_err("is damaged").to_string();
    assert!(says.contains("segment 1 is corrupt at byte 0: no header"), "{says}");
}

#[test]
fn reading_an_event_that_changed_on_disk_is_an_error() {
    let (dir, path) = finished();
    let mut store = open(&path);
    let data = fs::read(segment(&dir, 1)).expect("reads");
    let at = data.windows(7).position(|bytes| bytes == b"event 1");
    let at = at.expect("its payload is there");
    let mut damaged = data.clone();
    damaged[at + 6] = b'7';
    fs::write(segment(&dir, 1), &damaged).expect("writes");
    assert!(matches!(store.get(2), Err(StoreError::Corrupt { segment: 1, .. })));
    assert!(store.get(1).is_ok() && store.get(3).is_ok());
    fs::write(segment(&dir, 1), &data[..at]).expect("writes");
    assert!(matches!(store.get(2), Err(StoreError::Corrupt { segment: 1, .. })));
}
