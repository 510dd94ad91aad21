//! The daemon: from argv to an exit code, and what happens on signals in between.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Parser;
use futures::future::{self, Either};
use futures::{Stream, StreamExt};
use rustix::process::Resource;

use super::Exit;
use super::cli::{Cli, Task};
use super::config::{self, Config, ConfigError, Listen, Loaded, Origin};
use super::handover::{self, Stored};
use super::logging::{self, Logging};
use super::server::{self, BindError, Door, Probe, Server};
use super::signals::{self, Request};
use super::systemd::{self, Message, Passed};
use crate::net::{Address, Listener};
use crate::rt::{self, JoinHandle};

/// How often the service manager is told how things are, if they have changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// What stopping may take on top of `drain` before the service manager loses its patience.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Does what the command line asks for. Usage errors, `--help` and `--version` end the process here.
pub fn main() -> Exit {
    let cli = Cli::parse();
    match cli.task(&environment) {
        Ok(Task::Print(text)) => {
            print!("{text}");
            Exit::Ok
        }
        Ok(Task::Serve(loaded)) => {
            // Before anything else opens descriptors.
            let passed = systemd::take_passed().map_err(Failure::Passed).map(Stored::take_from);
            serve(cli, *loaded, passed, None)
        }
        Err(error) => go_on_with_the_last_good(cli, error),
    }
}

/// The configuration has a mistake. If the process before has left connections, they are not closed for that: what was in
/// force before stays in force.
fn go_on_with_the_last_good(cli: Cli, error: ConfigError) -> Exit {
    eprintln!("chatd: {error}");
    if cli.check || cli.print_config {
        return error.exit();
    }
    let Ok((stored, passed)) = systemd::take_passed().map(Stored::take_from) else { return error.exit() };
    match stored.config().map(|text| config::load_text(&text)) {
        Some(Ok(loaded)) => serve(cli, loaded, Ok((stored, passed)), Some(error)),
        _ => error.exit(),
    }
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Why the daemon could not serve.
#[derive(Debug)]
enum Failure {
    Bind(BindError),
    Passed(std::io::Error),
    Signals(std::io::Error),
    /// The file has a mistake, and nobody is there for whom it would be worth going on.
    Config(ConfigError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Passed(error) => {
                write!(
                    f,
                    "cannot take the sockets that LISTEN_FDS promises: {error}; unset it, or start chatd with chatd.socket"
                )
            }
            Self::Config(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen to signals: {error}"),
        }
    }
}

/// Serves until it is told to stop.
fn serve(
    cli: Cli,
    loaded: Loaded,
    passed: Result<(Stored, Vec<Passed>), Failure>,
    refused: Option<ConfigError>,
) -> Exit {
    let config = &loaded.config;
    let logging = match logging::start(config.log, config.log_level) {
        Ok(logging) => logging,
        Err(error) => {
            eprintln!("chatd: {error}");
            return Exit::Failed;
        }
    };
    raise_descriptors(config.max_clients);
    let (logging, served) = rt::run(config.threads, async move {
        let served = match passed {
            Ok(passed) => Daemon::run(cli, loaded, passed, refused, &logging).await,
            Err(failure) => Err(failure),
        };
        (logging, served)
    });
    if let Err(failure) = &served {
        log::error!("{failure}");
        if !logging.is_on_stderr() {
            // Whoever started it should not have to look for the reason in a log, or in none.
            eprintln!("chatd: {failure}");
        }
    }
    logging.stop();
    match served {
        Ok(()) => Exit::Ok,
        Err(Failure::Config(error)) => error.exit(),
        Err(_) => Exit::Failed,
    }
}

/// Descriptors that are needed besides one for each session: listeners, epoll, signals, log, the spare one.
const OTHER_DESCRIPTORS: u64 = 32;

/// Raises the limit of open files as far as this process may, for shells and service managers set it low for
/// the sake of programs that use select(2). Says so where it is too low for `max_clients` all the same.
fn raise_descriptors(max_clients: usize) {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let is_low = limit.current != limit.maximum;
    limit.current = limit.maximum;
    // Where nothing is to be changed, nothing is asked for: the unit forbids the system call.
    if is_low && let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
        log::warn!("cannot raise the limit of open files: {error}");
    }
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if most < max_clients as u64 + OTHER_DESCRIPTORS {
        log::warn!(
            "{most} open files are allowed, too few for max_clients = {max_clients}: raise LimitNOFILE= or ulimit -n, or lower max_clients"
        );
    }
}

