//! One member's way through the log of its room: what it is still owed, in which order, from where.
//!
//! What there is goes to the member's outlet, without waiting: the room sends it to those who have been
//! sent everything before, their sessions' tasks see to the others. The whole state is a plain
//! [`Progress`]: a position in the log that may lie inside a line, and the few bytes that are for this
//! member alone. Nothing here waits, knows a socket or changes the log.

use std::io;
use std::sync::{Arc, MutexGuard};

use super::log::Log;
use super::member::{Member, Output};
use super::outlet::Way;
use super::pages::Pages;
use super::progress::{DELIVERY_BYTES, Delivery, Progress};
use super::room_log::RoomLog;
use super::traffic::Traffic;
use super::{Position, SessionId};
use crate::protocol::Form;

/// The reading half of a membership, as the session has it.
#[derive(Debug)]
pub struct Reader {
    /// The log that the member read when this was last looked at.
    room: Arc<RoomLog>,
    member: Arc<Member>,
}

impl Reader {
    /// The reader of `member`.
    pub fn new(member: Arc<Member>) -> Self {
        Self { room: member.room(), member }
    }

    /// The session that this reads for.
    pub fn id(&self) -> SessionId {
        self.member.id()
    }

    /// The membership that this reads for.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> &Arc<Traffic> {
        self.room.traffic()
    }

    /// Does something with what the member is sent, while nobody appends to the log that it reads.
    fn with<T>(&mut self, job: impl FnOnce(&RoomLog, &Log, &Member, &mut Output) -> T) -> T {
        loop {
            let room = Arc::clone(&self.room);
            let log = room.read();
            let output = &mut *self.member.output();
            if Arc::ptr_eq(&room, &output.room) {
                return job(&room, &log, &self.member, output);
            }
            // It reads another one meanwhile.
            self.room = Arc::clone(&output.room);
        }
    }

    /// How many bytes there are that the member has not been sent.
    pub fn unsent_bytes(&mut self) -> u64 {
        self.with(|_, log, _, output| {
            let owed = output.progress.owed.len() as u64;
            owed + log.head().saturating_sub(output.progress.cursor)
        })
    }

    /// How many bytes are owed to this member alone.
    pub fn owed_bytes(&mut self) -> usize {
        self.with(|_, _, _, output| output.progress.owed.len())
    }

    /// Adds bytes for this member alone: whole lines, or telnet's answers. They go out with the next
    /// [`Reader::deliver`], but never inside a line that has been half written. Lost if there is no outlet
    /// any more.
    pub fn owe(&mut self, bytes: &[u8]) {
        self.with(|room, log, member, output| owe(room, log, member, output, bytes));
    }

    /// Sends the member what it has still to get.
    ///
    /// # Errors
    /// Those of the outlet. Nothing is lost by an error: the next call offers the same bytes again.
    pub fn deliver(&mut self) -> io::Result<Delivery> {
        self.with(deliver)
    }

    /// Reads no further in the log: only what is owed goes out.
    pub fn end_here(&mut self) {
        self.with(|_, _, member, output| member.set_end(output.progress.cursor));
    }

    /// Holds nobody up any more, whatever is unread, and lets go of the outlet: the session is gone.
    pub fn release(&mut self) {
        self.with(|room, _, member, output| {
            output.outlet = None;
            output.progress.owed = Vec::new();
            room.note_cursor(member, Position::MAX);
        });
    }
}

/// Where a member stands; what the log skipped is settled first, so that this is all there is.
pub(super) fn settled(member: &Member) -> Progress {
    let room = member.room();
    let log = room.read();
    let output = &mut *member.output();
    output.progress.catch_up_with_tail(&room, member, &log);
    output.progress.clone()
}

/// Adds bytes for a member alone; see [`Reader::owe`].
fn owe(room: &RoomLog, log: &Log, member: &Member, output: &mut Output, bytes: &[u8]) {
    member.set_asleep(false);
    if output.outlet.is_none() {
        return;
    }
    let progress = &mut output.progress;
    progress.finish_begun(room, log, member);
    progress.tell_missed(room.form());
    progress.owed.extend_from_slice(bytes);
}

/// Answers a member, from the room's side: `answer` appends whole lines in the form that they are shown in. Says how
/// many bytes the member has been owed before.
pub(super) fn answer(member: &Member, answer: impl FnOnce(Form, &mut Vec<u8>)) -> usize {
    let room = member.room();
    let log = room.read();
    let output = &mut *member.output();
    let before = output.progress.owed.len();
    let mut bytes = Vec::new();
    answer(room.form(), &mut bytes);
    owe(&room, &log, member, output, &bytes);
    member.wake();
    before
}

