//! A connection to the daemon: a thread that connects and then reads, and one that writes.
//!
//! Both tell what happens as [`Event`]s, through one bounded channel, to the one thread that decides; so nothing that
//! the daemon or the network does can hold up the keyboard. chatc has a handful of things to wait for, among them the
//! keyboard, for which rustyline blocks: threads and the sockets of the standard library are enough for that, and
//! need neither the runtime nor a bridge to it. The reading thread ends with [`Event::Ended`], or with
//! [`Event::NotConnected`]; the writing one when its [`Link`] is dropped.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::arriving::Lines;
use super::failure::{ConnectError, End, Problem};
use super::impostor::Impostor;
use super::target::Target;
use crate::net::options;

/// How long an address may take to answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the daemon may take to close the connection when somebody leaves. What is heard then is not shown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes that one read takes: a paste, or a part of the last lines.
const READ_BYTES: usize = 64 << 10;

/// Events that wait: when there are more, the threads wait, and the daemon in the end.
const EVENTS: usize = 64;

/// What is still to be written, in pieces: the few commands of chatc itself, and one that somebody has typed.
const PIECES: usize = 16;

/// Something has happened.
#[derive(Debug)]
pub enum Event {
    /// The connection stands.
    Connected(Link),
    /// There is none.
    NotConnected(ConnectError),
    /// Lines have arrived, clean.
    Heard(Vec<String>),
    /// A piece has been written.
    Written,
    /// Everything has been written, and the daemon is about to be told that nothing more comes: if the connection ends
    /// after that, it may have taken all of it; if it ends before, it has not.
    SaidAll,
    /// The connection has ended: nothing more is heard.
    Ended(End),
    /// A line was typed.
    Typed(String),
    /// The keyboard has ended: at the end of input, or because somebody said stop.
    Hung(Hung),
    /// All that was piped in has been handed over.
    Copied(io::Result<()>),
    /// A signal says stop.
    Stop,
}

/// How the keyboard has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// Ctrl-D, or the end of the file.
    EndOfInput,
    /// Ctrl-C.
    Interrupted,
    /// What was typed is no text: another line may be.
    NotText,
    /// It cannot be read any more.
    Broken,
}

/// The channel for events: who can tell of something, and the one who hears it.
pub fn events() -> (SyncSender<Event>, Receiver<Event>) {
    mpsc::sync_channel(EVENTS)
}

/// The next event, unless it is `until` first: however many there are, the time comes.
///
/// # Errors
/// The time has come; or nobody is left who could tell of something.
pub fn next(events: &Receiver<Event>, until: Option<Instant>) -> Result<Event, RecvTimeoutError> {
    let Some(until) = until else { return events.recv().map_err(|_| RecvTimeoutError::Disconnected) };
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(RecvTimeoutError::Timeout),
        left => events.recv_timeout(left),
    }
}

/// Something to be written.
enum Piece {
    Bytes(Vec<u8>),
    /// Nothing more is said.
    End,
    /// Nothing more is heard, either.
    Close,
}

/// What can be done with a connection that stands. Dropping it closes it, when all that was handed over is written.
#[derive(Clone, Debug)]
pub struct Link {
    pieces: SyncSender<Piece>,
}

impl Link {
    /// Hands over bytes to be written; waits while too many are. What a connection that is lost does not take is lost.
    pub fn send(&self, bytes: Vec<u8>) {
        // The reading thread tells when the connection is lost.
        let _ = self.pieces.send(Piece::Bytes(bytes));
    }

    /// Hands over lines, without their endings, if there is room for them: a daemon that reads nothing makes nobody
    /// wait. Says whether there was.
    pub fn offer(&self, lines: &[String]) -> bool {
        let bytes = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes();
        self.pieces.try_send(Piece::Bytes(bytes)).is_ok()
    }

    /// Tells the daemon that nothing more comes, once all before is written; waits as [`Link::send`] does.
    pub fn end(&self) {
        let _ = self.pieces.send(Piece::End);
    }

    /// The same, but does not wait: a daemon that reads nothing is not told.
    pub fn try_end(&self) {
        let _ = self.pieces.try_send(Piece::End);
    }

    /// Lets the daemon close the connection, for a moment: one that is closed with something unread in it takes back
    /// what was said last.
    pub fn leave(&self, events: &Receiver<Event>) {
        self.try_end();
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !matches!(next(events, Some(deadline)), Ok(Event::Ended(_)) | Err(_)) {}
    }

