//! Where a session comes from, and why it is over, for the log.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Where a session comes from, for the log.
pub(super) struct Origin(pub(super) Option<SocketAddr>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Close {
    /// Everything has been sent that there was.
    Done,
    /// The connection failed.
    Broken(io::Error),
    /// Nothing of what there was for it was taken for too long.
    Slow,
    /// It was still not done when it had to be.
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
