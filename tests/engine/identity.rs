//! Who a node is, and which numbers it has: after a pause, after its clock was set back, and after the engine has lost
//! its data.

use chatd::chat::{Act, Item, Sequencer, SessionId};
use futures::executor::block_on;

use crate::faults::pair;
use crate::node::Node;
use crate::redis::Server;

#[test]
fn a_process_that_has_lost_its_name_writes_nothing_before_it_knows() {
    let server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    alpha.say("main", 1, "before");
    beta.hear(1);
    // A later process is alpha, and has said nothing yet.
    server.ask(&["SET", "chatd:node:alpha", "9000000000000000"]);
    alpha.say("main", 1, "from the past");
    alpha.until_state(|state| state.name_held_by == Some(9_000_000_000_000_000));
    beta.say("main", 2, "after");
    assert_eq!(beta.hear(2), ["before", "after"]);
}

#[test]
fn a_node_whose_clock_was_set_back_comes_after_the_process_before() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    // The process before was started when the clock was in the future.
    drop(alpha);
    server.ask(&["DEL", "chatd:node:alpha"]);
    server.ask(&["HSET", "chatd:acts:state", "w:alpha", "9000000000000000 5"]);
    alpha = Node::in_room(&server, "alpha", "main");
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    alpha.until(|node| !node.acts.is_empty());
    alpha.say("main", 1, "here");
    assert_eq!(alpha.hear(1), ["here"]);
    assert_eq!(alpha.handle.identity().incarnation, 9_000_000_000_000_001);
    assert_eq!(alpha.handle.state().name_held_by, None);
}

#[test]
fn an_engine_that_has_lost_its_data_gives_no_number_of_a_session_again() {
    let mut server = Server::start();
    let [alpha, beta] = pair(&server);
    let first = block_on(beta.handle.numbers(1_000_000)).end;
    server.kill();
    server.forget();
    server.start_again();
    // Who has seen this one has been in touch with the engine since then.
    let _gamma = Node::start(&server, "gamma");
    beta.until_state(|state| state.nodes.len() == 3);
    let blocks: Vec<_> = (0..4).map(|_| block_on(alpha.handle.numbers(0))).collect();
    assert!(blocks[3].start >= first, "{blocks:?}");
}
