//! Several nodes have one order, and lose nothing on the way from one process to the next.

use std::time::Duration;

use chatd::chat::{Act, Cursor, Sequencer, SessionId};
use chatd::cluster::{Ending, Settings};
use futures::executor::block_on;

use crate::node::{Node, settings};
use crate::redis::Server;
use crate::support::wait_until;

#[test]
fn two_nodes_have_one_order_with_numbers_without_a_gap() {
    let server = Server::start();
    let mut nodes = [Node::in_room(&server, "alpha", "main"), Node::in_room(&server, "beta", "main")];
    for number in 0..500 {
        nodes[0].say("main", 1, &format!("a{number}"));
        nodes[1].say("main", 2, &format!("b{number}\nand {number}"));
        if number % 7 == 0 {
            nodes.iter_mut().for_each(Node::take);
        }
    }
    nodes.iter_mut().for_each(|node| _ = node.hear(1000));
    let [a, b] = &nodes;
    assert_eq!(a.lines, b.lines);
    assert_eq!(a.woken.len(), 1000, "each node gets back what the other has said, too");
    let mut next = 1;
    for line in &a.lines {
        assert_eq!(line.seq, next, "{line:?}");
        next += line.text.lines().count() as u64;
    }
    for (id, first) in [(1, "a"), (2, "b")] {
        let own = a.lines.iter().filter(|line| line.from == id).map(|line| line.text.lines().next().unwrap());
        assert!(own.eq((0..500).map(|number| format!("{first}{number}"))), "the order of a sender is kept");
    }
    assert!(nodes.iter().all(|node| node.stream.is_settled()));
}

#[test]
fn a_room_that_is_opened_has_its_numbers_and_its_last_lines_and_goes_on_behind_them() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "ops");
    assert_eq!(alpha.opened[0].1, 0);
    (0..300).for_each(|number| alpha.say("ops", 1, &format!("line {number}")));
    alpha.hear(300);
    let mut beta = Node::in_room(&server, "beta", "OPS");
    let (name, said, cursor) = beta.opened[0].clone();
    assert_eq!((name.as_str(), said, cursor), ("OPS", 300, alpha.cursor));
    alpha.say("ops", 1, "after");
    assert_eq!(beta.hear(1), ["after"]);
    assert_eq!(beta.lines[0].seq, 301);
}

#[test]
fn rooms_are_closed_held_and_released() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    alpha.open("ops");
    let mut beta = Node::in_room(&server, "beta", "main");
    beta.open("ops");
    beta.stream.hold(&crate::node::room("ops"), true);
    alpha.say("ops", 1, "held");
    alpha.say("main", 1, "not held");
    assert_eq!(beta.hear(1), ["not held"]);
    beta.stream.hold(&crate::node::room("ops"), false);
    assert_eq!(beta.hear(2), ["not held", "held"]);
    beta.stream.close(&crate::node::room("ops"));
    alpha.say("ops", 1, "nobody there");
    alpha.hear(3);
    alpha.say("main", 1, "last");
    assert_eq!(beta.hear(3)[2], "last");
    // What is said in a room that is not open has its place, too, and its session goes on.
    let woken = beta.woken.len();
    beta.say("ops", 2, "on leaving");
    beta.until(|node| node.woken.len() > woken);
    alpha.until(|node| node.texts().contains(&"on leaving".to_owned()));
}

#[test]
fn long_input_comes_back_to_its_session_as_one_and_to_others_in_small_entries() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    let mut beta = Node::in_room(&server, "beta", "main");
    let line = "x".repeat(999);
    let text = vec![line.as_str(); 100].join("\n");
    alpha.say("main", 1, &text);
    alpha.say("main", 1, &"y".repeat(40_000));
    alpha.hear(2);
    assert_eq!((alpha.lines[0].text.len(), alpha.woken.len()), (text.len(), 2));
    beta.until(|node| node.texts().last().is_some_and(|text| text.starts_with('y')));
    let sizes: Vec<usize> = beta.lines.iter().map(|line| line.text.len()).collect();
    assert!(sizes.len() > 7 && sizes[..sizes.len() - 1].iter().all(|size| *size <= 16 << 10), "{sizes:?}");
    assert_eq!(alpha.cursor, beta.cursor);
    assert_eq!(beta.texts().join("\n"), alpha.texts().join("\n"));
}

