//! At the keyboard: the screen after each step.

use std::process::Command;

use crate::process::{Process, command, pipe};
use crate::server::Fake;
use crate::support::{Caller, Daemon, Folder, TestServer, text};
use crate::terminal::Terminal;

/// The prompt of the second guest.
pub const PROMPT: &str = "guest2@main>";

/// A chatc that is connected, without a name, and another guest, who hears it.
pub fn guest(server: &TestServer) -> (Terminal, Caller) {
    let other = server.join();
    let mut terminal = Terminal::start(&[&server.address.to_string()]);
    terminal.expect(&[PROMPT]);
    (terminal, other)
}

/// The prompt with something typed.
pub fn typed(text: &str) -> String {
    format!("{PROMPT} {text}")
}

#[test]
fn a_line_that_arrives_stands_above_the_one_being_typed() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("hello wor");
    terminal.expect(&[&typed("hello wor")]);
    other.say("one\n");
    terminal.expect(&["<guest1> one", &typed("hello wor")]);
    other.say("two\n\nthree\n");
    let rows = ["<guest1> one", "<guest1> two", "<guest1>", "<guest1> three"];
    terminal.expect(&[&rows[..], &[&typed("hello wor")]].concat());
    assert_eq!(terminal.cursor(), (4, 22));
    terminal.keys("ld\r");
    // What you say is shown as others see it.
    terminal.expect(&[&rows[..], &["<guest2> hello world", PROMPT]].concat());
    other.expect("hello world\n");
}

#[test]
fn the_line_being_typed_is_edited_where_it_stands() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("wrold\x01my \x1b[C\x1b[C");
    terminal.expect(&[&typed("my wrold")]);
    terminal.until("the cursor within the word", |terminal| terminal.cursor() == (0, 18));
    other.say("an arriving line\n");
    terminal.expect(&["<guest1> an arriving line", &typed("my wrold")]);
    terminal.until("the cursor within the word", |terminal| terminal.cursor() == (1, 18));
    terminal.keys("\x7fX\r");
    other.expect("my wXold\n");
    // What was said before comes back with Up, and Ctrl-R searches in it.
    terminal.keys("\x1b[A");
    terminal.expect(&["<guest1> an arriving line", "<guest2> my wXold", &typed("my wXold")]);
    terminal.keys("\x15\x12wX");
    terminal.expect_row("search \"wX\": my wXold");
    other.say("meanwhile\n");
    terminal.expect_row("<guest1> meanwhile");
    terminal.keys("\r");
    other.expect("my wXold\n");
}

#[test]
fn many_lines_at_once_scroll_and_leave_the_typed_line_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("still here");
    terminal.expect(&[&typed("still here")]);
    for number in 0..300 {
        other.say(format!("line {number}\n"));
    }
    let mut rows: Vec<String> = (289..300).map(|number| format!("<guest1> line {number}")).collect();
    rows.push(typed("still here"));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    terminal.expect(&rows);
}

#[test]
fn a_line_longer_than_the_screen_scrolls_sideways_and_is_said_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    let long = "0123456789".repeat(9);
    terminal.keys(&long);
    terminal.until("the end of it", |terminal| {
        terminal.rows().len() == 1
            && terminal.rows()[0].starts_with(PROMPT)
            && terminal.rows()[0].ends_with("89")
    });
    terminal.keys("\x01");
    terminal.expect(&[&typed(&long[..26])]);
    let other_long = "abcdefghij".repeat(5);
    other.say(format!("{other_long}\n"));
    terminal.expect(&[
        &format!("<guest1> {}", &other_long[..31]),
        &format!("    {}", &other_long[31..]),
        &typed(&long[..26]),
    ]);
    terminal.keys("\r");
    other.expect(format!("{long}\n"));
}

#[test]
fn no_row_begins_with_a_name_that_somebody_else_has_typed() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    other.say(format!("hi{}<+root> the server moves\n", " ".repeat(29)));
    terminal.until("the end of it", |terminal| terminal.rows().concat().contains("moves"));
    assert!(!terminal.rows().iter().any(|row| row.starts_with("<+root>")), "{:#?}", terminal.rows());
}

#[test]
fn a_line_as_long_as_the_screen_is_wide_leaves_no_gap() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    let full = "x".repeat(31);
    other.say(format!("{full}\nnext\n"));
    terminal.expect(&[&format!("<guest1> {full}"), "<guest1> next", PROMPT]);
}

