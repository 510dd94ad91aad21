//! What the house does for a member that asks for something with a line that begins with a slash.
//!
//! Answers go to whoever has asked, and to nobody else; they are worded in `protocol::answer`. What is not here, `/help`
//! and `/quit`, needs no house.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::house::{House, Profile, RoomId};
use super::member::{MOST_IGNORED, SessionId};
use super::reader::answer;
use super::room::Room;
use super::{Effects, Now};
use crate::protocol::{Answer, Command, Form, Kind, Name, View, Who};

/// Most names in the answer to `/who`, and most rooms in that to `/rooms`; the others are counted.
const MOST_LISTED: usize = 100;

/// Bytes that may wait for a member before private messages for it are refused: nobody can fill the memory by
/// talking to somebody who does not read.
const MOST_OWED: usize = 64 * 1024;

/// Most names in the answer to a name that nobody has exactly.
const MOST_ALIKE: usize = 5;

/// `/last` without a number.
const LAST_LINES: u32 = 20;

impl House {
    /// Does what `from` asks for, and acknowledges it.
    pub(super) fn ask(&mut self, from: SessionId, command: Command, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.get(&from) else { return };
        let member = Arc::clone(&profile.member);
        if profile.name().is_some() {
            // Of whom the kernel says it: that it asks for something shows that it is no script.
            self.introduce(from, now, effects);
        }
        let Some(profile) = self.profiles.get(&from) else { return };
        let (room, is_nick) = (profile.room, matches!(command, Command::Nick(_)));
        let has_changed = command.moves() || matches!(command, Command::Ignore(_));
        let done = match command {
            Command::Nick(name) => self.nick(from, name, now, effects),
            Command::Who => Some(self.who(profile.room)),
            Command::Me(text) => {
                // Acknowledged when the room has taken it in.
                return self.say(from, Kind::Emote, format!("{text}\n").into_bytes(), 1, now, effects);
            }
            Command::Msg { to, text } => self.msg(profile, &to, &text, now),
            Command::Join(name) => self.enter(from, name, now, effects),
            Command::Rooms => Some(self.list_rooms()),
            Command::Last(lines) => self.last(profile, lines.unwrap_or(LAST_LINES)),
            Command::View(view) => self.view(from, view, now, effects),
            Command::Time(times) => self.time(from, times, now, effects),
            Command::Ignore(name) => Some(self.ignore(profile, &name)),
            Command::Help | Command::Quit => None,
        };
        if let Some(words) = done
            && let Some(profile) = self.profiles.get(&from)
        {
            profile.tell(&words);
        }
        if has_changed {
            self.note(from);
        }
        // Otherwise renames would pile up in a room that waits.
        if is_nick && self.room(room).has_to_tell_of(&member) {
            return;
        }
        member.acknowledge();
        effects.wake.push(member);
    }

    /// Who is called that: a name as it was typed, or that of a guest. Somebody whose name only looks like it is not meant:
    /// then the answer says who there is.
    fn find(&self, name: &str) -> Result<&Profile, Answer> {
        let (must_be_verified, name) = name.strip_prefix('+').map_or((false, name), |name| (true, name));
        let number = name.get(..5).filter(|word| word.eq_ignore_ascii_case("guest")).map(|_| &name[5..]);
        if let Some(number) = number.and_then(|number| number.parse().ok()).filter(|_| !must_be_verified) {
            let guest = self.profiles.get(&SessionId(number)).filter(|profile| profile.name().is_none());
            return guest.ok_or(Answer::NobodyCalledThat);
        }
        let name = Name::parse(name).or_else(|_| Name::login(name)).or_else(|_| Name::of_user(name));
        let name = name.map_err(|_| Answer::NobodyCalledThat)?;
        let alike: Vec<&Profile> =
            self.names.holders(&name).filter_map(|id| self.profiles.get(&id)).collect();
        let is_meant = |profile: &Profile| {
            let who = profile.who();
            who.name == name && (who.verified || !must_be_verified)
        };
        alike.iter().copied().find(|profile| is_meant(profile)).ok_or_else(|| only_alike(&alike))
    }

    fn nick(&mut self, from: SessionId, name: Name, now: Now, effects: &mut Effects) -> Option<Answer> {
        let before = self.profiles.get(&from)?.who();
        if before.verified {
            return Some(Answer::IsVerified(before.name.clone()));
        }
        if self.names.is_taken(&name, from) {
            let numbered =
                (2..100).filter_map(|number| Name::parse(&format!("{}{number}", name.as_str())).ok());
            let hint = numbered.into_iter().find(|free| !self.names.is_taken(free, from));
            return Some(Answer::Taken { name, hint });
        }
        let profile = self.profiles.get_mut(&from)?;
        let is_known = profile.is_present || std::mem::take(&mut profile.has_spoken);
        profile.is_present = true;
        profile.member.set_named(true);
        let (member, room) = (Arc::clone(&profile.member), profile.room);
        let is_first = profile.name().is_none();
        let form = member.form().with(View::Names, profile.times);
        let words = Answer::Named(name.clone());
        let is_other = before.name != name;
        self.names.forget(&before);
        self.give_name(from, Who { id: from.0, name, verified: false });
        let who = self.profiles.get(&from)?.who();
        self.within(room, effects, |room, effects| {
            if is_first && member.form().view() == View::Plain {
                room.change_form(&member, form, now, effects);
            }
            match is_known {
                true if is_other => room.renamed((before, who), Some(member), now, effects),
                true => {}
                false => room.joined(&who, now, effects),
            }
        });
        Some(words)
    }

