//! Cleaning: makes the bytes of a line safe to show on any terminal.
//!
//! Control bytes except TAB become `^X`, bytes that are not UTF-8 become `\xNN` (lowercase hex, one for each byte), C1
//! controls, the line separators U+2028 and U+2029 and the bidi embeddings, overrides and isolates become `\u{...}`
//! (lowercase hex). All other text passes unchanged. The framer calls this for every line. The result is a way to show
//! bytes, not an encoding: a member can also type the four characters `\xff`. Clean text has no control byte except
//! TAB. Cleaning never fails.

use unicode_segmentation::UnicodeSegmentation;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// BS, which the Backspace key of some terminals sends.
pub const BACKSPACE: u8 = 0x08;
/// DEL, which the Backspace key of other terminals sends.
pub const DELETE: u8 = 0x7f;

/// Most bytes that a backspace deletes: more than the longest emoji has.
const LONGEST_CHARACTER: usize = 64;

/// Bytes that the fast path checks at a time: enough for the compiler to use the widest vectors.
const BLOCK_BYTES: usize = 64;

/// Appends `line`, which has no ending, to `out` in its clean form. That is at most
/// [`MAX_GROWTH`](super::MAX_GROWTH) times as long.
pub fn clean(line: &[u8], out: &mut Vec<u8>) {
    if is_clean(line) {
        return out.extend_from_slice(line);
    }
    for chunk in line.utf8_chunks() {
        clean_str(chunk.valid(), out);
        for &byte in chunk.invalid() {
            out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
    }
}

/// Cuts clean text to at most `most` bytes, at the end of a character.
pub fn cut(text: &mut Vec<u8>, most: usize) {
    let is_inside = |&at: &usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=most).rev().find(|at| !is_inside(at)).unwrap_or(0);
    text.truncate(end);
}

/// Returns the line as the sender's screen shows it: each BS or DEL deletes the character before it. A character is a
/// grapheme cluster (UAX 29), or one byte that is not UTF-8.
pub fn take_back(line: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(line.len());
    for &byte in line {
        if matches!(byte, BACKSPACE | DELETE) {
            left.truncate(left.len() - last_character(&left));
        } else {
            left.push(byte);
        }
    }
    left
}

/// Returns the length of the last character in bytes, at most [`LONGEST_CHARACTER`]; 0 if there is none.
fn last_character(text: &[u8]) -> usize {
    let tail = &text[text.len().saturating_sub(LONGEST_CHARACTER)..];
    match tail.utf8_chunks().last() {
        None => 0,
        Some(chunk) if !chunk.invalid().is_empty() => 1,
        Some(chunk) => chunk.valid().graphemes(true).next_back().map_or(0, str::len),
    }
}

/// Returns whether a line looks like UTF-16: every second byte is NUL, and no other, at least twice.
pub fn is_utf16(line: &[u8]) -> bool {
    let is_nul = |first: usize| line.iter().skip(first).step_by(2).all(|&byte| byte == 0);
    let has_nul = |first: usize| line.iter().skip(first).step_by(2).any(|&byte| byte == 0);
    (line.len() >= 4 && is_nul(1) && !has_nul(0)) || (line.len() >= 3 && is_nul(0) && !has_nul(1))
}

/// Returns whether the line is surely clean. Returns `false` for some clean lines with rare characters: this is the
/// fast path of [`clean`].
pub fn is_clean(line: &[u8]) -> bool {
    passes(line, |byte| is_odd(byte) || byte == b'\n')
}

/// Returns the same as [`is_clean`] for any number of lines, each with LF.
pub fn are_clean(lines: &[u8]) -> bool {
    passes(lines, is_odd)
}

/// Checks all bytes in one pass without a branch inside a block, which runs at the speed of memory. Checks UTF-8 only
/// if a byte is not ASCII. No character contains LF, so the lines together are valid UTF-8 if each of them is.
#[inline(always)]
fn passes(bytes: &[u8], odd: impl Fn(u8) -> bool) -> bool {
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut all = 0;
    for block in blocks {
        let (any_odd, bits) = survey(block, &odd);
        if any_odd {
            return false;
        }
        all |= bits;
    }
    let (any_odd, bits) = survey(rest, &odd);
    !any_odd && ((all | bits).is_ascii() || std::str::from_utf8(bytes).is_ok())
}

