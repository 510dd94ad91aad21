//! A server that says what a test tells it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use crate::support::PATIENCE;

/// A listener on a free port, which says nothing by itself.
pub struct Fake {
    listener: TcpListener,
}

/// A port of this machine where nobody listens, and nobody else can: for as long as it is there.
pub struct Nowhere {
    pub address: String,
    _socket: OwnedFd,
}

impl Nowhere {
    pub fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap().to_string();
        Self { address, _socket: socket }
    }
}

impl Fake {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// One that takes no more than it has to of what it does not read.
    pub fn narrow() -> Self {
        let fake = Self::start();
        rustix::net::sockopt::set_socket_recv_buffer_size(&fake.listener, 1024).unwrap();
        fake
    }

    pub fn address(&self) -> String {
        self.socket_address().to_string()
    }

    pub fn socket_address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next who connects.
    #[track_caller]
    pub fn accept(&self) -> Guest {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let count = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(count, 1, "nobody connects");
        Guest::new(self.listener.accept().unwrap().0)
    }
}

/// Who has connected to a fake server.
pub struct Guest {
    stream: TcpStream,
}

impl Guest {
    /// Who has connected to a socket of any kind.
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        let stream = TcpStream::from(socket.into());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Says something that the other side may not want to hear any more; says whether it does.
    pub fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Everything that is heard until a line ends.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            let count = self.stream.read(&mut byte);
            assert_eq!(count.ok(), Some(1), "after {:?}", String::from_utf8_lossy(&line));
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Does what chatd does with a program that begins: says objects, and sends its tokens back.
    #[track_caller]
    pub fn greet(&mut self) {
        assert_eq!(self.line(), "/view json\n");
        self.say("{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"any sentence\"}\n");
        assert!(self.sync().is_empty() && self.sync().is_empty());
    }

    /// Reads lines up to a token, and sends it back. Returns the lines before it.
    #[track_caller]
    pub fn sync(&mut self) -> Vec<String> {
        let (lines, token) = self.asked();
        self.synced(&token);
        lines
    }

    /// Reads lines up to a token, and returns both.
    #[track_caller]
    pub fn asked(&mut self) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match line.strip_prefix("/sync ") {
                Some(token) => return (lines, token.trim_end().to_owned()),
                None => lines.push(line),
            }
        }
    }

    /// Sends a token back, to a guest.
    pub fn synced(&mut self, token: &str) {
        self.synced_as(token, false);
    }

    /// Sends a token back; `verified` is whether the name comes from the kernel.
    pub fn synced_as(&mut self, token: &str, verified: bool) {
        self.say(Self::answer(token, verified));
    }

    /// What sends a token back.
    pub fn answer(token: &str, verified: bool) -> String {
        format!(
            "{{\"type\":\"synced\",\"token\":\"{token}\",\"id\":7,\"name\":\"guest7\",\"verified\":{verified},\
             \"room\":\"main\",\"epoch\":1,\"seq\":0}}\n"
        )
    }

    /// Says one byte at a time, each in a packet of its own.
    pub fn trickle(&mut self, text: &str) {
        self.stream.set_nodelay(true).unwrap();
        text.as_bytes().iter().for_each(|byte| self.say([*byte]));
    }

    /// Everything that is heard until the end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap_or_else(|error| panic!("{error} after {rest:?}"));
        rest
    }
}
