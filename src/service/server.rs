//! The server: wires the floors up, and unwires them in order.
//!
//! Whoever starts it decides what "stop" means: the daemon passes on its signals, a test calls
//! [`Server::stop`]. The order of the shutdown is that of chatd(8):
//!
//! 1. stop accepting;
//! 2. sessions take what has already arrived (at most 64 KiB each) and stop reading; the lines go to
//!    the broker;
//! 3. the broker ends when its last input is gone;
//! 4. sessions write what is pending, up to `drain`;
//! 5. whoever is shown lines in `names` or `json` is told; each connection is shut down and closed;
//! 6. the process exits with 0.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{self, Either};

pub use super::bind_error::BindError;
use super::config::{Config, Listen, show_duration};
use super::handover::{FileJournal, Handover, TakenOver};
use super::status::Status;
use super::watchdog::Probe;
use crate::chat::{Arrival, Broker, House, Input, Limits, Member, Now, Outlet, RoomLog, SessionId, Traffic};
use crate::net::listener::Entrance;
use crate::net::session::KeptSession;
use crate::net::settings::Rate;
use crate::net::stream::Stream;
use crate::net::{Address, Listener, Net, Session, Settings};
use crate::protocol::Rules;
use crate::rt::{self, JoinHandle};

/// What sessions get on top of `drain` to notice that it is over.
const GRACE: Duration = Duration::from_millis(200);

/// A running server.
#[derive(Debug)]
pub struct Server {
    net: Arc<Net>,
    traffic: Arc<Traffic>,
    /// What those read whom no room has let in yet.
    entrance: Arc<RoomLog>,
    addresses: Vec<Address>,
    accepting: Vec<JoinHandle<()>>,
    broker: JoinHandle<House>,
    alarms: JoinHandle<()>,
    /// The task that keeps connections for the next process, if anybody does.
    keeper: Option<JoinHandle<()>>,
    inputs_tx: mpsc::Sender<Input>,
}

/// A socket that is listened on, and what those come with who connect there.
pub type Door = (Listener, Arrival);

impl Server {
    /// Binds all addresses of `config` and accepts. To be called on the executor.
    ///
    /// # Errors
    /// The first address that cannot be listened on; then none is.
    pub fn start(config: &Config) -> Result<Self, BindError> {
        Ok(Self::start_at(bind_all(config)?, config))
    }

    /// Accepts at these doors, whatever addresses `config` has. To be called on the executor.
    pub fn start_at(doors: Vec<Door>, config: &Config) -> Self {
        Self::start_with(doors, config, Net::new(settings(config)), House::new(limits(config)))
    }

    /// The same, and goes on with what another process has left; from then on everything is kept for the next one.
    pub async fn go_on(doors: Vec<Door>, config: &Config, mut taken: TakenOver) -> Self {
        let (mut house, sessions, last) = put_back(&mut taken, config);
        let (number, names) = std::mem::take(&mut taken.journals);
        house.keep_journal(Box::new(FileJournal::after(number, names)));
        let members: Vec<Arc<Member>> = house.members().cloned().collect();
        let streams = taken.streams.clone();
        let torn: HashSet<SessionId> =
            members.iter().filter(|member| member.is_torn()).map(|member| member.id()).collect();
        let known = sessions.iter().map(|(id, kept)| (*id, kept.marks(torn.contains(id)))).collect();
        let (keeper, marks) = taken.settle(&known).await;
        let net = Net::new(settings(config));
        net.sessions.go_on_after(last);
        let (keeping_tx, keeping_rx) = mpsc::unbounded();
        net.keeping.begin(keeping_tx, marks);
        let mut server = Self::start_with(doors, config, net, house);
        server.keeper = Some(rt::spawn(keeper.run(keeping_rx)));
        server.resume(sessions, &members, &streams, config);
        server
    }

