//! An entry: what has a place in the order of a room. It is lines of a member, or an event, and it encodes itself in
//! each form.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::history::Record;
use super::id::SessionId;
use crate::protocol::{Event, Form, Kind, Said, Scene, Who};

/// Most bytes that encoding makes of one byte of text: with `raw`, a control character in `json` becomes `\u0000`.
const ENCODED_GROWTH: usize = 6;
/// Most bytes that encoding adds to a line: names, times and the rest of an object.
const ENCODED_OVERHEAD: usize = 512;

/// What the room appends to its logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Whole lines of a member.
    Said {
        /// Whether they are chat lines or an emote.
        kind: Kind,
        /// The session that sent them. Its input waits until the entry has its place.
        from: SessionId,
        /// The sender, with the name that it had then.
        who: Arc<Who>,
        /// Clean lines, each with its LF.
        #[serde(with = "serde_bytes")]
        text: Vec<u8>,
        /// Number of lines in `text`.
        lines: u32,
        /// Bytes and lines of `text` that are in the logs already.
        done: (usize, u32),
    },
    /// These members joined.
    Joined(Vec<Who>),
    /// These members left.
    Left(Vec<Who>),
    /// A member took another name.
    Renamed {
        /// The member with its name before.
        from: Arc<Who>,
        /// The member with its name now.
        to: Arc<Who>,
        /// The session whose input waits until the entry has its place.
        asked: Option<SessionId>,
    },
}

/// An entry in a form: the bytes and the number of lines.
pub(super) type Encoded<'a> = (Cow<'a, [u8]>, u64);

impl Entry {
    /// Returns the session that does not get the entry; [`SessionId::NOBODY`] if all get it.
    pub(super) fn author(&self) -> SessionId {
        match self {
            Self::Said { from, .. } => *from,
            Self::Renamed { to, .. } => SessionId(to.id),
            Self::Joined(who) | Self::Left(who) => match &who[..] {
                [alone] => SessionId(alone.id),
                _ => SessionId::NOBODY,
            },
        }
    }

    /// Returns the session whose input waits until the entry has its place.
    pub(super) fn asked_by(&self) -> Option<SessionId> {
        match self {
            Self::Said { from, .. } => Some(*from),
            Self::Renamed { asked, .. } => *asked,
            _ => None,
        }
    }

    /// Returns how many of its lines are in the logs already.
    pub(super) fn done_lines(&self) -> u32 {
        if let Self::Said { done, .. } = self { done.1 } else { 0 }
    }

    /// Returns whether the entry announces members that joined or left.
    pub(super) fn is_presence(&self) -> bool {
        matches!(self, Self::Joined(_) | Self::Left(_))
    }

    /// Returns its lines, each with its LF; nothing of an event.
    pub fn text(&self) -> &[u8] {
        if let Self::Said { text, .. } = self { text } else { b"" }
    }

    /// Returns whether the numbers of an entry from outside fit its text.
    pub fn is_sound(&self) -> bool {
        let Self::Said { text, lines, done, .. } = self else { return true };
        let ends = memchr_iter(b'\n', text).count();
        text.last() == Some(&b'\n') && ends == *lines as usize && done.0 < text.len() && done.1 < *lines
    }

    /// Returns the memory of the entry, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Said { text, .. } => text.len(),
                Self::Joined(who) | Self::Left(who) => size_of::<Who>() * who.len(),
                Self::Renamed { .. } => 0,
            }
    }

    /// Returns how many bytes and lines of the rest to append at once: all of it, unless its encoded form may have more
    /// than `most` bytes; at least one line.
    pub(super) fn piece(&self, most: usize) -> (usize, u32) {
        let Self::Said { text, lines, done, .. } = self else { return (0, 0) };
        let rest = (&text[done.0..], *lines - done.1);
        let grown = |bytes: usize, lines: usize| ENCODED_GROWTH * bytes + ENCODED_OVERHEAD * lines;
        if most == usize::MAX || grown(rest.0.len(), rest.1 as usize) <= most {
            return (rest.0.len(), rest.1);
        }
        let ends = memchr_iter(b'\n', rest.0).map(|at| at + 1).enumerate();
        let fitting = ends.take_while(|(index, end)| *index == 0 || grown(*end, index + 1) <= most);
        fitting.last().map_or((rest.0.len(), rest.1), |(index, end)| (end, index as u32 + 1))
    }

    /// Encodes a piece of the entry in a form. `seq` is the number of its first line.
    pub(super) fn encode(
        &self,
        form: Form,
        (bytes, lines): (usize, u32),
        scene: Scene<'_>,
        seq: u64,
    ) -> Encoded<'_> {
        let mut out = Vec::new();
        let event = match self {
            Self::Said { kind, who, text, done, .. } => {
                let text = &text[done.0..done.0 + bytes];
                if form == Form::PLAIN && *kind == Kind::Message {
                    return (text.into(), lines.into());
                }
                let said = Said { kind: *kind, who, room: scene.room, time: scene.time, seq, text };
                form.said(&said, &mut out);
                return (out.into(), lines.into());
            }
            Self::Joined(who) => Event::Joined(who),
            Self::Left(who) => Event::Left(who),
            Self::Renamed { from, to, .. } => Event::Renamed { from, to },
        };
        let lines = form.event(event, scene, &mut out);
        (out.into(), lines)
    }

    /// Returns what a piece of it is for those who ask for it later; `None` if the piece is all of it.
    pub(super) fn record_of_piece(
        &self,
        (bytes, lines): (usize, u32),
        seq: u64,
        time: Timestamp,
    ) -> Option<Record> {
        let Self::Said { kind, who, text, done, .. } = self else { return None };
        let piece = text.get(done.0..done.0 + bytes).filter(|piece| piece.len() < text.len())?;
        let (who, text) = (Arc::clone(who), piece.to_vec());
        Some(Record { kind: *kind, who, time, seq, lines: lines as usize, text })
    }

    /// Returns a piece of it as an entry of its own, for the archive.
    pub(super) fn cut(&self, (bytes, lines): (usize, u32)) -> Self {
        match self {
            Self::Said { kind, from, who, text, done, .. } => {
                let (who, text) = (Arc::clone(who), text[done.0..done.0 + bytes].to_vec());
                Self::Said { kind: *kind, from: *from, who, text, lines, done: (0, 0) }
            }
            event => event.clone(),
        }
    }

    /// Returns it without its first lines; `None` if that is nothing. It is as it came: nothing of it is in the logs.
    pub(super) fn cut_after(self, known: u64) -> Option<Self> {
        let Self::Said { kind, from, who, text, lines, done } = self else { return None };
        let known = u32::try_from(known).ok().filter(|known| (1..lines).contains(known))?;
        let start = memchr_iter(b'\n', &text).nth(known as usize - 1)? + 1;
        Some(Self::Said { kind, from, who, text: text[start..].to_vec(), lines: lines - known, done })
    }

    /// That much of it is appended; returns whether that was the rest. If it is all of it at once, nothing changes.
    pub(super) fn advance(&mut self, bytes: usize, more: u32) -> bool {
        let Self::Said { text, done, .. } = self else { return true };
        if bytes == text.len() {
            return true;
        }
        *done = (done.0 + bytes, done.1 + more);
        done.0 == text.len()
    }
}
