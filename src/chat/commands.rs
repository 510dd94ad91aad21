//! Commands: what the hub does for a session that sends a line which begins with a slash.
//!
//! Answers go to whoever has asked, and to nobody else; they are worded in `protocol::answer`. `/quit` is the hub's own.

use std::collections::BTreeSet;

use super::directory::{Directory, Place};
use super::id::{Now, RoomId, SessionId};
use super::member::Member;
use super::room::Room;
use crate::protocol::{Answer, Command, Form, Kind, Name, View, Who};

/// Most names in the answer to `/who`, and most rooms in that to `/rooms`; the others are counted.
const MOST_LISTED: usize = 100;

/// Bytes that may wait for a member before private messages for it are refused: nobody can fill the memory by
/// talking to somebody who does not read.
const MOST_OWED: usize = 64 * 1024;

/// Most names in the answer to a name that nobody has exactly.
const MOST_ALIKE: usize = 5;

/// Whom a member ignores, at most.
pub(super) const MOST_IGNORED: usize = 100;

/// `/last` without a number.
const LAST_LINES: u32 = 20;

/// Does what a session asks for. What it says, and what others are to be told, is left in `directory.outgoing`.
pub(super) fn execute(directory: &mut Directory, from: SessionId, command: Command, now: Now) {
    if directory.member(from).is_some_and(|member| member.name().is_some()) {
        // Of whom the kernel says it: that it asks for something shows that it is no script.
        directory.introduce(from, now);
    }
    let answer = match command {
        Command::Help => Some(Answer::Help),
        Command::Nick(name) => nick(directory, from, name, now),
        Command::Who => who(directory, from),
        Command::Me(text) => {
            directory.say(from, Kind::Emote, format!("{text}\n").into_bytes(), 1, now);
            None
        }
        Command::Msg { to, text } => Some(msg(directory, from, &to, &text, now)),
        Command::Join(name) => join(directory, from, name, now),
        Command::Rooms => Some(rooms(directory)),
        Command::Last(lines) => last(directory, from, lines.unwrap_or(LAST_LINES)),
        Command::View(view) => self::view(directory, from, view, now),
        Command::Time(times) => time(directory, from, times, now),
        Command::Ignore(name) => Some(ignore(directory, from, &name)),
        Command::Quit => None,
    };
    if let Some(answer) = answer {
        directory.answer(from, &answer);
    }
}

/// Who is called that: a name as it was typed, or that of a guest. Somebody whose name only looks like it is not meant:
/// then the answer says who there is.
fn find(directory: &Directory, name: &str) -> Result<SessionId, Answer> {
    let (must_be_verified, name) = name.strip_prefix('+').map_or((false, name), |name| (true, name));
    let number = name.get(..5).filter(|word| word.eq_ignore_ascii_case("guest")).map(|_| &name[5..]);
    if let Some(number) = number.and_then(|number| number.parse().ok()).filter(|_| !must_be_verified) {
        let guest = directory.member(SessionId(number)).filter(|member| member.name().is_none());
        return guest.map(|guest| guest.id).ok_or(Answer::NobodyCalledThat);
    }
    let name = Name::parse(name).or_else(|_| Name::login(name)).or_else(|_| Name::of_user(name));
    let name = name.map_err(|_| Answer::NobodyCalledThat)?;
    let alike: Vec<&Member> = directory.names.holders(&name).filter_map(|id| directory.member(id)).collect();
    let is_meant = |member: &&Member| {
        let who = member.who();
        who.name == name && (who.verified || !must_be_verified)
    };
    alike.iter().copied().find(is_meant).map(|member| member.id).ok_or_else(|| only_alike(&alike))
}

/// The answer to a name that nobody has exactly: the names that look like it.
fn only_alike(alike: &[&Member]) -> Answer {
    let names: BTreeSet<String> = alike.iter().map(|member| member.who().to_string()).collect();
    let names: Vec<String> = names.into_iter().take(MOST_ALIKE).collect();
    if names.is_empty() { Answer::NobodyCalledThat } else { Answer::OnlyAlike(names) }
}

fn nick(directory: &mut Directory, from: SessionId, name: Name, now: Now) -> Option<Answer> {
    let place = directory.place(from)?;
    let before = directory.member(from)?.who();
    if before.verified {
        return Some(Answer::IsVerified(before.name.clone()));
    }
    if directory.names.is_taken(&name, from) {
        let hint = free_name(directory, from, &name);
        return Some(Answer::Taken { name, hint });
    }
    let member = directory.member(from)?;
    let is_first = member.name().is_none() && place.form.view() == View::Plain;
    let form = if is_first { place.form.with(View::Names, member.times) } else { place.form };
    if let Some(refusal) = no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    let member = directory.member_mut(from)?;
    let is_known = member.is_present || std::mem::take(&mut member.has_spoken);
    let is_other = before.name != name;
    directory.names.forget(&before);
    directory.give_name(from, Who { id: from.0, name: name.clone(), verified: false });
    change_form(directory, from, form, now);
    if !is_known {
        directory.introduce(from, now);
    } else if is_other {
        directory.member_mut(from)?.is_present = true;
        directory.renamed(from, before, now);
    }
    directory.changed.push(from);
    Some(Answer::Named(name))
}

