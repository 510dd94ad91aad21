//! The house: the rooms, who is where, and who is called what.
//!
//! [`House::apply`] takes an input and the time and is over at once; what has to be done about it comes out as
//! [`Effects`]. A name is held by one session at a time, in all rooms, and so is everything that looks like it. Who has
//! taken no name is a guest, whose number is that of its session and never given again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use futures::channel::oneshot;

use super::journal::Journal;
use super::member::{Member, SessionId};
use super::names::Names;
use super::reader::answer;
use super::room::{Room, RoomLimits};
use super::room_log::RoomLog;
use super::traffic::Traffic;
use super::{Effects, Now};
use crate::protocol::{Answer, Command, Form, Kind, Name, View, Who};

/// The name of the room that everybody comes into.
pub(super) const MAIN_NAME: &str = "main";

/// How much a house keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in each log: each room has one for each form in use.
    pub log_size: usize,
    /// Lines for `/last` in each room; 0 for none.
    pub history: usize,
    /// Most rooms.
    pub max_rooms: usize,
    /// Bytes a second that a member takes at least if a room is to wait for it.
    pub min_rate: u64,
}

/// What a session comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How lines are shown to it.
    pub view: View,
    /// Where it comes in; nothing for the main room.
    pub room: Option<Name>,
    /// What the kernel says it is called.
    pub verified: Option<Name>,
}

/// In `plain`, into the main room, as a guest.
impl Default for Arrival {
    fn default() -> Self {
        Self { view: View::Plain, room: None, verified: None }
    }
}

/// What comes into the house.
#[derive(Debug)]
pub enum Input {
    /// A session comes in. It hears what is said from now on.
    Join {
        /// The membership.
        member: Arc<Member>,
        /// What it comes with.
        arrival: Arrival,
    },
    /// A member says whole lines: `text` is clean, and each of its `lines` lines ends with LF.
    Say {
        /// Who says it.
        from: SessionId,
        /// What is said.
        text: Vec<u8>,
        /// How many lines that is.
        lines: u32,
    },
    /// A member asks for something. Where that changes how lines are shown to it, it has been sent nearly all that there was.
    Ask {
        /// Who asks.
        from: SessionId,
        /// For what.
        command: Command,
    },
    /// A member speaks telnet. It has been sent nearly all that there was.
    Telnet(SessionId),
    /// A member will say nothing more; its reading ends with what has been said so far.
    End(SessionId),
    /// A session is gone.
    Leave(SessionId),
    /// Nobody is waited for any more: what is not delivered at once is delivered by another process.
    Freeze,
    /// Somebody wants to know whether the broker still works: answered at once, whatever waits.
    Probe(oneshot::Sender<()>),
}

/// The number of a room: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RoomId(u64);

impl RoomId {
    /// The room that everybody comes into, and that stays.
    pub(super) const MAIN: Self = Self(0);
}

/// What the house knows of a session.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) member: Arc<Member>,
    /// What it is called, once it is known to somebody.
    pub(super) who: Option<Arc<Who>>,
    pub(super) room: RoomId,
    pub(super) times: bool,
    /// Others have been told that it is there, and will be told when it is gone: it has asked for a name or a view.
    /// A script that only says or hears something comes and goes unnoticed.
    pub(super) is_present: bool,
    /// It has said something, under the name that it has now.
    pub(super) has_spoken: bool,
    /// The journal knows of it.
    pub(super) is_noted: bool,
}

impl Profile {
    /// What others call it.
    pub(super) fn who(&self) -> Arc<Who> {
        self.who.clone().unwrap_or_else(|| self.guest())
    }

    fn guest(&self) -> Arc<Who> {
        let id = self.member.id().0;
        Arc::new(Who { id, name: Name::guest(id), verified: false })
    }

    /// What it is called, unless it is a guest.
    pub(super) fn name(&self) -> Option<&Arc<Who>> {
        self.who.as_ref().filter(|who| !who.name.is_guest())
    }

    /// Answers it alone.
    pub(super) fn tell(&self, words: &Answer) {
        answer(&self.member, |form, out| words.encode(form, out));
    }
}

