//! Going on with what another process has left: finds out what there is, and what can be done with it.
//!
//! A planned restart leaves a state, and everybody goes on where they stood. A crash leaves the journal and the marks,
//! and everybody goes on who is there. Of whom nothing is known is told so, and closed. Nothing that is found here keeps
//! chatd from starting: what it stumbles over three times in a row it throws away.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::crash::Remains;
use super::keeper::{Keeper, Slot};
use super::{Handover, MARKS, STATE, Stored, journal};
use crate::chat::{Note, SessionId};
use crate::net::marks::{Left, Marks};
use crate::net::parcel::Parcel;
use crate::net::stream::Stream;
use crate::protocol::{Form, Notice};
use crate::service::systemd;

/// How often in a row it is tried to go on with the same.
const MOST_ATTEMPTS: u64 = 3;

/// Most messages that are read from one parcel: more than fit.
const MOST_MESSAGES: usize = 4096;

/// What to go on with.
#[derive(Debug)]
pub struct TakenOver {
    /// Everybody, and where they stand; nothing if nobody is there to go on with.
    pub handover: Option<Handover>,
    /// How to go on if that turns out to make no sense.
    pub fallback: Option<Handover>,
    /// Their connections.
    pub streams: HashMap<SessionId, Arc<Stream>>,
    /// The number of the last journal, and the names of all.
    pub journals: (u64, Vec<String>),
    pub(super) parcels: Vec<Found>,
    /// Those that are in no parcel any more.
    unkept: Vec<SessionId>,
    pub(super) odd: Vec<String>,
    /// Where connections are marked.
    pub marks: Arc<Marks>,
}

/// A parcel that was found, and what was in it.
#[derive(Debug)]
pub(super) struct Found {
    number: u64,
    parcel: Parcel,
    messages: usize,
    ids: Vec<SessionId>,
}

/// Finds out what there is.
///
/// # Errors
/// The kernel's, where there is no memory or no descriptor for what is needed anew.
pub async fn take_over(mut stored: Stored) -> io::Result<TakenOver> {
    let is_new = stored.is_empty();
    let state = stored.state.take();
    let (marks, left, are_marks_new) = take_marks(stored.marks.take())?;
    let has_state = state.is_some();
    let copy = marks.as_fd().try_clone_to_owned()?;
    // Where the service manager hangs, it is said later.
    let _ = systemd::ask(move || {
        // First of all: a state is good once.
        if has_state {
            systemd::forget(STATE);
        }
        if are_marks_new {
            systemd::forget(MARKS);
            systemd::keep(MARKS, &[copy.as_fd()]);
        }
    })
    .await;
    let journals = (stored.journals.keys().copied().max().unwrap_or(0), stored.journal_names());
    let (parcels, odd) = stored.take_parcels();
    let mut taken = TakenOver {
        handover: None,
        fallback: None,
        streams: HashMap::new(),
        journals,
        parcels: Vec::new(),
        unkept: Vec::new(),
        odd,
        marks: Arc::new(marks),
    };
    if is_new {
        return Ok(taken);
    }
    let _ = taken.marks.set_attempts(left.attempts + 1);
    for (number, parcel) in parcels {
        taken.unpack(number, parcel);
    }
    if left.attempts >= MOST_ATTEMPTS {
        log::error!(
            "cannot go on with what was stored, {} times in a row: everybody is closed",
            left.attempts
        );
        return Ok(taken);
    }
    let notes = read_journal(&stored);
    taken.find_out(state, notes, left);
    Ok(taken)
}

/// The marks of another process, or new ones; says whether they are new.
fn take_marks(file: Option<OwnedFd>) -> io::Result<(Marks, Left, bool)> {
    match file.map(Marks::take_over) {
        Some(Ok((marks, left))) => return Ok((marks, left, false)),
        Some(Err(error)) => {
            log::warn!("the service manager has passed \"{MARKS}\", which is of no use: {error}")
        }
        None => {}
    }
    Ok((Marks::new()?, Left::default(), true))
}

/// The notes in the newest journal that can be read; nothing if there is none.
fn read_journal(stored: &Stored) -> Option<Vec<Note>> {
    stored.journals.iter().rev().find_map(|(number, file)| match journal::read(file) {
        Ok(notes) => Some(notes),
        Err(error) => {
            let name = journal::name_of(*number);
            log::warn!("the service manager has passed \"{name}\", which is of no use: {error}");
            None
        }
    })
}

