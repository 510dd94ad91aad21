//! One member's way through the log of its room: what it is still owed, in which order, from where.
//!
//! A session hands [`Reader::deliver`] a way to send bytes and gets to know how far it came. The whole
//! state is a plain [`Progress`]: a position in the log that may lie inside a line, and the few bytes
//! that are for this member alone. The reader never waits, knows no socket and changes no log.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::log::Log;
use super::member::Member;
use super::room::RoomLog;
use super::{Position, SessionId};
use crate::protocol::Notice;

/// Most bytes that one call of [`Reader::deliver`] hands to the kernel: bounds how long one member with
/// megabytes to come keeps the thread from the others.
pub const DELIVERY_BYTES: u64 = 256 * 1024;

/// Most slices of one delivery. Sessions that speak between the others have many small pieces.
const MAX_SLICES: usize = 32;

/// Where a member stands: all that is needed to go on with it elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How far it has been sent the log; the byte inside a half-written line counts.
    pub cursor: Position,
    /// What is for this member alone and goes out before the log goes on: greeting, notices, answers.
    /// It begins where the member's stream of bytes stopped, so it never tears a line.
    pub owed: Vec<u8>,
    /// How many lines it has missed because it did not read, and has not been told of: they are told
    /// when it reads again, in one notice however often the log moved on meanwhile.
    pub missed: u64,
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

/// The reading half of a membership, owned by the session.
#[derive(Debug)]
pub struct Reader {
    room: Arc<RoomLog>,
    member: Arc<Member>,
    progress: Progress,
}

impl Reader {
    /// The reader of `member`, standing where `progress` says.
    pub fn new(room: Arc<RoomLog>, member: Arc<Member>, progress: Progress) -> Self {
        Self { room, member, progress }
    }

    /// The session that this reads for.
    pub fn id(&self) -> SessionId {
        self.member.id()
    }

    /// The membership that this reads for.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The room that this reads.
    pub fn room(&self) -> &Arc<RoomLog> {
        &self.room
    }

    /// The room has let the member in: it hears what is said from here on.
    pub fn joined(&mut self) {
        self.progress.cursor = self.member.cursor();
    }

    /// How many bytes are owed to this member alone.
    pub fn owed_bytes(&self) -> usize {
        self.progress.owed.len()
    }

    /// Adds bytes for this member alone: whole lines, or telnet's answers. They go out at once, but
    /// never inside a line that has been half written.
    pub fn owe(&mut self, bytes: &[u8]) {
        if self.progress.owed.is_empty() {
            let room = Arc::clone(&self.room);
            let log = room.read();
            self.catch_up_with_tail(&log);
            if self.progress.owed.is_empty() {
                self.finish_line(&log);
            }
        }
        self.tell_missed();
        self.progress.owed.extend_from_slice(bytes);
    }

