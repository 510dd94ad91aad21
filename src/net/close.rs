//! The origin of a session, and the reason for its end, for the log.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The origin of a session, for the log.
pub(super) struct Origin(pub(super) Option<SocketAddr>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// The reason for the end of a session.
#[derive(Debug)]
pub(super) enum Close {
    /// It has been sent everything.
    Done,
    /// The connection failed.
    Broken(io::Error),
    /// It did not read for `slow_timeout`.
    Slow,
    /// It had not read everything within `drain`.
    Late,
    /// Another process goes on with it.
    Frozen,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("it ended"),
            Self::Broken(error) => write!(f, "the connection failed: {error}"),
            Self::Slow => f.write_str("it did not read"),
            Self::Late => f.write_str("it had not read everything within drain"),
            Self::Frozen => f.write_str("another process goes on with it"),
        }
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
