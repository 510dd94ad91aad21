//! A name that somebody else has when the connection is back: how it is asked for again, and when no more.

use chatd::protocol::{Answer, Form, Name, View};

use crate::lasting::{after, lose, without_spaces};
use crate::server::{Fake, Way};
use crate::support::{Caller, TestServer};
use crate::terminal::Terminal;

/// One whose connection was lost, and whose name somebody else has now that it is back.
fn without_a_name(server: &TestServer, way: &Way, name: &str) -> (Terminal, Caller) {
    let mut terminal = Terminal::start(&["--nick", name, &way.address]);
    let named = format!("you are {name} now");
    terminal.until("a name", |terminal| terminal.rows().concat().contains(&named));
    lose(way, &mut terminal);
    let mut other = server.join();
    other.say(format!("/nick {name}\n"));
    while !other.until("\n").contains(&named) {
        // The daemon may not yet have found out.
        other.say(format!("/nick {name}\n"));
    }
    way.mend();
    let told = format!("aguestuntil{name}isfree;itisaskedforagainuntilyoutype/nick");
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(&told));
    (terminal, other)
}

#[test]
fn a_name_that_somebody_else_has_is_taken_up_again_once_it_is_free() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut witness = server.join();
    witness.say("/nick bob\n");
    let (mut terminal, other) = without_a_name(&server, &way, "alice");
    terminal.keys("not yet\r");
    assert!(witness.until("> not yet\n").contains("\n<guest"));
    drop(other);
    terminal.until("the name", |terminal| {
        after(terminal, "> not yet").iter().any(|row| row.starts_with("-!- you are alice now;"))
    });
    assert_eq!(without_spaces(&terminal).matches("istaken").count(), 1);
    terminal.keys("at last\r");
    witness.until("<alice> at last\n");
}

#[test]
fn a_name_is_asked_for_no_more_by_somebody_who_wants_another() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut witness = server.join();
    witness.say("/nick bob\n");
    witness.until("-!- you are bob now; /help says what else there is\n");
    let (mut terminal, other) = without_a_name(&server, &way, "alice");
    terminal.keys("/nick bob\r");
    terminal.until("an answer", |terminal| without_spaces(terminal).contains("-!-bobistaken"));
    drop(other);
    // Meanwhile the same happens to somebody who does not type that, and who takes the same pauses, from later on.
    let way = Way::to(server.address);
    let (mut waiting, other) = without_a_name(&server, &way, "carol");
    drop(other);
    waiting.until("the name", |terminal| {
        after(terminal, "chatc: you are a guest until")
            .iter()
            .any(|row| row.starts_with("-!- you are carol now;"))
    });
    terminal.keys("x\r");
    assert!(!witness.until("> x\n").ends_with("<alice"));
}

/// What a daemon says to somebody who is shown objects.
fn notices(answers: &[Answer]) -> Vec<u8> {
    let mut out = Vec::new();
    answers.iter().for_each(|answer| Form::JSON.notice(answer, &mut out));
    out
}

#[test]
fn whoever_wants_another_name_before_the_answer_is_not_told_that_it_is_asked_for_again() {
    let (fake, name) = (Fake::start(), |name| Name::parse(name).unwrap());
    let mut terminal = Terminal::start(&["--nick", "alice", &fake.address()]);
    let mut guest = fake.accept();
    guest.say(notices(&[Answer::Viewed(View::Json), Answer::Named(name("alice")), Answer::Last(0)]));
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    guest.reset();
    let mut guest = fake.accept();
    guest.say(notices(&[Answer::Viewed(View::Json)]));
    terminal.until("a remark", |terminal| without_spaces(terminal).contains("connectedagain"));
    terminal.keys("/nick carol\r");
    while guest.line() != "/nick carol\n" {}
    let taken = Answer::Taken { name: name("alice"), hint: None };
    guest.say(notices(&[taken, Answer::Last(0), Answer::Named(name("carol"))]));
    terminal.until("a name", |terminal| without_spaces(terminal).contains("youarecarolnow"));
    let words = without_spaces(&terminal);
    assert!(words.contains("chatc:aliceistaken") && !words.contains("itisaskedforagain"), "{words}");
}
