//! How a conversation ends, or does not: the keyboard hangs up, or the connection is lost and comes back.
//!
//! The part of `conversation` that decides which of these it is, and with what code and words.

use std::time::Instant;

use jiff::Timestamp;

use super::{Conversation, IN_DOUBT, LEAVE_TIMEOUT, Outcome, Stage};
use crate::client::connection::Hung;
use crate::client::exit::Exit;
use crate::client::failure::{ConnectError, End};
use crate::client::pauses;

impl Conversation {
    pub(super) fn hung(&mut self, hung: Hung) -> Option<Outcome> {
        self.keyboard.answered();
        match hung {
            Hung::NotText => self.remark("what was typed is no UTF-8, nobody got it"),
            Hung::Interrupted | Hung::Broken => return Some((Exit::Ok, None)),
            Hung::EndOfInput => match &self.stage {
                Stage::Opening(link, _) | Stage::Talking(link) => {
                    link.try_end();
                    self.claim.give_up();
                    self.stage = Stage::Leaving(Instant::now() + LEAVE_TIMEOUT);
                }
                Stage::Apart(_) | Stage::Leaving(_) => {
                    self.stage = Stage::Leaving(Instant::now());
                    return Some(self.left(format!("{}: not connected", self.target)));
                }
            },
        }
        None
    }

    pub(super) fn not_connected(&mut self, error: &ConnectError) -> Option<Outcome> {
        if !self.was_connected {
            return Some((Exit::NoDaemon, Some(error.to_string())));
        }
        self.pause();
        None
    }

    pub(super) fn ended(&mut self, end: &End) -> Option<Outcome> {
        let says = format!("{}: {end}", self.target);
        self.greeting_until = None;
        let was_announced = std::mem::take(&mut self.is_announced);
        self.dialogue.lost(Timestamp::now());
        match (end, &self.stage) {
            (End::Closed, Stage::Leaving(_)) => return Some((Exit::Ok, None)),
            (_, Stage::Leaving(_)) => return Some(self.left(says)),
            (End::Closed, _) if self.quit_until.is_some() => return Some((Exit::Ok, None)),
            (End::NotChatd(_), _) => return Some((Exit::NoDaemon, Some(says))),
            _ if !self.reconnects || !self.was_connected => return Some(self.left(says)),
            _ => {}
        }
        self.is_writing = false;
        self.wants_name = false;
        self.claim.give_up();
        if self.pauses.lost(self.connected_at.elapsed()) || was_announced {
            self.remark(&format!("{says}; connecting again"));
        }
        self.pause();
        None
    }

    /// Nothing more is heard. Whoever has left does not mind that, unless something may not have arrived.
    pub(super) fn left(&self, says: String) -> Outcome {
        match (&self.stage, self.dialogue.has_lost()) {
            (_, true) => (Exit::Failed, Some(format!("{says}; {IN_DOUBT}"))),
            (Stage::Leaving(_), false) => (Exit::Ok, None),
            (_, false) => (Exit::Failed, Some(says)),
        }
    }

    /// Tries again later.
    fn pause(&mut self) {
        self.stage = Stage::Apart(Some(Instant::now() + self.pauses.next(pauses::spread())));
    }
}
