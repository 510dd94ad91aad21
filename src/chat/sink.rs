//! Sinks: where the bytes of a member go, and how to send them fast.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::pages::Pages;

/// A message from the hub to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The hub has taken the session's input, so the session can read again.
    Taken,
    /// The socket is full. The hub waits for [`Input::Writable`](super::Input::Writable).
    Full,
    /// Everything is sent up to the end of the session, so the session can close.
    Done,
    /// The connection failed, so nothing more can be sent.
    Broken,
    /// The client read nothing for `slow_timeout`, so the session must close.
    Slow,
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over TCP.
    Tcp,
    /// Over a unix socket.
    Unix,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Unix];

    /// Returns the name of the transport.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

/// Where the bytes of a member go: the socket of its session.
pub trait Sink: Debug + Send + Sync {
    /// Sends as many bytes as it can without waiting. Returns how many, which may be less than all.
    ///
    /// # Errors
    /// `WouldBlock` if it can take none now. After any other error it never takes any again.
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends a message to the session. Never waits.
    fn signal(&self, signal: Signal);

    /// Returns the mark for "the bytes sent last may end within a line"; `None` if the session does not outlive a
    /// crash.
    fn torn(&self) -> Option<Mark<'_>> {
        None
    }

    /// Stores an encoded [`Standing`](super::Standing), and the sessions that it ignores, for the case of a crash. Both
    /// are empty for a session that has asked for nothing.
    fn record(&self, _standing: &[u8], _ignored: &[u8]) {}

    /// Returns the non-blocking socket, if [`Sink::send`] is only [`send`] to it.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns whether sendfile(2) to the socket never waits. (Before Linux 6.5, it waits at a unix socket while the
    /// other end reads.)
    fn takes_pages(&self) -> bool {
        false
    }

    /// Returns how the client is connected.
    fn transport(&self) -> Transport {
        Transport::Tcp
    }
}

/// A mark in memory that outlives this process. A signal kills the process when a system call returns, which may have
/// sent a part of a line. So set the mark before the system call.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    word: &'a AtomicU64,
    value: u64,
}

impl<'a> Mark<'a> {
    /// Returns the mark that is set if `word` is `value`, which must not be 0.
    pub fn new(word: &'a AtomicU64, value: u64) -> Self {
        Self { word, value }
    }

    /// Sets or clears the mark. A later system call of the same thread does not overtake this.
    pub fn set(self, is_set: bool) {
        self.word.store(if is_set { self.value } else { 0 }, Ordering::Release);
    }
}

/// Sends to a non-blocking stream socket (send(2), sendmsg(2)). Returns how many bytes it took. Raises no SIGPIPE if
/// the peer is gone.
///
/// # Errors
/// The kernel's; `WouldBlock` if the socket can take nothing now.
pub fn send(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(match slices {
        [single] => rustix::net::send(socket, single, SendFlags::NOSIGNAL)?,
        many => rustix::net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?,
    })
}

/// A sink with everything for sending looked up. When the broker sends to many in a row, work between two system calls
/// costs several times its own time, because it also takes the CPU caches from the kernel.
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

    /// Sets or clears the mark for bytes that end within a line, or may do so.
    pub(super) fn mark_torn(&self, is_torn: bool) {
        if let Some(torn) = self.torn {
            torn.set(is_torn);
        }
    }

    /// Sends `slices`, from `pages` if there are any. Returns how many bytes the socket took.
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
