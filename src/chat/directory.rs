//! The directory: which rooms there are, who is where, and who is called what.
//!
//! What the rooms are to be told of it goes to the sequencer, as entries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::act::Act;
use super::archive::Archiving;
use super::entry::Entry;
use super::feed::Feed;
use super::following::Following;
use super::id::{Node, Now, RoomId, SessionId};
use super::limits::Limits;
use super::member::Member;
use super::nodes::Cluster;
use super::operators::Operators;
use super::pending::{Pending, Wait};
use super::quota::Quota;
use super::recall::Recall;
use super::recalling;
use super::room::Room;
use super::room_names::{self, RoomNames};
use super::roster::Roster;
use super::sequencer::{Item, Sequencer};
use super::traffic::Traffic;
use crate::protocol::{Form, Kind, Name, Notice, Who};

/// The name of the main room.
pub(super) const MAIN_NAME: &str = "main";

/// The room of a session, and the form of its lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) room: RoomId,
    pub(super) form: Form,
}

/// The rooms, and the room and name of each member.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) limits: Limits,
    rooms: BTreeMap<RoomId, Room>,
    /// Where operators are who are in no room.
    nowhere: Room,
    by_name: RoomNames<RoomId>,
    next_room: u64,
    places: HashMap<SessionId, Place>,
    /// Who is called what, also on other nodes.
    pub(super) roster: Roster,
    pub(super) following: Following,
    /// The epoch of the next room.
    pub(super) next_epoch: u64,
    /// Rooms that nobody is in, and that go on when somebody comes.
    pub(super) recall: Recall,
    /// What members are told of the archive; `None` without one.
    pub(super) archiving: Option<Archiving>,
    pub(super) quota: Quota,
    pub(super) sequencer: Box<dyn Sequencer>,
    pub(super) cluster: Cluster,
    /// Members that are owed something, and to which nothing has been sent since.
    pub(super) told: Vec<SessionId>,
    /// Rooms whose members or presence have changed.
    pub(super) touched: Vec<RoomId>,
    /// Whose standing has changed.
    pub(super) changed: Vec<SessionId>,
    /// Rooms that are gone.
    pub(super) gone: Vec<(RoomId, Room)>,
    /// There is little memory left: no new logs.
    pub(super) is_crowded: bool,
    pub(super) operators: Operators,
    /// Where sessions are counted by their view.
    pub(super) traffic: Arc<Traffic>,
}

