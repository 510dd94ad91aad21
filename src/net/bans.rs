//! Bans and mutes: whom operators do not let in, and whom they let say nothing.
//!
//! [`Bans`] is plain values. `service::bans_file` stores them, [`super::Net`] asks whether a ban covers a session, and
//! the hub holds mutes against the names of members. The cost of a look-up does not depend on the number of bans. A ban
//! that has ended covers nobody, and is removed when the next one is made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Bound::{Excluded, Unbounded};
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};
use jiff::Timestamp;

use super::networks::{NetworkMap, parse_network, show_network};
use crate::protocol::{Name, Notice, text};

/// Most bans.
pub const MAX_BANS: usize = 100_000;
/// Most mutes.
pub const MAX_MUTES: usize = 1000;
/// The last network of all.
const LAST: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(u128::MAX), 128));
/// Longest reason, in bytes.
pub const MAX_REASON: usize = 300;

/// Whom a ban covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Clients from this network.
    Network(IpNet),
    /// Those with this verified name, users of a machine or with a certificate: `+ann`. With a node, the users of that
    /// machine alone: `+ann@alpha`.
    Login(Box<str>),
}

impl Subject {
    /// Returns whether a client from this address, or with this verified name, is meant.
    pub fn covers(&self, address: Option<IpAddr>, login: Option<&str>) -> bool {
        match self {
            Self::Network(network) => {
                address.is_some_and(|address| network.contains(&address.to_canonical()))
            }
            Self::Login(own) => login.is_some_and(|login| verified_names(login).any(|name| name == &**own)),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(login) = text.strip_prefix('+') else { return parse_network(text).map(Self::Network) };
        Name::verified(login)
            .map(|name| Self::Login(name.as_str().into()))
            .map_err(|error| format!("{text:?}: {error}"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => f.write_str(&show_network(network)),
            Self::Login(login) => write!(f, "+{login}"),
        }
    }
}

/// Returns the verified name of a client, and the same without its node: who bans that bans it everywhere.
fn verified_names(login: &str) -> impl Iterator<Item = &str> {
    std::iter::once(login).chain(login.split_once('@').map(|(login, _)| login))
}

/// Whom a mute covers: all who have this name, or one that looks like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Muted {
    /// The name.
    pub name: Name,
    /// Whether it is a verified name. Then only those who have exactly that name are covered; without a node, those of all
    /// nodes.
    pub verified: bool,
}

impl Muted {
    /// What the name looks like. A verified name looks like no other, and so does that of a guest.
    fn looks(&self) -> impl Iterator<Item = &str> {
        let is_alone = self.verified || self.name.is_guest();
        let looks = self.name.keys().filter(move |_| !is_alone);
        looks.chain(is_alone.then_some(self.name.as_str()))
    }
}

impl FromStr for Muted {
    type Err = String;

    /// Reads `ann`, `guest7`, or `+ann` or `+ann@alpha` for a verified name.
    fn from_str(text: &str) -> Result<Self, String> {
        let login = text.strip_prefix('+');
        let guest = || Some(Name::guest(text.strip_prefix("guest")?.parse().ok()?));
        let name = match login {
            Some(login) => Name::verified(login),
            None => guest().map_or_else(|| Name::parse(text), Ok),
        };
        let verified = login.is_some();
        name.map(|name| Self { name, verified }).map_err(|error| format!("{text:?}: {error}"))
    }
}

impl fmt::Display for Muted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.verified { "+" } else { "" }, self.name)
    }
}

/// A ban of somebody, or a mute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order<Whom> {
    /// Whom it covers.
    pub whom: Whom,
    /// When it ends; `None` for never.
    pub until: Option<Timestamp>,
    /// Why, for people; may be empty. One line of at most [`MAX_REASON`] bytes.
    pub reason: String,
    /// Who made it; may be empty. One word.
    pub by: String,
    /// When it was made, if that is known.
    pub since: Option<Timestamp>,
    /// The cluster that has it, see [`ClusterBans::id`](crate::chat::ClusterBans::id); `None` if none is known to.
    pub cluster: Option<u64>,
}

