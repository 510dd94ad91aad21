//! The directory: which rooms there are, who is where, and who is called what.
//!
//! What the rooms are to be told of it comes out as entries, for the hub to have them put in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::entry::Entry;
use super::feed::Feed;
use super::id::{Now, RoomId, SessionId};
use super::input::Arrival;
use super::limits::Limits;
use super::member::Member;
use super::names::Names;
use super::room::Room;
use super::sink::Sink;
use crate::protocol::{Answer, Form, Kind, Name, View, Who};

/// The name of the room that everybody comes into.
pub(super) const MAIN_NAME: &str = "main";

/// Where a session is, and how lines are shown to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) room: RoomId,
    pub(super) form: Form,
}

/// Which rooms there are, who is where, and who is called what.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) limits: Limits,
    rooms: BTreeMap<RoomId, Room>,
    /// By all names that look like theirs.
    by_name: HashMap<Box<str>, RoomId>,
    next_room: u64,
    places: HashMap<SessionId, Place>,
    pub(super) names: Names,
    /// What is to be put in order, and where.
    pub(super) outgoing: Vec<(RoomId, Entry)>,
    /// Who has been owed something, and has not been sent to since.
    pub(super) told: Vec<SessionId>,
    /// Rooms whose members or presence have changed.
    pub(super) touched: Vec<RoomId>,
    /// Whose standing has changed.
    pub(super) changed: Vec<SessionId>,
    /// Rooms that are gone.
    pub(super) gone: Vec<(RoomId, Room)>,
    /// There is little memory left: no new logs.
    pub(super) is_crowded: bool,
}

impl Directory {
    /// One empty room.
    pub(super) fn new(limits: Limits) -> Self {
        let mut directory = Self {
            limits,
            rooms: BTreeMap::new(),
            by_name: HashMap::new(),
            next_room: 0,
            places: HashMap::new(),
            names: Names::default(),
            outgoing: Vec::new(),
            told: Vec::new(),
            touched: Vec::new(),
            changed: Vec::new(),
            gone: Vec::new(),
            is_crowded: false,
        };
        directory.add_room(Name::known(MAIN_NAME), 0);
        directory
    }

    pub(super) fn rooms(&self) -> &BTreeMap<RoomId, Room> {
        &self.rooms
    }

