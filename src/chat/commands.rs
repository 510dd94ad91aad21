//! Commands: what the hub does for a session that sends a command.
//!
//! Answers go only to the session that asked. Their sentences stand in `protocol::notice` and `protocol::object`. The
//! hub itself does `/quit`, and `chat::control` what operators ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::act::Act;
use super::archiving;
use super::directory::{Directory, Place};
use super::id::{Now, SessionId};
use super::listing;
use super::nick;
use super::opening;
use super::overheard;
use super::pending::MOST_OWED;
use super::roster;
use super::sequencer::Item;
use crate::protocol::command::Recall;
use crate::protocol::control;
use crate::protocol::object::History;
use crate::protocol::syntax::{COMMANDS, Spec};
use crate::protocol::{Command, Kind, Name, Notice, Object, Person, RoomCount, View, Who};

/// Most names in the answer to `/who`, and most rooms in the answer to `/rooms`. The answer has the number of the
/// others.
const MOST_LISTED: usize = 100;

/// Most names in the answer [`Notice::Alike`].
const MOST_ALIKE: usize = 5;

/// Most sessions that a member can ignore.
pub(super) const MOST_IGNORED: usize = 100;

/// Lines that `/last` shows without a number.
const LAST_LINES: u32 = 20;

/// Does what a session asks for. What it says, and what others are to be told, goes to the sequencer.
pub(super) fn execute(directory: &mut Directory, from: SessionId, command: Command, now: Now) {
    let goes = matches!(command, Command::Join(_));
    if !goes && directory.member(from).is_some_and(|member| member.name().is_some()) {
        // A member with a verified name is announced at its first command: it is no script then. One that goes to
        // another room with that is announced there.
        directory.introduce(from, now);
    }
    let notice = match command {
        Command::Help => help(directory, from),
        Command::Nick(name, key) => nick::claim(directory, from, name, key),
        Command::Who => who(directory, from),
        Command::Me(text) => {
            directory.say(from, Kind::Emote, format!("{text}\n").into_bytes(), 1, now);
            None
        }
        Command::Msg { to, text } => msg(directory, from, &to, &text, now),
        Command::Join(name) => join(directory, from, name, now),
        Command::Rooms => Some(rooms(directory)),
        Command::Last(recall) => last(directory, from, recall),
        Command::Sync(token) => sync(directory, from, &token),
        Command::View(view) => self::view(directory, from, view, now),
        Command::Time(times) => time(directory, from, times, now),
        Command::Ignore(name) => Some(ignore(directory, from, &name)),
        // The hub itself does these.
        Command::Quit | Command::Operate | Command::Control(_) => None,
    };
    if let Some(notice) = notice {
        directory.notify(from, &notice);
    }
    // Perhaps it has taken a name, or another view.
    archiving::tell(directory, from);
}

/// Returns the session with a name as typed, also that of a guest, or with a number as in `#7`. It may be on another node.
///
/// # Errors
/// The notice for the sender, if no session has exactly that name. It lists those that only look like it.
pub(super) fn find(directory: &Directory, name: &str) -> Result<SessionId, Notice> {
    if let Some(number) = control::number(name) {
        let id = SessionId(number);
        return directory.who(id).filter(|_| !directory.is_nowhere(id)).map(|_| id).ok_or(Notice::Nobody);
    }
    let (must_be_verified, name) = name.strip_prefix('+').map_or((false, name), |name| (true, name));
    let number = name.get(..5).filter(|word| word.eq_ignore_ascii_case("guest")).map(|_| &name[5..]);
    if let Some(number) = number.and_then(|number| number.parse().ok()).filter(|_| !must_be_verified) {
        let id = SessionId(number);
        let is_guest = directory.who(id).is_some_and(|who| who.name.is_guest());
        return is_guest.then_some(id).ok_or(Notice::Nobody);
    }
    let name = Name::any(name).map_err(|_| Notice::Nobody)?;
    let holders = directory.roster.holders(&name).into_iter();
    let alike: Vec<Arc<Who>> = holders.filter_map(|id| directory.who(id)).collect();
    let named = || alike.iter().filter(|who| who.verified || !must_be_verified);
    // The node may be left out if only one has such a user here.
    let mut users = named().filter(|who| who.name.login_name() == name.as_str());
    let user = users.next().filter(|one| users.all(|other| other.name == one.name));
    let meant = named().find(|who| who.name == name).or(user);
    meant.map(|who| SessionId(who.id)).ok_or_else(|| only_alike(&alike))
}

/// Returns the answer to a name that nobody has exactly: the names that look like it.
fn only_alike(alike: &[Arc<Who>]) -> Notice {
    let named = alike.iter().map(|who| (who.to_string(), Person::of(who, false)));
    // One of each name: a user may be there several times.
    let named: BTreeMap<String, Person> = named.collect();
    let members: Vec<Person> = named.into_values().take(MOST_ALIKE).collect();
    if members.is_empty() { Notice::Nobody } else { Notice::Alike { members } }
}

fn help(directory: &mut Directory, from: SessionId) -> Option<Notice> {
    let (is_operator, is_nowhere) = (directory.operators.is_operator(from), directory.is_nowhere(from));
    directory.tell(from, |form, out| {
        let mut line = |command: String, about: &str| {
            form.notice(&Notice::Help { command, about: about.to_owned() }, out)
        };
        let is_usable =
            |spec: &&Spec| if spec.is_control { is_operator } else { !is_nowhere || !spec.needs_room() };
        let usable = COMMANDS.iter().filter(is_usable);
        usable.for_each(|spec| line(spec.to_string(), spec.about));
        if !is_nowhere {
            line("//TEXT".to_owned(), "say /TEXT");
        }
    });
    None
}

fn sync(directory: &mut Directory, from: SessionId, token: &str) -> Option<Notice> {
    let who = directory.member(from)?.who();
    let (room, is_nowhere) = (directory.room_of(from)?, directory.is_nowhere(from));
    let (room, epoch, seq) = (Arc::clone(room.name()), room.epoch(), room.said());
    let room = if is_nowhere { "" } else { room.as_str() };
    let (name, room) = (who.name.as_str().into(), room.into());
    let (token, id, verified, host) = (token.into(), from.0, who.verified, who.name.node().map(Into::into));
    let synced = Object::Synced { token, id, name, verified, host, room, epoch, seq };
    directory.tell(from, |form, out| form.object(&synced, out));
    None
}

fn who(directory: &Directory, from: SessionId) -> Option<Notice> {
    let room = directory.room_of(from)?;
    let elsewhere = directory.roster.elsewhere(room.name(), &directory.node());
    // Members with names come first.
    let rank = |(is_guest, id, _): &(bool, u64, Option<&Arc<Who>>)| (*is_guest, *id);
    let here = room.members().map(|member| (member.name().is_none(), member.id.0, member.who.as_ref()));
    let others = elsewhere.iter().map(|who| (who.name.is_guest(), who.id, Some(who)));
    let mut everybody: Vec<(bool, u64, Option<&Arc<Who>>)> = here.chain(others).collect();
    let count = everybody.len();
    if count > MOST_LISTED {
        everybody.select_nth_unstable_by_key(MOST_LISTED, rank);
        everybody.truncate(MOST_LISTED);
    }
    everybody.sort_unstable_by_key(rank);
    let guest = |id| Arc::new(Who::guest(id));
    let who = everybody.into_iter().map(|(_, id, who)| who.cloned().unwrap_or_else(|| guest(id)));
    Some(Notice::Who { count, members: who.map(|who| person(directory, &who)).collect() })
}

