//! Networks of IP addresses (CIDR): as text, and a map that finds the networks around an address.
//!
//! Used by `access` and `bans`. The cost of a look-up does not depend on the number of networks, only on how many
//! lengths of prefixes there are: at most 33 for IPv4 and 129 for IPv6.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The prefix of IPv4 addresses that are mapped to IPv6 (`::ffff:0:0/96`), in bits.
const MAPPED: u8 = 96;

/// Reads `192.0.2.0/24`, `2001:db8::/32`, or an address alone, which is a network of one. An IPv4 network that is mapped
/// to IPv6 counts as IPv4.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| explain(text))?,
    };
    let meant = network.trunc();
    if meant != network {
        let (bits, address) = (network.prefix_len(), network.addr());
        return Err(format!(
            "{text:?} has bits after the first {bits}; write \"{meant}\" for the network or \"{address}\" for the address"
        ));
    }
    Ok(canonical(network))
}

/// Writes a network; one of a single address without the length of its prefix.
pub fn show_network(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

fn explain(text: &str) -> String {
    let most = match text.split_once('/').map(|(address, _)| address.parse()) {
        Some(Ok(IpAddr::V4(_))) => Some(32),
        Some(Ok(IpAddr::V6(_))) => Some(128),
        _ => None,
    };
    match most {
        Some(most) => {
            format!("{text:?} has no length from 0 to {most} after the slash; write for example /{most}")
        }
        None => {
            format!("{text:?} is not a network; write \"192.0.2.0/24\", \"2001:db8::/32\" or one address")
        }
    }
}

/// Returns the network as it is compared: mapped IPv4 as IPv4.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(six) if six.prefix_len() >= MAPPED => six.addr().to_ipv4_mapped().map(|four| (four, six)),
        _ => None,
    };
    mapped
        .and_then(|(four, six)| Ipv4Net::new(four, six.prefix_len() - MAPPED).ok())
        .map_or(network, IpNet::V4)
}

/// Values for networks.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkMap<T> {
    values: HashMap<IpNet, T>,
    /// Number of networks of each length of prefix, IPv4 first.
    lengths: [BTreeMap<u8, usize>; 2],
}

impl<T> Default for NetworkMap<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), lengths: [BTreeMap::new(), BTreeMap::new()] }
    }
}

impl<T> NetworkMap<T> {
    /// Sets the value of a network, and returns the one before.
    pub fn insert(&mut self, network: IpNet, value: T) -> Option<T> {
        let before = self.values.insert(network, value);
        if before.is_none() {
            *self.lengths_of(&network).entry(network.prefix_len()).or_default() += 1;
        }
        before
    }

    /// Removes a network.
    pub fn remove(&mut self, network: &IpNet) -> Option<T> {
        let value = self.values.remove(network)?;
        let (lengths, length) = (self.lengths_of(network), network.prefix_len());
        if let Some(count) = lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&length);
            }
        }
        Some(value)
    }

    /// Removes the networks whose value is not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let gone: Vec<IpNet> =
            self.values.iter().filter(|(_, value)| !keep(value)).map(|(network, _)| *network).collect();
        gone.iter().for_each(|network| drop(self.remove(network)));
    }

    /// Returns the value of exactly this network.
    pub fn get(&self, network: &IpNet) -> Option<&T> {
        self.values.get(network)
    }

    /// Returns the values of the networks that `address` is in, the longest prefix first.
    pub fn around(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let address = address.to_canonical();
        let lengths = self.lengths[usize::from(address.is_ipv6())].keys().rev();
        lengths.filter_map(move |length| self.values.get(&IpNet::new(address, *length).ok()?.trunc()))
    }

    /// Returns the number of networks.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns all values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.values()
    }

    /// Returns how many networks a look-up of this address looks at.
    #[cfg(test)]
    pub(super) fn lengths_in_use(&self, address: IpAddr) -> usize {
        self.lengths[usize::from(address.is_ipv6())].len()
    }

    fn lengths_of(&mut self, network: &IpNet) -> &mut BTreeMap<u8, usize> {
        &mut self.lengths[usize::from(matches!(network, IpNet::V6(_)))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_read_as_people_write_them() {
        for (text, shown) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(
                parse_network(text).map(|network| show_network(&network)),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_was_probably_meant() {
        let refusal = |text: &str| parse_network(text).unwrap_err();
        assert_eq!(
            refusal("192.0.2.7/24"),
            "\"192.0.2.7/24\" has bits after the first 24; write \"192.0.2.0/24\" for the network or \"192.0.2.7\" for the address"
        );
        assert!(refusal("2001:db8::1/32").contains("write \"2001:db8::/32\""));
        assert!(refusal("192.0.2.0/33").contains("length from 0 to 32"));
        assert!(refusal("::/129").contains("length from 0 to 128"));
        assert!(refusal("192.0.2.0/").contains("length from 0 to 32"));
        for text in ["", "/8", "localhost", "192.0.2", "192.0.2.0/255.255.255.0/1", "192.0.2.0 /24"] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_prefix_comes_first() {
        let mut map = NetworkMap::default();
        for text in ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "::/0", "2001:db8::/32"] {
            map.insert(parse_network(text).unwrap(), text);
        }
        let around = |map: &NetworkMap<&'static str>, text: &str| -> Vec<&'static str> {
            map.around(text.parse().unwrap()).copied().collect()
        };
        assert_eq!(around(&map, "192.0.2.7"), ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0"]);
        assert_eq!(around(&map, "::ffff:192.0.2.8"), ["192.0.2.0/24", "0.0.0.0/0"]);
        assert_eq!(around(&map, "2001:db8::1"), ["2001:db8::/32", "::/0"]);
        map.retain(|text| !text.ends_with("/0"));
        assert_eq!(around(&map, "192.0.2.8"), ["192.0.2.0/24"]);
        assert_eq!(map.remove(&parse_network("192.0.2.0/24").unwrap()), Some("192.0.2.0/24"));
        assert!(around(&map, "192.0.2.8").is_empty());
        // A look-up goes only through lengths in use.
        assert_eq!(map.lengths[0].keys().copied().collect::<Vec<_>>(), [32]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse_network(&text);
        }

        #[test]
        fn the_map_finds_what_a_look_at_each_finds(
            networks in proptest::collection::vec((0_u32..64, 24_u8..=32), 0..40), address in 0_u32..64,
        ) {
            let of = |(bits, length): (u32, u8)| IpNet::from(Ipv4Net::new(bits.into(), length).unwrap()).trunc();
            let mut map = NetworkMap::default();
            for network in networks.iter().copied().map(of) {
                map.insert(network, network);
            }
            let address = IpAddr::V4(address.into());
            let mut expected: Vec<IpNet> = networks.iter().copied().map(of).filter(|one| one.contains(&address)).collect();
            expected.sort_by_key(|one| std::cmp::Reverse(one.prefix_len()));
            expected.dedup();
            prop_assert_eq!(map.around(address).copied().collect::<Vec<_>>(), expected);
        }
    }
}
