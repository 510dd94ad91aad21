//! The list of all sessions: admits them within the limits, and wakes them all.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;
use super::bans::Ban;
use super::connection::Connection;
use super::numbers::{Number, Numbers};
use super::tls::Channel;
use crate::chat::SessionId;
use crate::protocol::{Notice, Reason};

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Their numbers.
    pub numbers: Numbers,
    /// Nobody is let in any more.
    is_closed: AtomicBool,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    connections: HashMap<SessionId, Arc<Connection>>,
    /// Number of sessions from each network.
    per_ip: HashMap<IpAddr, usize>,
    /// How many bits of an IPv6 address make a network in `per_ip`.
    ipv6_prefix: usize,
}

impl Present {
    fn network_of(&self, connection: &Connection) -> Option<IpAddr> {
        Some(network(connection.from()?.ip(), self.ipv6_prefix))
    }

    fn has_too_many_from(&self, ip: IpAddr, settings: &Settings) -> bool {
        let count = self.per_ip.get(&network(ip, self.ipv6_prefix)).copied().unwrap_or(0);
        settings.max_per_ip > 0 && count >= settings.max_per_ip
    }

    fn remove(&mut self, id: SessionId) {
        let connection = self.connections.remove(&id);
        let network = connection.and_then(|connection| self.network_of(&connection));
        if let Some(Entry::Occupied(mut count)) = network.map(|network| self.per_ip.entry(network)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Counts all sessions again if a reload has changed the prefix.
    fn count_by(&mut self, ipv6_prefix: usize) {
        if std::mem::replace(&mut self.ipv6_prefix, ipv6_prefix) != ipv6_prefix {
            self.per_ip.clear();
            let networks: Vec<IpAddr> =
                self.connections.values().filter_map(|one| self.network_of(one)).collect();
            networks.into_iter().for_each(|network| *self.per_ip.entry(network).or_default() += 1);
        }
    }
}

/// Returns the network that counts as one address: the first `ipv6_prefix` bits of an IPv6 address, and the whole
/// IPv4 address, also if it is mapped to IPv6.
fn network(ip: IpAddr, ipv6_prefix: usize) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(ipv6_prefix as u32)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
        ip => ip,
    }
}

/// The reason why a connection cannot become a session now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// chatd stops soon: an operator has said so.
    Stopping,
    /// The configuration lets nobody connect from there.
    Denied,
    /// A ban covers it.
    Banned(Box<Ban>),
    /// There are `max_clients` sessions.
    Full,
    /// There are `max_per_ip` sessions from the same address, or the same IPv6 network.
    TooManyFromThere,
    /// There is no file descriptor or no memory for it.
    NoDescriptor,
}

impl Refusal {
    /// Every reason in one word, for the metrics.
    pub const REASONS: [&'static str; 6] =
        ["full", "address_full", "descriptors", "denied", "banned", "stopping"];

    /// Returns the place of the reason in [`Refusal::REASONS`].
    pub fn index(&self) -> usize {
        match self {
            Self::Full => 0,
            Self::TooManyFromThere => 1,
            Self::NoDescriptor => 2,
            Self::Denied => 3,
            Self::Banned(_) => 4,
            Self::Stopping => 5,
        }
    }

    /// Returns the notice for the client.
    pub fn notice(&self) -> Notice {
        match self {
            Self::Stopping => Notice::Closing { reason: Reason::Stopping },
            Self::Denied => Notice::Denied,
            Self::Banned(ban) => ban.notice(),
            Self::Full | Self::NoDescriptor => Notice::Full,
            Self::TooManyFromThere => Notice::AddressFull,
        }
    }
}

impl Sessions {
    /// Gives a caller the number, who is let in; [`Sessions::begin`] comes next, unless its connection fails.
    ///
    /// # Errors
    /// The limit that is reached. Then somebody else gets the number.
    pub fn admit(
        &self,
        from: Option<IpAddr>,
        number: Number<'_>,
        settings: &Settings,
    ) -> Result<SessionId, Refusal> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        let mut present = self.present();
        present.count_by(settings.ipv6_prefix);
        if present.connections.len() >= settings.max_clients {
            return Err(Refusal::Full);
        }
        if from.is_some_and(|ip| present.has_too_many_from(ip, settings)) {
            return Err(Refusal::TooManyFromThere);
        }
        Ok(number.take())
    }

