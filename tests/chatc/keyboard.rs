//! At the keyboard: the screen after each step.

use crate::process::{command, pipe};
use crate::server::Fake;
use crate::support::{Caller, Daemon, TestServer};
use crate::terminal::Terminal;

const GREETING: &str = "Hello, connection to the server ok!";
const NAMED: &str = "-!- you are alice now; /help says what e";

/// A chatc that is connected, without a name, and another who hears it.
fn plain(server: &TestServer) -> (Terminal, Caller) {
    let other = server.join();
    let mut terminal = Terminal::start(&[&server.address.to_string()]);
    terminal.expect(&[GREETING, ">"]);
    (terminal, other)
}

#[test]
fn a_line_that_arrives_stands_above_the_one_being_typed() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("hello wor");
    terminal.expect(&[GREETING, "> hello wor"]);
    other.say("one\n");
    terminal.expect(&[GREETING, "one", "> hello wor"]);
    other.say("two\n\nthree\n");
    terminal.expect(&[GREETING, "one", "two", "", "three", "> hello wor"]);
    assert_eq!(terminal.cursor(), (5, 11));
    terminal.keys("ld\r");
    terminal.expect(&[GREETING, "one", "two", "", "three", "> hello world", ">"]);
    other.expect("hello world\n");
}

#[test]
fn the_line_being_typed_is_edited_where_it_stands() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("wrold\x01my \x1b[C\x1b[C");
    terminal.expect(&[GREETING, "> my wrold"]);
    terminal.until("the cursor within the word", |terminal| terminal.cursor() == (1, 7));
    other.say("an arriving line\n");
    terminal.expect(&[GREETING, "an arriving line", "> my wrold"]);
    assert_eq!(terminal.cursor(), (2, 7));
    terminal.keys("\x7fX\r");
    other.expect("my wXold\n");
    // What was said before comes back with Up.
    terminal.keys("\x1b[A");
    terminal.expect(&[GREETING, "an arriving line", "> my wXold", "> my wXold"]);
}

#[test]
fn many_lines_at_once_scroll_and_leave_the_typed_line_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("still here");
    terminal.expect(&[GREETING, "> still here"]);
    for number in 0..300 {
        other.say(format!("line {number}\n"));
    }
    let rows: Vec<String> = (289..300).map(|number| format!("line {number}")).collect();
    let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    rows.push("> still here");
    terminal.expect(&rows);
}

#[test]
fn a_line_longer_than_the_screen_stays_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    let long = "0123456789".repeat(9);
    terminal.keys(&long);
    let typed = [
        "> 01234567890123456789012345678901234567",
        "8901234567890123456789012345678901234567",
        "890123456789",
    ];
    terminal.expect(&[&[GREETING][..], &typed].concat());
    let other_long = "abcdefghij".repeat(5);
    other.say(format!("{other_long}\n"));
    let arrived = [&other_long[..40], &other_long[40..]];
    terminal.expect(&[&[GREETING][..], &arrived, &typed].concat());
    // In the middle of it, too.
    terminal.keys("\x1b[H");
    terminal.until("the cursor at the beginning", |terminal| terminal.cursor() == (3, 2));
    other.say("short\n");
    terminal.expect(&[&[GREETING][..], &arrived, &["short"], &typed].concat());
    assert_eq!(terminal.cursor(), (4, 2));
    terminal.keys("\r");
    other.expect(format!("{long}\n"));
    terminal.expect(&[&[GREETING][..], &arrived, &["short"], &typed, &[">"]].concat());
}

#[test]
fn a_line_as_long_as_the_screen_is_wide_leaves_no_gap() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    let full = "x".repeat(40);
    other.say(format!("{full}\nnext\n"));
    terminal.expect(&[GREETING, &full, "next", ">"]);
    terminal.keys(&full[2..]);
    terminal.until("the cursor on the next row", |terminal| terminal.cursor() == (4, 0));
    other.say("another\n");
    terminal.expect(&[GREETING, &full, "next", "another", &format!("> {}", &full[2..])]);
}

#[test]
fn wide_characters_and_combining_marks_stay_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("漢字 e\u{301}a");
    terminal.expect(&[GREETING, "> 漢字 e\u{301}a"]);
    other.say("日本語の行 o\u{308}\n");
    terminal.expect(&[GREETING, "日本語の行 o\u{308}", "> 漢字 e\u{301}a"]);
    assert_eq!(terminal.cursor(), (2, 9), "two for each wide one, none for a mark");
    terminal.keys("\x7f\x7f!\r");
    other.expect("漢字 !\n");
    // A wide one does not fit in the last column: it goes to the next row, whole.
    let typed = "x".repeat(37) + "漢";
    terminal.keys(&typed);
    let rows = [GREETING, "日本語の行 o\u{308}", "> 漢字 !", &format!("> {}", &typed[..37]), "漢"];
    terminal.expect(&rows);
    other.say("once more\n");
    terminal.expect(&[&rows[..3], &["once more"], &rows[3..]].concat());
    terminal.keys("\r");
    other.expect(format!("{typed}\n"));
}

