//! Everybody stays: restarts and crashes with a service manager that keeps descriptors, which this test plays;
//! `tests/systemd` has the real one, and crowds.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use chatd::chat::SessionId;
use chatd::net::crash_table::CrashTable;
use chatd::net::parcel::Parcel;

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, PATIENCE, text, wait_until};

/// What names and json are told after a crash.
const CRASHED: &str = "-!- chatd crashed and was restarted: some lines may be lost\n";

/// What somebody is told of whom nothing is known.
const UNKNOWN: &str =
    "-!- closing: chatd was restarted and cannot go on with this connection; connect again\n";

/// Waits until the daemon has read all that `caller` has sent.
#[track_caller]
fn wait_until_read(caller: &Caller) {
    let port = format!(":{:04X}", caller.stream().local_addr().unwrap().port());
    wait_until("it has read everything", || {
        // proc(5): where it is, where the other side is, ..., what waits to be sent, what waits to be read.
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().skip(1).all(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (to_send, to_read) = fields[4].split_once(':').unwrap();
            (!fields[1].ends_with(&port) || to_send == "00000000")
                && (!fields[2].ends_with(&port) || to_read == "00000000")
        })
    });
}

/// Waits until the daemon has done what it was doing: it has one thread, and what it is asked comes after that.
#[track_caller]
fn wait_until_done(caller: &mut Caller) {
    caller.say("/who\n");
    caller.until(" here: ");
    caller.until("\n");
}

/// What three people hear, in three views, while each types a byte at a time; between two of them `between` happens.
fn conversation(manager: &Manager, mut between: impl FnMut()) -> [String; 3] {
    let mut people = [(); 3].map(|()| manager.join());
    people[1].say("/nick ben\n");
    people[1].until("\n");
    people[2].say("/view json\n");
    people[2].until("\n");
    let typed: [&[u8]; 3] = [
        b"one\r\ntwo\r\0\xff\xfd\x01th\xc3\xbcs\x1b[1m\n\xff\xf4\xff\xfd\x06\n",
        b"/me waves\n//x\n/ms ann\n/join attic\nalone\n/join main\n",
        b"/nick eve\n/ignore ben\n/last 2\n/time on\nhello\n",
    ];
    for (who, typed) in typed.into_iter().enumerate() {
        for byte in typed {
            people[who].say([*byte]);
            wait_until_read(&people[who]);
            between();
        }
        // So that those who are told later are told by now.
        for (other, person) in people.iter_mut().enumerate() {
            person.say(format!("done {who} {other}\n"));
            wait_until_read(person);
        }
        between();
    }
    // What everybody hears comes in one order: after this there is no more.
    let mut last = manager.join();
    last.say("the last line\n");
    people.map(|mut person| String::from_utf8_lossy(&person.take_until(b"the last line")).into_owned())
}

/// What is said of those who come and go, and when, is left out: who is told of in which line depends on time.
fn without_what_differs(heard: &str) -> String {
    let coming = [" here)", " is now ", "\"members\"", "\"rename\""];
    let lines = heard.lines().filter(|line| !coming.iter().any(|part| line.contains(part)));
    let without = |line: &str, field: &str, value: &str| match line.split_once(field) {
        Some((before, after)) => format!("{before}{}", &after[value.len()..]),
        None => line.to_owned(),
    };
    let lines = lines.map(|line| without(line, "\"time\":\"", "2026-11-24T20:00:00.000Z"));
    let lines = lines.map(|line| without(&line, "\"key\":\"", "0123456789abcdef0123456789abcdef"));
    lines.map(|line| without(&line, "\"epoch\":", "1795869705786123") + "\n").collect()
}

#[test]
fn nobody_hears_another_byte_because_of_a_restart_after_each_byte() {
    let manager = Manager::with_store();
    let _daemon = manager.start("", &[]);
    let stays = conversation(&manager, || {});
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let moves = conversation(&manager, || manager.restart(&mut daemon, &[]));
    for (one, other) in stays.iter().zip(&moves) {
        assert_eq!(without_what_differs(one), without_what_differs(other));
    }
}

#[test]
fn it_ends_only_when_the_manager_has_everything() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let mut ann = manager.join();
    manager.hold_barriers();
    daemon.signal("USR2");
    // The first is for finding out whether anything is kept.
    drop(manager.barrier());
    let barrier = manager.barrier();
    assert!(manager.names().contains(&"state".to_owned()));
    // It has nothing more to do, and waits for that.
    daemon.wait_until_at_rest();
    assert!(daemon.is_running());
    drop(barrier);
    assert!(daemon.wait().success());
    let _daemon = manager.start("", &[]);
    let mut ben = manager.join();
    ben.say("hello\n");
    ann.expect("hello\n");
}

