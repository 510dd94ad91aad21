//! Control: what the hub does for an operator. Answers go to the operator; those concerned are told, too.

use std::time::Duration;

use super::act::Act;
use super::commands::find;
use super::directory::Directory;
use super::dispatcher::Dispatcher;
use super::host::{NewBan, Use};
use super::id::{Now, SessionId};
use super::interpreter::Next;
use super::orders::{kick, tell_all};
use crate::protocol::control::number;
use crate::protocol::{Command, Control, Notice, Reader, Report, Watched, Who};

/// Most sessions or bans in one answer. The answer has the number of those that follow.
const MOST_LISTED: usize = 500;

/// Most readers in the answer to `/stats`.
const MOST_READERS: usize = 10;

/// Does what an operator asks for. The line is what it typed, for the log, and for the other nodes.
pub(super) fn execute(dispatcher: &mut Dispatcher, from: SessionId, control: Control, line: &str, now: Now) {
    let directory = &mut dispatcher.directory;
    let Some(who) = directory.member(from).map(|member| Who::clone(&member.who())) else { return };
    let order = order(directory, &control, &who, now);
    let Some(host) = &mut directory.operators.host else { return };
    if let Some(Ok((about, changes))) = order {
        return directory.ask(from, Act::Ordered { by: who, line: line.to_owned(), about, changes });
    }
    host.log_use(&who, line, if control.is_question() { Use::Asked } else { Use::Done });
    let answer = match control {
        Control::Bans(after) => {
            let entries = host.bans(after.as_deref(), MOST_LISTED);
            entries.iter().for_each(|entry| directory.notify(from, entry));
            None
        }
        Control::Drain(after) => {
            let was_draining = host.draining().is_some();
            host.drain(after);
            match after.map(|after| Notice::Draining { seconds: after.as_secs() }) {
                None if !was_draining => Some(Notice::NotDraining),
                notice => {
                    tell_all(directory, &notice.unwrap_or(Notice::NotDraining));
                    None
                }
            }
        }
        Control::Kick { ref whom, reason } if order.is_none() => {
            find(directory, whom).ok().and_then(|target| kick(directory, target, reason))
        }
        Control::Stats => stats(dispatcher, now),
        Control::Nodes => nodes(dispatcher, from),
        Control::Sessions(after) => sessions(dispatcher, from, SessionId(after), now),
        Control::Watch(watched) => Some(watch(dispatcher, from, watched)),
        Control::Log(level) => {
            host.set_log_level(level);
            Some(Notice::from(Report::Logging { level: level.as_str().to_lowercase() }))
        }
        // All nodes do the others.
        _ => order.and_then(Result::err),
    };
    if let Some(answer) = answer {
        dispatcher.directory.notify(from, &answer);
    }
}

/// What all nodes do: the session that it is about, if it is about one, and what it changes of the bans.
type Order = (Option<SessionId>, Vec<String>);

/// Returns what a command has all nodes do, or why it is refused; `None` for a command that this node does alone.
fn order(directory: &Directory, control: &Control, by: &Who, now: Now) -> Option<Result<Order, Notice>> {
    let host = directory.operators.host.as_ref()?;
    // It does not end if that is too far away.
    let end = |time: Option<Duration>| now.wall.checked_add(time?).ok();
    let for_all = |changes: Vec<String>| (None, changes);
    Some(match control {
        Control::Kick { whom, .. } => {
            let found = find(directory, whom);
            // One that is here needs no other node.
            if found.as_ref().is_ok_and(|target| directory.place(*target).is_some()) {
                return None;
            }
            found.map(|target| (Some(target), Vec::new()))
        }
        Control::Mute { whom, time } => find(directory, whom).and_then(|target| {
            let who = directory.who(target).ok_or(Notice::Nobody)?;
            if who.name == by.name {
                return Err(Notice::Yourself);
            }
            Ok((Some(target), host.mute(&who, end(*time), by)?))
        }),
        Control::Ban { subject, time, reason, is_forced } => {
            let (subject, reason, until) = (subject.clone(), reason.clone(), end(*time));
            host.ban(NewBan { subject, until, reason, by: by.clone(), is_forced: *is_forced }).map(for_all)
        }
        Control::Unban(subject) => host.unban(subject).map(for_all),
        Control::Unmute(whom) => {
            // By its number, if it is there.
            let who = number(whom).and_then(|id| directory.who(SessionId(id)));
            host.unmute(&who.map_or_else(|| whom.clone(), |who| who.to_string())).map(for_all)
        }
        Control::Say(_) => Ok(for_all(Vec::new())),
        _ => return None,
    })
}

/// Returns the notice for a muted member that wants to be heard, or to have another name.
pub(super) fn muted(directory: &Directory, id: SessionId, next: &Next, now: Now) -> Option<Notice> {
    let is_heard = match next {
        Next::Say(_) | Next::SayRest => true,
        Next::Ask(command) => matches!(command, Command::Me(_) | Command::Msg { .. } | Command::Nick(..)),
        _ => false,
    };
    let host = directory.operators.host.as_ref().filter(|_| is_heard)?;
    host.muted(&directory.member(id)?.who(), now.wall)
}

