//! Delivery: what a member is sent next, and the sending of it; to one member as to many.
//!
//! A plan is what a member gets: a few segments of its log without its own lines, and between them the bytes for it
//! alone. Most members of a room have the same plan, so this makes it once. It plans for all members first, then sends to
//! them in a row with nothing between two system calls, and then moves them on by what their sockets took. Nothing here
//! waits.

use super::id::{Position, SessionId};
use super::log::Log;
use super::member::{Life, Member, Owed};
use super::pages::Pages;
use super::pending::Wait;
use super::sink::{Signal, Target};
use crate::protocol::{Form, Object};
use std::io::{self, IoSlice};

/// Most bytes that one delivery hands to the kernel for a member: bounds how long one member with
/// megabytes to come keeps the thread from the others.
pub const DELIVERY_BYTES: u64 = 256 * 1024;

/// Most slices of one delivery. Sessions that speak between the others have many small pieces.
const MAX_SLICES: usize = 16;

/// A stretch of what a member is sent.
#[derive(Clone, Copy, Debug)]
enum Segment {
    /// What is owed to it, by index.
    Owed(usize),
    /// How many lines it missed.
    Notice,
    /// A piece of the log.
    Log(Position, Position),
}

/// What a member is sent at once.
#[derive(Debug, Default)]
struct Plan {
    segments: Vec<Segment>,
    /// How many bytes they have together.
    bytes: usize,
    slices: usize,
    /// How many lines end in them.
    lines: u64,
    /// How far in the log they reach, over what is hidden behind the last one.
    reached: Position,
    /// What it is told it missed, and how many lines that is.
    notice: Vec<u8>,
    missed: u64,
    /// All of it ends inside of a line.
    is_cut: bool,
}

impl Plan {
    fn new(member: &Member, log: &Log, form: Form) -> Self {
        let mut plan = Self::up_to_a_limit(member, log, form);
        plan.is_cut = plan.is_torn(log, member, plan.bytes);
        plan.lines = plan.lines_in(log, member, plan.bytes);
        plan
    }

    fn up_to_a_limit(member: &Member, log: &Log, form: Form) -> Self {
        let progress = &member.progress;
        if member.is_broken {
            return Self { reached: member.stop(log), ..Self::default() };
        }
        let mut plan = Self { reached: progress.cursor, missed: progress.missed, ..Self::default() };
        if plan.missed > 0 {
            form.object(&Object::Skipped { lines: plan.missed }, &mut plan.notice);
        }
        let limit = member.stop(log).min(progress.cursor + DELIVERY_BYTES);
        let mut owed = progress.owed.iter().enumerate().peekable();
        loop {
            while let Some((index, one)) = owed.next_if(|(_, one)| one.at <= plan.reached) {
                if !plan.push(Segment::Owed(index), one.text.len(), 1) {
                    return plan;
                }
            }
            if plan.missed > 0 && !plan.segments.iter().any(|one| matches!(one, Segment::Notice)) {
                plan.push(Segment::Notice, plan.notice.len(), 1);
            }
            let next = owed.peek().map_or(limit, |(_, one)| one.at.min(limit));
            if plan.reached >= next || !plan.push_log(member, log, next) {
                return plan;
            }
        }
    }

    /// Adds a segment; returns whether there was space for it.
    fn push(&mut self, segment: Segment, bytes: usize, slices: usize) -> bool {
        let fits = self.slices + slices <= MAX_SLICES;
        if fits {
            self.segments.push(segment);
            self.slices += slices;
            self.bytes += bytes;
        }
        fits
    }

    /// Adds the log up to `next`; returns whether there was space for it.
    fn push_log(&mut self, member: &Member, log: &Log, next: Position) -> bool {
        let mut pieces = log.pieces(self.reached, next, |from| member.hides(from), member.hidden_end());
        for (start, end) in pieces.by_ref() {
            if !self.push(Segment::Log(start, end), (end - start) as usize, 2) {
                self.reached = start;
                return false;
            }
        }
        self.reached = pieces.at();
        true
    }

    /// Returns whether `member` has the same plan. True only if this plan has only the log, from `from` on.
    fn is_for(&self, member: &Member, from: Position) -> bool {
        let progress = &member.progress;
        let is_all = progress.cursor == from && progress.owed.is_empty() && progress.missed == 0;
        is_all && !member.is_broken && member.hidden_end() <= from && progress.end == Position::MAX
    }

    fn len(&self, segment: Segment, member: &Member) -> usize {
        match segment {
            Segment::Owed(index) => member.progress.owed[index].text.len(),
            Segment::Notice => self.notice.len(),
            Segment::Log(start, end) => (end - start) as usize,
        }
    }

