//! Flow control: for whom a room waits, and for how long. Pure: numbers in, decisions out.
//!
//! A room waits for a member that has still to get what an append would overwrite, as long as that member takes
//! `min_rate` bytes a second. One that takes less has a second, its *credit*; then the room goes on without it, until it
//! has caught up or has read at the rate for a while. Waiting for members that take too little also uses up the
//! [`Patience`] of the room, so that many who take turns cannot hold it up for longer than one of them.

use std::time::{Duration, Instant};

use super::id::Position;

/// How long a member may take nothing before the room goes on without it: of the time in which the room waits for it, or
/// in which it is far behind. Also the most that it can save up by reading faster.
const CREDIT: Duration = Duration::from_secs(1);

/// A member that was given up on is waited for again when it has read at `min_rate` for this long, on
/// top of what it loses meanwhile; or when it has caught up.
const PROBATION: Duration = Duration::from_secs(4);

/// How many bytes of answers count as reading in a row: more than one answer has. Beyond that they count as much as what
/// is read of the log, so nobody can hold the room up by asking for ever.
const ANSWER_BYTES: u32 = 128 * 1024;

/// The most time, in a row, that a room waits for members that take too little.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time in which a room's patience comes back in full.
const PATIENCE_BACK: u32 = 30;

/// How far behind its log a member is, and whether the room waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// Its cursor.
    pub(super) cursor: Position,
    /// It has been sent all there is.
    pub(super) has_all: bool,
    /// An append waits for it.
    pub(super) is_awaited: bool,
    /// An append may have to wait for it before long.
    pub(super) is_far: bool,
    /// An append will have to wait for it very soon.
    pub(super) is_in_the_way: bool,
}

/// What a room asks of its members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The time since members were last looked at, in milliseconds.
    pub(super) elapsed: u32,
    /// Bytes that a member takes in that time, at least.
    pub(super) due: u64,
    /// The same for [`CREDIT`].
    pub(super) credit: u64,
    /// With less credit than this a member is given up on if the room has no patience left: so much that nobody falls
    /// below it who reads at the rate, however unsteadily.
    pub(super) least: u64,
    /// The same for [`PROBATION`].
    pub(super) probation: u64,
    /// The room has no patience left.
    pub(super) is_strict: bool,
}

impl Terms {
    /// Those of a room that waits for members that take `min_rate` bytes a second.
    pub(super) fn new(min_rate: u64, elapsed: Duration, is_strict: bool) -> Self {
        let due = if elapsed.is_zero() { 0 } else { bytes_in(elapsed, min_rate) };
        let credit = bytes_in(CREDIT, min_rate);
        let (least, probation) = (credit - credit / 4, bytes_in(PROBATION, min_rate));
        let elapsed = elapsed.as_millis() as u32;
        Self { elapsed, due, credit, least, probation, is_strict }
    }
}

/// What a look at a member has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has changed.
    Same,
    /// The room goes on without it from now on, after it has waited for it for so long in vain.
    GivenUp(Duration),
    /// The room waits for it again.
    TakenBack,
}

/// How fast a member reads, and whether the room waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// The room waits for it.
    pub(super) holds: bool,
    /// Bytes that it may still fall short of `min_rate` before it is given up on; while it is given up
    /// on, bytes that it has shown to read beyond it. `None` for one that was never slow.
    credit: Option<u64>,
    /// Its cursor when this was last looked at.
    mark: Position,
    /// How many bytes it has been sent since then that were for it alone.
    answered: u32,
    /// How many more of those count as reading.
    answers_left: u32,
    /// The room waited for it when this was last looked at.
    was_awaited: bool,
    /// For how many milliseconds the room has waited for it while it took too little, since its credit was whole.
    waited: u32,
}

impl Flow {
    /// That of a member that has read up to `cursor`.
    pub(super) fn new(cursor: Position) -> Self {
        Self {
            holds: true,
            credit: None,
            mark: cursor,
            answered: 0,
            answers_left: ANSWER_BYTES,
            was_awaited: false,
            waited: 0,
        }
    }

