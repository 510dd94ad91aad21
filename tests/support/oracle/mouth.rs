//! A mouth: one session's side of speaking. It numbers its lines and never loses track of what has gone out.

use std::io::{self, ErrorKind};

use super::Wire;
use super::text::Numbered;

/// More than this waits for nobody: it says nothing new until some has gone.
const MOST_WAITING: usize = 64 * 1024;
/// One of so many times it stops within its last line, and says the rest later.
const CUT: u32 = 8;

pub struct Mouth {
    number: u32,
    /// When each of its lines was due.
    times: Vec<u64>,
    /// What has not gone out.
    waiting: Vec<u8>,
    /// For what looks like chance.
    seed: u32,
}

impl Mouth {
    pub fn new(number: u32) -> Self {
        Self { number, times: Vec::new(), waiting: Vec::new(), seed: number.wrapping_mul(2_654_435_761) | 1 }
    }

    /// Says some lines that are due now, so far as that goes without waiting.
    pub fn say(&mut self, wire: &mut Wire, lines: u32, now: u64) -> io::Result<()> {
        if self.waiting.len() < MOST_WAITING {
            (0..lines).for_each(|_| self.add(now, false));
        }
        let cut =
            if lines > 0 && self.chance().is_multiple_of(CUT) { 1 + self.chance() as usize % 60 } else { 0 };
        self.send(wire, cut)
    }

    /// Adds what says that there is no more.
    pub fn add_the_last(&mut self, now: u64) -> io::Result<()> {
        self.add(now, true);
        Ok(())
    }

    /// Sends what waits, but for so many bytes.
    pub fn send(&mut self, wire: &mut Wire, but: usize) -> io::Result<()> {
        let most = self.waiting.len().saturating_sub(but);
        if !wire.has_sent_all()? || most == 0 {
            return Ok(());
        }
        match wire.write_some(&self.waiting[..most]) {
            Ok(taken) => {
                self.waiting.drain(..taken);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// When one of its lines was due.
    pub fn time(&self, counter: u32) -> Option<u64> {
        self.times.get(counter as usize).copied()
    }

    /// How many lines it has said.
    pub fn lines(&self) -> u64 {
        self.times.len() as u64
    }

    pub fn is_silent(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, time: u64, is_last: bool) {
        let counter = self.times.len().try_into().unwrap();
        let line = Numbered { sender: self.number, counter, time, is_last };
        self.waiting.extend_from_slice(&line.text());
        self.waiting.push(b'\n');
        self.times.push(time);
    }

    /// Xorshift.
    fn chance(&mut self) -> u32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        self.seed
    }
}
