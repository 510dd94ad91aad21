//! An audience: the members of a room to whom lines are shown in the same form, and the log that they read.
//!
//! It knows who holds the room up and who has lost the right to: the room asks whether something fits, and appends
//! it when it fits everywhere. Nothing here waits or looks at a clock.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::Position;
use super::log::Log;
use super::member::{Member, SessionId};
use super::progress::Delivery;
use super::reader::{News, deliver};
use super::room_log::RoomLog;

/// How long a member may take nothing before it is no longer waited for: of the time in which the room waits for it, or
/// in which it is far behind. Also the most that it can save up by reading faster.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is so many eighths of the log behind is looked at, for the room may have to wait for it.
const FAR: u64 = 2;

/// Who is so many eighths of it behind and does not read at `min_rate` will not be waited for.
const VERY_FAR: u64 = 7;

/// How many bytes of answers count as reading in a row: more than one answer has. Beyond that they count as much as what
/// is read of the log, so nobody can hold the room up by asking for ever.
const ANSWER_BYTES: u32 = 128 * 1024;

/// A member that was given up on is waited for again when it has read at `min_rate` for this long, on
/// top of what it loses meanwhile; or when it has caught up.
const PROBATION: Duration = Duration::from_secs(4);

/// A member as its audience sees it.
#[derive(Debug)]
struct Seat {
    member: Arc<Member>,
    /// The room waits for it.
    holds: bool,
    /// Bytes that it may still fall short of `min_rate` before it is given up on; while it is given up
    /// on, bytes that it has shown to read beyond it.
    credit: u64,
    /// Its cursor when this was last looked at.
    mark: Position,
    /// How many more bytes of answers count as reading.
    answers_left: u32,
    /// The room has waited for it since this was last looked at.
    was_awaited: bool,
}

impl Seat {
    fn new(member: &Arc<Member>, credit: u64) -> Self {
        // That was elsewhere.
        member.take_jumped();
        member.take_answered();
        Self {
            member: Arc::clone(member),
            holds: true,
            credit,
            mark: member.cursor(),
            answers_left: ANSWER_BYTES,
            was_awaited: false,
        }
    }

    /// The room begins to wait for it.
    fn begin_waiting(&mut self) {
        self.member.take_answered();
        self.answers_left = ANSWER_BYTES;
        self.was_awaited = true;
    }

    /// How many bytes it has taken since this was last asked. What the log has moved on over it has not. What chatd has
    /// answered it comes before the log goes on, and is no slowness of its own.
    fn taken(&mut self) -> u64 {
        let cursor = self.member.cursor();
        let read = cursor.saturating_sub(self.mark).saturating_sub(self.member.take_jumped());
        let answers = self.member.take_answered().min(self.answers_left.into());
        let left = u64::from(self.answers_left) - answers + read.min(ANSWER_BYTES.into());
        self.answers_left = u32::try_from(left).map_or(ANSWER_BYTES, |left| left.min(ANSWER_BYTES));
        self.mark = cursor;
        read.saturating_add(answers)
    }
}

/// Those who read the same log.
#[derive(Debug)]
pub(super) struct Audience {
    shared: Arc<RoomLog>,
    seats: BTreeMap<SessionId, Seat>,
    /// No member that is waited for stands before this.
    low: Position,
    /// Members that are not waited for.
    given_up: usize,
    /// Somebody is far behind: who reads how fast is looked at before the log is full.
    is_lagging: bool,
}

impl Audience {
    pub(super) fn new(shared: Arc<RoomLog>) -> Self {
        Self { shared, seats: BTreeMap::new(), low: 0, given_up: 0, is_lagging: false }
    }

