//! A redis-server of a test: a process with its data in a temporary folder, reached by a unix socket.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// The program.
const PROGRAM: &str = "redis-server";

/// Returns whether the program is there. In CI it has to be.
pub fn is_there() -> bool {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{PROGRAM} is missing: apt-get install redis-server");
        eprintln!("left out: {PROGRAM} is missing: apt-get install redis-server");
    }
    found
}

/// A server. It is killed, and its data are gone, when this is dropped.
pub struct Server {
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// Starts one that writes everything to disk at once.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts one with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("chatd-engine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let child = spawn(&folder, &arguments);
        let server = Self { folder, arguments, child };
        server.wait();
        server
    }

    fn wait(&self) {
        let is_up = |reply: &[u8]| reply.starts_with(b"+") || reply.starts_with(b"-NOAUTH");
        while UnixStream::connect(self.socket()).is_err() || !is_up(&self.ask(&["PING"])) {
            thread::yield_now();
        }
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Returns its address.
    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Starts a primary and a replica of it that has everything.
    pub fn start_pair() -> [Self; 2] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let primary = Self::start_with(&[&["--port", &port][..], &quick].concat());
        let replica = Self::start_with(&[&["--replicaof", "127.0.0.1", &port][..], &quick].concat());
        while primary.number(&["WAIT", "1", "100"]) == 0 {}
        [primary, replica]
    }

    /// Makes a replica the primary.
    pub fn promote(&self) {
        assert_eq!(self.ask(&["REPLICAOF", "NO", "ONE"]), b"+OK");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with the data that it had.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.arguments);
        self.wait();
    }

    /// Deletes its data.
    pub fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.folder.join("appendonlydir"));
        let _ = std::fs::remove_file(self.folder.join("dump.rdb"));
    }

    /// Stops the process (SIGSTOP), or has it go on.
    pub fn pause(&self, is_paused: bool) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, if is_paused { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// Sends it a command. Returns the first line of the reply, and what follows of a string.
    pub fn ask(&self, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let mut command = format!("*{}\r\n", parts.len()).into_bytes();
        for part in parts {
            command.extend_from_slice(format!("${}\r\n", part.as_ref().len()).as_bytes());
            command.extend_from_slice(part.as_ref());
            command.extend_from_slice(b"\r\n");
        }
        stream.write_all(&command).unwrap();
        let mut reader = BufReader::new(stream);
        let mut reply = Vec::new();
        let _ = reader.read_until(b'\n', &mut reply);
        if reply.first() == Some(&b'$') && reply.get(1) != Some(&b'-') {
            reply.clear();
            let _ = reader.read_until(b'\n', &mut reply);
        }
        reply.truncate(reply.len().saturating_sub(2));
        reply
    }

    /// Sends it a command. Returns the number that it replies.
    pub fn number(&self, parts: &[impl AsRef<[u8]>]) -> u64 {
        let reply = String::from_utf8(self.ask(parts)).unwrap();
        reply.trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{reply}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["--port", "0", "--unixsocket"]).arg(folder.join("socket"));
    command.arg("--dir").arg(folder).args(["--save", ""]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
