//! A model of the engine: a stream for each room and one for acts, the stored roster, and a replica that is behind.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::chat::{Act, Cursor, Entry, Item, Stamp};
use crate::protocol::Name;

/// The key of the stream of acts.
pub const ACTS: &str = "acts";

/// Returns the key of the stream of a room: look-alike names are one room.
pub fn key_of(name: &Name) -> String {
    format!("room:{}", name.keys().next().unwrap())
}

/// Who has submitted something: the node, its incarnation, and the counter there.
pub type Writer = (Arc<str>, u64, u64);

/// An item that has its place.
#[derive(Clone, Debug)]
pub struct Stored {
    pub stamp: Stamp,
    pub writer: Writer,
    pub item: Item,
}

#[derive(Clone, Debug)]
pub struct Stream {
    /// The room as first written.
    pub name: Arc<Name>,
    epoch: u64,
    /// The number of the last entry of the epoch.
    entry: u64,
    /// The number of the last line.
    pub seq: u64,
    pub items: VecDeque<Stored>,
    writers: HashMap<Arc<str>, (u64, u64)>,
    /// The last entry of each epoch that is over.
    ends: BTreeMap<u64, u64>,
}

impl Stream {
    fn new(name: Arc<Name>, epoch: u64) -> Self {
        let (items, writers, ends) = (VecDeque::new(), HashMap::new(), BTreeMap::new());
        Self { name, epoch, entry: 0, seq: 0, items, writers, ends }
    }

    /// The position of the last entry.
    pub fn last(&self) -> Cursor {
        Cursor { epoch: self.epoch, entry: self.entry }
    }

    /// Returns whether the entry at a position was lost, or one before it of the same epoch.
    pub fn has_lost(&self, at: Cursor) -> bool {
        self.ends.get(&at.epoch).is_some_and(|end| *end < at.entry)
    }

    /// Returns whether entries behind a position are trimmed.
    pub fn is_trimmed_behind(&self, at: Cursor) -> bool {
        match self.items.front() {
            Some(first) if first.stamp.cursor.epoch == at.epoch => first.stamp.cursor.entry > at.entry + 1,
            Some(first) => {
                first.stamp.cursor > at
                    && (self.ends.get(&at.epoch) != Some(&at.entry) || first.stamp.cursor.entry > 1)
            }
            None => self.last() > at && self.ends.get(&at.epoch) != Some(&at.entry),
        }
    }

    pub fn after(&self, at: Cursor) -> impl Iterator<Item = &Stored> {
        self.items.iter().filter(move |stored| stored.stamp.cursor > at)
    }

    /// Returns whether the stream has taken an item of a writer.
    pub fn has_taken(&self, (node, incarnation, counter): &Writer) -> bool {
        self.writers.get(node).is_some_and(|(of, last)| of == incarnation && last >= counter)
    }

    fn append(&mut self, writer: Writer, item: Item, time: Timestamp) {
        let (node, incarnation, counter) = writer.clone();
        self.writers.insert(node, (incarnation, counter));
        self.entry += 1;
        let stamp = Stamp { cursor: self.last(), seq: self.seq + 1, time };
        if let Item::Entry(_, Entry::Said { lines, .. }) = &item {
            self.seq += u64::from(*lines);
        }
        self.items.push_back(Stored { stamp, writer, item });
    }
}

/// What an engine has.
#[derive(Clone, Debug, Default)]
pub struct Data {
    pub streams: BTreeMap<String, Stream>,
    /// The roster as it was stored, and the last act in it.
    pub roster: Option<(Cursor, String)>,
    /// The subjects of the bans.
    pub bans: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Engine {
    pub primary: Data,
    replica: Data,
    pub time: Timestamp,
    /// How often another engine has taken over.
    pub failovers: u64,
    /// Everything that was ever appended, also what was lost.
    pub appended: HashMap<Writer, (String, Cursor)>,
    /// Everybody who was ever banned.
    pub banned: BTreeSet<String>,
    /// Everybody whose ban was ever lifted.
    pub lifted: BTreeSet<String>,
    /// Whose ban may be forgotten: an engine has lost it together with the nodes that knew of it.
    pub forgotten: BTreeSet<String>,
}

impl Engine {
    pub fn new(time: Timestamp) -> Self {
        let (primary, replica) = (Data::default(), Data::default());
        Self {
            primary,
            replica,
            time,
            failovers: 0,
            appended: HashMap::new(),
            banned: BTreeSet::new(),
            lifted: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        }
    }

