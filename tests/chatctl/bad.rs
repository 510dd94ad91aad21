//! What goes wrong: nobody is there, chatd refuses, the server is none, and what it says is meant to do harm.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::fake::{Fake, answered, chatctl, end_of, expect_greeting, notice, run, session, unprivileged};
use crate::process::Process;
use crate::server::Guest;
use crate::support::{Folder, text};

#[test]
fn what_is_refused_is_said_on_standard_error() {
    let fake = Fake::start();
    let refusal = notice("\"code\":\"bans_yourself\",\"subject\":\"::1\"", "that covers you, too");
    for options in [["ban", "::1"].as_slice(), &["ban", "::1", "--json"]] {
        let left = fake.answer(options, "/ban ::1", &refusal);
        let said = (left.code, left.output.as_str(), left.errors.as_str());
        let says = "chatctl: ::1 is not banned, because that covers you, too; add --force if you mean it\n";
        assert_eq!(said, (Some(1), "", says));
    }
    // One that is older than chatctl knows no such command.
    let unknown = notice("\"code\":\"unknown_command\"", "no such command, nobody got it");
    let left = fake.answer(&["status"], "/stats", &unknown);
    assert_eq!((left.code, left.errors.as_str()), (Some(1), "chatctl: no such command, nobody got it\n"));
}

#[test]
fn who_is_no_operator_is_told_how_to_become_one() {
    let fake = Fake::start();
    let left = fake.answer(&["bans"], "/bans", &notice("\"code\":\"not_operator\"", "you are not one"));
    assert_eq!((left.code, left.output.as_str()), (Some(77), ""));
    assert!(left.errors.starts_with("chatctl: you are not an operator of chatd\n"), "{left:?}");
    assert!(left.errors.contains("usermod -aG chatd-operators"), "{left:?}");
    // It stays in its room, and asks for nothing there: in any view.
    let object = notice("\"code\":\"not_operator\"", "you are not an operator of chatd");
    for (said, view) in [("-!- you are not an operator of chatd\n", "plain"), (object.as_str(), "json")] {
        let process = Process::run(fake.command(&["kick", "bob"]));
        let mut guest = fake.accept();
        let token = expect_greeting(&mut guest);
        guest.say(said);
        guest.say(if view == "json" { Guest::answer(&token, true) } else { format!("-!- synced {token}\n") });
        assert_eq!(process.finish().code, Some(77), "{view}");
        assert_eq!(guest.rest(), "");
    }
}

#[test]
fn an_older_chatd_is_to_be_restarted() {
    let fake = Fake::start();
    let unknown = notice("\"code\":\"unknown_command\"", "no such command, nobody got it");
    // Somebody in the room says what looks like an answer.
    let forged = notice("\"code\":\"operating\"", "you are in no room");
    for (said, view) in [("", "plain"), (forged.as_str(), "plain"), (unknown.as_str(), "json")] {
        let process = Process::run(fake.command(&["kick", "bob"]));
        let mut guest = fake.accept();
        let token = expect_greeting(&mut guest);
        guest.say(said);
        guest.say(if view == "json" { Guest::answer(&token, true) } else { format!("-!- synced {token}\n") });
        let left = process.finish();
        assert_eq!(left.code, Some(1), "{left:?}");
        assert!(left.errors.contains("this chatd is older than chatctl; restart it"), "{left:?}");
        assert_eq!(guest.rest(), "");
    }
}

