//! What somebody has written into the engine by hand stops no node, and forges nothing.

use chatd::chat::{Act, Item, Sequencer, SessionId};

use futures::executor::block_on;

use crate::node::Node;
use crate::redis::{Server, key};

/// The fields of an entry as a node writes it.
const GOOD: [(&str, &str); 9] = [
    ("v", "1"),
    ("r", "0"),
    ("n", "gamma"),
    ("c", "7-1"),
    ("t", "1764366000000000"),
    ("s", "1"),
    ("l", "1"),
    (
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":true,"text":"guest77"},"verified":false}}}"#,
    ),
    ("x", "by hand\n"),
];

/// What makes it bad: fields that are different.
const BAD: [&[(&str, &str)]; 39] = [
    &[("v", "2")],
    &[("v", "18446744073709551615")],
    &[("v", "")],
    &[("v", "0")],
    &[("n", "")],
    &[("n", "a b")],
    &[("n", "\x1b[2J")],
    &[("c", "7")],
    &[("c", "-1")],
    &[("c", "7-18446744073709551616")],
    &[("t", "-1")],
    &[("t", "99999999999999999999")],
    &[("s", "0")],
    &[("s", "18446744073709551615")],
    &[("s", "x")],
    &[("l", "2")],
    &[("l", "0")],
    &[("l", "4294967296")],
    &[("d", "")],
    &[("d", "{")],
    &[("d", "null")],
    &[("d", "[[[[[[[[[[")],
    &[("d", r#"{"Shouted":{}}"#)],
    &[("x", "no end")],
    &[("x", "")],
    &[("x", "\x1b[2J\n")],
    &[("x", "two\nlines\n")],
    &[("x", "\u{202e}bidi\n")],
    // The name of another guest; one that no member may have; one with a line ending; one in another's clothes.
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":true,"text":"guest1"},"verified":false}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":false,"text":"chatd"},"verified":false}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":false,"text":"a\nb"},"verified":false}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":true,"text":"root"},"verified":true}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":78,"who":{"id":77,"name":{"guest":true,"text":"guest77"},"verified":false}}}"#,
    )],
    // Nobody types the node of a machine, nor does a guest have one; it is a word; and there may be no name at all.
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":false,"text":"root@alpha"},"verified":false}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":true,"text":"guest77@alpha"},"verified":true}}}"#,
    )],
    &[(
        "d",
        r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"name":{"guest":false,"text":"root@a b"},"verified":true}}}"#,
    )],
    &[("d", r#"{"Said":{"kind":"Message","from":77,"who":{"id":77,"verified":false}}}"#)],
    &[("d", r#"{"Joined":[{"id":77,"name":{"guest":true,"text":"guest77"},"verified":false}]}"#)],
    &[
        (
            "d",
            r#"{"Renamed":{"from":{"id":77,"name":{"guest":true,"text":"guest77"},"verified":false},"to":{"id":78,"name":{"guest":true,"text":"guest78"},"verified":false},"asked":null}}"#,
        ),
        ("l", "0"),
        ("x", ""),
    ],
];

fn add(server: &Server, key: &str, changed: &[(&str, &str)]) {
    let mut parts = vec!["XADD", key, "*"];
    for (name, value) in GOOD {
        let other = changed.iter().find(|(other, _)| *other == name);
        parts.extend([name, other.map_or(value, |(_, value)| value)]);
    }
    let reply = server.ask(&parts);
    assert!(reply.contains('-') && !reply.contains("ERR"), "{reply}");
}

#[test]
fn bad_entries_are_skipped_and_counted_and_the_rest_is_heard() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    let main = key("main");
    alpha.say("main", 1, "before");
    alpha.hear(1);
    for (number, changed) in BAD.iter().enumerate() {
        add(&server, &main, changed);
        alpha.say("main", 1, &number.to_string());
        let heard = alpha.hear(number + 2);
        assert_eq!(heard.last().unwrap(), &number.to_string(), "{changed:?}");
        assert_eq!(alpha.lines.last().unwrap().seq, number as u64 + 2, "it has no number");
    }
    assert_eq!(alpha.handle.state().skipped, BAD.len() as u64);
    // Without fields that matter, and with others.
    server.ask(&["XADD", &main, "*", "a", "b"]);
    add(&server, &main, &[]);
    alpha.until(|node| node.texts().last().is_some_and(|text| text == "by hand"));
    assert_eq!(alpha.handle.state().skipped, BAD.len() as u64 + 1);
    // Who comes later is not stopped by any of it.
    let mut beta = Node::in_room(&server, "beta", "main");
    beta.say("main", 2, "later");
    beta.hear(1);
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    beta.say("main", 2, "even later");
    beta.hear(2);
    assert!(beta.handle.state().epochs == 0, "entries by others are no loss");
}

#[test]
fn bad_acts_are_skipped() {
    let server = Server::start();
    let mut alpha = Node::start(&server, "alpha");
    alpha.until(|node| node.rosters == 1);
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    alpha.until(|node| node.acts.len() == 1);
    let claim = |name: &str| {
        format!(
            r#"{{"Claimed":{{"id":1,"room":{{"guest":false,"text":"ops"}},"name":{name},"key":null,"new_key":null}}}}"#
        )
    };
    let bad = [
        r#"{"Left":1}"#.to_owned() + " {}",
        r#"{"Gone":"\u001b[2J"}"#.to_owned(),
        r#"{"Told":{"from":1,"to":2,"text":"two\nlines"}}"#.to_owned(),
        claim(r#"{"guest":false,"text":"server"}"#),
        claim(r#"{"guest":false,"text":"\u202eann"}"#),
        claim(r#"{"guest":true,"text":"ann"}"#),
    ];
    for act in &bad {
        add(&server, "chatd:acts", &[("d", act), ("l", "0"), ("x", "")]);
    }
    add(&server, "chatd:acts", &[("d", r#"{"Left":2}"#)]);
    alpha.stream.submit(Item::Act(Act::Left(SessionId(3))));
    alpha.until(|node| node.acts.len() == 2);
    assert_eq!(alpha.acts[1].0, Act::Left(SessionId(3)));
    assert_eq!(alpha.handle.state().skipped, bad.len() as u64 + 1);
}

/// What a node says for the first time has not come before, whatever somebody has written in its name.
#[test]
fn a_counter_that_somebody_made_up_silences_nobody() {
    let server = Server::start();
    let [mut alpha, mut beta] = crate::faults::pair(&server);
    let mut said = 0;
    let mut say = |alpha: &mut Node, beta: &mut Node| {
        said += 1;
        alpha.say("main", 1, &format!("line {said}"));
        alpha.stream.submit(Item::Act(Act::Left(SessionId(said))));
        for node in [alpha, beta] {
            node.until(|node| node.texts().contains(&format!("line {said}")));
            node.until(|node| node.acts.iter().any(|(act, _)| *act == Act::Left(SessionId(said))));
        }
    };
    say(&mut alpha, &mut beta);
    let incarnation = alpha.handle.identity().incarnation;
    for counter in [said_next(&alpha, &server), 1 << 53, u64::MAX] {
        for again in ["0", "1"] {
            let count = format!("{incarnation}-{counter}");
            let forged = [("n", "alpha"), ("c", count.as_str()), ("r", again)];
            add(&server, &key("main"), &forged);
            let act = [("d", r#"{"Left":2}"#), ("l", "0"), ("x", "")];
            add(&server, "chatd:acts", &[&forged[..], &act].concat());
            say(&mut alpha, &mut beta);
        }
    }
    // What is sent again, when the engine is back, is not taken for something that came before, either.
    server.pause(true);
    alpha.say("main", 1, "meanwhile");
    crate::faults::has_heard(&mut alpha, chatd::chat::EngineEvent::Away);
    alpha.until_state(|state| state.address.is_none());
    server.pause(false);
    for node in [&mut alpha, &mut beta] {
        node.until(|node| node.texts().contains(&"meanwhile".to_owned()));
        let own = node.texts().into_iter().filter(|text| text != "by hand").count();
        assert_eq!(own, 8, "each once: {:?}", node.texts());
    }
}

/// Members are told of missing lines only where the stream lacks entries.
#[test]
fn a_number_that_somebody_made_up_has_nobody_told_of_missing_lines() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    let main = key("main");
    alpha.say("main", 1, "before");
    alpha.hear(1);
    add(&server, &main, &[("s", "1000000")]);
    add(&server, &main, &[("d", "null"), ("s", "2000000"), ("l", "1000")]);
    add(&server, &main, &[("s", "3000000")]);
    alpha.say("main", 1, "after");
    alpha.hear(4);
    assert_eq!((alpha.gaps, alpha.handle.state().skipped), (0, 1));
}

/// Returns the counter that comes next in the main room.
fn said_next(alpha: &Node, server: &Server) -> u64 {
    let last = server.ask(&["HGET", &format!("{}:state", key("main")), "w:alpha"]);
    let last = last.trim_matches('"').split(' ').nth(1).and_then(|last| last.parse::<u64>().ok());
    assert!(alpha.stream.is_settled());
    // An act comes first.
    last.unwrap() + 2
}

#[test]
fn nonsense_in_the_other_keys_stops_nobody() {
    let server = Server::start();
    let state = format!("{}:state", key("main"));
    server.ask(&["HSET", &state, "epoch", "x", "seq", "-5", "entry", "1e300", "w:alpha", "nonsense"]);
    server.ask(&["HSET", "chatd:roster", "epoch", "7", "entry", "9", "roster", "{"]);
    server.ask(&["HSET", "chatd:nodes", "\x1b[2J", "x", "ghost", "{\"since\":1e400}", "gamma", "{}"]);
    let mut alpha = Node::in_room(&server, "alpha", "main");
    alpha.say("main", 1, "one");
    assert_eq!(alpha.hear(1), ["one"]);
    alpha.until(|node| node.rosters == 1);
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    // Nodes that were never there are gone.
    alpha.until(|node| node.acts.len() >= 3);
    let acts: Vec<&Act> = alpha.acts.iter().map(|(act, _)| act).collect();
    assert!(acts.contains(&&Act::Gone("ghost".to_owned())) && acts.contains(&&Act::Gone("gamma".to_owned())));
}

#[test]
fn keys_of_the_wrong_type_stop_no_rooms() {
    let server = Server::start();
    for key in ["chatd:sessions", "chatd:nodes"] {
        server.ask(&["LPUSH", key, "x"]);
    }
    let mut alpha = Node::in_room(&server, "alpha", "main");
    alpha.say("main", 1, "one");
    assert_eq!(alpha.hear(1), ["one"]);
    server.ask(&["DEL", "chatd:sessions"]);
    assert!(block_on(alpha.handle.numbers(0)).start > 0);
    assert!(!alpha.events.contains(&chatd::chat::EngineEvent::Away));
}

#[test]
fn identifiers_from_the_end_of_time_stop_one_room_alone() {
    let server = Server::start();
    let mut alpha = Node::in_room(&server, "alpha", "main");
    alpha.open("ops");
    server.ask(&["XADD", &key("ops"), "18446744073709551615-1", "a", "b"]);
    alpha.say("ops", 1, "in ops");
    alpha.say("main", 2, "in main");
    assert_eq!(alpha.hear(1), ["in main"]);
    server.ask(&["DEL", &key("ops")]);
    alpha.say("main", 2, "still in main");
    alpha.until(|node| node.texts().contains(&"still in main".to_owned()));
}

#[test]
fn a_string_that_is_too_long_is_skipped_and_not_kept() {
    let server = Server::start_with(&["--appendonly", "no"]);
    let mut alpha = Node::in_room(&server, "alpha", "main");
    let (long, main) = ("x".repeat(100 << 20), key("main"));
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    alpha.say("main", 1, "before");
    alpha.until(|node| !node.acts.is_empty() && node.lines.len() == 1);
    server.ask(&["XADD", &main, "*", "v", "1", "x", &long]);
    server.ask(&["XADD", "chatd:acts", "*", "v", "1", "d", &long]);
    server.ask(&["HSET", "chatd:nodes", "zeta", &long]);
    alpha.say("main", 1, "after");
    assert_eq!(alpha.hear(2), ["before", "after"]);
    let mut beta = Node::in_room(&server, "beta", "main");
    beta.say("main", 2, "later");
    assert_eq!(beta.hear(1), ["later"]);
    alpha.until_state(|state| state.skipped >= 2);
}
