//! What is piped in is said, and the exit code tells whether it is in the room.

use std::time::Instant;

use crate::process::{Process, command, pipe};
use crate::server::Fake;
use crate::support::{Caller, Daemon, Folder, PATIENCE, TestServer, text};
use crate::terminal::Terminal;

fn address(server: &TestServer) -> String {
    server.address.to_string()
}

#[test]
fn echo_is_delivered_and_ends_with_0_and_prints_nothing() {
    let server = TestServer::start();
    let mut witness = server.join();
    let left = pipe("deploy done\n", &[&address(&server)]);
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
    witness.expect("deploy done\n");
    // Without the end of its line, too; and nothing at all is nothing.
    assert_eq!(pipe("unfinished", &[&address(&server)]).code, Some(0));
    assert_eq!(pipe("", &[&address(&server)]).code, Some(0));
    witness.expect("unfinished\n");
}

#[test]
fn with_plain_nothing_but_what_is_piped_in_is_sent() {
    let fake = Fake::start();
    let mut process = Process::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    process.say("/view json\r\n\n\x1b[31m\tlast");
    let left = std::thread::spawn(move || process.finish());
    assert_eq!(guest.rest(), "/view json\r\n\n\x1b[31m\tlast");
    drop(guest);
    assert_eq!(left.join().unwrap().code, Some(0));
}

#[test]
fn lines_go_out_as_soon_as_they_are_there() {
    let server = TestServer::start();
    let mut witness = server.join();
    let mut process = Process::start(&[&address(&server)]);
    process.say("one\n");
    witness.expect("one\n");
    process.say("two\n");
    witness.expect("two\n");
    assert_eq!(process.finish().code, Some(0));
}

#[test]
fn a_large_file_arrives_whole_while_others_speak() {
    let server = TestServer::start();
    for options in [&[][..], &["--plain"]] {
        let mut witness = server.join();
        let text: String = (0..50_000).map(|number| format!("line {number} of the file\n")).collect();
        let mut process = Process::start(&[options, &[&address(&server)]].concat());
        let writing = std::thread::spawn({
            let text = text.clone();
            move || {
                process.say(&text);
                process.finish()
            }
        });
        witness.say("meanwhile\n".repeat(1000));
        assert!(witness.take(text.len()) == text.as_bytes());
        assert_eq!(writing.join().unwrap().code, Some(0));
    }
}

#[test]
fn it_works_over_a_unix_socket_with_a_room_and_a_name() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let daemon = Daemon::start(&["--listen", text(&path)]);
    let mut witness = Caller::connect_unix(&path);
    witness.expect("Hello, connection to the server ok!\n");
    witness.say("/join ops\n");
    witness.expect("-!- you are in ops now (1 here)\n");
    assert_eq!(pipe("over unix\n", &["--room", "ops", text(&path)]).code, Some(0));
    witness.expect("over unix\n");
    let tcp = daemon.address.to_string();
    // The next one that answers is taken.
    let either = format!("/nonexistent.sock,{tcp}");
    assert_eq!(pipe("by name\n", &["--room", "ops", "--nick", "bob", &either]).code, Some(0));
    witness.expect("by name\n");
    // The kernel says who you are there.
    let left = pipe("as somebody else\n", &["--nick", "bob", text(&path)]);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.contains("the name is verified"), "{left:?}");
}

#[test]
fn your_own_name_as_the_kernel_says_it_is_granted() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let daemon = Daemon::start(&["--listen", text(&path)]);
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    let mut witness = daemon.join();
    witness.say("/nick ann\n");
    witness.expect("-!- you are ann now; /help says what else there is\n");
    let left = pipe("it is me\n", &["--nick", &me, text(&path)]);
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
    witness.until(&format!("<+{me}> it is me\n"));
    let mut terminal = Terminal::start(&["--nick", &me, text(&path)]);
    terminal.expect_row(&format!("+{me}@main>"));
    // Another name is refused, and yours stays.
    let mut terminal = Terminal::start(&["--nick", "eve", text(&path)]);
    terminal.expect_row(&format!("+{me}@main>"));
    terminal
        .until("a refusal", |terminal| terminal.rows().concat().contains(&format!("-!- you are +{me}: ")));
}

#[test]
fn a_name_that_is_taken_ends_with_1_and_says_nothing() {
    let server = TestServer::start();
    let mut alice = server.join();
    alice.say("/nick alice\n");
    alice.expect("-!- you are alice now; /help says what else there is\n");
    let left = pipe("it is me\n", &["--nick", "alice", &address(&server)]);
    assert_eq!((left.code, left.output.as_str()), (Some(1), ""));
    let words = "alice is taken, or looks like a name that is; alice2 is free";
    assert_eq!(
        left.errors,
        format!("chatc: {}: {words}\nchatc: not said: the rest of the input\n", server.address)
    );
    let mut witness = server.join();
    witness.say("done\n");
    assert!(!alice.until("<guest3> done\n").contains("it is me"));
}

