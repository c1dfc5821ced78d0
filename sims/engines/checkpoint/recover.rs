//! Recovers the index: from the checkpoint, if it agrees with the segments, and the events after
//! it; or from the segments alone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::footer::{self, TRAILER};
use super::frame;
use super::index::{Entry, Index};
use super::place::{Place, named};
use super::saved::{self, Ignored, Watermark};
use super::segment::{self, Batch, End, Segment};
use super::{Config, StoreError};

/// The front of a segment that holds its header.
const FRONT: u64 = 4096;

/// The result of a recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) segments: Vec<u64>,
    /// The segments that an interrupted compaction did not remove.
    pub(super) dead: Vec<u64>,
    /// The last segment, unless it is known to be durable and finished.
    pub(super) unsettled: Option<Unsettled>,
    /// Why the checkpoint was not used, if it was not.
    pub(super) ignored: Option<Ignored>,
    /// Whether the checkpoint has all events of the store.
    pub(super) current: bool,
}

/// A last segment that an earlier writer left, or this one after a failed write. It may not be
/// durable: an earlier writer may have had a failed fsync, after which the page cache shows data
/// that the disk does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsettled {
    pub(super) id: u64,
    /// The length that counts, if it is known; otherwise a scan finds it.
    pub(super) len: Option<u64>,
}

/// Opens the index of a store.
///
/// # Errors
/// `Io`, or `Corrupt` for damage that no crash explains.
pub(super) fn recover(place: &Place, config: &Config) -> Result<Recovered, StoreError> {
    let (segments, dead) = living(place, place.segments()?)?;
    let ignored = match from_checkpoint(place, config, &segments) {
        Ok(recovered) => return Ok(Recovered { dead, ..recovered }),
        Err(ignored) => ignored,
    };
    match &ignored {
        Ignored::Asked | Ignored::Missing => log::debug!("full replay: checkpoint: {ignored}"),
        _ => log::warn!("the checkpoint is ignored, full replay: {ignored}"),
    }
    let mut index = Index::default();
    replay(place, config, &segments, None, &mut index)?;
    let unsettled = segments.last().map(|id| Unsettled { id: *id, len: None });
    Ok(Recovered { index, segments, dead, unsettled, ignored: Some(ignored), current: false })
}

/// The segments that count, and those whose events are in a later, merged one.
fn living(place: &Place, segments: Vec<u64>) -> io::Result<(Vec<u64>, Vec<u64>)> {
    let mut from = u64::MAX;
    let (mut living, mut dead) = (Vec::new(), Vec::new());
    for id in segments.into_iter().rev() {
        if id >= from {
            dead.push(id);
            continue;
        }
        let path = place.segment(id);
        from = merged_from(&path).map_err(|error| named(&path, error))?.unwrap_or(u64::MAX);
        living.push(id);
    }
    living.reverse();
    Ok((living, dead))
}

/// The first of the segments that this one was merged from.
fn merged_from(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let mut front = vec![0; file.metadata()?.len().min(FRONT) as usize];
    file.read_exact_at(&mut front, 0)?;
    Ok(segment::merges_from(&front))
}

fn from_checkpoint(place: &Place, config: &Config, segments: &[u64]) -> Result<Recovered, Ignored> {
    if !config.checkpoint {
        return Err(Ignored::Asked);
    }
    let (mut index, watermark) = saved::load(place, config.bugs)?;
    if !config.bugs.checkpoint_believed {
        Check { place, config, index: &index }.all(segments, watermark)?;
    }
    let covered = index.entries.len();
    if !config.bugs.tail_not_replayed {
        replay(place, config, segments, Some(watermark), &mut index)
            .map_err(|error| Ignored::Tail(Box::new(error)))?;
    }
    // A checkpoint is only written once all that it covers is durable.
    let len = fs::metadata(place.segment(watermark.segment)).map(|meta| meta.len());
    let durable =
        segments.last() == Some(&watermark.segment) && len.is_ok_and(|len| len == watermark.offset);
    let last = segments.last().filter(|_| !durable);
    let unsettled = last.map(|id| Unsettled { id: *id, len: None });
    let current = durable && covered == index.entries.len();
    let segments = segments.to_vec();
    Ok(Recovered { index, segments, dead: Vec::new(), unsettled, ignored: None, current })
}

