//! The standing of a session: its name, its room, its view, and what else outlives a crash.

use serde::{Deserialize, Serialize};

use super::directory::{Directory, MAIN_NAME, Place};
use super::id::SessionId;
use super::member::Member;
use crate::protocol::{Form, Key, Name, View, Who};

/// What chatd knows of a session even after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its number.
    pub id: SessionId,
    /// Its name, also that of a guest; `None` if no other session knows of it yet.
    pub who: Option<Who>,
    /// Its room.
    pub room: Name,
    /// Its view.
    pub view: View,
    /// Whether times are on.
    pub times: bool,
    /// Whether it has sent a telnet command, so that its lines end with CR LF.
    #[serde(default)]
    pub is_telnet: bool,
    /// Whether it is announced to its room, or will be.
    pub is_present: bool,
    /// Whether it has sent a line under the name that it has now.
    pub has_spoken: bool,
    /// The key that takes its name back.
    #[serde(default)]
    pub key: Option<Key>,
    /// The sessions that it ignores.
    pub ignored: Vec<SessionId>,
}

/// An encoded [`Standing`] without the ignored sessions: number, name and whether it is verified, room, view,
/// times, telnet, presence, key.
type Record = (u64, Option<(Name, bool)>, Name, View, bool, bool, bool, Option<u128>);

impl Standing {
    /// Returns the standing of a guest in the main room that has asked for nothing.
    pub fn plain(id: SessionId) -> Self {
        Self {
            id,
            who: None,
            room: Name::known(MAIN_NAME),
            view: View::Plain,
            times: false,
            is_telnet: false,
            is_present: false,
            has_spoken: false,
            key: None,
            ignored: Vec::new(),
        }
    }

    /// Returns the form of its lines.
    pub fn form(&self) -> Form {
        let form = Form::new(self.view, self.times);
        if self.is_telnet { form.with_crlf() } else { form }
    }

    pub(super) fn of(directory: &Directory, member: &Member) -> Option<Self> {
        let Place { form, .. } = directory.place(member.id)?;
        Some(Self {
            id: member.id,
            who: member.who.as_deref().cloned(),
            room: Name::clone(directory.room_of(member.id)?.name()),
            view: form.view(),
            times: member.times,
            is_telnet: form.has_crlf(),
            is_present: member.is_present,
            has_spoken: member.has_spoken,
            key: directory.roster.key(member.id),
            ignored: member.ignored().to_vec(),
        })
    }

    /// Encodes the standing, and the ignored sessions, for the case of a crash. The name of a guest follows from its
    /// number, and the node of a user of this machine from the proof. Both are empty for a session that has asked for nothing.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let who = self.who.as_ref().filter(|who| !who.name.is_guest());
        let is_plain = who.is_none() && self.ignored.is_empty() && !self.is_present;
        if is_plain && self.form() == Form::PLAIN && !self.times && self.room.as_str() == MAIN_NAME {
            return (Vec::new(), Vec::new());
        }
        let who = who.map(|who| (who.name.at(None), who.verified));
        let Self { id, room, view, times, is_telnet, is_present, .. } = self;
        let record: Record =
            (id.0, who, room.clone(), *view, *times, *is_telnet, *is_present, self.key.map(|key| key.0));
        let mut bytes = Vec::new();
        // Writing to memory cannot fail, and these types can always be encoded.
        let _ = ciborium::into_writer(&record, &mut bytes);
        (bytes, self.ignored.iter().flat_map(|id| id.0.to_le_bytes()).collect())
    }

    /// Decodes a standing; `None` if the bytes are not one.
    pub fn decode(record: &[u8], ignored: &[u8]) -> Option<Self> {
        let (id, who, room, view, times, is_telnet, is_present, key): Record =
            ciborium::from_reader(record).ok()?;
        Some(Self {
            id: SessionId(id),
            who: who.map(|(name, verified)| Who { id, name, verified }),
            room,
            view,
            times,
            is_telnet,
            is_present,
            has_spoken: false,
            key: key.map(Key),
            ignored: Self::decode_ignored(ignored),
        })
    }

    /// Decodes the ignored sessions. Leaves out bytes at the end that are no number.
    pub fn decode_ignored(ignored: &[u8]) -> Vec<SessionId> {
        ignored.as_chunks().0.iter().map(|bytes| SessionId(u64::from_le_bytes(*bytes))).collect()
    }
}
