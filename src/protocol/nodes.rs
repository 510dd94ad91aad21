//! How the cluster is doing, in the answers to `/stats` and `/nodes`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::list::counted;
use crate::duration::show_duration;

/// How the cluster is doing, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The name of this node.
    pub node: String,
    /// Number of nodes that are there, this one included.
    pub nodes: usize,
    /// The address of the engine; `None` without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// For how many seconds the engine has not answered; `None` while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<u64>,
    /// What is wrong, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Number of lines that came from the engine and that this node has yet to take in.
    pub lag_lines: u64,
    /// For how many seconds the oldest line from this node has waited for its place.
    pub lag_seconds: f64,
    /// Number of times that something was sent to the engine again.
    pub retries: u64,
    /// Number of times that another engine took over, or one had lost entries.
    pub failovers: u64,
    /// Number of orders that began a new epoch, because an engine had lost entries of theirs.
    pub epochs: u64,
    /// Number of entries that were skipped because of what was in them.
    pub skipped: u64,
}

/// A node, in the answer to `/nodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its name.
    pub node: String,
    /// `here` for this node, `up` for one that is there, `away` for one that has not been heard of.
    pub state: String,
    /// Number of its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// The address of its engine. Only of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Since when it has been in this state, in UTC (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Number of lines that it has yet to take in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_lines: Option<u64>,
}

impl ClusterState {
    /// Returns whether the engine is there, and what is wrong, in words.
    pub fn engine(&self) -> String {
        let engine = match (self.away, &self.engine) {
            (Some(seconds), _) => {
                format!("the engine has been away for {}", show_duration(Duration::from_secs(seconds)))
            }
            (None, Some(engine)) => format!("engine {engine}"),
            (None, None) => "no engine yet".to_owned(),
        };
        self.problem.as_ref().map_or_else(|| engine.clone(), |problem| format!("{engine}: {problem}"))
    }

    /// Returns how far this node is behind, in words.
    pub fn lag(&self) -> String {
        format!(
            "{} behind, {:.1} s waited",
            counted(self.lag_lines as usize, "line", "lines"),
            self.lag_seconds
        )
    }

    /// Returns what has gone wrong so far, in words.
    pub fn troubles(&self) -> String {
        let count = |count: u64, one, many| counted(count as usize, one, many);
        [
            count(self.retries, "retry", "retries"),
            count(self.failovers, "failover", "failovers"),
            count(self.epochs, "new epoch", "new epochs"),
            count(self.skipped, "entry skipped", "entries skipped"),
        ]
        .join(", ")
    }

    /// Returns it in words.
    pub fn shown(&self) -> String {
        let nodes = counted(self.nodes, "node", "nodes");
        format!("node {} of {nodes}, {}, {}, {}", self.node, self.engine(), self.lag(), self.troubles())
    }
}

impl NodeEntry {
    /// Returns it in words.
    pub(super) fn shown(&self) -> String {
        let mut words = vec![format!("{} {}", self.node, self.state)];
        words.extend(self.since.as_ref().map(|since| format!("since {since}")));
        words.extend(self.sessions.map(|count| counted(count as usize, "session", "sessions")));
        words.extend(self.lag_lines.map(|lag| format!("{} behind", counted(lag as usize, "line", "lines"))));
        words.extend(self.engine.as_ref().map(|engine| format!("engine {engine}")));
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_in_words() {
        let state = |engine: Option<&str>, away, problem: Option<&str>| {
            let [engine, problem] = [engine, problem].map(|text| text.map(str::to_owned));
            ClusterState { engine, away, problem, ..ClusterState::default() }.engine()
        };
        assert_eq!(state(Some("redis://192.0.2.1:6379"), None, None), "engine redis://192.0.2.1:6379");
        assert_eq!(state(None, None, Some("refused")), "no engine yet: refused");
        assert_eq!(state(None, Some(3), None), "the engine has been away for 3s");
        assert_eq!(state(None, Some(120), Some("refused")), "the engine has been away for 2m: refused");
    }

    #[test]
    fn a_node_says_what_is_known_of_it() {
        let node = |state: &str| NodeEntry {
            node: "alpha".to_owned(),
            state: state.to_owned(),
            ..NodeEntry::default()
        };
        assert_eq!(node("away").shown(), "alpha away");
        let known = NodeEntry {
            sessions: Some(1),
            engine: Some("redis://192.0.2.1:6379".to_owned()),
            since: Some("2026-11-28T16:00:00Z".to_owned()),
            lag_lines: Some(0),
            ..node("here")
        };
        let expected = "alpha here, since 2026-11-28T16:00:00Z, 1 session, 0 lines behind, engine redis://192.0.2.1:6379";
        assert_eq!(known.shown(), expected);
    }
}
