//! The conversation with a service manager, played by this test; `tests/systemd` has a real one.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::manager::{Manager, shell};
use crate::support::{Caller, Daemon, Folder, GREETING, clean, text};

/// As a service manager passes what is standard input and standard output here.
const PASS_TWO: &str = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$;";

fn passing(first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) -> Command {
    let mut command = shell(PASS_TWO, &[]);
    command.stdin(Stdio::from(first.into())).stdout(Stdio::from(second.into()));
    command
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn it_is_told_ready_status_reloading_and_stopping() {
    let manager = Manager::new();
    let mut daemon = manager.start("", &["--drain", "7s"]);
    assert_eq!(manager.told(), "READY=1\nSTATUS=0 sessions, 1 room, 0 lines\n");
    let _ann = daemon.join();
    assert_eq!(manager.told(), "STATUS=1 session, 1 room, 0 lines\n");
    daemon.signal("HUP");
    let reloading = manager.told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(manager.told().starts_with("READY=1\n"));
    daemon.signal("TERM");
    let mut told = manager.told();
    while told.starts_with("STATUS=") {
        // How things are, after a while without anything else.
        told = manager.told();
    }
    let stopping = "STOPPING=1\nSTATUS=stopping: 1 session, 1 room, 0 lines\nEXTEND_TIMEOUT_USEC=12000000\n";
    assert_eq!(told, stopping, "the drain and a little more");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_mistake_in_the_file_is_in_the_status_for_as_long_as_it_is_there() {
    let (manager, folder) = (Manager::new(), Folder::new());
    let file = folder.write("chatd.toml", "max_per_ip = 5\n");
    let mut daemon = manager.start("", &["--config", text(&file)]);
    assert_eq!(manager.told(), "READY=1\nSTATUS=0 sessions, 1 room, 0 lines\n");
    let reload = |content: &str| {
        folder.write("chatd.toml", content);
        daemon.signal("HUP");
        assert!(manager.told().starts_with("RELOADING=1\n"));
        manager.told()
    };
    let refused = "reload refused: ";
    assert!(
        reload("max_per_ipp = 5\n")
            .starts_with(&format!("READY=1\nSTATUS=0 sessions, 1 room, 0 lines; {refused}"))
    );
    let ann = daemon.join();
    let status = manager.told();
    assert!(status.starts_with(&format!("STATUS=1 session, 1 room, 0 lines; {refused}")), "{status}");
    assert!(status.contains("max_per_ipp"), "{status}");
    assert!(reload("max_per_ip = 6\n").ends_with("; configuration read again\n"));
    drop(ann);
    // It may be told once more that there is one.
    let status = std::iter::repeat_with(|| manager.told()).find(|told| told.contains("STATUS=0"));
    assert_eq!(status.unwrap(), "STATUS=0 sessions, 1 room, 0 lines\n");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn one_that_is_not_there_does_not_matter() {
    let mut daemon = Daemon::run(shell("export NOTIFY_SOCKET=/nonexistent/notify;", &[]));
    let is_it = |line: &String| line.contains("cannot talk to the service manager");
    assert_eq!(daemon.log.iter().filter(|line| is_it(line)).count(), 1, "{:?}", daemon.log);
    daemon.join();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_watchdog_is_fed_twice_in_its_time() {
    let manager = Manager::new();
    let start = Instant::now();
    let _daemon = manager.start("export WATCHDOG_USEC=2000000 WATCHDOG_PID=$$;", &[]);
    assert!(manager.told().starts_with("READY=1\n"));
    (0..5).for_each(|_| assert_eq!(manager.told(), "WATCHDOG=1\n"));
    // Four times half of that after the first: not all the time.
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn nobody_feeds_the_watchdog_of_another_process() {
    let manager = Manager::new();
    let mut daemon = manager.start("export WATCHDOG_USEC=2000 WATCHDOG_PID=1;", &[]);
    assert!(manager.told().starts_with("READY=1\n"));
    daemon.signal("TERM");
    assert!(manager.told().starts_with("STOPPING=1\n"));
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn passed_sockets_are_served_and_stay_open_when_it_ends() {
    let (one, two) = (listener(), listener());
    let (first, second) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let start = || Daemon::run(passing(one.try_clone().unwrap(), two.try_clone().unwrap()));
    let mut daemon = start();
    assert_eq!(daemon.address, first);
    let not_used = "--listen: \"listen\" is not used, because the service manager passes the sockets; change the addresses \
                    with: systemctl edit chatd.socket";
    assert!(daemon.log.iter().any(|line| line.ends_with(not_used)), "{:#?}", daemon.log);
    let (mut ann, mut ben) = (daemon.join(), Caller::connect(second));
    ben.expect(GREETING);
    ann.say("hello\n");
    ben.expect("hello\n");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    // Whoever connects now waits, and is served by the next one.
    let mut eve = Caller::connect(first);
    let _daemon = start();
    eve.expect(GREETING);
}

#[test]
fn what_cannot_be_accepted_from_is_closed_and_named() {
    let (good, datagram) = (listener(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = good.local_addr().unwrap();
    let mut daemon = Daemon::run(passing(datagram, good));
    assert!(daemon.log.iter().any(|line| line.contains(": it is not a stream socket")));
    assert_eq!(daemon.address, address);
    daemon.join();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn without_a_socket_to_accept_from_it_listens_by_itself() {
    let connected = std::net::TcpStream::connect(listener().local_addr().unwrap()).unwrap();
    let mut daemon = Daemon::run(passing(File::open("/dev/null").unwrap(), connected));
    let said = |text: &str| daemon.log.iter().any(|line| line.contains(text));
    assert!(said(": it is not a socket") && said("does not listen"), "{:#?}", daemon.log);
    daemon.join();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let mut daemon = Daemon::run(shell("export LISTEN_FDS=2 LISTEN_PID=1;", &[]));
    daemon.join();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_promise_that_is_not_kept_is_an_error_that_names_it() {
    for promise in ["LISTEN_FDS=many", "LISTEN_FDS=2"] {
        let script = format!("exec 3<&- 4<&-; export {promise} LISTEN_PID=$$;");
        let output = clean(&mut shell(&script, &[])).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot take the sockets that LISTEN_FDS names"), "{stderr}");
    }
}

/// Whoever connects has started it, and would start it again at once.
#[test]
fn who_connects_is_turned_away_where_the_configuration_has_a_mistake() {
    const NOTICE: &str = "-!- closing: chatd cannot start: its configuration has a mistake\n";
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "max_lines = 5\n");
    for (options, code) in [(["--config", text(&file)], 78), (["--max-line", "many"], 2)] {
        let manager = Manager::with_store();
        let (mut ann, mut ben) = (Caller::connect(manager.address()), Caller::connect(manager.address()));
        ann.say("hello\n");
        let output = manager.command("", &options).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        for caller in [&mut ann, &mut ben] {
            caller.expect(NOTICE);
            caller.expect_end();
        }
        let _daemon = manager.start("", &[]);
        manager.join();
    }
}
