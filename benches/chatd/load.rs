//! The load: a crowd of connections in one thread, as cheap as it can be.
//!
//! A crowd is some listeners and a speaker, which is the last of its connections; with several servers that have nothing
//! to do with each other, the last are a speaker at each of them. All of it is one
//! level-triggered epoll(7); whatever arrives is received into one buffer and only counted, so that the
//! crowd is seldom what a measurement waits for. Nothing here knows what is measured.

use std::io::{self, Error, ErrorKind, Read};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;

use crate::server::{Count, MARK, Server, Wire};
use crate::support::wire::Wire as Connection;

/// Silence for this long is a failure.
pub(crate) const STALL: Duration = Duration::from_secs(20);
/// Silence for this long is the end of what somebody has to say.
const QUIET: Duration = Duration::from_millis(300);
/// Silence for this long, in views where comings are told of, means that all have been.
const GATHERED: Duration = Duration::from_millis(1_500);
const BUFFER: usize = 256 * 1024;

/// Connections to one server.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    sockets: Vec<Option<Connection>>,
    count: Count,
    /// What each has heard, in bytes or in lines.
    heard: Vec<u64>,
    /// How many bytes all of them have heard.
    pub(crate) bytes: u64,
    /// One of those who have heard least, and how much that is: see [`Crowd::least`].
    slowest: (usize, u64),
    events: Vec<Event>,
    buffer: Vec<u8>,
    /// How many got no connection, or not the right greeting.
    pub(crate) refused: usize,
    /// Whoever is greeted goes.
    leaves: bool,
    /// How many of the connections are listeners.
    listeners: usize,
}

/// Lets this process have as many descriptors as it may.
pub(crate) fn raise_descriptors() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

impl Crowd {
    /// Connects so many listeners and a speaker, or one at each server, and fails if one of them is refused.
    pub(crate) fn gather(server: &Server, listeners: usize) -> io::Result<Self> {
        let mut crowd = Self::call(server, listeners)?;
        for address in server.speakers() {
            crowd.connect(address, server.client())?;
            crowd.say(crowd.speaker(), server.wire.speaker_join)?;
        }
        crowd.greet(crowd.speakers(), server.wire.speaker_greeting.as_deref())?;
        crowd.begin()?;
        Ok(crowd)
    }

    /// Connects this many listeners, each in a room of its own, and no speaker.
    pub(crate) fn scatter(server: &Server, listeners: usize) -> io::Result<Self> {
        let join = |who| format!("/join r{who}\n").into_bytes();
        let wire = Wire { join, count: Count::Ends, ..server.wire.clone() };
        let mut crowd = Self::call_as(&server.addresses(), server.client(), &wire, listeners)?;
        while crowd.heard.contains(&0) {
            crowd.expect(|_, _, _| {})?;
        }
        crowd.begin()?;
        Ok(crowd)
    }

    /// Connects so many listeners at once, and no speaker.
    pub(crate) fn call(server: &Server, listeners: usize) -> io::Result<Self> {
        Self::call_as(&server.addresses(), server.client(), &server.wire, listeners)
    }

    /// So many connect at once, to an address, with TLS if there is a `client` for it; each goes when it is greeted.
    pub(crate) fn pass_by(
        address: SocketAddrV4,
        client: Option<&Arc<ClientConfig>>,
        wire: &Wire,
        callers: usize,
    ) -> io::Result<()> {
        let mut crowd = Self::new(wire.count, callers)?;
        crowd.leaves = true;
        (0..callers).try_for_each(|_| crowd.connect(address, client))?;
        crowd.greet(0..callers, wire.greeting.as_deref())
    }

    fn call_as(
        addresses: &[SocketAddrV4],
        client: Option<&Arc<ClientConfig>>,
        wire: &Wire,
        listeners: usize,
    ) -> io::Result<Self> {
        let mut crowd = Self::new(wire.count, listeners)?;
        for who in 0..listeners {
            crowd.connect(addresses[who % addresses.len()], client)?;
            if !wire.greets_first {
                crowd.say(who, &(wire.join)(who))?;
            }
            // Who has nothing certain to say to a caller may have a short backlog too: one at a time.
            let mut is_greeted = wire.greeting.is_some();
            while !is_greeted {
                crowd.expect(|from, _, _| is_greeted |= from == who)?;
            }
        }
        crowd.greet(0..listeners, wire.greeting.as_deref())?;
        if wire.greets_first {
            (0..listeners).try_for_each(|who| crowd.say(who, &(wire.join)(who)))?;
        }
        Ok(crowd)
    }

