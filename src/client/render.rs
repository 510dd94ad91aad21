//! How objects look: lines of the `names` or `plain` view, with colours and times, broken so that no row lies.
//!
//! `session` hands in each object and shows what comes back. Every text in it is cleaned here, for JSON can spell control
//! characters that no cleaning of the line itself would see. Writes nothing.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::link::clean;
use crate::protocol::View;
use crate::protocol::object::{Change, Line, Object};

/// The colours of names, as SGR parameters: those that can be read on dark and on light screens.
const COLOURS: [&str; 6] = ["31", "32", "33", "34", "35", "36"];

/// Notices, and who comes and goes: faint.
const FAINT: &str = "2";

/// A line with your name: bold, with the name in reverse.
const MENTION: &str = "1";

/// What a row begins with that goes on with the line above: nobody's name begins so.
const INDENT: &str = "    ";

/// Terminals that are narrower have no room for an indent of more than one column.
const NARROW: usize = 16;

/// How lines are shown.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which view they look like.
    pub view: View,
    /// Whether there is a time before each.
    pub times: bool,
    /// Whether names, notices and lines with your name have colours.
    pub has_colours: bool,
}

/// A line to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The line, with its colours.
    pub text: String,
    /// Somebody has said it, in the room or to you alone.
    pub is_said: bool,
    /// It has your name in it, or is for you alone.
    pub is_for_you: bool,
}

impl Look {
    /// The line for an object; `line` is what it was read from, `you` what you are called. None for what the view does not
    /// show.
    pub fn object(&self, object: &Object<'_>, line: &str, you: &str) -> Option<Shown> {
        let (text, is_said, is_for_you) = match object {
            Object::Message(said) => (self.said(said, false, you), true, mentions(&said.text, you)),
            Object::Emote(said) => (self.said(said, true, you), true, mentions(&said.text, you)),
            Object::Private { time, from, verified, text, .. } => {
                let from = self.name(from, *verified);
                let text = format!("{}[{from} -> you] {}", self.clock(time), clean(text.as_bytes()));
                (self.highlighted(text), true, true)
            }
            Object::Join(_) | Object::Leave(_) | Object::Rename(_) if self.view == View::Plain => {
                return None;
            }
            Object::Epoch { .. } if self.view != View::Json => return None,
            Object::Join(change) => (self.change(change, "joined"), false, false),
            Object::Leave(change) => (self.change(change, "left"), false, false),
            Object::Rename(change) => (self.change(change, "is now"), false, false),
            Object::Unknown => (line.to_owned(), false, false),
            other => (self.notice(&other.to_string()), false, false),
        };
        let text = if self.view == View::Json { line.to_owned() } else { text };
        Some(Shown { text, is_said, is_for_you })
    }

    /// A line that came as text.
    pub fn text(&self, line: &str) -> String {
        self.clock(&Timestamp::now().to_string()) + line
    }

    /// A line that you say, as others see it.
    pub fn own(&self, name: &str, verified: bool, text: &str, is_emote: bool) -> String {
        let (name, clock) = (self.name(name, verified), self.clock(&Timestamp::now().to_string()));
        let text = clean(text.as_bytes());
        if is_emote { format!("{clock}* {name} {text}") } else { format!("{clock}<{name}> {text}") }
    }

    /// A line from the daemon itself.
    pub fn notice(&self, text: &str) -> String {
        self.faint(&format!("-!- {}", clean(text.as_bytes())))
    }

    /// A line that does not matter much.
    pub fn faint(&self, text: &str) -> String {
        self.styled(FAINT, text)
    }

    fn said(&self, said: &Line<'_>, is_emote: bool, you: &str) -> String {
        let name = self.name(&said.from, said.verified);
        let text = clean(said.text.as_bytes());
        let clock = self.clock(&said.time);
        let text = match is_emote {
            true => format!("{clock}* {name} {text}"),
            false if self.view == View::Plain => clock + &text,
            false => format!("{clock}<{name}> {text}"),
        };
        if mentions(&said.text, you) { self.highlighted(text) } else { text }
    }