impl Directory {
    /// One empty room. Its epoch is the number of microseconds from 1970 to `began`, that of the next one is one more.
    pub(super) fn new(
        limits: Limits,
        sequencer: Box<dyn Sequencer>,
        began: Timestamp,
        traffic: Arc<Traffic>,
    ) -> Self {
        let began = u64::try_from(began.as_microsecond()).unwrap_or(0).max(1);
        let mut directory = Self {
            limits,
            rooms: BTreeMap::new(),
            nowhere: Room::new(Arc::new(room_names::nowhere()), &limits, 0, 1),
            by_name: RoomNames::default(),
            next_room: 0,
            places: HashMap::new(),
            roster: Roster::default(),
            following: Following::default(),
            next_epoch: began,
            recall: Recall::new(began),
            archiving: None,
            quota: Quota::default(),
            cluster: Cluster { is_on: sequencer.node().is_some(), ..Cluster::default() },
            sequencer,
            told: Vec::new(),
            touched: Vec::new(),
            changed: Vec::new(),
            gone: Vec::new(),
            is_crowded: false,
            operators: Operators::default(),
            traffic,
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

    /// Returns the rooms that an operator who is not in them hears from now on.
    pub(super) fn note_watches(&mut self) -> Vec<RoomId> {
        self.operators.note_watches(&mut self.rooms)
    }

    pub(super) fn room(&mut self, id: RoomId) -> &mut Room {
        self.get_room(id).expect("a room that somebody is in, or the main one, stays")
    }

    pub(super) fn get_room(&mut self, id: RoomId) -> Option<&mut Room> {
        if id == RoomId::NOWHERE { Some(&mut self.nowhere) } else { self.rooms.get_mut(&id) }
    }

    /// The room of a session, or nowhere.
    pub(super) fn room_of(&self, id: SessionId) -> Option<&Room> {
        let room = self.place(id)?.room;
        if room == RoomId::NOWHERE { Some(&self.nowhere) } else { self.rooms.get(&room) }
    }

    /// The room that is called that, or something that looks like it.
    pub(super) fn room_called(&self, name: &Name) -> Option<RoomId> {
        self.by_name.find(name)
    }

    pub(super) fn add_room(&mut self, name: Name, said: u64) -> RoomId {
        let id = RoomId(self.next_room);
        self.next_room += 1;
        self.by_name.insert(&name, id);
        let (epoch, is_overheard) = (self.next_epoch, self.operators.watchers(&name).next().is_some());
        self.next_epoch += 1;
        let mut room = Room::new(Arc::new(name), &self.limits, said, epoch);
        (room.outbox.is_archived, room.outbox.is_overheard) = (self.archiving.is_some(), is_overheard);
        self.rooms.insert(id, room);
        id
    }

    /// The room of that name. If it is not there, it is made, and goes on where it ended if that is known.
    pub(super) fn room_or_new(&mut self, name: &Name) -> RoomId {
        self.room_called(name).unwrap_or_else(|| match self.recall.take(name) {
            Some(recalled) => {
                let (id, limits) = (self.add_room(recalled.name.clone(), 0), self.limits);
                recalling::go_on(self.room(id), recalled, &limits);
                id
            }
            None => self.add_room(name.clone(), 0),
        })
    }

    /// A room is called that, which looks the same.
    pub(super) fn rename_room(&mut self, id: RoomId, name: &Name) {
        if let Some(room) = self.rooms.get_mut(&id).filter(|room| **room.name() != *name) {
            self.by_name.rename(room.name(), name, id);
            room.name = Arc::new(name.clone());
        }
    }

    /// A room that nobody is in is gone, but for the main one. With several nodes, all are told first who has left.
    pub(super) fn drop_if_empty(&mut self, id: RoomId, now: Now) {
        let is_empty = self.rooms.get(&id).is_some_and(|room| room.count() == 0);
        if is_empty && self.cluster.is_on {
            self.tell_presence_now(id, now);
        }
        if !is_empty || id == RoomId::MAIN {
            return;
        }
        let Some(mut room) = self.rooms.remove(&id) else { return };
        self.cluster.close(room.name(), &mut *self.sequencer);
        self.by_name.remove(room.name());
        if self.archiving.is_some() && room.said() > 0 {
            self.recall.put(recalling::recalled(&mut room), &self.limits);
        }
        self.gone.push((id, room));
    }

    /// The number of every session.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.places.keys().copied()
    }

    pub(super) fn is_nowhere(&self, id: SessionId) -> bool {
        self.place(id).is_some_and(|place| place.room == RoomId::NOWHERE)
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
        let mut feeds = self.room_of(id)?.feeds();
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

    pub(super) fn notify(&mut self, id: SessionId, notice: &Notice) {
        self.tell(id, |form, out| form.notice(notice, out));
    }

    /// Puts a new member in its place.
    pub(super) fn insert(&mut self, member: Box<Member>, place: Place, now: Now) {
        self.places.insert(member.id, place);
        self.traffic.begin_session(place.form.view(), member.sink.transport());
        self.room(place.room).insert(member, place.form, now.instant);
    }

    /// Puts a member in its place that was in another process.
    pub(super) fn restore(&mut self, member: Box<Member>, place: Place) {
        self.places.insert(member.id, place);
        self.traffic.begin_session(place.form.view(), member.sink.transport());
        self.room(place.room).insert_at(member, place.form);
    }

    /// The reading of a session ends with what has been said so far.
    pub(super) fn end(&mut self, id: SessionId) {
        if let Some(feed) = self.feed(id) {
            feed.change(id, |member, log| member.end_at(log.head()));
            self.told.push(id);
            self.touched.extend(self.place(id).map(|place| place.room));
        }
    }

    /// A session is gone.
    pub(super) fn leave(&mut self, id: SessionId, now: Now) -> Option<Box<Member>> {
        let place = self.places.remove(&id)?;
        if self.operators.watched_by(id).is_some() {
            self.operators.watch(id, None);
            self.note_watches();
        }
        let room = self.room(place.room);
        let member = room.remove(id, place.form)?;
        if member.is_present {
            room.presence.left(Who::clone(&member.who()));
            self.tell_presence(place.room, now);
        }
        // Perhaps it has a claim under way, and no name yet.
        let is_listed = self.node().is_some() && place.room != RoomId::NOWHERE;
        if is_listed || self.roster.has(id) || self.sequencer.has(id) {
            self.sequencer.submit(Item::Act(Act::Left(id)));
        }
        self.traffic.end_session(place.form.view(), member.sink.transport());
        self.drop_if_empty(place.room, now);
        Some(member)
    }

    /// Others are told who has come and gone, if it is time.
    pub(super) fn tell_presence(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id).filter(|room| room.is_open()) else { return };
        let entries = room.presence.take(now.instant);
        self.touched.push(id);
        entries.into_iter().for_each(|entry| self.submit(id, entry));
    }

    /// The same, whether it is time or not.
    pub(super) fn tell_presence_now(&mut self, id: RoomId, now: Now) {
        let entries = self.room(id).presence.take_all(now.instant);
        entries.into_iter().for_each(|entry| self.submit(id, entry));
    }

    /// Others are told that a session is there, if they have not been.
    pub(super) fn introduce(&mut self, id: SessionId, now: Now) {
        let Some(place) = self.place(id).filter(|place| place.room != RoomId::NOWHERE) else { return };
        let Some(member) = self.member_mut(id).filter(|member| !member.is_present) else { return };
        member.is_present = true;
        let who = Who::clone(&member.who());
        self.moved(id);
        self.room(place.room).presence.joined(who);
        self.tell_presence(place.room, now);
    }

    /// A session says something. Its input waits until that has its place.
    pub(super) fn say(&mut self, id: SessionId, kind: Kind, text: Vec<u8>, lines: u32, now: Now) {
        let (Some(place), Some(member)) = (self.place(id), self.member_mut(id)) else { return };
        member.has_spoken = true;
        member.activity.count(lines.into(), now.wall);
        let who = member.who();
        // A guest that has sent something will send more, so this stores its name.
        member.who.get_or_insert_with(|| Arc::clone(&who));
        if self.room(place.room).presence.has_joined(who.id) {
            // The announcement of a name comes before the first line under it.
            self.tell_presence_now(place.room, now);
        }
        self.wait_for_place(id);
        self.submit(place.room, Entry::Said { kind, from: id, who, text, lines, done: (0, 0) });
    }

    /// What a session has sent that has not been taken in.
    pub(super) fn input(&mut self, id: SessionId) -> Option<&mut Pending> {
        self.member_mut(id)?.input.as_deref_mut()
    }

    /// Has an entry put in order.
    pub(super) fn submit(&mut self, room: RoomId, entry: Entry) {
        let name = Arc::clone(self.room(room).name());
        self.sequencer.submit(Item::Entry(name, entry));
    }

    /// Has an act of a session put in order. Its input waits until the act has its place.
    pub(super) fn ask(&mut self, id: SessionId, act: Act) {
        self.wait_for_place(id);
        self.sequencer.submit(Item::Act(act));
    }

    /// Tells the other nodes where a session is, if there are any.
    pub(super) fn moved(&mut self, id: SessionId) {
        let (Some(place), Some(member)) = (self.place(id), self.member(id)) else { return };
        let is_present = member.is_present;
        if self.sequencer.node().is_some() {
            let room = Name::clone(self.room(place.room).name());
            self.sequencer.submit(Item::Act(Act::Moved { id, room, is_present }));
        }
    }

    /// Returns this node; `None` if there is only one.
    pub(super) fn node(&self) -> Node {
        self.sequencer.node().cloned()
    }

    /// Returns the name of a session here or on another node, also that of a guest.
    pub(super) fn who(&self, id: SessionId) -> Option<Arc<Who>> {
        self.member(id).map(Member::who).or_else(|| self.roster.who(id))
    }

    pub(super) fn wait_for_place(&mut self, id: SessionId) {
        if let Some(input) = self.input(id) {
            input.wait = Wait::Place;
        }
    }

    /// Shows lines to a session in another form from now on.
    pub(super) fn change_form(&mut self, id: SessionId, form: Form, now: Now) {
        self.changed.push(id);
        if let Some(place) = self.place(id).filter(|place| place.form != form) {
            self.relocate(id, Place { form, ..place }, now);
        }
    }

    /// Moves a member to another room, or shows lines to it in another form. What it has still to get is put aside for
    /// it, up to [`MOST_PUT_ASIDE`](super::feed::MOST_PUT_ASIDE).
    pub(super) fn relocate(&mut self, id: SessionId, to: Place, now: Now) {
        let Some(from) = self.places.insert(id, to) else { return };
        let room = self.room(from.room);
        room.feed(from.form).put_aside(id);
        let Some(member) = room.remove(id, from.form) else { return };
        self.traffic.end_session(from.form.view(), member.sink.transport());
        self.traffic.begin_session(to.form.view(), member.sink.transport());
        self.touched.extend([from.room, to.room]);
        self.room(to.room).insert(member, to.form, now.instant);
        self.told.push(id);
    }
}
