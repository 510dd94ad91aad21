//! How a connection comes to stand.
//!
//! A [`Dialer`] tries all addresses of all targets side by side, the next one a quarter of a second after the one before,
//! as RFC 8305 has it: a dead address costs no more than that. One deadline bounds all of it, name resolution and the TLS
//! handshake too: the threads that resolve and connect are left behind then.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{SockAddr, Socket, Type};

use super::event::{End, Event};
use super::target::{Problem, Target};
use super::tls::{self, Stream};
use super::trust::Trust;
use crate::net::options;

/// How long it may take to connect, unless `--timeout` is shorter.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address is tried alone before the next is tried as well (RFC 8305, Connection Attempt Delay).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that are tried at most.
const MAX_ADDRESSES: usize = 64;

/// Connects to whichever of the targets answers first.
#[derive(Debug)]
pub struct Dialer {
    /// Where to connect: any of them will do.
    pub targets: Vec<Target>,
    /// Which of them is connected.
    pub at: usize,
    /// Whom it trusts, where TLS is spoken.
    trust: Arc<Trust>,
    /// How long it tries.
    patience: Duration,
    /// What was told of TLS since a connection was good, in words.
    told: Vec<String>,
}

impl Dialer {
    /// Tries so long each time.
    pub fn new(targets: Vec<Target>, trust: Trust, patience: Duration) -> Self {
        Self { targets, at: 0, trust: Arc::new(trust), patience, told: Vec::new() }
    }

    /// The target that is connected, or the first.
    pub fn target(&self) -> &Target {
        &self.targets[self.at]
    }

    /// Connects on threads of its own; an event tells what comes of it.
    pub fn connect(&self, events: SyncSender<Event>) {
        let (targets, trust, patience) = (self.targets.clone(), Arc::clone(&self.trust), self.patience);
        let telling = events.clone();
        let started = thread::Builder::new().spawn(move || {
            let event = match Race::new(targets, trust, patience).run() {
                Ok((stream, at)) => Event::Connected(stream, at),
                Err(problems) => Event::NotConnected(problems),
            };
            // If nobody receives it, nobody needs it.
            let _ = events.send(event);
        });
        if let Err(error) = started {
            // There is room for it: without a connection, nobody has much to tell of.
            let _ = telling.send(Event::NotConnected(vec![Problem::System(error)]));
        }
    }

    /// Why there is no connection, a line for each target. Somebody who was connected before hears only who is not trusted,
    /// and each of that once.
    pub fn news(&mut self, problems: &[Problem], was_connected: bool) -> Vec<String> {
        let is_news = |problem: &Problem| !was_connected || matches!(problem, Problem::Tls(_));
        let news = problems.iter().zip(&self.targets).filter(|(problem, _)| is_news(problem));
        let lines: Vec<_> = news.map(|(problem, target)| problem.line(target)).collect();
        // An attempt without news does not make news of what was told before it.
        if lines.is_empty() || self.told == lines {
            return Vec::new();
        }
        self.told.clone_from(&lines);
        lines
    }

    /// Why the server that was connected goes on no more, if it refuses TLS and that was not told.
    pub fn refusal(&mut self, end: &End) -> Option<String> {
        let End::Broken(error) = end else { return None };
        let problem = Problem::of_answer(&[], Some(error), self.target());
        let line = matches!(problem, Problem::Tls(_)).then(|| problem.line(self.target()))?;
        (self.told != [line.as_str()]).then(|| self.told = vec![line.clone()])?;
        Some(line)
    }

    /// There is a connection. With TLS 1.3 the server may still want a certificate.
    pub fn connected(&mut self, at: usize) {
        self.at = at;
    }

    /// The connection is a good one.
    pub fn settled(&mut self) {
        self.told.clear();
    }
}

/// What the threads of a race find out, each for the target of that number.
enum Found {
    /// Its addresses.
    Addresses(Vec<SockAddr>),
    /// One of them answers, and has to speak TLS.
    Opened,
    /// A connection.
    Stream(Stream),
    /// An address that does not answer, or a name without one.
    Nothing(Problem),
}

