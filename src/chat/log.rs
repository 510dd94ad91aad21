//! The log of a room: its recent lines in one form, in order, as they go out on the wire.
//!
//! A log is a ring of bytes, and the *stretches*: runs of bytes that came from one session. The ring grows with the
//! bytes that some member has yet to get, up to a limit. The log frees it when everybody has everything. A reader costs
//! the log nothing, however far behind it is. The log never waits, and never decides which reader loses lines.

use std::collections::VecDeque;

use memmap2::MmapMut;
use serde::{Deserialize, Serialize};

use super::id::{Position, SessionId};

/// A stretch of the log: consecutive whole lines of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The position of its first line.
    pub start: Position,
    /// Number of lines that were appended to the log before it.
    pub first_line: u64,
    /// The sender.
    pub from: SessionId,
}

/// A log in a snapshot, from some stretch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LogSnapshot {
    tail: Position,
    lines: u64,
    stretches: Vec<Stretch>,
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
}

/// Most bytes to which a stretch grows by further lines of the same session. The log drops whole stretches, so this
/// bounds how much more than necessary it drops.
const MERGE_BYTES: u64 = 64 * 1024;

/// Bytes of capacity for each stretch. This bounds the index (24 bytes a stretch) to three eighths of the log, even if
/// all members send empty lines in turn.
const BYTES_PER_STRETCH: usize = 64;

/// Number of stretches that even the smallest log can have.
const MIN_STRETCHES: usize = 16;

/// Smallest ring, in bytes.
const MIN_RING: usize = 64 * 1024;

/// Largest ring, in bytes, that the log does not free when everybody has everything.
const KEPT_RING: usize = 512 * 1024;

/// The recent lines of a room.
#[derive(Debug)]
pub struct Log {
    /// Mapped memory (mmap(2)): an allocator would not give memory back to the system, and rooms come and go. `None`
    /// while empty.
    ring: Option<MmapMut>,
    /// Most bytes of the ring.
    capacity: usize,
    /// The position at the beginning of the ring.
    base: Position,
    tail: Position,
    head: Position,
    lines: u64,
    stretches: VecDeque<Stretch>,
}

