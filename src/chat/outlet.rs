//! Where a member's lines go, and how to get there quickly.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Where it is marked that what that member has been sent ends inside of a line, or may do so, for it is being sent
    /// something. Nothing where nobody goes on with the member after a crash.
    fn torn(&self, _member: SessionId) -> Option<Mark<'_>> {
        None
    }

    /// The non-blocking socket behind it, where [`Outlet::send`] is no more than [`send`] to that.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Says whether that socket may be sent pages of a file, which takes no time but that of the processor. (Before
    /// Linux 6.5 a unix socket waits there for its other end, if that is just being read.)
    fn takes_pages(&self) -> bool {
        false
    }
}

/// A mark in memory that outlives this process. A signal that kills it acts when a system call returns, which may
/// have sent a part of a line: what has to be known of that has to be marked before.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    word: &'a AtomicU64,
    value: u64,
}

impl<'a> Mark<'a> {
    /// The mark that is set where `word` is `value`, which is not 0.
    pub fn new(word: &'a AtomicU64, value: u64) -> Self {
        Self { word, value }
    }

    /// Sets it, or takes it back. A system call of the same thread that comes after it does not overtake it.
    pub fn set(self, is_set: bool) {
        self.word.store(if is_set { self.value } else { 0 }, Ordering::Release);
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
/// times: it is not only user time, it takes the caches from the kernel. So all that is needed is looked up beforehand.
pub(super) struct Way<'a> {
    outlet: &'a dyn Outlet,
    socket: Option<BorrowedFd<'a>>,
    takes_pages: bool,
    torn: Option<Mark<'a>>,
}

impl<'a> Way<'a> {
    pub(super) fn to(outlet: &'a dyn Outlet, member: SessionId) -> Self {
        let (socket, takes_pages) = (outlet.socket(), outlet.takes_pages());
        Self { outlet, socket, takes_pages, torn: outlet.torn(member) }
    }

    /// Marks that what has been sent ends inside of a line, or may do so.
    pub(super) fn mark_torn(&self, is_torn: bool) {
        if let Some(torn) = self.torn {
            torn.set(is_torn);
        }
    }

    /// Sends `bytes`, which are in `pages` if there are any; says how many were taken.
    pub(super) fn send(&self, bytes: &[u8], pages: Option<&Pages>) -> io::Result<usize> {
        let slices = [IoSlice::new(bytes)];
        match (self.socket, pages.filter(|_| self.takes_pages)) {
            (Some(socket), Some(pages)) => pages.send_to(socket),
            (Some(socket), None) => send(socket, &slices),
            (None, _) => self.outlet.send(&slices),
        }
    }
}