impl TakenOver {
    /// Takes the connections out of a parcel, and leaves them in it as well: each message is put in again at the end
    /// before it is taken out at the beginning, so there is no moment without one.
    fn unpack(&mut self, number: u64, parcel: Parcel) {
        let queued = rustix::io::ioctl_fionread(&parcel.outlet).unwrap_or(0);
        let (mut found, mut taken) = (Found { number, parcel, messages: 0, ids: Vec::new() }, 0);
        while taken < queued && found.messages < MOST_MESSAGES {
            let sessions = match found.parcel.look() {
                Ok(sessions) if sessions.is_empty() => break,
                Ok(sessions) => sessions,
                Err(error) => {
                    log::warn!("there is something in parcel {number} that is of no use: {error}");
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
                    log::warn!("connections would not outlive a crash now, trying again: {error}");
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
        match Stream::new(socket, Some(Arc::clone(&self.marks))) {
            Ok(stream) => drop(self.streams.insert(id, Arc::new(stream))),
            Err(error) => log::warn!("cannot go on with session {}: {error}", id.0),
        }
    }

    /// Decides how to go on.
    fn find_out(&mut self, state: Option<OwnedFd>, notes: Option<Vec<Note>>, left: Left) {
        let ids: Vec<SessionId> =
            self.streams.iter().filter(|(_, stream)| !is_over(stream)).map(|(id, _)| *id).collect();
        let remains = notes.map(|notes| Remains::new(notes, left.marks, left.next).handover(&ids));
        self.handover = match state.map(Handover::read) {
            Some(Ok(handover)) => {
                self.fallback = remains;
                Some(handover)
            }
            Some(Err(error)) => {
                log::error!("cannot read the state that was stored: {error}; going on as after a crash");
                remains
            }
            None => {
                if remains.is_some() && !ids.is_empty() {
                    log::error!("chatd has crashed: going on with {} connections", ids.len());
                }
                remains
            }
        };
        if self.handover.is_none() && !ids.is_empty() {
            log::error!("it is not known who {} connections are: they are closed", ids.len());
        }
    }

    /// Closes the connections that nobody goes on with, and says why. Returns the keeper of the others, which are those
    /// in `known`, each with its mark.
    pub async fn settle(self, known: &HashMap<SessionId, u64>) -> (Keeper, Arc<Marks>) {
        let Self { mut streams, parcels, unkept, odd, marks, .. } = self;
        for (_, stream) in streams.extract_if(|id, _| !known.contains_key(id)) {
            say_goodbye(&stream);
        }
        // Another process may have to go on with them at once.
        let marked = streams.iter().filter_map(|(id, stream)| Some((stream.socket(), *id, *known.get(id)?)));
        if let Err(error) = marks.replace(marked) {
            log::warn!("half a line may be taken for a line after a crash: {error}");
        }
        let last = parcels.iter().map(|found| found.number).max().unwrap_or(0);
        let slots = parcels.into_iter().map(|found| {
            let in_it = found.ids.len();
            let kept: Vec<_> =
                found.ids.into_iter().filter_map(|id| Some((id, streams.remove(&id)?))).collect();
            let over = in_it - kept.len();
            Slot::found(found.number, found.parcel, found.messages, kept, over)
        });
        let slots = slots.collect();
        let unkept = unkept.into_iter().filter_map(|id| Some((id, streams.remove(&id)?))).collect();
        let keeper = Keeper::of(slots, last, unkept);
        // What has been taken over has been taken over.
        let _ = marks.set_attempts(0);
        if !odd.is_empty() {
            systemd::tell(move || odd.iter().for_each(|name| systemd::forget(name)));
        }
        (keeper, marks)
    }
}

/// Says whether a connection was over before a crash, and in a parcel because nobody had thrown it away yet: nothing can
/// be sent to it, and there is nothing to be read. (To a unix socket whose other side is gone nothing can be sent, either,
/// but what it has said is still there.)
fn is_over(stream: &Stream) -> bool {
    let sent = rustix::net::send(stream, &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let received = rustix::net::recv(stream, &mut [0_u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    let is_there = matches!(received, Ok((count, _)) if count > 0);
    matches!(sent, Err(Errno::PIPE | Errno::NOTSOCK)) && !is_there
}

/// Tells somebody why this is the end, if the kernel takes it at once.
fn say_goodbye(stream: &Stream) {
    let mut line = Vec::new();
    Notice::Unknown.encode(Form::PLAIN, &mut line);
    // It fails where the connection is over.
    let _ = rustix::net::send(stream, &line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    stream.end();
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::marks::{READING, WRITING};
    use crate::rt;

    #[test]
    fn who_goes_on_is_marked_where_it_is_now_and_nobody_else_is() {
        let marks = Marks::new().unwrap();
        let file = marks.as_fd().try_clone_to_owned().unwrap();
        let (reading, strange) = (SessionId(1), SessionId(2));
        let pairs = [reading, strange].map(|id| (id, UnixStream::pair().unwrap()));
        // That is what the process before has left.
        marks.of(pairs[1].1.1.as_fd(), reading, READING).unwrap().set(true);
        marks.of(pairs[1].1.1.as_fd(), reading, WRITING).unwrap().set(true);
        marks.of(pairs[0].1.1.as_fd(), strange, WRITING).unwrap().set(true);
        let mut taken = TakenOver {
            handover: None,
            fallback: None,
            streams: HashMap::new(),
            journals: (0, Vec::new()),
            parcels: Vec::new(),
            unkept: vec![reading, strange],
            odd: Vec::new(),
            marks: Arc::new(marks),
        };
        let sockets =
            pairs.each_ref().map(|(id, (socket, _))| (*id, OwnedFd::from(socket.try_clone().unwrap())));
        let left = rt::run(1, async move {
            sockets.into_iter().for_each(|(id, socket)| taken.connect(id, socket));
            let settled = taken.settle(&HashMap::from([(reading, READING)])).await;
            // Here it may die.
            let (_, left) = Marks::take_over(file).unwrap();
            drop(settled);
            left
        });
        assert_eq!(left.marks, [(reading, READING)]);
        let [_, (_, (_, mut stranger))] = pairs;
        let mut heard = String::new();
        stranger.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("-!- closing: "), "{heard}");
    }
}
