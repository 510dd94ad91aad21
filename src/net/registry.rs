//! The bans and mutes in force, and what changes them: operators, and the file of bans.
//!
//! Nothing here waits: a change is in force at once, and the task of `service::bans_file` stores it afterwards. The
//! registry notes changes for that task, so that it can apply them to a file that somebody has edited in the meantime.
//! In a cluster, operators change the bans of the cluster, and each node makes the changes in their one order.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use jiff::Timestamp;

use super::bans::{Ban, Bans, Mute, Muted, Subject, TooMany};
use super::sessions::Refusal;
use crate::chat::ClusterBans;
use crate::protocol::Who;

/// A change of the bans and mutes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a ban, or replaces the one of the same subject.
    Ban(Ban),
    /// Removes a ban.
    Unban(Subject),
    /// Adds a mute, or replaces the one of the same name.
    Mute(Mute),
    /// Removes a mute.
    Unmute(Muted),
}

impl Change {
    /// Makes the change. Returns whether there was something to remove; true for what is added.
    ///
    /// # Errors
    /// There are as many bans or mutes as there can be.
    pub fn apply(self, bans: &mut Bans, now: Timestamp) -> Result<bool, TooMany> {
        match self {
            Self::Ban(ban) => bans.ban(ban, now).map(|()| true),
            Self::Unban(subject) => Ok(bans.unban(&subject)),
            Self::Mute(mute) => bans.mute(mute, now).map(|()| true),
            Self::Unmute(whom) => Ok(bans.unmute(&whom)),
        }
    }

    /// Returns it as known to that cluster.
    pub fn known_to(mut self, cluster: Option<u64>) -> Self {
        match &mut self {
            Self::Ban(ban) => ban.cluster = cluster,
            Self::Mute(mute) => mute.cluster = cluster,
            Self::Unban(_) | Self::Unmute(_) => {}
        }
        self
    }
}

/// What the task that stores changes has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Store the changes.
    Store,
    /// Read the file again.
    Read,
    /// Put the bans of the cluster in force.
    Join(Arc<ClusterBans>),
}

/// The bans and mutes in force.
#[derive(Debug, Default)]
pub struct Registry {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    bans: Bans,
    /// Nobody knows who is banned, so nobody may connect over IP.
    is_shut: bool,
    /// Changes that are not stored yet.
    journal: Vec<Change>,
    /// How many times the task has yet to put bans of the cluster in force. The journal stays until then.
    joining: usize,
    /// Wakes the task that stores them; `None` if there is none.
    store: Option<UnboundedSender<Errand>>,
    /// The cluster whose bans are in force; `None` without one, and before it is reached.
    cluster: Option<u64>,
    /// Takes changes that all nodes are to make.
    bring: Option<UnboundedSender<Vec<String>>>,
}

impl State {
    fn send(&self, errand: Errand) {
        // It fails if the task has ended.
        let _ = self.store.as_ref().map(|store| store.unbounded_send(errand));
    }
}

impl Registry {
    /// Notes each change for a task from now on, and wakes it through `store`.
    pub fn begin(&self, store: UnboundedSender<Errand>) {
        self.write().store = Some(store);
    }

    /// Ends the channel to the task. Later changes last until chatd stops.
    pub fn end(&self) {
        self.write().store = None;
    }

    /// Returns what takes the changes that all nodes are to make.
    pub fn begin_cluster(&self) -> UnboundedReceiver<Vec<String>> {
        let (bring_tx, bring_rx) = mpsc::unbounded();
        self.write().bring = Some(bring_tx);
        bring_rx
    }

    /// Goes on with the bans of a cluster: the task puts them in force. What was changed before counts in them.
    pub fn join(&self, bans: Arc<ClusterBans>) {
        let mut state = self.write();
        state.cluster = Some(bans.id);
        state.journal.clear();
        state.joining += usize::from(state.store.is_some());
        state.send(Errand::Join(bans));
    }

