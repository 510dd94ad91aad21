//! How a conversation ends, and how it stops for a while: the terminal is as it was.

use std::time::Instant;

use crate::keyboard::{GREETING, plain};
use crate::process::command;
use crate::server::Fake;
use crate::support::{Daemon, PATIENCE, TestServer};
use crate::terminal::Terminal;

#[test]
fn ctrl_c_leaves_the_terminal_as_it_was() {
    let server = TestServer::start();
    let (mut terminal, _other) = plain(&server);
    terminal.keys("half a line that is longer than the screen is wide\x01");
    terminal.until("the cursor at the beginning", |terminal| terminal.cursor() == (1, 2));
    terminal.keys("\x03");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(rows, [GREETING, "> half a line that is longer than the sc", "reen is wide"]);
}

#[test]
fn ctrl_d_says_that_nothing_more_comes_and_hears_the_rest() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    terminal.keys("bye\r");
    assert_eq!(guest.line(), "bye\n");
    terminal.expect(&["> bye", ">"]);
    terminal.keys("\x04");
    assert_eq!(guest.rest(), "");
    guest.say("the rest\n");
    drop(guest);
    assert_eq!(terminal.finish(), (Some(0), vec!["> bye".into(), ">".into(), "the rest".into()]));
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    for signal in ["TERM", "INT", "HUP"] {
        let server = TestServer::start();
        let (mut terminal, _other) = plain(&server);
        terminal.keys("half a line");
        terminal.expect(&[GREETING, "> half a line"]);
        terminal.signal(signal);
        assert_eq!(terminal.finish(), (Some(0), vec![GREETING.into(), "> half a line".into()]), "{signal}");
    }
}

#[test]
fn a_signal_ends_it_while_the_terminal_takes_nothing() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    let flood = std::thread::spawn(move || while guest.try_say(b"a line of a flood\n") {});
    let reading = terminal.reading();
    let is_stuck = reading.lock().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while terminal.takes_more() {
        assert!(Instant::now() < deadline, "it is never full");
        std::thread::yield_now();
    }
    terminal.signal("TERM");
    let code = loop {
        if let Some(code) = terminal.code_soon() {
            break code;
        }
        assert!(Instant::now() < deadline, "it goes on");
    };
    assert_eq!(code, 0);
    assert!(terminal.is_as_before());
    drop(is_stuck);
    flood.join().unwrap();
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let server = TestServer::start();
    let mut other = server.join();
    let program = command(&[&server.address.to_string()]);
    let mut shell = std::process::Command::new("sh");
    // The shell is one that does not set the terminal itself.
    shell.args(["-c", "set -m; \"$@\"; echo; echo stopped; read x; fg >/dev/null", "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).env("TERM", "xterm");
    let mut terminal = Terminal::run(&shell);
    terminal.expect(&[GREETING, ">"]);
    terminal.keys("half");
    terminal.expect(&[GREETING, "> half"]);
    terminal.keys("\x1a");
    terminal.expect_row("stopped");
    assert!(terminal.is_as_before() && !terminal.screen().bracketed_paste());
    terminal.keys("on\n");
    terminal.expect_row("on");
    terminal.until("the line", |terminal| terminal.rows().last().is_some_and(|row| row == "> half"));
    assert!(terminal.screen().bracketed_paste());
    terminal.keys(" a line\r");
    other.expect("half a line\n");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn ctrl_z_where_nobody_could_let_it_go_on_changes_nothing() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("half\x1a a line\r");
    other.expect("half a line\n");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn a_lost_connection_leaves_the_terminal_as_it_was() {
    let daemon = Daemon::start(&[]);
    let address = daemon.address.to_string();
    let mut terminal = Terminal::start(&["--reconnect=false", &address]);
    terminal.expect(&[GREETING, ">"]);
    terminal.keys("half a line");
    terminal.expect(&[GREETING, "> half a line"]);
    daemon.signal("KILL");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(1));
    assert_eq!(rows[1], "> half a line");
    assert!(rows[2].starts_with(&format!("chatc: {address}: the ")), "{rows:#?}");
}

#[test]
fn quit_is_not_taken_for_a_lost_connection() {
    let server = TestServer::start();
    let (mut terminal, _other) = plain(&server);
    terminal.keys("/quit\r");
    assert_eq!(terminal.finish(), (Some(0), vec![GREETING.into(), "> /quit".into()]));
}

#[test]
fn quit_is_a_line_like_any_other_where_commands_are_off() {
    let server = TestServer::with(|config| config.commands = false);
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("/quit\r");
    other.expect("/quit\n");
    terminal.expect(&[GREETING, "> /quit", ">"]);
    terminal.keys("still here\r");
    other.expect("still here\n");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn ctrl_c_takes_nothing_back_that_was_said() {
    let server = TestServer::start();
    for number in 0..20 {
        let (mut terminal, mut other) = plain(&server);
        // Something that it may not have read when it ends.
        other.say("x\n".repeat(2000));
        terminal.keys(&format!("number {number}\r\x03"));
        other.expect(format!("number {number}\n"));
        assert_eq!(terminal.finish().0, Some(0));
    }
}
