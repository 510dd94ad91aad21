//! What an engine may be like, and what may be in it: nothing of it stops a node, or speaks for others.

use crate::nodes::{Node, object, three};
use crate::redis::{Server, key};
use crate::support::Caller;

pub fn a_full_engine() {
    let redis = Server::start_with(&["--maxmemory-policy", "noeviction"]);
    let nodes = three(&[redis.address()], "");
    let (mut ann, mut ben) = (nodes[0].join_as("ann"), nodes[1].join());
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    ann.say("one\ntwo\n");
    object(&mut ann, |object| object["code"] == "engine_away");
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    ben.expect("one\ntwo\n");
    object(&mut ann, |object| object["code"] == "engine_back");
}

pub fn a_replica_is_passed_over() {
    let [primary, replica] = Server::start_pair();
    let nodes = three(&[replica.address(), primary.address()], "");
    let (mut ann, mut ben) = (nodes[0].join_as("ann"), nodes[1].join());
    ann.say("one\n");
    ben.expect("one\n");
    // They change places, and nobody is asked.
    replica.promote();
    primary.ask(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
    ann.say("two\n");
    ben.expect("two\n");
}

pub fn a_wrong_password() {
    let redis = Server::start_with(&["--requirepass", "secret"]);
    let mut node = Node::start_with_password("alpha", &[redis.address()], "wrong-one");
    let line = node.daemon.wait_for_log("password");
    assert!(!line.contains("wrong-one"), "{line}");
    drop(node);
    let node = Node::start_with_password("alpha", &[redis.address()], "secret");
    let (mut ann, mut ben) = (node.join_as("ann"), node.join());
    ann.say("one\n");
    ben.expect("one\n");
}

pub fn another_node_of_the_same_name() {
    let redis = Server::start();
    let mut nodes = three(&[redis.address()], "");
    let mut ann = nodes[0].join_as("ann");
    let mut other = Node::start("alpha", &[redis.address()], "");
    let line = other.daemon.wait_for_log("alpha");
    println!("{line}");
    let mut waiting = Caller::connect(other.address());
    // The first one goes on.
    let mut ben = nodes[1].join();
    ben.say("hello\n");
    object(&mut ann, |object| object["text"] == "hello");
    // And its name is free when it stops.
    nodes[0].daemon.signal("TERM");
    nodes[0].daemon.wait();
    waiting.expect(crate::support::GREETING);
    ben.say("hello again\n");
    waiting.until("hello again\n");
}

/// What somebody may write who can reach the engine: version, node, counter, time, number, lines, head and text. HEAD is
/// that of a line which somebody has said.
const FORGED: &[[&str; 8]] = &[
    ["", "", "", "", "", "", "", ""],
    ["2", "zeta", "1-1", "1", "1", "1", "HEAD", "newer\n"],
    ["1", "zeta", "1-1", "1", "1", "1", "{}", "no head\n"],
    ["1", "zeta", "1-1", "1", "1", "2", "HEAD", "too few\n"],
    ["1", "zeta", "1-1", "1", "1", "1", "HEAD", "no end"],
    ["1", "zeta", "1-1", "1", "1", "1", "HEAD", "\u{1b}[2Jnot clean\n"],
    ["1", "zeta", "1-1", "1", "1", "1", "HEAD", ""],
    ["1", "zeta", "x", "y", "z", "-1", "[", "numbers\n"],
    ["1", "ze\nta", "1-1", "1", "1", "1", "HEAD", "no node\n"],
    ["1", "beta", "99999999999999999999-1", "0", "0", "1", "HEAD", "too large\n"],
    ["1", "zeta", "1-1", "1", "1", "0", "\"Nonsense\"", ""],
    ["1", "zeta", "1-1", "1", "1", "0", "{\"Gone\":\"a\\nb\"}", ""],
];

pub fn entries_by_hand() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let (mut ann, mut ben) = (nodes[0].join_as("ann"), nodes[1].join());
    ann.say("one\n");
    ben.expect("one\n");
    let room = key("main");
    let entry = redis.ask(&["XREVRANGE", &room, "+", "-", "COUNT", "1"]);
    let head = entry.lines().skip_while(|line| *line != "d").nth(1).unwrap();
    for stream in [room.as_str(), "chatd:acts"] {
        for values in FORGED {
            let mut words = vec!["XADD", stream, "*"];
            for (name, value) in ["v", "n", "c", "t", "s", "l", "d", "x"].into_iter().zip(values) {
                words.extend([name, if *value == "HEAD" { head } else { value }]);
            }
            let id = redis.ask(&words);
            assert!(id.contains('-') && !id.contains("ERR"), "{id}");
        }
        ann.say(format!("after {stream}\n"));
        ben.expect(format!("after {stream}\n"));
    }
    for key in ["chatd:roster", "chatd:nodes"] {
        redis.ask(&["DEL", key]);
        assert_eq!(redis.ask(&["SET", key, "nonsense"]), "OK");
    }
    let mut eve = nodes[2].join();
    eve.say("hello\n");
    ben.expect("hello\n");
}
