//! Limits, and what happens at them.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Caller, Daemon, GREETING, PATIENCE, TestServer};

#[test]
fn a_caller_too_many_is_told_and_let_in_when_there_is_room() {
    let server = TestServer::with(|config| config.max_clients = 2);
    let (ann, mut ben) = (server.join(), server.join());
    let mut eve = Caller::connect(server.address);
    eve.expect("-!- server full\n");
    eve.expect_end();
    drop(ann);
    let deadline = Instant::now() + PATIENCE;
    let mut fay = loop {
        let mut caller = Caller::connect(server.address);
        if caller.take(3) == b"Hel" {
            break caller;
        }
        assert!(Instant::now() < deadline);
    };
    fay.expect(&GREETING[3..]);
    ben.say("welcome\n");
    fay.expect("welcome\n");
}

#[test]
fn callers_from_one_address_can_be_limited() {
    let server = TestServer::with(|config| config.max_per_ip = 1);
    let _ann = server.join();
    let mut ben = Caller::connect(server.address);
    ben.expect("-!- too many connections from your address\n");
    ben.expect_end();
}

#[test]
fn a_session_that_says_nothing_is_closed_after_idle_timeout_if_there_is_one() {
    let server = TestServer::with(|config| config.idle_timeout = Some(Duration::from_millis(200)));
    let mut ann = server.join();
    ann.expect("-!- closing: you were idle for too long\n");
    ann.expect_end();
}

#[test]
fn callers_that_reset_at_once_end_nothing() {
    let server = TestServer::start();
    let mut ann = server.join();
    for _ in 0..200 {
        let caller = Caller::connect(server.address);
        let linger = rustix::net::sockopt::set_socket_linger(caller.stream(), Some(Duration::ZERO));
        linger.unwrap();
        drop(caller);
    }
    let mut ben = server.join();
    ben.say("still here\n");
    ann.expect("still here\n");
}

#[test]
fn garbage_makes_no_log_lines_by_default() {
    let mut daemon = Daemon::start(&[]);
    for garbage in
        [&b"\x16\x03\x01\0"[..], b"GET / HTTP/1.1\r\n", b"\xff\xff\xff\x00\x1b[2J\n", &[b'x'; 100_000]]
    {
        let mut caller = daemon.join();
        caller.say(garbage);
        caller.end_input();
        caller.rest();
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let expected = ["listening on", "stopping:", "stopped"];
    assert_eq!(daemon.log.len(), expected.len(), "{:#?}", daemon.log);
    for (line, expected) in daemon.log.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn an_idle_timeout_that_comes_with_a_reload_holds_for_those_who_are_there() {
    let folder = crate::support::Folder::new();
    let file = folder.write("chatd.toml", "");
    let daemon = Daemon::start(&["--config", crate::support::text(&file)]);
    let mut ann = daemon.join();
    folder.write("chatd.toml", "idle_timeout = \"1s\"\n");
    daemon.signal("HUP");
    ann.expect("-!- closing: you were idle for too long\n");
    ann.expect_end();
}

#[test]
fn survives_descriptor_exhaustion() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 40; exec \"$0\" --listen 127.0.0.1:0 --log stderr",
        env!("CARGO_BIN_EXE_chatd"),
    ]);
    let mut daemon = Daemon::run(command);
    let (mut ann, mut ben) = (daemon.join(), daemon.join());
    let mut crowd: Vec<Caller> = (0..60).map(|_| Caller::connect(daemon.address)).collect();
    let told = crowd.iter_mut().position(|caller| caller.take(3) == b"-!-");
    assert!(told.is_some(), "nobody was told that the server is full");
    daemon.wait_for_log("cannot accept, trying again");
    let (before, started) = (daemon.cpu(), Instant::now());
    while started.elapsed() < Duration::from_secs(3) {
        ann.say("undisturbed\n");
        ben.expect("undisturbed\n");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let share = (daemon.cpu() - before).as_secs_f64() / started.elapsed().as_secs_f64();
    assert!(share < 0.05, "used {share:.3} of a processor");
    drop(crowd);
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let mut caller = Caller::connect(daemon.address);
        if caller.take(5) == b"Hello" {
            break;
        }
        assert!(Instant::now() < deadline, "nobody is let in though there are descriptors again");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let reports = daemon.log.iter().filter(|line| line.contains("cannot accept")).count();
    assert_eq!(reports, 1, "{:#?}", daemon.log);
}
