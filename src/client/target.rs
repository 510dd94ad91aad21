//! Where chatc connects to, as text and as a value, and why it cannot.
//!
//! `cli` reads [`Target`]s from the command line, `link` connects to them. Unlike the addresses on which chatd listens, a
//! target may be a name that has to be looked up, and a port may be left out. Never looks anything up itself.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv6Addr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Errno;

use crate::net::address::MAX_UNIX_PATH;

/// The port of chatd, unless one is given.
pub const DEFAULT_PORT: u16 = 5001;

/// Characters of what a server has said that stand in a message about it.
const QUOTED_CHARS: usize = 60;
/// How an alert of TLS begins, as it is shown.
const ALERT: &str = "^U^C";

/// Where to connect to.
///
/// As text: `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`, each of them after `tls://` or not, or anything else with a slash,
/// which is the path of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// A name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// It has to speak TLS.
        tls: bool,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

const NO_HOST: &str = "no host; write HOST, HOST:PORT or the path of a unix socket";
const BAD_PORT: &str = "a bad port; write a number from 1 to 65535, for example 127.0.0.1:5001";
const BAD_BRACKETS: &str = "IPv6 without its brackets; write [IPV6]:PORT, for example [::1]:5001";
const BAD_HOST: &str = "no host is called that; write HOST, HOST:PORT or the path of a unix socket";
const LONG_PATH: &str = "too long for a unix socket; a path has at most 107 bytes";

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, tls) = text.strip_prefix("tls://").map_or((text, false), |text| (text, true));
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.contains('/') && !tls {
            return if path.len() > MAX_UNIX_PATH { Err(LONG_PATH) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = split(text)?;
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        match host {
            "" => Err(NO_HOST),
            _ if !host.chars().all(is_part) => Err(BAD_HOST),
            _ => Ok(Self::Tcp { host: host.to_owned(), port: port.map_or(Ok(DEFAULT_PORT), number)?, tls }),
        }
    }
}

/// Host and port of a text; an IPv6 address without brackets has no port.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(BAD_BRACKETS)?;
        let is_ip = host.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        let port = after.strip_prefix(':');
        return if is_ip && (port.is_some() || after.is_empty()) {
            Ok((host, port))
        } else {
            Err(BAD_BRACKETS)
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => Ok((host, Some(port))),
        Some(_) if text.parse::<Ipv6Addr>().is_err() => Err(BAD_BRACKETS),
        _ => Ok((text, None)),
    }
}

fn number(port: &str) -> Result<u16, &'static str> {
    match port.parse() {
        Ok(number @ 1..) if !port.starts_with('+') => Ok(number),
        _ => Err(BAD_PORT),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                f.write_str(if *tls { "tls://" } else { "" })?;
                if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
            }
            Self::Unix(path) => path.display().fmt(f),
        }
    }
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
    /// It does not answer as chatd does; what it has said first, if anything.
    NoChatd(String),
    /// It wants TLS; what it has said first.
    NeedsTls(String),
    /// It speaks no TLS, or is not trusted: why, and what to do.
    Tls(String),
    /// The connection ended in the TLS handshake.
    NoHandshake(io::Error),
    /// The TLS handshake has not come to an end within that time.
    Stalls(Duration),
    /// What else the system says.
    System(io::Error),
}

impl Problem {
    /// What an error of connect(2) means for a target. A file that is no socket refuses as one does on which nobody
    /// listens.
    pub fn of(error: io::Error, target: &Target, patience: Duration) -> Self {
        let is_socket = |path| fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
        match (error.kind(), target) {
            (ErrorKind::ConnectionRefused, Target::Unix(path)) if !is_socket(path) => Self::NotSocket,
            (ErrorKind::ConnectionRefused, _) => Self::Refused,
            (ErrorKind::TimedOut, _) => Self::TimedOut(patience),
            (ErrorKind::NotFound, _) => Self::NoSocket,
            (ErrorKind::PermissionDenied, Target::Unix(_)) => Self::NotAllowed,
            _ if Errno::from_io_error(&error) == Some(Errno::PROTOTYPE) => Self::NoStream,
            _ => Self::System(error),
        }
    }

    /// What an error of a TLS handshake means.
    pub fn of_handshake(error: io::Error, patience: Duration) -> Self {
        match error.kind() {
            ErrorKind::InvalidData => Self::Tls(error.to_string()),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Stalls(patience),
            _ => Self::NoHandshake(error),
        }
    }

    /// What is there instead of chatd, after a connection: by the first that it has `said`, and how it ended.
    pub fn of_answer(said: &[String], error: Option<&io::Error>, target: &Target) -> Self {
        let quote = |line: &String, most| line.chars().take(most).collect::<String>();
        let wants_tls = |line: &&String| line.contains("TLS") || line.starts_with(ALERT);
        match (error, target) {
            (Some(error), Target::Tcp { tls: true, .. }) if error.kind() == ErrorKind::InvalidData => {
                Self::Tls(error.to_string())
            }
            (_, Target::Tcp { tls: false, .. }) if let Some(line) = said.iter().find(wants_tls) => {
                Self::NeedsTls(if line.starts_with(ALERT) {
                    String::new()
                } else {
                    quote(line, 3 * QUOTED_CHARS)
                })
            }
            _ => Self::NoChatd(said.first().map(|line| quote(line, QUOTED_CHARS)).unwrap_or_default()),
        }
    }

