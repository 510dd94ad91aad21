//! A feed: the log of a room in one form, and the members who read it.
//!
//! It knows who holds the room up and who has lost the right to: the room asks whether something fits, and appends
//! it when it fits everywhere. Nothing here waits or looks at a clock.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::delivery::{Delivered, deliver, put_aside};
use super::flow::{Lag, Look, Terms};
use super::id::{Position, SessionId};
use super::log::{Log, LogSnapshot};
use super::member::Member;
use crate::protocol::Form;

/// Who is so many eighths of the log behind is looked at, for the room may have to wait for it.
const FAR: u64 = 2;

/// Who is so many eighths of it behind and does not read at `min_rate` will not be waited for.
const VERY_FAR: u64 = 7;

/// Most bytes that a member has still to be sent that are put aside for it when it is shown lines in another way.
pub(super) const MOST_PUT_ASIDE: usize = 64 * 1024;

/// The log of a room in one form, and who reads it.
#[derive(Debug)]
pub(super) struct Feed {
    form: Form,
    log: Log,
    members: BTreeMap<SessionId, Box<Member>>,
    /// Nobody who is waited for stands before this.
    low: Position,
    /// While the room waits: what all who are waited for have to reach.
    wanted: Position,
    /// How many of them have not.
    awaited: usize,
    /// How many members are not waited for.
    given_up: usize,
    /// Somebody is far behind: who reads how fast is looked at before the log is full.
    is_lagging: bool,
    /// In the delivery that is under way: how many have not been sent everything so far.
    behind: usize,
    /// Where the log ended when it began.
    begun: Position,
    /// How many bytes are owed to members alone, as counted in the last delivery and since then.
    owed: usize,
}

impl Feed {
    pub(super) fn new(form: Form, log: Log) -> Self {
        Self {
            form,
            log,
            members: BTreeMap::new(),
            low: 0,
            wanted: 0,
            awaited: 0,
            given_up: 0,
            is_lagging: false,
            behind: 0,
            begun: 0,
            owed: 0,
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

    pub(super) fn member_mut(&mut self, id: SessionId) -> Option<&mut Member> {
        self.members.get_mut(&id).map(|member| &mut **member)
    }

    /// Returns a member and the log that it reads.
    pub(super) fn reader(&mut self, id: SessionId) -> Option<(&mut Member, &Log)> {
        Some((self.members.get_mut(&id)?, &self.log))
    }

    /// Owes a member whole lines, which `encode` appends in the form in which it sees them.
    pub(super) fn owe(&mut self, id: SessionId, encode: impl FnOnce(Form, &mut Vec<u8>)) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut text = Vec::new();
        encode(self.form, &mut text);
        self.owed += text.len();
        member.owe(&self.log, &text);
    }

    /// Nothing can be sent to a member any more: it holds nobody up.
    pub(super) fn break_off(&mut self, id: SessionId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.break_off();
            self.recount();
        }
    }

