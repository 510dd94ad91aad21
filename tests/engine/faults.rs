//! Engines that die, stop, come back without their data, are full, or are not what they should be; and nodes that have
//! the same name. What is said comes once.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use chatd::chat::{Act, EngineEvent, Item, Sequencer, SessionId};
use chatd::cluster::{Ending, Secret, Settings};
use futures::executor::block_on;

use crate::node::{Node, settings};
use crate::redis::{Server, key};

/// Returns two nodes that are in the room.
pub fn pair(server: &Server) -> [Node; 2] {
    [Node::in_room(server, "alpha", "main"), Node::in_room(server, "beta", "main")]
}

pub fn has_heard(node: &mut Node, event: EngineEvent) {
    node.until(|node| node.events.contains(&event));
}

#[test]
fn an_engine_that_is_killed_and_comes_back_with_its_data_loses_nothing() {
    let mut server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    (0..20).for_each(|number| alpha.say("main", 1, &format!("before {number}")));
    alpha.hear(20);
    server.kill();
    (0..20).for_each(|number| alpha.say("main", 1, &format!("meanwhile {number}")));
    has_heard(&mut alpha, EngineEvent::Away);
    assert!(!alpha.stream.is_settled() && alpha.handle.state().away_since.is_some());
    server.start_again();
    has_heard(&mut alpha, EngineEvent::Back);
    alpha.hear(40);
    beta.hear(40);
    assert_eq!(alpha.lines, beta.lines);
    assert_eq!(alpha.events, [EngineEvent::Away, EngineEvent::Back]);
    assert!(alpha.handle.state().away_since.is_none());
}

#[test]
fn an_engine_without_its_data_begins_an_epoch_and_the_rest_is_heard_once() {
    let mut server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    (0..20).for_each(|number| alpha.say("main", 1, &format!("before {number}")));
    alpha.hear(20);
    beta.hear(20);
    alpha.stream.submit(Item::Act(Act::Left(SessionId(1))));
    for node in [&mut alpha, &mut beta] {
        node.until(|node| node.acts.len() == 1 && node.rosters == 1);
    }
    server.kill();
    server.forget();
    alpha.say("main", 1, "meanwhile");
    server.start_again();
    alpha.hear(21);
    beta.say("main", 2, "after");
    for node in [&mut alpha, &mut beta] {
        assert_eq!(node.hear(22)[20..], ["meanwhile", "after"]);
        has_heard(node, EngineEvent::Failover);
        let [.., before, _, after] = &node.lines[..] else { panic!("no lines") };
        assert!(after.cursor.epoch > before.cursor.epoch);
        assert!(after.seq > before.seq, "numbers go on");
        // The acts are lost, too.
        node.until(|node| node.rosters == 2);
    }
}

#[test]
fn an_engine_that_is_stopped_is_away_until_it_goes_on() {
    let server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    server.pause(true);
    alpha.say("main", 1, "meanwhile");
    has_heard(&mut alpha, EngineEvent::Away);
    has_heard(&mut beta, EngineEvent::Away);
    // Its connections are given up, and made again.
    alpha.until_state(|state| state.address.is_none());
    server.pause(false);
    alpha.until(|node| node.texts() == ["meanwhile"] && node.events.last() == Some(&EngineEvent::Back));
    beta.until(|node| node.texts() == ["meanwhile"] && node.events.last() == Some(&EngineEvent::Back));
    beta.say("main", 2, "after");
    assert_eq!(alpha.hear(2), ["meanwhile", "after"]);
}

#[test]
fn connections_that_are_cut_again_and_again_repeat_and_lose_nothing() {
    let server = Server::start();
    let mut nodes = pair(&server);
    for number in 0..300 {
        nodes[0].say("main", 1, &format!("a{number}"));
        nodes[1].say("main", 2, &format!("b{number}"));
        if number % 30 == 0 {
            server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            nodes.iter_mut().for_each(|node| node.until(|node| node.lines.len() >= number));
        }
    }
    nodes.iter_mut().for_each(|node| _ = node.hear(600));
    assert_eq!(nodes[0].lines, nodes[1].lines);
    let seqs: Vec<u64> = nodes[0].lines.iter().map(|line| line.seq).collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<_>>());
}

