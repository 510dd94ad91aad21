//! The connection: how it comes to stand, and the threads that read and write it.
//!
//! [`connect`] tries all addresses of all targets side by side, the next one a quarter of a second after the one before,
//! as RFC 8305 has it: a dead address costs no more than that. One deadline bounds all of it, name resolution too: the
//! threads that resolve and connect are left behind then. [`Link`] is a connection that stands, [`Lines`] cuts what
//! arrives, [`Backoff`] says when to try again. Knows nothing of what the lines mean.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::event::{End, Event};
use super::target::{ConnectError, Problem, Target};
use crate::net::options;
use crate::protocol::text;

/// How long it may take to connect, unless `--timeout` is shorter.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address is tried alone before the next is tried as well (RFC 8305, Connection Attempt Delay).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that are tried at most.
const MAX_ADDRESSES: usize = 64;

/// Bytes that one read takes.
const READ_BYTES: usize = 64 << 10;

/// The longest line that is kept, in bytes as they were sent: what the largest `max_line` of chatd, 1 MiB, can become in
/// `json`. The rest is cut off.
pub const MAX_BYTES: usize = 4 << 20;

/// What stands at the end of a line that was too long.
pub const CUT: &str = " [cut]";

/// Connects to whichever of the targets answers first, on threads of its own; an event tells what comes of it.
pub fn connect(targets: Vec<Target>, patience: Duration, events: SyncSender<Event>) {
    let (first, telling) = (targets[0].clone(), events.clone());
    let started = thread::Builder::new().spawn(move || {
        let event = match Race::new(targets, patience).run() {
            Ok((stream, target)) => Event::Connected(stream, target),
            Err(error) => Event::NotConnected(error),
        };
        // Whoever does not hear it any more does not need it.
        let _ = events.send(event);
    });
    if let Err(error) = started {
        // There is room for it: without a connection, nobody has much to tell of.
        let _ = telling.send(Event::NotConnected(ConnectError(vec![(first, Problem::System(error))])));
    }
}

/// One address of a target.
enum Place {
    Ip(SocketAddr),
    Unix(PathBuf),
}

/// What the threads of a race find out, each for the target of that number.
enum Found {
    /// Its addresses.
    Places(Vec<Place>),
    /// A connection.
    Stream(TcpStream),
    /// An address that does not answer, or a name without one.
    Nothing(Problem),
}

/// An attempt to connect to any of several targets.
struct Race {
    targets: Vec<Target>,
    patience: Duration,
    started: Instant,
    /// For each target, whether its addresses are still looked up.
    is_resolving: Vec<bool>,
    waiting: VecDeque<(usize, Place)>,
    /// How many addresses are being tried.
    trying: usize,
    /// What came of each target last.
    problems: Vec<Option<Problem>>,
    found_tx: Sender<(usize, Found)>,
    found: Receiver<(usize, Found)>,
}

impl Race {
    fn new(targets: Vec<Target>, patience: Duration) -> Self {
        let (found_tx, found) = mpsc::channel();
        let problems = targets.iter().map(|_| None).collect();
        let (is_resolving, waiting, trying) = (vec![false; targets.len()], VecDeque::new(), 0);
        let started = Instant::now();
        Self { targets, patience, started, is_resolving, waiting, trying, problems, found_tx, found }
    }

