//! What floor 3 can know of the engine and of the other nodes.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A node of the cluster, as it last said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether it has been heard of in time.
    pub is_up: bool,
    /// When it started.
    pub since: Option<Timestamp>,
    /// Number of its sessions.
    pub sessions: Option<u64>,
    /// How many lines it has yet to take in.
    pub lag: Option<u64>,
}

/// How the engine is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineState {
    /// The address of the engine; `None` without a connection.
    pub address: Option<String>,
    /// Its name and version: `redis 7.0.15`.
    pub engine: Option<String>,
    /// Why there is no connection.
    pub problem: Option<String>,
    /// Since when it has not answered; `None` while it does.
    pub away_since: Option<Timestamp>,
    /// Another process, of this incarnation, has the name of this node.
    pub name_held_by: Option<u64>,
    /// All nodes, this one first.
    pub nodes: Vec<NodeState>,
    /// How many lines of all nodes this one has fetched and has yet to take in.
    pub lag_lines: u64,
    /// For how long the oldest item of this node has waited for its place.
    pub lag: Duration,
    /// Items that were sent again.
    pub retries: u64,
    /// How often another engine has taken over, or one has lost entries.
    pub failovers: u64,
    /// Entries that were skipped because of what was in them.
    pub skipped: u64,
    /// Orders of which the engine has lost entries: each began an epoch.
    pub epochs: u64,
}

/// What the tasks know of their connections, and what has been said of the engine.
#[derive(Debug, Default)]
pub struct Health {
    /// For each connection: for how many ticks it has waited for a reply; `None` if it does not.
    pub waits: [Option<u32>; 3],
    /// How many ticks ago the engine has last answered.
    pub silence: u32,
    /// The address that is in the log.
    pub last_address: Option<String>,
    /// The entries that were skipped are in the log since then.
    pub skips_logged: Option<Instant>,
    /// Members have been told of this engine that it is another, or that it has lost entries.
    pub has_failed_over: bool,
    /// Members have been told that it is away.
    pub is_away: bool,
    /// The log has why.
    pub is_explained: bool,
}