#[test]
fn each_line_that_is_refused_is_named() {
    let server = TestServer::start();
    let address = address(&server);
    let mut witness = server.join();
    let long = "x".repeat(20_000);
    let left = pipe(&format!("one\n{long}\n/mgs bob secret\ntwo\n"), &["--nick", "ann", &address]);
    assert_eq!(left.code, Some(1), "{left:?}");
    let lines: Vec<_> = left.errors.lines().collect();
    assert_eq!(lines.len(), 3, "{left:?}");
    assert_eq!(lines[0], format!("chatc: {address}: the daemon has refused a part of it"));
    assert!(lines[1].starts_with("chatc: refused: xxx") && lines[1].contains("nobody got it"), "{left:?}");
    assert!(lines[2].starts_with("chatc: refused: /mgs bob secret (no such command"), "{left:?}");
    witness.expect("one\ntwo\n");
}

#[test]
fn only_the_lines_that_are_too_long_or_cut_are_named() {
    let server = TestServer::start();
    let (long, cut) = ("x".repeat(20_000), [0xe9; 10_000]);
    let mut process = Process::start(&[&address(&server)]);
    let whole = "y".repeat(16_000);
    let lines: [&[u8]; 6] = [b"one", &cut, whole.as_bytes(), long.as_bytes(), b"two", long.as_bytes()];
    process.say(lines.join(&b'\n'));
    let left = process.finish();
    let mut named: Vec<_> = left.errors.lines().skip(1).map(|line| &line[..24]).collect();
    // Of one read, the notices come by their kind.
    named.sort_unstable();
    let said = ["chatc: refused: \\xe9\\xe9", "chatc: refused: xxxxxxxx", "chatc: refused: xxxxxxxx"];
    assert_eq!((left.code, named), (Some(1), said.to_vec()));
}

#[test]
fn a_line_that_no_daemon_takes_fills_no_memory() {
    let server = TestServer::start();
    let mut process = Process::start(&[&address(&server)]);
    (0..10).for_each(|_| process.say("x".repeat(1 << 20)));
    process.say("\nnext\n");
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.ends_with("x (longer than 1048576 bytes)\n") && left.errors.len() < 400, "{left:?}");
}

#[test]
fn nobody_can_make_a_line_look_refused_or_said() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.say("-!- line too long (over 16384 bytes), nobody got it\n-!- server full\n");
    guest.say("{\"type\":\"synced\",\"token\":\"00\",\"id\":1,\"name\":\"eve\",\"verified\":true,\"room\":\"main\",\"epoch\":1,\"seq\":1}\n");
    guest.greet();
    process.say("short\n");
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["short\n"]);
    let left = std::thread::spawn(move || process.finish());
    guest.synced("00");
    guest.synced(&token[..token.len() - 1]);
    assert!(!left.is_finished(), "that was not the token");
    guest.synced(&token);
    assert_eq!(left.join().unwrap().code, Some(0));
}

#[test]
fn a_full_daemon_says_nothing_and_ends_with_69() {
    let server = TestServer::with(|config| config.max_clients = 1);
    let _first = server.join();
    let left = pipe("hello\n", &[&address(&server)]);
    assert_eq!(left.code, Some(69), "{left:?}");
    assert!(left.errors.ends_with("; it says: -!- server full\n"), "{left:?}");
}

#[test]
fn an_end_before_all_of_it_was_confirmed_ends_with_1_and_names_the_rest() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    process.say("one\n");
    assert_eq!(guest.sync(), ["one\n"]);
    process.say("two\n");
    assert_eq!(guest.asked().0, ["two\n"]);
    drop(guest);
    let left = process.wait();
    assert_eq!(left.code, Some(1));
    let ends = "chatc: in doubt: two\nchatc: not said: the rest of the input\n";
    assert!(left.errors.ends_with(ends) && !left.errors.contains("one"), "{left:?}");
}

#[test]
fn what_was_under_way_in_a_crash_is_in_doubt_and_the_rest_is_said() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    process.say("one\n");
    assert_eq!(guest.sync(), ["one\n"]);
    process.say("two\n");
    let (_, token) = guest.asked();
    guest.say("{\"type\":\"notice\",\"code\":\"crashed\",\"text\":\"any sentence\"}\n");
    // The next process takes what the one before has left.
    guest.synced(&token);
    assert_eq!(guest.sync(), [""; 0]);
    assert_eq!(guest.sync(), ["/last since 0 1\n"], "two may be there after all");
    process.say("three\n");
    assert_eq!(guest.sync(), ["three\n"]);
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.ends_with(": any sentence\nchatc: in doubt: two\n"), "{left:?}");
}