fn stats(dispatcher: &mut Dispatcher, now: Now) -> Option<Notice> {
    let (memory, traffic) = (dispatcher.memory, std::sync::Arc::clone(&dispatcher.traffic));
    let directory = &mut dispatcher.directory;
    let ids: Vec<SessionId> = in_rooms(directory).collect();
    let mut readers: Vec<Reader> = ids.iter().filter_map(|id| reader(dispatcher, *id)).collect();
    readers.sort_by_key(|reader| (std::cmp::Reverse(reader.behind), reader.id));
    readers.truncate(MOST_READERS);
    let directory = &dispatcher.directory;
    let host = directory.operators.host.as_ref()?;
    let (uptime, restarts) = host.uptime();
    let stopping = host.draining().map(|left| left.as_secs());
    let (tls, cluster) = (host.tls(now.wall), host.cluster(now.wall).map(Box::new));
    let (archive_lost, archive_error) =
        host.archive().map_or((None, None), |(lost, error)| (Some(lost), error));
    Some(Notice::from(Report::Stats {
        uptime: uptime.as_secs(),
        restarts,
        sessions: ids.len(),
        rooms: directory.rooms().len(),
        lines: traffic.lines.load(std::sync::atomic::Ordering::Relaxed),
        rate: directory.operators.lines.rate(now.wall),
        skipped: traffic.skipped.load(std::sync::atomic::Ordering::Relaxed),
        memory,
        stopping,
        archive_lost,
        archive_error,
        tls,
        cluster,
        slowest: readers,
    }))
}

/// Returns the sessions that are in a room.
fn in_rooms(directory: &Directory) -> impl Iterator<Item = SessionId> {
    directory.sessions().filter(|id| !directory.is_nowhere(*id))
}

fn nodes(dispatcher: &mut Dispatcher, from: SessionId) -> Option<Notice> {
    let directory = &mut dispatcher.directory;
    let (own, here) = (directory.sequencer.node().cloned(), in_rooms(directory).count() as u64);
    let sessions = |node: &str| (own.as_deref() == Some(node)).then_some(here);
    let nodes = directory.operators.host.as_ref()?.nodes(&sessions);
    if nodes.is_empty() {
        return Some(Notice::from(Report::NoCluster));
    }
    let count = nodes.len();
    nodes.into_iter().for_each(|entry| directory.notify(from, &Notice::from(Report::Node { entry })));
    Some(Notice::from(Report::Nodes { count }))
}

/// Returns how far a member is behind; `None` if it has read everything.
fn reader(dispatcher: &mut Dispatcher, id: SessionId) -> Option<Reader> {
    let behind = dispatcher.directory.feed(id)?.unsent(id).filter(|behind| *behind > 0)?;
    let who = dispatcher.directory.member(id)?.who();
    Some(Reader { id: id.0, name: who.name.to_string(), verified: who.verified, behind })
}

fn sessions(dispatcher: &mut Dispatcher, from: SessionId, after: SessionId, now: Now) -> Option<Notice> {
    let directory = &mut dispatcher.directory;
    let count = in_rooms(directory).count();
    let mut ids: Vec<SessionId> = in_rooms(directory).filter(|id| *id > after).collect();
    ids.sort_unstable();
    for id in ids.iter().take(MOST_LISTED) {
        if let Some(session) = session(dispatcher, *id, now) {
            dispatcher.directory.notify(from, &Notice::from(session));
        }
    }
    Some(Notice::from(Report::Sessions { count, more: ids.len().saturating_sub(MOST_LISTED) }))
}

fn session(dispatcher: &mut Dispatcher, id: SessionId, now: Now) -> Option<Report> {
    let directory = &mut dispatcher.directory;
    let place = directory.place(id)?;
    let room = directory.room(place.room).name().to_string();
    let behind = directory.feed(id)?.unsent(id)?;
    let member = directory.member(id)?;
    let (who, activity) = (member.who(), member.activity);
    Some(Report::Session {
        id: id.0,
        name: who.name.to_string(),
        verified: who.verified,
        address: directory.operators.host.as_ref()?.address(id).unwrap_or_default(),
        room,
        view: place.form.view(),
        idle: activity.idle(now.wall),
        behind,
        rate: activity.rate(now.wall),
        client: if place.form.has_crlf() { "telnet" } else { "line" }.to_owned(),
    })
}

