//! How a session writes: what the broker could not send at once, and the end of the connection.

use std::io;
use std::task::Context;

use super::{Close, Phase, READ_BUFFER, Session};
use crate::chat::Delivery;
use crate::net::Stage;
use crate::protocol::{Notice, View};
use crate::rt;

/// How often input is read away in a row from a connection that is closing.
const READS_IN_A_ROW: usize = 16;

impl Session {
    /// Writes what there is to write; says whether to go on at once.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        match self.try_write(cx) {
            Ok(_) if self.broken.is_some() => self.write_nothing(),
            Ok(again) => Ok(again),
            Err(error) => {
                self.break_off(error);
                Ok(true)
            }
        }
    }

    /// The connection failed. Whoever said something and was gone at once has still said it, so what has
    /// arrived is read; but the session holds nobody up any more.
    pub(super) fn break_off(&mut self, error: io::Error) {
        self.reader.release();
        self.blocked = None;
        self.broken = Some(error);
    }

    /// Nothing can be written: the session is over when there is nothing more to say, either.
    fn write_nothing(&mut self) -> Result<bool, Close> {
        match self.phase {
            Phase::Finishing => Err(self.broken.take().map_or(Close::Done, Close::Broken)),
            _ => Ok(false),
        }
    }

    fn try_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.broken.is_some() || !self.may_write(cx)? {
            return Ok(false);
        }
        match self.reader.deliver()? {
            Delivery::Complete => {
                self.blocked = None;
                let is_over = self.phase == Phase::Finishing && self.inputs_tx.is_none();
                if is_over && self.net.stage() == Stage::Final {
                    // Nothing more will be said: what has been said is all.
                    self.say_goodbye();
                    return Ok(true);
                }
                Ok(false)
            }
            Delivery::More => {
                self.blocked = None;
                Ok(true)
            }
            Delivery::Blocked { sent } => {
                if sent > 0 || self.blocked.is_none() {
                    self.blocked = Some(rt::now());
                }
                Ok(self.stream.poll_writable(cx)?.is_ready())
            }
            Delivery::Ended => {
                self.begin_linger();
                Ok(true)
            }
        }
    }

    /// Says whether it is worth trying: the kernel has not said that it takes no more, or has taken that back.
    fn may_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        Ok(self.blocked.is_none()
            || self.reader.member().take_retry()
            || self.stream.poll_writable(cx)?.is_ready())
    }

    /// Says so to whoever is shown notices, and ends the connection when that has been written.
    fn say_goodbye(&mut self) {
        if self.reader.member().form().view() == View::Plain || self.is_told_of_the_end {
            return self.begin_linger();
        }
        self.is_told_of_the_end = true;
        self.notice(&Notice::Stopping);
    }

    pub(super) fn begin_linger(&mut self) {
        self.stream.end_output();
        self.blocked = None;
        self.ending = Some(rt::now());
        self.phase = Phase::Lingering;
    }

    /// Waits until what was written has arrived. Closing while there is unread input would make the
    /// kernel reset the connection and throw away what it has not sent yet.
    pub(super) fn linger(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        let emptied = READ_BUFFER.with_borrow_mut(|buffer| self.discard(buffer))?;
        if emptied && self.stream.unacknowledged() == 0 {
            return Err(Close::Done);
        }
        Ok(!emptied || self.stream.poll_readable(cx)?.is_ready())
    }

    /// Reads away what has arrived; says whether that was all. Bounded, for there may be no end to it.
    fn discard(&self, buffer: &mut [u8]) -> Result<bool, Close> {
        for _ in 0..READS_IN_A_ROW {
            match self.stream.receive(buffer) {
                Ok(0) => return Err(Close::Done),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