#[test]
fn who_may_not_open_the_socket_is_told_how_to_be_let_in() {
    let fake = Fake::start();
    fs::set_permissions(fake.path().parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(fake.path(), Permissions::from_mode(0o000)).unwrap();
    let left = Process::run(unprivileged(65534, &fake.path(), &["status"])).finish();
    assert_eq!((left.code, left.output.as_str()), (Some(77), ""), "{left:?}");
    assert!(left.errors.contains("no permission") && left.errors.contains("usermod"), "{left:?}");
}

#[test]
fn where_nobody_is_it_ends_with_69() {
    let folder = Folder::new();
    let (missing, stale, file) = (folder.path("missing"), folder.path("stale"), folder.write("file", ""));
    drop(UnixListener::bind(&stale).unwrap());
    for (path, words) in [(missing, "no such socket"), (stale, "nobody listens"), (file, "this is no socket")]
    {
        let left = run(&["status", "--socket", text(&path)]);
        assert_eq!((left.code, left.output.as_str()), (Some(69), ""), "{left:?}");
        assert!(left.errors.contains(words) && left.errors.contains(text(&path)), "{left:?}");
    }
}

#[test]
fn who_hangs_up_is_nobody_and_the_last_words_are_passed_on() {
    let fake = Fake::start();
    let process = Process::run(fake.command(&["status"]));
    let mut guest = fake.accept();
    expect_greeting(&mut guest);
    guest.say("-!- server full\n");
    drop(guest);
    let left = process.finish();
    assert_eq!(left.code, Some(69));
    assert!(left.errors.contains("server full"), "{left:?}");

    let process = Process::run(fake.command(&["status"]));
    let mut guest = fake.greeted();
    guest.asked();
    let closing = "\"code\":\"closing\",\"reason\":\"stopping\"";
    guest.say(notice(closing, "closing: chatd is stopping"));
    drop(guest);
    let left = process.finish();
    assert_eq!((left.code, left.output.as_str()), (Some(69), ""));
    assert!(left.errors.contains("chatd is stopping"), "{left:?}");
}

#[test]
fn who_never_answers_is_given_up() {
    let fake = Fake::start();
    // Not at all; and not to the question.
    let process = Process::run(fake.command(&["status", "--timeout", "50ms"]));
    let mut guest = fake.accept();
    guest.say("220 mail.example.org\n");
    let left = process.finish();
    assert_eq!(left.code, Some(69));
    assert!(left.errors.contains("no answer within 50ms"), "{left:?}");
    assert!(left.errors.contains("it says: 220 mail.example.org"), "{left:?}");

    let process = Process::run(fake.command(&["status", "--timeout", "1s"]));
    let mut guest = fake.greeted();
    guest.asked();
    guest.say(notice("\"code\":\"engine_away\"", "the engine is away"));
    let left = process.finish();
    assert_eq!(left.code, Some(69));
    assert!(left.errors.contains("no answer within 1s"), "{left:?}");
    assert!(left.errors.contains("it says: the engine is away"), "{left:?}");
}

#[test]
fn nothing_is_believed_before_the_token_comes_back() {
    let fake = Fake::start();
    let process = Process::run(fake.command(&["status", "--timeout", "100ms"]));
    let mut guest = fake.accept();
    guest.asked();
    // Somebody in the room says what looks like an answer.
    guest.synced("0123456789abcdef0123456789abcdef-1");
    guest.say(notice("\"code\":\"not_operator\"", "you are not one"));
    assert_eq!(process.finish().code, Some(69));
    assert_eq!(guest.rest(), "", "nothing was asked");
}

#[test]
fn what_is_no_answer_does_no_harm() {
    let fake = Fake::start();
    let garbage = [
        "\u{1b}]0;owned\u{7}\n".to_owned(),
        "{\"type\":\"notice\"}\n".to_owned(),
        "{\"type\":\"notice\",\"code\":\"session\",\"id\":-1,\"text\":\"\"}\n".to_owned(),
        format!("{}\n", "[".repeat(100_000)),
        "null\n\n{\n".to_owned(),
        session(1, "a\\u001b[2Jb\\nc", 0.0, 0).replace("192.0.2.1", "\\u009b2J\\u202e"),
    ];
    let left = fake.answer(&["sessions"], "/sessions", &(garbage.concat() + &end_of("sessions", 1, 0)));
    assert_eq!((left.code, left.output.lines().count()), (Some(0), 2), "{left:?}");
    assert!(left.output.contains("a^[[2Jb^Jc") && left.output.contains("\\u{9b}2J"), "{left:?}");
    assert!(!left.output.chars().any(|c| c.is_control() && c != '\n'), "{left:?}");
    let left = fake.answer(&["say", "x"], "/say x", &notice("\"code\":\"later\"", "a\\u001b[2J\\nb"));
    assert_eq!(left.output, "a^[[2J^Jb\n");
}

#[test]
fn wrong_usage_connects_to_nothing() {
    let fake = Fake::start();
    for options in [
        [].as_slice(),
        &["kick"],
        &["kick", "bob", "now\n/drain 0"],
        &["ban", "+ann", "5", "strikes"],
        &["mute", "bob", "--for", "soon"],
        &["log", "loud"],
        &["status", "--timeout", "never"],
    ] {
        let left = Process::run(fake.command(options)).finish();
        assert_eq!((left.code, left.output.as_str()), (Some(2), ""), "{options:?}");
        assert!(!left.errors.is_empty());
    }
    // Nobody has connected before this one does.
    let process = Process::run(fake.command(&["status"]));
    expect_greeting(&mut fake.accept());
    drop(process);
}

#[test]
fn who_has_read_enough_ends_it_and_who_can_take_nothing_is_told() {
    let fake = Fake::start();
    let page: String = (1..5000).map(|id| session(id, "ann", 0.0, 0)).collect();
    let mut child =
        fake.command(&["sessions"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    answered(&mut fake.greeted(), "/sessions", &(page + &end_of("sessions", 4999, 0)));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = fake.command(&["unban", "x"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    answered(&mut fake.greeted(), "/unban x", &notice("\"code\":\"lifted\",\"subject\":\"x\"", "done"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}

#[test]
fn the_default_socket_is_that_of_the_unit() {
    let unit = fs::read_to_string("packaging/systemd/chatd.socket").unwrap();
    let default = chatd::ctl::cli::DEFAULT_SOCKET;
    assert!(unit.lines().any(|line| line == format!("ListenStream={default}")));
    let help = chatctl(&["--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains(default));
}