    /// Returns whether `sent` bytes of it end inside of a line. What is owed does not, once all of it is sent, though
    /// an answer to telnet ends without an LF.
    fn is_torn(&self, log: &Log, member: &Member, sent: usize) -> bool {
        let mut left = sent;
        let mut is_torn = member.progress.torn;
        for segment in &self.segments {
            if left == 0 {
                break;
            }
            let len = self.len(*segment, member);
            let taken = left.min(len);
            is_torn = match *segment {
                Segment::Owed(index) => taken < len && member.progress.owed[index].text[taken - 1] != b'\n',
                Segment::Notice => taken < len,
                Segment::Log(start, _) => !log.ends_line(start + taken as Position),
            };
            left -= taken;
        }
        is_torn
    }

    /// Returns its bytes, in pieces.
    fn pieces<'a>(&'a self, log: &'a Log, member: &'a Member) -> impl Iterator<Item = &'a [u8]> {
        self.segments.iter().flat_map(move |segment| -> [&'a [u8]; 2] {
            match *segment {
                Segment::Owed(index) => [&member.progress.owed[index].text, &[]],
                Segment::Notice => [&self.notice, &[]],
                Segment::Log(start, end) => log.bytes((start, end)),
            }
        })
    }

    /// Returns how many lines end in the first `sent` bytes of it.
    fn lines_in(&self, log: &Log, member: &Member, sent: usize) -> u64 {
        let (mut left, mut lines) = (sent, 0);
        for piece in self.pieces(log, member) {
            let taken = left.min(piece.len());
            lines += memchr::memchr_iter(b'\n', &piece[..taken]).count();
            left -= taken;
        }
        lines as u64
    }

    fn slices<'a>(&'a self, log: &'a Log, member: &'a Member) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(MAX_SLICES);
        slices.extend(self.pieces(log, member).filter(|piece| !piece.is_empty()).map(IoSlice::new));
        slices
    }
}

/// The result of a delivery.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Some members can be sent more at once, after the others had their turn.
    pub(super) has_more: bool,
    /// Members whose input waited until something was sent to them, and that has happened.
    pub(super) ready: Vec<SessionId>,
    /// How many lines have been lost.
    pub(super) lost: u64,
    /// How many times something was sent to a member, and how many lines and bytes that was.
    pub(super) sends: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Sends members of one log what there is for them, without waiting.
pub(super) fn deliver(log: &Log, form: Form, members: &mut [&mut Member], delivered: &mut Delivered) {
    for member in &mut *members {
        delivered.lost += member.catch_up(log);
    }
    let from = members.iter().map(|member| member.progress.cursor).max().unwrap_or(0);
    let news = members.iter().find(|member| Plan::default().is_for(member, from));
    let news = news.map(|member| Plan::new(member, log, form));
    let shared = |member: &Member| news.as_ref().filter(|news| news.is_for(member, from));
    let own = |member: &Member| Box::new(Plan::new(member, log, form));
    let plans: Vec<Option<Box<Plan>>> =
        members.iter().map(|member| shared(member).is_none().then(|| own(member))).collect();
    let results = send_all(log, members, news.as_ref(), &plans);
    let empty = Plan::default();
    for ((member, plan), result) in members.iter_mut().zip(&plans).zip(results) {
        let plan = plan.as_deref().or(news.as_ref()).unwrap_or(&empty);
        take(member, plan, log, result, delivered);
    }
}

/// Sends all of them what they have planned, one right after the other.
fn send_all(
    log: &Log,
    members: &[&mut Member],
    news: Option<&Plan>,
    plans: &[Option<Box<Plan>>],
) -> Vec<io::Result<usize>> {
    let receivers = plans.iter().filter(|plan| plan.is_none()).count();
    let shared = news.zip(members.first()).map_or_else(Vec::new, |(news, first)| news.slices(log, first));
    let pages = Pages::for_many(&shared, receivers);
    let empty = Plan::default();
    let targets: Vec<Target<'_>> = members.iter().map(|member| Target::of(&*member.sink)).collect();
    let send = |((member, plan), target): ((&&mut Member, &Option<Box<Plan>>), &Target<'_>)| {
        let own;
        let (slices, pages) = match plan {
            None => (&shared, pages.as_ref()),
            Some(plan) => {
                own = plan.slices(log, member);
                (&own, None)
            }
        };
        if slices.is_empty() {
            return Ok(0);
        }
        // Before the others have had their turn: this process may die meanwhile.
        target.mark_torn(true);
        let sent = target.send(slices, pages);
        let plan = plan.as_deref().or(news).unwrap_or(&empty);
        let is_all = sent.as_ref().is_ok_and(|sent| *sent == plan.bytes);
        let is_torn = || plan.is_torn(log, member, *sent.as_ref().unwrap_or(&0));
        target.mark_torn(if is_all { plan.is_cut } else { is_torn() });
        sent
    };
    members.iter().zip(plans).zip(&targets).map(send).collect()
}

