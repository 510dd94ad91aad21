//! The objects of the json view, as bytes: one on each line, written field by field.
//!
//! [`super::view`] decides what is shown to whom; here it gets its fields, in the order of chatd-protocol(7). A string is
//! written by serde_json, so nothing that anybody types can end it.

use std::io::Write;

use jiff::{Timestamp, Unit};
use memchr::memchr_iter;

use super::said::{Event, Kind, Said, Scene};

/// About what an object has besides the text of a line and what it shares with others.
const OBJECT_BYTES: usize = 48;

/// Appends what was said, as one object for each line.
pub(super) fn said(said: &Said<'_>, out: &mut Vec<u8>) {
    let kind = if said.kind == Kind::Emote { "emote" } else { "message" };
    // The same in all of the lines.
    let mut shared = Vec::new();
    Object(&mut shared)
        .time(said.time)
        .text("room", said.room)
        .number("id", said.who.id)
        .text("from", said.who.name.as_str())
        .flag("verified", said.who.verified);
    let mut start = 0;
    out.reserve(said.text.len() + (shared.len() + OBJECT_BYTES) * memchr_iter(b'\n', said.text).count());
    for (number, end) in memchr_iter(b'\n', said.text).enumerate() {
        // With `raw`, what was said may be no text.
        let line = String::from_utf8_lossy(&said.text[start..end]);
        let mut object = Object::new(kind, out);
        object.number("seq", said.seq + number as u64).append(&shared).text("text", &line).end();
        start = end + 1;
    }
}

/// One object for each of them; says how many.
pub(super) fn event(event: Event<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> u64 {
    let (kind, everybody) = match event {
        Event::Joined(everybody) => ("join", everybody),
        Event::Left(everybody) => ("leave", everybody),
        Event::Renamed { to, .. } => ("rename", std::slice::from_ref(to)),
    };
    for who in everybody {
        let mut object = Object::new(kind, out);
        object.time(scene.time).text("room", scene.room).number("id", who.id);
        object.text("name", who.name.as_str()).flag("verified", who.verified);
        match event {
            Event::Renamed { from, .. } => object.text("from", from.name.as_str()),
            _ => object.number("members", scene.members as u64),
        };
        object.end();
    }
    everybody.len() as u64
}

/// A JSON object on a line of its own, written field by field.
pub(super) struct Object<'a>(&'a mut Vec<u8>);

impl<'a> Object<'a> {
    pub(super) fn new(kind: &str, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self(out)
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }

    /// Appends fields that are written already.
    fn append(&mut self, fields: &[u8]) -> &mut Self {
        self.0.extend_from_slice(fields);
        self
    }

    pub(super) fn number(&mut self, key: &str, number: u64) -> &mut Self {
        let _ = write!(self.key(key), "{number}");
        self
    }

    pub(super) fn flag(&mut self, key: &str, flag: bool) -> &mut Self {
        let _ = write!(self.key(key), "{flag}");
        self
    }

    pub(super) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        // A text can always be written, and so can memory.
        let _ = serde_json::to_writer(self.key(key), text);
        self
    }

    /// In UTC, to the millisecond (RFC 3339).
    pub(super) fn time(&mut self, time: Timestamp) -> &mut Self {
        let rounded = time.round(Unit::Millisecond).unwrap_or(time);
        let _ = write!(self.key("time"), "\"{rounded:.3}\"");
        self
    }

    pub(super) fn end(&mut self) {
        self.0.extend_from_slice(b"}\n");
    }
}
