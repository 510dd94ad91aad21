//! Somebody who talks to a server, and fails when the answer is not what was expected.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustix::process::Uid;
use rustls::client::ClientConfig;

use super::wire::Wire;

/// How long anything that is waited for may stay away before the test fails. It ends tests that would hang, and is no
/// measure of how fast anything is.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const GREETING: &str = "Hello, connection to the server ok!\n";

/// Somebody connected to a server.
pub struct Caller {
    wire: Wire,
    /// What was received and not yet expected.
    heard: Vec<u8>,
    /// When something was received last, if anything was.
    received: Option<Instant>,
    longest_pause: Duration,
}

impl Caller {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }

    /// Somebody who has been greeted, and hence hears what is said from now on.
    #[track_caller]
    pub fn join(address: SocketAddr) -> Self {
        let mut caller = Self::connect(address);
        caller.expect(GREETING);
        caller
    }

    /// Somebody with this address of IPv4.
    pub fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Self::on(socket.into())
    }

    /// Somebody whose kernel keeps only a few KiB of what is not read.
    pub fn connect_with_little_space(address: SocketAddr) -> Self {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        // Before it connects: what has been offered once is not taken back.
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Self::on(socket.into())
    }

    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        // The two kinds are one for all that is done here.
        Self::on(OwnedFd::from(stream).into())
    }

    /// The user who runs this; for root, whom no ban covers, another one.
    pub fn user() -> Uid {
        let own = rustix::process::getuid();
        if own.is_root() { Uid::from_raw(1) } else { own }
    }

    /// Somebody who is [`Caller::user`].
    pub fn connect_unix_as_user(path: &Path) -> Self {
        let path = path.to_owned();
        let connecting = std::thread::spawn(move || {
            // Of this thread alone.
            rustix::thread::set_thread_res_uid(Self::user(), Self::user(), Self::user()).unwrap();
            Self::connect_unix(&path)
        });
        connecting.join().unwrap()
    }

    /// Somebody who speaks TLS, from the first thing said or expected on.
    pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut caller = Self::connect(address);
        caller.wire = Wire::secure(caller.wire.stream().try_clone().unwrap(), config);
        caller
    }

    fn on(stream: TcpStream) -> Self {
        Self { wire: Wire::plain(stream), heard: Vec::new(), received: None, longest_pause: Duration::ZERO }
    }

    pub fn say(&mut self, text: impl AsRef<[u8]>) {
        self.wire.write_all(text.as_ref()).unwrap();
    }

    /// Says something that the other side may not want to hear any more.
    pub fn try_say(&mut self, text: &[u8]) {
        let _ = self.wire.write_all(text);
    }

    /// Says as much as goes out without waiting; returns how much that was.
    pub fn say_without_waiting(&mut self, text: &[u8]) -> usize {
        self.stream().set_nonblocking(true).unwrap();
        let said = self.wire.write_some(text).unwrap_or(0);
        self.stream().set_nonblocking(false).unwrap();
        said
    }

    pub fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }

    /// The connection below all this; tests/ktls does more with it.
    #[allow(dead_code)]
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The connection alone; what was received and not expected is gone.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    pub fn end_input(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The longest time between two things that were received, whether nothing came or nobody looked.
    pub fn longest_pause(&self) -> Duration {
        self.longest_pause
    }

    /// Ends the input of a connection that may have ended already.
    pub fn try_end_input(&self) {
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Takes the next `len` bytes that are heard.
    #[track_caller]
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        while self.heard.len() < len {
            if !self.receive(Instant::now() + PATIENCE) {
                panic!("the connection ended after: {}", show(&self.heard));
            }
        }
        self.heard.drain(..len).collect()
    }

    /// Fails unless the next thing heard is `text`.
    #[track_caller]
    pub fn expect(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        while self.heard.len() < text.len() && text.starts_with(&self.heard) {
            if !self.receive(Instant::now() + PATIENCE) {
                break;
            }
        }
        assert!(self.heard.starts_with(text), "expected {} heard {}", show(text), show(&self.heard));
        self.heard.drain(..text.len());
    }

    /// All that is heard up to and without `mark`.
    #[track_caller]
    pub fn until(&mut self, mark: &str) -> String {
        String::from_utf8(self.take_until(mark.as_bytes())).unwrap()
    }

    /// The same, whatever it is.
    #[track_caller]
    pub fn take_until(&mut self, mark: &[u8]) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = find(&self.heard, mark) {
                let before = self.heard.drain(..at).collect();
                self.heard.drain(..mark.len());
                return before;
            }
            if !self.receive(deadline) {
                panic!("the connection ended before {}: {}", show(mark), show(&self.heard));
            }
        }
    }

    /// All that is heard until the connection ends.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive(Instant::now() + PATIENCE) {}
        std::mem::take(&mut self.heard)
    }

    /// Fails unless TLS is refused, or the connection is cut, and nothing was heard.
    #[allow(dead_code)]
    #[track_caller]
    pub fn expect_refused(&mut self) {
        self.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        let error = self.wire.read(&mut [0]).expect_err("it is refused");
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "waited too long");
    }

    /// Fails unless the connection ends with nothing more to hear.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "heard {} before the end", show(&rest));
    }

    #[track_caller]
    fn receive(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited too long after: {}", show(&self.heard));
        self.stream().set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 65536];
        match self.wire.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                let now = Instant::now();
                let pause = self.received.replace(now).map_or(Duration::ZERO, |last| now - last);
                self.longest_pause = self.longest_pause.max(pause);
                self.heard.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("waited too long after: {}", show(&self.heard))
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // With a timeout, recv(2) is not taken up again after a stop (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("{error} after: {}", show(&self.heard)),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

/// What was heard, for a failure: the last part of it where it is long.
fn show(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(2000);
    let dots = if start > 0 { "... " } else { "" };
    format!("{dots}\"{}\" ({} bytes)", bytes[start..].escape_ascii(), bytes.len())
}
