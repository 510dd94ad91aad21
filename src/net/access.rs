//! Access: from which addresses clients may connect, for all listeners and for each.
//!
//! Floor 3 makes [`Access`] from the configuration; listeners ask it about newcomers, and [`super::Net`] about sessions
//! after a reload. Unix sockets are no concern of it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::address::Address;
use super::networks::NetworkMap;
use super::tls::Mode;

/// Two lists of networks: allowed and denied. Without any, every address may connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessList {
    /// Whether clients from a network may connect.
    networks: NetworkMap<bool>,
    /// Whether clients from no listed network may not connect.
    is_closed: bool,
}

impl AccessList {
    /// Makes one of the keys `allow` and `deny`. A network in both is denied.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let mut networks = NetworkMap::default();
        for (list, may_connect) in [(allow, true), (deny, false)] {
            for network in list {
                networks.insert(*network, may_connect);
            }
        }
        Self { networks, is_closed: !allow.is_empty() }
    }

    /// Returns whether clients from this address may connect: the longest network that it is in says so. An address in
    /// none may connect if `allow` is empty.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.networks.around(address).next().copied().unwrap_or(!self.is_closed)
    }
}

/// A listener, and what it has of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Its address, with the real port.
    pub address: Address,
    /// Its own lists, in place of those for all listeners.
    pub list: Option<AccessList>,
    /// The networks of proxies, from which a PROXY header is required; with one, nobody else may connect.
    pub proxies: NetworkMap<()>,
    /// Whether TLS is spoken there.
    pub tls: Mode,
}

impl Gate {
    /// Returns whether `from` is a proxy, which sends a PROXY header.
    pub fn is_proxy(&self, from: IpAddr) -> bool {
        self.proxies.around(from).next().is_some()
    }

    /// Returns whether a socket with this local address was accepted here.
    fn has_accepted(&self, local: SocketAddr) -> bool {
        let is_any = |bound: &SocketAddr| bound.ip().is_unspecified() && bound.port() == local.port();
        match &self.address {
            Address::Tcp(bound) => *bound == local || is_any(bound) && bound.is_ipv4() == local.is_ipv4(),
            Address::LinkLocal(bound) => IpAddr::from(bound.ip) == local.ip() && bound.port == local.port(),
            Address::Unix(_) => false,
        }
    }
}

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The lists for all listeners.
    pub general: AccessList,
    /// The TCP listeners.
    pub gates: Vec<Gate>,
}

impl Access {
    /// Returns whether the listener with this address turns plain text away.
    pub fn requires_tls(&self, address: &Address) -> bool {
        self.gates.iter().any(|gate| gate.address == *address && gate.tls == Mode::Required)
    }

    /// Returns the listener at `address`.
    pub fn gate_at(&self, address: &Address) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.address == *address)
    }

    /// Returns the listener that accepted a socket with this local address. So it is found after a restart as well. A
    /// listener for one address counts before one for all addresses.
    pub fn gate_of(&self, local: SocketAddr) -> Option<&Gate> {
        let is_exact = |gate: &&Gate| gate.address == Address::Tcp(local);
        self.gates.iter().find(is_exact).or_else(|| self.gates.iter().find(|gate| gate.has_accepted(local)))
    }

    /// Returns whether a listener has lists of its own.
    pub fn differs_by_listener(&self) -> bool {
        self.gates.iter().any(|gate| gate.list.is_some())
    }

    /// Returns whether clients from `from` may connect through this listener.
    pub fn admits(&self, gate: Option<&Gate>, from: IpAddr) -> bool {
        gate.and_then(|gate| gate.list.as_ref()).unwrap_or(&self.general).admits(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::networks::parse_network;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| parse_network(text).unwrap()).collect()
    }

    fn list(allow: &[&str], deny: &[&str]) -> AccessList {
        AccessList::new(&networks(allow), &networks(deny))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_network_decides_and_what_is_listed_nowhere_depends_on_allow() {
        let admitted = |list: &AccessList, all: &[&'static str]| -> Vec<&'static str> {
            all.iter().copied().filter(|text| list.admits(ip(text))).collect()
        };
        const ALL: [&str; 6] = ["10.0.0.1", "10.1.0.1", "10.1.1.1", "192.0.2.1", "::1", "::ffff:10.0.0.1"];
        assert_eq!(admitted(&list(&[], &[]), &ALL), ALL);
        assert_eq!(
            admitted(&list(&["10.0.0.0/8"], &[]), &ALL),
            ["10.0.0.1", "10.1.0.1", "10.1.1.1", "::ffff:10.0.0.1"]
        );
        assert_eq!(admitted(&list(&[], &["10.0.0.0/8"]), &ALL), ["192.0.2.1", "::1"]);
        let nested = list(&["10.0.0.0/8", "10.1.1.0/24"], &["10.1.0.0/16"]);
        assert_eq!(admitted(&nested, &ALL), ["10.0.0.1", "10.1.1.1", "::ffff:10.0.0.1"]);
        assert_eq!(admitted(&list(&["10.0.0.0/8", "0.0.0.0/0"], &["10.0.0.0/8"]), &ALL), ["192.0.2.1"]);
    }

    #[test]
    fn a_session_belongs_to_the_listener_that_accepted_it() {
        let gate = |address: &str| Gate {
            address: address.parse().unwrap(),
            list: None,
            proxies: NetworkMap::default(),
            tls: Mode::Off,
        };
        let all = ["0.0.0.0:1", "192.0.2.1:1", "[::]:2", "[fe80::1%7]:3", "/run/x"];
        let access = Access { gates: all.map(gate).into(), ..Access::default() };
        let found = |local: &str| access.gate_of(local.parse().unwrap()).map(|gate| gate.address.to_string());
        for (local, address) in [
            ("192.0.2.1:1", Some("192.0.2.1:1")),
            ("192.0.2.2:1", Some("0.0.0.0:1")),
            ("192.0.2.2:2", None),
            ("[2001:db8::1]:1", None),
            ("[2001:db8::1]:2", Some("[::]:2")),
            // A socket for both versions.
            ("[::ffff:192.0.2.1]:2", Some("[::]:2")),
            ("[fe80::1%7]:3", Some("[fe80::1%7]:3")),
        ] {
            assert_eq!(found(local).as_deref(), address, "{local}");
        }
    }

    #[test]
    fn the_lists_of_a_listener_replace_those_for_all() {
        let gate = |address: &str, list: Option<AccessList>| Gate {
            address: address.parse().unwrap(),
            list,
            proxies: NetworkMap::default(),
            tls: Mode::Off,
        };
        let own = gate("127.0.0.1:1", Some(list(&[], &[])));
        let other = gate("127.0.0.1:2", None);
        let access = Access { general: list(&["10.0.0.0/8"], &[]), gates: vec![own, other] };
        let from = ip("192.0.2.1");
        let gate = |address: &str| access.gate_at(&address.parse().unwrap());
        assert!(access.admits(gate("127.0.0.1:1"), from));
        assert!(!access.admits(gate("127.0.0.1:2"), from));
        assert!(!access.admits(gate("127.0.0.1:3"), from));
    }
}
