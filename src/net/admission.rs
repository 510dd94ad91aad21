//! Who may connect and who may stay: asks the lists of access, the bans and the limits.
//!
//! Listeners ask before a connection becomes a session. After a reload or a new ban, all sessions are looked at again.
//!
//! Commands of operators change bans here: [`Net::ban`], [`Net::unban`], [`Net::bans`], [`Net::mute`], [`Net::unmute`]
//! and [`Net::mutes`]. A change is in force when the call returns, and `service::bans_file` stores it afterwards. So
//! nothing waits for the disk, and the hub may call all of them.

use std::net::{IpAddr, SocketAddr};

use super::access::Gate;
use super::address::Address;
use super::bans::{Ban, Bans, MAX_BANS, MAX_MUTES, Mute, Muted, Subject, TooMany};
use super::connection::Connection;
use super::numbers::Number;
use super::registry::Change;
use super::sessions::Refusal;
use super::{Net, Settings};
use crate::chat::SessionId;
use crate::rt;

impl Net {
    /// Gives a newcomer at the listener at `listener` the number, and returns that and whether it is a proxy: then
    /// [`Net::admit_client`] follows when its header is there. `from` is `None` for a unix socket.
    ///
    /// # Errors
    /// Why it may not connect.
    pub(super) fn admit(
        &self,
        listener: &Address,
        from: Option<IpAddr>,
        number: Number<'_>,
        settings: &Settings,
    ) -> Result<(SessionId, bool), Refusal> {
        let gate = settings.access.gate_at(listener);
        if let (Some(gate), Some(from)) = (gate.filter(|gate| !gate.proxies.is_empty()), from) {
            let is_proxy = gate.is_proxy(from);
            return if is_proxy {
                Ok((self.sessions.admit(None, number, settings)?, true))
            } else {
                Err(Refusal::Denied)
            };
        }
        self.admit_from(gate, from, settings)?;
        Ok((self.sessions.admit(from, number, settings)?, false))
    }

    /// Lets a client read the page of a listener, if the lists and the bans do.
    ///
    /// # Errors
    /// Why it may not connect.
    pub(super) fn admit_to_page(
        &self,
        listener: &Address,
        from: Option<IpAddr>,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        self.admit_from(settings.access.gate_at(listener), from, settings)
    }

    /// Lets a client in that is behind a proxy, and counts it for its own address.
    ///
    /// # Errors
    /// Why it may not connect.
    pub(super) fn admit_client(&self, connection: &Connection, client: SocketAddr) -> Result<(), Refusal> {
        let settings = self.settings();
        let gate = connection.local().and_then(|local| settings.access.gate_of(local));
        self.admit_from(gate, Some(client.ip()), &settings)?;
        self.sessions.identify(connection, client, &settings)
    }

    /// Checks the lists and the bans.
    fn admit_from(
        &self,
        gate: Option<&Gate>,
        from: Option<IpAddr>,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        let Some(address) = from else { return Ok(()) };
        if !settings.access.admits(gate, address) {
            return Err(Refusal::Denied);
        }
        self.registry.admit(from, None, rt::wall_clock())
    }

    /// Returns why a session may not stay, if it may not: the lists as they are now, or a ban.
    pub(super) fn reason_to_leave(&self, connection: &Connection, settings: &Settings) -> Option<Refusal> {
        let from = connection.from().map(|from| from.ip());
        if let Some(address) = from {
            // Only then is it worth a system call.
            let local = settings.access.differs_by_listener().then(|| connection.local()).flatten();
            let gate = local.and_then(|local| settings.access.gate_of(local));
            if !settings.access.admits(gate, address) {
                return Some(Refusal::Denied);
            }
        }
        self.registry.ban_of(from, connection.login(), rt::wall_clock())
    }

    /// Closes a session that may not stay, with the notice why. Returns whether it does.
    pub fn examine(&self, connection: &Connection) -> bool {
        let reason = self.reason_to_leave(connection, &self.settings());
        reason.is_some_and(|refusal| connection.dismiss(refusal.notice()))
    }

