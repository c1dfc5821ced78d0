//! The store: appends, syncs, reads, and refuses to continue where it might break a promise.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{NewEvent, Receipt, StoredEvent};
use super::frame::{self, BATCH_BEGIN, BATCH_COMMIT};
use super::index::{Entry, Index};
use super::place::{Place, remove};
use super::recover::{Recovered, Unsettled, recover};
use super::saved::{self, Ignored, Watermark};
use super::segment::{self, Segment};
use super::{Config, StoreError, footer};

/// An event store, open.
///
/// After a failed fsync, or a failure that leaves it unknown which file has a segment's name, it is
/// poisoned: it can be read, but refuses all other calls until it is opened again.
#[derive(Debug)]
pub struct Store {
    pub(super) place: Place,
    pub(super) config: Config,
    pub(super) index: Index,
    /// The numbers of the segments, in order.
    pub(super) segments: Vec<u64>,
    /// Segments that a merged one replaces, and that are not removed yet.
    pub(super) dead: Vec<u64>,
    active: Option<Active>,
    unsettled: Option<Unsettled>,
    ignored: Option<Ignored>,
    /// The number of events appended since the last sync.
    unsynced: u32,
    /// Whether the checkpoint has all events of the store.
    pub(super) saved: bool,
    pub(super) poisoned: bool,
    /// The segment that was read last.
    pub(super) reader: Option<(u64, File)>,
}

/// The segment that is appended to: always one that this store created.
#[derive(Debug)]
struct Active {
    id: u64,
    file: File,
    /// The header, until it is written with the first frames.
    header: Vec<u8>,
    /// The length of the header and the whole frames. The remains of a failed write may follow.
    len: u64,
    /// Whether there are such remains. Nothing may be appended to them.
    torn: bool,
    /// Whether its name was made durable.
    named: bool,
    /// The number of entries that the index had before this segment's.
    first: usize,
}

impl Store {
    /// Opens the store in a directory, or creates one. It undoes an interrupted compaction of the
    /// origin and removes leftovers, and writes nothing else.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` for damage that no crash explains.
    pub fn open(dir: &Path, config: Config) -> Result<Self, StoreError> {
        let place = Place::make(dir, config.bugs)?;
        place.sweep();
        let recovered = recover(&place, &config)?;
        let Recovered { index, segments, dead, unsettled, ignored, current } = recovered;
        Ok(Self {
            place,
            config,
            index,
            segments,
            dead,
            active: None,
            unsettled,
            ignored,
            unsynced: 0,
            saved: current,
            poisoned: false,
            reader: None,
        })
    }

    /// Appends an event, or finds that its id is stored already.
    ///
    /// # Errors
    /// `InvalidEvent`, `ClockMismatch`, `Poisoned`: nothing was done. `Io`: the event may be stored
    /// if the error has poisoned the store; otherwise it is not.
    pub fn append(&mut self, event: &NewEvent) -> Result<Receipt, StoreError> {
        event.check()?;
        if let Some(stored) = event.id.and_then(|id| self.index.get(id)) {
            return Ok(receipt(stored));
        }
        let before = self.index.latest(&event.entity);
        let actual = before.map(|before| before.clock);
        if let Some(expected) = event.expected_clock.filter(|clock| Some(*clock) != actual) {
            return Err(StoreError::ClockMismatch {
                entity: event.entity.clone(),
                expected,
                actual,
            });
        }
        let mut frames = Vec::new();
        let entry = event.encode(&mut frames, now_us(), before, self.index.next_sequence)?;
        let receipt = receipt(&entry);
        let at = self.write(&frames)?;
        self.enter(at, vec![entry], std::slice::from_ref(event));
        if self.config.sync_every > 0 && self.unsynced >= self.config.sync_every {
            self.sync()?;
        }
        Ok(receipt)
    }