    fn run(mut self) -> Result<(TcpStream, Target), ConnectError> {
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
                Ok((at, Found::Stream(stream))) => return Ok((stream, self.targets.swap_remove(at))),
                Ok((at, Found::Places(places))) => {
                    self.is_resolving[at] = false;
                    self.waiting.extend(places.into_iter().take(MAX_ADDRESSES).map(|place| (at, place)));
                }
                Ok((at, Found::Nothing(problem))) => {
                    self.trying -= usize::from(!std::mem::take(&mut self.is_resolving[at]));
                    self.problems[at] = Some(problem);
                }
                Err(_) => {}
            }
        }
    }

    /// Whether the next address may be tried: targets that were named before it go first, for a moment.
    fn may_try(&self, now: Instant) -> bool {
        let Some((at, _)) = self.waiting.front() else { return false };
        now >= self.started + STAGGER || !self.is_resolving[..*at].contains(&true)
    }

    /// Looks up the addresses of a target; those that need no looking up are there at once.
    fn resolve(&mut self, at: usize) {
        match self.targets[at].clone() {
            Target::Unix(path) => self.waiting.push_back((at, Place::Unix(path))),
            Target::Tcp { host, port } => {
                if let Ok(ip) = host.parse::<IpAddr>() {
                    return self.waiting.push_back((at, Place::Ip((ip, port).into())));
                }
                self.is_resolving[at] = true;
                self.spawn(at, move || match (host.as_str(), port).to_socket_addrs() {
                    Ok(addresses) => Found::Places(by_turns(addresses.collect())),
                    Err(error) => Found::Nothing(Problem::NoHost(error)),
                });
            }
        }
    }

    fn try_next(&mut self, deadline: Instant) {
        let Some((at, place)) = self.waiting.pop_front() else { return };
        self.trying += 1;
        let (left, patience) = (deadline.saturating_duration_since(Instant::now()), self.patience);
        let left = left.max(Duration::from_millis(1));
        self.spawn(at, move || match place {
            Place::Ip(address) => match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    // Without them the connection is slower, and found dead later: no reason to have none.
                    let _ = options::set_tcp(&stream);
                    Found::Stream(stream)
                }
                Err(error) => Found::Nothing(Problem::of(error, false, patience)),
            },
            // The two kinds are one for all that is done here: to read, to write, to shut down.
            Place::Unix(path) => match open_unix(&path, left) {
                Ok(socket) => Found::Stream(socket.into()),
                Err(error) => Found::Nothing(no_unix(&path, error, patience)),
            },
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

    fn failed(self) -> ConnectError {
        let late = || Problem::TimedOut(self.patience);
        let problems = self.problems.into_iter().map(|problem| problem.unwrap_or_else(late));
        ConnectError(self.targets.into_iter().zip(problems).collect())
    }
}

/// The addresses of a name, IPv6 and IPv4 by turns, the family of the first one first (RFC 8305, 4).
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<Place> {
    let is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_ipv6);
    let mut places = Vec::new();
    while !first.is_empty() || !second.is_empty() {
        places.extend(first.pop_front().into_iter().chain(second.pop_front()).map(Place::Ip));
    }
    places
}

/// Connects to a unix socket. The timeout for writing bounds how long connect(2) waits while nobody accepts.
fn open_unix(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    net::connect(&socket, &address).map_err(|error| match error {
        Errno::AGAIN => ErrorKind::TimedOut.into(),
        error => io::Error::from(error),
    })?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket)
}

/// Why nobody could be connected to. A file that is no socket refuses as one does on which nobody listens.
fn no_unix(path: &Path, error: io::Error, patience: Duration) -> Problem {
    let is_none = || fs::metadata(path).is_ok_and(|file| !file.file_type().is_socket());
    match Problem::of(error, true, patience) {
        Problem::Refused if is_none() => Problem::NotSocket,
        problem => problem,
    }
}

/// A connection that stands. Dropping it tells the daemon that nothing more comes, when all that was handed over is
/// written.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    bytes: Sender<Vec<u8>>,
}

impl Link {
    /// Starts the threads that read and write: [`Event::Heard`], [`Event::Written`] and in the end [`Event::Ended`] follow.
    ///
    /// # Errors
    /// No thread or no descriptor can be had.
    pub fn start(stream: TcpStream, events: SyncSender<Event>) -> io::Result<Self> {
        let (bytes, bytes_rx) = mpsc::channel();
        let (reading, writing) = (stream.try_clone()?, stream.try_clone()?);
        let written = events.clone();
        thread::Builder::new().spawn(move || write(writing, &bytes_rx, &written))?;
        thread::Builder::new().spawn(move || {
            let end = read(&reading, &events);
            let _ = reading.shutdown(Shutdown::Both);
            let _ = events.send(Event::Ended(end));
        })?;
        Ok(Self { stream, bytes })
    }

    /// Hands over bytes to be written; never waits, so bound what is under way. The reading thread tells when the
    /// connection is lost.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.bytes.send(bytes);
    }

    /// Gives the connection up: [`Event::Ended`] follows.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(mut stream: &TcpStream, events: &SyncSender<Event>) -> End {
    let mut lines = Lines::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut heard = Vec::new();
        match stream.read(&mut buffer) {
            Ok(0) => {
                let _ = lines.finish().is_none_or(|rest| events.send(Event::Heard(vec![rest])).is_ok());
                return End::Closed;
            }
            Ok(count) => lines.feed(&buffer[..count], &mut heard),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return End::Broken(error),
        }
        if !heard.is_empty() && events.send(Event::Heard(heard)).is_err() {
            return End::Closed;
        }
    }
}

