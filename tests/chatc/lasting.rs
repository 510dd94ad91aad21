//! A daemon that goes away and comes back: name, room and what was missed are taken up again.

use std::process::Command;

use crate::process::pipe;
use crate::proxy::Proxy;
use crate::server::Fake;
use crate::support::{Caller, Daemon, TestServer, clean};
use crate::terminal::Terminal;

/// The rows after the one that begins like this.
fn after(terminal: &Terminal, start: &str) -> Vec<String> {
    terminal.rows().into_iter().skip_while(|row| !row.starts_with(start)).skip(1).collect()
}

/// All that is on the screen, wherever its lines are broken.
fn without_spaces(terminal: &Terminal) -> String {
    terminal.rows().concat().replace(' ', "")
}

/// Waits for a prompt as the last row.
#[track_caller]
fn prompt(terminal: &mut Terminal, prompt: &str) {
    terminal.until(prompt, |terminal| terminal.rows().last().is_some_and(|row| row == prompt));
}

/// Another daemon where there was one.
fn anew(address: &str) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    clean(&mut command).args(["--listen", address, "--log", "stderr"]);
    Daemon::run(command)
}

#[track_caller]
fn say(text: &str, address: &str) {
    let left = pipe(text, &["--nick", "bob", "--room", "ops", address]);
    assert_eq!(left.code, Some(0), "{left:?}");
}

/// Its connection is lost, and it has noticed.
#[track_caller]
fn lose(way: &Proxy, terminal: &mut Terminal) {
    way.cut();
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(";connectingagain"));
}

/// Somebody called alice in ops, and who hears them there.
#[track_caller]
fn alice_in_ops(server: &TestServer, way: &Proxy) -> (Terminal, Caller) {
    // A room is there as long as somebody is.
    let mut witness = server.join();
    witness.say("/join ops\n");
    witness.expect("-!- you are in ops now (1 here)\n");
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &way.address]);
    prompt(&mut terminal, "alice@ops>");
    say("one\n", &server.address.to_string());
    terminal.expect_row("<bob> one");
    witness.expect("one\n");
    (terminal, witness)
}

#[test]
fn what_was_missed_is_shown_once_and_in_order() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let way = Proxy::to(server.address);
    let (mut terminal, mut witness) = alice_in_ops(&server, &way);
    terminal.keys("mine\r");
    witness.expect("mine\n");
    say("two\n", &address);
    terminal.expect_row("<bob> two");
    terminal.keys("half");
    lose(&way, &mut terminal);
    say("three\nfour\n", &address);
    way.mend();
    let rows = ["-- 2 new --", "<bob> three", "<bob> four", "alice@ops> half"];
    terminal.until("what was missed, and the line being typed", |terminal| {
        let rest = after(terminal, "chatc: connected again to");
        rest.iter()
            .filter(|row| !row.starts_with("-!- "))
            .skip_while(|row| !row.starts_with("--"))
            .eq(rows.iter())
    });
    terminal.keys(" a line\r");
    assert_eq!(witness.until("half a line\n"), "two\nthree\nfour\n");
    say("five\n", &address);
    terminal.expect_row("<bob> five");
    witness.expect("five\n");
}

#[test]
fn more_than_one_answer_has_is_shown_whole() {
    let server = TestServer::with(|config| config.history = 5000);
    let way = Proxy::to(server.address);
    let (mut terminal, _witness) = alice_in_ops(&server, &way);
    lose(&way, &mut terminal);
    let text: String = (0..1500).map(|number| format!("line {number} {}\n", "x".repeat(50))).collect();
    say(&text, &server.address.to_string());
    way.mend();
    let begin = |rows: &[String]| rows.iter().filter(|row| row.starts_with("<bob> line ")).count();
    let rows = terminal.all_rows(|rows| rows.iter().any(|row| row.starts_with("<bob> line 1499")));
    assert!(rows.contains(&"-- 1500 new --".to_owned()));
    assert_eq!(begin(&rows), 1500);
}

