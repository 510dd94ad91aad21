//! The channel of a TLS connection after its handshake: the kernel or rustls makes and reads the records.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use zeroize::Zeroizing;

use super::Agreed;
use super::kernel::Kernel;
use super::user::User;

/// How text goes through the socket of a TLS connection.
#[derive(Debug)]
pub enum Channel {
    /// The kernel has the keys.
    Kernel(Kernel),
    /// rustls has them.
    User(User),
}

impl Channel {
    /// Returns whether the kernel has the keys, so that the connection outlives the process.
    pub fn is_in_kernel(&self) -> bool {
        matches!(self, Self::Kernel(_))
    }

    /// Returns what the handshake has agreed upon.
    pub fn agreed(&self) -> &Agreed {
        match self {
            Self::Kernel(kernel) => kernel.agreed(),
            Self::User(user) => user.agreed(),
        }
    }

    /// Receives text, without waiting. Returns the number of bytes; 0 is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; `Unsupported` if the client has new keys and the kernel cannot take them; otherwise
    /// that of the connection.
    pub fn receive(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Kernel(kernel) => kernel.receive(socket, buffer),
            Self::User(user) => user.receive(socket, buffer),
        }
    }

    /// Returns whether the kernel can have new keys for it.
    pub fn takes_new_keys(&self) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.takes_new_keys(),
            Self::User(_) => false,
        }
    }

    /// Returns the secrets of the keys that the kernel has, once, and again after each change. The next process needs
    /// them.
    pub fn take_secrets(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Kernel(kernel) => kernel.take_secrets(),
            Self::User(_) => None,
        }
    }

    /// Returns how many bytes the kernel has that nobody can read yet, or any more; 0 if there are none.
    pub fn unreadable(&self, socket: BorrowedFd<'_>) -> u64 {
        match self {
            Self::Kernel(kernel) => kernel.unreadable(socket),
            Self::User(_) => 0,
        }
    }

    /// Sends text, without waiting. Returns how many bytes it took. See [`Channel::is_flushed`].
    ///
    /// # Errors
    /// `WouldBlock` if it takes none now; otherwise that of the connection.
    pub fn send(&self, socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Kernel(kernel) => kernel.send(socket, slices),
            Self::User(user) => user.send(socket, slices),
        }
    }

    /// Returns whether there is something to receive, or the end of input, that the socket does not report.
    pub fn has_received(&self) -> bool {
        match self {
            Self::Kernel(_) => false,
            Self::User(user) => user.has_received(),
        }
    }

    /// Returns whether the socket has everything that was sent. If not, call [`Channel::flush`] when it takes more.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Kernel(_) => true,
            Self::User(user) => user.is_flushed(),
        }
    }

    /// Gives the socket what it has not taken yet. Returns whether it has everything.
    ///
    /// # Errors
    /// That of the connection.
    pub fn flush(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        match self {
            Self::Kernel(_) => Ok(true),
            Self::User(user) => user.flush(socket),
        }
    }

    /// Returns how many bytes the socket has taken; 0 where the kernel makes the records.
    pub fn written(&self) -> u64 {
        match self {
            Self::Kernel(_) => 0,
            Self::User(user) => user.written(),
        }
    }

    /// Tells the client that nothing more will be sent: a close_notify, and a FIN behind it. Returns false if the socket
    /// does not take that now; call it again when it takes more.
    pub fn end_output(&self, socket: BorrowedFd<'_>) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.end_output(socket),
            Self::User(user) => user.end_output(socket),
        }
    }
}