/// Writes what is handed over. What cannot be written is lost; then the reading thread finds the connection broken.
fn write(mut stream: TcpStream, pieces: &Receiver<Vec<u8>>, events: &SyncSender<Event>) {
    for bytes in pieces {
        if stream.write_all(&bytes).is_err() {
            return;
        }
        let _ = events.send(Event::Written);
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Cuts what arrives into lines, cleans them, and keeps [`MAX_BYTES`] of each.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Takes the next bytes, and appends the lines that are whole with them.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<String>) {
        while let Some(at) = memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            out.push(self.take());
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    /// Returns the unfinished line at the end, if there is one.
    pub fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let space = MAX_BYTES - self.partial.len();
        self.is_cut |= bytes.len() > space;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        let cut = if std::mem::take(&mut self.is_cut) { CUT } else { "" };
        clean(line.strip_suffix(b"\r").unwrap_or(&line)) + cut
    }
}

/// Bytes as text that can do nothing to a terminal.
pub fn clean(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    text::clean(bytes, &mut out);
    // Clean text is valid; if it were not, it would still be shown.
    String::from_utf8(out).unwrap_or_else(|error| error.to_string())
}

/// The first pause: a daemon that is restarted is back at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause: a daemon that is back should not have to wait for long.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses between attempts: each is twice the one before, more or less a quarter, so that of all who lost their
/// connection at the same time no two come back at the same time.
#[derive(Debug, Default)]
pub struct Backoff {
    taken: u32,
}

impl Backoff {
    /// Returns the next pause; `jitter` is any number that differs between processes.
    pub fn next(&mut self, jitter: u32) -> Duration {
        // 250 ms doubled seven times is more than 30 s.
        let pause = (FIRST * (1 << self.taken.min(7))).min(LONGEST);
        self.taken += 1;
        (pause * (75 + jitter % 51) / 100).min(LONGEST)
    }

    /// Begins anew, after something has lasted.
    pub fn reset(&mut self) {
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        lines.feed(bytes, &mut out);
        out.extend(lines.finish());
        out
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf() {
        assert_eq!(lines(b"a\r\n\nb\rc\nd"), ["a", "", "b^Mc", "d"]);
    }

    #[test]
    fn nothing_that_drives_a_terminal_comes_out() {
        assert_eq!(lines(b"\x1b]0;owned\x07\xff\n"), ["^[]0;owned^G\\xff"]);
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let mut bytes = vec![b'x'; MAX_BYTES + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines(&bytes);
        assert_eq!((lines[0].len(), &lines[1]), (MAX_BYTES + CUT.len(), &"next".to_owned()));
        assert!(lines[0].ends_with(CUT));
    }

    proptest! {
        #[test]
        fn every_cut_gives_the_same_lines(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            let (mut cut, mut out) = (Lines::default(), Vec::new());
            cut.feed(&bytes[..at], &mut out);
            cut.feed(&bytes[at..], &mut out);
            out.extend(cut.finish());
            prop_assert_eq!(&out, &lines(&bytes));
            prop_assert!(out.iter().all(|line| !line.chars().any(|c| c.is_control() && c != '\t')));
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next(25).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.next(25), FIRST);
        let pause = |jitter| Backoff::default().next(jitter);
        assert_eq!((pause(0), pause(50)), (FIRST * 75 / 100, FIRST * 125 / 100));
    }

    #[test]
    fn families_take_turns_and_the_first_goes_first() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(|text| text.parse().unwrap());
        let shown: Vec<_> = by_turns(addresses.into())
            .iter()
            .map(|place| if let Place::Ip(address) = place { address.to_string() } else { String::new() })
            .collect();
        assert_eq!(shown, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert!(by_turns(Vec::new()).is_empty());
    }

    #[test]
    fn whoever_answers_first_is_taken_and_the_dead_are_passed_by() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets = [dead.to_string(), good.local_addr().unwrap().to_string()];
        let targets: Vec<Target> = targets.iter().map(|text| text.parse().unwrap()).collect();
        let (_, target) = Race::new(targets.clone(), CONNECT_TIMEOUT).run().unwrap();
        assert_eq!(target, targets[1]);
        let error = Race::new(vec![targets[0].clone()], CONNECT_TIMEOUT).run().unwrap_err();
        assert!(error.lines()[0].contains("nobody listens there"), "{error:?}");
    }
}
