//! The history of a room: what has been said last, for those who ask with `/last`.
//!
//! It keeps inputs as they were, at most so many lines and so many bytes of them; how they are shown is decided when
//! somebody asks. It is memory and nothing else: a private message never comes here.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::{memchr_iter, memrchr_iter};
use serde::{Deserialize, Serialize};

use crate::protocol::{Form, Kind, Said, Who};

/// Lines that somebody has said at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) who: Arc<Who>,
    #[serde(with = "micros")]
    pub(super) time: Timestamp,
    /// The number of the first line.
    pub(super) seq: u64,
    pub(super) lines: usize,
    /// Clean lines, each with its LF.
    #[serde(with = "serde_bytes")]
    pub(super) text: Vec<u8>,
}

impl Record {
    /// Returns whether what is said of its text is so.
    pub(super) fn is_sound(&self) -> bool {
        memchr_iter(b'\n', &self.text).count() == self.lines && self.text.ends_with(b"\n")
    }

    /// Only the last `lines` lines of it.
    fn last(&self, lines: usize) -> (u64, &[u8]) {
        let text = last(&self.text, lines);
        (self.seq + self.lines.saturating_sub(lines) as u64, text)
    }

    /// Its last lines in a form: at most so many, and at most so many bytes as they are shown. Returns how many, too.
    fn show(&self, room: &str, form: Form, lines: usize, bytes: usize) -> (usize, Vec<u8>) {
        let encode = |seq: u64, text: &[u8]| {
            let mut out = Vec::new();
            let Self { kind, who, time, .. } = self;
            form.said(&Said { kind: *kind, who, room, time: *time, seq, text }, &mut out);
            out
        };
        // What they certainly take, so that not much more is encoded than is shown.
        let least = encode(self.seq, b"\n").len();
        let lines = fitting(&self.text, lines.min(self.lines).min(bytes / least), bytes);
        let (seq, text) = self.last(lines);
        let encoded = encode(seq, text);
        let lines = fitting(&encoded, lines, bytes);
        (lines, last(&encoded, lines).to_vec())
    }
}

