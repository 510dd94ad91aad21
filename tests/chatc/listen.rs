//! What arrives is printed, and the exit code says why it stopped.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::process::{Process, command, pipe};
use crate::proxy::Proxy;
use crate::server::{Fake, Guest};
use crate::support::{Caller, Daemon, Folder, TestServer, text, wait_until};

/// One that listens, and is known to hear.
fn listener(server: &TestServer, options: &[&str]) -> Process {
    let address = server.address.to_string();
    let mut process = Process::start(&[&["--listen"], options, &[&address]].concat());
    // Whoever hears this has been there before it was said; who has not is told again.
    let mut witness = server.join();
    while !is_heard(&mut process, &mut witness) {}
    process
}

fn is_heard(process: &mut Process, witness: &mut crate::support::Caller) -> bool {
    witness.say("are you there?\n");
    process.hears_soon()
}

/// Waits until somebody in `names` sees that chatc is there under its name. It comes as a guest, and asks for the name
/// after that: if this takes long, the guest is announced first.
pub fn until_there(witness: &mut crate::support::Caller, name: &str) {
    loop {
        let line = witness.until("\n");
        if line.contains(&format!("{name} joined (")) || line.ends_with(&format!(" is now {name}\n")) {
            return;
        }
    }
}

#[test]
fn lines_are_printed_as_they_come_and_the_greeting_is_not() {
    let server = TestServer::start();
    let mut process = listener(&server, &[]);
    let mut other = server.join();
    other.say("one\n\x1b[31mtwo\n\n");
    assert_eq!(process.next(), "one");
    assert_eq!(process.next(), "^[[31mtwo");
    assert_eq!(process.next(), "");
    process.signal("TERM");
    let left = process.wait();
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let server = TestServer::start();
    let program = command(&["--listen", "--view", "names", &server.address.to_string()]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(program.get_program()).args(program.get_args());
    let mut process = Process::run(shell);
    let mut other = server.join();
    while !is_heard(&mut process, &mut other) {}
    process.signal("HUP");
    other.say("still there?\n");
    assert!(process.until(|line| line.contains("still")).ends_with("still there?"));
    process.signal("TERM");
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn a_count_ends_it_with_0() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--plain", "--count", "2", &fake.address()]);
    let mut guest = fake.accept();
    guest.say("one\ntwo\nthree\n");
    let left = process.wait();
    assert_eq!((left.code, left.output.as_str()), (Some(0), "one\ntwo\n"));
}

#[test]
fn a_greeting_is_no_line_and_only_what_is_said_counts() {
    let server = TestServer::with(|config| config.greeting = "Team chat.".into());
    let address = server.address.to_string();
    let mut other = Caller::connect(server.address);
    other.expect("Team chat.\n");
    for view in ["plain", "names", "json"] {
        let mut process = Process::start(&["--listen", "--count", "1", "--view", view, &address]);
        let line = loop {
            other.say("are you there?\n");
            if let Some(line) = process.line_soon() {
                break line;
            }
        };
        assert!(line.contains("are you there?"), "{line}");
        let left = process.wait();
        assert_eq!((left.code, left.output.as_str()), (Some(0), ""), "{view}");
    }
}

/// A line that somebody says, as an object.
fn said(kind: &str, seq: u64, text: &str) -> String {
    format!(
        "{{\"type\":\"{kind}\",\"seq\":{seq},\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"main\",\"id\":3,\
         \"from\":\"ann\",\"verified\":false,\"text\":\"{text}\"}}\n"
    )
}

#[test]
fn what_nobody_has_said_does_not_count_and_is_left_out_then() {
    for (view, expected) in
        [("plain", "hello\n* ann waves\n"), ("names", "<ann> hello\n* ann waves\n"), ("json", "")]
    {
        let fake = Fake::start();
        let mut process = Process::start(&["--listen", "--count", "2", "--view", view, &fake.address()]);
        let mut guest = fake.accept();
        guest.say("Team chat.\n");
        guest.greet();
        let [hello, waves] = [said("message", 1, "hello"), said("emote", 2, "waves")];
        guest.say(&hello);
        guest.say("{\"type\":\"notice\",\"code\":\"later\",\"text\":\"of a later version\"}\n{\"type\":\"later\"}\n");
        // The same line again is a mistake of somebody, and none to be shown twice.
        guest.say(&hello);
        guest.say(&waves);
        let left = process.wait();
        assert_eq!(left.output, if view == "json" { format!("{hello}{waves}") } else { expected.to_owned() });
        assert_eq!(left.code, Some(0));
    }
}

#[test]
fn a_time_ends_it_with_0_but_for_a_count_that_was_not_reached() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let left = Process::start(&["--listen", "--timeout", "100ms", &address]).wait();
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
    let left = Process::start(&["--listen", "--timeout", "100ms", "--count", "1", &address]).wait();
    assert_eq!(left.code, Some(1));
    assert_eq!(left.errors, format!("chatc: {address}: 0 of 1 lines came in time\n"));
}