fn watch(dispatcher: &mut Dispatcher, from: SessionId, watched: Option<Watched>) -> Notice {
    let directory = &mut dispatcher.directory;
    if let Some(Watched::Room(name)) = &watched
        && directory.room_called(name).is_none()
    {
        return Notice::from(Report::NoRoom { room: name.to_string() });
    }
    let room = watched.as_ref().map(|watched| match watched {
        Watched::Room(name) => name.to_string(),
        Watched::All => "*".to_owned(),
    });
    directory.operators.watch(from, watched);
    for room in directory.note_watches() {
        let members: Vec<SessionId> = directory.room(room).members().map(|member| member.id).collect();
        members.into_iter().filter(|id| *id != from).for_each(|id| directory.notify(id, &Notice::Watched));
    }
    Notice::from(room.map_or(Report::NotWatching, |room| Report::Watch { room }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use jiff::Timestamp;
    use log::LevelFilter;

    use super::*;
    use crate::chat::script::Script;
    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{
        Arrival, ClusterBans, End, EngineEvent, Host, HubSnapshot, MemberSnapshot, Read, SessionSnapshot,
        Standing,
    };
    use crate::protocol::control::shown;
    use crate::protocol::{Name, NodeEntry, View};

    /// A daemon whose first session is that of an operator.
    #[derive(Clone, Debug, Default)]
    struct Daemon {
        asked: Arc<Mutex<Vec<String>>>,
        mutes: Arc<Mutex<HashMap<String, Option<Timestamp>>>>,
        stops_in: Arc<Mutex<Option<Duration>>>,
        nodes: Arc<Mutex<Vec<String>>>,
    }

    impl Daemon {
        fn note(&self, asked: String) {
            self.asked.lock().unwrap().push(asked);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    fn not_banned(kind: &str, subject: &str) -> Notice {
        Notice::from(Report::NotBanned { kind: kind.to_owned(), subject: subject.to_owned() })
    }

    impl Host for Daemon {
        fn is_operator(&self, id: SessionId) -> bool {
            id == SessionId(1)
        }

        fn log_use(&self, who: &Who, line: &str, used: Use) {
            self.note(format!("{used:?} {who} {line}").to_lowercase());
        }

        fn log_order(&self, who: &Who, node: &str, line: &str) {
            self.note(format!("at {node} {who} {line}"));
        }

        fn address(&self, id: SessionId) -> Option<String> {
            (id != SessionId(1)).then(|| format!("192.0.2.{}:1", id.0))
        }

        fn uptime(&self) -> (Duration, u64) {
            (Duration::from_secs(7200), 3)
        }

        fn archive(&self) -> Option<(u64, Option<String>)> {
            None
        }

        fn tls(&self, _: jiff::Timestamp) -> Option<crate::protocol::TlsState> {
            None
        }

        fn cluster(&self, _: jiff::Timestamp) -> Option<crate::protocol::ClusterState> {
            None
        }

        fn nodes(&self, sessions: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry> {
            let names = self.nodes.lock().unwrap();
            let node = |name: &String| NodeEntry {
                node: name.clone(),
                sessions: sessions(name),
                ..NodeEntry::default()
            };
            names.iter().map(node).collect()
        }

        fn dismiss(&self, id: SessionId, notice: Notice) {
            self.note(format!("dismiss #{} {notice}", id.0));
        }

        fn ban(&self, ban: NewBan) -> Result<Vec<String>, Notice> {
            self.note(format!("ban {} {} {}", ban.subject, ban.reason, ban.is_forced));
            Ok(vec![format!("ban {} {}", ban.subject, shown(ban.until).unwrap_or_default())])
        }

        fn unban(&self, subject: &str) -> Result<Vec<String>, Notice> {
            let is_known = subject == "192.0.2.1";
            if is_known { Ok(vec![format!("unban {subject}")]) } else { Err(not_banned("ban", subject)) }
        }

        fn bans(&self, after: Option<&str>, most: usize) -> Vec<Notice> {
            self.note(format!("bans {after:?} {most}"));
            vec![Notice::from(Report::Bans { count: 0, more: 0 })]
        }

        fn mute(&self, who: &Who, until: Option<Timestamp>, _: &Who) -> Result<Vec<String>, Notice> {
            Ok(vec![format!("mute {} {}", who.name, shown(until).unwrap_or_default())])
        }

        fn unmute(&self, whom: &str) -> Result<Vec<String>, Notice> {
            let is_known = self.mutes.lock().unwrap().contains_key(whom);
            if is_known { Ok(vec![format!("unmute {whom}")]) } else { Err(not_banned("mute", whom)) }
        }

        fn change(&mut self, change: &str, _: bool) -> Option<Notice> {
            let words: Vec<&str> = change.split(' ').collect();
            let subject = words[1].to_owned();
            let until: Option<Timestamp> = words.get(2).and_then(|until| until.parse().ok());
            let mut mutes = self.mutes.lock().unwrap();
            Some(Notice::from(match words[0] {
                "ban" => Report::Ban { subject, until: shown(until), closed: 2 },
                "mute" => {
                    mutes.insert(subject.clone(), until);
                    Report::Mute { name: subject, verified: false, until: shown(until) }
                }
                lifting => {
                    mutes.remove(&subject);
                    Report::Lifted { kind: lifting.trim_start_matches("un").to_owned(), subject }
                }
            }))
        }

        fn join(&mut self, _: &Arc<ClusterBans>) {}

        fn muted(&self, who: &Who, now: Timestamp) -> Option<Notice> {
            let mutes = self.mutes.lock().unwrap();
            let until = *mutes.get(who.name.as_str())?;
            until.is_none_or(|until| now < until).then(|| Notice::Muted { until: shown(until) })
        }

        fn drain(&mut self, after: Option<Duration>) {
            self.note(format!("drain {after:?}").to_lowercase());
            *self.stops_in.lock().unwrap() = after;
        }

        fn draining(&self) -> Option<Duration> {
            *self.stops_in.lock().unwrap()
        }

        fn set_log_level(&mut self, level: LevelFilter) {
            self.note(format!("log {level}"));
        }
    }

    /// A hub with an operator, who is in a room of their own.
    fn hub() -> (TestHub, Daemon, Person) {
        hub_with(crate::chat::testing::CAPACITY)
    }

    fn hub_with(log_size: usize) -> (TestHub, Daemon, Person) {
        let hub = TestHub::new(|limits| limits.log_size = log_size);
        let (mut hub, daemon) = (hub, Daemon::default());
        hub.hub().administer(Box::new(daemon.clone()));
        let mut root = hub.join_as("root");
        hub.answer(&mut root, "/join ops");
        daemon.take();
        (hub, daemon, root)
    }

    #[test]
    fn what_an_operator_asks_for_is_logged_and_what_others_ask_for_is_refused() {
        let (mut hub, daemon, mut root) = hub();
        let (mut ann, mut script) = (hub.join_as("ann"), hub.join());
        assert_eq!(hub.answer(&mut root, "/log debug"), "-!- chatd logs from debug on, until a reload\n");
        assert_eq!(daemon.take(), ["done root /log debug", "log DEBUG"]);
        for line in ["/log debug", "/kick root", "/kick", "/SAY  hello"] {
            assert_eq!(hub.answer(&mut ann, line), "-!- you are not an operator of chatd\n", "{line}");
            assert_eq!(daemon.take(), [format!("refused ann {line}").to_lowercase()]);
        }
        assert!(hub.answer(&mut ann, "/kik root").starts_with("-!- no such command, nobody got it; see"));
        // A script that says such a line goes on as before.
        assert_eq!(hub.answer(&mut script, "/log rotated"), "");
        assert_eq!(ann.read_all(), "<guest3> /log rotated\n");
        let is_in = |help: &str| help.contains("/kick");
        assert!(is_in(&hub.answer(&mut root, "/help")) && !is_in(&hub.answer(&mut ann, "/help")));
        assert_eq!(hub.answer(&mut root, "/kick"), "-!- usage: /kick NAME|#ID [REASON]\n");
    }

    /// Its connection is about to be closed, and what it is owed would only use memory.
    #[test]
    fn one_who_has_been_sent_all_is_owed_nothing_more() {
        let (mut hub, _, mut root) = hub();
        let mut ann = hub.join_as("ann");
        hub.end(&ann);
        hub.settle();
        assert!(ann.is_done());
        ann.read_all();
        hub.say(&mut root, "/say hello\n");
        hub.settle();
        assert_eq!((ann.member(|member| member.owed_bytes()), ann.read_all().as_str()), (0, ""));
    }

    #[test]
    fn one_who_is_kicked_is_told_why_and_gets_nothing_else() {
        let (mut hub, daemon, mut root) = hub();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("ben"));
        hub.say(&mut ben, "before\n");
        assert_eq!(hub.answer(&mut root, "/kick ann too loud"), "-!- ann (#2) is sent away\n");
        assert_eq!(daemon.take()[1], "dismiss #2 closing: an operator sends you away: too loud");
        // As its session does then.
        let notices = vec![Notice::Kicked { reason: "too loud".to_owned() }];
        hub.send(&ann, Read { notices, end: End::SentAway, ..Read::default() });
        assert_eq!(ann.read_all(), "-!- closing: an operator sends you away: too loud\n");
        assert!(ann.is_done());
        hub.leave(ann);
        assert_eq!(hub.answer(&mut root, "/kick #3"), "-!- ben (#3) is sent away\n");
        assert_eq!(daemon.take()[1], "dismiss #3 closing: an operator sends you away");
        ben.read_all();
        for gone in ["ann", "#2", "#99", "guest99"] {
            assert_eq!(
                hub.answer(&mut root, &format!("/kick {gone}")),
                "-!- nobody is called that; see /who\n"
            );
        }
    }

    #[test]
    fn nodes_are_listed_if_there_is_a_cluster() {
        let (mut hub, daemon, mut root) = hub();
        let alone = "-!- this chatd is no node of a cluster; see the key cluster\n";
        assert_eq!(hub.answer(&mut root, "/nodes"), alone);
        *daemon.nodes.lock().unwrap() = vec!["alpha".to_owned(), "beta".to_owned()];
        assert_eq!(hub.answer(&mut root, "/nodes"), "-!- alpha \n-!- beta \n-!- 2 nodes\n");
        assert_eq!(hub.answer(&mut root, "/nodes now"), "-!- usage: /nodes\n");
        assert_eq!(daemon.take()[0], "asked root /nodes");
    }

    #[test]
    fn nobody_hears_what_one_who_is_kicked_has_still_to_say() {
        let (mut hub, _, mut root) = hub();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("ben"));
        // Ben reads nothing, so the room is full, and what ann says waits.
        hub.say(&mut ann, &(lines(0, 1000) + "/who\nlast words\n"));
        assert!(ann.is_outstanding());
        hub.answer(&mut root, "/kick ann");
        assert!(!ann.is_outstanding());
        let mut heard = ben.read_all();
        hub.wait(Duration::from_secs(3));
        heard += &ben.read_all();
        assert!(!heard.contains("last words"));
    }

    #[test]
    fn nobody_hears_one_who_is_muted_and_another_name_is_no_way_out() {
        let (mut hub, _, mut root) = hub();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("ben"));
        let until = "1970-01-01T00:01:00Z";
        let answer = format!("-!- ann is muted until {until}\n");
        assert_eq!(hub.answer(&mut root, "/mute ann 1m"), answer);
        let told = format!(
            "-!- an operator has muted you until {until}: nobody gets what you say, and your name stays\n"
        );
        assert_eq!(ann.read_all(), told);
        for line in ["hello", "//hello", "/me waves", "/msg ben hello", "/nick amy"] {
            assert_eq!(hub.answer(&mut ann, line), told, "{line}");
        }
        assert!(hub.answer(&mut ann, "/who").contains("ann"), "it still hears and asks");
        assert_eq!(ben.read_all(), "");
        // The next one with that name is muted, too.
        hub.leave(ann);
        let mut other = hub.join();
        hub.ask(&mut other, "/nick ann");
        assert!(hub.answer(&mut other, "hello").contains("has muted you"));
        hub.wait(Duration::from_secs(61));
        assert!(!hub.answer(&mut other, "hello").contains("muted"));
        assert!(ben.read_all().ends_with("<ann> hello\n"));
        // A guest, until it is lifted.
        let mut guest = hub.join();
        assert!(hub.answer(&mut root, &format!("/mute #{}", guest.id().0)).contains("is muted"));
        assert!(hub.answer(&mut guest, "hello").contains("has muted you: nobody"));
        let name = format!("guest{}", guest.id().0);
        assert_eq!(
            hub.answer(&mut root, &format!("/unmute {name}")),
            format!("-!- the mute of {name} is lifted\n")
        );
        assert_eq!(hub.answer(&mut guest, "hello"), "");
        let not = format!("-!- there is no mute of exactly {name}; see /bans\n");
        assert_eq!(hub.answer(&mut root, &format!("/unmute {name}")), not);
    }

    #[test]
    fn everybody_is_told_what_an_operator_says_and_that_chatd_stops() {
        let (mut hub, daemon, mut root) = hub();
        let (mut ann, mut script) = (hub.join_as("ann"), hub.join());
        let mut program = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        let said = "-!- to everybody: back at  noon\n";
        program.read_all();
        assert_eq!(hub.answer(&mut root, "/say back at  noon"), said);
        assert_eq!([ann.read_all(), script.read_all()], [said, said]);
        assert!(program.read_all().contains(r#""code":"announcement","announcement":"back at  noon""#));
        daemon.take();
        hub.answer(&mut root, "/drain 90");
        assert_eq!(ann.read_all(), "-!- chatd stops in 90s\n");
        assert!(hub.answer(&mut root, "/stats").contains(" bytes, stopping in 90s"));
        hub.answer(&mut root, "/drain off");
        assert_eq!(ann.read_all(), "-!- chatd does not stop\n");
        assert_eq!(hub.answer(&mut root, "/drain off"), "-!- chatd does not stop\n");
        assert_eq!(ann.read_all(), "", "there was nothing to call off");
        assert_eq!(
            daemon.take()[..5],
            [
                "done root /drain 90",
                "drain some(90s)",
                "asked root /stats",
                "done root /drain off",
                "drain none"
            ]
        );
    }

    #[test]
    fn sessions_and_numbers_are_listed() {
        let (mut hub, _, mut root) = hub();
        let mut ann = hub.join_as("ann");
        let mut slow = hub.join();
        hub.say(&mut ann, &lines(0, 60));
        ann.read_all();
        let listed = hub.answer(&mut root, "/sessions");
        let rows: Vec<&str> = listed.lines().collect();
        assert_eq!(rows[0], "-!- #1 root unix ops names line, idle 0 s, 0 bytes behind, 0.0 lines/s");
        assert_eq!(rows[1], "-!- #2 ann 192.0.2.2:1 main names line, idle 0 s, 0 bytes behind, 1.0 lines/s");
        assert_eq!(
            rows[2],
            "-!- #3 guest3 192.0.2.3:1 main plain line, idle 0 s, 960 bytes behind, 0.0 lines/s"
        );
        assert_eq!(rows[3], "-!- 3 sessions");
        let rest = hub.answer(&mut root, "/sessions #2");
        assert!(rest.starts_with("-!- #3 guest3") && rest.ends_with("-!- 3 sessions\n"));
        let stats = hub.answer(&mut root, "/stats");
        assert!(stats.starts_with(
            "-!- up 2h, 3 restarts survived, 3 sessions in 2 rooms, 60 lines, 1.0 per second, 0 skipped, "
        ));
        assert!(stats.ends_with("bytes, guest3 (#3) 960 bytes behind\n"), "{stats}");
        slow.read_all();
        // More than one answer has.
        let crowd: Vec<Person> = (0..MOST_LISTED).map(|_| hub.join()).collect();
        let listed = hub.answer(&mut root, "/sessions");
        assert_eq!(listed.lines().count(), MOST_LISTED + 1);
        assert!(listed.ends_with("-!- 503 sessions, 3 not shown\n"));
        drop(crowd);
    }

    #[test]
    fn a_room_is_heard_without_being_in_it_and_its_members_are_told() {
        let (mut hub, daemon, mut root) = hub();
        let (mut ann, mut script) = (hub.join_as("ann"), hub.join());
        let is_heard = "-!- an operator hears what is said here\n";
        assert_eq!(hub.answer(&mut root, "/watch Main"), "-!- you hear Main as well; /watch ends it\n");
        assert_eq!([ann.read_all(), script.read_all()], [is_heard, is_heard]);
        hub.say(&mut ann, "hi\nthere\n");
        hub.answer(&mut ann, "/me waves");
        let heard = root.read_all();
        assert!(
            heard.starts_with("[main] -!- root left (2 here)\n[main] -!- ann joined (2 here)\n"),
            "{heard}"
        );
        assert!(heard.ends_with("[main] <ann> hi\n[main] <ann> there\n[main] * ann waves\n"));
        assert_eq!(script.read_all(), "hi\nthere\n* ann waves\n");
        let mut late = hub.join();
        assert_eq!(late.read_all(), is_heard, "who comes later is told, too");
        // In json with the name of the room, as if it were there; and over a restart.
        hub.answer(&mut root, "/view json");
        let mut people = [root, ann, script, late];
        hub.move_on(&mut people);
        hub.hub().administer(Box::new(daemon));
        let [mut root, mut ann, mut script, _late] = people;
        hub.say(&mut ann, "again\n");
        assert!(
            root.read_all().contains(r#""room":"main","id":2,"from":"ann","verified":false,"text":"again""#)
        );
        assert_eq!(script.read_all(), "again\n");
        assert!(hub.answer(&mut root, "/watch nowhere").contains(r#""code":"no_room""#));
        assert!(hub.answer(&mut root, "/watch *").contains(r#""code":"watch","room":"*""#));
        hub.answer(&mut script, "/join new");
        assert!(script.read_all().is_empty());
        hub.say(&mut script, "elsewhere\n");
        assert!(root.read_all().contains(r#""room":"new""#));
        // It hears its own room only once.
        hub.answer(&mut ann, "/join ops");
        hub.say(&mut ann, "here\n");
        assert_eq!(root.read_all().matches("here").count(), 1);
        hub.answer(&mut root, "/watch");
        hub.say(&mut script, "unheard\n");
        assert_eq!(root.read_all(), "");
    }

    #[test]
    fn an_operator_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
        let (mut hub, _, mut root) = hub_with(1 << 20);
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("ben"));
        hub.answer(&mut root, "/watch main");
        for _ in 0..600 {
            hub.say(&mut ann, &lines(0, 10));
            assert!(!ann.is_outstanding());
            ann.read_all();
            ben.read_all();
        }
        let heard = root.read_all();
        let skipped = heard.lines().find(|line| line.contains("skipped")).unwrap();
        let skipped: usize = skipped.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(heard.matches("[main] <ann> line").count() + skipped, 6000);
    }

    #[test]
    fn bans_are_up_to_the_daemon() {
        let (mut hub, daemon, mut root) = hub();
        assert_eq!(
            hub.answer(&mut root, "/ban 192.0.2.1 1m too loud"),
            "-!- 192.0.2.1 is banned until 1970-01-01T00:01:00Z; connections closed: 2\n"
        );
        assert_eq!(daemon.take()[0], "ban 192.0.2.1 too loud false");
        assert_eq!(hub.answer(&mut root, "/unban 192.0.2.1"), "-!- the ban of 192.0.2.1 is lifted\n");
        assert!(hub.answer(&mut root, "/unban +ann").contains("there is no ban of exactly +ann"));
        assert_eq!(hub.answer(&mut root, "/bans 192.0.2.0/24"), "-!- 0 bans and mutes\n");
        assert!(daemon.take().contains(&"bans Some(\"192.0.2.0/24\") 500".to_owned()));
    }

    /// An operator who is in no room from the beginning.
    fn begin_nowhere(hub: &mut TestHub) -> Person {
        let verified = Some(Name::login("root").unwrap());
        hub.arrive(Arrival {
            is_control: true,
            greeting: b"hello\n".to_vec(),
            verified,
            ..Arrival::default()
        })
    }

    fn nowhere() -> (TestHub, Daemon, Person) {
        let (mut hub, daemon) = (TestHub::default(), Daemon::default());
        hub.hub().administer(Box::new(daemon.clone()));
        let root = begin_nowhere(&mut hub);
        (hub, daemon, root)
    }

    fn code(answer: &str) -> String {
        let lines = answer.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let codes =
            lines.map(|object| object.get("code").unwrap_or(&object["type"]).as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_operator_in_no_room_has_its_commands_and_stands_in_no_list() {
        let (mut hub, daemon, mut root) = nowhere();
        assert_eq!(root.read_all(), "", "no greeting");
        let (mut ann, mut script) = (hub.join_as("ann"), hub.join());
        hub.say(&mut ann, "hello\n");
        script.read_all();
        for (line, codes) in [
            ("/control", "operating"),
            ("/stats", "stats"),
            ("/sessions", "session session sessions"),
            ("/sync x", "synced"),
            ("/rooms", "rooms"),
            ("/say hi", "announcement"),
            ("/kick ann", "kick"),
            ("/kick", "usage"),
            ("/kcik ann", "unknown_command"),
            ("/control x", "usage"),
            ("hello", "nowhere"),
            ("//hello", "nowhere"),
            (" /who", "nowhere"),
            ("/usr/bin/foo failed", "unknown_command"),
            ("/who", "nowhere"),
            ("/join ops", "nowhere"),
            ("/nick bob", "nowhere"),
            ("/me waves", "nowhere"),
            ("/msg ann psst", "nowhere"),
            ("/last", "nowhere"),
            ("/view names", "nowhere"),
            ("/time on", "nowhere"),
            ("/ignore ann", "nowhere"),
            ("/nick <b>", "bad_name"),
        ] {
            assert_eq!(code(&hub.answer(&mut root, line)), codes, "{line}");
        }
        assert_eq!(script.read_all(), "-!- to everybody: hi\n");
        assert!(daemon.take().contains(&"done +root /kick ann".to_owned()));
        let synced = hub.answer(&mut root, "/sync x");
        assert!(synced.contains(r#""name":"root","verified":true,"room":"","epoch":1,"seq":0"#), "{synced}");
        assert!(hub.answer(&mut root, "/stats").contains(r#""sessions":2,"rooms":1"#));
        // Nobody sees it, or can say something to it.
        assert_eq!(hub.answer(&mut script, "/who"), "-!- 2 here: ann, guest3\n");
        assert!(hub.answer(&mut script, "/rooms").contains("main (2)"));
        for line in ["/msg #1 psst", "/msg +root psst", "/ignore #1"] {
            assert!(!hub.answer(&mut script, line).contains("told"), "{line}");
        }
        assert_eq!(root.read_all(), "");
        assert_eq!(code(&hub.answer(&mut root, "/watch main")), "watch");
        hub.say(&mut script, "heard\n");
        assert!(root.read_all().contains(r#""text":"heard""#));
        hub.answer(&mut root, "/quit");
        assert!(root.is_done());
    }

    #[test]
    fn help_has_what_an_operator_in_no_room_can_do() {
        let (mut hub, _, mut root) = nowhere();
        let help = hub.answer(&mut root, "/help");
        let listed = help.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let listed: Vec<String> = listed.map(|row| row["command"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed[..5], ["/help", "/rooms", "/sync TOKEN", "/quit", "/control"]);
        for row in listed.iter().filter(|row| *row != "/quit") {
            let line = row.replace("TOKEN", "x").replace("NAME|#ID [REASON]", "#99");
            assert!(!hub.answer(&mut root, &line).contains(r#""code":"nowhere""#), "{line}");
        }
        assert_eq!(listed.len(), 4 + 14);
    }

    #[test]
    fn who_types_control_leaves_the_room() {
        let (mut hub, daemon, mut root) = hub();
        let mut ann = hub.join_as("ann");
        hub.answer(&mut ann, "/join ops");
        hub.wait(Duration::from_secs(3));
        ann.read_all();
        assert_eq!(code(&hub.answer(&mut root, "/control")), "operating");
        hub.wait(Duration::from_secs(3));
        assert_eq!(ann.read_all(), "-!- root left (1 here)\n");
        hub.answer(&mut ann, "/nick root");
        assert_eq!(ann.read_all(), "", "the answer was read");
        ann.member(|ann| assert_eq!(ann.who().to_string(), "root", "the name is free"));
        assert!(hub.answer(&mut root, "/sync x").contains(r#""name":"guest1""#));
        // A room that it leaves empty is gone.
        let (mut hub, _, mut root) = self::hub();
        assert_eq!(hub.hub().directory().rooms().len(), 2);
        hub.answer(&mut root, "/control");
        assert_eq!(hub.hub().directory().rooms().len(), 1);
        drop(daemon);
    }

    #[test]
    fn who_is_no_operator_stays_where_it_is_and_says_nothing() {
        let (mut hub, daemon, _root) = hub();
        let (mut ann, mut script) = (hub.join_as("ann"), hub.join());
        for person in [&mut ann, &mut script] {
            assert_eq!(hub.answer(person, "/control"), "-!- you are not an operator of chatd\n");
        }
        assert_eq!(daemon.take(), ["refused ann /control", "refused guest3 /control"]);
        assert_eq!([ann.read_all(), script.read_all()], ["", ""]);
        // Without commands it is a line; but an operator can always get in.
        let mut hub = TestHub::new(|limits| limits.commands = false);
        hub.hub().administer(Box::new(daemon));
        let (mut root, mut script) = (hub.join(), hub.join());
        hub.say(&mut script, "/control\n");
        assert_eq!(root.read_all(), "/control\n");
        assert_eq!(code(&hub.answer(&mut root, "/control\n/stats")), "operating stats");
        assert_eq!(script.read_all(), "");
        // What comes behind other lines is passed on.
        let mut hub = TestHub::new(|limits| limits.commands = false);
        hub.hub().administer(Box::new(Daemon::default()));
        let (mut root, mut script) = (hub.join(), hub.join());
        hub.say(&mut root, "hello\n");
        hub.say(&mut root, "/control\n/drain\n");
        assert_eq!(script.read_all(), "hello\n/control\n/drain\n");
    }

    #[test]
    fn an_operator_in_no_room_is_there_after_a_restart_and_a_crash() {
        for is_crash in [false, true] {
            let (mut hub, daemon, root) = nowhere();
            let mut people = [root, hub.join()];
            if is_crash {
                let ids = people.each_ref().map(Person::id);
                let sessions = hub.snapshot(&ids).sessions.into_iter().map(|session| {
                    let (record, ignored) = session.member.unwrap().standing.encode();
                    let standing = Standing::decode(&record, &ignored).unwrap_or(Standing::plain(session.id));
                    let member = Some(MemberSnapshot::after_crash(standing, Vec::new()));
                    SessionSnapshot { member, ..session }
                });
                let snapshot = HubSnapshot { sessions: sessions.collect(), ..HubSnapshot::default() };
                hub.move_to(snapshot, |id| {
                    let person = people.iter().find(|person| person.id() == id)?;
                    Some(Arc::clone(&person.socket) as Arc<dyn crate::chat::Sink>)
                });
            } else {
                hub.answer(&mut people[0], "/watch *");
                hub.move_on(&mut people);
            }
            hub.hub().administer(Box::new(daemon));
            let [mut root, mut script] = people;
            hub.say(&mut script, "hello\n");
            assert_eq!(root.read_all().contains("hello"), !is_crash, "what was heard ends with a crash");
            assert_eq!(code(&hub.answer(&mut root, "/kick #2")), "kick");
            assert_eq!(hub.hub().directory().rooms().len(), 1);
            assert_eq!(hub.answer(&mut script, "/who"), "-!- 1 here: guest2\n");
        }
    }

    #[test]
    fn while_the_engine_is_away_operators_get_in_and_leave_nothing_there() {
        let script = Script::new();
        let mut hub = TestHub::among_several(&script, |_| {});
        let daemon = Daemon::default();
        hub.hub().administer(Box::new(daemon.clone()));
        let mut root = begin_nowhere(&mut hub);
        let mut ben = hub.join();
        let _ = script.take_submitted();
        script.event(EngineEvent::Away);
        hub.settle();
        assert_eq!(code(&root.read_all()), "engine_away");
        for (line, codes) in [
            ("/stats", "stats"),
            ("/nodes", "no_cluster"),
            ("/sessions", "session sessions"),
            ("/kick #2", "kick"),
            ("/log debug", "logging"),
            ("/drain 1h", "draining"),
            ("/sync x", "synced"),
        ] {
            assert_eq!(code(&hub.answer(&mut root, line)), codes, "{line}");
        }
        assert!(ben.read_all().contains("chatd stops in 1h"));
        hub.leave(root);
        assert_eq!(script.acts(), 1, "that of ben");
    }
}
