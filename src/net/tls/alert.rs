//! Alerts in plain text: all that a TLS client understands before its handshake.

use super::Mode;
use crate::protocol::Notice;

/// The first byte of a client that begins a handshake, the type of such records.
pub const HANDSHAKE_RECORD: u8 = 22;
/// The type of records with an alert.
const ALERT_RECORD: u8 = 21;
/// The connection does not go on.
const FATAL: u8 = 2;

/// Why a client gets no handshake (RFC 8446, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// It sends more than a handshake takes.
    IllegalParameter = 47,
    /// It may not connect: its address is denied or banned.
    AccessDenied = 49,
    /// It cannot connect now: chatd is full, or stops.
    InternalError = 80,
}

impl Alert {
    /// Returns the one that comes closest to a notice for clients that are turned away.
    pub fn of(notice: &Notice) -> Self {
        match notice {
            Notice::Denied | Notice::Banned { .. } => Self::AccessDenied,
            _ => Self::InternalError,
        }
    }

    /// Returns the record.
    pub fn record(self) -> [u8; 7] {
        [ALERT_RECORD, 3, 3, 0, 2, FATAL, self as u8]
    }
}

/// Returns whether a client that is turned away gets an alert in the place of a line of text. `first` is its first byte,
/// if that has come: nobody waits for it. A listener that speaks TLS alone has few clients in plain text.
pub fn understands_alerts(mode: Mode, first: Option<u8>) -> bool {
    match mode {
        Mode::Off => false,
        Mode::Optional => first == Some(HANDSHAKE_RECORD),
        Mode::Required => first.is_none_or(|first| first == HANDSHAKE_RECORD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reason;

    #[test]
    fn who_may_not_connect_and_who_cannot_now_get_different_alerts() {
        assert_eq!(Alert::of(&Notice::Denied).record(), *b"\x15\x03\x03\0\x02\x02\x31");
        for notice in [Notice::Full, Notice::AddressFull, Notice::Closing { reason: Reason::Stopping }] {
            assert_eq!(Alert::of(&notice).record(), *b"\x15\x03\x03\0\x02\x02\x50");
        }
    }

    #[test]
    fn the_first_byte_counts_and_without_one_the_listener() {
        let all = [None, Some(HANDSHAKE_RECORD), Some(b'h')];
        assert_eq!(all.map(|first| understands_alerts(Mode::Off, first)), [false, false, false]);
        assert_eq!(all.map(|first| understands_alerts(Mode::Optional, first)), [false, true, false]);
        assert_eq!(all.map(|first| understands_alerts(Mode::Required, first)), [true, true, false]);
    }
}