    /// Nobody, with room for so many and a speaker.
    fn new(count: Count, listeners: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Vec::with_capacity(listeners + 1),
            count,
            heard: Vec::with_capacity(listeners + 1),
            bytes: 0,
            slowest: (0, 0),
            events: Vec::with_capacity(1024),
            buffer: vec![0; BUFFER],
            refused: 0,
            leaves: false,
            listeners,
        })
    }

    fn connect(&mut self, address: SocketAddrV4, client: Option<&Arc<ClientConfig>>) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // Closing leaves nothing behind (TIME_WAIT), so that the next run finds free ports.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        let place = self.sockets.len();
        self.heard.push(0);
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {
                // Whoever speaks TLS has something to say first.
                let first = if client.is_some() { EventFlags::OUT } else { EventFlags::empty() };
                let data = EventData::new_u64(place as u64);
                epoll::add(&self.epoll, &socket, data, EventFlags::IN | first)?;
                let mut connection = match client {
                    Some(client) => Connection::secure(socket.into(), client),
                    None => Connection::plain(socket.into()),
                };
                // At once: chatd takes a client that is silent for plain text.
                connection.has_sent_all()?;
                self.sockets.push(Some(connection));
            }
            Err(_) => {
                self.sockets.push(None);
                self.refused += 1;
            }
        }
        Ok(())
    }

    /// Waits until those have got the greeting. One that gets something else, or is closed, counts as refused.
    fn greet(&mut self, who: std::ops::Range<usize>, greeting: Option<&[u8]>) -> io::Result<()> {
        let Some(greeting) = greeting else {
            while self.receive(QUIET, |_, _, _| {})? {}
            return Ok(());
        };
        if greeting.is_empty() {
            return Ok(());
        }
        let mut missing = vec![0; self.sockets.len()];
        missing[who.clone()].fill(greeting.len());
        let mut open = self.sockets[who].iter().flatten().count();
        while open > 0 {
            if !self.wait(STALL)? {
                return Err(Error::other(format!("{open} callers have no greeting after {STALL:?}")));
            }
            for at in 0..self.events.len() {
                let (data, flags) = (self.events[at].data, self.events[at].flags);
                let place = usize::try_from(data.u64()).unwrap_or(usize::MAX);
                if let Some(socket) = self.sockets[place].as_ref().filter(|_| flags.contains(EventFlags::OUT))
                {
                    epoll::modify(&self.epoll, socket.stream(), data, EventFlags::IN)?;
                }
                if missing[place] == 0 && self.is_told_of_others() {
                    self.ignore(place);
                    continue;
                }
                let rest = &greeting[greeting.len() - missing[place]..];
                match self.hear(place, rest)? {
                    Some(length) => missing[place] -= length,
                    None => missing[place] = 0,
                }
                if missing[place] == 0 {
                    open -= 1;
                    if self.leaves {
                        self.sockets[place] = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Receives some of what is expected, and says how much; `None` after anything else, which is refused.
    fn hear(&mut self, place: usize, expected: &[u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.sockets[place] else { return Err(Error::other("an event of nobody's")) };
        let buffer = &mut self.buffer[..expected.len().max(1)];
        match socket.read(buffer) {
            Ok(length) if length > 0 && expected.get(..length) == buffer.get(..length) => {
                return Ok(Some(length));
            }
            Err(error) if is_nothing(&error) => return Ok(Some(0)),
            _ => {}
        }
        self.sockets[place] = None;
        self.refused += 1;
        Ok(None)
    }

    /// Listeners hear more than lines.
    fn is_told_of_others(&self) -> bool {
        matches!(self.count, Count::Marks(_))
    }

    /// Receives what does not count.
    fn ignore(&mut self, place: usize) {
        if let Some(socket) = &mut self.sockets[place] {
            // An error comes again when something counts.
            let _ = socket.read_all(&mut self.buffer);
        }
    }

    /// From here on everything counts.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if self.is_told_of_others() {
            // Until those who have come have been told of.
            while self.receive(GATHERED, |_, _, _| {})? {}
        }
        if self.refused > 0 {
            return Err(Error::other(format!("{} callers were refused", self.refused)));
        }
        self.heard.fill(0);
        self.slowest = (0, 0);
        Ok(())
    }

    /// The connections that only speak.
    pub(crate) fn speakers(&self) -> std::ops::Range<usize> {
        self.listeners..self.sockets.len()
    }

    /// The last of them.
    pub(crate) fn speaker(&self) -> usize {
        self.sockets.len() - 1
    }

    /// How many lines this one has heard.
    pub(crate) fn lines(&self, who: usize) -> u64 {
        in_lines(self.count, self.heard[who])
    }

    /// How many lines all the listeners have heard. Looks at all of them only when the slowest has moved.
    pub(crate) fn least(&mut self) -> u64 {
        if self.heard[self.slowest.0] != self.slowest.1 {
            let listeners = self.heard[..self.listeners].iter().copied().enumerate();
            self.slowest = listeners.min_by_key(|(_, heard)| *heard).unwrap_or((0, 0));
        }
        in_lines(self.count, self.slowest.1)
    }

    /// Sends what goes at once and says how much; if that is not all, the next wait ends when more goes.
    pub(crate) fn send(&mut self, who: usize, bytes: &[u8]) -> io::Result<usize> {
        let Some(socket) = &mut self.sockets[who] else { return Err(Error::other("a connection is gone")) };
        let taken = match socket.write_some(bytes) {
            Ok(taken) => taken,
            Err(error) if is_nothing(&error) => 0,
            Err(error) => return Err(error),
        };
        if taken < bytes.len() || !socket.has_sent_all()? {
            let both = EventFlags::IN | EventFlags::OUT;
            epoll::modify(&self.epoll, socket.stream(), EventData::new_u64(who as u64), both)?;
        }
        Ok(taken)
    }

    /// Sends it all, waiting if need be.
    pub(crate) fn say(&mut self, who: usize, mut bytes: &[u8]) -> io::Result<()> {
        let Some(socket) = &mut self.sockets[who] else { return Err(Error::other("a connection is gone")) };
        while !bytes.is_empty() || !socket.has_sent_all()? {
            match socket.write_some(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() || !socket.has_sent_all()? {
                poll(&mut [PollFd::new(socket.stream(), PollFlags::OUT)], None)?;
            }
        }
        Ok(())
    }

    /// Waits for something to arrive, receives it and tells of each: who, lines heard before, lines heard
    /// now. Returns false if nothing happened for so long.
    pub(crate) fn receive(
        &mut self,
        patience: Duration,
        mut tell: impl FnMut(usize, u64, u64),
    ) -> io::Result<bool> {
        let some = self.wait(patience)?;
        for event in self.events.drain(..) {
            let who = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(socket) = &mut self.sockets[who] else { continue };
            // The event is packed: its fields can only be copied.
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                epoll::modify(&self.epoll, socket.stream(), event.data, EventFlags::IN)?;
            }
            let length = match socket.read_all(&mut self.buffer) {
                Ok(0) => return Err(Error::other("the server has closed a connection")),
                Ok(length) => length,
                Err(error) if is_nothing(&error) => continue,
                Err(error) => return Err(error),
            };
            self.bytes += length as u64;
            let before = self.heard[who];
            self.heard[who] += match self.count {
                Count::Bytes(_) => length as u64,
                Count::Ends => memchr::memchr_iter(b'\n', &self.buffer[..length]).count() as u64,
                Count::Marks(_) => memchr::memchr_iter(MARK, &self.buffer[..length]).count() as u64,
            };
            tell(who, in_lines(self.count, before), in_lines(self.count, self.heard[who]));
        }
        Ok(some)
    }

    /// As [`Crowd::receive`], but silence is a failure.
    pub(crate) fn expect(&mut self, tell: impl FnMut(usize, u64, u64)) -> io::Result<()> {
        if self.receive(STALL, tell)? {
            return Ok(());
        }
        Err(Error::other(format!("silence; the slowest listener has heard {} lines", self.least())))
    }

    /// Fails unless these listeners have heard exactly so many lines, and hear nothing more.
    pub(crate) fn check(&mut self, listeners: std::ops::Range<usize>, lines: u64) -> io::Result<()> {
        while self.receive(Duration::from_millis(10), |_, _, _| {})? {}
        let right = match self.count {
            Count::Bytes(each) | Count::Marks(each) => lines * each,
            Count::Ends => lines,
        };
        match self.heard[listeners].iter().find(|heard| **heard != right) {
            Some(wrong) => Err(Error::other(format!("a listener has heard {wrong} instead of {right}"))),
            None => Ok(()),
        }
    }

    fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        let until = Instant::now() + patience;
        self.events.clear();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(Error::other)?;
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether an error says that there is nothing to receive, or no room to send, just now.
fn is_nothing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn in_lines(count: Count, heard: u64) -> u64 {
    match count {
        Count::Bytes(each) | Count::Marks(each) => heard / each,
        Count::Ends => heard,
    }
}
