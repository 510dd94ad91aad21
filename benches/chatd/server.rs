//! The servers that are measured: each is a process of its own, started for one measurement.
//!
//! The floor is this very program again (see `floor`); redis and ncat are the ones in the path, if they are
//! there. A server is killed when it is dropped. What each of them speaks is a `Wire`: what one line costs
//! to say, and how much of it a listener hears.

use std::io::{self, BufRead, BufReader, Error};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What chatd, and the floor, say to whoever connects.
pub(crate) const GREETING: &[u8] = b"Hello, connection to the server ok!\n";
/// The hidden argument that makes this program the floor.
pub(crate) const FLOOR_ARGUMENT: &str = "--be-the-floor";
/// The length of a line, with its end.
const LINE: usize = 64;
/// What lines consist of that are said to chatd: no name, notice or object has it.
pub(crate) const MARK: u8 = b'#';

/// Who is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Floor,
    Chatd(PathBuf, Setup),
    Redis,
    Ncat,
}

/// How lines are shown to those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As chatd does unless it is asked to do otherwise.
    Plain,
    Names,
    Json,
    /// To a third of them in each view.
    Thirds,
    /// In `names`, and each has a name.
    Named,
}

/// What is asked of chatd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) shown: Shown,
    /// Options besides those that it always gets.
    pub(crate) options: &'static [&'static str],
    /// There is a service manager, so it keeps connections for the next process.
    pub(crate) keeps: bool,
}

impl Setup {
    /// As shipped.
    pub(crate) const PLAIN: Self = Self::showing(Shown::Plain);

    /// As shipped, but for how lines are shown.
    pub(crate) const fn showing(shown: Shown) -> Self {
        Self { shown, options: &[], keeps: false }
    }
}

/// What stands in for a service manager: it listens, and throws away what it is given. What connections cost that are
/// kept is what chatd does for it, and what the kernel does.
#[derive(Debug)]
pub(crate) struct Manager {
    path: PathBuf,
}

impl Manager {
    fn start() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chatd-bench-{}-{number}", std::process::id()));
        let socket = UnixDatagram::bind(&path)?;
        // It ends with this process.
        std::thread::spawn(move || while socket.recv(&mut [0; 4096]).is_ok() {});
        Ok(Self { path })
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shown {
    /// What a listener says to have lines shown so.
    fn join(self) -> fn(usize) -> Vec<u8> {
        const WORDS: [&[u8]; 3] = [b"", b"/view names\n", b"/view json\n"];
        match self {
            Self::Plain => |_| Vec::new(),
            Self::Names => |_| WORDS[1].to_vec(),
            Self::Json => |_| WORDS[2].to_vec(),
            Self::Thirds => |who| WORDS[who % 3].to_vec(),
            Self::Named => |who| format!("/nick n{who}\n").into_bytes(),
        }
    }
}

/// How a listener knows how many lines it has heard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    /// Every line is this many bytes.
    Bytes(u64),
    /// Every line has one end; its length is anybody's guess (ncat writes a name before each packet).
    Ends,
    /// Every line has this many [`MARK`]s, and nothing else that is heard has any.
    Marks(u64),
}

/// What is spoken with a server.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// What a listener sends first, by its number.
    pub(crate) join: fn(usize) -> Vec<u8>,
    /// It does so when it has been greeted; otherwise the greeting is the answer to it.
    pub(crate) greets_first: bool,
    /// What a listener is sent first; `None`: something, and then silence.
    pub(crate) greeting: Option<Vec<u8>>,
    /// What a speaker is sent first; it sends nothing but lines.
    pub(crate) speaker_greeting: Option<Vec<u8>>,
    /// One line, as it is said.
    pub(crate) line: Vec<u8>,
    /// One line, as it is heard.
    pub(crate) count: Count,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Gone when this is.
    manager: Option<Manager>,
    pub(crate) address: SocketAddrV4,
    pub(crate) wire: Wire,
}

