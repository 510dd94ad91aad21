//! Entries and acts as fields of a stream, and back. What comes from a stream may have been written by anybody, so it is
//! checked like everything from outside.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::{memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use super::resp::Value;
use crate::chat::{Act, Cursor, Entry, Item, SessionId};
use crate::protocol::{Kind, Name, Who, is_node, text};

/// The version of the format.
const VERSION: u64 = 1;
/// Most bytes of text in an entry, unless one line is longer.
const MAX_TEXT: usize = 16 << 10;
/// Most bytes of text that are read: a line may be this long.
const MAX_READ: usize = 4 << 20;
/// Most bytes of what is not text: thousands of members may join at once.
const MAX_HEAD: usize = 8 << 20;
/// Most bytes of an act: a node lists all its sessions in one, each in up to 400 bytes.
const MAX_ACT: usize = 64 << 20;
/// Most heads that are remembered.
const MAX_KNOWN: usize = 4096;
/// The longest head that is remembered, in bytes.
const MAX_KNOWN_HEAD: usize = 512;
/// Largest number that everything on the way can take: the scripts count in doubles.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// An entry without its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Head {
    Said { kind: Kind, from: SessionId, who: Arc<Who> },
    Joined(Vec<Who>),
    Left(Vec<Who>),
    Renamed { from: Arc<Who>, to: Arc<Who>, asked: Option<SessionId> },
}

/// A part of an item, as the stream has it.
#[derive(Debug, PartialEq)]
pub struct Part<'a> {
    /// What is not text.
    pub head: Vec<u8>,
    /// The text.
    pub text: &'a [u8],
    /// Number of its lines.
    pub lines: u32,
}

/// Returns an item as the parts that become entries of the stream.
pub fn parts(item: &Item) -> Vec<Part<'_>> {
    match item {
        Item::Act(act) => vec![Part { head: json(act), text: b"", lines: 0 }],
        Item::Entry(_, entry) => {
            let head = json(&match entry {
                Entry::Said { kind, from, who, .. } => {
                    Head::Said { kind: *kind, from: *from, who: Arc::clone(who) }
                }
                Entry::Joined(who) => Head::Joined(who.clone()),
                Entry::Left(who) => Head::Left(who.clone()),
                Entry::Renamed { from, to, asked } => {
                    Head::Renamed { from: Arc::clone(from), to: Arc::clone(to), asked: *asked }
                }
            });
            let Entry::Said { text, .. } = entry else { return vec![Part { head, text: b"", lines: 0 }] };
            let pieces = Pieces(text).map(|text| (text, memchr_iter(b'\n', text).count() as u32));
            pieces.map(|(text, lines)| Part { head: head.clone(), text, lines }).collect()
        }
    }
}

/// Returns how many parts an item has.
pub fn count_parts(item: &Item) -> u64 {
    match item {
        Item::Entry(_, Entry::Said { text, .. }) if text.len() > MAX_TEXT => Pieces(text).count() as u64,
        _ => 1,
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Nothing that chatd has here can fail: all keys are strings.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Text in pieces of whole lines, each with at most [`MAX_TEXT`] bytes if its first line is not longer.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0;
        let end = if rest.len() <= MAX_TEXT {
            rest.len()
        } else {
            let fitting = memrchr(b'\n', &rest[..MAX_TEXT]);
            fitting.or_else(|| memchr_iter(b'\n', rest).next()).map_or(rest.len(), |at| at + 1)
        };
        self.0 = &rest[end..];
        (end > 0).then(|| &rest[..end])
    }
}

/// An entry of a stream that has been read.
#[derive(Debug, PartialEq)]
pub struct Fetched {
    /// Where it is.
    pub cursor: Cursor,
    /// The node that wrote it.
    pub node: Arc<str>,
    /// Its incarnation and the counter of the entry.
    pub count: (u64, u64),
    /// The node may have sent it before.
    pub is_again: bool,
    /// When the engine took it.
    pub time: Timestamp,
    /// The number of its first line, or of the next line if it has none.
    pub seq: u64,
    /// Number of its lines.
    pub lines: u32,
    /// What it is.
    pub content: Content,
}

/// What an entry of a stream is.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// An entry of a room.
    Entry(Entry),
    /// An act.
    Act(Act),
}

/// Why an entry is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A newer chatd has written it.
    Newer,
    /// No chatd can have written it.
    Unsound(&'static str),
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer => f.write_str("a newer chatd has written it"),
            Self::Unsound(what) => f.write_str(what),
        }
    }
}

