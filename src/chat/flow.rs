//! Flow control: for whom a room waits, and for how long. Pure: numbers in, decisions out.
//!
//! A room waits for a member that has yet to get what an append would overwrite, as long as the member reads `min_rate`
//! bytes a second. The room gives up on a member that reads less for a second: it goes on without the member, until that
//! has caught up, or has read at the rate for a while. All such waiting uses up the [`Patience`] of the room, so that
//! members who take turns cannot hold it up for longer than one of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::id::Position;

/// How often a waiting room looks at how much the members read, while it has patience.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Shortest time between two looks, when the patience is used up.
const MIN_TICK: Duration = Duration::from_millis(10);

/// How long a member may read nothing before the room goes on without it. Only time in which the room waits for it, or
/// in which it is far behind, counts. Also the most that it can save up by reading faster.
const CREDIT: Duration = Duration::from_secs(1);

/// The room waits again for a member that it gave up on, when that has read at `min_rate` for this long, on top of what
/// it loses meanwhile; or when it has caught up.
const PROBATION: Duration = Duration::from_secs(4);

/// Bytes of answers in a row that count as reading: more than an answer has. Further answers count only as much as the
/// member reads of the log, so that no member can hold up the room by asking for ever.
const ANSWER_BYTES: u32 = 128 * 1024;

/// Longest time in any [`PATIENCE_BACK`] that a room waits for members that read too little.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it takes until patience that was used up is back.
const PATIENCE_BACK: Duration = Duration::from_secs(30);

/// How far behind its log a member is, and whether the room waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// Its cursor.
    pub(super) cursor: Position,
    /// Whether it has been sent everything in the log.
    pub(super) has_all: bool,
    /// Whether an append waits for it.
    pub(super) is_awaited: bool,
    /// Whether it is more than a quarter of the log behind: an append may have to wait for it.
    pub(super) is_far: bool,
    /// Whether it is more than seven eighths of the log behind: an append will have to wait for it very soon.
    pub(super) is_in_the_way: bool,
}

/// What members have to read between two looks, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Bytes at `min_rate` in the time since the last look.
    due: i64,
    /// The same in the part of that time in which the room waited.
    due_awaited: i64,
    /// The same for [`CREDIT`].
    credit: i64,
    /// The same for [`PROBATION`].
    probation: i64,
    /// Whether the patience of the room is used up.
    is_strict: bool,
}

impl Terms {
    /// Returns the terms for `min_rate`, in bytes a second, when `elapsed` has gone since the last look, and the room has
    /// waited for `waited` of that.
    pub(super) fn new(min_rate: u64, elapsed: Duration, waited: Duration, is_strict: bool) -> Self {
        let [due, due_awaited, credit, probation] =
            [elapsed, waited, CREDIT, PROBATION].map(|time| bytes_in(time, min_rate));
        Self { due, due_awaited, credit, probation, is_strict }
    }
}

/// The result of a look at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has changed.
    Same,
    /// The room goes on without it from now on.
    GivenUp,
    /// The room waits for it again.
    TakenBack,
}

/// How fast a member reads, and whether the room waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// The room waits for it.
    pub(super) holds: bool,
    /// The room has waited for it since this was last looked at.
    was_awaited: bool,
    /// Bytes by which it has read more than `min_rate` while the room waited for it or it was far behind, or less; while
    /// it is given up on, since then.
    balance: i64,
    /// Its cursor when this was last looked at.
    mark: Position,
    /// How many bytes it has been sent since then that were for it alone.
    answered: u32,
    /// How many more of those count as reading.
    answers_left: u32,
}

impl Flow {
    /// Returns the flow of a member that has read up to `cursor`. `holds` is whether the room waits for it.
    pub(super) fn new(cursor: Position, holds: bool) -> Self {
        let answers_left = ANSWER_BYTES;
        Self { holds, was_awaited: false, balance: 0, mark: cursor, answered: 0, answers_left }
    }

    /// Counts `bytes` that were sent to this member alone.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.answered = self.answered.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The log has moved on over `bytes` that it has not read.
    pub(super) fn jump(&mut self, bytes: u64) {
        self.mark += bytes;
    }

    /// The room begins to wait for it at `cursor`. What it has read faster before that does not count.
    pub(super) fn begin_waiting(&mut self, cursor: Position) {
        if !std::mem::replace(&mut self.was_awaited, true) {
            self.balance = (self.balance + self.taken(cursor)).min(0);
            (self.answered, self.answers_left) = (0, ANSWER_BYTES);
        }
    }

    /// Returns whether the room has waited for it since the last look.
    pub(super) fn was_awaited(&self) -> bool {
        self.was_awaited
    }

