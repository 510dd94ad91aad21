//! The socket for metrics, which an administrator may enable.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::machine::{Machine, PATIENCE};
use crate::package::Packages;
use crate::service::join;

/// The response to a scrape at the socket of the metrics.
fn scrape(machine: &Machine) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(machine.path("/run/chatd/metrics.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

pub fn served_when_their_socket_is_enabled(machine: &Machine, _: &Packages) {
    machine.fail("systemctl is-enabled chatd-metrics.socket");
    scrape(machine).unwrap_err();
    let (mut ann, mut ben) = (join(), join());
    machine.run("systemctl enable chatd-metrics.socket 2>&1");
    machine.run("systemctl restart chatd");
    ann.say("still here\n");
    ben.expect("still here\n");
    let response = scrape(machine).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("# EOF\n"), "{response}");
    assert!(response.contains("\nprocess_resident_memory_bytes "), "it sees its own memory: {response}");
    assert!(response.contains("\nchatd_restarts_survived_total{cause=\"restart\"} "), "{response}");
    assert!(response.contains("\nchatd_sessions{view=\"plain\",transport=\"tcp\"} 2\n"), "{response}");
    machine.run("ls -l /run/chatd; stat -c %a /run/chatd/metrics.sock | grep -x 660");
    // A scrape does not start what was stopped.
    machine.run("systemctl stop chatd 2>&1");
    machine.wait_until("the sockets are closed", || !machine.is_active("chatd-metrics.socket"));
    scrape(machine).unwrap_err();
    assert!(!machine.is_active("chatd") && !machine.is_active("chatd.socket"));
    machine.run("systemctl start chatd");
    assert!(scrape(machine).unwrap().ends_with("# EOF\n"));
    machine.run("systemctl restart chatd.socket");
    // Its own job may end later.
    let is_served = || scrape(machine).is_ok_and(|page| page.ends_with("# EOF\n"));
    machine.wait_until("metrics are served again", is_served);
    machine.run("systemctl disable --now chatd-metrics.socket 2>&1");
    machine.run("systemctl restart chatd");
    scrape(machine).unwrap_err();
    join();
}