/// Adds to the index the events after the watermark, or all without one.
fn replay(
    place: &Place,
    config: &Config,
    segments: &[u64],
    watermark: Option<Watermark>,
    index: &mut Index,
) -> Result<(), StoreError> {
    let mut batch = None;
    let from = watermark.map_or(0, |watermark| watermark.segment);
    for id in segments.iter().copied().filter(|id| *id >= from) {
        let from = watermark.filter(|mark| mark.segment == id).map(|mark| mark.offset);
        let last = segments.last() == Some(&id);
        let finished = replay_segment(place, config, (id, last), from, index, &mut batch)?;
        // The origin finishes a segment in the middle of a batch, which continues in the next. A
        // segment that is not finished is the last of its session: its open batch is lost.
        if !finished && !config.bugs.batch_stays_open {
            batch = None;
        }
    }
    Ok(())
}

/// Replays one segment; returns whether it is finished.
fn replay_segment(
    place: &Place,
    config: &Config,
    (id, last): (u64, bool),
    from: Option<u64>,
    index: &mut Index,
    batch: &mut Option<Batch>,
) -> Result<bool, StoreError> {
    let file = File::open(place.segment(id))?;
    let len = file.metadata()?.len();
    if from.is_some_and(|from| from >= len) {
        return Ok(true);
    }
    // The last segment may have lost frames in a crash that its footer still names.
    let may_use_footer = from.is_none() && config.footers && !last && batch.is_none();
    if may_use_footer && replay_footer(config, &file, len, id, index)? {
        return Ok(true);
    }
    let data = read_from(&file, from.unwrap_or(0), len)?;
    let mut sink = |mut entry: Entry, entity: &str, scope: &str| {
        entry.sequence = entry.sequence.max(index.next_sequence);
        index.insert(entry, entity, scope);
    };
    let segment = Segment { id, data: &data, last, bugs: config.bugs };
    Ok(segment.scan(from, batch, &mut sink)?.finished)
}

/// Adds the entries of a segment's footer, if it has one that can be trusted; returns whether it
/// has.
fn replay_footer(
    config: &Config,
    file: &File,
    len: u64,
    id: u64,
    index: &mut Index,
) -> io::Result<bool> {
    let Some(start) = footer_start(file, len)? else { return Ok(false) };
    let mut data = vec![0; (len - start) as usize];
    file.read_exact_at(&mut data, start)?;
    let Some(footer) = footer::decode(&data, id) else { return Ok(false) };
    if footer.checked != Some(true) && !config.bugs.footer_believed {
        return Ok(false);
    }
    for mut entry in footer.entries {
        let (entity, scope) = (entry.entity as usize, entry.scope as usize);
        entry.sequence = entry.sequence.max(index.next_sequence);
        index.insert(entry, &footer.strings[entity], &footer.strings[scope]);
    }
    Ok(true)
}

fn footer_start(file: &File, len: u64) -> io::Result<Option<u64>> {
    let mut trailer = [0; TRAILER];
    let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
    file.read_exact_at(&mut trailer, at)?;
    Ok(footer::start(&trailer, len))
}

/// The first `to` bytes of a file, with zeros for those that are neither in its front nor at `from`
/// or later.
fn read_from(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; to as usize];
    let front = to.min(FRONT);
    file.read_exact_at(&mut data[..front as usize], 0)?;
    let rest = from.max(front).min(to);
    file.read_exact_at(&mut data[rest as usize..], rest)?;
    Ok(data)
}