    /// Returns the cluster whose bans are in force; `None` without one, and before it is reached.
    pub fn cluster(&self) -> Option<u64> {
        self.read().cluster
    }

    /// Has all nodes make changes, at some time later.
    pub fn bring(&self, changes: Vec<String>) {
        // It fails if chatd stops: then they are brought at the next start.
        let _ = self.read().bring.as_ref().map(|bring| bring.unbounded_send(changes));
    }

    /// Returns whether a task stores changes.
    pub fn is_stored(&self) -> bool {
        self.read().store.is_some()
    }

    /// Makes a change, which is in force at once. Returns whether there was something to remove; true for what is
    /// added.
    ///
    /// # Errors
    /// There are as many bans or mutes as there can be.
    pub fn change(&self, change: Change, now: Timestamp) -> Result<bool, TooMany> {
        let mut state = self.write();
        let change = change.known_to(state.cluster);
        let has_changed = change.clone().apply(&mut state.bans, now)?;
        if has_changed && state.store.is_some() {
            state.journal.push(change);
            state.send(Errand::Store);
        }
        Ok(has_changed)
    }

    /// Returns the mute of a member, if one is in force.
    pub fn mute_of(&self, who: &Who, now: Timestamp) -> Option<Mute> {
        let state = self.read();
        if state.bans.has_no_mute() {
            return None;
        }
        let whom = Muted { name: who.name.clone(), verified: who.verified };
        state.bans.muting(&whom, now).cloned()
    }

    /// Has the task read the file again.
    pub fn reread(&self) {
        self.read().send(Errand::Read);
    }

    /// Returns whether there are changes that are not stored yet.
    pub fn has_journal(&self) -> bool {
        !self.read().journal.is_empty()
    }

    /// Takes the changes that are not stored yet; none while bans of the cluster, in which they must count, are not in
    /// force.
    pub fn take_journal(&self) -> Vec<Change> {
        let mut state = self.write();
        if state.joining > 0 { Vec::new() } else { std::mem::take(&mut state.journal) }
    }

    /// Gives back changes that could not be stored; they come before those made since. Bans of the cluster that came
    /// meanwhile have them.
    pub fn put_back(&self, mut journal: Vec<Change>) {
        let mut state = self.write();
        if state.joining > 0 {
            return;
        }
        journal.append(&mut state.journal);
        state.journal = journal;
    }

    /// Puts bans in force that were read from the file, with the changes that are not in it.
    pub fn replace(&self, bans: Bans, now: Timestamp) {
        self.put(bans, now, false);
    }

    /// The same for bans of the cluster. If nobody knows what is in the file, that stays so.
    pub fn replace_from_cluster(&self, bans: Bans, now: Timestamp) {
        let is_shut = self.read().is_shut;
        self.put(bans, now, is_shut);
        let mut state = self.write();
        state.joining = state.joining.saturating_sub(1);
    }

    fn put(&self, mut bans: Bans, now: Timestamp, is_shut: bool) {
        let mut state = self.write();
        for change in &state.journal {
            // It fails where there are too many: then the file has what counts.
            let _ = change.clone().apply(&mut bans, now);
        }
        state.is_shut = is_shut;
        let old = std::mem::replace(&mut state.bans, bans);
        // To free many takes its time.
        drop(state);
        drop(old);
    }

    /// Lets nobody connect over IP, until [`Registry::replace`]: nobody knows who is banned.
    pub fn shut(&self) {
        self.write().is_shut = true;
    }

    /// Has a look at the bans and mutes, as they are at this moment. A change waits for it, so it must not take long.
    pub fn look<T>(&self, look: impl FnOnce(&Bans) -> T) -> T {
        look(&self.read().bans)
    }

    /// Returns why a newcomer may not connect: the ban that covers it, or that nobody knows.
    ///
    /// # Errors
    /// The reason.
    pub fn admit(&self, address: Option<IpAddr>, login: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        let state = self.read();
        if state.is_shut {
            return Err(Refusal::Denied);
        }
        state
            .bans
            .covering(address, login, now)
            .map_or(Ok(()), |ban| Err(Refusal::Banned(Box::new(ban.clone()))))
    }

