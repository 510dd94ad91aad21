//! One log line is one line: what is not printable is escaped, what is too long is cut.
//!
//! `queue` formats every log line through [`OneLine`]. It is the last line of defence against strangers' bytes: code
//! that logs them still quotes them. Never allocates more than [`MAX_TEXT`] and an escape.

use std::fmt;

/// The longest text of a log line, in bytes; syslog daemons commonly take 8 KiB, of which this is half.
pub(super) const MAX_TEXT: usize = 4096;

const CUT: &str = " [cut]";

/// Formats `arguments` as one printable line of at most [`MAX_TEXT`] bytes.
pub(super) fn one_line(arguments: fmt::Arguments<'_>) -> String {
    let mut line = OneLine { text: String::new() };
    if fmt::write(&mut line, arguments).is_err() {
        line.text.push_str(CUT);
    }
    line.text
}

/// Takes text and keeps it printable; refuses more when it is full.
struct OneLine {
    text: String,
}

impl fmt::Write for OneLine {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        part.chars().try_for_each(|c| self.push(c))
    }
}

impl OneLine {
    fn push(&mut self, c: char) -> fmt::Result {
        let escape = c.escape_debug();
        let length = if is_mark(c) { 1 } else { escape.clone().map(char::len_utf8).sum() };
        if self.text.len() + length > MAX_TEXT - CUT.len() {
            return Err(fmt::Error);
        }
        if is_mark(c) {
            self.text.push(c)
        } else {
            self.text.extend(escape)
        }
        Ok(())
    }
}

/// Printable characters that Rust escapes inside literals.
fn is_mark(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        one_line(format_args!("{text}"))
    }

    #[test]
    fn printable_text_passes_untouched() {
        for text in ["", "closed \"alice\" after 60s", r"C:\x", "grüße, 你好, 👋"] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn what_could_forge_a_line_or_drive_a_terminal_is_escaped() {
        for (text, expected) in [
            ("a\nb\r\n", r"a\nb\r\n"),
            ("\x1b[2J\x07", r"\u{1b}[2J\u{7}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("\u{202e}gnp\u{2066}", r"\u{202e}gnp\u{2066}"),
            ("\u{2028}\u{2029}\u{feff}", r"\u{2028}\u{2029}\u{feff}"),
            ("\0\t\x7f", r"\0\t\u{7f}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = escaped(&"ü".repeat(MAX_TEXT));
        assert!(line.len() <= MAX_TEXT && line.ends_with("ü [cut]"));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_printable_line(text in "\\PC{0,20}[\\x00-\\u{10ffff}]{0,2000}") {
            let line = escaped(&text);
            prop_assert!(line.len() <= MAX_TEXT);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
