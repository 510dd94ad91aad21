//! The host: what the hub asks the daemon for when an operator uses a command. See [`crate::chat::Host`].

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use jiff::Timestamp;
use log::LevelFilter;

use super::archive::Queue;
use super::bans_text::{read_change, write_change};
use super::cluster::ClusterStatus;
use super::config::Config;
use super::handover::Survived;
use super::logging::Throttle;
use super::signals::Request;
use crate::certificate::days_left;
use crate::chat::{self, ClusterBans, NewBan, SessionId, Use};
use crate::duration::show_duration;
use crate::net::bans::{Ban, Mute, Muted, Subject};
use crate::net::registry::Change;
use crate::net::{Address, Net, login};
use crate::protocol::control::{LONGEST_DRAIN, shown};
use crate::protocol::{ClusterState, Name, NodeEntry, Notice, Report, TlsCount, TlsState, Who};
use crate::rt;

/// Who the operators are, and where what they ask of the daemon goes.
#[derive(Debug)]
pub struct Operators {
    /// The ID of their group; without one, only root is an operator.
    pub group: Option<u32>,
    /// The requests of the daemon.
    pub requests_tx: mpsc::UnboundedSender<Request>,
}

/// The daemon, as the hub sees it.
#[derive(Debug)]
pub struct Host {
    net: Arc<Net>,
    requests_tx: mpsc::UnboundedSender<Request>,
    survived: Survived,
    archive: Option<Queue>,
    cluster: Option<ClusterStatus>,
    /// When chatd stops, if an operator has said so.
    stop_at: Option<Instant>,
    refused: RefCell<Refused>,
}

/// Users of the machine who used commands for operators and are none, as the log has them.
#[derive(Debug, Default)]
struct Refused {
    /// When the first of them was logged.
    since: Option<Instant>,
    users: Vec<Name>,
}

impl Refused {
    /// Most users to log in a minute: one person can have many user IDs.
    const MOST: usize = 10;

    /// Returns whether to log this one. Each user is logged once a minute.
    fn pass(&mut self, user: &Name, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Throttle::MINUTE) {
            (self.since, self.users) = (Some(now), Vec::new());
        }
        let is_new = self.users.len() < Self::MOST && !self.users.contains(user);
        self.users.extend(is_new.then(|| user.clone()));
        is_new
    }
}

/// Returns the ID of the group of operators. Logs that there is no such group, unless it is the default: the package
/// makes that, and others do not need it. Operators connect to unix sockets, so without one this looks for no group: the
/// C library may load half a megabyte of code for that.
pub async fn operators_of<'a>(
    config: &Config,
    mut addresses: impl Iterator<Item = &'a Address>,
) -> Option<u32> {
    if addresses.all(Address::is_tcp) {
        return None;
    }
    let group = login::group_of(config.operators.clone()).await;
    if misses_group(config, group) {
        log::warn!(
            "cannot find the group \"{}\" of operators: only root is one; correct it, then reload",
            config.operators
        );
    }
    group
}

/// Returns whether a group of operators is asked for that is not there.
pub fn misses_group(config: &Config, group: Option<u32>) -> bool {
    let name = &config.operators;
    group.is_none() && !name.is_empty() && *name != Config::default().operators
}

impl Host {
    /// Returns one that passes requests on to the daemon.
    pub fn new(
        net: Arc<Net>,
        requests_tx: mpsc::UnboundedSender<Request>,
        survived: Survived,
        archive: Option<Queue>,
        cluster: Option<ClusterStatus>,
    ) -> Self {
        Self { net, requests_tx, survived, archive, cluster, stop_at: None, refused: RefCell::default() }
    }

    /// Goes on with the `/drain` of another process, which ends `at` so many seconds since 1970.
    pub fn go_on_draining(&mut self, at: u64) {
        let left = Duration::from_secs(at.saturating_sub(seconds_now())).min(LONGEST_DRAIN);
        log::info!("stopping in {}, as an operator has said before", show_duration(left));
        chat::Host::drain(self, Some(left));
    }