/// Compares a checkpoint with the segments: enough to detect a stale or foreign one, or one from
/// before a merge, without a look at every frame.
struct Check<'a> {
    place: &'a Place,
    config: &'a Config,
    index: &'a Index,
}

impl Check<'_> {
    fn all(&self, segments: &[u64], watermark: Watermark) -> Result<(), Ignored> {
        if !segments.contains(&watermark.segment) {
            return Err(Ignored::SegmentMissing(watermark.segment));
        }
        let mut rest = self.index.entries.as_slice();
        for id in segments.iter().copied().take_while(|id| *id <= watermark.segment) {
            let here = rest.iter().take_while(|entry| entry.at.segment == id).count();
            let (entries, others) = rest.split_at(here);
            rest = others;
            let until = (id == watermark.segment).then_some(watermark.offset);
            self.segment(id, entries.last(), until)?;
        }
        match rest.first() {
            Some(entry) => Err(Ignored::SegmentMissing(entry.at.segment)),
            None => Ok(()),
        }
    }

    /// Checks that a segment holds the checkpoint's last entry for it, and after that, up to the
    /// watermark, no event that the checkpoint does not know.
    fn segment(&self, id: u64, last: Option<&Entry>, until: Option<u64>) -> Result<(), Ignored> {
        let file = File::open(self.place.segment(id)).map_err(Ignored::Unreadable)?;
        let len = file.metadata().map_err(Ignored::Unreadable)?.len();
        let from = last.map(|entry| entry.at.end());
        if from.max(until).is_some_and(|end| end > len) {
            return Err(Ignored::PastTheEnd(id));
        }
        if last.is_some_and(|entry| !self.holds(&file, entry)) {
            return Err(Ignored::Foreign(id));
        }
        let footer = footer_start(&file, len).map_err(Ignored::Unreadable)?;
        if from.is_some() && from == footer && until.is_none_or(|until| until == len) {
            return Ok(());
        }
        let stop = footer.filter(|footer| from.is_some_and(|from| from <= *footer)).unwrap_or(len);
        let data = read_from(&file, from.unwrap_or(0), stop).map_err(Ignored::Unreadable)?;
        // Up to here no event may be unknown; after it all will be replayed.
        let mark = until.filter(|until| *until <= stop);
        let data = &data[..mark.unwrap_or(stop) as usize];
        let mut unknown = false;
        let mut batch: Option<Batch> = None;
        let mut sink = |entry: Entry, _: &str, _: &str| {
            // An interrupted compaction of the origin leaves events twice: the first copy counts.
            unknown |= self.index.get(entry.id).is_none_or(|known| known.at > entry.at);
        };
        let segment = Segment { id, data, last: true, bugs: self.config.bugs };
        let scanned = segment.scan(from, &mut batch, &mut sink);
        let finished = |end: End| end.finished && until == Some(len);
        let whole = |end: End| end.frames == data.len() as u64 || finished(end);
        // A watermark in the middle of the footer, or of a frame, is that of another file.
        let fits = until.is_none_or(|until| until <= stop || until == len);
        let whole = scanned.is_ok_and(whole) || until.is_none();
        if unknown || !fits || !whole { Err(Ignored::NotCovered(id)) } else { Ok(()) }
    }

    fn holds(&self, file: &File, entry: &Entry) -> bool {
        let mut data = vec![0; entry.at.length as usize];
        let read = file.read_exact_at(&mut data, entry.at.offset);
        let Ok(body) = frame::body(&data) else { return false };
        let Ok(outline) = frame::decode(body) else { return false };
        let mut found = segment::entry(&outline, entry.at, None);
        let (entity, scope) = (outline.entity, outline.scope);
        found.entity = self.index.interner.number(entity).unwrap_or(0);
        found.scope = self.index.interner.number(scope).unwrap_or(0);
        found.sequence = entry.sequence;
        read.is_ok() && found == *entry
    }
}