    fn change(&self, change: &Change<'_>, verb: &str) -> String {
        let name = marked(&change.name, change.verified);
        let words = match (&change.from, change.members) {
            (Some(from), _) => format!("{} {verb} {name}", clean(from.as_bytes())),
            (None, Some(members)) => format!("{name} {verb} ({members} here)"),
            (None, None) => format!("{name} {verb}"),
        };
        format!("{}{}", self.clock(&change.time), self.notice(&words))
    }

    /// A name, always in the same colour.
    fn name(&self, name: &str, verified: bool) -> String {
        let name = marked(name, verified);
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.styled(COLOURS[sum % COLOURS.len()], &name)
    }

    /// The whole line in bold: what has an end of colours in it goes on in bold.
    fn highlighted(&self, text: String) -> String {
        if !self.has_colours {
            return text;
        }
        let text = text.replace("\x1b[0m", &format!("\x1b[0m\x1b[{MENTION}m"));
        self.styled(MENTION, &text)
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `15:48 `, or nothing. The zone is looked up each time, for it may change.
    fn clock(&self, time: &str) -> String {
        let Some(time) = self.times.then(|| time.parse::<Timestamp>().ok()).flatten() else {
            return String::new();
        };
        let local = TimeZone::system().to_datetime(time);
        format!("{:02}:{:02} ", local.hour(), local.minute())
    }
}

/// A name, with a `+` if the kernel says so.
pub fn marked(name: &str, verified: bool) -> String {
    format!("{}{}", if verified { "+" } else { "" }, clean(name.as_bytes()))
}

/// Whether a text has a name in it, as a word, in lower or upper case. The node of a name may be left out.
pub fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let login = name.split('@').next().unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let is_it = |at: usize| {
        let rest = &text[at + login.len()..];
        let is_other = rest.starts_with('@') && !text[at..].starts_with(&name);
        !text[..at].ends_with(is_part) && !rest.starts_with(is_part) && !is_other
    };
    !login.is_empty() && text.match_indices(login).any(|(at, _)| is_it(at))
}

/// Breaks a line into rows of at most `columns`, at blanks where that is possible. All rows but the first are indented: what
/// stands at the beginning of a row is where names stand. Colours take no columns; TABs become blanks.
pub fn rows(line: &str, columns: usize) -> Vec<String> {
    let indent = if columns < NARROW { " " } else { INDENT };
    let columns = columns.max(2);
    let (mut rows, mut row, mut used) = (Vec::new(), String::new(), 0);
    // Where the row may be broken: the bytes and columns before the last blank.
    let mut blank = None;
    let mut rest = line;
    while !rest.is_empty() {
        let colours = colours_len(rest);
        if colours > 0 {
            row.push_str(&rest[..colours]);
            rest = &rest[colours..];
            continue;
        }
        let Some(cluster) = rest.graphemes(true).next() else { break };
        rest = &rest[cluster.len()..];
        let spaces = " ".repeat(8 - used % 8);
        let cluster = if cluster == "\t" { spaces.as_str() } else { cluster };
        let needed = cluster.width();
        if used + needed > columns {
            let (bytes, before) = blank.take().filter(|_| cluster != " ").unwrap_or((row.len(), used));
            let tail = row.split_off(bytes);
            rows.push(std::mem::take(&mut row));
            row = format!("{indent}{tail}");
            used = indent.len() + used - before;
        }
        row.push_str(cluster);
        used += needed;
        if cluster == " " && used > indent.len() + columns / 2 {
            blank = Some((row.len(), used));
        }
    }
    rows.push(row);
    rows
}

