//! Several nodes of chatd at one engine: a redis-server that keeps nothing on disk.

use std::fs;
use std::io::{self, Error};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the engine may take until it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The engine, and the folder with its socket and the configurations of the nodes. Gone when this is.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    folder: PathBuf,
}

impl Engine {
    /// Starts it, and waits until it is there.
    pub(crate) fn start() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("chatd-engine-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        command.arg(folder.join("sock")).arg("--dir").arg(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let engine = Self { child: command.spawn()?, folder };
        let start = Instant::now();
        while UnixStream::connect(engine.folder.join("sock")).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(Error::other("redis-server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(engine)
    }

    /// Writes the configuration of a node.
    pub(crate) fn config(&self, number: usize) -> io::Result<PathBuf> {
        let (path, socket) = (self.folder.join(format!("{number}.toml")), self.folder.join("sock"));
        let cluster = format!("cluster = \"redis+unix://{}\"\nnode = \"node-{number}\"\n", socket.display());
        fs::write(&path, format!("listen = [\"127.0.0.1:0\"]\n{cluster}"))?;
        Ok(path)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