    /// That of a member that the room does not wait for.
    pub(super) fn given_up(cursor: Position) -> Self {
        Self { holds: false, credit: Some(0), ..Self::new(cursor) }
    }

    /// It has been sent `bytes` that were for it alone.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.answered = self.answered.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The log has moved on over `bytes` that it has not read.
    pub(super) fn jump(&mut self, bytes: u64) {
        self.mark += bytes;
    }

    /// The room begins to wait for it at `cursor`.
    pub(super) fn begin_waiting(&mut self, cursor: Position, terms: Terms) {
        if !self.was_awaited {
            (self.answered, self.answers_left, self.was_awaited) = (0, ANSWER_BYTES, true);
        }
        let credit = self.credit.unwrap_or(terms.credit).saturating_add(self.taken(cursor));
        self.credit = Some(credit.min(terms.credit));
    }

    /// Looks at what it has read since the last time, and decides whether the room waits for it.
    pub(super) fn look(&mut self, lag: Lag, terms: Terms) -> Look {
        if self.holds && !self.was_awaited && !lag.is_far {
            self.credit = None;
            return Look::Same;
        }
        let taken = self.taken(lag.cursor);
        let limit = if self.holds { terms.credit } else { terms.probation.saturating_add(terms.due) };
        let credit = limit.min(self.credit.unwrap_or(terms.credit).saturating_add(taken));
        let credit = credit.saturating_sub(terms.due);
        self.credit = Some(credit);
        if lag.is_awaited && taken < terms.due {
            self.waited = self.waited.saturating_add(terms.elapsed);
        } else if credit.saturating_add(terms.due) >= limit {
            self.waited = 0;
        }
        let look = self.judge(lag, credit, terms);
        if self.holds && lag.has_all {
            self.credit = None;
        }
        self.was_awaited = self.holds && lag.is_awaited;
        look
    }

    fn judge(&mut self, lag: Lag, credit: u64, terms: Terms) -> Look {
        let is_over = credit == 0 || (terms.is_strict && lag.is_awaited && credit < terms.least);
        if self.holds && (lag.is_awaited || lag.is_in_the_way) && is_over {
            (self.holds, self.credit) = (false, Some(0));
            return Look::GivenUp(Duration::from_millis(std::mem::take(&mut self.waited).into()));
        }
        if !self.holds && !terms.is_strict && (lag.has_all || credit >= terms.probation) {
            self.holds = true;
            return Look::TakenBack;
        }
        Look::Same
    }

    /// How many bytes it has taken since this was last asked. What it was answered comes before the log goes on, and is
    /// no slowness of its own.
    fn taken(&mut self, cursor: Position) -> u64 {
        let read = cursor.saturating_sub(self.mark);
        let answers = u64::from(std::mem::take(&mut self.answered).min(self.answers_left));
        let left = u64::from(self.answers_left) - answers + read.min(ANSWER_BYTES.into());
        self.answers_left = u32::try_from(left).map_or(ANSWER_BYTES, |left| left.min(ANSWER_BYTES));
        self.mark = cursor;
        read.saturating_add(answers)
    }
}

/// How much longer a room waits for members that take too little, whoever they are: [`PATIENCE`] in a row, and a
/// thirtieth of the time in the long run. It may be used up and more; then nobody is waited for again until it is back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// When all of it is back, if some has been used.
    whole: Option<Instant>,
}

impl Patience {
    /// The room has waited for so long until `now`.
    pub(super) fn use_up(&mut self, time: Duration, now: Instant) {
        if !time.is_zero() {
            let from = self.whole.map_or(now, |whole| whole.max(now));
            self.whole = Some(from + time * PATIENCE_BACK);
        }
    }

    /// Returns whether to wait for `time` more would use up more than there is left.
    pub(super) fn is_too_short_for(&self, time: Duration, now: Instant) -> bool {
        let used = self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        used + time * PATIENCE_BACK > PATIENCE * PATIENCE_BACK
    }
}

/// How many bytes that is at `rate` bytes a second; at least one, so that no rate is ever "nothing".
fn bytes_in(time: Duration, rate: u64) -> u64 {
    (time.as_micros() as u64).saturating_mul(rate).div_ceil(1_000_000).max(1)
}