    /// Appends events as one: a crash leaves all of them or none. They survive power loss. If all
    /// of them are stored already, nothing is done.
    ///
    /// # Errors
    /// As [`append`](Self::append); `PartlyStored` if some of the ids are stored already;
    /// `InvalidEvent` if two have the same id, or one expects a clock.
    pub fn append_batch(&mut self, events: &[NewEvent]) -> Result<Vec<Receipt>, StoreError> {
        let stored = |event: &NewEvent| event.id.and_then(|id| self.index.get(id)).map(receipt);
        let receipts: Vec<Receipt> = events.iter().filter_map(stored).collect();
        if receipts.len() == events.len() {
            return Ok(receipts);
        }
        if !receipts.is_empty() {
            return Err(StoreError::PartlyStored);
        }
        let (frames, entries) = self.encode_batch(events)?;
        let receipts = entries.iter().map(receipt).collect();
        if self.config.bugs.batch_rotates {
            self.write_rotating(&frames, entries, events)?;
        } else {
            let at = self.write(&frames)?;
            self.enter(at, entries, events);
        }
        self.sync()?;
        Ok(receipts)
    }

    fn encode_batch(&self, events: &[NewEvent]) -> Result<(Vec<u8>, Vec<Entry>), StoreError> {
        let invalid = |what: &str| Err(StoreError::InvalidEvent(what.to_owned()));
        let Ok(count) = u32::try_from(events.len()) else { return invalid("too many events") };
        let (first, now) = (self.index.next_sequence, now_us());
        let mut frames = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        frame::encode_marker(&mut frames, BATCH_BEGIN, first, count, now)?;
        for (number, event) in events.iter().enumerate() {
            event.check()?;
            if event.expected_clock.is_some() {
                return invalid("an event of a batch cannot expect a clock");
            }
            let of_batch = entries.iter().zip(events).rev();
            let mut before = of_batch.filter(|(_, other)| other.entity == event.entity);
            let before = before.next().map(|(entry, _)| entry);
            let before = before.or_else(|| self.index.latest(&event.entity));
            let entry = event.encode(&mut frames, now, before, first + number as u64)?;
            if entries.iter().any(|other| other.id == entry.id) {
                return invalid("two events of a batch have the same id");
            }
            entries.push(entry);
        }
        frame::encode_marker(&mut frames, BATCH_COMMIT, first, 0, now)?;
        Ok((frames, entries))
    }

    /// The planted Brot: each frame may begin a new segment; the entries are added at the end.
    fn write_rotating(
        &mut self,
        frames: &[u8],
        mut entries: Vec<Entry>,
        events: &[NewEvent],
    ) -> Result<(), StoreError> {
        let mut start = 0;
        while let Ok(body) = frame::body(&frames[start..]) {
            let end = start + frame::PREFIX + body.len();
            let (segment, offset) = self.write(&frames[start..end])?;
            for entry in &mut entries {
                if entry.at.segment == 0 && entry.at.offset == start as u64 {
                    (entry.at.segment, entry.at.offset) = (segment, offset);
                }
            }
            start = end;
        }
        self.enter((0, 0), entries, events);
        Ok(())
    }

