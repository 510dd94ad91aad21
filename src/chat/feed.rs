//! A feed: the log of a room in one form, and the members who read it.
//!
//! A feed knows which members hold up the room, and which ones the room has given up on. The room asks whether something
//! fits, and appends it when it fits in every feed. Nothing here waits or looks at a clock.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::delivery::{Delivered, deliver, put_aside, skip};
use super::flow::{Lag, Look, Terms};
use super::id::{Position, SessionId};
use super::log::{Log, LogSnapshot};
use super::member::Member;
use crate::protocol::Form;

/// Eighths of the log. The feed watches a member that is more than this behind, because the room may have to wait for it.
const FAR: u64 = 2;

/// Eighths of the log. The room does not wait for a member that is more than this behind and does not read at `min_rate`.
const VERY_FAR: u64 = 7;

/// Most bytes to put aside for a member that goes to another log. It loses the rest, and gets a notice.
pub(super) const MOST_PUT_ASIDE: usize = 64 * 1024;

/// The log of a room in one form, and the members who read it.
#[derive(Debug)]
pub(super) struct Feed {
    form: Form,
    log: Log,
    members: BTreeMap<SessionId, Box<Member>>,
    /// Nobody who is waited for stands before this.
    low: Position,
    /// While the room waits: what all who are waited for have to reach.
    wanted: Position,
    tally: Tally,
    /// Somebody is far behind: who reads how fast is looked at before the log is full.
    is_lagging: bool,
    /// The cursor, at the last look, of the slowest member that the room waits for.
    slowest: Position,
}

/// What members add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// How many have still to reach what is wanted.
    awaited: usize,
    /// How many are not waited for.
    given_up: usize,
    /// How many bytes are owed to them alone.
    owed: usize,
}

impl Tally {
    fn of(member: &Member, wanted: Position) -> Self {
        Self {
            awaited: usize::from(is_awaited(member, wanted)),
            given_up: usize::from(!member.flow.holds),
            owed: member.owed_bytes(),
        }
    }

    fn add(&mut self, other: Self) {
        self.awaited += other.awaited;
        self.given_up += other.given_up;
        self.owed += other.owed;
    }

    fn subtract(&mut self, other: Self) {
        self.awaited -= other.awaited;
        self.given_up -= other.given_up;
        self.owed -= other.owed;
    }
}