    /// Looks at how much the member has read since the last look, and decides whether the room waits for it.
    pub(super) fn look(&mut self, lag: Lag, terms: Terms) -> Look {
        let taken = self.taken(lag.cursor);
        let was_awaited = std::mem::replace(&mut self.was_awaited, self.holds && lag.is_awaited);
        if !self.holds {
            self.balance = (self.balance + taken - terms.due).clamp(0, terms.probation);
            let is_back = !terms.is_strict && (lag.has_all || self.balance == terms.probation);
            return if is_back { self.turn(Look::TakenBack) } else { Look::Same };
        }
        if !was_awaited && !lag.is_far {
            self.balance = 0;
            return Look::Same;
        }
        let due = if was_awaited { terms.due_awaited } else { terms.due };
        self.balance = (self.balance + taken - due).clamp(-terms.credit, terms.credit);
        let is_over = self.balance == -terms.credit;
        let is_short = terms.is_strict && self.balance < 0;
        let is_given_up = (lag.is_awaited && (is_over || is_short)) || (lag.is_in_the_way && is_over);
        if is_given_up { self.turn(Look::GivenUp) } else { Look::Same }
    }

    fn turn(&mut self, look: Look) -> Look {
        (self.holds, self.balance, self.was_awaited) = (look == Look::TakenBack, 0, false);
        look
    }

    /// How many bytes of answers count as read since the last look.
    pub(super) fn answers(&self) -> u64 {
        self.answered.min(self.answers_left).into()
    }

    /// Returns how many bytes the member has read since the last call. Answers count, because they come before the log
    /// goes on: they do not make the member slow.
    fn taken(&mut self, cursor: Position) -> i64 {
        let read = cursor.saturating_sub(self.mark).min(u32::MAX.into()) as u32;
        let answers = self.answers();
        self.answers_left =
            self.answers_left.saturating_sub(answers as u32).saturating_add(read).min(ANSWER_BYTES);
        (self.answered, self.mark) = (0, cursor);
        i64::from(read) + answers as i64
    }
}

/// How long a room has waited for members that read too little, for all of them together. In any [`PATIENCE_BACK`] that
/// is at most [`PATIENCE`] and a [`TICK`], and further time that the bytes read meanwhile justify.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// When and how long the room has waited, without what is back.
    spent: VecDeque<(Instant, Duration)>,
    /// How long the room has waited, without a break, for members that it still waits for and that have not made up for
    /// it by reading.
    open: Duration,
    /// Since when it waits, and how long it had waited before that since the last look.
    since: Option<Instant>,
    waited: Duration,
    /// Since when it waits, whatever was looked at meanwhile.
    began: Option<Instant>,
}

impl Patience {
    /// The room waits from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.began.get_or_insert(now);
    }

    /// The room no longer waits. Returns how long it has waited without a break.
    pub(super) fn end(&mut self, now: Instant) -> Duration {
        self.pause(now);
        self.began.take().map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Counts how long the room has waited until now.
    fn pause(&mut self, now: Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.waited += waited;
    }

    /// Returns how long the room has waited since the last look, up to `most`. `bytes` is what the slowest member that it
    /// waited for has read meanwhile.
    pub(super) fn look(&mut self, now: Instant, most: Duration, bytes: u64, min_rate: u64) -> Duration {
        let is_waiting = self.since.is_some();
        self.pause(now);
        self.since = is_waiting.then_some(now);
        let waited = std::mem::take(&mut self.waited).min(most);
        if waited.is_zero() {
            self.settle(now);
        } else {
            let justified = Duration::from_secs_f64(bytes as f64 / min_rate.max(1) as f64);
            self.open = (self.open + waited).saturating_sub(justified);
        }
        self.spent.retain(|(when, _)| now < *when + PATIENCE_BACK);
        waited
    }

    /// Counts the open waiting as spent: no member can make up for it any more.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.open.is_zero() {
            self.spent.push_back((now, std::mem::take(&mut self.open)));
        }
    }

    fn used(&self, now: Instant) -> Duration {
        let spent = self.spent.iter().filter(|(when, _)| now < *when + PATIENCE_BACK);
        self.open + spent.map(|(_, time)| *time).sum::<Duration>()
    }

    /// Returns whether the patience is used up.
    pub(super) fn is_used_up(&self, now: Instant) -> bool {
        self.used(now) >= PATIENCE
    }

    /// Returns the time from a look at `last` to the next one. When the patience is used up, that is half of what is left
    /// of the last [`TICK`], so that each of many members has some time to show that it reads.
    pub(super) fn interval(&self, last: Instant) -> Duration {
        let left = (PATIENCE + TICK).saturating_sub(self.used(last));
        if left > TICK { TICK } else { (left / 2).max(MIN_TICK) }
    }
}

/// Returns the bytes in `time` at `rate` bytes a second, rounded up.
fn bytes_in(time: Duration, rate: u64) -> i64 {
    let bytes = (time.as_micros() as u64).saturating_mul(rate).div_ceil(1_000_000);
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}
