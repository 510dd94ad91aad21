//! The history of a room: its last lines, for `/last`.
//!
//! The history stores lines as they came, up to a number of lines and of bytes, and encodes them when a member asks. It
//! is in memory only; with an archive, `recall` brings it back. Private messages never get here.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::{memchr_iter, memmem, memrchr_iter};
use serde::{Deserialize, Serialize};

use crate::protocol::{Form, Kind, Said, Who};

/// Consecutive lines of one member, which the room took together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) who: Arc<Who>,
    #[serde(with = "micros")]
    pub(super) time: Timestamp,
    /// The number of the first line in the room.
    pub(super) seq: u64,
    pub(super) lines: usize,
    /// Clean lines, each with its LF.
    #[serde(with = "serde_bytes")]
    pub(super) text: Vec<u8>,
}

impl Record {
    /// Returns whether the numbers of a restored record fit its text.
    pub(super) fn is_sound(&self) -> bool {
        self.seq > 0 && memchr_iter(b'\n', &self.text).count() == self.lines && self.text.ends_with(b"\n")
    }

    /// Returns its lines, each with its LF, and their numbers.
    fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.seq..).zip(self.text.split_inclusive(|byte| *byte == b'\n'))
    }

    /// Returns some of its lines, ready to encode. `seq` is the number of the first.
    fn said<'a>(&'a self, room: &'a str, seq: u64, text: &'a [u8]) -> Said<'a> {
        Said { kind: self.kind, who: &self.who, room, time: self.time, seq, text }
    }

    /// Returns its lines that contain the pattern, each as a record, the last first. Without a pattern, returns the
    /// whole record.
    fn matching(&self, pattern: Option<&Pattern>) -> Vec<Cow<'_, Self>> {
        let Some(pattern) = pattern else { return vec![Cow::Borrowed(self)] };
        if !pattern.is_in(&self.text) {
            return Vec::new();
        }
        let record = |(seq, line): (u64, &[u8])| {
            let (who, text) = (Arc::clone(&self.who), line.to_vec());
            Cow::Owned(Self { seq, who, lines: 1, text, ..*self })
        };
        let found = self.lines().filter(|(_, line)| pattern.is_in(line)).map(record);
        let mut found: Vec<_> = found.collect();
        found.reverse();
        found
    }

    /// Returns its last `lines` lines, and the number of the first of them.
    fn last(&self, lines: usize) -> (u64, &[u8]) {
        let text = last(&self.text, lines);
        (self.seq + self.lines.saturating_sub(lines) as u64, text)
    }

    /// Encodes its last lines in a form: at most `lines` lines and `bytes` encoded bytes. Returns the number of lines,
    /// and the bytes.
    fn show(&self, room: &str, form: Form, lines: usize, bytes: usize) -> (usize, Vec<u8>) {
        let encode = |seq: u64, text: &[u8]| {
            let mut out = Vec::new();
            form.said(&self.said(room, seq, text), &mut out);
            out
        };
        // A lower bound of the encoded size, so as not to encode much more than is shown.
        let least = encode(self.seq, b"\n").len();
        let lines = fitting(&self.text, lines.min(self.lines).min(bytes / least), bytes);
        let (seq, text) = self.last(lines);
        let encoded = encode(seq, text);
        let lines = fitting(&encoded, lines, bytes);
        (lines, last(&encoded, lines).to_vec())
    }
}

/// Stores a time as microseconds since 1970.
pub(super) mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::chat) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        time.as_microsecond().serialize(to)
    }

    pub(in crate::chat) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_microsecond(i64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// Returns how many of the last `lines` lines have at most `bytes` bytes together.
fn fitting(text: &[u8], lines: usize, bytes: usize) -> usize {
    let start = text.len().saturating_sub(bytes);
    let fits = memchr_iter(b'\n', &text[start..]).count();
    // The first of these lines may begin before `start`.
    lines.min(fits.saturating_sub(usize::from(start > 0 && text[start - 1] != b'\n')))
}

/// Returns the last `lines` lines.
fn last(text: &[u8], lines: usize) -> &[u8] {
    // The LF before the first of them.
    let start = memrchr_iter(b'\n', text).nth(lines).map_or(0, |at| at + 1);
    &text[start..]
}

/// A text to find, in upper or lower case.
struct Pattern {
    finder: memmem::Finder<'static>,
    is_ascii: bool,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let finder = memmem::Finder::new(&lowercase(text)).into_owned();
        Self { finder, is_ascii: text.is_ascii() }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        if self.is_ascii {
            // Many times as fast.
            return self.finder.find(&text.to_ascii_lowercase()).is_some();
        }
        self.finder.find(lowercase(&String::from_utf8_lossy(text)).as_bytes()).is_some()
    }
}

