//! Several nodes for real: three chatd, a primary and a replica of the engine, and Sentinel.
//!
//! `cargo test --test cluster [-- [--long] [WORD...]]`. It needs redis-server, redis-sentinel and redis-cli, and starts
//! all of them on ports of the loopback address, with what they store in temporary folders. With words, only what has one
//! of them in its name; with `--long`, 50 rounds of everything that can happen, with 300 sessions and 2,000 lines a second.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

mod archives;
mod away;
mod engine;
mod leaving;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../manager.rs"]
mod manager;
mod nodes;
mod proxy;
mod rounds;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod talk;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A check.
type Check = fn();

/// What is checked, in this order.
const CHECKS: &[(&str, Check)] = &[
    ("the oracle finds nothing at a single chatd", rounds::single),
    ("the oracle sees lines that are dropped", rounds::leak),
    ("the engine fails over", engine::fails_over),
    ("nc at one node hears nc at another", talk::nc_hears_nc),
    ("three nodes have one order", talk::three_nodes_have_one_order),
    ("sync is answered when lines are in the stream", talk::sync_is_answered_when_lines_are_in_the_stream),
    ("a name is held once", talk::a_name_is_held_once),
    ("who, rooms and private messages know all nodes", talk::who_and_messages_know_all_nodes),
    ("the engine is away and comes back", away::the_engine_is_away_and_comes_back),
    ("a node starts without an engine", away::a_node_starts_without_an_engine),
    ("a full engine", trouble::a_full_engine),
    ("a replica that nobody may write to", trouble::a_replica_is_passed_over),
    ("a wrong password", trouble::a_wrong_password),
    ("another node of the same name", trouble::another_node_of_the_same_name),
    ("entries by hand", trouble::entries_by_hand),
    ("a killed node is gone once", leaving::a_killed_node_is_gone_once),
    ("chatc goes on at the next node", leaving::chatc_goes_on_at_the_next_node),
    ("all archives are the same", archives::all_archives_are_the_same),
    ("everything that can happen, once", rounds::short),
];

/// What takes minutes.
const LONG_CHECKS: &[(&str, Check)] = &[("everything that can happen, 50 rounds", rounds::long)];

/// The option for what takes minutes.
const LONG: &str = "--long";

fn main() -> ExitCode {
    if let Err(program) = engine::look() {
        println!("left out: {program} is missing: apt-get install redis-server redis-sentinel redis-tools");
        return ExitCode::from(u8::from(std::env::var_os("CI").is_some_and(|ci| ci == "true")));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, words): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with('-'));
    let checks = if options.iter().any(|option| *option == LONG) { LONG_CHECKS } else { CHECKS };
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in checks.iter().filter(|(name, _)| is_wanted(name)) {
        println!("\n== {name}");
        let start = Instant::now();
        let is_good = catch_unwind(AssertUnwindSafe(check)).is_ok();
        passed += u32::from(is_good);
        failed += u32::from(!is_good);
        println!("{}, {:.1} s", if is_good { "ok" } else { "FAILED" }, start.elapsed().as_secs_f32());
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}
