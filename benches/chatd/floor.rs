//! The floor: the least relay that one thread can do, to compare chatd with.
//!
//! One level-triggered epoll(7). What one connection sends is received into one buffer and sent to each
//! other connection at once: no lines, no queues, no log, no limits. A connection that cannot take it makes
//! everybody wait, which is what chatd must not do. It is not a chat daemon; it is what the kernel costs. With a
//! certificate it speaks TLS, and what rustls costs comes to that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use rustls::{ServerConfig, ServerConnection};

use crate::secure;
use crate::server::GREETING;

/// As many callers may wait to be accepted as with chatd.
const BACKLOG: i32 = 4096;
const BUFFER: usize = 64 * 1024;

/// The relay.
struct Floor {
    epoll: OwnedFd,
    listener: OwnedFd,
    /// Everybody, without gaps.
    peers: Vec<Peer>,
    /// What it speaks TLS with, if it does.
    tls: Option<Arc<ServerConfig>>,
    /// Where in `peers` a descriptor is.
    places: Vec<usize>,
}

/// A connection.
struct Peer {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    is_greeted: bool,
}

/// Serves on a free port of the loopback address, which it names on standard error, until it is killed.
pub(crate) fn serve(identity: Option<&Path>) -> io::Result<()> {
    let tls = identity.map(secure::server).transpose()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, BACKLOG)?;
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&listener)?)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, token(&listener), EventFlags::IN)?;
    eprintln!("listening on {address}; try: nc {} {}", address.ip(), address.port());
    Floor { epoll, listener, peers: Vec::new(), tls, places: Vec::new() }.run()
}

fn token(fd: &OwnedFd) -> EventData {
    EventData::new_u64(u64::from(fd.as_raw_fd().unsigned_abs()))
}

impl Floor {
    fn run(mut self) -> io::Result<()> {
        let door = token(&self.listener).u64();
        let mut buffer = vec![0; BUFFER];
        let mut events = Vec::with_capacity(1024);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    fd if fd == door => self.accept()?,
                    fd => self.relay(usize::try_from(fd).unwrap_or(usize::MAX), &mut buffer)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let peer = match rustix::net::accept_with(&self.listener, flags) {
                Ok(peer) => peer,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&peer, true)?;
            epoll::add(&self.epoll, &peer, token(&peer), EventFlags::IN)?;
            let fd = usize::try_from(peer.as_raw_fd()).unwrap_or(usize::MAX);
            if fd >= self.places.len() {
                self.places.resize(fd + 1, usize::MAX);
            }
            self.places[fd] = self.peers.len();
            let tls = self.tls.clone().map(ServerConnection::new).transpose().map_err(io::Error::other)?;
            let mut peer = Peer { stream: peer.into(), tls: tls.map(Box::new), is_greeted: false };
            peer.greet()?;
            self.peers.push(peer);
        }
    }

    /// Passes on what the peer with this descriptor has sent, or forgets it if it is gone.
    fn relay(&mut self, fd: usize, buffer: &mut [u8]) -> io::Result<()> {
        let from = self.places[fd];
        match self.peers[from].receive(buffer) {
            Ok(length) if length > 0 => {
                for (place, peer) in self.peers.iter_mut().enumerate() {
                    if place != from {
                        peer.send(&buffer[..length])?;
                    }
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => {
                drop(self.peers.swap_remove(from));
                if let Some(moved) = self.peers.get(from) {
                    self.places[usize::try_from(moved.stream.as_raw_fd()).unwrap_or(usize::MAX)] = from;
                }
            }
        }
        Ok(())
    }
}

impl Peer {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return Ok(rustix::net::recv(&self.stream, &mut *buffer, RecvFlags::empty())?.0);
        };
        let mut filled = 0;
        // rustls has at most a record and a half at hand after each.
        while buffer.len() - filled > BUFFER / 2 {
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Ok(filled),
                Ok(_) => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
            filled += match tls.reader().read(&mut buffer[filled..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                read => read?,
            };
            if !self.is_greeted && !tls.is_handshaking() {
                self.greet()?;
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        Ok(filled)
    }

    /// Greets it, once there is no handshake to wait for.
    fn greet(&mut self) -> io::Result<()> {
        if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            return Ok(());
        }
        self.is_greeted = true;
        self.send(GREETING)
    }

    /// Sends it all, waiting for the peer if need be. A peer that is gone takes everything: epoll will tell.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return send_all(&self.stream, bytes) };
        if !self.is_greeted {
            return Ok(());
        }
        tls.set_buffer_limit(None);
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_for(&self.stream)?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

fn send_all(peer: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        match rustix::net::send(peer, bytes, SendFlags::NOSIGNAL) {
            Ok(taken) if taken == bytes.len() => return Ok(()),
            Ok(taken) => bytes = &bytes[taken..],
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Ok(()),
        }
        wait_for(peer)?;
    }
}

/// Waits until a peer takes more.
fn wait_for(peer: &TcpStream) -> io::Result<()> {
    match poll(&mut [PollFd::new(peer, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
