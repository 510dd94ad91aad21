//! The host: what the hub asks floor 3 for when an operator uses a command. Nothing here may wait.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use log::LevelFilter;

use super::id::SessionId;
use crate::protocol::{ClusterState, NodeEntry, Notice, TlsState, Who};

/// A ban that an operator asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBan {
    /// The address, network or login, as typed.
    pub subject: String,
    /// When it ends; `None` if somebody has to lift it.
    pub until: Option<Timestamp>,
    /// The reason; may be empty.
    pub reason: String,
    /// The operator.
    pub by: Who,
    /// Also if it covers the operator.
    pub is_forced: bool,
}

/// The bans and mutes that a cluster has, as its engine gives them to a node.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterBans {
    /// Tells them from those of another cluster, and from those that began anew.
    pub id: u64,
    /// Each as a change that makes it, see [`Host::change`]. Anybody may have written them.
    pub lines: Vec<String>,
    /// The engine has lost what this process knows that it had.
    pub has_lost: bool,
}

impl ClusterBans {
    /// Returns whether the cluster is to get a ban that it does not have, and that a node knows from the cluster `known`.
    /// Otherwise somebody has lifted it.
    pub fn lacks(&self, known: Option<u64>) -> bool {
        known != Some(self.id) || self.has_lost
    }
}

/// The use of a command for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// An operator asks something, which changes nothing.
    Asked,
    /// An operator changes something.
    Done,
    /// One who is no operator has tried to.
    Refused,
}

/// The daemon around the hub. The hub calls it from the broker's task, so no method may wait for a disk or a network.
pub trait Host: Debug + Send {
    /// Returns whether the kernel says that the session is that of an operator.
    fn is_operator(&self, id: SessionId) -> bool;

    /// Logs the use of a command for operators.
    fn log_use(&self, who: &Who, line: &str, used: Use);

    /// Logs the use of a command for operators that changes something on all nodes, at another node.
    fn log_order(&self, who: &Who, node: &str, line: &str);

    /// Returns the address and port of a session; `None` for a unix socket.
    fn address(&self, id: SessionId) -> Option<String>;

    /// Returns for how long chatd has served, and how many restarts and crashes the connections have outlived.
    fn uptime(&self) -> (Duration, u64);

    /// Returns how many lines the archive has lost, and why it cannot write, while it cannot; `None` without one.
    fn archive(&self) -> Option<(u64, Option<String>)>;

    /// Returns how TLS is doing at `now`; `None` without a certificate.
    fn tls(&self, now: Timestamp) -> Option<TlsState>;

    /// Returns how the cluster is doing at `now`; `None` without one.
    fn cluster(&self, now: Timestamp) -> Option<ClusterState>;

    /// Returns the nodes of the cluster; none without one. `sessions` says how many sessions the node of a name has, if
    /// that is known.
    fn nodes(&self, sessions: &dyn Fn(&str) -> Option<u64>) -> Vec<NodeEntry>;

    /// Has a session closed, with this notice and nothing else that waits for it.
    fn dismiss(&self, id: SessionId, notice: Notice);

    /// Returns the change that makes a ban, for [`Host::change`].
    ///
    /// # Errors
    /// Why there cannot be such a ban: what it names is not one, it covers the operator, or there are too many.
    fn ban(&self, ban: NewBan) -> Result<Vec<String>, Notice>;

    /// Returns the changes that mute a name until a time; `None` if somebody has to lift it.
    ///
    /// # Errors
    /// There are too many mutes.
    fn mute(&self, who: &Who, until: Option<Timestamp>, by: &Who) -> Result<Vec<String>, Notice>;

    /// Returns the change that lifts a ban of this subject, as typed.
    ///
    /// # Errors
    /// There is none.
    fn unban(&self, subject: &str) -> Result<Vec<String>, Notice>;

    /// Returns the change that lifts a mute of this name, as typed.
    ///
    /// # Errors
    /// There is none.
    fn unmute(&self, whom: &str) -> Result<Vec<String>, Notice>;

    /// Makes a change of bans and mutes: a line of the file of bans, or `unban` or `unmute` with the subject. Closes the
    /// sessions that a ban covers. If it `is_known`, the bans of [`Host::join`] have it. Returns the answer for the
    /// operator; `None` if there is no such change.
    fn change(&mut self, change: &str, is_known: bool) -> Option<Notice>;

    /// Goes on with the bans and mutes of the cluster. Has the cluster get those here that it lacks.
    fn join(&mut self, bans: &Arc<ClusterBans>);

    /// Returns the answer to `/bans`: at most `most` bans after `after`, with the last of them the mutes, and the number of
    /// all.
    fn bans(&self, after: Option<&str>, most: usize) -> Vec<Notice>;

    /// Returns what a muted member is told at this time when it wants to be heard; `None` if it is not muted.
    fn muted(&self, who: &Who, now: Timestamp) -> Option<Notice>;

    /// Lets nobody in, and stops after this time; `None` for no longer.
    fn drain(&mut self, after: Option<Duration>);

    /// Returns in which time chatd stops, if an operator has said so.
    fn draining(&self) -> Option<Duration>;

    /// Logs from this level on, until a reload.
    fn set_log_level(&mut self, level: LevelFilter);
}
