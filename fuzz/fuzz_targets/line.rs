//! Framing and cleaning on arbitrary bytes, cut and finished at arbitrary places.
//!
//! The first byte of the input chooses the rules, then each piece has a byte in front of it: its length, and whether
//! the line is finished after it. Whatever comes in: the cuts change nothing, nothing unclean comes out, and
//! nothing is held that need not be. Run by `cargo fuzz run line`.
#![no_main]

use chatd::protocol::{
    FOREIGN_BYTES, Foreign, Framed, Framer, LineEnd, MAX_GROWTH, Opening, Rules, SHOWN_GROWTH,
};
use libfuzzer_sys::fuzz_target;

/// A piece of the stream, and whether it is followed by a finish.
type Piece<'a> = (&'a [u8], bool);

fuzz_target!(|input: &[u8]| {
    let [chosen, stream @ ..] = input else { return };
    let rules = Rules { max_line: usize::from(chosen >> 1), raw: chosen & 1 == 1 };
    let pieces = pieces(stream);
    let out = framed(&pieces, rules);
    let bytes: Vec<Piece> = pieces.iter().flat_map(bytewise).collect();
    assert_eq!(framed(&bytes, rules), out, "one byte at a time");
    check(&pieces, rules, &out);
    check_opening(&pieces);
});

fn pieces(mut stream: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let [head, rest @ ..] = stream {
        let (piece, after) = rest.split_at(usize::from(head >> 1).min(rest.len()));
        pieces.push((piece, head & 1 == 1));
        stream = after;
    }
    pieces
}

fn bytewise<'a>(&(piece, finish): &Piece<'a>) -> Vec<Piece<'a>> {
    let mut bytes: Vec<Piece> = piece.chunks(1).map(|byte| (byte, false)).collect();
    bytes.push((&[], finish));
    bytes
}

fn framed(pieces: &[Piece], rules: Rules) -> Framed {
    let (mut framer, mut out) = (Framer::default(), Framed::default());
    for (piece, finish) in pieces {
        framer.feed(piece, rules, &mut out);
        if *finish {
            let (had, lines, too_long) = (framer.has_unfinished(), out.lines, out.too_long);
            framer.finish(rules, &mut out);
            let made = out.lines - lines;
            // An IAC or CR that turns out to be text may be what makes the line too long. A first line that ends in CR may
            // have more of them in it.
            let is_dropped = made == 0 && (out.too_long > too_long || out.is_utf16);
            assert!(!framer.is_begun());
            assert!(
                made == u32::from(had)
                    || is_dropped
                    || matches!(framer.line_end, LineEnd::Cr | LineEnd::First)
            );
        }
        assert!(framer.unfinished.capacity() <= rules.max_line);
        assert!(!framer.unfinished.is_empty() || framer.unfinished.capacity() == 0);
        assert!(!framer.dropping || framer.unfinished.is_empty());
    }
    out
}

fn check(pieces: &[Piece], rules: Rules, out: &Framed) {
    let stream: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
    let finishes = pieces.iter().filter(|(_, finish)| *finish).count();
    let is_ending = |byte: &u8| *byte == b'\n' || (!rules.raw && matches!(*byte, 0 | b'\r'));
    let newlines = stream.iter().filter(|byte| is_ending(byte)).count();
    let lines: Vec<&[u8]> = out.text.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), out.lines as usize);
    assert!(
        lines.iter().all(|line| line.ends_with(b"\n") && line.len() <= SHOWN_GROWTH * rules.max_line + 1)
    );
    assert!(lines.len() <= newlines + finishes);
    assert!(out.text.len() <= MAX_GROWTH * stream.len() + finishes);
    assert!(out.reply.len() <= stream.len());
    if rules.raw {
        return assert!(out.reply.is_empty());
    }
    let text = std::str::from_utf8(&out.text).expect("clean text is UTF-8");
    let bidi = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(|c: char| bidi(c) || (c.is_control() && c != '\t' && c != '\n')));
}

fn check_opening(pieces: &[Piece]) {
    let (mut cut, mut whole) = (Opening::default(), Opening::default());
    // What comes behind the first line counts only if it was read with it.
    let stream: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
    let end = stream.iter().position(|&byte| byte == b'\n').map_or(stream.len(), |at| at + 1);
    let verdicts: Vec<Foreign> = stream[..end].chunks(3).filter_map(|piece| cut.feed(piece)).collect();
    assert_eq!(verdicts, Vec::from_iter(whole.feed(&stream[..end])));
    for opening in [&cut, &whole] {
        assert!(opening.begun.len() <= FOREIGN_BYTES);
        assert!(opening.begun.is_empty() || !opening.is_decided());
    }
}
