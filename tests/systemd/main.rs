//! chatd as a service: boots Debian with a real systemd in a container, installs the package with apt, and goes
//! through what an administrator does with it.
//!
//! `cargo test --test systemd [RELEASE...] [WORD...]`, as root, with systemd-nspawn, mmdebstrap, strace, nc, telnet,
//! ip and openssl. Prints what it does and what it sees; with words, only what has one of them in its name.
//! `cargo test --release --test systemd -- --long` has the crowds that take minutes, instead. Each release (bookworm, trixie) has a machine
//! of its own with a network of its own, so nothing here meets a chatd on this machine. A check may rely on those
//! before it only for the package being there; it leaves the machine as it found it.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

// The integration tests use all of it.
#[allow(dead_code)]
#[path = "../support/caller.rs"]
mod caller;
#[path = "../support/checks.rs"]
mod checks;
mod cluster;
mod crowds;
mod handover;
mod machine;
mod metrics;
mod operators;
#[allow(dead_code)]
#[path = "../support/oracle/mod.rs"]
mod oracle;
mod package;
mod service;
mod storer;
mod tls;
mod trouble;
// tests/ktls needs more of it.
#[allow(dead_code)]
#[path = "../support/wire.rs"]
mod wire;

use std::process::{Child, Command, ExitCode, Stdio};

use checks::{Checks, left_out};
use machine::Machine;
use package::Packages;

/// The releases of Debian, and what the package must work with.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// The packages are built.
const BUILT: &str = "--built";

type Check = fn(&Machine, &Packages);

/// What is checked, in this order.
const CHECKS: &[(&str, Check)] = &[
    INSTALLING,
    ("nc and telnet talk through it", service::nc_and_telnet_talk_through_it),
    ("the status has live counts", service::the_status_has_live_counts),
    ("a reload puts a good file in force and refuses a bad one", service::a_reload_takes_a_good_file),
    ("each line of the journal has its priority", service::each_line_of_the_journal_has_its_priority),
    ("syslog lines survive restarts of journald and rsyslog", service::syslog_survives_restarts),
    ("it has no network and little else", service::it_has_no_network_and_little_else),
    ("it can open no socket of IP", service::it_can_open_no_socket_of_ip),
    ("whoever connects during a restart waits and is served", service::connecting_during_a_restart),
    ("killed, it comes back, and nobody is refused", service::killed_it_comes_back),
    ("the watchdog restarts it when it is stopped", service::the_watchdog_sees_a_stop),
    ("the watchdog restarts it when the broker hangs", service::the_watchdog_sees_the_broker_hang),
    ("stop closes the port, a connection starts it", service::socket_activation),
    ("an address in its file is not used, and it says so", service::an_address_in_the_file_is_not_used),
    ("the address is changed in the socket unit", service::the_address_is_changed_in_the_socket_unit),
    ("metrics are served when their socket is enabled", metrics::served_when_their_socket_is_enabled),
    ("TLS: credentials are passed, and checked at a reload", tls::credentials),
    ("TLS: files of a group are read at a reload", tls::files_of_a_group),
    ("a broken file ends with 78, says where, and does not loop", service::a_broken_file_does_not_loop),
    ("an unknown descriptor in the store is closed and named", service::an_unknown_descriptor_in_the_store),
    ("names, rooms and views outlive a restart", handover::all_is_as_it_was_after_a_restart),
    ("names, rooms and views outlive a crash", handover::all_is_as_it_was_after_a_crash),
    ("who the kernel knows stays known", handover::who_the_kernel_knows_stays_known),
    ("half a line is finished after a restart", handover::half_a_line_is_finished_after_a_restart),
    ("half a line is not torn by a crash", handover::half_a_line_is_not_torn_by_a_crash),
    ("a backlog is read on after a restart", handover::a_backlog_is_read_on_after_a_restart),
    ("a backlog is not torn by a crash", handover::a_backlog_is_not_torn_by_a_crash),
    ("who closes during a restart is removed", handover::who_closes_while_none_runs_is_removed),
    ("who closes after a crash is removed", handover::who_closes_after_a_crash_is_removed),
    ("an abort and the watchdog disconnect nobody", handover::an_abort_and_the_watchdog_are_crashes),
    (
        "restarting the socket unit disconnects nobody",
        handover::restarting_the_socket_unit_disconnects_nobody,
    ),
    ("a crowd talks through restarts", crowds::restarts),
    ("a crowd talks through kills", crowds::kills),
    ("a crowd stays when it is killed again while it starts", crowds::kills_while_it_starts),
    ("two crowds stay through a restart, and systemd keeps few descriptors for it", crowds::two_crowds),
    ("a crowd talks through an upgrade and a downgrade", crowds::upgrade_and_downgrade),
    ("bans outlive restarts, crashes and stops", trouble::bans_outlive_restarts_crashes_and_stops),
    ("a mistake in the file closes nobody", trouble::a_mistake_in_the_file_closes_nobody),
    ("what somebody has said who is gone is heard", trouble::what_somebody_has_said_who_is_gone_is_heard),
    ("crowds that leave keep nobody from being kept", trouble::crowds_that_leave_keep_nobody_from_being_kept),
    ("whatever is in the store at a restart, it starts", handover::whatever_is_in_the_store_at_a_restart),
    ("whatever is in the store after a crash, it starts", handover::whatever_is_in_the_store_after_a_crash),
    ("without room in the store a restart drains", handover::without_a_store_a_restart_drains),
    ("members of the group are operators", operators::members_of_the_group_are_operators),
    ("bans and mutes outlive restarts and stops", operators::bans_and_mutes_outlive_restarts_and_stops),
    ("a drain ends the service and its sockets", operators::a_drain_ends_the_service_and_its_sockets),
    ("two nodes behind the proxies of systemd", cluster::two_nodes_behind_the_proxies),
    ("the test of the package passes", operators::the_test_of_the_package_passes),
    ("stop closes everybody and keeps nothing", handover::stop_closes_everybody),
    ("an upgrade and a downgrade refuse nobody", package::upgrade_and_downgrade),
    ("what was disabled stays disabled", package::what_was_disabled_stays_disabled),
    ("removing stops it and keeps the configuration", package::removing_keeps_the_configuration),
    ("purging leaves nothing behind", package::purging_leaves_nothing),
];

