//! The engine: redis-server processes in a folder of their own, and Sentinel.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::proxy::{Proxy, Way};
use crate::support::{Folder, PATIENCE, text};

/// After how many milliseconds without an answer Sentinel takes a primary for dead.
const DOWN_AFTER: u32 = 4000;
/// How long it is waited for what does not come.
const SILENCE: Duration = Duration::from_millis(200);
/// What Sentinel calls the engine.
const NAME: &str = "chatd";

/// Returns whether there is an engine on this machine, or what is missing.
pub fn look() -> Result<(), &'static str> {
    let is_there = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    match ["redis-server", "redis-sentinel", "redis-cli"].into_iter().find(|program| !is_there(program)) {
        Some(program) => Err(program),
        None => Ok(()),
    }
}

/// A port of the loopback address that nobody listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something is so; fails, with what is waited for, if that takes too long.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::yield_now();
    }
}

/// A redis-server. It writes down what it has before it answers, so a kill costs nothing.
pub struct Redis {
    child: Child,
    folder: Folder,
    options: Vec<String>,
    pub port: u16,
}

impl Redis {
    /// Starts one with options of its own, and waits until it answers.
    pub fn start(options: &[&str]) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = Self::spawn(&folder, port, &options);
        let redis = Self { child, folder, options, port };
        redis.wait_until_there();
        redis
    }

    fn spawn(folder: &Folder, port: u16, options: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", text(&folder.path(""))]);
        command.args(["--unixsocket", text(&folder.path("sock"))]);
        command.args(["--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"]);
        command.args(["--repl-backlog-size", "64mb"]);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    #[track_caller]
    fn wait_until_there(&self) {
        wait_until("redis-server answers", || {
            let answer = self.ask(&["PING"]);
            answer.contains("PONG") || answer.contains("NOAUTH") || answer.contains("MASTERDOWN")
        });
    }

    /// What redis-cli prints.
    pub fn ask(&self, words: &[&str]) -> String {
        self.cli().args(words).stdin(Stdio::null()).output().map_or_else(
            |error| error.to_string(),
            |output| {
                format!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                )
                .trim()
                .to_owned()
            },
        )
    }

    fn cli(&self) -> Command {
        // One that is stopped would not answer at all.
        let mut command = Command::new("timeout");
        command.args(["2", "redis-cli", "-p", &self.port.to_string()]);
        command
    }

    /// The same as a number.
    #[track_caller]
    pub fn number(&self, words: &[&str]) -> u64 {
        let answer = self.ask(words);
        answer.parse().unwrap_or_else(|_| panic!("{words:?}: {answer}"))
    }

    /// The first words of ROLE: `master` or `slave`.
    pub fn role(&self) -> String {
        self.ask(&["ROLE"]).lines().next().unwrap_or_default().to_owned()
    }

    /// The key of the stream of the only room.
    pub fn stream(&self) -> String {
        let keys = self.ask(&["KEYS", "chatd:room:*"]);
        keys.lines().find(|key| !key.ends_with(":state")).unwrap().to_owned()
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.number(&["XLEN", &self.stream()])
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again with what it had on disk.
    pub fn start_again(&mut self, more: &[&str]) {
        let mut options = self.options.clone();
        options.extend(more.iter().map(|option| (*option).to_owned()));
        self.child = Self::spawn(&self.folder, self.port, &options);
        self.wait_until_there();
    }

    /// What a node is given to reach it directly.
    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path("sock")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A primary, a replica, and Sentinel, which knows which is which.
pub struct Engine {
    pub servers: [Redis; 2],
    sentinel: Child,
    port: u16,
    _folder: Folder,
}

impl Engine {
    pub fn start() -> Self {
        let primary = Redis::start(&[]);
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        wait_until("the replica follows", || primary.ask(&["ROLE"]).lines().count() > 2);
        let (folder, port) = (Folder::new(), free_port());
        let lines = [
            format!("port {port}\nbind 127.0.0.1\ndir {}", text(&folder.path(""))),
            format!("sentinel monitor {NAME} 127.0.0.1 {} 1", primary.port),
            format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"),
            format!("sentinel failover-timeout {NAME} 3000\n"),
        ];
        let file = folder.write("sentinel.conf", lines.join("\n"));
        let mut command = Command::new("redis-sentinel");
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sentinel = command.spawn().unwrap();
        let engine = Self { servers: [primary, replica], sentinel, port, _folder: folder };
        // Otherwise it takes ten seconds to see what it has done.
        wait_until("Sentinel answers", || {
            engine.sentinel(&["DEBUG", "info-period", "300", "publish-period", "300"]).contains("OK")
        });
        engine.wait_until_it_knows_the_replica();
        engine
    }

    fn sentinel(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "SENTINEL"]).args(words).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
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
        usize::from(self.servers[0].role() != "master")
    }

    pub fn primary(&self) -> &Redis {
        &self.servers[self.at()]
    }

    pub fn replica(&self) -> &Redis {
        &self.servers[1 - self.at()]
    }

    /// Has Sentinel put the replica in the place of the primary, and waits until both have their new roles.
    #[track_caller]
    pub fn switch(&self) {
        let next = 1 - self.at();
        wait_until("Sentinel begins", || self.sentinel(&["FAILOVER", NAME]).contains("OK"));
        wait_until("the other one is the primary", || self.servers[next].role() == "master");
        wait_until("the first one follows", || self.servers[1 - next].role() == "slave");
        wait_until("the replica follows", || self.servers[next].ask(&["ROLE"]).lines().count() > 2);
    }

    /// Kills the primary, and waits until Sentinel has put the replica in its place; then the first one comes back as the
    /// replica.
    #[track_caller]
    pub fn lose_the_primary(&mut self) {
        let old = self.at();
        self.servers[old].kill();
        wait_until("Sentinel has chosen", || self.servers[1 - old].role() == "master");
        let port = self.servers[1 - old].port;
        self.servers[old].start_again(&["--replicaof", "127.0.0.1", &port.to_string()]);
        wait_until("the first one follows", || self.servers[1 - old].ask(&["ROLE"]).lines().count() > 2);
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
    let way = Proxy::to(engine.primary().port);
    let ping = |way: &Proxy| {
        let mut stream = TcpStream::connect(way.address().trim_start_matches("redis://")).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let mut answer = [0; 7];
        stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer)).is_ok()
    };
    assert!(ping(&way));
    for closed in [Way::Cut, Way::Deaf, Way::Lost] {
        way.set(closed);
        assert!(!ping(&way), "{closed:?}");
        way.set(Way::Open);
        assert!(ping(&way), "{closed:?}");
    }
    engine.wait_until_it_knows_the_replica();
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}