#[test]
fn names_and_notices_have_colours_and_the_rest_has_none() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", &address]);
    terminal.expect_row(">");
    assert_eq!(pipe("hello\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.expect_row("<bob> hello");
    let row = terminal.rows().iter().position(|row| row == "<bob> hello").unwrap() as u16;
    let colour = |column| terminal.screen().cell(row, column).unwrap().fgcolor();
    assert_ne!(colour(1), vt100::Color::Default, "the name");
    assert_eq!((colour(0), colour(6)), (vt100::Color::Default, vt100::Color::Default));
    let mut plain = command(&["--nick", "carl", &address]);
    plain.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(&plain);
    terminal.expect_row(">");
    assert_eq!(pipe("hello\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.expect_row("<bob> hello");
    assert!(!terminal.screen().contents_formatted().contains("\x1b[3"));
}

#[test]
fn without_a_name_what_arrives_has_no_colours_and_nothing_is_sent() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.say("<bob> hello\n-!- alice is taken, or looks like it\n");
    terminal.expect(&["<bob> hello", "-!- alice is taken, or looks like it", ">"]);
    assert_eq!(terminal.screen().cell(0, 1).unwrap().fgcolor(), vt100::Color::Default);
    terminal.keys("/view json\r\rhello\r\x04");
    assert_eq!(guest.rest(), "/view json\n\nhello\n");
}

#[test]
fn times_are_shown_if_they_are_asked_for() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--time", &address]);
    terminal.expect_row(">");
    assert_eq!(pipe("hello\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.until("a time", |terminal| {
        terminal.rows().iter().any(|row| row.ends_with(" <bob> hello") && row.as_bytes()[2] == b':')
    });
}

#[test]
fn a_name_that_is_taken_is_asked_for_again() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut alice = server.join();
    alice.say("/nick alice\n");
    alice.expect("-!- you are alice now; /help says what else there is\n");
    let mut terminal = Terminal::start(&["--nick", "alice", &address]);
    let taken = ["chatc: alice is taken, or looks like a na", "me that is; alice2 is free"];
    terminal.until("a question", |terminal| terminal.rows().last().is_some_and(|row| row == "name:"));
    assert!(terminal.rows()[1].starts_with(&taken[0][..40]), "{:#?}", terminal.rows());
    terminal.keys("bob\r");
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    terminal.keys("it is me\r");
    alice.until("<bob> it is me\n");
}

#[test]
fn what_is_pasted_goes_out_together() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("\x1b[200~one\ntwo\nthree\x1b[201~");
    terminal.expect(&[GREETING, "> one", "two", "three"]);
    other.say("meanwhile\n");
    terminal.expect(&[GREETING, "meanwhile", "> one", "two", "three"]);
    terminal.keys("\r");
    other.expect("one\ntwo\nthree\n");
}

#[test]
fn tab_completes_commands() {
    let server = TestServer::start();
    let (mut terminal, _other) = plain(&server);
    terminal.keys("/ni\talice\r");
    terminal.expect_row("> /nick alice");
    terminal.until("the answer", |terminal| terminal.rows().iter().any(|row| row.starts_with(NAMED)));
}

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
fn the_line_being_typed_survives_a_change_of_the_width() {
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    terminal.keys("hello");
    terminal.expect(&[GREETING, "> hello"]);
    terminal.resize(30);
    other.say("still\n");
    terminal.expect(&[GREETING, "still", "> hello"]);
    terminal.keys(" you\r");
    other.expect("hello you\n");
}

#[test]
fn a_terminal_that_cannot_be_written_over_is_used_as_it_is() {
    let server = TestServer::start();
    let mut other = server.join();
    let mut dumb = command(&[&server.address.to_string()]);
    dumb.env("TERM", "dumb");
    let mut terminal = Terminal::run(&dumb);
    terminal.expect(&[GREETING]);
    terminal.keys("hello\n");
    other.expect("hello\n");
    other.say("hi\n");
    terminal.expect(&[GREETING, "hello", "hi"]);
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn quit_is_not_taken_for_a_lost_connection() {
    let server = TestServer::start();
    let (mut terminal, _other) = plain(&server);
    terminal.keys("/quit\r");
    assert_eq!(terminal.finish(), (Some(0), vec![GREETING.into(), "> /quit".into(), ">".into()]));
}

#[test]
fn a_name_that_cannot_be_one_is_asked_for_again() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut alice = server.join();
    alice.say("/nick alice\n");
    alice.expect("-!- you are alice now; /help says what else there is\n");
    let mut terminal = Terminal::start(&["--nick", "alice", &address]);
    terminal.expect_row("name:");
    terminal.keys("a b\r");
    terminal.expect_row("chatc: a name has letters, digits, - and");
    // Nothing at all is a guest.
    terminal.keys("\r");
    terminal.expect_row(">");
    terminal.keys("hello\r");
    alice.until("<guest2> hello\n");
}

#[test]
fn in_a_busy_room_every_line_stays_whole() {
    const LINES: usize = 1000;
    const TYPED: usize = 60;
    let server = TestServer::start();
    let (mut terminal, mut other) = plain(&server);
    let mut speaker = server.join();
    let speaking = std::thread::spawn(move || {
        for number in 0..LINES {
            speaker.say(format!("line {number}\n"));
            std::thread::yield_now();
        }
        // Closing a connection with something unread in it would throw away what was said last.
        speaker
    });
    for number in 0..TYPED {
        terminal.keys(&format!("typed {number}\r"));
    }
    let _speaker = speaking.join().unwrap();
    // Everything that has been on the screen, row by row.
    let begin = |rows: &[String], start: &str| -> Vec<String> {
        rows.iter().filter(|row| row.starts_with(start)).cloned().collect()
    };
    let rows = terminal.all_rows(|rows| {
        let are_all = begin(rows, "line ").len() == LINES && begin(rows, "> typed ").len() == TYPED;
        are_all && rows.last().is_some_and(|row| row == ">")
    });
    assert_eq!(begin(&rows, "line "), (0..LINES).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(
        begin(&rows, "> typed "),
        (0..TYPED).map(|number| format!("> typed {number}")).collect::<Vec<_>>()
    );
    let mut rest = rows;
    rest.retain(|row| !row.starts_with("line ") && !row.starts_with("> typed "));
    assert_eq!(rest, [GREETING, ">"], "nothing else, and nothing torn");
    let _ = other.take(1);
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
