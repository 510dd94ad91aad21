//! What arrives, cut into lines and made safe to show.
//!
//! The reading thread feeds it what the socket had. A line ends with LF, a CR before that belongs to the ending. Every
//! line comes out clean (`protocol::text`), whatever the other end sends, and none is longer than [`MAX_BYTES`]: a
//! server that never ends its line costs that much and no more.

use memchr::memchr;

use crate::protocol::text;

/// The longest line that is shown, in bytes as they were sent: what the largest `max_line` of chatd, 1 MiB, can become
/// in `json` is longer only if nearly all of it are control bytes. What goes beyond is cut off.
pub const MAX_BYTES: usize = 4 << 20;

/// What stands at the end of a line that was too long.
pub const CUT: &str = " [cut]";

/// Cuts what arrives into lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Takes the next bytes, and appends the lines that are whole with them.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<String>) {
        while let Some(at) = memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            out.push(self.take());
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    /// The unfinished line at the end, if there is one.
    pub fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let space = MAX_BYTES - self.partial.len();
        self.is_cut |= bytes.len() > space;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    fn take(&mut self) -> String {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let mut line = clean(line);
        if std::mem::take(&mut self.is_cut) {
            line.push_str(CUT);
        }
        self.partial = Vec::new();
        line
    }
}

/// Bytes as text that can do nothing to a terminal.
pub fn clean(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    text::clean(bytes, &mut out);
    // Clean text is valid; if it were not, it would still be shown.
    String::from_utf8(out).unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        lines.feed(bytes, &mut out);
        out.extend(lines.finish());
        out
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf() {
        assert_eq!(lines(b"a\r\n\nb\rc\nd"), ["a", "", "b^Mc", "d"]);
    }

    #[test]
    fn nothing_that_drives_a_terminal_comes_out() {
        assert_eq!(lines(b"\x1b]0;owned\x07\xff\n"), ["^[]0;owned^G\\xff"]);
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let mut bytes = vec![b'x'; MAX_BYTES + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines(&bytes);
        assert_eq!((lines[0].len(), &lines[1]), (MAX_BYTES + CUT.len(), &"next".to_owned()));
        assert!(lines[0].ends_with(CUT));
    }

    proptest! {
        #[test]
        fn every_cut_gives_the_same_lines(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            let (mut cut, mut out) = (Lines::default(), Vec::new());
            cut.feed(&bytes[..at], &mut out);
            cut.feed(&bytes[at..], &mut out);
            out.extend(cut.finish());
            prop_assert_eq!(&out, &lines(&bytes));
            prop_assert!(out.iter().all(|line| !line.chars().any(|c| c.is_control() && c != '\t')));
        }
    }
}
