//! Arrivals: what the hub does when a session comes in.

use std::sync::Arc;

use super::act::Act;
use super::activity::Activity;
use super::archiving;
use super::directory::{Directory, Place};
use super::id::{Now, RoomId, SessionId};
use super::input::Arrival;
use super::listing;
use super::member::Member;
use super::nowhere;
use super::opening;
use super::outage;
use super::overheard;
use super::pending::{End, Pending, Wait};
use super::sequencer::Item;
use super::sink::{Signal, Sink};
use crate::protocol::{Form, Name, Notice, View};

/// A session comes in.
pub(super) fn join(
    directory: &mut Directory,
    id: SessionId,
    sink: Arc<dyn Sink>,
    arrival: Arrival,
    now: Now,
) {
    let Arrival { view, room, verified, no_name, greeting, is_control } = arrival;
    if is_control {
        return nowhere::begin(directory, id, sink, verified, now);
    }
    // A room that the operator has configured does not count against `max_rooms`.
    let room = room.map_or(RoomId::MAIN, |name| directory.room_or_new(&name));
    opening::open(directory, room);
    let form = Form::new(view, false);
    let mut member = Member::new(id, Arc::clone(&sink), 0, Activity::since(now.wall));
    if verified.is_some() {
        // It reads nothing before its name is certain.
        let input = member.input.insert(Box::new(Pending::new(Vec::new(), false, End::No)));
        input.wait = Wait::Place;
    }
    directory.insert(Box::new(member), Place { room, form }, now);
    directory.tell(id, |form, out| greet(&greeting, form, out));
    list(directory, id, verified.clone());
    if verified.is_none() {
        sink.signal(Signal::Taken);
        let notice = |reason| Notice::NoCertificateName { reason, now: Name::guest(id.0).to_string() };
        settle(directory, id, no_name.map(notice), now);
    }
}

/// Tells all nodes of a session, if there are several or it has a name.
fn list(directory: &mut Directory, id: SessionId, verified: Option<Name>) {
    if (verified.is_some() || directory.node().is_some())
        && let Some(mut listed) = listing::listed(directory, id)
    {
        listed.proof = verified.as_ref().and_then(|_| Some(directory.member(id)?.proof()));
        listed.name = verified;
        directory.sequencer.submit(Item::Act(Act::Arrived(listed)));
    }
}

/// A session has its verified name, or none: with a notice that says why.
pub(super) fn settle(directory: &mut Directory, id: SessionId, refusal: Option<Notice>, now: Now) {
    let who = directory.roster.name_of(id).cloned();
    if let Some(member) = directory.member_mut(id).filter(|_| who.is_some()) {
        member.who = who;
    }
    if let Some(refusal) = refusal {
        directory.notify(id, &refusal);
    }
    if directory.place(id).is_some_and(|place| place.form.view() != View::Plain) {
        directory.introduce(id, now);
    }
    directory.changed.push(id);
    outage::tell_member(directory, id);
    archiving::tell(directory, id);
    overheard::tell_member(directory, id);
}

