//! Where a member's lines go, and how to get there quickly.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::SessionId;
use super::pages::Pages;

/// Where a member's lines go.
pub trait Outlet: Debug + Send + Sync {
    /// Takes as many bytes as it can without waiting, and says how many.
    ///
    /// # Errors
    /// `WouldBlock` if it can take none now; any other error means that it never will.
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// What that member has been sent ends inside of a line from now on, or does not any more. It is told at once, for
    /// there is no telling when this process dies.
    fn note_torn(&self, _member: SessionId, _is_torn: bool) {}

    /// The non-blocking socket behind it, where [`Outlet::send`] is no more than [`send`] to that.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Sends to a non-blocking stream socket, and says how many bytes it took (send(2)). A peer that is gone raises no
/// SIGPIPE.
///
/// # Errors
/// The kernel's; `WouldBlock` if the socket can take nothing now.
pub fn send(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(match slices {
        [single] => rustix::net::send(socket, single, SendFlags::NOSIGNAL)?,
        many => rustix::net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?,
    })
}

/// The shortest way to an outlet. Where many are sent to in a row, what lies between two system calls counts several
/// times: it is not only user time, it takes the caches from the kernel. So the descriptor is looked up beforehand.
pub(super) enum Way<'a> {
    Socket(BorrowedFd<'a>),
    Outlet(&'a dyn Outlet),
}

impl<'a> Way<'a> {
    pub(super) fn to(outlet: &'a dyn Outlet) -> Self {
        outlet.socket().map_or(Self::Outlet(outlet), Self::Socket)
    }

    /// Sends `bytes`, which are in `pages` if there are any; says how many were taken.
    pub(super) fn send(&self, bytes: &[u8], pages: Option<&Pages>) -> io::Result<usize> {
        let slices = [IoSlice::new(bytes)];
        match (self, pages) {
            (Self::Socket(socket), Some(pages)) => pages.send_to(socket),
            (Self::Socket(socket), None) => send(socket, &slices),
            (Self::Outlet(outlet), _) => outlet.send(&slices),
        }
    }
}
