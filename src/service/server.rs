//! The server: wires the floors up, and unwires them in order.
//!
//! The caller decides when to stop: the daemon does at a signal, a test calls [`Server::stop`]. What happens then, and in
//! which order, stands in the crate's documentation: "The shutdown, in order".

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{self, Either};

use super::archive::ArchiveState;
use super::bind_error::BindError;
use super::cluster::{self, Cluster, NodeBuilder};
use super::config::{Config, Loaded, Serve, show_duration};
use super::handover::{self, GoingOn, Handover, Stored, Survived, TakenOver, incarnation};
use super::host::{self, Host, Operators};
use super::listeners::{self, BoundListener};
use super::metrics::{self, Metrics};
use super::settings::{Bound, limits, settings};
use super::status::Status;
use super::stores::{Stores, Storing};
use super::systemd;
use super::watchdog::Probe;
use crate::chat::{Arrival, Broker, Hub, Input, Now, Reading, SessionId};
use crate::net::bans::Muted;
use crate::net::connection::Connection;
use crate::net::listener::Entrance;
use crate::net::tls::Identity;
use crate::net::{Address, Net, Session};
use crate::rt::{self, JoinHandle};

/// How much longer than `drain` sessions get to notice that it is over.
const GRACE: Duration = Duration::from_millis(200);

/// A running server.
#[derive(Debug)]
pub struct Server {
    net: Arc<Net>,
    bound: Vec<Bound>,
    accepting: Vec<JoinHandle<()>>,
    broker: JoinHandle<Hub>,
    alarms: JoinHandle<()>,
    /// The task that stores connections for the next process; `None` without a descriptor store.
    keeper: Option<JoinHandle<()>>,
    storing: Storing,
    /// `None` without a cluster.
    cluster: Option<Cluster>,
    inputs_tx: mpsc::UnboundedSender<Input>,
}

impl Server {
    /// Binds all addresses of `config` and accepts. Call it on the executor.
    ///
    /// # Errors
    /// The first address that cannot be listened on; then none is. A certificate with a mistake is only logged.
    pub fn start(config: &Config) -> Result<Self, BindError> {
        let listeners = listeners::bind_all(config)?;
        let mut stores = Stores::open(config, &|_| None);
        let mut loaded = Loaded::from(config.clone());
        loaded.read_what_can_be_read(&|_| None);
        loaded.warn();
        stores.cluster = cluster::settings(&loaded);
        stores.identity = loaded.certificate.map(|certificate| certificate.identity);
        Ok(Self::start_at(listeners, config, stores, None))
    }

    /// Accepts on these listeners, and takes over what another process has stored. With a service manager, stores
    /// connections for the next process from then on; if that fails, logs it and serves all the same.
    pub async fn begin(
        listeners: Vec<BoundListener>,
        config: &Config,
        stores: Stores,
        stored: Stored,
        operators: Operators,
    ) -> Self {
        let operators = Some(operators);
        if !systemd::is_listening() {
            return Self::start_at(listeners, config, stores, operators);
        }
        match handover::take_over(stored).await {
            Ok(taken) => Self::go_on(listeners, config, stores, taken, operators),
            Err(error) => {
                log::error!("cannot store connections: {error}; a restart will disconnect everybody");
                Self::start_at(listeners, config, stores, operators)
            }
        }
    }

    /// Accepts on these listeners, whatever addresses `config` has. Call it on the executor.
    pub fn start_at(
        listeners: Vec<BoundListener>,
        config: &Config,
        mut stores: Stores,
        operators: Option<Operators>,
    ) -> Self {
        let mut node = NodeBuilder::new(stores.cluster.take(), &[], rt::wall_clock());
        let mut hub = Hub::new(limits(config), node.sequencer(&[]), rt::wall_clock());
        let settings = settings(config, &bound(&listeners), stores.identity.clone());
        let net = Net::new(settings, Arc::clone(hub.traffic()));
        let storing = stores.begin(&mut hub, &net);
        forget_muted_guests(&net, config);
        let cluster = node.begin(&net);
        let survived = Survived::default().or_begun(rt::wall_clock());
        administer(&mut hub, &net, (&storing, cluster.as_ref()), (survived, None), operators);
        Self::start_with(listeners, net, hub, (storing, cluster), survived)
    }