    /// Sends what the member has still to get, through `send`, which is called at most once and says
    /// how many bytes it took.
    ///
    /// # Errors
    /// Those of `send`; `WouldBlock` becomes [`Delivery::Blocked`]. Nothing is lost by an error: the
    /// next call offers the same bytes again.
    pub fn deliver(
        &mut self,
        send: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Delivery> {
        let room = Arc::clone(&self.room);
        let log = room.read();
        self.catch_up_with_tail(&log);
        let stop = log.head().min(self.member.end());
        let limit = stop.min(self.progress.cursor + DELIVERY_BYTES);
        let (missed, untold) = (self.progress.missed, self.progress.owed.len());
        self.tell_missed();
        let (cursor, own_end) = (self.progress.cursor, self.member.own_end());
        let mut slices = Slices::new();
        slices.push(&self.progress.owed);
        let reached =
            slices.extend(&log, log.pieces(cursor, limit.max(cursor), self.member.id(), own_end), limit);
        let offered = slices.bytes;
        if offered == 0 {
            self.advance_to(reached.max(cursor));
            return Ok(self.position_in(stop));
        }
        let sent = match send(slices.as_slice()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        if sent <= untold {
            // Nothing of the notice has gone out: it may still come to count more.
            self.progress.owed.truncate(untold);
            self.progress.missed = missed;
        }
        self.advance(&log, sent, (sent == offered).then_some(reached));
        if sent < offered {
            return Ok(Delivery::Blocked { sent });
        }
        Ok(self.position_in(stop))
    }

    /// Reads no further in the log: only what is owed goes out.
    pub fn end_here(&mut self) {
        self.member.set_end(self.progress.cursor);
    }

    /// Where the member stands. What the log skipped is settled first, so that this is all there is.
    pub fn progress(&mut self) -> &Progress {
        let room = Arc::clone(&self.room);
        self.catch_up_with_tail(&room.read());
        &self.progress
    }

    /// Holds nobody up any more, whatever is unread: the session is gone.
    pub fn release(&mut self) {
        let room = Arc::clone(&self.room);
        let _log = room.read();
        self.advance_to(Position::MAX);
    }

    fn position_in(&self, stop: Position) -> Delivery {
        match self.progress.cursor {
            cursor if cursor < stop => Delivery::More,
            _ if self.member.end() <= stop => Delivery::Ended,
            _ => {
                self.member.fall_asleep();
                Delivery::Complete
            }
        }
    }

    /// If the log has moved on over the cursor: finish the half-written line, say how many lines are
    /// missing, and go on with the oldest line that is kept.
    fn catch_up_with_tail(&mut self, log: &Log) {
        if self.progress.cursor >= log.tail() {
            return;
        }
        if let Some(skipped) = self.member.take_skipped() {
            self.progress.owed.extend_from_slice(&skipped.rest);
            let missed = log.line_at(log.tail()).saturating_sub(skipped.first_line + skipped.own_lines);
            self.progress.missed += missed;
            self.room.count_skipped(missed);
        }
        self.advance_to(log.tail());
    }

    /// Puts what it has missed into words.
    fn tell_missed(&mut self) {
        let lines = std::mem::take(&mut self.progress.missed);
        if lines > 0 {
            Notice::Skipped { lines }.encode(&mut self.progress.owed);
        }
    }

    /// Moves the rest of a half-written line to what is owed.
    fn finish_line(&mut self, log: &Log) {
        let rest = log.rest_of_line(self.progress.cursor);
        self.advance_to(self.progress.cursor + rest.len() as Position);
        self.progress.owed = rest;
    }

    fn advance(&mut self, log: &Log, sent: usize, reached: Option<Position>) {
        let owed = sent.min(self.progress.owed.len());
        self.progress.owed.drain(..owed);
        if self.progress.owed.is_empty() {
            self.progress.owed = Vec::new();
        }
        let mut left = (sent - owed) as Position;
        let cursor = reached.unwrap_or_else(|| {
            let (id, own_end) = (self.member.id(), self.member.own_end());
            let mut cursor = self.progress.cursor;
            for piece in log.pieces(cursor, log.head(), id, own_end) {
                if left == 0 {
                    break;
                }
                let step = left.min(piece.1 - piece.0);
                left -= step;
                cursor = piece.0 + step;
            }
            cursor
        });
        self.advance_to(cursor);
    }

    fn advance_to(&mut self, cursor: Position) {
        self.progress.cursor = cursor;
        self.room.note_cursor(&self.member, cursor);
    }
}

/// What one delivery sends.
struct Slices<'a> {
    slices: [IoSlice<'a>; MAX_SLICES],
    len: usize,
    bytes: usize,
}

impl<'a> Slices<'a> {
    fn new() -> Self {
        Self { slices: [IoSlice::new(&[]); MAX_SLICES], len: 0, bytes: 0 }
    }

    fn push(&mut self, slice: &'a [u8]) {
        if !slice.is_empty() {
            self.slices[self.len] = IoSlice::new(slice);
            self.len += 1;
            self.bytes += slice.len();
        }
    }

    /// Adds pieces while there is room for them; returns how far in the log they reach. Where they
    /// are all added that is `limit`, for what lies behind the last piece is the reader's own.
    fn extend(
        &mut self,
        log: &'a Log,
        pieces: impl Iterator<Item = (Position, Position)>,
        limit: Position,
    ) -> Position {
        for piece in pieces {
            if self.len + 2 > MAX_SLICES {
                return piece.0;
            }
            for slice in log.bytes(piece) {
                self.push(slice);
            }
        }
        limit
    }

    fn as_slice(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.len]
    }
}
