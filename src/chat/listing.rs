//! Listing: what this node tells all nodes of its sessions.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::act::{Act, Listed};
use super::directory::Directory;
use super::entry::Entry;
use super::host::ClusterBans;
use super::id::SessionId;
use super::member::Member;
use super::names::Names;
use super::room::Room;
use super::roster::Roster;
use super::sequencer::{Cursor, Item};
use crate::protocol::{Key, Name, Who};

/// Goes on with a roster from elsewhere. What this node knows better is told.
pub(super) fn replace(directory: &mut Directory, roster: Roster, cursor: Cursor) {
    let sessions = all(directory);
    directory.roster = roster;
    let known = directory.following.cursor;
    // Nobody knows what the process before has carried out.
    let all_acts = Cursor { epoch: u64::MAX, entry: u64::MAX };
    directory.following.known = if known == Cursor::default() { all_acts } else { known };
    (directory.following.cursor, directory.following.is_live) = (cursor, false);
    directory.following.has_left_earlier = false;
    directory.following.told.clear();
    return_all(directory, sessions);
}

/// Goes on with the roster of the process before, and tells all nodes which sessions are here now.
pub(super) fn go_on(directory: &mut Directory, (roster, cursor): (Roster, Cursor)) {
    if directory.node().is_none() {
        return;
    }
    directory.roster = roster;
    (directory.following.cursor, directory.following.is_live) = (cursor, true);
    directory.sequencer.follow(cursor);
    return_all(directory, all(directory));
}

/// Goes on with the bans of the cluster.
pub(super) fn join(directory: &mut Directory, bans: &Arc<ClusterBans>, cursor: Cursor) {
    directory.following.bans = cursor;
    directory.operators.host.iter_mut().for_each(|host| host.join(bans));
}

/// Returns all sessions that are here.
pub(super) fn all(directory: &Directory) -> Vec<Listed> {
    let mut ids: Vec<SessionId> = directory.sessions().collect();
    ids.sort_unstable();
    ids.into_iter().filter_map(|id| listed(directory, id)).collect()
}

/// Tells all nodes which sessions are here.
pub(super) fn return_all(directory: &mut Directory, sessions: Vec<Listed>) {
    // Another one with each call, also after a crash.
    let mark = RandomState::new().hash_one(0);
    directory.following.awaited = Some(mark);
    directory.following.returning = Names::default();
    for Listed { id, name, proof, .. } in &sessions {
        if let Some(name) = name.clone() {
            let who = Who { id: id.0, name, verified: proof.is_some() };
            directory.following.returning.give(&who);
        }
    }
    directory.sequencer.submit(Item::Act(Act::Returned { sessions, mark }));
}

/// Tells all nodes that a node is gone, and returns true, if sessions that are here stand there: this node was it before it
/// got another name.
pub(super) fn leave_earlier(directory: &mut Directory) -> bool {
    if std::mem::replace(&mut directory.following.has_left_earlier, true) {
        return false;
    }
    let own = directory.node();
    let nodes = directory.sessions().filter_map(|id| directory.roster.node_of(id));
    let earlier: BTreeSet<Arc<str>> = nodes.filter(|node| own.as_ref() != Some(node)).cloned().collect();
    if earlier.is_empty() {
        return false;
    }
    let gone = earlier.into_iter().map(|node| Item::Act(Act::Gone(node.to_string())));
    gone.for_each(|gone| directory.sequencer.submit(gone));
    return_all(directory, all(directory));
    true
}

/// Returns a session as all nodes know it.
pub(super) fn listed(directory: &Directory, id: SessionId) -> Option<Listed> {
    let member = directory.member(id)?;
    let room = directory.room_of(id).filter(|_| !directory.is_nowhere(id))?.name();
    let who = member.name();
    Some(Listed {
        id,
        room: Name::clone(room),
        name: who.map(|who| who.name.clone()),
        proof: who.is_some_and(|who| who.verified).then(|| member.proof()),
        key: directory.roster.key(id),
        is_present: member.is_present,
    })
}

/// Has a room know how many members it has on other nodes, once these have come or gone.
///
/// The acts of sessions of other nodes have another order than the entries of the room, and may come later.
pub(super) fn count_elsewhere(directory: &mut Directory, name: &Name, entry: &Entry) {
    let own = directory.node();
    let roster = &directory.roster;
    let mut elsewhere = roster.count_elsewhere(name, &own);
    let is_there = |who: &&Who| roster.is_elsewhere(SessionId(who.id), name, &own);
    match entry {
        Entry::Joined(who) => {
            let is_own = |who: &&Who| directory.place(SessionId(who.id)).is_some();
            elsewhere += who.iter().filter(|who| !is_own(who) && !is_there(who)).count();
        }
        Entry::Left(who) => elsewhere = elsewhere.saturating_sub(who.iter().filter(is_there).count()),
        _ => {}
    }
    if let Some(room) = directory.room_called(name).and_then(|id| directory.get_room(id)) {
        room.count_elsewhere(elsewhere);
    }
}

/// Returns how many members a room has on all nodes.
pub(super) fn count(directory: &Directory, room: &Room) -> usize {
    room.count() + directory.roster.count_elsewhere(room.name(), &directory.node())
}

/// Has the roster know of a restored member with a name, until it has the roster of all nodes.
pub(super) fn restore(
    directory: &mut Directory,
    member: &mut Member,
    (room, key, is_present): (Name, Option<Key>, bool),
) {
    let id = member.id;
    let Some(who) = member.name().filter(|_| !directory.roster.has(id)) else { return };
    let (name, proof) = (Some(who.name.clone()), who.verified.then(|| member.proof()));
    let node = directory.node();
    directory.roster.bring(&Listed { id, room, name, proof, key, is_present }, &node);
    // The process before may have been of another node. If somebody else has the name, the snapshot was damaged.
    member.who = Some(directory.roster.name_of(id).cloned().unwrap_or_else(|| member.guest()));
}

#[cfg(test)]
mod tests {
    use crate::chat::pair::Pair;
    use crate::chat::testing::Person;
    use crate::chat::{Act, Entry};
    use crate::protocol::Who;

    /// What somebody on `alpha` reads after this entry of `beta`.
    fn heard(pair: &mut Pair, person: &mut Person, entry: Entry) -> String {
        pair.order.put_entry("beta", entry);
        let now = pair.alpha.time();
        pair.alpha.hub().take_sequenced(now);
        pair.alpha.settle();
        person.read_all()
    }

    #[test]
    fn members_of_other_nodes_count_from_the_line_that_says_that_they_come_or_go() {
        let mut pair = Pair::default();
        let (mut ann, mut ben) = (pair.alpha.join(), pair.beta.join());
        pair.settle();
        pair.alpha.ask(&mut ann, "/nick ann");
        pair.beta.ask(&mut ben, "/nick ben");
        pair.settle();
        ann.read_all();
        let who = vec![ben.member(|member| Who::clone(member.name().unwrap()))];
        // The roster learns of a session before the lines of its room say so, or after them.
        for _ in 0..2 {
            let left = heard(&mut pair, &mut ann, Entry::Left(who.clone()));
            assert_eq!(left, "-!- ben left (1 here)\n");
            let joined = heard(&mut pair, &mut ann, Entry::Joined(who.clone()));
            assert_eq!(joined, "-!- ben joined (2 here)\n");
            pair.order.put("beta", Act::Left(ben.id()));
        }
    }
}
