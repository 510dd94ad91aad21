//! Hidden commands: behind blanks, control bytes or invisible characters, or with a character that only looks like a
//! slash.
//!
//! ` /msg bob secret` looks like a command to the member who typed it, but [`super::syntax::read`] takes it for text. For a
//! member with a name, the hub calls [`find`] before it sends a line to the room, and refuses a hidden command.
//! [`find`] looks at the line as it is shown, where a control byte is `^X`. It never takes a line for a command whose
//! first visible characters are not a slash and a word.

use memchr::memmem;
use unicode_normalization::char::is_combining_mark;

#[cfg(doc)]
use super::command;
use super::syntax::Spec;
use super::text;

/// The slash, and the characters that look like it.
const SLASHES: [char; 6] = ['/', '\u{ff0f}', '\u{2044}', '\u{2215}', '\u{29f8}', '\u{2571}'];

/// A hidden command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disguised {
    /// The command, also for a mistyped word; `None` if the word is like none of them.
    pub meant: Option<&'static Spec>,
}

/// Returns whether [`find`] may find something in one of these lines: a fast check that is `false` for nearly all lines
/// without a slash.
pub fn is_worth_a_look(lines: &[u8]) -> bool {
    let has = |slash: &char| memmem::find(lines, slash.encode_utf8(&mut [0; 4]).as_bytes()).is_some();
    has(&SLASHES[0]) || (!lines.is_ascii() && SLASHES.iter().any(has))
}

/// Returns the hidden command at the beginning of a line, which has no LF; `None` if there is none, or if
/// [`super::syntax::read`] sees it. Behind blanks alone, only a word counts that is a command or nearly one: people indent
/// what they paste.
pub fn find(line: &[u8]) -> Option<Disguised> {
    if line.starts_with(b"/") || !is_worth_a_look(line) {
        return None;
    }
    // With `raw` the line is not clean yet.
    let mut clean = Vec::with_capacity(line.len());
    text::clean(&text::take_back(line), &mut clean);
    let text = std::str::from_utf8(&clean).ok()?;
    let seen = from_first_seen(text);
    let rest = seen.strip_prefix(SLASHES)?;
    // Two slashes say one.
    if from_first_seen(rest).starts_with(SLASHES) {
        return None;
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let word: String = rest[..end].chars().filter(|c| !is_unseen(*c)).collect();
    let meant = Spec::find(&word).or_else(|| Spec::nearest(&word));
    let before = &text[..text.len() - seen.len()];
    let is_hidden = !before.chars().all(|c| matches!(c, ' ' | '\t'));
    let is_word = !word.is_empty() && word.chars().all(char::is_alphabetic);
    (meant.is_some() || (is_hidden && is_word)).then_some(Disguised { meant })
}

/// Returns the text from its first visible character on.
fn from_first_seen(mut text: &str) -> &str {
    while let Some(rest) = without_control(text).or_else(|| text.strip_prefix(is_unseen)) {
        text = rest;
    }
    text
}

/// Returns the text behind what cleaning makes of a control byte, of a byte that is not UTF-8, or of the bytes that a
/// key sends. `None` if the text begins with none of these.
fn without_control(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("^[") {
        return Some(without_key(rest));
    }
    if let Some(rest) = text.strip_prefix('^') {
        return rest.strip_prefix(|c| matches!(c, '?'..='_'));
    }
    let (code, rest) = match text.strip_prefix("\\u{") {
        Some(rest) => rest.split_once('}')?,
        None => text.strip_prefix("\\x")?.split_at_checked(2)?,
    };
    let is_csi = code.eq_ignore_ascii_case("9b");
    is_hex(code).then(|| if is_csi { without_sequence(rest) } else { rest })
}

/// Returns the text behind the bytes that a key sends after ESC.
fn without_key(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix('[') {
        // The function keys of the Linux console send two of them (console_codes(4)).
        return without_sequence(rest.strip_prefix('[').unwrap_or(rest));
    }
    if let Some(rest) = text.strip_prefix(']') {
        // A report of the terminal about its title or colours, up to BEL or ESC \\ (ECMA-48, 8.3.89: OSC).
        let end = rest.find("^G").or_else(|| rest.find("^[\\"));
        return end.map_or(rest, |end| rest[end + 2..].strip_prefix('\\').unwrap_or(&rest[end + 2..]));
    }
    // Alt and a key send one letter, some function keys `O` and a letter.
    let rest = text.strip_prefix('O').unwrap_or(text);
    rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest)
}

