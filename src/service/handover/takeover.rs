//! The takeover: goes on with what another process has stored.
//!
//! After a planned restart there is a state, and all sessions go on where they were. After a crash there is the crash
//! table, and all sessions go on that still have a connection. chatd closes connections that it cannot identify, with
//! a notice. Nothing stored prevents a start: after three failed takeovers in a row it closes everything and starts
//! anew.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use zeroize::Zeroizing;

use super::keeper::{Keeper, Slot};
use super::{Handover, STATE, Stored, Survived, TABLE, crash, incarnation};
use crate::chat::{Hub, Limits, Now, Reading, Sequencer, SessionId, Sink};
use crate::net::connection::Connection;
use crate::net::crash_table::{self, CrashTable};
use crate::net::parcel::Parcel;
use crate::net::tls::Channel;
use crate::net::tls::kernel::{self, Left};
use crate::protocol::{Form, Notice, Reason};
use crate::service::systemd;

/// How many takeovers in a row may fail.
const MOST_ATTEMPTS: u64 = 3;

/// Most messages that are read from one parcel: more than the kernel holds.
const MOST_MESSAGES: usize = 4096;

/// What another process has stored, while it is sorted out.
#[derive(Debug)]
pub struct TakenOver {
    /// Ways to go on; the first one that is consistent counts.
    handovers: Vec<Handover>,
    connections: HashMap<SessionId, Arc<Connection>>,
    parcels: Vec<Found>,
    /// Connections that are in no parcel any more.
    unkept: Vec<SessionId>,
    /// Sessions in a handshake of TLS, or with keys that have ended with the process: plain text would be wrong there.
    silent: HashSet<SessionId>,
    /// From what new keys of TLS follow.
    secrets: HashMap<SessionId, Zeroizing<Vec<u8>>>,
    /// Names that the service manager must forget.
    odd: Vec<String>,
    survived: Survived,
    /// The notes of nodes in the crash table.
    notes: Vec<(String, u64)>,
    table: Arc<CrashTable>,
}

/// Everything that the server needs to go on.
#[derive(Debug)]
pub struct GoingOn {
    /// The rooms and their members.
    pub hub: Hub,
    /// The last number that a session was given.
    pub last: u64,
    /// The sessions: their connections, and the unfinished input.
    pub sessions: Vec<(Arc<Connection>, Reading)>,
    /// Stores their connections for the next process.
    pub keeper: Keeper,
    /// What the next process knows if this one crashes.
    pub table: Arc<CrashTable>,
    /// How many restarts and crashes they have survived, this one included.
    pub survived: Survived,
}

/// A parcel that was found, and what was in it.
#[derive(Debug)]
struct Found {
    number: u64,
    parcel: Parcel,
    messages: usize,
    ids: Vec<SessionId>,
}

/// Reads everything that is stored. Call [`TakenOver::go_on`] next.
///
/// # Errors
/// The kernel's, if there is no memory or no descriptor for a new crash table.
pub async fn take_over(mut stored: Stored) -> io::Result<TakenOver> {
    let is_new = stored.is_empty();
    let state = stored.state.take();
    let (table, left) = take_table(stored.table.take())?;
    let (has_state, is_table_new) = (state.is_some(), left.is_none());
    let copy = table.as_fd().try_clone_to_owned()?;
    // A service manager that hangs gets this later.
    let _ = systemd::ask(move || {
        // First of all: a state is valid once.
        if has_state {
            systemd::forget(STATE);
        }
        if is_table_new {
            systemd::forget(TABLE);
            systemd::keep(TABLE, &[copy.as_fd()]);
        }
    })
    .await;
    let mut odd = std::mem::take(&mut stored.old);
    let (parcels, unpaired) = stored.take_parcels();
    odd.extend(unpaired);
    let mut taken = TakenOver {
        handovers: Vec::new(),
        connections: HashMap::new(),
        parcels: Vec::new(),
        unkept: Vec::new(),
        silent: left.as_ref().map_or_else(HashSet::new, crash::silent),
        secrets: left.as_ref().map_or_else(HashMap::new, crash::secrets),
        odd,
        survived: left.as_ref().map_or_else(Survived::default, |left| Survived::read(&left.notes)),
        notes: left.as_ref().map_or_else(Vec::new, |left| incarnation::in_notes(&left.notes)),
        table: Arc::new(table),
    };
    if is_new {
        return Ok(taken);
    }
    let attempts = left.as_ref().map_or(0, |left| left.attempts);
    taken.table.set_attempts(attempts + 1);
    for (number, parcel) in parcels {
        taken.unpack(number, parcel);
    }
    if attempts >= MOST_ATTEMPTS {
        log::error!(
            "the takeover failed {attempts} times in a row: closing all connections and starting anew"
        );
        return Ok(taken);
    }
    taken.find_out(state, left);
    Ok(taken)
}

