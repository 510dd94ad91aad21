//! The servers that are measured: each is a process of its own, started for one measurement.
//!
//! The floor is this very program again (see `floor`); the others are those in the path, if they are there (see
//! `foreign`). A server is killed when it is dropped. What each of them speaks is a `Wire`: what one line costs
//! to say, and how much of it a listener hears.

use std::io::{self, BufRead, BufReader, Error};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ClientConfig;

use crate::cluster::Engine;
use crate::foreign::Foreign;
use crate::measure;
use crate::secure::Identity;

/// The greeting of chatd and of the floor.
pub(crate) const GREETING: &[u8] = b"Hello, connection to the server ok!\n";
/// The hidden option that makes this program the floor.
pub(crate) const FLOOR_OPTION: &str = "be-the-floor";
/// The one that gives it the folder with its certificate.
pub(crate) const IDENTITY_OPTION: &str = "identity";
/// The length of a line, with its end, unless a case says otherwise.
pub(crate) const LINE: usize = 64;
/// What lines consist of: nothing else that a server says has it, neither a name nor a notice.
pub(crate) const MARK: u8 = b'#';

/// Who is measured.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    Floor { tls: bool },
    Chatd(PathBuf, Setup),
    Foreign(&'static Foreign),
}

/// Joins the room of [`Shown::Apart`].
const APART: &[u8] = b"/join apart\n";

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
    /// As chatd does, in another room than those who only pass by.
    Apart,
}

/// What is asked of chatd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) shown: Shown,
    /// Options besides those that it always gets.
    pub(crate) options: &'static [&'static str],
    /// There is a service manager, so it keeps connections for the next process.
    pub(crate) keeps: bool,
    /// It serves metrics.
    pub(crate) metrics: bool,
    /// What is said is archived, in a folder that is new each time.
    pub(crate) archives: bool,
    /// All speak TLS.
    pub(crate) tls: bool,
    /// How many there are. Those who connect are divided among them.
    pub(crate) servers: Servers,
}

/// How many chatd there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    One,
    /// So many nodes at one engine.
    Nodes(usize),
    /// So many without an engine, so each has its own speaker.
    Apart(usize),
}

impl Setup {
    /// As shipped.
    pub(crate) const PLAIN: Self = Self::showing(Shown::Plain);

    /// As shipped, but for how lines are shown.
    pub(crate) const fn showing(shown: Shown) -> Self {
        Self {
            shown,
            options: &[],
            keeps: false,
            metrics: false,
            archives: false,
            tls: false,
            servers: Servers::One,
        }
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

/// The folder with the configuration that has chatd serve metrics, and with their socket. Gone when this is.
#[derive(Debug)]
pub(crate) struct Metrics {
    folder: PathBuf,
}

impl Metrics {
    fn prepare() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("chatd-metrics-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let metrics = Self { folder };
        let socket = metrics.socket();
        let text = format!("listen = [\"127.0.0.1:0\", {{ address = {socket:?}, serve = \"metrics\" }}]\n");
        std::fs::write(metrics.config(), text)?;
        Ok(metrics)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("chatd.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("metrics.sock")
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
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
            Self::Apart => |_| APART.to_vec(),
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
    /// What a speaker sends first.
    pub(crate) speaker_join: &'static [u8],
    /// They do so when they have been greeted; otherwise the greeting is the answer to it.
    pub(crate) greets_first: bool,
    /// What a listener is sent first; `None`: something, and then silence.
    pub(crate) greeting: Option<Vec<u8>>,
    /// The same for a speaker.
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
    pub(crate) metrics: Option<Metrics>,
    /// The folder of the archive, removed with this.
    archive: Option<PathBuf>,
    /// What it speaks TLS with, if it does.
    identity: Option<Identity>,
    /// The other nodes.
    others: Vec<Server>,
    engine: Option<Engine>,
    pub(crate) address: SocketAddrV4,
    pub(crate) wire: Wire,
}

impl Who {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Floor { .. } => "the floor",
            Self::Chatd(..) => "chatd",
            Self::Foreign(foreign) => foreign.name,
        }
    }

    /// Starts it, for lines of this length; the others know lines of [`LINE`] alone.
    pub(crate) fn start(&self, line: usize) -> io::Result<Server> {
        match self {
            Self::Floor { tls } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(format!("--{FLOOR_OPTION}"));
                let identity = tls.then(Identity::prepare).transpose()?;
                if let Some(identity) = &identity {
                    command.arg(format!("--{IDENTITY_OPTION}")).arg(identity.folder());
                }
                let mut server = named(&mut command, Wire::chat(line))?;
                server.identity = identity;
                Ok(server)
            }
            Self::Chatd(path, setup @ Setup { servers: Servers::Apart(count), .. }) => {
                let one = Self::Chatd(path.clone(), Setup { servers: Servers::One, ..*setup });
                let mut server = one.start(line)?;
                server.others = (1..*count).map(|_| one.start(line)).collect::<io::Result<_>>()?;
                Ok(server)
            }
            Self::Chatd(path, setup @ Setup { servers: Servers::Nodes(count), .. }) => {
                let engine = Engine::start()?;
                let node = |number| {
                    let mut command = Command::new(path);
                    command.args(["--log", "stderr"]).args(setup.options).env_clear();
                    command.env("CHATD_CONFIG", engine.config(number)?);
                    named(&mut command, Wire::shown(setup.shown, line))
                };
                let mut server = node(0)?;
                server.others = (1..*count).map(node).collect::<io::Result<_>>()?;
                server.engine = Some(engine);
                Ok(server)
            }
            Self::Chatd(path, setup) => {
                let mut command = Command::new(path);
                command.args(["--log", "stderr"]).args(setup.options).env_clear();
                let metrics = setup.metrics.then(Metrics::prepare).transpose()?;
                let identity = setup.tls.then(Identity::prepare).transpose()?;
                let config = metrics.as_ref().map(Metrics::config);
                match config.or_else(|| identity.as_ref().map(Identity::config)) {
                    Some(config) => command.env("CHATD_CONFIG", config),
                    None => command.args(["--listen", "127.0.0.1:0"]).env("CHATD_CONFIG", "/dev/null"),
                };
                let manager = setup.keeps.then(Manager::start).transpose()?;
                if let Some(manager) = &manager {
                    command.env("NOTIFY_SOCKET", &manager.path);
                }
                let archive = setup.archives.then(archive_folder);
                if let Some(folder) = &archive {
                    command.arg("--archive").arg(folder);
                }
                let mut server = named(&mut command, Wire::shown(setup.shown, line))?;
                (server.manager, server.metrics, server.archive) = (manager, metrics, archive);
                server.identity = identity;
                Ok(server)
            }
            Self::Foreign(foreign) => foreign.start(),
        }
    }
}

/// The path of a folder that is not there.
fn archive_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("chatd-bench-archive-{}-{number}", std::process::id()))
}

