//! Nodes: each a chatd with its own configuration, and what plays its service manager.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, text};

pub const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// A node.
pub struct Node {
    pub manager: Manager,
    pub daemon: Daemon,
    folder: Folder,
}

impl Node {
    /// A chatd that is alone.
    pub fn alone() -> Self {
        Self::with("")
    }

    /// A node of that name, which goes to the engine at these addresses, with more keys.
    pub fn start(name: &str, addresses: &[String], more: &str) -> Self {
        Self::with(&format!("cluster = {addresses:?}\nnode = {name:?}\n{more}"))
    }

    /// The same, with a password.
    pub fn start_with_password(name: &str, addresses: &[String], password: &str) -> Self {
        let folder = Folder::new();
        let file = folder.write("password", format!("{password}\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let key = format!("cluster_password_file = {:?}\n", text(&file));
        Self::in_folder(folder, &format!("cluster = {addresses:?}\nnode = {name:?}\n{key}"))
    }

    fn with(keys: &str) -> Self {
        Self::in_folder(Folder::new(), keys)
    }

    fn in_folder(folder: Folder, keys: &str) -> Self {
        let manager = Manager::with_store();
        folder.write("chatd.toml", keys.replace("FOLDER", text(&folder.path(""))));
        let daemon = manager.start("", &["--config", text(&folder.path("chatd.toml"))]);
        Self { manager, daemon, folder }
    }

    fn config(&self) -> String {
        text(&self.folder.path("chatd.toml")).to_owned()
    }

    /// A file or folder of its own.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path(name)
    }

    pub fn address(&self) -> SocketAddr {
        self.manager.address()
    }

    /// Restarts it as the unit has it.
    #[track_caller]
    pub fn restart(&mut self) {
        let config = self.config();
        self.manager.restart(&mut self.daemon, &["--config", &config]);
    }

    /// Kills it when so many connections are kept.
    #[track_caller]
    pub fn kill(&mut self, sessions: u64) {
        self.manager.kill(&mut self.daemon, sessions);
    }

    #[track_caller]
    pub fn start_again(&mut self) {
        self.daemon = self.manager.start("", &["--config", &self.config()]);
    }

    /// Its machine is gone: the process, and its connections.
    pub fn lose(&mut self) {
        self.daemon.signal("KILL");
        self.daemon.wait();
        self.manager.vanish();
    }

    /// Somebody in plain text who has been greeted.
    #[track_caller]
    pub fn join(&self) -> Caller {
        Caller::join(self.address())
    }

    /// Somebody called so, who sees objects from now on.
    #[track_caller]
    pub fn join_as(&self, name: &str) -> Caller {
        let mut caller = self.join();
        caller.say(format!("/view json\n/nick {name}\n"));
        object(&mut caller, |object| object["code"] == "named" && object["name"] == name);
        caller
    }
}

/// Three nodes at one engine.
pub fn three(addresses: &[String], more: &str) -> Vec<Node> {
    NAMES.iter().map(|name| Node::start(name, addresses, more)).collect()
}

/// The next object that is so, for somebody who sees objects.
#[track_caller]
pub fn object(caller: &mut Caller, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line = caller.until("\n");
        match serde_json::from_str(&line) {
            Ok(object) if is_so(&object) => return object,
            _ => {}
        }
    }
}
