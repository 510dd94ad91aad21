//! An ear: one session's side of hearing. It is fed what arrives, and checks every byte of it.
//!
//! An ear that only listens hears the order of its room; one that speaks does not hear itself, and checks each of
//! the others by its counter.

use std::collections::HashSet;

use super::order::Order;
use super::tally::Tally;
use super::text::{Numbered, Shown, View};

/// What chatd says after it was ended without being asked.
pub const CRASHED: &str = "chatd crashed and was restarted: some lines may be lost";

pub struct Ear {
    number: u32,
    pub view: View,
    /// Where it listens, of several nodes.
    pub node: usize,
    speaks: bool,
    /// Reads late on purpose: its delays and silences are its own.
    pub is_slow: bool,
    /// How many lines it has heard of which a crash has cut the end.
    torn: usize,
    /// A line of which the end is still to come.
    rest: Vec<u8>,
    /// What it has heard that the order does not have, because of a crash.
    stragglers: HashSet<(u32, u32)>,
    /// What others have heard where it has heard later lines.
    missed: HashSet<(u32, u32)>,
    /// Where in the order of the room it is: of one that speaks, after the last line that others had heard.
    at: usize,
    /// Of one that speaks: for each sender, the counter to come.
    next: Vec<u32>,
    /// Of one that speaks: how many have said their last line.
    lasts: usize,
    /// The number of the last line, in json.
    seq: Option<u64>,
    /// How often it was told of a crash since it was asked last.
    notices: u32,
    /// When it has heard something.
    heard_at: u64,
    silence: u64,
}

impl Ear {
    /// Of session `number`, which speaks itself or only listens.
    pub fn new(number: u32, view: View, speaks: bool, now: u64) -> Self {
        Self {
            number,
            view,
            node: 0,
            speaks,
            is_slow: false,
            torn: 0,
            rest: Vec::new(),
            stragglers: HashSet::new(),
            missed: HashSet::new(),
            at: 0,
            next: Vec::new(),
            lasts: 0,
            seq: None,
            notices: 0,
            heard_at: now,
            silence: 0,
        }
    }