/// A ban.
pub type Ban = Order<Subject>;
/// A mute.
pub type Mute = Order<Muted>;

impl<Whom> Order<Whom> {
    /// Makes one without an end and without a reason.
    pub fn of(whom: Whom) -> Self {
        Self { whom, until: None, reason: String::new(), by: String::new(), since: None, cluster: None }
    }

    /// Returns whether it is in force at that time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Returns whether it ends later than another one.
    pub fn outlasts(&self, other: &Self) -> bool {
        let end = |order: &Self| order.until.map_or((true, Timestamp::MAX), |until| (false, until));
        end(self) > end(other)
    }

    /// Makes its texts such that a line of a file can hold them: no control characters, and no longer than allowed.
    pub fn tidy(mut self) -> Self {
        let mut reason = Vec::new();
        text::clean(self.reason.replace(char::is_whitespace, " ").as_bytes(), &mut reason);
        self.reason = String::from_utf8_lossy(&reason).into_owned();
        self.reason.truncate(self.reason.floor_char_boundary(MAX_REASON));
        self.reason = self.reason.trim().to_owned();
        // People need no fractions of a second.
        let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        (self.since, self.until) = (self.since.map(whole), self.until.map(whole));
        self.by.retain(|c| !c.is_control() && !c.is_whitespace());
        self
    }
}

impl Ban {
    /// Returns what somebody is told whom it covers.
    pub fn notice(&self) -> Notice {
        let until = self.until.map(|until| until.to_string());
        Notice::Banned { until, reason: Some(self.reason.clone()).filter(|reason| !reason.is_empty()) }
    }
}

/// There are so many bans or mutes already, the most that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub usize);

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {} already, the most; remove some, or ban a network", self.0)
    }
}

impl std::error::Error for TooMany {}

/// All bans and mutes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bans {
    networks: NetworkMap<Ban>,
    /// The networks in their order, for those who list them.
    order: BTreeSet<IpNet>,
    logins: BTreeMap<Box<str>, Ban>,
    /// By name, as people write it.
    mutes: BTreeMap<String, Mute>,
    /// The names of these by everything that they look like, and whether they are of this machine.
    looks: HashMap<(Box<str>, bool), String>,
}

impl Bans {
    /// Adds a ban, in place of one of the same subject. Removes those that have ended, if there are too many.
    ///
    /// # Errors
    /// There are as many as there can be.
    pub fn ban(&mut self, ban: Ban, now: Timestamp) -> Result<(), TooMany> {
        if self.order.len() + self.logins.len() >= MAX_BANS {
            self.networks.retain(|ban| ban.holds(now));
            let networks = &self.networks;
            self.order.retain(|network| networks.get(network).is_some());
            self.logins.retain(|_, ban| ban.holds(now));
            if self.order.len() + self.logins.len() >= MAX_BANS && self.find(&ban.whom).is_none() {
                return Err(TooMany(MAX_BANS));
            }
        }
        let ban = ban.tidy();
        match ban.whom.clone() {
            Subject::Network(network) => {
                self.order.insert(network);
                drop(self.networks.insert(network, ban));
            }
            Subject::Login(login) => drop(self.logins.insert(login, ban)),
        }
        Ok(())
    }

    /// Returns the ban of exactly this subject, whether it has ended or not.
    pub fn find(&self, subject: &Subject) -> Option<&Ban> {
        match subject {
            Subject::Network(network) => self.networks.get(network),
            Subject::Login(login) => self.logins.get(login),
        }
    }

    /// Removes the ban of exactly this subject; returns whether there was one.
    pub fn unban(&mut self, subject: &Subject) -> bool {
        match subject {
            Subject::Network(network) => {
                self.order.remove(network);
                self.networks.remove(network).is_some()
            }
            Subject::Login(login) => self.logins.remove(login).is_some(),
        }
    }

