//! What is piped in is said, and the exit code says whether the daemon has taken it.

use std::time::Instant;

use chatd::protocol::{Answer, Form, Name, Notice, View};

use crate::process::{Left, Process, command, pipe};
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
    witness.say("x\n");
    witness.expect("unfinished\n");
}

#[test]
fn nothing_but_what_is_piped_in_is_sent() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
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
    let mut witness = server.join();
    let text: String = (0..100_000).map(|number| format!("line {number} of the file\n")).collect();
    let mut process = Process::start(&[&address(&server)]);
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
    assert_eq!(pipe("by name\n", &["--room", "ops", "--nick", "bob", &tcp]).code, Some(0));
    witness.expect("by name\n");
    // The kernel says who one is there.
    let left = pipe("as somebody else\n", &["--nick", "bob", text(&path)]);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.contains("this machine says so"), "{left:?}");
}

#[test]
fn ones_own_name_as_the_kernel_says_it_is_granted() {
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
    witness.until(&format!("-!- +{me} left"));
    let mut listener = Process::start(&["--listen", "--nick", &me, "--count", "1", text(&path)]);
    witness.until(&format!("-!- +{me} joined"));
    // It may have joined before all that it asks for is granted, and hears nothing until then.
    let (deadline, mut heard) = (Instant::now() + PATIENCE, None);
    while heard.is_none() {
        assert!(Instant::now() < deadline, "it hears nothing: {:?}", listener.wait());
        witness.say("hello\n");
        heard = listener.line_soon();
    }
    assert_eq!((heard.as_deref(), listener.wait().code), (Some("<ann> hello"), Some(0)));
    witness.until(&format!("-!- +{me} left"));
    let mut terminal = Terminal::start(&["--nick", &me, text(&path)]);
    terminal.until("what the kernel says, and a prompt", |terminal| {
        let rows = terminal.rows();
        rows.concat().contains(&format!("-!- you are +{me}: ")) && rows.last().is_some_and(|row| row == ">")
    });
    // Whoever is called something else is told so, and not asked for a name that cannot be had.
    let mut terminal = Terminal::start(&["--nick", "eve", text(&path)]);
    terminal.until("what the kernel says, and a prompt", |terminal| {
        let rows = terminal.rows();
        rows.concat().contains(&format!("chatc: you are +{me}: "))
            && rows.last().is_some_and(|row| row == ">")
    });
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
    assert_eq!(left.errors, format!("chatc: {}: {words}\n", server.address));
    alice.say("/me waits\n");
    let mut witness = server.join();
    witness.say("done\n");
    assert!(!alice.until("<guest3> done\n").contains("it is me"));
}

#[test]
fn what_the_daemon_refuses_ends_with_1() {
    let server = TestServer::start();
    let long = "x".repeat(20_000) + "\n";
    let left = pipe(&long, &[&address(&server)]);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.contains("nobody got it"), "{left:?}");
    let left = pipe("/mgs bob secret\n", &["--nick", "ann", &address(&server)]);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.contains("did you mean /msg"), "{left:?}");
}

#[test]
fn nobody_can_make_a_line_look_too_long_that_was_not() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.say("-!- line too long (over 16384 bytes), nobody got it\n");
    process.say("short\n");
    let left = std::thread::spawn(move || process.finish());
    guest.rest();
    drop(guest);
    assert_eq!(left.join().unwrap().code, Some(0));
}

#[test]
fn a_full_daemon_ends_with_1() {
    let server = TestServer::with(|config| config.max_clients = 1);
    let _first = server.join();
    let left = pipe("hello\n", &[&address(&server)]);
    assert_eq!(left.code, Some(1), "{left:?}");
}

#[test]
fn an_end_before_all_of_it_was_taken_ends_with_1() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    process.say("one\n");
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "one\n");
    drop(guest);
    let left = process.wait();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.contains("before it had taken all of it"), "{left:?}");
}

#[test]
fn quit_as_the_last_line_ends_with_0() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    process.say("hi\n/quit\n");
    let mut guest = fake.accept();
    assert_eq!((guest.line(), guest.line()), ("hi\n".into(), "/quit\n".into()));
    // Its input is still open: the daemon is the one who ends it.
    drop(guest);
    let left = process.wait();
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
}

#[test]
fn what_comes_after_quit_is_lost_and_ends_with_1() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    process.say("hi\n/quit\nlate\n");
    let mut guest = fake.accept();
    let left = std::thread::spawn(move || process.finish());
    assert_eq!(guest.rest(), "hi\n/quit\nlate\n");
    drop(guest);
    let left = left.join().unwrap();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.ends_with(": nobody got what comes after /quit\n"), "{left:?}");
}

#[test]
fn a_guest_who_says_that_the_server_is_full_changes_nothing() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.say("Hello, connection to the server ok!\n-!- server full\n");
    process.say("done\n");
    let left = std::thread::spawn(move || process.finish());
    assert_eq!(guest.rest(), "done\n");
    drop(guest);
    assert_eq!(left.join().unwrap().code, Some(0));
}