    /// Takes what arrives.
    pub fn hear(&mut self, mut bytes: &[u8], now: u64, order: &mut Order, tally: &mut Tally) {
        self.silence = self.silence.max(now.saturating_sub(self.heard_at));
        self.heard_at = now;
        if !self.rest.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.rest.extend_from_slice(bytes);
                return;
            };
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&bytes[..end]);
            self.line(&line, now, order, tally);
            bytes = &bytes[end + 1..];
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.line(&bytes[..end], now, order, tally);
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], now: u64, order: &mut Order, tally: &mut Tally) {
        if line.is_empty() {
            tally.empty += 1;
            return;
        }
        match self.view.read(line) {
            Shown::Said { name, seq, text } => {
                let Some(said) = self.said(text, order, tally) else { return };
                tally.deliveries += 1;
                if !self.is_slow {
                    tally.prompt += 1;
                    tally.delays.add(now.saturating_sub(said.time));
                }
                if self.view != View::Plain {
                    order.check_name(said.sender, name, tally);
                }
                if let Some(seq) = seq {
                    self.numbered(seq, tally);
                }
            }
            Shown::Notice(text) if text == CRASHED.as_bytes() && self.view != View::Plain => {
                self.notices += 1;
            }
            Shown::Strange if self.may_be_torn(tally) => {}
            Shown::Notice(text) if tally.is_news(text) => {}
            Shown::Notice(_) | Shown::Strange => {
                tally.fault(|| format!("{self} has heard what nobody said: {}", line.escape_ascii()));
            }
        }
    }

    /// Checks a line that somebody has said; returns it unless it is a fault.
    fn said(&mut self, text: &[u8], order: &mut Order, tally: &mut Tally) -> Option<Numbered> {
        if !self.speaks
            && let Some(entry) = order.entry(self.at)
            && entry.text == text
        {
            self.at += 1;
            return Some(entry.line);
        }
        let Some(line) = Numbered::read(text) else {
            if self.may_be_torn(tally) {
                return None;
            }
            tally.fault(|| format!("{self} has heard a torn line: {}", text.escape_ascii()));
            return None;
        };
        let is_good = if self.speaks {
            self.said_by_another(&line, order, tally)
        } else {
            self.said_at_another_place(line, order, tally)
        };
        is_good.then_some(line)
    }

    /// Whether a crash may have cut what it has heard, once each: the socket of a slow reader is full, and chatd ends the
    /// line that it had half of.
    fn may_be_torn(&mut self, tally: &mut Tally) -> bool {
        let may_be = self.is_slow && self.torn < tally.crashes.len();
        self.torn += usize::from(may_be);
        tally.torn += u64::from(may_be);
        may_be
    }

    /// One that only listens has heard what is not next in the order.
    fn said_at_another_place(&mut self, line: Numbered, order: &mut Order, tally: &mut Tally) -> bool {
        let place = match order.place(&line) {
            Some(place) => place,
            None => {
                let (known, place) = (order.known(line.sender), order.len());
                if !order.append(line) {
                    let may_straggle = !tally.crashes.is_empty() && order.fits(&line, self.at);
                    if may_straggle && self.stragglers.insert((line.sender, line.counter)) {
                        return true;
                    }
                    tally.fault(|| format!("{self} has heard {line:?} after later ones of that sender"));
                    return false;
                }
                self.miss(line.sender, known..line.counter, tally);
                place
            }
        };
        if place < self.at {
            if self.is_found(&line, tally) {
                return true;
            }
            tally.fault(|| format!("{self} has heard {line:?} again, or too late"));
            return false;
        }
        for lost in order.lines(self.at..place) {
            self.miss(lost.sender, lost.counter..lost.counter + 1, tally);
        }
        self.at = place + 1;
        true
    }

    /// It has heard later lines than these.
    fn miss(&mut self, sender: u32, counters: std::ops::Range<u32>, tally: &mut Tally) {
        self.missed.extend(counters.clone().map(|counter| (sender, counter)));
        tally.lose(self.node, sender, counters);
    }

    /// Whether it seemed to have lost a line, which has another place since the engine has failed over.
    fn is_found(&mut self, line: &Numbered, tally: &mut Tally) -> bool {
        let is_found = tally.has_failover() && self.missed.remove(&(line.sender, line.counter));
        if is_found {
            tally.reordered += 1;
            tally.find(line.sender, line.counter);
        }
        is_found
    }

    /// One that speaks itself has heard somebody.
    fn said_by_another(&mut self, line: &Numbered, order: &Order, tally: &mut Tally) -> bool {
        let sender = line.sender as usize;
        if sender >= self.next.len() {
            self.next.resize(sender + 1, 0);
        }
        if line.sender == self.number || line.counter < self.next[sender] {
            if self.is_found(line, tally) {
                self.lasts += usize::from(line.is_last);
                return true;
            }
            tally.fault(|| format!("{self} has heard {line:?} again, too late, or from itself"));
            return false;
        }
        self.miss(line.sender, self.next[sender]..line.counter, tally);
        self.next[sender] = line.counter + 1;
        self.lasts += usize::from(line.is_last);
        if let Some(place) = order.place(line) {
            if place < self.at && !tally.has_failover() {
                tally.fault(|| format!("{self} has heard {line:?} in another order than others"));
                return false;
            }
            tally.reordered += u64::from(place < self.at);
            self.at = self.at.max(place + 1);
        }
        true
    }

    /// The numbers of the room go up; by more than one only where something was lost, or is one's own.
    fn numbered(&mut self, seq: u64, tally: &mut Tally) {
        let before = self.seq.replace(seq);
        let leaps = !self.speaks && tally.crashes.is_empty();
        if tally.has_failover() {
            return;
        }
        if before.is_some_and(|before| seq <= before || (leaps && seq != before + 1)) {
            tally.fault(|| format!("{self} has heard number {seq} after {before:?}"));
        }
    }

    /// Silence counts from now on.
    pub fn begin(&mut self, now: u64) {
        (self.heard_at, self.silence) = (now, 0);
    }

    /// Whether it has heard all there is, up to the last line of each of so many speakers.
    pub fn is_done(&self, speakers: usize, order: &Order) -> bool {
        if self.speaks {
            self.lasts + 1 == speakers
        } else {
            order.lasts == speakers && self.at == order.len()
        }
    }

    /// How far it is, for a failure.
    pub fn tell(&self) -> String {
        format!("{self}: {} lines of the order, {} last ones", self.at, self.lasts)
    }

    /// The longest silence since this was asked last, which may still go on.
    pub fn take_silence(&mut self, now: u64) -> u64 {
        std::mem::take(&mut self.silence).max(now.saturating_sub(self.heard_at))
    }

    /// Whether it is still to be told of a crash.
    pub fn is_to_be_told(&self) -> bool {
        self.view != View::Plain && self.notices == 0
    }

    /// It was told of as many crashes as there were, or of several at once.
    pub fn check_notices(&mut self, crashes: u32, tally: &mut Tally) {
        let told = std::mem::take(&mut self.notices);
        if self.view != View::Plain && (told > crashes || (told == 0 && crashes > 0)) {
            tally.fault(|| format!("{self} was told {told} times of {crashes} crashes"));
        }
    }

    /// Nothing but whole lines are ever heard.
    pub fn check_end(&self, tally: &mut Tally) {
        if !self.rest.is_empty() {
            tally.fault(|| format!("{self} has heard half a line: {}", self.rest.escape_ascii()));
        }
    }
}

impl std::fmt::Display for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} ({})", self.number, self.view.word())
    }
}
