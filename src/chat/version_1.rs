//! Snapshots of version 1: reading them lets an upgrade keep all connections.
//!
//! In version 1 a session was two values: its membership, and what its task had read.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::id::{Position, SessionId};
use super::member::{Owed, Progress};
use super::pending::{End, Pending};
use super::reading::{Phase, Reading};
use super::snapshot::{HubSnapshot, MemberSnapshot, RoomSnapshot, SessionSnapshot};
use super::standing::Standing;
use crate::protocol::{Framer, Opening};

/// A snapshot of version 1.
#[derive(Debug, Deserialize)]
pub struct Handover {
    last: u64,
    house: House,
    sessions: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct House {
    lines: u64,
    skipped: u64,
    rooms: Vec<RoomSnapshot>,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    standing: Standing,
    place: Option<Place>,
    #[serde(with = "serde_bytes")]
    told: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Place {
    progress: Cursor,
    own_end: Position,
    end: Position,
    holds: bool,
}

#[derive(Debug, Deserialize)]
struct Cursor {
    cursor: Position,
    /// Bytes to send before the log.
    #[serde(with = "serde_bytes")]
    owed: Vec<u8>,
    missed: u64,
    torn: bool,
}

#[derive(Debug, Deserialize)]
struct Session {
    id: SessionId,
    is_new: bool,
    phase: OldPhase,
    framer: Framer,
    opening: Opening,
    #[serde(with = "serde_bytes")]
    unsaid: Vec<u8>,
    used: Duration,
    idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum OldPhase {
    Joining,
    Open,
    Leaving,
    Ended,
    Finishing,
    Lingering,
}

impl Handover {
    /// Returns the number of the last session, and the snapshot in the current version.
    pub fn upgrade(self) -> (u64, HubSnapshot) {
        let House { lines, skipped, rooms, members } = self.house;
        let mut members: HashMap<SessionId, Member> =
            members.into_iter().map(|member| (member.standing.id, member)).collect();
        let sessions = self.sessions.into_iter().map(|session| {
            let member = members.remove(&session.id).map(|member| member.upgrade(&session));
            session.upgrade(member)
        });
        (
            self.last,
            HubSnapshot { lines, skipped, rooms, sessions: sessions.collect(), ..HubSnapshot::default() },
        )
    }
}

impl Member {
    fn upgrade(self, session: &Session) -> MemberSnapshot {
        let end = if session.phase == OldPhase::Ended { End::Closed } else { End::No };
        let has_input = !session.unsaid.is_empty() || end != End::No;
        let input = has_input.then(|| Pending::new(session.unsaid.clone(), false, end));
        let mut snapshot = MemberSnapshot { input, ..MemberSnapshot::after_crash(self.standing, self.told) };
        if let Some(place) = self.place {
            snapshot.holds = place.holds;
            snapshot.progress = Some(place.upgrade());
        }
        snapshot
    }
}

impl Place {
    fn upgrade(self) -> Progress {
        let Self { progress: Cursor { cursor, owed, missed, torn }, own_end, end, .. } = self;
        let owed: Vec<Owed> =
            Some(Owed { at: cursor, text: owed }).filter(|owed| !owed.text.is_empty()).into_iter().collect();
        Progress { cursor, owed, missed, torn, own_end, end }
    }
}

impl Session {
    fn upgrade(self, member: Option<MemberSnapshot>) -> SessionSnapshot {
        let phase = match self.phase {
            OldPhase::Joining | OldPhase::Open | OldPhase::Leaving => Phase::Open,
            OldPhase::Ended | OldPhase::Finishing => Phase::Ended,
            OldPhase::Lingering => Phase::Lingering,
        };
        let Self { id, is_new, framer, opening, used, idle, .. } = self;
        let reading = Reading { phase, framer, opening, used, idle, ..Reading::default() };
        SessionSnapshot { id, member: member.filter(|_| !is_new), reading }
    }
}
