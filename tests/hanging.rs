//! Whatever hangs, chatd hears its signals: a service manager that takes nothing, a file that nobody writes to.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::manager::{Manager, shell};
use crate::support::{Daemon, Folder, clean, text};

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

/// Fills the socket of a service manager until it takes no message more.
fn fill(folder: &Folder) {
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    loop {
        match filler.send_to(b"STATUS=x", folder.path("notify")) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A daemon whose service manager has stopped taking messages.
fn with_a_deaf_manager() -> (Folder, UnixDatagram, Daemon) {
    let folder = Folder::new();
    let socket = UnixDatagram::bind(folder.path("notify")).unwrap();
    let script = format!("export NOTIFY_SOCKET={};", text(&folder.path("notify")));
    let daemon = Daemon::run(shell(&script, &["--log-level", "debug"]));
    // So that READY=1 has been taken: nothing of what is said before that counts here.
    let mut buffer = [0; 4096];
    while !buffer.starts_with(b"READY=1") {
        socket.recv(&mut buffer).unwrap();
    }
    fill(&folder);
    (folder, socket, daemon)
}

#[test]
fn a_service_manager_that_takes_nothing_makes_nobody_deaf() {
    let (_folder, _socket, mut daemon) = with_a_deaf_manager();
    let (mut ann, mut ben) = (daemon.join(), daemon.join());
    for signal in ["HUP", "HUP", "HUP"] {
        daemon.signal(signal);
        daemon.wait_for_log("the configuration was read again");
    }
    daemon.signal("USR1");
    daemon.wait_for_log("status: 2 sessions");
    ann.say("hello\n");
    ben.expect("hello\n");
    daemon.signal("TERM");
    // It stops, whether or not anybody is told.
    daemon.wait_for_log("stopping:");
    ann.expect_end();
    ben.expect_end();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn two_terms_end_a_handover_that_hangs() {
    let (_folder, _socket, mut daemon) = with_a_deaf_manager();
    daemon.signal("USR2");
    // What is asked for in between is heard.
    daemon.signal("TERM");
    daemon.signal("INT");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn two_terms_end_a_handover_whose_barrier_is_not_passed() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let _ann = manager.join();
    manager.hold_barriers();
    daemon.signal("USR2");
    let _barrier = manager.barrier();
    // Two of the same kind may count as one if they come together.
    daemon.signal("TERM");
    daemon.signal("INT");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(
        daemon.log.last().unwrap().contains("stopped at once after a second signal"),
        "{:#?}",
        daemon.log
    );
}

/// Starts chatd with a configuration that nobody writes, and waits until it reads that.
fn reading_a_pipe(options: &[&str]) -> Child {
    let folder = Folder::new();
    let path = folder.path("chatd.toml");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut command = Command::new(CHATD);
    command.args(["--config", text(&path)]).args(options).stdout(Stdio::null()).stderr(Stdio::null());
    let child = clean(&mut command).spawn().unwrap();
    // It opens when the other side does, and ends when this one does.
    std::mem::forget(OpenOptions::new().write(true).open(&path).unwrap());
    child
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

#[test]
fn a_signal_to_stop_ends_a_start_with_0_before_it_has_read_its_configuration() {
    for name in ["TERM", "INT", "USR2"] {
        let mut child = reading_a_pipe(&[]);
        // These say nothing yet.
        signal(&child, "HUP");
        signal(&child, "USR1");
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
}

#[test]
fn a_check_that_a_signal_ends_has_not_succeeded() {
    let mut child = reading_a_pipe(&["--check"]);
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