    /// Makes all events durable: they survive power loss.
    ///
    /// # Errors
    /// `Io`. A failed fsync poisons the store: the kernel may have dropped the data, and would
    /// report the next fsync as successful.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.alive()?;
        if self.active.as_ref().is_some_and(|active| active.torn) {
            self.finish()?;
        }
        self.settle()?;
        if let Some(active) = self.active.as_mut() {
            let named = std::mem::replace(&mut active.named, true);
            let synced = active.file.sync_data();
            self.trust(synced)?;
            if !named {
                let synced = self.place.sync();
                self.trust(synced)?;
            }
        }
        self.unsynced = 0;
        Ok(())
    }

    /// The number of events appended since the last sync.
    pub fn unsynced(&self) -> u32 {
        self.unsynced
    }

    /// Changes [`Config::sync_every`].
    pub fn set_sync_every(&mut self, events: u32) {
        self.config.sync_every = events;
    }

    /// Reads an event. It is an error if the disk holds anything else in its place.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `Corrupt`.
    pub fn get(&mut self, id: u128) -> Result<StoredEvent, StoreError> {
        let entry = self.index.get(id).ok_or(StoreError::NotFound(id))?.clone();
        let (segment, offset) = (entry.at.segment, entry.at.offset);
        let corrupt = |what: String| StoreError::Corrupt { segment, offset, what };
        let mut data = vec![0; entry.at.length as usize];
        let read = self.reader(segment)?.read_exact_at(&mut data, offset);
        match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(corrupt("the segment ends before the event does".into()));
            }
            read => read?,
        }
        let body =
            frame::body(&data).map_err(|_| corrupt("the event's checksum is wrong".into()))?;
        let body = frame::decode::<Vec<u8>>(body).map_err(corrupt)?;
        if frame::number(&body.event.header.event_id) != id {
            return Err(corrupt("a different event is stored there".into()));
        }
        let (entity, scope) = (body.entity.to_owned(), body.scope.to_owned());
        let timestamp_us = body.event.header.timestamp_us;
        Ok(StoredEvent { entry, entity, scope, timestamp_us, payload: body.event.payload })
    }

    fn reader(&mut self, segment: u64) -> io::Result<&File> {
        let file = match self.reader.take() {
            Some((open, file)) if open == segment => file,
            _ => File::open(self.place.segment(segment))?,
        };
        Ok(&self.reader.insert((segment, file)).1)
    }

    /// An event's entry in the index.
    pub fn entry(&self, id: u128) -> Option<&Entry> {
        self.index.get(id)
    }

    /// The events of an entity, in order.
    pub fn stream(&self, entity: &str) -> impl Iterator<Item = &Entry> {
        self.index.stream(entity)
    }

    /// All events in order, each with its entity and its scope.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, &str, &str)> {
        let text = |number| self.index.interner.text(number);
        self.index.entries.iter().map(move |entry| (entry, text(entry.entity), text(entry.scope)))
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.index.entries.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number that the next event will have in the store.
    pub fn next_sequence(&self) -> u64 {
        self.index.next_sequence
    }

    /// Reads an entity's events and checks that each has the hash of its payload, and that of the
    /// previous event's.
    ///
    /// # Errors
    /// `BrokenChain`, or as [`get`](Self::get).
    pub fn verify(&mut self, entity: &str) -> Result<(), StoreError> {
        let stream: Vec<Entry> = self.stream(entity).cloned().collect();
        let mut before = [0; 32];
        for (clock, entry) in stream.into_iter().enumerate() {
            let payload = self.get(entry.id)?.payload;
            let right = entry.event_hash == *blake3::hash(&payload).as_bytes();
            if !right || entry.prev_hash != before || entry.clock as usize != clock {
                let entity = entity.to_owned();
                return Err(StoreError::BrokenChain { entity, clock: entry.clock });
            }
            before = entry.event_hash;
        }
        Ok(())
    }

    /// Why the last open did not use the checkpoint; `None` if it did.
    pub fn checkpoint_ignored(&self) -> Option<&Ignored> {
        self.ignored.as_ref()
    }

    /// Writes a checkpoint, once all that it covers is durable.
    ///
    /// # Errors
    /// `Io`, `Poisoned`. The store works as well without a checkpoint, or with the old one, as with
    /// a new one.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.save()
    }

    pub(super) fn save(&mut self) -> Result<(), StoreError> {
        let Some(segment) = self.segments.last().copied() else { return Ok(()) };
        let offset = match &self.active {
            Some(active) => active.len,
            None => std::fs::metadata(self.place.segment(segment))?.len(),
        };
        saved::save(&self.place, &self.index, Watermark { segment, offset })?;
        self.saved = true;
        Ok(())
    }

    /// Writes a checkpoint if the configuration wants one; a failure does no harm.
    pub(super) fn save_if_wanted(&mut self) {
        let wanted = self.config.checkpoint && !self.saved;
        if let Some(Err(error)) = wanted.then(|| self.save()) {
            log::warn!("no checkpoint was written: {error}");
        }
    }

    /// Makes all events durable, finishes the last segment, and writes a checkpoint. Dropping a
    /// store instead loses nothing that was promised.
    ///
    /// # Errors
    /// `Io`, `Poisoned`. A failure to write the checkpoint is not an error.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish()?;
        self.settle()?;
        self.save_if_wanted();
        Ok(())
    }

    pub(super) fn alive(&self) -> Result<(), StoreError> {
        if self.poisoned { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    /// Passes on the result of a sync; an error poisons the store.
    pub(super) fn trust(&mut self, synced: io::Result<()>) -> Result<(), StoreError> {
        self.poisoned |= synced.is_err() && !self.config.bugs.failed_sync_forgiven;
        Ok(synced?)
    }

    /// Adds events that were written at this place to the index. Entries that already have a
    /// segment keep their own place.
    fn enter(&mut self, (segment, start): (u64, u64), entries: Vec<Entry>, events: &[NewEvent]) {
        self.unsynced = self.unsynced.saturating_add(entries.len() as u32);
        self.saved = false;
        for (mut entry, event) in entries.into_iter().zip(events) {
            if entry.at.segment == 0 {
                entry.at.segment = segment;
                entry.at.offset += start;
            }
            self.index.insert(entry, &event.entity, &event.scope);
        }
    }

    /// Appends frames to the active segment; returns its number and their offset.
    fn write(&mut self, frames: &[u8]) -> Result<(u64, u64), StoreError> {
        // A write may be short for a transient reason.
        for _attempt in 0..2 {
            let active = self.ready()?;
            if active.write(frames)? {
                return Ok((active.id, active.len - frames.len() as u64));
            }
        }
        Err(io::Error::from(ErrorKind::WriteZero).into())
    }

    /// The segment that can be appended to.
    fn ready(&mut self) -> Result<&mut Active, StoreError> {
        self.alive()?;
        let (most, forgiving) = (self.config.segment_len, self.config.bugs.half_frame_kept);
        let done = |active: &Active| active.torn && !forgiving || active.len >= most;
        if self.active.as_ref().is_some_and(done) {
            self.finish()?;
        }
        self.settle()?;
        let active = match self.active.take() {
            Some(active) => active,
            None => {
                let id = self.segments.last().map_or(1, |last| last + 1);
                let header = segment::header(id, now_us().saturating_mul(1000), None)?;
                let file =
                    File::options().append(true).create_new(true).open(self.place.segment(id))?;
                self.segments.push(id);
                let first = self.index.entries.len();
                Active { id, file, header, len: 0, torn: false, named: false, first }
            }
        };
        Ok(self.active.insert(active))
    }

    /// Ends the active segment: durably and with a footer, or, if it is torn, as one to be settled.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.alive()?;
        let Some(mut active) = self.active.take() else { return Ok(()) };
        if !active.torn {
            let entries = &self.index.entries[active.first..];
            let text = |number| self.index.interner.text(number);
            let events = entries.iter().map(|entry| (entry, text(entry.entity), text(entry.scope)));
            let footer = footer::encode(active.len, events)?;
            let frames = active.len;
            // If that fails, the segment is torn, and gets its footer when it is settled.
            let _ = active.write(&footer);
            active.len = frames;
        }
        if active.torn {
            self.unsettled = Some(Unsettled { id: active.id, len: Some(active.len) });
            return Ok(());
        }
        self.trust(active.file.sync_all())?;
        if !active.named {
            let named = self.place.sync();
            self.trust(named)?;
        }
        self.unsynced = 0;
        Ok(())
    }

    /// Replaces an unsettled segment with its frames that count and a footer, durably.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let Some(Unsettled { id, len }) = self.unsettled else { return Ok(()) };
        self.alive()?;
        let path = self.place.segment(id);
        let bugs = self.config.bugs;
        let left_alone = bugs.torn_bytes_copied || bugs.batch_stays_open || bugs.page_cache_trusted;
        if left_alone && self.only_sync(id)? {
            return Ok(());
        }
        self.reader = None;
        let mut data = std::fs::read(&path)?;
        data.truncate(len.map_or(data.len(), |len| len as usize));
        let mut events: Vec<(Entry, String, String)> = Vec::new();
        let mut sink = |mut entry: Entry, entity: &str, scope: &str| {
            let known = self.index.get(entry.id);
            entry.sequence = known.map_or(entry.sequence, |known| known.sequence);
            events.push((entry, entity.to_owned(), scope.to_owned()));
        };
        let end = Segment { id, data: &data, last: true, bugs }.scan(None, &mut None, &mut sink)?;
        if !end.any {
            remove(&path)?;
            let removed = self.place.sync();
            self.trust(removed)?;
            self.segments.retain(|other| *other != id);
            self.unsettled = None;
            return Ok(());
        }
        data.truncate(end.frames as usize);
        let rows = events.iter().map(|(entry, entity, scope)| (entry, &**entity, &**scope));
        data.append(&mut footer::encode(end.frames, rows)?);
        let write = || -> io::Result<()> {
            let mut file = self.place.create_temp(&path)?;
            file.write_all(&data)?;
            if !bugs.rename_before_sync {
                file.sync_all()?;
            }
            self.place.rename(&path)
        };
        write().inspect_err(|_| self.place.remove_temp(&path))?;
        let named = self.place.sync();
        self.trust(named)?;
        self.unsettled = None;
        self.unsynced = 0;
        Ok(())
    }

    /// The planted B4e, B8 and P22: the segment stays as it is, unless this store tore it.
    fn only_sync(&mut self, id: u64) -> Result<bool, StoreError> {
        let Some(Unsettled { len: None, .. }) = self.unsettled else { return Ok(false) };
        let data = std::fs::read(self.place.segment(id))?;
        let bugs = self.config.bugs;
        let mut batch = None;
        let segment = Segment { id, data: &data, last: true, bugs };
        let end = segment.scan(None, &mut batch, &mut |_, _, _| {})?;
        let whole = end.finished || end.frames == data.len() as u64;
        if !end.any || bugs.page_cache_trusted && !whole {
            return Ok(false);
        }
        let synced = File::open(self.place.segment(id))?.sync_all();
        self.trust(synced)?;
        let named = self.place.sync();
        self.trust(named)?;
        self.unsettled = None;
        Ok(true)
    }
}