#[test]
fn wide_characters_and_combining_marks_stay_whole() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("漢字 e\u{301}a");
    terminal.expect(&[&typed("漢字 e\u{301}a")]);
    other.say("日本語の行 o\u{308}\n");
    terminal.expect(&["<guest1> 日本語の行 o\u{308}", &typed("漢字 e\u{301}a")]);
    assert_eq!(terminal.cursor(), (1, 20), "two for each wide one, none for a mark");
    terminal.keys("\x7f\x7f!\r");
    other.expect("漢字 !\n");
    // A wide one that does not fit in the last column goes to the next row, whole.
    other.say(format!("{}漢\n", "x".repeat(30)));
    terminal.expect_row("    漢");
}

#[test]
fn names_notices_and_lines_with_your_name_have_colours_and_the_rest_has_none() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--bell", &address]);
    terminal.expect_row("alice@main>");
    assert_eq!(pipe("hello\nand Alice\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.expect_row("<bob> and Alice");
    let cell = |terminal: &Terminal, row: &str, column| {
        let at = terminal.rows().iter().position(|other| other == row).unwrap() as u16;
        terminal.screen().cell(at, column).unwrap().clone()
    };
    let hello = |column| cell(&terminal, "<bob> hello", column);
    assert_ne!(hello(1).fgcolor(), vt100::Color::Default, "the name");
    assert_eq!((hello(0).fgcolor(), hello(6).fgcolor()), (vt100::Color::Default, vt100::Color::Default));
    assert!(!hello(6).bold() && cell(&terminal, "<bob> and Alice", 6).bold());
    assert!(cell(&terminal, "-!- bob joined (2 here)", 0).dim());
    assert_eq!(terminal.bells(), 1);
    let mut plain = command(&["--nick", "carl", &address]);
    plain.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(&plain);
    terminal.expect_row("carl@main>");
    assert_eq!(pipe("hello carl\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.expect_row("<bob> hello carl");
    let formatted = terminal.screen().contents_formatted();
    assert!(
        !formatted.contains("\x1b[3") && !formatted.contains("\x1b[1m") && !formatted.contains("\x1b[2m")
    );
}

#[test]
fn with_plain_nothing_is_sent_but_what_is_typed_and_nothing_has_colours() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    guest.say("<bob> hello\n-!- alice is taken, or looks like it\n");
    terminal.expect(&["<bob> hello", "-!- alice is taken, or looks like it", ">"]);
    assert_eq!(terminal.screen().cell(0, 1).unwrap().fgcolor(), vt100::Color::Default);
    terminal.keys("/view json\r");
    assert_eq!(guest.line(), "/view json\n");
    terminal.keys("hello\r");
    assert_eq!(guest.line(), "hello\n");
    terminal.keys("\x04");
    assert_eq!(guest.rest(), "");
}

#[test]
fn a_server_that_is_no_chatd_is_used_as_nc_would_and_that_is_said_once() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "/view json\n");
    guest.say("Welcome.\n{\"type\":\"notice\",\"text\":\"lines are shown in json now\"}\n");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("chatc does what nc does"));
    guest.say("plain words\n");
    terminal.expect_row("plain words");
    terminal.keys("hello\r");
    assert_eq!(guest.line(), "hello\n");
    terminal.expect_row("> hello");
}

#[test]
fn times_are_shown_if_they_are_asked_for() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--time", &address]);
    terminal.expect_row("alice@main>");
    assert_eq!(pipe("hello\n", &["--nick", "bob", &address]).code, Some(0));
    let has_time = |terminal: &Terminal, end: &str| {
        terminal.rows().iter().any(|row| row.ends_with(end) && row.as_bytes()[2] == b':')
    };
    terminal.until("a time", |terminal| has_time(terminal, " <bob> hello"));
    terminal.keys("mine\r");
    terminal.until("a time", |terminal| has_time(terminal, " <alice> mine"));
    // How lines look is changed here, and the daemon never hears of it.
    terminal.keys("/time off\r");
    terminal.expect_row("-!- times are not shown");
    terminal.keys("/view plain\r");
    terminal.expect_row("-!- lines are shown in plain now");
    assert_eq!(pipe("bare\n", &["--nick", "bob", &address]).code, Some(0));
    terminal.expect_row("bare");
}

#[test]
fn a_name_that_is_taken_is_said_to_be_and_another_can_be_typed() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut alice = server.join();
    alice.say("/nick alice\n");
    alice.expect("-!- you are alice now; /help says what else there is\n");
    let mut terminal = Terminal::start(&["--nick", "alice", &address]);
    terminal.until("the name is taken", |terminal| {
        let rows = terminal.rows();
        rows.len() > 1
            && rows[0].starts_with("-!- alice is taken,")
            && rows.iter().any(|row| row == PROMPT.trim_end())
    });
    terminal.keys("/nick bob\r");
    terminal.expect_row("bob@main>");
    terminal.keys("it is me\r");
    alice.until("<bob> it is me\n");
    terminal.expect_row("<bob> it is me");
}

