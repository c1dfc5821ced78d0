//! The blocks that one change of a file touches.

use super::block::Difference;
use super::content::{Content, PAGE};
use super::profile::PieceClass;

/// The part of a write, or of a range that becomes zeros, that is in one block.
pub(super) struct BlockPart {
    pub(super) block: u64,
    pub(super) start: u16,
    pub(super) end: u16,
    pub(super) class: PieceClass,
    /// Whether the call continues after the block.
    pub(super) goes_on: bool,
    /// `None`: the page is shared whole.
    pub(super) difference: Option<Difference>,
}

/// The blocks that a write touches.
pub(super) fn written(content: &Content, offset: u64, bytes: &[u8]) -> Vec<BlockPart> {
    let page = PAGE as u64;
    let blocks_in_file = content.size().div_ceil(page);
    let mut parts = Vec::new();
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let (block, start) = (at / page, (at % page) as usize);
        let length = (PAGE - start).min(bytes.len() - done);
        let old = content.page(block);
        let class = match old {
            Some(_) => PieceClass::Overwrite,
            None if block < blocks_in_file => PieceClass::Fill,
            None => PieceClass::Extend,
        };
        let difference = Difference::of(old, start, &bytes[done..done + length]);
        let (start, end) = (start as u16, (start + length) as u16);
        done += length;
        let goes_on = done < bytes.len();
        parts.push(BlockPart { block, start, end, class, goes_on, difference });
    }
    parts
}

/// The rest of the last block, if a write begins after it and so skips it.
pub(super) fn skipped(content: &Content, offset: u64) -> Vec<BlockPart> {
    let (size, page) = (content.size(), PAGE as u64);
    let end = size.next_multiple_of(page);
    if end > offset { Vec::new() } else { zeroed(content, size, end) }
}

/// The written blocks that a range of zeros touches.
pub(super) fn zeroed(content: &Content, from: u64, to: u64) -> Vec<BlockPart> {
    let page = PAGE as u64;
    let part = |block: u64| {
        let start = from.saturating_sub(block * page) as u16;
        let end = (to - block * page).min(page) as u16;
        let whole = usize::from(end - start) == PAGE;
        let class = if whole { PieceClass::Hole } else { PieceClass::Zero };
        let difference = (!whole).then_some(Difference::Zeros(start, end));
        BlockPart { block, start, end, class, goes_on: false, difference }
    };
    content.pages_between(from / page, to.div_ceil(page)).into_iter().map(part).collect()
}