/// A name like `name` that nobody has.
fn free_name(directory: &Directory, from: SessionId, name: &Name) -> Option<Name> {
    let numbered = (2..100).filter_map(|number| Name::parse(&format!("{}{number}", name.as_str())).ok());
    numbered.into_iter().find(|free| !directory.names.is_taken(free, from))
}

/// The refusal of a log that is not there, where there is little memory left.
fn no_memory(directory: &mut Directory, place: Place) -> Option<Answer> {
    let is_crowded = directory.is_crowded;
    let has_log = directory.room(place.room).feeds().any(|feed| feed.form() == place.form);
    (is_crowded && !has_log).then_some(Answer::NoMemory)
}

fn who(directory: &Directory, from: SessionId) -> Option<Answer> {
    let room = directory.rooms().get(&directory.place(from)?.room)?;
    // Those with names first.
    let mut everybody: Vec<&Member> = room.members().collect();
    let count = everybody.len();
    let rank = |member: &&Member| (member.name().is_none(), member.id);
    if count > MOST_LISTED {
        everybody.select_nth_unstable_by_key(MOST_LISTED, rank);
        everybody.truncate(MOST_LISTED);
    }
    everybody.sort_unstable_by_key(rank);
    Some(Answer::Who { count, names: everybody.iter().map(|one| told_apart(directory, one)).collect() })
}

/// What somebody is called, with the number of the session where another user of this machine is called something that
/// looks the same.
fn told_apart(directory: &Directory, member: &Member) -> String {
    let who = member.who();
    let is_other = |id: SessionId| {
        directory.member(id).is_some_and(|other| other.who().verified && other.who().name != who.name)
    };
    if who.verified && directory.names.holders(&who.name).any(is_other) {
        return format!("{who} (#{})", who.id);
    }
    who.to_string()
}