    /// Goes on with sessions that have stopped in another process.
    fn resume(
        &mut self,
        mut sessions: HashMap<SessionId, KeptSession>,
        members: &[Arc<Member>],
        streams: &HashMap<SessionId, Arc<Stream>>,
        config: &Config,
    ) {
        for member in members {
            if let (Some(kept), Some(stream)) = (sessions.remove(&member.id()), streams.get(&member.id())) {
                self.open(stream, member, kept, None);
            }
        }
        // The others had only just connected.
        for (id, kept) in sessions {
            if let Some(stream) = streams.get(&id).filter(|_| kept.is_new) {
                let outlet = Arc::clone(stream) as Arc<dyn Outlet>;
                let member = Arc::new(Member::new(id, outlet, Arc::clone(&self.entrance)));
                let arrival = arrival_at(stream.socket(), config);
                self.open(stream, &member, kept, Some(Arc::new(arrival)));
            }
        }
    }

    fn open(
        &self,
        stream: &Arc<Stream>,
        member: &Arc<Member>,
        kept: KeptSession,
        arrival: Option<Arc<Arrival>>,
    ) {
        self.net.sessions.readmit(member, stream.caller().map(|from| from.ip().to_canonical()));
        let (net, stream, member) = (Arc::clone(&self.net), Arc::clone(stream), Arc::clone(member));
        rt::spawn(Session::resume(net, stream, member, self.inputs_tx.clone(), kept).run(arrival));
    }

    fn start_with(doors: Vec<Door>, config: &Config, net: Arc<Net>, house: House) -> Self {
        let addresses = doors.iter().map(|(listener, _)| listener.address().clone()).collect();
        let (mut broker, inputs_tx) = Broker::new(house);
        let (room, traffic) = (broker.entrance(), broker.traffic());
        let entrance = Arc::clone(&room);
        traffic.set_min_rate(config.min_rate.bytes() as u64);
        let accepting = doors
            .into_iter()
            .map(|(listener, arrival)| {
                let (room, inputs_tx, arrival) = (Arc::clone(&room), inputs_tx.clone(), Arc::new(arrival));
                rt::spawn(listener.run(Arc::clone(&net), Entrance { room, inputs_tx, arrival }))
            })
            .collect();
        let alarms = rt::spawn({
            let net = Arc::clone(&net);
            async move { net.alarms.run().await }
        });
        let broker = rt::spawn(broker.run());
        Self { net, traffic, entrance, addresses, accepting, broker, alarms, keeper: None, inputs_tx }
    }

    /// What can tell whether the broker works, for as long as it is kept. The server does not stop before it is
    /// dropped.
    pub fn probe(&self) -> Probe {
        Probe::new(self.inputs_tx.clone())
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Says whether connections outlive this process, as far as it depends on that.
    pub fn keeps_connections(&self) -> bool {
        self.net.keeping.is_on()
    }

    /// Puts the settings of `config` in force that can change while it runs.
    pub fn reload(&self, config: &Config) {
        self.net.set_settings(settings(config));
        self.traffic.set_min_rate(config.min_rate.bytes() as u64);
    }

    /// How things are, in one line.
    pub fn status(&self) -> Status {
        Status {
            sessions: self.net.sessions.count(),
            rooms: self.traffic.rooms(),
            lines: self.traffic.lines(),
            accept_failure: self.net.accept_failure.get(),
        }
    }

    /// How things are and what happened so far, in a few lines.
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
                self.traffic.skipped()
            ),
        ]
    }

    /// Stops everybody where they stand, for the next process to go on with; nobody is waited for.
    pub async fn hand_over(self) -> Handover {
        let Self { net, accepting, broker, alarms, keeper, mut inputs_tx, .. } = self;
        for task in accepting {
            task.cancel().await;
        }
        // It fails when the broker has ended: then there is nothing to be frozen.
        let _ = inputs_tx.send(Input::Freeze).await;
        net.freeze();
        drop(inputs_tx);
        let house = broker.await;
        net.keeping.end();
        if let Some(keeper) = keeper {
            keeper.await;
        }
        alarms.cancel().await;
        Handover { last: net.sessions.last(), house: house.keep(), sessions: net.keeping.take_frozen() }
    }

    /// Stops in the order that the head of this file gives; takes at most `drain` and a little more.
    pub async fn stop(self, drain: Duration) {
        let Self { net, accepting, broker, alarms, inputs_tx, .. } = self;
        for task in accepting {
            task.cancel().await;
        }
        drop(inputs_tx);
        net.drain(rt::now() + drain);
        let orderly = async {
            broker.await;
            net.finish();
            net.sessions.all_gone().await;
        };
        let late = rt::sleep(drain + GRACE);
        if let Either::Right(_) = future::select(Box::pin(orderly), Box::pin(late)).await {
            let (count, drain) = (net.sessions.count(), show_duration(drain));
            log::warn!("{count} sessions had not read everything within drain ({drain}): closed");
        }
        alarms.cancel().await;
    }
}

