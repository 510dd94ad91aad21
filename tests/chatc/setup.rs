//! The beginning of a connection: a server that is slow, silent, or gone, before everything is answered.

use crate::process::Process;
use crate::server::{Fake, Guest};
use crate::terminal::Terminal;

const VIEWED: &str =
    "{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"any sentence\"}\n";
const NAMED: &str = "{\"type\":\"notice\",\"code\":\"named\",\"name\":\"ann\",\"key\":\"00112233445566778899aabbccddeeff\",\
                     \"text\":\"any sentence\"}\n";
const ENTERED: &str =
    "{\"type\":\"notice\",\"code\":\"entered\",\"room\":\"ops\",\"epoch\":3,\"members\":1,\"text\":\"x\"}\n";

fn said(seq: u64, text: &str) -> String {
    format!(
        "{{\"type\":\"message\",\"seq\":{seq},\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"main\",\"id\":3,\
         \"from\":\"bob\",\"verified\":false,\"text\":\"{text}\"}}\n"
    )
}

fn private(text: &str) -> String {
    format!(
        "{{\"type\":\"private\",\"time\":\"2026-11-28T12:00:00Z\",\"id\":3,\"from\":\"bob\",\"verified\":false,\
         \"to\":\"guest7\",\"text\":\"{text}\"}}\n"
    )
}

/// Answers as far as to the question for name and room, and returns the token after it.
#[track_caller]
fn up_to_name_and_room(guest: &mut Guest) -> (Vec<String>, String) {
    assert_eq!(guest.line(), "/view json\n");
    guest.say(VIEWED);
    assert!(guest.sync().is_empty());
    guest.asked()
}

#[test]
fn a_time_ends_a_pipe_whose_setup_is_never_answered() {
    let fake = Fake::start();
    let address = fake.address();
    let mut process = Process::start(&["--nick", "ann", "--timeout", "5s", &address]);
    process.say("one\n");
    let mut guest = fake.accept();
    assert_eq!(up_to_name_and_room(&mut guest).0, ["/nick ann\n"]);
    let left = process.wait();
    let words = "the time is up before everything was in the room; allow more with --timeout";
    let says = format!("chatc: {address}: {words}\nchatc: not said: the rest of the input\n");
    assert_eq!((left.code, left.errors), (Some(1), says), "and nothing was read of what would not be said");
    assert_eq!(guest.rest(), "");
}

#[test]
fn a_time_ends_a_listener_whose_setup_is_never_answered() {
    let fake = Fake::start();
    let address = fake.address();
    let mut counting = Process::start(&["--listen", "--count", "2", "--timeout", "5s", &address]);
    let mut guest = fake.accept();
    up_to_name_and_room(&mut guest);
    guest.say(said(1, "too early"));
    let left = counting.wait();
    assert_eq!((left.code, left.output.as_str()), (Some(1), ""));
    assert_eq!(left.errors, format!("chatc: {address}: 0 of 2 lines came in time\n"));
}

#[test]
fn a_time_ends_a_pipe_to_a_server_that_talks_but_does_not_answer() {
    let fake = Fake::start();
    let address = fake.address();
    let mut process = Process::start(&["--timeout", "5s", &address]);
    process.say("one\n");
    let mut guest = fake.accept();
    guest.say("Welcome.\n");
    let left = process.wait();
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.starts_with(&format!("chatc: {address}: the time is up before")), "{left:?}");
    assert_eq!(guest.line(), "/view json\n");
    assert_eq!(guest.rest(), "", "nothing was said");
}

#[test]
fn a_setup_that_is_never_answered_is_given_up_without_a_time_as_well() {
    let fake = Fake::start();
    let address = fake.address();
    let mut processes: Vec<_> = [
        &["--room", "ops", &address][..],
        &["--listen", "--reconnect", &address],
        &["--view", "json", &address],
    ]
    .map(Process::start)
    .into();
    let terminal = Terminal::start(&["--nick", "ann", &address]);
    let mut guests: Vec<_> = (0..4).map(|_| fake.accept()).collect();
    guests.iter_mut().for_each(|guest| drop(up_to_name_and_room(guest)));
    let says = format!("{address}: this does not answer as chatd does; check the address and the port");
    for process in &mut processes {
        let left = process.wait();
        assert_eq!((left.code, left.errors), (Some(69), format!("chatc: {says}\n")));
    }
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(69));
    assert!(rows.concat().replace(' ', "").ends_with(&says.replace(' ', "")), "{rows:#?}");
}

