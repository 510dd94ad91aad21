//! An address to listen on: of a TCP or unix socket, as text and as a value.
//!
//! Used by `service::config`, which parses addresses, and by the listeners, which bind them. Parsing never resolves a
//! host name and never opens a socket, so an address means the same at every start. The interface of a link-local
//! address is looked up when the socket is bound.

mod link_local;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::SocketAddrUnix;

pub use link_local::{LinkLocal, Zone};

/// The longest path of a unix socket, in bytes: `sun_path` in unix(7) is 108, one of them for the ending NUL.
pub const MAX_UNIX_PATH: usize = 107;

/// An address to listen on.
///
/// As text: `127.0.0.1:5001`, `[::1]:5001`, `[fe80::1%eth0]:5001`, `/run/chatd/chat.sock` or
/// `unix:/run/chatd/chat.sock`.
/// What `Display` writes parses back to the same value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP socket at an address that means the same on every interface; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A TCP socket at a link-local IPv6 address of one interface.
    LinkLocal(LinkLocal),
    /// A unix stream socket; the path is absolute and at most [`MAX_UNIX_PATH`] bytes long.
    Unix(PathBuf),
}

impl Address {
    /// Returns the address of a socket, as the kernel has it; `None` if it is neither TCP nor a unix socket. An
    /// abstract unix socket begins with `@`, as in ss(8).
    ///
    /// # Errors
    /// That of getsockname(2), if it is not a socket.
    pub fn of(socket: impl AsFd) -> io::Result<Option<Self>> {
        let address = rustix::net::getsockname(&socket)?;
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            let link_local = match address {
                SocketAddr::V6(address) => LinkLocal::of(&socket, address),
                SocketAddr::V4(_) => None,
            };
            return Ok(Some(link_local.map_or(Self::Tcp(address), Self::LinkLocal)));
        }
        let Ok(address) = SocketAddrUnix::try_from(address) else { return Ok(None) };
        Ok(Some(Self::Unix(match (address.path(), address.abstract_name()) {
            (Some(path), _) => OsStr::from_bytes(path.to_bytes()).into(),
            (None, Some(name)) => format!("@{}", name.escape_ascii()).into(),
            (None, None) => PathBuf::new(),
        })))
    }

    /// Returns whether `socket` is bound to this address. An interface may be written with its name or its number.
    pub fn is_of(&self, socket: impl AsFd) -> bool {
        let Self::LinkLocal(address) = self else {
            return Self::of(socket).is_ok_and(|bound| bound.as_ref() == Some(self));
        };
        let bound = rustix::net::getsockname(&socket).map(SocketAddr::try_from);
        address.resolve(socket).is_ok_and(|address| bound == Ok(Ok(address.into())))
    }

    /// Returns whether this is the address of a TCP socket.
    pub fn is_tcp(&self) -> bool {
        !matches!(self, Self::Unix(_))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None if text.starts_with('/') => parse_unix(text),
            None => parse_tcp(text),
        };
        parsed.map_err(|problem| AddressError { value: text.to_owned(), problem })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::LinkLocal(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

fn parse_tcp(text: &str) -> Result<Address, AddressProblem> {
    let (bare, zone) = split_zone(text);
    let address: SocketAddr = bare.parse().map_err(|_| explain(&bare))?;
    match (address, zone) {
        (SocketAddr::V6(address), zone) if address.ip().is_unicast_link_local() => {
            let zone = zone.ok_or(AddressProblem::NoZone)?;
            let zone = Zone::parse(zone).ok_or(AddressProblem::BadZone)?;
            Ok(Address::LinkLocal(LinkLocal { ip: *address.ip(), zone, port: address.port() }))
        }
        (_, Some(_)) => Err(AddressProblem::NeedlessZone),
        (address, None) => Ok(Address::Tcp(address)),
    }
}

/// Splits `[fe80::1%eth0]:5001` into `[fe80::1]:5001` and `eth0`.
fn split_zone(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let split = text.split_once('%').filter(|(ip, _)| ip.starts_with('['));
    match split.and_then(|(ip, rest)| Some((ip, rest.split_once(']')?))) {
        Some((ip, (zone, port))) => (format!("{ip}]{port}").into(), Some(zone)),
        None => (text.into(), None),
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

/// Returns why `text` is not a socket address; the standard parser only fails.
fn explain(text: &str) -> AddressProblem {
    if text.is_empty() {
        return AddressProblem::Empty;
    }
    if text.contains('/') {
        return AddressProblem::RelativePath;
    }
    if text.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()) {
        return AddressProblem::NoBrackets;
    }
    if text.ends_with(']') && is_ip(text) {
        return AddressProblem::NoPort;
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
    /// The problem.
    pub problem: AddressProblem,
}

/// A problem of an address.
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
    /// A link-local IPv6 address without an interface.
    NoZone,
    /// A text after `%` that cannot be an interface.
    BadZone,
    /// An interface after an address that has none.
    NeedlessZone,
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
            Self::NoZone => {
                "is a link-local address without its interface; write [fe80::1%eth0]:5001 with a name that `ip link` lists"
            }
            Self::BadZone => {
                "has no interface after %; write [fe80::1%eth0]:5001 with a name or number that `ip link` lists"
            }
            Self::NeedlessZone => {
                "has an interface after %, which only link-local addresses (fe80::/10) have; leave it out"
            }
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
        for text in [
            "127.0.0.1:5001",
            "[::1]:5001",
            "0.0.0.0:0",
            "[fe80::1%2]:7",
            "[fe80::1%eth0]:5001",
            "/run/chatd/chat.sock",
        ] {
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
            ("fe80::1%eth0", AddressProblem::NoBrackets),
            ("fe80::1%eth0:5001", AddressProblem::NoBrackets),
            ("[fe80::1]:5001", AddressProblem::NoZone),
            ("[febf::1]:5001", AddressProblem::NoZone),
            ("[fe80::1%]:5001", AddressProblem::BadZone),
            ("[fe80::1%0]:5001", AddressProblem::BadZone),
            ("[fe80::1%eth 0]:5001", AddressProblem::BadZone),
            ("[::1%lo]:5001", AddressProblem::NeedlessZone),
            ("[2001:db8::1%2]:5001", AddressProblem::NeedlessZone),
            ("[127.0.0.1%lo]:5001", AddressProblem::NotAnIp),
            ("[fe80::1%eth0]", AddressProblem::NoPort),
            ("[fe80::1%eth0]:x", AddressProblem::BadPort),
            ("[fe80::1%eth0:5001", AddressProblem::NotAnIp),
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
        fn any_text_is_refused_or_written_back_equal(text in ".{0,120}|\\[fe80::1%.{0,16}\\]:1") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