#[test]
fn acts_have_one_order_and_a_roster_comes_first() {
    let server = Server::start();
    let mut nodes = [Node::start(&server, "alpha"), Node::start(&server, "beta")];
    for number in 1..=100 {
        nodes[0].stream.submit(chatd::chat::Item::Act(Act::Left(SessionId(number))));
        nodes[1].stream.submit(chatd::chat::Item::Act(Act::Left(SessionId(1000 + number))));
    }
    nodes.iter_mut().for_each(|node| node.until(|node| node.acts.len() >= 200));
    assert_eq!(nodes[0].acts, nodes[1].acts);
    assert!(nodes.iter().all(|node| node.rosters == 1));
    assert_eq!(nodes[0].acts.iter().filter(|(_, node)| node == "beta").count(), 100);
}

#[test]
fn what_is_under_way_at_a_handover_comes_back_in_the_next_process_once() {
    let mut server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    let mut beta = Node::in_room(&server, "beta", "main");
    alpha.say("main", 1, "before");
    alpha.hear(1);
    beta.hear(1);
    // Some of it gets to the engine, some does not.
    (0..50).for_each(|number| alpha.say("main", 1, &format!("under way {number}")));
    beta.hear(2);
    server.pause(true);
    (0..50).for_each(|number| alpha.say("main", 9, &format!("late {number}")));
    let cursor = alpha.cursor;
    let saved = alpha.hand_over();
    server.pause(false);
    let mut alpha = Node::start_with(settings(&[&server], "alpha"), Some(&saved));
    assert!(alpha.stream.has(SessionId(1)) && alpha.stream.has(SessionId(9)));
    assert!(!alpha.stream.has(SessionId(2)));
    alpha.stream.open(&crate::node::room("main"), Some(cursor));
    alpha.hear(100);
    beta.hear(101);
    assert_eq!(alpha.lines[..], beta.lines[1..], "nothing is lost, and nothing comes twice");
    assert!(!alpha.stream.has(SessionId(1)) && !alpha.stream.has(SessionId(9)));
    server.kill();
}

#[test]
fn numbers_of_sessions_are_given_once() {
    let server = Server::start();
    let nodes = [Node::start(&server, "alpha"), Node::start(&server, "beta")];
    let mut blocks: Vec<_> =
        (0..10).flat_map(|_| nodes.iter().map(|node| block_on(node.handle.numbers(0)))).collect();
    blocks.sort_by_key(|block| block.start);
    assert!(blocks.iter().all(|block| block.end - block.start == 1000 && block.start > 0));
    assert!(blocks.windows(2).all(|pair| pair[0].end <= pair[1].start), "{blocks:?}");
    let above = block_on(nodes[0].handle.numbers(1_000_000));
    assert!(above.start > 1_000_000);
}

/// The engine has to take that it leaves before it is out of time: on a busy machine the next one has more.
#[test]
fn a_node_whose_replicas_are_away_gives_its_name_up_when_it_leaves() {
    let server = Server::start();
    let gives_it_up = |more: u32| {
        let name = format!("alpha{more}");
        let settings = Settings { replicas: 1, ..settings(&[&server], &name) };
        let mut alpha = Node::start_with(settings, None);
        alpha.open("main");
        alpha.say("main", 1, &name);
        alpha.until(|node| node.texts().contains(&name));
        let exists = || server.number(&["EXISTS", &format!("chatd:node:{name}")]) == 1;
        assert!(exists());
        block_on(alpha.handle.stop(Ending::Leave, Duration::from_millis(500 << more)));
        !exists()
    };
    assert!((0..8).any(gives_it_up));
}

