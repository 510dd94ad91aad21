//! Acts here: what follows from an act that has its place for the sessions of this node. The roster decides, this tells.

use std::sync::Arc;

use jiff::Timestamp;

use super::act::Act;
use super::arrival;
use super::commands;
use super::directory::Directory;
use super::entry::Entry;
use super::id::{Node, Now, SessionId};
use super::listing;
use super::member::Member;
use super::names::Names;
use super::nick;
use super::opening;
use super::orders;
use super::pending::Wait;
use super::presence::MOST_AT_ONCE;
use super::roster::Effect;
use super::sequencer::{Cursor, Item};
use crate::protocol::{Name, Notice, Who};

/// An act has its place, or has it again. Returns the sessions that have waited for that.
pub(super) fn take(
    directory: &mut Directory,
    act: &Act,
    place: (Node, Cursor, Option<Timestamp>),
    (is_again, is_awaited): (bool, bool),
    now: Now,
) -> Vec<SessionId> {
    let (node, cursor, time) = place;
    let own = directory.node();
    let (is_own, time) = (own == node, time.unwrap_or(now.wall));
    let is_own_gone =
        directory.following.is_live && matches!(act, Act::Gone(name) if own.as_deref() == Some(name));
    // With their keys, which the roster is about to forget.
    let listed = if is_own_gone { listing::all(directory) } else { Vec::new() };
    let effects = directory.roster.apply(act, &node, time);
    directory.following.cursor = cursor;
    let asked = act.asked_by().filter(|_| is_awaited);
    let is_past = is_again || (!is_live(directory) && cursor <= directory.following.known);
    let is_known = own.is_some() && cursor <= directory.following.bans;
    let (is_answered, mut waits_on, mut woken) = (!effects.is_empty(), false, Vec::new());
    for effect in effects {
        let other = node.as_deref().filter(|_| !is_own);
        waits_on |= carry_out(directory, effect, (other, asked), (is_past, is_known), (time, now));
    }
    if let Some(id) = asked.filter(|_| !waits_on) {
        match act {
            _ if is_answered => {}
            Act::Arrived(_) => arrival::settle(directory, id, None, now),
            _ => directory.notify(id, &Notice::Nobody),
        }
        woken.push(id);
    }
    match act {
        Act::Returned { mark, .. }
            if is_own && directory.following.awaited == Some(*mark) && !listing::leave_earlier(directory) =>
        {
            woken.extend(settle(directory, now));
        }
        _ if is_own_gone => listing::return_all(directory, listed),
        _ => {}
    }
    let Directory { following, roster, sequencer, .. } = directory;
    following.count(roster, &mut **sequencer);
    woken
}

/// Does what follows from an act, which may be that of another node. Returns whether the session that asked waits for
/// something else now.
fn carry_out(
    directory: &mut Directory,
    effect: Effect,
    (other, asked): (Option<&str>, Option<SessionId>),
    (is_past, is_known): (bool, bool),
    (time, now): (Timestamp, Now),
) -> bool {
    let is_told =
        |directory: &Directory, id| is_here(directory, id) && (is_live(directory) || asked == Some(id));
    if let Effect::Named(id, _) | Effect::Arrived(id, None) = &effect
        && (is_live(directory) || asked == Some(*id))
    {
        give_way(directory, *id);
    }
    match effect {
        Effect::Named(id, key) => return is_told(directory, id) && nick::take(directory, id, key, now),
        Effect::Arrived(id, refusal) if is_told(directory, id) => {
            arrival::settle(directory, id, refusal, now);
        }
        Effect::Deposed(id, notice) if is_told(directory, id) || directory.following.told.contains(&id) => {
            depose(directory, id, &notice);
        }
        Effect::Notify(id, notice) if is_told(directory, id) => directory.notify(id, &notice),
        Effect::Brought(changes) => {
            let answer = orders::change(directory, &changes, is_known);
            asked.zip(answer).into_iter().for_each(|(id, answer)| directory.notify(id, &answer));
        }
        Effect::Ordered { by, line, about, changes } => {
            let answer = orders::change(directory, &changes, is_known);
            if !is_past {
                orders::carry_out(directory, (&by, other), (&line, about), answer);
            }
        }
        // What is about neither names nor bans has happened already.
        _ if is_past => {}
        Effect::Told { from, to, text } => {
            if other.is_none() && asked == Some(SessionId(from.id)) {
                let (name, verified) = (to.name.to_string(), to.verified);
                directory.notify(SessionId(from.id), &Notice::Told { name, verified });
            }
            commands::receive(directory, (&from, &to), &text, Now { wall: time, ..now });
        }
        Effect::Gone(rooms) if other.is_none() => {
            rooms.into_iter().for_each(|(room, who)| announce(directory, room, &who))
        }
        _ => {}
    }
    false
}

