//! Commands that cannot be seen as such: behind blanks, control bytes and characters that nobody sees, or with a slash
//! that only looks like one.
//!
//! ` /msg bob secret` looks like a command to whoever typed it, and is a line like any other to [`command::read`]. For
//! somebody with a name the session asks [`find`] before it passes a line on; the line is then refused, and never said.
//! Lines come in clean: a control byte is `^X` by then. Never takes a line for a command whose first visible characters
//! are none.

use memchr::memmem;
use unicode_normalization::char::is_combining_mark;

#[cfg(doc)]
use super::command;
use super::command::Spec;

/// What shows as a slash; the first is one.
const SLASHES: [char; 4] = ['/', '\u{ff0f}', '\u{2044}', '\u{2215}'];

/// Whether [`find`] may find something in one of these lines. Says no to nearly all that have no slash in them.
pub fn is_worth_a_look(lines: &[u8]) -> bool {
    let has = |slash: &char| memmem::find(lines, slash.encode_utf8(&mut [0; 4]).as_bytes()).is_some();
    has(&SLASHES[0]) || (!lines.is_ascii() && SLASHES.iter().any(has))
}

/// The command that a clean line, without its LF, seems to begin with although [`command::read`] sees none, also if it
/// is mistyped.
pub fn find(line: &[u8]) -> Option<&'static Spec> {
    let text = std::str::from_utf8(line).ok()?;
    if text.starts_with('/') {
        return None;
    }
    let rest = unseen_before(text).strip_prefix(SLASHES)?;
    // Two of them say one.
    if unseen_before(rest).starts_with(SLASHES) {
        return None;
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let word: String = rest[..end].chars().filter(|c| !is_unseen(*c)).collect();
    Spec::find(&word).or_else(|| Spec::nearest(&word))
}

/// The text from its first visible character on.
fn unseen_before(mut text: &str) -> &str {
    while let Some(rest) = without_control(text).or_else(|| text.strip_prefix(is_unseen)) {
        text = rest;
    }
    text
}

/// The text behind what cleaning makes of a control byte, a byte that is not UTF-8, or a key that sends ESC first.
fn without_control(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('^') {
        let rest = rest.strip_prefix(|c| matches!(c, '?'..='_'))?;
        return Some(if text.starts_with("^[") { without_key(rest) } else { rest });
    }
    if let Some(rest) = text.strip_prefix("\\u{") {
        return rest.split_once('}').filter(|(code, _)| is_hex(code)).map(|(_, rest)| rest);
    }
    let (code, rest) = text.strip_prefix("\\x")?.split_at_checked(2)?;
    is_hex(code).then_some(rest)
}

/// The text behind the rest of an escape sequence (ECMA-48, 5.4): an arrow key sends ESC, `[` or `O`, and a letter.
fn without_key(text: &str) -> &str {
    let parameters = text
        .strip_prefix(['[', 'O'])
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == '?'));
    parameters
        .and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_alphabetic() || c == '~'))
        .unwrap_or(text)
}

fn is_hex(code: &str) -> bool {
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a character shows nothing where it stands alone: blanks, what is ignored by default (UAX 44), marks without a
/// letter to stand on.
fn is_unseen(c: char) -> bool {
    let is_ignorable = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    c.is_whitespace() || is_ignorable || is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    fn found(line: &[u8]) -> Option<&'static str> {
        let mut clean = Vec::new();
        text::clean(line, &mut clean);
        let spec = find(&clean).map(|spec| spec.name);
        assert!(spec.is_none() || is_worth_a_look(&clean));
        spec
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
            "\u{85}",
            "\u{202e}",
            "\u{2066}",
            " \x1b[B\u{200b} ",
        ] {
            assert_eq!(found(format!("{before}/msg bob secret").as_bytes()), Some("msg"), "{before:?}");
            assert_eq!(found(format!("{before}/mgs bob secret").as_bytes()), Some("msg"), "{before:?}");
        }
        assert_eq!(found(b"\xe9/MSG bob secret"), Some("msg"), "a byte that is no character");
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
        assert!(find(b"\xff /msg").is_none(), "with `raw` it may be no text");
        assert!(!is_worth_a_look("no slash at all \u{e9}\n".as_bytes()));
    }
}
