//! What was found out: faults, lines that were lost, and how long people waited.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Most faults that are told of in words.
const TOLD: usize = 20;
/// How long before a crash a line may have been said that is lost with it, in microseconds; and where a slow machine slows
/// the crowd down.
const BEFORE: u64 = 500_000;
pub const BEFORE_SLOWED: u64 = 20_000_000;
/// How long after what ended the process it may still have read, in microseconds.
const AFTER: u64 = 50_000;

/// Times, in steps of a tenth of a millisecond.
#[derive(Default)]
pub struct Times {
    /// How many there are of each step.
    counts: Vec<u64>,
    total: u64,
}

const STEP: u64 = 100;
const MOST_STEPS: u64 = 600_000;

impl Times {
    /// In microseconds.
    pub fn add(&mut self, time: u64) {
        let step = usize::try_from((time / STEP).min(MOST_STEPS)).unwrap();
        if step >= self.counts.len() {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.total += 1;
    }

    /// What so many of a thousand do not exceed.
    pub fn at(&self, thousandth: u64) -> Duration {
        let mut left = (self.total * thousandth).div_ceil(1000);
        for (step, count) in self.counts.iter().enumerate() {
            if left <= *count {
                return Duration::from_micros((step as u64 + 1) * STEP);
            }
            left -= count;
        }
        Duration::ZERO
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [500, 990, 1000].map(|thousandth| self.at(thousandth).as_secs_f64() * 1e3);
        write!(f, "p50 {half:.1} p99 {most:.1} max {all:.1} ms")
    }
}

/// A moment at which the daemon was ended without being asked, in microseconds of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crash {
    /// When it was sent the signal, at the earliest.
    pub from: u64,
    /// When it was dead, at the latest.
    pub to: u64,
    /// The node that it was, of several: only what is said or heard there may be lost.
    pub node: Option<usize>,
    /// The engine of several nodes has failed over: nobody is told of a crash, and the order may differ.
    pub is_failover: bool,
}

/// Who has lost a line.
#[derive(Clone, Copy, Debug, Default)]
struct Losers {
    sessions: u32,
    /// Their nodes, a bit each.
    nodes: u64,
}

/// What is found out while the crowd listens.
#[derive(Default)]
pub struct Tally {
    /// The first faults, in words.
    pub faults: Vec<String>,
    pub fault_count: u64,
    /// The lines that somebody has not heard: sender and counter.
    lost: HashMap<(u32, u32), Losers>,
    /// How many lines somebody has heard at another place than others, at a failover.
    pub reordered: u64,
    /// What notices may begin with, and how many did.
    pub news: Vec<(&'static str, u64)>,
    pub deliveries: u64,
    /// The same without slow readers.
    pub prompt: u64,
    /// From when a line was due to when it was heard.
    pub delays: Times,
    /// For each restart and each session, the longest silence.
    pub silences: Times,
    pub crashes: Vec<Crash>,
    /// How long before a crash a line may have been said that is lost with it, in microseconds; 0 is half a second.
    pub before: u64,
    /// How many empty lines were heard.
    pub empty: usize,
    /// How many lines slow readers have heard of which a crash has cut the end.
    pub torn: u64,
    pub disconnected: u64,
}

impl Tally {
    pub fn fault(&mut self, tell: impl FnOnce() -> String) {
        if self.faults.len() < TOLD {
            self.faults.push(tell());
        }
        self.fault_count += 1;
    }

    /// Somebody at a node has heard later lines of that sender.
    pub fn lose(&mut self, node: usize, sender: u32, counters: std::ops::Range<u32>) {
        for counter in counters {
            let losers = self.lost.entry((sender, counter)).or_default();
            losers.sessions += 1;
            losers.nodes |= 1 << node;
        }
    }

    /// Somebody has heard after all what it seemed to have lost.
    pub fn find(&mut self, sender: u32, counter: u32) {
        if let Some(losers) = self.lost.get_mut(&(sender, counter)) {
            losers.sessions -= 1;
            if losers.sessions == 0 {
                self.lost.remove(&(sender, counter));
            }
        }
    }

    /// There was a crash or a failover; one that began at the same time as the last one is the same, and over later.
    pub fn add_crash(&mut self, crash: Crash) {
        match self.crashes.last_mut().filter(|last| last.from == crash.from) {
            Some(last) => last.to = crash.to,
            None => self.crashes.push(crash),
        }
    }

    /// Whether the engine has failed over.
    pub fn has_failover(&self) -> bool {
        self.crashes.iter().any(|crash| crash.is_failover)
    }

    /// Counts a notice that is allowed; returns whether it is.
    pub fn is_news(&mut self, notice: &[u8]) -> bool {
        let news = self.news.iter_mut().find(|(beginning, _)| notice.starts_with(beginning.as_bytes()));
        news.map(|(_, count)| *count += 1).is_some()
    }