/// A session has lost its name, and is a guest. It is told so.
fn depose(directory: &mut Directory, id: SessionId, notice: &Notice) {
    let Some(place) = directory.place(id) else { return };
    let Some(member) = directory.member_mut(id) else { return };
    let Some(before) = member.name().cloned() else { return };
    let after = member.guest();
    member.who = Some(Arc::clone(&after));
    directory.notify(id, notice);
    directory.changed.push(id);
    if !directory.room(place.room).presence.renamed(&after) {
        directory.submit(place.room, Entry::Renamed { from: before, to: after, asked: None });
    }
}

/// A session has a name. Those here that were called alike, and that nobody else knows of, since this node was declared
/// gone, have lost theirs now, and not only when they are known again.
fn give_way(directory: &mut Directory, id: SessionId) {
    if !is_live(directory) {
        // It knows its name, so it hears of it if that is lost.
        directory.following.told.insert(id);
    }
    let Some(who) = directory.roster.name_of(id).cloned() else { return };
    let alike: Vec<SessionId> = directory.following.returning.holders(&who.name).collect();
    for other in alike.into_iter().filter(|other| *other != id) {
        let before = directory.member(other).and_then(Member::name);
        let Some(before) = before.filter(|before| !before.verified && before.name.looks_like(&who.name))
        else {
            continue;
        };
        if directory.roster.name_of(other).is_none() {
            let (name, now) = (before.name.to_string(), Name::guest(other.0).to_string());
            depose(directory, other, &Notice::NameLost { name, now });
        }
    }
}

/// Returns whether that is a session here. After a partition one of another node may have its number.
fn is_here(directory: &Directory, id: SessionId) -> bool {
    let node = directory.roster.node_of(id);
    directory.member(id).is_some() && (node.is_none() || node == directory.node().as_ref())
}

fn is_live(directory: &Directory) -> bool {
    directory.following.is_live || directory.node().is_none()
}

/// Tells a room that these members are gone with their node.
fn announce(directory: &mut Directory, room: Name, who: &[Who]) {
    let room = Arc::new(room);
    for some in who.chunks(MOST_AT_ONCE) {
        directory.sequencer.submit(Item::Entry(Arc::clone(&room), Entry::Left(some.to_vec())));
    }
}

/// All nodes know which sessions are here: those whose names others have taken meanwhile are guests, and are told.
/// Returns those that wait for nothing any more.
fn settle(directory: &mut Directory, now: Now) -> Vec<SessionId> {
    (directory.following.awaited, directory.following.is_live) = (None, true);
    directory.following.returning = Names::default();
    directory.following.told.clear();
    let (ids, mut woken): (Vec<SessionId>, _) = (directory.sessions().collect(), Vec::new());
    for id in ids {
        let Some(member) = directory.member(id).filter(|_| directory.roster.has(id)) else { continue };
        let after = directory.roster.name_of(id).filter(|_| is_here(directory, id)).cloned();
        let before = member.name().cloned();
        let mut waits_on = false;
        match (before, after) {
            (Some(before), None) => {
                let (name, now) = (before.name.to_string(), Name::guest(id.0).to_string());
                depose(directory, id, &Notice::NameLost { name, now });
            }
            (before, Some(after)) if before.as_ref().is_none_or(|before| before.name != after.name) => {
                waits_on = if after.verified {
                    arrival::settle(directory, id, None, now);
                    false
                } else {
                    let key = directory.roster.key(id);
                    nick::take(directory, id, key, now)
                };
            }
            _ => {}
        }
        // What it waited for may have been in what this node did not see.
        let waits = directory.member(id).is_some_and(|member| member.waits_for(Wait::Place));
        if waits && !waits_on && !opening::is_on_its_way(directory, id) {
            woken.push(id);
        }
    }
    woken
}

