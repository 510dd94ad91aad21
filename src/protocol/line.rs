//! Framing: cuts the byte stream of a session into lines.
//!
//! A line ends with LF, and CR LF and CR NUL count as LF. If the first line ends in a bare CR, every CR ends a line.
//! The framer applies backspaces, cleans each line ([`text`]), and ends it with one LF. It drops a line longer than
//! `max_line` up to its ending, and counts it. The session calls [`Framer::feed`] with every read, [`Framer::pause`]
//! when there is nothing more to read for now, and [`Framer::finish`] at the end of the stream.
//!
//! The framer holds only the bytes of an unfinished line: no memory between lines, and at most `max_line` bytes within
//! one. Its work does not grow with the number of reads that a line takes.

use super::SHOWN_GROWTH;
use super::telnet::{IAC, Telnet};
use super::text::{self, BACKSPACE, DELETE};
use memchr::{memchr, memchr_iter, memchr2, memchr2_iter, memrchr};
use serde::{Deserialize, Serialize};

/// The byte order mark in UTF-8, with which some Windows programs begin a stream.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How to read the lines of a session. A reload may change the rules between two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Most bytes of a line: without telnet commands, before cleaning, without its ending.
    pub max_line: usize,
    /// Whether to leave every byte as it is: only LF ends a line, and neither cleaning nor telnet applies.
    pub raw: bool,
}

/// What came out of the stream. The calls of [`Framer`] append to it; the session clears it when it has passed
/// everything on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framed {
    /// Clean lines, each with exactly one LF.
    pub text: Vec<u8>,
    /// Number of lines in `text`.
    pub lines: u32,
    /// Number of lines dropped because they were too long. Each counts once, when it passes `max_line`.
    pub too_long: u32,
    /// Number of lines cut at [`SHOWN_GROWTH`] times `max_line`. They are in `text`.
    pub cut: u32,
    /// Whether a line is in UTF-16. Then `text` has neither that line nor any after it.
    pub is_utf16: bool,
    /// Whether there was a telnet command.
    pub has_telnet: bool,
    /// Telnet answers to the sender: over the whole stream, never more bytes than it has sent.
    pub reply: Vec<u8>,
}

impl Framed {
    /// Empties everything for the next read. The buffers keep their memory, because all sessions of a thread share
    /// them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.reply.clear();
        (self.lines, self.too_long, self.cut) = (0, 0, 0);
        (self.is_utf16, self.has_telnet) = (false, false);
    }
}

/// Whether the last byte belongs to a line ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It does not.
    #[default]
    None,
    /// It was CR. The next byte decides whether that is half a line ending or text.
    Cr,
    /// It was CR, and it ended the line. An LF or NUL that comes next belongs to it.
    Finished,
}

/// What ends the lines of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LineEnd {
    /// Not known yet: the first line has not ended.
    #[default]
    Unknown,
    /// The first line ended at a CR, and nothing more has arrived. An LF or NUL may still follow.
    First,
    /// LF, CR LF or CR NUL. Any other CR is text: a progress bar sends it to draw itself anew.
    Lf,
    /// A bare CR, or any of the others.
    Cr,
}

impl LineEnd {
    /// Returns the line end for a snapshot without one: version 1 knew no other.
    fn of_version_1() -> Self {
        Self::Lf
    }
}

/// The state of framing between two reads: a plain value, which a snapshot stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framer {
    /// The unfinished line, without telnet commands, not cleaned yet. Holds no memory while it is empty.
    #[serde(with = "serde_bytes")]
    pub unfinished: Vec<u8>,
    /// Whether the line is too long. It is counted already, and dropped up to its ending; `unfinished` is empty.
    pub dropping: bool,
    /// Whether a CR came last. It is not in `unfinished`, and does not count for the length.
    pub ending: Ending,
    /// Position within a telnet command.
    pub telnet: Telnet,
    /// What ends the lines of this connection.
    #[serde(default = "LineEnd::of_version_1")]
    pub line_end: LineEnd,
}

impl Framer {
    /// Takes the next bytes of the stream, and appends to `out` every line that they complete.
    pub fn feed(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        if rules.raw {
            self.stop_waiting(rules, out);
        } else if self.telnet != Telnet::Text || memchr(IAC, bytes).is_some() {
            let mut text = Vec::with_capacity(bytes.len() + 1);
            out.has_telnet |= self.telnet.strip(bytes, &mut text, &mut out.reply);
            return self.frame(&text, rules, out);
        }
        self.frame(bytes, rules, out);
    }

    /// Call this when there is nothing more to read for now. Ends a first line whose last byte is CR: a client that
    /// ends lines with CR alone waits for an answer to it. An LF or NUL that comes next still belongs to that CR.
    pub fn pause(&mut self, rules: Rules, out: &mut Framed) {
        if rules.raw || self.line_end != LineEnd::Unknown || self.ending != Ending::Cr {
            return;
        }
        let text = std::mem::take(&mut self.unfinished);
        if !std::mem::take(&mut self.dropping) {
            without_bom(&text).split(|&byte| byte == b'\r').for_each(|line| push_line(line, rules, out));
        }
        (self.line_end, self.ending) = (LineEnd::First, Ending::Finished);
    }