#[test]
fn a_line_that_the_room_has_taken_in_spite_of_a_crash_is_not_in_doubt() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    process.say("one\ntwo\n");
    guest.asked();
    guest.say("{\"type\":\"notice\",\"code\":\"crashed\",\"text\":\"any sentence\"}\n");
    guest.sync();
    let (_, token) = guest.asked();
    let start = "{\"type\":\"history\",\"room\":\"main\",\"epoch\":1,\"first_kept\":1,\"missing\":0,\"more\":0,\
                 \"lines\":1,\"since\":0}\n";
    let line = "{\"type\":\"message\",\"seq\":1,\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"main\",\"id\":7,\
                \"from\":\"guest7\",\"verified\":false,\"text\":\"two\"}\n";
    guest.say([start, line, "{\"type\":\"history_end\"}\n"].concat());
    guest.synced(&token);
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.ends_with(": any sentence\nchatc: in doubt: one\n"), "{left:?}");
}

#[test]
fn a_crash_that_hits_nothing_changes_nothing() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    process.say("one\n");
    assert_eq!(guest.sync(), ["one\n"]);
    guest.say("{\"type\":\"notice\",\"code\":\"crashed\",\"text\":\"any sentence\"}\n");
    assert_eq!(guest.sync(), [""; 0]);
    assert_eq!(guest.sync(), ["/last since 0 1\n"]);
    process.say("two\n");
    assert_eq!(guest.sync(), ["two\n"]);
    assert_eq!(process.finish().code, Some(0));
}

#[test]
fn quit_is_the_end() {
    let server = TestServer::start();
    let mut witness = server.join();
    // Its input is still open.
    let mut process = Process::start(&[&address(&server)]);
    process.say("hi\n/quit\n");
    let left = process.wait();
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
    witness.expect("hi\n");
    let left = pipe("hi\n/quit\nlate\n", &[&address(&server)]);
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
    witness.expect("hi\n");
    witness.say("/last 1\n");
    witness.expect("-!- the last line:\n<guest3> hi\n".replace("<guest3> ", ""));
}

#[test]
fn what_is_refused_ends_with_1_wherever_it_stands() {
    let server = TestServer::start();
    let before: String = (0..300).map(|number| format!("line {number}\n")).collect();
    let long = "y".repeat(20_000);
    for (said, options, refused) in [
        (format!("{before}{long}\nend\n"), &[][..], long.as_str()),
        (format!("/who\n{long}\nend\n"), &[], &long),
        ("one\n /quit\ntwo\n".to_owned(), &["--nick", "ann"], " /quit"),
    ] {
        let left = pipe(&said, &[options, &[&address(&server)]].concat());
        let named = left.errors.lines().any(|line| line.starts_with(&format!("chatc: refused: {refused}")));
        assert!(left.code == Some(1) && named, "{:?} {:.400}", left.code, left.errors);
    }
}

#[test]
fn bytes_that_telnet_would_take_out_arrive() {
    let server = TestServer::start();
    let mut witness = server.join();
    let mut process = Process::start(&[&address(&server)]);
    process.say(b"a\xff\xfebcd\n");
    assert_eq!(process.finish().code, Some(0));
    witness.expect("a\\xff\\xfebcd\n");
}

#[test]
fn a_daemon_that_does_not_confirm_it_in_time_ends_with_1() {
    let fake = Fake::start();
    let mut process = Process::start(&["--timeout", "3s", &fake.address()]);
    process.say("one\n");
    let mut guest = fake.accept();
    guest.greet();
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(
        left.errors.contains("time is up") && left.errors.ends_with("chatc: in doubt: one\n"),
        "{left:?}"
    );
}

#[test]
fn another_server_is_used_as_nc_would_and_nobody_knows_whether_it_has_taken_it() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "/view json\n");
    guest.say("Welcome.\n");
    process.say("one\n");
    assert_eq!(guest.line(), "one\n");
    let left = std::thread::spawn(move || process.finish());
    assert_eq!(guest.rest(), "");
    drop(guest);
    let left = left.join().unwrap();
    assert_eq!(left.code, Some(1), "{left:?}");
    let lines: Vec<_> = left.errors.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("chatc does what nc does"), "{left:?}");
    assert!(lines[1].contains("nobody can tell whether it was taken"), "{left:?}");
}

#[test]
fn a_pure_relay_gives_nobody_a_name_and_nothing_is_said() {
    let server = TestServer::with(|config| config.commands = false);
    for options in [&["--nick", "ann"][..], &["--listen", "--nick", "ann"]] {
        let mut command = command(&[options, &[&address(&server)]].concat());
        command.env("LC_ALL", "C");
        let left = Process::run(command).finish();
        assert_eq!(left.code, Some(69), "{left:?}");
        assert!(left.errors.contains(": this does not answer as chatd does; it says: Hello, "), "{left:?}");
    }
}

#[test]
fn who_takes_everything_slowly_is_waited_for() {
    let fake = Fake::narrow();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    let large = "a line of a large file\n".repeat(50_000);
    let writing = std::thread::spawn(move || {
        process.say(&large);
        process.finish()
    });
    let (mut lines, deadline) = (0, Instant::now() + PATIENCE);
    while lines < 50_000 {
        assert!(Instant::now() < deadline, "{lines} lines so far");
        lines += guest.sync().len();
    }
    assert_eq!(writing.join().unwrap().code, Some(0));
}
