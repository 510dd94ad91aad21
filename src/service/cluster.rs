//! The node of a cluster: begins to talk to the engine, gets numbers of sessions from it, and says how it is doing.
//!
//! All that floor 3 knows of [`crate::cluster`] is here. Without a cluster, [`NodeBuilder`] makes the sequencer of one process.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use jiff::Timestamp;

use super::config::Loaded;
use super::handover::incarnation;
use crate::chat::{Local, Sequencer};
use crate::cluster::{self, Ending, EngineState, Handle, Identity, NodeState, Secret, Settings};
use crate::net::Net;
use crate::net::crash_table::Notes;
use crate::protocol::control::shown;
use crate::protocol::{ClusterState, NodeEntry};
use crate::rt::{self, JoinHandle};

/// How often this node looks at how many sessions it has, to tell the others.
const COUNTING: Duration = Duration::from_secs(5);

/// How long a node may take to leave the cluster after everything has been said.
const LEAVING: Duration = Duration::from_secs(1);

/// Makes the sequencer of the hub: [`NodeBuilder::sequencer`], and then [`NodeBuilder::begin`].
#[derive(Debug)]
pub struct NodeBuilder {
    settings: Option<Settings>,
    /// The incarnation that the process before was of the same node.
    before: Option<u64>,
    now: Timestamp,
    running: Option<Handle>,
}

/// What the configuration says of the engine; `None` without a cluster. The password has been read.
pub fn settings(loaded: &Loaded) -> Option<Settings> {
    let config = &loaded.config;
    if !config.is_clustered() {
        return None;
    }
    Some(Settings {
        addresses: config.cluster.0.clone(),
        prefix: config.cluster_prefix.text().to_owned(),
        // A name that cannot be is a mistake of the configuration, which was checked.
        node: config.node.name().unwrap_or_default(),
        replicas: u8::try_from(config.replicas).unwrap_or(u8::MAX),
        raw: config.raw,
        user: config.cluster_user.name().map(str::to_owned),
        password: loaded.password.as_ref().map(|password| Secret::new(password.expose())),
    })
}

impl NodeBuilder {
    /// Makes one. `left` are the notes of the process before: the node goes on with its incarnation.
    pub fn new(settings: Option<Settings>, left: &[(String, u64)], now: Timestamp) -> Self {
        let node = settings.as_ref().map(|settings| settings.node.as_str());
        let before = node.and_then(|node| incarnation::read(left, node));
        Self { settings, before, now, running: None }
    }

    /// Returns who this process is, unless it goes on as the one before.
    fn identity(&self) -> Identity {
        match self.before {
            Some(before) => Identity::after_crash(before, self.now),
            None => Identity::new(self.now),
        }
    }

    /// Returns the sequencer. `saved` is what that of the process before has saved. Call it again if the hub could not be
    /// restored with the first one.
    pub fn sequencer(&mut self, saved: &[u8]) -> Box<dyn Sequencer> {
        let Some(settings) = self.settings.clone() else { return Box::<Local>::default() };
        let saved = Some(saved).filter(|saved| !saved.is_empty());
        let (stream, handle) = cluster::start(settings, saved, self.identity());
        if let Some(before) = self.running.replace(handle) {
            rt::spawn(async move { before.stop(Ending::HandOver, LEAVING).await });
        }
        Box::new(stream)
    }

    /// Has sessions get their numbers from the engine from now on. Returns `None` without a cluster.
    pub fn begin(self, net: &Arc<Net>) -> Option<Cluster> {
        let (settings, handle) = self.settings.zip(self.running)?;
        net.sessions.numbers.come_in_blocks();
        let tasks = [
            rt::spawn(get_numbers(Arc::clone(net), handle.clone())),
            rt::spawn(count_sessions(Arc::clone(net), handle.clone())),
            rt::spawn(bring_bans(net.registry.begin_cluster(), handle.clone())),
        ];
        let status = ClusterStatus { node: settings.node.into(), handle };
        Some(Cluster { status, tasks })
    }
}

/// Gets blocks of numbers, as many as are wanted.
async fn get_numbers(net: Arc<Net>, handle: Handle) {
    let numbers = &net.sessions.numbers;
    loop {
        numbers.wanted().await;
        numbers.add(handle.numbers(numbers.last()).await);
    }
}

