//! The dispatcher: has entries put in order and appended, sends what is new, and looks after the rooms: when they are due,
//! how much memory they use, and what is kept of them for the case of a crash.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use jiff::Timestamp;

use super::acts;
use super::archive::Archive;
use super::delivery::Delivered;
use super::directory::Directory;
use super::entry::Entry;
use super::id::{Now, RoomId, SessionId};
use super::keys::LeftKey;
use super::limits::Limits;
use super::listing;
use super::member::Member;
use super::noted::{Noted, Notes};
use super::opening;
use super::outage;
use super::overheard;
use super::pending::Wait;
use super::room::{Placed, Room};
use super::sequencer::{Sequenced, Sequencer, Stamp};
use super::sink::Signal;
use super::standing::Standing;
use super::traffic::Traffic;
use crate::protocol::Name;

/// With fewer bytes than this in its lines a room gives none of them up.
const LEAST_RELIEF: usize = 128 * 1024;

/// The rooms and who is in them, and what is to be done for them.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) directory: Directory,
    pub(super) traffic: Arc<Traffic>,
    /// Sessions with something to be taken in now.
    pub(super) ready: VecDeque<SessionId>,
    /// Rooms with something to deliver.
    pub(super) fresh: BTreeSet<RoomId>,
    /// Sessions that wait until what is fresh has been delivered.
    undelivered: Vec<SessionId>,
    /// Those whose lines are being delivered.
    delivering: Vec<SessionId>,
    /// When which room wants to be looked at.
    due: BTreeSet<(Instant, RoomId)>,
    /// How many bytes all rooms use.
    pub(super) memory: usize,
    /// Up to this many bytes there is nothing to be given up.
    unrelieved: usize,
    noted: Noted,
    /// A command has looked through the history of a room since something was delivered last.
    pub(super) has_searched: bool,
    /// Stores what rooms take in.
    pub(super) archive: Option<Box<dyn Archive>>,
}

impl Dispatcher {
    /// A dispatcher with one empty room.
    pub(super) fn new(limits: Limits, sequencer: Box<dyn Sequencer>, began: Timestamp) -> Self {
        let traffic = Arc::<Traffic>::default();
        traffic.rooms.store(1, Relaxed);
        traffic.memory_limit.store(limits.memory, Relaxed);
        Self {
            directory: Directory::new(limits, sequencer, began, Arc::clone(&traffic)),
            traffic,
            ready: VecDeque::new(),
            fresh: BTreeSet::new(),
            undelivered: Vec::new(),
            delivering: Vec::new(),
            due: BTreeSet::new(),
            memory: 0,
            unrelieved: 0,
            noted: Noted::default(),
            has_searched: false,
            archive: None,
        }
    }

    /// From now on, stores the standing of each member, the keys and the numbers of lines for the case of a crash.
    pub(super) fn record(&mut self, notes: Box<dyn Notes>) {
        let directory = &self.directory;
        let rooms = directory.rooms().values().flat_map(Room::notes);
        let known: HashSet<String> = rooms.chain(directory.roster.keys.left().map(LeftKey::note)).collect();
        self.noted.begin(notes, &known, self.directory.cluster.is_on);
        self.directory.changed = self.directory.sessions().collect();
        self.directory.rooms().keys().for_each(|room| self.noted.mark(*room));
        self.directory.rooms_mut().for_each(|room| self.noted.note_number(room));
        self.noted.note_marked(&self.directory);
        self.record_changes();
    }

    /// Returns whether something waits for members to read.
    pub(super) fn is_waiting(&self) -> bool {
        self.directory.quota.is_waited_for() || self.directory.rooms().values().any(|room| room.is_waiting())
    }