/// What the daemon needs to follow its signals.
struct Daemon {
    cli: Cli,
    config: Config,
    server: Server,
    /// What the service manager was told last.
    told: String,
    watchdog: Option<JoinHandle<()>>,
}

impl Daemon {
    async fn run(
        cli: Cli,
        loaded: Loaded,
        (stored, passed): (Stored, Vec<Passed>),
        refused: Option<ConfigError>,
        logging: &Logging,
    ) -> Result<(), Failure> {
        // First the signals: from here on a TERM drains, however early it comes.
        let requests = signals::requests().map_err(Failure::Signals)?;
        let inherited = inherit(passed).await;
        let doors = if inherited.is_empty() {
            server::bind_all(&loaded.config).map_err(Failure::Bind)?
        } else {
            tell_what_is_not_used(&loaded, &inherited);
            server::doors(inherited, &loaded.config)
        };
        let server = start(doors, &loaded.config, stored).await;
        let mut told = server.status().to_string();
        if let Some(error) = refused {
            if server.status().sessions == 0 {
                return Err(Failure::Config(error));
            }
            log::error!("{error}; for those who are connected, what was in force before stays in force");
            told = format!("{told}; configuration refused: {error}");
        }
        handover::keep_config(config::text(&loaded.config)).await;
        announce(server.addresses());
        systemd::notify(Message::Ready(told.clone())).await;
        let watchdog =
            systemd::watchdog_interval().map(|interval| rt::spawn(watch(server.probe(), interval)));
        Self { cli, config: loaded.config, server, told, watchdog }.follow(requests, logging).await;
        Ok(())
    }

    /// Does what the signals ask for, until one says stop.
    async fn follow(mut self, mut requests: impl Stream<Item = Request> + Unpin, logging: &Logging) {
        loop {
            match self.next(&mut requests).await {
                Some(Request::Reload) => self.reload(logging).await,
                Some(Request::Status) => self.server.summary().iter().for_each(|line| log::info!("{line}")),
                Some(Request::HandOver) => return self.hand_over(requests).await,
                Some(Request::Stop) | None => return self.stop(requests).await,
            }
        }
    }

    /// The next request; meanwhile the service manager is kept informed.
    async fn next(&mut self, requests: &mut (impl Stream<Item = Request> + Unpin)) -> Option<Request> {
        if !systemd::is_listening() {
            return requests.next().await;
        }
        loop {
            let pause = Box::pin(rt::sleep(STATUS_INTERVAL));
            if let Either::Left((request, _)) = future::select(requests.next(), pause).await {
                return request;
            }
            let status = self.server.status().to_string();
            if status != self.told {
                self.told.clone_from(&status);
                systemd::notify(Message::Status(status)).await;
            }
        }
    }

    /// Puts the configuration in force as it is now; one with a mistake changes nothing.
    async fn reload(&mut self, logging: &Logging) {
        systemd::notify(Message::Reloading).await;
        self.told = match config::load(&self.cli, &environment) {
            Ok(loaded) => {
                self.put_in_force(&loaded.config, logging);
                handover::keep_config(config::text(&self.config)).await;
                format!("{}; configuration read again", self.server.status())
            }
            Err(error) => {
                log::error!("{error}; the old configuration stays in force");
                format!("{}; reload refused: {error}", self.server.status())
            }
        };
        systemd::notify(Message::Ready(self.told.clone())).await;
    }

    fn put_in_force(&mut self, new: &Config, logging: &Logging) {
        for key in self.config.fixed_changes(new) {
            log::warn!("\"{key}\" cannot change while chatd runs: restart it for the new value");
        }
        self.config = self.config.reloaded(new);
        self.server.reload(&self.config);
        logging.set_level(self.config.log_level);
        log::info!("the configuration was read again");
    }