    /// Sets the address of a client behind a proxy, and counts its session for that address from now on.
    ///
    /// # Errors
    /// There are too many from there.
    pub fn identify(
        &self,
        connection: &Connection,
        client: SocketAddr,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        let mut present = self.present();
        present.count_by(settings.ipv6_prefix);
        if present.has_too_many_from(client.ip(), settings) {
            return Err(Refusal::TooManyFromThere);
        }
        connection.set_client(client);
        if let Some(network) = present.network_of(connection) {
            *present.per_ip.entry(network).or_default() += 1;
        }
        Ok(())
    }

    /// A session begins, or goes on that another process has let in, whatever the limits are.
    pub fn begin(&self, connection: &Arc<Connection>) {
        let mut present = self.present();
        if let Some(network) = present.network_of(connection) {
            *present.per_ip.entry(network).or_default() += 1;
        }
        present.connections.insert(connection.id(), Arc::clone(connection));
        self.numbers.go_on_after(connection.id().0);
    }

    /// Lets nobody in from now on, or again.
    pub fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    /// Returns the connection of a session.
    pub fn get(&self, id: SessionId) -> Option<Arc<Connection>> {
        self.present().connections.get(&id).cloned()
    }

    /// Removes a session.
    pub fn remove(&self, id: SessionId) {
        self.present().remove(id);
    }

    /// Returns the number of sessions.
    pub fn count(&self) -> usize {
        self.present().connections.len()
    }

    /// Returns whether `test` is true of a session.
    pub fn any(&self, test: impl Fn(&Connection) -> bool) -> bool {
        self.present().connections.values().any(|one| test(one))
    }

    /// Returns how many sessions pass a test, and how many bytes of TLS they have acknowledged together.
    pub fn acknowledged(&self, test: impl Fn(&Connection) -> bool) -> (usize, u64) {
        let present = self.present();
        let all = present.connections.values().filter(|one| test(one));
        let written = |one: &Connection| one.channel().map_or(0, Channel::written);
        let acknowledged = |one: &Connection| written(one).saturating_sub(one.unacknowledged() as u64);
        all.fold((0, 0), |(count, bytes), one| (count + 1, bytes + acknowledged(one)))
    }

    /// Returns how many sessions speak TLS, by version, cipher suite, and whether `kernel` or `user` space makes the
    /// records.
    pub fn tls(&self) -> BTreeMap<(&'static str, &'static str, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for channel in self.present().connections.values().filter_map(|one| one.channel()) {
            let (tls, records) = (channel.agreed(), if channel.is_in_kernel() { "kernel" } else { "user" });
            *counts.entry((tls.version, tls.cipher, records)).or_default() += 1;
        }
        counts
    }

    /// Closes the sessions for which `reason` has one, with that notice. Returns how many it closes that nobody has
    /// closed before.
    pub fn dismiss(&self, reason: impl Fn(&Connection) -> Option<Notice>) -> usize {
        // Others go on with the list meanwhile.
        let all: Vec<Arc<Connection>> = self.present().connections.values().cloned().collect();
        all.iter().filter(|one| reason(one).is_some_and(|why| one.dismiss(why))).count()
    }

