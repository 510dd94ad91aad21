//! The objects of the json view: one on each line, with the fields in the order of chatd-protocol(7).
//!
//! [`Object`] is their only definition: chatd writes them, chatc reads them. [`super::form`] calls this for members
//! whose view is `json`. serde_json writes every string that has anything but
//! printable ASCII, a quote or a backslash, so no text of a member can end one (RFC 8259, 7).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use jiff::{Timestamp, Unit};
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::notice::Notice;
use super::said::{Event, Kind, Said, Scene, Who};

/// Bytes to reserve for an object, besides the text of the line and its [`Head`]: the quotes, the brace and LF, and some
/// digits of `seq` more. A line with something to escape only costs another allocation.
const MORE_BYTES: usize = 8;

/// An object of the json view. Its first field is `type`, the name of the variant. Later versions may add types and
/// fields, which readers must ignore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Object<'a> {
    /// A member sends a line.
    #[serde(borrow)]
    Message(Line<'a>),
    /// A member does something: `/me`.
    Emote(Line<'a>),
    /// A line for this connection alone: `/msg`.
    Private {
        /// The time in UTC, with milliseconds (RFC 3339).
        time: Cow<'a, str>,
        /// The number of the sender's connection.
        id: u64,
        /// The sender's name.
        from: Cow<'a, str>,
        /// Whether the name is verified.
        verified: bool,
        /// The node whose kernel proves the name. Only in a cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Cow<'a, str>>,
        /// The name of the receiver.
        to: Cow<'a, str>,
        /// The line, without its ending.
        text: Cow<'a, str>,
    },
    /// A member joined the room.
    Join(Change<'a>),
    /// A member left the room.
    Leave(Change<'a>),
    /// A member took another name.
    Rename(Change<'a>),
    /// chatd itself says something.
    Notice(Noticed<'a>),
    /// Lines are lost for this connection, because it did not read.
    Skipped {
        /// Number of lines, those of the connection itself not counted.
        lines: u64,
    },
    /// Answer to `/sync`: every line that this connection sent before has its place in the room.
    Synced {
        /// The token of `/sync`.
        token: Cow<'a, str>,
        /// The number of this connection.
        id: u64,
        /// Its name.
        name: Cow<'a, str>,
        /// Whether the name is verified.
        verified: bool,
        /// The node whose kernel proves the name. Only in a cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Cow<'a, str>>,
        /// The name of its room.
        room: Cow<'a, str>,
        /// The room's epoch.
        epoch: u64,
        /// The number of the last line in the room; 0 if there is none.
        seq: u64,
    },
    /// The lines of the room that follow have another epoch: an engine has taken over. Only in a cluster.
    Epoch {
        /// The name of the room.
        room: Cow<'a, str>,
        /// The epoch.
        epoch: u64,
        /// The number of the last line before them.
        seq: u64,
    },
    /// Answer to `/last`. The lines follow, and then [`Object::HistoryEnd`].
    History(History<'a>),
    /// The lines of `/last` are complete.
    HistoryEnd,
    /// Any type of a later version. chatd never writes it.
    #[serde(other)]
    Unknown,
}

/// A line of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<'a> {
    /// The number of the line in its room, from 1.
    pub seq: u64,
    /// When the room took it, in UTC, with milliseconds (RFC 3339).
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The number of the sender's connection.
    pub id: u64,
    /// The sender's name.
    pub from: Cow<'a, str>,
    /// Whether the name is verified.
    pub verified: bool,
    /// The node whose kernel proves the name. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// The line, without its ending.
    pub text: Cow<'a, str>,
}

/// A member joined, left or took another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change<'a> {
    /// The time in UTC, with milliseconds (RFC 3339).
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The number of the member's connection.
    pub id: u64,
    /// The member's name now.
    pub name: Cow<'a, str>,
    /// Whether the name is verified.
    pub verified: bool,
    /// The node whose kernel proves the name. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// The name before. Only in [`Object::Rename`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'a, str>>,
    /// Number of members in the room then. Not in [`Object::Rename`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
}

/// A notice and its sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noticed<'a> {
    /// The notice. Reading gives `None` for one without a code, or with a code of a later version.
    #[serde(flatten)]
    pub notice: Option<Notice>,
    /// The sentence.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
}

/// The answer to `/last`, which stands before the lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History<'a> {
    /// The name of the room.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The room's epoch.
    pub epoch: u64,
    /// The number of the oldest stored line; the next number if none is stored.
    pub first_kept: u64,
    /// Number of lines after `since` that are no longer stored; 0 without `since`.
    pub missing: u64,
    /// Number of stored lines after those shown. To get them, ask again with the number of the last one shown.
    pub more: u64,
    /// Number of lines shown.
    pub lines: usize,
    /// The number of the line after which the lines were asked for; 0 if the epoch was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Text that each of the lines contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Cow<'a, str>>,
}

/// The fields that all lines of one [`Said`] have in common.
#[derive(Serialize)]
struct Shared<'a> {
    time: &'a str,
    room: &'a str,
    id: u64,
    from: &'a str,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

impl Object<'_> {
    /// Returns the object of a notice.
    pub fn notice(notice: Notice) -> Self {
        let text = notice.to_string().into();
        Self::Notice(Noticed { notice: Some(notice), text })
    }

    /// Appends the object and LF.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        write(self, out);
        out.push(b'\n');
    }
}