    /// Accepts on these listeners, and goes on with the sessions of another process. Stores all connections for the
    /// next process from then on.
    pub fn go_on(
        listeners: Vec<BoundListener>,
        config: &Config,
        mut stores: Stores,
        taken: TakenOver,
        operators: Option<Operators>,
    ) -> Self {
        let now = Now { instant: rt::now(), wall: rt::wall_clock() };
        let mut node = NodeBuilder::new(stores.cluster.take(), taken.notes(), now.wall);
        let GoingOn { mut hub, last, sessions, keeper, table, survived } =
            taken.go_on(limits(config), now, |saved| node.sequencer(saved));
        let survived = survived.or_begun(now.wall);
        // First of all: what the hub records of a session has its address in it.
        sessions.iter().for_each(|(connection, reading)| restore_client(connection, reading));
        let settings = settings(config, &bound(&listeners), stores.identity.clone());
        let net = Net::new(settings, Arc::clone(hub.traffic()));
        net.sessions.numbers.go_on_after(last);
        // The notes are of the rooms as they are then.
        let storing = stores.begin(&mut hub, &net);
        if sessions.is_empty() {
            forget_muted_guests(&net, config);
        }
        let cluster = node.begin(&net);
        administer(&mut hub, &net, (&storing, cluster.as_ref()), (survived, table.stop()), operators);
        match table.notes() {
            Ok(mut notes) => {
                survived.write(&mut notes);
                match &cluster {
                    Some(cluster) => cluster.write(&mut notes),
                    None => incarnation::forget_others(&mut notes, None),
                }
                hub.record(Box::new(notes));
            }
            Err(error) => {
                log::warn!("cannot record sessions: {error}; after a crash everybody would be a guest")
            }
        }
        let waiting: HashSet<SessionId> =
            sessions.iter().map(|(connection, _)| connection.id()).filter(|id| hub.has_input(*id)).collect();
        let known: HashSet<SessionId> = hub.sessions().collect();
        for (connection, _) in &sessions {
            hub.login_of(connection.id()).inspect(|login| connection.set_login(login));
        }
        let (keeping_tx, keeping_rx) = mpsc::unbounded();
        net.keeping.begin(keeping_tx, table);
        let mut server = Self::start_with(listeners, net, hub, (storing, cluster), survived);
        server.keeper = Some(rt::spawn(keeper.run(keeping_rx)));
        for (connection, reading) in sessions {
            let id = connection.id();
            // One that had only just connected comes in now.
            let arrival =
                (!known.contains(&id)).then(|| Arc::new(listeners::arrival_at(&*connection, config)));
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
        self.net.examine(&connection);
        let session = Session::new(Arc::clone(&self.net), connection, self.inputs_tx.clone());
        let is_waiting = is_waiting || arrival.is_some();
        rt::spawn_session(session.resume(reading, is_waiting).run(arrival));
    }

    fn start_with(
        listeners: Vec<BoundListener>,
        net: Arc<Net>,
        hub: Hub,
        (storing, cluster): (Storing, Option<Cluster>),
        survived: Survived,
    ) -> Self {
        let bound = bound(&listeners);
        let traffic = Arc::clone(&net.traffic);
        let (broker, inputs_tx) = Broker::new(hub);
        let (archive, status) = (storing.archive(), cluster.as_ref().map(Cluster::status));
        let page = metrics::page(Metrics::new(Arc::clone(&net), traffic, survived, archive, status));
        let accept = |BoundListener { listener, listen }: BoundListener| {
            let inputs_tx = inputs_tx.clone();
            let arrival = Arc::new(listeners::arrival(&listen));
            let page = (listen.serve == Serve::Metrics).then(|| Arc::clone(&page));
            let entrance = Entrance { inputs_tx, arrival, page };
            rt::spawn(listener.run(Arc::clone(&net), entrance))
        };
        let accepting = listeners.into_iter().map(accept).collect();
        let alarms = rt::spawn({
            let net = Arc::clone(&net);
            async move { net.alarms.run().await }
        });
        let broker = rt::spawn(broker.run());
        Self { net, bound, accepting, broker, alarms, keeper: None, storing, cluster, inputs_tx }
    }

    /// Returns what all sessions share: the way to bans and mutes.
    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Returns a probe that tells whether the broker works. The server does not stop before you drop the probe.
    pub fn probe(&self) -> Probe {
        Probe::new(self.inputs_tx.clone())
    }

    /// Returns the addresses that it listens on, with the real ports, and what it serves there.
    pub fn addresses(&self) -> Vec<(Address, Serve)> {
        self.bound.iter().map(|bound| (bound.real.clone(), bound.serve)).collect()
    }

    /// Returns whether the listener with this address turns plain text away.
    pub fn requires_tls(&self, address: &Address) -> bool {
        self.net.settings().access.requires_tls(address)
    }

    /// Returns whether this process stores its connections for the next one. The service manager may still have no
    /// store.
    pub fn keeps_connections(&self) -> bool {
        self.net.keeping.is_on()
    }

    /// Puts the settings of `config` in force that can change while it runs. The others stay as they were. New
    /// connections get `identity`.
    pub async fn reload(&mut self, config: &Config, identity: Option<Arc<Identity>>) {
        self.net.set_settings(settings(config, &self.bound, identity));
        self.net.registry.reread();
        let group = host::operators_of(config, self.bound.iter().map(|bound| &bound.real)).await;
        self.net.set_operators(group);
        // It fails when the broker has ended: then there is nothing to be limited.
        let _ = self.inputs_tx.send(Input::Limits(limits(config))).await;
    }

    /// Returns the status, for one line.
    pub fn status(&self) -> Status {
        Status {
            sessions: self.net.sessions.count(),
            rooms: self.net.traffic.rooms.load(Ordering::Relaxed),
            lines: self.net.traffic.lines.load(Ordering::Relaxed),
            accept_failure: self.net.accept_failure.get(),
            cluster: self.cluster.as_ref().map(|cluster| cluster.status().line()),
        }
    }

    /// Returns how the archive is doing; `None` if it is off.
    pub fn archive_state(&self) -> Option<ArchiveState> {
        self.storing.archive().map(|queue| queue.state())
    }

    /// Returns the status and the counters since the start, in a few lines.
    pub fn summary(&self) -> Vec<String> {
        let counters = &self.net.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut lines = vec![
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
                self.net.traffic.skipped.load(Ordering::Relaxed)
            ),
        ];
        lines.extend(self.archive_state().map(|state| state.to_string()));
        let state = self.cluster.as_ref().map(|cluster| cluster.status().state(rt::wall_clock()));
        lines.extend(state.map(|state| format!("cluster: {}", state.shown())));
        lines
    }

