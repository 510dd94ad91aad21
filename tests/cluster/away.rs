//! The engine is away: senders wait, everybody is told, and nothing is lost.

use crate::nodes::{Node, object, three};
use crate::redis::Server;
use crate::support::Caller;

pub fn the_engine_is_away_and_comes_back() {
    let mut redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let (mut ann, mut ben) = (nodes[0].join_as("ann"), nodes[1].join_as("ben"));
    let mut joe = nodes[2].join();
    for is_killed in [false, true] {
        if is_killed {
            redis.kill()
        } else {
            redis.pause(true)
        }
        ann.say("one\n");
        for caller in [&mut ann, &mut ben] {
            object(caller, |object| object["code"] == "engine_away");
        }
        // Who comes meanwhile is told at once.
        ben.say("two\n");
        if is_killed {
            redis.start_again()
        } else {
            redis.pause(false)
        }
        for caller in [&mut ann, &mut ben] {
            object(caller, |object| object["code"] == "engine_back");
        }
        let heard = [line(&mut joe), line(&mut joe)];
        assert!(heard == ["one", "two"] || heard == ["two", "one"], "{heard:?}");
        ann.say("three\n");
        assert_eq!(line(&mut joe), "three");
    }
}

/// The next line that somebody in plain text hears of another.
#[track_caller]
fn line(caller: &mut Caller) -> String {
    caller.until("\n")
}

pub fn a_node_starts_without_an_engine() {
    let mut redis = Server::start();
    redis.kill();
    let mut node = Node::start("alpha", &[redis.address()], "");
    // It is there, and nobody is greeted: there are no numbers to give.
    let mut waiting = Caller::connect(node.address());
    node.daemon.wait_for_log("engine");
    redis.start_again();
    waiting.expect(crate::support::GREETING);
    let mut ann = node.join_as("ann");
    waiting.say("hello\n");
    object(&mut ann, |object| object["text"] == "hello");
}