#[test]
fn more_lines_than_the_daemon_keeps_are_counted_and_not_hidden() {
    let server = TestServer::with(|config| config.history = 3);
    let way = Proxy::to(server.address);
    let (mut terminal, _witness) = alice_in_ops(&server, &way);
    lose(&way, &mut terminal);
    say("2\n3\n4\n5\n6\n7\n8\n", &server.address.to_string());
    way.mend();
    let told = "--7new,4ofthemnolongerkept--<bob>6<bob>7<bob>8";
    terminal.until("how many", |terminal| without_spaces(terminal).contains(told));
}

#[test]
fn what_is_typed_meanwhile_is_kept_and_said() {
    let server = TestServer::start();
    let way = Proxy::to(server.address);
    let (mut terminal, mut witness) = alice_in_ops(&server, &way);
    lose(&way, &mut terminal);
    prompt(&mut terminal, "(not connected) >");
    terminal.keys("too early\r");
    terminal.expect_row("<alice> too early");
    way.mend();
    witness.expect("too early\n");
    prompt(&mut terminal, "alice@ops>");
    assert_eq!(terminal.rows().iter().filter(|row| *row == "<alice> too early").count(), 1);
}

#[test]
fn what_was_lost_on_the_way_is_told_and_what_arrived_is_not() {
    let server = TestServer::start();
    let way = Proxy::to(server.address);
    let (mut terminal, mut witness) = alice_in_ops(&server, &way);
    way.lose_answers();
    terminal.keys("arrived\r");
    witness.expect("arrived\n");
    way.lose_questions();
    for line in ["lost", "/msg guest1 lost"] {
        terminal.keys(line);
        terminal.expect_row(&format!("alice@ops> {line}"));
        terminal.keys("\r");
        prompt(&mut terminal, "alice@ops>");
    }
    lose(&way, &mut terminal);
    way.mend();
    terminal.until("what was lost", |terminal| {
        let lost = "chatc:perhapsnobodygotthis;Upbringsitback:";
        without_spaces(terminal).ends_with(&format!("{lost}lost{lost}/msgguest1lostalice@ops>"))
    });
    assert!(!without_spaces(&terminal).contains("back:arrived"));
    terminal.keys("\x1b[A\x1b[A\r");
    witness.expect("lost\n");
}

#[test]
fn the_name_is_taken_from_the_connection_that_was_lost() {
    let server = TestServer::start();
    let way = Proxy::to(server.address);
    let (mut terminal, mut witness) = alice_in_ops(&server, &way);
    way.cut_unnoticed();
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(";connectingagain"));
    way.mend();
    prompt(&mut terminal, "alice@ops>");
    terminal.keys("it is me\r");
    witness.say("/nick carol\n");
    witness.until("it is me\n");
}

#[test]
fn a_daemon_that_has_started_anew_is_taken_up_again() {
    let first = Daemon::start(&[]);
    let address = first.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &address]);
    prompt(&mut terminal, "alice@ops>");
    say("one\ntwo\n", &address);
    terminal.expect_row("<bob> two");
    first.signal("TERM");
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(";connectingagain"));
    let second = anew(&address);
    prompt(&mut terminal, "alice@ops>");
    // Its lines begin with 1 again.
    say("anew\n", &address);
    terminal.expect_row("<bob> anew");
    let mut witness = second.join();
    witness.say("/join ops\n");
    witness.until("-!- you are in ops now (2 here)\n");
    // Once more, however short a time it has lasted.
    second.signal("KILL");
    terminal.until("another remark", |terminal| {
        after(terminal, "<bob> anew").concat().replace(' ', "").contains(";connectingagain")
    });
}

#[test]
fn it_says_once_that_the_connection_is_lost_and_can_be_left_meanwhile() {
    let server = TestServer::start();
    let way = Proxy::to(server.address);
    let mut terminal = Terminal::start(&[&way.address]);
    prompt(&mut terminal, "guest1@main>");
    lose(&way, &mut terminal);
    // It comes and goes: whoever connects is turned away.
    terminal.keys("x\r");
    terminal.expect_row("<guest1> x");
    terminal.keys("\x04");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(1));
    assert_eq!(rows.concat().replace(' ', "").matches("connectingagain").count(), 1, "{rows:#?}");
    assert_eq!(rows.last().unwrap(), "chatc: nobody got this: x");
}

