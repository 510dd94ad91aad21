//! What must be true of several nodes together.

use std::collections::BTreeMap;

use super::engine::{Engine, key_of};
use super::node::Node;
use crate::chat::simulator::house::{House, ROOMS};
use crate::chat::{Cursor, SessionId};
use crate::protocol::{Name, Proof, Who};

/// The number of the last line of a room that a house has seen.
pub fn seen(house: &House, key: &str) -> u64 {
    let is_it = |room: &str| key_of(&Name::parse(room).unwrap()) == key;
    let room = ROOMS.iter().find(|room| is_it(room)).map(|room| house.order.room(room));
    room.and_then(|room| house.order.last_line(room)).unwrap_or(0)
}

/// After a restart a room in which somebody is goes on where it was: what others have said meanwhile is not lost. After a
/// crash, what had waited in the room comes again.
pub fn opened(node: &Node, before: &BTreeMap<String, Cursor>, is_crash: bool) {
    let opened = node.end.state().opened.clone();
    let directory = node.house.hub.directory();
    for id in node.house.people.keys() {
        let Some(place) = directory.place(*id) else { continue };
        let name = directory.rooms()[&place.room].name();
        let Some(reached) = before.get(&key_of(name)) else { continue };
        let after = opened.iter().find(|(of, _)| *of == key_of(name)).and_then(|(_, after)| *after);
        let is_right = after == Some(*reached) || (is_crash && after.is_some_and(|after| after < *reached));
        assert!(is_right, "{} opens {name} after {after:?}, and was at {reached:?}", node.name);
    }
}

/// Of nodes that have applied the same acts, no two members have names that look alike, unless both are verified. The
/// names of users of two machines are two. A node that was declared gone, or whose acts an engine has lost, keeps the
/// verified names of its members until all nodes know of them again: those who took them meanwhile lose them then.
pub fn names(nodes: &[Node]) {
    let applied = |node: &Node| node.end.state().applied;
    let named: Vec<(&Node, Who)> =
        nodes.iter().flat_map(|node| named(&node.house).into_iter().map(move |who| (node, who))).collect();
    for (at, (node, who)) in named.iter().enumerate() {
        for (holder, alike) in named[at + 1..].iter().filter(|(_, other)| other.name.looks_like(&who.name)) {
            let is_unknown = [(node, who), (holder, alike)].iter().any(|(node, who)| {
                let roster = &node.house.hub.directory().roster;
                who.verified && !node.house.is_settled() && roster.name_of(SessionId(who.id)).is_none()
            });
            let is_allowed = who.verified && alike.verified || is_unknown || applied(node) != applied(holder);
            assert!(is_allowed, "{who} (#{}) and {alike} (#{}) at {:?}", who.id, alike.id, applied(node));
        }
    }
}

/// Nodes that have applied the same acts have the same roster.
pub fn rosters(nodes: &[Node]) {
    let up = nodes.iter().filter(|node| node.is_up);
    let applied: Vec<(&Node, Cursor)> =
        up.filter_map(|node| Some((node, node.end.state().applied?))).collect();
    for (at, (node, cursor)) in applied.iter().enumerate() {
        for (other, _) in applied[at + 1..].iter().filter(|(_, of)| of == cursor) {
            let [one, two] = [node, other].map(|node| &node.house.hub.directory().roster);
            assert!(one == two, "{} and {} at {cursor:?}: {one:?}, {two:?}", node.name, other.name);
        }
    }
}

/// When all is quiet, all nodes have the bans that the engine has: also those that a node made while it was alone. None is
/// forgotten but what an engine lost together with the nodes that knew of it, and if nothing was lost, none that was
/// lifted is there.
pub fn bans(nodes: &[Node], engine: &Engine, banned: &[String], is_whole: bool) {
    let bans = &engine.primary.bans;
    for node in nodes {
        assert_eq!(node.bans.subjects(), bans.iter().cloned().collect::<Vec<_>>(), "{}", node.name);
    }
    let placed = engine.banned.iter().filter(|subject| subject.starts_with("stay"));
    for subject in placed.chain(banned).filter(|subject| !engine.forgotten.contains(*subject)) {
        assert!(bans.contains(subject), "{subject} is forgotten");
    }
    if is_whole {
        let mut lifted = engine.lifted.iter().filter(|subject| subject.starts_with("lift"));
        assert_eq!(lifted.find(|subject| bans.contains(*subject)), None, "it was lifted");
    }
}

/// Those in a house who are no guests.
fn named(house: &House) -> Vec<Who> {
    let directory = house.hub.directory();
    let members = directory.sessions().filter_map(|id| directory.member(id));
    let node = directory.node();
    let named = members.filter(|member| member.name().is_some()).map(|member| {
        let who = Who::clone(&member.who());
        let is_user = who.verified && member.proof() == Proof::Kernel;
        assert_eq!(who.name.node(), node.as_deref().filter(|_| is_user), "{who}");
        who
    });
    named.collect()
}

/// When all is quiet, who asks who is there gets the same answer on all nodes, and everybody is counted.
pub fn who(nodes: &[Node]) {
    for room in ROOMS {
        let count: usize = nodes.iter().map(|node| count(&node.house, room)).sum();
        let mut first: Option<Vec<String>> = None;
        for node in nodes {
            let at = node.house.order.room(room);
            let people = node.house.people.values().filter(|person| person.reader.room == at);
            for person in people {
                let Some(told) = &person.reader.who else { continue };
                let (number, names) = told.split_once(" here: ").unwrap();
                assert_eq!(number.parse(), Ok(count), "#{} at {} in {room}: {told}", person.id.0, node.name);
                let mut names: Vec<String> = names.split(", ").map(str::to_owned).collect();
                names.sort();
                assert_eq!(*first.get_or_insert_with(|| names.clone()), names, "{} in {room}", node.name);
            }
        }
    }
}

/// How many members a house has in a room.
fn count(house: &House, room: &str) -> usize {
    let rooms = house.hub.directory().rooms().values();
    rooms.filter(|one| one.name().as_str() == room).map(|room| room.count()).sum()
}
