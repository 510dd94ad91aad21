//! Where a member's bytes go, and how to get there quickly.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::pages::Pages;

/// What the hub tells a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its input has been taken in: it may read on.
    Taken,
    /// The socket took less than it was offered: the hub waits for [`Input::Writable`](super::Input::Writable).
    Full,
    /// All has been sent up to the end of the session: it may close.
    Done,
    /// The connection failed, so nothing more can be sent.
    Broken,
    /// It has not read for `slow_timeout`, and is closed for it.
    Slow,
}

/// Where a member's bytes go: the socket of its session.
pub trait Sink: Debug + Send + Sync {
    /// Takes as many bytes as it can without waiting, and returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if it can take none now. Any other error means that it never will.
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the session something.
    fn signal(&self, signal: Signal);

    /// Returns the mark for "what was sent last may end inside of a line"; `None` where nobody goes on with the session
    /// after a crash.
    fn torn(&self) -> Option<Mark<'_>> {
        None
    }

    /// Keeps who the session is for the case of a crash: a [`Standing`](super::Standing) and whom it ignores, encoded.
    /// Both are empty for a session that has asked for nothing.
    fn record(&self, _standing: &[u8], _ignored: &[u8]) {}

    /// Returns the non-blocking socket, where [`Sink::send`] is no more than [`send`] to it.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns whether the socket may be sent pages of a file without waiting. (Before Linux 6.5 a unix socket waits
    /// for its other end while that is being read.)
    fn takes_pages(&self) -> bool {
        false
    }
}

/// A mark in memory that outlives this process. A signal that kills it acts when a system call returns, which may
/// have sent a part of a line, so the mark is set before.
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

/// Sends to a non-blocking stream socket, and returns how many bytes it took (send(2)). A peer that is gone raises no
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

/// A sink with all that is needed to send to it looked up. Where many are sent to in a row, work between two system
/// calls counts several times: it also takes the caches from the kernel.
pub(super) struct Target<'a> {
    sink: &'a dyn Sink,
    socket: Option<BorrowedFd<'a>>,
    takes_pages: bool,
    torn: Option<Mark<'a>>,
}

impl<'a> Target<'a> {
    pub(super) fn of(sink: &'a dyn Sink) -> Self {
        Self { sink, socket: sink.socket(), takes_pages: sink.takes_pages(), torn: sink.torn() }
    }

    /// Marks that what has been sent ends inside of a line, or may do so.
    pub(super) fn mark_torn(&self, is_torn: bool) {
        if let Some(torn) = self.torn {
            torn.set(is_torn);
        }
    }

    /// Sends `slices`, which are in `pages` if there are any; returns how many bytes were taken.
    pub(super) fn send(&self, slices: &[IoSlice<'_>], pages: Option<&Pages>) -> io::Result<usize> {
        match (self.socket, pages.filter(|_| self.takes_pages)) {
            (Some(socket), Some(pages)) => match pages.send_to(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => send(socket, slices),
                sent => sent,
            },
            (Some(socket), None) => send(socket, slices),
            (None, _) => self.sink.send(slices),
        }
    }
}