#[test]
fn a_plain_session_stays_plain_when_it_comes_back() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let guest = fake.accept();
    prompt(&mut terminal, ">");
    drop(guest);
    let mut guest = fake.accept();
    guest.say("hello\n");
    terminal.expect_row("hello");
    terminal.keys("back\r");
    // Nothing was asked for in its name.
    assert_eq!(guest.line(), "back\n");
}

/// One whose connection was lost, and whose name somebody else has at the server that is there now.
#[track_caller]
fn without_a_name(name: &str, second: &TestServer) -> (Terminal, Caller) {
    let first = TestServer::start();
    let way = Proxy::to(first.address);
    let mut terminal = Terminal::start(&["--nick", name, &way.address]);
    prompt(&mut terminal, &format!("{name}@main>"));
    lose(&way, &mut terminal);
    let mut other = second.join();
    other.say(format!("/nick {name}\n"));
    other.until(&format!("-!- you are {name} now; /help says what else there is\n"));
    way.lead_to(second.address);
    way.mend();
    let told = "chatc:thenameisaskedforagainuntilitisfree,oryoutype/nick";
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(told));
    (terminal, other)
}

#[test]
fn a_name_that_somebody_else_has_is_taken_up_again_once_it_is_free() {
    let server = TestServer::start();
    let mut witness = server.join();
    witness.say("/nick bob\n");
    let (mut terminal, other) = without_a_name("alice", &server);
    terminal.keys("not yet\r");
    assert!(witness.until("> not yet\n").contains("\n<guest"));
    drop(other);
    prompt(&mut terminal, "alice@main>");
    assert_eq!(terminal.times_shown("alice is taken"), 1);
    terminal.keys("at last\r");
    witness.until("<alice> at last\n");
}

#[test]
fn a_name_is_asked_for_no_more_by_somebody_who_wants_another() {
    let server = TestServer::start();
    let mut witness = server.join();
    witness.say("/nick bob\n");
    let (mut terminal, other) = without_a_name("alice", &server);
    terminal.keys("/nick bob\r");
    terminal.until("an answer", |terminal| without_spaces(terminal).contains("-!-bobistaken"));
    drop(other);
    // Meanwhile the same happens to somebody who does not type that, and who takes the same pauses, from later on.
    let (mut waiting, other) = without_a_name("carol", &server);
    drop(other);
    prompt(&mut waiting, "carol@main>");
    terminal.keys("x\r");
    assert!(!witness.until("> x\n").ends_with("<alice"));
}

#[test]
fn a_crash_that_the_connection_survives_is_caught_up_with() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    prompt(&mut terminal, "guest7@main>");
    let said = |seq: u64, text: &str| {
        format!(
            "{{\"type\":\"message\",\"seq\":{seq},\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"main\",\"id\":3,\
             \"from\":\"bob\",\"verified\":false,\"text\":\"{text}\"}}\n"
        )
    };
    guest.say(said(5, "five"));
    terminal.expect_row("<bob> five");
    guest.say("{\"type\":\"notice\",\"code\":\"crashed\",\"text\":\"any sentence\"}\n");
    terminal.expect_row("-!- any sentence");
    assert_eq!(guest.sync(), [""; 0]);
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["/last since 5 1\n"]);
    // A line that is said meanwhile comes once, and in its place.
    guest.say(said(8, "eight"));
    guest.say("{\"type\":\"history\",\"room\":\"main\",\"epoch\":1,\"first_kept\":7,\"missing\":1,\"more\":0,\"lines\":2,\"since\":5}\n");
    guest.say([said(7, "seven"), said(8, "eight"), "{\"type\":\"history_end\"}\n".to_owned()].concat());
    guest.synced(&token);
    guest.say(said(9, "nine"));
    let rows =
        ["-- 3 new, 1 of them no longer kept --", "<bob> seven", "<bob> eight", "<bob> nine", "guest7@main>"];
    terminal.until("what was missed", |terminal| after(terminal, "-!- any sentence") == rows);
}