/// Moves a member on by what its socket took.
fn take(member: &mut Member, plan: &Plan, log: &Log, result: io::Result<usize>, delivered: &mut Delivered) {
    let before = member.progress.cursor;
    let sent = match result {
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(_) => {
            member.break_off();
            0
        }
    };
    if sent > 0 {
        delivered.sends += 1;
        delivered.bytes += sent as u64;
        delivered.lines += if sent == plan.bytes { plan.lines } else { plan.lines_in(log, member, sent) };
    }
    if member.is_broken {
        member.progress.cursor = member.stop(log);
    } else {
        move_on(member, plan, log, sent);
    }
    if member.has_ended() {
        member.life = Life::Done;
        member.sink.signal(Signal::Done);
    }
    delivered.has_more |= !member.is_full && member.wants(log);
    // What is hidden from it counts: it may have waited behind its own lines.
    let has_moved = sent > 0 || member.progress.cursor != before || member.is_broken;
    if has_moved && member.waits_for(Wait::Reader) {
        delivered.ready.push(member.id);
    }
}

/// Moves a member on by `sent` bytes of its plan.
fn move_on(member: &mut Member, plan: &Plan, log: &Log, sent: usize) {
    let is_all = sent == plan.bytes;
    if sent > 0 {
        member.progress.torn = if is_all { plan.is_cut } else { plan.is_torn(log, member, sent) };
    }
    advance(member, plan, sent);
    if is_all {
        (member.is_full, member.progress.cursor) = (false, plan.reached);
    } else if !std::mem::replace(&mut member.is_full, true) || sent > 0 {
        member.sink.signal(Signal::Full);
    }
}

/// Takes `sent` bytes of the plan out of what the member has still to get.
fn advance(member: &mut Member, plan: &Plan, sent: usize) {
    let (mut left, mut owed_done, mut rest) = (sent, 0, Vec::new());
    for segment in &plan.segments {
        let len = plan.len(*segment, member);
        let taken = left.min(len);
        match *segment {
            Segment::Log(start, _) if taken > 0 => member.progress.cursor = start + taken as Position,
            Segment::Owed(index) => {
                member.flow.answered(taken);
                if taken == len {
                    owed_done += 1;
                } else {
                    member.progress.owed[index].text.drain(..taken);
                }
            }
            Segment::Notice if taken > 0 => {
                member.progress.missed = 0;
                rest = plan.notice[taken..].to_vec();
            }
            _ => {}
        }
        left -= taken;
        if taken < len {
            break;
        }
    }
    member.progress.owed.drain(..owed_done);
    if member.progress.owed.is_empty() {
        // Each session has been owed a greeting: the memory of that goes back.
        member.progress.owed = Vec::new();
    }
    if !rest.is_empty() {
        member.progress.owed.insert(0, Owed { at: 0, text: rest });
    }
}

/// Puts aside what a member has yet to get of its log, up to about `most` bytes, because it goes to another log. It loses
/// the rest.
pub(super) fn put_aside(member: &mut Member, log: &Log, form: Form, most: usize) {
    let mut unsent = Vec::new();
    member.catch_up(log);
    while member.has_more(log) && unsent.len() < most {
        let plan = Plan::new(member, log, form);
        plan.slices(log, member).iter().for_each(|slice| unsent.extend_from_slice(slice));
        advance(member, &plan, plan.bytes);
        member.progress.cursor = plan.reached;
    }
    let missed = log.line_at(log.head()).saturating_sub(log.line_at(member.progress.cursor));
    member.begin_again(unsent, missed);
}

/// Lines are gone that a member was to get behind what is in its log now: it is told so there. Returns whether it misses
/// them: not one that is to hear nothing more.
pub(super) fn skip(member: &mut Member, log: &Log, form: Form, lines: u64) -> bool {
    if member.is_broken || member.progress.end <= log.head() {
        return false;
    }
    if member.progress.cursor >= log.head() && member.progress.owed.is_empty() {
        member.progress.missed += lines;
    } else {
        let mut notice = Vec::new();
        form.object(&Object::Skipped { lines }, &mut notice);
        member.owe(log, &notice);
    }
    true
}
