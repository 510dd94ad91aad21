//! Operators at one node act on people at others, and get in while the engine is away.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::nodes::object;
use crate::redis::Server;
use crate::support::{Caller, Daemon, Folder, GREETING, text, wait_until};

/// A node with a unix socket, whose operators are the group of this process.
struct Manned {
    daemon: Daemon,
    folder: Folder,
}

impl Manned {
    fn start(name: &str, redis: &Server) -> Self {
        let folder = Folder::new();
        let config = format!("cluster = [{:?}]\nnode = {name:?}\n", redis.address());
        let (config, socket) = (folder.write("chatd.toml", config), folder.path("socket"));
        let group = Command::new("id").arg("-gn").output().unwrap().stdout;
        let operators = format!("--operators={}", String::from_utf8(group).unwrap().trim());
        let daemon = Daemon::start(&["--config", text(&config), "--listen", text(&socket), &operators]);
        Self { daemon, folder }
    }

    /// Somebody called so, who sees objects.
    #[track_caller]
    fn join_as(&self, name: &str) -> Caller {
        let mut caller = self.daemon.join();
        caller.say(format!("/view json\n/nick {name}\n"));
        object(&mut caller, |object| object["code"] == "named" && object["name"] == name);
        caller
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
        command.env("CHATCTL_SOCKET", self.folder.path("socket")).args(options).stdin(Stdio::null());
        command
    }

    fn run(&self, options: &[&str]) -> Output {
        self.command(options).output().unwrap()
    }

    /// Runs chatctl, which must end well, and returns what it prints.
    #[track_caller]
    fn done(&self, options: &[&str]) -> String {
        let output = self.run(options);
        assert!(output.status.success() && output.stderr.is_empty(), "{options:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Begins to hear a room, and returns the lines that follow.
    #[track_caller]
    fn watch(&self, room: &str) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut child = self.command(&["watch", room]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.next().unwrap(), format!("you hear {room}; Ctrl-C ends it"));
        (child, lines)
    }
}

#[track_caller]
fn told(caller: &mut Caller, code: &str) {
    object(caller, |object| object["code"] == code);
}

pub fn operators_act_on_all_nodes() {
    let redis = Server::start();
    let (mut alpha, beta) = (Manned::start("alpha", &redis), Manned::start("beta", &redis));
    let (mut ann, mut ben) = (alpha.join_as("ann"), beta.join_as("ben"));
    wait_until("alpha knows ben", || alpha.done(&["rooms"]).contains("main        2"));
    alpha.done(&["say", "hello"]);
    [&mut ann, &mut ben].into_iter().for_each(|caller| told(caller, "announcement"));
    // A node lists its own connections.
    let sessions = alpha.done(&["sessions"]);
    assert!(sessions.contains(" ann ") && !sessions.contains(" ben "), "{sessions}");
    wait_until("alpha knows beta", || alpha.done(&["nodes"]).contains("beta"));
    alpha.done(&["mute", "ben", "--for", "1h"]);
    told(&mut ben, "muted");
    wait_until("beta knows of it", || beta.done(&["bans"]).contains("mute  ben"));
    beta.done(&["unmute", "ben"]);
    wait_until("alpha knows of it", || !alpha.done(&["bans"]).contains("mute  ben"));
    let (mut watch, mut heard) = alpha.watch("main");
    told(&mut ann, "watched");
    ben.say("hello\n");
    assert!(heard.next().unwrap().ends_with(" <ben> hello"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(alpha.done(&["kick", "ben", "be", "nice"]).starts_with("ben (#"));
    told(&mut ben, "kicked");
    ben.rest();
    let mut eve = beta.join_as("eve");
    alpha.done(&["ban", "127.0.0.0/8", "spam"]);
    [&mut ann, &mut eve].into_iter().for_each(|caller| told(caller, "banned"));
    wait_until("beta knows of it", || beta.done(&["bans"]).contains("127.0.0.0/8"));
    beta.done(&["unban", "127.0.0.0/8"]);
    wait_until("alpha knows of it", || !alpha.done(&["bans"]).contains("127.0.0.0/8"));
    // A stop is that of one node.
    let mut joe = beta.join_as("joe");
    alpha.done(&["drain", "0"]);
    alpha.daemon.wait();
    wait_until("it is gone", || !beta.done(&["nodes"]).contains("alpha"));
    joe.say("/sync x\n");
    object(&mut joe, |object| object["token"] == "x");
}

pub fn chatctl_leaves_nothing_in_the_engine() {
    let redis = Server::start();
    let alpha = Manned::start("alpha", &redis);
    let _ann = alpha.join_as("ann");
    let state = || (redis.ask(&["KEYS", "chatd:room:*"]), redis.ask(&["XLEN", "chatd:acts"]));
    let before = state();
    for task in ["status", "nodes", "sessions", "rooms", "bans"] {
        alpha.done(&[task]);
    }
    assert_eq!(alpha.run(&["kick", "nobody-here"]).status.code(), Some(1));
    assert_eq!(state(), before);
}

/// What has to work at once.
const AT_ONCE: &[&[&str]] = &[
    &["status"],
    &["nodes"],
    &["sessions"],
    &["rooms"],
    &["bans"],
    &["log", "debug"],
    &["drain", "1h"],
    &["drain", "off"],
];

pub fn operators_get_in_while_the_engine_is_away() {
    let redis = Server::start();
    let alpha = Manned::start("alpha", &redis);
    let (mut ann, mut ben) = (alpha.join_as("ann"), alpha.join_as("ben"));
    redis.pause(true);
    ann.say("hello\n");
    told(&mut ann, "engine_away");
    AT_ONCE.iter().for_each(|task| drop(alpha.done(task)));
    assert!(alpha.done(&["kick", "ann"]).starts_with("ann (#"));
    told(&mut ann, "kicked");
    // What all nodes have to know waits, and is done later.
    let output = alpha.run(&["--timeout", "2s", "ban", "127.0.0.0/8"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("no answer within 2s") && errors.contains("it says: "), "{errors}");
    redis.pause(false);
    told(&mut ben, "banned");
}

pub fn operators_get_in_before_there_is_an_engine() {
    let mut redis = Server::start();
    redis.kill();
    let alpha = Manned::start("alpha", &redis);
    AT_ONCE.iter().for_each(|task| drop(alpha.done(task)));
    // Without chatctl, as nc -U does.
    let mut operator = Caller::connect_unix(&alpha.folder.path("socket"));
    operator.say("/control\n/stats\n");
    told(&mut operator, "operating");
    told(&mut operator, "stats");
    // One who says nothing is in a room a moment later.
    Caller::connect_unix(&alpha.folder.path("socket")).expect(GREETING);
    // Who goes to a room waits there for its name.
    let mut member = Caller::connect_unix(&alpha.folder.path("socket"));
    member.say("/view json\n/sync x\n");
    redis.start_again();
    let synced = object(&mut member, |object| object["token"] == "x");
    assert_eq!(synced["verified"], true, "{synced}");
    let mut ann = alpha.join_as("ann");
    member.say("hello\n");
    object(&mut ann, |object| object["text"] == "hello");
}
