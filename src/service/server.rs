//! The server: wires the floors up, and unwires them in order.
//!
//! The caller decides when to stop: the daemon does at a signal, a test calls
//! [`Server::stop`]. The order of the shutdown is that of chatd(8):
//!
//! 1. stop accepting;
//! 2. sessions take what has already arrived (at most 64 KiB each) and stop reading; the lines go to
//!    the broker;
//! 3. the broker delivers all of it, and then tells members in the views `names` and `json` that chatd
//!    is stopping;
//! 4. the broker sends what is pending, up to `drain`;
//! 5. each connection is shut down and closed as soon as it has got everything; the broker ends with
//!    the last one;
//! 6. the process exits with 0.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{self, Either};

use super::bind_error::BindError;
use super::config::{Config, show_duration};
use super::doors::{self, Door};
use super::handover::{GoingOn, Handover, TakenOver};
use super::settings::{limits, settings};
use super::status::Status;
use super::watchdog::Probe;
use crate::chat::{Arrival, Broker, Hub, Input, Local, Now, Reading, SessionId, Traffic};
use crate::net::connection::Connection;
use crate::net::listener::Entrance;
use crate::net::{Address, Net, Session};
use crate::rt::{self, JoinHandle};

/// How much longer than `drain` sessions get to notice that it is over.
const GRACE: Duration = Duration::from_millis(200);

/// A running server.
#[derive(Debug)]
pub struct Server {
    net: Arc<Net>,
    traffic: Arc<Traffic>,
    addresses: Vec<Address>,
    accepting: Vec<JoinHandle<()>>,
    broker: JoinHandle<Hub>,
    alarms: JoinHandle<()>,
    /// The task that stores connections for the next process; `None` without a descriptor store.
    keeper: Option<JoinHandle<()>>,
    inputs_tx: mpsc::UnboundedSender<Input>,
}

impl Server {
    /// Binds all addresses of `config` and accepts. Call it on the executor.
    ///
    /// # Errors
    /// The first address that cannot be listened on; then none is.
    pub fn start(config: &Config) -> Result<Self, BindError> {
        Ok(Self::start_at(doors::bind_all(config)?, config))
    }

    /// Accepts on these listeners, whatever addresses `config` has. Call it on the executor.
    pub fn start_at(doors: Vec<Door>, config: &Config) -> Self {
        let hub = Hub::new(limits(config), Box::<Local>::default(), rt::wall_clock());
        Self::start_with(doors, Net::new(settings(config)), hub)
    }

    /// Accepts on these listeners, and goes on with the sessions of another process. Stores all connections for the
    /// next process from then on.
    pub fn go_on(doors: Vec<Door>, config: &Config, taken: TakenOver) -> Self {
        let now = Now { instant: rt::now(), wall: rt::wall_clock() };
        let GoingOn { mut hub, last, sessions, keeper, table } = taken.go_on(limits(config), now);
        match table.notes() {
            Ok(notes) => hub.record(Box::new(notes)),
            Err(error) => {
                log::warn!("cannot record sessions: {error}; after a crash everybody would be a guest")
            }
        }
        let waiting: HashSet<SessionId> =
            sessions.iter().map(|(connection, _)| connection.id()).filter(|id| hub.has_input(*id)).collect();
        let known: HashSet<SessionId> = hub.sessions().collect();
        let net = Net::new(settings(config));
        net.sessions.go_on_after(last);
        let (keeping_tx, keeping_rx) = mpsc::unbounded();
        net.keeping.begin(keeping_tx, table);
        let mut server = Self::start_with(doors, net, hub);
        server.keeper = Some(rt::spawn(keeper.run(keeping_rx)));
        for (connection, reading) in sessions {
            let id = connection.id();
            // One that had only just connected comes in now.
            let arrival = (!known.contains(&id)).then(|| Arc::new(doors::arrival_at(&*connection, config)));
            server.open(connection, reading, arrival, waiting.contains(&id));
        }
        server
    }

    /// Goes on with a session that has stopped in another process.
    fn open(
        &self,
        connection: Arc<Connection>,
        reading: Reading,
        arrival: Option<Arc<Arrival>>,
        is_waiting: bool,
    ) {
        self.net.sessions.begin(&connection);
        let (net, traffic) = (Arc::clone(&self.net), Arc::clone(&self.traffic));
        let session = Session::new(net, traffic, connection, self.inputs_tx.clone());
        let is_waiting = is_waiting || arrival.is_some();
        rt::spawn_session(session.resume(reading, is_waiting).run(arrival));
    }