/// Takes over the crash table of another process and what is in it, or makes a new one.
fn take_table(file: Option<OwnedFd>) -> io::Result<(CrashTable, Option<crash_table::Left>)> {
    match file.map(CrashTable::take_over) {
        Some(Ok((table, left))) => return Ok((table, Some(left))),
        Some(Err(error)) => {
            log::warn!("cannot use the stored descriptor \"{TABLE}\": {error}")
        }
        None => {}
    }
    Ok((CrashTable::new()?, None))
}

impl TakenOver {
    /// Takes the connections out of a parcel, and leaves copies in it. It puts each message in again at the end
    /// before it takes it out at the beginning, so a crash loses none.
    fn unpack(&mut self, number: u64, parcel: Parcel) {
        let queued = rustix::io::ioctl_fionread(&parcel.outlet).unwrap_or(0);
        let (mut found, mut taken) = (Found { number, parcel, messages: 0, ids: Vec::new() }, 0);
        while taken < queued && found.messages < MOST_MESSAGES {
            let sessions = match found.parcel.look() {
                Ok(sessions) if sessions.is_empty() => break,
                Ok(sessions) => sessions,
                Err(error) => {
                    log::warn!("cannot use what is stored in \"parcel-{number}-out\": {error}");
                    break;
                }
            };
            taken += (sessions.len() * size_of::<u64>()) as u64;
            let again: Vec<_> = sessions.iter().map(|(id, socket)| (*id, socket.as_fd())).collect();
            let ids = sessions.iter().map(|(id, _)| *id);
            match found.parcel.put(&again) {
                Ok(()) => {
                    found.messages += 1;
                    found.ids.extend(ids);
                }
                Err(error) => {
                    log::warn!(
                        "cannot store some connections again: {error}; until that works, a crash would close them"
                    );
                    self.unkept.extend(ids);
                }
            }
            // It is the same message, and its descriptors are here.
            drop(found.parcel.take());
            sessions.into_iter().for_each(|(id, socket)| self.connect(id, socket));
        }
        self.parcels.push(found);
    }

    fn connect(&mut self, id: SessionId, socket: OwnedFd) {
        let tls = kernel::left_in(&socket, self.secrets.get(&id).map(|secrets| secrets.as_slice()));
        match Connection::new(socket, id, Some(Arc::clone(&self.table))) {
            Ok(connection) => {
                match tls {
                    Left::Keys(keys) => connection.set_channel(Channel::Kernel(keys)),
                    // The process died in the middle of a handshake.
                    Left::Half => drop(self.silent.insert(id)),
                    Left::Nothing => {}
                }
                self.connections.insert(id, Arc::new(connection));
            }
            Err(error) => log::warn!("cannot take over session {}: {error}", id.0),
        }
    }