#[cfg(test)]
mod tests {
    use crate::chat::pair::Pair;
    use crate::chat::testing::{Person, TestHub};
    use crate::chat::{
        Act, Arrival, HubSnapshot, MemberSnapshot, Reading, SessionId, SessionSnapshot, Standing,
    };
    use crate::protocol::{Name, Proof, View, Who};

    fn json(hub: &mut TestHub) -> Person {
        let mut person = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        person.read_all();
        person
    }

    /// Has somebody type a command, and returns what that hears when it has its place everywhere.
    macro_rules! answer {
        ($pair:ident.$node:ident, $person:expr, $line:expr) => {{
            $pair.settle();
            $person.read_all();
            $pair.$node.ask(&mut $person, $line);
            $pair.settle();
            $person.read_all()
        }};
    }

    #[test]
    fn of_two_claims_on_two_nodes_the_first_in_the_order_has_the_name() {
        let mut pair = Pair::default();
        let (mut ann, mut other) = (pair.alpha.join(), pair.beta.join());
        pair.settle();
        pair.order.hold();
        pair.beta.say(&mut other, "/nick ANN\nhello\n");
        pair.alpha.say(&mut ann, "/nick ann\nhi\n");
        assert!(ann.is_outstanding() && other.is_outstanding(), "what comes behind the claim waits");
        pair.order.release();
        pair.check();
        assert!(other.read_all().contains("you are ANN now"));
        let heard = ann.read_all();
        assert!(
            heard.contains("ann is taken, or looks like a name that is; ann2 is free\nhello\n"),
            "{heard}"
        );
        assert!(!ann.is_outstanding());
        let mut late = pair.alpha.join();
        assert!(answer!(pair.alpha, late, "/nick Ann").contains("taken"));
        let id = other.id();
        pair.beta.apply(crate::chat::Input::Leave(id));
        assert!(answer!(pair.alpha, late, "/nick Ann").contains("you are Ann now"));
    }

    #[test]
    fn what_follows_a_claim_is_said_under_the_name_on_all_nodes() {
        let mut pair = Pair::default();
        let (mut ann, mut ben) = (pair.alpha.join(), json(&mut pair.beta));
        pair.settle();
        ben.read_all();
        pair.alpha.say(&mut ann, "/nick ann\nhello\n");
        pair.settle();
        let heard = ben.read_all();
        assert!(heard.contains("\"from\":\"ann\",\"verified\":false,\"text\":\"hello\""), "{heard}");
    }

    #[test]
    fn a_key_takes_a_name_from_another_node_and_one_that_is_gone() {
        let mut pair = Pair::default();
        let (mut ann, mut again) = (json(&mut pair.alpha), json(&mut pair.beta));
        let key = |answer: &str| answer.split("\"key\":\"").nth(1).unwrap()[..32].to_owned();
        let first = key(&answer!(pair.alpha, ann, "/nick ann"));
        assert!(answer!(pair.beta, again, &format!("/nick ann {}", "0".repeat(32))).contains("bad_key"));
        let second = key(&answer!(pair.beta, again, &format!("/nick ann {first}")));
        assert!(ann.read_all().contains("\"code\":\"name_taken_over\""));
        let id = again.id();
        pair.beta.apply(crate::chat::Input::Leave(id));
        let mut thief = pair.alpha.join_as("eve");
        pair.settle();
        assert!(answer!(pair.alpha, thief, "/nick ann").contains("you are ann now"));
        assert!(answer!(pair.alpha, ann, &format!("/nick ann {second}")).contains("\"code\":\"named\""));
        pair.check();
    }