impl Who {
    /// Says whether it can be started here.
    pub(crate) fn is_there(&self) -> bool {
        let program = match self {
            Self::Floor => return true,
            Self::Chatd(path, _) => return path.is_file(),
            Self::Redis => "redis-server",
            Self::Ncat => "ncat",
        };
        let quiet =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    }

    pub(crate) fn start(&self) -> io::Result<Server> {
        match self {
            Self::Floor => named(Command::new(std::env::current_exe()?).arg(FLOOR_ARGUMENT), Wire::chat()),
            Self::Chatd(path, setup) => {
                let mut command = Command::new(path);
                command.args(["--listen", "127.0.0.1:0", "--log", "stderr"]).args(setup.options);
                command.env_clear().env("CHATD_CONFIG", "/dev/null");
                let manager = setup.keeps.then(Manager::start).transpose()?;
                if let Some(manager) = &manager {
                    command.env("NOTIFY_SOCKET", &manager.path);
                }
                let mut server = named(&mut command, Wire::shown(setup.shown))?;
                server.manager = manager;
                Ok(server)
            }
            Self::Redis => at_port(Wire::redis(), |port| {
                let mut command = Command::new("redis-server");
                command.args(["--save", "", "--appendonly", "no", "--port", port]);
                command
            }),
            Self::Ncat => at_port(Wire::ncat(), |port| {
                let mut command = Command::new("ncat");
                command.args(["-l", "--keep-open", "--chat", "--max-conns", "1000", "127.0.0.1", port]);
                command
            }),
        }
    }
}

/// Starts a server that finds a port itself and writes `listening on ADDRESS` to standard error.
fn named(command: &mut Command, wire: Wire) -> io::Result<Server> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut server =
        Server { child, manager: None, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), wire };
    let Some(pipe) = server.child.stderr.take() else { return Err(Error::other("no standard error")) };
    let mut lines = BufReader::new(pipe).lines();
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let rest = line.split_once("listening on ")?.1;
        rest.split(|c: char| c == ';' || c.is_whitespace()).next()?.parse().ok()
    });
    server.address =
        found.ok_or_else(|| Error::other(format!("{command:?} did not say where it listens")))?;
    // A log that nobody reads would stop the server.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(server)
}

/// Starts a server that must be told a port, and waits until it listens.
fn at_port(wire: Wire, command: impl Fn(&str) -> Command) -> io::Result<Server> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = command(&free.to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let server = Server { child, manager: None, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, free), wire };
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(server.address) {
        if start.elapsed() > Duration::from_secs(5) {
            return Err(Error::other(format!("{command:?}: {error}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The probe above leaves; let that be over.
    std::thread::sleep(Duration::from_millis(100));
    Ok(server)
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.manager = None;
    }
}

impl Wire {
    fn chat() -> Self {
        let mut line = vec![MARK; LINE];
        line[LINE - 1] = b'\n';
        Self {
            join: Shown::Plain.join(),
            greets_first: true,
            greeting: Some(GREETING.to_vec()),
            speaker_greeting: Some(GREETING.to_vec()),
            line,
            count: Count::Bytes(64),
        }
    }

    /// What lines are worth does not depend on how they are shown.
    fn shown(shown: Shown) -> Self {
        let count = if shown == Shown::Plain { Count::Bytes(64) } else { Count::Marks(LINE as u64 - 1) };
        Self { join: shown.join(), count, ..Self::chat() }
    }

    fn ncat() -> Self {
        Self { greeting: None, speaker_greeting: None, count: Count::Ends, ..Self::chat() }
    }

    /// Redis pub/sub, one channel, in RESP2.
    fn redis() -> Self {
        let text = "x".repeat(LINE);
        let heard = format!("*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$64\r\n{text}\r\n");
        Self {
            join: |_| b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nroom\r\n".to_vec(),
            greets_first: false,
            greeting: Some(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n".to_vec()),
            speaker_greeting: Some(Vec::new()),
            line: format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$64\r\n{text}\r\n").into_bytes(),
            count: Count::Bytes(heard.len() as u64),
        }
    }
}
