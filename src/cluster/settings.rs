//! What the engine's client has to know, and who this node is.

use jiff::Timestamp;

use super::address::{Address, Secret};

/// How to reach the engine, and who this node is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where engines are. The first that says that it is the primary counts.
    pub addresses: Vec<Address>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// The name of this node.
    pub node: String,
    /// How many replicas must have what was said.
    pub replicas: u8,
    /// The user of the engine; `None` for the default one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Lines may have control characters, as the key `raw` says.
    pub raw: bool,
}

impl Settings {
    /// Those of a node called alpha, with no engine.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self {
            addresses: Vec::new(),
            prefix: "chatd".to_owned(),
            node: "alpha".to_owned(),
            replicas: 0,
            user: None,
            password: None,
            raw: false,
        }
    }

    /// Returns the key of what all rooms and nodes share.
    pub(super) fn shared_key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Returns the key of the stream of an order: of a room, or of the acts if `order` is empty.
    pub(super) fn stream_key(&self, order: &str) -> String {
        if order.is_empty() { self.shared_key("acts") } else { format!("{}:room:{order}", self.prefix) }
    }

    /// Returns the order of the stream with that key.
    pub(super) fn order_of<'a>(&self, stream: &'a str) -> Option<&'a str> {
        let rest = stream.strip_prefix(self.prefix.as_str())?;
        if rest == ":acts" { Some("") } else { rest.strip_prefix(":room:") }
    }

    /// Returns the key of a node.
    pub(super) fn node_key(&self, node: &str) -> String {
        format!("{}:node:{node}", self.prefix)
    }
}

/// Who a process is among those that have had the name of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Larger than that of every process before.
    pub incarnation: u64,
    /// The incarnation of the process that crashed, whose name it takes over at once; 0 if there was none.
    pub replaces: u64,
}

impl Identity {
    /// Makes a new one, for a fresh start.
    pub fn new(now: Timestamp) -> Self {
        Self { incarnation: u64::try_from(now.as_microsecond()).unwrap_or(1).max(1), replaces: 0 }
    }

    /// A process before had a later incarnation, because the clock was set back since: this one comes after it.
    pub(super) fn outlive(&mut self, later: u64) {
        *self = Self { incarnation: later + 1, replaces: self.incarnation };
    }

    /// Makes a new one after a crash of the process with that incarnation.
    pub fn after_crash(before: u64, now: Timestamp) -> Self {
        Self { incarnation: Self::new(now).incarnation.max(before + 1), replaces: before }
    }
}