#[test]
fn what_is_said_during_the_setup_is_shown_after_it_in_its_order() {
    let fake = Fake::start();
    let mut listener = Process::start(&["--listen", "--view", "names", &fake.address()]);
    let mut guest = fake.accept();
    let (_, token) = up_to_name_and_room(&mut guest);
    guest.say([said(1, "one"), private("two"), said(2, "three")].concat());
    guest.synced(&token);
    guest.say(said(3, "four"));
    let heard: Vec<String> = (0..4).map(|_| listener.hear()).collect();
    assert_eq!(heard, ["<bob> one", "[bob -> you] two", "<bob> three", "<bob> four"]);
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    let (_, token) = up_to_name_and_room(&mut guest);
    guest.say([private("one"), said(1, "two")].concat());
    terminal.keys("typed");
    terminal.expect(&["> typed"]);
    guest.synced(&token);
    terminal.expect(&["[bob -> you] one", "<bob> two", "guest7@main> typed"]);
}

#[test]
fn private_lines_that_come_while_it_catches_up_are_shown_once_after_it() {
    let fake = Fake::start();
    let mut listener = Process::start(&["--listen", "--reconnect", "--view", "names", &fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    guest.say(said(1, "before"));
    assert_eq!(listener.hear(), "<bob> before");
    drop(guest);
    let mut guest = fake.accept();
    let (_, token) = up_to_name_and_room(&mut guest);
    guest.say(private("early"));
    guest.synced(&token);
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["/last since 1 1\n"]);
    guest.say("{\"type\":\"history\",\"room\":\"main\",\"epoch\":1,\"first_kept\":1,\"missing\":0,\"more\":0,\"lines\":1,\"since\":1}\n");
    guest.say([said(2, "missed"), private("between"), "{\"type\":\"history_end\"}\n".into()].concat());
    guest.synced(&token);
    guest.say(said(3, "after"));
    let heard: Vec<String> = (0..4).map(|_| listener.hear()).collect();
    assert_eq!(heard, ["<bob> missed", "[bob -> you] early", "[bob -> you] between", "<bob> after"]);
}

#[test]
fn what_another_server_says_before_it_is_taken_for_one_is_shown_then() {
    let fake = Fake::start();
    let address = fake.address();
    let mut terminal = Terminal::start(&[&address]);
    let mut first = fake.accept();
    let mut listener = Process::start(&["--listen", "--count", "3", &address]);
    let mut second = fake.accept();
    for guest in [&mut first, &mut second] {
        assert_eq!(guest.line(), "/view json\n");
        guest.say("Welcome.\n{\"type\":\"message\"}\n");
    }
    let heard: Vec<String> = (0..2).map(|_| listener.hear()).collect();
    assert_eq!(heard, ["Welcome.", "{\"type\":\"message\"}"]);
    second.say("later\n");
    let left = listener.wait();
    assert_eq!((left.code, left.output.as_str()), (Some(0), "later\n"));
    assert!(left.errors.ends_with("chatc does what nc does\n"), "{left:?}");
    terminal.expect_row("Welcome.");
    first.say("later\n");
    terminal.expect_last(&["Welcome.", "{\"type\":\"message\"}", "later", ">"]);
}

#[test]
fn a_daemon_that_answers_a_byte_at_a_time_is_understood() {
    let fake = Fake::start();
    let mut listener = Process::start(&["--listen", "--nick", "ann", "--count", "2", &fake.address()]);
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "/view json\n");
    guest.trickle(&["Hello.\n", VIEWED].concat());
    let (_, token) = guest.asked();
    guest.trickle(&Guest::answer(&token, false));
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["/nick ann\n"]);
    guest.trickle(&[NAMED, &Guest::answer(&token, false), &said(1, "w\u{f6}rds"), &private("more")].concat());
    let left = listener.wait();
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
    assert_eq!(left.output, "<bob> w\u{f6}rds\n[bob -> you] more\n");
    // And so is one that confirms so.
    let mut pipe = Process::start(&[&fake.address()]);
    pipe.say("one\ntwo\n");
    let mut guest = fake.accept();
    guest.greet();
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["one\n", "two\n"]);
    guest.trickle(&Guest::answer(&token, false));
    assert_eq!(pipe.finish().code, Some(0));
}