    /// Closes all sessions that may not stay, each with the notice why. Returns how many.
    pub fn examine_all(&self) -> usize {
        let settings = self.settings();
        self.sessions.dismiss(|one| self.reason_to_leave(one, &settings).map(|refusal| refusal.notice()))
    }

    /// Bans somebody from now on, and closes the sessions that the ban covers, with the notice `banned`. Replaces a ban
    /// of the same subject. Returns how many sessions it closes.
    ///
    /// # Errors
    /// There are [`super::bans::MAX_BANS`] bans already.
    pub fn ban(&self, ban: Ban) -> Result<usize, TooMany> {
        let (now, subject) = (rt::wall_clock(), ban.whom.clone());
        self.warn_if_not_stored();
        self.registry.change(Change::Ban(ban), now)?;
        Ok(self.sessions.dismiss(|one| {
            let (from, login) = (one.from().map(|from| from.ip()), one.login());
            let is_covered = subject.covers(from, login);
            is_covered.then(|| self.registry.ban_of(from, login, now)).flatten().map(|ban| ban.notice())
        }))
    }

    /// Returns whether there can be one more ban or mute, or this one in place of another.
    ///
    /// # Errors
    /// There are too many.
    pub fn has_space(&self, change: Change) -> Result<(), TooMany> {
        // To try it takes a copy, so this is done only when there is little space.
        let is_close = |bans: &Bans| match &change {
            Change::Mute(_) => bans.count_mutes() >= MAX_MUTES,
            _ => bans.count() >= MAX_BANS,
        };
        let copy = self.registry.look(|bans| is_close(bans).then(|| bans.clone()));
        copy.map_or(Ok(()), |mut bans| change.apply(&mut bans, rt::wall_clock()).map(drop))
    }

    /// Removes the ban of exactly this subject. Returns whether there was one.
    pub fn unban(&self, subject: &Subject) -> bool {
        self.registry.change(Change::Unban(subject.clone()), rt::wall_clock()) == Ok(true)
    }

    /// Returns the bans in force, sorted by their subjects.
    pub fn bans(&self) -> Vec<Ban> {
        self.registry.look(|bans| bans.bans(rt::wall_clock()))
    }

    /// Returns a page of the bans in force, and how many follow, see [`super::bans::Bans::page`]; and the number of bans
    /// and mutes in force.
    pub fn bans_after(&self, after: Option<&Subject>, most: usize) -> (Vec<Ban>, usize, usize) {
        self.registry.look(|bans| {
            let now = rt::wall_clock();
            let (page, more) = bans.page(after, most, now);
            (page, more, bans.count_in_force(now))
        })
    }

    /// Notes a mute, in place of one of the same name. The hub enforces it.
    ///
    /// # Errors
    /// There are [`super::bans::MAX_MUTES`] mutes already.
    pub fn mute(&self, mute: Mute) -> Result<(), TooMany> {
        self.warn_if_not_stored();
        self.registry.change(Change::Mute(mute), rt::wall_clock()).map(drop)
    }

    /// Removes the mute of exactly this name. Returns whether there was one.
    pub fn unmute(&self, whom: &Muted) -> bool {
        self.registry.change(Change::Unmute(whom.clone()), rt::wall_clock()) == Ok(true)
    }

    /// Returns the mutes in force, sorted by name.
    pub fn mutes(&self) -> Vec<Mute> {
        self.registry.look(|bans| bans.mutes(rt::wall_clock()))
    }