/// Has the other nodes know how many sessions there are.
async fn count_sessions(net: Arc<Net>, handle: Handle) {
    loop {
        handle.set_sessions(net.sessions.count() as u64);
        rt::sleep(COUNTING).await;
    }
}

/// Has all nodes make the changes of bans that this one brings.
async fn bring_bans(mut changes: UnboundedReceiver<Vec<String>>, handle: Handle) {
    while let Some(changes) = changes.next().await {
        handle.bring(changes);
    }
}

/// A node of a cluster.
#[derive(Debug)]
pub struct Cluster {
    status: ClusterStatus,
    tasks: [JoinHandle<()>; 3],
}

impl Cluster {
    /// Returns what knows how the cluster is doing.
    pub fn status(&self) -> ClusterStatus {
        self.status.clone()
    }

    /// Notes who this node is, for a next process.
    pub fn write(&self, notes: &mut Notes) {
        incarnation::write(notes, &self.status.node, self.status.handle.identity().incarnation);
    }

    /// Ends the tasks, for the next process to go on as the same node.
    pub async fn hand_over(self) {
        end(self.tasks).await;
        self.status.handle.stop(Ending::HandOver, LEAVING).await;
    }

    /// Leaves the cluster. What the engine has not taken by then is lost, and the log has the number.
    pub async fn leave(self) {
        end(self.tasks).await;
        let lost = self.status.handle.stop(Ending::Leave, LEAVING).await;
        if lost > 0 {
            log::warn!("lost {lost} entries that the engine had not taken within drain");
        }
    }
}

async fn end(tasks: [JoinHandle<()>; 3]) {
    for task in tasks {
        task.cancel().await;
    }
}

/// How the cluster is doing, for those who ask.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    node: Arc<str>,
    handle: Handle,
}

impl ClusterStatus {
    /// Returns how the cluster is doing at `now`.
    pub fn state(&self, now: Timestamp) -> ClusterState {
        state_of(&self.node, self.handle.state(), now)
    }

    /// Returns all nodes. `sessions` says how many sessions the node of a name has, if that is known.
    pub fn nodes(&self, sessions: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry> {
        nodes_of(&self.node, self.handle.state(), sessions)
    }

    /// Returns what the service manager shows; it changes only when something happens.
    pub fn line(&self) -> String {
        line_of(&self.node, &self.handle.state())
    }
}

/// Returns how many nodes are there, with this one.
fn count_up(node: &str, state: &EngineState) -> usize {
    1 + state.nodes.iter().filter(|other| other.is_up && other.name != node).count()
}

fn state_of(node: &str, state: EngineState, now: Timestamp) -> ClusterState {
    let seconds =
        |since: Timestamp| u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0);
    ClusterState {
        node: node.to_owned(),
        nodes: count_up(node, &state),
        away: state.away_since.map(seconds),
        engine: state.address,
        problem: state.problem,
        lag_lines: state.lag_lines,
        lag_seconds: state.lag.as_secs_f64(),
        retries: state.retries,
        failovers: state.failovers,
        epochs: state.epochs,
        skipped: state.skipped,
    }
}

