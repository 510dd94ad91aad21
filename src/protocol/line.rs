//! Framing: from the bytes of a connection to clean lines.
//!
//! A [`Framer`] is all that is remembered between two reads: the unfinished line and a few flags. It is
//! a plain value that can be copied out at any moment and put back. Called by the session for each
//! read. A line that is too long is dropped up to its newline without being kept, and a session
//! between two lines holds no memory.

use super::telnet::{IAC, Telnet};
use super::text;

/// How lines are framed and cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The longest line, in bytes as they arrive (without telnet's), not counting the ending.
    pub max_line: usize,
    /// Bytes are relayed as they are: lines end with LF, and nothing else means anything.
    pub raw: bool,
}

/// What came out of framing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Framed {
    /// Whole lines, cleaned, each ended by one LF.
    pub text: Vec<u8>,
    /// How many.
    pub lines: u32,
    /// How many lines were dropped for their length.
    pub too_long: u32,
    /// Answers to telnet, for the sender; at most as many bytes as came in.
    pub reply: Vec<u8>,
}

/// What framing remembers between two reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framer {
    /// The beginning of a line whose end has not come.
    pub unfinished: Vec<u8>,
    /// The line was too long: its rest is dropped.
    pub dropping: bool,
    /// What a carriage return before the next byte means.
    pub carriage: Carriage,
    /// Where in a telnet command the stream is.
    pub telnet: Telnet,
}

/// What the byte before the next one was, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carriage {
    /// No carriage return.
    #[default]
    No,
    /// A carriage return: if LF or NUL follows the line ends, otherwise it is part of the line.
    Held,
    /// A carriage return that was taken for the end of the line: LF or NUL still belongs to it.
    Spent,
}

impl Framer {
    /// Takes the next bytes of the stream and appends every line that they finish to `out`.
    pub fn feed(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        if rules.raw {
            self.release_carriage(rules, out);
            return self.take(bytes, rules, out);
        }
        if self.telnet.is_text() && memchr::memchr(IAC, bytes).is_none() {
            return self.feed_text(bytes, rules, out);
        }
        let mut text = Vec::new();
        self.telnet.strip(bytes, &mut text, &mut out.reply);
        self.feed_text(&text, rules, out);
    }

    /// The stream has ended, or nothing was added to it for long enough: what is unfinished is a line.
    pub fn finish(&mut self, rules: Rules, out: &mut Framed) {
        if self.carriage == Carriage::Held {
            self.carriage = Carriage::Spent;
            self.end_line(&[], rules, out);
        } else if self.has_unfinished() {
            self.end_line(&[], rules, out);
        }
    }

    /// Says whether [`Framer::finish`] would make a line.
    pub fn has_unfinished(&self) -> bool {
        !self.dropping && (!self.unfinished.is_empty() || self.carriage == Carriage::Held)
    }

    /// Makes one ending of CR LF and CR NUL.
    fn feed_text(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        let Some(&first) = bytes.first() else { return };
        let is_rest = self.carriage == Carriage::Spent && matches!(first, b'\n' | 0);
        let mut rest = if is_rest { &bytes[1..] } else { bytes };
        if self.carriage == Carriage::Spent {
            self.carriage = Carriage::No;
        }
        if self.carriage == Carriage::Held {
            self.release_carriage_before(&mut rest, rules, out);
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            self.take(&rest[..at], rules, out);
            rest = &rest[at + 1..];
            self.carriage = Carriage::Held;
            self.release_carriage_before(&mut rest, rules, out);
        }
        self.take(rest, rules, out);
    }

    /// A carriage return came before `rest`: decides what it is as soon as there is a next byte.
    fn release_carriage_before(&mut self, rest: &mut &[u8], rules: Rules, out: &mut Framed) {
        match rest.first() {
            None => {}
            Some(b'\n' | 0) => {
                self.carriage = Carriage::No;
                *rest = &rest[1..];
                self.end_line(&[], rules, out);
            }
            Some(_) => self.release_carriage(rules, out),
        }
    }

    /// The carriage return that was held, if any, is part of the line.
    fn release_carriage(&mut self, rules: Rules, out: &mut Framed) {
        if std::mem::take(&mut self.carriage) == Carriage::Held {
            self.keep(b"\r", rules, out);
        }
    }

    /// Takes bytes in which only LF ends a line.
    fn take(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        let mut rest = bytes;
        if !self.unfinished.is_empty() || self.dropping {
            let Some(end) = memchr::memchr(b'\n', rest) else { return self.keep(rest, rules, out) };
            self.end_line(&rest[..end], rules, out);
            rest = &rest[end + 1..];
        }
        let whole = memchr::memrchr(b'\n', rest).map_or(0, |last| last + 1);
        self.take_lines(&rest[..whole], rules, out);
        self.keep(&rest[whole..], rules, out);
    }

