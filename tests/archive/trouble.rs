//! An archive whose disk is full, or whose folder is gone or somebody else's: chatd goes on, and says so.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit};

use super::{Shelf, program, stop, sync};
use crate::manager::{Manager, shell};
use crate::support::{Daemon, Folder, text, wait_until};

#[test]
fn a_full_disk_stops_nobody_and_what_waited_is_written_when_there_is_space() {
    let shelf = Shelf::new();
    // The soft limit of 32 KiB, which stands for a disk: it is full at once, and has space again when the test says so.
    let script = "ulimit -Sf 64;";
    let mut daemon = Daemon::run(shell(script, &["--archive", text(&shelf.path())]));
    let (mut ann, mut ben) = (program(&daemon), daemon.join());
    let lines: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
    ann.say(lines.join("\n") + "\n");
    daemon.wait_for_log("cannot write to the archive: ");
    ben.until("line 999\n");
    ben.say("still here\n");
    ann.until("still here");
    daemon.signal("USR1");
    assert!(daemon.wait_for_log("archive: ").contains("cannot write: "), "{:#?}", daemon.log);
    let partly = shelf.texts("main");
    assert!(partly.len() < 1000 && lines.starts_with(&partly), "{} lines", partly.len());
    let pid = Pid::from_raw(daemon.pid() as i32);
    let all = Rlimit { current: None, maximum: None };
    rustix::process::prlimit(pid, Resource::Fsize, all).unwrap();
    daemon.wait_for_log("the archive is written again");
    sync(&mut ann);
    stop(daemon);
    assert_eq!(shelf.texts("main"), [lines, vec!["still here".to_owned()]].concat());
}

#[test]
fn what_does_not_fit_while_the_disk_is_full_is_counted_and_the_archive_says_how_much() {
    let shelf = Shelf::new();
    let script = "ulimit -Sf 64;";
    let mut daemon = Daemon::run(shell(script, &["--archive", text(&shelf.path())]));
    let mut ann = program(&daemon);
    // More than the 16 MiB that wait in memory.
    let line = "x".repeat(1000) + "\n";
    for _ in 0..20 {
        ann.say(line.repeat(1000));
    }
    let (_, said) = sync(&mut ann);
    assert_eq!(said, 20_000);
    daemon.wait_for_log("lines lost to the archive: ");
    let all = Rlimit { current: None, maximum: None };
    rustix::process::prlimit(Pid::from_raw(daemon.pid() as i32), Resource::Fsize, all).unwrap();
    daemon.wait_for_log("the archive is written again");
    ann.say("after\n");
    sync(&mut ann);
    stop(daemon);
    let objects = shelf.export("main");
    let stored = objects.iter().filter(|object| object["type"] == "message").count() as u64;
    let lost: u64 = objects.iter().filter_map(|object| object["lost"].as_u64()).sum();
    let last = objects.iter().filter_map(|object| object["seq"].as_u64()).max();
    assert_eq!((stored + lost, last), (20_001, Some(20_001)));
    assert!(lost > 0);
    let output = shelf.run(&["--export", "main"]);
    let missing =
        |line: &str| line.split(" -!- ").nth(1)?.strip_suffix(" lines are missing here")?.parse::<u64>().ok();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().filter_map(missing).sum::<u64>(), lost);
}

#[test]
fn a_folder_that_is_removed_is_made_again() {
    let shelf = Shelf::new();
    let mut daemon = shelf.start();
    let mut ann = program(&daemon);
    ann.say("before\n");
    sync(&mut ann);
    // Until then chatd makes files there.
    let is_there = || shelf.path().join("main").exists() && shelf.texts("main") == ["before"];
    wait_until("it is in the archive", is_there);
    fs::remove_dir_all(shelf.path()).unwrap();
    daemon.wait_for_log("somebody has removed it");
    daemon.wait_for_log("the archive is written again");
    ann.say("after\n");
    sync(&mut ann);
    stop(daemon);
    assert_eq!(shelf.texts("main"), ["after"]);
}

#[test]
fn a_folder_that_cannot_be_used_at_the_start_is_used_when_it_can() {
    let folder = Folder::new();
    let path = folder.path("mount/archive");
    let mut daemon = Daemon::start(&["--archive", text(&path)]);
    let mut ann = program(&daemon);
    ann.say("early\n");
    sync(&mut ann);
    assert!(
        daemon.log.iter().any(|line| line.contains("cannot write to the archive: ")),
        "{:#?}",
        daemon.log
    );
    fs::create_dir(path.parent().unwrap()).unwrap();
    daemon.wait_for_log("the archive is written again");
    stop(daemon);
    let files: Vec<_> = fs::read_dir(path.join("main")).unwrap().collect();
    assert!(fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap().contains("early"));
}

#[test]
fn a_folder_of_somebody_else_is_not_written_to() {
    let shelf = Shelf::new();
    let is_root = rustix::process::geteuid().is_root();
    let path = if is_root { shelf.path() } else { PathBuf::from("/usr/share") };
    if is_root {
        fs::create_dir(&path).unwrap();
        chown(&path, Some(4242), None).unwrap();
    }
    let daemon = Daemon::start(&["--archive", text(&path)]);
    let refusal = if is_root { "it belongs to user 4242" } else { "it belongs to user 0" };
    assert!(daemon.log.iter().any(|line| line.contains(refusal)), "{:#?}", daemon.log);
    let (mut ann, mut ben) = (program(&daemon), daemon.join());
    ann.say("hello\n");
    ben.expect("hello\n");
    stop(daemon);
    assert!(!path.join("main").exists());
}

#[test]
fn the_service_manager_is_told_that_the_archive_fails() {
    let folder = Folder::new();
    let path = folder.path("mount/archive");
    let manager = Manager::new();
    let daemon = manager.start("", &["--archive", text(&path)]);
    while !manager.told().contains("; cannot write to the archive: ") {}
    fs::create_dir(path.parent().unwrap()).unwrap();
    while manager.told().contains("; cannot write to the archive: ") {}
    stop(daemon);
}

#[test]
fn two_daemons_do_not_write_to_one_archive() {
    let shelf = Shelf::new();
    let _first = shelf.start();
    let second = shelf.start();
    let expected = "another process writes to it; trying again every second";
    assert!(second.log.iter().any(|line| line.contains(expected)), "{:#?}", second.log);
}
