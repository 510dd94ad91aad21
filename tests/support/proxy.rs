//! A proxy: the way to a server, which can be cut and mended.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port that leads to a server: who connects while the way is cut is turned away.
pub struct Proxy {
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

impl Proxy {
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
                // Who is turned away sees the end of the connection.
                let Ok(far) = TcpStream::connect(state.server) else { continue };
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

    /// Mends it. Connections of before end: what was lost in them would make nonsense of the rest.
    pub fn renew(&self) {
        self.cut();
        self.mend();
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

    /// From now on everything is lost, and nobody is told.
    pub fn lose_everything(&self) {
        self.state.lock().unwrap().loses = [true; 2];
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, side: usize, state: &Mutex<State>) {
    let _ = to.set_nodelay(true);
    let mut buffer = [0; 65536];
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
