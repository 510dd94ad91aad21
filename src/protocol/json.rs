//! The objects of the json view, as bytes: one on each line, with the fields in the order of chatd-protocol(7).
//!
//! [`super::view`] decides what is shown to whom; here it becomes JSON. serde_json writes every string, so nothing that
//! anybody types can end it.

use jiff::{Timestamp, Unit};
use memchr::memchr_iter;
use serde::Serialize;

use super::said::{Event, Kind, Said, Scene, Who};

/// Bytes that an object has besides the text of a line and the fields of [`Shared`], with a number of twelve digits.
const OBJECT_BYTES: usize = 48;

/// One object. Its first field is `type`: the name of the variant.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Object<'a> {
    Join(Change<'a>),
    Leave(Change<'a>),
    Rename(Change<'a>),
    Private { time: &'a str, id: u64, from: &'a str, verified: bool, to: &'a str, text: &'a str },
    Notice { text: &'a str },
    Skipped { lines: u64 },
}

/// Somebody has come, has gone or has another name.
#[derive(Serialize)]
pub(super) struct Change<'a> {
    time: &'a str,
    room: &'a str,
    id: u64,
    name: &'a str,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<usize>,
}

/// What all lines of one [`Said`] have in common.
#[derive(Serialize)]
struct Shared<'a> {
    time: &'a str,
    room: &'a str,
    id: u64,
    from: &'a str,
    verified: bool,
}

impl Object<'_> {
    /// Appends it, with LF.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        write(self, out);
        out.push(b'\n');
    }
}

/// Appends what was said, as one object for each line.
pub(super) fn said(said: &Said<'_>, out: &mut Vec<u8>) {
    let who = said.who;
    let before: &[u8] = match said.kind {
        Kind::Message => br#"{"type":"message","seq":"#,
        Kind::Emote => br#"{"type":"emote","seq":"#,
    };
    let (time, from) = (&milliseconds(said.time), who.name.as_str());
    let mut shared = Vec::with_capacity(4 * OBJECT_BYTES);
    write(&Shared { time, room: said.room, id: who.id, from, verified: who.verified }, &mut shared);
    // It becomes the middle of each object: a comma replaces its opening brace, the next key its closing one.
    shared[0] = b',';
    shared.pop();
    shared.extend_from_slice(br#","text":"#);
    let mut start = 0;
    out.reserve(said.text.len() + (shared.len() + OBJECT_BYTES) * memchr_iter(b'\n', said.text).count());
    for (seq, end) in (said.seq..).zip(memchr_iter(b'\n', said.text)) {
        out.extend_from_slice(before);
        write(&seq, out);
        out.extend_from_slice(&shared);
        // With `raw`, what was said may be no text.
        write(&String::from_utf8_lossy(&said.text[start..end]), out);
        out.extend_from_slice(b"}\n");
        start = end + 1;
    }
}

/// Appends one object for each member that the event is about. Returns how many.
pub(super) fn event(event: Event<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> u64 {
    let (everybody, from, members) = match event {
        Event::Joined(everybody) | Event::Left(everybody) => (everybody, None, Some(scene.members)),
        Event::Renamed { from, to } => (std::slice::from_ref(to), Some(from.name.as_str()), None),
    };
    let (time, room) = (&milliseconds(scene.time), scene.room);
    for Who { id, name, verified } in everybody {
        let name = name.as_str();
        let change = Change { time, room, id: *id, name, verified: *verified, from, members };
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

/// Formats a time in UTC, to the millisecond (RFC 3339).
pub(super) fn milliseconds(time: Timestamp) -> String {
    format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time))
}
