//! Checks recovery from images of a log that a crash can leave, and from every flipped bit.

use super::command::{Command, Expiry, Only};
use super::scan::{Damage, Header, Seal, judge, scan};
use super::snapshot::Name;
use super::{AofError, Bugs, resp};

const SECTOR: usize = 512;

/// A log as it was written, and where its first line and each record end.
fn written() -> (Vec<u8>, Vec<usize>, Seal) {
    let line = Header { generation: 3, follows: None }.line();
    let seal = Seal::of(&line);
    let (mut log, mut ends) = (line.clone(), vec![line.len()]);
    let name = Name { crc: 7, len: 9, saved: 11 };
    for (number, len) in [1usize, 40, 700, 3, 1300, 0, 20, 512, 30, 8].into_iter().enumerate() {
        let fill = if number % 3 == 2 { 0 } else { b'a' + number as u8 };
        let mut value = vec![fill; len];
        if number == 4 {
            // A value that is itself the tail of a log: if it is torn, no records may be read from
            // it.
            value = log.clone();
        }
        let key = format!("key {number}").into_bytes();
        let set = Command::Set { key, value, expiry: Expiry::Never, only: Only::Always };
        let mut commands = Vec::new();
        resp::encode(&mut commands, &set.args());
        log.extend(seal.record(log.len() as u64, &commands));
        ends.push(log.len());
        if number == 6 {
            log.extend(seal.snapshot(log.len() as u64, &name));
            ends.push(log.len());
        }
    }
    (log, ends, seal)
}

/// Checks that exactly the records before the first byte that an image lacks are found.
fn check(log: &[u8], ends: &[usize], image: &[u8], what: &dyn Fn() -> String) {
    let whole = ends.iter().rev().find(|end| image.get(..**end) == log.get(..**end)).copied();
    // The first line is durable before the log has its name.
    let Some(wanted) = whole else { return };
    match scan(image, Bugs::default()) {
        Ok(found) => assert_eq!(found.end, wanted, "{}", what()),
        Err(error) => panic!("{}: {error}", what()),
    }
}

#[test]
fn every_size_gives_the_records_before_it() {
    let (log, ends, _) = written();
    for size in 0..=log.len() {
        check(&log, &ends, &log[..size], &|| format!("size {size}"));
    }
}

#[test]
fn every_set_of_lost_sectors_gives_the_records_before_the_first() {
    let (log, ends, _) = written();
    let sectors = log.len().div_ceil(SECTOR);
    assert_eq!(sectors, 6);
    for kept in 0..1_usize << sectors {
        let mut image = log.clone();
        for sector in (0..sectors).filter(|sector| kept >> sector & 1 == 0) {
            image[sector * SECTOR..log.len().min((sector + 1) * SECTOR)].fill(0);
        }
        check(&log, &ends, &image, &|| format!("sectors kept {kept:b}"));
        for cut in ends.iter().copied().chain([SECTOR, 2 * SECTOR, 1000]) {
            check(&log, &ends, &image[..cut], &|| format!("sectors kept {kept:b}, size {cut}"));
        }
    }
}

#[test]
fn a_sector_last_written_when_a_record_ended_in_it_gives_the_records_before() {
    let (log, ends, _) = written();
    for end in &ends {
        let stop = log.len().min((end / SECTOR + 1) * SECTOR);
        let mut image = log.clone();
        image[*end..stop].fill(0);
        check(&log, &ends, &image, &|| format!("sector written up to {end}"));
        image[stop..].fill(0);
        check(&log, &ends, &image, &|| format!("sector written up to {end}, nothing after it"));
    }
}

#[test]
fn a_flipped_bit_before_other_records_is_reported() {
    let (log, ends, seal) = written();
    let last = ends[ends.len() - 2];
    let (mut reported, mut dropped) = (0, 0);
    for bit in 0..8 * log.len() {
        let mut image = log.clone();
        image[bit / 8] ^= 1 << (bit % 8);
        let at = ends.iter().rev().find(|end| **end <= bit / 8).copied().unwrap_or(0);
        match scan(&image, Bugs::default()) {
            Err(AofError::Corrupt(_) | AofError::Format(_)) => reported += 1,
            Ok(found) => {
                assert_eq!(found.end, at, "bit {bit}: not a prefix");
                // A record with a sector of zeros in it looks like one with a lost page.
                let zeros = judge(&image, at, Some(log.len() - at), Some(seal));
                assert!(at == last || zeros == Damage::LostPage, "bit {bit} at {at}");
                dropped += 1;
            }
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    assert!(reported > 9 * dropped / 10, "{reported} reported, {dropped} dropped");
}

#[test]
fn a_record_of_another_log_or_another_place_is_not_accepted() {
    let (log, ends, seal) = written();
    let other = Seal::of(&Header { generation: 4, follows: None }.line());
    let end = ends[1];
    for stray in [other.record(end as u64, b"*1\r\n$8\r\nFLUSHALL\r\n"), log[end..ends[2]].to_vec()]
    {
        let mut image = log[..ends[2]].to_vec();
        image.truncate(end);
        image.extend_from_slice(&stray);
        image.extend_from_slice(&stray);
        let found = scan(&image, Bugs::default()).expect("a tail");
        let wanted = if stray[..] == log[end..ends[2]] { ends[2] } else { end };
        assert_eq!(found.end, wanted);
        assert_eq!(judge(&image, wanted, Some(30), Some(seal)), Damage::Garbage);
    }
}

#[test]
fn hostile_bytes_after_damage_are_searched_in_bounded_time() {
    let (log, ends, _) = written();
    let mut image = log[..ends[0]].to_vec();
    image.extend_from_slice(b"#damaged\r\n");
    for _ in 0..20_000 {
        image.extend_from_slice(b"#record 90000 00000000\r\n");
    }
    assert!(matches!(scan(&image, Bugs::default()), Err(AofError::Corrupt(_))));
}
