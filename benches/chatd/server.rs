//! The servers that are measured: each is a process of its own, started for one measurement.
//!
//! The floor is this very program again (see `floor`); redis and ncat are the ones in the path, if they are
//! there. A server is killed when it is dropped. What each of them speaks is a `Wire`: what one line costs
//! to say, and how much of it a listener hears.

use std::io::{self, BufRead, BufReader, Error};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What chatd, and the floor, say to whoever connects.
pub(crate) const GREETING: &[u8] = b"Hello, connection to the server ok!\n";
/// The hidden argument that makes this program the floor.
pub(crate) const FLOOR_ARGUMENT: &str = "--be-the-floor";
/// The length of a line, with its end.
const LINE: usize = 64;

/// Who is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Floor,
    Chatd(PathBuf),
    Redis,
    Ncat,
}

/// How a listener knows how many lines it has heard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    /// Every line is this many bytes.
    Bytes(u64),
    /// Every line has one end; its length is anybody's guess (ncat writes a name before each packet).
    Ends,
}

/// What is spoken with a server.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// What a listener sends first.
    pub(crate) join: Vec<u8>,
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
    pub(crate) address: SocketAddrV4,
    pub(crate) wire: Wire,
}

impl Who {
    /// Says whether it can be started here.
    pub(crate) fn is_there(&self) -> bool {
        let program = match self {
            Self::Floor => return true,
            Self::Chatd(path) => return path.is_file(),
            Self::Redis => "redis-server",
            Self::Ncat => "ncat",
        };
        let quiet =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    }

    pub(crate) fn start(&self) -> io::Result<Server> {
        match self {
            Self::Floor => named(Command::new(std::env::current_exe()?).arg(FLOOR_ARGUMENT)),
            Self::Chatd(path) => named(
                Command::new(path)
                    .args(["--listen", "127.0.0.1:0", "--log", "stderr"])
                    .env_clear()
                    .env("CHATD_CONFIG", "/dev/null"),
            ),
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
fn named(command: &mut Command) -> io::Result<Server> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut server = Server { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), wire: Wire::chat() };
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
    let server = Server { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, free), wire };
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
    }
}

impl Wire {
    fn chat() -> Self {
        let mut line = vec![b'x'; LINE];
        line[LINE - 1] = b'\n';
        Self {
            join: Vec::new(),
            greeting: Some(GREETING.to_vec()),
            speaker_greeting: Some(GREETING.to_vec()),
            line,
            count: Count::Bytes(64),
        }
    }

    fn ncat() -> Self {
        Self { greeting: None, speaker_greeting: None, count: Count::Ends, ..Self::chat() }
    }

    /// Redis pub/sub, one channel, in RESP2.
    fn redis() -> Self {
        let text = "x".repeat(LINE);
        let heard = format!("*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$64\r\n{text}\r\n");
        Self {
            join: b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nroom\r\n".to_vec(),
            greeting: Some(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n".to_vec()),
            speaker_greeting: Some(Vec::new()),
            line: format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$64\r\n{text}\r\n").into_bytes(),
            count: Count::Bytes(heard.len() as u64),
        }
    }
}
