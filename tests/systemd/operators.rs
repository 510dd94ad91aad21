//! Operators: who is one, what they see, and how they stop the service.

use std::path::Path;

use crate::caller::{Caller, GREETING};
use crate::machine::Machine;
use crate::package::{PORT, Packages};

/// Runs chatctl as a user of the machine; returns its exit status and what it says.
fn chatctl(machine: &Machine, user: &str, words: &str) -> (String, String) {
    let line = format!(
        "setpriv --reuid={user} --regid={user} --init-groups chatctl {words} 2>&1; echo \"status $?\""
    );
    let said = machine.show(&line);
    let (said, status) = said.trim_end().rsplit_once("status ").unwrap();
    (status.to_owned(), said.to_owned())
}

pub fn members_of_the_group_are_operators(machine: &Machine, _: &Packages) {
    machine.run("getent group chatd-operators");
    machine.run("useradd ann && useradd ben && usermod -aG chatd-operators ann");
    let (status, said) = chatctl(machine, "ann", "status");
    assert!(status == "0" && said.starts_with("uptime "), "{said}");
    let (status, said) = chatctl(machine, "ben", "status");
    assert!(status == "77" && said.contains("not an operator"), "{said}");
    let (status, said) = chatctl(machine, "ann", "log info");
    assert_eq!(status, "0", "{said}");
    machine.run("journalctl --no-pager -u chatd | grep -F 'operator +ann' | grep -F '/log info'");
    machine.run(
        "journalctl --no-pager -u chatd | grep -F 'ben (session' | grep -F 'is not an operator: /control'",
    );
    machine.run("userdel ann && userdel ben");
}

pub fn bans_and_mutes_outlive_restarts_and_stops(machine: &Machine, _: &Packages) {
    let mut caller = Caller::join(PORT);
    caller.say("/nick cem\n");
    caller.until("you are cem now");
    machine.run("chatctl ban 192.0.2.0/24 --for 1h spam && chatctl mute cem");
    for change in ["restart chatd", "kill --signal=KILL chatd", "stop chatd", "start chatd"] {
        machine.run(&format!("systemctl {change} 2>&1"));
        if change != "stop chatd" {
            // A socket that is left open starts it.
            machine.wait_until("it serves again", || machine.try_run("chatctl status").starts_with("uptime"));
            let bans = machine.run("chatctl bans");
            assert!(bans.contains("192.0.2.0/24") && bans.contains("cem"), "{change}: {bans}");
        }
    }
    machine.run("chatctl unban 192.0.2.0/24 && chatctl unmute cem");
}

pub fn a_drain_ends_the_service_and_its_sockets(machine: &Machine, _: &Packages) {
    let mut caller = Caller::join(PORT);
    machine.run("chatctl drain 1s");
    caller.expect("-!- chatd stops in 1s\n");
    machine.wait_until("it has ended", || !machine.is_active("chatd") && !machine.is_active("chatd.socket"));
    caller.expect_end();
    assert_eq!(machine.property("chatd", "Result"), "success");
    machine.run("systemctl start chatd");
    Caller::connect(PORT).expect(GREETING);
}

/// What autopkgtest runs.
pub fn the_test_of_the_package_passes(machine: &Machine, packages: &Packages) {
    machine.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/tests/chat"), "/root/chat");
    machine.copy(&packages.current, "/root/chatd.deb");
    machine.run("sh /root/chat /root/chatd.deb 2>&1");
}
