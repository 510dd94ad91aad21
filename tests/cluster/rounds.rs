//! Rounds: what can happen to nodes, the engine and what is between them, in turn, while a crowd talks at all nodes.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::engine::Engine;
use crate::leak;
use crate::nodes::{NAMES, Node};
use crate::proxy::Proxy;
use crate::redis::Server;
use crate::support::oracle::tally::{Report, Tally};
use crate::support::oracle::{Crash, Oracle, Plan, now};

/// Lines that they may be ahead of what is heard.
const AHEAD: u64 = 50;
/// How many lines each session hears from one thing that happens to the next.
const BETWEEN: u64 = 100;
/// What is told of the engine, in `names` and `json`: that it is away, that it is back, and a failover.
const NEWS: &[&str] = &[
    "chatd has lost touch with ",
    "chatd is in touch with ",
    "the cluster had a failure: ",
    "the room has another epoch",
];

/// Only what has the value of this variable in its name happens.
const ONLY: &str = "CHATD_TEST_HAPPENING";

/// Three nodes, each with a way of its own to each server of the engine.
struct Cluster {
    engine: Engine,
    ways: Vec<[Proxy; 2]>,
    nodes: Vec<Node>,
    sessions: u32,
}

impl Cluster {
    fn start(sessions: u32) -> Self {
        let engine = Engine::start();
        let to = |server: &Server| Proxy::to(([127, 0, 0, 1], server.port).into());
        let ways: Vec<_> = NAMES.iter().map(|_| engine.servers.each_ref().map(to)).collect();
        let start = |(name, ways): (&&str, &[Proxy; 2])| {
            let addresses = ways.each_ref().map(|way| format!("redis://{}", way.address));
            Node::start(name, &addresses, "replicas = 1\n")
        };
        let nodes = NAMES.iter().zip(&ways).map(start).collect();
        Self { engine, ways, nodes, sessions }
    }

    fn set(&self, nodes: &[usize], change: impl Fn(&Proxy)) {
        nodes.iter().flat_map(|node| &self.ways[*node]).for_each(change);
    }

    /// How many sessions a node has.
    fn sessions_of(&self, node: usize) -> u64 {
        (0..self.sessions).filter(|number| *number as usize % NAMES.len() == node).count() as u64
    }
}

/// Waits until they have heard something more.
fn go_on(oracle: &Oracle, sessions: u32, lines: u64) {
    oracle.wait_until_heard(oracle.heard() + u64::from(sessions) * lines);
}

/// What happens, to a node where it happens to one.
type Happening = fn(&mut Cluster, &Oracle, usize);

/// All that can happen.
const HAPPENINGS: [(&str, Happening); 12] = [
    ("engine stopped", engine_stopped),
    ("engine killed, restarted", engine_killed),
    ("replica stopped", replica_stopped),
    ("replica killed, restarted", replica_killed),
    ("node stopped", node_stopped),
    ("node killed, restarted", node_killed),
    ("node restarted as planned", node_restarted),
    ("answers to a node lost", answers_lost),
    ("a node cut off", node_cut_off),
    ("all nodes lost", all_lost),
    ("planned failover", planned_failover),
    ("primary killed, failover", failover),
];

fn engine_stopped(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    let (primary, before) = (cluster.engine.primary(), oracle.news());
    primary.pause(true);
    oracle.wait_for_news(before);
    primary.pause(false);
}

fn engine_killed(cluster: &mut Cluster, _: &Oracle, _: usize) {
    let at = cluster.engine.at();
    cluster.engine.servers[at].kill();
    cluster.engine.servers[at].start_again_with(&["--replicaof", "no", "one"]);
}

fn replica_stopped(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    let replica = cluster.engine.replica();
    replica.pause(true);
    go_on(oracle, cluster.sessions, BETWEEN);
    replica.pause(false);
}

fn replica_killed(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    let at = cluster.engine.at();
    let primary = cluster.engine.servers[at].port.to_string();
    cluster.engine.servers[1 - at].kill();
    go_on(oracle, cluster.sessions, BETWEEN);
    cluster.engine.servers[1 - at].start_again_with(&["--replicaof", "127.0.0.1", &primary]);
}

fn node_stopped(cluster: &mut Cluster, oracle: &Oracle, node: usize) {
    cluster.nodes[node].daemon.signal("STOP");
    go_on(oracle, cluster.sessions, BETWEEN / 4);
    cluster.nodes[node].daemon.signal("CONT");
}

fn node_killed(cluster: &mut Cluster, oracle: &Oracle, node: usize) {
    let (from, sessions) = (now(), cluster.sessions_of(node));
    cluster.nodes[node].kill(sessions);
    oracle.tell(Crash { from, to: now(), node: Some(node), is_failover: false });
    cluster.nodes[node].start_again();
    oracle.wait_until_told();
}

fn node_restarted(cluster: &mut Cluster, _: &Oracle, node: usize) {
    cluster.nodes[node].restart();
}

fn answers_lost(cluster: &mut Cluster, oracle: &Oracle, node: usize) {
    let before = oracle.news();
    cluster.set(&[node], Proxy::lose_answers);
    oracle.wait_for_news(before);
    cluster.set(&[node], Proxy::renew);
}

fn node_cut_off(cluster: &mut Cluster, oracle: &Oracle, node: usize) {
    let before = oracle.news();
    cluster.set(&[node], Proxy::cut);
    oracle.wait_for_news(before);
    cluster.set(&[node], Proxy::renew);
}

fn all_lost(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    let before = oracle.news();
    cluster.set(&[0, 1, 2], Proxy::lose_everything);
    oracle.wait_for_news(before);
    cluster.set(&[0, 1, 2], Proxy::renew);
}