impl Feed {
    pub(super) fn new(form: Form, log: Log) -> Self {
        Self {
            form,
            log,
            members: BTreeMap::new(),
            low: 0,
            wanted: 0,
            tally: Tally::default(),
            is_lagging: false,
            slowest: 0,
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    pub(super) fn member(&self, id: SessionId) -> Option<&Member> {
        self.members.get(&id).map(|member| &**member)
    }

    /// Returns a member, of which nothing may change that is counted here: what it is owed, how far it is, and whether
    /// the room waits for it. [`Feed::change`] is for that.
    pub(super) fn member_mut(&mut self, id: SessionId) -> Option<&mut Member> {
        self.members.get_mut(&id).map(|member| &mut **member)
    }

    /// Changes something of a member, who reads this log.
    pub(super) fn change<T>(
        &mut self,
        id: SessionId,
        change: impl FnOnce(&mut Member, &Log) -> T,
    ) -> Option<T> {
        let member = self.members.get_mut(&id)?;
        self.tally.subtract(Tally::of(member, self.wanted));
        let changed = change(member, &self.log);
        self.tally.add(Tally::of(member, self.wanted));
        Some(changed)
    }

    /// Returns how many bytes a member has not been sent.
    pub(super) fn unsent(&self, id: SessionId) -> Option<u64> {
        Some(self.member(id)?.unsent_bytes(&self.log))
    }

    /// Owes a member whole lines, which `encode` appends in the form in which it sees them.
    pub(super) fn owe(&mut self, id: SessionId, encode: impl FnOnce(Form, &mut Vec<u8>)) {
        let mut text = Vec::new();
        encode(self.form, &mut text);
        self.change(id, |member, log| member.owe(log, &text));
    }

    /// Lines are gone that the members were to get next. Returns how many members there are that miss them.
    pub(super) fn skip(&mut self, lines: u64) -> u64 {
        let ids: Vec<SessionId> = self.members.keys().copied().collect();
        let form = self.form;
        let told = |id| self.change(id, |member, log| skip(member, log, form, lines)).unwrap_or(false);
        ids.into_iter().map(told).filter(|is_told| *is_told).count() as u64
    }

    /// How much memory its log and what is owed to members use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.log.memory() + self.tally.owed
    }

    /// Returns whether the feed needs looks: the room has given up on a member, or a member is far behind.
    pub(super) fn is_watching(&self) -> bool {
        self.tally.given_up > 0 || self.is_lagging
    }

    /// Lets a member in.
    pub(super) fn insert(&mut self, member: Box<Member>) {
        self.low = self.low.min(member.progress.cursor);
        self.tally.add(Tally::of(&member, self.wanted));
        self.members.insert(member.id, member);
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Box<Member>> {
        let member = self.members.remove(&id)?;
        self.tally.subtract(Tally::of(&member, self.wanted));
        Some(member)
    }

    /// Settles what members have missed, so that all of them stand in the log. Returns how many lines that is.
    pub(super) fn settle(&mut self) -> u64 {
        let missed = self.members.values_mut().map(|member| member.catch_up(&self.log)).sum();
        self.recount();
        missed
    }

    /// Owes a member what it has still to get of this log: it is about to read another. What is more than
    /// [`MOST_PUT_ASIDE`] it has missed.
    pub(super) fn put_aside(&mut self, id: SessionId) {
        let form = self.form;
        self.change(id, |member, log| put_aside(member, log, form, MOST_PUT_ASIDE));
    }

    /// What the next process takes over of the log: what somebody has still to get.
    pub(super) fn snapshot(&self) -> Option<(Form, LogSnapshot)> {
        let lowest = self.members().map(|member| member.progress.cursor).min()?;
        Some((self.form, self.log.snapshot(lowest)))
    }

    /// Returns whether `len` bytes can be appended without overwriting what somebody whom the room waits for has still
    /// to get.
    pub(super) fn fits(&mut self, len: usize) -> bool {
        let (tail, capacity) = (self.log.tail_after(len), self.log.capacity() as u64);
        let is_old = !self.is_lagging && self.low + capacity / 2 < self.log.head();
        if self.low < tail || is_old {
            self.low = self.lowest();
            self.is_lagging = self.is_behind(self.low, FAR);
        }
        self.low >= tail
    }

    /// Where the slowest of those stands whom the room may have to wait for.
    fn lowest(&self) -> Position {
        let held = self.members().filter(|member| member.may_hold());
        held.map(|member| member.progress.cursor).fold(self.log.head(), Position::min)
    }

    /// Appends whole lines, which fit. Their sayer, if it is one of the members, does not get them.
    pub(super) fn append(&mut self, from: SessionId, text: &[u8], lines: u64) {
        let tail = self.log.tail_after(text.len());
        if self.tally.given_up > 0 {
            self.drop_before(tail);
        } else {
            self.log.drop_before(tail, |_, _| {});
        }
        self.log.append(from, text, lines);
        let head = self.log.head();
        if let Some(member) = self.member_mut(from) {
            member.progress.own_end = head;
        }
    }

    /// Drops what lies before `tail`; notes who loses lines by it.
    fn drop_before(&mut self, tail: Position) {
        let Self { log, members, tally, .. } = self;
        if tail > log.tail() {
            for member in members.values_mut() {
                tally.owed += member.note_loss(log, tail);
            }
        }
        log.drop_before(tail, |stretch, lines| {
            if let Some(member) = members.get_mut(&stretch.from) {
                member.note_own_loss(stretch.start, stretch.first_line, lines);
            }
        });
    }

    /// Drops half of the log, to free memory. Members who have yet to get it lose lines. Returns how many.
    pub(super) fn shrink(&mut self) -> u64 {
        let half = self.log.tail() + (self.log.head() - self.log.tail()) / 2;
        let tail = self.log.boundary_at_or_after(half);
        self.drop_before(tail);
        self.log.compact();
        self.settle()
    }

    /// Sends what is new to up to `most` members, from the one after `after`. Returns the last one if there are more.
    pub(super) fn deliver(
        &mut self,
        after: Option<SessionId>,
        most: usize,
        delivered: &mut Delivered,
    ) -> Option<SessionId> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut last, mut count) = (None, 0);
        let mut batch: Vec<&mut Member> = Vec::new();
        for (id, member) in self.members.range_mut((begin, Bound::Unbounded)).take(most) {
            count += 1;
            last = (count == most).then_some(*id);
            if !member.is_full && member.wants(&self.log) {
                self.tally.subtract(Tally::of(member, self.wanted));
                batch.push(member);
            }
        }
        deliver(&self.log, self.form, &mut batch, delivered);
        batch.iter().for_each(|member| self.tally.add(Tally::of(member, self.wanted)));
        let is_over = last.is_none() && self.log.tail() < self.log.head();
        if is_over && !self.members().any(|member| member.wants(&self.log)) {
            self.log.clear();
            self.low = self.log.head();
        }
        last
    }