    fn who(&self, room: RoomId) -> Answer {
        let here = self.profiles.values().filter(|profile| profile.room == room);
        // Those with names first.
        let mut everybody: Vec<_> =
            here.map(|profile| (profile.name().is_none(), profile.member.id(), profile)).collect();
        let count = everybody.len();
        let rank = |one: &(bool, SessionId, &Profile)| (one.0, one.1);
        if count > MOST_LISTED {
            everybody.select_nth_unstable_by_key(MOST_LISTED, rank);
            everybody.truncate(MOST_LISTED);
        }
        everybody.sort_unstable_by_key(rank);
        Answer::Who { count, names: everybody.iter().map(|(.., profile)| self.told_apart(profile)).collect() }
    }

    /// What somebody is called, with the number of the session where another user of this machine is called something that
    /// looks the same.
    fn told_apart(&self, profile: &Profile) -> String {
        let who = profile.who();
        let is_other = |id: SessionId| {
            self.profiles.get(&id).is_some_and(|other| other.who().verified && other.who().name != who.name)
        };
        if who.verified && self.names.holders(&who.name).any(is_other) {
            return format!("{who} (#{})", who.id);
        }
        who.to_string()
    }

    fn msg(&self, from: &Profile, to: &str, text: &str, now: Now) -> Option<Answer> {
        let target = match self.find(to) {
            Ok(target) => target,
            Err(answer) => return Some(answer),
        };
        if target.member.id() == from.member.id() {
            return Some(Answer::ThatIsYou);
        }
        let who = || Who::clone(&target.who());
        if target.member.ignores(from.member.id()) {
            return Some(Answer::IgnoresYou(who()));
        }
        if target.member.owed() > MOST_OWED || target.member.is_released() {
            return Some(Answer::DoesNotRead(who()));
        }
        let (sender, receiver) = (from.who(), target.who());
        answer(&target.member, |form, out| form.private(&sender, &receiver, text, now.wall, out));
        Some(Answer::Told(who()))
    }

    fn enter(&mut self, from: SessionId, name: Name, now: Now, effects: &mut Effects) -> Option<Answer> {
        let before = self.profiles.get(&from)?.room;
        let there = self.room_called(&name);
        if there == Some(before) {
            return Some(Answer::AlreadyThere);
        }
        // The room that is empty then makes way for the new one.
        let is_last = before != RoomId::MAIN && self.room(before).members() == 1;
        if there.is_none() && self.rooms.len() - usize::from(is_last) >= self.limits.max_rooms {
            return Some(Answer::TooManyRooms(self.limits.max_rooms));
        }
        let there = there.unwrap_or_else(|| self.add_room(name));
        let profile = self.profiles.get_mut(&from)?;
        profile.room = there;
        // Nobody there has heard it under the name that it has.
        profile.has_spoken = false;
        let member = Arc::clone(&profile.member);
        let who = profile.is_present.then(|| profile.who());
        let form = member.form();
        self.within(there, effects, |room, effects| {
            room.enter(&member, form);
            if let Some(who) = &who {
                room.joined(who, now, effects);
            }
        });
        self.within(before, effects, |room, effects| {
            room.leave(from, now, effects);
            if let Some(who) = &who {
                room.left(who, now, effects);
            }
        });
        self.drop_if_empty(before);
        let room = self.room(there);
        Some(Answer::Entered { room: room.name().clone(), members: room.members() })
    }

    fn list_rooms(&self) -> Answer {
        let mut rooms: Vec<&Room> = self.rooms.values().collect();
        rooms.sort_by_key(|room| std::cmp::Reverse(room.members()));
        let count = rooms.len();
        let listed = rooms.iter().take(MOST_LISTED);
        Answer::Rooms { count, rooms: listed.map(|room| (room.name().clone(), room.members())).collect() }
    }

    fn last(&self, profile: &Profile, lines: u32) -> Option<Answer> {
        if self.limits.history == 0 {
            return Some(Answer::NoHistory);
        }
        let room = self.rooms.get(&profile.room)?;
        answer(&profile.member, |form, out| {
            let mut shown = Vec::new();
            let is_shown = |from| !profile.member.ignores(SessionId(from));
            let count = room.show_last(lines as usize, form, is_shown, &mut shown);
            Answer::Last(count).encode(form, out);
            out.append(&mut shown);
            if count > 0 {
                Answer::EndOfLast.encode(form, out);
            }
        });
        None
    }