    #[test]
    fn members_and_rooms_of_all_nodes_are_listed() {
        let mut pair = Pair::default();
        let (mut ann, mut ben) = (pair.alpha.join(), pair.beta.join());
        let mut eve = pair.beta.join();
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.beta, ben, "/nick ben");
        pair.settle();
        assert_eq!(answer!(pair.alpha, ann, "/who"), "-!- 3 here: ann, ben, guest1002\n");
        answer!(pair.beta, eve, "/join attic");
        answer!(pair.beta, eve, "/nick eve");
        let rooms = answer!(pair.alpha, ann, "/rooms");
        assert!(rooms.contains("main (2)") && rooms.contains("attic (1)"), "{rooms}");
        let entered = answer!(pair.alpha, ann, "/join attic");
        assert!(entered.contains("you are in attic now") && entered.contains('2'), "{entered}");
        pair.alpha.wait(std::time::Duration::from_secs(3));
        pair.settle();
        let heard = eve.read_all();
        assert!(heard.contains("ann joined (2 here)"), "{heard}");
        pair.check();
    }

    #[test]
    fn private_messages_go_to_other_nodes_and_refusals_come_back() {
        let mut pair = Pair::default();
        let (mut ann, mut ben) = (pair.alpha.join(), pair.beta.join());
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.beta, ben, "/nick ben");
        for whom in ["ben", "BEN", "#1001"] {
            let told = answer!(pair.alpha, ann, &format!("/msg {whom} psst {whom}"));
            if whom == "BEN" {
                assert!(told.contains("ben"), "only alike: {told}");
                assert_eq!(ben.read_all(), "");
                continue;
            }
            assert_eq!(told, "-!- told ben\n");
            assert_eq!(ben.read_all(), format!("[ann -> you] psst {whom}\n"));
        }
        assert!(answer!(pair.beta, ben, "/ignore ann").contains("you do not hear ann"));
        let told = answer!(pair.alpha, ann, "/msg ben again");
        assert!(told.contains("ben ignores you"), "{told}");
        assert_eq!(ben.read_all(), "");
        pair.alpha.say(&mut ann, "hello\n");
        pair.settle();
        assert_eq!(ben.read_all(), "", "it is ignored in the room, too");
        assert!(answer!(pair.alpha, ann, "/msg guest1001 x").contains("nobody"));
        // It does not read, and more than enough waits for it.
        let mut deaf = pair.beta.join();
        let text = format!("/msg guest1002 {}", "z".repeat(900));
        let refused = (0..200).any(|_| {
            deaf.socket.set_space(0);
            pair.beta.wait(std::time::Duration::from_secs(1));
            answer!(pair.alpha, ann, &text).contains("guest1002 is not reading")
        });
        assert!(refused);
        assert!(deaf.read_all().contains("[ann -> you] zzz"));
    }

    #[test]
    fn somebody_verified_on_one_node_makes_a_guest_of_one_on_the_other() {
        let mut pair = Pair::default();
        let mut typed = pair.alpha.join();
        answer!(pair.alpha, typed, "/nick ann");
        pair.order.hold();
        let mut ann = pair.beta.arrive_with_certificate(Ok("ann"));
        assert!(ann.is_outstanding(), "it reads nothing before its name is certain");
        pair.order.release();
        pair.settle();
        assert!(!ann.is_outstanding());
        assert!(typed.read_all().contains("+ann, whose name is verified, has connected: you are guest1 now"));
        assert!(answer!(pair.beta, ann, "/nick eve").contains("you are +ann"));
        pair.check();
    }

    /// A user of the machine of a node.
    fn user(hub: &mut TestHub, login: &str) -> Person {
        hub.arrive(Arrival { verified: Some(Name::login(login).unwrap()), ..Arrival::default() })
    }

    fn who(person: &Person) -> String {
        person.member(|member| member.who().to_string())
    }

    #[test]
    fn users_of_two_machines_are_two_and_may_have_one_login() {
        let mut pair = Pair::default();
        let (mut ann, mut other) = (user(&mut pair.alpha, "ann"), user(&mut pair.beta, "ann"));
        pair.settle();
        assert_eq!([who(&ann), who(&other)], ["+ann@alpha", "+ann@beta"]);
        let (mut eve, mut program) = (pair.alpha.join(), json(&mut pair.beta));
        assert!(answer!(pair.alpha, eve, "/nick ANN").contains("taken"));
        assert!(answer!(pair.alpha, eve, "/nick ann@gamma").contains("only letters, digits"));
        assert_eq!(
            answer!(pair.alpha, eve, "/who"),
            "-!- 4 here: +ann@alpha, +ann@beta, guest2, guest1002\n"
        );
        let which = "-!- nobody has exactly that name; similar names: +ann@alpha, +ann@beta\n";
        for name in ["ann", "+ann", "+ann@gamma"] {
            assert_eq!(answer!(pair.alpha, eve, &format!("/msg {name} psst")), which, "{name}");
        }
        assert_eq!(answer!(pair.alpha, eve, "/msg +ann@beta psst"), "-!- told +ann@beta\n");
        assert_eq!((ann.read_all().as_str(), other.read_all().as_str()), ("", "[guest2 -> you] psst\n"));
        program.read_all();
        pair.alpha.say(&mut ann, "hello\n/me waves\n");
        pair.alpha.say(&mut ann, "/msg guest1002 psst\n/view json\n/sync x\n");
        pair.settle();
        let (heard, told) = (program.read_all(), ann.read_all());
        let objects = || heard.lines().chain(told.lines());
        for kind in ["message", "emote", "private", "join", "synced"] {
            let kind = format!("{{\"type\":\"{kind}\",");
            let object = objects().find(|line| line.starts_with(&kind)).unwrap();
            assert!(object.contains("\"ann@alpha\",\"verified\":true,\"host\":\"alpha\""), "{object}");
        }
        // A certificate is the same person everywhere.
        let certificate = pair.beta.arrive_with_certificate(Ok("ann"));
        pair.settle();
        assert_eq!(who(&certificate), "+ann");
        assert_eq!(answer!(pair.alpha, eve, "/msg +ann psst"), "-!- told +ann\n");
        pair.beta.leave(certificate);
        pair.beta.leave(other);
        for name in ["ann", "+ann", "+ann@alpha"] {
            assert_eq!(answer!(pair.alpha, eve, &format!("/msg {name} psst")), "-!- told +ann@alpha\n");
        }
        pair.check();
    }

    #[test]
    fn a_node_vouches_for_users_of_its_own_machine_alone() {
        let mut pair = Pair::default();
        let room = Name::known("main");
        for (id, proof) in [(2001, Proof::Kernel), (2002, Proof::Certificate)] {
            let (id, name) = (SessionId(id), Some(Name::verified("ann@alpha").unwrap()));
            let (room, proof) = (room.clone(), Some(proof));
            let listed = super::super::act::Listed { id, room, name, proof, key: None, is_present: true };
            pair.order.put("beta", Act::Arrived(listed));
        }
        pair.check();
        let roster = &pair.alpha.hub().directory().roster.clone();
        let names = [2001, 2002].map(|id| roster.who(SessionId(id)).unwrap().to_string());
        assert_eq!(names, ["+ann@beta", "+ann"]);
    }

    /// What is left of somebody after a crash of a chatd that knew nothing of nodes.
    fn left_of(person: &Person, name: &str) -> HubSnapshot {
        let who = Some(Who { id: person.id().0, name: Name::login(name).unwrap(), verified: true });
        let standing = Standing { who, is_present: true, view: View::Names, ..Standing::plain(person.id()) };
        let member = Some(MemberSnapshot::after_crash(standing, Vec::new()));
        let session = SessionSnapshot { id: person.id(), member, reading: Reading::default() };
        HubSnapshot { sessions: vec![session], ..HubSnapshot::default() }
    }

    #[test]
    fn a_session_has_the_node_of_the_process_that_goes_on_with_it() {
        let mut pair = Pair::default();
        let (ann, mut eve) = (user(&mut pair.alpha, "ann"), pair.beta.join());
        pair.settle();
        let left = left_of(&ann, "ann");
        let mut people = [ann];
        pair.restart_alpha(&mut people, Some(left));
        assert_eq!(who(&people[0]), "+ann@alpha");
        for (name, crashed) in [("gamma", None), ("delta", Some(left_of(&people[0], "ann")))] {
            pair.restart_alpha_as(name, &mut people, crashed);
            pair.check();
            let shown = format!("+ann@{name}");
            assert_eq!(who(&people[0]), shown);
            assert_eq!(answer!(pair.beta, eve, "/msg ann psst"), format!("-!- told {shown}\n"));
            assert!(people[0].read_all().contains("psst"));
            assert_eq!(answer!(pair.beta, eve, "/who"), format!("-!- 2 here: {shown}, guest1001\n"));
        }
        let Pair { mut alpha, .. } = pair;
        alpha.move_on(&mut people);
        assert_eq!(who(&people[0]), "+ann", "there are no other nodes any more");
    }

    #[test]
    fn a_node_that_is_gone_leaves_once_and_comes_back_without_the_names_that_others_took() {
        let mut pair = Pair::default();
        let (mut ann, mut amy) = (pair.alpha.join(), pair.alpha.join());
        let mut ben = pair.beta.join();
        answer!(pair.alpha, ann, "/view json");
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.alpha, amy, "/nick amy");
        answer!(pair.beta, ben, "/nick ben");
        // All that is known of alpha is gone; two nodes say so, and alpha hears of it later.
        pair.order.put("beta", Act::Gone("alpha".into()));
        pair.order.put("gamma", Act::Gone("alpha".into()));
        let now = pair.beta.time();
        pair.beta.hub().take_sequenced(now);
        pair.beta.settle();
        let heard = ben.read_all();
        assert_eq!(heard.matches("left (1 here)").count(), 1, "{heard}");
        assert!(heard.contains("ann") && heard.contains("amy"));
        pair.beta.ask(&mut ben, "/nick amy");
        let now = pair.beta.time();
        pair.beta.hub().take_sequenced(now);
        pair.beta.settle();
        assert!(ben.read_all().contains("you are amy now"));
        pair.check();
        assert_eq!(ann.member(|member| member.who().to_string()), "ann");
        let key = pair.beta.hub().directory().roster.key(ann.id());
        assert!(key.is_some(), "all nodes know its key again");
        assert!(
            amy.read_all()
                .contains("-!- somebody took amy while this server was cut off: you are guest2 now")
        );
        assert_eq!(answer!(pair.beta, ben, "/who"), "-!- 3 here: ann, amy, guest2\n");
    }

    #[test]
    fn a_name_that_another_takes_before_the_node_is_back_is_lost_at_once() {
        let mut pair = Pair::default();
        let (mut ann, mut amy) = (pair.alpha.join(), pair.alpha.join());
        let (mut bob, mut ben) = (pair.alpha.join(), pair.beta.join());
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.alpha, bob, "/nick bob");
        bob.read_all();
        // All that is known of alpha is gone; then come claims of both nodes, and what alpha has to say of it last.
        pair.order.hold();
        pair.order.put("beta", Act::Gone("alpha".into()));
        pair.alpha.say(&mut amy, "/nick ANN\n");
        pair.beta.say(&mut ben, "/nick BOB\n");
        pair.order.hold();
        pair.settle();
        for (person, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
            let heard = person.read_all();
            let lost = format!("somebody took {name} while this server was cut off: you are guest");
            assert_eq!(heard.matches(&lost).count(), 1, "{heard}");
            assert!(person.member(|member| member.name().is_none()));
        }
        assert_eq!(amy.member(|member| member.who().to_string()), "ANN");
        pair.order.release();
        pair.check();
        assert!(!ann.read_all().contains("somebody took") && !bob.read_all().contains("somebody took"));
        assert_eq!(answer!(pair.beta, ben, "/who"), "-!- 4 here: ANN, BOB, guest1, guest3\n");
    }

    #[test]
    fn a_claim_under_way_is_answered_by_the_next_process() {
        let mut pair = Pair::default();
        let (ann, mut ben) = (pair.alpha.join(), json(&mut pair.beta));
        let mut people = [ann];
        pair.settle();
        ben.read_all();
        pair.order.hold();
        pair.alpha.say(&mut people[0], "/nick ann\nhello\n");
        pair.restart_alpha(&mut people, None);
        assert!(people[0].is_outstanding());
        pair.order.release();
        pair.check();
        assert!(people[0].read_all().contains("you are ann now") && !people[0].is_outstanding());
        assert!(ben.read_all().contains("\"from\":\"ann\""));
        // One that is gone meanwhile is gone everywhere.
        pair.restart_alpha(&mut [], None);
        pair.check();
        assert_eq!(answer!(pair.beta, ben, "/nick ann").matches("\"code\":\"named\"").count(), 1);
    }

    /// What was lost by the engine is replayed from a roster before it.
    #[test]
    fn while_acts_come_again_an_answer_is_that_of_the_last_question() {
        let mut pair = Pair::default();
        let mut ann = pair.alpha.join();
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.alpha, ann, "/nick bob");
        pair.order.hold();
        pair.alpha.ask(&mut ann, "/nick ann");
        pair.order.recall();
        pair.settle();
        assert_eq!(ann.read_all(), "", "the first one has been answered");
        pair.order.release();
        pair.check();
        assert_eq!(ann.read_all(), "-!- you are ann now; /help says what else there is\n");
    }

    #[test]
    fn a_name_that_is_got_and_lost_while_acts_come_again_is_lost_at_once() {
        let mut pair = Pair::default();
        let mut zoe = pair.alpha.join();
        pair.settle();
        pair.order.hold();
        pair.alpha.say(&mut zoe, "/nick zoe\n");
        let verified = pair.alpha.arrive_with_certificate(Ok("zoe"));
        pair.order.hold();
        pair.order.recall();
        pair.settle();
        assert_eq!([who(&zoe), who(&verified)], ["guest1", "+zoe"]);
        let heard = zoe.read_all();
        assert!(heard.contains("you are zoe now") && heard.contains("you are guest1 now"), "{heard}");
        pair.order.release();
        pair.check();
        assert!(!zoe.read_all().contains("you are"));
    }

    #[test]
    fn after_a_crash_sessions_have_their_names_and_hear_nothing_twice() {
        let mut pair = Pair::default();
        let (mut ann, mut ben) = (pair.alpha.join(), pair.beta.join());
        answer!(pair.alpha, ann, "/nick ann");
        answer!(pair.beta, ben, "/nick ben");
        answer!(pair.beta, ben, "/msg ann psst");
        ann.read_all();
        let standing = ann.member(|member| Standing {
            who: Some(member.who().as_ref().clone()),
            is_present: true,
            view: View::Names,
            ..Standing::plain(member.id)
        });
        let member = Some(MemberSnapshot::after_crash(standing, Vec::new()));
        let session = SessionSnapshot { id: ann.id(), member, reading: Reading::default() };
        let crashed = HubSnapshot { sessions: vec![session], ..HubSnapshot::default() };
        let mut people = [ann];
        pair.restart_alpha(&mut people, Some(crashed));
        pair.check();
        let [mut ann] = people;
        assert_eq!(ann.read_all(), "");
        assert_eq!(answer!(pair.beta, ben, "/msg ann again"), "-!- told ann\n");
        assert_eq!(ann.read_all(), "[ben -> you] again\n");
        assert!(answer!(pair.beta, ben, "/nick ann").contains("taken"));
    }

    #[test]
    fn a_roster_is_stored_after_many_acts_and_a_node_that_comes_later_goes_on_with_it() {
        let mut pair = Pair::default();
        let mut ann = pair.alpha.join();
        answer!(pair.alpha, ann, "/nick ann");
        for number in 0..crate::chat::following::STORED_AFTER {
            let room = Name::parse(if number % 2 == 0 { "attic" } else { "main" }).unwrap();
            pair.order.put("alpha", Act::Moved { id: SessionId(1), room, is_present: true });
        }
        pair.check();
        assert_eq!(pair.order.times_stored(), 2, "by both");
        let mut people = [ann];
        pair.restart_alpha(&mut people, Some(HubSnapshot::default()));
        pair.check();
        let mut ben = pair.beta.join();
        assert!(
            answer!(pair.beta, ben, "/nick ann").contains("you are ann now"),
            "alpha has nobody any more"
        );
    }

    /// After a partition two nodes may have a session of one number.
    #[test]
    fn a_session_gets_no_name_of_one_with_its_number_on_another_node() {
        for has_name in [false, true] {
            let mut pair = Pair::default();
            let mut ann = pair.alpha.join();
            if has_name {
                answer!(pair.alpha, ann, "/nick ann");
            }
            pair.settle();
            let (id, room, name) = (ann.id(), Name::known("main"), Some(Name::known("eve")));
            let claimed = super::super::act::Claim {
                id,
                room: room.clone(),
                name: Name::known("zoe"),
                key: None,
                new_key: None,
            };
            let listed =
                super::super::act::Listed { id, room, name, proof: None, key: None, is_present: true };
            pair.order.put("beta", Act::Gone("alpha".into()));
            pair.order.put("beta", Act::Arrived(listed));
            pair.order.put("beta", Act::Claimed(claimed));
            pair.settle();
            let heard = ann.read_all();
            assert!(!heard.contains("you are zoe") && !heard.contains("you are eve"), "{heard}");
            assert_eq!(who(&ann), Name::guest(id.0).to_string(), "{heard}");
            assert_eq!(heard.contains("somebody took ann"), has_name, "{heard}");
        }
    }

    #[test]
    fn acts_that_others_make_up_change_nothing() {
        let mut pair = Pair::default();
        let mut ann = pair.alpha.join();
        answer!(pair.alpha, ann, "/nick ann");
        let before = pair.alpha.hub().directory().roster.clone();
        let name = |text: &'static str| Name::known(text);
        let claim = |id, name: Name| {
            let id = SessionId(id);
            Act::Claimed(super::super::act::Claim {
                id,
                room: Name::known("main"),
                name,
                key: None,
                new_key: None,
            })
        };
        let forged = [
            Act::Left(SessionId(1)),
            claim(1, name("eve")),
            claim(7, name("guest9")),
            claim(7, Name::guest(9)),
            claim(0, name("eve")),
            Act::Moved { id: SessionId(1), room: name("attic"), is_present: true },
            Act::Told { from: SessionId(1), to: SessionId(1), text: "x".into() },
            Act::Refused { by: SessionId(1), to: SessionId(1), ignores: true },
            Act::Gone("nobody".into()),
        ];
        forged.into_iter().for_each(|act| pair.order.put("beta", act));
        // A session of its own tells what would break a terminal.
        let ben = pair.beta.join();
        pair.settle();
        ann.read_all();
        let text = "a\x1b[2J\nb".into();
        pair.order.put("beta", Act::Told { from: ben.id(), to: SessionId(1), text });
        pair.check();
        let heard = ann.read_all();
        assert!(heard.starts_with("[guest1001 -> you] a") && heard.lines().count() == 1, "{heard:?}");
        assert!(!heard.contains('\x1b'));
        pair.beta.leave(ben);
        pair.check();
        assert_eq!(pair.alpha.hub().directory().roster, before);
    }

    #[test]
    fn with_one_node_guests_do_not_stand_in_the_roster() {
        let mut hub = TestHub::default();
        let _guests: Vec<Person> = (0..10).map(|_| hub.join()).collect();
        let ann = hub.join_as("ann");
        assert_eq!(hub.hub().directory().roster.len(), 1);
        hub.leave(ann);
        assert_eq!(hub.hub().directory().roster.len(), 0);
    }
}
