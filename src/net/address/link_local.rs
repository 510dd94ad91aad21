//! A link-local IPv6 address to listen on, with its zone: the interface on which it is meant (RFC 4007).
//!
//! Made by `address`, which reads it from text and from sockets. The interface is looked up only through a socket, by
//! [`LinkLocal::resolve`]: a socket that a service manager passes may belong to another network namespace than this
//! process, with other interfaces.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::netdevice;

/// The longest name of an interface, in bytes: `IFNAMSIZ` in netdevice(7) is 16, one of them for the ending NUL.
const MAX_INTERFACE: usize = 15;

/// A link-local IPv6 address, its port and its zone: `[fe80::1%eth0]:5001`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkLocal {
    /// The address, of fe80::/10.
    pub ip: Ipv6Addr,
    /// The interface on which it is meant.
    pub zone: Zone,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

/// An interface of the machine, as it is written after `%`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Its name, of at most 15 bytes: `eth0`.
    Name(String),
    /// Its number, as `ip link` shows it.
    Index(NonZeroU32),
}

impl LinkLocal {
    /// The link-local address of a socket, with the name of the interface if there still is one.
    pub(super) fn of(socket: impl AsFd, address: SocketAddrV6) -> Option<Self> {
        let index = NonZeroU32::new(address.scope_id())?;
        let zone = netdevice::index_to_name(socket, index.get()).map_or(Zone::Index(index), Zone::Name);
        Some(Self { ip: *address.ip(), zone, port: address.port() })
    }

    /// The address as bind(2) takes it. Looks the interface up in the network namespace of `socket`.
    ///
    /// # Errors
    /// `NotFound` if there is no such interface; the message says so and what to do.
    pub fn resolve(&self, socket: impl AsFd) -> io::Result<SocketAddrV6> {
        let index = match &self.zone {
            Zone::Name(name) => netdevice::name_to_index(socket, name),
            Zone::Index(index) => netdevice::index_to_name(socket, index.get()).map(|_| index.get()),
        };
        let index = index.map_err(|errno| self.zone.missing(errno))?;
        Ok(SocketAddrV6::new(self.ip, self.port, 0, index))
    }

    /// Returns whether both may be one address to the kernel: the same but for the interfaces, of which one has a name
    /// and the other a number.
    pub fn may_be(&self, other: &Self) -> bool {
        let is_same_form = std::mem::discriminant(&self.zone) == std::mem::discriminant(&other.zone);
        self.ip == other.ip && self.port == other.port && (!is_same_form || self.zone == other.zone)
    }
}

impl Zone {
    /// Reads what follows `%`: a number above 0, or what can be the name of an interface.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Index);
        }
        let has_bad = text.contains(|c: char| c.is_whitespace() || c.is_control() || "/:%[]".contains(c));
        let is_name = (1..=MAX_INTERFACE).contains(&text.len()) && !has_bad && text != "." && text != "..";
        is_name.then(|| Self::Name(text.to_owned()))
    }

    fn missing(&self, errno: Errno) -> io::Error {
        match errno {
            Errno::NODEV | Errno::NXIO => io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no interface {self}; `ip link` lists those that there are"),
            ),
            errno => errno.into(),
        }
    }
}

/// As in text; it reads back equal.
impl fmt::Display for LinkLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}%{}]:{}", self.ip, self.zone, self.port)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Address;
    use rustix::net::{AddressFamily, SocketType, sockopt};
    use std::os::fd::OwnedFd;

    fn socket() -> OwnedFd {
        rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap()
    }

    fn link_local(text: &str) -> LinkLocal {
        match text.parse() {
            Ok(Address::LinkLocal(address)) => address,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// A socket bound to fe80::7 of the loopback interface, which need not have that address, and its port.
    fn bound() -> (OwnedFd, u16) {
        let socket = socket();
        sockopt::set_ipv6_freebind(&socket, true).unwrap();
        rustix::net::bind(&socket, &link_local("[fe80::7%lo]:0").resolve(&socket).unwrap()).unwrap();
        let address = rustix::net::getsockname(&socket).unwrap();
        let port = std::net::SocketAddr::try_from(address).unwrap().port();
        (socket, port)
    }

    #[test]
    fn an_interface_is_found_by_its_name_and_by_its_number() {
        let index = link_local("[fe80::7%lo]:5001").resolve(socket()).unwrap().scope_id();
        let address = link_local(&format!("[fe80::7%{index}]:5001")).resolve(socket()).unwrap();
        assert_eq!(address, SocketAddrV6::new("fe80::7".parse().unwrap(), 5001, 0, index));
    }

    #[test]
    fn one_that_is_not_there_is_named_and_where_to_look() {
        for zone in ["nonexistent0", "4000000000"] {
            let error = link_local(&format!("[fe80::7%{zone}]:5001")).resolve(socket()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let expected = format!("there is no interface {zone}; `ip link` lists those that there are");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_address_of_a_socket_has_the_name_of_the_interface() {
        let (socket, port) = bound();
        let address = Address::of(&socket).unwrap().unwrap();
        assert_eq!(address.to_string(), format!("[fe80::7%lo]:{port}"));
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn a_socket_is_known_by_name_and_by_number() {
        let (socket, port) = bound();
        let index = link_local("[fe80::7%lo]:1").resolve(&socket).unwrap().scope_id();
        let is_of = |text: String| text.parse::<Address>().unwrap().is_of(&socket);
        assert!(is_of(format!("[fe80::7%lo]:{port}")) && is_of(format!("[fe80::7%{index}]:{port}")));
        for other in [
            format!("[fe80::7%nonexistent0]:{port}"),
            format!("[fe80::7%{}]:{port}", index + 1),
            format!("[fe80::8%lo]:{port}"),
            format!("[fe80::7%lo]:{}", port ^ 1),
            format!("[::]:{port}"),
        ] {
            assert!(!is_of(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_zone_is_a_number_or_what_can_be_a_name() {
        for zone in ["eth0", "2", "wlp3s0", "br-lan.7", "veth@if3", "0x2", "exactly-15bytes"] {
            assert_eq!(Zone::parse(zone).unwrap().to_string(), zone);
        }
        for bad in
            ["", "0", "00", "99999999999", ".", "..", "a b", "a/b", "a:b", "a%b", "a]", "sixteen-bytes-01"]
        {
            assert_eq!(Zone::parse(bad), None, "{bad:?}");
        }
    }
}
