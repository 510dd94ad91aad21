//! How a session reads: from bytes to an input for the broker, one at a time.

use std::io;
use std::task::Context;

use super::asking::Unsaid;
use super::{Close, Origin, Phase, READ_BUFFER, Session};
use crate::chat::Input;
use crate::net::{Counters, Settings, Stage};
use crate::protocol::{Foreign, Framed, Notice, READ_BYTES, SHOWN_GROWTH, disguise};
use crate::rt;

/// How much is read at a time while very much is on its way to the room already, or only so many lines a second are
/// passed on.
const CROWDED_READ_BYTES: usize = 2 * 1024;

/// A session to which this much is owed in answers reads no further input, and asks for nothing more, until it has been
/// sent.
pub(super) const MAX_OWED_BYTES: usize = 16 * 1024;

/// What comes after the bytes that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More of them.
    GoOn,
    /// More of them, but what is unfinished has waited long enough.
    Flush,
    /// Nothing.
    End,
}

const _: () = assert!(CROWDED_READ_BYTES <= READ_BYTES);

impl Session {
    /// Reads and passes on what has arrived; says whether to go on at once.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.net.stage() != Stage::Running {
            return self.read_last(cx);
        }
        if self.reader.owed_bytes() > MAX_OWED_BYTES || !self.can_take_in(cx) {
            return Ok(false);
        }
        if !self.more_to_read && self.stream.poll_readable(cx)?.is_pending() {
            return Ok(false);
        }
        let is_slow = self.net.settings().rate.is_some() || self.reader.traffic().is_crowded();
        let limit = if is_slow { CROWDED_READ_BYTES } else { READ_BYTES };
        let received = self.receive(limit, Then::GoOn);
        self.more_to_read = received == Some(limit);
        Ok(true)
    }

    /// The daemon stops: takes what has already arrived, and then reads no more.
    fn read_last(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if !self.can_take_in(cx) {
            return Ok(false);
        }
        self.receive(READ_BYTES, Then::End);
        self.phase = Phase::Leaving;
        Ok(true)
    }

    /// What it has said is passed on; the broker ends when all have let go of it.
    pub(super) fn let_go_of_broker(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.can_take_in(cx) {
            return false;
        }
        self.phase = Phase::Finishing;
        self.inputs_tx = None;
        true
    }

    /// Says whether the session may hand an input to the broker now; otherwise it will be woken.
    pub(super) fn can_say(&mut self, cx: &mut Context<'_>) -> bool {
        !self.reader.member().is_outstanding()
            && self.inputs_tx.as_mut().is_some_and(|inputs_tx| inputs_tx.poll_ready(cx).is_ready())
    }

    /// Says whether what comes next may be taken in: all that was before has been passed on.
    pub(super) fn can_take_in(&mut self, cx: &mut Context<'_>) -> bool {
        self.unsaid.is_none() && self.can_say(cx)
    }

    /// Receives and takes in up to `limit` bytes; `None` if nothing has arrived. A connection that fails is
    /// one whose input has ended.
    fn receive(&mut self, limit: usize, then: Then) -> Option<usize> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let received = match self.stream.receive(&mut buffer[..limit]) {
                Ok(count) => {
                    if count > 0 && buffer[count - 1] != b'\n' {
                        // At once: there is no telling when this process dies.
                        self.set_mark(true);
                    }
                    Some(count)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => {
                    self.break_off(error);
                    Some(0)
                }
            };
            match received {
                // The last read took all that there was, and could not know.
                None if then == Then::GoOn => self.take_in_some(&[], true, then),
                Some(0) => self.take_in(&[], Then::End),
                _ => {
                    let count = received.unwrap_or(0);
                    self.take_in_some(&buffer[..count], count < limit, then);
                }
            }
            received
        })
    }

    /// Frames and cleans what was read and passes it on; at the end of input, what is unfinished counts
    /// as a line.
    pub(super) fn take_in(&mut self, bytes: &[u8], then: Then) {
        self.take_in_some(bytes, true, then);
    }

    /// The same; `is_all` says whether nothing more has arrived for now.
    fn take_in_some(&mut self, bytes: &[u8], is_all: bool, then: Then) {
        let settings = self.net.settings();
        if !settings.rules.raw
            && let Some(foreign) = self.opening.feed(bytes)
        {
            return self.send_away(foreign);
        }
        let mut framed = Framed::default();
        self.framer.feed(bytes, settings.rules, &mut framed);
        if then != Then::GoOn {
            self.framer.finish(settings.rules, &mut framed);
        }
        if is_all && then == Then::GoOn {
            if !settings.rules.raw
                && let Some(foreign) = self.opening.pause()
            {
                return self.send_away(foreign);
            }
            self.framer.pause(settings.rules, &mut framed);
        }
        let is_utf16 = framed.is_utf16;
        self.pass_on(framed, &settings);
        self.mark();
        if is_utf16 {
            self.tell_foreign(Foreign::Utf16);
        }
        if then == Then::End || is_utf16 {
            self.phase = Phase::Ended;
        } else if !bytes.is_empty() {
            self.last_read = rt::now();
        }
    }

    fn pass_on(&mut self, framed: Framed, settings: &Settings) {
        let Framed { text, lines, too_long, cut, has_telnet, reply, .. } = framed;
        if !reply.is_empty() {
            self.reader.owe(&reply);
        }
        if too_long > 0 {
            self.net.counters.too_long.fetch_add(u64::from(too_long), std::sync::atomic::Ordering::Relaxed);
            self.notice(&Notice::LineTooLong { max_line: settings.rules.max_line, lines: too_long });
        }
        if cut > 0 {
            self.notice(&Notice::LineCut { most: SHOWN_GROWTH * settings.rules.max_line, lines: cut });
        }
        self.is_new_to_telnet |= has_telnet && !self.reader.member().form().has_crlf();
        if lines > 0 && self.is_unheard {
            self.notice(&Notice::Unsaid { lines: lines as usize });
        } else if lines > 0 && self.is_one_by_one(&text, settings) {
            // One thing at a time: see `go_on`.
            self.unsaid = Unsaid::new(text, self.reader.traffic());
        } else if lines > 0 {
            self.say(text, lines);
        }
    }

    /// Returns whether lines are passed on one thing at a time: something has to be looked at, or done first.
    fn is_one_by_one(&self, text: &[u8], settings: &Settings) -> bool {
        let has_command = || {
            let has_slash = text.starts_with(b"/") || memchr::memmem::find(text, b"\n/").is_some();
            has_slash || (self.reader.member().is_named() && disguise::is_worth_a_look(text))
        };
        settings.rate.is_some() || self.is_new_to_telnet || (settings.commands && has_command())
    }

    pub(super) fn say(&mut self, text: Vec<u8>, lines: u32) {
        self.reader.traffic().begin_input(text.len());
        self.send(Input::Say { from: self.reader.id(), text, lines });
    }

    pub(super) fn send(&mut self, input: Input) {
        let Some(inputs_tx) = &mut self.inputs_tx else { return };
        self.reader.member().begin_input();
        // There is room for it: `can_say` came before. If the broker has ended, so has the conversation.
        let _ = inputs_tx.try_send(input);
    }

    /// Tells the room that nothing more will be said, once it has taken in what was.
    pub(super) fn tell_end(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.can_take_in(cx) {
            return false;
        }
        self.send(Input::End(self.reader.id()));
        self.ending = Some(rt::now());
        self.phase = Phase::Finishing;
        false
    }

    /// The other side speaks another protocol: one line to explain, and that is it.
    fn send_away(&mut self, foreign: Foreign) {
        self.tell_foreign(foreign);
        self.reader.end_here();
        self.ending = Some(rt::now());
        self.phase = Phase::Finishing;
    }

    fn tell_foreign(&mut self, foreign: Foreign) {
        Counters::count(&self.net.counters.foreign);
        log::debug!("session {} from {} speaks {}", self.reader.id().0, Origin(self.from), foreign.name());
        self.notice(&Notice::Foreign(foreign));
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        let mut line = Vec::new();
        notice.encode(self.reader.member().form(), &mut line);
        self.reader.owe(&line);
    }
}
