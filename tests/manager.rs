//! What stands in for a service manager: it is told how things are, keeps descriptors, and starts the daemon with them.
//!
//! It keeps to sd_notify(3) and sd_listen_fds(3) as far as chatd relies on them; `tests/systemd` has a real one.

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use command_fds::{CommandFdExt, FdMapping};
use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::support::{Caller, Daemon, Folder, PATIENCE, text, wait_until};

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

/// Descriptors by name, in the order in which they came.
pub type Kept = Vec<(String, OwnedFd)>;

/// A service manager with one service.
pub struct Manager {
    folder: Folder,
    socket: UnixDatagram,
    /// What is passed to each process besides what is kept; none if it is to listen by itself.
    listener: Option<TcpListener>,
    told: Receiver<String>,
    barriers: Receiver<OwnedFd>,
    shared: Arc<Mutex<Shared>>,
}

/// What the thread that is told things sees to.
#[derive(Default)]
struct Shared {
    kept: Kept,
    /// How many descriptors it keeps at most.
    most: usize,
    /// Somebody wants to decide when a barrier is passed.
    holds_barriers: bool,
}

impl Manager {
    /// One that keeps nothing.
    pub fn new() -> Self {
        Self::with(None, 0)
    }

    /// One that keeps descriptors, and has a socket.
    pub fn with_store() -> Self {
        Self::with(Some(TcpListener::bind("127.0.0.1:0").unwrap()), 512)
    }

    /// One that keeps descriptors, and has no socket.
    pub fn with_store_alone() -> Self {
        Self::with(None, 512)
    }

