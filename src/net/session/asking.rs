//! How a session passes on lines of which each may be a command: one thing after the other.
//!
//! What comes after a command is passed on when that has been done, so the order of what was typed is the order of
//! what happens. A command that changes how lines are shown waits until nearly all has been sent that there was before;
//! the rest is put aside for it.

use std::sync::Arc;
use std::task::Context;

use memchr::{memchr, memchr_iter};

use super::reading::MAX_OWED_BYTES;
use super::{Phase, Rate, Session};
use crate::chat::{Input, Traffic};
use crate::net::Stage;
use crate::protocol::command::{self, Line, Spec};
use crate::protocol::{Answer, Command, Notice, disguise};
use crate::rt;

/// What a session has still to be sent, in bytes, may be put aside for it when it is to be shown lines in another way.
const MOST_PUT_ASIDE: u64 = 64 * 1024;

/// Clean lines, each with its LF, that have not been passed on yet; at least one. They count as on their way to the
/// broker: where very much is, little is read.
#[derive(Debug)]
pub(super) struct Unsaid {
    text: Vec<u8>,
    /// Up to here it has been.
    done: usize,
    traffic: Arc<Traffic>,
}

impl Drop for Unsaid {
    fn drop(&mut self) {
        self.traffic.end_input(self.text.len());
    }
}

impl Unsaid {
    pub(super) fn rest(&self) -> &[u8] {
        &self.text[self.done..]
    }

    pub(super) fn new(text: Vec<u8>, traffic: &Arc<Traffic>) -> Option<Box<Self>> {
        if text.is_empty() {
            return None;
        }
        traffic.begin_input(text.len());
        Some(Box::new(Self { text, done: 0, traffic: Arc::clone(traffic) }))
    }
}

/// What comes next of what a session has said.
enum Next {
    /// Lines for everybody.
    Say {
        text: Vec<u8>,
        lines: u32,
    },
    Ask(Command),
    Tell(Answer),
}

impl Session {
    /// Passes on the next of what has not been passed on yet; says whether there may be more at once.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(pace) = &mut self.pace {
            pace.next = None;
        }
        if (self.unsaid.is_none() && !self.is_new_to_telnet) || !self.can_say(cx) {
            return false;
        }
        if self.is_to_tell_telnet() {
            self.is_new_to_telnet = false;
            self.send(Input::Telnet(self.reader.id()));
            return true;
        }
        if self.broken.is_none() && self.reader.owed_bytes() > MAX_OWED_BYTES {
            return false;
        }
        let settings = self.net.settings();
        let is_stopping = self.net.stage() != Stage::Running;
        // Nobody is slowed down who is gone.
        let rate = settings.rate.filter(|_| !is_stopping && self.broken.is_none());
        let Some(most) = self.allowed(rate) else { return false };
        let Some(unsaid) = &self.unsaid else { return false };
        let rest = unsaid.rest();
        let (next, bytes) = if settings.commands {
            next(rest, self.reader.member().is_named(), most)
        } else {
            lines_until(rest, most, |_| false)
        };
        if let Next::Ask(command) = &next
            && command.moves()
            && !self.has_been_sent_enough()
        {
            if is_stopping {
                // There is no time to wait for who does not read: what comes after it is not for those who would hear it now.
                self.is_unheard = command.changes_who_hears();
                self.drop_said(bytes);
                let unheard = self.unsaid.take_if(|_| self.is_unheard);
                if let Some(unheard) = unheard {
                    self.notice(&Notice::Unsaid { lines: memchr_iter(b'\n', unheard.rest()).count() });
                }
            }
            return is_stopping;
        }
        self.drop_said(bytes);
        if let Some(rate) = rate {
            let lines = if let Next::Say { lines, .. } = &next { *lines } else { 1 };
            self.last_read = rt::now();
            self.pace.get_or_insert_default().use_up(lines, rate, self.last_read);
        }
        match next {
            Next::Say { text, lines } => self.say(text, lines),
            Next::Tell(answer) => self.tell(&answer),
            Next::Ask(Command::Help) => self.tell(&Answer::Help),
            Next::Ask(Command::Quit) => {
                self.unsaid = None;
                self.phase = Phase::Ended;
            }
            Next::Ask(command) => self.send(Input::Ask { from: self.reader.id(), command }),
        }
        true
    }

    /// Returns whether to tell the room now that the session speaks telnet. What looks like telnet may turn out to be
    /// UTF-16, and a session with much unread is not shown lines in another way yet.
    fn is_to_tell_telnet(&mut self) -> bool {
        self.is_new_to_telnet
            && self.opening.is_decided()
            && self.net.stage() == Stage::Running
            && self.has_been_sent_enough()
    }

    /// How many lines may be passed on now; nothing if it is too early for any, and the alarm will ring.
    fn allowed(&mut self, rate: Option<Rate>) -> Option<u32> {
        let Some(rate) = rate else { return Some(u32::MAX) };
        let pace = self.pace.get_or_insert_default();
        let allowed = pace.allowed(rate, rt::now());
        pace.next = allowed.err();
        allowed.ok()
    }

    /// So much of what there is has been passed on.
    fn drop_said(&mut self, bytes: usize) {
        self.unsaid.take_if(|unsaid| {
            unsaid.done += bytes;
            unsaid.rest().is_empty()
        });
    }

    /// Little enough is left to be put aside for it; also of one that is sent nothing any more.
    fn has_been_sent_enough(&mut self) -> bool {
        self.broken.is_some() || self.reader.unsent_bytes() <= MOST_PUT_ASIDE
    }

    fn tell(&mut self, answer: &Answer) {
        let mut lines = Vec::new();
        answer.encode(self.reader.member().form(), &mut lines);
        self.reader.owe(&lines);
    }
}