/// Reads entries. It remembers heads, which are the same for all lines of a session.
#[derive(Debug, Default)]
pub struct Reader {
    /// Text may have control characters: the nodes run with `raw`.
    is_raw: bool,
    known: HashMap<Box<[u8]>, Head>,
    nodes: HashMap<Box<str>, Arc<str>>,
}

/// The fields of an entry in a stream.
#[derive(Default)]
struct Fields<'a> {
    version: Option<u64>,
    node: Option<&'a str>,
    count: Option<(u64, u64)>,
    is_again: bool,
    time: Option<Timestamp>,
    seq: Option<u64>,
    lines: Option<u32>,
    head: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Reads them. What is not text has at most so many bytes.
    fn read(fields: &[Value<'a>], most: usize) -> Self {
        // Nodes of before do not say it.
        let mut read = Self { is_again: true, ..Self::default() };
        let sound = |value: &Value<'_>| value.number().filter(|number| *number <= MAX_NUMBER);
        for [name, value] in fields.as_chunks().0 {
            match name.bytes() {
                Some(b"v") => read.version = value.number(),
                Some(b"n") => read.node = value.text().filter(|node| is_node(node)),
                Some(b"c") => {
                    read.count = value.text().and_then(|text| {
                        let (incarnation, counter) = text.split_once('-')?;
                        Some((incarnation.parse().ok()?, counter.parse().ok()?))
                    });
                }
                Some(b"r") => read.is_again = value.bytes() != Some(b"0"),
                Some(b"t") => {
                    let micros = sound(value).and_then(|micros| i64::try_from(micros).ok());
                    read.time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
                }
                Some(b"s") => read.seq = sound(value).filter(|seq| *seq > 0),
                Some(b"l") => read.lines = value.number().and_then(|lines| lines.try_into().ok()),
                Some(b"d") => read.head = value.bytes().filter(|head| head.len() <= most),
                Some(b"x") => read.text = value.bytes().filter(|text| text.len() <= MAX_READ),
                _ => {}
            }
        }
        read
    }
}

/// Returns the place in a stream that an identifier is.
pub fn cursor(id: &Value<'_>) -> Option<Cursor> {
    let (epoch, entry) = id.text()?.split_once('-')?;
    Some(Cursor { epoch: epoch.parse().ok()?, entry: entry.parse().ok()? })
}

impl Reader {
    /// Makes one. With `is_raw`, text may have control characters.
    pub fn new(is_raw: bool) -> Self {
        Self { is_raw, ..Self::default() }
    }