/// An attempt to connect to any of several targets.
struct Race {
    targets: Vec<Target>,
    trust: Arc<Trust>,
    patience: Duration,
    started: Instant,
    /// For each target, whether its addresses are still looked up.
    is_resolving: Vec<bool>,
    waiting: VecDeque<(usize, SockAddr)>,
    /// How many addresses are being tried.
    trying: usize,
    /// What came of each target last.
    problems: Vec<Option<Problem>>,
    found_tx: Sender<(usize, Found)>,
    found: Receiver<(usize, Found)>,
}

impl Race {
    fn new(targets: Vec<Target>, trust: Arc<Trust>, patience: Duration) -> Self {
        let (found_tx, found) = mpsc::channel();
        let problems = targets.iter().map(|_| None).collect();
        let (is_resolving, waiting, trying) = (vec![true; targets.len()], VecDeque::new(), 0);
        let started = Instant::now();
        Self { targets, trust, patience, started, is_resolving, waiting, trying, problems, found_tx, found }
    }

    /// Returns the first connection that stands, and the number of its target.
    fn run(mut self) -> Result<(Stream, usize), Vec<Problem>> {
        let deadline = self.started + self.patience;
        let mut next_try = self.started;
        (0..self.targets.len()).for_each(|at| self.resolve(at));
        loop {
            let now = Instant::now();
            if (self.trying == 0 || now >= next_try) && self.may_try(now) {
                self.try_next(deadline);
                next_try = now + STAGGER;
                continue;
            }
            if now >= deadline || (self.trying == 0 && !self.is_resolving.contains(&true)) {
                return Err(self.failed());
            }
            let wait = if self.waiting.is_empty() { deadline } else { deadline.min(now + STAGGER) };
            match self.found.recv_timeout(wait.saturating_duration_since(now)) {
                Ok((at, Found::Stream(stream))) => return Ok((stream, at)),
                Ok((at, Found::Addresses(addresses))) => {
                    self.is_resolving[at] = false;
                    self.waiting
                        .extend(addresses.into_iter().take(MAX_ADDRESSES).map(|address| (at, address)));
                    self.waiting.make_contiguous().sort_by_key(|(at, _)| *at);
                }
                Ok((at, Found::Opened)) => self.note(at, Problem::Stalls(self.patience)),
                Ok((at, Found::Nothing(problem))) => {
                    self.trying -= usize::from(!std::mem::take(&mut self.is_resolving[at]));
                    self.note(at, problem);
                }
                Err(_) => {}
            }
        }
    }

    /// Notes what came of a target last. Who is not trusted is news, whatever its other addresses do.
    fn note(&mut self, at: usize, problem: Problem) {
        if matches!(problem, Problem::Tls(_)) || !matches!(self.problems[at], Some(Problem::Tls(_))) {
            self.problems[at] = Some(problem);
        }
    }

    /// Whether the next address may be tried: targets that were named before it go first, for a moment.
    fn may_try(&self, now: Instant) -> bool {
        let Some((at, _)) = self.waiting.front() else { return false };
        now >= self.started + STAGGER || !self.is_resolving[..*at].contains(&true)
    }

    /// Looks up the addresses of a target.
    fn resolve(&self, at: usize) {
        let target = self.targets[at].clone();
        self.spawn(at, move || match target {
            Target::Unix(path) => match SockAddr::unix(path) {
                Ok(address) => Found::Addresses(vec![address]),
                Err(error) => Found::Nothing(Problem::System(error)),
            },
            Target::Tcp { host, port, .. } => match (host, port).to_socket_addrs() {
                Ok(addresses) => Found::Addresses(by_turns(addresses.collect())),
                Err(error) => Found::Nothing(Problem::NoHost(error)),
            },
        });
    }

    fn try_next(&mut self, deadline: Instant) {
        let Some((at, address)) = self.waiting.pop_front() else { return };
        self.trying += 1;
        let (target, patience, trust) = (self.targets[at].clone(), self.patience, Arc::clone(&self.trust));
        let (left, opened) = (
            deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
            self.found_tx.clone(),
        );
        self.spawn(at, move || match (open(&address, left), &target) {
            (Err(error), _) => Found::Nothing(Problem::of(error, &target, patience)),
            (Ok(socket), Target::Tcp { host, tls: true, .. }) => {
                let _ = opened.send((at, Found::Opened));
                tls::handshake(&trust, socket, host, deadline).map_or_else(
                    |error| Found::Nothing(Problem::of_handshake(error, patience)),
                    Found::Stream,
                )
            }
            (Ok(socket), _) => Found::Stream(Stream { socket, tls: None }),
        });
    }

