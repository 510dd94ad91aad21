//! What it writes to cannot be written: it ends with a code all the same, and says why where it can.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::process::{Process, command};
use crate::server::{Fake, Nowhere};
use crate::support::{Folder, TestServer, text};
use crate::terminal::Terminal;

/// Takes nothing: the device is always full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A shell that runs it with these options as a script says.
fn shell(script: &str, options: &[&str]) -> Command {
    let program = command(options);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(program.get_program()).args(program.get_args());
    shell.env("TERM", "xterm").env("LC_ALL", "C");
    shell
}

/// How a command ends that says nothing of its own.
#[track_caller]
fn code(command: &mut Command) -> Option<i32> {
    command.status().unwrap().code()
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_code() {
    let nowhere = Nowhere::new();
    let nowhere = &nowhere.address;
    for (options, expected) in [
        (&[nowhere.as_str()][..], 69),
        (&["--listen", nowhere], 69),
        (&["--reconnect", nowhere], 2),
        (&["--nick", "a b"], 2),
    ] {
        let mut failing = command(options);
        failing.stdin(Stdio::null()).stdout(Stdio::null());
        assert_eq!(code(failing.stderr(full())), Some(expected), "{options:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(code(failing.stderr(writer)), Some(expected), "{options:?}");
    }
}

#[test]
fn a_remark_that_nobody_can_read_ends_nothing() {
    let fake = Fake::start();
    let options = ["--listen", "--plain", "--reconnect", &fake.address()];
    let mut process = Process::run(shell("exec \"$@\" 2>/dev/full", &options));
    for line in ["one", "two"] {
        let mut guest = fake.accept();
        guest.say(format!("{line}\n"));
        assert_eq!(process.next(), line, "it connects again, and says so to nobody");
    }
    process.signal("TERM");
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn what_cannot_be_printed_ends_it_with_1() {
    let fake = Fake::start();
    let mut listening = command(&["--listen", "--plain", &fake.address()]);
    listening.stdin(Stdio::null()).stdout(full()).stderr(Stdio::piped());
    let child = listening.spawn().unwrap();
    let mut guest = fake.accept();
    guest.say("one\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.starts_with("chatc: cannot write to standard output: "), "{words}");
}

#[test]
fn help_that_nobody_can_read_is_no_failure() {
    for option in ["--help", "--version"] {
        assert_eq!(code(command(&[option]).stdout(full()).stderr(Stdio::null())), Some(0), "{option}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(code(command(&[option]).stdout(writer).stderr(Stdio::null())), Some(0), "{option}");
    }
}

#[test]
fn at_the_keyboard_the_last_words_are_on_standard_error() {
    let (folder, nowhere) = (Folder::new(), Nowhere::new());
    let nowhere = &nowhere.address;
    let file = folder.path("file");
    let says = format!("chatc: {nowhere}: nobody listens there; is chatd running, and on this port?");
    let script = format!("exec \"$@\" 2>{}", text(&file));
    assert_eq!(Terminal::run(&shell(&script, &[nowhere])).finish(), (Some(69), vec![]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{says}\n"));
    let script = format!("exec \"$@\" >{}", text(&file));
    let (code, rows) = Terminal::run(&shell(&script, &[nowhere])).finish();
    assert_eq!((code, rows.concat()), (Some(69), says));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn at_the_keyboard_what_cannot_be_shown_ends_it_with_1() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let (code, rows) = Terminal::run(&shell("exec \"$@\" >/dev/full", &["--nick", "ann", &address])).finish();
    assert_eq!(code, Some(1), "{rows:#?}");
    assert_eq!(rows[0], "chatc: cannot write to standard output:");
}

#[test]
fn at_the_keyboard_a_reader_that_is_gone_ends_it_with_0() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let script = "{ \"$@\"; echo code $? >&2; } | head -n 1";
    let (code, rows) = Terminal::run(&shell(script, &["--nick", "ann", &address])).finish();
    assert_eq!(code, Some(0));
    assert_eq!(
        (rows[0].as_str(), rows.last().unwrap().as_str()),
        ("-!- you are ann now; /help says what els", "code 0")
    );
}