    pub fn stream(&mut self, key: &str, name: &Arc<Name>) -> &mut Stream {
        let epoch = self.time.as_microsecond() as u64;
        self.primary.streams.entry(key.to_owned()).or_insert_with(|| Stream::new(Arc::clone(name), epoch))
    }

    /// Appends an item, unless that was done before.
    pub fn append(&mut self, key: &str, writer: &Writer, item: &Item) {
        let time = Timestamp::from_millisecond(self.time.as_millisecond()).unwrap();
        let (name, item) = match item {
            Item::Entry(name, _) => (Arc::clone(name), item.clone()),
            Item::Act(act) => (Arc::new(Name::known("acts")), Item::Act(written(act))),
        };
        let stream = self.stream(key, &name);
        if stream.has_taken(writer) {
            return;
        }
        let changes = match &item {
            Item::Act(Act::Brought(changes) | Act::Ordered { changes, .. }) => changes.clone(),
            _ => Vec::new(),
        };
        stream.append(writer.clone(), item, time);
        let last = stream.last();
        self.appended.insert(writer.clone(), (key.to_owned(), last));
        for change in changes {
            match change.split_once(' ').unwrap() {
                ("ban", subject) => {
                    self.banned.insert(subject.to_owned());
                    self.primary.bans.insert(subject.to_owned());
                }
                (_, subject) => {
                    self.lifted.insert(subject.to_owned());
                    self.primary.bans.remove(subject);
                }
            }
        }
    }

    /// Returns whether the replica has taken an item, too.
    pub fn is_replicated(&self, key: &str, writer: &Writer) -> bool {
        self.replica.streams.get(key).is_some_and(|stream| stream.has_taken(writer))
    }

    /// The replica has all there is.
    pub fn replicate(&mut self) {
        self.replica = self.primary.clone();
    }

    /// Trims a stream to its last entries. Acts are trimmed up to the stored roster.
    pub fn trim(&mut self, key: &str, most: usize) {
        let stored = self.primary.roster.as_ref().map(|(cursor, _)| *cursor);
        let Some(stream) = self.primary.streams.get_mut(key) else { return };
        while stream.items.len() > most {
            let first = stream.items.front().map(|first| first.stamp.cursor);
            if key == ACTS && (stored.is_none() || first > stored) {
                break;
            }
            stream.items.pop_front();
        }
    }

    /// The replica takes over. What it does not have is lost: each stream that has lost something begins a new epoch, in
    /// which numbers go on behind what a node says it has seen. The clock of the machine is another one.
    pub fn fail_over(&mut self, seen: impl Fn(&str) -> u64, ahead: SignedDuration) {
        let before = std::mem::replace(&mut self.primary, self.replica.clone());
        self.failovers += 1;
        self.time += ahead;
        for (key, old) in before.streams {
            let stream = self
                .primary
                .streams
                .entry(key.clone())
                .or_insert_with(|| Stream::new(Arc::clone(&old.name), old.epoch));
            if stream.last() < old.last() {
                stream.ends.insert(stream.epoch, stream.entry);
                for (epoch, end) in old.ends {
                    stream.ends.entry(epoch).or_insert(end);
                }
                stream.epoch = old.epoch.max(stream.epoch) + 1;
                stream.entry = 0;
                stream.seq = stream.seq.max(seen(&key));
            }
        }
        self.replica = self.primary.clone();
    }
}

/// An act as it is read again after it was written.
fn written(act: &Act) -> Act {
    let text = serde_json::to_string(act).unwrap();
    let read: Act = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(*act, read, "what is written is read again");
    read
}