/// The state of the house.
#[derive(Debug)]
pub struct House {
    pub(super) limits: Limits,
    traffic: Arc<Traffic>,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    next_room: u64,
    pub(super) profiles: HashMap<SessionId, Profile>,
    pub(super) names: Names,
    /// Rooms with something new to deliver.
    fresh: BTreeSet<RoomId>,
    /// Where it is noted who is there.
    pub(super) journal: Option<Box<dyn Journal>>,
}

impl House {
    /// A house with one empty room.
    pub fn new(limits: Limits) -> Self {
        let mut house = Self {
            limits,
            traffic: Traffic::new(limits.min_rate),
            rooms: BTreeMap::new(),
            next_room: 0,
            profiles: HashMap::new(),
            names: Names::default(),
            fresh: BTreeSet::new(),
            journal: None,
        };
        house.add_room(Name::known(MAIN_NAME));
        house
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The log that new sessions read.
    pub fn entrance(&mut self) -> Arc<RoomLog> {
        Arc::clone(self.room(RoomId::MAIN).log(Form::PLAIN))
    }

    /// Takes in one input at the time `now`.
    pub fn apply(&mut self, input: Input, now: Now, effects: &mut Effects) {
        match input {
            Input::Join { member, arrival } => self.join(member, arrival, now, effects),
            Input::Say { from, text, lines } => self.say(from, Kind::Message, text, lines, now, effects),
            Input::Ask { from, command } => self.ask(from, command, now, effects),
            Input::Telnet(id) => self.end_lines_for_telnet(id, now, effects),
            Input::End(id) => self.end(id, effects),
            Input::Leave(id) => self.leave(id, now, effects),
            // It is the broker that ends.
            Input::Freeze => {}
            // Whoever asked may have stopped waiting.
            Input::Probe(answer_tx) => drop(answer_tx.send(())),
        }
    }

    /// Says whether inputs wait for members to read.
    pub fn is_waiting(&self) -> bool {
        self.rooms.values().any(Room::is_waiting)
    }

    /// Says whether there is a room whose members have all read what it waited for; otherwise `waker` will be woken.
    pub fn has_space(&mut self, waker: &Waker) -> bool {
        self.rooms.values_mut().any(|room| room.has_space(waker))
    }

    /// When [`House::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Instant> {
        self.rooms.values().filter_map(Room::next_tick).min()
    }

    /// To be called at [`House::next_tick`] and when [`House::has_space`].
    pub fn tick(&mut self, now: Now, effects: &mut Effects) {
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        ids.into_iter().for_each(|id| self.within(id, effects, |room, effects| room.tick(now, effects)));
    }

    /// The next room that has something new to deliver, see [`House::deliver`].
    pub(super) fn take_fresh(&mut self) -> Option<RoomId> {
        self.fresh.pop_first()
    }

    /// Delivers what is new in a room, see [`Room::deliver`].
    pub(super) fn deliver(
        &self,
        room: RoomId,
        after: (usize, Option<SessionId>),
        most: usize,
    ) -> Option<(usize, Option<SessionId>)> {
        self.rooms.get(&room)?.deliver(after, most)
    }

    pub(super) fn room(&mut self, id: RoomId) -> &mut Room {
        self.rooms.get_mut(&id).expect("a room that somebody is in, or the main one, stays")
    }

    /// Does something in a room, and notes whether there is something new in it.
    pub(super) fn within(
        &mut self,
        id: RoomId,
        effects: &mut Effects,
        job: impl FnOnce(&mut Room, &mut Effects),
    ) {
        job(self.room(id), effects);
        if std::mem::take(&mut effects.appended) {
            self.fresh.insert(id);
            self.note_said(id);
        }
    }

    pub(super) fn add_room(&mut self, name: Name) -> RoomId {
        let id = RoomId(self.next_room);
        self.next_room += 1;
        let limits = RoomLimits { log_size: self.limits.log_size, history: self.limits.history };
        self.rooms.insert(id, Room::new(name, limits, Arc::clone(&self.traffic)));
        self.traffic.set_rooms(self.rooms.len());
        id
    }

    /// A room that nobody is in is gone, but for the main one.
    pub(super) fn drop_if_empty(&mut self, id: RoomId) {
        if id != RoomId::MAIN && self.room(id).members() == 0 {
            self.rooms.remove(&id);
            self.fresh.remove(&id);
            self.traffic.set_rooms(self.rooms.len());
        }
    }

