//! `chatctl top`, and tables on a terminal: width, colours, and the screen that is given back.

use crate::fake::{Fake, answered, end_of, notice, session, stats};
use crate::process::Process;
use crate::server::Guest;
use crate::terminal::Terminal;

/// Answers both questions of `top` once.
#[track_caller]
fn refresh(guest: &mut Guest, sessions: usize) {
    answered(guest, "/stats", &stats(sessions));
    let list = [session(1, "ann", 0.0, 4096), session(2, "bob", 0.5, 0), session(3, "cem", 0.0, 0)];
    answered(guest, "/sessions", &(list.concat() + &end_of("sessions", 3, 0)));
}

/// The names in the order in which they are shown.
fn names(rows: &[String]) -> Vec<&str> {
    let names = rows.iter().filter_map(|row| row.split_whitespace().nth(1));
    names.filter(|name| ["ann", "bob", "cem"].contains(name)).collect()
}

#[test]
fn it_is_drawn_again_and_the_screen_is_given_back() {
    let fake = Fake::start();
    let mut terminal = Terminal::run(&fake.command(&["top"]));
    let mut guest = fake.greeted();
    refresh(&mut guest, 42);
    terminal.expect_row("sessions  42");
    terminal.until("the busiest first", |terminal| names(&terminal.rows()) == ["bob", "ann", "cem"]);
    assert!(terminal.screen().alternate_screen() && terminal.screen().hide_cursor());
    refresh(&mut guest, 43);
    terminal.expect_row("sessions  43");
    assert_eq!(terminal.rows().iter().filter(|row| row.starts_with("sessions")).count(), 1);
    terminal.keys("\x03");
    let (code, rows) = terminal.finish();
    assert_eq!((code, rows), (Some(0), vec![]));
}

#[test]
fn a_lost_connection_gives_the_screen_back_and_says_so() {
    let fake = Fake::start();
    let mut terminal = Terminal::run(&fake.command(&["top"]));
    let mut guest = fake.greeted();
    refresh(&mut guest, 42);
    terminal.expect_row("sessions  42");
    drop(guest);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(69));
    assert!(rows.concat().contains("chatctl: ") && !rows.concat().contains("sessions"), "{rows:?}");
}

#[test]
fn another_size_of_the_terminal_is_drawn_at_once() {
    let fake = Fake::start();
    let mut terminal = Terminal::run(&fake.command(&["top"]));
    let mut guest = fake.greeted();
    refresh(&mut guest, 42);
    terminal.expect_row("lines     12345, 45.2 per second");
    terminal.resize(20);
    // Nothing is answered meanwhile.
    terminal.expect_row("lines     12345, 45…");
    terminal.signal("TERM");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn elsewhere_it_is_printed_one_after_the_other() {
    let fake = Fake::start();
    for (options, line) in [(["top"].as_slice(), "sessions  42"), (&["top", "--json"], stats(42).trim_end())]
    {
        let mut process = Process::run(fake.command(options));
        let mut guest = fake.greeted();
        for _ in 0..2 {
            refresh(&mut guest, 42);
            process.until(|one| one == line);
        }
        process.signal("TERM");
        let left = process.wait();
        assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
        assert!(!left.output.contains('\x1b'));
    }
}

#[test]
fn who_is_no_operator_keeps_the_screen() {
    let fake = Fake::start();
    let terminal = Terminal::run(&fake.command(&["top"]));
    answered(&mut fake.greeted(), "/stats", &notice("\"code\":\"not_operator\"", "you are not one"));
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(77));
    assert!(rows[0].contains("you are not an operator"), "{rows:?}");
}

#[test]
fn a_table_fits_the_terminal_and_has_colours_there() {
    let fake = Fake::start();
    for (no_color, has_colours) in [(None, true), (Some("1"), false)] {
        let mut command = fake.command(&["sessions"]);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let mut terminal = Terminal::run(&command);
        let page = session(1, "somebody-with-a-long-name", 1.0, 2048) + &end_of("sessions", 1, 0);
        answered(&mut fake.greeted(), "/sessions", &page);
        terminal.until("the row", |terminal| {
            terminal.rows().get(1).is_some_and(|row| row.starts_with(" 1  someb…"))
        });
        assert_eq!(terminal.has_shown("\x1b[1m"), has_colours);
        assert_eq!(terminal.finish().0, Some(0));
    }
}