    /// Wakes every session, so that it looks at the stage and the settings again.
    pub fn wake_all(&self) {
        self.present().connections.values().for_each(|one| one.wake());
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    use futures::FutureExt;

    /// A list of sessions, and who may come in.
    struct Porch {
        sessions: Sessions,
        settings: Settings,
    }

    impl Porch {
        fn new() -> Self {
            let settings = Settings { max_clients: 2, max_per_ip: 1, ..crate::net::testing::settings() };
            Self { sessions: Sessions::default(), settings }
        }

        fn begin(&self, id: u64, from: Option<IpAddr>) {
            let (socket, _) = UnixStream::pair().unwrap();
            let connection = Connection::new(socket.into(), SessionId(id), None).unwrap();
            self.sessions.begin(&Arc::new(connection.coming_from(from.map(|ip| (ip, 1)))));
        }

        fn admit(&self, from: Option<IpAddr>) -> Result<u64, Refusal> {
            let number = self.sessions.numbers.next().now_or_never().unwrap();
            let id = self.sessions.admit(from, number, &self.settings)?;
            self.begin(id.0, from);
            Ok(id.0)
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        let porch = Porch::new();
        assert_eq!([porch.admit(None), porch.admit(None)], [Ok(1), Ok(2)]);
        // Not even that of the last one.
        porch.sessions.remove(SessionId(2));
        assert_eq!(porch.admit(None), Ok(3));
        porch.sessions.remove(SessionId(1));
        porch.sessions.remove(SessionId(3));
        assert_eq!((porch.sessions.count(), porch.sessions.numbers.last()), (0, 3));
        assert_eq!(porch.admit(None), Ok(4));
        assert_eq!(porch.sessions.numbers.last(), 4);
    }

    #[test]
    fn nor_is_one_that_another_process_has_given() {
        let porch = Porch::new();
        for id in [10, 7] {
            porch.begin(id, None);
            porch.sessions.remove(SessionId(id));
        }
        assert_eq!(porch.admit(None), Ok(11));
        // Those that have gone before it ended.
        porch.sessions.numbers.go_on_after(20);
        porch.sessions.numbers.go_on_after(5);
        assert_eq!(porch.admit(None), Ok(21));
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_an_address_of_ipv4_as_itself() {
        let mut porch = Porch::new();
        porch.settings.max_clients = 100;
        for first in ["2001:db8::1", "2001:db8:0:1::1", "::1", "192.0.2.1", "192.0.2.2"] {
            assert!(porch.admit(ip(first)).is_ok(), "{first}");
        }
        for second in
            ["2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1:8000::", "192.0.2.1", "::ffff:192.0.2.2"]
        {
            assert_eq!(porch.admit(ip(second)), Err(Refusal::TooManyFromThere), "{second}");
        }
        // From a network of 64 bits, of which 8 are more than the prefix.
        porch.settings.ipv6_prefix = 56;
        assert_eq!(porch.admit(ip("2001:db8:0:ff::1")), Err(Refusal::TooManyFromThere));
        porch.settings.ipv6_prefix = 128;
        assert!(porch.admit(ip("2001:db8::2")).is_ok());
        assert_eq!(porch.admit(ip("2001:db8::2")), Err(Refusal::TooManyFromThere));
        porch.settings.ipv6_prefix = 1;
        assert_eq!(porch.admit(ip("7fff::")), Err(Refusal::TooManyFromThere));
        assert!(porch.admit(ip("8000::")).is_ok());
    }

    #[test]
    fn another_prefix_holds_for_those_who_are_there_and_those_who_leave() {
        let mut porch = Porch::new();
        porch.settings = Settings { max_clients: 100, max_per_ip: 2, ipv6_prefix: 128, ..porch.settings };
        let [one, other] = [ip("2001:db8::1"), ip("2001:db8::2")];
        // One of them was let in by another process.
        porch.begin(7, one);
        assert_eq!(porch.admit(other), Ok(8));
        porch.settings.ipv6_prefix = 64;
        assert_eq!(porch.admit(ip("2001:db8::3")), Err(Refusal::TooManyFromThere));
        porch.sessions.remove(SessionId(7));
        assert_eq!(porch.admit(ip("2001:db8::3")), Ok(9));
        porch.settings.ipv6_prefix = 128;
        assert_eq!([porch.admit(other), porch.admit(other)], [Ok(10), Err(Refusal::TooManyFromThere)]);
        for id in 8..=10 {
            porch.sessions.remove(SessionId(id));
        }
        assert!(porch.sessions.present().per_ip.is_empty(), "nobody is left");
        // What is restored counts before anybody has been let in.
        let porch = Porch { sessions: Sessions::default(), ..porch };
        porch.begin(1, one);
        porch.begin(2, one);
        assert_eq!([porch.admit(one), porch.admit(other)], [Err(Refusal::TooManyFromThere), Ok(3)]);
    }

    #[test]
    fn the_limits_hold_for_those_who_are_there() {
        let porch = Porch::new();
        let (one, other) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        assert_eq!(porch.admit(one), Ok(1));
        assert_eq!(porch.admit(one), Err(Refusal::TooManyFromThere));
        porch.begin(5, other);
        assert_eq!(porch.admit(None), Err(Refusal::Full));
        porch.sessions.remove(SessionId(1));
        assert_eq!(porch.admit(other), Err(Refusal::TooManyFromThere));
        assert_eq!(porch.admit(one), Ok(6), "a refusal has cost no number, and does not count");
    }
}