fn msg(directory: &mut Directory, from: SessionId, to: &str, text: &str, now: Now) -> Answer {
    let target = match find(directory, to) {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    if target == from {
        return Answer::ThatIsYou;
    }
    let (Some(sender), Some(member)) = (directory.member(from), directory.member(target)) else {
        return Answer::NobodyCalledThat;
    };
    let (sender, receiver) = (sender.who(), member.who());
    if member.ignored.contains(&from) {
        return Answer::IgnoresYou(Who::clone(&receiver));
    }
    // Where there is little memory left, one message waits for a member, and no more.
    let most = if directory.is_crowded { 0 } else { MOST_OWED };
    if member.is_broken || member.owed_bytes() > most {
        return Answer::DoesNotRead(Who::clone(&receiver));
    }
    directory.tell(target, |form, out| form.private(&sender, &receiver, text, now.wall, out));
    Answer::Told(Who::clone(&receiver))
}

fn join(directory: &mut Directory, from: SessionId, name: Name, now: Now) -> Option<Answer> {
    let place = directory.place(from)?;
    let there = directory.room_called(&name);
    if there == Some(place.room) {
        return Some(Answer::AlreadyThere);
    }
    // The room that is empty then makes way for the new one.
    let is_last = place.room != RoomId::MAIN && directory.room(place.room).count() == 1;
    let most = directory.limits.max_rooms;
    if there.is_none() && directory.rooms().len() - usize::from(is_last) >= most {
        return Some(Answer::TooManyRooms(most));
    }
    if there.is_none() && directory.is_crowded {
        return Some(Answer::NoMemory);
    }
    let there = there.unwrap_or_else(|| directory.add_room(name, 0));
    let to = Place { room: there, ..place };
    if let Some(refusal) = no_memory(directory, to) {
        return Some(refusal);
    }
    directory.relocate(from, to, now);
    let member = directory.member_mut(from)?;
    // Nobody there has heard it under the name that it has.
    member.has_spoken = false;
    let who = member.is_present.then(|| Who::clone(&member.who()));
    if let Some(who) = who {
        directory.room(there).presence.joined(who.clone());
        directory.tell_presence(there, now);
        directory.room(place.room).presence.left(who);
        directory.tell_presence(place.room, now);
    }
    directory.drop_if_empty(place.room);
    directory.changed.push(from);
    let room = directory.room(there);
    Some(Answer::Entered { room: Name::clone(room.name()), members: room.count() })
}

fn rooms(directory: &Directory) -> Answer {
    let mut rooms: Vec<&Room> = directory.rooms().values().collect();
    let count = rooms.len();
    let rank = |room: &&Room| std::cmp::Reverse(room.count());
    if count > MOST_LISTED {
        rooms.select_nth_unstable_by_key(MOST_LISTED, rank);
        rooms.truncate(MOST_LISTED);
    }
    rooms.sort_by_key(rank);
    let listed = rooms.iter().map(|room| (Name::clone(room.name()), room.count()));
    Answer::Rooms { count, rooms: listed.collect() }
}

fn last(directory: &mut Directory, from: SessionId, lines: u32) -> Option<Answer> {
    if directory.limits.history == 0 {
        return Some(Answer::NoHistory);
    }
    let Place { room, form } = directory.place(from)?;
    let room = directory.rooms().get(&room)?;
    let ignored = &directory.member(from)?.ignored;
    let mut shown = Vec::new();
    let is_shown = |other| !ignored.contains(&SessionId(other));
    let count = room.history.show(lines as usize, room.name().as_str(), form, is_shown, &mut shown);
    directory.tell(from, |form, out| {
        Answer::Last(count).encode(form, out);
        out.append(&mut shown);
        if count > 0 {
            Answer::EndOfLast.encode(form, out);
        }
    });
    None
}

fn view(directory: &mut Directory, from: SessionId, view: View, now: Now) -> Option<Answer> {
    let place = directory.place(from)?;
    let form = place.form.with(view, directory.member(from)?.times);
    if let Some(refusal) = no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    if view != View::Plain {
        directory.introduce(from, now);
    }
    change_form(directory, from, form, now);
    Some(Answer::Viewed(view))
}

fn time(directory: &mut Directory, from: SessionId, times: bool, now: Now) -> Option<Answer> {
    let place = directory.place(from)?;
    let view = place.form.view();
    let form = place.form.with(view, times);
    if let Some(refusal) = no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    directory.member_mut(from)?.times = times;
    change_form(directory, from, form, now);
    Some(Answer::Timed { times, view })
}

/// A session has spoken telnet: its lines end with CR LF from now on (RFC 854).
pub(super) fn end_lines_for_telnet(directory: &mut Directory, from: SessionId, now: Now) {
    if let Some(place) = directory.place(from) {
        change_form(directory, from, place.form.with_crlf(), now);
    }
}

/// Shows lines to a session in another form from now on.
fn change_form(directory: &mut Directory, from: SessionId, form: Form, now: Now) {
    directory.changed.push(from);
    if let Some(place) = directory.place(from).filter(|place| place.form != form) {
        directory.relocate(from, Place { form, ..place }, now);
    }
}

fn ignore(directory: &mut Directory, from: SessionId, name: &str) -> Answer {
    let other = match find(directory, name) {
        Ok(other) => other,
        Err(answer) => return answer,
    };
    if other == from {
        return Answer::ThatIsYou;
    }
    let Some(who) = directory.member(other).map(|member| Who::clone(&member.who())) else {
        return Answer::NobodyCalledThat;
    };
    let ignored = directory.member(from).map_or_else(Vec::new, |member| member.ignored.clone());
    let mut kept: Vec<SessionId> = ignored.iter().copied().filter(|id| *id != other).collect();
    let is_new = kept.len() == ignored.len();
    if is_new && kept.len() >= MOST_IGNORED {
        // A session that is gone says nothing more.
        kept.retain(|id| directory.member(*id).is_some());
        if kept.len() >= MOST_IGNORED {
            return Answer::IgnoresTooMany(MOST_IGNORED);
        }
    }
    kept.extend(is_new.then_some(other));
    if let Some(feed) = directory.feed(from) {
        if let Some((member, log)) = feed.reader(from) {
            // What is half sent is finished by the rule by which it was begun.
            member.finish_line(log);
            member.ignored = kept;
        }
        feed.recount();
    }
    directory.changed.push(from);
    if is_new { Answer::Ignored(who) } else { Answer::HeardAgain(who) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{Arrival, Read};

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
        assert_eq!(hub.hub().directory().names.count(), Name::parse("amy").unwrap().keys().count());
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
        let waiting = |hub: &TestHub| hub.hub().directory().rooms()[&RoomId::MAIN].waiting().len();
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
            ("-!- nobody is called exactly that; there is ann\n", "")
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
            refused += answer.matches("-!- ben does not read, and did not get it\n").count();
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
        assert_eq!(hub.answer(&mut ann, "/join OPS"), "-!- you are there\n", "what looks alike is the same");
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
        assert_eq!(hub.hub().traffic().rooms(), 2);
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
        assert_eq!(off.answer(&mut ann, "/last"), "-!- nothing is kept here to be shown again\n");
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
        assert_eq!(answer, "-!- you ignore 100 already, and hear this one still\n");
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
        assert_eq!(ben.read_all(), "-!- +root has come, a user of this machine: you are guest2 now\n");
        assert_eq!(ann.read_all(), "-!- r00t is now guest2\n");
        assert!(hub.answer(&mut ben, "/nick root").starts_with("-!- root is taken"));
        hub.say(&mut root, "hi\n");
        assert_eq!(ann.read_all(), "<+root> hi\n");
        assert_eq!(
            hub.answer(&mut root, "/nick boss"),
            "-!- you are +root: this machine says so, and nobody can change it\n"
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
            "-!- nobody is called exactly that; there is bill\n"
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
            assert_eq!(alike, format!("-!- nobody is called exactly that; there is +{second}\n"));
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
        let own = "-!- you are +root: this machine says so, and nobody can change it\n";
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
