//! What it writes to cannot be written: it ends with a code all the same, and says why where it can.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::process::{Process, command};
use crate::server::Fake;

/// Takes nothing: the device is always full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// How a command ends that says nothing of its own.
#[track_caller]
fn code(command: &mut Command) -> Option<i32> {
    command.status().unwrap().code()
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_code() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (options, expected) in [
        (&[nowhere.as_str()][..], 69),
        (&["--listen", &nowhere], 69),
        (&["--reconnect", &nowhere], 2),
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
    let program = command(&["--listen", "--reconnect", &fake.address()]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>/dev/full", "sh"]);
    shell.arg(program.get_program()).args(program.get_args());
    let mut process = Process::run(shell);
    for line in ["one", "two"] {
        let mut guest = fake.accept();
        guest.say(format!("Hello, connection to the server ok!\n{line}\n"));
        assert_eq!(process.next(), line, "it connects again, and says so to nobody");
    }
    process.signal("TERM");
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn what_cannot_be_printed_ends_it_with_1() {
    let fake = Fake::start();
    let mut listening = command(&["--listen", &fake.address()]);
    listening.stdin(Stdio::null()).stdout(full()).stderr(Stdio::piped());
    let child = listening.spawn().unwrap();
    let mut guest = fake.accept();
    guest.say("Hello, connection to the server ok!\none\n");
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
