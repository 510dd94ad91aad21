//! Stopping: nothing that has arrived is lost, and nobody can hold the end up.

use std::net::TcpStream;
use std::thread;

use crate::support::{Caller, Daemon, Folder, GREETING, text};

#[test]
fn term_and_int_drain_and_exit_with_0() {
    for signal in ["TERM", "INT"] {
        let mut daemon = Daemon::start(&[]);
        let (mut ann, mut ben) = (daemon.join(), daemon.join());
        ann.say("one\n");
        ben.expect("one\n");
        daemon.signal(signal);
        ann.expect_end();
        ben.expect_end();
        assert_eq!(daemon.wait().code(), Some(0));
        assert!(daemon.log.last().unwrap().ends_with("stopped"), "{:#?}", daemon.log);
    }
}

#[test]
fn what_has_arrived_before_the_signal_is_delivered_even_an_unfinished_line() {
    for _ in 0..20 {
        let mut daemon = Daemon::start(&[]);
        let (mut ann, mut ben) = (daemon.join(), daemon.join());
        ann.say("said\nand half a line");
        daemon.signal("TERM");
        ben.expect("said\nand half a line\n");
        ben.expect_end();
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn a_million_deliveries_in_flight_survive_a_term() {
    const READERS: usize = 1000;
    const LINES: usize = 1000;
    // It takes a fraction of the default of 5 s; but how long it takes is nothing that a test can say.
    let mut daemon = Daemon::start(&["--drain", "1h"]);
    let mut readers: Vec<Caller> = (0..READERS).map(|_| Caller::connect(daemon.address)).collect();
    readers.iter_mut().for_each(|reader| reader.expect(GREETING));
    let mut sender = daemon.join();
    let text: String = (0..LINES).map(|number| format!("{number:059}\n")).collect();
    sender.say(&text);
    daemon.signal("TERM");
    let (one, other) = readers.split_at_mut(READERS / 2);
    thread::scope(|scope| {
        for half in [one, other] {
            scope.spawn(|| half.iter_mut().for_each(|reader| assert!(reader.rest() == text.as_bytes())));
        }
    });
    sender.expect_end();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_reader_that_does_not_read_cannot_hold_the_exit_past_drain() {
    let mut daemon = Daemon::start(&["--drain", "1s", "--log-level", "debug"]);
    let stalled = daemon.join();
    let mut sender = daemon.join();
    let mut said = 0;
    // More than the kernel keeps, so that something is pending for the one that does not read.
    while said < 12_000_000 {
        said += sender.say_without_waiting(&b"0123456789abcde\n".repeat(4096));
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let given_up = "is over: it had not read everything within drain";
    assert!(daemon.log.iter().any(|line| line.contains(given_up)), "{:#?}", daemon.log);
    drop(stalled);
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let mut daemon = Daemon::start(&["--drain", "1h"]);
    let _stalled = daemon.join();
    let mut sender = daemon.join();
    let mut said = 0;
    while said < 12_000_000 {
        said += sender.say_without_waiting(&b"0123456789abcde\n".repeat(4096));
    }
    daemon.signal("TERM");
    daemon.wait_for_log("stopping:");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn nobody_is_accepted_any_more_while_it_drains() {
    let mut daemon = Daemon::start(&["--drain", "1h", "--log-size", "1MiB"]);
    let mut stalled = daemon.join();
    let (mut ann, mut ben) = (daemon.join(), daemon.join());
    let text = "0123456789abcde\n".repeat(65_536);
    // The last of it is still in the log, and more than the kernel keeps for one that does not read.
    for _ in 0..24 {
        ann.say(&text);
        ben.expect(&text);
    }
    daemon.signal("TERM");
    ann.expect_end();
    ben.expect_end();
    // It goes on, for somebody has still something to read.
    let refused = TcpStream::connect(daemon.address);
    assert!(refused.is_err(), "{refused:?}");
    assert!(daemon.is_running());
    stalled.rest();
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(TcpStream::connect(daemon.address).is_err());
}

#[test]
fn a_sender_that_goes_on_sending_still_gets_what_was_said_to_it() {
    // Closing with unread input makes the kernel reset the connection and drop what is on its way out.
    for _ in 0..10 {
        let mut daemon = Daemon::start(&[]);
        let (mut ann, mut ben) = (daemon.join(), daemon.join());
        let text = "for ben\n".repeat(1000);
        ann.say(&text);
        ann.say("end\n");
        // Far more than is taken in at the end.
        ben.say_without_waiting(&b"noise\n".repeat(50_000));
        daemon.signal("TERM");
        let hearing = thread::spawn(move || ann.rest());
        let heard = String::from_utf8(ben.rest()).unwrap();
        assert!(heard == text.clone() + "end\n", "{} of {} bytes", heard.len(), text.len() + 4);
        hearing.join().unwrap();
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn those_who_are_shown_notices_are_told_of_the_end() {
    let mut daemon = Daemon::start(&[]);
    let (mut ann, mut bot, mut ben) = (daemon.join(), daemon.join(), daemon.join());
    ann.say("/view names\n");
    bot.say("/view json\n");
    ann.until("guest2 joined");
    daemon.signal("TERM");
    let told = |caller: &mut Caller| String::from_utf8(caller.rest()).unwrap();
    assert!(told(&mut ann).ends_with("\n-!- closing: chatd is stopping\n"));
    assert!(told(&mut bot).ends_with("\n{\"type\":\"notice\",\"code\":\"closing\",\"reason\":\"stopping\",\"text\":\"closing: chatd is stopping\"}\n"));
    ben.expect_end();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_command_that_waits_for_somebody_to_read_holds_nobody_up() {
    let mut daemon = Daemon::start(&["--drain", "1h", "--log-size", "16MiB"]);
    let (mut ann, mut ben, mut stalled) = (daemon.join(), daemon.join(), daemon.join());
    // More than the kernel takes for somebody who does not read.
    let text = "x".repeat(1000) + "\n";
    (0..12_000).for_each(|_| ann.say(&text));
    stalled.say("/view json\n");
    ben.take(12_000 * text.len());
    daemon.signal("TERM");
    ann.expect_end();
    ben.expect_end();
    // They are through, and it still waits for the one that does not read.
    assert!(daemon.is_running());
    drop(stalled);
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A command waits for its sender to read only while chatd runs. What comes after it is for those who hear it then.
#[test]
fn what_was_meant_for_another_room_is_said_there_at_a_stop_though_its_sender_does_not_read() {
    let mut daemon = Daemon::start(&["--drain", "1h", "--log-size", "16MiB"]);
    let (mut ann, mut ben, mut eve) = (daemon.join(), daemon.join(), daemon.join());
    eve.say("/join ops\n");
    eve.until("you are in ops now (1 here)\n");
    let mut stalled = daemon.join();
    let text = "x".repeat(1000) + "\n";
    (0..12_000).for_each(|_| ann.say(&text));
    ben.take(12_000 * text.len());
    stalled.say("before\n/time on\nafter\n/join ops\nfor ops\nfor ops, too\n");
    ben.expect("before\n");
    // The command waits, and what comes now is not read before that has been done.
    stalled.say("not yet read\nunfinished");
    daemon.signal("TERM");
    ben.expect("after\n");
    ben.expect_end();
    eve.expect("for ops\nfor ops, too\nnot yet read\nunfinished\n");
    eve.expect_end();
    let heard = String::from_utf8(stalled.rest()).unwrap();
    let skipped = heard.lines().filter(|line| line.ends_with("lines skipped (you were not reading)")).count();
    assert_eq!(skipped, 1, "what did not fit into 64 KiB of the old room");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn commands_that_wait_for_their_turn_are_done_before_the_end() {
    let mut daemon = Daemon::start(&["--rate", "1", "--burst", "1"]);
    let (mut ann, mut ben, mut eve) = (daemon.join(), daemon.join(), daemon.join());
    eve.say("/join ops\n");
    eve.until("you are in ops now (1 here)\n");
    ann.say("hello\n/join ops\nfor ops\n/nick amy\n/mgs eve secret\n");
    ben.expect("hello\n");
    daemon.signal("TERM");
    ben.expect_end();
    eve.expect("for ops\n");
    eve.expect_end();
    let told = String::from_utf8(ann.rest()).unwrap();
    assert!(told.contains("no such command, nobody got it"), "{told}");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// What a unix socket has taken is the other side's to read, whoever is gone.
#[test]
fn who_has_not_read_a_unix_socket_to_its_end_holds_no_stop_up() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let mut daemon = Daemon::start(&["--drain", "1h", "--listen", text(&path)]);
    let mut ann = Caller::connect_unix(&path);
    let mut ben = daemon.join();
    ann.say("hello\n");
    ben.expect("hello\n");
    ann.say("unfinished");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    ben.expect("unfinished\n");
    ann.expect(GREETING);
    ann.expect_end();
}
