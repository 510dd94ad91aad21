//! A person: a session, its socket, and what it has typed and read.

use std::sync::Arc;

use super::order::Order;
use super::reader::Reader;
use super::socket::Socket;
use super::window::Window;
use crate::chat::{End, SessionId, Standing};

/// How fast a member reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Fast,
    /// So many bytes, now and then.
    Slow(usize),
    Stuck,
}

#[derive(Debug)]
pub struct Person {
    pub id: SessionId,
    pub socket: Arc<Socket>,
    pub reader: Reader,
    pub pace: Pace,
    /// The number of its last input.
    pub input: usize,
    /// What it has said that nobody may have heard before it is taken in.
    pub unsaid: Vec<String>,
    /// What its input ended with, and when.
    pub end: End,
    pub ended: Option<Window>,
    pub has_telnet: bool,
    /// A name that nobody else has.
    pub called: Option<String>,
}

impl Person {
    /// Returns whether it may type something now.
    pub fn may_type(&self) -> bool {
        self.end == End::No && !self.socket.with(|state| state.is_outstanding || state.is_broken)
    }

    /// All that it has sent so far is taken in.
    pub fn acknowledged(&mut self, lengths: &[usize], order: &Order) {
        let input = self.input;
        if self.ended.is_none() {
            for text in self.unsaid.drain(..) {
                assert!(order.has(&text), "#{} may go on, and this was not said: {text}", self.id.0);
            }
        }
        let open = self.reader.moves.iter_mut().chain(&mut self.ended);
        for window in open.filter(|window| window.input <= input && window.high.is_none()) {
            if self.end == End::No || window.input < input {
                window.high = Some(lengths.to_vec());
            }
        }
    }

    /// The hub is gone.
    pub fn crash(&mut self, standing: &Standing, order: &Order, floor: &[u64], step: usize) {
        let (room, lengths) = (order.room(standing.room.as_str()), order.lengths());
        self.reader.crash(standing, room, lengths[room]);
        let ignored: Vec<u64> = standing.ignored.iter().map(|id| id.0).collect();
        self.reader.ignored.after_crash(&ignored, step);
        self.reader.floor = floor.to_vec();
        self.unsaid.clear();
        self.ended = None;
        self.socket.with(|state| {
            state.is_outstanding = false;
            state.is_full = false;
        });
    }
}