impl Log {
    /// Returns an empty log of up to `capacity` bytes.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a log needs room for something");
        Self { ring: None, capacity, base: 0, tail: 0, head: 0, lines: 0, stretches: VecDeque::new() }
    }

    /// Returns what readers at `cursor`, or after it, have yet to get.
    pub(super) fn snapshot(&self, cursor: Position) -> LogSnapshot {
        let first = match cursor < self.head {
            true => self.stretch_after(cursor.max(self.tail)).saturating_sub(1),
            false => self.stretches.len(),
        };
        let stretches: Vec<Stretch> = self.stretches.iter().skip(first).copied().collect();
        let tail = stretches.first().map_or(self.head, |first| first.start);
        LogSnapshot { tail, lines: self.lines, stretches, text: self.bytes((tail, self.head)).concat() }
    }

    /// Restores a log, with another capacity. Returns `None` if the snapshot is damaged.
    pub(super) fn restore(snapshot: &LogSnapshot, capacity: usize) -> Option<Self> {
        let LogSnapshot { tail, lines, stretches, text } = snapshot;
        let head = tail.checked_add(text.len() as u64).filter(|head| *head < Position::MAX / 2)?;
        let is_ordered =
            stretches.is_sorted_by(|one, next| one.start < next.start && one.first_line < next.first_line);
        let first = stretches.first().map_or(head, |first| first.start);
        let ends = stretches.last().is_none_or(|last| last.start < head && last.first_line < *lines);
        let is_whole = text.last().is_none_or(|end| *end == b'\n');
        let counted = memchr::memchr_iter(b'\n', text).count() as u64;
        let are_counted =
            stretches.first().is_none_or(|first| first.first_line.checked_add(counted) == Some(*lines));
        if !is_ordered || first != *tail || !ends || !is_whole || !are_counted {
            return None;
        }
        let mut log = Self::new(capacity);
        (log.base, log.tail, log.head, log.lines) = (*tail, *tail, head, *lines);
        log.fit(0);
        if let Some(ring) = &mut log.ring {
            ring[..text.len()].copy_from_slice(text);
        }
        log.stretches.extend(stretches);
        Some(log)
    }

    /// Returns whether a cursor can be at this position.
    pub(super) fn has(&self, cursor: Position) -> bool {
        (self.tail..=self.head).contains(&cursor)
    }

    /// Returns the position of the oldest line in the log.
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// Returns the position of the next line.
    pub fn head(&self) -> Position {
        self.head
    }

    /// Returns the capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns its memory in bytes, the stretches included.
    pub fn memory(&self) -> usize {
        self.ring_len() + size_of::<Stretch>() * self.stretches.capacity()
    }

    fn ring_len(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.len())
    }

    /// Returns the tail after an append of `len` bytes. Bytes before that position would be lost.
    pub fn tail_after(&self, len: usize) -> Position {
        let end = self.head + len as u64;
        let must_go = end.saturating_sub(self.capacity as u64);
        let too_many = self.stretches.len() >= MIN_STRETCHES.max(self.capacity / BYTES_PER_STRETCH);
        let second = self.stretches.get(1).map_or(self.head, |stretch| stretch.start);
        let by_count = if too_many { second } else { self.tail };
        self.boundary_at_or_after(must_go.max(by_count))
    }

    /// Drops the stretches before `tail`, where a stretch must begin. Calls `gone` with each of them, and with the
    /// number of its lines.
    pub fn drop_before(&mut self, tail: Position, mut gone: impl FnMut(&Stretch, u64)) {
        while let Some(stretch) = self.stretches.front().copied().filter(|stretch| stretch.start < tail) {
            self.stretches.pop_front();
            let next_line = self.stretches.front().map_or(self.lines, |next| next.first_line);
            gone(&stretch, next_line - stretch.first_line);
        }
        self.tail = tail;
    }

    /// Drops everything, because everybody has it, and frees memory.
    pub fn clear(&mut self) {
        (self.base, self.tail) = (self.head, self.head);
        self.stretches.clear();
        if self.ring_len() > KEPT_RING {
            self.ring = None;
        }
        self.stretches.shrink_to(MIN_STRETCHES);
    }

    /// Frees the memory of dropped lines.
    pub fn compact(&mut self) {
        if self.needed(0) < self.ring_len() {
            self.remap(self.needed(0));
        }
        self.stretches.shrink_to_fit();
    }

    /// Appends whole lines. The caller must have dropped everything before [`Log::tail_after`]. Takes text that is
    /// longer than the capacity too: in the process before, lines may have been longer.
    pub fn append(&mut self, from: SessionId, text: &[u8], lines: u64) {
        let end = self.head + text.len() as u64;
        self.fit(text.len());
        let start = self.index(self.head);
        if let Some(ring) = &mut self.ring {
            let first = text.len().min(ring.len() - start);
            ring[start..start + first].copy_from_slice(&text[..first]);
            ring[..text.len() - first].copy_from_slice(&text[first..]);
        }
        let merges = |last: &&Stretch| last.from == from && end - last.start <= MERGE_BYTES;
        if self.stretches.back().filter(merges).is_none() {
            self.stretches.push_back(Stretch { start: self.head, first_line: self.lines, from });
        }
        self.lines += lines;
        self.head = end;
    }

    /// Returns the size of a ring for `len` more bytes.
    fn needed(&self, len: usize) -> usize {
        let bytes = (self.head - self.tail) as usize + len;
        let rounded = bytes.next_power_of_two().max(MIN_RING).min(self.capacity.max(MIN_RING));
        if bytes == 0 { 0 } else { rounded.max(bytes) }
    }

    /// Makes space for `len` more bytes.
    fn fit(&mut self, len: usize) {
        if (self.head - self.tail) as usize + len > self.ring_len() {
            self.remap(self.needed(len));
        }
    }

    /// Moves the log to a ring of another size.
    fn remap(&mut self, size: usize) {
        let mut ring = (size > 0).then(|| {
            MmapMut::map_anon(size)
                .expect("without memory for a log there is no room, as without any other memory")
        });
        let mut at = 0;
        for slice in self.bytes((self.tail, self.head)) {
            if let Some(ring) = &mut ring {
                ring[at..at + slice.len()].copy_from_slice(slice);
            }
            at += slice.len();
        }
        (self.ring, self.base) = (ring, self.tail);
    }

    /// Returns the pieces between `cursor` and `stop`, in order, without the stretches of sessions for which `hides` is
    /// true. `hidden_end` is the end of the last such stretch: after it, nothing needs to be looked up.
    pub fn pieces<F: Fn(SessionId) -> bool>(
        &self,
        cursor: Position,
        stop: Position,
        hides: F,
        hidden_end: Position,
    ) -> Pieces<'_, F> {
        debug_assert!(self.tail <= cursor && stop <= self.head);
        let here = || self.stretch_after(cursor).saturating_sub(1);
        let next = if hidden_end <= cursor { self.stretches.len() } else { here() };
        Pieces { log: self, at: cursor, stop, hides, hidden_end, next }
    }

    /// Returns the bytes of a piece: two slices, since it may go over the end of the ring.
    pub fn bytes(&self, piece: (Position, Position)) -> [&[u8]; 2] {
        let Some(ring) = &self.ring else { return [&[], &[]] };
        let len = (piece.1 - piece.0) as usize;
        let start = self.index(piece.0);
        let first = len.min(ring.len() - start);
        [&ring[start..start + first], &ring[..len - first]]
    }

    /// Returns the byte at a position, which must be in the log.
    fn byte(&self, at: Position) -> Option<u8> {
        self.ring.as_ref()?.get(self.index(at)).copied()
    }

    /// Returns the rest of the line that `cursor` is in; nothing if a line begins at `cursor`.
    pub fn rest_of_line(&self, cursor: Position) -> Vec<u8> {
        let begins = self.stretches.binary_search_by_key(&cursor, |stretch| stretch.start).is_ok();
        if begins || cursor >= self.head || cursor <= self.tail {
            return Vec::new();
        }
        if self.byte(cursor - 1) == Some(b'\n') {
            return Vec::new();
        }
        let mut rest = Vec::new();
        for slice in self.bytes((cursor, self.head)) {
            let end = memchr::memchr(b'\n', slice);
            rest.extend_from_slice(&slice[..end.map_or(slice.len(), |at| at + 1)]);
            if end.is_some() {
                break;
            }
        }
        rest
    }

    /// Returns whether a line ends at `cursor`, which must be in the log.
    pub(super) fn ends_line(&self, cursor: Position) -> bool {
        cursor <= self.tail || self.byte(cursor - 1) == Some(b'\n')
    }

    /// Returns the number of lines that begin before `cursor`, since the log began.
    pub(super) fn line_at(&self, cursor: Position) -> u64 {
        if cursor >= self.head {
            return self.lines;
        }
        let Some(stretch) = self.stretch_after(cursor).checked_sub(1).map(|at| self.stretches[at]) else {
            return self.stretches.front().map_or(self.lines, |first| first.first_line);
        };
        let before = self.bytes((stretch.start, cursor));
        let ended: usize = before.iter().map(|slice| memchr::memchr_iter(b'\n', slice).count()).sum();
        let inside = cursor > stretch.start && self.byte(cursor - 1) != Some(b'\n');
        stretch.first_line + ended as u64 + u64::from(inside)
    }

    /// Returns the number of lines after `cursor` in the stretch that it is in, if that is of session `from`; otherwise
    /// 0. The session has sent more since its cursor went over its own lines.
    pub(super) fn own_lines_at(&self, cursor: Position, from: SessionId) -> u64 {
        let next = self.stretch_after(cursor);
        let here = next.checked_sub(1).map(|at| self.stretches[at]);
        let end = self.stretches.get(next).map_or(self.lines, |stretch| stretch.first_line);
        let is_inside = here.is_some_and(|stretch| stretch.from == from && stretch.start < cursor);
        if is_inside { end.saturating_sub(self.line_at(cursor)) } else { 0 }
    }

    /// Returns the index of the first stretch that begins after `at`.
    fn stretch_after(&self, at: Position) -> usize {
        self.stretches.partition_point(|stretch| stretch.start <= at)
    }

    pub(super) fn boundary_at_or_after(&self, at: Position) -> Position {
        let next = self.stretches.partition_point(|stretch| stretch.start < at);
        if at <= self.tail { self.tail } else { self.stretches.get(next).map_or(self.head, |s| s.start) }
    }

    fn index(&self, at: Position) -> usize {
        ((at - self.base) % self.ring_len().max(1) as u64) as usize
    }
}

