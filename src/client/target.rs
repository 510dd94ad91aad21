//! Where chatc connects to: a host and a port, or a unix socket, as text and as a value.
//!
//! `cli` reads it from the command line, `connection` connects to it. Unlike the addresses on which chatd listens, it
//! may be a name that has to be looked up, and a port may be left out. Never looks anything up itself.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::net::address::MAX_UNIX_PATH;

/// The port of chatd, unless one is given.
pub const DEFAULT_PORT: u16 = 5001;

/// Where to connect to.
///
/// As text: `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`, or anything with a slash, which is the path of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// A name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

/// Why a text names nothing that can be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// There is no host.
    NoHost,
    /// The port is no number from 1 to 65535.
    BadPort,
    /// IPv6 with brackets that do not match, or none before a port.
    BadBrackets,
    /// A character that no host name has.
    BadHost,
    /// More bytes than the path of a unix socket has.
    LongPath,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "no host; write HOST, HOST:PORT or the path of a unix socket",
            Self::BadPort => "a bad port; write a number from 1 to 65535, for example 127.0.0.1:5001",
            Self::BadBrackets => "IPv6 without its brackets; write [IPV6]:PORT, for example [::1]:5001",
            Self::BadHost => "no host is called that; write HOST, HOST:PORT or the path of a unix socket",
            Self::LongPath => "too long for a unix socket; a path has at most 107 bytes",
        })
    }
}

impl std::error::Error for TargetError {}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.contains('/') {
            return if path.len() > MAX_UNIX_PATH {
                Err(TargetError::LongPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let (host, port) = split(text)?;
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        match host {
            "" => Err(TargetError::NoHost),
            _ if !host.chars().all(is_part) => Err(TargetError::BadHost),
            _ => Ok(Self::Tcp { host: host.to_owned(), port: port.map_or(Ok(DEFAULT_PORT), number)? }),
        }
    }
}

/// Host and port of a text; an IPv6 address without brackets has no port.
fn split(text: &str) -> Result<(&str, Option<&str>), TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(TargetError::BadBrackets)?;
        let is_ip = host.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        return match after.strip_prefix(':') {
            _ if !is_ip => Err(TargetError::BadBrackets),
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(TargetError::BadBrackets),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if !rest.contains(':') => {
            Ok(text.split_once(':').map(|(h, p)| (h, Some(p))).unwrap_or((text, None)))
        }
        Some(_) if text.parse::<Ipv6Addr>().is_ok() => Ok((text, None)),
        Some(_) => Err(TargetError::BadBrackets),
    }
}

fn number(port: &str) -> Result<u16, TargetError> {
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { port.parse().unwrap_or(0) } else { 0 };
    if number == 0 { Err(TargetError::BadPort) } else { Ok(number) }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Target>().map_or_else(|error| format!("{error:?}"), |target| target.to_string())
    }

    #[test]
    fn a_port_may_be_left_out() {
        assert_eq!(shown("chat.example.org"), "chat.example.org:5001");
        assert_eq!(shown("127.0.0.1:7"), "127.0.0.1:7");
        assert_eq!(shown("::1"), "[::1]:5001");
        assert_eq!(shown("[::1]"), "[::1]:5001");
        assert_eq!(shown("[fe80::1%2]:7"), "[fe80::1%2]:7");
    }

    #[test]
    fn what_has_a_slash_is_a_path() {
        assert_eq!(shown("/run/chatd/chat.sock"), "/run/chatd/chat.sock");
        assert_eq!(shown("./chat.sock"), "./chat.sock");
        assert_eq!(shown("unix:/run/chatd/chat.sock"), "/run/chatd/chat.sock");
        assert_eq!(shown(&format!("/{}", "a".repeat(MAX_UNIX_PATH))), "LongPath");
        assert!(TargetError::LongPath.to_string().contains(&MAX_UNIX_PATH.to_string()));
    }

    #[test]
    fn each_mistake_is_told_from_the_others() {
        for (text, error) in [
            ("", "NoHost"),
            (":5001", "NoHost"),
            ("localhost:", "BadPort"),
            ("localhost:0", "BadPort"),
            ("localhost:65536", "BadPort"),
            ("localhost:+1", "BadPort"),
            ("::1:x", "BadBrackets"),
            ("[::1", "BadBrackets"),
            ("[::1]5001", "BadBrackets"),
            ("[localhost]:1", "BadBrackets"),
            ("a b", "BadHost"),
            ("a\x1b[31m", "BadHost"),
        ] {
            assert_eq!(shown(text), error, "{text:?}");
        }
    }
}