#[test]
fn a_daemon_that_stops_ends_it_with_1() {
    let daemon = Daemon::start(&[]);
    let address = daemon.address.to_string();
    let mut other = daemon.join();
    other.say("/nick ann\n");
    other.until("-!- you are ann now; /help says what else there is\n");
    let mut process = Process::start(&["--listen", "--nick", "bot", &address]);
    until_there(&mut other, "bot");
    daemon.signal("TERM");
    let left = process.wait();
    assert_eq!(left.code, Some(1));
    assert_eq!(left.errors, format!("chatc: {address}: the daemon has closed the connection\n"));
}

#[test]
fn a_reader_that_has_had_enough_ends_it_with_0() {
    let server = TestServer::start();
    let mut command = command(&["--listen", &server.address.to_string()]);
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    let mut other = server.join();
    wait_until("it has ended", || {
        other.say("hello\n");
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// One whose output nobody reads, and who has more to print than a pipe holds.
fn stuck(options: &[&str]) -> (Child, Guest) {
    let fake = Fake::start();
    let mut command = command(&[&["--listen", "--plain"], options, &[&fake.address()]].concat());
    let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = pipes.spawn().unwrap();
    let mut guest = fake.accept();
    guest.say("a line of a flood\n".repeat(8192));
    let filled = || rustix::io::ioctl_fionread(child.stdout.as_ref().unwrap()).unwrap();
    wait_until("the pipe is full", || filled() >= 60_000);
    (child, guest)
}

/// How it ends, with its output open and not read.
#[track_caller]
fn end(child: &mut Child) -> Option<i32> {
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    child.wait().unwrap().code()
}

#[test]
fn a_signal_ends_it_while_nobody_reads() {
    for signal in ["TERM", "INT", "HUP"] {
        let (mut child, _guest) = stuck(&[]);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert_eq!(end(&mut child), Some(0), "{signal}");
    }
}

#[test]
fn a_time_ends_it_while_nobody_reads() {
    let (mut child, _guest) = stuck(&["--timeout", "5s"]);
    assert_eq!(end(&mut child), Some(0));
    let (mut child, _guest) = stuck(&["--timeout", "5s", "--count", "1000000"]);
    assert_eq!(end(&mut child), Some(1));
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(words.ends_with(" of 1000000 lines came in time\n"), "{words}");
}

#[test]
fn names_and_objects_are_printed_without_colours_or_answers() {
    let server = TestServer::start();
    let address = server.address.to_string();
    for (view, start) in [("names", "<bob> hello"), ("json", "{\"type\":\"message\",\"seq\":")] {
        let mut process = listener(&server, &["--view", view]);
        assert_eq!(pipe("hello\n", &["--nick", "bob", &address]).code, Some(0));
        let line = process.until(|line| line.contains("hello"));
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_room_is_gone_to_before_anything_is_printed() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut ops = server.join();
    ops.say("/join ops\n/nick ann\n");
    ops.until("-!- you are ann now; /help says what else there is\n");
    let mut process =
        Process::start(&["--listen", "--room", "ops", "--nick", "bot", "--count", "1", &address]);
    until_there(&mut ops, "bot");
    assert_eq!(pipe("elsewhere\n", &[&address]).code, Some(0));
    ops.say("here\n");
    assert_eq!(process.wait().output, "<ann> here\n");
}

#[test]
fn it_connects_again_and_prints_what_it_missed_once() {
    let server = TestServer::start();
    let way = Proxy::to(server.address);
    let address = server.address.to_string();
    let say = |text: &str| assert_eq!(pipe(text, &["--view", "plain", &address]).code, Some(0));
    let mut process = Process::start(&["--listen", "--reconnect", "--view", "json", &way.address]);
    let mut other = server.join();
    while !is_heard(&mut process, &mut other) {}
    say("one\n");
    process.until(|line| line.contains("\"one\""));
    way.cut();
    assert!(process.hear_error().ends_with("; connecting again"));
    say("two\nthree\n");
    way.mend();
    assert!(process.until(|line| line.contains("\"text\":\"")).contains("\"two\""));
}

#[test]
fn lines_that_are_missing_are_told_of_on_standard_error() {
    let server = TestServer::with(|config| config.history = 3);
    let way = Proxy::to(server.address);
    let address = server.address.to_string();
    let say = |text: &str| assert_eq!(pipe(text, &["--nick", "bob", &address]).code, Some(0));
    let mut process = Process::start(&["--listen", "--reconnect", "--view", "names", &way.address]);
    let mut other = server.join();
    while !is_heard(&mut process, &mut other) {}
    say("one\n");
    process.until(|line| line == "<bob> one");
    way.cut();
    assert!(process.hear_error().ends_with("; connecting again"));
    say("2\n3\n4\n5\n6\n7\n8\n");
    way.mend();
    assert_eq!(process.until(|line| line.starts_with("<bob> ")), "<bob> 6");
    assert_eq!(process.hear_error(), "chatc: 4 lines that were said meanwhile are no longer kept");
    process.until(|line| line == "<bob> 8");
}

#[test]
fn a_name_that_somebody_else_has_taken_meanwhile_is_told_and_asked_for_again() {
    let (first, second) = (TestServer::start(), TestServer::start());
    let way = Proxy::to(first.address);
    let mut process = Process::start(&["--listen", "--reconnect", "--nick", "bot", &way.address]);
    let mut other = first.join();
    while !is_heard(&mut process, &mut other) {}
    way.cut();
    assert!(process.hear_error().ends_with("; connecting again"));
    // Another daemon knows no key of the one before.
    let (mut thief, mut witness) = (second.join(), second.join());
    thief.say("/nick bot\n");
    thief.until("-!- you are bot now; /help says what else there is\n");
    witness.say("/nick ann\n");
    way.lead_to(second.address);
    way.mend();
    let words = "bot is taken, or looks like a name that is; bot2 is free; the name is asked for again until it is free";
    assert_eq!(
        process.until_error(|line| line.contains("taken")),
        format!("chatc: {}: {words}", way.address)
    );
    drop(thief);
    until_there(&mut witness, "bot");
    process.signal("TERM");
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn a_command_is_run_for_each_line_and_what_it_prints_is_said() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let folder = Folder::new();
    let bot = folder
        .write("bot", "case $CHATC_TEXT in\nping) echo pong; echo /etc/hosts ;;\nfail) exit 3 ;;\nesac\n");
    let command = format!("sh {}", text(&bot));
    let mut ann = server.join();
    ann.say("/nick ann\n");
    ann.until("-!- you are ann now; /help says what else there is\n");
    let mut process = Process::start(&[
        "--listen", "--nick", "bot", "--jobs", "2", "--count", "4", "--exec", &command, &address,
    ]);
    until_there(&mut ann, "bot");
    ann.say("ping\n");
    assert_eq!(ann.until("/etc/hosts\n"), "<bot> pong\n<bot> ");
    ann.say("/msg bot ping\n");
    assert_eq!(ann.until("/etc/hosts\n"), "-!- told bot\n[bot -> you] pong\n[bot -> you] ");
    ann.say("fail\n");
    let error = process.hear_error();
    assert!(error.starts_with("chatc: sh: exit status: 3; the line was: {"), "{error}");
    ann.say("ping\n");
    let left = process.wait();
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
    ann.until("<bot> /etc/hosts\n");
}

#[test]
fn a_reader_that_is_gone_ends_it_before_the_next_line_comes() {
    let fake = Fake::start();
    for line in ["", "one\n"] {
        let mut command = command(&["--listen", "--plain", &fake.address()]);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut guest = fake.accept();
        guest.say(line);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut vec![0; line.len()]).unwrap();
        drop(stdout);
        assert_eq!(end(&mut child), Some(0));
    }
}