/// Starts a server that finds a port itself and writes `listening on ADDRESS` to standard error.
fn named(command: &mut Command, wire: Wire) -> io::Result<Server> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut server = Server::new(child, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), wire);
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

impl Server {
    pub(crate) fn new(child: Child, address: SocketAddrV4, wire: Wire) -> Self {
        Self {
            child,
            manager: None,
            metrics: None,
            archive: None,
            identity: None,
            others: Vec::new(),
            engine: None,
            address,
            wire,
        }
    }

    /// How clients speak TLS with it, if they do.
    pub(crate) fn client(&self) -> Option<&Arc<ClientConfig>> {
        self.identity.as_ref().map(|identity| &identity.client)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where those who connect come in, in turn.
    pub(crate) fn addresses(&self) -> Vec<SocketAddrV4> {
        std::iter::once(self).chain(&self.others).map(|server| server.address).collect()
    }

    /// Where speakers come in: what one says at a node is heard at all of them.
    pub(crate) fn speakers(&self) -> Vec<SocketAddrV4> {
        if self.engine.is_some() { vec![self.address] } else { self.addresses() }
    }

    /// CPU time of it, or of all nodes together without the engine, in nanoseconds.
    pub(crate) fn cpu(&self) -> io::Result<u64> {
        std::iter::once(self).chain(&self.others).map(|server| measure::cpu(server.pid())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.manager, self.metrics, self.engine) = (None, None, None);
        if let Some(folder) = self.archive.take() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Wire {
    /// That of chatd and of the floor, with lines of this length.
    pub(crate) fn chat(length: usize) -> Self {
        let mut line = vec![MARK; length];
        line[length - 1] = b'\n';
        Self {
            join: Shown::Plain.join(),
            speaker_join: b"",
            greets_first: true,
            greeting: Some(GREETING.to_vec()),
            speaker_greeting: Some(GREETING.to_vec()),
            line,
            count: Count::Bytes(length as u64),
        }
    }

    /// What lines are worth does not depend on how they are shown.
    fn shown(shown: Shown, length: usize) -> Self {
        let chat = Self::chat(length);
        let count = if shown == Shown::Plain { chat.count } else { Count::Marks(length as u64 - 1) };
        let speaker_join: &[u8] = if shown == Shown::Apart { APART } else { chat.speaker_join };
        Self { join: shown.join(), speaker_join, count, ..chat }
    }
}