#[test]
fn after_a_crash_names_and_views_are_there_and_all_who_can_see_it_are_told() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let (mut ann, mut ben) = (manager.join(), manager.join());
    ann.say("/nick ann\n");
    ann.until("else there is\n");
    ben.say("before\n");
    ann.expect("<guest2> before\n");
    ben.say("half a l");
    wait_until_read(&ben);
    wait_until_done(&mut ann);
    manager.crash(&mut daemon, 2, &[]);
    ann.expect(CRASHED);
    ann.say("hello\n");
    ben.expect("hello\n");
    // What has been read of that line is lost, and with it the line.
    ben.say("ine\nwhole\n");
    ann.expect("<guest2> whole\n");
    let mut eve = manager.join();
    eve.say("/nick ann\n");
    assert!(eve.until("\n").contains("is taken"));
}

#[test]
fn a_state_of_a_later_version_is_refused_and_everybody_goes_on_as_after_a_crash() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let (mut ann, mut ben) = (manager.join(), manager.join());
    ann.say("/nick ann\n");
    ann.until("else there is\n");
    manager.stop_for_restart(&mut daemon);
    let state = manager.bytes("state");
    let version = u32::from_le_bytes(state[12..16].try_into().unwrap());
    let later = [&state[..12], &(version + 1).to_le_bytes(), &state[16..]].concat();
    manager.replace("state", manager.file("later", &later));
    daemon = manager.start("", &[]);
    assert!(daemon.log.iter().any(|line| line.contains("a later chatd has written it")), "{:#?}", daemon.log);
    ann.expect(CRASHED);
    ben.say("hello\n");
    ann.expect("<guest2> hello\n");
}

#[test]
fn somebody_of_whom_nothing_is_known_is_told_so_and_the_others_go_on() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let (mut ann, mut ben) = (manager.join(), manager.join());
    manager.stop_for_restart(&mut daemon);
    // A connection that is in a parcel, and in no state.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stranger = Caller::connect(listener.local_addr().unwrap());
    let (socket, _) = listener.accept().unwrap();
    let parcel = Parcel::new().unwrap();
    parcel.put(&[(SessionId(999), socket.as_fd())]).unwrap();
    drop(socket);
    manager.replace("parcel-77-in", parcel.inlet);
    manager.replace("parcel-77-out", parcel.outlet);
    let _daemon = manager.start("", &[]);
    stranger.expect(UNKNOWN);
    stranger.expect_end();
    ann.say("hello\n");
    ben.expect("hello\n");
}

#[test]
fn what_it_has_failed_to_go_on_with_three_times_is_thrown_away() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let mut ann = manager.join();
    manager.stop_for_restart(&mut daemon);
    let table = manager.kept(|kept| {
        let (_, table) = kept.iter().find(|(name, _)| name == "table").unwrap();
        table.try_clone().unwrap()
    });
    CrashTable::take_over(table).unwrap().0.set_attempts(3);
    let mut daemon = manager.start("", &[]);
    assert!(daemon.log.iter().any(|line| line.contains("3 times in a row")), "{:#?}", daemon.log);
    ann.expect(UNKNOWN);
    ann.expect_end();
    // And that is over.
    let mut ben = manager.join();
    manager.restart(&mut daemon, &[]);
    ben.say("/nick ben\n");
    ben.expect("-!- you are ben now");
}

#[test]
fn a_mistake_in_the_file_closes_nobody_though_nobody_can_be_told() {
    let (manager, folder) = (Manager::with_store(), Folder::new());
    let file = folder.write("chatd.toml", "greeting = \"good morning\"\n");
    let options = ["--config", text(&file)];
    let mut daemon = manager.start("", &options);
    let mut ann = Caller::connect(manager.address());
    ann.expect("good morning\n");
    manager.stop_for_restart(&mut daemon);
    while !manager.told().starts_with("STOPPING=1\n") {}
    folder.write("chatd.toml", "greting = \"good evening\"\n");
    let mut next = Daemon::silent(manager.command("exec 2>/dev/full;", &options));
    assert!(manager.told().contains("configuration refused: "));
    let mut ben = Caller::connect(manager.address());
    ben.expect("good morning\n");
    ben.say("hello\n");
    ann.expect("hello\n");
    next.signal("TERM");
    assert!(next.wait().success());
}

#[test]
fn without_a_store_everybody_is_told_goodbye() {
    let manager = Manager::new();
    let mut daemon = manager.start("", &[]);
    let mut ann = daemon.join();
    ann.say("/nick ann\n");
    ann.until("else there is\n");
    daemon.signal("USR2");
    ann.expect("-!- closing: chatd is stopping\n");
    ann.expect_end();
    assert!(daemon.wait().success());
    assert!(daemon.log.iter().any(|line| line.contains("stores no descriptors")));
}

