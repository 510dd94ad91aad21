//! What a room has to append: something that somebody has said, or that has happened, and how it looks in each form.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr_iter;

use super::Effects;
use super::member::{Member, SessionId};
use super::traffic::Traffic;
use crate::protocol::{Event, Form, Kind, Said, Scene, Who};

/// Most bytes that encoding makes of one byte of clean text (`\` and what follows it, in `json`; with `raw`, a
/// control character there), and most that it adds to a line: names, times and the rest of an object.
const ENCODED_GROWTH: usize = 6;
const ENCODED_OVERHEAD: usize = 512;

/// What is to be appended, and waits where there is no space for it.
#[derive(Debug)]
pub(super) enum Entry {
    Said {
        kind: Kind,
        member: Arc<Member>,
        who: Arc<Who>,
        text: Vec<u8>,
        lines: u32,
        /// What is appended already: bytes and lines.
        done: (usize, u32),
    },
    Joined(Vec<Who>),
    Left(Vec<Who>),
    Renamed {
        from: Arc<Who>,
        to: Arc<Who>,
        /// Who has asked for it, and asks for nothing more until the others are told.
        asked: Option<Arc<Member>>,
    },
}

/// What an audience is to be sent: the bytes and the number of lines.
pub(super) type Encoded<'a> = (Cow<'a, [u8]>, u64);

impl Entry {
    /// Who does not get it.
    pub(super) fn from(&self) -> SessionId {
        match self {
            Self::Said { member, .. } => member.id(),
            Self::Renamed { to, .. } => SessionId(to.id),
            Self::Joined(who) | Self::Left(who) => match &who[..] {
                [alone] => SessionId(alone.id),
                _ => SessionId::NOBODY,
            },
        }
    }

    /// Says whether it tells of those who have come, or are gone.
    pub(super) fn is_coming(&self) -> bool {
        matches!(self, Self::Joined(_) | Self::Left(_))
    }

    /// How many bytes and lines of what is left go in at once: all of it, unless what they become may be more than
    /// `most` bytes; at least one line.
    pub(super) fn piece(&self, most: usize) -> (usize, u32) {
        let Self::Said { text, lines, done, .. } = self else { return (0, 0) };
        let rest = (&text[done.0..], *lines - done.1);
        let grown = |bytes: usize, lines: usize| ENCODED_GROWTH * bytes + ENCODED_OVERHEAD * lines;
        if grown(rest.0.len(), rest.1 as usize) <= most {
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
                form.said(
                    &Said { kind: *kind, who, room: scene.room, time: scene.time, seq, text },
                    &mut out,
                );
                return (out.into(), lines.into());
            }
            Self::Joined(who) => Event::Joined(who),
            Self::Left(who) => Event::Left(who),
            Self::Renamed { from, to, .. } => Event::Renamed { from, to },
        };
        let lines = form.event(event, scene, &mut out);
        (out.into(), lines)
    }

    /// That much of it is appended; says whether that was the rest.
    pub(super) fn advance(&mut self, bytes: usize, more: u32) -> bool {
        let Self::Said { text, done, .. } = self else { return true };
        *done = (done.0 + bytes, done.1 + more);
        done.0 == text.len()
    }

    /// Tells the session that it is taken in.
    pub(super) fn acknowledge(&self, traffic: &Traffic, effects: &mut Effects) {
        let member = match self {
            Self::Said { kind, member, text, .. } => {
                if *kind == Kind::Message {
                    traffic.end_input(text.len());
                }
                member
            }
            Self::Renamed { asked: Some(member), .. } => member,
            _ => return,
        };
        member.acknowledge();
        effects.wake.push(Arc::clone(member));
    }
}
