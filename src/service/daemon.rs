//! The daemon: from argv to an exit code, and what happens on signals in between.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{self, Either};

use super::Exit;
use super::cli::{Cli, Task};
use super::cluster;
use super::config::{self, Config, ConfigError, Loaded};
use super::console;
use super::descriptors;
use super::expiry::Expiry;
use super::failure::Failure;
use super::handover::{self, Stored};
use super::host::{self, Operators};
use super::listeners;
use super::logging::{self, Logging};
use super::resident;
use super::server::Server;
use super::signals::{Early, Heard, Request};
use super::stores::Stores;
use super::systemd::{self, Message, Passed};
use super::watchdog;
use crate::rt::{self, JoinHandle};

/// How often a changed status is sent to the service manager.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// How much longer than `drain` a stop may take before the service manager kills the process.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Runs the command line. Usage errors, `--help` and `--version` exit here.
pub fn main() -> Exit {
    let early = match Early::begin() {
        Ok(early) => early,
        Err(error) => {
            console::complain(Failure::Signals(error));
            return Exit::Failed;
        }
    };
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr()
            && let Ok(passed) = systemd::take_passed()
        {
            listeners::turn_away(&passed);
        }
        error.exit()
    });
    if cli.only_prints() {
        early.end();
    }
    match cli.task(&environment) {
        Ok(Task::Print(text)) => console::print(&text),
        Ok(Task::Export(export)) => console::export(&export),
        Ok(Task::Serve(loaded)) => {
            // Before anything else opens descriptors.
            let passed = systemd::take_passed().map_err(Failure::Passed).map(Stored::take_from);
            serve(cli, *loaded, passed, None, early)
        }
        Err(error) => go_on_with_the_last_good(cli, error, early),
    }
}

