//! What the next process takes over of a house: plain values, taken out when nothing more is said and put back before
//! anything is.
//!
//! Nothing is lost on the way: not a line that waits for somebody to read, not the byte inside of one. The outlets,
//! which cannot be written down, come from elsewhere. What is put back may come from another version, or from nobody
//! knows where: it is checked as far as anything here relies on it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::house::{House, Limits, Profile, RoomId};
use super::kept_room::{KeptEntry, KeptRoom};
use super::member::{Member, SessionId};
use super::outlet::Outlet;
use super::reader::{Progress, settled};
use super::room::Room;
use super::{Now, Position};
use crate::protocol::{Form, Kind, Name, View, Who};

/// All that is known of a house.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptHouse {
    /// How many lines have been said.
    pub lines: u64,
    /// How many have been skipped for those who did not read.
    pub skipped: u64,
    /// The main room first.
    pub rooms: Vec<KeptRoom>,
    /// Everybody.
    pub members: Vec<KeptMember>,
}

/// Who a session is, where, and how lines are shown to it: what is known of it even after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its number.
    pub id: SessionId,
    /// What it is called, if anybody knows.
    pub who: Option<Who>,
    /// Where it is.
    pub room: Name,
    /// How lines are shown to it.
    pub view: View,
    /// With times.
    pub times: bool,
    /// The others know that it is there.
    pub is_present: bool,
    /// It has said something under the name that it has.
    pub has_spoken: bool,
    /// Whom it ignores.
    pub ignored: Vec<SessionId>,
}

/// A member, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptMember {
    /// Who it is.
    pub standing: Standing,
    /// What it has still to get; nothing for one that goes on at the head of its log.
    pub place: Option<Place>,
    /// What is to be said to it alone before anything else: whole lines.
    #[serde(with = "serde_bytes")]
    pub told: Vec<u8>,
}

/// Where a member stands in its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    progress: Progress,
    own_end: Position,
    end: Position,
    /// The room waits for it.
    holds: bool,
}

/// Something that has been kept makes no sense: what, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damaged {}

impl Standing {
    /// That of somebody who has asked for nothing, in the main room.
    pub fn plain(id: SessionId) -> Self {
        Self {
            id,
            who: None,
            room: Name::known(super::house::MAIN_NAME),
            view: View::Plain,
            times: false,
            is_present: false,
            has_spoken: false,
            ignored: Vec::new(),
        }
    }

    /// How lines look that are shown to it.
    pub fn form(&self) -> Form {
        Form::new(self.view, self.times)
    }
}

impl House {
    /// Takes out all that is known of everybody who has an outlet. Nothing may be said any more.
    pub fn keep(&self) -> KeptHouse {
        let members = self.profiles.values().map(|profile| self.keep_member(profile));
        KeptHouse {
            lines: self.traffic().lines(),
            skipped: self.traffic().skipped(),
            members: members.collect(),
            // After the members, for what they have missed is settled then.
            rooms: self.rooms.values().map(Room::keep).collect(),
        }
    }

    /// What is known of a session even after a crash.
    pub(super) fn standing(&self, profile: &Profile) -> Standing {
        let room = self.rooms.get(&profile.room).map(|room| room.name().clone());
        Standing {
            id: profile.member.id(),
            who: profile.who.as_deref().cloned(),
            room: room.unwrap_or_else(|| Name::known(super::house::MAIN_NAME)),
            view: profile.member.form().view(),
            times: profile.times,
            is_present: profile.is_present,
            has_spoken: profile.has_spoken,
            ignored: profile.member.all_ignored(),
        }
    }

    fn keep_member(&self, profile: &Profile) -> KeptMember {
        let member = &profile.member;
        let holds = self.rooms.get(&profile.room).is_none_or(|room| room.holds(member.id()));
        let place = Place { progress: settled(member), own_end: member.own_end(), end: member.end(), holds };
        KeptMember { standing: self.standing(profile), place: Some(place), told: Vec::new() }
    }

