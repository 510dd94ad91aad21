//! A daemon that goes away and comes back: name, room and what was missed are taken up again.

use std::process::Command;

use crate::process::pipe;
use crate::server::Way;
use crate::support::{Daemon, TestServer, clean};
use crate::terminal::Terminal;

/// The rows after the one that begins like this.
fn after(terminal: &Terminal, start: &str) -> Vec<String> {
    terminal.rows().into_iter().skip_while(|row| !row.starts_with(start)).skip(1).collect()
}

#[track_caller]
fn say(text: &str, address: &str) {
    let left = pipe(text, &["--nick", "bob", "--room", "ops", address]);
    assert_eq!(left.code, Some(0), "{left:?}");
}

#[test]
fn what_was_missed_is_shown_once_and_in_order() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let way = Way::to(server.address);
    // A room is there as long as somebody is.
    let mut witness = server.join();
    witness.say("/join ops\n");
    witness.expect("-!- you are in ops now (1 here)\n");
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    say("one\n", &address);
    terminal.expect_row("<bob> one");
    terminal.keys("mine\r");
    witness.expect("one\nmine\n");
    say("two\n", &address);
    terminal.expect_row("<bob> two");
    terminal.keys("half");
    way.cut();
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    say("three\nfour\n", &address);
    way.mend();
    let rows = ["<bob> three", "<bob> four", "> half"];
    terminal.until("what was missed, and the line being typed", |terminal| {
        let rest = after(terminal, "chatc: 2 lines were said meanwhile:");
        rest.iter().filter(|row| !row.starts_with("-!- ")).eq(rows.iter())
    });
    terminal.keys(" a line\r");
    assert_eq!(witness.until("half a line\n"), "two\nthree\nfour\n");
    say("five\n", &address);
    terminal.expect_row("<bob> five");
    let rows = terminal.rows();
    assert!(rows.contains(&"> half a line".to_owned()), "{rows:#?}");
    witness.expect("five\n");
}

#[test]
fn a_daemon_that_has_started_anew_is_taken_up_again() {
    let first = Daemon::start(&[]);
    let address = first.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    say("one\ntwo\n", &address);
    terminal.expect_row("<bob> two");
    first.signal("TERM");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    terminal.keys("too early\r");
    terminal
        .until("a remark", |terminal| terminal.rows().concat().contains("not connected, nobody got that"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    clean(&mut command).args(["--listen", &address, "--log", "stderr"]);
    let second = Daemon::run(command);
    terminal.until("the room", |terminal| {
        after(terminal, "chatc: connected again")
            .iter()
            .any(|row| row.starts_with("-!- you are in ops now ("))
    });
    // Its lines begin with 1 again.
    say("anew\n", &address);
    terminal.expect_row("<bob> anew");
    let mut witness = second.join();
    witness.say("/join ops\n");
    witness.until("-!- you are in ops now (2 here)\n");
    terminal.keys("\x1b[A\r");
    witness.expect("too early\n");
}

#[test]
fn it_says_once_that_the_connection_is_lost_and_can_be_left_meanwhile() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut terminal = Terminal::start(&[&way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    way.cut();
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    // It comes and goes: whoever connects is turned away.
    terminal.keys("x\r");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("nobody got that"));
    terminal.keys("\x04");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(rows.concat().matches("connecting again").count(), 1, "{rows:#?}");
}

#[test]
fn a_plain_session_stays_plain_when_it_comes_back() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut other = server.join();
    let mut terminal = Terminal::start(&[&way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    way.cut();
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    other.say("missed\n");
    way.mend();
    terminal.expect_row("chatc: connected again");
    terminal.until("the greeting", |terminal| {
        after(terminal, "chatc: connected again").iter().any(|row| row.starts_with("Hello, "))
    });
    terminal.keys("back\r");
    // Nothing was asked for in its name.
    other.expect("back\n");
}