    /// The log that they read.
    pub(super) fn log(&self) -> &Arc<RoomLog> {
        &self.shared
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Somebody is not waited for, or far behind: the time has to be told.
    pub(super) fn is_watching(&self) -> bool {
        self.given_up > 0 || self.is_lagging
    }

    /// Lets a member in whose cursor is at the head of the log.
    pub(super) fn seat(&mut self, member: &Arc<Member>) {
        self.seats.insert(member.id(), Seat::new(member, self.patience()));
    }

    /// Lets a member in that has been there before: the room waits for it, or does not.
    pub(super) fn seat_again(&mut self, member: &Arc<Member>, holds: bool) {
        self.seat(member);
        if let Some(seat) = self.seats.get_mut(&member.id()).filter(|_| !holds) {
            (seat.holds, seat.credit) = (false, 0);
            self.given_up += 1;
        }
    }

    /// Says whether the room waits for a member, if it is one of them.
    pub(super) fn holds(&self, id: SessionId) -> Option<bool> {
        self.seats.get(&id).map(|seat| seat.holds)
    }

    /// How far the one of them has come who has come least far.
    pub(super) fn lowest(&self) -> Option<Position> {
        self.seats.values().map(|seat| seat.member.cursor()).min()
    }

    /// Says whether that member was there.
    pub(super) fn unseat(&mut self, id: SessionId) -> bool {
        let seat = self.seats.remove(&id);
        self.given_up -= usize::from(seat.as_ref().is_some_and(|seat| !seat.holds));
        seat.is_some()
    }

    /// Says whether `len` bytes can be appended without overwriting what somebody whom the room waits for has still
    /// to get.
    pub(super) fn fits(&mut self, len: usize) -> bool {
        let log = self.shared.read();
        let (tail, capacity) = (log.tail_after(len), log.capacity() as u64);
        let is_old = !self.is_lagging && self.low + capacity / 2 < log.head();
        if self.low < tail || is_old {
            let lowest = self.seats.values().filter(|seat| seat.holds).map(|seat| seat.member.cursor()).min();
            self.low = lowest.map_or(log.head(), |lowest| lowest.min(log.head()));
            self.is_lagging = is_far_behind(self.low, &log, FAR);
        }
        self.low >= tail
    }

    /// Appends whole lines, which fit. Their sayer, if it is one of them, does not get them.
    pub(super) fn append(&self, from: SessionId, text: &[u8], lines: u64) {
        let mut log = self.shared.write();
        if self.given_up > 0 {
            self.note_skipped(&log, log.tail_after(text.len()));
        }
        log.make_room(text.len(), |stretch, lines| {
            let missed = |seat: &&Seat| !seat.holds && seat.member.cursor() <= stretch.start;
            if let Some(seat) = self.seats.get(&stretch.from).filter(missed) {
                seat.member.note_skipped(lines, || (Vec::new(), stretch.first_line));
            }
        });
        log.append(from, text, lines);
        if let Some(seat) = self.seats.get(&from) {
            seat.member.set_own_end(log.head());
        }
    }

    /// The members that the log is about to move on over: note from where.
    fn note_skipped(&self, log: &Log, tail: Position) {
        for (id, seat) in self.seats.iter().filter(|(_, seat)| !seat.holds) {
            let cursor = seat.member.cursor();
            if cursor >= log.tail() && cursor < tail {
                let first = || (log.rest_of_line(cursor), log.line_at(cursor));
                seat.member.note_skipped(log.own_lines_at(cursor, *id), first);
            }
        }
    }

    /// Sends what is new to up to `most` of those who had been sent everything before, beginning behind
    /// `after`. Whoever cannot take all of it at once is woken to see to the rest. Returns behind whom to
    /// go on, if there are more.
    pub(super) fn deliver(&self, after: Option<SessionId>, most: usize) -> Option<SessionId> {
        let log = self.shared.read();
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let seats = self.seats.range((begin, Bound::Unbounded)).take(most);
        let mut last = None;
        let mut news = None;
        let mut turns = Vec::with_capacity(most.min(self.seats.len()));
        for (count, (id, seat)) in seats.enumerate() {
            last = (count + 1 == most).then_some(*id);
            let member = &*seat.member;
            if !member.is_asleep() {
                continue;
            }
            let news = news.get_or_insert_with(|| News::since(&log, member.cursor()));
            if let Some(turn) = news.as_ref().and_then(|news| news.for_member(member)) {
                turns.push(turn);
            } else if !matches!(
                deliver(&self.shared, &log, member, &mut member.output()),
                Ok(Delivery::Complete)
            ) {
                member.set_asleep(false);
                member.wake();
            }
        }
        if let Some(Some(news)) = news {
            news.deliver(&self.shared, turns);
        }
        last
    }

    /// Notes for whom `len` bytes have to wait.
    pub(super) fn wait(&mut self, len: usize) {
        let shared = Arc::clone(&self.shared);
        let log = shared.write();
        let wanted = log.tail_after(len);
        let full = self.patience();
        let mut awaited = 0;
        for seat in self.seats.values_mut().filter(|seat| seat.holds) {
            let cursor = seat.member.cursor();
            seat.member.set_awaited(cursor < wanted);
            if cursor < wanted {
                awaited += 1;
                if !seat.was_awaited {
                    seat.begin_waiting();
                }
                seat.credit = full.min(seat.credit.saturating_add(seat.taken()));
            }
        }
        shared.await_cursors(wanted, awaited);
    }

    /// The room waits for nobody.
    pub(super) fn end_waiting(&self) {
        self.shared.end_waiting();
    }

    /// Says whether all have read what the room waited for; otherwise `waker` will be woken.
    pub(super) fn have_all_read(&self, waker: &Waker) -> bool {
        self.shared.have_all_read(waker)
    }

    /// Reckons who has read how much in the time `elapsed`, and gives up on those without credit: those whom the room
    /// waits for, and those whom it would have to wait for soon, so that each of them has its second while the log still
    /// has space.
    pub(super) fn reckon(&mut self, elapsed: Duration) {
        let due = if elapsed.is_zero() { 0 } else { bytes_in(elapsed, self.min_rate()) };
        let (patience, probation) = (self.patience(), bytes_in(PROBATION, self.min_rate()));
        let shared = Arc::clone(&self.shared);
        let log = shared.write();
        self.is_lagging = false;
        for seat in self.seats.values_mut() {
            let is_behind = is_far_behind(seat.member.cursor(), &log, FAR);
            if seat.holds && !seat.was_awaited && !is_behind {
                seat.credit = patience;
                continue;
            }
            let taken = seat.taken();
            let limit = if seat.holds { patience } else { probation.saturating_add(due) };
            seat.credit = limit.min(seat.credit.saturating_add(taken)).saturating_sub(due);
            let all_read = seat.mark >= log.head();
            let awaited = seat.member.is_awaited();
            let is_in_the_way = awaited || is_far_behind(seat.mark, &log, VERY_FAR);
            if seat.holds && is_in_the_way && seat.credit == 0 {
                seat.holds = false;
                self.given_up += 1;
                if awaited {
                    seat.member.set_awaited(false);
                    shared.give_up_one();
                }
            } else if !seat.holds && (all_read || seat.credit >= probation) {
                seat.holds = true;
                self.given_up -= 1;
                self.low = 0;
            }
            if seat.holds && all_read {
                seat.credit = patience;
            }
            seat.was_awaited = seat.holds && awaited;
            self.is_lagging |= seat.holds && is_behind;
            seat.member.retry();
        }
    }

    fn min_rate(&self) -> u64 {
        self.shared.traffic().min_rate()
    }

    fn patience(&self) -> u64 {
        bytes_in(PATIENCE, self.min_rate())
    }
}

/// Says whether somebody who stands there is so many parts of eight of what the log can keep behind its head.
fn is_far_behind(cursor: Position, log: &Log, eighths: u64) -> bool {
    log.head().saturating_sub(cursor) > log.capacity() as u64 / 8 * eighths
}

/// How many bytes that is at `rate` bytes a second; at least one, so that no rate is ever "nothing".
fn bytes_in(time: Duration, rate: u64) -> u64 {
    (time.as_micros() as u64).saturating_mul(rate).div_ceil(1_000_000).max(1)
}