    /// Returns a change that bans or mutes somebody.
    ///
    /// # Errors
    /// There are too many.
    fn made(&self, change: Change) -> Result<Vec<String>, Notice> {
        let line = write_change(&change);
        let has_space = self.net.has_space(change);
        has_space.map_err(|error| Notice::from(Report::CannotBan { reason: error.to_string() }))?;
        Ok(vec![line])
    }

    fn request(&self, request: Request) {
        // It fails when the daemon has ended.
        let _ = self.requests_tx.unbounded_send(request);
    }
}

impl chat::Host for Host {
    fn is_operator(&self, id: SessionId) -> bool {
        self.net.is_operator(id)
    }

    fn log_use(&self, who: &Who, line: &str, used: Use) {
        let id = who.id;
        let is_shown = || who.verified && self.refused.borrow_mut().pass(&who.name, rt::now());
        match used {
            Use::Done => log::info!("operator {who} (session {id}): {line}"),
            // A program may ask each second.
            Use::Asked => log::debug!("operator {who} (session {id}): {line}"),
            Use::Refused if is_shown() => log::info!("{who} (session {id}) is not an operator: {line}"),
            // A stranger, or one that goes on trying.
            Use::Refused => log::debug!("{who} (session {id}) is not an operator: {line}"),
        }
    }

    fn log_order(&self, who: &Who, node: &str, line: &str) {
        log::info!("operator {who} (session {} at node {node}): {line}", who.id);
    }

    fn address(&self, id: SessionId) -> Option<String> {
        Some(self.net.sessions.get(id)?.from()?.to_string())
    }

    fn uptime(&self) -> (Duration, u64) {
        let Survived { restarts, crashes, began } = self.survived;
        (Duration::from_secs(seconds_now().saturating_sub(began)), restarts + crashes)
    }

    fn archive(&self) -> Option<(u64, Option<String>)> {
        self.archive.as_ref().map(Queue::state).map(|state| (state.lost, state.failing))
    }

