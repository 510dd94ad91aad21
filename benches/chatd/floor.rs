//! The floor: the least relay that one thread can do, to compare chatd with.
//!
//! One level-triggered epoll(7). What one connection sends is received into one buffer and sent to each
//! other connection at once: no lines, no queues, no log, no limits. A connection that cannot take it makes
//! everybody wait, which is what chatd must not do. It is not a chat daemon; it is what the kernel costs.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::server::GREETING;

/// As many callers may wait to be accepted as with chatd.
const BACKLOG: i32 = 4096;
const BUFFER: usize = 64 * 1024;

/// The relay.
struct Floor {
    epoll: OwnedFd,
    listener: OwnedFd,
    /// Everybody, without gaps.
    peers: Vec<OwnedFd>,
    /// Where in `peers` a descriptor is.
    places: Vec<usize>,
}

/// Serves on a free port of the loopback address, which it names on standard error, until it is killed.
pub(crate) fn serve() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, BACKLOG)?;
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&listener)?)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, token(&listener), EventFlags::IN)?;
    eprintln!("listening on {address}; try: nc {} {}", address.ip(), address.port());
    Floor { epoll, listener, peers: Vec::new(), places: Vec::new() }.run()
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
            let _ = rustix::net::send(&peer, GREETING, SendFlags::NOSIGNAL);
            let fd = usize::try_from(peer.as_raw_fd()).unwrap_or(usize::MAX);
            if fd >= self.places.len() {
                self.places.resize(fd + 1, usize::MAX);
            }
            self.places[fd] = self.peers.len();
            self.peers.push(peer);
        }
    }

    /// Passes on what the peer with this descriptor has sent, or forgets it if it is gone.
    fn relay(&mut self, fd: usize, buffer: &mut [u8]) -> io::Result<()> {
        let from = self.places[fd];
        match rustix::net::recv(&self.peers[from], &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 => {
                for (place, peer) in self.peers.iter().enumerate() {
                    if place != from {
                        send_all(peer, &buffer[..length])?;
                    }
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => {
                drop(self.peers.swap_remove(from));
                if let Some(moved) = self.peers.get(from) {
                    self.places[usize::try_from(moved.as_raw_fd()).unwrap_or(usize::MAX)] = from;
                }
            }
        }
        Ok(())
    }
}

/// Sends it all, waiting for the peer if need be. A peer that is gone takes everything: epoll will tell.
fn send_all(peer: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        match rustix::net::send(peer, bytes, SendFlags::NOSIGNAL) {
            Ok(taken) if taken == bytes.len() => return Ok(()),
            Ok(taken) => bytes = &bytes[taken..],
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Ok(()),
        }
        match poll(&mut [PollFd::new(peer, PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
