//! The socket of a session, TCP or unix, which the session reads and the hub sends to; and what the hub tells the
//! session.

pub(super) mod signals;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use once_cell::race::OnceBox;
use rustix::net::{AddressFamily, RecvFlags, Shutdown, sockopt};

use signals::{DISMISSED, Signals, UNFLUSHED, bit};

use super::crash_table::{CrashTable, WRITING};
use super::proxy::Recorded;
use super::{login, options, tls};
use crate::chat::sink;
use crate::chat::{Mark, SessionId, Signal, Sink, Transport};
use crate::protocol::{Notice, Reason};
use crate::rt;

/// How often in a row the input of a closing connection is read and dropped.
const READS_IN_A_ROW: usize = 16;

/// A connected stream socket.
#[derive(Debug)]
pub struct Connection {
    io: rt::Io,
    id: SessionId,
    /// The crash table, if connections outlive the process.
    table: Option<Arc<CrashTable>>,
    /// A record could not be written there.
    has_failed: AtomicBool,
    is_tcp: bool,
    from: Option<(IpAddr, u16)>,
    /// The other side is a proxy.
    is_proxied: AtomicBool,
    /// Signals of the hub that the session has not taken yet: a bit for each [`Signal`], [`DISMISSED`] and
    /// [`UNFLUSHED`].
    signals: AtomicU8,
    extra: OnceBox<Extra>,
    /// Wakes the session's task.
    waker: AtomicWaker,
}

/// What most connections never have.
#[derive(Debug, Default)]
struct Extra {
    /// The address of the client behind the proxy.
    client: OnceLock<(IpAddr, u16)>,
    /// Why chatd closes the session, if it does.
    dismissal: OnceLock<Notice>,
    /// The verified name of the client: its login name, or the one in its certificate.
    login: OnceLock<Box<str>>,
    /// How text goes through the socket after a handshake of TLS.
    channel: OnceLock<Box<tls::Channel>>,
}