    /// Collects the ways to go on, and logs what happened.
    fn find_out(&mut self, state: Option<OwnedFd>, left: Option<crash_table::Left>) {
        let is_there =
            |connection: &&Arc<Connection>| !self.silent.contains(&connection.id()) && !is_over(connection);
        let there = self.connections.values().filter(is_there);
        let ids: Vec<SessionId> = there.map(|connection| connection.id()).collect();
        let has_left = left.is_some();
        match state.map(Handover::read) {
            Some(Ok(handover)) => {
                self.survived.restarts += 1;
                self.handovers.push(handover);
            }
            Some(Err(error)) => {
                log::error!(
                    "cannot read the stored snapshot \"{STATE}\": {error}; going on as after a crash"
                );
            }
            None if has_left && !ids.is_empty() => {
                self.survived.crashes += 1;
                log::error!("chatd has crashed: going on with {} connections", ids.len());
            }
            None => {}
        }
        let has_input = |id| self.connections.get(&id).is_some_and(|connection| has_input(connection));
        let crashed = left.map(|left| crash::handover(left, &ids, has_input));
        self.handovers.extend(crashed);
        if self.handovers.is_empty() && !ids.is_empty() {
            log::error!("cannot identify {} connections: closing them", ids.len());
        }
    }

    /// Returns the notes of nodes in the crash table, as the process before has left them.
    pub fn notes(&self) -> &[(String, u64)] {
        &self.notes
    }

    /// Restores the hub, and closes connections that it cannot identify, with a notice. `sequencer` makes one of what the
    /// one before has saved.
    pub fn go_on(
        mut self,
        limits: Limits,
        now: Now,
        sequencer: impl FnMut(&[u8]) -> Box<dyn Sequencer>,
    ) -> GoingOn {
        let (hub, last, readings) = self.restore(limits, now, sequencer);
        let readings: HashMap<SessionId, Reading> = readings.into_iter().collect();
        let known: HashSet<SessionId> = readings.keys().copied().collect();
        for (_, connection) in self.connections.extract_if(|id, _| !known.contains(id)) {
            if self.silent.contains(&connection.id()) {
                connection.end();
            } else {
                say_goodbye(&connection);
            }
        }
        let sessions = readings
            .into_iter()
            .filter_map(|(id, reading)| Some((Arc::clone(self.connections.get(&id)?), reading)));
        let (sessions, table, survived) = (sessions.collect(), Arc::clone(&self.table), self.survived);
        GoingOn { hub, last, sessions, table, survived, keeper: self.into_keeper() }
    }

    /// Restores the hub of another process. Returns it with the last session number and the unfinished input of each
    /// session. Logs what it cannot use, and returns an empty hub if nothing is left.
    fn restore(
        &mut self,
        limits: Limits,
        now: Now,
        mut sequencer: impl FnMut(&[u8]) -> Box<dyn Sequencer>,
    ) -> (Hub, u64, Vec<(SessionId, Reading)>) {
        for Handover { last, hub, cluster } in std::mem::take(&mut self.handovers) {
            let sink_of = |id: SessionId| Some(Arc::clone(self.connections.get(&id)?) as Arc<dyn Sink>);
            match Hub::restore(limits, sequencer(&cluster), hub, now, sink_of) {
                Ok((hub, readings)) => return (hub, last, readings),
                Err(error) => log::error!("cannot restore rooms and members: {error}"),
            }
        }
        (Hub::new(limits, sequencer(&[]), now.wall), 0, Vec::new())
    }

    /// Returns the keeper of the connections that go on.
    fn into_keeper(self) -> Keeper {
        let Self { mut connections, parcels, unkept, odd, table, .. } = self;
        let last = parcels.iter().map(|found| found.number).max().unwrap_or(0);
        let slots = parcels.into_iter().map(|found| {
            let in_it = found.ids.len();
            let kept: Vec<_> =
                found.ids.into_iter().filter_map(|id| Some((id, connections.remove(&id)?))).collect();
            let over = in_it - kept.len();
            Slot::found(found.number, found.parcel, found.messages, kept, over)
        });
        let slots = slots.collect();
        let unkept = unkept.into_iter().filter_map(|id| Some((id, connections.remove(&id)?))).collect();
        // The takeover is complete.
        table.forget_left();
        table.set_attempts(0);
        if !odd.is_empty() {
            systemd::tell(move || odd.iter().for_each(|name| systemd::forget(name)));
        }
        Keeper::of(slots, last, unkept)
    }
}