/// Writes the sentence that `plain` and `names` show instead of the object, without `-!- `. Writes nothing for objects
/// about members.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(noticed) => f.write_str(&noticed.text),
            Self::Skipped { lines: 1 } => f.write_str("1 line skipped (you were not reading)"),
            Self::Skipped { lines } => write!(f, "{lines} lines skipped (you were not reading)"),
            Self::Synced { token, .. } => write!(f, "synced {token}"),
            Self::History(history) => history.fmt(f),
            Self::HistoryEnd => f.write_str("that was the last"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.since, &self.pattern, self.lines) {
            (Some(since), _, lines) => {
                let noun = if lines == 1 { "line" } else { "lines" };
                write!(f, "{lines} {noun} after line {since}")?;
                match (self.missing, self.more) {
                    (0, 0) => {}
                    (missing, 0) => write!(f, " ({missing} earlier ones no longer stored)")?,
                    (0, more) => write!(f, " ({more} later ones not shown)")?,
                    (missing, more) => {
                        write!(f, " ({missing} earlier ones no longer stored, {more} later ones not shown)")?;
                    }
                }
                f.write_str(if lines == 0 { "" } else { ":" })
            }
            (None, Some(_), 0) => f.write_str("no line has that text"),
            (None, Some(_), 1) => f.write_str("the last line that has that text:"),
            (None, Some(_), lines) => write!(f, "the last {lines} lines that have that text:"),
            (None, None, 0) => f.write_str("nothing has been said yet"),
            (None, None, 1) => f.write_str("the last line:"),
            (None, None, lines) => write!(f, "the last {lines} lines:"),
        }
    }
}

/// What stands before the text in the objects of one [`Said`]. Only the number of the line changes.
struct Head {
    bytes: Vec<u8>,
    /// Where the number is.
    digits: Range<usize>,
}

