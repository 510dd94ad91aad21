//! How a conversation ends, and how it stops for a while: the terminal is as it was.

use crate::keyboard::{PROMPT, guest};
use crate::process::command;
use crate::server::Fake;
use crate::support::{Daemon, TestServer, wait_until};
use crate::terminal::Terminal;

#[test]
fn ctrl_c_leaves_the_terminal_as_it_was() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    other.say("one\n");
    terminal.keys("half a line that is longer than the screen is wide\x01");
    terminal.until("the cursor at the beginning", |terminal| terminal.cursor() == (1, 13));
    terminal.keys("\x03");
    assert_eq!(terminal.finish(), (Some(0), vec!["<guest1> one".to_owned()]));
}

#[test]
fn ctrl_d_leaves_when_what_was_said_is_in_the_room() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    terminal.expect(&["guest7@main>"]);
    terminal.keys("bye\r");
    terminal.expect(&["<guest7> bye", "guest7@main>"]);
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["bye\n"]);
    terminal.keys("\x04");
    terminal.expect(&["<guest7> bye"]);
    guest.say(
        "{\"type\":\"notice\",\"code\":\"told\",\"name\":\"bob\",\"verified\":false,\"text\":\"the rest\"}\n",
    );
    terminal.expect(&["<guest7> bye", "-!- the rest"]);
    guest.synced(&token);
    assert_eq!(terminal.finish(), (Some(0), vec!["<guest7> bye".into(), "-!- the rest".into()]));
}

#[test]
fn what_may_be_lost_at_the_end_is_said_and_ends_with_1() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    terminal.expect(&["guest7@main>"]);
    terminal.keys("bye\r");
    let (lines, _) = guest.asked();
    assert_eq!(lines, ["bye\n"]);
    terminal.keys("\x04");
    terminal.expect(&["<guest7> bye"]);
    drop(guest);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(1));
    assert_eq!(rows.last().unwrap(), "chatc: perhaps nobody got this: bye");
}

#[test]
fn with_plain_ctrl_d_says_that_nothing_more_comes_and_hears_the_rest() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    terminal.keys("bye\r");
    assert_eq!(guest.line(), "bye\n");
    terminal.keys("\x04");
    assert_eq!(guest.rest(), "");
    guest.say("the rest\n");
    drop(guest);
    assert_eq!(terminal.finish(), (Some(0), vec!["> bye".into(), "the rest".into()]));
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    for signal in ["TERM", "INT", "HUP"] {
        let server = TestServer::start();
        let (mut terminal, _other) = guest(&server);
        terminal.keys("half a line");
        terminal.expect(&[&format!("{PROMPT} half a line")]);
        terminal.signal(signal);
        assert_eq!(terminal.finish(), (Some(0), vec![]), "{signal}");
    }
}

#[test]
fn a_signal_ends_it_while_the_terminal_takes_nothing() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    let flood = std::thread::spawn(move || while guest.try_say(b"a line of a flood\n") {});
    let reading = terminal.reading();
    let is_stuck = reading.lock().unwrap();
    wait_until("the terminal is full", || !terminal.takes_more());
    terminal.signal("TERM");
    wait_until("it has ended", || terminal.code_soon() == Some(0));
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
    terminal.expect(&[PROMPT]);
    terminal.keys("half");
    terminal.expect(&[&format!("{PROMPT} half")]);
    terminal.keys("\x1a");
    terminal.expect_row("stopped");
    assert!(terminal.is_as_before() && !terminal.screen().bracketed_paste());
    terminal.keys("on\n");
    terminal.expect_row("on");
    terminal.until("the line", |terminal| {
        terminal.rows().last().is_some_and(|row| *row == format!("{PROMPT} half"))
    });
    assert!(terminal.screen().bracketed_paste());
    terminal.keys(" a line\r");
    other.expect("half a line\n");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn ctrl_z_where_nobody_could_let_it_go_on_changes_nothing() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
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
    terminal.expect(&["guest1@main>"]);
    terminal.keys("half a line");
    terminal.expect(&["guest1@main> half a line"]);
    daemon.signal("KILL");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(1));
    assert!(rows[0].starts_with(&format!("chatc: {address}: the ")), "{rows:#?}");
}

#[test]
fn quit_is_not_taken_for_a_lost_connection() {
    let server = TestServer::start();
    let (mut terminal, _other) = guest(&server);
    terminal.keys("/quit\r");
    assert_eq!(terminal.finish(), (Some(0), vec![]));
}

#[test]
fn quit_is_a_line_like_any_other_where_commands_are_off() {
    let server = TestServer::with(|config| config.commands = false);
    let mut other = server.join();
    let mut terminal = Terminal::start(&[&server.address.to_string()]);
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("chatc does what nc does"));
    other.until("/view json\n");
    terminal.keys("/quit\r");
    other.expect("/quit\n");
    terminal.keys("still here\r");
    other.expect("still here\n");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn ctrl_c_takes_nothing_back_that_was_said() {
    let server = TestServer::start();
    for number in 0..20 {
        let mut other = server.join();
        let mut terminal = Terminal::start(&[&server.address.to_string()]);
        terminal
            .until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row.ends_with("@main>")));
        // Something that it may not have read when it ends.
        other.say("x\n".repeat(2000));
        terminal.keys(&format!("number {number}\r\x03"));
        other.expect(format!("number {number}\n"));
        assert_eq!(terminal.finish().0, Some(0));
    }
}