/// Returns whether a connection had ended before the crash and was not yet removed from its parcel: it takes nothing,
/// and has nothing to read. (A unix socket whose other side is gone takes nothing either, but may have something to
/// read.)
fn is_over(connection: &Connection) -> bool {
    if connection.tls().is_some() {
        // To look at what has come takes room for the type of a record, and to send nothing may send a record.
        let mut polled = [PollFd::new(connection, PollFlags::empty())];
        return poll(&mut polled, Some(&Timespec::default())).is_ok()
            && polled[0].revents().contains(PollFlags::HUP);
    }
    let sent = rustix::net::send(connection, &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let received = rustix::net::recv(connection, &mut [0_u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    let is_there = matches!(received, Ok((count, _)) if count > 0);
    matches!(sent, Err(Errno::PIPE | Errno::NOTSOCK)) && !is_there
}

/// Returns whether something has come that has not been read, or the end of input.
fn has_input(connection: &Connection) -> bool {
    let mut polled = [PollFd::new(connection, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Sends the reason and ends the connection. The notice is lost if the kernel does not take it at once.
fn say_goodbye(connection: &Connection) {
    let mut line = Vec::new();
    Form::PLAIN.notice(&Notice::Closing { reason: Reason::Lost }, &mut line);
    connection.say_last(&line);
    connection.end();
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::chat::Standing;
    use crate::chat::testing::TestHub;
    use crate::net::crash_table::READING;
    use crate::rt;

    #[test]
    fn who_goes_on_is_known_in_the_next_process_too_and_nobody_else_is() {
        let table = CrashTable::new().unwrap();
        let file = table.as_fd().try_clone_to_owned().unwrap();
        let (known, strange) = (SessionId(1), SessionId(2));
        let pairs = [known, strange].map(|id| (id, UnixStream::pair().unwrap()));
        // That is what the process before has left.
        for (id, (_, there)) in &pairs {
            table.own(there.as_fd(), *id);
            table.mark(there.as_fd(), *id, READING).unwrap().set(true);
        }
        drop(table);
        let sockets =
            pairs.each_ref().map(|(id, (socket, _))| (*id, OwnedFd::from(socket.try_clone().unwrap())));
        let again = file.try_clone().unwrap();
        let left = rt::run(1, async move {
            let (table, mut left) = CrashTable::take_over(again).unwrap();
            left.sessions.retain(|session| session.id == known);
            let mut taken = TakenOver {
                secrets: HashMap::new(),
                handovers: Vec::new(),
                connections: HashMap::new(),
                parcels: Vec::new(),
                unkept: vec![known, strange],
                silent: HashSet::new(),
                odd: Vec::new(),
                survived: Survived::default(),
                notes: Vec::new(),
                table: Arc::new(table),
            };
            sockets.into_iter().for_each(|(id, socket)| taken.connect(id, socket));
            taken.find_out(None, Some(left));
            let hub = TestHub::default();
            let going_on = taken.go_on(hub.limits, hub.time(), |_| Box::<crate::chat::Local>::default());
            // Here it may die.
            let (_, left) = CrashTable::take_over(file).unwrap();
            assert_eq!(going_on.sessions.len(), 1);
            assert!(going_on.sessions[0].1.framer.dropping, "half a line is dropped");
            left
        });
        let ids: Vec<_> = left.sessions.iter().map(|session| (session.id, session.marks)).collect();
        assert_eq!(ids, [(known, READING)]);
        let [_, (_, (_, mut stranger))] = pairs;
        let mut heard = String::new();
        stranger.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("-!- closing: "), "{heard}");
    }

    #[test]
    fn the_longest_names_fit_into_a_record() {
        let name = crate::protocol::Name::parse(&"\u{4e00}".repeat(24)).unwrap();
        let who = crate::protocol::Who { id: u64::MAX, name: name.clone(), verified: true };
        let standing = Standing { who: Some(who), room: name, ..Standing::plain(SessionId(u64::MAX)) };
        let (record, _) = standing.encode();
        let most = crate::net::crash_table::RECORD_BYTES - crate::net::proxy::PREFIX_BYTES;
        assert!(record.len() <= most, "{}", record.len());
    }
}