/// A time as microseconds since 1970.
mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        time.as_microsecond().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_microsecond(i64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// How many of the last `lines` lines have `bytes` at most.
fn fitting(text: &[u8], lines: usize, bytes: usize) -> usize {
    let start = text.len().saturating_sub(bytes);
    let fits = memchr_iter(b'\n', &text[start..]).count();
    // The first of those may have begun before that.
    lines.min(fits.saturating_sub(usize::from(start > 0 && text[start - 1] != b'\n')))
}

/// The last `lines` lines.
fn last(text: &[u8], lines: usize) -> &[u8] {
    // The LF before the first of them.
    let start = memrchr_iter(b'\n', text).nth(lines).map_or(0, |at| at + 1);
    &text[start..]
}

/// Most bytes that are shown at once, in the form in which they are: nobody can have much put aside by asking for it.
const SHOWN_BYTES: usize = 64 * 1024;

/// What has been said last in a room.
#[derive(Debug)]
pub(super) struct History {
    records: VecDeque<Record>,
    lines: usize,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

impl History {
    /// Keeps at least the last `max_lines` lines, unless they have more than `max_bytes`.
    pub(super) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { records: VecDeque::new(), lines: 0, bytes: 0, max_lines, max_bytes }
    }

    /// How much memory it uses, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.records.len() * size_of::<Record>()
    }

    /// Gives up half of what is kept, for want of memory.
    pub(super) fn shrink(&mut self) {
        for record in self.records.drain(..self.records.len().div_ceil(2)) {
            self.lines -= record.lines;
            self.bytes -= record.text.len();
        }
        self.records.shrink_to_fit();
    }

    /// All that is kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    pub(super) fn push(&mut self, mut record: Record) {
        if self.max_lines == 0 {
            return;
        }
        if record.lines > self.max_lines {
            let (seq, text) = record.last(self.max_lines);
            record = Record { seq, lines: self.max_lines, text: text.to_vec(), ..record };
        }
        self.lines += record.lines;
        self.bytes += record.text.len();
        self.records.push_back(record);
        while let Some(first) = self.records.front()
            && (self.lines - first.lines >= self.max_lines || self.bytes > self.max_bytes)
        {
            self.lines -= first.lines;
            self.bytes -= first.text.len();
            self.records.pop_front();
        }
    }

    /// Appends up to `most` of the last lines in a form, oldest first, but for those of sessions that `is_shown` does
    /// not name; says how many. Of lines with more than [`SHOWN_BYTES`] only the last.
    pub(super) fn show(
        &self,
        most: usize,
        room: &str,
        form: Form,
        is_shown: impl Fn(u64) -> bool,
        out: &mut Vec<u8>,
    ) -> usize {
        let (mut left, mut bytes) = (most.min(self.max_lines), SHOWN_BYTES);
        let mut chosen = Vec::new();
        for record in self.records.iter().rev().filter(|record| is_shown(record.who.id)) {
            let (lines, shown) = record.show(room, form, left, bytes);
            left -= lines;
            bytes -= shown.len();
            chosen.push(shown);
            if lines < record.lines {
                break;
            }
        }
        out.extend(chosen.into_iter().rev().flatten());
        most.min(self.max_lines) - left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Name;

    fn push(history: &mut History, seq: u64, text: &str) {
        let who = Arc::new(Who { id: 1, name: Name::parse("ann").unwrap(), verified: false });
        let lines = text.matches('\n').count();
        let text = text.as_bytes().to_vec();
        history.push(Record { kind: Kind::Message, who, time: Timestamp::UNIX_EPOCH, seq, lines, text });
    }

    fn last(history: &History, most: usize) -> String {
        let mut out = Vec::new();
        let shown = history.show(most, "main", Form::PLAIN, |_| true, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), shown);
        text
    }

    #[test]
    fn the_last_lines_are_shown_oldest_first() {
        let mut history = History::new(4, 1000);
        assert_eq!(last(&history, 3), "");
        push(&mut history, 1, "a\nb\n");
        push(&mut history, 3, "c\n");
        assert_eq!(last(&history, 2), "b\nc\n");
        assert_eq!(last(&history, usize::MAX), "a\nb\nc\n");
        push(&mut history, 4, "d\ne\n\n");
        assert_eq!(last(&history, 100), "c\nd\ne\n\n");
        assert_eq!(last(&history, 2), "e\n\n");
        assert_eq!(last(&history, 0), "");
    }

    #[test]
    fn what_is_shown_at_once_is_bounded_and_leaves_out_whom_one_ignores() {
        let mut history = History::new(100_000, 1 << 20);
        for number in 0..10 {
            push(&mut history, number, &"0123456789abcde\n".repeat(1000)[..16_000 - 16 * number as usize]);
        }
        let shown = last(&history, usize::MAX);
        assert!(shown.len() <= SHOWN_BYTES && shown.len() > SHOWN_BYTES - 16, "{}", shown.len());
        assert_eq!(history.show(9, "main", Form::PLAIN, |from| from != 1, &mut Vec::new()), 0);
        let mut history = History::new(4, 1 << 20);
        push(&mut history, 1, &format!("{}\n", "x".repeat(SHOWN_BYTES)));
        push(&mut history, 2, "short\n");
        assert_eq!(last(&history, 9), "short\n", "the other does not fit");
    }

    #[test]
    fn what_is_shown_at_once_is_bounded_as_it_is_shown() {
        let mut history = History::new(100_000, 1 << 20);
        (0..50).for_each(|number| push(&mut history, 1000 * number + 1, &"x\n".repeat(1000)));
        for form in Form::ALL {
            let mut out = Vec::new();
            let lines = history.show(usize::MAX, "main", form, |_| true, &mut out);
            let length = out.len() / lines;
            assert_eq!(memchr_iter(b'\n', &out).count(), lines);
            assert!(
                out.len() <= SHOWN_BYTES && out.len() + 2 * length > SHOWN_BYTES,
                "{form:?}: {}",
                out.len()
            );
        }
    }

    #[test]
    fn it_keeps_no_more_than_it_may() {
        let mut history = History::new(3, 8);
        push(&mut history, 1, "1\n2\n3\n4\n5\n");
        assert_eq!(last(&history, 9), "3\n4\n5\n");
        push(&mut history, 6, "long\n");
        assert_eq!(last(&history, 9), "long\n", "eight bytes");
        push(&mut history, 7, "too long\n");
        assert_eq!(last(&history, 9), "");
        let mut off = History::new(0, 8);
        push(&mut off, 1, "a\n");
        assert_eq!(last(&off, 9), "");
    }
}
