//! The keys of connections, and of those that are gone.
//!
//! A key works once. It is valid as long as its connection has the name, and for [`KEY_LIFETIME`] after the connection
//! is gone, unless another connection has had the name and a key since. A connection that sends it gets the name.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::id::SessionId;
use crate::protocol::{Key, Name};

/// How long a key is valid after its connection is gone.
pub const KEY_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Most keys of connections that are gone. Beyond that, chatd forgets those of the connections that went first.
const MOST_LEFT: usize = 10_000;

/// The beginning of the note of a key. Notes outlive a crash.
const NOTE: &str = "key ";

/// The key of a connection that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftKey {
    /// The key.
    pub key: Key,
    /// The name that the key takes.
    pub name: Name,
    /// When the key expires, in seconds since 1970.
    pub until: i64,
}

impl LeftKey {
    /// Returns the text of the note of this key, for the case of a crash. The number of the note is [`LeftKey::until`].
    pub fn note(&self) -> String {
        format!("{NOTE}{} {}", self.key, self.name)
    }

    /// Returns the key in a note; `None` if it is a note about something else.
    pub fn from_note(text: &str, number: u64) -> Option<Self> {
        let (key, name) = text.strip_prefix(NOTE)?.split_once(' ')?;
        let name = Name::parse(name).ok()?;
        Some(Self { key: Key::parse(key)?, name, until: number.try_into().ok()? })
    }
}

/// Returns a new key. `None` if the kernel has no random bits yet (getrandom(2)).
pub(super) fn new_key() -> Option<Key> {
    let mut bytes = [0; 16];
    let taken = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    taken.is_ok_and(|len| len == bytes.len()).then(|| Key(u128::from_ne_bytes(bytes)))
}

/// The keys of connections, and of those that are gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Most connections have none.
    held: BTreeMap<SessionId, Key>,
    /// Those of connections that are gone, by their names: the last key of each.
    left: BTreeMap<Box<str>, LeftKey>,
    /// Notes to write, with their numbers, and notes to remove (`None`).
    pub(super) notes: Vec<(String, Option<u64>)>,
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.held == other.held && self.left == other.left
    }
}

impl Keys {
    /// Restores the keys of connections that are gone.
    pub(super) fn restore(&mut self, left: impl IntoIterator<Item = LeftKey>) {
        left.into_iter().for_each(|left| self.insert(left));
    }

    /// Returns all of them.
    pub(super) fn left(&self) -> impl Iterator<Item = &LeftKey> {
        self.left.values()
    }

    /// Returns the key of a connection.
    pub(super) fn held(&self, id: SessionId) -> Option<Key> {
        self.held.get(&id).copied()
    }

    /// A connection has this key, and not the one before.
    pub(super) fn hold(&mut self, id: SessionId, key: Option<Key>) {
        match key {
            Some(key) => self.held.insert(id, key),
            None => self.held.remove(&id),
        };
    }

    /// A connection with this name is gone: stores its key.
    pub(super) fn leave(&mut self, id: SessionId, name: &Name, time: Timestamp) {
        let Some(key) = self.held.remove(&id) else { return };
        let until = time.as_second().saturating_add(KEY_LIFETIME.as_secs());
        self.insert(LeftKey { key, name: name.clone(), until });
        if self.left.len() > MOST_LEFT {
            let mut all: Vec<(i64, Name)> =
                self.left.values().map(|left| (left.until, left.name.clone())).collect();
            // Those of the same second stay in the order of their names: the same on all nodes.
            all.sort_by_key(|(until, _)| *until);
            // A tenth at a time, so that this is rare.
            all.truncate(MOST_LEFT / 10);
            all.iter().for_each(|(_, name)| self.use_left(name));
        }
    }

    fn insert(&mut self, left: LeftKey) {
        self.use_left(&left.name);
        self.notes.push((left.note(), Some(left.until.unsigned_abs())));
        self.left.insert(left.name.as_str().into(), left);
    }

    /// Returns whether this is the key of a connection that is gone and had this name, and has not expired.
    pub(super) fn is_left(&self, key: Key, name: &Name, time: Timestamp) -> bool {
        let left = self.left.get(name.as_str());
        left.is_some_and(|left| left.key == key && left.until >= time.as_second())
    }

    /// Makes the key of a connection that is gone and had this name invalid, if there is one.
    pub(super) fn use_left(&mut self, name: &Name) {
        self.notes.extend(self.left.remove(name.as_str()).map(|left| (left.note(), None)));
    }
}