impl Active {
    /// Appends bytes in one call; returns whether all were written. If not, the segment is torn.
    fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut out = std::mem::take(&mut self.header);
        out.extend_from_slice(bytes);
        self.torn = true;
        loop {
            match self.file.write(&out) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(written) if written < out.len() => return Ok(false),
                Ok(_) => break,
            }
        }
        self.torn = false;
        self.len += out.len() as u64;
        Ok(true)
    }
}

fn receipt(entry: &Entry) -> Receipt {
    Receipt { id: entry.id, sequence: entry.sequence, clock: entry.clock }
}

#[expect(clippy::disallowed_methods, reason = "an event is stamped with the time of day")]
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Bugs;
    use super::*;

    /// Appends two events, a part of a third as after a full disk, and two more; returns the number
    /// of events that a reopened store has.
    fn with_half_a_frame(bugs: Bugs) -> Result<usize, StoreError> {
        let dir = tempfile::tempdir()?;
        let config = Config { checkpoint: false, footers: false, bugs, ..Config::default() };
        let mut store = Store::open(dir.path(), config)?;
        let event = NewEvent::new("entity", "scope", "payload")?;
        store.append(&event)?;
        store.append(&event)?;
        let mut half = Vec::new();
        event.encode(&mut half, now_us(), None, 2)?;
        if let Some(active) = store.active.as_mut() {
            active.file.write_all(&half[..half.len() / 2])?;
            active.torn = true;
        }
        for _ in 0..2 {
            let id = store.append(&event)?.id;
            store.get(id)?;
        }
        store.sync()?;
        drop(store);
        let mut store = Store::open(dir.path(), config)?;
        store.verify("entity")?;
        Ok(store.len())
    }

    #[test]
    fn nothing_is_appended_to_the_remains_of_a_failed_write() {
        assert!(matches!(with_half_a_frame(Bugs::default()), Ok(4)));
        let kept = Bugs { half_frame_kept: true, ..Bugs::default() };
        assert!(matches!(with_half_a_frame(kept), Err(StoreError::Corrupt { .. })));
    }
}