/// Each character in lower case, whatever stands beside it.
fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Most bytes of one answer to `/last`, encoded: what a member asks for and does not read must not take much memory.
const SHOWN_BYTES: usize = 64 * 1024;

/// The last lines of a room.
#[derive(Debug)]
pub(super) struct History {
    records: VecDeque<Record>,
    lines: usize,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

impl History {
    /// Returns an empty history. It stores at least the last `max_lines` lines, unless they have more than `max_bytes`
    /// bytes, and nothing if `max_lines` is 0.
    pub(super) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { records: VecDeque::new(), lines: 0, bytes: 0, max_lines, max_bytes }
    }

    /// Returns its memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.records.len() * size_of::<Record>()
    }

    /// Drops the older half of the records, to free memory.
    pub(super) fn shrink(&mut self) {
        for record in self.records.drain(..self.records.len().div_ceil(2)) {
            self.lines -= record.lines;
            self.bytes -= record.text.len();
        }
        self.records.shrink_to_fit();
    }

    /// Removes all records, and returns them, oldest first.
    pub(super) fn take(&mut self) -> Vec<Record> {
        (self.lines, self.bytes) = (0, 0);
        std::mem::take(&mut self.records).into()
    }

    /// Drops the lines after number `seq`.
    pub(super) fn cut_after(&mut self, seq: u64) {
        for mut record in self.take() {
            let kept = (seq + 1).saturating_sub(record.seq).min(record.lines as u64) as usize;
            let end = kept.checked_sub(1).and_then(|last| memchr_iter(b'\n', &record.text).nth(last));
            if let Some(end) = end {
                record.text.truncate(end + 1);
                record.lines = kept;
                self.push(record);
            }
        }
    }

    /// Returns all records, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Adds a record, and drops the oldest ones that are too many. Stores only the last `max_lines` lines of a longer
    /// record.
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

    /// Returns the number of the oldest stored line; `None` if there is none.
    pub(super) fn first(&self) -> Option<u64> {
        self.records.front().map(|record| record.seq)
    }

    /// Appends up to `most` of the last lines in a form, oldest first, and at most [`SHOWN_BYTES`] of them. Leaves out
    /// the lines of sessions for which `is_shown` is false, and those that do not contain `pattern`, in upper or lower
    /// case. Returns the number of lines.
    pub(super) fn last(
        &self,
        most: usize,
        pattern: Option<&str>,
        room: &str,
        form: Form,
        is_shown: impl Fn(u64) -> bool,
        out: &mut Vec<u8>,
    ) -> usize {
        let (mut left, mut bytes) = (most.min(self.max_lines), SHOWN_BYTES);
        let mut chosen = Vec::new();
        let pattern = pattern.map(Pattern::new);
        let records = self.records.iter().rev().filter(|record| is_shown(record.who.id));
        for record in records.flat_map(|record| record.matching(pattern.as_ref())) {
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

    /// Appends the lines after number `since` in a form, oldest first, up to [`SHOWN_BYTES`], but at least one. Leaves
    /// out the lines of sessions for which `is_shown` is false. Returns the number of lines, and the number of stored
    /// lines after them.
    pub(super) fn since(
        &self,
        since: u64,
        room: &str,
        form: Form,
        is_shown: impl Fn(u64) -> bool,
        out: &mut Vec<u8>,
    ) -> (usize, u64) {
        let (start, mut lines, mut more) = (out.len(), 0, 0);
        let first = self.records.partition_point(|record| record.seq + record.lines as u64 <= since + 1);
        for record in self.records.range(first..).filter(|record| is_shown(record.who.id)) {
            if more > 0 {
                more += record.lines as u64;
                continue;
            }
            for (seq, line) in record.lines().filter(|(seq, _)| *seq > since) {
                if more == 0 {
                    let before = out.len();
                    form.said(&record.said(room, seq, line), out);
                    if before == start || out.len() - start <= SHOWN_BYTES {
                        lines += 1;
                        continue;
                    }
                    out.truncate(before);
                }
                more += 1;
            }
        }
        (lines, more)
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
        let shown = history.last(most, None, "main", Form::PLAIN, |_| true, &mut out);
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
        assert_eq!(history.last(9, None, "main", Form::PLAIN, |from| from != 1, &mut Vec::new()), 0);
        let mut history = History::new(4, 1 << 20);
        push(&mut history, 1, &format!("{}\n", "x".repeat(SHOWN_BYTES)));
        push(&mut history, 2, "short\n");
        assert_eq!(last(&history, 9), "short\n", "the other does not fit");
    }

    #[test]
    fn lines_behind_a_number_are_shown_oldest_first_and_what_does_not_fit_is_counted() {
        let mut history = History::new(100_000, 1 << 20);
        push(&mut history, 1, "a\nb\n");
        push(&mut history, 3, "c\n");
        let since = |history: &History, seq| {
            let mut out = Vec::new();
            let counted = history.since(seq, "main", Form::PLAIN, |_| true, &mut out);
            (String::from_utf8(out).unwrap(), counted)
        };
        assert_eq!(since(&history, 0), ("a\nb\nc\n".to_owned(), (3, 0)));
        assert_eq!(since(&history, 1), ("b\nc\n".to_owned(), (2, 0)));
        assert_eq!(since(&history, 3), (String::new(), (0, 0)));
        assert_eq!(since(&history, 99), (String::new(), (0, 0)));
        (0..5)
            .for_each(|number| push(&mut history, 4 + 1000 * number, &format!("{:31}\n", "x").repeat(1000)));
        let (text, (lines, more)) = since(&history, 3);
        assert_eq!(
            (text.len(), lines, more),
            (SHOWN_BYTES, SHOWN_BYTES / 32, 5000 - SHOWN_BYTES as u64 / 32)
        );
    }

    #[test]
    fn a_line_that_alone_is_too_long_is_shown_when_it_is_the_next() {
        let mut history = History::new(4, 1 << 20);
        push(&mut history, 1, &format!("{}\n", "x".repeat(SHOWN_BYTES)));
        push(&mut history, 2, "short\n");
        let mut out = Vec::new();
        assert_eq!(
            history.since(0, "main", Form::PLAIN, |_| true, &mut out),
            (1, 1),
            "or nobody gets behind it"
        );
    }

    #[test]
    fn lines_with_a_text_are_found_in_upper_and_lower_case() {
        let mut history = History::new(100, 1000);
        push(&mut history, 1, "The Deploy\nis done\n");
        push(&mut history, 3, "redeploy\n");
        push(&mut history, 4, "\u{00c4}rger\n");
        let find = |text: &str, most| {
            let mut out = Vec::new();
            let lines = history.last(most, Some(text), "main", Form::PLAIN, |_| true, &mut out);
            (String::from_utf8(out).unwrap(), lines)
        };
        assert_eq!(find("DEPLOY", 9), ("The Deploy\nredeploy\n".to_owned(), 2));
        assert_eq!(find("deploy", 1), ("redeploy\n".to_owned(), 1));
        assert_eq!(find("\u{00e4}RG", 9), ("\u{00c4}rger\n".to_owned(), 1));
        assert_eq!(find("deploy\nis", 9), (String::new(), 0), "a line at a time");
    }

    #[test]
    fn what_is_shown_at_once_is_bounded_as_it_is_shown() {
        let mut history = History::new(100_000, 1 << 20);
        (0..50).for_each(|number| push(&mut history, 1000 * number + 1, &"x\n".repeat(1000)));
        for form in Form::ALL {
            let mut out = Vec::new();
            let lines = history.last(usize::MAX, None, "main", form, |_| true, &mut out);
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