/// What a session is sent first; to a program, as an object for each line.
fn greet(greeting: &[u8], form: Form, out: &mut Vec<u8>) {
    if form.view() != View::Json {
        return out.extend_from_slice(greeting);
    }
    String::from_utf8_lossy(greeting)
        .lines()
        .for_each(|line| form.notice(&Notice::Greeting { greeting: line.to_owned() }, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::testing::{Person, TestHub};
    use crate::chat::{HubSnapshot, MemberSnapshot, Reading, SessionSnapshot, Standing};
    use crate::protocol::{NameError, NoName};

    /// A user of this machine.
    fn local(hub: &mut TestHub, name: &str) -> Person {
        hub.arrive(Arrival { verified: Some(Name::login(name).unwrap()), ..Arrival::default() })
    }

    fn who(person: &Person) -> String {
        person.member(|member| member.who().to_string())
    }

    #[test]
    fn of_two_proofs_the_first_one_keeps_the_name_and_the_other_is_told() {
        let mut hub = TestHub::default();
        let (mut machine, mut certificate) = (local(&mut hub, "ann"), hub.arrive_with_certificate(Ok("ann")));
        assert_eq!((who(&machine), who(&certificate)), ("+ann".into(), "guest2".into()));
        assert_eq!(
            certificate.read_all(),
            "-!- +ann, a user of this machine, was here before you: you cannot be +ann, you are guest2\n"
        );
        assert_eq!(machine.read_all(), "");
        hub.leave(machine);
        assert_eq!(who(&certificate), "guest2", "who is a guest stays one");
        let mut second = hub.arrive_with_certificate(Ok("ann"));
        assert_eq!((who(&second), second.read_all()), ("+ann".into(), String::new()));
        let mut machine = local(&mut hub, "ann");
        assert_eq!(
            machine.read_all(),
            "-!- +ann, somebody with a certificate, was here before you: you cannot be +ann, you are guest4\n"
        );
        let third = hub.arrive_with_certificate(Ok("ann"));
        assert_eq!([who(&second), who(&third)], ["+ann", "+ann"], "the same proof");
        // It is a guest as all others: it can take a free name, but not this one.
        assert!(hub.answer(&mut machine, "/nick ann").contains("ann is taken"));
        assert!(hub.answer(&mut machine, "/nick anna").contains("you are anna now"));
    }

    #[test]
    fn programs_get_the_collision_as_fields() {
        let mut hub = TestHub::default();
        let _first = hub.arrive_with_certificate(Ok("bill"));
        let verified = Some(Name::login("bi11").unwrap());
        let mut second = hub.arrive(Arrival { view: View::Json, verified, ..Arrival::default() });
        let told = second.read_all();
        let told: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "type": "notice", "code": "name_held", "name": "bi11", "now": "guest2", "holder": "bill",
                "proof": "certificate",
                "text": "+bill, somebody with a certificate, was here before you: you cannot be +bi11, you are guest2"
            })
        );
        // With the same proof, names that look alike are two, as those of two users of the machine.
        assert_eq!(who(&hub.arrive_with_certificate(Ok("bi11"))), "+bi11");
    }

    #[test]
    fn a_certificate_makes_a_guest_of_who_only_typed_the_name() {
        let mut hub = TestHub::default();
        let mut typed = hub.join_as("ANN");
        let mut ann = hub.arrive_with_certificate(Ok("ann"));
        assert_eq!(typed.read_all(), "-!- +ann, whose name is verified, has connected: you are guest1 now\n");
        assert_eq!(who(&ann), "+ann");
        assert_eq!(
            hub.answer(&mut ann, "/nick eve"),
            "-!- you are +ann: the name is verified, and nobody can change it\n"
        );
        assert!(hub.answer(&mut typed, "/msg +ann psst").contains("told +ann"));
        assert!(ann.read_all().ends_with("psst\n"));
    }

    #[test]
    fn a_certificate_without_a_name_makes_a_guest_who_is_told_why() {
        let mut hub = TestHub::default();
        let mut ann = hub.arrive_with_certificate(Err(NoName::Bad(NameError::BadCharacter)));
        assert_eq!(
            ann.read_all(),
            "-!- your certificate gives you no name: a name can have only letters, digits, - and _; you are guest1\n"
        );
        let arrival = Arrival { view: View::Json, no_name: Some(NoName::NoCommonName), ..Arrival::default() };
        let told = hub.arrive(arrival).read_all();
        let told: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "type": "notice", "code": "no_certificate_name", "reason": "no_common_name", "now": "guest2",
                "text": "your certificate gives you no name: its subject has no common name (CN); you are guest2"
            })
        );
    }

    /// What outlives the death of the process, of these.
    fn crash(hub: &mut TestHub, people: &[&Person]) {
        let sessions = people.iter().map(|person| {
            let standing = person.member(|member| member.who().as_ref().clone());
            let standing = Standing { who: Some(standing), ..Standing::plain(person.id()) };
            let (record, ignored) = standing.encode();
            let standing = Standing::decode(&record, &ignored).unwrap_or(Standing::plain(person.id()));
            let member = Some(MemberSnapshot::after_crash(standing, Vec::new()));
            SessionSnapshot { id: person.id(), member, reading: Reading::default() }
        });
        let snapshot = HubSnapshot { sessions: sessions.collect(), ..HubSnapshot::default() };
        hub.move_to(snapshot, |id| {
            let person = people.iter().find(|person| person.id() == id)?;
            Some(Arc::clone(&person.socket) as Arc<dyn Sink>)
        });
    }

    #[test]
    fn the_proof_of_a_name_outlives_a_restart_and_a_crash() {
        for is_crash in [false, true] {
            let mut hub = TestHub::default();
            let (ann, ben) = (hub.arrive_with_certificate(Ok("ann")), local(&mut hub, "ben"));
            let mut people = [ann, ben];
            if is_crash {
                crash(&mut hub, &[&people[0], &people[1]]);
            } else {
                hub.move_on(&mut people);
            }
            assert_eq!(people.each_ref().map(who), ["+ann", "+ben"]);
            let again = [hub.arrive_with_certificate(Ok("ann")), local(&mut hub, "ben")];
            assert_eq!(again.each_ref().map(who), ["+ann", "+ben"], "the same proof");
            let mut others = [local(&mut hub, "ann"), hub.arrive_with_certificate(Ok("ben"))];
            assert_eq!(others.each_ref().map(who), ["guest5", "guest6"]);
            assert!(others[0].read_all().contains("somebody with a certificate"));
            assert!(others[1].read_all().contains("a user of this machine"));
        }
    }
}
