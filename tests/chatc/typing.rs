//! Pastes, and what Tab completes.

use crate::keyboard::{PROMPT, guest, typed};
use crate::support::TestServer;
use crate::terminal::Terminal;

#[test]
fn what_is_pasted_goes_out_together_and_nothing_of_it_is_a_command() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("\x1b[200~one\n/quit\n/etc/hosts\tx\x1b[201~");
    terminal.expect(&[&typed("one↵/quit↵/etc/hosts x")]);
    other.say("meanwhile\n");
    terminal.expect(&["<guest1> meanwhile", &typed("one↵/quit↵/etc/hosts x")]);
    terminal.keys("\r");
    other.expect("one\n/quit\n/etc/hosts\tx\n");
    terminal.expect_row("<guest2> /quit");
    // Where the terminal does not mark it, too.
    terminal.keys("two\n/who\tx\nthree");
    terminal.expect_row(&typed("two↵/who x↵three"));
    terminal.keys("\r");
    other.expect("two\n/who\tx\nthree\n");
    // One line is what it would be if it were typed.
    terminal.keys("\x1b[200~/who\x1b[201~");
    terminal.expect_row(&typed("/who"));
    terminal.keys("\r");
    terminal.expect_row("-!- 2 here: guest1, guest2");
}

#[test]
fn a_long_paste_is_asked_about() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    let long: String = (0..25).map(|number| format!("line {number}\n")).collect();
    let paste = |terminal: &mut Terminal| {
        terminal.keys(&format!("\x1b[200~{long}\x1b[201~"));
        terminal
            .until("the paste", |terminal| terminal.rows().last().is_some_and(|row| row.contains("line 24")));
        terminal.keys("\r");
        let asks = "chatc: 25 lines: press Enter again to";
        terminal.until("a question", |terminal| terminal.rows().iter().any(|row| row.starts_with(asks)));
    };
    paste(&mut terminal);
    terminal.keys("\x03");
    terminal.until("it is dropped", |terminal| terminal.rows().last().is_some_and(|row| row == PROMPT));
    terminal.keys("\x0c");
    terminal.expect(&[PROMPT]);
    paste(&mut terminal);
    terminal.keys("\r");
    other.expect(long);
}

#[test]
fn a_paste_whose_end_is_lost_leaves_nobody_deaf() {
    let server = TestServer::start();
    let (mut terminal, mut other) = guest(&server);
    terminal.keys("\x1b[200~some text\n");
    terminal.expect(&[&typed("some text↵")]);
    other.say("are you there?\n");
    terminal.expect_row("<guest1> are you there?");
    terminal.keys("\x03");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn tab_completes_commands_names_and_rooms() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut bob = server.join();
    bob.say("/nick bobby\n");
    let mut ops = server.join();
    ops.say("/join operations\n");
    ops.expect("-!- you are in operations now (1 here)\n");
    let mut terminal = Terminal::start(&["--nick", "alice", &address]);
    terminal.expect_row("alice@main>");
    let mut complete = |before: &str, after: &str| {
        terminal.keys(before);
        terminal.expect_row(&format!("alice@main> {before}"));
        terminal.keys("\t");
        terminal.expect_row(&format!("alice@main> {after}"));
        terminal.keys("\x15");
        terminal.expect_row("alice@main>");
    };
    complete("/ni", "/nick");
    complete("bo", "bobby:");
    complete("hi BO", "hi bobby");
    complete("/msg bo", "/msg bobby");
    complete("/join op", "/join operations");
}
