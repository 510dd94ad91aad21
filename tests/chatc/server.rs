//! Servers that do what a test tells them: one that says anything, and a way to chatd that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;

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

/// A way to a server that can be cut and mended: who connects while it is cut is turned away.
pub struct Way {
    pub address: String,
    state: Arc<Mutex<State>>,
}

struct State {
    server: SocketAddr,
    is_cut: bool,
    /// Whether what comes from the near side is thrown away, and from the far side.
    loses: [bool; 2],
    /// The server does not notice that the way is cut.
    is_deaf: bool,
    streams: Vec<[TcpStream; 2]>,
}

impl Way {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (loses, streams) = ([false; 2], Vec::new());
        let state = Arc::new(Mutex::new(State { server, is_cut: false, loses, is_deaf: false, streams }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if state.is_cut {
                    continue;
                }
                let far = TcpStream::connect(state.server).unwrap();
                for (side, from, to) in [(0, &near, &far), (1, &far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || carry(from, to, side, &shared));
                }
                state.streams.push([near, far]);
            }
        });
        Self { address, state }
    }

    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        for stream in state.streams.drain(..).flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts it, and the server goes on as if it were not.
    pub fn cut_unnoticed(&self) {
        let mut state = self.state.lock().unwrap();
        (state.is_cut, state.is_deaf) = (true, true);
        for [near, _] in &state.streams {
            let _ = near.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        let mut state = self.state.lock().unwrap();
        (state.is_cut, state.loses) = (false, [false; 2]);
    }

    /// From now on it leads to another server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.state.lock().unwrap().server = server;
    }

    /// From now on, what the server says is lost.
    pub fn lose_answers(&self) {
        self.state.lock().unwrap().loses[1] = true;
    }

    /// From now on, what is said to the server is lost.
    pub fn lose_questions(&self) {
        self.state.lock().unwrap().loses[0] = true;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, side: usize, state: &Mutex<State>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let is_lost = state.lock().unwrap().loses[side];
        if !is_lost && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if side == 1 || !state.lock().unwrap().is_deaf {
        let _ = to.shutdown(Shutdown::Write);
    }
}