/// What comes first in `rest`, up to `most` lines, and how many bytes of it that is.
fn next(rest: &[u8], is_named: bool, most: u32) -> (Next, usize) {
    let (line, after) = first_line(rest);
    match command::read(line) {
        Line::Command(command) => (Next::Ask(command), after),
        Line::Refused(error) => (Next::Tell(Answer::Refused(error)), after),
        Line::Unknown(word) if is_named => (Next::Tell(Answer::Unknown(Spec::nearest(word))), after),
        // A script may say /usr/bin/foo failed, and many such lines at once.
        Line::Unknown(_) => lines_until(rest, most, |rest| {
            rest[0] == b'/' && !matches!(command::read(first_line(rest).0), Line::Unknown(_))
        }),
        Line::Text(text) if text.len() < line.len() => (one_line(text), after),
        Line::Text(_) if is_named => match disguise::find(line) {
            Some(disguised) => (Next::Tell(Answer::Unknown(disguised.meant)), after),
            None => lines_until(rest, most, |rest| {
                rest[0] == b'/' || disguise::find(first_line(rest).0).is_some()
            }),
        },
        Line::Text(_) => lines_until(rest, most, |rest| rest[0] == b'/'),
    }
}

/// The first line, without its LF, and how many bytes it has with that.
fn first_line(rest: &[u8]) -> (&[u8], usize) {
    let end = memchr(b'\n', rest).unwrap_or(rest.len());
    (&rest[..end], rest.len().min(end + 1))
}

fn one_line(line: &[u8]) -> Next {
    Next::Say { text: [line, b"\n"].concat(), lines: 1 }
}

/// All lines up to the first that is not to be said, and no more than `most`.
fn lines_until(rest: &[u8], most: u32, is_other: impl Fn(&[u8]) -> bool) -> (Next, usize) {
    let (mut end, mut lines) = (0, 0);
    while end < rest.len() && lines < most && !is_other(&rest[end..]) {
        end += first_line(&rest[end..]).1;
        lines += 1;
    }
    (Next::Say { text: rest[..end].to_vec(), lines }, end)
}