    /// One line for a target: what was tried, what came of it, and what to do.
    pub fn line(&self, target: &Target) -> String {
        let words = match (self, target) {
            (Self::NoHost(error), _) => {
                &format!("no such host ({error}); check the name, or write an IP address")
            }
            (Self::Refused, Target::Tcp { .. }) => {
                "nobody listens there; is chatd running, and on this port?"
            }
            (Self::Refused, Target::Unix(_)) => "nobody listens on this socket; is chatd running?",
            (Self::TimedOut(after), _) => &format!(
                "no answer within {after:?}; is it the right address, and let through by firewalls and name servers?"
            ),
            (Self::NoSocket, _) => "no such socket; is chatd running, and listening there?",
            (Self::NotAllowed, _) => {
                "no permission to connect; see ls -l, and ask who runs chatd to be let in"
            }
            (Self::NotSocket, _) => "this is no socket; check the path",
            (Self::NoStream, _) => "not the socket of chatd; check the path",
            (Self::NoChatd(said), _) if said.is_empty() => {
                "this does not answer as chatd does; check the address and the port"
            }
            (Self::NoChatd(said), _) => &format!("this does not answer as chatd does; it says: {said}"),
            (Self::NeedsTls(said), _) if said.is_empty() => "it speaks TLS only; use --tls",
            (Self::NeedsTls(said), _) => &format!("it speaks TLS only; use --tls; it says: {said}"),
            (Self::Tls(words), _) => words,
            (Self::NoHandshake(error), _) => &format!(
                "it ended the connection in the TLS handshake ({error}); does it speak TLS on this port?"
            ),
            (Self::Stalls(after), _) => {
                &format!("no end of the TLS handshake within {after:?}; does it speak TLS on this port?")
            }
            (Self::System(error), _) => &format!("cannot connect: {error}"),
        };
        format!("{target}: {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Target>().map_or_else(str::to_owned, |target| target.to_string())
    }

    #[test]
    fn a_port_may_be_left_out() {
        assert_eq!(shown("chat.example.org"), "chat.example.org:5001");
        assert_eq!(shown("127.0.0.1:7"), "127.0.0.1:7");
        assert_eq!(shown("::1"), "[::1]:5001");
        assert_eq!(shown("[::1]"), "[::1]:5001");
        assert_eq!(shown("[fe80::1%2]:7"), "[fe80::1%2]:7");
        assert_eq!(shown("tls://chat.example.org"), "tls://chat.example.org:5001");
        assert_eq!(shown("tls://[::1]:7"), "tls://[::1]:7");
    }

    #[test]
    fn what_has_a_slash_is_a_path() {
        assert_eq!(shown("/run/chatd/chat.sock"), "/run/chatd/chat.sock");
        assert_eq!(shown("./chat.sock"), "./chat.sock");
        assert_eq!(shown("unix:/run/chatd/chat.sock"), "/run/chatd/chat.sock");
        assert_eq!(shown(&format!("/{}", "a".repeat(MAX_UNIX_PATH))), LONG_PATH);
        assert!(LONG_PATH.to_string().contains(&MAX_UNIX_PATH.to_string()));
    }

    #[test]
    fn each_mistake_is_told_from_the_others() {
        for (text, error) in [
            ("", NO_HOST),
            (":5001", NO_HOST),
            ("localhost:", BAD_PORT),
            ("localhost:0", BAD_PORT),
            ("localhost:65536", BAD_PORT),
            ("localhost:+1", BAD_PORT),
            ("::1:x", BAD_BRACKETS),
            ("[::1", BAD_BRACKETS),
            ("[::1]5001", BAD_BRACKETS),
            ("[localhost]:1", BAD_BRACKETS),
            ("a b", BAD_HOST),
            ("tls://", NO_HOST),
            ("tls:///run/chat.sock", BAD_HOST),
            ("a\x1b[31m", BAD_HOST),
        ] {
            assert_eq!(shown(text), error, "{text:?}");
        }
    }

    #[test]
    fn each_message_names_what_was_tried_and_a_remedy() {
        let line = |kind: ErrorKind, target: &str| {
            let target: Target = target.parse().unwrap();
            Problem::of(kind.into(), &target, Duration::from_secs(10)).line(&target)
        };
        for (target, kind, part) in [
            ("/run/chat.sock", ErrorKind::PermissionDenied, "no permission to connect; see ls -l"),
            ("/dev/null", ErrorKind::ConnectionRefused, "this is no socket; check the path"),
            ("127.0.0.1:1", ErrorKind::ConnectionRefused, "nobody listens there; is chatd running"),
            ("127.0.0.1:1", ErrorKind::PermissionDenied, "cannot connect: permission denied"),
            ("[::1]:1", ErrorKind::TimedOut, "no answer within 10s"),
        ] {
            let line = line(kind, target);
            assert!(line.starts_with(&format!("{target}: {part}")), "{line}");
        }
        let host: Target = "nowhere:5001".parse().unwrap();
        let line = Problem::NoHost(io::Error::other("x")).line(&host);
        assert!(line.starts_with("nowhere:5001: no such host (x); check the name"), "{line}");
    }

    #[test]
    fn who_wants_tls_is_known_by_a_line_about_it_or_an_alert() {
        let target: Target = "localhost".parse().unwrap();
        let line = |said: &[&str], target: &Target| {
            let said: Vec<String> = said.iter().map(|line| (*line).to_owned()).collect();
            Problem::of_answer(&said, None, target).line(target)
        };
        assert!(
            line(&["hello", "TLS only"], &target)
                .ends_with("it speaks TLS only; use --tls; it says: TLS only")
        );
        assert!(line(&["^U^C^C^@^B^B^J"], &target).ends_with(": it speaks TLS only; use --tls"));
        let tls: Target = "tls://localhost".parse().unwrap();
        for (said, target) in [(&["hello"][..], &target), (&["hello", "TLS only"], &tls)] {
            assert!(line(said, target).ends_with("this does not answer as chatd does; it says: hello"));
        }
    }
}
