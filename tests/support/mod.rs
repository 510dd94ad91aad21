//! A server in this process, the daemon as a process of its own, and somebody who talks to either.

mod caller;
// tests/systemd crashes what it listens to.
#[allow(dead_code)]
pub mod oracle;
// The tests of chatc need more of it.
#[allow(dead_code)]
pub mod pty;
// tests/ktls needs more of it.
#[allow(dead_code)]
pub mod wire;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use chatd::net::Address;
use chatd::rt;
use chatd::service::config::Config;
use chatd::service::server::Server;

pub use caller::{Caller, GREETING, PATIENCE};

/// A server in this process, on a free port.
pub struct TestServer {
    server: Server,
    pub address: SocketAddr,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config { listen: vec!["127.0.0.1:0".parse::<Address>().unwrap().into()], ..Config::default() };
        change(&mut config);
        let server = rt::run(2, async move { Server::start(&config) }).unwrap();
        let (Address::Tcp(address), _) = server.addresses()[0] else { panic!("the first address is no TCP") };
        Self { server, address }
    }

    /// Somebody who has been greeted, and hence hears what is said from now on.
    pub fn join(&self) -> Caller {
        Caller::join(self.address)
    }

    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// The daemon as a process of its own.
pub struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub address: SocketAddr,
    /// What it wrote to standard error so far.
    pub log: Vec<String>,
}

impl Daemon {
    /// Starts it on a free port and waits until it says that it listens.
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        command.args(["--listen", "127.0.0.1:0", "--log", "stderr"]).args(options).stdin(Stdio::null());
        Self::run(command)
    }

    /// Starts it as `command` has it, which must have it listen on 127.0.0.1.
    pub fn run(command: Command) -> Self {
        let mut daemon = Self::silent(command);
        let line = daemon.wait_for_log("listening on 127.0.0.1:");
        let port = line.split("127.0.0.1:").nth(1).unwrap().split(';').next().unwrap();
        daemon.address.set_port(port.parse().unwrap());
        daemon
    }

    /// Starts it as `command` has it, and waits for nothing.
    pub fn silent(mut command: Command) -> Self {
        let mut child = clean(&mut command).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines_tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line))
        });
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { child, lines, address: unknown, log: Vec::new() }
    }

    pub fn join(&self) -> Caller {
        Caller::join(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The next line of the log that contains `text`.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line);
                    if let Some(line) = self.log.last().filter(|line| line.contains(text)) {
                        return line.clone();
                    }
                }
                Err(error) => panic!("no {text:?} in the log ({error}): {:#?}", self.log),
            }
        }
    }

    // Not all say it.
    #[allow(dead_code)]
    /// Reads what it has logged so far.
    pub fn hear_log(&mut self) {
        self.log.extend(self.lines.try_iter());
    }

    /// Waits until it has ended, and reads the rest of its log.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.log.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it goes on: {:#?}", self.log),
            }
        }
    }

    /// Waits until it does nothing any more: a hundred looks in a row find all of its threads asleep, and none that has
    /// run since the look before. One that spins, or that wakes up again and again, never comes to that; one that has
    /// ended has.
    #[track_caller]
    pub fn wait_until_at_rest(&self) {
        self.wait_until_asleep(100);
    }

    /// The same with so many looks.
    #[track_caller]
    pub fn wait_until_asleep(&self, most_looks: u32) {
        let deadline = Instant::now() + PATIENCE;
        let (mut before, mut looks) = (self.tasks(), 0);
        while looks < most_looks {
            assert!(Instant::now() < deadline, "it is never at rest: {before:?}");
            std::thread::yield_now();
            let now = self.tasks();
            let is_at_rest =
                now == before && now.iter().all(|(state, _)| !matches!(state.as_str(), "R" | "D"));
            looks = if is_at_rest { looks + 1 } else { 0 };
            before = now;
        }
    }

    /// The state of each of its threads, and how often that has let others run; nothing of one that ends just now.
    fn tasks(&self) -> Vec<(String, u64)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let look = |task: std::io::Result<std::fs::DirEntry>| {
            // proc(5): a name, a tab, and the value.
            let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let value =
                |name| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            let switches = |name| value(name)?.parse::<u64>().ok();
            let state = value("State:")?.to_owned();
            Some((state, switches("voluntary_ctxt_switches:")? + switches("nonvoluntary_ctxt_switches:")?))
        };
        tasks.filter_map(look).collect()
    }

    /// Memory that it uses, in bytes.
    pub fn rss(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that it has used at any time, in bytes.
    pub fn peak_rss(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what this process was started with from the configuration of the daemon.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHATD_")) {
        command.env_remove(name);
    }
    for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC", "LISTEN_FDS"] {
        command.env_remove(name);
    }
    command
}

/// A folder that is removed at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chatd-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
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

/// Copies a program to where every user can run it. Another process does: a file that another test's child happens to
/// have open for writing cannot be run.
#[allow(dead_code)]
pub fn copy_program(program: &str, to: &Path) {
    assert!(Command::new("cp").arg(program).arg(to).status().unwrap().success());
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