/// Has a member read another log, from its head: what it has still to get of the one before is owed to it.
pub(super) fn relocate(member: &Member, to: &Arc<RoomLog>) {
    // Only the broker appends, and it is here.
    let head = to.head();
    let from = member.room();
    let log = from.read();
    let output = &mut *member.output();
    // To one that is gone nothing is owed.
    if output.outlet.is_some() {
        output.progress.settle(&from, member, &log);
    }
    from.note_cursor(member, Position::MAX);
    output.progress.cursor = head;
    // Nobody waits for one that is gone.
    member.set_cursor(if output.outlet.is_some() { head } else { Position::MAX });
    member.set_own_end(0);
    member.set_awaited(false);
    output.room = Arc::clone(to);
    member.set_asleep(false);
    member.wake();
}

/// What has been said since a position, where it lies in one piece.
///
/// Most members have been sent everything before and said nothing themselves: what is new is the same bytes
/// for all of them. They are collected first and then sent to in a row, with nothing between one system call
/// and the next: looking after a member between two of them makes a line a sixth dearer, for it takes the
/// processor's caches from the kernel. Where it is much, and they are many, it lies in [`Pages`] that their sockets refer
/// to.
pub(super) struct News<'a> {
    from: Position,
    bytes: &'a [u8],
}

impl<'a> News<'a> {
    /// What has been said since `from`; nothing if that goes over the end of the ring or is very much.
    pub(super) fn since(log: &'a Log, from: Position) -> Option<Self> {
        let is_kept = (log.tail()..log.head()).contains(&from);
        let piece = (from, log.head());
        let [bytes, rest] = if is_kept { log.bytes(piece) } else { [&[][..], &[]] };
        let fits = !bytes.is_empty() && rest.is_empty() && bytes.len() as u64 <= DELIVERY_BYTES;
        fits.then_some(Self { from, bytes })
    }

    /// Has `member` wait for [`News::deliver`], if that is all the member has still to get.
    pub(super) fn for_member<'m>(&self, member: &'m Member) -> Option<Turn<'m>> {
        let output = member.output();
        let progress = &output.progress;
        let is_all = progress.cursor == self.from && progress.owed.is_empty() && progress.missed == 0;
        let is_all = is_all && !progress.torn;
        let is_for_all = member.hidden_end() <= self.from && member.end() == Position::MAX;
        (is_all && is_for_all && output.outlet.is_some()).then_some(Turn { member, output })
    }

    /// Says whether so many bytes of it end inside of a line.
    fn is_torn(&self, sent: usize) -> bool {
        sent > 0 && self.bytes[sent - 1] != b'\n'
    }

    /// Sends it to all of them, one right after the other; wakes those whose own task has to see to the rest.
    pub(super) fn deliver(&self, room: &RoomLog, mut turns: Vec<Turn<'_>>) {
        let ways: Vec<Way<'_>> = turns.iter().filter_map(Turn::way).collect();
        let pages = Pages::for_many(self.bytes, ways.len());
        let send = |way: &Way<'_>| {
            // Before the others have had their turn: this process may die meanwhile.
            way.mark_torn(true);
            let result = way.send(self.bytes, pages.as_ref());
            way.mark_torn(self.is_torn(*result.as_ref().unwrap_or(&0)));
            result
        };
        let results: Vec<io::Result<usize>> = ways.iter().map(send).collect();
        for (turn, result) in turns.iter_mut().zip(results) {
            // An error of the connection comes again when the session's task tries, and that ends the session. Where it is
            // only that pages cannot be sent, that sends a copy.
            let sent = result.unwrap_or(0);
            turn.output.progress.cursor += sent as Position;
            turn.output.progress.torn = self.is_torn(sent);
            room.note_cursor(turn.member, turn.output.progress.cursor);
            if sent < self.bytes.len() {
                turn.member.set_asleep(false);
                turn.member.wake();
            }
        }
    }
}

/// A member to whom what is new can be sent as it is. Nobody else can send to it meanwhile.
pub(super) struct Turn<'a> {
    member: &'a Member,
    output: MutexGuard<'a, Output>,
}

impl Turn<'_> {
    fn way(&self) -> Option<Way<'_>> {
        Some(Way::to(self.output.outlet.as_deref()?, self.member.id()))
    }
}

/// Sends `member` what it has still to get. [`Delivery::Complete`] leaves it asleep, anything else awake.
///
/// # Errors
/// Those of the outlet; `BrokenPipe` if there is none any more.
pub(super) fn deliver(
    room: &RoomLog,
    log: &Log,
    member: &Member,
    output: &mut Output,
) -> io::Result<Delivery> {
    let outlet = output.outlet.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
    output.progress.catch_up_with_tail(room, member, log);
    let delivery = output.progress.send(room.form(), log, member, &**outlet)?;
    room.note_cursor(member, output.progress.cursor);
    member.set_asleep(delivery == Delivery::Complete);
    Ok(delivery)
}
