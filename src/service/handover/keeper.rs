//! The keeper: the task that puts a copy of each connection into a parcel in the descriptor store.
//!
//! New connections go in together. To remove ended ones, it packs a parcel anew: it puts the others in again as one
//! message, and then takes out the old messages. So a live connection is always in a parcel, unless the kernel takes
//! no more descriptors. The task ends with its channel.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, future};

use super::stored::names_of;
use crate::chat::SessionId;
use crate::net::connection::Connection;
use crate::net::keeping::Keep;
use crate::net::parcel::{self, Parcel};
use crate::rt;
use crate::service::logging::Throttle;
use crate::service::systemd;

/// How often ended connections are removed. Until then the kernel holds them.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many parcels with fewer ended than live connections are packed anew each time; all others always are.
const PARCELS_AT_ONCE: usize = 4;

/// Most ended connections in all parcels, besides a quarter of the live ones.
const MOST_OVER: usize = 32;

/// A parcel with this many messages is packed anew: the kernel takes about two hundred.
const MOST_MESSAGES: usize = 64;

/// A parcel and what is in it.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    parcel: Arc<Parcel>,
    /// Number of messages in it.
    messages: usize,
    /// The live connections in it.
    kept: Vec<(SessionId, Arc<Connection>)>,
    /// Number of ended connections in it.
    over: usize,
}

/// The task.
#[derive(Debug, Default)]
pub struct Keeper {
    slots: Vec<Slot>,
    last: u64,
    /// The number of the slot that has a session.
    place: HashMap<SessionId, u64>,
    /// Connections in no parcel, because the kernel did not take them; tried again every second.
    unkept: Vec<(SessionId, Arc<Connection>)>,
    failures: Throttle,
}

impl Slot {
    /// A parcel that another process has packed.
    pub(super) fn found(
        number: u64,
        parcel: Parcel,
        messages: usize,
        kept: Vec<(SessionId, Arc<Connection>)>,
        over: usize,
    ) -> Self {
        Self { number, parcel: Arc::new(parcel), messages, kept, over }
    }

    fn room(&self) -> usize {
        parcel::MOST.saturating_sub(self.kept.len())
    }

    fn put(&mut self, sessions: &[(SessionId, Arc<Connection>)]) -> io::Result<()> {
        let sockets: Vec<_> = sessions.iter().map(|(id, stream)| (*id, stream.as_fd())).collect();
        self.parcel.put(&sockets)?;
        self.messages += 1;
        Ok(())
    }

    /// Packs it anew with the live connections, as one message.
    ///
    /// # Errors
    /// Returns the connections that could not be put in again, which are in no parcel now, with the reason.
    fn repack(&mut self) -> Result<(), Lost> {
        let kept = std::mem::take(&mut self.kept);
        let before = self.messages;
        let is_packed = !kept.is_empty() && self.put(&kept).is_ok();
        for _ in 0..before {
            // What is no message of chatd's goes the same way.
            drop(self.parcel.take());
        }
        (self.messages, self.over) = (usize::from(is_packed), 0);
        if !is_packed && !kept.is_empty() {
            // There was no room for both.
            if let Err(error) = self.put(&kept) {
                return Err((error, kept));
            }
        }
        self.kept = kept;
        Ok(())
    }
}

/// Connections that are in no parcel, and why.
type Lost = (io::Error, Vec<(SessionId, Arc<Connection>)>);

impl Keeper {
    /// Makes a keeper of these parcels, and of connections that are in none yet. Numbers up to `last` are taken.
    pub(super) fn of(slots: Vec<Slot>, last: u64, unkept: Vec<(SessionId, Arc<Connection>)>) -> Self {
        let place = slots.iter().flat_map(|one| one.kept.iter().map(|(id, _)| (*id, one.number))).collect();
        Self { slots, last, place, unkept, failures: Throttle::default() }
    }

    /// Stores connections until `told` ends.
    pub async fn run(mut self, mut told: UnboundedReceiver<Keep>) {
        let mut timer = rt::Timer::default();
        loop {
            let has_to_do = !self.unkept.is_empty() || self.slots.iter().any(|one| one.over > 0);
            if has_to_do && !timer.is_set() {
                timer.set(rt::now() + INTERVAL);
            }
            let first = future::poll_fn(|cx| {
                if timer.poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                told.poll_next_unpin(cx).map(Some)
            });
            match first.await {
                None => {
                    self.clear_out();
                    let unkept = std::mem::take(&mut self.unkept);
                    self.keep(&unkept);
                }
                Some(None) => return self.keep_the_rest(),
                Some(Some(first)) => self.take_in(first, &mut told),
            }
        }
    }

    /// Handles everything that is in the channel now.
    fn take_in(&mut self, first: Keep, told: &mut UnboundedReceiver<Keep>) {
        let mut came = Vec::new();
        let mut next = Some(first);
        while let Some(keep) = next {
            match keep {
                Keep::Came(id, stream) => came.push((id, stream)),
                Keep::Gone(id) => self.gone(id, &mut came),
            }
            next = told.try_recv().ok();
        }
        self.trim();
        self.keep(&came);
    }

