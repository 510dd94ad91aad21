//! The bans of a cluster: nodes that come later or were down have them, and hostile ones stop nobody.

use chatd::chat::{Act, Cursor, Item, Sequencer, SessionId};

use crate::node::{Node, settings};
use crate::redis::Server;

#[test]
fn a_node_that_comes_later_has_the_bans_and_not_those_that_were_lifted() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    assert_eq!(alpha.banned(), [""; 0]);
    alpha.change_bans(&[
        "ban 192.0.2.1 until 2999-01-01T00:00:00Z by root reason too loud",
        "ban +ann",
        "mute bob",
    ]);
    alpha.change_bans(&["unban +ann", "unmute amy", "ban 192.0.2.2"]);
    let mut beta = Node::start(&server, "beta");
    let all =
        ["ban 192.0.2.1 until 2999-01-01T00:00:00Z by root reason too loud", "ban 192.0.2.2 ", "mute bob "];
    assert_eq!(beta.banned(), all);
    // A cluster that has not been there for a day has them all the same.
    drop((alpha, beta));
    server.ask(&["DEL", "chatd:acts", "chatd:acts:state", "chatd:roster"]);
    let mut gamma = Node::start(&server, "gamma");
    assert_eq!(gamma.banned(), all);
}

#[test]
fn a_command_of_an_operator_changes_the_bans_as_it_gets_its_place() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    alpha.banned();
    let by = (*crate::node::who(1)).clone();
    for changes in [vec![], vec!["ban 192.0.2.1 by root".to_owned()]] {
        let (line, about) = ("/ban 192.0.2.1".to_owned(), None);
        alpha.stream.submit(Item::Act(Act::Ordered { by: by.clone(), line, about, changes }));
    }
    alpha.until(|node| node.acts.len() == 2);
    assert_eq!(server.ask(&["HGET", "chatd:bans", "ban 192.0.2.1"]), "by root");
}

#[test]
fn a_node_that_was_down_has_what_was_changed_meanwhile() {
    let server = Server::start();
    let (mut alpha, mut beta) = (Node::start(&server, "alpha"), Node::start(&server, "beta"));
    let mut last = Cursor::default();
    alpha.banned();
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    alpha.until(|node| {
        last = node.last_act;
        !node.acts.is_empty()
    });
    let saved = alpha.hand_over();
    beta.change_bans(&["ban 192.0.2.1"]);
    // After a restart it follows the acts, and gets the bans before the first of them.
    let mut again = Node::start_with(settings(&[&server], "alpha"), Some(&saved));
    again.stream.follow(last);
    again.until(|node| node.acts.len() == 1);
    assert_eq!((again.rosters, again.banned()), (0, vec!["ban 192.0.2.1 ".to_owned()]));
    // While it is only cut off, the acts are enough.
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    beta.change_bans(&["ban 192.0.2.2"]);
    again.until(|node| node.acts.len() == 2);
    assert!(again.bans.is_empty());
}

#[test]
fn bans_that_have_ended_do_not_pile_up() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    alpha.banned();
    let ended: Vec<String> = (0..2000).map(|n| format!("ban +user{n} until 2026-01-01T00:00:00Z")).collect();
    alpha.change_bans(&ended.iter().map(String::as_str).collect::<Vec<_>>());
    let count = server.number(&["HLEN", "chatd:bans"]);
    assert!(count < 50, "{count}");
    // Nobody is told that they have no end, or another one.
    let held = ["ban +ann until 2999-01-01T00:00:00Z", "ban +ben "];
    alpha.change_bans(&held);
    alpha.change_bans(&ended.iter().map(String::as_str).collect::<Vec<_>>());
    let mut beta = Node::start(&server, "beta");
    let banned = beta.banned();
    assert!(held.iter().all(|line| banned.contains(&(*line).to_owned())), "{banned:?}");
}

#[test]
fn hostile_bans_stop_nobody() {
    let server = Server::start();
    server.ask(&["HSET", "chatd:bans", "id", "x", "ban \x1b[2J", "\x1b", "", "", "ban +ann", "by root"]);
    server.ask(&["HSET", "chatd:bans", "ban +ben", &"x".repeat(100_000), "mute", "me"]);
    let mut alpha = Node::start(&server, "alpha");
    alpha.until(|node| !node.bans.is_empty());
    assert!(alpha.bans[0].id > 1_600_000_000_000_000, "the engine has made one");
    let lines = alpha.banned();
    assert!(lines.contains(&"ban +ann by root".to_owned()) && !lines.iter().any(|line| line.len() > 1000));
    // Of the wrong type, or with far too many: everything else goes on.
    for bad in [
        "redis.call('DEL', 'chatd:bans'); redis.call('LPUSH', 'chatd:bans', 'x')",
        "redis.call('DEL', 'chatd:bans'); for i = 1, 200001 do redis.call('HSET', 'chatd:bans', i, 'x') end",
    ] {
        let reply = server.ask(&["EVAL", bad, "0"]);
        assert!(["", "nil"].contains(&reply.as_str()) || reply.parse::<i64>().is_ok(), "{reply}");
        let mut beta = Node::in_room(&server, "beta", "main");
        beta.until(|node| node.rosters == 1);
        beta.change_bans(&["ban 192.0.2.1", "unban 192.0.2.2"]);
        beta.say("main", 2, "hello");
        assert_eq!(beta.hear(1), ["hello"]);
        assert!(beta.bans.is_empty());
    }
}
