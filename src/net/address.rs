//! Where chatd listens: the address of a TCP or unix socket, as text and as a value.
//!
//! Called by `service::config` (which reads addresses from the file, the environment and the options) and by the
//! listeners (which bind them). It never resolves a name and never opens a socket: what it accepts is what
//! will be bound, on every start, with or without a name server.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// The longest path of a unix socket, in bytes: `sun_path` in unix(7) is 108, one of them for the ending NUL.
pub const MAX_UNIX_PATH: usize = 107;

/// An address to listen on.
///
/// As text: `127.0.0.1:5001`, `[::1]:5001`, `/run/chatd/chat.sock` or `unix:/run/chatd/chat.sock`.
/// What `Display` writes parses back to the same value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP socket; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix stream socket; the path is absolute and at most [`MAX_UNIX_PATH`] bytes long.
    Unix(PathBuf),
}

impl Address {
    /// The address of a socket, as the kernel has it; an abstract one is shown with `@`, as ss(8) does. Nothing for
    /// what is of neither kind.
    pub fn of(address: SocketAddrAny) -> Option<Self> {
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Some(Self::Tcp(address));
        }
        let address = SocketAddrUnix::try_from(address).ok()?;
        Some(Self::Unix(match (address.path(), address.abstract_name()) {
            (Some(path), _) => OsStr::from_bytes(path.to_bytes()).into(),
            (None, Some(name)) => format!("@{}", name.escape_ascii()).into(),
            (None, None) => PathBuf::new(),
        }))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None if text.starts_with('/') => parse_unix(text),
            None => text.parse().map(Address::Tcp).map_err(|_| explain(text)),
        };
        parsed.map_err(|problem| AddressError { value: text.to_owned(), problem })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

fn parse_unix(path: &str) -> Result<Address, AddressProblem> {
    if !path.starts_with('/') {
        return Err(AddressProblem::RelativePath);
    }
    if path.ends_with('/') || path.contains('\0') {
        return Err(AddressProblem::NotASocketPath);
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(AddressProblem::LongPath);
    }
    Ok(Address::Unix(Path::new(path).to_owned()))
}

/// Why `text` is not a socket address: the standard parser only says that it is not.
fn explain(text: &str) -> AddressProblem {
    if text.is_empty() {
        return AddressProblem::Empty;
    }
    if text.contains('/') {
        return AddressProblem::RelativePath;
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return AddressProblem::NoBrackets;
    }
    match text.rsplit_once(':') {
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => AddressProblem::NoHost,
        None => AddressProblem::NoPort,
        Some(("", _)) => AddressProblem::NoHost,
        Some(("*", _)) => AddressProblem::Star,
        Some((host, _)) if is_ip(host) => AddressProblem::BadPort,
        Some((host, _))
            if host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(['[', ':']) =>
        {
            AddressProblem::HostName
        }
        Some(_) => AddressProblem::NotAnIp,
    }
}

fn is_ip(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.map_or_else(|| host.parse::<IpAddr>().is_ok(), |host| host.parse::<Ipv6Addr>().is_ok())
}

/// A text that is not an address, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// The text as it was given.
    pub value: String,
    /// What is wrong with it.
    pub problem: AddressProblem,
}

/// What can be wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressProblem {
    /// Nothing was written.
    Empty,
    /// A port alone.
    NoHost,
    /// An address or a name alone.
    NoPort,
    /// `*`, which does not say which IP version is meant.
    Star,
    /// An IPv6 address whose port cannot be told from its last group.
    NoBrackets,
    /// A port that is not a number from 0 to 65535.
    BadPort,
    /// A name that would have to be looked up.
    HostName,
    /// Digits and dots (or brackets) that are no IP address.
    NotAnIp,
    /// A path that does not begin with `/`.
    RelativePath,
    /// A path longer than [`MAX_UNIX_PATH`].
    LongPath,
    /// A path that ends with `/` or contains a NUL.
    NotASocketPath,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.value, self.problem)
    }
}

impl fmt::Display for AddressProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is not an address; write IP:PORT, [IPV6]:PORT or the path of a unix socket",
            Self::NoHost => {
                "has no IP address; write 127.0.0.1:PORT for this machine or 0.0.0.0:PORT for every IPv4 network"
            }
            Self::NoPort => "has no port; write IP:PORT, for example 127.0.0.1:5001",
            Self::Star => "does not say which addresses; write 0.0.0.0:PORT for IPv4 or [::]:PORT for IPv6",
            Self::NoBrackets => "is IPv6 without brackets; write [IPV6]:PORT, for example [::1]:5001",
            Self::BadPort => "has a bad port; write a number from 0 to 65535",
            Self::HostName => {
                "is a host name; write the IP address, for example 127.0.0.1:5001 or [::1]:5001"
            }
            Self::NotAnIp => "is not an IP address; write IP:PORT or [IPV6]:PORT",
            Self::RelativePath => {
                "is a relative path; write the whole path, for example /run/chatd/chat.sock"
            }
            Self::LongPath => "is too long for a unix socket; write a path of at most 107 bytes",
            Self::NotASocketPath => "is not the path of a socket; write a file name, without / at the end",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> AddressProblem {
        text.parse::<Address>().unwrap_err().problem
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["127.0.0.1:5001", "[::1]:5001", "0.0.0.0:0", "[fe80::1%2]:7", "/run/chatd/chat.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("unix:/run/a".parse::<Address>().unwrap().to_string(), "/run/a");
    }

    #[test]
    fn each_mistake_is_told_from_the_others() {
        for (text, problem) in [
            ("", AddressProblem::Empty),
            ("5001", AddressProblem::NoHost),
            (":5001", AddressProblem::NoHost),
            ("127.0.0.1", AddressProblem::NoPort),
            ("localhost", AddressProblem::NoPort),
            ("*:5001", AddressProblem::Star),
            ("::1:5001", AddressProblem::NoBrackets),
            ("::1", AddressProblem::NoBrackets),
            ("127.0.0.1:99999", AddressProblem::BadPort),
            ("127.0.0.1:", AddressProblem::BadPort),
            ("[::1]:x", AddressProblem::BadPort),
            ("localhost:5001", AddressProblem::HostName),
            ("chat.example.org:5001", AddressProblem::HostName),
            ("127.0.0.256:5001", AddressProblem::NotAnIp),
            ("[::1:5001", AddressProblem::NotAnIp),
            ("run/chatd.sock", AddressProblem::RelativePath),
            ("unix:chatd.sock", AddressProblem::RelativePath),
            ("/run/chatd/", AddressProblem::NotASocketPath),
            ("/run/a\0b", AddressProblem::NotASocketPath),
        ] {
            assert_eq!(refusal(text), problem, "{text:?}");
        }
    }

    #[test]
    fn a_unix_path_may_be_107_bytes_long_and_no_longer() {
        let longest = format!("/{}", "a".repeat(MAX_UNIX_PATH - 1));
        assert!(longest.parse::<Address>().is_ok());
        assert_eq!(refusal(&format!("{longest}a")), AddressProblem::LongPath);
        assert!(AddressProblem::LongPath.to_string().contains(&MAX_UNIX_PATH.to_string()));
    }

    #[test]
    fn the_message_has_the_value_and_the_remedy() {
        assert_eq!(
            "localhost:5001".parse::<Address>().unwrap_err().to_string(),
            "\"localhost:5001\" is a host name; write the IP address, for example 127.0.0.1:5001 or [::1]:5001"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_written_back_equal(text in ".{0,120}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