    /// Stops everybody where they stand, and has the service manager keep all that the next process needs to go on.
    /// Where it keeps nothing, drains.
    async fn hand_over(mut self, requests: impl Stream<Item = Request> + Unpin) {
        if !rt::blocking(systemd::can_keep).await {
            log::warn!(
                "the service manager keeps no connections (FileDescriptorStoreMax= is too low, or there is none): everybody is closed"
            );
            return self.stop(requests).await;
        }
        let status = self.server.status();
        log::info!("handing over: {status}");
        let message = Message::Stopping { status: format!("handing over: {status}"), at_most: STOP_MARGIN };
        systemd::notify(message).await;
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.cancel().await;
        }
        let handover = self.server.hand_over().await;
        let stored = rt::blocking(move || {
            handover.write().map(|file| {
                systemd::keep(handover::STATE, &[file.as_fd()]);
                systemd::barrier()
            })
        });
        match stored.await {
            Ok(true) => log::info!("handed over"),
            Ok(false) => log::error!("the service manager has not said that it has everything"),
            Err(error) => log::error!(
                "cannot write down where everybody stands: {error}; the next process goes on as after a crash"
            ),
        }
    }

    /// Drains; a second signal to stop ends that at once.
    async fn stop(self, mut requests: impl Stream<Item = Request> + Unpin) {
        let status = self.server.status();
        log::info!("stopping: {status}");
        let at_most = self.config.drain + STOP_MARGIN;
        systemd::notify(Message::Stopping { status: format!("stopping: {status}"), at_most }).await;
        if let Some(watchdog) = self.watchdog {
            // A service that stops is no longer watched.
            watchdog.cancel().await;
        }
        let drained = Box::pin(self.server.stop(self.config.drain));
        let again =
            requests.by_ref().filter(|request| future::ready(*request == Request::Stop)).into_future();
        match future::select(drained, again).await {
            Either::Left(_) => log::info!("stopped"),
            Either::Right(_) => log::warn!("stopped at once: told to stop a second time"),
        }
    }
}

/// Starts the server, and goes on with what was stored. Where there is a service manager, connections are kept for the
/// next process from then on.
async fn start(doors: Vec<Door>, config: &Config, stored: Stored) -> Server {
    if !systemd::is_listening() {
        return Server::start_at(doors, config);
    }
    match handover::take_over(stored).await {
        Ok(taken) => Server::go_on(doors, config, taken).await,
        Err(error) => {
            log::error!("cannot keep connections for the next process: {error}");
            Server::start_at(doors, config)
        }
    }
}

/// Those of the passed descriptors that can be accepted from; closes the others, and says why.
async fn inherit(passed: Vec<Passed>) -> Vec<Listener> {
    let mut inherited = Vec::new();
    for Passed { fd, name } in passed {
        match Listener::inherit(fd) {
            Ok(listener) => inherited.push(listener),
            Err(error) => {
                let shown = name.escape_default();
                log::warn!("the service manager has passed \"{shown}\", which is of no use: {error}");
                systemd::notify(Message::Forget(name)).await;
            }
        }
    }
    inherited
}

/// Says that the addresses somebody has set are not those that count.
fn tell_what_is_not_used(loaded: &Loaded, inherited: &[Listener]) {
    let origin = loaded.origin("listen");
    let is_used = |listen: &Listen| inherited.iter().any(|listener| *listener.address() == listen.address);
    if *origin != Origin::Default && !loaded.config.listen.iter().all(is_used) {
        log::warn!(
            "{}: \"listen\" is not used, for the service manager passes the sockets; change the addresses with: systemctl edit chatd.socket",
            origin.place("listen")
        );
    }
}

/// Tells the service manager each time something has gone through the broker and back. If it does not come back,
/// neither does chatd, until it is started again.
async fn watch(mut probe: Probe, interval: Duration) {
    while probe.round_trip().await {
        systemd::notify(Message::Alive).await;
        rt::sleep(interval).await;
    }
}

/// Tells where chatd listens, and how to try it.
fn announce(addresses: &[Address]) {
    for address in addresses {
        match address {
            Address::Tcp(address) => {
                let (ip, port) = (reachable(address.ip()), address.port());
                log::info!("listening on {address}; try: nc {ip} {port}");
            }
            Address::Unix(path) => log::info!("listening on {0}; try: nc -U {0}", path.display()),
        }
    }
}

/// An address under which a program on this machine reaches a socket bound to `ip`.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
