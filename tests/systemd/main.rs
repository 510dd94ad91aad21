//! chatd as a service: boots Debian with a real systemd in a container, installs the package with apt, and goes
//! through what an administrator does with it.
//!
//! `cargo test --test systemd [RELEASE...]`, as root, with systemd-nspawn, mmdebstrap, strace, nc and telnet. Prints
//! what it does and what it sees. Each release (bookworm, trixie) has a machine of its own with a network of its
//! own, so nothing here meets a chatd on this machine. A check may rely on those before it only for the package
//! being there; it leaves the machine as it found it.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

// The integration tests use all of it.
#[allow(dead_code)]
#[path = "../support/caller.rs"]
mod caller;
mod machine;
mod package;
mod service;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use machine::Machine;
use package::Packages;

/// The releases of Debian, and what the package must work with.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

type Check = fn(&Machine, &Packages);

/// What is checked, in this order.
const CHECKS: &[(&str, Check)] = &[
    ("installing enables and starts it", package::installing_enables_and_starts_it),
    ("nc and telnet talk through it", service::nc_and_telnet_talk_through_it),
    ("the status has live counts", service::the_status_has_live_counts),
    ("a reload puts a good file in force and refuses a bad one", service::a_reload_takes_a_good_file),
    ("each line of the journal has its priority", service::each_line_of_the_journal_has_its_priority),
    ("syslog lines survive restarts of journald and rsyslog", service::syslog_survives_restarts),
    ("it has no network and little else", service::it_has_no_network_and_little_else),
    ("whoever connects during a restart waits and is served", service::connecting_during_a_restart),
    ("killed, it comes back, and nobody is refused", service::killed_it_comes_back),
    ("the watchdog restarts it when it is stopped", service::the_watchdog_sees_a_stop),
    ("the watchdog restarts it when the broker hangs", service::the_watchdog_sees_the_broker_hang),
    ("stop closes the port, a connection starts it", service::socket_activation),
    ("an address in its file is not used, and it says so", service::an_address_in_the_file_is_not_used),
    ("the address is changed in the socket unit", service::the_address_is_changed_in_the_socket_unit),
    ("a broken file ends with 78, says where, and does not loop", service::a_broken_file_does_not_loop),
    ("an unknown descriptor in the store is closed and named", service::an_unknown_descriptor_in_the_store),
    ("an upgrade and a downgrade refuse nobody", package::upgrade_and_downgrade),
    ("what was disabled stays disabled", package::what_was_disabled_stays_disabled),
    ("removing stops it and keeps the configuration", package::removing_keeps_the_configuration),
    ("purging leaves nothing behind", package::purging_leaves_nothing),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    if words.peek().is_some_and(|word| word == service::STORE) {
        return service::store_a_descriptor();
    }
    if let Some(missing) = what_is_missing() {
        println!("left out: {missing}");
        return ExitCode::from(u8::from(std::env::var_os("CI").is_some_and(|ci| ci == "true")));
    }
    let wanted: Vec<String> = words.collect();
    let releases =
        RELEASES.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|word| word == *name));
    let packages = Packages::build();
    let (mut passed, mut failed) = (0, 0);
    for release in releases {
        // In a thread of its own, which goes into the network of the machine.
        let counts = std::thread::scope(|scope| scope.spawn(|| check_all(release, &packages)).join());
        let (more, fewer) = counts.unwrap_or((0, 1));
        passed += more;
        failed += fewer;
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}

/// Counts what passed and what failed.
fn check_all(release: &str, packages: &Packages) -> (u32, u32) {
    let machine = Machine::boot(release);
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in CHECKS {
        println!("\n== {release}: {name}");
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| check(&machine, packages))) {
            Ok(()) => {
                passed += 1;
                println!("ok, {:.1} s", start.elapsed().as_secs_f32());
            }
            Err(_) => {
                failed += 1;
                println!("FAILED: {release}: {name}");
                machine.show("journalctl --no-pager -o short-monotonic -n 40");
            }
        }
    }
    (passed, failed)
}

fn what_is_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can boot a container".to_owned());
    }
    let tools = ["systemd-nspawn", "mmdebstrap", "nsenter", "strace", "nc", "telnet", "cargo-deb"];
    let is_there = |tool: &str| Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let missing = tools.into_iter().find(|tool| !is_there(tool).is_ok_and(|found| found.status.success()));
    missing.map(|tool| format!("{tool} is missing"))
}
