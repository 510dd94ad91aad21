//! How a session reads: from bytes to an input for the hub, one at a time.

use std::io;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Instant;

use super::{READ_BUFFER, Session};
use crate::chat::{End, Input, Phase, Read};
use crate::net::close::{Close, Origin};
use crate::net::crash_table::{READING, RECEIVING};
use crate::net::intake::{Intake, Then};
use crate::net::rate::Rate;
use crate::net::settings::Settings;
use crate::net::{Counters, Stage};
use crate::protocol::{Notice, READ_BYTES, Reason};
use crate::rt;

/// How much is read at a time while very much is on its way to the hub already, or only so many lines a second are
/// passed on.
const CROWDED_READ_BYTES: usize = 2 * 1024;

const _: () = assert!(CROWDED_READ_BYTES <= READ_BYTES);

impl Session {
    /// Returns whether what has arrived may be taken in: all that was before has been.
    pub(super) fn can_take_in(&self) -> bool {
        !self.is_waiting && !self.is_limited()
    }

    /// Reads and passes on what has arrived; returns whether to go on at once.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if !self.can_take_in() {
            return Ok(false);
        }
        if self.net.stage() != Stage::Running {
            // The daemon stops: takes what has already arrived, and then reads no more.
            self.receive(READ_BYTES, true);
            return Ok(true);
        }
        if !self.more_to_read && !self.has_input(cx)? {
            return Ok(false);
        }
        let is_slow = self.net.settings().rate.is_some() || self.net.traffic.is_crowded();
        let limit = if is_slow { CROWDED_READ_BYTES } else { READ_BYTES };
        let received = self.receive(limit, false);
        self.more_to_read = received == Some(limit) || self.connection.has_received();
        // After text, none is known: otherwise its alarm would be set again and again.
        let half = if received.is_none() { self.connection.half_record() } else { 0 };
        self.half_record.note(half, rt::now);
        Ok(true)
    }

    /// Returns whether to receive: the reactor reports input, and it is not known to be half a record.
    pub(super) fn has_input(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        Ok(!self.half_record.is_overlooked() && self.connection.poll_readable(cx)?.is_ready())
    }

    /// Receives and passes on up to `limit` bytes; `None` if nothing has arrived. A connection that fails is one whose
    /// input has ended.
    fn receive(&mut self, limit: usize, is_last: bool) -> Option<usize> {
        let settings = self.net.settings();
        let mut is_broken = false;
        READ_BUFFER.with_borrow_mut(|buffer| {
            // A signal kills this process when the system call returns, and nobody knows then how much was received.
            self.connection.set_mark(RECEIVING, true);
            let received = match self.connection.receive(&mut buffer[..limit]) {
                Ok(count) => {
                    if count > 0 && buffer[count - 1] != b'\n' {
                        // Of a line that is cut in two by a crash nothing is said.
                        self.connection.set_mark(READING, true);
                    }
                    Some(count)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => {
                    self.broken = Some(error);
                    is_broken = true;
                    Some(0)
                }
            };
            let count = received.unwrap_or(0);
            let then = match received {
                _ if is_last => Then::End,
                Some(0) => Then::End,
                Some(count) if count == limit => Then::More,
                _ => Then::Pause,
            };
            let mut read = self.intake.take(&buffer[..count], then, &settings);
            if is_last && received != Some(0) && read.end == End::Closed && self.intake.foreign.is_none() {
                read.end = End::Stopped;
            }
            if count > 0 {
                self.net.counters.bytes_received.fetch_add(count as u64, Ordering::Relaxed);
                self.deadlines.last_read = rt::now();
            }
            read.is_broken = is_broken;
            self.pass_on(read, &settings);
            received
        })
    }

    /// Hands the hub what came of a read; lines wait for the rate limit, if there is one.
    fn pass_on(&mut self, mut read: Read, settings: &Settings) {
        self.connection.set_mark(READING, self.intake.has_half_line());
        self.count(&read);
        if read.end != End::No {
            self.phase = Phase::Ended;
            self.deadlines.ending = Some(rt::now()).filter(|_| read.end != End::Stopped);
        }
        if self.limit(settings).is_some() && !read.text.is_empty() {
            let (text, end) = (std::mem::take(&mut read.text), std::mem::take(&mut read.end));
            self.limiter.get_or_insert_default().hold(text, end);
        }
        self.send_read(read);
    }

    fn send_read(&mut self, read: Read) {
        if !read.is_empty() {
            self.is_waiting = true;
            self.net.traffic.begin_input(read.text.len());
            self.send(Input::Read(self.id(), Box::new(read)));
        }
    }

    fn count(&mut self, read: &Read) {
        if let Some(foreign) = self.intake.foreign.take() {
            self.is_counted = true;
            Counters::count(&self.net.counters.foreign);
            let name = foreign.name();
            log::debug!("session {} from {} speaks {name}", self.id().0, Origin(self.connection.from()));
        }
        for notice in &read.notices {
            if let Notice::TooLong { lines, .. } = notice {
                self.net.counters.too_long.fetch_add(u64::from(*lines), Ordering::Relaxed);
            }
        }
    }

    /// The rate limit in force: nobody is slowed down who is gone, or when the daemon stops.
    fn limit(&self, settings: &Settings) -> Option<Rate> {
        settings.rate.filter(|_| self.net.stage() == Stage::Running && self.broken.is_none())
    }

    /// Returns whether lines wait for the rate limit.
    pub(super) fn is_limited(&self) -> bool {
        self.limiter.as_ref().is_some_and(|limiter| !limiter.is_empty())
    }

    /// Passes on as many of the lines that wait for the rate limit as it allows; returns whether to go on at once.
    pub(super) fn pass_on_limited(&mut self) -> bool {
        if self.is_waiting || !self.is_limited() {
            return false;
        }
        let (limit, now) = (self.limit(&self.net.settings()), rt::now());
        let Some((text, end)) = self.limiter.as_mut().and_then(|limiter| limiter.take(limit, now)) else {
            return false;
        };
        self.deadlines.last_read = now;
        self.send_read(Read { text, end, ..Read::default() });
        true
    }

    /// Has the hub send a session away that chatd closes: it gets the notice, and nothing more. What it has said and the
    /// hub has not got is dropped.
    pub(super) fn send_away(&mut self) {
        if !self.is_dismissed || self.is_waiting {
            return;
        }
        self.is_dismissed = false;
        let Some(notice) = self.connection.dismissal().filter(|_| self.phase == Phase::Open) else { return };
        log::debug!("session {} from {}: {notice}", self.id().0, Origin(self.connection.from()));
        let notices = vec![notice.clone()];
        (self.limiter, self.intake) = (None, Intake::default());
        let settings = self.net.settings();
        self.pass_on(Read { notices, end: End::SentAway, ..Read::default() }, &settings);
    }

    /// Flushes half a line that has waited long enough, and closes a session that has said nothing for too long.
    pub(super) fn expire_input(&mut self, now: Instant, settings: &Settings) {
        let silence = now.saturating_duration_since(self.deadlines.last_read);
        let is_open = self.phase == Phase::Open && self.net.stage() == Stage::Running;
        let is_idle = settings.idle_timeout.is_some_and(|wait| silence >= wait);
        let has_paused = settings.flush_after.is_some_and(|wait| silence >= wait);
        if !is_open || !(is_idle || has_paused) || !self.can_take_in() {
            return;
        }
        let mut read = self.intake.take(&[], Then::Flush, settings);
        if is_idle {
            self.is_counted = true;
            Counters::count(&self.net.counters.idle);
            log::debug!(
                "session {} from {} was idle for too long",
                self.id().0,
                Origin(self.connection.from())
            );
            read.notices.push(Notice::Closing { reason: Reason::Idle });
            read.end = End::Closed;
        }
        self.pass_on(read, settings);
    }
}