/// The length of the colours that begin here.
fn colours_len(text: &str) -> usize {
    if text.starts_with("\x1b[") { text.find('m').map_or(0, |at| at + 1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(view: View) -> Look {
        Look { view, times: false, has_colours: false }
    }

    fn shown(look: &Look, line: &str) -> Option<Shown> {
        look.object(&serde_json::from_str(line).unwrap(), line, "ann")
    }

    fn text(look: &Look, line: &str) -> String {
        shown(look, line).map_or_else(String::new, |shown| shown.text)
    }

    const HELLO: &str = r#"{"type":"message","seq":1,"time":"2026-11-23T15:48:01.500Z","room":"main","id":2,"from":"bob","verified":false,"text":"hello"}"#;

    #[test]
    fn lines_look_as_chatd_writes_them() {
        let names = look(View::Names);
        assert_eq!(text(&names, HELLO), "<bob> hello");
        assert_eq!(text(&look(View::Plain), HELLO), "hello");
        assert_eq!(text(&look(View::Json), HELLO), HELLO);
        assert_eq!(text(&names, &HELLO.replace("message", "emote")), "* bob hello");
        let joined = r#"{"type":"join","time":"2026-11-23T15:48:01Z","room":"main","id":2,"name":"bob","verified":true,"members":3}"#;
        assert_eq!(text(&names, joined), "-!- +bob joined (3 here)");
        assert_eq!(shown(&look(View::Plain), joined), None);
        let private = r#"{"type":"private","time":"2026-11-23T15:48:01Z","id":2,"from":"bob","verified":false,"to":"ann","text":"psst"}"#;
        let private = shown(&names, private).unwrap();
        assert_eq!((private.text.as_str(), private.is_for_you), ("[bob -> you] psst", true));
        assert_eq!(text(&names, r#"{"type":"notice","text":"anything"}"#), "-!- anything");
        assert_eq!(
            text(&names, r#"{"type":"skipped","lines":7}"#),
            "-!- 7 lines skipped (you were not reading)"
        );
        let later = r#"{"type":"later","x":1}"#;
        assert_eq!(text(&names, later), later);
    }

    #[test]
    fn what_a_string_spells_is_cleaned() {
        let line = HELLO.replace("hello", r"\u001b]0;x\u0007\n<eve> hi").replace("bob", r"b\u001b[2J");
        assert_eq!(text(&look(View::Names), &line), "<b^[[2J> ^[]0;x^G^J<eve> hi");
    }

    #[test]
    fn a_line_with_your_name_is_bold_to_its_end() {
        let look = Look { has_colours: true, ..look(View::Names) };
        let line = text(&look, &HELLO.replace("hello", "hi Ann, there"));
        assert!(line.starts_with("\x1b[1m<\x1b[3") && line.contains("bob\x1b[0m\x1b[1m> hi"), "{line:?}");
        assert!(mentions("ann: hi", "ann") && mentions("(ANN)", "ann"));
        assert!(!mentions("joanna", "ann") && !mentions("ann-marie", "ann") && !mentions("x", ""));
        assert!(mentions("ann: hi", "ann@alpha") && mentions("hi +ann@alpha", "ann@alpha"));
        assert!(!mentions("ann@beta: hi", "ann@alpha") && mentions("ann@beta or ann?", "ann@alpha"));
    }

    #[test]
    fn a_row_that_goes_on_begins_with_blanks() {
        let line = format!("<mallory> hi{}<+root> the server moves", " ".repeat(30));
        let rows = rows(&line, 40);
        assert!(rows.len() > 1 && rows[1..].iter().all(|row| row.starts_with("    ")), "{rows:#?}");
        assert!(rows.iter().all(|row| row.width() <= 40), "{rows:#?}");
    }

    #[test]
    fn rows_break_at_blanks_and_wide_characters_stay_whole() {
        assert_eq!(rows("one two three four five", 20), ["one two three four ", "    five"]);
        let wide = "漢".repeat(12);
        for row in rows(&wide, 11) {
            assert!(row.width() <= 11, "{row}");
        }
        assert_eq!(rows("x\u{301}y", 80), ["x\u{301}y"]);
        assert_eq!(rows("\x1b[31mab\x1b[0m", 2), ["\x1b[31mab\x1b[0m"]);
        assert_eq!(rows("", 80), [""]);
        assert!(rows(&"x".repeat(100), 1).iter().all(|row| row.len() <= 2));
    }
}