    /// Call this at the end of the stream, or after a pause of `flush_after`. Appends the unfinished line to `out`, and
    /// ends a line that is being dropped. The next bytes still complete half a telnet command.
    pub fn finish(&mut self, rules: Rules, out: &mut Framed) {
        if rules.raw {
            self.stop_waiting(rules, out);
        } else if self.telnet.finish() {
            self.frame(&[IAC], rules, out);
        }
        self.pause(rules, out);
        if self.ending == Ending::Cr {
            self.end_line(rules, out);
            self.ending = Ending::Finished;
        } else if self.is_begun() {
            // A reload may have lowered `max_line` since.
            self.hold(&[], rules, out);
            self.end_line(rules, out);
        }
    }

    /// Returns whether [`finish`](Self::finish) would append a line (unless a reload has made it too long).
    pub fn has_unfinished(&self) -> bool {
        let waiting = self.ending == Ending::Cr || self.telnet.has_lone_iac();
        !self.dropping && (waiting || !self.unfinished.is_empty())
    }

    /// Returns whether [`finish`](Self::finish) would end a line, also one that is being dropped.
    pub fn is_begun(&self) -> bool {
        self.dropping || self.has_unfinished()
    }

    /// Makes text of a CR or IAC that waits for the byte after it: a reload has turned `raw` on.
    fn stop_waiting(&mut self, rules: Rules, out: &mut Framed) {
        if self.ending == Ending::Cr {
            self.hold(b"\r", rules, out);
        }
        if self.telnet.has_lone_iac() {
            self.hold(&[IAC], rules, out);
        }
        (self.ending, self.telnet) = (Ending::None, Telnet::Text);
    }

    /// Cuts text without telnet commands into lines: first the unfinished line, then all others in one piece if they
    /// are clean, and otherwise one at a time.
    fn frame(&mut self, text: &[u8], rules: Rules, out: &mut Framed) {
        if self.line_end == LineEnd::First
            && let Some(first) = text.first()
        {
            self.line_end = if matches!(first, b'\n' | 0) { LineEnd::Lf } else { LineEnd::Cr };
        }
        if self.line_end == LineEnd::Cr && !rules.raw {
            return self.frame_by_cr(text, rules, out);
        }
        let mut rest = self.go_on(text, rules, out);
        if self.line_end == LineEnd::Cr && !rules.raw {
            return self.frame_by_cr(rest, rules, out);
        }
        let (whole, _) = rest.split_at(memrchr(b'\n', rest).map_or(0, |at| at + 1));
        if rules.raw || text::are_clean(whole) {
            push_clean_lines(whole, rules.max_line, out);
            rest = &rest[whole.len()..];
        }
        while let Some((line, after)) = split_line(rest, rules.raw) {
            push_line(line, rules, out);
            rest = after;
        }
        self.begin(rest, rules, out);
    }

    /// Cuts text into lines where every CR ends one, at once. An LF or NUL that comes next belongs to the CR.
    fn frame_by_cr(&mut self, text: &[u8], rules: Rules, out: &mut Framed) {
        let mut rest = self.settle_cr(text, rules, out);
        while let Some(at) = memchr2(b'\r', b'\n', rest) {
            self.hold(&rest[..at], rules, out);
            self.end_line(rules, out);
            if rest[at] == b'\r' {
                self.ending = Ending::Finished;
            }
            rest = self.settle_cr(&rest[at + 1..], rules, out);
        }
        self.hold(rest, rules, out);
    }