#[test]
fn scripts_that_are_gone_are_loaded_again() {
    let server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    server.ask(&["SCRIPT", "FLUSH"]);
    alpha.say("main", 1, "after");
    assert_eq!((alpha.hear(1), beta.hear(1)), (vec!["after".to_owned()], vec!["after".to_owned()]));
}

#[test]
fn a_start_without_an_engine_waits_for_it() {
    let mut server = Server::start();
    server.kill();
    let mut alpha = Node::start(&server, "alpha");
    alpha.say("main", 1, "early");
    has_heard(&mut alpha, EngineEvent::Away);
    let state = alpha.until_state(|state| state.problem.is_some());
    assert!(state.problem.unwrap().contains(&server.address()));
    server.start_again();
    has_heard(&mut alpha, EngineEvent::Back);
    alpha.until(|node| !node.woken.is_empty() && node.rosters == 1);
    assert_eq!(alpha.hear(1), ["early"]);
}

#[test]
fn a_stream_that_is_trimmed_has_a_gap_and_what_the_node_has_said_itself_is_not_in_it() {
    let server = Server::start_with(&["--appendonly", "no"]);
    let [mut alpha, mut beta] = pair(&server);
    let main = crate::node::room("main");
    beta.stream.hold(&main, true);
    // So that nothing more is fetched.
    alpha.say("main", 1, &"x".repeat(2 << 20));
    alpha.hear(1);
    beta.say("main", 2, "own");
    alpha.until(|node| node.texts().contains(&"own".to_owned()));
    (0..9000).for_each(|number| alpha.say("main", 1, &number.to_string()));
    alpha.hear(9002);
    server.ask(&["XTRIM", &key("main"), "MAXLEN", "100"]);
    beta.stream.hold(&main, false);
    beta.until(|node| node.texts().last().is_some_and(|text| text == "8999"));
    let seqs: Vec<u64> = beta.lines.iter().map(|line| line.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]) && seqs.last() == Some(&9002), "{seqs:?}");
    assert!(seqs.len() < 9002, "there is a gap");
    assert!(beta.texts().contains(&"own".to_owned()) && beta.woken.contains(&SessionId(2)));
    assert!(!beta.stream.has(SessionId(2)));
}

#[test]
fn a_wrong_password_is_said_and_nothing_of_it_shown() {
    let server = Server::start_with(&["--requirepass", "open sesame"]);
    let with =
        |password: &str| Settings { password: Some(Secret::new(password)), ..settings(&[&server], "alpha") };
    let none = Node::start(&server, "alpha");
    let state = none.until_state(|state| state.problem.is_some());
    let problem = state.problem.unwrap();
    // The code once, and what to do.
    assert_eq!(problem.matches("NOAUTH").count(), 1, "{problem}");
    assert!(problem.ends_with("; set cluster_password_file"), "{problem}");
    let wrong = Node::start_with(with("open barley"), None);
    let state = wrong.until_state(|state| state.problem.is_some());
    let problem = state.problem.unwrap();
    assert!(problem.contains("WRONGPASS") && !problem.contains("barley"), "{problem}");
    assert!(problem.contains("; correct cluster_user or the file of cluster_password_file"), "{problem}");
    let mut right = Node::start_with(with("open sesame\n"), None);
    right.open("main");
    assert!(!format!("{:?}", with("open sesame")).contains("sesame"));
}

#[test]
fn a_replica_alone_is_not_written_to_until_it_is_the_primary() {
    let [_primary, replica] = Server::start_pair();
    let mut alpha = Node::start(&replica, "alpha");
    alpha.say("main", 1, "early");
    alpha.until_state(|state| state.problem.as_ref().is_some_and(|problem| problem.contains("a replica")));
    replica.promote();
    alpha.hear(1);
    alpha.events.clear();
    // Demoted under the node: it waits until there is a primary again.
    replica.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    alpha.say("main", 1, "late");
    has_heard(&mut alpha, EngineEvent::Away);
    replica.promote();
    alpha.hear(2);
}