    /// Returns the ban that covers a session, if there is one. Nobody who is connected is closed because nobody knows.
    pub fn ban_of(&self, address: Option<IpAddr>, login: Option<&str>, now: Timestamp) -> Option<Refusal> {
        self.look(|bans| bans.covering(address, login, now).map(|ban| Refusal::Banned(Box::new(ban.clone()))))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn ban(subject: &str) -> Change {
        Change::Ban(Ban::of(subject.parse().unwrap()))
    }

    fn subjects(registry: &Registry) -> Vec<String> {
        registry.look(|bans| bans.bans(NOW)).iter().map(|ban| ban.whom.to_string()).collect()
    }

    #[test]
    fn changes_are_noted_for_the_task_that_stores_them_and_for_nobody_else() {
        let registry = Registry::default();
        assert_eq!(registry.change(ban("+ann"), NOW), Ok(true));
        assert_eq!(registry.take_journal(), []);
        let (store_tx, mut store_rx) = mpsc::unbounded();
        registry.begin(store_tx);
        assert_eq!(registry.change(Change::Unban("+ben".parse().unwrap()), NOW), Ok(false));
        assert!(store_rx.try_recv().is_err(), "nothing has changed");
        assert_eq!(registry.change(Change::Unban("+ann".parse().unwrap()), NOW), Ok(true));
        assert_eq!(registry.change(ban("+ben"), NOW), Ok(true));
        assert!(store_rx.try_recv().is_ok());
        let journal = registry.take_journal();
        assert_eq!(journal.len(), 2);
        registry.change(ban("+eve"), NOW).unwrap();
        registry.put_back(journal);
        assert_eq!(registry.take_journal().last(), Some(&ban("+eve")));
        registry.end();
        assert!(!registry.is_stored());
    }

    #[test]
    fn what_is_read_from_the_file_comes_before_what_is_not_in_it() {
        let registry = Registry::default();
        let (store_tx, _store_rx) = mpsc::unbounded();
        registry.begin(store_tx);
        registry.change(ban("+ann"), NOW).unwrap();
        let mut read = Bans::default();
        read.ban(Ban::of("10.0.0.0/8".parse().unwrap()), NOW).unwrap();
        registry.replace(read, NOW);
        assert_eq!(subjects(&registry), ["10.0.0.0/8", "+ann"]);
    }

    #[test]
    fn what_changes_before_the_bans_of_a_cluster_are_in_force_counts_in_them() {
        let registry = Registry::default();
        let (store_tx, _store_rx) = mpsc::unbounded();
        registry.begin(store_tx);
        registry.change(ban("+ben"), NOW).unwrap();
        let before = registry.take_journal();
        registry.join(Arc::new(ClusterBans { id: 7, lines: Vec::new(), has_lost: false }));
        registry.change(ban("+ann"), NOW).unwrap();
        // The task was storing something else.
        registry.put_back(before);
        assert_eq!(registry.take_journal(), []);
        registry.replace_from_cluster(Bans::default(), NOW);
        assert_eq!(subjects(&registry), ["+ann"]);
        assert_eq!(registry.take_journal().len(), 1);
    }

    #[test]
    fn while_nobody_knows_who_is_banned_nobody_may_connect() {
        let registry = Registry::default();
        registry.shut();
        let stranger = "192.0.2.1".parse().ok();
        assert_eq!(registry.admit(stranger, None, NOW), Err(Refusal::Denied));
        assert_eq!(registry.admit(None, Some("ann"), NOW), Err(Refusal::Denied));
        assert_eq!(registry.ban_of(stranger, None, NOW), None, "who is there stays");
        registry.replace(Bans::default(), NOW);
        assert_eq!(registry.admit(stranger, None, NOW), Ok(()));
    }
}