    fn with(listener: Option<TcpListener>, most: usize) -> Self {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.path("notify")).unwrap();
        let shared = Arc::new(Mutex::new(Shared { most, ..Shared::default() }));
        let ((told_tx, told), (barriers_tx, barriers)) = (mpsc::channel(), mpsc::channel());
        let (theirs, to) = (socket.try_clone().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || follow(&theirs, &to, &told_tx, &barriers_tx));
        Self { folder, socket, listener, told, barriers, shared }
    }

    /// Starts the daemon with `script`, a shell's, before it.
    pub fn start(&self, script: &str, options: &[&str]) -> Daemon {
        Daemon::run(self.command(script, options))
    }

    /// What starts the daemon.
    pub fn command(&self, script: &str, options: &[&str]) -> Command {
        let notify = format!("NOTIFY_SOCKET={}; export NOTIFY_SOCKET;", text(&self.folder.path("notify")));
        let mut passed: Kept = Vec::new();
        if let Some(listener) = &self.listener {
            passed.push(("chatd.socket".into(), listener.try_clone().unwrap().into()));
        }
        self.kept(|kept| {
            passed.extend(kept.iter().map(|(name, fd)| (name.clone(), fd.try_clone().unwrap())));
        });
        let names: Vec<&str> = passed.iter().map(|(name, _)| name.as_str()).collect();
        let listen = match passed.len() {
            0 => String::new(),
            count => {
                let names = names.join(":");
                format!(
                    "LISTEN_FDS={count} LISTEN_FDNAMES={names} LISTEN_PID=$$; export LISTEN_FDS LISTEN_FDNAMES LISTEN_PID;"
                )
            }
        };
        let mut command = shell(&format!("{notify} {listen} {script}"), options);
        let mappings = passed.into_iter().zip(3..);
        let mappings = mappings.map(|((_, parent_fd), child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).unwrap();
        command
    }

    /// Restarts the daemon as the unit has it.
    #[track_caller]
    pub fn restart(&self, daemon: &mut Daemon, options: &[&str]) {
        self.stop_for_restart(daemon);
        *daemon = self.start("", options);
    }

    /// The first half of a restart.
    #[track_caller]
    pub fn stop_for_restart(&self, daemon: &mut Daemon) {
        daemon.signal("USR2");
        assert!(daemon.wait().success(), "{:#?}", daemon.log);
    }

    /// Kills the daemon, which has so many sessions, and starts it again.
    #[track_caller]
    pub fn crash(&self, daemon: &mut Daemon, sessions: u64, options: &[&str]) {
        self.kill(daemon, sessions);
        *daemon = self.start("", options);
    }

    /// The same, with `script` before it.
    #[track_caller]
    pub fn crash_with(&self, daemon: &mut Daemon, sessions: u64, script: &str) {
        self.kill(daemon, sessions);
        *daemon = self.start(script, &[]);
    }

    #[track_caller]
    pub fn kill(&self, daemon: &mut Daemon, sessions: u64) {
        self.wait_until_kept(sessions);
        daemon.signal("KILL");
        daemon.wait();
        self.hear_all();
    }

    /// Waits until so many connections are in parcels, and the crash table is kept: a little after they have come.
    #[track_caller]
    fn wait_until_kept(&self, sessions: u64) {
        wait_until("they are kept", || {
            self.kept(|kept| {
                let outlets =
                    kept.iter().filter(|(name, _)| name.starts_with("parcel-") && name.ends_with("-out"));
                let bytes: u64 = outlets.map(|(_, fd)| rustix::io::ioctl_fionread(fd).unwrap()).sum();
                // The number of each goes with it.
                bytes >= 8 * sessions && kept.iter().any(|(name, _)| name == "table")
            })
        });
    }

    /// Waits until it has done all that it was told before.
    fn hear_all(&self) {
        const MARK: &str = "that was all";
        let own = UnixDatagram::unbound().unwrap();
        own.send_to(MARK.as_bytes(), self.folder.path("notify")).unwrap();
        while self.told() != MARK {}
    }

    // Not all tests lose a machine.
    #[allow(dead_code)]
    /// Its machine is gone, with everything that is kept: nobody can connect any more.
    pub fn vanish(&mut self) {
        self.kept(Vec::clear);
        self.listener = None;
    }

    /// Where callers come in.
    pub fn address(&self) -> SocketAddr {
        self.listener.as_ref().unwrap().local_addr().unwrap()
    }

    /// Somebody who has been greeted.
    pub fn join(&self) -> Caller {
        Caller::join(self.address())
    }

    /// What it is told next, but for descriptors.
    #[track_caller]
    pub fn told(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("it is told something")
    }

    /// From now on barriers are passed when the other end of what [`Manager::barrier`] returns is dropped.
    pub fn hold_barriers(&self) {
        self.shared.lock().unwrap().holds_barriers = true;
    }

    /// The next barrier.
    #[track_caller]
    pub fn barrier(&self) -> OwnedFd {
        self.barriers.recv_timeout(PATIENCE).expect("a barrier")
    }

    /// Does something with what is kept.
    pub fn kept<T>(&self, job: impl FnOnce(&mut Kept) -> T) -> T {
        job(&mut self.shared.lock().unwrap().kept)
    }

    /// The names of what is kept.
    pub fn names(&self) -> Vec<String> {
        self.kept(|kept| kept.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Keeps another file under a name.
    pub fn replace(&self, name: &str, fd: impl Into<OwnedFd>) {
        self.kept(|kept| {
            kept.retain(|(other, _)| other != name);
            kept.push((name.to_owned(), fd.into()));
        });
    }

    /// What is in a file that is kept.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let file = self.kept(|kept| {
            let (_, fd) = kept.iter().find(|(other, _)| other == name).unwrap();
            File::from(fd.try_clone().unwrap())
        });
        let mut bytes = vec![0; file.metadata().unwrap().len().try_into().unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// A file to keep.
    pub fn file(&self, name: &str, bytes: &[u8]) -> File {
        File::open(self.folder.write(name, bytes)).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Does what the daemon says, and passes on what it only tells.
fn follow(
    socket: &UnixDatagram,
    shared: &Mutex<Shared>,
    told_tx: &Sender<String>,
    barriers_tx: &Sender<OwnedFd>,
) {
    let mut turned_down = Vec::new();
    while let Some((message, fds)) = receive(socket) {
        let mut shared = shared.lock().unwrap();
        let has = |assignment: &str| message.lines().any(|line| line == assignment);
        let name = message.lines().find_map(|line| line.strip_prefix("FDNAME="));
        if has("FDSTORE=1") {
            assert!(has("FDPOLL=0"), "it would not be kept when its other end is gone: {message}");
            let name = name.expect("a name");
            for fd in fds {
                if shared.kept.len() < shared.most {
                    shared.kept.push((name.to_owned(), fd));
                } else {
                    // As systemd does from v254 on: a barrier may be passed before it is closed.
                    turned_down.push(fd);
                }
            }
        } else if has("FDSTOREREMOVE=1") {
            shared.kept.retain(|(other, _)| Some(other.as_str()) != name);
        } else if has("BARRIER=1") {
            if shared.holds_barriers {
                fds.into_iter().for_each(|fd| barriers_tx.send(fd).unwrap_or_default());
            } else {
                drop(fds);
            }
            turned_down.clear();
        } else if told_tx.send(message).is_err() {
            return;
        }
    }
}

/// The next message, with what comes with it; none at the end.
fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut buffer = [0; 8192];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received = rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let message = String::from_utf8(buffer[..received.bytes].to_vec()).unwrap();
    (!message.is_empty()).then_some((message, fds))
}

/// A shell that does `script` and then becomes the daemon: LISTEN_PID and WATCHDOG_PID have to name it.
pub fn shell(script: &str, options: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script} exec \"$@\""), "sh", CHATD]);
    command.args(["--listen", "127.0.0.1:0", "--log", "stderr"]).args(options);
    command
}