    /// Completes the unfinished line, or the first line. Returns the text after it.
    fn go_on<'t>(&mut self, text: &'t [u8], rules: Rules, out: &mut Framed) -> &'t [u8] {
        let text = self.settle_cr(text, rules, out);
        let is_first = self.line_end == LineEnd::Unknown && !rules.raw;
        if self.unfinished.is_empty() && !self.dropping && !is_first {
            return text;
        }
        let Some((line, after)) = split_line(text, rules.raw) else {
            self.begin(text, rules, out);
            return &[];
        };
        self.hold(line, rules, out);
        self.end_line(rules, out);
        after
    }

    /// Decides about a CR at the end of the text before, by the first byte of `text`. Returns the rest of `text`.
    fn settle_cr<'t>(&mut self, text: &'t [u8], rules: Rules, out: &mut Framed) -> &'t [u8] {
        let [first, after @ ..] = text else { return text };
        match (std::mem::take(&mut self.ending), first) {
            (Ending::Cr, b'\n' | 0) => self.end_line(rules, out),
            (Ending::Finished, b'\n' | 0) => {}
            (Ending::Cr, _) => {
                self.hold(b"\r", rules, out);
                return text;
            }
            _ => return text,
        }
        after
    }

    /// Stores text that has no line ending, or the first half of one.
    fn begin(&mut self, text: &[u8], rules: Rules, out: &mut Framed) {
        match text.strip_suffix(b"\r") {
            Some(line) if !rules.raw => {
                self.hold(line, rules, out);
                self.ending = Ending::Cr;
                if self.line_end == LineEnd::Cr {
                    self.end_line(rules, out);
                    self.ending = Ending::Finished;
                }
            }
            _ if text.is_empty() => {}
            _ => self.hold(text, rules, out),
        }
    }

    /// Adds to the unfinished line, or drops the line if it becomes too long.
    fn hold(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        let len = self.unfinished.len() + bytes.len();
        if self.dropping {
            return;
        }
        if len > rules.max_line && self.line_end == LineEnd::Unknown && !rules.raw {
            let text = [&std::mem::take(&mut self.unfinished), bytes].concat();
            if memchr(b'\r', &text[..=rules.max_line]).is_some()
                && let Some(last) = memrchr(b'\r', &text)
            {
                return self.hold_behind_crs(&text[..last], &text[last + 1..], rules, out);
            }
        }
        if len > rules.max_line {
            self.unfinished = Vec::new();
            self.dropping = true;
            out.too_long += 1;
            return;
        }
        if len > self.unfinished.capacity() {
            // Doubles the memory, but not past the limit: `Vec` itself could take twice the limit.
            let capacity = len.max(2 * self.unfinished.len()).min(rules.max_line);
            self.unfinished.reserve_exact(capacity - self.unfinished.len());
        }
        self.unfinished.extend_from_slice(bytes);
    }

    /// Takes a first line that is too long and has CRs in it for several lines that end with CR.
    fn hold_behind_crs(&mut self, ended: &[u8], begun: &[u8], rules: Rules, out: &mut Framed) {
        self.line_end = LineEnd::Cr;
        without_bom(ended).split(|&byte| byte == b'\r').for_each(|line| push_line(line, rules, out));
        self.hold(begun, rules, out);
    }

    /// Ends the line: appends it to `out`, unless it was being dropped, and frees its memory.
    fn end_line(&mut self, rules: Rules, out: &mut Framed) {
        let line = std::mem::take(&mut self.unfinished);
        let is_first = self.line_end == LineEnd::Unknown && !rules.raw;
        if !std::mem::take(&mut self.dropping) {
            push_line(if is_first { without_bom(&line) } else { &line }, rules, out);
        }
        if is_first {
            self.line_end = LineEnd::Lf;
        }
    }
}

fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(BOM).unwrap_or(line)
}

/// Returns the first line without its ending, and the text after it; `None` if there is no ending.
fn split_line(text: &[u8], raw: bool) -> Option<(&[u8], &[u8])> {
    if raw {
        let at = memchr(b'\n', text)?;
        return Some((&text[..at], &text[at + 1..]));
    }
    let is_ending = |&at: &usize| text[at] == b'\n' || text[..at].ends_with(b"\r");
    let at = memchr2_iter(b'\n', 0, text).find(is_ending)?;
    let line = text[..at].strip_suffix(b"\r").unwrap_or(&text[..at]);
    Some((line, &text[at + 1..]))
}

fn push_line(line: &[u8], rules: Rules, out: &mut Framed) {
    if line.len() > rules.max_line {
        out.too_long += 1;
        return;
    }
    out.is_utf16 |= !rules.raw && text::is_utf16(line);
    if out.is_utf16 {
        return;
    }
    let start = out.text.len();
    if rules.raw {
        out.text.extend_from_slice(line);
    } else if memchr2(BACKSPACE, DELETE, line).is_some() {
        text::clean(&text::take_back(line), &mut out.text);
    } else {
        text::clean(line, &mut out.text);
    }
    let most = SHOWN_GROWTH * rules.max_line;
    if out.text.len() - start > most {
        text::cut(&mut out.text, start + most);
        out.cut += 1;
    }
    out.text.push(b'\n');
    out.lines += 1;
}

/// Appends lines, each with LF, that need no cleaning. Does not look at each of them: all lines up to the last LF
/// within `max_line` bytes are short enough, so the search goes on from there.
fn push_clean_lines(mut lines: &[u8], max_line: usize, out: &mut Framed) {
    let mut good = 0;
    while lines.len() - good > max_line {
        if let Some(at) = memrchr(b'\n', &lines[good..=good + max_line]) {
            good += at + 1;
            continue;
        }
        let long = memchr(b'\n', &lines[good..]).map_or(lines.len() - good, |at| at + 1);
        push_whole(&lines[..good], out);
        out.too_long += 1;
        lines = &lines[good + long..];
        good = 0;
    }
    push_whole(lines, out);
}