/// Starts although the configuration has a mistake, if the previous process has stored connections: then its
/// configuration stays in force. Otherwise tells waiting clients that nobody will serve them, and fails.
fn go_on_with_the_last_good(cli: Cli, error: ConfigError, early: Early) -> Exit {
    console::complain(&error);
    if cli.only_prints() {
        return error.exit();
    }
    let Ok((stored, passed)) = systemd::take_passed().map(Stored::take_from) else { return error.exit() };
    match stored.config().map(|text| config::load_text(&text)) {
        Some(Ok(mut loaded)) => {
            loaded.read_what_can_be_read(&environment);
            serve(cli, loaded, Ok((stored, passed)), Some(error), early)
        }
        _ => {
            listeners::turn_away(&passed);
            error.exit()
        }
    }
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Starts the log, and serves until told to stop.
fn serve(
    cli: Cli,
    loaded: Loaded,
    passed: Result<(Stored, Vec<Passed>), Failure>,
    refused: Option<ConfigError>,
    early: Early,
) -> Exit {
    let config = &loaded.config;
    let logging = match logging::start(config.log, config.log_level) {
        Ok(logging) => logging,
        Err(error) => {
            console::complain(error);
            return Exit::Failed;
        }
    };
    loaded.warn();
    descriptors::raise_limit(config.max_clients);
    let (logging, served) = rt::run(1, async move {
        let served = match passed {
            Ok(passed) => until_told_twice(cli, loaded, passed, refused, &logging, &early).await,
            Err(failure) => Err(failure),
        };
        (logging, served)
    });
    if let Err(failure) = &served {
        log::error!("{failure}");
        if !logging.is_on_stderr() {
            // You should see the reason where you started it, not have to look for it in a log.
            console::complain(failure);
        }
    }
    logging.stop();
    match served {
        Ok(()) => Exit::Ok,
        Err(Failure::Config(error)) => error.exit(),
        Err(_) => Exit::Failed,
    }
}

/// Serves until told to stop. A second signal ends it at once; pending lines are lost then.
async fn until_told_twice(
    cli: Cli,
    loaded: Loaded,
    passed: (Stored, Vec<Passed>),
    refused: Option<ConfigError>,
    logging: &Logging,
    early: &Early,
) -> Result<(), Failure> {
    // First the signals: from here on a TERM drains, however early it comes.
    let mut heard = Heard::listen(early).map_err(Failure::Signals)?;
    let at_once = Box::pin(heard.stop_at_once());
    let served = Box::pin(Daemon::run(cli, loaded, passed, refused, logging, heard));
    match future::select(served, at_once).await {
        Either::Left((served, _)) => served,
        Either::Right(_) => {
            log::warn!("stopped at once after a second signal: lines that were still pending are lost");
            Ok(())
        }
    }
}

/// Requests of signals, in order.
type Requests = mpsc::UnboundedReceiver<Request>;

/// The running daemon.
struct Daemon {
    cli: Cli,
    config: Config,
    server: Server,
    /// The status that the service manager was told last.
    told: String,
    /// The mistake in the configuration, while the previous configuration stays in force because of it.
    refusal: Option<String>,
    /// Requests to handle before the next signal.
    waiting: VecDeque<Request>,
    /// When an operator wants it to stop.
    stop_at: Option<Instant>,
    watchdog: Option<JoinHandle<()>>,
    expiry: Expiry,
}

impl Daemon {
    async fn run(
        cli: Cli,
        loaded: Loaded,
        (stored, passed): (Stored, Vec<Passed>),
        refused: Option<ConfigError>,
        logging: &Logging,
        Heard { requests, requests_tx, .. }: Heard,
    ) -> Result<(), Failure> {
        // It may have to wait for the lock of a folder.
        let (listeners, loaded, stores) = rt::blocking(move || {
            let mut stores = Stores::open(&loaded.config, &environment);
            stores.cluster = cluster::settings(&loaded);
            stores.identity =
                loaded.certificate.as_ref().map(|certificate| Arc::clone(&certificate.identity));
            (listeners::open(&loaded, passed), loaded, stores)
        })
        .await;
        let listeners = listeners.map_err(Failure::Bind)?;
        let group =
            host::operators_of(&loaded.config, listeners.iter().map(|one| one.listener.address())).await;
        let operators = Operators { group, requests_tx };
        let server = Server::begin(listeners, &loaded.config, stores, stored, operators).await;
        let mut refusal = None;
        if let Some(error) = refused {
            if server.status().sessions == 0 {
                return Err(Failure::Config(error));
            }
            log::error!("{error}; the configuration of the previous process stays in force");
            refusal = Some(format!("configuration refused: {error}"));
        }
        handover::keep_config(config::text(&loaded.config));
        listeners::announce(&server.addresses(), |address| server.requires_tls(address));
        let mut daemon = Self {
            cli,
            config: loaded.config,
            server,
            told: String::new(),
            refusal,
            waiting: VecDeque::new(),
            stop_at: None,
            watchdog: None,
            expiry: Expiry::default(),
        };
        daemon.expiry.put_in_force(loaded.certificate, rt::now(), rt::wall_clock());
        daemon.told = daemon.status();
        systemd::notify(Message::Ready(daemon.told.clone()));
        daemon.watchdog = systemd::watchdog_interval().map(|interval| {
            let tell = || {
                systemd::notify(Message::Alive);
            };
            rt::spawn(watchdog::watch(daemon.server.probe(), interval, tell))
        });
        resident::drop_code_soon();
        daemon.follow(requests, logging).await;
        // What was said last is on its way by then.
        systemd::flush().await;
        Ok(())
    }

    /// Handles signals until one stops the daemon.
    async fn follow(mut self, mut requests: Requests, logging: &Logging) {
        loop {
            match self.next(&mut requests).await {
                Some(Request::Reload) => self.reload(&mut requests, logging).await,
                Some(Request::Status) => self.server.summary().iter().for_each(|line| log::info!("{line}")),
                Some(Request::HandOver) => return self.hand_over().await,
                Some(Request::Drain(after)) => self.stop_at = after.map(|after| rt::now() + after),
                Some(Request::LogLevel(level)) => logging.set_level(level),
                Some(Request::Stop) | None => return self.stop().await,
            }
        }
    }

    /// Returns the status line for `systemctl status`.
    fn status(&self) -> String {
        let archive = self.server.archive_state().and_then(|state| state.failing);
        let archive = archive.map(|error| format!("cannot write to the archive: {error}"));
        let parts = [Some(self.server.status().to_string()), archive, self.refusal.clone()];
        parts.into_iter().flatten().collect::<Vec<String>>().join("; ")
    }

    /// Waits for the next request. Sends a changed status every [`STATUS_INTERVAL`] meanwhile.
    async fn next(&mut self, requests: &mut Requests) -> Option<Request> {
        if let Some(request) = self.waiting.pop_front() {
            return Some(request);
        }
        loop {
            let now = rt::now();
            if self.stop_at.is_some_and(|at| at <= now) {
                return Some(Request::Stop);
            }
            let interval = systemd::is_listening().then_some(STATUS_INTERVAL);
            self.expiry.look(now, rt::wall_clock());
            let times = [self.stop_at, self.expiry.next()].into_iter().flatten();
            let left = times.map(|at| at.saturating_duration_since(now));
            let Some(pause) = interval.into_iter().chain(left).min() else { return requests.next().await };
            let pause = Box::pin(rt::sleep(pause));
            if let Either::Left((request, _)) = future::select(requests.next(), pause).await {
                return request;
            }
            let status = self.status();
            if status != self.told && systemd::notify(Message::Status(status.clone())) {
                self.told = status;
            }
        }
    }

    /// Reads the configuration again and puts it in force. If it has a mistake, changes nothing and logs it.
    async fn reload(&mut self, requests: &mut Requests, logging: &Logging) {
        systemd::notify(Message::Reloading);
        self.told = match self.load(requests).await {
            Some(Ok(loaded)) => {
                loaded.warn();
                self.put_in_force(loaded, logging).await;
                handover::keep_config(config::text(&self.config));
                self.refusal = None;
                format!("{}; configuration read again", self.status())
            }
            Some(Err(error)) => {
                log::error!("{error}; the old configuration stays in force");
                self.refusal = Some(format!("reload refused: {error}"));
                self.status()
            }
            None => return,
        };
        systemd::notify(Message::Ready(self.told.clone()));
    }

    /// Reads the configuration on another thread, because the disk may hang. Queues other requests meanwhile. Returns
    /// `None` if one of them is to stop.
    async fn load(&mut self, requests: &mut Requests) -> Option<Result<Loaded, ConfigError>> {
        let options = self.cli.options.clone();
        let in_force = self.expiry.certificate().cloned();
        let mut loading = Box::pin(rt::blocking(move || {
            config::load_again(&options, &environment, in_force.as_ref(), rt::wall_clock())
        }));
        loop {
            let request = match future::select(loading, requests.next()).await {
                Either::Left((loaded, _)) => return Some(loaded),
                Either::Right((request, again)) => {
                    loading = again;
                    request.unwrap_or(Request::Stop)
                }
            };
            if matches!(request, Request::Stop | Request::HandOver) {
                self.waiting = [request].into();
                return None;
            }
            if !self.waiting.contains(&request) {
                self.waiting.push_back(request);
            }
        }
    }

    async fn put_in_force(&mut self, Loaded { config: new, certificate, .. }: Loaded, logging: &Logging) {
        for key in self.config.fixed_changes(&new) {
            log::warn!("\"{key}\" cannot change while chatd runs: restart chatd to use the new value");
        }
        self.config = self.config.reloaded(&new);
        let identity = certificate.as_ref().map(|certificate| Arc::clone(&certificate.identity));
        self.server.reload(&self.config, identity).await;
        self.expiry.put_in_force(certificate, rt::now(), rt::wall_clock());
        logging.set_level(self.config.log_level);
        log::info!("the configuration was read again");
    }

    /// Freezes all sessions, and stores what the next process needs in the descriptor store. Drains instead if there is
    /// no store.
    async fn hand_over(mut self) {
        let can_keep = systemd::ask(systemd::can_keep).await;
        if can_keep != Some(true) {
            log::warn!(
                "the service manager stores no descriptors ({}): this restart disconnects everybody",
                match can_keep {
                    Some(_) => "FileDescriptorStoreMax= is 0 or too low",
                    None => "it does not answer",
                }
            );
            return self.stop().await;
        }
        if !self.server.keeps_connections() {
            log::warn!("this restart disconnects everybody: see the error at the start");
            return self.stop().await;
        }
        let status = self.server.status();
        log::info!("handing over: {status}");
        let drain = self.config.drain;
        let at_most = drain + STOP_MARGIN;
        systemd::notify(Message::Stopping { status: format!("handing over: {status}"), at_most });
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.cancel().await;
        }
        let handover = self.server.hand_over(drain).await;
        let stored = systemd::ask(move || {
            handover.write().map(|file| {
                systemd::keep(handover::STATE, &[file.as_fd()]);
                systemd::barrier()
            })
        });
        match stored.await.unwrap_or(Ok(false)) {
            Ok(true) => log::info!("handed over"),
            Ok(false) => log::error!("the service manager did not confirm the handover in time"),
            Err(error) => {
                log::error!("cannot write the snapshot: {error}; the next process goes on as after a crash")
            }
        }
    }

    /// Drains and stops.
    async fn stop(self) {
        let status = self.server.status();
        log::info!("stopping: {status}");
        let at_most = self.config.drain + STOP_MARGIN;
        systemd::notify(Message::Stopping { status: format!("stopping: {status}"), at_most });
        if let Some(watchdog) = self.watchdog {
            // A service that stops is no longer watched.
            watchdog.cancel().await;
        }
        self.server.stop(self.config.drain).await;
        log::info!("stopped");
    }
}