    fn warn_if_not_stored(&self) {
        if !self.registry.is_stored() {
            log::warn!(
                "bans and mutes last until chatd stops: there is no state folder; set StateDirectory= in the unit, or the key \"state\""
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::net::access::{Access, AccessList};
    use crate::net::networks::parse_network;
    use crate::net::testing::settings;
    use crate::protocol::Notice;

    fn begin(net: &Net, id: u64, from: Option<&str>) -> Arc<Connection> {
        let (socket, _) = UnixStream::pair().unwrap();
        let connection = Connection::new(socket.into(), SessionId(id), None).unwrap();
        let connection = Arc::new(connection.coming_from(from.map(|from| (from.parse().unwrap(), 1))));
        net.sessions.begin(&connection);
        connection
    }

    fn ban(subject: &str, reason: &str) -> Ban {
        Ban { reason: reason.to_owned(), ..Ban::of(subject.parse().unwrap()) }
    }

    fn admit(net: &Net, from: &str) -> Result<(), Notice> {
        let listener = "127.0.0.1:1".parse().unwrap();
        let from = Some(from.parse().unwrap());
        let number = net.sessions.numbers.next().now_or_never().unwrap();
        net.admit(&listener, from, number, &net.settings()).map(drop).map_err(|refusal| refusal.notice())
    }

    fn denying(network: &str) -> Settings {
        let general = AccessList::new(&[], &[parse_network(network).unwrap()]);
        Settings { access: Access { general, ..Access::default() }, ..settings() }
    }

    #[test]
    fn a_ban_closes_those_whom_it_covers_and_lets_no_more_in() {
        let net = Net::new(settings(), Arc::default());
        let [one, two] = ["192.0.2.1", "198.51.100.1"].map(|from| begin(&net, from.len() as u64, Some(from)));
        let ann = begin(&net, 77, Some("203.0.113.1"));
        ann.set_login("ann");
        assert_eq!(net.ban(ban("192.0.2.0/24", "flood")), Ok(1));
        assert_eq!(one.dismissal().map(Notice::to_string).as_deref(), Some("you are banned: flood"));
        assert!(one.take_signals().has_dismissal());
        assert_eq!((two.dismissal(), ann.dismissal()), (None, None));
        // It is closed already.
        assert_eq!(net.ban(ban("192.0.2.0/24", "again")), Ok(0));
        assert!(matches!(admit(&net, "192.0.2.9"), Err(Notice::Banned { .. })));
        assert_eq!(admit(&net, "198.51.100.2"), Ok(()));
        assert_eq!(net.ban(ban("+ann", "")), Ok(1));
        assert!(ann.dismissal().is_some());
        assert_eq!(net.bans().len(), 2);
        assert!(net.unban(&"192.0.2.0/24".parse().unwrap()) && !net.unban(&"192.0.2.0/24".parse().unwrap()));
        assert_eq!(admit(&net, "192.0.2.9"), Ok(()));
    }

    #[test]
    fn a_ban_that_has_ended_covers_nobody() {
        let net = Net::new(settings(), Arc::default());
        let until = Some(rt::wall_clock());
        let one = begin(&net, 1, Some("192.0.2.1"));
        assert_eq!(net.ban(Ban { until, ..ban("192.0.2.1", "") }), Ok(0));
        assert_eq!((one.dismissal(), admit(&net, "192.0.2.1")), (None, Ok(())));
        assert_eq!(net.bans(), []);
    }

    #[test]
    fn other_lists_close_those_who_are_there() {
        let net = Net::new(settings(), Arc::default());
        let [one, two] = ["192.0.2.1", "198.51.100.1"].map(|from| begin(&net, from.len() as u64, Some(from)));
        net.set_settings(denying("192.0.2.0/24"));
        assert_eq!((one.dismissal(), two.dismissal()), (Some(&Notice::Denied), None));
        assert_eq!((admit(&net, "192.0.2.2"), admit(&net, "198.51.100.2")), (Err(Notice::Denied), Ok(())));
    }

    #[test]
    fn mutes_are_noted() {
        let net = Net::new(settings(), Arc::default());
        net.mute(Mute::of("ann".parse().unwrap())).unwrap();
        assert_eq!(net.mutes().len(), 1);
        assert!(net.unmute(&"ann".parse().unwrap()) && net.mutes().is_empty());
    }
}