    fn spawn(&self, at: usize, job: impl FnOnce() -> Found + Send + 'static) {
        let (found_tx, telling) = (self.found_tx.clone(), self.found_tx.clone());
        // The race may be over by then.
        let started = thread::Builder::new().spawn(move || drop(found_tx.send((at, job()))));
        if let Err(error) = started {
            let _ = telling.send((at, Found::Nothing(Problem::System(error))));
        }
    }

    fn failed(self) -> Vec<Problem> {
        let late = || Problem::TimedOut(self.patience);
        self.problems.into_iter().map(|problem| problem.unwrap_or_else(late)).collect()
    }
}

/// The addresses of a name, IPv6 and IPv4 by turns, the family of the first one first (RFC 8305, 4).
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SockAddr> {
    let is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_ipv6);
    let mut places = Vec::new();
    while !first.is_empty() || !second.is_empty() {
        places.extend(first.pop_front().into_iter().chain(second.pop_front()).map(SockAddr::from));
    }
    places
}

/// Connects to an address. The timeout for writing bounds how long connect(2) waits: see socket(7).
fn open(address: &SockAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(address).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::AGAIN | Errno::INPROGRESS) => ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    socket.set_write_timeout(None)?;
    // Without them the connection is slower, and found dead later: no reason to have none. A unix socket has none.
    let _ = options::set_tcp(&socket);
    // The two kinds are one for all that is done here: to read, to write, to shut down.
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_goes_first() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(|text| text.parse().unwrap());
        let ordered = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(|text| text.parse().unwrap());
        let shown: Vec<_> = by_turns(addresses.into()).iter().filter_map(SockAddr::as_socket).collect();
        assert_eq!(shown, ordered);
        assert!(by_turns(Vec::new()).is_empty());
    }

    #[test]
    fn who_is_not_trusted_is_told_once_although_nobody_answers_in_between() {
        let target = "tls://127.0.0.1:1".parse().unwrap();
        let mut dialer = Dialer::new(vec![target], Trust::default(), CONNECT_TIMEOUT);
        let untrusted = || [Problem::Tls("its certificate does not count".to_owned())];
        assert_eq!(dialer.news(&untrusted(), true).len(), 1);
        assert!(dialer.news(&[Problem::Refused], true).is_empty());
        assert!(dialer.news(&untrusted(), true).is_empty());
        assert_eq!(dialer.news(&[Problem::Tls("another reason".to_owned())], true).len(), 1);
        dialer.connected(0);
        let again = [Problem::Tls("another reason".to_owned())];
        assert!(dialer.news(&again, true).is_empty(), "the connection was not a good one yet");
        dialer.settled();
        assert_eq!(dialer.news(&untrusted(), true).len(), 1);
    }

    #[test]
    fn of_targets_that_all_answer_the_first_is_taken() {
        let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &std::net::TcpListener| listener.local_addr().unwrap().to_string();
        let targets: Vec<Target> = listeners.iter().map(|one| address(one).parse().unwrap()).collect();
        for _ in 0..20 {
            assert_eq!(Race::new(targets.clone(), Arc::default(), CONNECT_TIMEOUT).run().unwrap().1, 0);
        }
    }

    #[test]
    fn whoever_answers_first_is_taken_and_the_dead_are_passed_by() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets = [dead.to_string(), good.local_addr().unwrap().to_string()];
        let targets: Vec<Target> = targets.iter().map(|text| text.parse().unwrap()).collect();
        let (_, at) = Race::new(targets.clone(), Arc::default(), CONNECT_TIMEOUT).run().unwrap();
        assert_eq!(at, 1);
        let problems =
            Race::new(vec![targets[0].clone()], Arc::default(), CONNECT_TIMEOUT).run().unwrap_err();
        assert!(problems[0].line(&targets[0]).contains("nobody listens there"), "{problems:?}");
    }
}
