//! What the log says at debug level of those who are gone: where they came from, and why they are over.

use std::time::Duration;

use crate::support::{Caller, Daemon, GREETING};

fn debugging(options: &[&str]) -> Daemon {
    Daemon::start(&[&["--log-level", "debug"], options].concat())
}

/// How a line of the log begins that is about a session.
fn of(number: u32, caller: &Caller) -> String {
    format!("session {number} from {} ", caller.stream().local_addr().unwrap())
}

/// Somebody who does not read, though there is much more to read than goes out without that.
fn stalled(daemon: &Daemon) -> Caller {
    let mut stalled = Caller::connect_with_little_space(daemon.address);
    stalled.expect(GREETING);
    let (mut sender, mut reader) = (daemon.join(), daemon.join());
    let text = "0123456789abcde\n".repeat(65_536);
    for _ in 0..8 {
        sender.say(&text);
        reader.expect(&text);
    }
    stalled
}

#[test]
fn who_does_not_read_for_slow_timeout() {
    let mut daemon = debugging(&["--slow-timeout", "1s", "--log-size", "1MiB"]);
    let stalled = stalled(&daemon);
    daemon.wait_for_log(&(of(1, &stalled) + "is over: it did not read"));
    daemon.signal("USR1");
    daemon.wait_for_log("closed: 1 for not reading");
}

#[test]
fn who_has_ended_its_input_and_does_not_read_for_drain() {
    let mut daemon = debugging(&["--slow-timeout", "1h", "--drain", "500ms", "--log-size", "1MiB"]);
    let stalled = stalled(&daemon);
    stalled.end_input();
    daemon.wait_for_log(&(of(1, &stalled) + "is over: it did not read"));
}

#[test]
fn who_does_not_read_its_last_lines_while_the_daemon_stops() {
    let mut daemon = debugging(&["--slow-timeout", "1h", "--drain", "500ms", "--log-size", "1MiB"]);
    let stalled = stalled(&daemon);
    daemon.signal("TERM");
    daemon.wait_for_log(&(of(1, &stalled) + "is over: it had not read everything within drain"));
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn who_says_nothing_for_idle_timeout() {
    let mut daemon = debugging(&["--idle-timeout", "1s"]);
    let ann = daemon.join();
    daemon.wait_for_log(&(of(1, &ann) + "was idle for too long"));
    daemon.wait_for_log(&(of(1, &ann) + "is over: it ended"));
}

#[test]
fn who_speaks_another_protocol() {
    let mut daemon = debugging(&[]);
    let openings: [(&[u8], &str); 3] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh"),
    ];
    for (number, (opening, name)) in (1..).zip(openings) {
        let mut caller = daemon.join();
        caller.say(opening);
        daemon.wait_for_log(&(of(number, &caller) + "speaks " + name));
        caller.end_input();
        daemon.wait_for_log(&(of(number, &caller) + "is over: it ended"));
    }
}

#[test]
fn who_is_reset() {
    let mut daemon = debugging(&[]);
    let ann = daemon.join();
    let of_ann = of(1, &ann);
    rustix::net::sockopt::set_socket_linger(ann.stream(), Some(Duration::ZERO)).unwrap();
    drop(ann);
    daemon.wait_for_log(&(of_ann + "is over: the connection failed: Connection reset by peer"));
}