impl Head {
    fn new(said: &Said<'_>) -> Self {
        let mut bytes = match said.kind {
            Kind::Message => br#"{"type":"message","seq":"#.to_vec(),
            Kind::Emote => br#"{"type":"emote","seq":"#.to_vec(),
        };
        let start = bytes.len();
        write(&said.seq, &mut bytes);
        let (who, digits) = (said.who, start..bytes.len());
        let (time, from) = (&milliseconds(said.time), who.name.as_str());
        let (verified, host) = (who.verified, who.name.node());
        write(&Shared { time, room: said.room, id: who.id, from, verified, host }, &mut bytes);
        // A comma replaces the opening brace, and the next key the closing one.
        bytes[digits.end] = b',';
        bytes.pop();
        bytes.extend_from_slice(br#","text":"#);
        Self { bytes, digits }
    }

    /// Goes on to the next number.
    fn count(&mut self) {
        for digit in self.bytes[self.digits.clone()].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.bytes.insert(self.digits.start, b'1');
        self.digits.end += 1;
    }
}

/// Appends one object for each line: an [`Object::Message`] or an [`Object::Emote`]. Encodes everything but the number
/// and the text once for all of them.
pub(super) fn said(said: &Said<'_>, out: &mut Vec<u8>) {
    let mut head = Head::new(said);
    // Most lines have nothing to escape, and are copied as they are.
    let is_plain = !has_escaped(said.text);
    let mut start = 0;
    out.reserve(said.text.len() + (head.bytes.len() + MORE_BYTES) * memchr_iter(b'\n', said.text).count());
    for end in memchr_iter(b'\n', said.text) {
        let text = &said.text[start..end];
        out.extend_from_slice(&head.bytes);
        if is_plain || !has_escaped(text) {
            out.push(b'"');
            out.extend_from_slice(text);
            out.push(b'"');
        } else {
            // With `raw`, the line may not be UTF-8.
            write(&String::from_utf8_lossy(text), out);
        }
        out.extend_from_slice(b"}\n");
        head.count();
        start = end + 1;
    }
}

/// Returns whether lines have a byte, besides LF, that may look different in a string of JSON.
fn has_escaped(text: &[u8]) -> bool {
    let is_escaped =
        |byte: u8| ((byte < b' ') & (byte != b'\n')) | (byte == b'"') | (byte == b'\\') | (byte > 0x7f);
    // All bytes are looked at, many at a time.
    text.iter().fold(false, |has, byte| has | is_escaped(*byte))
}

/// Appends one object for each member of the event. Returns the number of objects.
pub(super) fn event(event: Event<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> u64 {
    let (everybody, from, members) = match event {
        Event::Joined(everybody) | Event::Left(everybody) => (everybody, None, Some(scene.members)),
        Event::Renamed { from, to } => (std::slice::from_ref(to), Some(from.name.as_str()), None),
    };
    let time = &milliseconds(scene.time);
    for Who { id, name, verified } in everybody {
        let (time, room) = (Cow::from(time), scene.room.into());
        let (host, from) = (name.node().map(Cow::from), from.map(Cow::from));
        let name = name.as_str().into();
        let change = Change { time, room, id: *id, name, verified: *verified, host, from, members };
        let object = match event {
            Event::Joined(_) => Object::Join(change),
            Event::Left(_) => Object::Leave(change),
            Event::Renamed { .. } => Object::Rename(change),
        };
        object.append(out);
    }
    everybody.len() as u64
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    // Numbers and text can always be written, and writing to memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// Formats a time in UTC with milliseconds (RFC 3339).
pub(super) fn milliseconds(time: Timestamp) -> String {
    format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Form, Key, Name, Reason};

    fn read(line: &str) -> Object<'_> {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn what_is_said_reads_as_the_object_that_it_is() {
        let who = Who { id: 7, name: Name::verified("ann@alpha").unwrap(), verified: true };
        let time = "2026-11-23T15:48:01.5004Z".parse().unwrap();
        let mut out = Vec::new();
        let text = "a \"b\"\n\n".as_bytes();
        said(&Said { kind: Kind::Emote, who: &who, room: "main", time, seq: 41, text }, &mut out);
        let out = String::from_utf8(out).unwrap();
        let line = |seq, text: &'static str| Line {
            seq,
            time: "2026-11-23T15:48:01.500Z".into(),
            room: "main".into(),
            id: 7,
            from: "ann@alpha".into(),
            verified: true,
            host: Some("alpha".into()),
            text: text.into(),
        };
        let objects: Vec<_> = out.lines().map(read).collect();
        assert_eq!(objects, [Object::Emote(line(41, "a \"b\"")), Object::Emote(line(42, ""))]);
        let mut again = Vec::new();
        objects.iter().for_each(|object| object.append(&mut again));
        assert_eq!(String::from_utf8(again).unwrap(), out);
    }

