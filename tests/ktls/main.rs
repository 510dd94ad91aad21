//! TLS in the kernel: boots a kernel that has it, and goes through restarts and crashes inside.
//!
//! `cargo test --test ktls [-- [--long] [WORD...]]`, on x86-64, with apt-get; it needs no root and no virtual machine.
//! The kernels are Debian's user-mode-linux: a program, which has the files of this machine to read, and processors,
//! memory and a network of its own. This same program runs inside, and chatd with it. With words, only what has one of
//! them in its name; with `--long`, crowds of 200 through 20 restarts and 50 kills, with each cipher. A run has 25 minutes,
//! so take some of these at a time: `-- --long "fifty kills with TLS 1.2"`.
//!
//! All is done twice: in the kernel of Debian 12, and in one that takes new keys. `CHATD_KTLS` has the names of other
//! suites of Debian: `CHATD_KTLS="trixie testing"`. If one of them cannot be booted, that is said; in CI it is a
//! failure if none can. A kernel before Linux 6.13 may not boot on a processor with AMX.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

#[path = "../support/checks.rs"]
mod checks;
mod clients;
mod crowds;
mod guest;
mod kernel;
mod left;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../manager.rs"]
mod manager;
mod memory;
mod records;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use checks::{Checks, left_out};
use clients::CIPHERS;
use kernel::{BOOTED, End, INSIDE, Kernel};

/// What is checked, in this order.
const CHECKS: &[(&str, fn())] = &[
    ("all talk with each other", records::all_talk_with_each_other),
    ("half a record wakes nobody", records::half_a_record_wakes_nobody),
    ("half a record is finished after a restart", records::half_a_record_is_finished_after_a_restart),
    ("half a record is finished after a kill", records::half_a_record_is_finished_after_a_kill),
    ("close_notify ends the input", records::close_notify_ends_the_input),
    ("who closes at once is heard", records::who_closes_at_once_is_heard),
    ("a handshake that is not done is closed", records::a_handshake_that_is_not_done_is_closed_at_a_restart),
    ("new keys are taken or end the connection", left::new_keys_are_taken_or_end_the_connection),
    ("new keys are owed after a crash", left::new_keys_are_owed_after_a_crash),
    ("the end of the input outlives a kill", left::the_end_of_the_input_outlives_a_kill),
    (
        "a record that was being received outlives a kill",
        left::a_record_that_was_being_received_outlives_a_kill,
    ),
    ("broken records end one connection", records::broken_records_end_one_connection),
    ("a stop ends with close_notify", records::a_stop_ends_with_close_notify),
    ("restarts disconnect nobody and lose nothing", crowds::restarts),
    ("kills disconnect nobody", crowds::kills),
];

/// What takes minutes: the memory, and crowds of 200 with each cipher alone, and one in plain text to compare.
fn long_checks(checks: &mut Checks) {
    checks.check("memory of idle sessions", memory::of_idle_sessions);
    for (what, trouble) in
        [("twenty restarts", crowds::TWENTY_RESTARTS), ("fifty kills", crowds::FIFTY_KILLS)]
    {
        checks.check(&format!("{what} in plain text"), || crowds::talk(0..0, trouble));
        for (cipher, (name, _)) in CIPHERS.iter().enumerate() {
            checks.check(&format!("{what} with {name}"), || crowds::talk(cipher..cipher + 1, trouble));
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [first, modules, words @ ..] if first == INSIDE => {
            println!("{BOOTED}");
            guest::prepare(modules.as_ref());
            return check_all(Checks::of(words.iter().cloned()));
        }
        _ => {}
    }
    let (mut has_failed, mut missing) = (false, Vec::new());
    let suites = kernel::suites();
    for suite in &suites {
        println!("\nthe kernel of Debian's {suite}");
        match Kernel::fetch(suite).map_or_else(End::NotBooted, |kernel| kernel.run(&words)) {
            End::Finished(counts) => {
                println!("\ntest result: {counts}");
                has_failed |= !counts.starts_with("ok");
            }
            End::Broken => {
                println!("\nit has ended before its checks had\ntest result: FAILED. 0 passed; 1 failed");
                has_failed = true;
            }
            End::NotBooted(why) => {
                missing.push(format!("this machine cannot boot the kernel of {suite}: {why}"))
            }
        }
    }
    if missing.len() == suites.len() {
        return left_out(&missing.join("\n"));
    }
    missing.iter().for_each(|why| println!("left out: {why}"));
    ExitCode::from(u8::from(has_failed))
}

fn check_all(mut checks: Checks) -> ExitCode {
    if checks.is_long {
        long_checks(&mut checks);
    } else {
        CHECKS.iter().for_each(|(name, check)| _ = checks.check(name, check));
    }
    checks.end()
}
