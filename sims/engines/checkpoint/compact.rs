//! Compaction: merges all segments into one.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::frame;
use super::index::{At, Entry};
use super::place::remove;
use super::segment;
use super::store::Store;
use super::{StoreError, footer};

/// The number of bytes that are written at once.
const CHUNK: usize = 1024 * 1024;

/// The effect of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The number of segments that are no longer needed.
    pub segments_removed: usize,
    /// The number of bytes by which the segments have shrunk.
    pub bytes_reclaimed: u64,
}

impl Store {
    /// Merges all segments into one. All events are durable on return.
    ///
    /// # Errors
    /// `Io`; `Poisoned`; `Corrupt` if a segment does not read back. Until the merged segment is
    /// renamed, the store consists of the old ones and continues with them; an error after that
    /// poisons it.
    pub fn compact(&mut self) -> Result<Compacted, StoreError> {
        self.finish()?;
        self.settle()?;
        let [rest @ .., merged] = &self.segments[..] else { return Ok(Compacted::default()) };
        let (merged, rest) = (*merged, rest.to_vec());
        if rest.is_empty() {
            return Ok(Compacted::default());
        }
        let len = |id: &u64| std::fs::metadata(self.place.segment(*id)).map(|meta| meta.len());
        let before = self.segments.iter().map(len).sum::<io::Result<u64>>()?;
        self.reader = None;
        let path = self.place.segment(merged);
        let places = if self.config.bugs.source_moved_away {
            self.merge_in_place(merged)?
        } else {
            let bugs = self.config.bugs;
            let merge = || -> Result<Vec<At>, StoreError> {
                let file = self.place.create_temp(&path)?;
                let raw =
                    if bugs.torn_bytes_copied { self.merge_raw(merged, &file)? } else { None };
                let places = match raw {
                    Some(places) => places,
                    None => self.merge(merged, &file)?,
                };
                if !bugs.rename_before_sync {
                    file.sync_all()?;
                }
                self.place.rename(&path)?;
                Ok(places)
            };
            merge().inspect_err(|_| self.place.remove_temp(&path))?
        };
        for (entry, at) in self.index.entries.iter_mut().zip(places) {
            entry.at = at;
        }
        let named = self.place.sync();
        self.trust(named)?;
        // Only now. One that stays, or reappears after a crash, is dead.
        let place = &self.place;
        self.dead.extend(&rest);
        self.dead.retain(|id| remove(&place.segment(*id)).is_err());
        self.segments = vec![merged];
        self.saved = false;
        self.save_if_wanted();
        let after = std::fs::metadata(&path)?.len();
        let bytes_reclaimed = before.saturating_sub(after);
        Ok(Compacted { segments_removed: rest.len(), bytes_reclaimed })
    }

    fn merged_header(&self, id: u64) -> Result<Vec<u8>, StoreError> {
        let now = super::store::now_us().saturating_mul(1000);
        segment::header(id, now, self.segments.first().copied())
    }

    /// Writes all events to a file, as the segment `id`; returns the place of each.
    fn merge(&self, id: u64, file: &File) -> Result<Vec<At>, StoreError> {
        let mut out = BufWriter::with_capacity(CHUNK, file);
        let mut entries = self.index.entries.clone();
        let header = self.merged_header(id)?;
        out.write_all(&header)?;
        let mut offset = header.len() as u64;
        let mut source: (u64, Vec<u8>) = (0, Vec::new());
        for entry in &mut entries {
            if source.0 != entry.at.segment {
                source = (entry.at.segment, std::fs::read(self.place.segment(entry.at.segment))?);
            }
            out.write_all(frame_at(&source.1, entry)?)?;
            entry.at = At { segment: id, offset, length: entry.at.length };
            offset = entry.at.end();
        }
        let text = |number| self.index.interner.text(number);
        let rows = entries.iter().map(|entry| (entry, text(entry.entity), text(entry.scope)));
        out.write_all(&footer::encode(offset, rows)?)?;
        out.flush()?;
        Ok(entries.iter().map(|entry| entry.at).collect())
    }

    /// The planted B4a: the segment is moved away before the merged one is written.
    fn merge_in_place(&mut self, id: u64) -> Result<Vec<At>, StoreError> {
        let (path, moved) = (self.place.segment(id), self.place.moved_away(id));
        let _ = remove(&moved);
        let temp = self.place.create_temp(&path)?;
        let places = self.merge(id, &temp)?;
        self.place.remove_temp(&path);
        std::fs::rename(&path, &moved)?;
        let mut merged = File::create_new(&path)?;
        let mut copied = temp;
        io::Seek::rewind(&mut copied)?;
        io::copy(&mut copied, &mut merged)?;
        merged.sync_all()?;
        let _ = remove(&moved);
        Ok(places)
    }

    /// The planted B4e: whole segments are copied, torn tails included. The live index looks right.
    fn merge_raw(&self, id: u64, file: &File) -> Result<Option<Vec<At>>, StoreError> {
        let mut out = self.merged_header(id)?;
        let mut entries = self.index.entries.clone();
        for segment in &self.segments {
            let data = std::fs::read(self.place.segment(*segment))?;
            let whole =
                segment::Segment { id: *segment, data: &data, last: true, bugs: self.config.bugs };
            let Some(header) = whole.header_len()? else { continue };
            let end = footer::start(&data, data.len() as u64).map_or(data.len(), |at| at as usize);
            let shift = out.len() as u64;
            out.extend_from_slice(&data[header..end]);
            for entry in entries.iter_mut().filter(|entry| entry.at.segment == *segment) {
                entry.at.offset = entry.at.offset - header as u64 + shift;
            }
        }
        let mut file = file;
        file.write_all(&out)?;
        let place = |entry: &Entry| At { segment: id, ..entry.at };
        Ok(Some(entries.iter().map(place).collect()))
    }
}

/// An event's frame; its checksum must match.
fn frame_at<'a>(data: &'a [u8], entry: &Entry) -> Result<&'a [u8], StoreError> {
    let (start, end) = (entry.at.offset as usize, entry.at.end() as usize);
    let frame = data.get(start..end).filter(|frame| frame::body(frame).is_ok());
    frame.ok_or_else(|| StoreError::Corrupt {
        segment: entry.at.segment,
        offset: entry.at.offset,
        what: "an event does not read back".into(),
    })
}