/// Returns the text behind the rest of a control sequence: parameters, intermediate bytes and the final byte (ECMA-48,
/// 5.4).
fn without_sequence(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| matches!(c, '0'..='?'));
    let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
    rest.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(text)
}

fn is_hex(code: &str) -> bool {
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether a character shows nothing if it stands alone: white space, a default ignorable code point (UAX 44),
/// or a combining mark.
fn is_unseen(c: char) -> bool {
    let is_ignorable = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    c.is_whitespace() || is_ignorable || is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    /// The command that is found; empty for one that nobody knows.
    fn found(line: &[u8]) -> Option<&'static str> {
        let mut clean = Vec::new();
        text::clean(&text::take_back(line), &mut clean);
        // Without `raw` what is taken back is gone by then.
        assert!(clean.starts_with(b"/") || find(&clean) == find(line), "with `raw` and without");
        Some(find(line)?.meant.map_or("", |spec| spec.name))
    }

    #[test]
    fn a_command_behind_what_nobody_sees_is_found() {
        for before in [
            " ",
            "\t  ",
            "\u{a0}",
            "\u{3000}",
            "\u{200b}",
            "\u{feff}",
            "\u{2060}",
            "\u{ad}",
            "\u{301}",
            "\u{fe0f}",
            "\u{2800}",
            "\u{e0020}",
            "\x01",
            "\x1b",
            "\x1b[A",
            "\x1bOA",
            "\x1b[1;5C",
            "\x1b[3~",
            "\x07",
            "\0",
            "\x1b[[A",
            "\x1b[<0;3;4M",
            "\x1b[97:65;5u",
            "\x1b[>1;2c",
            "\u{9b}A",
            "\x1bb",
            "\x1b]0;title\x07",
            "\x1b]0;t\x1b\\",
            "\u{fffc}",
            "x\x08",
            "\u{85}",
            "\u{202e}",
            "\u{2066}",
            " \x1b[B\u{200b} ",
        ] {
            assert_eq!(found(format!("{before}/msg bob secret").as_bytes()), Some("msg"), "{before:?}");
            assert_eq!(found(format!("{before}/mgs bob secret").as_bytes()), Some("msg"), "{before:?}");
        }
        assert_eq!(found(b"\xe9/MSG bob secret"), Some("msg"), "a byte that is no character");
        assert_eq!(found(b"\x9b1~/msg bob secret"), Some("msg"), "a key with eight bits");
        assert_eq!(found(b"\x01/mesage bob secret"), Some(""), "nobody says that by accident");
        assert_eq!(found(b"\x01/mesage"), Some(""));
        assert_eq!(found(b" /quit"), Some("quit"));
        assert_eq!(found(" /m\u{200b}sg bob secret".as_bytes()), Some("msg"));
    }

    #[test]
    fn a_slash_that_only_looks_like_one_is_found() {
        for slash in &SLASHES[1..] {
            assert_eq!(found(format!("{slash}msg bob secret").as_bytes()), Some("msg"), "{slash}");
        }
    }

    #[test]
    fn other_lines_are_lines() {
        for line in [
            "",
            "/",
            "hello",
            " hello",
            "/msg bob hi",
            "  // a comment",
            " //msg",
            "\u{ff0f}/msg",
            "  /* a comment */",
            " /usr/bin/foo failed",
            "\u{feff}/usr/bin/foo failed",
            "\u{feff}/usr/bin/foo failed",
            "  /mesage bob",
            " /",
            "see /msg",
            "a/msg",
            "^ /msg",
            "^/msg",
            "\\x/msg",
            "\\u{/msg",
            "1 / 2",
            "\u{301}",
        ] {
            assert_eq!(found(line.as_bytes()), None, "{line:?}");
        }
        assert!(!is_worth_a_look("no slash at all \u{e9}\n".as_bytes()));
    }
}
