//! The connection: how it comes to stand, and the threads that read and write it.
//!
//! [`connect`] tries all addresses of all targets side by side, the next one a quarter of a second after the one before,
//! as RFC 8305 has it: a dead address costs no more than that. One deadline bounds all of it, name resolution too: the
//! threads that resolve and connect are left behind then. [`Link`] is a connection that stands, [`Lines`] cuts what
//! arrives, [`Backoff`] says when to try again. Knows nothing of what the lines mean.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr;
use rustix::io::{Errno, read, retry_on_intr};
use socket2::{SockAddr, Socket, Type};

use super::event::{End, Event};
use super::target::{Problem, Target};
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
            Ok((stream, at)) => Event::Connected(stream, at),
            Err(lines) => Event::NotConnected(lines),
        };
        // Whoever does not hear it any more does not need it.
        let _ = events.send(event);
    });
    if let Err(error) = started {
        // There is room for it: without a connection, nobody has much to tell of.
        let _ = telling.send(Event::NotConnected(vec![Problem::System(error).line(&first)]));
    }
}

/// What the threads of a race find out, each for the target of that number.
enum Found {
    /// Its addresses.
    Addresses(Vec<SockAddr>),
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
    waiting: VecDeque<(usize, SockAddr)>,
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
        let (is_resolving, waiting, trying) = (vec![true; targets.len()], VecDeque::new(), 0);
        let started = Instant::now();
        Self { targets, patience, started, is_resolving, waiting, trying, problems, found_tx, found }
    }

    /// Returns the first connection that stands, and the number of its target.
    fn run(mut self) -> Result<(TcpStream, usize), Vec<String>> {
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

    /// Looks up the addresses of a target.
    fn resolve(&self, at: usize) {
        let target = self.targets[at].clone();
        self.spawn(at, move || match target {
            Target::Unix(path) => match SockAddr::unix(path) {
                Ok(address) => Found::Addresses(vec![address]),
                Err(error) => Found::Nothing(Problem::System(error)),
            },
            Target::Tcp { host, port } => match (host, port).to_socket_addrs() {
                Ok(addresses) => Found::Addresses(by_turns(addresses.collect())),
                Err(error) => Found::Nothing(Problem::NoHost(error)),
            },
        });
    }

    fn try_next(&mut self, deadline: Instant) {
        let Some((at, address)) = self.waiting.pop_front() else { return };
        self.trying += 1;
        let (target, patience) = (self.targets[at].clone(), self.patience);
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.spawn(at, move || match open(&address, left) {
            Ok(stream) => Found::Stream(stream),
            Err(error) => Found::Nothing(Problem::of(error, &target, patience)),
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

    fn failed(&self) -> Vec<String> {
        let late = Problem::TimedOut(self.patience);
        let problems = self.problems.iter().map(|problem| problem.as_ref().unwrap_or(&late));
        problems.zip(&self.targets).map(|(problem, target)| problem.line(target)).collect()
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
            let end = hear(&reading, &events);
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

fn hear(stream: &TcpStream, events: &SyncSender<Event>) -> End {
    let mut lines = Lines::new(MAX_BYTES);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match retry_on_intr(|| read(stream, &mut buffer)) {
            Err(error) => return End::Broken(error.into()),
            Ok(count) => &buffer[..count],
        };
        let heard = if read.is_empty() { Vec::from_iter(lines.finish()) } else { lines.feed(read) };
        let heard: Vec<String> = heard.into_iter().map(shown).collect();
        let is_over = !heard.is_empty() && events.send(Event::Heard(heard)).is_err();
        if is_over || read.is_empty() {
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

/// Cuts bytes into lines, and keeps so many bytes of each.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    partial: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Keeps at most so many bytes of a line.
    pub fn new(most: usize) -> Self {
        Self { most, partial: Vec::new(), is_cut: false }
    }

    /// Takes the next bytes. Returns the lines that are whole with them, and whether each was cut.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Vec::new();
        while let Some(at) = memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            lines.push(self.take());
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
        lines
    }

    /// Returns the unfinished line at the end, if there is one.
    pub fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let space = self.most - self.partial.len();
        self.is_cut |= bytes.len() > space;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    fn take(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.partial), std::mem::take(&mut self.is_cut))
    }
}

/// A line that has arrived, as it is shown.
fn shown((line, is_cut): (Vec<u8>, bool)) -> String {
    clean(line.strip_suffix(b"\r").unwrap_or(&line)) + if is_cut { CUT } else { "" }
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
        let mut lines = Lines::new(MAX_BYTES);
        let mut out = lines.feed(bytes);
        out.extend(lines.finish());
        out.into_iter().map(shown).collect()
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
    fn lines_that_wait_fill_no_memory() {
        let longest = shown((vec![0xff; MAX_BYTES], true)).len();
        assert!(crate::client::event::EVENTS * longest <= 129 << 20);
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
            let mut cut = Lines::new(MAX_BYTES);
            let mut out = cut.feed(&bytes[..at]);
            out.extend(cut.feed(&bytes[at..]));
            out.extend(cut.finish());
            let out: Vec<String> = out.into_iter().map(shown).collect();
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
        let ordered = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(|text| text.parse().unwrap());
        let shown: Vec<_> = by_turns(addresses.into()).iter().filter_map(SockAddr::as_socket).collect();
        assert_eq!(shown, ordered);
        assert!(by_turns(Vec::new()).is_empty());
    }

    #[test]
    fn of_targets_that_all_answer_the_first_is_taken() {
        let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &std::net::TcpListener| listener.local_addr().unwrap().to_string();
        let targets: Vec<Target> = listeners.iter().map(|one| address(one).parse().unwrap()).collect();
        for _ in 0..20 {
            assert_eq!(Race::new(targets.clone(), CONNECT_TIMEOUT).run().unwrap().1, 0);
        }
    }

    #[test]
    fn whoever_answers_first_is_taken_and_the_dead_are_passed_by() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets = [dead.to_string(), good.local_addr().unwrap().to_string()];
        let targets: Vec<Target> = targets.iter().map(|text| text.parse().unwrap()).collect();
        let (_, at) = Race::new(targets.clone(), CONNECT_TIMEOUT).run().unwrap();
        assert_eq!(at, 1);
        let lines = Race::new(vec![targets[0].clone()], CONNECT_TIMEOUT).run().unwrap_err();
        assert!(lines[0].contains("nobody listens there"), "{lines:?}");
    }
}