    fn start_with(doors: Vec<Door>, net: Arc<Net>, hub: Hub) -> Self {
        let addresses = doors.iter().map(|(listener, _)| listener.address().clone()).collect();
        let traffic = Arc::clone(hub.traffic());
        let (broker, inputs_tx) = Broker::new(hub);
        let accept = |(listener, arrival): Door| {
            let (traffic, inputs_tx) = (Arc::clone(&traffic), inputs_tx.clone());
            let entrance = Entrance { traffic, inputs_tx, arrival: Arc::new(arrival) };
            rt::spawn(listener.run(Arc::clone(&net), entrance))
        };
        let accepting = doors.into_iter().map(accept).collect();
        let alarms = rt::spawn({
            let net = Arc::clone(&net);
            async move { net.alarms.run().await }
        });
        let broker = rt::spawn(broker.run());
        Self { net, traffic, addresses, accepting, broker, alarms, keeper: None, inputs_tx }
    }

    /// Returns a probe that tells whether the broker works. The server does not stop before you drop the probe.
    pub fn probe(&self) -> Probe {
        Probe::new(self.inputs_tx.clone())
    }

    /// Returns the addresses that it listens on, with the real ports.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns whether this process stores its connections for the next one. The service manager may still have no
    /// store.
    pub fn keeps_connections(&self) -> bool {
        self.net.keeping.is_on()
    }

    /// Puts the settings of `config` in force that can change while it runs. The others stay as they were.
    pub async fn reload(&mut self, config: &Config) {
        self.net.set_settings(settings(config));
        // It fails when the broker has ended: then there is nothing to be limited.
        let _ = self.inputs_tx.send(Input::Limits(limits(config))).await;
    }

    /// Returns the status, for one line.
    pub fn status(&self) -> Status {
        Status {
            sessions: self.net.sessions.count(),
            rooms: self.traffic.rooms.load(Ordering::Relaxed),
            lines: self.traffic.lines.load(Ordering::Relaxed),
            accept_failure: self.net.accept_failure.get(),
        }
    }

    /// Returns the status and the counters since the start, in a few lines.
    pub fn summary(&self) -> Vec<String> {
        let counters = &self.net.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            format!("status: {}", self.status()),
            format!(
                "connections: {} accepted, {} refused",
                count(&counters.accepted),
                count(&counters.refused)
            ),
            format!(
                "closed: {} for not reading, {} for being idle, {} for speaking another protocol",
                count(&counters.slow),
                count(&counters.idle),
                count(&counters.foreign)
            ),
            format!(
                "lines: {} dropped for their length, {} skipped for those who did not read",
                count(&counters.too_long),
                self.traffic.skipped.load(Ordering::Relaxed)
            ),
        ]
    }

    /// Freezes all sessions where they are, for the next process to go on with. Waits for no reader; loses nothing.
    pub async fn hand_over(self) -> Handover {
        let Self { net, accepting, broker, alarms, keeper, mut inputs_tx, .. } = self;
        for task in accepting {
            task.cancel().await;
        }
        // It fails when the broker has ended: then there is nothing to be frozen.
        let _ = inputs_tx.send(Input::Freeze).await;
        net.freeze();
        drop(inputs_tx);
        let hub = broker.await;
        net.keeping.end();
        if let Some(keeper) = keeper {
            keeper.await;
        }
        alarms.cancel().await;
        Handover { last: net.sessions.last(), hub: hub.into_snapshot().0 }
    }

    /// Stops in the order that the head of this file gives. Takes at most `drain` and 0.2 s. What a reader has not
    /// taken by then is lost, and the log has the number of such connections.
    pub async fn stop(self, drain: Duration) {
        let Self { net, accepting, broker, alarms, mut inputs_tx, .. } = self;
        for task in accepting {
            task.cancel().await;
        }
        // It fails when the broker has ended: then all have gone.
        let _ = inputs_tx.send(Input::Drain).await;
        drop(inputs_tx);
        net.drain(rt::now() + drain);
        let late = rt::sleep(drain + GRACE);
        if let Either::Right(_) = future::select(broker, Box::pin(late)).await {
            let (count, drain) = (net.sessions.count(), show_duration(drain));
            log::warn!("closed {count} connections that had not read everything within drain ({drain})");
        }
        alarms.cancel().await;
    }
}
