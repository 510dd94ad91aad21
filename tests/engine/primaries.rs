//! Which engine is the primary: after a failover, and while an old one takes itself for it.

use chatd::chat::{Act, EngineEvent, Item, Sequencer, SessionId};
use chatd::cluster::Settings;

use crate::faults::has_heard;
use crate::node::{Node, settings};
use crate::redis::{Server, key};
use crate::support::wait_until;

#[test]
fn the_primary_is_found_and_a_replica_that_takes_over_has_what_was_said() {
    let [mut primary, replica] = Server::start_pair();
    let settings = |node| Settings { replicas: 1, ..settings(&[&replica, &primary], node) };
    let (mut alpha, mut beta) =
        (Node::start_with(settings("alpha"), None), Node::start_with(settings("beta"), None));
    alpha.open("main");
    beta.open("main");
    assert_eq!(alpha.handle.state().address, Some(primary.address()));
    (0..50).for_each(|number| alpha.say("main", 1, &format!("before {number}")));
    alpha.hear(50);
    beta.hear(50);
    // The replica does not get the next ones: the primary takes them with it.
    replica.pause(true);
    (0..50).for_each(|number| alpha.say("main", 1, &format!("lost {number}")));
    alpha.hear(100);
    beta.hear(100);
    primary.kill();
    replica.pause(false);
    replica.promote();
    beta.say("main", 2, "after");
    for node in [&mut alpha, &mut beta] {
        node.until(|node| node.texts().contains(&"after".to_owned()));
        has_heard(node, EngineEvent::Failover);
        assert_eq!(node.events.iter().filter(|event| **event == EngineEvent::Failover).count(), 1);
    }
    alpha.until_state(|state| state.address == Some(replica.address()));
    // Who comes now hears all of it: alpha has said again what was lost.
    let mut gamma = Node::start(&replica, "gamma");
    while gamma.opened.last().is_none_or(|(_, said, _)| *said < 101) {
        gamma.stream.close(&crate::node::room("main"));
        gamma.open("main");
    }
    for node in [&alpha, &beta] {
        let texts = node.texts();
        assert_eq!(
            texts.iter().filter(|text| text.starts_with("lost")).count(),
            50,
            "and nobody hears it twice"
        );
    }
}

#[test]
fn what_is_sent_again_is_known_to_a_process_that_has_taken_over() {
    let [mut primary, replica] = Server::start_pair();
    let settings = |node| settings(&[&replica, &primary], node);
    let mut alpha = Node::start_with(Settings { replicas: 1, ..settings("alpha") }, None);
    let mut beta = Node::start_with(settings("beta"), None);
    alpha.open("main");
    beta.open("main");
    // It does not get what follows, and goes on without it.
    replica.promote();
    (0..50).for_each(|number| alpha.say("main", 1, &format!("lost {number}")));
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    beta.hear(50);
    beta.until(|node| node.acts.len() == 1);
    let (cursor, last_act) = (beta.cursor, beta.last_act);
    let saved = beta.hand_over();
    let mut beta = Node::start_with(settings("beta"), Some(&saved));
    beta.stream.open(&crate::node::room("main"), Some(cursor));
    beta.stream.follow(last_act);
    primary.kill();
    has_heard(&mut beta, EngineEvent::Failover);
    alpha.say("main", 1, "after");
    assert_eq!(beta.hear(1), ["after"]);
    // The act counts again, behind a roster that was stored before it, and is done once.
    beta.until(|node| !node.acts.is_empty());
    assert_eq!(beta.again, [true]);
}

#[test]
fn an_old_primary_that_comes_back_as_one_is_left_alone() {
    let [mut primary, replica] = Server::start_pair();
    let start = |name| {
        let mut node = Node::start_with(settings(&[&primary, &replica], name), None);
        node.open("main");
        node
    };
    let mut nodes = [start("alpha"), start("beta")];
    // The other one does not get this act, so an epoch begins there.
    replica.promote();
    nodes[0].stream.submit(Item::Act(Act::Left(SessionId(1))));
    nodes.iter_mut().for_each(|node| node.until(|node| node.acts.len() == 1));
    primary.kill();
    for node in &mut nodes {
        has_heard(node, EngineEvent::Failover);
        node.until_state(|state| state.address == Some(replica.address()));
        node.until(|node| node.rosters == 2);
    }
    primary.start_again();
    assert!(
        primary.ask(&["HGET", "chatd:acts:state", "epoch"])
            < replica.ask(&["HGET", "chatd:acts:state", "epoch"])
    );
    // They look for another one, and find that one first.
    for number in 0..3 {
        replica.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        nodes[0].say("main", 1, &format!("after {number}"));
        nodes.iter_mut().for_each(|node| _ = node.hear(number + 1));
    }
    let gamma = Node::start_with(settings(&[&primary, &replica], "gamma"), None);
    for node in nodes.iter().chain([&gamma]) {
        node.until_state(|state| state.address == Some(replica.address()));
    }
    let failovers = nodes.each_ref().map(|node| node.handle.state().failovers);
    assert_eq!(failovers, [1, 1], "{:?}", nodes.each_ref().map(|node| &node.events));
    assert_eq!(primary.number(&["XLEN", &key("main")]), 0);
}

/// What the engine has lost, alpha has read. Beta, which has not, is there first, and says more than that in its place: in
/// a room that it has open, or that nobody has opened at this engine.
#[test]
fn what_is_said_in_the_place_of_what_is_lost_is_heard() {
    for opens in [true, false] {
        let [mut primary, replica] = Server::start_pair();
        let way = primary.socket().with_file_name("way");
        let later = format!("redis+unix://{}", way.display());
        let mut of_alpha = settings(&[&primary], "alpha");
        of_alpha.addresses.push(later.parse().unwrap());
        let mut alpha = Node::start_with(of_alpha, None);
        alpha.open("main");
        alpha.say("main", 1, "before");
        alpha.hear(1);
        wait_until("the replica has it", || replica.number(&["XLEN", &key("main")]) == 1);
        replica.promote();
        (0..3).for_each(|number| alpha.say("main", 1, &format!("lost {number}")));
        alpha.hear(4);
        primary.kill();
        let mut beta = Node::start(&replica, "beta");
        if opens {
            beta.open("main");
        }
        (0..5).for_each(|number| beta.say("main", 2, &format!("new {number}")));
        beta.until(|node| node.woken.len() == 5);
        std::os::unix::fs::symlink(replica.socket(), &way).unwrap();
        let new: Vec<String> = (0..5).map(|number| format!("new {number}")).collect();
        assert_eq!(alpha.hear(9)[4..], new);
        has_heard(&mut alpha, EngineEvent::Failover);
        assert!(alpha.lines[4].cursor.epoch > alpha.lines[3].cursor.epoch);
        assert!(!opens || alpha.lines[4..] == beta.lines, "with the same numbers");
    }
}