    /// Distributes what was lost among the crashes; what belongs to none is a fault. `time_of` knows when a line was
    /// due, `node_of` where its sender is, `is_heard` whether anybody has heard it.
    pub fn losses(
        &mut self,
        time_of: impl Fn(u32, u32) -> u64,
        node_of: impl Fn(u32) -> usize,
        is_heard: impl Fn(u32, u32) -> bool,
    ) -> Vec<Loss> {
        let before = if self.before == 0 { BEFORE } else { self.before };
        let mut losses = vec![Loss::default(); self.crashes.len()];
        // Nobody says any, but with each crash somebody may have been sent something: it gets an end in any case.
        if self.empty > losses.len() {
            let (empty, crashes) = (self.empty, losses.len());
            self.fault(|| format!("{empty} empty lines were heard, with {crashes} crashes"));
        }
        let mut lost: Vec<_> = std::mem::take(&mut self.lost).into_iter().collect();
        lost.sort_unstable_by_key(|(line, _)| *line);
        for ((sender, counter), losers) in lost {
            let time = time_of(sender, counter);
            let is_there = |node: usize| node == node_of(sender) || losers.nodes == 1 << node;
            let is_near = |crash: &Crash| {
                (crash.from - before..=crash.to + AFTER).contains(&time) && crash.node.is_none_or(is_there)
            };
            // The first one after it was said.
            match self.crashes.iter().position(is_near) {
                Some(at) => {
                    losses[at].lines += 1;
                    losses[at].heard += u64::from(is_heard(sender, counter));
                    losses[at].reach = losses[at].reach.max(self.crashes[at].from.saturating_sub(time));
                    let Crash { from, is_failover, .. } = self.crashes[at];
                    if is_failover {
                        let Losers { sessions, nodes } = losers;
                        println!(
                            "line {counter} of {sender} is lost, due at {time}, failover from {from}: to {sessions}, nodes {nodes:#b}"
                        );
                    }
                }
                None => self.fault(|| {
                    let Losers { sessions, nodes } = losers;
                    format!(
                        "line {counter} of {sender} is lost, which was due at {time}: to {sessions}, nodes {nodes:#b}"
                    )
                }),
            }
        }
        losses
    }
}

/// What was lost with one crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many lines somebody has not heard.
    pub lines: u64,
    /// How many of them others have heard.
    pub heard: u64,
    /// How long before the crash the first of them was due, in microseconds.
    pub reach: u64,
}

/// What a crowd has to say in the end.
pub struct Report {
    pub sessions: usize,
    /// How many lines were said.
    pub lines: u64,
    pub tally: Tally,
    /// One for each crash.
    pub losses: Vec<Loss>,
    /// For each room, a sum over all its lines in the order in which they were heard.
    pub orders: Vec<u64>,
    /// Its connections: whoever is there is told when they are closed.
    pub sockets: Vec<OwnedFd>,
}

impl Report {
    /// Fails, with what was found, unless everybody has heard everything, once, in one order, and nothing else.
    #[track_caller]
    pub fn expect_everything(&self) {
        self.expect_no_faults();
        let lost: u64 = self.losses.iter().map(|loss| loss.lines).sum();
        assert_eq!(lost, 0, "lines were lost");
    }

    /// Fails, with what was found, if anything is wrong but that lines were lost right around a crash.
    #[track_caller]
    pub fn expect_no_faults(&self) {
        let Tally { faults, fault_count, disconnected, .. } = &self.tally;
        assert_eq!(*disconnected, 0, "sessions were disconnected\n{}", faults.join("\n"));
        assert_eq!(*fault_count, 0, "faults were found\n{}", faults.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { deliveries, delays, silences, disconnected, fault_count, .. } = &self.tally;
        let Self { sessions, lines, .. } = self;
        write!(
            f,
            "{sessions} sessions, {disconnected} disconnected, {lines} lines said, {deliveries} heard, "
        )?;
        write!(f, "{fault_count} faults; delay {delays}; longest silence {silences}")?;
        if self.losses.is_empty() {
            return Ok(());
        }
        let lines = self.losses.iter().map(|loss| loss.lines);
        let heard: u64 = self.losses.iter().map(|loss| loss.heard).sum();
        let reach = self.losses.iter().map(|loss| loss.reach).max().unwrap_or(0);
        let crashes = self.losses.len();
        let (all, most) = (lines.clone().sum::<u64>(), lines.max().unwrap_or(0));
        write!(
            f,
            "; {crashes} crashes: {all} lines lost, at most {most} in one, {heard} of them heard by some, "
        )?;
        write!(f, "said at most {} ms before; ", reach.div_ceil(1000))?;
        write!(f, "{} lines of slow readers cut", self.tally.torn)
    }
}
