//! The tests: 300 seeds; `CHATD_SEEDS=10000` runs more, `CHATD_SEED=7` that one.

use std::cell::RefCell;
use std::env;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use super::common::Trace;
use super::nodes::world::World as Cluster;
use super::world::World;

/// How many seeds there are, unless `CHATD_SEEDS` says so.
const SEEDS: u64 = 300;

/// How many there are for the sequencer.
const LATE_SEEDS: u64 = 30;

/// How many tests share them.
const TESTS: u64 = 6;

/// How many tests share those of several nodes.
const CLUSTER_TESTS: u64 = 3;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// The seeds that `all` has, or the one that the environment names.
fn seeds(all: u64) -> Range<u64> {
    number("CHATD_SEED").map_or(0..number("CHATD_SEEDS").unwrap_or(all), |seed| seed..seed + 1)
}

/// Runs one world; a failure says how to run it again. Returns how many lines were heard.
fn run(seed: u64, world: impl FnOnce(u64, Trace) -> usize) -> usize {
    let trace = Trace::new(RefCell::default());
    let run = || world(seed, Rc::clone(&trace));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|failure| {
        let (step, steps) = &*trace.borrow();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        eprintln!("seed {seed}, step {step}; before that:\n{}", steps.join("\n"));
        eprintln!("run it again: CHATD_SEED={seed} cargo test --lib simulator");
        panic::resume_unwind(failure)
    })
}

/// Runs each seed that is the share of one test.
fn run_share(share: u64) {
    let heard: usize = seeds(SEEDS)
        .filter(|seed| seed % TESTS == share)
        .map(|seed| run(seed, |seed, trace| World::new(seed, trace).run()))
        .sum();
    println!("share {share}: {heard} lines were heard");
}

/// Nothing is appended that was not given back, nobody goes on before, and all arrives once, in its order.
#[test]
fn a_sequencer_may_give_back_late_and_outlive_the_hub() {
    let heard: usize =
        seeds(LATE_SEEDS).map(|seed| run(seed, |seed, trace| World::late(seed, trace).run())).sum();
    println!("{heard} lines were heard");
}

/// The same for several nodes.
fn run_cluster_share(share: u64) {
    let cluster = |seed, trace| Cluster::new(seed, trace).run();
    let heard: usize =
        seeds(SEEDS).filter(|seed| seed % CLUSTER_TESTS == share).map(|seed| run(seed, cluster)).sum();
    println!("share {share}: {heard} lines were heard");
}

#[test]
fn several_nodes_are_one_0() {
    run_cluster_share(0);
}

#[test]
fn several_nodes_are_one_1() {
    run_cluster_share(1);
}

#[test]
fn several_nodes_are_one_2() {
    run_cluster_share(2);
}

#[test]
fn a_house_of_many_keeps_its_word_0() {
    run_share(0);
}

#[test]
fn a_house_of_many_keeps_its_word_1() {
    run_share(1);
}

#[test]
fn a_house_of_many_keeps_its_word_2() {
    run_share(2);
}

#[test]
fn a_house_of_many_keeps_its_word_3() {
    run_share(3);
}

#[test]
fn a_house_of_many_keeps_its_word_4() {
    run_share(4);
}

#[test]
fn a_house_of_many_keeps_its_word_5() {
    run_share(5);
}