    /// A house as it was. Lines go to what `outlet_of` has for each member; one for whom it has nothing is not there
    /// any more, but what it has said still is.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn put_back(
        limits: Limits,
        kept: KeptHouse,
        now: Now,
        mut outlet_of: impl FnMut(SessionId) -> Option<Arc<dyn Outlet>>,
    ) -> Result<Self, Damaged> {
        let mut house = Self::new(limits);
        house.traffic().put_back(kept.lines, kept.skipped);
        let mut waiting = Vec::new();
        for room in kept.rooms {
            let id = house.room_named(&room.name);
            house.room(id).put_back(&room, limits.log_size, now)?;
            waiting.push((id, room.waiting));
        }
        for kept in kept.members {
            if let Some(outlet) = outlet_of(kept.standing.id) {
                house.put_back_member(kept, outlet)?;
            }
        }
        for (id, entries) in waiting {
            let entries = entries.into_iter().map(|entry| house.put_back_entry(id, entry)).collect();
            house.room(id).put_back_waiting(entries, now);
        }
        house.drop_empty_rooms();
        Ok(house)
    }

    /// Everybody in it.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.profiles.values().map(|profile| &profile.member)
    }

    /// The room of that name; it is made if it is not there, for whoever is in one has a right to it.
    fn room_named(&mut self, name: &Name) -> RoomId {
        let same = self.rooms.iter().find(|(_, room)| room.name() == name).map(|(id, _)| *id);
        same.unwrap_or_else(|| self.add_room(name.clone()))
    }

    fn put_back_member(&mut self, kept: KeptMember, outlet: Arc<dyn Outlet>) -> Result<(), Damaged> {
        let KeptMember { standing, place, told } = kept;
        if standing.id == SessionId::NOBODY || self.profiles.contains_key(&standing.id) {
            return Err(Damaged("two members are one"));
        }
        let id = standing.id;
        let room = self.room_named(&standing.room);
        let log = Arc::clone(self.room(room).log(standing.form()));
        let member = Arc::new(Member::new(standing.id, outlet, Arc::clone(&log)));
        let holds = place.as_ref().is_none_or(|place| place.holds);
        match place {
            None => member.begin(&log),
            Some(place) => {
                if !log.read().has(place.progress.cursor) {
                    return Err(Damaged("a member stands beside its log"));
                }
                member.put_back(place.progress, place.own_end, place.end);
            }
        }
        member.output().progress.begin_with(told);
        self.room(room).seat(&member, standing.form(), holds);
        member.put_back_ignored(standing.ignored);
        let profile = Profile {
            member: Arc::clone(&member),
            who: None,
            room,
            times: standing.times,
            is_present: standing.is_present,
            has_spoken: standing.has_spoken,
            is_noted: true,
        };
        self.profiles.insert(id, profile);
        if let Some(who) = standing.who {
            if standing.is_present && !who.name.is_guest() {
                member.set_named();
            }
            self.give_name(id, Who { id: id.0, ..who });
        }
        Ok(())
    }

    fn put_back_entry(&mut self, room: RoomId, entry: KeptEntry) -> Entry {
        match entry {
            KeptEntry::Joined(who) => Entry::Joined(who),
            KeptEntry::Left(who) => Entry::Left(who),
            KeptEntry::Renamed { from, to } => Entry::Renamed { from: Arc::new(from), to: Arc::new(to) },
            KeptEntry::Said { kind, from, who, text, lines, done } => {
                if kind == Kind::Message {
                    self.traffic().begin_input(text.len());
                }
                let present = self.profiles.get(&from).map(|profile| Arc::clone(&profile.member));
                let member = present.unwrap_or_else(|| {
                    // Gone meanwhile, but what it has said still goes out.
                    Arc::new(Member::without_outlet(from, Arc::clone(self.room(room).log(Form::Plain))))
                });
                member.begin_input();
                Entry::Said { kind, member, who: Arc::new(who), text, lines, done }
            }
        }
    }

    /// Nobody has come into them who was kept.
    fn drop_empty_rooms(&mut self) {
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_if_empty(id));
    }
}
