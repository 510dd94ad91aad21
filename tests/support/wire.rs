//! A connection as a client has it: bytes as they are, or TLS around them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;

/// As much as rustls may have ready at once, and more.
const ROOM: usize = 64 * 1024;

/// A connection; it blocks or not as its socket does.
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Bytes as they are.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, tls: None }
    }

    /// TLS, which begins with the first byte that is read or written.
    pub fn secure(stream: TcpStream, config: &Arc<ClientConfig>) -> Self {
        Self::secure_as(stream, config, ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    /// The same, with a server of this name.
    pub fn secure_as(stream: TcpStream, config: &Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { stream, tls: Some(Box::new(tls)) }
    }

    /// Does the handshake.
    #[allow(dead_code)]
    pub fn shake_hands(&mut self) -> io::Result<()> {
        let Self { stream, tls: Some(tls) } = self else { return Ok(()) };
        tls.complete_io(stream).map(drop)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection without what speaks TLS on it.
    pub fn into_socket(self) -> OwnedFd {
        self.stream.into()
    }

    /// What speaks TLS here.
    pub fn tls(&mut self) -> &mut ClientConnection {
        self.tls.as_mut().expect("it speaks TLS")
    }

    /// Reads until nothing more comes without waiting, or the buffer is nearly full; nothing at the end of the input.
    pub fn read_all(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.stream.read(buffer);
        }
        let mut filled = 0;
        while filled == 0 || buffer.len() - filled > ROOM {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // It comes again with the next call.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Writes as much as goes out without waiting: the socket must not block. TLS may keep some for the next time.
    pub fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        let taken = tls.writer().write(bytes)?;
        self.push().map(|()| taken)
    }

    /// Sends what TLS has kept, as far as that goes without waiting. Returns whether that was all.
    pub fn has_sent_all(&mut self) -> io::Result<bool> {
        self.push()?;
        Ok(self.tls.as_ref().is_none_or(|tls| !tls.wants_write()))
    }

    /// The records that TLS makes of `bytes`, in the place of sending them.
    pub fn records_of(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls().writer().write_all(bytes).unwrap();
        self.records()
    }

    /// The records that TLS would send now.
    pub fn records(&mut self) -> Vec<u8> {
        let (tls, mut records) = (self.tls(), Vec::new());
        while tls.wants_write() {
            tls.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Reads what comes next of a handshake, and answers nothing.
    pub fn take_records(&mut self) -> io::Result<()> {
        let Self { stream, tls: Some(tls) } = self else { return Ok(()) };
        tls.read_tls(stream)?;
        tls.process_new_packets().map(drop).map_err(io::Error::other)
    }

    fn push(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Read for Wire {
    /// An end without close_notify is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.push()?;
            let Self { stream, tls: Some(tls) } = self else { continue };
            tls.read_tls(stream)?;
            let state = tls.process_new_packets();
            // The answer to a handshake, or an alert.
            let _ = self.push();
            state.map_err(io::Error::other)?;
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        let taken = tls.writer().write(bytes)?;
        self.flush().map(|()| taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Self { stream, tls: Some(tls) } = self
            && tls.wants_write()
        {
            tls.write_tls(stream)?;
        }
        Ok(())
    }
}
