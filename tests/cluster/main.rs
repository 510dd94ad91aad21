//! Several nodes for real: three chatd, a primary and a replica of the engine, and Sentinel.
//!
//! `cargo test --test cluster [-- [--long] [WORD...]]`. It needs redis-server and redis-sentinel, and starts
//! all of them on ports of the loopback address, with what they store in temporary folders. With words, only what has one
//! of them in its name; with `--long`, 50 rounds of everything that can happen, with 300 sessions and 2,000 lines a second.

// A failed expectation is a failed check.
#![allow(clippy::unwrap_used)]

mod archives;
mod away;
#[path = "../support/checks.rs"]
mod checks;
mod engine;
mod leak;
mod leaving;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../manager.rs"]
mod manager;
mod nodes;
mod operators;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../support/proxy.rs"]
mod proxy;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../support/redis.rs"]
mod redis;
mod rounds;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod talk;
mod trouble;
mod users;

use std::process::ExitCode;

use checks::Checks;

/// What is checked, in this order.
const CHECKS: &[(&str, fn())] = &[
    ("the oracle finds nothing at a single chatd", rounds::single),
    ("the oracle sees lines that are dropped", rounds::leak),
    ("the engine fails over", engine::fails_over),
    ("nc at one node hears nc at another", talk::nc_hears_nc),
    ("three nodes have one order", talk::three_nodes_have_one_order),
    ("sync is answered when lines are in the stream", talk::sync_is_answered_when_lines_are_in_the_stream),
    ("a name is held once", talk::a_name_is_held_once),
    ("who, rooms and private messages know all nodes", talk::who_and_messages_know_all_nodes),
    ("users of two machines are two", users::users_of_two_machines_are_two),
    ("the engine is away and comes back", away::the_engine_is_away_and_comes_back),
    ("a node starts without an engine", away::a_node_starts_without_an_engine),
    ("operators act on all nodes", operators::operators_act_on_all_nodes),
    ("chatctl leaves nothing in the engine", operators::chatctl_leaves_nothing_in_the_engine),
    ("operators get in while the engine is away", operators::operators_get_in_while_the_engine_is_away),
    ("operators get in before there is an engine", operators::operators_get_in_before_there_is_an_engine),
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
const LONG_CHECKS: &[(&str, fn())] = &[("everything that can happen, 50 rounds", rounds::long)];

fn main() -> ExitCode {
    let mut checks = Checks::of(std::env::args().skip(1));
    let table = if checks.is_long { LONG_CHECKS } else { CHECKS };
    for (name, check) in table {
        checks.check(name, check);
    }
    checks.end()
}