    /// Takes whole lines, all at once where nothing in them needs to be changed.
    fn take_lines(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        let as_is = rules.raw || text::is_plain(bytes);
        let (mut copied, mut start) = (0, 0);
        for end in memchr::memchr_iter(b'\n', bytes) {
            if !as_is || end - start > rules.max_line {
                out.text.extend_from_slice(&bytes[copied..start]);
                copied = end + 1;
                self.end_line(&bytes[start..end], rules, out);
            } else {
                out.lines += 1;
            }
            start = end + 1;
        }
        out.text.extend_from_slice(&bytes[copied..]);
    }

    /// Ends the unfinished line with `rest`.
    fn end_line(&mut self, rest: &[u8], rules: Rules, out: &mut Framed) {
        let unfinished = std::mem::take(&mut self.unfinished);
        if std::mem::take(&mut self.dropping) {
            return;
        }
        if unfinished.len() + rest.len() > rules.max_line {
            out.too_long += 1;
            return;
        }
        let joined;
        let line = if unfinished.is_empty() {
            rest
        } else {
            joined = [&unfinished, rest].concat();
            &joined
        };
        if rules.raw {
            out.text.extend_from_slice(line)
        } else {
            text::clean(line, &mut out.text)
        }
        out.text.push(b'\n');
        out.lines += 1;
    }

    /// Keeps bytes of a line that is not finished, or drops them if it has become too long.
    fn keep(&mut self, bytes: &[u8], rules: Rules, out: &mut Framed) {
        let len = self.unfinished.len() + bytes.len();
        if self.dropping || bytes.is_empty() {
            return;
        }
        if len > rules.max_line {
            self.unfinished = Vec::new();
            self.dropping = true;
            out.too_long += 1;
            return;
        }
        if len > self.unfinished.capacity() {
            let doubled = (2 * self.unfinished.capacity()).clamp(len, rules.max_line);
            self.unfinished.reserve_exact(doubled - self.unfinished.len());
        }
        self.unfinished.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { max_line: 40, raw: false };
    const RAW: Rules = Rules { max_line: 40, raw: true };

    /// What comes out of `pieces` and the end of the stream, going through a copy of the framer each time.
    fn frame<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>, rules: Rules) -> Framed {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for piece in pieces {
            let mut copy = framer.clone();
            copy.feed(piece.as_ref(), rules, &mut out);
            assert!(copy.unfinished.capacity() <= rules.max_line, "{copy:?}");
            framer = copy;
        }
        framer.finish(rules, &mut out);
        out
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(frame([bytes], RULES).text).unwrap()
    }

    /// The rules of chatd-protocol(7) followed a byte at a time, without any of the short cuts.
    fn reference(bytes: &[u8], rules: Rules) -> Framed {
        let mut out = Framed::default();
        let mut stream = Vec::new();
        if rules.raw {
            stream.extend(bytes.iter().map(|&byte| (byte, byte == b'\n')));
        } else {
            let mut plain = Vec::new();
            Telnet::default().strip(bytes, &mut plain, &mut out.reply);
            let mut plain = plain.into_iter().peekable();
            while let Some(byte) = plain.next() {
                let follows = plain.peek().copied();
                let crlf = byte == b'\r' && matches!(follows, None | Some(b'\n' | 0));
                if crlf {
                    plain.next();
                }
                stream.push((byte, crlf || byte == b'\n'));
            }
        }
        for line in stream.split_inclusive(|(_, is_end)| *is_end) {
            let line: Vec<u8> = line.iter().filter(|(_, is_end)| !is_end).map(|(byte, _)| *byte).collect();
            if line.len() > rules.max_line {
                out.too_long += 1;
                continue;
            }
            if rules.raw {
                out.text.extend(&line)
            } else {
                text::clean(&line, &mut out.text)
            }
            out.text.push(b'\n');
            out.lines += 1;
        }
        out
    }

    #[test]
    fn a_line_ends_with_lf_and_crlf_and_cr_nul_count_as_lf() {
        assert_eq!(text(b"a\nb\r\nc\r\0d\n"), "a\nb\nc\nd\n");
    }

    #[test]
    fn empty_lines_are_lines() {
        assert_eq!(frame(["\n\r\n\r\0\n"], RULES).lines, 4);
    }

    #[test]
    fn a_lone_carriage_return_is_a_control_byte() {
        assert_eq!(text(b"a\rb\n\rc\r\r\nd\0e\n"), "a^Mb\n^Mc^M\nd^@e\n");
    }

