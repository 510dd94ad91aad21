//! The bans of a node of a simulated cluster, as plain texts; the rules are those of `service::bans_merge`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use log::LevelFilter;

use crate::chat::{ClusterBans, Host, NewBan, SessionId, Use};
use crate::protocol::{ClusterState, NodeEntry, Notice, TlsState, Who};

/// Who is banned, and which cluster is known to have that.
type Bans = BTreeMap<String, Option<u64>>;

#[derive(Debug, Default)]
struct State {
    in_force: Bans,
    /// What is on the disk.
    file: Bans,
    cluster: Option<u64>,
    /// What the cluster is to get.
    brought: Vec<String>,
}

/// The bans of a node, through all its processes.
#[derive(Clone, Debug, Default)]
pub struct NodeBans(Arc<Mutex<State>>);

impl NodeBans {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What is in force is stored.
    pub fn store(&self) {
        let state = &mut *self.state();
        state.file.clone_from(&state.in_force);
    }

    /// Another process begins.
    pub fn begin(&self) {
        let state = &mut *self.state();
        *state = State { in_force: state.file.clone(), file: state.file.clone(), ..State::default() };
    }

    /// Somebody is banned while the node is no part of the cluster.
    pub fn ban_alone(&self, subject: String) {
        self.state().file.insert(subject, None);
    }

    pub fn take_brought(&self) -> Vec<String> {
        std::mem::take(&mut self.state().brought)
    }

    /// Returns who is banned here, as the cluster is known to have it.
    pub fn known(&self) -> Vec<String> {
        let state = self.state();
        let known = state.in_force.iter().filter(|(_, known)| known.is_some() && **known == state.cluster);
        known.map(|(subject, _)| subject.clone()).collect()
    }

    pub fn subjects(&self) -> Vec<String> {
        self.state().in_force.keys().cloned().collect()
    }
}

impl Host for NodeBans {
    fn change(&mut self, change: &str, is_known: bool) -> Option<Notice> {
        let state = &mut *self.state();
        match change.split_once(' ')? {
            _ if is_known => {}
            ("ban", subject) => _ = state.in_force.insert(subject.to_owned(), state.cluster),
            (_, subject) => _ = state.in_force.remove(subject),
        }
        None
    }

    fn join(&mut self, bans: &Arc<ClusterBans>) {
        let state = &mut *self.state();
        state.cluster = Some(bans.id);
        let subject = |line: &String| (line.strip_prefix("ban ").unwrap().to_owned(), Some(bans.id));
        let own = std::mem::replace(&mut state.in_force, bans.lines.iter().map(subject).collect());
        for (subject, known) in own {
            if bans.lacks(known) && !state.in_force.contains_key(&subject) {
                state.brought.push(format!("ban {subject}"));
                state.in_force.insert(subject, None);
            }
        }
    }

    fn is_operator(&self, _: SessionId) -> bool {
        false
    }

    fn log_use(&self, _: &Who, _: &str, _: Use) {}

    fn log_order(&self, _: &Who, _: &str, _: &str) {}

    fn address(&self, _: SessionId) -> Option<String> {
        None
    }

    fn uptime(&self) -> (Duration, u64) {
        (Duration::ZERO, 0)
    }

    fn archive(&self) -> Option<(u64, Option<String>)> {
        None
    }

    fn tls(&self, _: Timestamp) -> Option<TlsState> {
        None
    }

    fn cluster(&self, _: Timestamp) -> Option<ClusterState> {
        None
    }

    fn nodes(&self, _: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry> {
        Vec::new()
    }

    fn dismiss(&self, _: SessionId, _: Notice) {}

    fn ban(&self, _: NewBan) -> Result<Vec<String>, Notice> {
        Err(Notice::Nobody)
    }

    fn mute(&self, _: &Who, _: Option<Timestamp>, _: &Who) -> Result<Vec<String>, Notice> {
        Err(Notice::Nobody)
    }

    fn unban(&self, _: &str) -> Result<Vec<String>, Notice> {
        Err(Notice::Nobody)
    }

    fn unmute(&self, _: &str) -> Result<Vec<String>, Notice> {
        Err(Notice::Nobody)
    }

    fn bans(&self, _: Option<&str>, _: usize) -> Vec<Notice> {
        Vec::new()
    }

    fn muted(&self, _: &Who, _: Timestamp) -> Option<Notice> {
        None
    }

    fn drain(&mut self, _: Option<Duration>) {}

    fn draining(&self) -> Option<Duration> {
        None
    }

    fn set_log_level(&mut self, _: LevelFilter) {}
}
