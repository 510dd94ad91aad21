//! How a session writes: what the broker could not send at once, and the end of the connection.

use std::io;
use std::task::Context;

use super::{Close, Phase, READ_BUFFER, Session};
use crate::chat::Delivery;
use crate::net::Stage;
use crate::rt;

impl Session {
    /// Writes what there is to write; says whether to go on at once.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.blocked.is_some()
            && !self.reader.member().take_retry()
            && self.stream.poll_writable(cx)?.is_pending()
        {
            return Ok(false);
        }
        match self.reader.deliver()? {
            Delivery::Complete => {
                self.blocked = None;
                if self.phase == Phase::Finishing
                    && self.inputs_tx.is_none()
                    && self.net.stage() == Stage::Final
                {
                    // Nothing more will be said: what has been said is all.
                    self.begin_linger();
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

    pub(super) fn begin_linger(&mut self) {
        self.stream.end_output();
        self.blocked = None;
        self.ending = Some(rt::now());
        self.phase = Phase::Lingering;
    }

    /// Waits until what was written has arrived. Closing while there is unread input would make the
    /// kernel reset the connection and throw away what it has not sent yet.
    pub(super) fn linger(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            loop {
                match self.stream.receive(buffer) {
                    Ok(0) => return Err(Close::Done),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if self.stream.unacknowledged() == 0 {
                Err(Close::Done)
            } else {
                Ok(self.stream.poll_readable(cx)?.is_ready())
            }
        })
    }
}