/// Returns whether any byte is odd, and the bitwise OR of all bytes.
#[inline(always)]
fn survey(bytes: &[u8], odd: impl Fn(u8) -> bool) -> (bool, u8) {
    bytes.iter().fold((false, 0), |(any, bits), &byte| (any | odd(byte), bits | byte))
}

/// Returns whether the byte is a control byte other than TAB and LF, or the first byte of a character that may become
/// `\u{...}`.
#[inline(always)]
fn is_odd(byte: u8) -> bool {
    let control = (byte < 0x20) & (byte != b'\t') & (byte != b'\n');
    control | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xe2)
}

/// Copies runs of harmless characters, and appends the others as [`show`] makes them.
fn clean_str(text: &str, out: &mut Vec<u8>) {
    let mut copied = 0;
    for (at, shown) in text.char_indices().filter(|&(_, c)| !is_harmless(c)) {
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        show(shown, out);
        copied = at + shown.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
}

fn is_harmless(c: char) -> bool {
    !matches!(c,
        '\0'..='\x08' | '\n'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn show(c: char, out: &mut Vec<u8>) {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => out.extend_from_slice(&[b'^', byte ^ 0x40]),
        _ => out.extend(c.escape_unicode().map(|ascii| ascii as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_GROWTH;
    use super::*;
    use proptest::prelude::*;

    fn cleaned(line: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        clean(line.as_ref(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn printable_text_and_tabs_pass_untouched() {
        let all_ascii: String = (' '..='~').collect();
        for line in ["", "a\tb", &all_ascii, "Grüße, «ok» – “quoted” … 你好 👩‍🚀 \u{a0}\u{200b}\u{feff}"]
        {
            assert_eq!(cleaned(line), line);
        }
    }

    #[test]
    fn control_bytes_are_shown_in_caret_form() {
        let carets = "^@^A^B^C^D^E^F^G^H\t^J^K^L^M^N^O^P^Q^R^S^T^U^V^W^X^Y^Z^[^\\^]^^^_";
        assert_eq!(cleaned((0..0x20).collect::<Vec<u8>>()), carets);
        assert_eq!(cleaned("\x7f"), "^?");
        assert_eq!(cleaned("\x1b]52;c;aGk=\x07"), "^[]52;c;aGk=^G");
    }

    #[test]
    fn each_byte_that_is_not_utf8_is_shown_in_hex() {
        assert_eq!(cleaned(b"caf\xe9!"), "caf\\xe9!");
        assert_eq!(cleaned(b"\xc0\x80 \xff\xfe"), "\\xc0\\x80 \\xff\\xfe");
        assert_eq!(cleaned(b"\xed\xa0\x80"), "\\xed\\xa0\\x80", "a surrogate is no character");
        assert_eq!(cleaned(b"ok \xf0\x9f\x91"), "ok \\xf0\\x9f\\x91", "a character cut off at the end");
        assert_eq!(cleaned(b"\xc3"), "\\xc3");
    }

    #[test]
    fn c1_separators_and_bidi_controls_are_shown_as_code_points() {
        let mut shown: Vec<u32> = (0x80..=0x9f).collect();
        shown.extend(0x2028..=0x202e);
        shown.extend(0x2066..=0x2069);
        for code in shown {
            let c = char::from_u32(code).unwrap();
            assert_eq!(cleaned(format!("a{c}b")), format!("a\\u{{{code:x}}}b"));
        }
    }

    fn after_backspaces(line: impl AsRef<[u8]>) -> String {
        String::from_utf8(take_back(line.as_ref())).unwrap()
    }

    #[test]
    fn a_backspace_takes_back_what_shows_as_one_character() {
        assert_eq!(after_backspaces("helo\x08lo"), "hello");
        assert_eq!(after_backspaces("helo\x7flo"), "hello");
        assert_eq!(after_backspaces("\x08\x7fa"), "a", "there is nothing to take back");
        for one in ["é", "e\u{301}", "你", "👩\u{200d}🚀", "🇩🇪", "\t"] {
            assert_eq!(after_backspaces(format!("a{one}\x08b")), "ab", "{one}");
            assert_eq!(after_backspaces(format!("{one}{one}\x08b")), format!("{one}b"), "{one}");
        }
        assert_eq!(take_back(b"caf\xe9\xe9\x08"), b"caf\xe9", "one byte of Latin-1");
        assert_eq!(take_back(b"\xe4\xbd\x08\x08ok"), b"ok", "half a character is a byte each");
    }

    #[test]
    fn a_character_that_never_ends_is_taken_back_in_pieces() {
        let long = format!("a{}", "\u{301}".repeat(1000));
        let left = take_back(format!("{long}\x08").as_bytes());
        assert_eq!(left.len(), long.len() - LONGEST_CHARACTER);
        assert_eq!(after_backspaces(format!("{long}{}b", "\x08".repeat(100))), "b");
    }

    #[test]
    fn utf16_is_known_by_its_nuls() {
        let bytes =
            |text: &str, of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        for text in ["hi", "hello world", "a\u{e9}"] {
            assert!(is_utf16(&bytes(text, u16::to_le_bytes)), "{text}");
            assert!(is_utf16(&bytes(text, u16::to_be_bytes)), "{text}");
        }
        assert!(is_utf16(b"\0a\0"), "without the second half of its ending");
        for line in
            [&b""[..], b"\0", b"\0\0\0\0", b"a\0", b"\0a", b"hello\0", b"\0hello", b"a\0b\0\0\0", b"a\0bc"]
        {
            assert!(!is_utf16(line), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn text_is_cut_at_the_end_of_a_character() {
        for (most, left) in
            [(9, "a\u{e9}你"), (6, "a\u{e9}你"), (5, "a\u{e9}"), (3, "a\u{e9}"), (2, "a"), (0, "")]
        {
            let mut text = "a\u{e9}你".as_bytes().to_vec();
            cut(&mut text, most);
            assert_eq!(text, left.as_bytes(), "{most}");
        }
    }

    #[test]
    fn their_neighbours_pass() {
        for c in ['\u{a0}', '\u{2027}', '\u{202f}', '\u{2065}', '\u{206a}'] {
            assert_eq!(cleaned(c.to_string()), c.to_string());
        }
    }

    #[test]
    fn one_odd_byte_is_found_wherever_it_stands() {
        for at in 0..3 * BLOCK_BYTES {
            for odd in [0x00, 0x0a, 0x1b, 0x7f, 0x80, 0xff] {
                let mut line = vec![b'x'; 3 * BLOCK_BYTES];
                line[at] = odd;
                assert!(!is_clean(&line), "{odd:#x} at {at}");
                assert_eq!(are_clean(&line), odd == 0x0a, "{odd:#x} at {at}");
            }
        }
    }

    #[test]
    fn growth_reaches_its_bound_and_no_more() {
        let grown = |line: &str| cleaned(line).len();
        assert_eq!(cleaned(b"\xff\xfe\x80").len(), 3 * MAX_GROWTH);
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(grown(c.encode_utf8(&mut [0; 4])) <= MAX_GROWTH * c.len_utf8(), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn taking_back_never_adds_and_leaves_no_backspace(line in "[a-cé你\u{301}\x08\x7f]{0,60}") {
            let left = after_backspaces(&line);
            prop_assert!(!left.contains(['\x08', '\x7f']));
            prop_assert!(left.len() <= line.len());
        }

        #[test]
        fn nothing_but_clean_text_comes_out(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let out = cleaned(&line);
            prop_assert!(out.chars().all(is_harmless), "{out:?}");
            prop_assert!(out.len() <= MAX_GROWTH * line.len());
            prop_assert_eq!(cleaned(&out), out, "clean text is left alone");
        }

        #[test]
        fn the_fast_path_agrees_with_the_slow_one(line in "[ -~\t\u{80}-\u{a5}éñ–“你\u{2020}-\u{2070}]{0,150}") {
            let mut slow = Vec::new();
            clean_str(&line, &mut slow);
            prop_assert_eq!(cleaned(&line).into_bytes(), slow.clone());
            if is_clean(line.as_bytes()) {
                prop_assert_eq!(line.into_bytes(), slow);
            }
        }
    }
}
