//! Listening sockets: binding them, and accepting from them whatever happens.
//!
//! A listener goes on after every error of accept(2). It waits between attempts if the error lasts. If descriptors
//! run out, it tells newcomers so through a spare one. It never reads from a new connection, and writes only the
//! notice that turns it away.

mod backoff;
mod socket_file;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::future;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, sockopt};

use backoff::Backoff;
use socket_file::SocketFile;

use super::close::{Origin, turn_away};
use super::connection::Connection;
use super::crash_table::FIRST_BYTE;
use super::http::Page;
use super::keeping::Keep;
use super::numbers::Number;
use super::sessions::Refusal;
use super::tls::Mode;
use super::{Address, Counters, Net, Session, options};
use crate::chat::{Arrival, Input, SessionId};
use crate::protocol::{Form, Notice};
use crate::rt;

/// How many connections may wait to be accepted; the kernel's net.core.somaxconn bounds it further.
const BACKLOG: i32 = 4096;

/// How many connections are accepted before other tasks run. It is large, because the kernel drops connections that
/// find its queue full, and they try again only a second later.
const ACCEPTS_IN_A_ROW: usize = 1024;

/// A socket that is bound and listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket file, if this listener made it. It is removed before the socket closes, so that nobody finds it
    /// stale.
    _file: Option<SocketFile>,
    io: rt::Io,
    address: Address,
    /// Another process has bound it: waiting connections may be older than the options of the socket.
    inherited: bool,
}