/// Returns a member for a list. It is a lookalike if another verified name looks the same.
fn person(directory: &Directory, who: &Who) -> Person {
    let is_other = |id: SessionId| {
        let other = directory.roster.name_of(id).filter(|other| other.verified);
        other.is_some_and(|other| other.name.login_name() != who.name.login_name())
    };
    Person::of(who, who.verified && directory.roster.holders(&who.name).into_iter().any(is_other))
}

fn msg(directory: &mut Directory, from: SessionId, to: &str, text: &str, now: Now) -> Option<Notice> {
    let target = match find(directory, to) {
        Ok(target) => target,
        Err(notice) => return Some(notice),
    };
    if target == from {
        return Some(Notice::Yourself);
    }
    let (sender, receiver) = (directory.who(from)?, directory.who(target)?);
    if directory.place(target).is_none() {
        directory.ask(from, Act::Told { from, to: target, text: text.to_owned() });
        return None;
    }
    let told = Notice::Told { name: receiver.name.to_string(), verified: receiver.verified };
    Some(give(directory, (&sender, &receiver), text, now).unwrap_or(told))
}

/// A private message from another node has its place. If it is for a session here that does not get it, its sender is
/// told.
pub(super) fn receive(directory: &mut Directory, (from, to): (&Who, &Who), text: &str, now: Now) {
    let by = SessionId(to.id);
    if directory.place(by).is_none() {
        return;
    }
    // Nobody waits for the quota on another node.
    let ignores = directory.member(by).is_some_and(|member| member.ignored().contains(&SessionId(from.id)));
    let is_refused = directory.quota.is_used_up(by) || give(directory, (from, to), text, now).is_some();
    if is_refused {
        directory.sequencer.submit(Item::Act(Act::Refused { by, to: SessionId(from.id), ignores }));
    }
}

/// Gives a session here a private message, or returns why it does not get it.
fn give(directory: &mut Directory, (from, to): (&Who, &Who), text: &str, now: Now) -> Option<Notice> {
    let id = SessionId(to.id);
    let member = directory.member(id)?;
    if member.ignored().contains(&SessionId(from.id)) {
        return Some(roster::refusal(to, true));
    }
    // Near `memory`, only one message can wait for a member.
    let most = if directory.is_crowded { 0 } else { MOST_OWED };
    if member.is_broken || member.owed_bytes() > most {
        return Some(roster::refusal(to, false));
    }
    let mut bytes = 0;
    directory.tell(id, |form, out| {
        form.private(from, to, text, now.wall, out);
        bytes = out.len();
    });
    directory.quota.count(id, bytes, now.instant);
    None
}

fn join(directory: &mut Directory, from: SessionId, name: Name, now: Now) -> Option<Notice> {
    let place = directory.place(from)?;
    let there = directory.room_called(&name);
    if there == Some(place.room) {
        return Some(Notice::AlreadyThere);
    }
    if there.is_none()
        && let Some(refusal) = opening::refusal(directory, place)
    {
        return Some(refusal);
    }
    let there = there.unwrap_or_else(|| directory.room_or_new(&name));
    let to = Place { room: there, ..place };
    if let Some(refusal) = opening::no_memory(directory, to) {
        return Some(refusal);
    }
    opening::open(directory, there);
    directory.relocate(from, to, now);
    directory.moved(from);
    let member = directory.member_mut(from)?;
    // Nobody in the new room knows its name.
    member.has_spoken = false;
    let who = member.is_present.then(|| Who::clone(&member.who()));
    if let Some(who) = who {
        directory.room(there).presence.joined(who.clone());
        directory.tell_presence(there, now);
        directory.room(place.room).presence.left(who);
        directory.tell_presence(place.room, now);
    }
    if directory.member(from)?.name().is_some() {
        directory.introduce(from, now);
    }
    directory.drop_if_empty(place.room, now);
    directory.changed.push(from);
    let room = directory.rooms().get(&there)?;
    let (members, epoch) = (listing::count(directory, room), room.epoch());
    let entered = Notice::Entered { room: room.name().to_string(), members, epoch };
    directory.notify(from, &entered);
    overheard::tell_member(directory, from);
    None
}

fn rooms(directory: &Directory) -> Notice {
    let node = directory.node();
    let is_only_elsewhere = |(name, _): &(&Name, usize)| directory.room_called(name).is_none();
    let elsewhere = directory.roster.rooms_elsewhere(&node).filter(is_only_elsewhere);
    let here = directory.rooms().values().map(|room| (&**room.name(), listing::count(directory, room)));
    let mut rooms: Vec<(&Name, usize)> = here.chain(elsewhere).collect();
    let count = rooms.len();
    let rank = |(_, members): &(&Name, usize)| std::cmp::Reverse(*members);
    if count > MOST_LISTED {
        rooms.select_nth_unstable_by_key(MOST_LISTED, rank);
        rooms.truncate(MOST_LISTED);
    }
    rooms.sort_by_key(rank);
    let listed = rooms.into_iter().map(|(room, members)| RoomCount { room: room.to_string(), members });
    Notice::Rooms { count, rooms: listed.collect() }
}

fn last(directory: &mut Directory, from: SessionId, recall: Recall) -> Option<Notice> {
    if directory.limits.history == 0 {
        return Some(Notice::NoHistory);
    }
    let Place { room, form } = directory.place(from)?;
    let room = directory.rooms().get(&room)?;
    let ignored = directory.member(from)?.ignored();
    let is_shown = |other| !ignored.contains(&SessionId(other));
    let (name, mut shown) = (Arc::clone(room.name()), Vec::new());
    let name = name.as_str();
    let first_kept = room.history.first().unwrap_or(room.said() + 1);
    let envelope = History { room: name.into(), epoch: room.epoch(), first_kept, ..History::default() };
    let answer = match recall {
        Recall::Last { lines, pattern } => {
            let lines = lines.unwrap_or(LAST_LINES) as usize;
            let lines = room.history.last(lines, pattern.as_deref(), name, form, is_shown, &mut shown);
            History { lines, pattern: pattern.map(Into::into), ..envelope }
        }
        Recall::Since { seq, epoch } => {
            let since = room.numbers.last_known(seq, epoch.unwrap_or(room.epoch()));
            let (lines, more) = room.history.since(since, name, form, is_shown, &mut shown);
            let missing = (first_kept - 1).saturating_sub(since);
            History { lines, missing, more, since: Some(since), ..envelope }
        }
    };
    let answer = Object::History(answer);
    directory.tell(from, |form, out| {
        form.object(&answer, out);
        let is_empty = shown.is_empty();
        out.append(&mut shown);
        // An empty answer needs no end for people: its sentence says it.
        if !is_empty || form.view() == View::Json {
            form.object(&Object::HistoryEnd, out);
        }
    });
    None
}

