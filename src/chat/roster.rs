//! The roster: who is on which node, and who is called what, as all acts in their order have made it.
//!
//! It decides everything from the acts, their order, nodes and times, and from nothing else. So every node has the same
//! one; what follows for the sessions here, `chat::acts` does. A single node lists only sessions that have had a name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::act::{Act, Claim, Listed};
use super::id::{Node, SessionId};
use super::keys::Keys;
use super::names::Names;
use crate::protocol::{Key, Name, Notice, Proof, Who, text};

mod effect;
mod rooms;
mod rules;
mod seat;
mod stored;

pub(super) use effect::Effect;
use rooms::{Rooms, first_key};
use rules::{is_name, is_room, of_node};
use seat::{Location, Seat};

/// Who is on which node, and who is called what.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    seats: BTreeMap<SessionId, Seat>,
    /// Follows from the seats.
    names: Names,
    /// The keys of sessions, also of those that are gone.
    pub(super) keys: Keys,
    /// Follows from the seats.
    rooms: Rooms,
}

/// Equal if they decide the same.
impl PartialEq for Roster {
    fn eq(&self, other: &Self) -> bool {
        self.seats == other.seats && self.keys == other.keys
    }
}

impl Roster {
    /// Applies the next act. `time` is when it got its place. An act about a session of another node does nothing, and
    /// neither does one that breaks a rule.
    pub(super) fn apply(&mut self, act: &Act, node: &Node, time: Timestamp) -> Vec<Effect> {
        match act {
            Act::Arrived(listed) => {
                let is_new = !self.seats.contains_key(&listed.id);
                if is_new { self.bring(listed, node).unwrap_or_default() } else { Vec::new() }
            }
            Act::Claimed(claim) => self.claim(claim, node, time),
            Act::Moved { id, room, is_present } if self.owns(node, *id) && is_room(room, node) => {
                if let Some(mut seat) = self.take(*id) {
                    seat.location = Location::of(node, room, *is_present);
                    self.put(*id, seat);
                }
                Vec::new()
            }
            Act::Left(id) if self.owns(node, *id) => {
                self.leave(*id, time);
                Vec::new()
            }
            Act::Returned { sessions, .. } => self.return_all(sessions, node, time),
            Act::Gone(name) => self.drop_node(name, time),
            Act::Told { from, to, text } if self.owns(node, *from) => self.private(*from, *to, text),
            Act::Refused { by, to, ignores } if self.owns(node, *by) => {
                let refusal = self.who(*by).map(|who| refusal(&who, *ignores));
                refusal.map(|notice| Effect::Notify(*to, notice)).into_iter().collect()
            }
            // An operator without a name, or in no room, does not stand here.
            Act::Ordered { by, line, about, changes } if self.may_order(node, by) => {
                let by = self.who(SessionId(by.id)).map_or_else(|| by.clone(), |who| Who::clone(&who));
                let (line, changes) = (line.clone(), changes.clone());
                vec![Effect::Ordered { by, line, about: *about, changes }]
            }
            // By now the engine has these changes, also those of a node that may not ask for them.
            Act::Brought(changes) | Act::Ordered { changes, .. } if !changes.is_empty() => {
                vec![Effect::Brought(changes.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Adds a session of this node, with its name if nobody else has that. `None` if it cannot be: its number is in use,
    /// or what is said of it breaks a rule.
    pub(super) fn bring(&mut self, listed: &Listed, node: &Node) -> Option<Vec<Effect>> {
        let Listed { id, room, name, proof, key, is_present } = listed;
        let name = name.as_ref().map(|name| of_node(name, *proof, node));
        let is_sound = is_room(room, node) && name.as_ref().is_none_or(|name| is_name(name, *proof, node));
        if *id == SessionId::NOBODY || self.seats.contains_key(id) || !is_sound {
            return None;
        }
        self.put(*id, Seat::new(node, room, *is_present));
        Some(match (&name, proof) {
            (Some(name), Some(proof)) => self.verify(*id, name, *proof),
            (Some(name), None) => {
                if self.holders(name).is_empty() {
                    self.name(*id, name, None, *key);
                }
                Vec::new()
            }
            (None, _) => Vec::new(),
        })
    }

    /// Returns the name of a session, also that of a guest; `None` if it does not stand here.
    pub(super) fn who(&self, id: SessionId) -> Option<Arc<Who>> {
        let seat = self.seats.get(&id)?;
        Some(seat.who.clone().unwrap_or_else(|| guest(id)))
    }

    /// Returns the name of a session; `None` for a guest.
    pub(super) fn name_of(&self, id: SessionId) -> Option<&Arc<Who>> {
        self.seats.get(&id)?.who.as_ref()
    }

    /// Returns the node of a session.
    pub(super) fn node_of(&self, id: SessionId) -> Option<&Arc<str>> {
        Some(&self.seats.get(&id)?.location.as_ref()?.node)
    }

    /// Returns the key of a session.
    pub(super) fn key(&self, id: SessionId) -> Option<Key> {
        self.keys.held(id)
    }

    pub(super) fn has(&self, id: SessionId) -> bool {
        self.seats.contains_key(&id)
    }

    /// Returns what is stored of it: without what follows from the sessions. A copy of all would keep the hub busy.
    pub(super) fn to_store(&self) -> Self {
        Self { seats: self.seats.clone(), keys: self.keys.clone(), ..Self::default() }
    }

    /// Returns how many sessions stand here.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Returns the holders of this name and of those that look like it, the latest connection first.
    pub(super) fn holders(&self, name: &Name) -> Vec<SessionId> {
        // Two looks may have the same hash on one node and not on the next.
        let is_alike = |id: &SessionId| self.name_of(*id).is_some_and(|who| who.name.looks_like(name));
        self.names.holders(name).filter(is_alike).collect()
    }

    /// Returns how many sessions of other nodes are in a room.
    pub(super) fn count_elsewhere(&self, room: &Name, own: &Node) -> usize {
        self.rooms.count_elsewhere(room, own)
    }

    /// Returns whether a session is in a room, on another node.
    pub(super) fn is_elsewhere(&self, id: SessionId, room: &Name, own: &Node) -> bool {
        let location =
            self.seats.get(&id).filter(|seat| !seat.is_of(own)).and_then(|seat| seat.location.as_ref());
        location.is_some_and(|location| first_key(&location.room) == first_key(room))
    }

    /// Returns the rooms with sessions of other nodes, and how many these are.
    pub(super) fn rooms_elsewhere<'a>(&'a self, own: &'a Node) -> impl Iterator<Item = (&'a Name, usize)> {
        self.rooms.elsewhere(own)
    }

    /// Returns the sessions of other nodes in a room.
    pub(super) fn elsewhere(&self, room: &Name, own: &Node) -> Vec<Arc<Who>> {
        if self.count_elsewhere(room, own) == 0 {
            return Vec::new();
        }
        let seats = self.seats.iter().filter(|(id, _)| self.is_elsewhere(**id, room, own));
        seats.map(|(id, seat)| seat.who.clone().unwrap_or_else(|| guest(*id))).collect()
    }

    /// Returns whether an act of this node may be about that session.
    fn owns(&self, node: &Node, id: SessionId) -> bool {
        self.seats.get(&id).is_some_and(|seat| seat.is_of(node))
    }

    /// Returns whether that may be an operator of this node: no user of another machine, and no session of another node.
    fn may_order(&self, node: &Node, by: &Who) -> bool {
        let is_own_user = by.name.node().is_none_or(|at| node.as_deref() == Some(at));
        is_own_user && self.seats.get(&SessionId(by.id)).is_none_or(|seat| seat.is_of(node))
    }

    /// Gives a session a name, if that is free or the key is good. Nothing changes if it is refused.
    fn claim(&mut self, claim: &Claim, node: &Node, time: Timestamp) -> Vec<Effect> {
        let Claim { id, room, name, key, new_key } = claim;
        let is_sound = *id != SessionId::NOBODY && is_room(room, node) && is_name(name, None, node);
        let is_elsewhere = self.has(*id) && !self.owns(node, *id);
        if is_elsewhere || !is_sound {
            return Vec::new();
        }
        if let Some(refusal) = self.refusal(*id, name, *key, time) {
            return vec![Effect::Notify(*id, refusal)];
        }
        let mut effects = Vec::new();
        if key.is_some() {
            self.keys.use_left(name);
            for other in self.others(*id, name) {
                effects.extend(self.depose(other, |name, now| Notice::NameTakenOver { name, now }));
            }
        }
        if !self.has(*id) {
            self.put(*id, Seat::new(node, room, true));
        }
        self.name(*id, name, None, *new_key);
        effects.push(Effect::Named(*id, *new_key));
        effects
    }

    /// Returns why a session cannot have a name.
    fn refusal(&self, id: SessionId, name: &Name, key: Option<Key>, time: Timestamp) -> Option<Notice> {
        if let Some(who) = self.name_of(id).filter(|who| who.verified) {
            return Some(Notice::Verified { name: who.name.to_string() });
        }
        let others = self.others(id, name);
        let is_held = |other: &SessionId| {
            self.name_of(*other).is_some_and(|who| who.name == *name) && self.key(*other) == key
        };
        // The key of a connection that is gone takes the name from nobody who has a key of their own.
        let takes_any = key.is_some() && self.holders(name).iter().any(is_held);
        if key.is_some_and(|key| !takes_any && !self.keys.is_left(key, name, time)) {
            return Some(Notice::BadKey { name: name.to_string() });
        }
        let may_depose = |other: &SessionId| {
            let is_verified = self.name_of(*other).is_some_and(|who| who.verified);
            !is_verified && key.is_some() && (takes_any || self.key(*other).is_none())
        };
        let hint = || self.free_name(id, name).map(|hint| hint.to_string());
        let is_free = others.iter().all(may_depose);
        (!is_free).then(|| Notice::Taken { name: name.to_string(), hint: hint() })
    }

    /// Returns who else is called that, or something that looks like it.
    fn others(&self, id: SessionId, name: &Name) -> Vec<SessionId> {
        self.holders(name).into_iter().filter(|other| *other != id).collect()
    }

    /// Returns a free name like `name`: with a number from 2 to 99. `None` if there is none.
    fn free_name(&self, id: SessionId, name: &Name) -> Option<Name> {
        let mut numbered =
            (2..100).filter_map(|number| Name::parse(&format!("{}{number}", name.as_str())).ok());
        numbered.find(|free| self.others(id, free).is_empty())
    }

    /// Gives a session its verified name. Makes guests of the sessions that have taken this name, or one that looks like
    /// it.
    ///
    /// The kernel and a certificate may give the same name to two people. Who came first keeps it, and the other one is a
    /// guest. With several nodes the names are two, and so are those of two kernels.
    fn verify(&mut self, id: SessionId, name: &Name, proof: Proof) -> Vec<Effect> {
        let holders = self.others(id, name);
        let other = holders.iter().find_map(|id| {
            let (who, one) = (self.name_of(*id)?, self.seats.get(id)?.proof?);
            (one != proof && who.name.node() == name.node()).then(|| (who.name.to_string(), one))
        });
        if let Some((holder, proof)) = other {
            let (name, now) = (name.to_string(), guest(id).name.to_string());
            return vec![Effect::Arrived(id, Some(Notice::NameHeld { name, now, holder, proof }))];
        }
        let notice = |name: String| move |_, now| Notice::Deposed { name, now };
        let deposed = holders.into_iter().filter_map(|other| self.depose(other, notice(name.to_string())));
        let mut effects: Vec<Effect> = deposed.collect();
        self.name(id, name, Some(proof), None);
        effects.push(Effect::Arrived(id, None));
        effects
    }

    /// Makes a guest of the holder of a name, unless it is verified. `notice` gets what it was called, and what it is
    /// called now.
    fn depose(&mut self, holder: SessionId, notice: impl FnOnce(String, String) -> Notice) -> Option<Effect> {
        let mut seat = self.take(holder)?;
        let before = seat.who.take_if(|who| !who.verified);
        self.put(holder, seat);
        let before = before?;
        self.keys.hold(holder, None);
        let notice = notice(before.name.to_string(), guest(holder).name.to_string());
        Some(Effect::Deposed(holder, notice))
    }

    /// A session is called that from now on, and the key before is no longer valid.
    fn name(&mut self, id: SessionId, name: &Name, proof: Option<Proof>, key: Option<Key>) {
        let Some(mut seat) = self.take(id) else { return };
        seat.who = Some(Arc::new(Who { id: id.0, name: name.clone(), verified: proof.is_some() }));
        seat.proof = proof;
        self.put(id, seat);
        self.keys.hold(id, key);
    }

    /// A session is gone, and its name is free.
    fn leave(&mut self, id: SessionId, time: Timestamp) {
        if let Some(Seat { who: Some(who), .. }) = self.take(id) {
            self.keys.leave(id, &who.name, time);
        }
    }

    /// These are the sessions of a node. Those that stand here keep the names that they have here.
    fn return_all(&mut self, sessions: &[Listed], node: &Node, time: Timestamp) -> Vec<Effect> {
        let back: BTreeSet<SessionId> = sessions.iter().map(|listed| listed.id).collect();
        let of_node = self.seats.iter().filter(|(_, seat)| seat.is_of(node)).map(|(id, _)| *id);
        let gone: Vec<SessionId> = of_node.filter(|id| !back.contains(id)).collect();
        gone.into_iter().for_each(|id| self.leave(id, time));
        let mut effects = Vec::new();
        for listed in sessions {
            let seat = if self.owns(node, listed.id) { self.take(listed.id) } else { None };
            match seat {
                Some(mut seat) if seat.who.is_some() => {
                    if is_room(&listed.room, node) {
                        seat.location = Location::of(node, &listed.room, listed.is_present);
                    }
                    self.put(listed.id, seat);
                }
                _ => effects.extend(self.bring(listed, node).unwrap_or_default()),
            }
        }
        effects.retain(|effect| matches!(effect, Effect::Deposed(..)));
        effects
    }

    /// The sessions of a node are gone.
    fn drop_node(&mut self, name: &str, time: Timestamp) -> Vec<Effect> {
        let node = Some(name.into());
        let of_node = self.seats.iter().filter(|(_, seat)| seat.is_of(&node));
        let gone: Vec<SessionId> = of_node.map(|(id, _)| *id).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let mut rooms: BTreeMap<Box<str>, (Name, Vec<Who>)> = BTreeMap::new();
        for id in gone {
            if let Some(Seat { location: Some(location), who, .. }) = self.seats.get(&id)
                && location.is_present
            {
                let who = who.clone().unwrap_or_else(|| guest(id));
                let room = rooms.entry(first_key(&location.room).into());
                room.or_insert_with(|| (location.room.clone(), Vec::new())).1.push(Who::clone(&who));
            }
            self.leave(id, time);
        }
        vec![Effect::Gone(rooms.into_values().collect())]
    }

    fn private(&self, from: SessionId, to: SessionId, text: &str) -> Vec<Effect> {
        let (Some(sender), receiver) = (self.who(from), self.who(to)) else { return Vec::new() };
        let mut clean = Vec::new();
        text::clean(text.as_bytes(), &mut clean);
        vec![match (receiver, String::from_utf8(clean)) {
            (Some(to), Ok(text)) => Effect::Told { from: sender, to, text },
            _ => Effect::Notify(from, Notice::Nobody),
        }]
    }

    /// Takes a session out, with what follows from it.
    fn take(&mut self, id: SessionId) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        if let Some(who) = &seat.who {
            self.names.forget(who);
        }
        seat.location.iter().for_each(|location| self.rooms.leave(location));
        Some(seat)
    }

    /// Puts a session in, with what follows from it.
    fn put(&mut self, id: SessionId, seat: Seat) {
        if let Some(who) = &seat.who {
            self.names.give(who);
        }
        seat.location.iter().for_each(|location| self.rooms.enter(location));
        self.seats.insert(id, seat);
    }
}

/// Returns the refusal of a private message.
pub(super) fn refusal(receiver: &Who, ignores: bool) -> Notice {
    let (name, verified) = (receiver.name.to_string(), receiver.verified);
    if ignores { Notice::IgnoresYou { name, verified } } else { Notice::DoesNotRead { name, verified } }
}

/// Returns a guest.
fn guest(id: SessionId) -> Arc<Who> {
    Arc::new(Who::guest(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::simulator::random::Random;

    const NODES: [&str; 3] = ["alpha", "beta", "gamma"];

    fn node(index: usize) -> Node {
        Some(NODES[index].into())
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_node_orders_in_the_name_of_no_user_of_another_machine() {
        let count = |node: Node| {
            let by = Who { id: 9, name: Name::verified("root@alpha").unwrap(), verified: true };
            let act = Act::Ordered { by, line: "/say hi".to_owned(), about: None, changes: Vec::new() };
            Roster::default().apply(&act, &node, Timestamp::UNIX_EPOCH).len()
        };
        assert_eq!([count(node(0)), count(node(1)), count(None)], [1, 0, 0]);
    }

    fn listed(random: &mut Random) -> Listed {
        let name = random.has_luck(400).then(|| random_name(random));
        let proof = [None, Some(Proof::Kernel), Some(Proof::Certificate)];
        Listed {
            id: SessionId(random.below(20) as u64),
            room: name_of_room(random),
            proof: name.as_ref().and_then(|_| random.pick(&proof)),
            key: random.has_luck(500).then(|| Key(random.below(4) as u128)),
            name,
            is_present: random.has_luck(500),
        }
    }

    fn random_name(random: &mut Random) -> Name {
        name(random.pick(&["ann", "ANN", "amy", "arny", "army", "bill", "bi11", "BILL"]))
    }

    fn name_of_room(random: &mut Random) -> Name {
        name(random.pick(&["main", "Main", "attic"]))
    }

    /// Any act, also one that makes no sense.
    fn act(random: &mut Random) -> Act {
        let id = SessionId(random.below(20) as u64);
        let key = |random: &mut Random| random.has_luck(400).then(|| Key(random.below(4) as u128));
        match random.below(20) {
            0..6 => Act::Arrived(listed(random)),
            6..13 => {
                let (room, name) = (name_of_room(random), random_name(random));
                Act::Claimed(Claim { id, room, name, key: key(random), new_key: key(random) })
            }
            13 => Act::Moved { id, room: name_of_room(random), is_present: random.has_luck(500) },
            14..17 => Act::Left(id),
            17 => {
                let sessions = (0..random.below(6)).map(|_| listed(random)).collect();
                Act::Returned { sessions, mark: 1 }
            }
            18 => Act::Gone(random.pick(&NODES).to_owned()),
            _ => {
                let to = SessionId(random.below(20) as u64);
                Act::Told { from: id, to, text: "psst".to_owned() }
            }
        }
    }

    /// Checks what must hold at every place of the order.
    fn check(roster: &Roster) {
        let named: Vec<&Seat> = roster.seats.values().filter(|seat| seat.who.is_some()).collect();
        for (index, one) in named.iter().enumerate() {
            for other in &named[index + 1..] {
                let (who, others) = (one.who.as_ref().unwrap(), other.who.as_ref().unwrap());
                let is_shared = one.proof.is_some()
                    && other.proof.is_some()
                    && (one.proof == other.proof || who.name.node() != others.name.node());
                assert!(is_shared || !who.name.looks_like(&others.name), "{who} and {others}");
            }
            let (who, is_user) = (one.who.as_ref().unwrap(), one.proof == Some(Proof::Kernel));
            assert_eq!(who.verified, one.proof.is_some());
            assert_eq!(
                who.name.node(),
                one.location.as_ref().map(|location| &*location.node).filter(|_| is_user),
                "its own node alone"
            );
        }
        assert!(roster.names.are(named.iter().filter_map(|seat| seat.who.as_deref())));
        for room in ["main", "attic"].map(name) {
            let count = |own: usize| roster.count_elsewhere(&room, &node(own));
            let all = roster
                .seats
                .values()
                .filter(|seat| seat.location.as_ref().unwrap().room.looks_like(&room))
                .count();
            assert_eq!((0..3).map(count).sum::<usize>(), 2 * all);
            assert_eq!(roster.elsewhere(&room, &node(0)).len(), count(0));
        }
    }

    fn stored_and_read(roster: &Roster) -> [Roster; 2] {
        let json = serde_json::to_string(roster).unwrap();
        let mut cbor = Vec::new();
        ciborium::into_writer(roster, &mut cbor).unwrap();
        [serde_json::from_str(&json).unwrap(), ciborium::from_reader(&cbor[..]).unwrap()]
    }

    #[test]
    fn the_same_acts_make_the_same_roster_and_storing_it_in_between_changes_nothing() {
        for seed in 0..30 {
            let mut random = Random::new(seed);
            let mut rosters = [Roster::default(), Roster::default(), Roster::default()];
            for second in 0..150 {
                // An act comes later than the others, or the clock of the engine was set back.
                let time = Timestamp::from_second(1000 * second - random.below(3000) as i64).unwrap();
                let (act, node) = (act(&mut random), node(random.below(3)));
                let effects = rosters.each_mut().map(|roster| roster.apply(&act, &node, time));
                assert!(effects[0] == effects[1] && effects[0] == effects[2], "seed {seed}: {act:?}");
                if random.has_luck(100) {
                    let [json, cbor] = stored_and_read(&rosters[0]);
                    (rosters[1], rosters[2]) = (json, cbor);
                }
                assert!(rosters[0] == rosters[1] && rosters[0] == rosters[2], "seed {seed}: {act:?}");
                check(&rosters[0]);
            }
        }
    }

    #[test]
    fn what_is_not_sound_in_a_stored_roster_is_left_out() {
        let text = r#"{"nodes": {
            "alpha": [
                {"id": 1, "room": "main", "name": "ann", "key": "000000000000000000000000000000ab", "present": true},
                {"id": 2, "room": "main", "name": "guest9"},
                {"id": 3, "room": "main", "name": "e\u001b[2Jve"},
                {"id": 4, "room": "a room", "name": "eve"},
                {"id": 0, "room": "main"},
                {"id": 5, "room": "main", "name": "ANN"},
                {"id": 7, "room": "main", "name": "cat@beta"},
                {"id": 8, "room": "main", "name": "cat@beta", "proof": "kernel"},
                {"id": 9, "room": "main", "name": "cat@beta", "proof": "certificate"}
            ],
            "a b": [{"id": 10, "room": "main", "name": "ann", "proof": "kernel"}],
            "beta": [
                {"id": 1, "room": "main", "name": "ben"},
                {"id": 6, "room": "main", "name": "ann", "proof": "kernel", "later": 1}
            ]
        }, "keys": [
            {"name": "amy", "key": "000000000000000000000000000000ab", "until": 9},
            {"name": "chatd", "key": "000000000000000000000000000000ab", "until": 9},
            {"name": "bob", "key": "ab", "until": 9}
        ]}"#;
        let roster: Roster = serde_json::from_str(text).unwrap();
        check(&roster);
        let names: Vec<String> = roster.seats.keys().map(|id| roster.who(*id).unwrap().to_string()).collect();
        assert_eq!(
            names,
            ["guest1", "guest2", "guest3", "guest5", "+ann@beta", "guest7", "+cat@alpha", "+cat"]
        );
        assert_eq!(roster.keys.left().count(), 1);
        for damaged in ["", "[]", "{\"nodes\": 1}", "{\"nodes\": {\"a\": [{\"id\": -1}]}}"] {
            assert!(serde_json::from_str::<Roster>(damaged).is_err(), "{damaged}");
        }
        assert!(serde_json::from_str::<Roster>("{\"nodes\": {}}").is_ok_and(|roster| roster.len() == 0));
    }

    #[test]
    fn the_key_of_a_session_that_is_gone_counts_in_the_time_of_the_acts() {
        for (seconds, is_valid) in [(600, true), (601, false)] {
            let (mut roster, node) = (Roster::default(), node(0));
            let (key, at) = (Some(Key(1)), |second| Timestamp::from_second(second).unwrap());
            let claim = |id, key, new_key| {
                let (id, room, name) = (SessionId(id), name("main"), name("ann"));
                Act::Claimed(Claim { id, room, name, key, new_key })
            };
            roster.apply(&claim(1, None, key), &node, at(0));
            roster.apply(&Act::Left(SessionId(1)), &node, at(10));
            let effects = roster.apply(&claim(2, key, None), &node, at(10 + seconds));
            assert_eq!(effects == [Effect::Named(SessionId(2), None)], is_valid);
        }
    }
}