    fn view(&mut self, from: SessionId, view: View, now: Now, effects: &mut Effects) -> Option<Answer> {
        let profile = self.profiles.get(&from)?;
        let form = profile.member.form().with(view, profile.times);
        if view != View::Plain {
            self.introduce(from, now, effects);
        }
        self.change_form(from, form, now, effects);
        Some(Answer::Viewed(view))
    }

    fn time(&mut self, from: SessionId, times: bool, now: Now, effects: &mut Effects) -> Option<Answer> {
        let profile = self.profiles.get_mut(&from)?;
        profile.times = times;
        let before = profile.member.form();
        let view = before.view();
        self.change_form(from, before.with(view, times), now, effects);
        Some(Answer::Timed { times, view })
    }

    /// A session speaks telnet: its lines end with CR LF from now on (RFC 854).
    pub(super) fn end_lines_for_telnet(&mut self, from: SessionId, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.get(&from) else { return };
        let member = Arc::clone(&profile.member);
        self.change_form(from, member.form().with_crlf(), now, effects);
        self.note(from);
        member.acknowledge();
        effects.wake.push(member);
    }

    fn change_form(&mut self, from: SessionId, form: Form, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.get(&from) else { return };
        let member = Arc::clone(&profile.member);
        if member.form() != form {
            self.within(profile.room, effects, |room, effects| room.change_form(&member, form, now, effects));
        }
    }

    fn ignore(&self, profile: &Profile, name: &str) -> Answer {
        let other = match self.find(name) {
            Ok(other) => other,
            Err(answer) => return answer,
        };
        let other_id = other.member.id();
        if other_id == profile.member.id() {
            return Answer::ThatIsYou;
        }
        let who = Who::clone(&other.who());
        match profile.member.toggle_ignored(other_id, |id| self.profiles.contains_key(&id)) {
            Some(true) => Answer::Ignored(who),
            Some(false) => Answer::HeardAgain(who),
            None => Answer::IgnoresTooMany(MOST_IGNORED),
        }
    }
}