#[test]
fn where_nothing_can_be_written_down_everybody_is_told_goodbye() {
    // As with LimitFSIZE=0 in the unit: it holds for files in memory, too.
    let manager = Manager::with_store();
    let mut daemon = manager.start("ulimit -f 0;", &[]);
    assert!(daemon.log.iter().any(|line| line.contains("cannot store connections")), "{:#?}", daemon.log);
    let mut ann = daemon.join();
    ann.say("/nick ann\n");
    ann.expect("-!- you are ann now; /help says what else there is\n");
    manager.stop_for_restart(&mut daemon);
    ann.expect("-!- closing: chatd is stopping\n");
    ann.expect_end();
}

#[test]
fn half_a_line_of_a_crash_gets_an_end_and_the_next_line_is_whole() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let (mut ann, mut ben) = (manager.join(), manager.join());
    // More than the kernel takes for somebody who does not read.
    let line = format!("{}\n", "x".repeat(16_000));
    let count = 600;
    for _ in 0..count {
        ann.say(&line);
    }
    wait_until_read(&ann);
    wait_until_done(&mut ann);
    manager.crash(&mut daemon, 2, &[]);
    ann.say("after\n");
    let heard = ben.until("after");
    let lines: Vec<&str> = heard.split('\n').collect();
    let (last, whole) = lines.split_last().unwrap();
    assert!(last.is_empty(), "{} begins with nothing else", last.len());
    let torn = whole.iter().filter(|other| other.len() != line.len() - 1).count();
    assert!(torn <= 1 && whole.len() < count, "{torn} torn of {}", whole.len());
    assert!(whole.iter().all(|part| part.bytes().all(|byte| byte == b'x')));
}

/// A line of a flood: it is known by its beginning and by its end, and by nothing in between.
fn flood_line() -> String {
    format!("<{}>\n", "x".repeat(100))
}

#[test]
fn no_line_is_written_behind_half_of_another_wherever_in_a_send_it_is_killed() {
    // So many that they are sent pages, so many who say so much that sockets are full, too.
    const READERS: usize = 20;
    const FLOODERS: usize = 4;
    const CRASHES: usize = 10;
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let mut readers: Vec<Caller> = (0..READERS).map(|_| manager.join()).collect();
    let flooders: Vec<Caller> = (0..FLOODERS).map(|_| manager.join()).collect();
    let is_over = AtomicBool::new(false);
    let (heard_tx, heard_of_first) = mpsc::channel();
    let heard: Vec<Vec<u8>> = thread::scope(|scope| {
        let (first, others) = readers.split_first_mut().unwrap();
        let first = scope.spawn(move || {
            first.stream().set_read_timeout(Some(PATIENCE)).unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
            while let Ok(count @ 1..) = first.stream().read(&mut buffer) {
                text.extend_from_slice(&buffer[..count]);
                let _ = heard_tx.send(());
            }
            text
        });
        let others = others.iter_mut().map(|reader| scope.spawn(|| reader.rest()));
        let reading: Vec<_> = std::iter::once(first).chain(others).collect();
        for flooder in &flooders {
            let mut reading = flooder.stream().try_clone().unwrap();
            scope.spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
            let block = flood_line().repeat(500);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && flooder.stream().write_all(block.as_bytes()).is_ok()
                {
                }
            });
        }
        for crash in 0..CRASHES {
            // Some time after the last one, as the flood goes on all the time.
            heard_of_first.try_iter().for_each(drop);
            (0..20 + crash).for_each(|_| heard_of_first.recv_timeout(PATIENCE).unwrap());
            manager.crash(&mut daemon, (READERS + FLOODERS) as u64, &[]);
        }
        is_over.store(true, Ordering::Relaxed);
        daemon.signal("TERM");
        reading.into_iter().map(|reading| reading.join().unwrap()).collect()
    });
    let whole = flood_line();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for text in &heard {
        let text = std::str::from_utf8(text).unwrap();
        for line in text.split_inclusive('\n') {
            let kind = match line {
                _ if line == whole => "whole",
                "\n" => "empty",
                _ if whole.starts_with(line.trim_end_matches('\n')) => "half",
                // Killed just as it was read: chatd-protocol(7).
                _ if whole.ends_with(line) => "rest",
                _ => panic!("{line:?}"),
            };
            *counts.entry(kind).or_default() += 1;
        }
    }
    let count = |kind| counts.get(kind).copied().unwrap_or(0);
    assert!(count("whole") > 0 && count("empty") <= CRASHES, "{counts:?}");
    assert!(count("rest") <= CRASHES * FLOODERS * READERS, "{counts:?}");
    assert!(count("half") <= CRASHES * (READERS + 1), "{counts:?}");
}
