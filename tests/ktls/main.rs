//! TLS in the kernel: boots a kernel that has it, and goes through restarts and crashes inside.
//!
//! `cargo test --test ktls [-- [--long] [WORD...]]`, on x86-64, with apt-get; it needs no root and no virtual machine.
//! The kernel is Debian's user-mode-linux: a program, which has the files of this machine to read, and processors,
//! memory and a network of its own. This same program runs inside, and chatd with it. With words, only what has one of
//! them in its name; with `--long`, crowds of 200 through 20 restarts and 50 kills, with each cipher. A run has 25 minutes,
//! so take some of these at a time: `-- --long "fifty kills with TLS 1.2"`.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

mod clients;
mod crowds;
mod guest;
mod kernel;
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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clients::CIPHERS;
use kernel::{BOOTED, End, INSIDE, Kernel};

/// A check.
type Check = fn();

/// What is checked, in this order.
const CHECKS: &[(&str, Check)] = &[
    ("all talk with each other", records::all_talk_with_each_other),
    ("half a record wakes nobody", records::half_a_record_wakes_nobody),
    ("half a record is finished after a restart", records::half_a_record_is_finished_after_a_restart),
    ("half a record is finished after a kill", records::half_a_record_is_finished_after_a_kill),
    ("close_notify ends the input", records::close_notify_ends_the_input),
    ("who closes at once is heard", records::who_closes_at_once_is_heard),
    ("a handshake that is not done is closed", records::a_handshake_that_is_not_done_is_closed_at_a_restart),
    ("other keys end the connection", records::other_keys_end_the_connection),
    ("broken records end one connection", records::broken_records_end_one_connection),
    ("a stop ends with close_notify", records::a_stop_ends_with_close_notify),
    ("restarts disconnect nobody and lose nothing", crowds::restarts),
    ("kills disconnect nobody", crowds::kills),
];

/// What takes minutes: the memory, and crowds of 200 with each cipher alone, and one in plain text to compare.
fn long_checks() -> Vec<(String, Box<dyn Fn()>)> {
    let mut checks: Vec<(String, Box<dyn Fn()>)> =
        vec![("memory of idle sessions".to_owned(), Box::new(memory::of_idle_sessions))];
    for (what, trouble) in
        [("twenty restarts", crowds::TWENTY_RESTARTS), ("fifty kills", crowds::FIFTY_KILLS)]
    {
        checks.push((format!("{what} in plain text"), Box::new(move || crowds::talk(0..0, trouble))));
        for (cipher, (name, _)) in CIPHERS.iter().enumerate() {
            let check = move || crowds::talk(cipher..cipher + 1, trouble);
            checks.push((format!("{what} with {name}"), Box::new(check)));
        }
    }
    checks
}

/// The option for what takes minutes.
const LONG: &str = "--long";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [first, modules, words @ ..] if first == INSIDE => {
            println!("{BOOTED}");
            guest::prepare(modules.as_ref());
            return check_all(words);
        }
        _ => {}
    }
    let end = match Kernel::fetch() {
        Ok(kernel) => kernel.run(&words),
        Err(why) => End::NotBooted(why),
    };
    match end {
        End::Finished(counts) => {
            println!("\ntest result: {counts}");
            ExitCode::from(u8::from(!counts.starts_with("ok")))
        }
        End::Broken => {
            println!("\nthe kernel has ended before its checks had\ntest result: FAILED. 0 passed; 1 failed");
            ExitCode::FAILURE
        }
        End::NotBooted(why) => {
            println!("left out: this machine cannot boot a kernel with TLS: {why}");
            ExitCode::from(u8::from(std::env::var_os("CI").is_some_and(|ci| ci == "true")))
        }
    }
}

/// Goes through what is wanted, and counts.
fn check_all(words: &[String]) -> ExitCode {
    let (options, words): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with('-'));
    let checks = match options.iter().any(|option| *option == LONG) {
        true => long_checks(),
        false => CHECKS
            .iter()
            .map(|(name, check)| ((*name).to_owned(), Box::new(check) as Box<dyn Fn()>))
            .collect(),
    };
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in checks.into_iter().filter(|(name, _)| is_wanted(name)) {
        println!("\n== {name}");
        let start = Instant::now();
        let is_good = catch_unwind(AssertUnwindSafe(check)).is_ok();
        passed += u32::from(is_good);
        failed += u32::from(!is_good);
        println!("{}, {:.1} s", if is_good { "ok" } else { "FAILED" }, start.elapsed().as_secs_f32());
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {result}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}
