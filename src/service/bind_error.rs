//! Why chatd cannot listen on an address, and what to do about it.
//!
//! Made by `server` and `listeners`, shown by `daemon`. It never binds anything itself.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::net::Address;

/// What to do about an address that the machine does not have. At boot, the network may come later than chatd.
const NOT_THERE: &str = "; this machine does not have that address, or not yet: choose another, start chatd when the network is up \
                         (After=network-online.target), or use chatd.socket with FreeBind=yes";

/// An address on which chatd cannot listen.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// Another address of the same configuration that may be the reason.
    pub other: Option<Address>,
    /// The error of the kernel.
    pub error: io::Error,
}

impl BindError {
    /// `before` are the addresses that were bound before this one.
    pub(super) fn new<'a>(
        address: &Address,
        mut before: impl Iterator<Item = &'a Address>,
        error: io::Error,
    ) -> Self {
        let other = before.find(|other| may_be_same(other, address)).cloned();
        Self { address: address.clone(), other, error }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        write!(f, "cannot listen on {}: {}", self.address, lower_first(reason))?;
        if let (io::ErrorKind::AddrInUse, Some(other)) = (self.error.kind(), &self.other) {
            return write!(f, "; chatd itself already listens on {other}: remove one of the two");
        }
        match (self.error.kind(), &self.address) {
            (io::ErrorKind::AddrInUse, address) if address.is_tcp() => {
                f.write_str("; stop the program that listens there, or choose another address with --listen")
            }
            (io::ErrorKind::PermissionDenied, address) if address.is_tcp() => {
                f.write_str("; choose a port above 1023, or use chatd.socket")
            }
            (io::ErrorKind::AddrNotAvailable, _) => f.write_str(NOT_THERE),
            (io::ErrorKind::NotFound, Address::Unix(_)) => {
                f.write_str("; create its folder, or choose another path")
            }
            (io::ErrorKind::PermissionDenied, _) => f.write_str("; choose a path that chatd may use"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

fn lower_first(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_lowercase).chain(text.chars().skip(1)).collect()
}

/// Returns whether the kernel may refuse to have both listened on: the same port, and one of them has the other in it.
fn may_be_same(one: &Address, other: &Address) -> bool {
    if let (Address::LinkLocal(one), Address::LinkLocal(other)) = (one, other) {
        return one.port != 0 && one.may_be(other);
    }
    let (Some((ip, port)), Some((other_ip, other_port))) = (ip_and_port(one), ip_and_port(other)) else {
        return false;
    };
    let is_same_family = ip.is_ipv4() == other_ip.is_ipv4();
    let has_other = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    port != 0 && port == other_port && is_same_family && has_other
}

fn ip_and_port(address: &Address) -> Option<(IpAddr, u16)> {
    match address {
        Address::Tcp(address) => Some((address.ip(), address.port())),
        Address::LinkLocal(address) => Some((address.ip.into(), address.port)),
        Address::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_are_one_to_the_kernel_if_one_has_the_other_in_it() {
        let may = |one: &str, other: &str| may_be_same(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(may("0.0.0.0:5001", "127.0.0.1:5001") && may("[::1]:5001", "[::]:5001"));
        assert!(may("127.0.0.1:5001", "127.0.0.1:5001"));
        assert!(may("[fe80::1%eth0]:5001", "[::]:5001") && may("[fe80::1%eth0]:5001", "[fe80::1%2]:5001"));
        for (one, other) in [
            ("127.0.0.1:5001", "[::1]:5001"),
            ("0.0.0.0:5001", "[::]:5001"),
            ("127.0.0.1:5001", "127.0.0.2:5001"),
            ("0.0.0.0:5001", "127.0.0.1:5002"),
            ("0.0.0.0:0", "127.0.0.1:0"),
            ("0.0.0.0:5001", "/run/chat.sock"),
            ("[fe80::1%eth0]:5001", "[fe80::1%eth1]:5001"),
            ("[fe80::1%eth0]:5001", "[fe80::2%eth0]:5001"),
            ("[fe80::1%eth0]:0", "[fe80::1%2]:0"),
        ] {
            assert!(!may(one, other), "{one} {other}");
        }
    }
}
