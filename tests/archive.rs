//! The archive: rooms go on after a stop, a crash and a full disk, and what is stored is what was said.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, clean, text, wait_until};

/// How often the test kills the daemon, unless this variable has another number.
const KILLS: (&str, usize) = ("CHATD_TEST_KILLS", 20);

mod trouble;

/// A folder for an archive.
struct Shelf(Folder);

impl Shelf {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn path(&self) -> PathBuf {
        self.0.path("archive")
    }

    /// Starts the daemon.
    fn start(&self) -> Daemon {
        Daemon::start(&["--archive", text(&self.path())])
    }

    /// Runs `chatd --export` with these options.
    fn run(&self, options: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        command.args(["--config", "/dev/null", "--archive", text(&self.path())]).args(options);
        clean(&mut command).output().unwrap()
    }

    fn export(&self, room: &str) -> Vec<Value> {
        let output = self.run(&["--export", room, "--format", "json"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The texts of the lines in a room.
    fn texts(&self, room: &str) -> Vec<String> {
        let said = self.export(room).into_iter().filter(|object| object["type"] == "message");
        said.map(|object| object["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Bytes of the main room.
    fn size(&self) -> u64 {
        let files = fs::read_dir(self.path().join("main"));
        files.map_or(0, |files| files.map(|file| file.unwrap().metadata().unwrap().len()).sum())
    }

    /// The only file of a room.
    fn file(&self, room: &str) -> PathBuf {
        let mut files = fs::read_dir(self.path().join(room)).unwrap();
        files.next().unwrap().unwrap().path()
    }
}

fn stop(mut daemon: Daemon) {
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "{:#?}", daemon.log);
}

/// Somebody who sees objects.
fn program(daemon: &Daemon) -> Caller {
    let mut caller = daemon.join();
    caller.say("/view json\n");
    caller.until("for 30 days; private messages are not\"}\n");
    caller
}

/// The answer of a type to a command.
fn ask(caller: &mut Caller, command: &str, kind: &str) -> Value {
    caller.say(format!("{command}\n"));
    loop {
        let line = caller.until("\n");
        if line.starts_with(&format!("{{\"type\":\"{kind}\"")) {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

/// Waits until everything that was sent before has its place. Returns the epoch and the number of the last line.
fn sync(caller: &mut Caller) -> (u64, u64) {
    let synced = ask(caller, "/sync x", "synced");
    (synced["epoch"].as_u64().unwrap(), synced["seq"].as_u64().unwrap())
}

#[test]
fn a_room_goes_on_after_a_stop_with_its_lines_and_numbers() {
    let shelf = Shelf::new();
    let daemon = shelf.start();
    let mut ann = program(&daemon);
    ann.say("one\ntwo\n/msg guest1 a secret\n");
    let main = sync(&mut ann);
    ann.say("/join ops\nthree\n");
    let ops = sync(&mut ann);
    stop(daemon);
    let daemon = shelf.start();
    let mut ben = program(&daemon);
    assert_eq!(sync(&mut ben), main);
    let history = ask(&mut ben, &format!("/last since {} {}", 1, main.0), "history");
    assert_eq!(
        (&history["first_kept"], &history["lines"], &history["missing"]),
        (&1.into(), &1.into(), &0.into())
    );
    let line: Value = serde_json::from_str(&ben.until("\n")).unwrap();
    assert_eq!((&line["text"], &line["seq"]), (&"two".into(), &2.into()));
    let entered = ask(&mut ben, "/join Ops", "notice");
    assert_eq!((&entered["room"], &entered["epoch"]), (&"ops".into(), &ops.0.into()));
    ben.say("four\n");
    assert_eq!(sync(&mut ben), (ops.0, ops.1 + 1));
    stop(daemon);
    assert_eq!(shelf.texts("main"), ["one", "two"]);
    assert_eq!(shelf.texts("ops"), ["three", "four"]);
    let ids: Vec<u64> = shelf.export("ops").iter().filter_map(|object| object["id"].as_u64()).collect();
    assert!(ids.iter().max() > ids.iter().min(), "the numbers of connections go on, too: {ids:?}");
}

#[test]
fn without_an_archive_nobody_is_told_of_one() {
    let daemon = Daemon::start(&[]);
    let mut ann = daemon.join();
    ann.say("/nick ann\n/view names\n/who\n");
    assert!(!ann.until("1 here: ann").contains("archive"));
}

#[test]
fn a_kill_leaves_a_prefix_of_what_was_said_and_no_line_and_no_number_comes_twice() {
    let kills = std::env::var(KILLS.0).map_or(KILLS.1, |kills| kills.parse().unwrap());
    let shelf = Shelf::new();
    let mut heard: HashMap<(u64, u64), String> = HashMap::new();
    let mut epochs = Vec::new();
    for run in 0..kills {
        let daemon = shelf.start();
        let (mut ann, mut ben) = (program(&daemon), program(&daemon));
        let (epoch, before) = sync(&mut ben);
        epochs.push(epoch);
        let mut said = 0;
        let mut say = |ann: &mut Caller, count: usize| {
            let lines: String = (said..said + count).map(|number| format!("{run}.{number}\n")).collect();
            said += count;
            ann.say(lines);
        };
        let size = shelf.size();
        say(&mut ann, 1 + run * 7);
        // As far as that has come, in every run a little further.
        for _ in 0..1 + run * 5 {
            let line: Value = serde_json::from_str(&ben.until("\n")).unwrap();
            if line["type"] != "message" {
                continue;
            }
            let (seq, text) = (line["seq"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned());
            assert!(seq > before, "{line}");
            assert_eq!(heard.insert((epoch, seq), text), None, "{line}");
        }
        wait_until("the archive grows", || shelf.size() != size);
        say(&mut ann, 1000);
        daemon.signal("KILL");
    }
    // The last line of a run may have been cut: the next start drops it.
    stop(shelf.start());
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
    let (mut next, mut last) = (vec![0; kills], 0);
    for object in shelf.export("main").iter().filter(|object| object["type"] == "message") {
        let (seq, text) = (object["seq"].as_u64().unwrap(), object["text"].as_str().unwrap());
        assert!(seq > last, "{object} after {last}");
        last = seq;
        let (run, number) = text.split_once('.').unwrap();
        let (run, number): (usize, usize) = (run.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, next[run], "run {run}: a prefix, and nothing twice");
        next[run] += 1;
        assert!(next[run + 1..].iter().all(|next| *next == 0), "in order");
        if let Some(said) = heard.get(&(*epochs.last().unwrap(), seq)) {
            assert_eq!(said, text, "the number of another line");
        }
    }
    // Some runs end when the archive has only that somebody has come.
    assert!(next.iter().filter(|next| **next > 0).count() > kills / 2, "{next:?}");
}

#[test]
fn after_a_kill_the_archive_says_that_lines_may_be_missing_and_after_a_stop_it_does_not() {
    let shelf = Shelf::new();
    let daemon = shelf.start();
    let mut ann = program(&daemon);
    ann.say("one\n");
    sync(&mut ann);
    wait_until("it is in the archive", || !shelf.run(&["--export", "main"]).stdout.is_empty());
    daemon.signal("KILL");
    drop(daemon);
    for text in ["two\n", "three\n"] {
        let daemon = shelf.start();
        let mut ben = program(&daemon);
        ben.say(text);
        sync(&mut ben);
        stop(daemon);
    }
    let marks = fs::read_to_string(shelf.file("main")).unwrap();
    let marks = marks.lines().map(|line| serde_json::from_str(line).unwrap());
    let marks: Vec<Value> = marks.filter(|object: &Value| object["type"] == "archive").collect();
    let crashed: Vec<&Value> = marks.iter().filter(|mark| mark["crashed"] == true).collect();
    assert!(crashed.len() == 1 && marks.len() > 3, "{marks:#?}");
    assert_eq!((&crashed[0]["lost"], crashed[0]["seq"].as_u64() > Some(1)), (&0.into(), true));
    let output = shelf.run(&["--export", "main"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    let of = |text: &str| shown.iter().position(|line| line.contains(text)).unwrap();
    let gap = of("lines may be missing here: chatd crashed");
    assert!(of(" one") < gap && gap < of(" two") && of(" two") < of(" three"), "{text}");
    assert_eq!(text.matches("missing").count(), 1, "{text}");
}

#[test]
fn a_line_that_was_cut_is_dropped_with_a_log_line_and_what_is_no_object_is_skipped() {
    let shelf = Shelf::new();
    let daemon = shelf.start();
    let mut ann = program(&daemon);
    ann.say("one\n");
    let before = sync(&mut ann);
    stop(daemon);
    let file = shelf.file("main");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o137, 0);
    let mut text = fs::OpenOptions::new().append(true).open(&file).unwrap();
    text.write_all(b"by hand\n{\"type\":\"message\",\"seq\":2,\"time\":\"2026").unwrap();
    let daemon = shelf.start();
    let has = |text: &str| daemon.log.iter().any(|line| line.contains(text));
    assert!(has("dropped 38 bytes of a line that was cut"), "{:#?}", daemon.log);
    assert!(has("skipped 1 lines that are no objects of the archive"), "{:#?}", daemon.log);
    let mut ben = program(&daemon);
    assert_eq!(sync(&mut ben), before);
    ben.say("two\n");
    sync(&mut ben);
    stop(daemon);
    assert_eq!(shelf.texts("main"), ["one", "two"]);
}

#[test]
fn an_export_ends_as_chatd_does() {
    let shelf = Shelf::new();
    let daemon = shelf.start();
    let mut ann = program(&daemon);
    ann.say("/nick ann\none\n");
    sync(&mut ann);
    stop(daemon);
    let exported = |options: &[&str]| {
        let output = shelf.run(options);
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = exported(&["--export", "main", "--since", "1h"]);
    assert!(code == Some(0) && text.ends_with("Z <ann> one\n"), "{text}");
    assert_eq!(exported(&["--export", "main", "--since", "2999-01-01"]), (Some(0), String::new()));
    let until = |time| exported(&["--export", "main", "--since", "1h", "--until", time]);
    assert_eq!(until("2999-01-01"), (code, text));
    assert_eq!(until("30m"), (Some(0), String::new()));
    assert_eq!(until("soon").0, Some(2));
    let none = "chatd: the archive has no room \"dev\"\n".to_owned();
    assert_eq!(exported(&["--export", "dev"]), (Some(1), none));
    let (code, text) = exported(&["--export", "main", "--archive", "off"]);
    assert_eq!(code, Some(2), "an option that is given twice: {text}");
    assert_eq!(exported(&["--export", "main", "--since", "soon"]).0, Some(2));
    assert_eq!(exported(&["--since", "1h"]).0, Some(2));
    assert_eq!(exported(&["--until", "1h"]).0, Some(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let off = clean(&mut command).args(["--config", "/dev/null", "--export", "main"]).output().unwrap();
    let error = String::from_utf8_lossy(&off.stderr).into_owned();
    assert!(off.status.code() == Some(78) && error.contains("the archive is off"), "{error}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let path = shelf.path();
    command.args(["--config", "/dev/null", "--archive", path.to_str().unwrap(), "--export", "main"]);
    let status = clean(&mut command).stdout(Stdio::from(writer)).status().unwrap();
    assert_eq!(status.code(), Some(0), "a pipe that nobody reads");
}

#[test]
fn after_a_restart_and_a_crash_with_a_service_manager_the_archive_has_every_line_once() {
    let shelf = Shelf::new();
    let manager = Manager::with_store();
    let path = shelf.path();
    let options = ["--archive", text(&path)];
    let mut daemon = manager.start("", &options);
    let mut ann = manager.join();
    ann.say("/view json\n");
    ann.until("private messages are not\"}\n");
    ann.say("one\n");
    let first = sync(&mut ann);
    ann.say("/join ops\nat ops\n/join main\n");
    sync(&mut ann);
    manager.restart(&mut daemon, &options);
    ann.say("two\n");
    assert_eq!(sync(&mut ann), (first.0, first.1 + 1));
    assert_eq!(ask(&mut ann, "/join ops", "notice")["code"], "entered", "nobody is told again");
    ann.say("at ops again\n");
    assert_eq!(sync(&mut ann).1, 2);
    ann.say("/join main\n");
    sync(&mut ann);
    wait_until("both are in the archive", || shelf.texts("ops").len() >= 2);
    manager.crash(&mut daemon, 1, &options);
    ann.until("\"crashed\"");
    ann.say("three\n");
    let (epoch, seq) = sync(&mut ann);
    assert!(epoch == first.0 && seq > first.1 + 1);
    let history = ask(&mut ann, "/last", "history");
    assert_eq!(history["lines"], 3, "{history}");
    stop(daemon);
    assert_eq!(shelf.texts("main"), ["one", "two", "three"]);
    assert_eq!(shelf.texts("ops"), ["at ops", "at ops again"]);
}
