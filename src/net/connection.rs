//! The socket of a session, TCP or unix, which the session reads and the hub sends to; and what the hub tells the
//! session.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use rustix::net::{AddressFamily, RecvFlags, Shutdown, sockopt};

use super::crash_table::{CrashTable, READING, WRITING};
use super::options;
use crate::chat::sink;
use crate::chat::{Mark, SessionId, Signal, Sink};
use crate::rt;

/// How often input is read away in a row from a connection that is closing.
const READS_IN_A_ROW: usize = 16;

/// A connected stream socket.
#[derive(Debug)]
pub struct Connection {
    io: rt::Io,
    id: SessionId,
    /// Where it is noted for the case of a crash.
    table: Option<Arc<CrashTable>>,
    /// It could not be noted there.
    has_failed: AtomicBool,
    is_tcp: bool,
    /// What the hub has told the session since it last looked: a bit for each [`Signal`].
    signals: AtomicU8,
    /// Wakes the session's task.
    waker: AtomicWaker,
}

/// What the hub has told a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signals(u8);

impl Signals {
    pub(super) fn has(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }
}

fn bit(signal: Signal) -> u8 {
    1 << signal as u8
}

impl Connection {
    /// Takes over the connected socket of a session, which is noted in `table` if it outlives the process.
    ///
    /// # Errors
    /// The kernel's, where the descriptor cannot be waited for.
    pub fn new(socket: OwnedFd, id: SessionId, table: Option<Arc<CrashTable>>) -> io::Result<Self> {
        let is_tcp = sockopt::socket_domain(&socket).is_ok_and(|domain| domain != AddressFamily::UNIX);
        let connection = Self {
            io: rt::Io::new(socket)?,
            id,
            table,
            has_failed: AtomicBool::new(false),
            is_tcp,
            signals: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        };
        if let Some(table) = &connection.table {
            table.own(connection.as_fd(), id);
        }
        Ok(connection)
    }

    /// The number of its session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Has `cx` woken by [`Connection::wake`] and by what the hub tells the session.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Wakes the session's task.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Takes out what the hub has told the session.
    pub(super) fn take_signals(&self) -> Signals {
        Signals(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Half a line has been read, or the other half as well.
    pub fn note_half_read(&self, is_half: bool) {
        if let Some(mark) = self.mark(READING) {
            mark.set(is_half);
        }
    }

    fn mark(&self, which: u64) -> Option<Mark<'_>> {
        self.table.as_ref()?.mark(self.as_fd(), self.id, which)
    }

    /// Ready when there is something to receive, or the end of it.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_readable(cx)
    }

    /// Ready when the kernel takes more.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_writable(cx)
    }

    /// Receives what there is, without waiting; 0 is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing yet, otherwise the connection's.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(&self.io, &mut *buffer, RecvFlags::empty())?;
        Ok(received)
    }

    /// Reads away what has arrived, into `buffer`; returns whether that was all. Bounded, for there may be no end to it.
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

    /// Tells the other side that nothing more will be sent (a FIN, after what is still in the kernel).
    pub fn end_output(&self) {
        // It fails where the connection is gone already: then there is nobody to be told.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Write);
    }

    /// Ends the connection in both directions, whoever else holds its descriptor. It is known no more after a crash.
    pub fn end(&self) {
        if let Some(table) = &self.table {
            table.disown(self.as_fd(), self.id);
        }
        // As above.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Both);
    }

    /// Where the other side is; `None` for a unix socket, or where it is gone already.
    pub fn caller(&self) -> Option<SocketAddr> {
        let address = rustix::net::getpeername(&self.io).ok()??;
        SocketAddr::try_from(address).ok()
    }

    /// How many bytes are in the kernel that the other side has not acknowledged; 0 where it is not known.
    pub fn unacknowledged(&self) -> usize {
        options::unacknowledged(&self.io)
    }
}

impl Sink for Connection {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        sink::send(&self.io, slices)
    }

    fn signal(&self, signal: Signal) {
        self.signals.fetch_or(bit(signal), Ordering::AcqRel);
        self.waker.wake();
    }

    fn torn(&self) -> Option<Mark<'_>> {
        self.mark(WRITING)
    }

    fn record(&self, standing: &[u8], ignored: &[u8]) {
        let Some(table) = &self.table else { return };
        let recorded = table
            .record(self.as_fd(), self.id, standing)
            .and_then(|()| table.set_ignored(self.as_fd(), self.id, ignored));
        // It is not in the table any more when it is over.
        if let Err(error) = &recorded
            && error.kind() != io::ErrorKind::InvalidInput
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            log::warn!("session {} would be a guest after a crash: {error}", self.id.0);
        }
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn takes_pages(&self) -> bool {
        self.is_tcp
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}