/// Says something to a daemon that has crashed meanwhile, which says so in that form, and goes on.
fn through_a_crash(options: &[&str], notice: Notice, form: Form) -> Left {
    let fake = Fake::start();
    let mut process = Process::start(&[options, &[&fake.address()]].concat());
    let mut guest = fake.accept();
    if !options.is_empty() {
        let mut granted = Vec::new();
        Form::JSON.notice(Answer::Viewed(View::Json), &mut granted);
        Form::JSON.notice(Answer::Named(Name::parse("bot").unwrap()), &mut granted);
        guest.say(granted);
    }
    process.say("one\n");
    while guest.line() != "one\n" {}
    let mut told = b"Hello again\n".to_vec();
    notice.encode(form, &mut told);
    guest.say(told);
    process.say("two\n");
    let left = std::thread::spawn(move || process.finish());
    assert_eq!(guest.rest(), "two\n");
    drop(guest);
    left.join().unwrap()
}

#[test]
fn a_crash_that_may_have_lost_lines_ends_with_1() {
    for options in [&["--nick", "bot"][..], &["--nick", "bot", "--view", "plain"]] {
        for (notice, form) in [(Notice::Crashed, Form::JSON), (Notice::Unknown, Form::PLAIN)] {
            let left = through_a_crash(options, notice, form);
            assert_eq!(left.code, Some(1), "{left:?}");
            assert!(left.errors.ends_with(&format!(": {notice}\n")), "{left:?}");
        }
    }
}

#[test]
fn a_guest_who_says_that_the_daemon_has_crashed_changes_nothing() {
    assert_eq!(through_a_crash(&[], Notice::Crashed, Form::PLAIN).code, Some(0));
}

#[test]
fn a_connection_that_breaks_ends_with_1() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    process.say("one\n");
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "one\n");
    guest.reset();
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.contains("the connection was lost"), "{left:?}");
}

#[test]
fn a_daemon_that_does_not_take_it_in_time_ends_with_1() {
    let fake = Fake::start();
    let mut process = Process::start(&["--timeout", "3s", &fake.address()]);
    process.say("one\n");
    let _guest = fake.accept();
    let left = process.finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.contains("in time"), "{left:?}");
}

#[test]
fn who_says_nothing_at_all_and_takes_nothing_is_no_daemon_after_a_while() {
    // Nobody accepts what connects there: a daemon that hangs.
    let (hanging, greeting, waiting) = (Fake::narrow(), Fake::start(), Fake::start());
    let address = hanging.address();
    let large = "a line of a large file\n".repeat(500_000);
    let slow = Fake::start();
    let mut patient = Process::start(&["--timeout", "1h", &slow.address()]);
    patient.say("one\n");
    let patient = std::thread::spawn(move || patient.finish());
    let mut given_up: Vec<_> = [("one\n", None), (&large, None), ("one\n", Some("--view=plain"))]
        .into_iter()
        .map(|(text, option)| {
            let mut options: Vec<_> = option.into_iter().collect();
            options.push(&address);
            let mut process = Process::start(&options);
            let text = text.to_owned();
            std::thread::spawn(move || {
                // Not all of it is taken.
                let _ = process.try_say(&text);
                process.finish()
            })
        })
        .collect();
    let mut greeted = Process::start(&[&greeting.address()]);
    let mut guest = greeting.accept();
    guest.say("Hello.\n");
    greeted.say("one\n");
    let greeted = std::thread::spawn(move || greeted.finish());
    let mut idle = Process::start(&[&waiting.address()]);
    let sent = ", and what was sent may still be said; is it chatd, and does it hang?";
    let asked = "; is it chatd, does it hang, or has it no commands, which --nick, --room and --view need?";
    for (left, words) in given_up.drain(..).map(|thread| thread.join().unwrap()).zip([sent, sent, asked]) {
        assert_eq!((left.code, left.output.as_str()), (Some(69), ""), "{left:?}");
        let says = format!("chatc: {address}: no answer within 10s, not even a greeting{words}\n");
        assert_eq!(left.errors, says);
    }
    // Whoever says how long it may take waits so long.
    assert!(!patient.is_finished());
    assert_eq!(slow.accept().rest(), "one\n");
    assert_eq!(patient.join().unwrap().code, Some(0));
    // Whoever has greeted may take its time, and nobody has to say anything where there is nothing to take.
    assert!(!greeted.is_finished());
    assert_eq!(guest.rest(), "one\n");
    drop(guest);
    assert_eq!(greeted.join().unwrap().code, Some(0));
    idle.say("two\n");
    let mut guest = waiting.accept();
    assert_eq!(guest.line(), "two\n");
    let idle = std::thread::spawn(move || idle.finish());
    assert_eq!(guest.rest(), "");
    drop(guest);
    assert_eq!(idle.join().unwrap().code, Some(0));
}

#[test]
fn a_pure_relay_answers_no_command_and_ends_with_1() {
    let server = TestServer::with(|config| config.commands = false);
    let mut command = command(&["--nick", "ann", "--timeout", "3", &address(&server)]);
    command.env("LC_ALL", "C");
    let left = Process::run(command).finish();
    assert_eq!(left.code, Some(1));
    assert!(left.errors.contains(": no answer to /nick; "), "{left:?}");
}
