//! Where a member stands in the log of its room, and how it goes on from there: a plain value.
//!
//! A position that may lie inside a line, the few bytes that are for this member alone, and what it has missed. It is
//! all that has to be known to go on with the member elsewhere.

use std::io;

use serde::{Deserialize, Serialize};

use super::Position;
use super::log::Log;
use super::member::Member;
use super::outlet::Outlet;
use super::room_log::RoomLog;
use super::slices::Slices;
use crate::protocol::{Form, Notice};

/// Most bytes that one call of [`Reader::deliver`](super::Reader::deliver) hands to the kernel: bounds how long one member with
/// megabytes to come keeps the thread from the others.
pub const DELIVERY_BYTES: u64 = 256 * 1024;

/// Where a member stands: all that is needed to go on with it elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How far it has been sent the log; the byte inside a half-written line counts.
    pub cursor: Position,
    /// What is for this member alone and goes out before the log goes on: greeting, notices, answers.
    /// It begins where the member's stream of bytes stopped, so it never tears a line.
    #[serde(with = "serde_bytes")]
    pub owed: Vec<u8>,
    /// How many lines it has missed because it did not read, and has not been told of: they are told
    /// when it reads again, in one notice however often the log moved on meanwhile.
    pub missed: u64,
    /// What has been sent last ends inside of a line.
    pub torn: bool,
}

/// How a delivery went.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All that there was has been sent; the member will be woken when there is more.
    Complete,
    /// The kernel took less than it was offered: wait until the socket is writable.
    Blocked {
        /// How many bytes it did take.
        sent: usize,
    },
    /// There is more than one delivery may send: go on after the others had their turn.
    More,
    /// All has been sent up to the member's end.
    Ended,
}

impl Progress {
    /// What is owed first of all: whole lines. An LF first of all is the end of one that is torn.
    pub(super) fn begin_with(&mut self, mut lines: Vec<u8>) {
        self.torn |= lines.starts_with(b"\n");
        lines.append(&mut self.owed);
        self.owed = lines;
    }

    /// Offers what is owed and what lies between the cursor and the head, and goes on by what was taken.
    pub(super) fn send(
        &mut self,
        form: Form,
        log: &Log,
        member: &Member,
        outlet: &dyn Outlet,
    ) -> io::Result<Delivery> {
        let stop = log.head().min(member.end());
        let (missed, untold) = (self.missed, self.owed.len());
        self.tell_missed(form);
        let limit = stop.min(self.cursor + DELIVERY_BYTES).max(self.cursor);
        let mut slices = Slices::new();
        slices.push(&self.owed);
        let pieces = log.pieces(self.cursor, limit, |from| member.hides(from), member.hidden_end());
        let reached = slices.extend(log, pieces);
        let offered = slices.bytes;
        if offered > 0 {
            let mark = outlet.torn(member.id());
            mark.inspect(|mark| mark.set(true));
            let sent = match outlet.send(slices.as_slice()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                other => other?,
            };
            if sent <= untold {
                // Nothing of the notice has gone out: it may still come to count more.
                self.owed.truncate(untold);
                self.missed = missed;
            }
            if sent < offered {
                self.torn = self.advance(log, member, sent);
                mark.inspect(|mark| mark.set(self.torn));
                return Ok(Delivery::Blocked { sent });
            }
            if !self.owed.is_empty() {
                member.note_answered(self.owed.len());
                self.owed = Vec::new();
            }
            // What is owed does not end inside of a line, though an answer to telnet ends without an LF.
            self.torn = reached > self.cursor && !log.ends_line(reached);
            mark.inspect(|mark| mark.set(self.torn));
        }
        self.cursor = reached;
        Ok(match reached {
            cursor if cursor < stop => Delivery::More,
            _ if member.end() <= stop => Delivery::Ended,
            _ => Delivery::Complete,
        })
    }

    /// Goes on by `sent` bytes, fewer than there were; says whether that ends inside of a line.
    fn advance(&mut self, log: &Log, member: &Member, sent: usize) -> bool {
        let mut is_torn = self.torn;
        let owed = sent.min(self.owed.len());
        if owed > 0 {
            is_torn = owed < self.owed.len() && self.owed[owed - 1] != b'\n';
            member.note_answered(owed);
        }
        self.owed.drain(..owed);
        let mut left = (sent - owed) as Position;
        for piece in log.pieces(self.cursor, log.head(), |from| member.hides(from), member.hidden_end()) {
            let step = left.min(piece.1 - piece.0);
            if step == 0 {
                break;
            }
            left -= step;
            self.cursor = piece.0 + step;
            is_torn = !log.ends_line(self.cursor);
        }
        is_torn
    }

    /// If the log has moved on over the cursor: finish the half-written line, note how many lines are
    /// missing, and go on with the oldest line that is kept.
    pub(super) fn catch_up_with_tail(&mut self, room: &RoomLog, member: &Member, log: &Log) {
        if self.cursor >= log.tail() {
            return;
        }
        if let Some(skipped) = member.take_skipped() {
            self.owed.extend_from_slice(&skipped.rest);
            let missed = log.line_at(log.tail()).saturating_sub(skipped.first_line + skipped.own_lines);
            self.missed += missed;
            room.traffic().count_skipped(missed);
        }
        member.note_jumped(log.tail() - self.cursor);
        self.cursor = log.tail();
        room.note_cursor(member, self.cursor);
    }

    /// Puts what it has missed into words.
    pub(super) fn tell_missed(&mut self, form: Form) {
        if self.missed > 0 {
            Notice::Skipped { lines: std::mem::take(&mut self.missed) }.encode(form, &mut self.owed);
        }
    }

    /// Owes it all that it has still to get, up to the head.
    pub(super) fn settle(&mut self, room: &RoomLog, member: &Member, log: &Log) {
        self.catch_up_with_tail(room, member, log);
        self.tell_missed(room.form());
        for piece in log.pieces(self.cursor, log.head(), |from| member.hides(from), member.hidden_end()) {
            log.bytes(piece).into_iter().for_each(|slice| self.owed.extend_from_slice(slice));
        }
        self.cursor = log.head();
    }

    /// Owes it the rest of a line of which it has been sent the first part, if there is one.
    pub(super) fn finish_begun(&mut self, room: &RoomLog, log: &Log, member: &Member) {
        if self.owed.is_empty() {
            self.catch_up_with_tail(room, member, log);
            if self.owed.is_empty() {
                self.finish_line(log);
                room.note_cursor(member, self.cursor);
            }
        }
    }

    /// Moves the rest of a half-written line to what is owed.
    fn finish_line(&mut self, log: &Log) {
        self.owed = log.rest_of_line(self.cursor);
        self.cursor += self.owed.len() as Position;
    }
}