/// The answer to a name that nobody has exactly: the names that look like it.
fn only_alike(alike: &[&Profile]) -> Answer {
    let names: BTreeSet<String> = alike.iter().map(|profile| profile.who().to_string()).collect();
    let names: Vec<String> = names.into_iter().take(MOST_ALIKE).collect();
    if names.is_empty() { Answer::NobodyCalledThat } else { Answer::OnlyAlike(names) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::testing::{Person, TestHouse, lines};
    use crate::chat::{Arrival, Input};

    const SECOND: Duration = Duration::from_secs(1);

    fn verified(name: &str) -> Arrival {
        Arrival { verified: Some(Name::login(name).unwrap()), ..Arrival::default() }
    }

    fn parsed(heard: &str) -> Vec<serde_json::Value> {
        heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn whoever_takes_a_name_sees_names_and_the_others_go_on_as_they_were() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join(), house.join(), house.join());
        assert_eq!(
            house.answer(&mut ann, "/nick ann"),
            "-!- you are ann now; /help says what else there is\n"
        );
        house.say(&mut ben, "hello\n");
        house.say(&mut ann, "hi\n");
        assert_eq!(ann.read_all(), "<guest2> hello\n");
        assert_eq!(eve.read_all(), "hello\nhi\n");
        assert_eq!(ben.read_all(), "hi\n");
    }

    #[test]
    fn a_name_that_is_taken_or_looks_like_one_is_refused_with_one_that_is_free() {
        let mut house = TestHouse::default();
        let (_ann, mut ben) = (house.join_as("alice"), house.join());
        for name in ["alice", "ALICE", "a1ice", "аlісе"] {
            let refusal = match Name::parse(name) {
                Ok(name) => {
                    format!("-!- {name} is taken, or looks like a name that is; {name}2 is free\n")
                }
                // Its letters are of two scripts: that is told first.
                Err(_) => continue,
            };
            assert_eq!(house.answer(&mut ben, &format!("/nick {name}")), refusal);
        }
        assert!(house.answer(&mut ben, "/nick alice2").starts_with("-!- you are alice2 now"));
        assert!(house.answer(&mut ben, "/nick Alice3").starts_with("-!- you are Alice3 now"));
        assert!(house.answer(&mut ben, "/nick alice3").starts_with("-!- you are alice3 now"), "its own name");
    }

    #[test]
    fn a_name_is_free_when_its_holder_is_gone_or_is_called_something_else() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join_as("ann"), house.join());
        house.ask(&mut ann, "/nick amy");
        assert!(house.answer(&mut ben, "/nick ann").starts_with("-!- you are ann now"));
        assert!(house.answer(&mut ben, "/nick amy").starts_with("-!- amy is taken"));
        house.leave(ann);
        assert!(house.answer(&mut ben, "/nick amy").starts_with("-!- you are amy now"));
        assert_eq!(house.house.names.count(), Name::parse("amy").unwrap().keys().count());
    }

    #[test]
    fn who_takes_a_name_has_joined_or_is_a_guest_who_was_heard_before() {
        let mut house = TestHouse::default();
        let mut ann = house.join_as("ann");
        let (mut ben, mut eve) = (house.join(), house.join());
        house.ask(&mut ben, "/nick ben");
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- ben joined (3 here)\n");
        house.say(&mut eve, "it is me\n");
        house.ask(&mut eve, "/nick eve");
        house.ask(&mut eve, "/nick eva");
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "<guest3> it is me\n-!- guest3 is now eve\n-!- eve is now eva\n");
        house.leave(eve);
        house.leave(ben);
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- eva left (2 here)\n-!- ben left (1 here)\n");
    }

    #[test]
    fn scripts_that_ask_for_nothing_come_and_go_unnoticed() {
        let mut house = TestHouse::default();
        let mut ann = house.join_as("ann");
        let mut script = house.join();
        house.say(&mut script, "deploy done\n");
        house.leave(script);
        let mut login = house.arrive(verified("root"));
        house.say(&mut login, "backup done\n");
        house.leave(login);
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "<guest2> deploy done\n<+root> backup done\n");
    }

    #[test]
    fn a_thousand_who_come_and_go_are_a_few_lines() {
        let mut house = TestHouse::new(|limits| limits.log_size = 1 << 20);
        let mut ann = house.join_as("ann");
        let mut bot = house.join();
        house.ask(&mut bot, "/view json");
        house.wait(SECOND);
        ann.read_all();
        bot.read_all();
        let crowd: Vec<Person> = (0..1000).map(|number| house.join_as(&format!("x{number}"))).collect();
        house.wait(2 * SECOND);
        let heard = ann.read_all();
        assert!(heard.ends_with(" others joined (1002 here)\n"), "{heard}");
        assert!(heard.lines().count() <= 2, "{heard}");
        let told = parsed(&bot.read_all());
        assert_eq!(told.len(), 1000, "programs are told of each");
        assert!(told.iter().all(|event| event["type"] == "join"));
        crowd.into_iter().for_each(|person| house.leave(person));
        house.wait(2 * SECOND);
        let heard = ann.read_all();
        assert!(heard.lines().count() <= 2 && heard.ends_with("left (2 here)\n"), "{heard}");
    }

    #[test]
    fn who_is_here_is_listed_and_very_many_are_counted() {
        let mut house = TestHouse::default();
        let (_ann, mut ben) = (house.join_as("ann"), house.join());
        let _root = house.arrive(verified("root"));
        assert_eq!(house.answer(&mut ben, "/who"), "-!- 3 here: ann, +root, guest2\n");
        let _crowd: Vec<Person> = (0..200).map(|_| house.join()).collect();
        let heard = house.answer(&mut ben, "/who");
        assert!(heard.starts_with("-!- 203 here: ann, +root, guest2, guest4,"), "{heard}");
        assert!(heard.ends_with(" and 103 more\n"), "{heard}");
    }

    #[test]
    fn nobody_speaks_under_a_name_that_others_have_not_been_told_of() {
        let mut house = TestHouse::default();
        let (mut eve, mut bob) = (house.join_as("eve"), house.join_as("bob"));
        house.wait(5 * SECOND);
        house.say(&mut bob, "it is bob\n");
        let mut mallory = house.join();
        house.ask(&mut mallory, "/nick x");
        assert_eq!(eve.read_all(), "-!- bob joined (2 here)\n<bob> it is bob\n-!- x joined (3 here)\n");
        // Now others are gathered for a second.
        house.leave(bob);
        house.ask(&mut mallory, "/nick bob");
        house.say(&mut mallory, "my new key\n");
        house.ask(&mut mallory, "/nick mallory");
        let heard = "-!- bob left (2 here)\n-!- x is now bob\n<bob> my new key\n-!- bob is now mallory\n";
        assert_eq!(eve.read_all(), heard);
    }

    #[test]
    fn who_speaks_before_others_are_told_of_has_joined_first() {
        let mut house = TestHouse::default();
        let mut eve = house.join_as("eve");
        let (mut x, mut y) = (house.join(), house.join());
        house.ask(&mut x, "/nick x");
        house.ask(&mut y, "/nick y");
        house.say(&mut y, "hello\n");
        house.ask(&mut y, "/nick z");
        assert_eq!(eve.read_all(), "-!- x and y joined (3 here)\n<y> hello\n-!- y is now z\n");
    }

    #[test]
    fn renames_and_those_who_come_and_go_do_not_pile_up_in_a_room_that_waits() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join_as("ann"), house.join_as("ben"), house.join_as("eve"));
        house.wait(5 * SECOND);
        ben.read_all();
        house.say(&mut ann, &lines(0, 200));
        assert!(house.house.is_waiting());
        let waiting = |house: &TestHouse| house.house.rooms[&RoomId::MAIN].waiting.len();
        let before = waiting(&house);
        house.ask(&mut eve, "/nick amy");
        assert!(eve.is_outstanding(), "it asks for nothing more until others are told");
        for _ in 0..1000 {
            let mut guest = house.join();
            house.ask(&mut guest, "/view names");
            house.leave(guest);
        }
        assert!(waiting(&house) <= before + 3, "the rename, and once who has come and who is gone");
        let mut heard = String::new();
        for _ in 0..3 {
            heard.push_str(&ben.read_all());
            ann.read_all();
            eve.read_all();
            house.notice_space();
        }
        assert!(!eve.is_outstanding() && heard.contains("-!- eve is now amy\n"));
    }

    #[test]
    fn a_rename_is_taken_in_in_its_turn_though_others_go_on_waiting() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join_as("ann"), house.join(), house.join_as("eve"));
        let mut talkers = [house.join(), house.join()];
        house.wait(5 * SECOND);
        let mut said = 0;
        // There is always somebody whose lines wait.
        for turn in 0..200 {
            for talker in &mut talkers {
                if !talker.is_outstanding() {
                    house.say(talker, &lines(said, said + 40));
                    said += 40;
                }
                talker.read_all();
            }
            if turn == 20 {
                assert!(house.house.is_waiting());
                house.ask(&mut eve, "/nick amy");
                assert!(eve.is_outstanding());
                assert!(house.answer(&mut ann, "/nick Amy").contains(" is taken"), "that is told at once");
                assert!(!ann.is_outstanding());
            }
            if turn > 20 && !eve.is_outstanding() {
                return assert!(house.house.is_waiting());
            }
            [&mut ann, &mut eve].into_iter().for_each(|one| drop(one.read_all()));
            ben.read(400);
            house.wait(Duration::from_millis(100));
            house.notice_space();
        }
        panic!("it is held for ever");
    }

    #[test]
    fn a_private_message_goes_to_one_member_and_is_kept_nowhere() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join_as("ann"), house.join(), house.join());
        assert_eq!(house.answer(&mut ann, "/msg guest2 psst"), "-!- told guest2\n");
        assert_eq!(ben.read_all(), "[ann -> you] psst\n", "in plain it is marked as well");
        let alike = house.answer(&mut ben, "/msg ANN <eve> boo");
        assert_eq!(
            (alike.as_str(), ann.read_all().as_str()),
            ("-!- nobody is called exactly that; there is ann\n", "")
        );
        assert_eq!(house.answer(&mut ben, "/msg ann <eve> boo"), "-!- told ann\n");
        assert_eq!(ann.read_all(), "[guest2 -> you] <eve> boo\n");
        assert_eq!(eve.read_all(), "");
        assert_eq!(house.answer(&mut eve, "/last"), "-!- nothing has been said yet\n");
        assert_eq!(house.answer(&mut ann, "/msg nobody x"), "-!- nobody is called that; see /who\n");
        assert_eq!(house.answer(&mut ann, "/msg guest77 x"), "-!- nobody is called that; see /who\n");
        assert_eq!(house.answer(&mut ann, "/msg guest1 x"), "-!- nobody is called that; see /who\n");
        assert_eq!(house.answer(&mut ann, "/msg ann x"), "-!- that is you\n");
        house.ask(&mut eve, "/view json");
        eve.read_all();
        house.ask(&mut ann, "/msg guest3 \"q\"");
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
        let mut house = TestHouse::default();
        let (mut ann, ben) = (house.join_as("ann"), house.join_as("ben"));
        let text = "x".repeat(10_000);
        let mut refused = 0;
        for _ in 0..50 {
            let answer = house.answer(&mut ann, &format!("/msg ben {text}"));
            refused += answer.matches("-!- ben does not read, and did not get it\n").count();
        }
        assert_eq!(refused, 50 - 7, "64 KiB and one more");
        assert!(ben.reader.member().owed() < 80_000);
    }

    #[test]
    fn rooms_are_made_on_demand_and_gone_when_nobody_is_there() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join_as("ann"), house.join_as("ben"));
        house.wait(SECOND);
        ann.read_all();
        assert_eq!(house.answer(&mut ann, "/rooms"), "-!- 1 room: main (2)\n");
        assert_eq!(house.answer(&mut ann, "/join ops"), "-!- you are in ops now (1 here)\n");
        assert_eq!(
            house.answer(&mut ann, "/join OPS"),
            "-!- you are there\n",
            "what looks alike is the same"
        );
        house.wait(SECOND);
        assert_eq!(ben.read_all(), "-!- ann left (1 here)\n");
        house.say(&mut ben, "in main\n");
        house.say(&mut ann, "in ops\n");
        assert_eq!((ann.read_all(), ben.read_all()), (String::new(), String::new()));
        assert_eq!(house.answer(&mut ben, "/join 0ps"), "-!- you are in ops now (2 here)\n");
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- ben joined (2 here)\n");
        house.say(&mut ann, "welcome\n");
        assert_eq!(ben.read_all(), "<ann> welcome\n");
        assert_eq!(house.answer(&mut ben, "/join main"), "-!- you are in main now (1 here)\n");
        assert_eq!(house.answer(&mut ben, "/join lab"), "-!- you are in lab now (1 here)\n");
        let mut eve = house.join();
        assert_eq!(house.answer(&mut eve, "/join fourth"), "-!- there are 3 rooms already; see /rooms\n");
        house.leave(eve);
        assert_eq!(house.answer(&mut ann, "/join fourth"), "-!- you are in fourth now (1 here)\n");
        assert_eq!(house.answer(&mut ann, "/rooms"), "-!- 3 rooms: lab (1), fourth (1), main (0)\n");
        house.leave(ben);
        assert_eq!(house.answer(&mut ann, "/rooms"), "-!- 2 rooms: fourth (1), main (0)\n");
        assert_eq!(house.house.traffic().rooms(), 2);
    }

    #[test]
    fn what_was_said_before_one_goes_elsewhere_is_heard_before_what_is_said_there() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join(), house.join(), house.join());
        house.ask(&mut eve, "/join ops");
        house.say(&mut ann, "one\ntwo\n");
        ben.read(2);
        house.ask(&mut ben, "/join ops");
        house.say(&mut eve, "three\n");
        house.say(&mut ann, "not heard\n");
        assert_eq!(ben.read_all(), "one\ntwo\n-!- you are in ops now (2 here)\nthree\n");
    }

    #[test]
    fn the_last_lines_are_shown_on_request_as_one_wants_them() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join_as("ann"), house.join());
        house.say(&mut ann, "one\ntwo\n");
        house.ask(&mut ann, "/me waves");
        house.say(&mut ben, "three\n");
        ben.read_all();
        let last = house.answer(&mut ben, "/last 3");
        assert_eq!(last, "-!- the last 3 lines:\ntwo\n* ann waves\nthree\n-!- that was the last\n");
        ann.read_all();
        let last = house.answer(&mut ann, "/last 999999");
        let shown = "<ann> one\n<ann> two\n* ann waves\n<guest2> three\n";
        assert_eq!(last, format!("-!- the last 4 lines:\n{shown}-!- that was the last\n"));
        house.ask(&mut ben, "/view json");
        let told = parsed(&house.answer(&mut ben, "/last"));
        let seqs: Vec<_> = told.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
        let mut eve = house.join();
        house.ask(&mut eve, "/join ops");
        assert_eq!(house.answer(&mut eve, "/last"), "-!- nothing has been said yet\n");
        let mut off = TestHouse::new(|limits| limits.history = 0);
        let mut ann = off.join();
        off.say(&mut ann, "one\n");
        assert_eq!(off.answer(&mut ann, "/last"), "-!- nothing is kept here to be shown again\n");
    }

    #[test]
    fn whom_one_ignores_one_does_not_hear_until_one_does_again() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join_as("ann"), house.join_as("ben"), house.join());
        house.wait(SECOND);
        assert_eq!(
            house.answer(&mut ann, "/ignore ben"),
            "-!- you do not hear ben any more; /ignore ben undoes it\n"
        );
        for number in 0..3 {
            house.say(&mut ben, &format!("b{number}\n"));
            house.say(&mut eve, &format!("e{number}\n"));
        }
        house.ask(&mut ben, "/nick bob");
        assert_eq!(ann.read_all(), "<guest3> e0\n<guest3> e1\n<guest3> e2\n", "by whatever name");
        assert_eq!(house.answer(&mut ben, "/msg ann x"), "-!- ann ignores you, and did not get it\n");
        assert_eq!(house.answer(&mut ann, "/ignore bob"), "-!- you hear bob again\n");
        house.say(&mut ben, "b4\n");
        assert_eq!(ann.read_all(), "<bob> b4\n");
        assert_eq!(house.answer(&mut ann, "/ignore ann"), "-!- that is you\n");
        assert_eq!(house.answer(&mut ann, "/ignore zoe"), "-!- nobody is called that; see /who\n");
    }

    #[test]
    fn who_is_gone_does_not_count_among_those_whom_one_ignores() {
        let mut house = TestHouse::default();
        let mut ann = house.join_as("ann");
        for _ in 0..=MOST_IGNORED {
            let mut pest = house.join_as("pest");
            assert!(house.answer(&mut ann, "/ignore pest").starts_with("-!- you do not hear pest any more"));
            house.say(&mut pest, "buy now\n");
            assert!(!ann.read_all().contains("buy now"));
            house.leave(pest);
        }
        let mut others: Vec<_> = (0..MOST_IGNORED).map(|_| house.join()).collect();
        for other in &others {
            house.answer(&mut ann, &format!("/ignore guest{}", other.id().0));
        }
        let last = house.join();
        let answer = house.answer(&mut ann, &format!("/ignore guest{}", last.id().0));
        assert_eq!(answer, "-!- you ignore 100 already, and hear this one still\n");
        others.iter_mut().for_each(|other| house.say(other, "not heard\n"));
        assert!(!ann.read_all().contains("not heard"));
    }

    #[test]
    fn whom_the_kernel_names_nobody_else_is_called() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join_as("ann"), house.join_as("r00t"));
        ben.read_all();
        house.wait(SECOND);
        ann.read_all();
        let mut root = house.arrive(verified("root"));
        assert_eq!(ben.read_all(), "-!- +root has come, a user of this machine: you are guest2 now\n");
        assert_eq!(ann.read_all(), "-!- r00t is now guest2\n");
        assert!(house.answer(&mut ben, "/nick root").starts_with("-!- root is taken"));
        house.say(&mut root, "hi\n");
        assert_eq!(ann.read_all(), "<+root> hi\n");
        assert_eq!(
            house.answer(&mut root, "/nick boss"),
            "-!- you are +root: this machine says so, and nobody can change it\n"
        );
        house.wait(SECOND);
        assert_eq!(ann.read_all(), "-!- +root joined (3 here)\n", "it has asked for something");
        let second = house.arrive(verified("root"));
        house.leave(root);
        assert!(house.answer(&mut ben, "/nick root").starts_with("-!- root is taken"), "it is still here");
        assert_eq!(house.answer(&mut ben, "/msg +root psst"), "-!- told +root\n");
        assert_eq!(second.reader.member().owed(), "[guest2 -> you] psst\n".len());
        house.leave(second);
        assert!(house.answer(&mut ben, "/nick root").starts_with("-!- you are root now"));
    }

    #[test]
    fn users_whose_names_look_alike_keep_them_whoever_goes_first() {
        let mut house = TestHouse::default();
        let mut ann = house.join();
        let bill = house.arrive(verified("bill"));
        let other = house.arrive(verified("bi11"));
        house.leave(other);
        assert!(house.answer(&mut ann, "/nick bill").starts_with("-!- bill is taken"));
        assert_eq!(house.answer(&mut ann, "/msg bill hi"), "-!- told +bill\n");
        house.leave(bill);
        assert!(house.answer(&mut ann, "/nick bill").starts_with("-!- you are bill now"));
        let mut ben = house.join();
        assert_eq!(
            house.answer(&mut ben, "/msg +bill hi"),
            "-!- nobody is called exactly that; there is bill\n"
        );
    }

    #[test]
    fn who_is_named_exactly_is_meant_whoever_else_looks_like_that() {
        for (first, second) in [("Ian", "lan"), ("bob", "Bob")] {
            let mut house = TestHouse::default();
            let mut ann = house.join_as("ann");
            let (mut one, mut other) = (house.arrive(verified(first)), house.arrive(verified(second)));
            for to in [first.to_owned(), format!("+{first}")] {
                assert_eq!(
                    house.answer(&mut ann, &format!("/msg {to} psst")),
                    format!("-!- told +{first}\n")
                );
                assert_eq!((one.read_all().as_str(), other.read_all().as_str()), ("[ann -> you] psst\n", ""));
            }
            house.answer(&mut ann, &format!("/ignore +{first}"));
            house.say(&mut one, "not heard\n");
            house.say(&mut other, "heard\n");
            assert_eq!(ann.read_all(), format!("<+{second}> heard\n"));
            house.wait(2 * SECOND);
            ann.read_all();
            let who = house.answer(&mut ann, "/who");
            assert_eq!(who, format!("-!- 3 here: ann, +{first} (#2), +{second} (#3)\n"), "told apart");
            house.leave(one);
            let alike = house.answer(&mut ann, &format!("/msg {first} psst"));
            assert_eq!(alike, format!("-!- nobody is called exactly that; there is +{second}\n"));
            other.read_all();
            assert_eq!(house.answer(&mut ann, "/who"), format!("-!- 2 here: ann, +{second}\n"));
        }
    }

    #[test]
    fn who_loses_a_name_may_say_what_a_guest_may_say() {
        let mut house = TestHouse::default();
        let ben = house.join_as("root");
        assert!(ben.reader.member().is_named());
        let _root = house.arrive(verified("root"));
        assert!(!ben.reader.member().is_named());
    }

    #[test]
    fn who_speaks_telnet_gets_cr_lf_in_every_view_from_then_on() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, "one\n");
        house.apply(Input::Telnet(ben.id()));
        house.say(&mut ann, "two\n");
        assert_eq!(ben.read_all(), "one\ntwo\r\n");
        house.ask(&mut ben, "/nick ben");
        assert_eq!(ben.read_all(), "-!- you are ben now; /help says what else there is\r\n");
        house.ask(&mut ben, "/time on");
        house.ask(&mut ben, "/view json");
        house.say(&mut ann, "three\nfour\n");
        house.ask(&mut ann, "/msg ben psst");
        house.move_on(std::slice::from_mut(&mut ben));
        house.ask(&mut ben, "/who");
        let heard = ben.read_all();
        assert!(
            heard.split_inclusive('\n').all(|line| line.ends_with("\r\n")) && heard.lines().count() == 6,
            "{heard:?}"
        );
    }

    #[test]
    fn a_user_who_is_there_several_times_gets_a_message_where_it_came_last() {
        let mut house = TestHouse::default();
        let mut ann = house.join();
        let first = house.arrive(verified("root"));
        let (mut second, mut third) = (house.arrive(verified("root")), house.arrive(verified("root")));
        house.leave(first);
        let own = "-!- you are +root: this machine says so, and nobody can change it\n";
        for name in ["root", "ann", "other"] {
            assert_eq!(
                house.answer(&mut second, &format!("/nick {name}")),
                own,
                "whoever else is called that"
            );
        }
        house.answer(&mut ann, "/msg +root hi");
        assert_eq!((second.read_all(), third.read_all()), (String::new(), "[guest1 -> you] hi\n".to_owned()));
    }

    #[test]
    fn a_line_that_is_longer_than_the_log_is_heard_in_every_view() {
        // A process before this one may have had a greater `max_line`, and a log for that.
        let mut house = TestHouse::new(|limits| limits.log_size = 4096);
        let (mut ann, mut ben, mut eve) = (house.join(), house.join(), house.join());
        house.ask(&mut eve, "/view json");
        eve.read_all();
        let long = format!("{}\n", "\"".repeat(5000));
        let mut told = Vec::new();
        for text in [long.as_str(), "short\n", &long] {
            house.say(&mut ann, text);
            for _ in 0..10 {
                house.notice_space();
                house.wait(SECOND);
                told.extend(
                    parsed(&eve.read_all())
                        .iter()
                        .map(|object| format!("{}\n", object["text"].as_str().unwrap())),
                );
                ben.read(usize::MAX);
            }
            assert!(!house.house.is_waiting());
        }
        assert_eq!(
            (told.concat(), ben.read_all()),
            (format!("{long}short\n{long}"), format!("{long}short\n{long}"))
        );
    }

    #[test]
    fn a_rename_is_told_where_the_name_before_was_heard() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join_as("ann"), house.join());
        house.ask(&mut ann, "/join ops");
        house.say(&mut ben, "hello\n");
        house.ask(&mut ben, "/join ops");
        house.ask(&mut ben, "/nick ben");
        house.wait(2 * SECOND);
        assert!(ann.read_all().ends_with("-!- ben joined (2 here)\n"));
    }

    #[test]
    fn a_listener_may_have_a_view_and_a_room() {
        let mut house = TestHouse::new(|limits| limits.max_rooms = 1);
        let arrival = Arrival { view: View::Names, room: Some(Name::parse("ops").unwrap()), verified: None };
        let (mut ann, mut ben) = (house.arrive(arrival.clone()), house.arrive(arrival));
        house.wait(SECOND);
        house.say(&mut ben, "hi\n");
        assert_eq!(ann.read_all(), "-!- guest2 joined (2 here)\n<guest2> hi\n");
        assert_eq!(house.answer(&mut ann, "/rooms"), "-!- 2 rooms: ops (2), main (0)\n");
    }

    #[test]
    fn a_log_that_is_full_holds_up_all_views_alike() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join(), house.join_as("ben"), house.join());
        house.ask(&mut eve, "/view json");
        eve.read_all();
        let mut said = 0;
        while !ann.is_outstanding() {
            house.say(&mut ann, &lines(said, said + 1));
            said += 1;
        }
        assert!(house.house.is_waiting());
        let (mut heard, mut told) = (String::new(), String::new());
        for _ in 0..10 {
            heard.push_str(&ben.read_all());
            told.push_str(&eve.read_all());
            house.notice_space();
        }
        assert!(!house.house.is_waiting() && !ann.is_outstanding());
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
            let mut house = TestHouse::new(|limits| limits.log_size = 1 << 16);
            let (mut ann, mut ben) = (house.join_as("ann"), house.join());
            let (mut said, mut heard) = (0, String::new());
            for next in moves {
                match next {
                    Move::Say(count) => {
                        let text: String = (said..said + count).map(|number| format!("line {number}\n")).collect();
                        house.say(&mut ann, &text);
                        said += count;
                    }
                    Move::Read(bytes) => {
                        ben.read(bytes);
                    }
                    Move::Ask(line) => house.ask(&mut ben, line),
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