    /// Adds a mute, in place of one of the same name. Removes those that have ended, if there are too many.
    ///
    /// # Errors
    /// There are as many as there can be.
    pub fn mute(&mut self, mute: Mute, now: Timestamp) -> Result<(), TooMany> {
        if self.mutes.len() >= MAX_MUTES {
            self.mutes.retain(|_, mute| mute.holds(now));
            let mutes = &self.mutes;
            self.looks.retain(|_, name| mutes.contains_key(name));
        }
        self.unmute(&mute.whom);
        if self.mutes.len() >= MAX_MUTES {
            return Err(TooMany(MAX_MUTES));
        }
        let (name, mute) = (mute.whom.to_string(), mute.tidy());
        self.looks.extend(mute.whom.looks().map(|look| ((look.into(), mute.whom.verified), name.clone())));
        self.mutes.insert(name, mute);
        Ok(())
    }

    /// Removes the mute of this name, or of one that looks like it; returns whether there was one.
    pub fn unmute(&mut self, whom: &Muted) -> bool {
        let Some(name) = self.mute_of(whom).map(|mute| mute.whom.to_string()) else { return false };
        self.looks.retain(|_, one| *one != name);
        self.mutes.remove(&name).is_some()
    }

    /// Returns the mute that covers a name, if one is in force.
    pub fn muting(&self, whom: &Muted, now: Timestamp) -> Option<&Mute> {
        let everywhere = Muted { name: whom.name.at(None), verified: whom.verified };
        [whom, &everywhere].into_iter().find_map(|whom| self.mute_of(whom).filter(|mute| mute.holds(now)))
    }

    /// Returns the mute of a name, whether it has ended or not.
    pub fn mute_of(&self, whom: &Muted) -> Option<&Mute> {
        let name = whom.looks().find_map(|look| self.looks.get(&(look.into(), whom.verified)))?;
        self.mutes.get(name)
    }

    /// Returns the ban that covers a client: of the longest network that its address is in, or of its login name.
    pub fn covering(&self, address: Option<IpAddr>, login: Option<&str>, now: Timestamp) -> Option<&Ban> {
        let mut of_login =
            login.into_iter().flat_map(verified_names).filter_map(|name| self.logins.get(name));
        of_login
            .find(|ban| ban.holds(now))
            .or_else(|| self.networks.around(address?).find(|ban| ban.holds(now)))
    }

    /// Returns whether there is neither a ban nor a mute.
    pub fn is_empty(&self) -> bool {
        self.has_no_ban() && self.mutes.is_empty()
    }

    /// Returns whether there is no mute.
    pub fn has_no_mute(&self) -> bool {
        self.mutes.is_empty()
    }

    /// Returns whether there is no ban.
    pub fn has_no_ban(&self) -> bool {
        self.networks.is_empty() && self.logins.is_empty()
    }

    /// Returns the bans that follow `after`, networks before logins; those that have ended, too.
    pub fn following(&self, after: Option<&Subject>) -> impl Iterator<Item = &Ban> {
        let (network, login) = match after {
            None => (Unbounded, Unbounded),
            Some(Subject::Network(network)) => (Excluded(*network), Unbounded),
            // The last of them all: no network follows.
            Some(Subject::Login(login)) => (Excluded(LAST), Excluded(login.clone())),
        };
        let networks = self.order.range((network, Unbounded)).filter_map(|one| self.networks.get(one));
        networks.chain(self.logins.range((login, Unbounded)).map(|(_, ban)| ban))
    }

    /// Returns the bans in force that follow `after`: at most `most`, and how many there are behind them.
    pub fn page(&self, after: Option<&Subject>, most: usize, now: Timestamp) -> (Vec<Ban>, usize) {
        let mut all = self.following(after).filter(|ban| ban.holds(now));
        let page = all.by_ref().take(most).cloned().collect();
        (page, all.count())
    }