#[test]
fn lines_that_were_said_while_you_were_away_are_marked() {
    let server = TestServer::start();
    let mut other = server.join();
    let mut terminal = Terminal::start(&["--away", "1ms", &server.address.to_string()]);
    terminal.expect(&[PROMPT]);
    other.say("one\ntwo\n");
    terminal.expect(&["<guest1> one", "<guest1> two", PROMPT]);
    terminal.keys("x");
    terminal.expect(&["<guest1> one", "<guest1> two", "-- 2 new --", &typed("x")]);
}

#[test]
fn the_line_being_typed_survives_a_change_of_the_width() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("hello");
    terminal.expect(&[&typed("hello")]);
    terminal.resize(24);
    // The prompt leaves room for what is typed.
    terminal.expect(&["> hello"]);
    other.say("a line that is longer\n");
    terminal.expect(&["<guest1> a line that is", "    longer", "> hello"]);
    terminal.keys(" you\r");
    other.expect("hello you\n");
}

#[test]
fn a_terminal_that_cannot_be_written_over_is_used_as_it_is() {
    let server = TestServer::start();
    let mut other = server.join();
    let mut dumb = command(&["--nick", "alice", &server.address.to_string()]);
    dumb.env("TERM", "dumb");
    let mut terminal = Terminal::run(&dumb);
    terminal.until("a name", |terminal| terminal.rows().concat().contains("you are alice now"));
    terminal.keys("hello\n");
    other.expect("hello\n");
    other.say("hi\n");
    terminal.expect_row("<guest1> hi");
    terminal.keys("\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn it_talks_over_a_unix_socket_on_a_terminal_of_its_own_as_behind_ssh() {
    // ssh -t starts it through a shell, with a terminal that is its own: command="chatc /run/chatd/chat.sock".
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let daemon = Daemon::start(&["--listen", text(&path)]);
    let mut other = daemon.join();
    let program = command(&[text(&path)]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} {}", text(std::path::Path::new(program.get_program())), text(&path))]);
    shell.env("TERM", "xterm");
    let mut terminal = Terminal::run(&shell);
    let id = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    terminal.expect_row(&format!("+{me}@main>"));
    terminal.keys("over ssh\r");
    other.expect("over ssh\n");
    terminal.expect_row(&format!("<+{me}> over ssh"));
    terminal.keys("/quit\r");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn in_a_busy_room_every_line_stays_whole() {
    const LINES: usize = 1000;
    const TYPED: usize = 60;
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
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
        // Lines that come together are a paste.
        terminal.until("it is said", |terminal| {
            !terminal.rows().last().is_some_and(|row| row.contains("typed"))
                && terminal.has_shown(&format!("typed {number}"))
        });
    }
    let _speaker = speaking.join().unwrap();
    let begin = |rows: &[String], start: &str| -> Vec<String> {
        rows.iter().filter(|row| row.starts_with(start)).cloned().collect()
    };
    let (said, typed) = ("<guest3> line ", "<guest2> typed ");
    let rows = terminal.all_rows(|rows| {
        let are_all = begin(rows, said).len() == LINES && begin(rows, typed).len() == TYPED;
        are_all && rows.last().is_some_and(|row| row == PROMPT)
    });
    let numbered =
        |start: &str, count| (0..count).map(|number| format!("{start}{number}")).collect::<Vec<_>>();
    assert_eq!(begin(&rows, said), numbered(said, LINES));
    assert_eq!(begin(&rows, typed), numbered(typed, TYPED));
    let mut rest = rows;
    rest.retain(|row| !row.starts_with(said) && !row.starts_with(typed));
    assert_eq!(rest, [PROMPT], "nothing else, and nothing torn");
    let _ = other.take(1);
}

#[test]
fn a_listener_on_a_terminal_breaks_rows_as_well() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut terminal = Terminal::start(&["--listen", "--view", "names", &address]);
    let mut other = server.join();
    let witness = Process::start(&["--listen", "--count", "1", &address]);
    let long = "x".repeat(50);
    while witness.line_soon().is_none() {
        other.say(format!("{long}\n"));
    }
    terminal.expect_row(&format!("    {}", &long[31..]));
}
