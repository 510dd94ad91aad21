//! chatctl and chatd, each a process of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fake::{chatctl, unprivileged};
use crate::process::{Left, Process};
use crate::support::{Caller, Daemon, Folder, text, wait_until};

/// A chatd whose operators are the group of this process.
struct Real {
    folder: Folder,
    daemon: Daemon,
}

impl Real {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let output = Command::new("id").arg("-gn").output().unwrap();
        Self::with_operators(String::from_utf8(output.stdout).unwrap().trim(), options)
    }

    fn with_operators(group: &str, options: &[&str]) -> Self {
        let folder = Folder::new();
        let socket = folder.path("socket");
        let operators = format!("--operators={group}");
        let known = ["--listen", text(&socket), &operators, "--log-level", "debug"];
        let daemon = Daemon::start(&[&known, options].concat());
        Self { folder, daemon }
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = chatctl(options);
        command.env("CHATCTL_SOCKET", self.folder.path("socket"));
        command
    }

    #[track_caller]
    fn run(&self, options: &[&str]) -> Left {
        Process::run(self.command(options)).finish()
    }

    /// Runs it; fails unless it ends with 0, and returns what it prints.
    #[track_caller]
    fn done(&self, options: &[&str]) -> String {
        let left = self.run(options);
        assert_eq!((left.code, left.errors.as_str()), (Some(0), ""), "{options:?}: {left:?}");
        left.output
    }

    /// A member with a name.
    fn join_as(&self, name: &str) -> Caller {
        let mut caller = self.daemon.join();
        caller.say(format!("/nick {name}\n"));
        caller.expect(format!("-!- you are {name} now; /help says what else there is\n"));
        caller
    }
}