    /// Gives the connection up: [`Event::Ended`] follows.
    pub fn close(&self) {
        let _ = self.pieces.try_send(Piece::Close);
    }
}

/// Connects, on a thread of its own; events tell what comes of it.
pub fn connect(target: Target, patience: Duration, events: SyncSender<Event>) {
    let (to_whom, telling) = (target.clone(), events.clone());
    let started = thread::Builder::new().spawn(move || match open(&target, patience) {
        Ok(stream) => attend(stream, &events),
        Err(problem) => not_connected(target, problem, &events),
    });
    if let Err(error) = started {
        // There is room for it: without a connection, nobody has much to tell of.
        not_connected(to_whom, Problem::System(error), &telling);
    }
}

fn not_connected(target: Target, problem: Problem, events: &SyncSender<Event>) {
    // Whoever does not hear it any more does not need it.
    let _ = events.send(Event::NotConnected(ConnectError { target, problem }));
}

/// Connects to the first address that answers.
fn open(target: &Target, patience: Duration) -> Result<TcpStream, Problem> {
    match target {
        Target::Unix(path) => {
            let socket = open_unix(path, patience).map_err(|error| no_unix(path, error, patience))?;
            // The two kinds are one for all that is done here: to read, to write, to shut down.
            Ok(socket.into())
        }
        Target::Tcp { host, port } => {
            let addresses = (host.as_str(), *port).to_socket_addrs().map_err(Problem::NoHost)?;
            open_any(addresses, Instant::now() + patience, patience)
        }
    }
}

/// Connects to a unix socket. The timeout for writing bounds how long connect(2) waits while nobody accepts.
fn open_unix(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // None would mean that it waits for ever.
    let patience = patience.max(Duration::from_millis(1));
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

fn open_any(
    addresses: impl Iterator<Item = SocketAddr>,
    deadline: Instant,
    patience: Duration,
) -> Result<TcpStream, Problem> {
    let mut last = Problem::NoHost(io::Error::other("it has no address"));
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Problem::TimedOut(patience));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                // Without them the connection is slower, and found dead later: no reason to have none.
                let _ = options::set_tcp(&stream);
                return Ok(stream);
            }
            Err(error) => last = Problem::of(error, false, patience),
        }
    }
    Err(last)
}

/// Reads until the end, while another thread writes.
fn attend(stream: TcpStream, events: &SyncSender<Event>) {
    let (pieces_tx, pieces_rx) = mpsc::sync_channel(PIECES);
    let writing_events = events.clone();
    let started = stream
        .try_clone()
        .and_then(|clone| thread::Builder::new().spawn(move || write(clone, pieces_rx, &writing_events)));
    let end = match started {
        Ok(_) => {
            if events.send(Event::Connected(Link { pieces: pieces_tx })).is_err() {
                return;
            }
            read(&stream, events)
        }
        Err(error) => End::Broken(error),
    };
    let _ = stream.shutdown(Shutdown::Both);
    let _ = events.send(Event::Ended(end));
}

fn read(mut stream: &TcpStream, events: &SyncSender<Event>) -> End {
    let (mut lines, mut impostor) = (Lines::default(), Impostor::default());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut heard = Vec::new();
        match stream.read(&mut buffer) {
            Ok(0) => {
                let _ = lines.finish().is_none_or(|rest| events.send(Event::Heard(vec![rest])).is_ok());
                return End::Closed;
            }
            Ok(count) => {
                if let Some(what) = impostor.feed(&buffer[..count]) {
                    return End::NotChatd(what);
                }
                lines.feed(&buffer[..count], &mut heard);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return End::Broken(error),
        }
        if !heard.is_empty() && events.send(Event::Heard(heard)).is_err() {
            return End::Closed;
        }
    }
}

/// Writes what is handed over. What cannot be written is lost; then the reading thread finds the connection broken.
fn write(mut stream: TcpStream, pieces: Receiver<Piece>, events: &SyncSender<Event>) {
    for piece in pieces {
        let written = match piece {
            Piece::Bytes(bytes) => stream.write_all(&bytes),
            Piece::End => {
                let _ = events.send(Event::SaidAll);
                stream.shutdown(Shutdown::Write)
            }
            Piece::Close => stream.shutdown(Shutdown::Both),
        };
        if written.is_err() {
            // Nobody waits for the rest: the channel is closed, so handing over fails at once.
            return;
        }
        let _ = events.send(Event::Written);
    }
    let _ = stream.shutdown(Shutdown::Write);
}