    #[test]
    fn an_unterminated_last_line_counts_and_nothing_makes_no_line() {
        assert_eq!(text(b"a\nlast"), "a\nlast\n");
        assert_eq!(text(b"hi\r"), "hi\n");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn a_line_that_was_flushed_at_a_carriage_return_swallows_the_rest_of_the_ending() {
        for rest in ["\n", "\0"] {
            let (mut framer, mut out) = (Framer::default(), Framed::default());
            framer.feed(b"hi\r", RULES, &mut out);
            framer.finish(RULES, &mut out);
            assert!(!framer.has_unfinished());
            framer.feed(rest.as_bytes(), RULES, &mut out);
            framer.feed(b"\nx\n", RULES, &mut out);
            assert_eq!(out.text, b"hi\n\nx\n");
        }
    }

    #[test]
    fn a_line_of_max_line_bytes_passes_and_one_more_is_dropped_and_counted_once() {
        let max = "x".repeat(40);
        let framed = frame([format!("{max}\n{max}x\n{max}{max}{max}\r\nok\n")], RULES);
        assert_eq!((framed.text, framed.lines, framed.too_long), (format!("{max}\nok\n").into_bytes(), 2, 2));
    }

    #[test]
    fn a_million_bytes_without_newline_are_one_dropped_line_and_no_memory() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        for _ in 0..1_000_000 {
            framer.feed(b"x", RULES, &mut out);
        }
        assert_eq!((out.too_long, framer.unfinished.capacity()), (1, 0));
        framer.finish(RULES, &mut out);
        assert_eq!(out.lines, 0, "dropping goes on to the newline");
        framer.feed(b"still\nback\n", RULES, &mut out);
        assert_eq!((out.text, out.too_long), (b"back\n".to_vec(), 1));
    }

    #[test]
    fn the_limit_may_shrink_in_the_middle_of_a_line() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        framer.feed(&[b'x'; 30], RULES, &mut out);
        framer.feed(b"y\nz\n", Rules { max_line: 8, ..RULES }, &mut out);
        assert_eq!((out.text, out.too_long), (b"z\n".to_vec(), 1));
    }

    #[test]
    fn between_lines_nothing_is_held() {
        let (mut framer, mut out) = (Framer::default(), Framed::default());
        framer.feed(b"unfinished", RULES, &mut out);
        framer.feed(b" and finished\n", RULES, &mut out);
        assert_eq!(framer, Framer::default());
        assert_eq!(framer.unfinished.capacity(), 0);
    }

    #[test]
    fn raw_relays_every_byte_as_it_is() {
        let bytes = b"a\r\n\xff\xfd\x06\x1b[2J\0\xe9\r\0\nlast";
        assert_eq!(frame([bytes], RAW).text, [bytes, &b"\n"[..]].concat());
    }

    #[test]
    fn telnet_commands_inside_a_line_are_taken_out_and_answered() {
        let framed = frame([b"he\xff\xfd\x01llo\r\0\xff\xf4\xff\xfd\x06"], RULES);
        assert_eq!(
            (&framed.text[..], &framed.reply[..]),
            (&b"hello\n"[..], &b"\xff\xfc\x01\xff\xfc\x06"[..])
        );
    }

    /// Streams made of what makes framing hard.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        const PARTS: [&[u8]; 18] = [
            b"\r",
            b"\n",
            b"\0",
            b"\r\n",
            b"\r\0",
            b"x",
            b"hello",
            b"\xff",
            b"\xff\xfd\x06",
            b"\xff\xfb\n",
            b"\xff\xfa\x18",
            b"\xff\xf0",
            b"\xff\xff",
            b"\xc3\xa9",
            b"\xc3",
            b"\x1b[2J",
            b"\xe2\x80\xae",
            b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ];
        let part = proptest::sample::select(&PARTS[..]).prop_map(<[u8]>::to_vec);
        vec(prop_oneof![8 => part, 1 => vec(any::<u8>(), 0..30)], 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_gives_the_same_lines(
            bytes in streams(), cuts in vec(any::<proptest::sample::Index>(), 0..8), raw in any::<bool>(),
        ) {
            let rules = Rules { raw, ..RULES };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
            let whole = frame([&bytes], rules);
            prop_assert_eq!(&frame(pieces, rules), &whole);
            prop_assert_eq!(&frame(bytes.chunks(1), rules), &whole);
        }

        #[test]
        fn the_short_cuts_change_nothing(bytes in streams(), raw in any::<bool>()) {
            let rules = Rules { raw, ..RULES };
            prop_assert_eq!(frame([&bytes], rules), reference(&bytes, rules));
        }

        #[test]
        fn what_comes_out_is_bounded_by_what_came_in(bytes in streams()) {
            let framed = frame([&bytes], RULES);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &framed.text).count(), framed.lines as usize);
            prop_assert!(framed.text.len() <= crate::protocol::MAX_GROWTH * bytes.len() + 1);
            prop_assert!(framed.reply.len() <= bytes.len());
        }
    }
}
