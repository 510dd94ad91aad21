//! A parcel: connections that wait inside the kernel, in a pair of unix sockets, with the numbers of their sessions.
//!
//! A connection in a parcel stays open when its process dies, as long as another process holds both ends: the service
//! manager does. One system call puts in or takes out up to 253 connections (unix(7), SCM_RIGHTS). A parcel never
//! blocks.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::chat::SessionId;

/// Most connections in a message: SCM_MAX_FD of the kernel.
pub const MOST: usize = 253;

/// Bytes of a session number.
const NUMBER: usize = size_of::<u64>();

/// Two connected sockets, and the messages between them.
#[derive(Debug)]
pub struct Parcel {
    /// The end for [`Parcel::put`].
    pub inlet: OwnedFd,
    /// The end for [`Parcel::take`], in the order in which they were put in.
    pub outlet: OwnedFd,
}

impl Parcel {
    /// Makes an empty parcel.
    ///
    /// # Errors
    /// The kernel's, if there are no descriptors or no memory.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (inlet, outlet) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self { inlet, outlet })
    }

    /// Puts up to [`MOST`] connections in, as one message.
    ///
    /// # Errors
    /// `WouldBlock` if too many messages are in it. `ETOOMANYREFS` if this user has more descriptors in messages than
    /// it may have open (LimitNOFILE=). Then none is put in.
    pub fn put(&self, sessions: &[(SessionId, BorrowedFd<'_>)]) -> io::Result<()> {
        let numbers: Vec<u8> = sessions.iter().flat_map(|(id, _)| id.0.to_le_bytes()).collect();
        let sockets: Vec<BorrowedFd<'_>> = sessions.iter().map(|(_, socket)| *socket).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(&self.inlet, &[IoSlice::new(&numbers)], &mut control, flags)?;
        // The kernel takes so short a message as a whole.
        if sent == numbers.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Takes out the connections of the oldest message; none if the parcel is empty.
    ///
    /// # Errors
    /// `InvalidData` for a message that [`Parcel::put`] has not written; its descriptors are closed.
    pub fn take(&self) -> io::Result<Vec<(SessionId, OwnedFd)>> {
        self.receive(RecvFlags::empty())
    }

    /// Returns the same as [`Parcel::take`], and leaves the message in the parcel.
    ///
    /// # Errors
    /// As [`Parcel::take`].
    pub fn look(&self) -> io::Result<Vec<(SessionId, OwnedFd)>> {
        self.receive(RecvFlags::PEEK)
    }

    fn receive(&self, how: RecvFlags) -> io::Result<Vec<(SessionId, OwnedFd)>> {
        let mut numbers = [0; NUMBER * MOST];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC | how;
        let mut slices = [IoSliceMut::new(&mut numbers)];
        let received = match rustix::net::recvmsg(&self.outlet, &mut slices, &mut control, flags) {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        if received != sockets.len() * NUMBER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a parcel of chatd's"));
        }
        let ids = numbers[..received].as_chunks().0.iter().map(|bytes| SessionId(u64::from_le_bytes(*bytes)));
        Ok(ids.zip(sockets).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn connections_come_out_in_the_order_in_which_they_were_put_in_and_still_work() {
        let parcel = Parcel::new().unwrap();
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        for (start, piece) in pairs.chunks(MOST).enumerate().map(|(at, piece)| (at * MOST, piece)) {
            let sessions: Vec<_> = piece
                .iter()
                .enumerate()
                .map(|(at, (one, _))| (SessionId((start + at) as u64), one.as_fd()))
                .collect();
            parcel.put(&sessions).unwrap();
        }
        let (mut others, mut at) = (Vec::new(), 0);
        for (one, other) in pairs {
            drop(one);
            others.push(other);
        }
        loop {
            let taken = parcel.take().unwrap();
            if taken.is_empty() {
                break;
            }
            for (id, socket) in taken {
                assert_eq!(id, SessionId(at as u64));
                UnixStream::from(socket).write_all(&[at as u8]).unwrap();
                let mut byte = [0];
                others[at].read_exact(&mut byte).unwrap();
                assert_eq!(byte, [at as u8]);
                at += 1;
            }
        }
        assert_eq!(at, 300);
    }

    #[test]
    fn what_is_looked_at_stays_in_it() {
        let parcel = Parcel::new().unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        parcel.put(&[(SessionId(7), one.as_fd())]).unwrap();
        drop(one);
        drop(parcel.look().unwrap());
        let taken = parcel.take().unwrap().pop().unwrap();
        UnixStream::from(taken.1).write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
        assert!(parcel.look().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_parcel_is_told_from_one() {
        let parcel = Parcel::new().unwrap();
        rustix::io::write(&parcel.inlet, b"not a parcel").unwrap();
        assert_eq!(parcel.take().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(parcel.take().unwrap().is_empty());
    }
}
