//! A redis-server of a test: a process with its data in a temporary folder.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use chatd::protocol::Name;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, text, wait_until};

/// A server that is stopped does not answer at all: for how long it is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Returns a port of the loopback address that nobody listens on, and that the kernel gives to nobody (tcp(7),
/// ip_local_port_range): a server that is killed can have it again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = (16 * u64::from(std::process::id()) + u64::from(NEXT.fetch_add(1, Relaxed))) % 20_000;
        let port = 10_000 + number as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Returns the key of the stream of a room.
pub fn key(room: &str) -> String {
    format!("chatd:room:{}", Name::parse(room).unwrap().keys().next().unwrap())
}

/// A server, which has what it was sent in its file before it answers: a kill costs nothing. It is killed, and its data
/// are gone, when this is dropped.
pub struct Server {
    folder: Folder,
    arguments: Vec<String>,
    pub port: u16,
    child: Child,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more arguments.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        let (folder, port) = (Folder::new(), free_port());
        let child = spawn(&folder, port, &arguments);
        let mut server = Self { folder, arguments, port, child };
        server.wait();
        server
    }

    /// Waits until it answers. One that has ended found its port taken, and gets another one.
    #[track_caller]
    fn wait(&mut self) {
        wait_until("redis-server answers", || {
            if self.child.try_wait().unwrap().is_some() {
                self.port = free_port();
                self.child = spawn(&self.folder, self.port, &self.arguments);
            }
            let answer = self.ask(&["PING"]);
            ["PONG", "NOAUTH", "MASTERDOWN"].iter().any(|word| answer.starts_with(word))
        });
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path("socket")
    }

    /// Returns its address.
    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Starts a primary and a replica of it that has everything.
    #[track_caller]
    pub fn start_pair() -> [Self; 2] {
        let primary = Self::start();
        let replica = Self::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        wait_until("the replica follows", || primary.has_replica());
        [primary, replica]
    }

    /// Returns whether a replica follows it.
    pub fn has_replica(&self) -> bool {
        self.ask(&["ROLE"]).lines().count() > 2
    }

    /// Returns whether it takes what is written.
    pub fn is_primary(&self) -> bool {
        self.ask(&["ROLE"]).starts_with("master")
    }

    /// Makes a replica the primary.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with the data that it had.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same, with arguments after those of the first time.
    #[track_caller]
    pub fn start_again_with(&mut self, more: &[&str]) {
        self.arguments.extend(more.iter().map(|&one| one.to_owned()));
        self.child = spawn(&self.folder, self.port, &self.arguments);
        self.wait();
    }

    /// Deletes its data.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path("appendonlydir")).unwrap();
    }

    /// Stops the process (SIGSTOP), or has it go on.
    pub fn pause(&self, is_paused: bool) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, if is_paused { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// Sends it a command. Returns the reply: what is in an array a line each, and nothing from one that does not answer.
    pub fn ask(&self, parts: &[impl AsRef<[u8]>]) -> String {
        let stream = UnixStream::connect(self.socket());
        stream.and_then(|stream| exchange(&OwnedFd::from(stream).into(), parts)).unwrap_or_default()
    }

    /// Sends it a command. Returns the number that it replies.
    #[track_caller]
    pub fn number(&self, parts: &[impl AsRef<[u8]>]) -> u64 {
        let reply = self.ask(parts);
        reply.parse().unwrap_or_else(|_| panic!("{reply}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a command to a server; returns what it replies. The two kinds of sockets are one for that.
pub fn exchange(mut stream: &TcpStream, parts: &[impl AsRef<[u8]>]) -> io::Result<String> {
    let mut command = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts.iter().map(AsRef::as_ref) {
        command.extend([format!("${}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
    }
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(&command)?;
    reply(&mut BufReader::new(stream))
}

fn reply(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    match (line.get(..1), line.get(1..).unwrap_or_default()) {
        (Some("*"), count) => {
            let items: io::Result<Vec<String>> =
                (0..count.parse().unwrap_or(0)).map(|_| reply(reader)).collect();
            Ok(items?.join("\n"))
        }
        (Some("$"), length) => {
            let Ok(length) = length.parse::<usize>() else { return Ok(String::new()) };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        (_, text) => Ok(text.to_owned()),
    }
}

/// Starts redis-server, or what this variable says.
fn spawn(folder: &Folder, port: u16, arguments: &Vec<String>) -> Child {
    let program = std::env::var("CHATD_TEST_ENGINE").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", text(&folder.path(""))]);
    command.args(["--unixsocket", text(&folder.path("socket")), "--save", "", "--appendonly", "yes"]);
    command.args(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
    command.args(["--repl-backlog-size", "64mb"]).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.expect("redis-server: apt-get install redis-server")
}
