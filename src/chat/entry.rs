//! An entry: what has a place in the order of a room. Something that somebody says, or that happens; and how it looks
//! in each form.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::id::SessionId;
use crate::protocol::{Event, Form, Kind, Said, Scene, Who};

/// Most bytes that encoding makes of one byte of clean text (`\` and what follows it, in `json`; with `raw`, a
/// control character there), and most that it adds to a line: names, times and the rest of an object.
const ENCODED_GROWTH: usize = 6;
const ENCODED_OVERHEAD: usize = 512;

/// What is to be appended to the logs of a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Somebody says whole lines.
    Said {
        /// Message or emote.
        kind: Kind,
        /// Whose input waits until the entry has its place.
        from: SessionId,
        /// Who says it.
        who: Arc<Who>,
        /// Clean lines, each with its LF.
        #[serde(with = "serde_bytes")]
        text: Vec<u8>,
        /// How many.
        lines: u32,
        /// How much of it is in the logs already: bytes and lines.
        done: (usize, u32),
    },
    /// They have come in.
    Joined(Vec<Who>),
    /// They are gone.
    Left(Vec<Who>),
    /// Somebody is called something else.
    Renamed {
        /// What it was called.
        from: Arc<Who>,
        /// What it is called now.
        to: Arc<Who>,
        /// Whose input waits until the others are told.
        asked: Option<SessionId>,
    },
}

/// How an entry looks in a form: the bytes and the number of lines.
pub(super) type Encoded<'a> = (Cow<'a, [u8]>, u64);

impl Entry {
    /// Who does not get it.
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

    /// Whose input waits until it has its place.
    pub(super) fn asked_by(&self) -> Option<SessionId> {
        match self {
            Self::Said { from, .. } => Some(*from),
            Self::Renamed { asked, .. } => *asked,
            _ => None,
        }
    }

    /// Returns whether it tells of those who have come, or are gone.
    pub(super) fn is_presence(&self) -> bool {
        matches!(self, Self::Joined(_) | Self::Left(_))
    }

    /// Returns whether what is said of its text is so.
    pub(super) fn is_sound(&self) -> bool {
        let Self::Said { text, lines, done, .. } = self else { return true };
        let ends = memchr_iter(b'\n', text).count();
        text.last() == Some(&b'\n') && ends == *lines as usize && done.0 < text.len() && done.1 < *lines
    }

    /// How much memory it uses, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Said { text, .. } => text.len(),
                Self::Joined(who) | Self::Left(who) => size_of::<Who>() * who.len(),
                Self::Renamed { .. } => 0,
            }
    }

    /// How many bytes and lines of what is left go in at once: all of it, unless what they become may be more than
    /// `most` bytes; at least one line.
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

    /// How a piece of it looks in a form; `seq` is the number of its first line.
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

    /// That much of it is appended; returns whether that was the rest.
    pub(super) fn advance(&mut self, bytes: usize, more: u32) -> bool {
        let Self::Said { text, done, .. } = self else { return true };
        *done = (done.0 + bytes, done.1 + more);
        done.0 == text.len()
    }
}
