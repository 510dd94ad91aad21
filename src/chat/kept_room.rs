//! What the next process takes over of a room: what somebody has still to get, what waits, and what was said last.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Now;
use super::audience::Audience;
use super::comings::Comings;
use super::entry::Entry;
use super::handover::Damaged;
use super::history::Past;
use super::journal::SAID_AT_ONCE;
use super::log::{KeptLog, Log};
use super::member::{Member, SessionId};
use super::room::Room;
use super::room_log::RoomLog;
use crate::protocol::{Form, Kind, Name, Who};

/// All that is known of a room but for who is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptRoom {
    /// What it is called.
    pub name: Name,
    /// How many lines have been said in it.
    pub said: u64,
    /// What somebody has still to get, in each form.
    pub(super) logs: Vec<(Form, KeptLog)>,
    pub(super) waiting: Vec<KeptEntry>,
    pub(super) history: Vec<KeptPast>,
    pub(super) joined: Vec<Who>,
    pub(super) left: Vec<Who>,
}

/// What waits for space in the logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum KeptEntry {
    Said {
        kind: Kind,
        from: SessionId,
        who: Who,
        #[serde(with = "serde_bytes")]
        text: Vec<u8>,
        lines: u32,
        done: (usize, u32),
    },
    Joined(Vec<Who>),
    Left(Vec<Who>),
    Renamed {
        from: Who,
        to: Who,
    },
}

/// What has been said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptPast {
    kind: Kind,
    who: Who,
    /// Microseconds since 1970.
    time: i64,
    seq: u64,
    lines: usize,
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
}

impl KeptRoom {
    /// A room of which only its name is known, and that the numbers of its lines were below `said`.
    pub fn without_lines(name: Name, said: u64) -> Self {
        let (logs, waiting, history) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, said, logs, waiting, history, joined: Vec::new(), left: Vec::new() }
    }
}

impl Room {
    /// What the next process takes over of it.
    pub(super) fn keep(&self) -> KeptRoom {
        let logs = self.audiences.iter().flatten().filter_map(|audience| {
            let log = audience.log();
            Some((log.form(), log.read().keep(audience.lowest()?)))
        });
        let (joined, left) = self.comings.untold();
        KeptRoom {
            name: self.name.clone(),
            said: self.said,
            logs: logs.collect(),
            waiting: self.waiting.iter().map(KeptEntry::of).collect(),
            history: self.history.iter().map(KeptPast::of).collect(),
            joined: joined.to_vec(),
            left: left.to_vec(),
        }
    }

    /// Takes over what another process has kept; nobody is in it yet, and what waits comes last.
    pub(super) fn put_back(&mut self, kept: &KeptRoom, log_size: usize, now: Now) -> Result<(), Damaged> {
        if !kept.waiting.iter().all(KeptEntry::is_sound) {
            return Err(Damaged("what waits in a room is not what it is said to be"));
        }
        for (form, log) in &kept.logs {
            let log = Log::put_back(log, log_size).ok_or(Damaged("a log is not in order"))?;
            let log = RoomLog::with(*form, log, Arc::clone(&self.traffic));
            self.audiences[form.index()] = Some(Audience::new(log));
        }
        (self.said, self.noted) = (kept.said, kept.said);
        kept.history.iter().cloned().filter_map(KeptPast::put_back).for_each(|past| self.history.push(past));
        self.comings = Comings::put_back(kept.joined.clone(), kept.left.clone(), now.instant);
        Ok(())
    }

    /// Somebody is gone who was in another process.
    pub(super) fn gather_left(&mut self, who: Who, now: Now) {
        self.comings.left(who);
        self.comings.begin(now.instant);
    }

    /// Lets a member in that was in another process; its cursor is set.
    pub(super) fn seat(&mut self, member: &Arc<Member>, form: Form, holds: bool) {
        self.members += 1;
        self.audience(form).seat_again(member, holds);
    }

    /// What waited in another process waits again.
    pub(super) fn put_back_waiting(&mut self, entries: VecDeque<Entry>, now: Now) {
        self.waiting = entries;
        self.comings_waiting = self.waiting.iter().filter(|entry| entry.is_coming()).count();
        let is_watching = self.audiences().any(|audience| audience.is_watching());
        self.reckoned = is_watching.then_some(now.instant);
        self.wait(now);
    }

    /// Below what the numbers of its lines are to be noted, if they are not.
    pub(super) fn said_to_note(&mut self) -> Option<u64> {
        let is_over = self.said >= self.noted;
        is_over.then(|| {
            self.noted = self.said + SAID_AT_ONCE;
            self.noted
        })
    }

    /// Below what they have been noted.
    pub(super) fn said_noted(&self) -> u64 {
        self.noted
    }

    /// Says whether the room waits for a member if it has to.
    pub(super) fn holds(&self, id: SessionId) -> bool {
        self.audiences.iter().flatten().find_map(|audience| audience.holds(id)).unwrap_or(true)
    }
}

impl KeptEntry {
    pub(super) fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Joined(who) => Self::Joined(who.clone()),
            Entry::Left(who) => Self::Left(who.clone()),
            Entry::Renamed { from, to, .. } => Self::Renamed { from: Who::clone(from), to: Who::clone(to) },
            Entry::Said { kind, member, who, text, lines, done } => Self::Said {
                kind: *kind,
                from: member.id(),
                who: Who::clone(who),
                text: text.clone(),
                lines: *lines,
                done: *done,
            },
        }
    }

    /// Says whether what is said of its text is so.
    pub(super) fn is_sound(&self) -> bool {
        let Self::Said { text, lines, done, .. } = self else { return true };
        let ends = memchr::memchr_iter(b'\n', text).count();
        text.last() == Some(&b'\n') && ends == *lines as usize && done.0 < text.len() && done.1 < *lines
    }
}

impl KeptPast {
    pub(super) fn of(past: &Past) -> Self {
        let Past { kind, who, time, seq, lines, text } = past;
        Self {
            kind: *kind,
            who: Who::clone(who),
            time: time.as_microsecond(),
            seq: *seq,
            lines: *lines,
            text: text.clone(),
        }
    }

    /// As it was; nothing if it makes no sense.
    pub(super) fn put_back(self) -> Option<Past> {
        let Self { kind, who, time, seq, lines, text } = self;
        let is_sound = memchr::memchr_iter(b'\n', &text).count() == lines && text.ends_with(b"\n");
        let time = Timestamp::from_microsecond(time).ok()?;
        is_sound.then(|| Past { kind, who: Arc::new(who), time, seq, lines, text })
    }
}
