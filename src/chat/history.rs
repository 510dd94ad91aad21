//! The history of a room: what has been said last, for those who ask with `/last`.
//!
//! It keeps inputs as they were, at most so many lines and so many bytes of them; how they are shown is decided when
//! somebody asks. It is memory and nothing else: a private message never comes here.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memrchr_iter;

use crate::protocol::{Form, Kind, Said, Who};

/// Lines that somebody has said at once.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) kind: Kind,
    pub(super) who: Arc<Who>,
    pub(super) time: Timestamp,
    /// The number of the first line.
    pub(super) seq: u64,
    pub(super) lines: usize,
    /// Clean lines, each with its LF.
    pub(super) text: Vec<u8>,
}

impl Past {
    /// Only the last `lines` lines of it.
    fn last(&self, lines: usize) -> (u64, &[u8]) {
        let skipped = self.lines.saturating_sub(lines);
        if skipped == 0 {
            return (self.seq, &self.text);
        }
        // The LF before the first line that is kept.
        let start = memrchr_iter(b'\n', &self.text).nth(lines).map_or(0, |at| at + 1);
        (self.seq + skipped as u64, &self.text[start..])
    }
}

/// What has been said last in a room.
#[derive(Debug)]
pub(super) struct History {
    pasts: VecDeque<Past>,
    lines: usize,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

impl History {
    /// Keeps at least the last `max_lines` lines, unless they have more than `max_bytes`.
    pub(super) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { pasts: VecDeque::new(), lines: 0, bytes: 0, max_lines, max_bytes }
    }

    /// All that is kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Past> {
        self.pasts.iter()
    }

    pub(super) fn push(&mut self, mut past: Past) {
        if self.max_lines == 0 {
            return;
        }
        if past.lines > self.max_lines {
            let (seq, text) = past.last(self.max_lines);
            past = Past { seq, lines: self.max_lines, text: text.to_vec(), ..past };
        }
        self.lines += past.lines;
        self.bytes += past.text.len();
        self.pasts.push_back(past);
        while let Some(first) = self.pasts.front()
            && (self.lines - first.lines >= self.max_lines || self.bytes > self.max_bytes)
        {
            self.lines -= first.lines;
            self.bytes -= first.text.len();
            self.pasts.pop_front();
        }
    }

    /// Appends up to `most` of the last lines in a form, oldest first; says how many.
    pub(super) fn show(&self, most: usize, room: &str, form: Form, out: &mut Vec<u8>) -> usize {
        let most = most.min(self.max_lines);
        let mut left = most;
        let mut first = self.pasts.len();
        while first > 0 && left > 0 {
            first -= 1;
            left = left.saturating_sub(self.pasts[first].lines);
        }
        let mut wanted = most.min(self.pasts.iter().skip(first).map(|past| past.lines).sum());
        let shown = wanted;
        let mut behind: usize = self.pasts.iter().skip(first).map(|past| past.lines).sum();
        for past in self.pasts.iter().skip(first) {
            behind -= past.lines;
            let (seq, text) = past.last(wanted - behind);
            wanted = behind;
            form.said(&Said { kind: past.kind, who: &past.who, room, time: past.time, seq, text }, out);
        }
        shown
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
        history.push(Past { kind: Kind::Message, who, time: Timestamp::UNIX_EPOCH, seq, lines, text });
    }

    fn last(history: &History, most: usize) -> String {
        let mut out = Vec::new();
        let shown = history.show(most, "main", Form::Plain, &mut out);
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
