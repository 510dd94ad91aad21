//! A way between a node and the engine, which can be cut, or made to lose what the engine answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// How the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Everything arrives at the engine, and no answer at the node.
    Deaf,
    /// Nothing arrives anywhere, and nobody is told.
    Lost,
    /// Connections end, and new ones as well.
    Cut,
}

struct State {
    way: Way,
    /// Both ends of each connection.
    ends: Vec<(TcpStream, TcpStream)>,
}

/// A port that leads to the engine.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// To the engine at `port` of the loopback address.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { way: Way::Open, ends: Vec::new() }));
        let shared = Arc::clone(&state);
        spawn(move || listener.incoming().flatten().for_each(|node| connect(node, port, &shared)));
        Self { port: own, state }
    }

    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on the way is so. Connections of before end when it is cut, and when it is open again: what was lost
    /// in them would make nonsense of the rest.
    pub fn set(&self, way: Way) {
        let mut state = self.state.lock().unwrap();
        state.way = way;
        if matches!(way, Way::Cut | Way::Open) {
            state.ends.drain(..).for_each(|(node, engine)| end(&node, &engine));
        }
    }
}

fn end(node: &TcpStream, engine: &TcpStream) {
    let _ = node.shutdown(Shutdown::Both);
    let _ = engine.shutdown(Shutdown::Both);
}

fn connect(node: TcpStream, port: u16, shared: &Arc<Mutex<State>>) {
    let mut state = shared.lock().unwrap();
    // Who is turned away sees the end of the connection.
    let Ok(engine) = TcpStream::connect(("127.0.0.1", port)) else { return };
    if state.way == Way::Cut {
        return;
    }
    let (Ok(node_too), Ok(engine_too)) = (node.try_clone(), engine.try_clone()) else { return };
    state.ends.push((node_too, engine_too));
    for (from, to, is_answer) in [(&node, &engine, false), (&engine, &node, true)] {
        let _ = from.set_nodelay(true);
        let (Ok(from), Ok(to), shared) = (from.try_clone(), to.try_clone(), Arc::clone(shared)) else {
            return;
        };
        spawn(move || pass_on(from, to, is_answer, &shared));
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_answer: bool, shared: &Mutex<State>) {
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let way = shared.lock().unwrap().way;
        let arrives = way == Way::Open || (way == Way::Deaf && !is_answer);
        if arrives && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    end(&from, &to);
}

/// What each numbered line of a crowd has.
const NUMBERED: &str = "......................";
/// Which of them is left out.
const LEFT_OUT: usize = 50;

/// A port that leads to a chatd, where each connection is not given one of the lines that it should hear.
pub fn leak(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).unwrap();
            let (mut client_too, mut server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            spawn(move || {
                let _ = std::io::copy(&mut client_too, &mut server_too);
                let _ = server_too.shutdown(Shutdown::Write);
            });
            spawn(move || pass_on_all_but_one(server, client));
        }
    });
    address
}

fn pass_on_all_but_one(server: TcpStream, mut client: TcpStream) {
    let mut numbered = 0;
    for line in BufReader::new(server).lines().map_while(Result::ok) {
        numbered += usize::from(line.contains(NUMBERED));
        let is_left_out = line.contains(NUMBERED) && numbered == LEFT_OUT;
        if !is_left_out && client.write_all(format!("{line}\n").as_bytes()).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