/// Tells the oracle when it begins and when it is over.
fn failing_over(cluster: &mut Cluster, oracle: &Oracle, happen: impl FnOnce(&mut Engine)) {
    cluster.engine.wait_until_it_knows_the_replica();
    let crash = Crash { from: now(), to: u64::MAX / 2, node: None, is_failover: true };
    oracle.tell(crash);
    happen(&mut cluster.engine);
    go_on(oracle, cluster.sessions, BETWEEN);
    oracle.tell(Crash { to: now(), ..crash });
}

fn planned_failover(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    failing_over(cluster, oracle, |engine| engine.switch());
}

fn failover(cluster: &mut Cluster, oracle: &Oracle, _: usize) {
    failing_over(cluster, oracle, Engine::lose_the_primary);
}

/// What is told of one kind of happening.
#[derive(Default)]
struct Row {
    times: u32,
    /// The longest time until everybody heard more again, in seconds.
    longest: f32,
    notices: u64,
    /// Which crashes and failovers it has made.
    crashes: Vec<usize>,
}

/// Has everything happen so often, with so many sessions, which say so many lines a second.
fn run(rounds: usize, sessions: u32, rate: u32) {
    let mut cluster = Cluster::start(sessions);
    let mut plan = Plan::new(cluster.nodes[0].address(), sessions, rate);
    plan.more = cluster.nodes[1..].iter().map(Node::address).collect();
    (plan.most_ahead, plan.news) = (Some(AHEAD), NEWS);
    let oracle = Oracle::start(plan);
    let (mut rows, mut crashes): (BTreeMap<usize, Row>, _) = (BTreeMap::new(), 0);
    go_on(&oracle, sessions, BETWEEN);
    let start = now();
    let word = std::env::var(ONLY).unwrap_or_default();
    let wanted: Vec<usize> = (0..HAPPENINGS.len()).filter(|at| HAPPENINGS[*at].0.contains(&word)).collect();
    for round in 0..rounds {
        let (at, node) = (wanted[round % wanted.len()], (round + round / HAPPENINGS.len()) % NAMES.len());
        let (name, happening) = HAPPENINGS[at];
        let (start, before) = (Instant::now(), oracle.news());
        let faults = oracle.faults();
        happening(&mut cluster, &oracle, node);
        go_on(&oracle, sessions, BETWEEN);
        let row = rows.entry(at).or_default();
        row.times += 1;
        row.longest = row.longest.max(start.elapsed().as_secs_f32());
        row.notices += oracle.news() - before;
        println!("round {}: {name}, {}: {} faults", round + 1, NAMES[node], oracle.faults() - faults);
        if matches!(name, "node killed, restarted" | "planned failover" | "primary killed, failover") {
            row.crashes.push(crashes);
            crashes += 1;
        }
    }
    let report = oracle.finish();
    let took = now() - start;
    print(&rows, &report, took);
    report.expect_no_faults();
    let by_failover = rows.iter().filter(|(at, _)| HAPPENINGS[**at].0.contains("failover"));
    let lost: u64 = by_failover.map(|(_, row)| lost(row, &report)).sum();
    assert_eq!(lost, 0, "with a replica that has everything, a failover loses nothing");
}

fn lost(row: &Row, report: &Report) -> u64 {
    row.crashes.iter().map(|at| report.losses[*at].lines).sum()
}

fn print(rows: &BTreeMap<usize, Row>, report: &Report, took: u64) {
    println!("\n{:28} {:>5} {:>10} {:>8} {:>6}", "what happened", "times", "longest s", "away", "lost");
    for (at, row) in rows {
        let (name, lost) = (HAPPENINGS[*at].0, lost(row, report));
        println!("{name:28} {:>5} {:>10.1} {:>8} {lost:>6}", row.times, row.longest, row.notices);
    }
    let (tally, lines) = (&report.tally, report.lines);
    let rate = lines as f32 * 1e6 / took as f32;
    println!("{report}");
    println!(
        "{rate:.0} lines/s; heard at another place {}; faults {}; notices {:?}",
        tally.reordered, tally.fault_count, tally.news
    );
}

/// Each once, with few.
pub fn short() {
    run(HAPPENINGS.len(), 30, 300);
}

/// The full measure.
pub fn long() {
    run(50, 300, 2000);
}

/// One chatd, restarted once: what is wrong here is wrong with the oracle.
pub fn single() {
    let mut node = Node::alone();
    let oracle = Oracle::start(Plan::new(node.address(), 30, 300));
    go_on(&oracle, 30, BETWEEN);
    oracle.begin();
    node.restart();
    go_on(&oracle, 30, BETWEEN);
    let from = now();
    oracle.crash_again(from, || node.kill(30));
    node.start_again();
    oracle.wait_until_told();
    go_on(&oracle, 30, BETWEEN);
    let report = oracle.finish();
    println!("{report}");
    report.expect_no_faults();
}

/// One chatd, and a way to it on which each connection loses a line.
pub fn leak() {
    let node = Node::alone();
    let mut plan = Plan::new(node.address(), 30, 300);
    plan.more = vec![leak::leak(node.address())];
    let oracle = Oracle::start(plan);
    go_on(&oracle, 30, BETWEEN);
    let report = oracle.finish();
    println!("{report}");
    let Tally { faults, fault_count, .. } = &report.tally;
    let has = |text: &str| faults.iter().any(|fault| fault.contains(text));
    assert!(*fault_count >= 2 && has(" is lost") && has(" has heard number "), "{faults:#?}");
}
