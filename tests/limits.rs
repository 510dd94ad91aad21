//! Limits, and what happens at them.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use chatd::net::Listener;
use chatd::rt;
use chatd::service::config::Config;
use chatd::service::listeners;
use chatd::service::server::Server;
use chatd::service::stores::Stores;

use crate::support::{Caller, Daemon, GREETING, PATIENCE, TestServer, wait_until};

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
    // So few that this machine has descriptors for them: otherwise that makes one.
    let mut daemon = Daemon::start(&["--max-clients", "20"]);
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
fn a_flood_to_many_goes_on_where_no_file_may_be_written() {
    // Much to many lies in a file in memory, for which the limit holds, too.
    let mut command = Command::new("sh");
    let script = "ulimit -f 0; exec \"$0\" --listen 127.0.0.1:0 --log stderr --min-rate 1";
    command.args(["-c", script, env!("CARGO_BIN_EXE_chatd")]);
    let mut daemon = Daemon::run(command);
    let mut crowd: Vec<Caller> = (0..24).map(|_| daemon.join()).collect();
    let paste: String = (0..40_000).map(|number| format!("{number:099}\n")).collect();
    let mut speaker = daemon.join();
    std::thread::scope(|scope| {
        scope.spawn(|| speaker.say(&paste));
        crowd.iter_mut().for_each(|caller| {
            scope.spawn(|| caller.expect(&paste));
        });
    });
    assert!(daemon.is_running());
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
    let start = Instant::now();
    let mut crowd: Vec<Caller> = (0..60).map(|_| Caller::connect(daemon.address)).collect();
    let told = crowd.iter_mut().position(|caller| caller.take(3) == b"-!-");
    assert!(told.is_some(), "nobody was told that the server is full");
    daemon.wait_for_log("cannot accept connections, trying again: Too many open files");
    daemon.signal("USR1");
    let status = daemon.wait_for_log("status: ");
    assert!(status.ends_with("; cannot accept connections: Too many open files"), "{status}");
    // It tells one of those who wait, and pauses: 10 ms, and twice as long each time. So none is told too early, however
    // long it takes.
    for number in 1..=7 {
        crowd[told.unwrap() + number].expect("-!- ");
        let pauses = Duration::from_millis(10) * ((1 << number) - 1);
        assert!(start.elapsed() >= pauses, "{number} more were told after {:?}", start.elapsed());
        ann.say("undisturbed\n");
        ben.expect("undisturbed\n");
    }
    drop(crowd);
    // How long its longest pause is, is for `net::listener::backoff` to say.
    wait_until("somebody is let in", || Caller::connect(daemon.address).take(5) == b"Hello");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let reports = daemon.log.iter().filter(|line| line.contains("cannot accept connections, trying")).count();
    assert_eq!(reports, 1, "{:#?}", daemon.log);
}

/// Waits until the status of the server ends with `end`.
#[track_caller]
fn wait_for_status(server: &Server, end: &str) {
    wait_until(end, || server.status().to_string().ends_with(end));
}

#[test]
fn an_error_of_accept_that_lasts_is_in_the_status_until_accept_works_again() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let twin = socket.try_clone().unwrap();
    let server = rt::run(2, async move {
        let listeners =
            listeners::inherited_listeners(vec![Listener::inherit(twin.into()).unwrap()], &Config::default());
        Server::start_at(listeners, &Config::default(), Stores::default(), None)
    });
    wait_for_status(&server, " 0 lines");
    // From now on accept(2) says EINVAL, and the socket is always readable.
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Read).unwrap();
    wait_for_status(&server, " 0 lines; cannot accept connections: Invalid argument");
    rustix::net::listen(&socket, 8).unwrap();
    wait_for_status(&server, " 0 lines");
    Caller::connect(socket.local_addr().unwrap()).expect(GREETING);
    rt::run(2, server.stop(Duration::ZERO));
}

/// Somebody asks for as much as goes out without waiting, and reads none of it.
fn ask_and_do_not_read(daemon: &Daemon, question: &str) -> Caller {
    let mut caller = daemon.join();
    caller.say_without_waiting(question.repeat(60_000 / question.len()).as_bytes());
    caller
}

#[test]
fn who_asks_and_does_not_read_has_little_put_aside() {
    let daemon = Daemon::start(&["--history", "100000"]);
    let mut ann = daemon.join();
    let line = "x".repeat(16_000);
    (0..62).for_each(|_| ann.say(format!("{line}\n")));
    let greedy: Vec<Caller> = (0..20)
        .flat_map(|_| ["/last 62\n", "/help\n"].map(|ask| ask_and_do_not_read(&daemon, ask)))
        .collect();
    // So many inputs later all that could be put aside has been.
    for number in 0..50 {
        ann.say("/last 62\n");
        ann.until("that was the last\n");
        assert!(daemon.rss() < 40 << 20, "{} bytes after {number}", daemon.rss());
    }
    drop(greedy);
}