fn nodes_of(node: &str, mut state: EngineState, sessions: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry> {
    if state.nodes.iter().all(|other| other.name != node) {
        // It has not been in touch with the engine yet.
        state.nodes.insert(0, NodeState { name: node.to_owned(), ..NodeState::default() });
    }
    let (address, lag_lines) = (state.address, state.lag_lines);
    let entry = |other: NodeState| {
        let is_own = other.name == node;
        let state = match other.is_up {
            _ if is_own => "here",
            true => "up",
            false => "away",
        };
        NodeEntry {
            state: state.to_owned(),
            sessions: sessions(&other.name).or(other.sessions),
            engine: address.clone().filter(|_| is_own),
            since: shown(other.since),
            lag_lines: if is_own { Some(lag_lines) } else { other.lag },
            node: other.name,
        }
    };
    state.nodes.into_iter().map(entry).collect()
}

fn line_of(node: &str, state: &EngineState) -> String {
    let problem = state.problem.as_ref().map_or_else(String::new, |problem| format!(" ({problem})"));
    match state.away_since {
        Some(since) => {
            let since = since.strftime("%FT%TZ");
            format!("node {node} waits for the engine, which has been away since {since}{problem}")
        }
        None => {
            let up = count_up(node, state);
            let plural = if up == 1 { "" } else { "s" };
            format!("node {node} of {up} node{plural}{problem}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, is_up: bool) -> NodeState {
        let since = Some("2026-11-28T16:00:00Z".parse().unwrap());
        NodeState { name: name.to_owned(), is_up, since, sessions: Some(7), lag: Some(3) }
    }

    fn state() -> EngineState {
        EngineState {
            address: Some("redis://192.0.2.1:6379".to_owned()),
            nodes: vec![node("alpha", false), node("beta", true), node("gamma", false)],
            lag_lines: 5,
            lag: Duration::from_millis(1500),
            retries: 1,
            failovers: 2,
            epochs: 3,
            skipped: 4,
            ..EngineState::default()
        }
    }

    #[test]
    fn the_state_is_that_of_this_node() {
        let now: Timestamp = "2026-11-28T16:02:00Z".parse().unwrap();
        let words = state_of("alpha", state(), now).shown();
        let expected = "node alpha of 2 nodes, engine redis://192.0.2.1:6379, 5 lines behind, 1.5 s waited, \
                        1 retry, 2 failovers, 3 new epochs, 4 entries skipped";
        assert_eq!(words, expected);
        let away = EngineState { away_since: Some("2026-11-28T16:00:00Z".parse().unwrap()), ..state() };
        assert_eq!(state_of("alpha", away.clone(), now).away, Some(120));
        // The clock was set back meanwhile.
        assert_eq!(state_of("alpha", away, Timestamp::UNIX_EPOCH).away, Some(0));
    }

    #[test]
    fn nodes_have_what_is_known_of_them() {
        let all = nodes_of("alpha", state(), &|name| (name == "alpha").then_some(12));
        let shown =
            all.iter().map(|one| (one.node.as_str(), one.state.as_str(), one.sessions, one.lag_lines));
        let expected = [
            ("alpha", "here", Some(12), Some(5)),
            ("beta", "up", Some(7), Some(3)),
            ("gamma", "away", Some(7), Some(3)),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(all[0].engine.as_deref(), Some("redis://192.0.2.1:6379"));
        // Before it is in touch with the engine.
        let alone = nodes_of("alpha", EngineState::default(), &|_| Some(0));
        assert_eq!((alone.len(), alone[0].node.as_str(), alone[0].state.as_str()), (1, "alpha", "here"));
        assert_eq!(count_up("alpha", &EngineState::default()), 1);
        assert_eq!((all[1].engine.as_deref(), all[1].since.as_deref()), (None, Some("2026-11-28T16:00:00Z")));
    }

    #[test]
    fn the_status_line_says_what_is_wrong() {
        assert_eq!(line_of("alpha", &state()), "node alpha of 2 nodes");
        let problem = Some("connection refused".to_owned());
        let away =
            EngineState { away_since: Some("2026-11-28T16:00:00Z".parse().unwrap()), problem, ..state() };
        let expected = "node alpha waits for the engine, which has been away since 2026-11-28T16:00:00Z (connection refused)";
        assert_eq!(line_of("alpha", &away), expected);
    }

    #[test]
    fn a_node_keeps_its_incarnation_and_another_one_has_its_own() {
        let settings = |node: &str| {
            let loaded = Loaded::default();
            assert!(settings(&loaded).is_none());
            Some(Settings {
                addresses: Vec::new(),
                prefix: "chatd".to_owned(),
                node: node.to_owned(),
                replicas: 0,
                user: None,
                password: None,
                raw: false,
            })
        };
        let left = [("incarnation alpha".to_owned(), 5), ("restarts".to_owned(), 3)];
        let now = Timestamp::from_second(9).unwrap();
        let identity = |node: &str| {
            let Identity { incarnation, replaces } = NodeBuilder::new(settings(node), &left, now).identity();
            (incarnation, replaces)
        };
        // After a crash it is a new one, which takes the name over at once.
        assert_eq!([identity("alpha"), identity("beta")], [(9_000_000, 5), (9_000_000, 0)]);
        // Without a cluster there is one process, as ever.
        assert!(NodeBuilder::new(None, &left, now).sequencer(&[]).node().is_none());
    }
}
