//! Options, file, environment, and reading them again.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Caller, Daemon, Folder, clean, copy_program, text};

pub fn chatd(options: &[&str]) -> Output {
    clean(&mut Command::new(env!("CARGO_BIN_EXE_chatd"))).args(options).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let output = chatd(&["--prot", "5001"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--prot"));
}

#[test]
fn a_bad_file_is_named_with_line_key_and_remedy() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "# comment\nmax_lines = 100\n");
    for options in [&["--config", text(&file), "--check"][..], &["--config", text(&file)]] {
        let output = chatd(options);
        assert_eq!(output.status.code(), Some(78));
        let message = stderr(&output);
        let expected = format!("{}:2: unknown key \"max_lines\"; did you mean \"max_line\"?", text(&file));
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_file_that_is_not_there_or_is_a_directory_is_a_configuration_error() {
    let folder = Folder::new();
    for path in [folder.path("missing.toml"), folder.path("")] {
        let output = chatd(&["--config", text(&path)]);
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        assert!(stderr(&output).contains(text(&path)));
    }
}

/// Nobody is kept from reading a file who is root, so then somebody else reads it, with a copy that that one can reach.
#[test]
fn a_file_that_may_not_be_read_is_a_configuration_error() {
    const NOBODY: u32 = 65534;
    let folder = Folder::new();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let file = folder.write("chatd.toml", "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    if rustix::process::geteuid().is_root() {
        let copy = folder.path("chatd");
        copy_program(env!("CARGO_BIN_EXE_chatd"), &copy);
        mode(&folder.path(""), 0o755);
        command = Command::new(copy);
        command.uid(NOBODY).gid(NOBODY);
    }
    clean(&mut command).args(["--config", text(&file), "--check"]);
    mode(&file, 0o644);
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    mode(&file, 0o200);
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{message}");
    let remedy = "cannot be read: permission denied; make it readable for the user that runs chatd";
    assert_eq!(message, format!("chatd: {}: {remedy}\n", text(&file)));
}

#[test]
fn check_and_print_config_start_nothing() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "max_line = \"1KiB\"\n");
    let output = chatd(&["--config", text(&file), "--check"]);
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), format!("{}: ok\n", text(&file)).as_bytes())
    );
    let output = chatd(&["--config", text(&file), "--print-config", "--raw"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(printed.contains("max_line = \"1KiB\"") && printed.contains("raw = true"), "{printed}");
}

#[test]
fn a_group_of_operators_that_is_not_there_is_a_warning() {
    let folder = Folder::new();
    for (group, warning) in [
        (
            "nobody-has-it",
            "warning: cannot find the group \"nobody-has-it\" of operators: only root is one\n",
        ),
        ("root", ""),
        ("", ""),
    ] {
        let file = folder.write("chatd.toml", format!("operators = \"{group}\"\n"));
        let output = chatd(&["--config", text(&file), "--check"]);
        let expected = format!("{warning}{}: ok\n", text(&file));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), said), (Some(0), expected));
    }
}

/// A package is upgraded and its file stays: that must not stop the daemon.
#[test]
fn a_key_that_is_gone_is_a_warning_and_nothing_more() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "threads = 4\n");
    let problem = "chatd ignores this key of an earlier version: one thread serves everybody; remove it";
    let in_file = format!("{}:1: threads: {problem}", text(&file));
    let options = ["--config", text(&file), "--threads", "2"];
    let output = chatd(&[&options[..], &["--check"]].concat());
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("warning: {in_file}\nwarning: --threads: {problem}\n{}: ok\n", text(&file)));
    let mut daemon = Daemon::start(&options);
    assert!(daemon.log.iter().any(|line| line.contains(&in_file)), "{:?}", daemon.log);
    assert!(
        daemon.log.iter().any(|line| line.contains(&format!("--threads: {problem}"))),
        "{:?}",
        daemon.log
    );
    daemon.join();
    daemon.signal("HUP");
    daemon.wait_for_log(&in_file);
    daemon.wait_for_log("the configuration was read again");
    daemon.join();
    let help = String::from_utf8(chatd(&["--help"]).stdout).unwrap();
    assert!(!help.contains("threads"), "{help}");
}

#[test]
fn version_and_help_are_answers_and_no_errors() {
    for (option, text) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "nc 127.0.0.1 5001")] {
        let output = chatd(&[option]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(text));
    }
}

#[test]
fn hup_puts_a_good_file_in_force_and_keeps_the_old_one_for_a_bad_one() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "greeting = \"first\"\n");
    let mut daemon = Daemon::start(&["--config", text(&file)]);
    let greeting = |daemon: &Daemon| crate::support::Caller::connect(daemon.address).until("\n");
    assert_eq!(greeting(&daemon), "first");
    folder.write("chatd.toml", "greeting = \"second\"\nmax_rooms = 2\n");
    daemon.signal("HUP");
    daemon.wait_for_log("\"max_rooms\" cannot change while chatd runs");
    daemon.wait_for_log("the configuration was read again");
    assert_eq!(greeting(&daemon), "second");
    folder.write("chatd.toml", "greeting = 3\n");
    daemon.signal("HUP");
    let line = daemon.wait_for_log("the old configuration stays in force");
    assert!(line.contains("chatd.toml:1") && line.contains("greeting"), "{line}");
    assert_eq!(greeting(&daemon), "second");
}

#[test]
fn what_cannot_be_written_aborts_nothing() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "");
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let command = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        clean(&mut command).args(options);
        command
    };
    for task in ["--check", "--print-config"] {
        let output = command(&[task, "--config", text(&file)]).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("chatd: cannot write to standard output: "));
        // A pipe that nobody reads from.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&[task, "--config", text(&file)]).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    }
    let missing = folder.path("missing.toml");
    let status = command(&["--config", text(&missing)]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(78));
}

#[test]
fn a_reload_that_takes_long_holds_up_nothing() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "greeting = \"one\"\n");
    let mut daemon = Daemon::start(&["--config", text(&file)]);
    // Whoever reads it waits until somebody writes.
    let replace = || {
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    };
    replace();
    daemon.signal("HUP");
    Caller::connect(daemon.address).expect("one\n");
    // While somebody waits, opening it does not.
    let mut pipe = fs::File::options().write(true).open(&file).unwrap();
    Caller::connect(daemon.address).expect("one\n");
    pipe.write_all(b"greeting = \"two\"\n").unwrap();
    drop(pipe);
    daemon.wait_for_log("the configuration was read again");
    Caller::connect(daemon.address).expect("two\n");
    replace();
    daemon.signal("HUP");
    Caller::connect(daemon.address).expect("two\n");
    // Nor does another one that waits behind it.
    daemon.signal("HUP");
    Caller::connect(daemon.address).expect("two\n");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
}

#[test]
fn usr1_writes_a_summary_to_the_log() {
    let mut daemon = Daemon::start(&[]);
    let (mut ann, mut ben) = (daemon.join(), daemon.join());
    ann.say("counted\n");
    ben.expect("counted\n");
    daemon.signal("USR1");
    daemon.wait_for_log("status: 2 sessions, 1 room, 1 line");
    daemon.wait_for_log("connections: 2 accepted, 0 refused");
}