#[test]
fn a_key_that_is_no_longer_good_is_given_up_for_the_name_alone() {
    let fake = Fake::start();
    let mut listener = Process::start(&["--listen", "--reconnect", "--nick", "ann", &fake.address()]);
    let mut guest = fake.accept();
    let (_, token) = up_to_name_and_room(&mut guest);
    guest.say(NAMED);
    guest.synced(&token);
    guest.say(said(1, "before"));
    assert_eq!(listener.hear(), "<bob> before");
    drop(guest);
    let mut guest = fake.accept();
    let (lines, first) = up_to_name_and_room(&mut guest);
    assert_eq!(lines, ["/nick ann 00112233445566778899aabbccddeeff\n"]);
    guest.say("{\"type\":\"notice\",\"code\":\"bad_key\",\"name\":\"ann\",\"text\":\"any sentence\"}\n");
    guest.synced(&first);
    let (lines, second) = guest.asked();
    assert_eq!(lines, ["/nick ann\n"]);
    guest.say(NAMED);
    guest.synced(&second);
    assert_eq!(guest.sync(), ["/last since 1 1\n"]);
    guest.say(said(2, "after"));
    assert_eq!(listener.hear(), "<bob> after");
}

/// What a server does at the beginning, one step after the other.
#[track_caller]
fn step(guest: &mut Guest, number: usize, token: &mut String) {
    match number {
        0 => assert_eq!(guest.line(), "/view json\n"),
        1 => guest.say("{\"type\":\"not"),
        2 => guest.say(&VIEWED["{\"type\":\"not".len()..]),
        3 => *token = guest.asked().1,
        4 => guest.synced(token),
        5 => *token = guest.asked().1,
        6 => guest.say(NAMED),
        7 => guest.say(ENTERED),
        _ => guest.synced(token),
    }
}

#[test]
fn a_daemon_that_goes_away_at_any_step_is_told_by_the_code() {
    for steps in 0..8 {
        let fake = Fake::start();
        let (address, wishes) = (fake.address(), ["--nick", "ann", "--room", "ops"]);
        let mut pipe = Process::start(&[&wishes[..], &[&address]].concat());
        pipe.say("one\n");
        let mut listener = Process::start(&[&wishes[..], &["--listen", &address]].concat());
        let terminal = Terminal::start(&[&wishes[..], &["--reconnect=false", &address]].concat());
        for _ in 0..3 {
            let (mut guest, mut token) = (fake.accept(), String::new());
            (0..steps).for_each(|number| step(&mut guest, number, &mut token));
        }
        // Before a token has come back it is no chatd.
        let code = Some(if steps < 5 { 69 } else { 1 });
        let left = pipe.wait();
        assert_eq!((left.code, left.output.as_str()), (code, ""), "after {steps} steps: {left:?}");
        let is_told = steps < 5 || left.errors.ends_with("chatc: not said: the rest of the input\n");
        assert!(is_told, "after {steps} steps: {left:?}");
        assert_eq!(listener.wait().code, code, "after {steps} steps");
        assert_eq!(terminal.finish().0, code, "after {steps} steps");
    }
}

#[test]
fn a_daemon_that_goes_away_at_any_step_of_a_reconnect_is_tried_again_until_it_stays() {
    let fake = Fake::start();
    let wishes = ["--nick", "ann", "--room", "ops", "--listen", "--reconnect"];
    let mut listener = Process::start(&[&wishes[..], &[&fake.address()]].concat());
    for steps in [9, 1, 3, 6, 8, 9] {
        let (mut guest, mut token) = (fake.accept(), String::new());
        (0..steps).for_each(|number| step(&mut guest, number, &mut token));
        if steps == 9 {
            guest.say(said(1, "hello"));
            assert_eq!(listener.hear(), "<bob> hello");
        }
    }
    // Once for each that was ready.
    for _ in 0..2 {
        let lost = listener.hear_error();
        assert!(lost.ends_with("the daemon has closed the connection; connecting again"), "{lost}");
    }
    listener.signal("TERM");
    assert_eq!(listener.wait().errors.matches("connecting again").count(), 0);
}