    pub(super) fn rooms_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.rooms.values_mut()
    }

    pub(super) fn room(&mut self, id: RoomId) -> &mut Room {
        self.rooms.get_mut(&id).expect("a room that somebody is in, or the main one, stays")
    }

    pub(super) fn get_room(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.get_mut(&id)
    }

    /// The room that is called that, or something that looks like it.
    pub(super) fn room_called(&self, name: &Name) -> Option<RoomId> {
        name.keys().find_map(|key| self.by_name.get(key)).copied()
    }

    pub(super) fn add_room(&mut self, name: Name, said: u64) -> RoomId {
        let id = RoomId(self.next_room);
        self.next_room += 1;
        self.by_name.extend(name.keys().map(|key| (key.into(), id)));
        self.rooms.insert(id, Room::new(Arc::new(name), &self.limits, said));
        id
    }

    /// The room of that name; it is made if it is not there.
    pub(super) fn room_or_new(&mut self, name: &Name) -> RoomId {
        self.room_called(name).unwrap_or_else(|| self.add_room(name.clone(), 0))
    }

    /// A room that nobody is in is gone, but for the main one.
    pub(super) fn drop_if_empty(&mut self, id: RoomId) {
        if id == RoomId::MAIN || self.rooms.get(&id).is_none_or(|room| room.count() > 0) {
            return;
        }
        if let Some(room) = self.rooms.remove(&id) {
            room.name().keys().for_each(|key| {
                self.by_name.remove(key);
            });
            self.gone.push((id, room));
        }
    }

    /// The number of every session.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.places.keys().copied()
    }

    pub(super) fn place(&self, id: SessionId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    pub(super) fn feed(&mut self, id: SessionId) -> Option<&mut Feed> {
        let place = self.place(id)?;
        Some(self.room(place.room).feed(place.form))
    }

    pub(super) fn member(&self, id: SessionId) -> Option<&Member> {
        let place = self.place(id)?;
        let mut feeds = self.rooms.get(&place.room)?.feeds();
        feeds.find(|feed| feed.form() == place.form)?.member(id)
    }

    pub(super) fn member_mut(&mut self, id: SessionId) -> Option<&mut Member> {
        self.feed(id)?.member_mut(id)
    }

    /// Answers a session, or gives it notice: `encode` appends whole lines in the form in which it sees them.
    pub(super) fn tell(&mut self, id: SessionId, encode: impl FnOnce(Form, &mut Vec<u8>)) {
        if let Some(feed) = self.feed(id) {
            feed.owe(id, encode);
            self.told.push(id);
        }
    }

    pub(super) fn answer(&mut self, id: SessionId, answer: &Answer) {
        self.tell(id, |form, out| answer.encode(form, out));
    }

    /// A session comes in.
    pub(super) fn join(&mut self, id: SessionId, sink: Arc<dyn Sink>, arrival: Arrival, now: Now) {
        let Arrival { view, room, verified, greeting } = arrival;
        // Whoever configures a room for a socket wants it, whatever `max_rooms` says of those that are made by hand.
        let room = room.map_or(RoomId::MAIN, |name| self.room_or_new(&name));
        let form = Form::new(view, false);
        self.places.insert(id, Place { room, form });
        self.room(room).insert(Box::new(Member::new(id, sink, 0)), form, now.instant);
        self.tell(id, |form, out| greet(&greeting, form, out));
        if let Some(name) = verified {
            self.verify(id, name);
        }
        if view != View::Plain {
            self.introduce(id, now);
        }
        self.changed.push(id);
    }

    /// Puts a member in its place that was in another process.
    pub(super) fn restore(&mut self, member: Box<Member>, place: Place) {
        if let Some(who) = member.name() {
            self.names.give(who);
        }
        self.places.insert(member.id, place);
        self.room(place.room).insert_at(member, place.form);
    }

    /// The reading of a session ends with what has been said so far.
    pub(super) fn end(&mut self, id: SessionId) {
        if let Some(feed) = self.feed(id) {
            feed.end_at_head(id);
            self.told.push(id);
            self.touched.extend(self.place(id).map(|place| place.room));
        }
    }

    /// A session is gone.
    pub(super) fn leave(&mut self, id: SessionId, now: Now) -> Option<Box<Member>> {
        let place = self.places.remove(&id)?;
        let room = self.room(place.room);
        let member = room.remove(id, place.form)?;
        if member.is_present {
            room.presence.left(Who::clone(&member.who()));
            self.tell_presence(place.room, now);
        }
        if let Some(who) = member.name() {
            self.names.forget(who);
        }
        self.drop_if_empty(place.room);
        Some(member)
    }

    /// Others are told who has come and gone, if it is time.
    pub(super) fn tell_presence(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let entries = room.presence.take(now.instant);
        self.touched.push(id);
        self.outgoing.extend(entries.into_iter().map(|entry| (id, entry)));
    }

    /// The same, whether it is time or not.
    fn tell_presence_now(&mut self, id: RoomId, now: Now) {
        let entries = self.room(id).presence.take_all(now.instant);
        self.outgoing.extend(entries.into_iter().map(|entry| (id, entry)));
    }

    /// The kernel says what a session is called: whoever has taken that name, or one that looks like it, without the
    /// kernel's word for it, is a guest again.
    fn verify(&mut self, id: SessionId, name: Name) {
        let holders: Vec<SessionId> = self.names.holders(&name).collect();
        for holder in holders {
            self.depose(holder, &name);
        }
        self.give_name(id, Who { id: id.0, name, verified: true });
    }

    /// Makes a guest of the holder of a name, unless the kernel has given it.
    fn depose(&mut self, holder: SessionId, to: &Name) {
        let Some(place) = self.place(holder) else { return };
        let Some(member) = self.member_mut(holder) else { return };
        let Some(before) = member.name().filter(|who| !who.verified).cloned() else { return };
        let after = member.guest();
        member.who = Some(Arc::clone(&after));
        self.names.forget(&before);
        self.answer(holder, &Answer::Deposed { name: to.clone(), now: after.name.clone() });
        self.changed.push(holder);
        if !self.room(place.room).presence.renamed(&after) {
            self.outgoing.push((place.room, Entry::Renamed { from: before, to: after, asked: None }));
        }
    }

    /// A session is called that from now on.
    pub(super) fn give_name(&mut self, id: SessionId, who: Who) {
        self.names.give(&who);
        if let Some(member) = self.member_mut(id) {
            member.who = Some(Arc::new(who));
        }
    }

    /// Others are told that a session is there, if they have not been.
    pub(super) fn introduce(&mut self, id: SessionId, now: Now) {
        let Some(place) = self.place(id) else { return };
        let Some(member) = self.member_mut(id).filter(|member| !member.is_present) else { return };
        member.is_present = true;
        let who = Who::clone(&member.who());
        self.room(place.room).presence.joined(who);
        self.tell_presence(place.room, now);
    }

    /// A session is called something else: those are told who know it under the name before. Its input waits until then.
    pub(super) fn renamed(&mut self, id: SessionId, before: Arc<Who>, now: Now) {
        let (Some(place), Some(member)) = (self.place(id), self.member_mut(id)) else { return };
        let who = member.who();
        let presence = &mut self.room(place.room).presence;
        if presence.renamed(&who) {
            return;
        }
        if presence.has_left(&who.name) {
            // First that the other one is gone.
            self.tell_presence_now(place.room, now);
        }
        if let Some(member) = self.member_mut(id) {
            member.is_in_flight = true;
        }
        self.outgoing.push((place.room, Entry::Renamed { from: before, to: who, asked: Some(id) }));
    }

    /// A session says something. Its input waits until that has its place.
    pub(super) fn say(&mut self, id: SessionId, kind: Kind, text: Vec<u8>, lines: u32, now: Now) {
        let (Some(place), Some(member)) = (self.place(id), self.member_mut(id)) else { return };
        member.has_spoken = true;
        member.is_in_flight = true;
        let who = member.who();
        // A guest who has said something will say more.
        member.who.get_or_insert_with(|| Arc::clone(&who));
        if self.room(place.room).presence.has_joined(who.id) {
            // Nobody speaks under a name that others have not been told of.
            self.tell_presence_now(place.room, now);
        }
        self.outgoing.push((place.room, Entry::Said { kind, from: id, who, text, lines, done: (0, 0) }));
    }

    /// Moves a member to another room, or shows lines to it in another form. What it has still to get is put aside for
    /// it, up to [`MOST_PUT_ASIDE`](super::feed::MOST_PUT_ASIDE).
    pub(super) fn relocate(&mut self, id: SessionId, to: Place, now: Now) {
        let Some(from) = self.places.insert(id, to) else { return };
        let room = self.room(from.room);
        room.feed(from.form).put_aside(id);
        let Some(member) = room.remove(id, from.form) else { return };
        self.touched.extend([from.room, to.room]);
        self.room(to.room).insert(member, to.form, now.instant);
        self.told.push(id);
    }
}

/// What a session is sent first; to a program, as an object for each line.
fn greet(greeting: &[u8], form: Form, out: &mut Vec<u8>) {
    if form.view() != View::Json {
        return out.extend_from_slice(greeting);
    }
    String::from_utf8_lossy(greeting).lines().for_each(|line| form.notice(line, out));
}