    /// What is said from a number on, as objects.
    fn told(seq: u64, text: &[u8]) -> String {
        let who = Who { id: 7, name: Name::parse("ann").unwrap(), verified: false };
        let mut out = Vec::new();
        let time = Timestamp::UNIX_EPOCH;
        said(&Said { kind: Kind::Message, who: &who, room: "main", time, seq, text }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_the_string_that_serde_json_writes() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
            let (line, mut expected) = ([b'a', byte, b'z'], Vec::new());
            write(&String::from_utf8_lossy(&line), &mut expected);
            let expected = format!("\"text\":{}}}\n", String::from_utf8(expected).unwrap());
            let out = told(1, &[&b"x\n"[..], &line, b"\ny\n"].concat());
            assert_eq!(out.lines().count(), 3, "{byte}");
            assert!(out.contains(&expected), "{byte}: {out}");
            assert!(out.ends_with("\"text\":\"y\"}\n"), "{byte}: {out}");
        }
    }

    #[test]
    fn lines_are_numbered_across_every_number_of_digits() {
        for first in [1, 8, 9, 98, 99, 195, 999_999_995, u64::MAX - 20] {
            let out = told(first, &b"x\n".repeat(20));
            let numbers = out.lines().map(|line| match read(line) {
                Object::Message(line) => line.seq,
                other => panic!("{other:?}"),
            });
            assert_eq!(numbers.collect::<Vec<_>>(), (first..first + 20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_notice_reads_as_what_it_is() {
        for notice in [
            Notice::Named { name: "ann".to_owned(), key: Some(Key(7)) },
            Notice::TooLong { lines: 3, max: 16 },
            Notice::Crashed,
        ] {
            let mut out = Vec::new();
            Form::JSON.notice(&notice, &mut out);
            let line = String::from_utf8(out).unwrap();
            assert_eq!(read(&line), Object::notice(notice), "{line}");
        }
    }

    #[test]
    fn what_other_versions_write_is_read_as_far_as_it_is_known() {
        let text = |object: Object<'_>| match object {
            Object::Notice(noticed) => (noticed.notice, noticed.text.into_owned()),
            other => panic!("{other:?}"),
        };
        let old = r#"{"type":"notice","text":"hello"}"#;
        assert_eq!(text(read(old)), (None, "hello".to_owned()));
        let new = r#"{"type":"notice","code":"of_tomorrow","x":1,"text":"hello"}"#;
        assert_eq!(text(read(new)), (None, "hello".to_owned()));
        let more = r#"{"type":"notice","code":"crashed","x":1,"text":"hello"}"#;
        assert_eq!(text(read(more)).0, Some(Notice::Crashed));
        let wrong = r#"{"type":"notice","code":"taken","name":7,"text":"hello"}"#;
        assert_eq!(text(read(wrong)).0, None);
        assert_eq!(read(r#"{"type":"dance","steps":[1,2]}"#), Object::Unknown);
    }

    #[test]
    fn what_lines_are_shown_again_is_said() {
        let said = |since, pattern: Option<&'static str>, lines, missing, more| {
            let pattern = pattern.map(Cow::from);
            History { since, pattern, lines, missing, more, ..History::default() }.to_string()
        };
        assert_eq!(said(None, None, 0, 0, 0), "nothing has been said yet");
        assert_eq!(said(None, None, 20, 0, 0), "the last 20 lines:");
        assert_eq!(said(None, Some("x"), 2, 0, 0), "the last 2 lines that have that text:");
        assert_eq!(said(Some(7), None, 0, 0, 0), "0 lines after line 7");
        assert_eq!(
            said(Some(7), None, 1, 4, 9),
            "1 line after line 7 (4 earlier ones no longer stored, 9 later ones not shown):"
        );
    }

    #[test]
    fn a_notice_begins_with_its_code_and_ends_with_its_sentence() {
        let mut out = Vec::new();
        let name = "ann".to_owned();
        Form::JSON.notice(&Notice::Named { name: name.clone(), key: Some(Key(7)) }, &mut out);
        Form::JSON.notice(&Notice::Taken { name, hint: None }, &mut out);
        Form::NAMES.notice(&Notice::Closing { reason: Reason::CannotStart }, &mut out);
        let expected = r#"{"type":"notice","code":"named","name":"ann","key":"00000000000000000000000000000007","text":"you are ann now; /help says what else there is"}
{"type":"notice","code":"taken","name":"ann","text":"ann is taken, or looks like a name that is"}
-!- closing: chatd cannot start: its configuration has a mistake
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