fn view(directory: &mut Directory, from: SessionId, view: View, now: Now) -> Option<Notice> {
    let place = directory.place(from)?;
    let form = place.form.with(view, directory.member(from)?.times);
    if let Some(refusal) = opening::no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    if view != View::Plain {
        directory.introduce(from, now);
    }
    directory.change_form(from, form, now);
    Some(Notice::Viewed { view })
}

fn time(directory: &mut Directory, from: SessionId, times: bool, now: Now) -> Option<Notice> {
    let place = directory.place(from)?;
    let view = place.form.view();
    let form = place.form.with(view, times);
    if let Some(refusal) = opening::no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    directory.member_mut(from)?.times = times;
    directory.change_form(from, form, now);
    Some(Notice::Timed { times, view })
}

/// Ends the lines of a session with CR LF from now on, because it has sent a telnet command (RFC 854).
pub(super) fn end_lines_for_telnet(directory: &mut Directory, from: SessionId, now: Now) {
    if let Some(place) = directory.place(from) {
        directory.change_form(from, place.form.with_crlf(), now);
    }
}

fn ignore(directory: &mut Directory, from: SessionId, name: &str) -> Notice {
    let other = match find(directory, name) {
        Ok(other) => other,
        Err(notice) => return notice,
    };
    if other == from {
        return Notice::Yourself;
    }
    let Some(who) = directory.who(other) else { return Notice::Nobody };
    let ignored = directory.member(from).map_or_else(Vec::new, |member| member.ignored().to_vec());
    let mut kept: Vec<SessionId> = ignored.iter().copied().filter(|id| *id != other).collect();
    let is_new = kept.len() == ignored.len();
    if is_new && kept.len() >= MOST_IGNORED {
        // Sessions that are gone do not count among the ignored.
        kept.retain(|id| directory.who(*id).is_some());
        if kept.len() >= MOST_IGNORED {
            return Notice::IgnoresTooMany { max: MOST_IGNORED };
        }
    }
    kept.extend(is_new.then_some(other));
    if let Some(feed) = directory.feed(from) {
        feed.change(from, |member, log| {
            // A line that is half sent is finished first: the old rule still decides about it.
            member.finish_line(log);
            member.set_ignored(kept);
        });
    }
    directory.changed.push(from);
    let (name, verified) = (who.name.to_string(), who.verified);
    if is_new { Notice::Ignored { name, verified } } else { Notice::Heard { name, verified } }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::member::Member;
    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{Arrival, Read};
    use crate::protocol::Key;

    const SECOND: Duration = Duration::from_secs(1);

    fn verified(name: &str) -> Arrival {
        Arrival { verified: Some(Name::login(name).unwrap()), ..Arrival::default() }
    }

    fn parsed(heard: &str) -> Vec<serde_json::Value> {
        heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn whoever_takes_a_name_sees_names_and_the_others_go_on_as_they_were() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join(), hub.join());
        assert_eq!(hub.answer(&mut ann, "/nick ann"), "-!- you are ann now; /help says what else there is\n");
        hub.say(&mut ben, "hello\n");
        hub.say(&mut ann, "hi\n");
        assert_eq!(ann.read_all(), "<guest2> hello\n");
        assert_eq!(eve.read_all(), "hello\nhi\n");
        assert_eq!(ben.read_all(), "hi\n");
    }

    #[test]
    fn a_name_that_is_taken_or_looks_like_one_is_refused_with_one_that_is_free() {
        let mut hub = TestHub::default();
        let (_ann, mut ben) = (hub.join_as("alice"), hub.join());
        for name in ["alice", "ALICE", "a1ice", "аlісе"] {
            let refusal = match Name::parse(name) {
                Ok(name) => {
                    format!("-!- {name} is taken, or looks like a name that is; {name}2 is free\n")
                }
                // Its letters are of two scripts: that is told first.
                Err(_) => continue,
            };
            assert_eq!(hub.answer(&mut ben, &format!("/nick {name}")), refusal);
        }
        assert!(hub.answer(&mut ben, "/nick alice2").starts_with("-!- you are alice2 now"));
        assert!(hub.answer(&mut ben, "/nick Alice3").starts_with("-!- you are Alice3 now"));
        assert!(hub.answer(&mut ben, "/nick alice3").starts_with("-!- you are alice3 now"), "its own name");
    }

    #[test]
    fn a_name_is_free_when_its_holder_is_gone_or_is_called_something_else() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join());
        hub.ask(&mut ann, "/nick amy");
        assert!(hub.answer(&mut ben, "/nick ann").starts_with("-!- you are ann now"));
        assert!(hub.answer(&mut ben, "/nick amy").starts_with("-!- amy is taken"));
        hub.leave(ann);
        assert!(hub.answer(&mut ben, "/nick amy").starts_with("-!- you are amy now"));
        assert_eq!(hub.hub().directory().roster.len(), 1);
    }

    #[test]
    fn who_takes_a_name_has_joined_or_is_a_guest_who_was_heard_before() {
        let mut hub = TestHub::default();
        let mut ann = hub.join_as("ann");
        let (mut ben, mut eve) = (hub.join(), hub.join());
        hub.ask(&mut ben, "/nick ben");
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- ben joined (3 here)\n");
        hub.say(&mut eve, "it is me\n");
        hub.ask(&mut eve, "/nick eve");
        hub.ask(&mut eve, "/nick eva");
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "<guest3> it is me\n-!- guest3 is now eve\n-!- eve is now eva\n");
        hub.leave(eve);
        hub.leave(ben);
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- eva left (2 here)\n-!- ben left (1 here)\n");
    }

    #[test]
    fn scripts_that_ask_for_nothing_come_and_go_unnoticed() {
        let mut hub = TestHub::default();
        let mut ann = hub.join_as("ann");
        let mut script = hub.join();
        hub.say(&mut script, "deploy done\n");
        hub.leave(script);
        let mut login = hub.arrive(verified("root"));
        hub.say(&mut login, "backup done\n");
        hub.leave(login);
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "<guest2> deploy done\n<+root> backup done\n");
    }

    #[test]
    fn a_thousand_who_come_and_go_are_a_few_lines() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let mut ann = hub.join_as("ann");
        let mut bot = hub.join();
        hub.ask(&mut bot, "/view json");
        hub.wait(SECOND);
        ann.read_all();
        bot.read_all();
        let crowd: Vec<Person> = (0..1000).map(|number| hub.join_as(&format!("x{number}"))).collect();
        hub.wait(2 * SECOND);
        let heard = ann.read_all();
        assert!(heard.ends_with(" others joined (1002 here)\n"), "{heard}");
        assert!(heard.lines().count() <= 2, "{heard}");
        let told = parsed(&bot.read_all());
        assert_eq!(told.len(), 1000, "programs are told of each");
        assert!(told.iter().all(|event| event["type"] == "join"));
        crowd.into_iter().for_each(|person| hub.leave(person));
        hub.wait(2 * SECOND);
        let heard = ann.read_all();
        assert!(heard.lines().count() <= 2 && heard.ends_with("left (2 here)\n"), "{heard}");
    }

    #[test]
    fn who_is_here_is_listed_and_very_many_are_counted() {
        let mut hub = TestHub::default();
        let (_ann, mut ben) = (hub.join_as("ann"), hub.join());
        let _root = hub.arrive(verified("root"));
        assert_eq!(hub.answer(&mut ben, "/who"), "-!- 3 here: ann, +root, guest2\n");
        let _crowd: Vec<Person> = (0..200).map(|_| hub.join()).collect();
        let heard = hub.answer(&mut ben, "/who");
        assert!(heard.starts_with("-!- 203 here: ann, +root, guest2, guest4,"), "{heard}");
        assert!(heard.ends_with(" and 103 more\n"), "{heard}");
    }

    #[test]
    fn nobody_speaks_under_a_name_that_others_have_not_been_told_of() {
        let mut hub = TestHub::default();
        let (mut eve, mut bob) = (hub.join_as("eve"), hub.join_as("bob"));
        hub.wait(5 * SECOND);
        hub.say(&mut bob, "it is bob\n");
        let mut mallory = hub.join();
        hub.ask(&mut mallory, "/nick x");
        assert_eq!(eve.read_all(), "-!- bob joined (2 here)\n<bob> it is bob\n-!- x joined (3 here)\n");
        // Now others are gathered for a second.
        hub.leave(bob);
        hub.ask(&mut mallory, "/nick bob");
        hub.say(&mut mallory, "my new key\n");
        hub.ask(&mut mallory, "/nick mallory");
        let heard = "-!- bob left (2 here)\n-!- x is now bob\n<bob> my new key\n-!- bob is now mallory\n";
        assert_eq!(eve.read_all(), heard);
    }

    #[test]
    fn who_speaks_before_others_are_told_of_has_joined_first() {
        let mut hub = TestHub::default();
        let mut eve = hub.join_as("eve");
        let (mut x, mut y) = (hub.join(), hub.join());
        hub.ask(&mut x, "/nick x");
        hub.ask(&mut y, "/nick y");
        hub.say(&mut y, "hello\n");
        hub.ask(&mut y, "/nick z");
        assert_eq!(eve.read_all(), "-!- x and y joined (3 here)\n<y> hello\n-!- y is now z\n");
    }

    #[test]
    fn renames_and_those_who_come_and_go_do_not_pile_up_in_a_room_that_waits() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join_as("ann"), hub.join_as("ben"), hub.join_as("eve"));
        hub.wait(5 * SECOND);
        ben.read_all();
        hub.say(&mut ann, &lines(0, 200));
        assert!(hub.hub().is_waiting());
        let waiting =
            |hub: &TestHub| hub.hub().directory().rooms()[&crate::chat::id::RoomId::MAIN].waiting().len();
        let before = waiting(&hub);
        hub.ask(&mut eve, "/nick amy");
        assert!(eve.is_outstanding(), "it asks for nothing more until others are told");
        for _ in 0..1000 {
            let mut guest = hub.join();
            hub.ask(&mut guest, "/view names");
            hub.leave(guest);
        }
        assert!(waiting(&hub) <= before + 3, "the rename, and once who has come and who is gone");
        let mut heard = String::new();
        for _ in 0..3 {
            heard.push_str(&ben.read_all());
            ann.read_all();
            eve.read_all();
        }
        assert!(!eve.is_outstanding() && heard.contains("-!- eve is now amy\n"));
    }

    #[test]
    fn a_rename_is_taken_in_in_its_turn_though_others_go_on_waiting() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join_as("ann"), hub.join(), hub.join_as("eve"));
        let mut talkers = [hub.join(), hub.join()];
        hub.wait(5 * SECOND);
        let mut said = 0;
        // There is always somebody whose lines wait.
        for turn in 0..200 {
            for talker in &mut talkers {
                if !talker.is_outstanding() {
                    hub.say(talker, &lines(said, said + 40));
                    said += 40;
                }
                talker.read_all();
            }
            if turn == 20 {
                assert!(hub.hub().is_waiting());
                hub.ask(&mut eve, "/nick amy");
                assert!(eve.is_outstanding());
                assert!(hub.answer(&mut ann, "/nick Amy").contains(" is taken"), "that is told at once");
                assert!(!ann.is_outstanding());
            }
            if turn > 20 && !eve.is_outstanding() {
                return assert!(hub.hub().is_waiting());
            }
            [&mut ann, &mut eve].into_iter().for_each(|one| drop(one.read_all()));
            ben.read(400);
            hub.wait(Duration::from_millis(100));
        }
        panic!("it is held for ever");
    }

    #[test]
    fn a_private_message_goes_to_one_member_and_is_kept_nowhere() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join_as("ann"), hub.join(), hub.join());
        assert_eq!(hub.answer(&mut ann, "/msg guest2 psst"), "-!- told guest2\n");
        assert_eq!(ben.read_all(), "[ann -> you] psst\n", "in plain it is marked as well");
        let alike = hub.answer(&mut ben, "/msg ANN <eve> boo");
        assert_eq!(
            (alike.as_str(), ann.read_all().as_str()),
            ("-!- nobody has exactly that name; similar names: ann\n", "")
        );
        assert_eq!(hub.answer(&mut ben, "/msg ann <eve> boo"), "-!- told ann\n");
        assert_eq!(ann.read_all(), "[guest2 -> you] <eve> boo\n");
        assert_eq!(eve.read_all(), "");
        assert_eq!(hub.answer(&mut eve, "/last"), "-!- nothing has been said yet\n");
        assert_eq!(hub.answer(&mut ann, "/msg nobody x"), "-!- nobody is called that; see /who\n");
        assert_eq!(hub.answer(&mut ann, "/msg guest77 x"), "-!- nobody is called that; see /who\n");
        assert_eq!(hub.answer(&mut ann, "/msg guest1 x"), "-!- nobody is called that; see /who\n");
        assert_eq!(hub.answer(&mut ann, "/msg ann x"), "-!- that is you\n");
        hub.ask(&mut eve, "/view json");
        eve.read_all();
        hub.ask(&mut ann, "/msg guest3 \"q\"");
        let told = parsed(&eve.read_all());
        assert_eq!(
            told,
            [serde_json::json!({
                "type": "private", "time": "1970-01-01T00:00:00.000Z", "id": 1, "from": "ann",
                "verified": false, "to": "guest3", "text": "\"q\""
            })]
        );
    }

    #[test]
    fn nobody_fills_the_memory_with_messages_for_one_who_does_not_read() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join_as("ann"), hub.join_as("ben"));
        let text = "x".repeat(10_000);
        let mut refused = 0;
        for _ in 0..50 {
            let answer = hub.answer(&mut ann, &format!("/msg ben {text}"));
            hub.wait(SECOND);
            refused += answer.matches("-!- ben is not reading, and did not get it\n").count();
        }
        assert_eq!(refused, 50 - 7, "64 KiB and one more");
        assert!(ben.member(Member::owed_bytes) < 80_000);
    }

    #[test]
    fn rooms_are_made_on_demand_and_gone_when_nobody_is_there() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("ben"));
        hub.wait(SECOND);
        ann.read_all();
        assert_eq!(hub.answer(&mut ann, "/rooms"), "-!- 1 room: main (2)\n");
        assert_eq!(hub.answer(&mut ann, "/join ops"), "-!- you are in ops now (1 here)\n");
        assert_eq!(
            hub.answer(&mut ann, "/join OPS"),
            "-!- you are already in that room\n",
            "what looks alike is the same"
        );
        hub.wait(SECOND);
        assert_eq!(ben.read_all(), "-!- ann left (1 here)\n");
        hub.say(&mut ben, "in main\n");
        hub.say(&mut ann, "in ops\n");
        assert_eq!((ann.read_all(), ben.read_all()), (String::new(), String::new()));
        assert_eq!(hub.answer(&mut ben, "/join 0ps"), "-!- you are in ops now (2 here)\n");
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- ben joined (2 here)\n");
        hub.say(&mut ann, "welcome\n");
        assert_eq!(ben.read_all(), "<ann> welcome\n");
        assert_eq!(hub.answer(&mut ben, "/join main"), "-!- you are in main now (1 here)\n");
        assert_eq!(hub.answer(&mut ben, "/join lab"), "-!- you are in lab now (1 here)\n");
        let mut eve = hub.join();
        assert_eq!(hub.answer(&mut eve, "/join fourth"), "-!- there are 3 rooms already; see /rooms\n");
        hub.leave(eve);
        assert_eq!(hub.answer(&mut ann, "/join fourth"), "-!- you are in fourth now (1 here)\n");
        assert_eq!(hub.answer(&mut ann, "/rooms"), "-!- 3 rooms: lab (1), fourth (1), main (0)\n");
        hub.leave(ben);
        assert_eq!(hub.answer(&mut ann, "/rooms"), "-!- 2 rooms: fourth (1), main (0)\n");
        assert_eq!(hub.hub().traffic().rooms.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn what_was_said_before_one_goes_elsewhere_is_heard_before_what_is_said_there() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join(), hub.join());
        hub.ask(&mut eve, "/join ops");
        hub.say(&mut ann, "one\ntwo\n");
        ben.read(2);
        hub.ask(&mut ben, "/join ops");
        hub.say(&mut eve, "three\n");
        hub.say(&mut ann, "not heard\n");
        assert_eq!(ben.read_all(), "one\ntwo\n-!- you are in ops now (2 here)\nthree\n");
    }

    #[test]
    fn the_last_lines_are_shown_on_request_as_one_wants_them() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join());
        hub.say(&mut ann, "one\ntwo\n");
        hub.ask(&mut ann, "/me waves");
        hub.say(&mut ben, "three\n");
        ben.read_all();
        let last = hub.answer(&mut ben, "/last 3");
        assert_eq!(last, "-!- the last 3 lines:\ntwo\n* ann waves\nthree\n-!- that was the last\n");
        ann.read_all();
        let last = hub.answer(&mut ann, "/last 999999");
        let shown = "<ann> one\n<ann> two\n* ann waves\n<guest2> three\n";
        assert_eq!(last, format!("-!- the last 4 lines:\n{shown}-!- that was the last\n"));
        hub.ask(&mut ben, "/view json");
        let told = parsed(&hub.answer(&mut ben, "/last"));
        let seqs: Vec<_> = told.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
        let mut eve = hub.join();
        hub.ask(&mut eve, "/join ops");
        assert_eq!(hub.answer(&mut eve, "/last"), "-!- nothing has been said yet\n");
        let mut off = TestHub::new(|limits| limits.history = 0);
        let mut ann = off.join();
        off.say(&mut ann, "one\n");
        assert_eq!(off.answer(&mut ann, "/last"), "-!- the history is turned off here\n");
    }

    #[test]
    fn whom_one_ignores_one_does_not_hear_until_one_does_again() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join_as("ann"), hub.join_as("ben"), hub.join());
        hub.wait(SECOND);
        assert_eq!(
            hub.answer(&mut ann, "/ignore ben"),
            "-!- you do not hear ben any more; /ignore ben undoes it\n"
        );
        for number in 0..3 {
            hub.say(&mut ben, &format!("b{number}\n"));
            hub.say(&mut eve, &format!("e{number}\n"));
        }
        hub.ask(&mut ben, "/nick bob");
        assert_eq!(ann.read_all(), "<guest3> e0\n<guest3> e1\n<guest3> e2\n", "by whatever name");
        assert_eq!(hub.answer(&mut ben, "/msg ann x"), "-!- ann ignores you, and did not get it\n");
        assert_eq!(hub.answer(&mut ann, "/ignore bob"), "-!- you hear bob again\n");
        hub.say(&mut ben, "b4\n");
        assert_eq!(ann.read_all(), "<bob> b4\n");
        assert_eq!(hub.answer(&mut ann, "/ignore ann"), "-!- that is you\n");
        assert_eq!(hub.answer(&mut ann, "/ignore zoe"), "-!- nobody is called that; see /who\n");
    }

    #[test]
    fn who_is_gone_does_not_count_among_those_whom_one_ignores() {
        let mut hub = TestHub::default();
        let mut ann = hub.join_as("ann");
        for _ in 0..=MOST_IGNORED {
            let mut pest = hub.join_as("pest");
            assert!(hub.answer(&mut ann, "/ignore pest").starts_with("-!- you do not hear pest any more"));
            hub.say(&mut pest, "buy now\n");
            assert!(!ann.read_all().contains("buy now"));
            hub.leave(pest);
        }
        let mut others: Vec<_> = (0..MOST_IGNORED).map(|_| hub.join()).collect();
        for other in &others {
            hub.answer(&mut ann, &format!("/ignore guest{}", other.id().0));
        }
        let last = hub.join();
        let answer = hub.answer(&mut ann, &format!("/ignore guest{}", last.id().0));
        assert_eq!(answer, "-!- you already ignore 100, the most that you can; this one is not ignored\n");
        others.iter_mut().for_each(|other| hub.say(other, "not heard\n"));
        assert!(!ann.read_all().contains("not heard"));
    }

    #[test]
    fn whom_the_kernel_names_nobody_else_is_called() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join_as("r00t"));
        ben.read_all();
        hub.wait(SECOND);
        ann.read_all();
        let mut root = hub.arrive(verified("root"));
        assert_eq!(ben.read_all(), "-!- +root, whose name is verified, has connected: you are guest2 now\n");
        assert_eq!(ann.read_all(), "-!- r00t is now guest2\n");
        assert!(hub.answer(&mut ben, "/nick root").starts_with("-!- root is taken"));
        hub.say(&mut root, "hi\n");
        assert_eq!(ann.read_all(), "<+root> hi\n");
        assert_eq!(
            hub.answer(&mut root, "/nick boss"),
            "-!- you are +root: the name is verified, and nobody can change it\n"
        );
        hub.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- +root joined (3 here)\n", "it has asked for something");
        let second = hub.arrive(verified("root"));
        hub.leave(root);
        assert!(hub.answer(&mut ben, "/nick root").starts_with("-!- root is taken"), "it is still here");
        assert_eq!(hub.answer(&mut ben, "/msg +root psst"), "-!- told +root\n");
        assert_eq!(second.member(Member::owed_bytes), "[guest2 -> you] psst\n".len());
        hub.leave(second);
        assert!(hub.answer(&mut ben, "/nick root").starts_with("-!- you are root now"));
    }

    #[test]
    fn users_whose_names_look_alike_keep_them_whoever_goes_first() {
        let mut hub = TestHub::default();
        let mut ann = hub.join();
        let bill = hub.arrive(verified("bill"));
        let other = hub.arrive(verified("bi11"));
        hub.leave(other);
        assert!(hub.answer(&mut ann, "/nick bill").starts_with("-!- bill is taken"));
        assert_eq!(hub.answer(&mut ann, "/msg bill hi"), "-!- told +bill\n");
        hub.leave(bill);
        assert!(hub.answer(&mut ann, "/nick bill").starts_with("-!- you are bill now"));
        let mut ben = hub.join();
        assert_eq!(
            hub.answer(&mut ben, "/msg +bill hi"),
            "-!- nobody has exactly that name; similar names: bill\n"
        );
    }

    #[test]
    fn who_is_named_exactly_is_meant_whoever_else_looks_like_that() {
        for (first, second) in [("Ian", "lan"), ("bob", "Bob")] {
            let mut hub = TestHub::default();
            let mut ann = hub.join_as("ann");
            let (mut one, mut other) = (hub.arrive(verified(first)), hub.arrive(verified(second)));
            for to in [first.to_owned(), format!("+{first}")] {
                assert_eq!(hub.answer(&mut ann, &format!("/msg {to} psst")), format!("-!- told +{first}\n"));
                assert_eq!((one.read_all().as_str(), other.read_all().as_str()), ("[ann -> you] psst\n", ""));
            }
            hub.answer(&mut ann, &format!("/ignore +{first}"));
            hub.say(&mut one, "not heard\n");
            hub.say(&mut other, "heard\n");
            assert_eq!(ann.read_all(), format!("<+{second}> heard\n"));
            hub.wait(2 * SECOND);
            ann.read_all();
            let who = hub.answer(&mut ann, "/who");
            assert_eq!(who, format!("-!- 3 here: ann, +{first} (#2), +{second} (#3)\n"), "told apart");
            hub.leave(one);
            let alike = hub.answer(&mut ann, &format!("/msg {first} psst"));
            assert_eq!(alike, format!("-!- nobody has exactly that name; similar names: +{second}\n"));
            other.read_all();
            assert_eq!(hub.answer(&mut ann, "/who"), format!("-!- 2 here: ann, +{second}\n"));
        }
    }

    #[test]
    fn who_loses_a_name_may_say_what_a_guest_may_say() {
        let mut hub = TestHub::default();
        let ben = hub.join_as("root");
        assert!(ben.member(Member::is_named));
        let _root = hub.arrive(verified("root"));
        assert!(!ben.member(Member::is_named));
    }

    #[test]
    fn who_speaks_telnet_gets_cr_lf_in_every_view_from_then_on() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "one\n");
        hub.send(&ben, Read { is_telnet: true, ..Read::default() });
        hub.say(&mut ann, "two\n");
        assert_eq!(ben.read_all(), "one\ntwo\r\n");
        hub.ask(&mut ben, "/nick ben");
        assert_eq!(ben.read_all(), "-!- you are ben now; /help says what else there is\r\n");
        hub.ask(&mut ben, "/time on");
        hub.ask(&mut ben, "/view json");
        hub.say(&mut ann, "three\nfour\n");
        hub.ask(&mut ann, "/msg ben psst");
        hub.move_on(std::slice::from_mut(&mut ben));
        hub.ask(&mut ben, "/who");
        let heard = ben.read_all();
        assert!(
            heard.split_inclusive('\n').all(|line| line.ends_with("\r\n")) && heard.lines().count() == 6,
            "{heard:?}"
        );
    }

    #[test]
    fn a_user_who_is_there_several_times_gets_a_message_where_it_came_last() {
        let mut hub = TestHub::default();
        let mut ann = hub.join();
        let first = hub.arrive(verified("root"));
        let (mut second, mut third) = (hub.arrive(verified("root")), hub.arrive(verified("root")));
        hub.leave(first);
        let own = "-!- you are +root: the name is verified, and nobody can change it\n";
        for name in ["root", "ann", "other"] {
            assert_eq!(hub.answer(&mut second, &format!("/nick {name}")), own, "whoever else is called that");
        }
        hub.answer(&mut ann, "/msg +root hi");
        assert_eq!((second.read_all(), third.read_all()), (String::new(), "[guest1 -> you] hi\n".to_owned()));
    }

    #[test]
    fn a_line_that_is_longer_than_the_log_is_heard_in_every_view() {
        // A process before this one may have had a greater `max_line`, and a log for that.
        let mut hub = TestHub::new(|limits| limits.log_size = 4096);
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join(), hub.join());
        hub.ask(&mut eve, "/view json");
        eve.read_all();
        let long = format!("{}\n", "\"".repeat(5000));
        let mut told = Vec::new();
        for text in [long.as_str(), "short\n", &long] {
            hub.say(&mut ann, text);
            for _ in 0..10 {
                hub.wait(SECOND);
                told.extend(
                    parsed(&eve.read_all())
                        .iter()
                        .map(|object| format!("{}\n", object["text"].as_str().unwrap())),
                );
                ben.read(usize::MAX);
            }
            assert!(!hub.hub().is_waiting());
        }
        assert_eq!(
            (told.concat(), ben.read_all()),
            (format!("{long}short\n{long}"), format!("{long}short\n{long}"))
        );
    }

    #[test]
    fn a_rename_is_told_where_the_name_before_was_heard() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join_as("ann"), hub.join());
        hub.ask(&mut ann, "/join ops");
        hub.say(&mut ben, "hello\n");
        hub.ask(&mut ben, "/join ops");
        hub.ask(&mut ben, "/nick ben");
        hub.wait(2 * SECOND);
        assert!(ann.read_all().ends_with("-!- ben joined (2 here)\n"));
    }

    #[test]
    fn a_listener_may_have_a_view_and_a_room() {
        let mut hub = TestHub::new(|limits| limits.max_rooms = 1);
        let arrival =
            Arrival { view: View::Names, room: Some(Name::parse("ops").unwrap()), ..Arrival::default() };
        let (mut ann, mut ben) = (hub.arrive(arrival.clone()), hub.arrive(arrival));
        hub.wait(SECOND);
        hub.say(&mut ben, "hi\n");
        assert_eq!(ann.read_all(), "-!- guest2 joined (2 here)\n<guest2> hi\n");
        assert_eq!(hub.answer(&mut ann, "/rooms"), "-!- 2 rooms: ops (2), main (0)\n");
    }

    #[test]
    fn a_log_that_is_full_holds_up_all_views_alike() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join_as("ben"), hub.join());
        hub.ask(&mut eve, "/view json");
        eve.read_all();
        let mut said = 0;
        while !ann.is_outstanding() {
            hub.say(&mut ann, &lines(said, said + 1));
            said += 1;
        }
        assert!(hub.hub().is_waiting());
        let (mut heard, mut told) = (String::new(), String::new());
        for _ in 0..10 {
            heard.push_str(&ben.read_all());
            told.push_str(&eve.read_all());
        }
        assert!(!hub.hub().is_waiting() && !ann.is_outstanding());
        assert_eq!(heard.replace("<guest1> ", ""), lines(0, said));
        let seqs: Vec<u64> = parsed(&told).iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=said as u64).collect::<Vec<_>>());
    }

    /// What a member does while another speaks.
    #[derive(Clone, Debug)]
    enum Move {
        Say(usize),
        Read(usize),
        Ask(&'static str),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let asks =
            ["/view plain", "/view names", "/view json", "/time on", "/time off", "/nick ben", "/nick bob"];
        proptest::collection::vec(
            prop_oneof![
                (1..4_usize).prop_map(Move::Say),
                (0..80_usize).prop_map(Move::Read),
                proptest::sample::select(asks.to_vec()).prop_map(Move::Ask),
            ],
            1..60,
        )
    }

    /// The text of a line in any view; nothing for chatd's own.
    fn text_of(line: &str) -> Option<String> {
        if line.starts_with('{') {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            return (object["type"] == "message").then(|| object["text"].as_str().unwrap().to_owned());
        }
        let is_clock = |line: &str| line.len() > 6 && &line[2..3] == ":" && &line[5..6] == " ";
        let line = if is_clock(line) { &line[6..] } else { line };
        if line.starts_with("-!- ") {
            return None;
        }
        Some(line.strip_prefix("<ann> ").unwrap_or(line).to_owned())
    }

    /// The only object of that type in what was heard.
    fn object(heard: &str, kind: &str) -> serde_json::Value {
        let found: Vec<_> = parsed(heard).into_iter().filter(|one| one["type"] == kind).collect();
        assert_eq!(found.len(), 1, "{kind} in {heard}");
        found.into_iter().next().unwrap()
    }

    fn bot(hub: &mut TestHub) -> Person {
        let mut bot = hub.join();
        hub.ask(&mut bot, "/view json");
        bot.read_all();
        bot
    }

    /// The key that somebody is given with a name.
    fn key_of(hub: &mut TestHub, person: &mut Person, name: &str) -> String {
        let heard = hub.answer(person, &format!("/nick {name}"));
        let named = object(&heard, "notice");
        assert_eq!((&named["code"], &named["name"]), (&"named".into(), &name.into()));
        named["key"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_comes_back_when_all_before_it_has_its_place() {
        let mut hub = TestHub::default();
        let (mut ann, mut bot) = (hub.join_as("ann"), bot(&mut hub));
        ann.read_all();
        hub.say(&mut bot, "one\ntwo\n/sync a-1\nthree\n");
        let synced = object(&bot.read_all(), "synced");
        let epoch = synced["epoch"].as_u64().unwrap();
        assert_eq!(
            synced,
            serde_json::json!({
                "type": "synced", "token": "a-1", "id": 2, "name": "guest2", "verified": false, "room": "main",
                "epoch": epoch, "seq": 2
            })
        );
        assert_eq!(
            ann.read_all(),
            "-!- guest2 joined (2 here)\n<guest2> one\n<guest2> two\n<guest2> three\n"
        );
        assert_eq!(hub.answer(&mut ann, "/sync x"), "-!- synced x\n");
    }

    #[test]
    fn over_a_full_room_the_token_waits_until_the_room_has_taken_what_was_said() {
        let mut hub = TestHub::new(|limits| limits.log_size = 4096);
        let (mut slow, mut bot) = (hub.join(), bot(&mut hub));
        hub.say(&mut bot, &format!("{}/sync late\n", lines(0, 2000)));
        assert!(!bot.read_all().contains("synced"), "the room is full");
        let mut heard = String::new();
        while !heard.contains("synced") {
            assert!(!slow.read_all().is_empty(), "nothing more comes, and no token has come");
            hub.settle();
            heard.push_str(&bot.read_all());
        }
        assert_eq!(object(&heard, "synced")["seq"], 2000);
    }

    #[test]
    fn a_room_that_begins_anew_has_another_epoch_and_one_that_goes_on_has_not() {
        let mut hub = TestHub::default();
        let mut people = vec![bot(&mut hub)];
        let epoch = |hub: &mut TestHub, people: &mut Vec<Person>, line: &str| {
            let heard = hub.answer(&mut people[0], line);
            let kind = if line.starts_with("/sync") { "synced" } else { "notice" };
            object(&heard, kind)["epoch"].as_u64().unwrap()
        };
        let main = epoch(&mut hub, &mut people, "/sync x");
        let first = epoch(&mut hub, &mut people, "/join ops");
        hub.move_on(&mut people);
        assert_eq!(epoch(&mut hub, &mut people, "/sync x"), first);
        assert_eq!(epoch(&mut hub, &mut people, "/join main"), main);
        let second = epoch(&mut hub, &mut people, "/join ops");
        assert!(second != first && second != main);
    }

    #[test]
    fn what_came_behind_a_line_is_shown_with_what_is_missing() {
        let mut hub = TestHub::new(|limits| limits.history = 4);
        let (mut ann, mut bot) = (hub.join_as("ann"), bot(&mut hub));
        for number in 1..=6 {
            hub.say(&mut ann, &format!("line {number}\n"));
        }
        hub.say(&mut bot, "mine\n");
        bot.read_all();
        let heard = hub.answer(&mut bot, "/last since 2");
        let objects = parsed(&heard);
        let history = object(&heard, "history");
        let field = |key: &str| history[key].as_u64().unwrap();
        assert_eq!(["first_kept", "missing", "more", "lines", "since"].map(field), [4, 1, 0, 4, 2]);
        let texts: Vec<_> = objects[1..5].iter().map(|one| one["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["line 4", "line 5", "line 6", "mine"]);
        assert_eq!((objects[5]["type"].as_str(), objects.len()), (Some("history_end"), 6));
        let (epoch, other) = (field("epoch"), field("epoch") + 1);
        let lines = |hub: &mut TestHub, bot: &mut Person, asked: &str| {
            let history = object(&hub.answer(bot, asked), "history");
            (history["lines"].as_u64().unwrap(), history["missing"].as_u64().unwrap())
        };
        assert_eq!(lines(&mut hub, &mut bot, &format!("/last since 7 {epoch}")), (0, 0));
        let heard = hub.answer(&mut bot, &format!("/last since {}", u64::MAX));
        assert_eq!(object(&heard, "history")["since"], 7, "no number is greater than those of the room");
        assert_eq!(
            lines(&mut hub, &mut bot, &format!("/last since 7 {other}")),
            (4, 3),
            "another room's number"
        );
        ann.read_all();
        assert_eq!(
            hub.answer(&mut ann, "/last since 5"),
            "-!- 2 lines after line 5:\n<ann> line 6\n<guest2> mine\n-!- that was the last\n"
        );
        assert_eq!(
            hub.answer(&mut ann, "/last MINE"),
            "-!- the last line that has that text:\n<guest2> mine\n-!- that was the last\n"
        );
        assert_eq!(hub.answer(&mut ann, "/last yours"), "-!- no line has that text\n");
    }

    #[test]
    fn a_name_is_taken_back_with_its_key_from_a_connection_that_is_still_there() {
        let mut hub = TestHub::default();
        let (mut first, mut second, mut eve) = (bot(&mut hub), bot(&mut hub), bot(&mut hub));
        let key = key_of(&mut hub, &mut first, "ann");
        let code = |heard: &str| object(heard, "notice")["code"].as_str().unwrap().to_owned();
        let wrong = format!("/nick ann {}", Key(1));
        assert_eq!(code(&hub.answer(&mut eve, &wrong)), "bad_key");
        assert_eq!(code(&hub.answer(&mut eve, &format!("/nick amy {key}"))), "bad_key", "it is for one name");
        assert_eq!(code(&hub.answer(&mut second, &format!("/nick ann {key}"))), "named");
        let told = object(&first.read_all(), "notice");
        assert_eq!([&told["code"], &told["name"], &told["now"]], ["name_taken_over", "ann", "guest1"]);
        hub.say(&mut second, "it is me\n");
        assert_eq!(object(&first.read_all(), "message")["from"], "ann");
        assert_eq!(
            code(&hub.answer(&mut first, &format!("/nick ann {key}"))),
            "bad_key",
            "it is for one use"
        );
    }

    #[test]
    fn a_key_outlives_its_connection_and_restarts_for_ten_minutes() {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut hub = TestHub::default();
        let mut others = vec![bot(&mut hub), bot(&mut hub)];
        let key = key_of(&mut hub, &mut others[1], "ann");
        hub.move_on(&mut others);
        hub.leave(others.remove(1));
        hub.move_on(&mut others);
        // It is free for all meanwhile.
        let (mut eve, mut again) = (hub.join_as("ann"), bot(&mut hub));
        hub.wait(9 * MINUTE);
        assert!(hub.answer(&mut again, &format!("/nick ann {key}")).contains("named"));
        assert!(eve.read_all().contains("another connection has taken ann"));
        let key = key_of(&mut hub, &mut again, "ann");
        hub.leave(again);
        hub.wait(11 * MINUTE);
        assert!(hub.answer(&mut others[0], &format!("/nick ann {key}")).contains("bad_key"));
    }

    #[test]
    fn a_name_of_the_kernel_is_not_taken_with_a_key() {
        let mut hub = TestHub::default();
        let (mut bot, mut other) = (bot(&mut hub), bot(&mut hub));
        let key = key_of(&mut hub, &mut bot, "root");
        let _root = hub.arrive(verified("root"));
        bot.read_all();
        assert!(
            hub.answer(&mut bot, &format!("/nick root {key}")).contains("bad_key"),
            "the kernel has taken it"
        );
        let key = key_of(&mut hub, &mut bot, "ann");
        hub.leave(bot);
        let _ann = hub.arrive(verified("ann"));
        other.read_all();
        assert!(hub.answer(&mut other, &format!("/nick ann {key}")).contains("taken"));
    }

    #[test]
    fn a_key_that_is_refused_is_not_used_up() {
        let mut hub = TestHub::default();
        let (mut bot, mut other) = (bot(&mut hub), bot(&mut hub));
        let key = key_of(&mut hub, &mut bot, "root");
        hub.leave(bot);
        let root = hub.arrive(verified("root"));
        other.read_all();
        assert!(hub.answer(&mut other, &format!("/nick root {key}")).contains("taken"));
        hub.leave(root);
        other.read_all();
        assert!(hub.answer(&mut other, &format!("/nick root {key}")).contains("named"));
    }

    #[test]
    fn the_key_of_one_who_is_gone_takes_a_name_from_nobody_who_has_a_key() {
        let mut hub = TestHub::default();
        let mut keys = Vec::new();
        for _ in 0..3 {
            let mut bot = bot(&mut hub);
            keys.push(key_of(&mut hub, &mut bot, "alice"));
            hub.leave(bot);
        }
        let (mut alice, mut other) = (bot(&mut hub), bot(&mut hub));
        let asked = |key: &str| format!("/nick alice {key}");
        assert!(
            hub.answer(&mut other, &asked(&keys[0])).contains("bad_key"),
            "the last key of a name counts"
        );
        let key = key_of(&mut hub, &mut alice, "alice");
        assert!(hub.answer(&mut other, &asked(&keys[2])).contains("taken"));
        assert!(hub.answer(&mut other, &asked(&key)).contains("named"), "the key of one who is there");
    }

    #[test]
    fn what_waits_for_space_can_be_asked_for_as_far_as_it_is_taken() {
        let mut hub = TestHub::new(|limits| (limits.log_size, limits.history) = (64 * 1024, 100_000));
        let (mut ann, mut bot, _slow) = (hub.join(), bot(&mut hub), bot(&mut hub));
        hub.say(&mut ann, &lines(0, 5000));
        assert!(hub.hub().is_waiting());
        bot.read_all();
        let history = object(&hub.answer(&mut bot, "/last since 0"), "history");
        assert_eq!((&history["missing"], &history["first_kept"]), (&0.into(), &1.into()));
        assert!(history["lines"].as_u64().unwrap() > 0);
    }

    #[test]
    fn keys_are_shown_in_json_alone_and_to_nobody_else() {
        let mut hub = TestHub::default();
        let (mut ann, mut bot) = (hub.join_as("ann"), bot(&mut hub));
        let key = key_of(&mut hub, &mut bot, "ben");
        assert!(!hub.answer(&mut ann, "/nick amy").contains("key"));
        assert!(!ann.read_all().contains(&key));
    }

    proptest! {
        #[test]
        fn whatever_view_one_changes_to_when_no_line_is_lost_or_comes_twice(moves in moves()) {
            let mut hub = TestHub::new(|limits| limits.log_size = 1 << 16);
            let (mut ann, mut ben) = (hub.join_as("ann"), hub.join());
            let (mut said, mut heard) = (0, String::new());
            for next in moves {
                match next {
                    Move::Say(count) => {
                        let text: String = (said..said + count).map(|number| format!("line {number}\n")).collect();
                        hub.say(&mut ann, &text);
                        said += count;
                    }
                    Move::Read(bytes) => {
                        ben.read(bytes);
                    }
                    Move::Ask(line) => hub.ask(&mut ben, line),
                }
                heard.push_str(&ben.heard());
            }
            heard.push_str(&ben.read_all());
            let texts: Vec<String> = heard.lines().filter_map(text_of).collect();
            let expected: Vec<String> = (0..said).map(|number| format!("line {number}")).collect();
            prop_assert_eq!(texts, expected, "{}", heard);
        }
    }
}