#[test]
fn lists_have_who_is_there() {
    let real = Real::start();
    let _people = [real.join_as("ann"), real.join_as("ben")];
    let status = real.done(&["status"]);
    assert!(status.contains("\nsessions  2\n") && status.contains("\nrooms     1\n"), "{status}");
    let sessions = real.done(&["sessions"]);
    for (name, address) in [("ann", "127.0.0.1:"), ("ben", "127.0.0.1:")] {
        let row = sessions.lines().find(|row| row.split_whitespace().nth(1) == Some(name)).unwrap();
        assert!(row.contains(address) && row.contains(" main ") && row.ends_with("line"), "{sessions}");
    }
    let rooms = real.done(&["rooms"]);
    let rooms: Vec<Vec<&str>> = rooms.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rooms[1..], [["main", "2"]]);
    let json = real.done(&["sessions", "--json"]);
    let schema =
        serde_json::from_str(&fs::read_to_string("packaging/json-view.schema.json").unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for line in json.lines().chain(real.done(&["status", "--json"]).lines()) {
        let object = serde_json::from_str(line).unwrap();
        validator.validate(&object).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_eq!(json.lines().count(), 3, "{json}");
}

#[test]
fn more_than_a_page_is_one_list() {
    let real = Real::start();
    let people: Vec<Caller> = (0..1001).map(|_| real.daemon.join()).collect();
    let json = real.done(&["sessions", "--json"]);
    assert_eq!(json.matches("\"code\":\"sessions\"").count(), 3, "pages");
    assert_eq!(json.matches("\"code\":\"session\"").count(), people.len());
    assert_eq!(real.done(&["sessions"]).lines().count(), people.len() + 1);
}

#[test]
fn what_is_done_reaches_those_concerned() {
    let mut real = Real::start();
    let (mut ann, mut ben) = (real.join_as("ann"), real.join_as("ben"));
    real.done(&["say", "back", "at nine"]);
    ann.until("-!- to everybody: back at nine\n");
    real.done(&["kick", "ben", "be", "nice"]);
    ben.until("-!- closing: an operator sends you away: be nice\n");
    ben.expect_end();
    real.done(&["mute", "ann", "--for", "1h"]);
    ann.until("-!- an operator has muted you until ");
    real.done(&["unmute", "ann"]);
    assert!(real.done(&["log", "info"]).contains("from info on"));
    real.daemon.wait_for_log("/kick ben be nice");
    for (options, words) in [
        (["kick", "nobody-here"].as_slice(), "nobody is called that"),
        (&["unmute", "ann"], "there is no mute of exactly ann; see: chatctl bans"),
        (&["watch", "nowhere"], "there is no room nowhere"),
    ] {
        let left = real.run(options);
        assert_eq!((left.code, left.output.as_str()), (Some(1), ""), "{left:?}");
        assert!(left.errors.contains(words), "{left:?}");
    }
}

#[test]
fn one_who_reads_nothing_is_kicked_as_well() {
    let real = Real::start_with(&["--drain", "200ms"]);
    let (mut ann, ben) = (real.join_as("ann"), real.join_as("ben"));
    // More than the sockets of ben take.
    let flood = "a line of some length, so that fewer are enough\n".repeat(40_000);
    ann.say(&flood);
    real.done(&["kick", "ben"]);
    wait_until("ben is gone", || !real.done(&["sessions"]).contains(" ben "));
    drop(ben);
    ann.say("on it goes\n");
}

#[test]
fn a_room_is_heard_from_elsewhere() {
    let real = Real::start();
    let mut ann = real.join_as("ann");
    ann.say("/join Ops\n");
    ann.until("-!- you are in Ops now");
    let mut watch = Process::run(real.command(&["watch", "ops"]));
    assert!(watch.hear().contains("you hear ops; Ctrl-C ends it"));
    ann.until("-!- an operator hears what is said here\n");
    let mut ben = real.join_as("ben");
    ben.say("not this\n");
    ann.say("hello\n");
    assert!(watch.hear().ends_with(" <ann> hello"));
    watch.signal("INT");
    assert_eq!(watch.wait().code, Some(0));
}

#[test]
fn a_drain_can_be_called_off_and_ends_it() {
    let mut real = Real::start();
    let mut ann = real.join_as("ann");
    assert!(real.done(&["drain", "1h"]).contains("chatd stops in 1h"));
    ann.until("-!- chatd stops in 1h\n");
    assert!(real.done(&["drain", "off"]).contains("chatd does not stop"));
    ann.until("-!- chatd does not stop\n");
    real.done(&["drain", "0"]);
    assert_eq!(real.daemon.wait().code(), Some(0));
    let left = real.run(&["status"]);
    assert_eq!(left.code, Some(69), "{left:?}");
}

#[test]
fn who_is_not_in_the_group_is_no_operator() {
    let mut real = Real::with_operators("", &[]);
    let socket = real.folder.path("socket");
    fs::set_permissions(socket.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    let mut ann = real.join_as("ann");
    // One whom the kernel knows, and one who is nobody there, and hence a guest.
    for user in [54_321, 65_534] {
        let left = Process::run(unprivileged(user, &socket, &["say", "what nobody hears"])).finish();
        assert_eq!((left.code, left.output.as_str()), (Some(77), ""), "{left:?}");
        assert!(left.errors.contains("you are not an operator"), "{left:?}");
    }
    real.daemon.wait_for_log("is not an operator: /control");
    ann.say("/sync done\n");
    assert!(!ann.until("-!- synced done\n").contains("nobody hears"));
}

#[test]
fn who_is_banned_is_gone_and_stays_away() {
    let real = Real::start();
    let mut ann = real.join_as("ann");
    let told = real.done(&["ban", "127.0.0.0/8", "--for", "1h", "5", "strikes"]);
    assert!(told.starts_with("127.0.0.0/8 is banned until ") && told.ends_with("closed: 1\n"), "{told}");
    ann.until(": 5 strikes\n");
    ann.expect_end();
    let mut again = Caller::connect(real.daemon.address);
    again.until(": 5 strikes\n");
    let bans = real.done(&["bans"]);
    let row: Vec<&str> = bans.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(row[..2] == ["ban", "127.0.0.0/8"] && row[4..] == ["5", "strikes"], "{bans}");
    real.done(&["unban", "127.0.0.0/8"]);
    real.join_as("ben");
    let left = real.run(&["ban", "no such thing"]);
    assert_eq!(left.code, Some(2), "{left:?}");
    let left = real.run(&["ban", "somewhere"]);
    assert!(left.code == Some(1) && !left.errors.is_empty(), "{left:?}");
}

#[test]
fn a_full_chatd_lets_operators_in() {
    let real = Real::start_with(&["--max-clients", "2"]);
    let _people = [real.join_as("ann"), real.join_as("ben")];
    let mut cem = Caller::connect(real.daemon.address);
    cem.expect("-!- server full\n");
    real.done(&["kick", "ben"]);
}