    /// A member hears nothing more but what it is owed from now on.
    pub(super) fn end_here(&mut self, id: SessionId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.finish_line(&self.log);
            member.end_at(member.progress.cursor);
            self.recount();
        }
    }

    /// A member hears what has been said so far, and nothing more.
    pub(super) fn end_at_head(&mut self, id: SessionId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.end_at(self.log.head());
            self.recount();
        }
    }

    /// How much memory its log and what is owed to members use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.log.memory() + self.owed
    }

    /// Somebody is not waited for, or far behind: the time has to be told.
    pub(super) fn is_watching(&self) -> bool {
        self.given_up > 0 || self.is_lagging
    }

    /// Lets a member in.
    pub(super) fn insert(&mut self, member: Box<Member>) {
        self.given_up += usize::from(!member.flow.holds);
        self.low = self.low.min(member.progress.cursor);
        self.owed += member.owed_bytes();
        self.members.insert(member.id, member);
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Box<Member>> {
        let member = self.members.remove(&id)?;
        self.given_up -= usize::from(!member.flow.holds);
        self.owed = self.owed.saturating_sub(member.owed_bytes());
        self.recount();
        Some(member)
    }

    /// Settles what members have missed, so that all of them stand in the log. Returns how many lines that is.
    pub(super) fn settle(&mut self) -> u64 {
        self.members.values_mut().map(|member| member.catch_up(&self.log)).sum()
    }

    /// Owes a member what it has still to get of this log: it is about to read another. What is more than
    /// [`MOST_PUT_ASIDE`] it has missed.
    pub(super) fn put_aside(&mut self, id: SessionId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let before = member.owed_bytes();
        put_aside(member, &self.log, self.form, MOST_PUT_ASIDE);
        self.owed = (self.owed + member.owed_bytes()).saturating_sub(before);
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
            let head = self.log.head();
            let held = self.members().filter(|member| member.may_hold());
            self.low = held.map(|member| member.progress.cursor).fold(head, Position::min);
            self.is_lagging = self.is_behind(self.low, FAR);
        }
        self.low >= tail
    }

    /// Appends whole lines, which fit. Their sayer, if it is one of the members, does not get them.
    pub(super) fn append(&mut self, from: SessionId, text: &[u8], lines: u64) {
        let tail = self.log.tail_after(text.len());
        if self.given_up > 0 {
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
        let Self { log, members, .. } = self;
        if tail > log.tail() {
            members.values_mut().for_each(|member| member.note_loss(log, tail));
        }
        log.drop_before(tail, |stretch, lines| {
            if let Some(member) = members.get_mut(&stretch.from) {
                member.note_own_loss(stretch.start, stretch.first_line, lines);
            }
        });
    }

    /// Gives up half of what is kept, for want of memory: who has not read it loses lines.
    pub(super) fn shrink(&mut self) -> u64 {
        let half = self.log.tail() + (self.log.head() - self.log.tail()) / 2;
        let tail = self.log.boundary_at_or_after(half);
        self.drop_before(tail);
        self.log.compact();
        let missed = self.settle();
        self.recount();
        missed
    }

    /// Sends what is new to up to `most` members, beginning behind `after`. Returns behind whom to go on, if there are
    /// more.
    pub(super) fn deliver(
        &mut self,
        after: Option<SessionId>,
        most: usize,
        delivered: &mut Delivered,
    ) -> Option<SessionId> {
        if after.is_none() {
            (self.behind, self.owed, self.begun) = (0, 0, self.log.head());
        }
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut last, mut count, mut full) = (None, 0, 0);
        let mut batch: Vec<&mut Member> = Vec::new();
        for (id, member) in self.members.range_mut((begin, Bound::Unbounded)).take(most) {
            count += 1;
            last = (count == most).then_some(*id);
            if member.wants(&self.log) {
                if member.is_full {
                    full += 1;
                    self.owed += member.owed_bytes();
                } else {
                    batch.push(member);
                }
            }
        }
        let before = delivered.behind;
        deliver(&self.log, self.form, &mut batch, delivered);
        self.behind += full + delivered.behind - before;
        self.owed += batch.iter().map(|member| member.owed_bytes()).sum::<usize>();
        if last.is_none() {
            self.end_delivery();
        }
        last
    }

    /// Everybody has been sent to. Those who had their turn first do not have what was appended since then.
    fn end_delivery(&mut self) {
        let head = self.log.head();
        if self.behind == 0 && head == self.begun && self.log.tail() < head {
            self.log.clear();
            self.low = self.log.head();
        }
        self.recount();
    }

    /// Sends a member what there is for it, whether its socket is known to take it or not.
    pub(super) fn deliver_to(&mut self, id: SessionId, delivered: &mut Delivered) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (was_awaited, owed) = (is_awaited(member, self.wanted), member.owed_bytes());
        if member.wants(&self.log) {
            deliver(&self.log, self.form, &mut [&mut *member], delivered);
        }
        self.owed = (self.owed + member.owed_bytes()).saturating_sub(owed);
        if was_awaited && !is_awaited(member, self.wanted) {
            self.awaited = self.awaited.saturating_sub(1);
        }
    }

    /// `len` bytes have to wait: notes for whom.
    pub(super) fn wait(&mut self, len: usize, terms: Terms) {
        self.wanted = self.log.tail_after(len);
        let wanted = self.wanted;
        let members = self.members.values_mut().filter(|member| member.may_hold());
        for member in members.filter(|member| member.progress.cursor < wanted) {
            member.flow.begin_waiting(member.progress.cursor, terms);
        }
        self.recount();
    }

    /// The room waits for nobody.
    pub(super) fn end_waiting(&mut self) {
        (self.wanted, self.awaited) = (0, 0);
    }

    /// Returns whether all have read what the room waited for.
    pub(super) fn have_all_read(&self) -> bool {
        self.awaited == 0
    }

    #[cfg(test)]
    pub(super) fn awaited_in(&self) -> String {
        format!(
            "{:?} wanted {} awaited {} low {} tail {} head {}",
            self.form,
            self.wanted,
            self.awaited,
            self.low,
            self.log.tail(),
            self.log.head()
        )
    }

    pub(super) fn recount(&mut self) {
        if self.wanted > 0 {
            let wanted = self.wanted;
            self.awaited = self.members().filter(|member| is_awaited(member, wanted)).count();
        }
    }

    /// Looks who has read how much in the time since the last look: those whom the room waits for, and those whom it
    /// would have to wait for soon, so that each of them has its second while the log still has space. Returns how long
    /// the room has waited in vain for those who are given up on now.
    pub(super) fn look(&mut self, terms: Terms, delivered: &mut Delivered) -> Duration {
        let mut waited = Duration::ZERO;
        self.is_lagging = false;
        let ids: Vec<SessionId> = self.members.keys().copied().collect();
        for id in ids {
            let Some(lag) = self.members.get(&id).map(|member| self.lag(member)) else { continue };
            let Some(member) = self.members.get_mut(&id) else { continue };
            match member.flow.look(lag, terms) {
                Look::Same => {}
                Look::GivenUp(time) => {
                    self.given_up += 1;
                    waited = waited.max(time);
                }
                Look::TakenBack => {
                    self.given_up -= 1;
                    self.low = 0;
                }
            }
            self.is_lagging |= member.flow.holds && lag.is_far;
            if lag.is_awaited || lag.is_far {
                // The kernel calls a socket writable only when a third or more of a full buffer is free, which can take
                // a slow reader longer than it has to show that it reads.
                self.deliver_to(id, delivered);
            }
        }
        self.recount();
        waited
    }

    fn lag(&self, member: &Member) -> Lag {
        let cursor = member.progress.cursor;
        Lag {
            cursor,
            has_all: member.is_broken || cursor >= member.stop(&self.log),
            is_awaited: is_awaited(member, self.wanted),
            is_far: self.is_behind(cursor, FAR),
            is_in_the_way: self.is_behind(cursor, VERY_FAR),
        }
    }

    /// Returns whether somebody who stands there is so many eighths of what the log can keep behind its head.
    fn is_behind(&self, cursor: Position, eighths: u64) -> bool {
        self.log.head().saturating_sub(cursor) > self.log.capacity() as u64 / 8 * eighths
    }
}

fn is_awaited(member: &Member, wanted: Position) -> bool {
    member.may_hold() && member.progress.cursor < wanted
}