    /// Reads the fields of the entry at `cursor`: an act, or an entry of a room.
    ///
    /// # Errors
    /// It is to be skipped.
    pub fn read(&mut self, cursor: Cursor, fields: &[Value<'_>], is_act: bool) -> Result<Fetched, Bad> {
        let fields = Fields::read(fields, if is_act { MAX_ACT } else { MAX_HEAD });
        match fields.version {
            Some(VERSION) => {}
            Some(version) if version > VERSION => return Err(Bad::Newer),
            _ => return Err(Bad::Unsound("it has no version")),
        }
        let node = fields.node.ok_or(Bad::Unsound("it has no node"))?;
        let count = fields.count.ok_or(Bad::Unsound("it has no counter"))?;
        let time = fields.time.ok_or(Bad::Unsound("it has no time"))?;
        let seq = fields.seq.ok_or(Bad::Unsound("it has no number"))?;
        let lines = fields.lines.ok_or(Bad::Unsound("it has no number of lines"))?;
        let head = fields.head.ok_or(Bad::Unsound("it has no head"))?;
        let text = fields.text.ok_or(Bad::Unsound("it has no text"))?;
        let content = if is_act {
            if lines > 0 || !text.is_empty() {
                return Err(Bad::Unsound("an act has no lines"));
            }
            Content::Act(checked(head, self.is_raw)?)
        } else {
            Content::Entry(self.entry(head, text, lines)?)
        };
        let node = match self.nodes.get(node) {
            Some(node) => Arc::clone(node),
            None => {
                if self.nodes.len() >= MAX_KNOWN {
                    self.nodes.clear();
                }
                let name: Arc<str> = node.into();
                self.nodes.insert(node.into(), Arc::clone(&name));
                name
            }
        };
        Ok(Fetched { cursor, node, count, is_again: fields.is_again, time, seq, lines, content })
    }

    fn entry(&mut self, head: &[u8], text: &[u8], lines: u32) -> Result<Entry, Bad> {
        let entry = match self.head(head)? {
            Head::Said { kind, from, who } => {
                if from.0 != who.id {
                    return Err(Bad::Unsound("one session speaks as another"));
                }
                if !self.is_raw && !are_clean(text) {
                    return Err(Bad::Unsound("its text is not clean"));
                }
                Entry::Said { kind, from, who, text: text.to_vec(), lines, done: (0, 0) }
            }
            _ if lines > 0 || !text.is_empty() => return Err(Bad::Unsound("an event has no lines")),
            Head::Joined(who) => Entry::Joined(who),
            Head::Left(who) => Entry::Left(who),
            Head::Renamed { from, to, asked } => {
                if from.id != to.id {
                    return Err(Bad::Unsound("one session is renamed to another"));
                }
                Entry::Renamed { from, to, asked }
            }
        };
        if entry.is_sound() { Ok(entry) } else { Err(Bad::Unsound("its lines are not as many as it says")) }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Head, Bad> {
        if let Some(head) = self.known.get(bytes) {
            return Ok(head.clone());
        }
        let head: Head = checked(bytes, self.is_raw)?;
        if bytes.len() <= MAX_KNOWN_HEAD {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            self.known.insert(bytes.into(), head.clone());
        }
        Ok(head)
    }
}

/// Returns whether all lines are as [`text::clean`] leaves them.
fn are_clean(lines: &[u8]) -> bool {
    let mut out = Vec::new();
    let mut is_clean = |line: &[u8]| {
        out.clear();
        text::clean(line, &mut out);
        out == line
    };
    text::are_clean(lines) || lines.split(|byte| *byte == b'\n').all(&mut is_clean)
}

/// Reads JSON in which all names are names, and no string has a control character, except with `raw`.
fn checked<T: for<'a> Deserialize<'a>>(json: &[u8], is_raw: bool) -> Result<T, Bad> {
    let value: serde_json::Value =
        serde_json::from_slice(json).map_err(|_| Bad::Unsound("its head is no JSON"))?;
    check(&value, is_raw)?;
    serde_json::from_value(value).map_err(|_| Bad::Unsound("its head is not of this version"))
}

/// Checks all strings and names in a value, wherever they are.
fn check(value: &serde_json::Value, is_raw: bool) -> Result<(), Bad> {
    use serde_json::Value::{Array, Object, String};
    match value {
        String(text) if text.contains('\n') || (!is_raw && !are_clean(text.as_bytes())) => {
            Err(Bad::Unsound("a string is not clean"))
        }
        Array(values) => values.iter().try_for_each(|value| check(value, is_raw)),
        Object(fields) => {
            if let (Some(String(name)), Some(guest)) = (fields.get("text"), fields.get("guest"))
                && !is_name(name, guest.as_bool() == Some(true))
            {
                return Err(Bad::Unsound("a name cannot be one"));
            }
            if let (Some(id), Some(name)) =
                (fields.get("id").and_then(serde_json::Value::as_u64), fields.get("name"))
                && name.get("guest") == Some(&serde_json::Value::Bool(true))
                && name.get("text").and_then(serde_json::Value::as_str) != Some(Name::guest(id).as_str())
            {
                return Err(Bad::Unsound("a guest has the name of another"));
            }
            let name = fields.get("name").and_then(|name| name.get("text")?.as_str());
            if fields.get("verified") == Some(&serde_json::Value::Bool(false))
                && name.is_some_and(|name| name.contains('@'))
            {
                return Err(Bad::Unsound("a name of a user of a machine is not verified"));
            }
            fields.iter().try_for_each(|(key, value)| {
                if are_clean(key.as_bytes()) {
                    check(value, is_raw)
                } else {
                    Err(Bad::Unsound("a string is not clean"))
                }
            })
        }
        _ => Ok(()),
    }
}

fn is_name(text: &str, is_guest: bool) -> bool {
    let guest = |number: u64| Name::guest(number).as_str() == text;
    if is_guest {
        return text.strip_prefix("guest").and_then(|number| number.parse().ok()).is_some_and(guest);
    }
    Name::any(text).is_ok_and(|name| name.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Listed;
    use crate::protocol::Key;

    fn said(text: &str) -> Item {
        let who = Arc::new(Who { id: 7, name: Name::parse("ann").unwrap(), verified: true });
        let (text, lines) = (text.as_bytes().to_vec(), text.matches('\n').count() as u32);
        let (kind, from, done) = (Kind::Emote, SessionId(7), (0, 0));
        Item::Entry(Arc::new(Name::parse("ops").unwrap()), Entry::Said { kind, from, who, text, lines, done })
    }

    /// Reads a part as the engine sends it.
    fn read(part: &Part<'_>, is_act: bool) -> Result<Fetched, Bad> {
        let lines = part.lines.to_string();
        let fields: [(&str, &[u8]); 8] = [
            ("v", b"1"),
            ("n", b"alpha"),
            ("c", b"5-9"),
            ("t", b"1764366000000000"),
            ("s", b"3"),
            ("l", lines.as_bytes()),
            ("d", &part.head),
            ("x", part.text),
        ];
        let fields: Vec<Value<'_>> = fields
            .iter()
            .flat_map(|(name, value)| [Value::Text(name.as_bytes()), Value::Text(value)])
            .collect();
        Reader::default().read(Cursor { epoch: 1, entry: 2 }, &fields, is_act)
    }

    #[test]
    fn entries_and_acts_come_back_as_they_were() {
        let (ann, bob) = (Name::parse("ann").unwrap(), Name::parse("bob").unwrap());
        let who = |id, name: &Name| Who { id, name: name.clone(), verified: false };
        let ops = Arc::new(Name::parse("ops").unwrap());
        let renamed = Entry::Renamed {
            from: Arc::new(who(7, &Name::guest(7))),
            to: Arc::new(who(7, &ann)),
            asked: Some(SessionId(7)),
        };
        for item in [
            said("one\n"),
            said("Grüße\ttab\n\n👩\u{200d}🚀\n"),
            Item::Entry(Arc::clone(&ops), Entry::Joined(vec![who(1, &ann), who(2, &bob)])),
            Item::Entry(Arc::clone(&ops), Entry::Left(vec![who(3, &Name::guest(3))])),
            Item::Entry(ops, renamed),
            Item::Act(Act::Gone("beta.example".to_owned())),
            Item::Act(Act::Told { from: SessionId(1), to: SessionId(2), text: "psst".to_owned() }),
        ] {
            let [part] = &parts(&item)[..] else { panic!("one part") };
            let fetched = read(part, matches!(item, Item::Act(_))).unwrap();
            assert_eq!((fetched.count, &*fetched.node, fetched.seq), ((5, 9), "alpha", 3));
            match (item, fetched.content) {
                (Item::Entry(_, entry), Content::Entry(read)) => assert_eq!(entry, read),
                (Item::Act(act), Content::Act(read)) => assert_eq!(act, read),
                (item, content) => panic!("{item:?} {content:?}"),
            }
        }
    }

    #[test]
    fn text_is_split_at_lines_into_parts_of_bounded_size() {
        let text = format!("{}{}\n{}", "a\n".repeat(20_000), "b".repeat(50_000), "c\n".repeat(9000));
        let item = said(&text);
        let parts = parts(&item);
        assert_eq!(parts.len() as u64, count_parts(&item));
        assert_eq!(parts.iter().flat_map(|part| part.text).copied().collect::<Vec<u8>>(), text.as_bytes());
        let is_long = |part: &&Part<'_>| part.text.len() > MAX_TEXT;
        assert_eq!(parts.iter().filter(is_long).count(), 1, "the line that is too long alone");
        assert!(parts.iter().all(|part| read(part, false).is_ok()));
    }

    #[test]
    fn a_node_with_tens_of_thousands_of_sessions_can_list_them() {
        let name = |id: u64| Name::parse(&format!("somebody{id}")).unwrap();
        let listed = |id: u64| Listed {
            id: SessionId(id),
            room: Name::parse("main").unwrap(),
            name: Some(name(id)),
            proof: None,
            key: Some(Key(u128::MAX)),
            is_present: true,
        };
        let sessions: Vec<Listed> = (1..=60_000).map(listed).collect();
        let item = Item::Act(Act::Returned { sessions, mark: 7 });
        let Item::Act(act) = &item else { panic!("an act") };
        let [part] = &parts(&item)[..] else { panic!("one part") };
        assert!(part.head.len() > MAX_HEAD);
        assert_eq!(read(part, true).map(|read| read.content), Ok(Content::Act(Act::clone(act))));
    }
}