    fn tls(&self, now: Timestamp) -> Option<TlsState> {
        let settings = self.net.settings();
        let connections = self.net.sessions.tls().into_iter().map(|((version, cipher, records), count)| {
            let [version, cipher, records] = [version, cipher, records].map(str::to_owned);
            TlsCount { version, cipher, records, count }
        });
        let connections: Vec<TlsCount> = connections.collect();
        // A reload that turns TLS off leaves the connections that speak it.
        if settings.tls.is_none() && connections.is_empty() {
            return None;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some(TlsState {
            connections,
            handshakes: count(&self.net.counters.handshakes),
            failed: count(&self.net.counters.failed_handshakes),
            days: settings.tls.as_ref().map(|identity| days_left(identity.not_after, now)),
        })
    }

    fn cluster(&self, now: Timestamp) -> Option<ClusterState> {
        self.cluster.as_ref().map(|cluster| cluster.state(now))
    }

    fn nodes(&self, sessions: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry> {
        self.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.nodes(sessions))
    }

    fn dismiss(&self, id: SessionId, notice: Notice) {
        // It may be gone already.
        if let Some(connection) = self.net.sessions.get(id) {
            connection.dismiss(notice);
        }
    }

    fn ban(&self, new: NewBan) -> Result<Vec<String>, Notice> {
        let cannot = |reason| Notice::from(Report::CannotBan { reason });
        let subject = read_subject(&new.subject, self.cluster.is_some()).map_err(cannot)?;
        let own = self.net.sessions.get(SessionId(new.by.id));
        let address = own.as_ref().and_then(|own| own.from()).map(|from| from.ip());
        if !new.is_forced && subject.covers(address, own.as_ref().and_then(|own| own.login())) {
            return Err(Notice::from(Report::BansYourself { subject: subject.to_string() }));
        }
        let (until, reason, by) = (new.until, new.reason, new.by.name.to_string());
        let ban = Ban { until, reason, by, since: Some(rt::wall_clock()), ..Ban::of(subject) };
        self.made(Change::Ban(ban.tidy()))
    }

    fn mute(&self, who: &Who, until: Option<Timestamp>, by: &Who) -> Result<Vec<String>, Notice> {
        let whom = Muted { name: who.name.clone(), verified: who.verified };
        // It takes the place of the mute of a name that looks alike, also in the engine of a cluster.
        let replaced = self.net.registry.look(|bans| Some(bans.mute_of(&whom)?.whom.clone()));
        let replaced = replaced.filter(|other| *other != whom).map(Change::Unmute);
        let (by, since) = (by.name.to_string(), Some(rt::wall_clock()));
        let made = self.made(Change::Mute(Mute { until, by, since, ..Mute::of(whom) }.tidy()))?;
        Ok(replaced.iter().map(write_change).chain(made).collect())
    }

    fn unban(&self, subject: &str) -> Result<Vec<String>, Notice> {
        let known: Option<Subject> = subject.parse().ok();
        let known = known.filter(|known| self.net.registry.look(|bans| bans.find(known).is_some()));
        let lifting = known.map(|known| vec![write_change(&Change::Unban(known))]);
        lifting.ok_or_else(|| not_banned("ban", subject))
    }

    fn unmute(&self, whom: &str) -> Result<Vec<String>, Notice> {
        // The plus of a verified name may be left out.
        let names = [whom.to_owned(), format!("+{whom}")].into_iter().filter_map(|name| name.parse().ok());
        let muting = |name: Muted| self.net.registry.look(|bans| Some(bans.mute_of(&name)?.whom.clone()));
        let lifting = names.filter_map(muting).next().map(|whom| vec![write_change(&Change::Unmute(whom))]);
        lifting.ok_or_else(|| not_banned("mute", whom))
    }

    fn change(&mut self, change: &str, is_known: bool) -> Option<Notice> {
        let change = read_change(change)?;
        let lifted = |is_lifted: bool, kind: &str, subject: String| match is_lifted || is_known {
            true => Notice::from(Report::Lifted { kind: kind.to_owned(), subject }),
            false => not_banned(kind, &subject),
        };
        let done = match &change {
            Change::Unban(subject) => {
                return Some(lifted(!is_known && self.net.unban(subject), "ban", subject.to_string()));
            }
            Change::Unmute(whom) => {
                return Some(lifted(!is_known && self.net.unmute(whom), "mute", whom.to_string()));
            }
            _ if is_known => Ok(0),
            Change::Ban(ban) => self.net.ban(ban.clone()),
            Change::Mute(mute) => self.net.mute(mute.clone()).map(|()| 0),
        };
        Some(Notice::from(match (done, change) {
            (Err(error), _) => Report::CannotBan { reason: error.to_string() },
            (Ok(_), Change::Mute(Mute { whom, until, .. })) => {
                let (name, verified) = (whom.name.to_string(), whom.verified);
                Report::Mute { name, verified, until: shown(until) }
            }
            (Ok(closed), Change::Ban(ban)) => {
                Report::Ban { subject: ban.whom.to_string(), until: shown(ban.until), closed }
            }
            _ => return None,
        }))
    }

    fn join(&mut self, bans: &Arc<ClusterBans>) {
        self.net.registry.join(Arc::clone(bans));
    }

    fn bans(&self, after: Option<&str>, most: usize) -> Vec<Notice> {
        let entry = |kind: &str, subject: String, until, by, reason| Report::BanEntry {
            kind: kind.to_owned(),
            subject,
            until: shown(until),
            by,
            reason,
        };
        let after = match after.map(str::parse::<Subject>).transpose() {
            Ok(after) => after,
            Err(reason) => return vec![Notice::from(Report::CannotBan { reason })],
        };
        let (bans, more, count) = self.net.bans_after(after.as_ref(), most);
        // The mutes are few; they are on the last page.
        let mutes = if more == 0 { self.net.mutes() } else { Vec::new() };
        let bans =
            bans.into_iter().map(|one| entry("ban", one.whom.to_string(), one.until, one.by, one.reason));
        let mutes =
            mutes.into_iter().map(|one| entry("mute", one.whom.to_string(), one.until, one.by, one.reason));
        bans.chain(mutes).chain([Report::Bans { count, more }]).map(Notice::from).collect()
    }

    fn muted(&self, who: &Who, now: Timestamp) -> Option<Notice> {
        self.net.registry.mute_of(who, now).map(|mute| Notice::Muted { until: shown(mute.until) })
    }

    fn drain(&mut self, after: Option<Duration>) {
        self.net.sessions.close(after.is_some());
        self.stop_at = after.map(|after| rt::now() + after);
        self.net.keeping.set_stop(after.map(|after| seconds_now().saturating_add(after.as_secs())));
        self.request(Request::Drain(after));
    }

    fn draining(&self) -> Option<Duration> {
        self.stop_at.map(|at| at.saturating_duration_since(rt::now()))
    }

    fn set_log_level(&mut self, level: LevelFilter) {
        self.request(Request::LogLevel(level));
    }
}

fn not_banned(kind: &str, subject: &str) -> Notice {
    Notice::from(Report::NotBanned { kind: kind.to_owned(), subject: subject.to_owned() })
}

/// Returns the seconds since 1970.
fn seconds_now() -> u64 {
    u64::try_from(rt::wall_clock().as_second()).unwrap_or(0)
}

/// Reads whom a ban is to cover. Without a cluster no name has a node, so one with a node covers nobody.
fn read_subject(text: &str, is_in_cluster: bool) -> Result<Subject, String> {
    let subject = text.parse()?;
    match text.split_once('@') {
        Some((name, _)) if !is_in_cluster => {
            Err(format!("{text} covers nobody: this chatd is in no cluster; write {name}"))
        }
        _ => Ok(subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_node_is_banned_in_a_cluster_alone() {
        for (text, is_in_cluster, is_read) in [
            ("+ann", false, true),
            ("192.0.2.1", false, true),
            ("+ann@alpha", true, true),
            ("+ann@alpha", false, false),
        ] {
            assert_eq!(read_subject(text, is_in_cluster).is_ok(), is_read, "{text} {is_in_cluster}");
        }
        let refusal = read_subject("+ann@alpha", false).unwrap_err();
        assert_eq!(refusal, "+ann@alpha covers nobody: this chatd is in no cluster; write +ann");
    }

    #[test]
    fn each_user_is_logged_once_a_minute_and_not_too_many_of_them() {
        let (mut refused, start) = (Refused::default(), Instant::now());
        let mut pass = |number: u64, seconds: u64| {
            refused.pass(&Name::guest(number), start + Duration::from_secs(seconds))
        };
        assert!(pass(1, 0) && pass(2, 1), "those who are new");
        assert!(!pass(1, 2) && !pass(2, 3) && !pass(1, 59), "those who alternate");
        assert!(pass(1, 60) && !pass(1, 61) && pass(2, 62));
        assert_eq!((0..1000).filter(|number| pass(*number, 120)).count(), Refused::MOST);
    }

    #[test]
    fn the_group_of_operators_is_looked_for_where_there_can_be_operators() {
        let config = Config { operators: "root".to_owned(), ..Config::default() };
        let group_at = |addresses: &[&str]| {
            let addresses: Vec<Address> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            futures::executor::block_on(operators_of(&config, addresses.iter()))
        };
        assert_eq!(group_at(&["127.0.0.1:7000", "[::1]:7000"]), None);
        assert_eq!(group_at(&["127.0.0.1:7000", "/run/chatd.sock"]), Some(0));
    }
}
