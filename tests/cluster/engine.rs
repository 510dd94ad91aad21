//! The engine: a primary, a replica, and Sentinel.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::proxy::Proxy;
use crate::redis::{Server, exchange, free_port};
use crate::support::{Folder, text, wait_until};

/// After how many milliseconds without an answer Sentinel takes a primary for dead.
const DOWN_AFTER: u32 = 4000;
/// What Sentinel calls the engine.
const NAME: &str = "chatd";

/// A primary, a replica, and Sentinel, which knows which is which.
pub struct Engine {
    pub servers: [Server; 2],
    sentinel: Child,
    port: u16,
    _folder: Folder,
}

impl Engine {
    pub fn start() -> Self {
        let servers = Server::start_pair();
        let (folder, port) = (Folder::new(), free_port());
        let lines = [
            format!("port {port}\nbind 127.0.0.1\ndir {}", text(&folder.path(""))),
            format!("sentinel monitor {NAME} 127.0.0.1 {} 1", servers[0].port),
            format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"),
            format!("sentinel failover-timeout {NAME} 3000\n"),
        ];
        let file = folder.write("sentinel.conf", lines.join("\n"));
        let mut command = Command::new("redis-sentinel");
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sentinel = command.spawn().expect("redis-sentinel: apt-get install redis-sentinel");
        let engine = Self { servers, sentinel, port, _folder: folder };
        // Otherwise it takes ten seconds to see what it has done.
        wait_until("Sentinel answers", || {
            engine.sentinel(&["DEBUG", "info-period", "300", "publish-period", "300"]).contains("OK")
        });
        engine.wait_until_it_knows_the_replica();
        engine
    }

    fn sentinel(&self, words: &[&str]) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        stream.and_then(|stream| exchange(&stream, &[&["SENTINEL"], words].concat())).unwrap_or_default()
    }

    /// Waits until Sentinel could put the replica in the place of the primary.
    #[track_caller]
    pub fn wait_until_it_knows_the_replica(&self) {
        let port = self.replica().port.to_string();
        wait_until("Sentinel knows the replica", || {
            let known = self.sentinel(&["REPLICAS", NAME]);
            known.lines().any(|line| line == port)
                && known.contains("master-link-status\nok")
                && !known.contains("s_down")
        });
    }

    /// Which of the servers takes what is written.
    pub fn at(&self) -> usize {
        usize::from(!self.servers[0].is_primary())
    }

    pub fn primary(&self) -> &Server {
        &self.servers[self.at()]
    }

    pub fn replica(&self) -> &Server {
        &self.servers[1 - self.at()]
    }

    /// Has Sentinel put the replica in the place of the primary, and waits until both have their new roles.
    #[track_caller]
    pub fn switch(&self) {
        let next = 1 - self.at();
        wait_until("Sentinel begins", || self.sentinel(&["FAILOVER", NAME]).contains("OK"));
        wait_until("the other one is the primary", || self.servers[next].is_primary());
        wait_until("the replica follows", || self.servers[next].has_replica());
    }

    /// Kills the primary, and waits until Sentinel has put the replica in its place; then the first one comes back as the
    /// replica.
    #[track_caller]
    pub fn lose_the_primary(&mut self) {
        let old = self.at();
        self.servers[old].kill();
        wait_until("Sentinel has chosen", || self.servers[1 - old].is_primary());
        let port = self.servers[1 - old].port;
        self.servers[old].start_again_with(&["--replicaof", "127.0.0.1", &port.to_string()]);
        wait_until("the first one follows", || self.servers[1 - old].has_replica());
    }
}

/// Without any node: the engine does what the rounds rely on.
pub fn fails_over() {
    let mut engine = Engine::start();
    assert_eq!(engine.primary().ask(&["SET", "key", "value"]), "OK");
    // A replica gets it a little later, and one that is made the primary before that does not have it.
    wait_until("the replica has it", || engine.replica().ask(&["GET", "key"]) == "value");
    engine.switch();
    assert_eq!((engine.at(), engine.primary().ask(&["GET", "key"])), (1, "value".to_owned()));
    engine.wait_until_it_knows_the_replica();
    engine.lose_the_primary();
    assert_eq!((engine.at(), engine.primary().ask(&["GET", "key"])), (0, "value".to_owned()));
    let way = Proxy::to(([127, 0, 0, 1], engine.primary().port).into());
    let ping = || {
        let stream = TcpStream::connect(&way.address).unwrap();
        exchange(&stream, &["PING"]).is_ok_and(|answer| answer == "PONG")
    };
    assert!(ping());
    for change in [Proxy::cut, Proxy::lose_answers, Proxy::lose_everything] {
        change(&way);
        assert!(!ping());
        way.renew();
        assert!(ping());
    }
    engine.wait_until_it_knows_the_replica();
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}