#[test]
fn who_is_gone_with_much_put_aside_is_gone() {
    let daemon = Daemon::start(&[]);
    let mut ann = daemon.join();
    ann.say("/view names\n");
    for number in 0..20 {
        let mut ghost = daemon.join();
        ghost.say(format!("/nick ghost{number}\n"));
        ghost.say_without_waiting("/help\n".repeat(9_000).as_bytes());
        rustix::net::sockopt::set_socket_linger(ghost.stream(), Some(Duration::ZERO)).unwrap();
    }
    while !ann.until("\n").ends_with(" left (1 here)") {}
}

#[test]
fn a_word_that_is_no_command_is_compared_with_none_if_it_is_long() {
    const LONG: usize = 1_000_000;
    let daemon = Daemon::start(&["--max-line", "1MiB", "--log-size", "8MiB"]);
    let mut ann = daemon.join();
    ann.say("/nick ann\n");
    ann.until("what else there is\n");
    let mut peak_after = |word: String| {
        ann.say(format!("/{word}\n"));
        ann.until("begin it with // to say it\n");
        daemon.peak_rss()
    };
    // A comparison takes the product of the lengths in steps, and three rows of numbers, each as long as the word: 24
    // times its length. Those bytes can be counted.
    let before = peak_after("usr/bin/foo".to_owned());
    let more = peak_after("a".repeat(LONG)) - before;
    assert!(more < 12 * LONG as u64, "{more} bytes");
}

#[test]
fn who_says_too_much_is_slowed_down_and_loses_nothing() {
    let daemon = Daemon::start(&["--rate", "200", "--burst", "50"]);
    let (mut ann, mut ben, mut eve) = (daemon.join(), daemon.join(), daemon.join());
    let start = Instant::now();
    ann.say((0..250).map(|number| format!("line {number}\n")).collect::<String>());
    // That nobody waits for the one who is slowed down is in `flow`.
    for number in 0..100 {
        ben.say(format!("from ben {number}\n"));
        eve.until(&format!("from ben {number}\n"));
    }
    let mut heard = ben.until("line 249\n");
    heard.push_str("line 249\n");
    assert_eq!(heard, (0..250).map(|number| format!("line {number}\n")).collect::<String>());
    assert!(start.elapsed() >= Duration::from_millis(990), "200 lines a second after 50 at once");
}

#[test]
fn a_connection_on_which_nothing_happens_is_probed_within_a_minute() {
    let daemon = Daemon::start(&[]);
    let ann = daemon.join();
    let hex = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let ends = format!(" {} {} ", hex(daemon.address), hex(ann.stream().local_addr().unwrap()));
    let deadline = Instant::now() + PATIENCE;
    // proc(5): the timer and when it is due, in hundredths of a second; 01 is for what is not acknowledged yet.
    let due = loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let row =
            table.lines().find(|row| row.contains(&ends)).unwrap_or_else(|| panic!("no {ends}: {table}"));
        let timer = row.split_whitespace().nth(5).unwrap();
        match timer.split_once(':').unwrap() {
            ("02", when) => break u32::from_str_radix(when, 16).unwrap(),
            _ => assert!(Instant::now() < deadline, "{row}"),
        }
    };
    assert!(due <= 6_000, "in {due} hundredths of a second");
}

#[test]
fn readers_that_never_read_cost_no_memory() {
    const READERS: usize = 50;
    let mut daemon = Daemon::start(&[]);
    let stalled: Vec<Caller> = (0..READERS)
        .map(|_| {
            let mut caller = Caller::connect_with_little_space(daemon.address);
            caller.expect(GREETING);
            caller
        })
        .collect();
    let (mut ann, mut ben) = (daemon.join(), daemon.join());
    let text = "0123456789abcde\n".repeat(65_536);
    for megabytes in 1..=40 {
        ann.say(&text);
        ben.expect(&text);
        // The log has 4 MiB; what is said to one of them would be 40, to all of them 2,000.
        assert!(daemon.rss() < 32 << 20, "{} bytes after {megabytes} MB", daemon.rss());
    }
    daemon.signal("USR1");
    daemon.wait_for_log(&format!("status: {} sessions", READERS + 2));
    drop(stalled);
}