fn push_whole(lines: &[u8], out: &mut Framed) {
    if out.is_utf16 {
        return;
    }
    out.text.extend_from_slice(lines);
    out.lines += memchr_iter(b'\n', lines).count() as u32;
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_MAX_LINE, MAX_GROWTH, READ_BYTES};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const RULES: Rules = Rules { max_line: DEFAULT_MAX_LINE, raw: false };
    const RAW: Rules = Rules { max_line: DEFAULT_MAX_LINE, raw: true };

    const fn at_most(max_line: usize) -> Rules {
        Rules { max_line, raw: false }
    }

    /// Takes the framer out and puts it back, as a restart does.
    fn moved(framer: &Framer) -> Framer {
        let Framer { unfinished, dropping, ending, telnet, line_end } = framer.clone();
        Framer { unfinished: unfinished.to_vec(), dropping, ending, telnet, line_end }
    }

    /// Feeds pieces; `None` finishes. Checks at every step what always holds.
    fn framed(pieces: &[Option<&[u8]>], rules: Rules) -> Framed {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for piece in pieces {
            let (had, before) = (framer.has_unfinished(), (out.lines, out.too_long));
            match piece {
                Some(bytes) => framer.feed(bytes, rules, &mut out),
                None => {
                    framer.finish(rules, &mut out);
                    // An IAC or CR that turns out to be text may be what makes the line too long.
                    let made = out.lines - before.0;
                    let is_dropped = made == 0 && (out.too_long > before.1 || out.is_utf16);
                    let is_cr = matches!(framer.line_end, LineEnd::Cr | LineEnd::First);
                    assert!(made == u32::from(had) || is_dropped || is_cr, "has_unfinished() is right");
                }
            }
            let memory = framer.unfinished.capacity();
            assert!(memory <= rules.max_line, "{memory} bytes held");
            assert!(memory == 0 || !framer.unfinished.is_empty(), "no memory between lines");
            framer = moved(&framer);
        }
        out
    }

    /// The text of a whole stream with its end, after checking that a stream cut into bytes reads the same.
    #[track_caller]
    fn read_with(stream: &[u8], rules: Rules) -> Framed {
        let whole = framed(&[Some(stream), None], rules);
        let mut bytes: Vec<_> = stream.chunks(1).map(Some).collect();
        bytes.push(None);
        assert_eq!(framed(&bytes, rules), whole, "one byte at a time");
        whole
    }

    #[track_caller]
    fn read(stream: impl AsRef<[u8]>) -> String {
        let out = read_with(stream.as_ref(), RULES);
        assert_eq!(out.lines as usize, memchr_iter(b'\n', &out.text).count());
        String::from_utf8(out.text).unwrap()
    }

    #[test]
    fn lf_crlf_and_cr_nul_each_end_a_line() {
        assert_eq!(read("a\nb\r\nc\r\0d\n"), "a\nb\nc\nd\n");
    }

    #[test]
    fn empty_lines_are_lines() {
        assert_eq!(read("\n\n\r\n\r\0\n"), "\n\n\n\n\n");
    }

    #[test]
    fn a_cr_elsewhere_is_shown() {
        assert_eq!(read("a\rb\n"), "a^Mb\n");
        assert_eq!(read("a\r\r\n"), "a^M\n");
        assert_eq!(read("\r\r\r\0"), "^M^M\n");
    }

    /// What comes out of pieces after each of which nothing more has arrived for now.
    #[track_caller]
    fn typed(pieces: &[&str]) -> String {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for piece in pieces {
            framer.feed(piece.as_bytes(), RULES, &mut out);
            framer.pause(RULES, &mut out);
            framer = moved(&framer);
        }
        String::from_utf8(out.text).unwrap()
    }

    #[test]
    fn where_the_first_line_ends_in_a_bare_cr_all_do() {
        assert_eq!(typed(&["hello\r"]), "hello\n", "at once");
        assert_eq!(typed(&["hello\r", "anybody here\r", "\r"]), "hello\nanybody here\n\n");
        assert_eq!(typed(&["h", "i", "\r", "y", "o", "\r"]), "hi\nyo\n");
        assert_eq!(typed(&["one\rtwo\r", "three\rfour"]), "one\ntwo\nthree\n");
        assert_eq!(typed(&["one\r", "two\nthree\r"]), "one\ntwo\nthree\n", "a pasted line");
        assert_eq!(typed(&["hi\r", "a\r\n", "hello\r", "you\r"]), "hi\na\nhello\nyou\n", "a pasted CR LF");
        let old_mac: String = (0..800).map(|number| format!("line {number:04} of an old file\r")).collect();
        assert_eq!(read(&old_mac), old_mac.replace('\r', "\n"), "longer than a line may be");
        assert_eq!(read("one\rtwo\r"), "one\ntwo\n", "at the end of the stream");
    }

    #[test]
    fn a_cr_lf_that_is_cut_in_two_is_one_ending() {
        assert_eq!(typed(&["hello\r", "\nyo\r", "\n", "10%\r", "20%\r\n"]), "hello\nyo\n10%^M20%\n");
        assert_eq!(typed(&["hello\r", "\0yo\r", "\0"]), "hello\nyo\n");
    }

    #[test]
    fn the_crs_of_a_progress_bar_end_no_lines() {
        assert_eq!(typed(&["get\n10%\r", "20%\r", "100%\n"]), "get\n10%^M20%^M100%\n");
        assert_eq!(typed(&["10%\r20%\r100%\n", "10%\r", "100%\n"]), "10%^M20%^M100%\n10%^M100%\n");
    }

    #[test]
    fn a_line_that_ends_in_cr_is_dropped_alone_if_it_is_too_long() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for piece in [&b"far too long"[..], b" for that\r", b"ok\r", b"far too long\rok\r"] {
            framer.feed(piece, at_most(8), &mut out);
            framer.pause(at_most(8), &mut out);
        }
        assert_eq!((&out.text[..], out.too_long), (&b"ok\nok\n"[..], 2));
    }

    #[test]
    fn a_byte_order_mark_is_taken_out_before_the_first_line_alone() {
        assert_eq!(read("\u{feff}/msg bob hi\r\n"), "/msg bob hi\n");
        assert_eq!(read("\u{feff}hi"), "hi\n");
        assert_eq!(read("\u{feff}\nhi\n"), "\nhi\n");
        assert_eq!(read("\u{feff}\u{feff}hi\n\u{feff}yo\n"), "\u{feff}hi\n\u{feff}yo\n");
        assert_eq!(typed(&["\u{feff}hi\r", "\u{feff}yo\r"]), "hi\n\u{feff}yo\n");
        assert_eq!(read(b"\xff\xf1\xef\xbb\xbfhi\n"), "hi\n", "telnet is no text");
        assert_eq!(read_with("\u{feff}hi\n".as_bytes(), RAW).text, "\u{feff}hi\n".as_bytes());
    }

    #[test]
    fn a_backspace_is_taken_back_before_the_line_is_looked_at() {
        assert_eq!(read("helo\x08lo\r\n/mgs\x7f\x7fsg bob hi\n"), "hello\n/msg bob hi\n");
        assert_eq!(read(b"\x1b\x08a\xe9\x08b\n"), "ab\n");
    }

    #[test]
    fn a_line_in_utf16_is_not_said_nor_what_comes_after_it() {
        let utf16 = |of: fn(u16) -> [u8; 2]| {
            "again\r\nand again\r\n".encode_utf16().flat_map(of).collect::<Vec<u8>>()
        };
        for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
            let out = read_with(&[b"hello\n", &bytes[..], b"ok\n"].concat(), RULES);
            assert_eq!((&out.text[..], out.lines, out.is_utf16), (&b"hello\n"[..], 1, true));
        }
    }

    #[test]
    fn what_is_shown_is_bounded_too() {
        let (line, most) = ([0xe9; DEFAULT_MAX_LINE], SHOWN_GROWTH * DEFAULT_MAX_LINE);
        let out = read_with(&[&line[..], b"\nok\n"].concat(), RULES);
        assert_eq!((out.lines, out.cut, out.too_long, out.text.len()), (2, 1, 0, most + 1 + 3));
        assert!(out.text.ends_with(b"\\xe9\nok\n"));
        let half = read_with(&line[..DEFAULT_MAX_LINE / 2], RULES);
        assert_eq!((half.lines, half.cut, half.text.len()), (1, 0, most + 1), "all of it");
    }

    #[test]
    fn a_nul_elsewhere_is_shown() {
        assert_eq!(read("\0ab\0\n\0"), "^@ab^@\n^@\n");
        assert_eq!(read("a\r\0\0\n"), "a\n^@\n");
    }

    #[test]
    fn the_end_of_the_stream_ends_a_line() {
        assert_eq!(read("a\nhi"), "a\nhi\n");
        assert_eq!(read("hi\r"), "hi\n");
        assert_eq!(read("\r"), "\n");
        assert_eq!(read("a\n"), "a\n");
        assert_eq!(read(""), "");
    }

    #[test]
    fn a_finished_cr_takes_the_rest_of_its_ending_along() {
        for ending in [&b"\n"[..], b"\0"] {
            let out = framed(&[Some(b"hi\r"), None, Some(ending), Some(b"yo\n"), None], RULES);
            assert_eq!(out.text, b"hi\nyo\n");
        }
        let out = framed(&[Some(b"hi\r"), None, None, Some(b""), Some(b"yo\n\n")], RULES);
        assert_eq!(out.text, b"hi\nyo\n\n");
    }

    #[test]
    fn a_finished_line_goes_on_as_the_next() {
        let out = framed(&[Some(b"one"), None, Some(b"two"), None, Some(b"\n")], RULES);
        assert_eq!(out.text, b"one\ntwo\n\n");
    }

    #[test]
    fn dirty_lines_are_cleaned_among_clean_ones() {
        assert_eq!(read(b"ok\n\x1b[2J\n\xe9\nGr\xc3\xbc\xc3\x9fe\n"), "ok\n^[[2J\n\\xe9\nGrüße\n");
    }

    #[test]
    fn a_character_cut_by_a_read_stays_whole() {
        let out = framed(&[Some(b"\xe4\xbd"), Some(b"\xa0"), Some(b"\n")], RULES);
        assert_eq!(out.text, "你\n".as_bytes());
        assert_eq!(read(b"\xe4\xbd\n\xa0\n"), "\\xe4\\xbd\n\\xa0\n", "but not one cut by a newline");
    }

    #[test]
    fn telnet_is_taken_out_and_answered() {
        let out = read_with(b"\xff\xfb\x18he\xff\xf1llo\r\xff\xf1\n\xff\xf4\xff\xfd\x06", RULES);
        assert_eq!((&out.text[..], &out.reply[..]), (&b"hello\n"[..], &b"\xff\xfe\x18\xff\xfc\x06"[..]));
    }

    #[test]
    fn a_latin_1_ydiaeresis_is_text_wherever_it_stands() {
        assert_eq!(read(b"\xff\n"), "\\xff\n");
        assert_eq!(read(b"a\xffb\n"), "a\\xffb\n");
        assert_eq!(read(b"a\r\xff"), "a^M\\xff\n");
    }

    #[test]
    fn a_question_cut_by_a_pause_is_still_answered() {
        let out = framed(&[Some(b"hm\xff"), None, Some(b"\xfd\x06\n")], RULES);
        assert_eq!((&out.text[..], &out.reply[..]), (&b"hm\\xff\n\n"[..], &b"\xff\xfc\x06"[..]));
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes() {
        for ending in ["\n", "\r\n", "\r\0", "\r", ""] {
            let out = read_with(format!("12345678{ending}").as_bytes(), at_most(8));
            assert_eq!((&out.text[..], out.too_long), (&b"12345678\n"[..], 0), "{ending:?}");
            let out = read_with(format!("123456789{ending}").as_bytes(), at_most(8));
            assert_eq!((&out.text[..], out.too_long), (&b""[..], 1), "{ending:?}");
        }
        let out = read_with(b"\n1234567\r8\n1234567\r\n", at_most(8));
        assert_eq!((&out.text[..], out.too_long), (&b"\n1234567\n"[..], 1), "a CR inside counts");
    }

    #[test]
    fn long_lines_are_dropped_from_among_others() {
        let out = read_with(b"one\nfar too long\ntwo\n123456\n12345\n\n7654321", at_most(5));
        assert_eq!((&out.text[..], out.lines, out.too_long), (&b"one\ntwo\n12345\n\n"[..], 4, 3));
        let out = read_with(b"a\n\nb\n", at_most(0));
        assert_eq!((&out.text[..], out.lines, out.too_long), (&b"\n"[..], 1, 2));
    }

    #[test]
    fn telnet_bytes_and_growth_do_not_count_for_the_length() {
        let out = read_with(b"\xff\xfd\x06ab\x1b\x1b\xff\xf1\n", at_most(4));
        assert_eq!((&out.text[..], out.too_long), (&b"ab^[^[\n"[..], 0));
    }

    #[test]
    fn finishing_ends_a_long_line_and_does_not_let_it_out() {
        let out = framed(&[Some(b"123456"), None, Some(b"78"), None, Some(b"9\nok\n"), None], at_most(5));
        assert_eq!((&out.text[..], out.too_long), (&b"78\n9\nok\n"[..], 1));
    }

    #[test]
    fn a_shrinking_limit_drops_what_no_longer_fits() {
        for (rest, text) in [("\nok\n", "ok\n"), ("\r\nok\n", "ok\n"), ("89\nok\n", "ok\n"), ("", "")] {
            let (mut framer, mut out) = (Framer::default(), Framed::default());
            framer.feed(b"1234567", RULES, &mut out);
            framer.feed(rest.as_bytes(), at_most(5), &mut out);
            framer.finish(at_most(5), &mut out);
            assert_eq!((&out.text[..], out.too_long), (text.as_bytes(), 1), "{rest:?}");
            assert!(!framer.dropping);
        }
    }

    #[test]
    fn raw_lines_are_left_as_they_are() {
        let stream = b"\xff\xfd\x06 \x1b[2J\r\n\r\0\0\xe9\n\n \xff";
        let out = read_with(stream, RAW);
        assert_eq!(out.text, [&stream[..], b"\n"].concat());
        assert_eq!((out.lines, out.too_long, &out.reply[..]), (4, 0, &b""[..]));
        let out = read_with(b"12345\n1234\r\n12345\r\n", Rules { max_line: 5, raw: true });
        assert_eq!((&out.text[..], out.too_long), (&b"12345\n1234\r\n"[..], 1));
    }

    #[test]
    fn what_waited_is_text_once_the_session_is_raw() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        framer.feed(b"a\r", RULES, &mut out);
        framer.feed(b"\nb\xff", RAW, &mut out);
        framer.feed(b"\xff\xff\xff\xfd", RULES, &mut out);
        framer.feed(b"\x06", RAW, &mut out);
        framer.feed(b"c\n", RULES, &mut out);
        assert_eq!(out.text, b"a\r\nb\\xff\\xff^Fc\n", "cleaned by the rules that its line ends under");
        assert!(out.reply.is_empty());
    }

    #[test]
    fn a_million_bytes_without_a_newline_take_linear_time() {
        // A second look at the held bytes at every feed would make this take hours.
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for at in 0..1_000_000 {
            framer.feed(&[[b'x', 0x1b, 0][at % 3]], at_most(1_000_000), &mut out);
        }
        assert_eq!((framer.unfinished.len(), out.lines), (1_000_000, 0));
        framer.feed(b"\n", at_most(1_000_000), &mut out);
        assert_eq!((framer.unfinished.capacity(), out.lines), (0, 1));
    }

    #[test]
    fn a_full_read_after_a_full_line_stays_within_its_bound() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        framer.feed(&vec![0x80; DEFAULT_MAX_LINE], RULES, &mut out);
        let mut bytes = vec![0x80; READ_BYTES];
        (bytes[0], bytes[READ_BYTES - 1]) = (b'\n', b'\n');
        framer.feed(&bytes, at_most(2 * READ_BYTES), &mut out);
        let bound = MAX_GROWTH * (DEFAULT_MAX_LINE + READ_BYTES) + 1;
        assert!(out.text.len() <= bound && out.text.len() > bound - 10, "{} of {bound}", out.text.len());
    }

    /// What framing and cleaning mean, one byte after the other, with no thought of time or memory.
    #[derive(Default)]
    struct Reference {
        max_line: usize,
        raw: bool,
        command: Vec<u8>,
        has_telnet: bool,
        iac_shown: bool,
        cr: bool,
        cr_finished: bool,
        line: Vec<u8>,
        /// The first line has ended; and with a bare CR.
        is_past_first: bool,
        is_cr: bool,
        is_first_cr: bool,
        out: Framed,
    }

    impl Reference {
        fn byte(&mut self, byte: u8) {
            if self.raw || (self.command.is_empty() && byte != IAC) {
                return self.stripped(byte);
            }
            self.command.push(byte);
            self.has_telnet |= matches!(self.command[1..], [0xec..=0xfe, ..]);
            match self.command[1..] {
                [] => return self.iac_shown = false,
                [0xfb..=0xfe] | [0xfa] => return,
                [0xfa, ref body @ ..] => {
                    let iacs = body.iter().rev().skip(1).take_while(|&&byte| byte == IAC).count();
                    if byte == b'\n' {
                        self.stripped(byte);
                    } else if body.len() < 256 && !(byte == 0xf0 && iacs % 2 == 1) {
                        return;
                    }
                }
                [0xfb, option] => self.out.reply.extend([0xff, 0xfe, option]),
                [0xfd, option] => self.out.reply.extend([0xff, 0xfc, option]),
                [0xfc | 0xfe, _] | [0xec..=0xfe] => {}
                _ => {
                    if !self.iac_shown {
                        self.stripped(IAC);
                    }
                    if byte != IAC {
                        self.stripped(byte);
                    }
                }
            }
            self.command.clear();
        }

        fn stripped(&mut self, byte: u8) {
            let completes = !self.raw && (byte == b'\n' || byte == 0);
            if std::mem::take(&mut self.is_first_cr) {
                self.is_cr = !completes;
            }
            if std::mem::take(&mut self.cr_finished) && completes {
                return;
            }
            if self.is_cr && byte == b'\r' {
                self.cr_finished = true;
                return self.end();
            }
            if std::mem::take(&mut self.cr) {
                if completes {
                    return self.end();
                }
                self.line.push(b'\r');
                self.turn_to_cr();
                if self.is_cr && byte == b'\r' {
                    self.cr_finished = true;
                    return self.end();
                }
            }
            match byte {
                b'\n' => self.end(),
                b'\r' if !self.raw => self.cr = true,
                _ => {
                    self.line.push(byte);
                    self.turn_to_cr();
                }
            }
        }

        /// A first line that is too long, but for the CRs in it.
        fn turn_to_cr(&mut self) {
            let is_long = !self.is_past_first && !self.raw && self.line.len() == self.max_line + 1;
            let Some(at) = memrchr(b'\r', &self.line).filter(|_| is_long) else { return };
            let begun = self.line.split_off(at + 1);
            self.line.pop();
            (self.is_past_first, self.is_cr) = (true, true);
            let ended = std::mem::replace(&mut self.line, begun);
            let ended = ended.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&ended);
            ended.split(|byte| *byte == b'\r').for_each(|line| self.say(line));
        }

        fn end(&mut self) {
            let line = std::mem::take(&mut self.line);
            let is_first = !std::mem::replace(&mut self.is_past_first, true);
            if line.len() > self.max_line {
                self.out.too_long += 1;
                return;
            }
            let bom = b"\xef\xbb\xbf";
            self.say(if is_first && !self.raw { line.strip_prefix(bom).unwrap_or(&line) } else { &line });
        }

        fn say(&mut self, line: &[u8]) {
            self.out.is_utf16 |= !self.raw && text::is_utf16(line);
            if self.out.is_utf16 {
                return;
            }
            let mut text = if self.raw { line.to_vec() } else { shown(&text::take_back(line)).into_bytes() };
            while text.len() > 2 * self.max_line {
                let last = String::from_utf8(text).unwrap();
                text = last.as_bytes()[..last.char_indices().last().unwrap().0].to_vec();
                if text.len() <= 2 * self.max_line {
                    self.out.cut += 1;
                }
            }
            self.out.text.extend(text);
            self.out.text.push(b'\n');
            self.out.lines += 1;
        }

        /// A first line at whose CR the stream has stopped.
        fn end_at_cr(&mut self) {
            self.is_past_first = true;
            (self.is_first_cr, self.cr_finished) = (true, true);
            let line = std::mem::take(&mut self.line);
            if line.len() > self.max_line {
                return self.out.too_long += 1;
            }
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
            line.split(|byte| *byte == b'\r').for_each(|line| self.say(line));
        }

        fn finish(&mut self) {
            if self.command == [IAC] && !self.iac_shown {
                self.stripped(IAC);
                self.iac_shown = true;
            }
            if std::mem::take(&mut self.cr) {
                if !self.is_past_first {
                    return self.end_at_cr();
                }
                self.end();
                self.cr_finished = true;
            } else if !self.line.is_empty() {
                self.end();
            }
        }

        fn result(mut self) -> Framed {
            self.out.too_long += u32::from(self.line.len() > self.max_line);
            self.out.has_telnet = self.has_telnet;
            self.out
        }
    }

    fn shown(mut line: &[u8]) -> String {
        let mut out = String::new();
        while !line.is_empty() {
            let char_in = |len: &usize| line.get(..*len).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let len = (1..=4).find(|len| char_in(len).is_some());
            match len.and_then(|len| char_in(&len)?.chars().next()) {
                None => out += &format!("\\x{:02x}", line[0]),
                Some('\t') => out.push('\t'),
                Some('\x7f') => out += "^?",
                Some(c @ '\0'..='\x1f') => out.extend(['^', char::from(c as u8 + b'@')]),
                Some(c) if "\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}".contains(c) => {
                    out += &format!("\\u{{{:x}}}", u32::from(c));
                }
                Some(c) if "\u{2066}\u{2067}\u{2068}\u{2069}".contains(c) || c.is_control() => {
                    out += &format!("\\u{{{:x}}}", u32::from(c));
                }
                Some(c) => out.push(c),
            }
            line = &line[len.unwrap_or(1)..];
        }
        out
    }

    fn reference(pieces: &[Option<&[u8]>], rules: Rules) -> Framed {
        let mut slow = Reference { max_line: rules.max_line, raw: rules.raw, ..Reference::default() };
        for piece in pieces {
            match piece {
                Some(bytes) => bytes.iter().for_each(|&byte| slow.byte(byte)),
                None => slow.finish(),
            }
        }
        slow.result()
    }

    /// Streams of what matters here: endings whole and broken, telnet, UTF-8 and what is not, plain text.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let atom = prop_oneof![
            6 => "[ -~\t]{0,20}".prop_map(String::into_bytes),
            4 => Just(b"\n".to_vec()),
            2 => proptest::sample::select(vec!["\r\n", "\r\0", "\r", "\0", "\x1b[2J", "\x7f", "\x08", "\u{feff}", "a\0b\0"])
                .prop_map(Vec::from),
            2 => proptest::sample::select(vec!["é", "你好", "–", "👩", "\u{85}", "\u{202e}", "\u{2028}"])
                .prop_map(Vec::from),
            2 => vec(proptest::sample::select(b"\xff\xff\xff\xfa\xfb\xfc\xfd\xfe\xf0\xf1\xec\xeb\x06\n\r\0a".to_vec()), 1..6),
            1 => vec(any::<u8>(), 0..6),
            1 => Just([&b"\xff\xfa"[..], &[b'x'; 270]].concat()),
        ];
        vec(atom, 0..30).prop_map(|atoms| atoms.concat())
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let max_line = prop_oneof![0..40usize, Just(DEFAULT_MAX_LINE)];
        (max_line, proptest::bool::weighted(0.2)).prop_map(|(max_line, raw)| Rules { max_line, raw })
    }

    fn pieces<'s>(stream: &'s [u8], cuts: &[(proptest::sample::Index, bool)]) -> Vec<Option<&'s [u8]>> {
        let mut cuts: Vec<_> =
            cuts.iter().map(|(at, finish)| (at.index(stream.len() + 1), *finish)).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for (at, finish) in cuts {
            pieces.push(Some(&stream[from..at]));
            pieces.extend(finish.then_some(None));
            from = at;
        }
        pieces.push(Some(&stream[from..]));
        pieces
    }

    fn cuts(finish: f64) -> impl Strategy<Value = Vec<(proptest::sample::Index, bool)>> {
        vec((any::<proptest::sample::Index>(), proptest::bool::weighted(finish)), 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_stream_may_be_cut_anywhere(stream in streams(), cuts in cuts(0.0), rules in rules()) {
            let whole = framed(&[Some(&stream)], rules);
            let bytes: Vec<_> = stream.chunks(1).map(Some).collect();
            prop_assert_eq!(&framed(&pieces(&stream, &cuts), rules), &whole);
            prop_assert_eq!(&framed(&bytes, rules), &whole);
        }

        #[test]
        fn framing_agrees_with_its_reference(stream in streams(), cuts in cuts(0.3), rules in rules()) {
            let pieces = pieces(&stream, &cuts);
            prop_assert_eq!(framed(&pieces, rules), reference(&pieces, rules));
        }

        #[test]
        fn clean_lines_come_out(stream in streams(), cuts in cuts(0.2), max_line in 0..300usize) {
            let pieces = pieces(&stream, &cuts);
            let out = framed(&pieces, at_most(max_line));
            let text = String::from_utf8(out.text).unwrap();
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t' && c != '\n'), "{text:?}");
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert_eq!(text.matches('\n').count(), out.lines as usize);
            let endings = stream.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r' | 0)).count();
            let finishes = pieces.iter().filter(|piece| piece.is_none()).count();
            prop_assert!(out.lines as usize <= endings + finishes);
            prop_assert!(text.len() <= MAX_GROWTH * stream.len() + finishes);
            prop_assert!(out.reply.len() <= stream.len());
        }

        #[test]
        fn no_reload_can_break_it(
            feeds in vec((streams(), rules(), any::<bool>()), 0..6),
            dropping: bool,
            telnet in prop_oneof![
                any::<u8>().prop_map(Telnet::Verb),
                any::<(u16, bool)>().prop_map(|(taken, iac)| Telnet::Subnegotiation { taken, iac }),
            ],
        ) {
            let mut framer = Framer { dropping, telnet, ..Framer::default() };
            for (stream, rules, finish) in feeds {
                let mut out = Framed::default();
                framer.feed(&stream, rules, &mut out);
                if finish {
                    framer.finish(rules, &mut out);
                }
                prop_assert_eq!(memchr_iter(b'\n', &out.text).count(), out.lines as usize);
            }
        }
    }
}
