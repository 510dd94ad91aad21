//! A node of a test: what a hub has of the engine, without a hub.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use chatd::chat::{Act, ClusterBans, Cursor, EngineEvent, Entry, Item, Sequenced, Sequencer, SessionId};
use chatd::cluster::{self, Ending, EngineState, Handle, Identity, Secret, Settings, Stream};
use chatd::protocol::{Kind, Name, Who};
use futures::executor::block_on;

use crate::redis::Server;
use crate::support::wait_until;

/// A line that has come, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub cursor: Cursor,
    pub seq: u64,
    pub from: u64,
    pub text: String,
}

/// A node.
pub struct Node {
    pub stream: Stream,
    pub handle: Handle,
    /// What has come and has not been looked at: lines, acts with their nodes.
    pub lines: Vec<Heard>,
    pub acts: Vec<(Act, String)>,
    /// Whether each act had come before.
    pub again: Vec<bool>,
    pub events: Vec<EngineEvent>,
    /// Rooms that were opened: name, last line, last entry.
    pub opened: Vec<(String, u64, Cursor)>,
    /// Sessions that need wait no longer.
    pub woken: Vec<SessionId>,
    pub last_act: Cursor,
    pub rosters: usize,
    /// The bans of the cluster, each time they came.
    pub bans: Vec<Arc<ClusterBans>>,
    pub cursor: Cursor,
    /// How often entries were missing: members would be told of it.
    pub gaps: usize,
}

pub fn settings(servers: &[&Server], node: &str) -> Settings {
    Settings {
        addresses: servers.iter().map(|server| server.address().parse().unwrap()).collect(),
        prefix: "chatd".to_owned(),
        node: node.to_owned(),
        replicas: 0,
        user: None,
        password: None::<Secret>,
        raw: false,
    }
}

/// An identity that is larger than all before.
pub fn identity() -> Identity {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Identity { incarnation: NEXT.fetch_add(1, Relaxed), replaces: 0 }
}

pub fn room(name: &str) -> Arc<Name> {
    Arc::new(Name::parse(name).unwrap())
}

pub fn who(id: u64) -> Arc<Who> {
    Arc::new(Who { id, name: Name::guest(id), verified: false })
}

pub fn said(room_name: &str, id: u64, text: &str) -> Item {
    let text = format!("{text}\n").into_bytes();
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u32;
    let (from, who) = (SessionId(id), who(id));
    Item::Entry(room(room_name), Entry::Said { kind: Kind::Message, from, who, text, lines, done: (0, 0) })
}

impl Node {
    pub fn start(server: &Server, name: &str) -> Self {
        Self::start_with(settings(&[server], name), None)
    }

    pub fn start_with(settings: Settings, saved: Option<&[u8]>) -> Self {
        let (stream, handle) = cluster::start(settings, saved, identity());
        Self {
            stream,
            handle,
            lines: Vec::new(),
            acts: Vec::new(),
            again: Vec::new(),
            events: Vec::new(),
            opened: Vec::new(),
            woken: Vec::new(),
            last_act: Cursor::default(),
            rosters: 0,
            bans: Vec::new(),
            cursor: Cursor::default(),
            gaps: 0,
        }
    }

    /// Starts a node that is in a room.
    pub fn in_room(server: &Server, name: &str, room_name: &str) -> Self {
        let mut node = Self::start(server, name);
        node.open(room_name);
        node
    }

    /// Opens a room as it stands.
    pub fn open(&mut self, name: &str) {
        let before = self.opened.len();
        self.stream.open(&room(name), None);
        self.until(|node| node.opened.len() > before);
        self.cursor = self.opened.last().unwrap().2;
    }

    pub fn say(&mut self, room_name: &str, id: u64, text: &str) {
        self.stream.submit(said(room_name, id, text));
    }

    /// Has all nodes change bans, and waits until they do.
    pub fn change_bans(&mut self, changes: &[&str]) {
        let act = Act::Brought(changes.iter().map(|change| (*change).to_owned()).collect());
        self.handle.bring(changes.iter().map(|change| (*change).to_owned()).collect());
        self.until(|node| node.acts.iter().any(|(one, _)| *one == act));
        self.acts.clear();
    }

    /// Waits for the bans of the cluster. Returns them sorted.
    pub fn banned(&mut self) -> Vec<String> {
        self.until(|node| !node.bans.is_empty());
        let mut lines = self.bans.remove(0).lines.clone();
        lines.sort();
        lines
    }

    /// Takes what comes until something holds.
    #[track_caller]
    pub fn until(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        while !is_done(self) {
            block_on(poll_fn(|cx| self.stream.poll_ready(cx)));
            self.take();
        }
    }

    /// Takes what is there.
    pub fn take(&mut self) {
        while let Some(sequenced) = self.stream.next() {
            match sequenced {
                Sequenced::Entry { room, entry, stamp } => {
                    self.woken.extend(Item::Entry(room, entry.clone()).asked_by());
                    let Some(stamp) = stamp else { continue };
                    let (Entry::Said { from, text, .. }, text_of) = (&entry, entry.text()) else { continue };
                    assert_eq!(text, text_of);
                    let text = String::from_utf8(text.clone()).unwrap();
                    self.go_to(stamp.cursor);
                    let heard = Heard {
                        cursor: stamp.cursor,
                        seq: stamp.seq,
                        from: from.0,
                        text: text.trim_end().to_owned(),
                    };
                    self.lines.push(heard);
                }
                Sequenced::Act { act, node, cursor, is_again, .. } => {
                    self.last_act = cursor;
                    self.again.push(is_again);
                    self.acts.push((act, node.as_deref().unwrap_or_default().to_owned()));
                }
                Sequenced::Opened { room, cursor } => {
                    self.opened.push((room.name().as_str().to_owned(), room.said(), cursor));
                }
                Sequenced::Repeated { stamp, .. } => self.go_to(stamp.cursor),
                Sequenced::Roster { .. } => self.rosters += 1,
                Sequenced::Bans { bans, .. } => self.bans.push(bans),
                Sequenced::Engine(event) => self.events.push(event),
            }
        }
    }

    fn go_to(&mut self, cursor: Cursor) {
        let before = std::mem::replace(&mut self.cursor, cursor);
        self.gaps += usize::from(cursor != Cursor { entry: before.entry + 1, ..before });
    }

    /// Takes what comes until there are so many lines; returns their texts.
    #[track_caller]
    pub fn hear(&mut self, count: usize) -> Vec<String> {
        self.until(|node| node.lines.len() >= count);
        self.texts()
    }

    pub fn texts(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.text.clone()).collect()
    }

    /// Waits until the state says something.
    #[track_caller]
    pub fn until_state(&self, is_so: impl Fn(&EngineState) -> bool) -> EngineState {
        let mut state = self.handle.state();
        wait_until("the state of the engine", || {
            state = self.handle.state();
            is_so(&state)
        });
        state
    }

    /// Ends the node, for another process that goes on. Returns what that needs.
    pub fn hand_over(mut self) -> Vec<u8> {
        block_on(self.handle.stop(Ending::HandOver, Duration::ZERO));
        self.stream.save()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        block_on(self.handle.stop(Ending::HandOver, Duration::ZERO));
    }
}