#[test]
fn a_node_that_leaves_says_so_and_one_that_is_killed_is_gone_after_a_while() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    let beta = Node::start(&server, "beta");
    let gamma = Node::start(&server, "gamma");
    alpha.until_state(|state| state.nodes.len() == 3 && state.nodes[0].name == "alpha");
    assert_eq!(block_on(beta.handle.stop(Ending::Leave, Duration::from_secs(60))), 0);
    alpha.until(|node| !node.acts.is_empty());
    assert_eq!(alpha.acts[0], (Act::Returned { sessions: Vec::new(), mark: 0 }, "beta".to_owned()));
    // As if its machine had died, and its time were over.
    drop(gamma);
    server.ask(&["DEL", "chatd:node:gamma"]);
    alpha.until(|node| node.acts.len() > 1);
    assert_eq!(alpha.acts[1], (Act::Gone("gamma".to_owned()), "alpha".to_owned()));
    assert_eq!(server.number(&["HEXISTS", "chatd:nodes", "gamma"]), 1, "until all nodes must know");
    alpha.until_state(|state| state.nodes.len() == 1);
}

#[test]
fn the_roster_is_stored_and_old_acts_are_given_up() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    alpha.until(|node| node.rosters == 1);
    alpha.stream.submit(chatd::chat::Item::Act(Act::Left(SessionId(1))));
    alpha.until(|node| !node.acts.is_empty());
    let entry = server.number(&["HGET", "chatd:acts:state", "entry"]);
    let epoch = server.number(&["HGET", "chatd:acts:state", "epoch"]);
    alpha.stream.store(chatd::chat::Roster::default(), Cursor { epoch, entry });
    let is_stored = || server.ask(&["HGET", "chatd:roster", "entry"]) == entry.to_string();
    wait_until("the roster is stored", is_stored);
    let mut beta = Node::start(&server, "beta");
    beta.until(|node| node.rosters == 1);
    alpha.stream.submit(chatd::chat::Item::Act(Act::Left(SessionId(2))));
    beta.until(|node| !node.acts.is_empty());
    assert_eq!(beta.acts[0].0, Act::Left(SessionId(2)), "what the roster has does not come again");
}

#[test]
fn acts_are_kept_until_the_roster_has_them_and_if_they_are_gone_it_goes_on() {
    const ACTS: u64 = 6000;
    let server = Server::start_with(&[]);
    let left = |number| chatd::chat::Item::Act(Act::Left(SessionId(number)));
    let mut alpha = Node::start(&server, "alpha");
    // The roster is stored early on, as while many come for the first time.
    alpha.stream.submit(left(1));
    alpha.until(|node| !node.acts.is_empty());
    let [epoch, entry] = ["epoch", "entry"].map(|name| server.number(&["HGET", "chatd:acts:state", name]));
    alpha.stream.store(chatd::chat::Roster::default(), Cursor { epoch, entry });
    let is_stored = || server.ask(&["HGET", "chatd:roster", "entry"]) == entry.to_string();
    wait_until("the roster is stored", is_stored);
    (1..=ACTS).for_each(|number| alpha.stream.submit(left(number)));
    alpha.until(|node| node.acts.len() as u64 > ACTS);
    let mut beta = Node::start(&server, "beta");
    beta.until(|node| node.acts.len() as u64 >= ACTS);
    assert_eq!((beta.acts.len() as u64, beta.rosters), (ACTS, 1));
    // Somebody trims them by hand.
    server.ask(&["XTRIM", "chatd:acts", "MAXLEN", "10"]);
    let mut gamma = Node::start(&server, "gamma");
    alpha.stream.submit(left(7));
    gamma.until(|node| node.acts.last().is_some_and(|(act, _)| *act == Act::Left(SessionId(7))));
    assert_eq!((gamma.acts.len(), gamma.rosters), (11, 1));
}