    /// When [`Dispatcher::tick`] wants to be called.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.due.first().map(|(when, _)| *when).into_iter().chain(self.directory.quota.due).min()
    }

    /// Looks at members that do not read, and announces members. Call this at `Hub::next_tick`.
    pub(super) fn tick(&mut self, now: Now) {
        let renewed = self.directory.quota.renew(now.instant);
        renewed.into_iter().for_each(|id| self.wake(id, Wait::Quota));
        while let Some((_, id)) = self.due.first().copied().filter(|(when, _)| *when <= now.instant) {
            self.due.pop_first();
            let min_rate = self.directory.limits.min_rate;
            let Some(room) = self.directory.get_room(id) else { continue };
            room.due = None;
            let mut delivered = Delivered::default();
            room.tick(now, min_rate, &mut delivered);
            self.directory.tell_presence(id, now);
            self.delivered(id, delivered, now);
            self.flush(now);
        }
    }

    /// Sends what is new in a room to up to `most` members. Returns where to go on, if there are more.
    pub(super) fn deliver(
        &mut self,
        id: RoomId,
        at: (usize, Option<SessionId>),
        most: usize,
        now: Now,
    ) -> Option<(usize, Option<SessionId>)> {
        let mut delivered = Delivered::default();
        let next = self.directory.get_room(id)?.deliver(at, most, &mut delivered);
        self.delivered(id, delivered, now);
        next
    }

    /// Members of a room have been sent something.
    pub(super) fn delivered(&mut self, id: RoomId, delivered: Delivered, now: Now) {
        self.traffic.count(&delivered);
        delivered.ready.into_iter().for_each(|id| self.wake(id, Wait::Reader));
        if delivered.has_more {
            self.fresh.insert(id);
        }
        let mut placed = Placed::default();
        if let Some(room) = self.directory.get_room(id).filter(|room| room.is_waiting()) {
            room.resume(now, &mut placed);
        }
        self.placed(id, placed, now);
        self.noted.note_marked(&self.directory);
    }

    /// Entries of a room have got their place: those who asked for them go on.
    pub(super) fn placed(&mut self, id: RoomId, placed: Placed, now: Now) {
        if let Some(room) = self.directory.get_room(id) {
            if placed.lines > 0 {
                self.noted.note_number(room);
            }
            let (taken, archived) = (room.outbox.take(), room.outbox.archived);
            overheard::pass_on(&mut self.directory, id, &taken);
            if let Some(archive) = &mut self.archive {
                let new = taken.into_iter().filter_map(|taken| taken.after(archived));
                new.for_each(|taken| archive.append(taken));
            }
        }
        if placed.missing > 0 {
            self.traffic.skipped.fetch_add(placed.skipped, Relaxed);
            overheard::miss(&mut self.directory, id, placed.missing);
        }
        if placed.missing > 0 || placed.has_jumped {
            opening::lost(&self.directory, id).into_iter().for_each(|id| self.wake(id, Wait::Place));
        }
        placed.asked.into_iter().for_each(|id| self.wake_placed(id));
        placed.opened.into_iter().for_each(|id| self.wake(id, Wait::Opened));
        if placed.lines > 0 {
            self.traffic.lines.fetch_add(placed.lines, Relaxed);
            self.directory.operators.lines.count(placed.lines, now.wall);
        }
        if placed.is_further {
            self.noted.mark(id);
        }
        placed.waited.inspect(|waited| self.traffic.waits.observe(*waited));
        self.touch(id);
    }

    /// Returns the rooms with something to deliver, all of which is delivered next.
    pub(super) fn take_fresh(&mut self) -> BTreeSet<RoomId> {
        self.delivering.append(&mut self.undelivered);
        std::mem::take(&mut self.fresh)
    }

    /// Returns whether sessions wait for a delivery, or have their turn after one.
    pub(super) fn is_awaiting_delivery(&self) -> bool {
        !self.undelivered.is_empty() || !self.delivering.is_empty()
    }

    /// What was fresh has been delivered: those who waited for that have their turn, before others.
    pub(super) fn end_delivery(&mut self) {
        for id in std::mem::take(&mut self.delivering).into_iter().rev() {
            if self.directory.input(id).is_some_and(|input| input.wait == Wait::Delivery) {
                self.ready.push_front(id);
            }
        }
    }

    /// Something that a session has sent has its place. After a crash that may be of the process before, and what it waits
    /// for now is yet to come.
    pub(super) fn wake_placed(&mut self, id: SessionId) {
        if !self.directory.cluster.is_on || !opening::is_on_its_way(&self.directory, id) {
            self.wake(id, Wait::Place);
        }
    }

    /// What a session has sent has its turn, if that is what it has waited for.
    pub(super) fn wake(&mut self, id: SessionId, wait: Wait) {
        if self.directory.input(id).is_some_and(|input| input.wait == wait) {
            self.wait(id, Wait::Turn);
        }
    }

    /// What a session has sent waits for that from now on.
    pub(super) fn wait(&mut self, id: SessionId, wait: Wait) {
        let Some(input) = self.directory.input(id) else { return };
        input.wait = wait;
        match wait {
            Wait::Turn => self.ready.push_back(id),
            Wait::Quota => self.directory.quota.wait(id),
            Wait::Delivery => self.undelivered.push(id),
            Wait::Place | Wait::Reader | Wait::Opened => {}
        }
    }

    /// Notes whether a room has something to deliver, when it is due, and how much memory it uses.
    pub(super) fn touch(&mut self, id: RoomId) {
        let Some(room) = self.directory.get_room(id) else { return };
        if room.take_news() {
            self.fresh.insert(id);
        }
        let memory = room.memory();
        self.memory = self.memory - room.counted + memory;
        room.counted = memory;
        self.traffic.memory.store(self.memory, Relaxed);
        let is_waiting = room.is_waiting();
        let has_changed = std::mem::replace(&mut room.is_held, is_waiting) != is_waiting;
        let due = room.next_tick();
        if due != room.due {
            room.due.into_iter().for_each(|before| _ = self.due.remove(&(before, id)));
            self.due.extend(due.map(|due| (due, id)));
            room.due = due;
        }
        if has_changed {
            let name = Arc::clone(room.name());
            self.directory.sequencer.hold(&name, is_waiting);
        }
    }

    /// Takes in what has its place, and sends what is owed.
    pub(super) fn flush(&mut self, now: Now) {
        self.take_sequenced(now);
        // Before anybody is told: what it is told holds after a crash, too.
        self.record_changes();
        for id in std::mem::take(&mut self.directory.told) {
            match self.directory.member(id).map(|member| member.is_full) {
                Some(false) => self.send_to(id, now),
                // What is owed to it uses memory all the same.
                Some(true) => self.directory.touched.extend(self.directory.place(id).map(|place| place.room)),
                None => {}
            }
        }
        for id in std::mem::take(&mut self.directory.touched) {
            // Perhaps the room waited for one that is gone to another, or reads another log.
            self.delivered(id, Delivered::default(), now);
        }
        for (id, room) in std::mem::take(&mut self.directory.gone) {
            self.forget(id, &room);
        }
        self.traffic.rooms.store(self.directory.rooms().len(), Relaxed);
        self.relieve();
        self.traffic.memory.store(self.memory, Relaxed);
    }

    /// A room is gone.
    pub(super) fn forget(&mut self, id: RoomId, room: &Room) {
        self.memory -= room.counted;
        self.fresh.remove(&id);
        room.due.into_iter().for_each(|due| _ = self.due.remove(&(due, id)));
        self.noted.forget(id, room);
    }

    /// Takes in what the sequencer has given back.
    fn take_sequenced(&mut self, now: Now) {
        while let Some(sequenced) = self.directory.sequencer.next() {
            outage::look(&mut self.directory, &sequenced);
            match sequenced {
                Sequenced::Entry { room, entry, stamp } => self.take_entry(&room, entry, stamp, now),
                Sequenced::Repeated { room, stamp, lines } => {
                    opening::repeated(&mut self.directory, &room, &stamp, lines);
                }
                Sequenced::Opened { room, cursor } => {
                    let mut placed = Placed::default();
                    let id = opening::opened(&mut self.directory, *room, cursor, now, &mut placed);
                    self.placed(id.unwrap_or(RoomId::MAIN), placed, now);
                }
                Sequenced::Act { act, node, cursor, time, is_again, is_awaited } => {
                    let (place, is) = ((node, cursor, time), (is_again, is_awaited));
                    let woken = acts::take(&mut self.directory, &act, place, is, now);
                    woken.into_iter().for_each(|id| self.wake_placed(id));
                }
                Sequenced::Roster { roster, cursor } => {
                    listing::replace(&mut self.directory, *roster, cursor)
                }
                Sequenced::Bans { bans, cursor } => listing::join(&mut self.directory, &bans, cursor),
                Sequenced::Engine(_) => {}
            }
        }
        self.noted.note_marked(&self.directory);
    }

    /// Takes in an entry that has its place.
    fn take_entry(&mut self, name: &Name, entry: Entry, stamp: Option<Stamp>, now: Now) {
        let mut placed = Placed::default();
        let id = self.directory.room_called(name);
        if entry.is_presence() {
            listing::count_elsewhere(&mut self.directory, name, &entry);
        }
        match id.and_then(|id| self.directory.get_room(id)) {
            Some(room) => room.take_in(entry, stamp, now, &mut placed),
            // Nobody is there any more.
            None => placed.asked.extend(entry.asked_by()),
        }
        self.placed(id.unwrap_or(RoomId::MAIN), placed, now);
    }

    /// Gives up old lines of the largest rooms while there is little memory left, and lines use it.
    pub(super) fn relieve(&mut self) {
        let limit = self.directory.limits.memory;
        while self.memory > (limit - limit / 16).max(self.unrelieved) {
            let largest = self.directory.rooms().iter().max_by_key(|(_, room)| room.lines_memory());
            let Some((id, lines)) = largest.map(|(id, room)| (*id, room.lines_memory())) else { return };
            if lines < LEAST_RELIEF {
                // What is owed to members alone cannot be given up.
                self.unrelieved = self.memory + LEAST_RELIEF;
                break;
            }
            if let Some(room) = self.directory.get_room(id) {
                self.traffic.skipped.fetch_add(room.shrink(), Relaxed);
            }
            self.touch(id);
        }
        if self.memory <= limit - limit / 16 {
            self.unrelieved = 0;
        }
        self.directory.is_crowded = self.memory > limit - limit / 8;
    }

    /// The socket of a session takes more; if it does not, the session is told so again.
    pub(super) fn writable(&mut self, id: SessionId, now: Now) {
        if let Some(member) = self.directory.member_mut(id) {
            member.is_full = false;
        }
        self.send_to(id, now);
    }

    /// A session has not read for `slow_timeout`: it may be the hub that has not run for so long.
    pub(super) fn stalled(&mut self, id: SessionId, now: Now) {
        let sent = |dispatcher: &Self| dispatcher.directory.member(id).map(Member::sent);
        let before = sent(self);
        self.send_to(id, now);
        if let Some(member) = self.directory.member(id).filter(|member| member.is_full) {
            let has_taken = sent(self) != before;
            member.sink.signal(if has_taken { Signal::Full } else { Signal::Slow });
        }
    }

    /// Sends a member what there is for it.
    pub(super) fn send_to(&mut self, id: SessionId, now: Now) {
        let Some(place) = self.directory.place(id) else { return };
        let mut delivered = Delivered::default();
        if let Some(feed) = self.directory.feed(id) {
            feed.deliver_to(id, &mut delivered);
        }
        self.delivered(place.room, delivered, now);
    }

    /// Stores changed standings, and the keys, for the case of a crash.
    pub(super) fn record_changes(&mut self) {
        for (text, number) in std::mem::take(&mut self.directory.roster.keys.notes) {
            self.noted.put(&text, number);
        }
        for id in std::mem::take(&mut self.directory.changed) {
            let is_on = self.noted.is_on();
            let standing = is_on.then(|| Standing::of(&self.directory, self.directory.member(id)?)).flatten();
            if let (Some(standing), Some(member)) = (standing, self.directory.member(id)) {
                let (standing, ignored) = standing.encode();
                member.sink.record(&standing, &ignored);
            }
        }
    }
}