    /// Freezes all sessions where they are, for the next process to go on with. Waits for no reader; loses nothing. First
    /// closes the sessions whose TLS keys are in this process alone: they get what is pending, for up to `drain`.
    pub async fn hand_over(self, drain: Duration) -> Handover {
        let Self { net, accepting, broker, alarms, keeper, storing, cluster, mut inputs_tx, .. } = self;
        for task in accepting {
            task.cancel().await;
        }
        net.close_unkept(drain).await;
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
        storing.stop(&net).await;
        let (hub, mut sequencer) = hub.into_snapshot();
        if let Some(cluster) = cluster {
            cluster.hand_over().await;
        }
        Handover { last: net.sessions.numbers.last(), hub, cluster: sequencer.save() }
    }

    /// Stops in the order that the head of this file gives. Takes at most `drain` and 0.2 s, and in a cluster 2 s more.
    /// What a reader or the engine has not taken by then is lost, and the log has the number.
    pub async fn stop(self, drain: Duration) {
        let Self { net, accepting, broker, alarms, storing, cluster, mut inputs_tx, .. } = self;
        net.keeping.set_stop(None);
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
            // Without any, it is the engine of a cluster that has not taken everything.
            if count > 0 {
                log::warn!("closed {count} connections that had not read everything within drain ({drain})");
            }
        }
        alarms.cancel().await;
        if let Some(cluster) = cluster {
            cluster.leave().await;
        }
        storing.stop(&net).await;
    }
}

/// Has the hub ask the daemon who is an operator and who is muted, before any session goes on. If another process was to
/// stop at a time, in seconds since 1970, this one does.
fn administer(
    hub: &mut Hub,
    net: &Arc<Net>,
    (storing, cluster): (&Storing, Option<&Cluster>),
    (survived, stop): (Survived, Option<u64>),
    operators: Option<Operators>,
) {
    if let Some(Operators { group, requests_tx }) = operators {
        net.set_operators(group);
        let (archive, cluster) = (storing.archive(), cluster.map(Cluster::status));
        let mut host = Host::new(Arc::clone(net), requests_tx, survived, archive, cluster);
        stop.into_iter().for_each(|at| host.go_on_draining(at));
        hub.administer(Box::new(host));
    }
}

/// Lifts the mutes of guests: others will have their numbers, unless the engine of a cluster gives them.
fn forget_muted_guests(net: &Net, config: &Config) {
    let is_free = |whom: &Muted| whom.name.is_guest() && !config.is_clustered();
    net.mutes().into_iter().map(|mute| mute.whom).filter(is_free).for_each(|whom| {
        net.unmute(&whom);
    });
}

/// Restores what a proxy has said of a client.
fn restore_client(connection: &Connection, reading: &Reading) {
    match (reading.client, &reading.header) {
        (Some(client), _) => connection.restore_client(client),
        (None, Some(_)) => connection.await_client(),
        (None, None) => {}
    }
}

/// Returns the addresses of the listeners.
fn bound(listeners: &[BoundListener]) -> Vec<Bound> {
    let bound = |one: &BoundListener| Bound {
        real: one.listener.address().clone(),
        configured: one.listen.address.clone(),
        serve: one.listen.serve,
    };
    listeners.iter().map(bound).collect()
}