    fn join(&mut self, member: Arc<Member>, arrival: Arrival, now: Now, effects: &mut Effects) {
        let Arrival { view, room, verified } = arrival;
        let id = member.id();
        // Whoever configures a room for a socket wants it, whatever `max_rooms` says of those that are made by hand.
        let room =
            room.map_or(RoomId::MAIN, |name| self.room_called(&name).unwrap_or_else(|| self.add_room(name)));
        self.room(room).begin(&member, Form::new(view, false));
        member.acknowledge();
        effects.wake.push(Arc::clone(&member));
        let profile = Profile {
            member,
            who: None,
            room,
            times: false,
            is_present: false,
            has_spoken: false,
            is_noted: false,
        };
        self.profiles.insert(id, profile);
        if let Some(name) = verified {
            self.verify(id, name, now, effects);
        }
        if view != View::Plain {
            self.introduce(id, now, effects);
        }
        self.note(id);
    }

    /// The room that is called that, or something that looks like it.
    pub(super) fn room_called(&self, name: &Name) -> Option<RoomId> {
        self.rooms.iter().find(|(_, room)| room.name().looks_like(name)).map(|(id, _)| *id)
    }

    /// The kernel says what a session is called: whoever has taken that name, or one that looks like it, without the
    /// kernel's word for it, is a guest again.
    fn verify(&mut self, id: SessionId, name: Name, now: Now, effects: &mut Effects) {
        let holders: Vec<SessionId> = self.names.holders(&name).collect();
        for holder in holders {
            self.depose(holder, &name, now, effects);
        }
        self.give_name(id, Who { id: id.0, name, verified: true });
    }

    /// Makes a guest of the holder of a name, unless the kernel has given it.
    fn depose(&mut self, holder: SessionId, to: &Name, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.get_mut(&holder) else { return };
        let Some(before) = profile.name().filter(|who| !who.verified).cloned() else { return };
        let (after, room) = (profile.guest(), profile.room);
        profile.who = Some(Arc::clone(&after));
        profile.member.set_named(false);
        profile.tell(&Answer::Deposed { name: to.clone(), now: after.name.clone() });
        self.names.forget(&before);
        self.within(room, effects, |room, effects| room.renamed((before, after), None, now, effects));
        self.note(holder);
    }

    /// A session is called that from now on.
    pub(super) fn give_name(&mut self, id: SessionId, who: Who) {
        self.names.give(&who);
        if let Some(profile) = self.profiles.get_mut(&id) {
            profile.who = Some(Arc::new(who));
        }
    }

    /// Others are told that a session is there, if they have not been.
    pub(super) fn introduce(&mut self, id: SessionId, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.get_mut(&id).filter(|profile| !profile.is_present) else { return };
        profile.is_present = true;
        if profile.name().is_some() {
            profile.member.set_named(true);
        }
        let (who, room) = (profile.who(), profile.room);
        self.within(room, effects, |room, effects| room.joined(&who, now, effects));
    }

    pub(super) fn say(
        &mut self,
        from: SessionId,
        kind: Kind,
        text: Vec<u8>,
        lines: u32,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(profile) = self.profiles.get_mut(&from) else { return };
        profile.has_spoken = true;
        let who = profile.who();
        // A guest who has said something will say more.
        profile.who.get_or_insert_with(|| Arc::clone(&who));
        let (member, room) = (Arc::clone(&profile.member), profile.room);
        self.within(room, effects, |room, effects| room.say(kind, &member, who, text, lines, now, effects));
    }

    fn end(&mut self, id: SessionId, effects: &mut Effects) {
        if let Some(Profile { member, .. }) = self.profiles.get(&id) {
            member.set_end(member.room().read().head());
            member.acknowledge();
            effects.wake.push(Arc::clone(member));
        }
    }

    fn leave(&mut self, id: SessionId, now: Now, effects: &mut Effects) {
        let Some(profile) = self.profiles.remove(&id) else { return };
        self.within(profile.room, effects, |room, effects| {
            room.leave(id, now, effects);
            if profile.is_present {
                room.left(&profile.who(), now, effects);
            }
        });
        if let Some(who) = profile.name() {
            self.names.forget(who);
        }
        if profile.is_noted {
            self.note_gone(id);
        }
        self.drop_if_empty(profile.room);
    }
}