impl Listener {
    /// Binds `address` and listens. Port 0 is any free port; [`Listener::address`] has the real one. Replaces a
    /// socket file on which nobody answers. Blocks for a second at most, if another process holds the lock of the
    /// folder.
    ///
    /// # Errors
    /// The kernel's. `NotFound` if there is no such interface. `AddrInUse` also if another program answers on the
    /// socket file, or if the path is something other than a socket.
    pub fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                Self::bind_tcp(options::stream_socket(family)?, *address)
            }
            Address::LinkLocal(address) => {
                let socket = options::stream_socket(AddressFamily::INET6)?;
                let address = address.resolve(&socket)?;
                Self::bind_tcp(socket, address.into())
            }
            Address::Unix(path) => Self::bind_unix(path),
        }
    }

    /// Takes over a socket that another process has bound, for example the service manager. It may be blocking.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a listening stream socket of IP or the unix domain; otherwise the kernel's.
    pub fn inherit(fd: OwnedFd) -> io::Result<Self> {
        let unfit = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_string()));
        match sockopt::socket_type(&fd) {
            Err(Errno::NOTSOCK) => return unfit("it is not a socket"),
            Ok(SocketType::STREAM) => {}
            Ok(_) => return unfit("it is not a stream socket (ListenStream=)"),
            Err(error) => return Err(error.into()),
        }
        if !sockopt::socket_acceptconn(&fd)? {
            return unfit("it is a socket that does not listen (Accept=no)");
        }
        let Some(address) = Address::of(&fd)? else {
            return unfit("it is neither an IP nor a unix socket");
        };
        if address.is_tcp() {
            options::set_tcp(&fd)?;
        }
        // Its file, if it has one, belongs to the process that has bound it.
        Ok(Self { _file: None, io: rt::Io::new(fd)?, address, inherited: true })
    }

    fn bind_tcp(socket: OwnedFd, address: SocketAddr) -> io::Result<Self> {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            // [::] must not include 0.0.0.0, so that both can be bound.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        options::set_tcp(&socket)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let address = Address::of(&socket)?.unwrap_or(Address::Tcp(address));
        Ok(Self { _file: None, io: rt::Io::new(socket)?, address, inherited: false })
    }

    fn bind_unix(path: &Path) -> io::Result<Self> {
        let (socket, file) = SocketFile::listen(path, BACKLOG)?;
        let address = Address::Unix(path.to_owned());
        Ok(Self { _file: Some(file), io: rt::Io::new(socket)?, address, inherited: false })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts for ever, and starts a session for each connection.
    pub async fn run(self, net: Arc<Net>, entrance: Entrance) {
        let acceptor = Acceptor { net, entrance, address: self.address.clone() };
        let mut backoff = Backoff::new();
        let mut set_options = self.inherited && self.address.is_tcp();
        loop {
            // It fails if epoll(7) does not take the descriptor, which may last as well.
            if let Err(error) = future::poll_fn(|cx| self.io.poll_readable(cx)).await {
                self.endure(&mut backoff, &error, &acceptor).await;
            }
            let mut in_a_row = 0;
            loop {
                // Without one, callers wait in the backlog.
                let number = acceptor.number().await;
                match self.accept() {
                    Ok((socket, from)) => {
                        acceptor.end_backoff(&mut backoff);
                        if set_options {
                            // It fails if the client is gone already.
                            let _ = options::set_tcp(&socket);
                        }
                        acceptor.admit(socket, from, number);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        acceptor.end_backoff(&mut backoff);
                        set_options = false;
                        break;
                    }
                    Err(error) if backoff.lasts(&error) => self.endure(&mut backoff, &error, &acceptor).await,
                    Err(error) => {
                        log::debug!("{}: a connection failed before it was accepted: {error}", self.address)
                    }
                }
                in_a_row += 1;
                if in_a_row % ACCEPTS_IN_A_ROW == 0 {
                    rt::yield_now().await;
                }
            }
        }
    }

    /// Logs an error that lasts, tells one newcomer, and waits before the next attempt.
    async fn endure(&self, backoff: &mut Backoff, error: &io::Error, acceptor: &Acceptor) {
        let errno = backoff.begin(error);
        acceptor.net.accept_failure.set(errno);
        if backoff.is_news(rt::now()) {
            let (address, remedy) = (&self.address, backoff::remedy(errno));
            log::warn!("{address}: cannot accept connections, trying again: {error}; {remedy}");
        }
        backoff.with_spare(|| {
            if let Ok((socket, from)) = self.accept() {
                acceptor.refuse(socket, from, &Refusal::NoDescriptor);
            }
        });
        rt::sleep(backoff.next_pause()).await;
    }

    fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        Ok(rustix::net::acceptfrom_with(&self.io, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// What a listener gives its sessions.
#[derive(Debug)]
pub struct Entrance {
    /// The channel to the broker; each session gets a sender of its own.
    pub inputs_tx: mpsc::UnboundedSender<Input>,
    /// The view and the room in which they begin.
    pub arrival: Arc<Arrival>,
    /// The page that clients get instead of the chat; `None` for the chat.
    pub page: Option<Arc<Page>>,
}

/// Makes sessions of connections.
struct Acceptor {
    net: Arc<Net>,
    entrance: Entrance,
    /// The address of the listener.
    address: Address,
}

impl Acceptor {
    /// Ends the backoff, for accept(2) has worked, and clears the error that lasted until then.
    fn end_backoff(&self, backoff: &mut Backoff) {
        if let Some(errno) = backoff.end() {
            self.net.accept_failure.clear(errno);
        }
    }

    /// Returns a number for the next caller; a page needs none. Over TCP it waits for one.
    async fn number(&self) -> Option<Number<'_>> {
        let numbers = &self.net.sessions.numbers;
        match self.entrance.page {
            Some(_) => None,
            None if self.address.is_tcp() => Some(numbers.next().await),
            None => Some(numbers.at_once()),
        }
    }

    fn admit(&self, socket: OwnedFd, from: Option<SocketAddrAny>, number: Option<Number<'_>>) {
        // The address is missing if the client is gone already.
        let ip = from
            .clone()
            .and_then(|from| SocketAddr::try_from(from).ok())
            .map(|from| from.ip().to_canonical());
        let settings = self.net.settings();
        if let Some(page) = &self.entrance.page {
            return match self.net.admit_to_page(&self.address, ip, &settings) {
                Ok(()) => page.serve(socket),
                // A notice would not be HTTP.
                Err(refusal) => self.count_refused(from, &refusal),
            };
        }
        let Some(number) = number else { return };
        // It fails for a caller that is gone already.
        let _ = options::bound_unsent(&socket, settings.send_buffer);
        if !self.address.is_tcp() && self.net.is_of_operator(&socket) {
            return self.open(socket, number.take(), false);
        }
        match self.net.admit(&self.address, ip, number, &settings) {
            Ok((id, is_proxy)) => self.open(socket, id, is_proxy),
            Err(refusal) => self.refuse(socket, from, &refusal),
        }
    }

    /// Turns a connection away.
    fn refuse(&self, socket: OwnedFd, from: Option<SocketAddrAny>, refusal: &Refusal) {
        self.count_refused(from, refusal);
        if self.entrance.page.is_none() {
            let settings = self.net.settings();
            let mode = settings.access.gate_at(&self.address).map_or(Mode::Off, |gate| gate.tls);
            turn_away(socket, &refusal.notice(), self.form(), mode);
        }
    }

    fn count_refused(&self, from: Option<SocketAddrAny>, refusal: &Refusal) {
        let from = from.and_then(|address| SocketAddr::try_from(address).ok());
        self.net.counters.refuse(refusal);
        log::debug!("refused {}: {}", Origin(from), refusal.notice());
    }

    fn open(&self, socket: OwnedFd, id: SessionId, is_proxy: bool) {
        let connection = match Connection::new(socket, id, self.net.keeping.table()) {
            Ok(connection) => Arc::new(connection),
            Err(error) => {
                return log::debug!("a connection failed before it became a session: {error}");
            }
        };
        Counters::count(&self.net.counters.accepted);
        if is_proxy {
            connection.await_client();
        }
        // It is kept before it runs.
        connection.set_mark(FIRST_BYTE, true);
        self.net.sessions.begin(&connection);
        self.net.keeping.tell(Keep::Came(id, Arc::clone(&connection)));
        let Entrance { inputs_tx, arrival, .. } = &self.entrance;
        let session = Session::new(Arc::clone(&self.net), connection, inputs_tx.clone());
        let session = if is_proxy { session.behind_proxy(Vec::new()) } else { session };
        rt::spawn_session(session.run(Some(Arc::clone(arrival))));
    }

    /// Returns the form in which clients here begin.
    fn form(&self) -> Form {
        Form::new(self.entrance.arrival.view, false)
    }
}

/// Sends a notice to the clients that wait at a listening socket, and closes their connections. Does not wait for
/// others. Does nothing if the socket does not listen.
pub fn turn_away_waiting(listening: impl AsFd, notice: &Notice) {
    // Another process has made it: it may be blocking.
    if !sockopt::socket_acceptconn(&listening).unwrap_or(false)
        || rustix::io::ioctl_fionbio(&listening, true).is_err()
    {
        return;
    }
    for _ in 0..BACKLOG {
        match rustix::net::accept_with(&listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => {
                turn_away(&socket, notice, Form::PLAIN, Mode::Optional);
            }
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