/// An iterator over the pieces of the log that a reader has yet to get; see [`Log::pieces`].
pub struct Pieces<'a, F> {
    log: &'a Log,
    at: Position,
    stop: Position,
    hides: F,
    hidden_end: Position,
    next: usize,
}

impl<F: Fn(SessionId) -> bool> Pieces<'_, F> {
    /// Returns the end of stretch number `index`.
    fn end_of(&self, index: usize) -> Position {
        self.log.stretches.get(index + 1).map_or(self.log.head, |next| next.start)
    }

    /// Returns the position of the next piece. After the last piece that is the stop, or the end of the hidden stretch
    /// that the stop is in: no cursor stays within a line that its reader does not get.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    fn is_hidden(&self, index: usize) -> bool {
        self.log.stretches.get(index).is_some_and(|stretch| (self.hides)(stretch.from))
    }
}

impl<F: Fn(SessionId) -> bool> Iterator for Pieces<'_, F> {
    type Item = (Position, Position);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.stop && self.at < self.hidden_end && self.is_hidden(self.next) {
            self.at = self.end_of(self.next);
            self.next += 1;
        }
        let start = self.at;
        while self.at < self.hidden_end && self.at < self.stop && !self.is_hidden(self.next) {
            self.at = self.end_of(self.next);
            self.next += 1;
        }
        // A piece that is not hidden ends at the stop, however long its stretch is.
        self.at =
            if self.at >= self.hidden_end { self.stop.max(start) } else { self.at.min(self.stop.max(start)) };
        let piece = (start, self.at.min(self.stop));
        (piece.0 < piece.1).then_some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SessionId = SessionId(1);
    const BEN: SessionId = SessionId(2);
    const EVE: SessionId = SessionId(3);

    fn say(log: &mut Log, from: SessionId, text: &str) {
        log.drop_before(log.tail_after(text.len()), |_, _| {});
        log.append(from, text.as_bytes(), text.matches('\n').count() as u64);
    }

    fn own_end(log: &Log, reader: SessionId) -> Position {
        let last = log.stretches.iter().rposition(|stretch| stretch.from == reader);
        last.map_or(0, |at| log.stretches.get(at + 1).map_or(log.head, |next| next.start))
    }

    fn heard(log: &Log, cursor: Position, reader: SessionId) -> String {
        let pieces = log.pieces(cursor, log.head(), |from| from == reader, own_end(log, reader));
        let bytes: Vec<u8> = pieces.flat_map(|piece| log.bytes(piece).concat()).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_reader_gets_what_others_said_and_not_its_own() {
        let mut log = Log::new(1000);
        for (from, text) in
            [(ANN, "a\n"), (BEN, "b\n"), (ANN, "aa\n"), (EVE, "e\n"), (BEN, "bb\n"), (BEN, "B\n")]
        {
            say(&mut log, from, text);
        }
        assert_eq!(heard(&log, 0, ANN), "b\ne\nbb\nB\n");
        assert_eq!(heard(&log, 0, BEN), "a\naa\ne\n");
        assert_eq!(heard(&log, 0, SessionId(9)), "a\nb\naa\ne\nbb\nB\n");
        assert_eq!(heard(&log, 5, BEN), "a\ne\n", "from the middle of a stretch");
        assert_eq!(heard(&log, log.head(), ANN), "");
    }

    #[test]
    fn a_log_in_which_nothing_has_been_said_has_nothing_for_one_who_ignores_somebody() {
        let mut log = Log::new(1000);
        assert_eq!(log.pieces(0, 0, |from| from == BEN, Position::MAX).count(), 0);
        say(&mut log, BEN, "b\n");
        assert_eq!(log.pieces(0, 2, |from| from == BEN, Position::MAX).count(), 0);
        say(&mut log, EVE, "e\n");
        assert_eq!(log.pieces(0, 4, |from| from == BEN, Position::MAX).collect::<Vec<_>>(), [(2, 4)]);
    }

    #[test]
    fn pieces_end_where_they_are_to_end_inside_of_a_stretch_too() {
        let mut log = Log::new(1000);
        for (from, text) in [(ANN, "a\n"), (BEN, "b\n"), (BEN, "bb\n"), (ANN, "aa\n")] {
            say(&mut log, from, text);
        }
        let mut pieces = log.pieces(0, 4, |from| from == ANN, Position::MAX);
        assert_eq!((pieces.next(), pieces.next(), pieces.at()), (Some((2, 4)), None, 4));
        let mut pieces = log.pieces(4, 8, |from| from == ANN, Position::MAX);
        assert_eq!(
            (pieces.next(), pieces.next(), pieces.at()),
            (Some((4, 7)), None, 10),
            "over what is hidden"
        );
    }

    #[test]
    fn the_ring_goes_round_and_keeps_whole_stretches() {
        let mut log = Log::new(64);
        for number in 0..100 {
            let from = if number % 2 == 0 { ANN } else { BEN };
            say(&mut log, from, &format!("line {number:03}\n"));
            let all = heard(&log, log.tail(), EVE);
            assert!(
                all.len() <= 64 && all.starts_with("line ") && all.ends_with(&format!("{number:03}\n")),
                "{all}"
            );
        }
        assert_eq!(log.line_at(log.head()), 100);
    }

    #[test]
    fn lines_are_counted_at_any_cursor() {
        let mut log = Log::new(32);
        for number in 0..20 {
            say(&mut log, SessionId(number), &format!("{number:02}\nxy\n"));
        }
        assert_eq!(log.line_at(log.head()), 40);
        assert_eq!(log.line_at(log.head() - 3), 39, "where a line begins it has not begun yet");
        assert_eq!(log.line_at(log.head() - 2), 40, "inside it, it has");
        assert_eq!(log.line_at(log.tail()), 40 - (log.head() - log.tail()) / 3);
    }

    #[test]
    fn the_rest_of_a_half_written_line_is_found_even_over_the_end_of_the_ring() {
        let mut log = Log::new(32);
        say(&mut log, ANN, "0123456789012345678901234\n");
        say(&mut log, BEN, "abcdefghij\nk\n");
        assert_eq!(log.tail(), 26);
        assert_eq!(log.rest_of_line(26), b"");
        assert_eq!(log.rest_of_line(27), b"bcdefghij\n");
        assert_eq!(log.rest_of_line(37), b"");
        assert_eq!(log.rest_of_line(38), b"\n");
        assert_eq!(log.rest_of_line(39), b"");
    }

    #[test]
    fn what_is_evicted_is_shown_with_its_lines() {
        let mut log = Log::new(16);
        say(&mut log, ANN, "a\nb\n");
        say(&mut log, BEN, "c\n");
        let mut gone = Vec::new();
        log.drop_before(log.tail_after(12), |stretch, lines| gone.push((stretch.from, lines)));
        assert_eq!(gone, [(ANN, 2)]);
        log.drop_before(log.tail_after(16), |stretch, lines| gone.push((stretch.from, lines)));
        assert_eq!(gone, [(ANN, 2), (BEN, 1)]);
        assert_eq!(log.tail(), log.head());
    }

    #[test]
    fn many_tiny_stretches_do_not_grow_the_index_without_bound() {
        let mut log = Log::new(64 * 20);
        for number in 0..1000 {
            say(&mut log, SessionId(number), "\n");
        }
        assert!(log.stretches.len() <= 20, "{}", log.stretches.len());
        assert_eq!(log.line_at(log.tail()), 980);
    }
}
