//! The socket of a session: TCP or unix, the rest of chatd does not know which.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{AddressFamily, RecvFlags, Shutdown, sockopt};

use super::marks::{Marks, READING, WRITING};
use super::options;
use crate::chat::SessionId;
use crate::chat::outlet::{self, Mark, Outlet};
use crate::rt;

/// A connected stream socket.
#[derive(Debug)]
pub struct Stream {
    io: rt::Io,
    /// Where it is marked, for the case of a crash.
    marks: Option<Arc<Marks>>,
    is_tcp: bool,
}

impl Stream {
    /// Takes over a connected socket, which is marked in `marks` if it outlives the process.
    ///
    /// # Errors
    /// The kernel's, where the descriptor cannot be waited for.
    pub fn new(socket: OwnedFd, marks: Option<Arc<Marks>>) -> io::Result<Self> {
        let is_tcp = sockopt::socket_domain(&socket).is_ok_and(|domain| domain != AddressFamily::UNIX);
        Ok(Self { io: rt::Io::new(socket)?, marks, is_tcp })
    }

    /// Half a line has been read for that session, or the other half as well.
    pub fn note_half_read(&self, id: SessionId, is_half: bool) {
        if let Some(mark) = self.mark(id, READING) {
            mark.set(is_half);
        }
    }

    fn mark(&self, id: SessionId, which: u64) -> Option<Mark<'_>> {
        self.marks.as_ref()?.of(self.as_fd(), id, which)
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

    /// Says that nothing more will be sent (a FIN, after what is still in the kernel).
    pub fn end_output(&self) {
        // It fails where the connection is gone already: then there is nobody to be told.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Write);
    }

    /// Ends the connection in both directions, whoever else holds its descriptor.
    pub fn end(&self) {
        // As above.
        let _ = rustix::net::shutdown(&self.io, Shutdown::Both);
    }

    /// Where the other side is; nothing for a unix socket, or where it is gone already.
    pub fn caller(&self) -> Option<SocketAddr> {
        let address = rustix::net::getpeername(&self.io).ok()??;
        SocketAddr::try_from(address).ok()
    }

    /// The descriptor.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    /// How many bytes are in the kernel that the other side has not acknowledged; 0 where it is not known.
    pub fn unacknowledged(&self) -> usize {
        options::unacknowledged(&self.io)
    }
}

impl Outlet for Stream {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        outlet::send(&self.io, slices)
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn takes_pages(&self) -> bool {
        self.is_tcp
    }

    fn torn(&self, id: SessionId) -> Option<Mark<'_>> {
        self.mark(id, WRITING)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}