    /// Returns the number of bans and mutes in force. Looks at all of them.
    pub fn count_in_force(&self, now: Timestamp) -> usize {
        let mutes = self.mutes.values().filter(|mute| mute.holds(now));
        self.following(None).filter(|ban| ban.holds(now)).count() + mutes.count()
    }

    /// Returns the number of bans and mutes, those that have ended among them.
    pub fn count(&self) -> usize {
        self.order.len() + self.logins.len() + self.mutes.len()
    }

    /// Returns the number of mutes, those that have ended among them.
    pub fn count_mutes(&self) -> usize {
        self.mutes.len()
    }

    /// Returns all bans in force, sorted by their subjects.
    pub fn bans(&self, now: Timestamp) -> Vec<Ban> {
        self.page(None, usize::MAX, now).0
    }

    /// Returns all mutes in force, sorted by name.
    pub fn mutes(&self, now: Timestamp) -> Vec<Mute> {
        self.mutes.values().filter(|mute| mute.holds(now)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ban(subject: &str, until: Option<i64>) -> Ban {
        Ban { until: until.map(at), ..Ban::of(subject.parse().unwrap()) }
    }

    fn mute(whom: &str, until: Option<i64>) -> Mute {
        Mute { until: until.map(at), ..Mute::of(whom.parse().unwrap()) }
    }

    fn bans(all: &[Ban]) -> Bans {
        let mut bans = Bans::default();
        all.iter().for_each(|ban| bans.ban(ban.clone(), at(0)).unwrap());
        bans
    }

    fn covering(bans: &Bans, address: Option<&str>, login: Option<&str>, now: i64) -> Option<String> {
        let address = address.map(|address| address.parse().unwrap());
        bans.covering(address, login, at(now)).map(|ban| ban.whom.to_string())
    }

    #[test]
    fn a_ban_covers_its_network_or_its_user_until_it_ends() {
        let bans = bans(&[ban("192.0.2.0/24", None), ban("192.0.2.7", Some(10)), ban("+ann", Some(10))]);
        let covered = |address: Option<&str>, login: Option<&str>, now| covering(&bans, address, login, now);
        assert_eq!(covered(Some("192.0.2.7"), None, 9).as_deref(), Some("192.0.2.7"));
        assert_eq!(covered(Some("192.0.2.7"), None, 10).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(covered(Some("::ffff:192.0.2.8"), None, 10).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(covered(Some("192.0.3.1"), None, 0), None);
        assert_eq!(covered(None, Some("ann"), 9).as_deref(), Some("+ann"));
        assert_eq!(covered(None, Some("ann"), 10), None);
        assert_eq!(covered(None, Some("ben"), 0), None);
        assert_eq!(covered(None, None, 0), None);
    }

    #[test]
    fn a_ban_is_replaced_listed_and_removed() {
        let mut bans = bans(&[ban("+ann", None), ban("192.0.2.0/24", Some(5)), ban("10.0.0.0/8", None)]);
        bans.ban(Ban { reason: "flood".to_owned(), ..ban("10.0.0.0/8", None) }, at(0)).unwrap();
        let listed = |bans: &Bans, now| -> Vec<String> {
            bans.bans(at(now)).iter().map(|ban| format!("{} {}", ban.whom, ban.reason)).collect()
        };
        assert_eq!(listed(&bans, 0), ["10.0.0.0/8 flood", "192.0.2.0/24 ", "+ann "]);
        assert_eq!(listed(&bans, 5), ["10.0.0.0/8 flood", "+ann "]);
        assert!(bans.unban(&"10.0.0.0/8".parse().unwrap()));
        assert!(!bans.unban(&"10.0.0.0/9".parse().unwrap()));
        assert!(bans.unban(&"+ann".parse().unwrap()));
        assert_eq!(listed(&bans, 5), [""; 0]);
    }

    #[test]
    fn there_are_no_more_than_that_many_and_those_that_have_ended_make_room() {
        let of = |number: usize| Subject::Network(IpAddr::from((number as u32).to_be_bytes()).into());
        let mut bans = Bans::default();
        for number in 0..MAX_BANS {
            let until = (number == 7).then(|| at(5));
            bans.ban(Ban { until, ..Ban::of(of(number)) }, at(0)).unwrap();
        }
        assert_eq!(bans.ban(Ban::of(of(MAX_BANS)), at(0)), Err(TooMany(MAX_BANS)));
        assert_eq!(bans.ban(Ban::of(of(3)), at(0)), Ok(()), "it is there already");
        assert_eq!(bans.ban(ban("+ann", None), at(5)), Ok(()), "another one has ended");
        assert_eq!(bans.ban(Ban::of(of(7)), at(5)), Err(TooMany(MAX_BANS)));
        assert_eq!(
            TooMany(MAX_BANS).to_string(),
            "there are 100000 already, the most; remove some, or ban a network"
        );
    }

    #[test]
    fn bans_are_listed_in_pages_in_their_order() {
        let all = ["10.0.0.0/8", "192.0.2.1", "192.0.2.2", "2001:db8::/32", "+ann", "+ben"];
        let mut bans = bans(&[4, 1, 5, 0, 3, 2].map(|at| ban(all[at], None)));
        let page = |bans: &Bans, after: Option<&str>, most| {
            let after = after.map(|after| after.parse().unwrap());
            let (page, more) = bans.page(after.as_ref(), most, at(10));
            (page.iter().map(|ban| ban.whom.to_string()).collect::<Vec<_>>(), more)
        };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(&bans, None, 4), (owned(&all[..4]), 2));
        assert_eq!(page(&bans, Some(all[3]), 4), (owned(&all[4..]), 0));
        assert_eq!(page(&bans, Some("+ann"), 4), (owned(&all[5..]), 0));
        // After one that is not there any more.
        assert!(bans.unban(&all[1].parse().unwrap()));
        assert_eq!(page(&bans, Some(all[1]), 1), (owned(&all[2..3]), 3));
        assert_eq!(page(&bans, Some("+zoe"), 1), (vec![], 0));
        bans.ban(ban("10.0.0.0/8", Some(5)), at(0)).unwrap();
        assert_eq!(page(&bans, None, 1), (owned(&all[2..3]), 3), "one has ended");
        bans.ban(ban("+ben", Some(5)), at(0)).unwrap();
        bans.mute(mute("bob", Some(5)), at(0)).unwrap();
        assert_eq!(page(&bans, None, 3), (owned(&all[2..5]), 0), "so has one that would follow");
        assert_eq!((bans.count(), bans.count_in_force(at(0)), bans.count_in_force(at(10))), (6, 6, 3));
    }

    #[test]
    fn a_mute_is_of_a_name_and_those_that_look_like_it_and_of_a_user_alone() {
        let is_muted = |muted: &str, whom: &str| {
            let mut bans = Bans::default();
            bans.mute(mute(muted, None), at(0)).unwrap();
            bans.muting(&whom.parse().unwrap(), at(0)).is_some()
        };
        for (muted, whom, expected) in [
            ("ann", "ann", true),
            ("ann", "ANN", true),
            ("ann", "anna", false),
            ("ann", "+ann", false),
            ("+ann", "+ann", true),
            ("+ann", "ann", false),
            ("+ann", "+Ann", false),
            ("+ann", "+ann@alpha", true),
            ("+ann@alpha", "+ann@alpha", true),
            ("+ann@alpha", "+ann@beta", false),
            ("+ann@alpha", "+ann", false),
            ("guest7", "guest7", true),
            ("guest7", "guest8", false),
        ] {
            assert_eq!(is_muted(muted, whom), expected, "{muted} {whom}");
        }
    }

    #[test]
    fn a_user_of_a_machine_is_banned_there_or_everywhere() {
        let covered = |bans: &Bans| {
            let covers =
                |login: &str| bans.covering(None, Some(login), at(10)).map(|ban| ban.whom.to_string());
            ["ann", "ann@alpha", "ann@beta", "anna@alpha"].map(covers)
        };
        let (everywhere, alpha) = (Some("+ann".to_owned()), Some("+ann@alpha".to_owned()));
        assert_eq!(covered(&bans(&[ban("+ann@alpha", None)])), [None, alpha.clone(), None, None]);
        let mut both = bans(&[ban("+ann", None), ban("+ann@alpha", None)]);
        assert_eq!(covered(&both), [everywhere.clone(), alpha, everywhere.clone(), None]);
        // Each is lifted alone, and one that has ended hides no other.
        both.ban(ban("+ann@alpha", Some(5)), at(0)).unwrap();
        assert_eq!(covered(&both), [everywhere.clone(), everywhere.clone(), everywhere, None]);
        assert!(both.unban(&"+ann".parse().unwrap()) && !both.unban(&"+ann".parse().unwrap()));
        assert_eq!(covered(&both), [const { None }; 4]);
        assert!(Subject::covers(&"+ann".parse().unwrap(), None, Some("ann@alpha")));
        assert!(!Subject::covers(&"+ann@alpha".parse().unwrap(), None, Some("ann")));
    }

    #[test]
    fn a_mute_that_has_ended_hides_no_other_and_each_is_lifted_alone() {
        let mut bans = Bans::default();
        let whom = |text: &str| text.parse::<Muted>().unwrap();
        bans.mute(mute("+ann", None), at(0)).unwrap();
        bans.mute(mute("+ann@alpha", Some(5)), at(0)).unwrap();
        assert_eq!(bans.mutes(at(0)).len(), 2);
        assert!(bans.muting(&whom("+ann@alpha"), at(10)).is_some_and(|mute| mute.until.is_none()));
        assert!(!bans.unmute(&whom("+ann@beta")) && bans.unmute(&whom("+ann")));
        assert!(bans.muting(&whom("+ann@alpha"), at(10)).is_none());
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in ["", "+", "+a b", "ann", "192.0.2.1/24", "+<x>", "+ann@", "+ann@a b", "+@alpha"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
        for text in ["", "a b", "chatd", "guestx", "+"] {
            assert!(text.parse::<Muted>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_texts_of_a_ban_fit_into_a_line() {
        let reason = format!("  one\r\ntwo\u{85}{}", "\u{4e00}".repeat(200));
        let tidy = Ban { reason, by: "a b\n".to_owned(), ..ban("+ann", None) }.tidy();
        assert!(tidy.reason.starts_with("one  two \u{4e00}") && tidy.reason.len() <= MAX_REASON);
        assert_eq!(tidy.by, "ab");
        let notice = Ban { until: Some(at(60)), reason: "flood".to_owned(), ..ban("+ann", None) }.notice();
        assert_eq!(notice.to_string(), "you are banned until 1970-01-01T00:01:00Z: flood");
        assert_eq!(ban("+ann", None).notice().to_string(), "you are banned");
    }

    #[test]
    fn ten_thousand_bans_take_no_more_look_ups_than_one_of_each_length() {
        let mut bans = Bans::default();
        for number in 0..10_000_u32 {
            bans.ban(
                Ban::of(Subject::Network(IpAddr::from((0x0A00_0000 + number).to_be_bytes()).into())),
                at(0),
            )
            .unwrap();
        }
        let stranger: IpAddr = "192.0.2.1".parse().unwrap();
        // One length is in use, so one network is looked up.
        assert_eq!(bans.networks.lengths_in_use(stranger), 1);
        assert_eq!(bans.covering(Some(stranger), None, at(0)), None);
        assert!(bans.covering(Some("10.0.0.99".parse().unwrap()), None, at(0)).is_some());
    }
}
