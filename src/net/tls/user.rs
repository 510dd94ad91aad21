//! TLS records in user space, where the kernel cannot make them. The keys end with the process, and with them the
//! connection.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{RecvFlags, Shutdown};
use rustls::ServerConnection;

use super::Agreed;
use crate::chat::sink;

/// How often in a row the socket is read: records may have a byte each, and who sends waits for the end of it.
const READS_IN_A_ROW: usize = 32;

/// A connection whose records rustls makes and reads.
#[derive(Debug)]
pub struct User {
    agreed: Agreed,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// It also has the ciphertext that the socket has not taken yet.
    tls: Box<ServerConnection>,
    /// The input has ended, and [`User::receive`] has not said so.
    has_ended: bool,
    /// Nothing more can be sent or received.
    has_failed: bool,
    /// The error that [`User::receive`] has not returned yet, because text came before it.
    error: Option<io::Error>,
    /// The close_notify has been made.
    is_closing: bool,
    /// Number of bytes that the socket has taken after the handshake.
    written: u64,
}

/// The socket below the records.
#[derive(Debug)]
pub(super) struct Wire<'a>(pub(super) BorrowedFd<'a>);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self.0, buffer, RecvFlags::empty())?.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sink::send(self.0, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        sink::send(self.0, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the socket the ciphertext that it has not taken yet, and counts it. Returns whether the socket has everything.
///
/// # Errors
/// That of the connection.
pub(super) fn write_out(
    tls: &mut ServerConnection,
    socket: BorrowedFd<'_>,
    written: &mut u64,
) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut Wire(socket)) {
            Ok(count) => *written += count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

impl State {
    /// Fills the buffer with text that has come. Returns the number of bytes; less than fit only at the end of input, at
    /// an error, if no more has come, or after [`READS_IN_A_ROW`]: then the socket has more.
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut filled, mut reads) = (0, 0);
        while filled < buffer.len() {
            match self.tls.reader().read(&mut buffer[filled..]) {
                Ok(count @ 1..) => {
                    filled += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end, also that of many clients, which send no close_notify.
                _ => self.has_ended = true,
            }
            let is_over = self.has_ended || self.error.is_some() || reads == READS_IN_A_ROW;
            if is_over || !self.read_records(socket) {
                break;
            }
            reads += 1;
        }
        match self.error.take_if(|_| filled == 0) {
            Some(error) => Err(error),
            None if filled == 0 && !self.has_ended => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(filled),
        }
    }

    /// Reads records, and answers them. Returns whether there were any.
    fn read_records(&mut self, socket: BorrowedFd<'_>) -> bool {
        match self.tls.read_tls(&mut Wire(socket)) {
            Ok(0) => self.has_ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => self.error = Some(error),
        }
        match self.tls.process_new_packets() {
            Ok(state) => self.has_ended |= state.peer_has_closed(),
            Err(error) => {
                self.has_failed = true;
                self.error.get_or_insert_with(|| io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        // What the socket does not take is left for `flush`, and an error for the next who sends.
        let _ = self.write_out(socket);
        true
    }

    fn write_out(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        write_out(&mut self.tls, socket, &mut self.written)
    }
}

impl User {
    /// Goes on after a handshake.
    pub(super) fn new(agreed: Agreed, tls: Box<ServerConnection>) -> Self {
        let state =
            State { tls, has_ended: false, has_failed: false, error: None, is_closing: false, written: 0 };
        Self { agreed, state: Mutex::new(state) }
    }

    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(super) fn receive(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        self.state().receive(socket, buffer)
    }

    pub(super) fn has_received(&self) -> bool {
        let mut state = self.state();
        let has_text = state.tls.process_new_packets().is_ok_and(|io| io.plaintext_bytes_to_read() > 0);
        state.has_ended || has_text || state.error.is_some()
    }

    /// Takes text only when the socket has all ciphertext from before, so that little waits here.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        if state.has_failed || state.is_closing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !state.write_out(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut slices = slices.to_vec();
        let (mut rest, mut sent) = (&mut slices[..], 0);
        while !rest.is_empty() {
            // At most 64 KiB, the limit of rustls.
            let taken = state.tls.writer().write_vectored(rest)?;
            sent += taken;
            IoSlice::advance_slices(&mut rest, taken);
            if taken == 0 || !state.write_out(socket)? {
                break;
            }
        }
        Ok(sent)
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.state().tls.wants_write()
    }

    pub(super) fn flush(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.state().write_out(socket)
    }

    pub(super) fn written(&self) -> u64 {
        self.state().written
    }

    pub(super) fn end_output(&self, socket: BorrowedFd<'_>) -> bool {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_closing, true) && !state.has_failed {
            state.tls.send_close_notify();
        }
        let is_flushed = state.write_out(socket).unwrap_or(true);
        if is_flushed {
            // It fails if the connection has ended already.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        is_flushed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::chat::{SessionId, Sink};
    use crate::net::connection::Connection;
    use crate::net::tls::testing::Ends;

    #[test]
    fn very_short_records_do_not_hold_up_what_others_send() {
        let mut ends = Ends::shake_hands();
        let mut records = Vec::new();
        for _ in 0..7000 {
            ends.client.writer().write_all(b"x").unwrap();
            ends.client.write_tls(&mut records).unwrap();
        }
        assert_eq!((&ends.there).write(&records).unwrap(), records.len());
        let mut buffer = [0; 8192];
        let mut received = ends.channel.receive(ends.here.as_fd(), &mut buffer).unwrap();
        let rest = rustix::io::ioctl_fionread(&ends.here).unwrap();
        assert!(received < 7000 && rest > 0, "the reactor reports the rest");
        while received < 7000 {
            received += ends.channel.receive(ends.here.as_fd(), &mut buffer[received..]).unwrap();
        }
        assert_eq!(buffer[..7000], [b'x'; 7000]);
    }

    #[test]
    fn text_before_a_record_that_is_damaged_is_received() {
        let mut ends = Ends::shake_hands();
        ends.client.writer().write_all(b"last\n").unwrap();
        let mut records = Vec::new();
        ends.client.write_tls(&mut records).unwrap();
        records.extend([&b"\x17\x03\x03\0\x20"[..], &[1; 32]].concat());
        assert_eq!((&ends.there).write(&records).unwrap(), records.len());
        assert_eq!(ends.receive().unwrap(), "last\n");
        assert!(ends.channel.has_received());
        assert_eq!(ends.receive(), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn a_session_that_reads_is_not_told_again_what_it_has_to_flush() {
        let Ends { channel, here, there: _there, .. } = Ends::shake_hands();
        let connection = Connection::new(here.into(), SessionId(1), None).unwrap();
        connection.set_channel(channel);
        while connection.send(&[IoSlice::new(&[b'x'; 9999])]).is_ok() {}
        assert!(connection.take_signals().has_unflushed());
        let error = connection.receive(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!connection.take_signals().has_unflushed());
    }
}
