//! Why there is no connection, or none any more, in the words that people read.
//!
//! `connection` finds out, everybody else shows it. Each message names what was tried, and then says what can be done.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::target::Target;

/// Why nobody could be connected to.
#[derive(Debug)]
pub struct ConnectError {
    /// What was tried.
    pub target: Target,
    /// What came of it.
    pub problem: Problem,
}

/// What stood in the way.
#[derive(Debug)]
pub enum Problem {
    /// The name of the host leads to no address.
    NoHost(io::Error),
    /// Nobody listens there.
    Refused,
    /// No answer within that time.
    TimedOut(Duration),
    /// There is no socket of that name.
    NoSocket,
    /// One may not connect to the socket.
    NotAllowed,
    /// The file is no socket.
    NotSocket,
    /// It is one, but none for streams.
    NoStream,
    /// What else the system says.
    System(io::Error),
}

impl Problem {
    /// What an error of connect(2) means.
    pub fn of(error: io::Error, is_unix: bool, patience: Duration) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::TimedOut(patience),
            ErrorKind::NotFound if is_unix => Self::NoSocket,
            ErrorKind::PermissionDenied if is_unix => Self::NotAllowed,
            _ if is_unix && error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                Self::NoStream
            }
            _ => Self::System(error),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match (&self.problem, target) {
            (Problem::NoHost(error), _) => {
                write!(f, "{target}: no such host ({error}); check the name, or write an IP address")
            }
            (Problem::Refused, Target::Tcp { .. }) => {
                write!(f, "{target}: nobody listens there; is chatd running, and on this port?")
            }
            (Problem::Refused, Target::Unix(_)) => {
                write!(f, "{target}: nobody listens on this socket; is chatd running?")
            }
            (Problem::TimedOut(after), _) => {
                write!(
                    f,
                    "{target}: no answer within {after:?}; is it the right address, and let through by firewalls?"
                )
            }
            (Problem::NoSocket, _) => {
                write!(f, "{target}: no such socket; is chatd running, and listening there?")
            }
            (Problem::NotAllowed, _) => {
                write!(
                    f,
                    "{target}: no permission to connect; see ls -l, and ask who runs chatd to be let in"
                )
            }
            (Problem::NotSocket, _) => write!(f, "{target}: this is no socket; check the path"),
            (Problem::NoStream, _) => write!(f, "{target}: not the socket of chatd; check the path"),
            (Problem::System(error), _) => write!(f, "{target}: cannot connect: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::NoHost(error) | Problem::System(error) => Some(error),
            _ => None,
        }
    }
}

/// How a connection has ended.
#[derive(Debug)]
pub enum End {
    /// The daemon has closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// What is at the other end is no chatd, but this.
    NotChatd(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the daemon has closed the connection"),
            Self::Broken(error) => write!(f, "the connection was lost ({error})"),
            Self::NotChatd(what) => {
                write!(f, "this is no chatd but seems to be {what}; check the address and the port")
            }
        }
    }
}

/// What to say when the daemon does not answer a command.
pub fn unanswered(target: &Target, wish: &str) -> String {
    format!("{target}: no answer to {wish}; it may have no commands: leave out --nick, --room and --view")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_names_what_was_tried_and_a_remedy() {
        let unix = Problem::of(io::Error::from(ErrorKind::PermissionDenied), true, Duration::ZERO);
        let tcp = Problem::of(io::Error::from(ErrorKind::ConnectionRefused), false, Duration::ZERO);
        for (target, problem, part) in [
            ("/run/chat.sock", unix, "no permission to connect; see ls -l"),
            ("127.0.0.1:1", tcp, "nobody listens there; is chatd running"),
            ("[::1]:1", Problem::TimedOut(Duration::from_secs(10)), "no answer within 10s"),
            ("nowhere:5001", Problem::NoHost(io::Error::other("x")), "no such host (x); check the name"),
        ] {
            let target: Target = target.parse().unwrap();
            let text = ConnectError { target: target.clone(), problem }.to_string();
            assert!(text.starts_with(&format!("{target}: {part}")), "{text}");
        }
    }
}