    /// Tries a last time to store the connections in no parcel. Those that still fail are closed, and the log says
    /// how many.
    fn keep_the_rest(mut self) {
        self.clear_out();
        let unkept = std::mem::take(&mut self.unkept);
        self.keep(&unkept);
        if !self.unkept.is_empty() {
            log::error!("cannot store {} connections for the next process: closing them", self.unkept.len());
        }
    }

    /// Packs parcels anew while they hold too many ended connections: the kernel counts these too.
    fn trim(&mut self) {
        let most = MOST_OVER + self.place.len() / 4;
        while self.slots.iter().map(|one| one.over).sum::<usize>() > most {
            let Some(fullest) = self.slots.iter_mut().max_by_key(|one| one.over) else { return };
            let packed = fullest.repack();
            self.note(packed);
        }
    }

    /// Records connections that are in no parcel any more.
    fn note(&mut self, packed: Result<(), Lost>) {
        let Err((error, lost)) = packed else { return };
        self.fail(&error);
        for (id, _) in &lost {
            self.place.remove(id);
        }
        self.unkept.extend(lost);
    }

    /// Puts connections into parcels. Those that fail go to `unkept`.
    fn keep(&mut self, mut rest: &[(SessionId, Arc<Connection>)]) {
        while !rest.is_empty() {
            let Some(number) = self.place_for(rest.len()) else { break };
            let Some(one) = self.slots.iter_mut().find(|one| one.number == number) else { break };
            let (some, after) = rest.split_at(rest.len().min(one.room()));
            if let Err(error) = one.put(some) {
                self.fail(&error);
                break;
            }
            one.kept.extend_from_slice(some);
            self.place.extend(some.iter().map(|(id, _)| (*id, number)));
            rest = after;
        }
        self.unkept.extend_from_slice(rest);
    }

    fn gone(&mut self, id: SessionId, came: &mut Vec<(SessionId, Arc<Connection>)>) {
        let Some(number) = self.place.remove(&id) else {
            // It has come and gone between two looks, or was never stored.
            self.unkept.retain(|(other, _)| *other != id);
            return came.retain(|(other, _)| *other != id);
        };
        if let Some(one) = self.slots.iter_mut().find(|one| one.number == number) {
            one.kept.retain(|(other, _)| *other != id);
            one.over += 1;
        }
    }

    /// Returns the number of a parcel with room in it, a new one if needed; `None` if there is none.
    fn place_for(&mut self, wanted: usize) -> Option<u64> {
        let with_room = self.slots.iter_mut().find(|one| one.room() >= wanted.min(parcel::MOST / 2));
        if let Some(one) = with_room {
            let number = one.number;
            if one.messages < MOST_MESSAGES {
                return Some(number);
            }
            let packed = one.repack();
            let is_packed = packed.is_ok();
            self.note(packed);
            return is_packed.then_some(number);
        }
        match Parcel::new() {
            Ok(parcel) => Some(self.begin(Arc::new(parcel))),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Stores a new parcel. Returns its number.
    fn begin(&mut self, parcel: Arc<Parcel>) -> u64 {
        self.last += 1;
        let number = self.last;
        let [inlet, outlet] = names_of(number);
        let (parcel, theirs) = (Arc::clone(&parcel), parcel);
        systemd::tell(move || {
            systemd::keep(&inlet, &[theirs.inlet.as_fd()]);
            systemd::keep(&outlet, &[theirs.outlet.as_fd()]);
        });
        self.slots.push(Slot { number, parcel, messages: 0, kept: Vec::new(), over: 0 });
        number
    }

    /// Removes ended connections and empty parcels.
    fn clear_out(&mut self) {
        self.slots.sort_by_key(|one| std::cmp::Reverse(one.over));
        for at in 0..self.slots.len() {
            let one = &mut self.slots[at];
            if one.over > 0 && (at < PARCELS_AT_ONCE || one.over >= one.kept.len()) {
                let packed = one.repack();
                self.note(packed);
            }
        }
        // A service manager that takes nothing would be told of ever more that come and go.
        if systemd::is_behind() {
            return;
        }
        // The first is used again at once.
        let empty: Vec<u64> =
            self.slots.iter().filter(|one| one.kept.is_empty()).map(|one| one.number).skip(1).collect();
        self.slots.retain(|one| !empty.contains(&one.number));
        if !empty.is_empty() {
            let names: Vec<String> = empty.into_iter().flat_map(names_of).collect();
            systemd::tell(move || names.iter().for_each(|name| systemd::forget(name)));
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failures.pass(rt::now()).is_some() {
            log::warn!(
                "cannot store some connections: {error}; a crash would close them; raise LimitNOFILE= to one and a half times max_clients"
            );
        }
    }
}