#[test]
fn an_engine_that_is_full_is_away_until_there_is_room() {
    let server = Server::start();
    let [mut alpha, _beta] = pair(&server);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    alpha.say("main", 1, "late");
    has_heard(&mut alpha, EngineEvent::Away);
    alpha.until_state(|state| state.problem.as_ref().is_some_and(|problem| problem.contains("OOM")));
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    has_heard(&mut alpha, EngineEvent::Back);
    assert_eq!(alpha.hear(1), ["late"]);
}

#[test]
fn a_key_of_the_wrong_type_stops_one_room_alone() {
    let server = Server::start();
    server.ask(&["SET", &key("ops"), "x"]);
    let mut alpha = Node::in_room(&server, "alpha", "main");
    alpha.stream.open(&crate::node::room("ops"), None);
    alpha.say("ops", 1, "in ops");
    alpha.say("main", 2, "in main");
    assert_eq!(alpha.hear(1), ["in main"]);
    assert_eq!(alpha.opened.len(), 1);
    server.ask(&["DEL", &key("ops")]);
    assert_eq!(alpha.hear(2), ["in main", "in ops"]);
    // The same under a room that is open.
    server.ask(&["SET", &key("ops"), "x"]);
    alpha.say("ops", 1, "again in ops");
    alpha.say("main", 2, "again in main");
    assert_eq!(alpha.hear(3)[2], "again in main");
    server.ask(&["DEL", &key("ops")]);
    assert_eq!(alpha.hear(4)[3], "again in ops");
    assert!(!alpha.events.contains(&EngineEvent::Away));
}

#[test]
fn an_old_engine_is_refused_and_so_is_what_is_none() {
    let folder = std::env::temp_dir().join(format!("chatd-engine-old-{}", std::process::id()));
    let info = "redis_version:6.2.14\r\nos:Linux\r\n";
    for (reply, expected) in [
        (format!("${}\r\n{info}\r\n", info.len()), "version 6.2.14"),
        ("HTTP/1.1 400\r\n".to_owned(), "protocol"),
    ] {
        let _ = std::fs::remove_file(&folder);
        let listener = UnixListener::bind(&folder).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut command = [0; 100];
                let _ = stream.read(&mut command).and_then(|_| stream.write_all(reply.as_bytes()));
            }
        });
        let address = format!("redis+unix://{}", folder.display());
        let settings = Settings { addresses: vec![address.parse().unwrap()], ..settings(&[], "alpha") };
        let alpha = Node::start_with(settings, None);
        let state = alpha.until_state(|state| state.problem.is_some());
        assert!(state.problem.as_ref().unwrap().contains(expected), "{state:?}");
    }
    let _ = std::fs::remove_file(&folder);
}

#[test]
fn a_second_node_of_the_same_name_waits_until_the_first_is_gone() {
    let server = Server::start();
    let mut first = Node::in_room(&server, "alpha", "main");
    let mut second = Node::start(&server, "alpha");
    second.say("main", 2, "second");
    let state = second.until_state(|state| state.name_held_by.is_some());
    assert_eq!(state.name_held_by, Some(first.handle.identity().incarnation));
    first.say("main", 1, "first");
    assert_eq!(first.hear(1), ["first"]);
    block_on(first.handle.stop(Ending::Leave, Duration::from_secs(60)));
    second.until(|node| !node.woken.is_empty());
    assert_eq!(second.texts(), ["second"]);
}

#[test]
fn a_process_whose_name_was_taken_meanwhile_writes_nothing_more() {
    let server = Server::start();
    let [mut alpha, mut beta] = pair(&server);
    alpha.say("main", 1, "before");
    beta.hear(1);
    // A later process has written as alpha.
    server.ask(&["HSET", &format!("{}:state", key("main")), "w:alpha", "9000000000000000 1"]);
    server.ask(&["SET", "chatd:node:alpha", "9000000000000000"]);
    alpha.say("main", 1, "from the past");
    alpha.until_state(|state| state.name_held_by == Some(9_000_000_000_000_000));
    beta.say("main", 2, "after");
    assert_eq!(beta.hear(2), ["before", "after"]);
}
