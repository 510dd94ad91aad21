//! Where everything is in the file of a crash table. Offsets and sizes are in words of 8 bytes, if not in `..._BYTES`.
//!
//! The file is a page of header, the notes, then blocks of 128 slots. A block is a page of slots, their records, their
//! ignored lists, and their secrets. So the file can grow when the limit of descriptors does.

use std::ops::Range;

use crate::net::tls::SECRETS_BYTES;

/// The longest record of a session, in bytes.
pub const RECORD_BYTES: usize = 320;
/// The longest ignored list of a session, in bytes.
pub const IGNORED_BYTES: usize = 808;
/// The longest text of a note, in bytes.
pub const NOTE_BYTES: usize = 168;
/// The most notes.
pub const MAX_NOTES: usize = 20_000;
/// Descriptors from this number on have no slot.
pub const MAX_DESCRIPTORS: usize = 1 << 20;

/// The words of the header: [`MAGIC`], [`GEOMETRY`], the next session number, the takeovers in a row that did not finish,
/// and when chatd stops, in seconds since 1970 (0 if nobody has said so).
pub(super) const MAGIC_AT: usize = 0;
pub(super) const GEOMETRY_AT: usize = 1;
pub(super) const NEXT_AT: usize = 2;
pub(super) const ATTEMPTS_AT: usize = 3;
pub(super) const STOP_AT: usize = 4;

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"table 1\n");
/// A process with other limits has another one.
pub(super) const GEOMETRY: u64 = (BLOCK as u64) << 32 | BLOCKS as u64;

/// The words of a slot: its session (0 if it is free), both marks (0 if not set), and the state, which says of each entry
/// which copy is in force (1, 2, or 0 for none).
pub(super) const OWNER: usize = 0;
pub(super) const STATE: usize = 3;
const SLOT: usize = 4;

const BLOCK_SLOTS: usize = 128;
pub(super) const PAGE: usize = SLOT * BLOCK_SLOTS;
const BLOCK: usize = SECRETS.end().next_multiple_of(PAGE);
const BLOCKS: usize = (PAGE + MAX_NOTES * NOTE).next_multiple_of(PAGE);

/// The words of an entry before its bytes: a number (of the session, of the note) and the check of the bytes.
pub(super) const ENTRY_HEAD: usize = 2;
const NOTE: usize = ENTRY_HEAD + NOTE_BYTES / 8;
pub(super) const RECORD: Column = Column { start: PAGE, most_bytes: RECORD_BYTES, shift: 0 };
pub(super) const IGNORED: Column = Column { start: RECORD.end(), most_bytes: IGNORED_BYTES, shift: 2 };

pub(super) const SECRETS: Column = Column { start: IGNORED.end(), most_bytes: SECRETS_BYTES, shift: 4 };

/// The entries of one kind, two copies for each slot of a block.
pub(super) struct Column {
    /// Where in the block.
    start: usize,
    /// The longest entry, in bytes.
    pub(super) most_bytes: usize,
    /// Where in the state of the slot it says which copy is in force: two bits.
    pub(super) shift: u32,
}

impl Column {
    const fn size(&self) -> usize {
        ENTRY_HEAD + self.most_bytes / 8
    }

    const fn end(&self) -> usize {
        self.start + 2 * BLOCK_SLOTS * self.size()
    }

    /// Returns where both copies of a slot's entry are.
    pub(super) fn copies(&self, slot: usize) -> [Range<usize>; 2] {
        let start = page_of(slot).start + self.start + 2 * (slot % BLOCK_SLOTS) * self.size();
        [0, self.size()].map(|at| start + at..start + at + self.size())
    }
}

/// Returns how many words a file with at least that many slots has.
pub(super) fn length_for(slots: usize) -> usize {
    BLOCKS + slots.div_ceil(BLOCK_SLOTS) * BLOCK
}

/// Returns how many slots there are in a file of that many words.
pub(super) fn slots_in(length: usize) -> usize {
    length.saturating_sub(BLOCKS) / BLOCK * BLOCK_SLOTS
}

pub(super) fn slot_at(slot: usize) -> Range<usize> {
    let start = page_of(slot).start + slot % BLOCK_SLOTS * SLOT;
    start..start + SLOT
}

/// Returns the pages with slots in a file of that many words.
pub(super) fn pages_in(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..slots_in(length)).step_by(BLOCK_SLOTS).map(page_of)
}

/// Returns the page that a slot is in.
fn page_of(slot: usize) -> Range<usize> {
    let start = BLOCKS + slot / BLOCK_SLOTS * BLOCK;
    start..start + PAGE
}

pub(super) fn note_at(index: usize) -> Range<usize> {
    let start = PAGE + index * NOTE;
    start..start + NOTE
}