impl Connection {
    /// Takes over the connected socket of a session, and gives it a slot in `table`, if there is one.
    ///
    /// # Errors
    /// The kernel's, if epoll(7) refuses the descriptor.
    pub fn new(socket: OwnedFd, id: SessionId, table: Option<Arc<CrashTable>>) -> io::Result<Self> {
        let is_tcp = sockopt::socket_domain(&socket).is_ok_and(|domain| domain != AddressFamily::UNIX);
        let from = rustix::net::getpeername(&socket).ok().flatten();
        let connection = Self {
            from: from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| (from.ip(), from.port())),
            io: rt::Io::new(socket)?,
            id,
            table,
            has_failed: AtomicBool::new(false),
            is_tcp,
            is_proxied: AtomicBool::new(false),
            signals: AtomicU8::new(0),
            extra: OnceBox::new(),
            waker: AtomicWaker::new(),
        };
        if let Some(table) = &connection.table {
            table.own(connection.as_fd(), id);
        }
        Ok(connection)
    }

    /// Returns how text goes through the socket; `None` for plain text.
    pub(super) fn channel(&self) -> Option<&tls::Channel> {
        self.extra.get()?.channel.get().map(|channel| &**channel)
    }

    fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    /// Returns the number of its session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Registers `cx` to be woken by [`Connection::wake`] and by signals of the hub.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Wakes the session's task.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Takes the signals of the hub.
    pub(super) fn take_signals(&self) -> Signals {
        Signals::new(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Sets or clears a mark of [`super::crash_table`], [`WRITING`] excepted, in place of another one.
    pub(super) fn set_mark(&self, which: u64, is_set: bool) {
        // The mark of a handshake stays where the keys end with this process.
        if let Some(mark) = self.mark(which)
            && !self.ends_with_process()
        {
            mark.set(is_set);
        }
    }

    fn mark(&self, which: u64) -> Option<Mark<'_>> {
        self.table.as_ref()?.mark(self.as_fd(), self.id, which)
    }

    /// Returns `Ready` when there is something to receive, or the end of input.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_readable(cx)
    }

    /// Returns `Ready` when the kernel takes more.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_writable(cx)
    }

    /// Receives what has arrived, without waiting. Returns the number of bytes; 0 is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived; otherwise the connection's.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(channel) = self.channel() else {
            return Ok(rustix::net::recv(&self.io, &mut *buffer, RecvFlags::empty())?.0);
        };
        let (was_flushed, received) = (channel.is_flushed(), channel.receive(self.as_fd(), buffer));
        // Otherwise the session knows. One that is closing reads whenever it wakes, and would wake itself for ever.
        if was_flushed {
            self.note_unflushed(channel);
        }
        self.note_secrets(channel);
        match received {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.dismiss(Notice::Closing { reason: Reason::NewKeys });
                Err(io::ErrorKind::WouldBlock.into())
            }
            received => received,
        }
    }

    /// Returns how many bytes of half a record the kernel has, which it cannot give out yet; 0 if there is none.
    pub(super) fn half_record(&self) -> u64 {
        self.channel().map_or(0, |channel| channel.unreadable(self.as_fd()))
    }

    /// Returns whether there is something to receive, or the end of input, that [`Connection::poll_readable`] does not
    /// report.
    pub(super) fn has_received(&self) -> bool {
        self.channel().is_some_and(|channel| channel.has_received())
    }

    fn note_unflushed(&self, channel: &tls::Channel) {
        if !channel.is_flushed() {
            self.signals.fetch_or(UNFLUSHED, Ordering::AcqRel);
            self.waker.wake();
        }
    }

    /// Notes from what new keys follow, for the next process. If that fails, new keys after a crash end the connection.
    fn note_secrets(&self, channel: &tls::Channel) {
        if let (Some(table), Some(secrets)) = (&self.table, channel.take_secrets()) {
            let _ = table.set_secrets(self.as_fd(), self.id, &secrets);
        }
    }

    /// Reads and drops what has arrived, in at most [`READS_IN_A_ROW`] reads. Returns whether that was all.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of input, otherwise the connection's.
    pub(super) fn discard(&self, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..READS_IN_A_ROW {
            match self.receive(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Tells the other side that nothing more will be sent (a FIN, after what is still in the kernel; with TLS, behind a
    /// close_notify). Returns false if the socket does not take that now; call it again when it takes more.
    pub fn end_output(&self) -> bool {
        if let Some(channel) = self.channel() {
            return channel.end_output(self.as_fd());
        }
        // It fails if the connection has ended already.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Write);
        true
    }

    /// Sends a last line, and ends the output. Both are lost if the socket does not take them at once.
    pub fn say_last(&self, line: &[u8]) {
        // It fails if the connection has ended already.
        let _ = self.send(&[IoSlice::new(line)]);
        if !self.end_output() {
            let _ = rustix::net::shutdown(&self.io, Shutdown::Write);
        }
    }

    /// Ends the connection in both directions, even if another process holds its descriptor, and frees its slot in
    /// the crash table.
    pub fn end(&self) {
        if let Some(table) = &self.table {
            table.disown(self.as_fd(), self.id);
        }
        // As above.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Both);
    }

    /// Returns the address of the client; `None` for a unix socket, if it was gone at the beginning, and as long as the
    /// header of a proxy is not there.
    pub fn from(&self) -> Option<SocketAddr> {
        let own = self.from.filter(|_| !self.is_proxied.load(Ordering::Acquire));
        self.client().or_else(|| own.map(SocketAddr::from))
    }

    /// Returns the address of the other side, which may be a proxy; `None` for a unix socket, or if it was gone at the
    /// beginning.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.from.map(SocketAddr::from)
    }

    /// The other side is a proxy, and the address of the client is not known yet.
    pub fn await_client(&self) {
        self.is_proxied.store(true, Ordering::Release);
        self.write_record(&Recorded::Awaited.encode(), &[]);
    }

    /// Sets the address of the client behind a proxy. It outlives a crash.
    pub fn set_client(&self, client: SocketAddr) {
        self.restore_client(client);
        self.write_record(&Recorded::Client(client).encode(), &[]);
    }

    /// Sets the address of the client behind a proxy, which another process has recorded.
    pub fn restore_client(&self, client: SocketAddr) {
        let _ = self.extra().client.set((client.ip(), client.port()));
        self.is_proxied.store(true, Ordering::Release);
    }

    /// Returns the address of the client, if it is behind a proxy.
    pub fn client(&self) -> Option<SocketAddr> {
        self.extra.get()?.client.get().copied().map(SocketAddr::from)
    }

    fn write_record(&self, record: &[u8], ignored: &[u8]) {
        let Some(table) = &self.table else { return };
        let recorded = table
            .record(self.as_fd(), self.id, record)
            .and_then(|()| table.set_ignored(self.as_fd(), self.id, ignored));
        // It has no slot any more when it has ended.
        if let Err(error) = &recorded
            && error.kind() != io::ErrorKind::InvalidInput
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            log::warn!("cannot record session {}: {error}; after a crash it would be a guest", self.id.0);
        }
    }

    /// Has a look at what has arrived, and leaves it there. Returns the number of bytes; 0 is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived; otherwise the connection's.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(&self.io, &mut *buffer, RecvFlags::PEEK)?;
        Ok(received)
    }

    /// Returns the address of this side; `None` for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(&self.io).ok().and_then(|address| SocketAddr::try_from(address).ok())
    }

    /// Sets the verified name of the client, which bans can cover. The first one counts. Root at a unix socket gets none:
    /// no ban locks out the owner of the machine.
    pub fn set_login(&self, login: &str) {
        if self.from().is_some() || !login::is_operator(self, None) {
            let _ = self.extra().login.set(login.into());
        }
    }

    /// Returns the verified name that bans can cover: the login name of a user of this machine, or the name in the
    /// certificate. It may be in use with another proof, and then the session is a guest.
    pub fn login(&self) -> Option<&str> {
        self.extra.get()?.login.get().map(|login| &**login)
    }

    /// Returns what TLS has agreed upon; `None` for plain text, and before the handshake is finished.
    pub fn tls(&self) -> Option<&tls::Agreed> {
        self.channel().map(|channel| channel.agreed())
    }

    /// Sets how text goes through the socket from now on. The first one counts.
    pub fn set_channel(&self, channel: tls::Channel) {
        self.note_secrets(self.extra().channel.get_or_init(|| Box::new(channel)));
    }

    /// Returns whether the keys of TLS are in this process alone, so that no other can go on with the connection.
    pub fn ends_with_process(&self) -> bool {
        self.channel().is_some_and(|channel| !channel.is_in_kernel())
    }

    /// Has its session close, with this notice. Returns false if it has been told so before.
    pub fn dismiss(&self, notice: Notice) -> bool {
        let is_first = self.extra().dismissal.set(notice).is_ok();
        if is_first {
            self.signals.fetch_or(DISMISSED, Ordering::AcqRel);
            self.waker.wake();
        }
        is_first
    }

    /// Returns why the session has to close, if it has to.
    pub fn dismissal(&self) -> Option<&Notice> {
        self.extra.get()?.dismissal.get()
    }

    /// The same as if it had come from there.
    #[cfg(test)]
    pub(super) fn coming_from(self, from: Option<(IpAddr, u16)>) -> Self {
        Self { from, ..self }
    }

    /// Returns how many bytes are in the kernel that the other side has not acknowledged; 0 if that is not known.
    pub fn unacknowledged(&self) -> usize {
        options::unacknowledged(&self.io)
    }
}

impl Sink for Connection {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(channel) = self.channel() else { return sink::send(&self.io, slices) };
        let sent = channel.send(self.as_fd(), slices);
        self.note_unflushed(channel);
        self.note_secrets(channel);
        sent
    }

    fn signal(&self, signal: Signal) {
        self.signals.fetch_or(bit(signal), Ordering::AcqRel);
        self.waker.wake();
    }

    fn torn(&self) -> Option<Mark<'_>> {
        self.mark(WRITING)
    }

    fn record(&self, standing: &[u8], ignored: &[u8]) {
        match self.client() {
            None => self.write_record(standing, ignored),
            Some(client) => {
                self.write_record(&[&Recorded::Client(client).encode(), standing].concat(), ignored);
            }
        }
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd()).filter(|_| self.channel().is_none())
    }

    fn takes_pages(&self) -> bool {
        self.is_tcp && self.channel().is_none()
    }

    fn transport(&self) -> Transport {
        if self.is_tcp { Transport::Tcp } else { Transport::Unix }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}