/// Binds all addresses of `config`.
///
/// # Errors
/// The first that cannot be listened on; then none is.
pub fn bind_all(config: &Config) -> Result<Vec<Door>, BindError> {
    let bind = |(at, listen): (usize, &Listen)| match Listener::bind(&listen.address) {
        Ok(listener) => Ok((listener, arrival(listen))),
        Err(error) => {
            let before = config.listen[..at].iter().map(|listen| &listen.address);
            Err(BindError::new(&listen.address, before, error))
        }
    };
    config.listen.iter().enumerate().map(bind).collect()
}

/// What `config` says of those who connect to sockets that somebody else has bound: it holds for the same address.
pub fn doors(listeners: Vec<Listener>, config: &Config) -> Vec<Door> {
    let door = |listener: Listener| {
        let arrival = arrival_at(&listener, config);
        (listener, arrival)
    };
    listeners.into_iter().map(door).collect()
}

/// What `config` says of those who come in at the address of `socket`.
fn arrival_at(socket: impl AsFd, config: &Config) -> Arrival {
    let listen = config.listen.iter().find(|listen| listen.address.is_of(&socket));
    listen.map_or_else(Arrival::default, arrival)
}

/// The house as another process has left it, its sessions, and the last number that one had. What makes no sense is
/// told to the log, and done without.
fn put_back(taken: &mut TakenOver, config: &Config) -> (House, HashMap<SessionId, KeptSession>, u64) {
    let now = Now { instant: rt::now(), wall: rt::wall_clock() };
    for handover in [taken.handover.take(), taken.fallback.take()].into_iter().flatten() {
        let Handover { last, house, sessions } = handover;
        let outlet_of = |id: SessionId| Some(Arc::clone(taken.streams.get(&id)?) as Arc<dyn Outlet>);
        match House::put_back(limits(config), house, now, outlet_of) {
            Ok(house) => {
                let members = house.members().map(|member| KeptSession::marked(member.id(), 0));
                let sessions = members.chain(sessions).map(|kept| (kept.id, kept)).collect();
                return (house, sessions, last);
            }
            Err(error) => log::error!("cannot go on with what was stored: {error}"),
        }
    }
    (House::new(limits(config)), HashMap::new(), 0)
}

/// What those come with who connect there.
fn arrival(listen: &Listen) -> Arrival {
    Arrival { view: listen.view, room: listen.room.clone(), verified: None }
}

fn limits(config: &Config) -> Limits {
    Limits {
        log_size: config.log_size.bytes(),
        history: config.history,
        max_rooms: config.max_rooms,
        min_rate: config.min_rate.bytes() as u64,
    }
}

fn rate(config: &Config) -> Option<Rate> {
    let [per_second, burst] =
        [config.rate, config.burst].map(|lines| u32::try_from(lines).unwrap_or(u32::MAX));
    (per_second > 0).then_some(Rate { per_second, burst })
}

fn settings(config: &Config) -> Settings {
    let mut greeting = config.greeting.clone().into_bytes();
    if !greeting.is_empty() {
        greeting.push(b'\n');
    }
    Settings {
        greeting,
        rules: Rules { max_line: config.max_line.bytes(), raw: config.raw },
        commands: config.commands,
        rate: rate(config),
        flush_after: config.flush_after,
        slow_timeout: config.slow_timeout,
        idle_timeout: config.idle_timeout,
        drain: config.drain,
        send_buffer: config.send_buffer.bytes(),
        max_clients: config.max_clients,
        max_per_ip: config.max_per_ip,
        ipv6_prefix: config.ipv6_prefix,
    }
}