    /// Sends a member what it has yet to get, even if its socket was full.
    pub(super) fn deliver_to(&mut self, id: SessionId, delivered: &mut Delivered) {
        let form = self.form;
        self.change(id, |member, log| {
            if member.wants(log) {
                deliver(log, form, &mut [member], delivered);
            }
        });
    }

    /// `len` bytes have to wait: notes for whom.
    pub(super) fn wait(&mut self, len: usize) {
        self.wanted = self.log.tail_after(len);
        let (wanted, mut is_new) = (self.wanted, true);
        for member in self.members.values_mut() {
            is_new &= !member.flow.was_awaited();
            if is_awaited(member, wanted) {
                member.flow.begin_waiting(member.progress.cursor);
            }
        }
        if is_new {
            self.slowest = self.lowest();
        }
        self.recount();
    }

    /// The room waits for nobody.
    pub(super) fn end_waiting(&mut self) {
        self.wanted = 0;
        self.tally.awaited = 0;
    }

    /// Returns whether all have read what the room waited for.
    pub(super) fn have_all_read(&self) -> bool {
        self.tally.awaited == 0
    }

    #[cfg(test)]
    pub(super) fn awaited_in(&self) -> String {
        let Self { form, wanted, tally, low, log, .. } = self;
        format!("{form:?} wanted {wanted} {tally:?} low {low} tail {} head {}", log.tail(), log.head())
    }

    fn recount(&mut self) {
        let mut tally = Tally::default();
        self.members().for_each(|member| tally.add(Tally::of(member, self.wanted)));
        self.tally = tally;
    }

    /// Tries again to send to those whom the room waits for, or would have to wait for soon. The kernel calls a socket
    /// writable only when a third or more of a full buffer is free, which can take a slow reader longer than it has to
    /// show that it reads. Returns how many bytes the slowest of those has read whom the room waited for, since the last
    /// look; nothing if it waited for none.
    pub(super) fn try_again(&mut self, delivered: &mut Delivered) -> Option<u64> {
        let is_late = |member: &&Member| {
            let is_far = member.flow.holds && self.is_behind(member.progress.cursor, FAR);
            is_far || is_awaited(member, self.wanted)
        };
        let late: Vec<SessionId> = self.members().filter(is_late).map(|member| member.id).collect();
        late.into_iter().for_each(|id| self.deliver_to(id, delivered));
        let has_waited = self.members().any(|member| member.flow.was_awaited());
        has_waited.then(|| {
            let held = self.members().filter(|member| member.may_hold());
            let read = held.map(|member| member.progress.cursor + member.flow.answers());
            read.fold(self.log.head(), Position::min).saturating_sub(self.slowest)
        })
    }

    /// Looks at how much the members have read since the last look: those for whom the room waits, and those for whom it
    /// would have to wait soon, so that each has its second while the log still has space. Returns whether the room has
    /// given up on any of them.
    pub(super) fn look(&mut self, terms: Terms) -> bool {
        let mut has_given_up = false;
        self.is_lagging = false;
        let (head, eighth) = (self.log.head(), self.log.capacity() as u64 / 8);
        for member in self.members.values_mut() {
            let cursor = member.progress.cursor;
            let lag = Lag {
                cursor,
                has_all: member.is_broken || cursor >= member.stop(&self.log),
                is_awaited: is_awaited(member, self.wanted),
                is_far: head.saturating_sub(cursor) > eighth * FAR,
                is_in_the_way: head.saturating_sub(cursor) > eighth * VERY_FAR,
            };
            match member.flow.look(lag, terms) {
                Look::Same => {}
                Look::GivenUp => has_given_up = true,
                Look::TakenBack => self.low = 0,
            }
            self.is_lagging |= member.flow.holds && lag.is_far;
        }
        self.recount();
        self.slowest = self.lowest();
        has_given_up
    }

    /// Returns whether a cursor is more than so many eighths of the log's capacity behind its head.
    fn is_behind(&self, cursor: Position, eighths: u64) -> bool {
        self.log.head().saturating_sub(cursor) > self.log.capacity() as u64 / 8 * eighths
    }
}

fn is_awaited(member: &Member, wanted: Position) -> bool {
    member.may_hold() && member.progress.cursor < wanted
}