/// What takes minutes: the same with as many as there may be.
const LONG_CHECKS: &[(&str, Check)] = &[
    INSTALLING,
    ("a thousand talk through fifty restarts", crowds::a_thousand_through_fifty_restarts),
    ("nine thousand stay through five restarts", crowds::nine_thousand_through_five_restarts),
    ("five hundred talk through two hundred kills", crowds::five_hundred_through_two_hundred_kills),
];

/// Whatever is wanted, the package has to be there.
const INSTALLING: (&str, Check) =
    ("installing enables and starts it", package::installing_enables_and_starts_it);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [storer::STORE, name, kind] => return storer::store_a_descriptor(name, kind),
        [crowds::CROWD, ref plan @ ..] => return crowds::talk(plan),
        _ => {}
    }
    if let Some(missing) = what_is_missing() {
        return left_out(&missing);
    }
    let (releases, words): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| RELEASES.contains(&word.as_str()));
    let is_built = words.iter().any(|word| word == BUILT);
    let packages = if is_built { Packages::built() } else { Packages::build() };
    let releases = if releases.is_empty() { RELEASES.map(str::to_owned).to_vec() } else { releases };
    let [release] = &releases[..] else { return at_once(&releases, &words) };
    let mut checks = Checks::of(words);
    if !checks.words.is_empty() {
        checks.words.push(INSTALLING.0.to_owned());
    }
    machine::enter_groups(release);
    // In a thread of its own, which goes into the network of the machine.
    let check_all = || check_all(release, &packages, &mut checks);
    let has_ended = std::thread::scope(|scope| scope.spawn(check_all).join()).is_ok();
    checks.failed += u32::from(!has_ended);
    checks.end()
}

/// Has a process check each release, all at once: half of the time is waiting. Shows what each says when it has ended.
fn at_once(releases: &[String], words: &[String]) -> ExitCode {
    let start = |release: &String| -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([release.as_str(), BUILT]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    };
    let running: Vec<Child> = releases.iter().map(start).collect();
    let end = |child: Child| std::thread::spawn(move || child.wait_with_output().unwrap());
    let ends: Vec<_> = running.into_iter().map(end).collect();
    let is_good = ends.into_iter().map(|end| {
        let output = end.join().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        output.status.success()
    });
    ExitCode::from(u8::from(is_good.filter(|is_good| !is_good).count() > 0))
}

fn check_all(release: &str, packages: &Packages, checks: &mut Checks) {
    let machine = Machine::boot(release);
    for (name, check) in if checks.is_long { LONG_CHECKS } else { CHECKS } {
        if checks.check(&format!("{release}: {name}"), || check(&machine, packages)) {
            machine.show("journalctl --no-pager -o short-monotonic -n 40");
        }
    }
}

fn what_is_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can boot a container".to_owned());
    }
    let tools =
        ["systemd-nspawn", "mmdebstrap", "nsenter", "strace", "nc", "telnet", "openssl", "ip", "cargo-deb"];
    let is_there = |tool: &str| Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let missing = tools.into_iter().find(|tool| !is_there(tool).is_ok_and(|found| found.status.success()));
    missing.map(|tool| format!("{tool} is missing"))
}
