//! Traffic: counters of all rooms together, which every floor can read.
//!
//! They are for the status line and for the metrics. [`Traffic::is_crowded`] makes sessions read less at a time while
//! more than 4 MiB wait for the hub. The hub itself decides nothing by these counters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::delivery::Delivered;
use super::histogram::Histogram;
use super::sink::Transport;
use crate::protocol::View;

/// Bytes of inputs on their way to the broker. Beyond that, sessions read less at a time.
const MANY_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// The counters. Only `sessions`, `rooms`, `memory` and `memory_limit` can shrink.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of inputs on their way to the broker.
    in_flight: AtomicUsize,
    /// Number of sessions now, by view and transport.
    sessions: [[AtomicUsize; Transport::ALL.len()]; View::ALL.len()],
    /// Number of rooms now.
    pub rooms: AtomicUsize,
    /// Number of lines that members sent to rooms since the start.
    pub lines: AtomicU64,
    /// Number of lines that members lost because they did not read.
    pub skipped: AtomicU64,
    /// Number of times that something was sent to a member.
    pub deliveries: AtomicU64,
    /// Number of lines that were sent to members, notices and answers included.
    pub lines_sent: AtomicU64,
    /// Number of bytes that were sent to members.
    pub bytes_sent: AtomicU64,
    /// Bytes that all rooms use now, as `memory` in the configuration counts them.
    pub memory: AtomicUsize,
    /// The limit of `memory`.
    pub memory_limit: AtomicUsize,
    /// How long full rooms waited for members to read.
    pub waits: Histogram,
    /// How long the broker took from an input until everything new was sent.
    pub rounds: Histogram,
}

impl Traffic {
    /// Counts an input of so many bytes on its way to the broker. Call [`Traffic::end_input`] with the same number
    /// afterwards.
    pub fn begin_input(&self, bytes: usize) {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The hub has taken the input, or the input is dropped.
    pub fn end_input(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns whether more than 4 MiB are on their way, so that sessions should read less at a time.
    pub fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > MANY_IN_FLIGHT
    }

    /// Returns the number of sessions in this view over this transport.
    pub fn sessions(&self, view: View, transport: Transport) -> usize {
        self.sessions[view as usize][transport as usize].load(Ordering::Relaxed)
    }

    /// Counts a session in this view.
    pub(super) fn begin_session(&self, view: View, transport: Transport) {
        self.sessions[view as usize][transport as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The session has ended, or has another view.
    pub(super) fn end_session(&self, view: View, transport: Transport) {
        self.sessions[view as usize][transport as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts what members were sent.
    pub(super) fn count(&self, delivered: &Delivered) {
        self.skipped.fetch_add(delivered.lost, Ordering::Relaxed);
        if delivered.sends > 0 {
            self.deliveries.fetch_add(delivered.sends, Ordering::Relaxed);
            self.lines_sent.fetch_add(delivered.lines, Ordering::Relaxed);
            self.bytes_sent.fetch_add(delivered.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::chat::testing;
    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{Arrival, Input};

    /// The counters of a hub, which another process may have had before.
    fn traffic(hub: &TestHub) -> Arc<Traffic> {
        Arc::clone(hub.hub().traffic())
    }

    fn sessions(hub: &TestHub) -> [usize; View::ALL.len()] {
        View::ALL.map(|view| traffic(hub).sessions(view, Transport::Tcp))
    }

    #[test]
    fn sessions_count_in_the_view_that_they_have_in_every_process() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join(), hub.arrive(Arrival { view: View::Json, ..Arrival::default() }));
        assert_eq!(sessions(&hub), [1, 0, 1]);
        hub.ask(&mut ann, "/view names");
        hub.ask(&mut ann, "/join attic");
        assert_eq!(sessions(&hub), [0, 1, 1]);
        let mut people = [ann, ben];
        hub.move_on(&mut people);
        assert_eq!(sessions(&hub), [0, 1, 1]);
        people.into_iter().for_each(|person| hub.leave(person));
        assert_eq!(sessions(&hub), [0, 0, 0]);
    }

    #[test]
    fn what_is_sent_is_counted_to_the_byte_also_where_a_socket_takes_half_a_line() {
        let mut hub = TestHub::default();
        let mut ann = hub.join();
        let mut people: [Person; 2] =
            [hub.join(), hub.arrive(Arrival { view: View::Json, ..Arrival::default() })];
        hub.say(&mut ann, &lines(0, 10));
        let mut sends = 0;
        for most in [7, 1, 100, 3, usize::MAX] {
            for person in &mut people {
                person.read(most);
                sends += 1;
            }
        }
        let heard: Vec<u8> = people.iter().flat_map(|person| person.socket.take()).collect();
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(counted(&traffic(&hub).bytes_sent), heard.len() as u64);
        assert_eq!(counted(&traffic(&hub).lines_sent), memchr::memchr_iter(b'\n', &heard).count() as u64);
        assert_eq!(counted(&traffic(&hub).deliveries), sends);
    }

    #[test]
    fn a_wait_of_a_full_room_is_counted_when_it_is_over() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        hub.say(&mut ann, &lines(250, 300));
        let waits = |hub: &TestHub| (traffic(hub).waits.cumulative()[13], traffic(hub).waits.sum());
        hub.wait(Duration::from_millis(400));
        assert_eq!(waits(&hub), (0, Duration::ZERO), "it still waits");
        ben.read_all();
        assert_eq!(waits(&hub), (1, Duration::from_millis(400)));
    }

    #[test]
    fn memory_is_what_the_rooms_use_and_its_limit_is_that_in_force() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        let memory = |hub: &TestHub| traffic(hub).memory.load(Ordering::Relaxed);
        let before = memory(&hub);
        hub.say(&mut ann, &lines(0, 200));
        assert!(memory(&hub) >= before + 200 * "line 0000000000\n".len(), "{}", memory(&hub));
        assert_eq!(memory(&hub), testing::memory(hub.hub().dispatcher()).1);
        ben.read_all();
        assert_eq!(memory(&hub), testing::memory(hub.hub().dispatcher()).1);
        hub.limits.memory = 1 << 29;
        let limits = hub.limits;
        assert_eq!(traffic(&hub).memory_limit.load(Ordering::Relaxed), 1 << 30);
        hub.apply(Input::Limits(limits));
        assert_eq!(traffic(&hub).memory_limit.load(Ordering::Relaxed), 1 << 29);
    }
}
