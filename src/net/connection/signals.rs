//! The signals of the hub, and of the connection itself, to a session.

use crate::chat::Signal;

/// The signal that chatd closes the session, beside those of the hub.
pub(super) const DISMISSED: u8 = 1 << 7;
/// The signal that the socket has not taken everything that was sent.
pub(super) const UNFLUSHED: u8 = 1 << 6;

/// A signal of the hub to a session.
#[derive(Clone, Copy, Debug)]
pub struct Signals(u8);

impl Signals {
    pub(super) fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns whether there is this signal.
    pub fn has(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Returns whether chatd closes the session: see `Connection::dismissal`.
    pub fn has_dismissal(self) -> bool {
        self.0 & DISMISSED != 0
    }

    /// Returns whether the session has to call `Connection::flush` until that has done everything.
    pub fn has_unflushed(self) -> bool {
        self.0 & UNFLUSHED != 0
    }
}

/// Returns the bit of a signal of the hub.
pub(super) fn bit(signal: Signal) -> u8 {
    1 << signal as u8
}
