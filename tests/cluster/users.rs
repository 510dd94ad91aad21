//! Users of several machines: a kernel vouches for those of its own machine alone, so their names have the node.

use serde_json::Value;

use crate::manager::Manager;
use crate::nodes::object;
use crate::redis::Server;
use crate::support::{Caller, Daemon, Folder, GREETING, text};

/// A chatd with a unix socket, and what plays its service manager.
struct Machine {
    manager: Manager,
    daemon: Daemon,
    folder: Folder,
}

impl Machine {
    /// Starts one. It is a node if it has a name.
    fn start(redis: &Server, node: Option<&str>) -> Self {
        let (manager, folder) = (Manager::with_store_alone(), Folder::new());
        let daemon = begin(&manager, &folder, redis, node);
        Self { manager, daemon, folder }
    }

    /// Restarts it, perhaps as another node.
    fn restart(&mut self, redis: &Server, node: Option<&str>) {
        self.manager.stop_for_restart(&mut self.daemon);
        self.daemon = begin(&self.manager, &self.folder, redis, node);
    }

    /// Somebody comes over its unix socket, who sees objects.
    fn join(&self) -> Caller {
        let mut caller = Caller::connect_unix_as_user(&self.folder.path("chat.sock"));
        caller.expect(GREETING);
        caller.say("/view json\n");
        object(&mut caller, |object| object["code"] == "viewed");
        caller
    }
}

/// Starts a node, or a chatd that is alone, and waits until it listens on its unix socket.
fn begin(manager: &Manager, folder: &Folder, redis: &Server, node: Option<&str>) -> Daemon {
    let cluster = node.map(|node| format!("cluster = {:?}\nnode = {node:?}\n", redis.address()));
    let file = folder.write("chatd.toml", cluster.unwrap_or_default());
    let (operators, socket) = (format!("--operators={}", id(&["-gn"])), folder.path("chat.sock"));
    let options = ["--config", text(&file), "--listen", text(&socket), operators.as_str()];
    let mut daemon = manager.start("", &options);
    daemon.wait_for_log(&format!("listening on {}", text(&socket)));
    daemon
}

/// What id(1) says of the user who runs this, or of another one.
fn id(options: &[&str]) -> String {
    let output = std::process::Command::new("id").args(options).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What chatd calls somebody: its name, and the node in it.
#[track_caller]
fn called(caller: &mut Caller) -> (Value, Value) {
    caller.say("/sync name\n");
    let mut synced = object(caller, |object| object["type"] == "synced");
    assert_eq!(synced["verified"], true);
    (synced["name"].take(), synced["host"].take())
}

pub fn users_of_two_machines_are_two() {
    let redis = Server::start();
    let login = id(&["-un", &Caller::user().to_string()]);
    let at = |node: &str| (Value::from(format!("{login}@{node}")), Value::from(node));
    let mut alpha = Machine::start(&redis, None);
    let mut ann = alpha.join();
    assert_eq!(called(&mut ann), (login.as_str().into(), Value::Null), "there is no cluster yet");
    for node in ["early", "alpha"] {
        alpha.restart(&redis, Some(node));
        assert_eq!(called(&mut ann), at(node));
    }

    let beta = Machine::start(&redis, Some("beta"));
    let mut ben = beta.join();
    assert_eq!(called(&mut ben), at("beta"));
    ann.say("hello\n");
    let hello = object(&mut ben, |object| object["type"] == "message");
    let (from, host) = at("alpha");
    assert_eq!((&hello["from"], &hello["verified"], &hello["host"]), (&from, &true.into(), &host));
    ann.say(format!("/who\n/msg +{login} which?\n/msg +{login}@beta psst\n"));
    let who = object(&mut ann, |object| object["code"] == "who");
    let hosts: Vec<&Value> = who["members"].as_array().unwrap().iter().map(|one| &one["host"]).collect();
    assert_eq!(hosts, ["alpha", "beta"]);
    let alike = object(&mut ann, |object| object["code"] == "alike");
    assert_eq!(alike["members"].as_array().unwrap().len(), 2, "{alike}");
    assert_eq!(object(&mut ann, |object| object["code"] == "told")["name"], at("beta").0);
    let private = object(&mut ben, |object| object["type"] == "private");
    assert_eq!((&private["from"], &private["host"], &private["text"]), (&from, &host, &"psst".into()));

    // The one may guide chatd as well as the other.
    ben.say(format!("/kick +{login}@alpha enough\n"));
    object(&mut ann, |object| object["code"] == "kicked");
    ann.expect_end();
    let mut ann = alpha.join();
    ben.say(format!("/ban +{login}@alpha\n/sync banned\n"));
    object(&mut ann, |object| object["code"] == "banned");
    ann.expect_end();
    object(&mut ben, |object| object["type"] == "synced");
    let mut refused = Caller::connect_unix_as_user(&alpha.folder.path("chat.sock"));
    assert!(String::from_utf8(refused.rest()).unwrap().contains("you are banned"));
    assert_eq!(called(&mut beta.join()), at("beta"), "it is banned at one machine alone");
    ben.say(format!("/unban +{login}@alpha\n"));
    object(&mut ben, |object| object["code"] == "lifted");
}
