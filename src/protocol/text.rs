//! Making a line safe to show: nobody can drive somebody else's terminal.
//!
//! Printable UTF-8 and TAB pass untouched. Control bytes become `^X`, bytes that are no UTF-8 `\xnn`, and
//! the characters that a terminal obeys or that change the order of what is shown `\u{...}`. Called by
//! `line` for each line that is not plain ASCII. The result is always valid UTF-8 without control
//! characters other than TAB.

use std::io::Write;

/// How many bytes are looked at before deciding whether to look further: long enough for the compiler to
/// use vector instructions, short enough to stop early.
const BLOCK: usize = 1024;

/// Says whether `bytes` holds nothing but printable ASCII, TAB and LF.
pub fn is_plain(bytes: &[u8]) -> bool {
    let is_odd = |byte: u8| (byte.wrapping_sub(b' ') >= 0x5f) & (byte != b'\t') & (byte != b'\n');
    bytes.chunks(BLOCK).all(|block| !block.iter().fold(false, |odd, &byte| odd | is_odd(byte)))
}

/// Appends `line`, which has no LF, to `out` as it is to be shown.
pub fn clean(line: &[u8], out: &mut Vec<u8>) {
    if is_plain(line) {
        return out.extend_from_slice(line);
    }
    for chunk in line.utf8_chunks() {
        clean_text(chunk.valid(), out);
        for byte in chunk.invalid() {
            show(out, format_args!("\\x{byte:02x}"));
        }
    }
}

fn clean_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match escape(&bytes[at..]) {
            None => at += 1,
            Some(len) => {
                out.extend_from_slice(&bytes[copied..at]);
                show_char(&text[at..at + len], out);
                at += len;
                copied = at;
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// The length of the character at the head of `bytes` if it must not be shown as it is.
fn escape(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [b'\t', ..] => None,
        [..0x20 | 0x7f, ..] => Some(1),
        // C1 controls, U+0080 to U+009F: some terminals take U+009B for ESC [.
        [0xc2, 0x80..=0x9f, ..] => Some(2),
        // Line and paragraph separator, U+2028 and U+2029; bidi embeddings and overrides, U+202A to U+202E.
        [0xe2, 0x80, 0xa8..=0xae, ..] => Some(3),
        // Bidi isolates, U+2066 to U+2069.
        [0xe2, 0x81, 0xa6..=0xa9, ..] => Some(3),
        _ => None,
    }
}

fn show_char(character: &str, out: &mut Vec<u8>) {
    match character.as_bytes() {
        [control] => out.extend_from_slice(&[b'^', control ^ 0x40]),
        _ => character.chars().for_each(|c| show(out, format_args!("{}", c.escape_unicode()))),
    }
}

fn show(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::MAX_GROWTH;

    fn cleaned(line: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        clean(line.as_ref(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn printable_utf8_and_tab_pass_untouched() {
        for line in
            ["", "hello\tworld ~", "Grüße, 世界, 👩‍👩‍👧 e\u{301} שלום", "\u{a0}\u{2027}\u{202f}\u{2065}\u{206a}"]
        {
            assert_eq!(cleaned(line), line);
        }
    }

    #[test]
    fn control_bytes_are_shown_in_caret_form() {
        assert_eq!(cleaned(b"\x1b[2J\x00\x07\x0d\x1f\x7f"), "^[[2J^@^G^M^_^?");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_shown_in_hex() {
        assert_eq!(cleaned(b"caf\xe9 \xff\xc0\xaf \xe2\x82"), r"caf\xe9 \xff\xc0\xaf \xe2\x82");
        assert_eq!(cleaned(b"\xed\xa0\x80"), r"\xed\xa0\x80", "a surrogate");
        assert_eq!(cleaned(b"\x9b2J"), r"\x9b2J", "a bare C1 control");
    }

    #[test]
    fn c1_separators_and_bidi_overrides_are_shown_by_number() {
        assert_eq!(cleaned("\u{80}\u{9b}31m\u{9f}"), r"\u{80}\u{9b}31m\u{9f}");
        assert_eq!(cleaned("a\u{2028}b\u{2029}"), r"a\u{2028}b\u{2029}");
        assert_eq!(cleaned("\u{202a}\u{202e}evil\u{2066}\u{2069}"), r"\u{202a}\u{202e}evil\u{2066}\u{2069}");
    }

    #[test]
    fn every_character_that_unicode_calls_a_control_is_escaped() {
        for c in
            (0..=0x10ffff).filter_map(char::from_u32).filter(|c| c.is_control() && !matches!(c, '\t' | '\n'))
        {
            assert!(!cleaned(c.to_string()).contains(c), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_clean_text_comes_out(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let shown = cleaned(&line);
            prop_assert!(shown.chars().all(|c| c == '\t' || !c.is_control()), "{shown:?}");
            let is_safe = !shown.contains(['\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}']);
            prop_assert!(is_safe);
            prop_assert!(shown.len() <= MAX_GROWTH * line.len());
        }

        #[test]
        fn plain_means_that_cleaning_changes_nothing(line in "[ -~\t]{0,3000}") {
            prop_assert!(is_plain(line.as_bytes()));
            prop_assert_eq!(cleaned(&line), line);
        }
    }

    #[test]
    fn one_odd_byte_anywhere_is_not_plain() {
        for len in [1, 63, 64, 65, BLOCK, BLOCK + 1, 3 * BLOCK] {
            for at in [0, len / 2, len - 1] {
                for odd in [0, 8, 11, 13, 27, 31, 127, 128, 255] {
                    let mut bytes = vec![b'x'; len];
                    assert!(is_plain(&bytes));
                    bytes[at] = odd;
                    assert!(!is_plain(&bytes), "{odd} at {at} of {len}");
                }
            }
        }
    }
}
