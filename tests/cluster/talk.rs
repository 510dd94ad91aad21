//! What people at several nodes notice: one room, one order, names that are held once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::nodes::{Node, object, three};
use crate::redis::{Server, key};
use crate::support::{Caller, GREETING};

/// Lines that each says where the order is looked at.
const LINES: usize = 300;
/// Names that two nodes want at the same time.
const RACES: usize = 20;

/// A running nc, and what it prints.
struct Nc {
    child: Child,
    output: Box<dyn Iterator<Item = String>>,
}

impl Nc {
    fn start(node: &Node) -> Self {
        let (mut command, address) = (Command::new("nc"), node.address());
        command.args([address.ip().to_string(), address.port().to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut nc = Self { child, output: Box::new(output) };
        assert_eq!(nc.hear(1), [GREETING.trim_end()]);
        nc
    }

    fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self, lines: usize) -> Vec<String> {
        self.output.by_ref().take(lines).collect()
    }
}

impl Drop for Nc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn nc_hears_nc() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let (mut ann, mut ben) = (Nc::start(&nodes[0]), Nc::start(&nodes[1]));
    let (mut eve, mut joe) = (Nc::start(&nodes[0]), Nc::start(&nodes[2]));
    for number in 0..LINES {
        ann.say(&format!("ann {number}\n"));
        ben.say(&format!("ben {number}\n"));
    }
    let (heard, heard_elsewhere) = (eve.hear(2 * LINES), joe.hear(2 * LINES));
    assert_eq!(heard, heard_elsewhere, "one order");
    let of = |heard: &[String], name: &str| -> Vec<String> {
        heard.iter().filter(|line| line.starts_with(name)).cloned().collect()
    };
    let said: Vec<String> = (0..LINES).map(|number| format!("ann {number}")).collect();
    assert_eq!(of(&heard, "ann"), said);
    assert_eq!(ben.hear(LINES), said, "who speaks hears the other alone");
    assert_eq!(ann.hear(LINES), of(&heard, "ben"));
}

/// The next messages: number, epoch or none, sender and text.
fn messages(caller: &mut Caller, count: usize) -> Vec<(Value, Value, Value)> {
    let one = |_| {
        let mut message = object(caller, |object| object["type"] == "message");
        (message["seq"].take(), message["from"].take(), message["text"].take())
    };
    (0..count).map(one).collect()
}

pub fn three_nodes_have_one_order() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let mut speakers: Vec<Caller> = nodes.iter().map(Node::join).collect();
    let mut listeners: Vec<Caller> = nodes.iter().map(Node::join).collect();
    for (at, listener) in listeners.iter_mut().enumerate() {
        listener.say(format!("/nick listener-{at}\n/view json\n"));
        object(listener, |object| object["code"] == "viewed");
    }
    for number in 0..LINES {
        speakers.iter_mut().for_each(|speaker| speaker.say(format!("{number}\n")));
    }
    let heard: Vec<_> =
        listeners.iter_mut().map(|listener| messages(listener, LINES * speakers.len())).collect();
    assert!(heard[0] == heard[1] && heard[1] == heard[2], "one order, with the same numbers and names");
    let seqs: Vec<u64> = heard[0].iter().map(|(seq, ..)| seq.as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|two| two[1] == two[0] + 1), "without gaps: {seqs:?}");
}

pub fn sync_is_answered_when_lines_are_in_the_stream() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let mut ann = nodes[0].join();
    let entries = || redis.number(&["XLEN", &key("main")]);
    for number in 1..=20_u32 {
        // What is said at once may be one entry, so one at a time.
        ann.say(format!("line {number}\n/sync s{number}\n"));
        ann.until(&format!("synced s{number}\n"));
        assert!(entries() >= u64::from(number), "{number} are in the stream");
    }
    let before = entries();
    redis.pause(true);
    ann.say("more\n/sync later\n");
    redis.pause(false);
    ann.until("synced later\n");
    assert!(entries() > before);
}

pub fn a_name_is_held_once() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let mut callers: Vec<Caller> = nodes.iter().map(Node::join).collect();
    callers.iter_mut().for_each(|caller| caller.say("/view json\n"));
    for number in 0..RACES {
        for caller in &mut callers {
            caller.say(format!("/nick racer-{number}\n"));
        }
        let is_answer = |object: &Value| object["code"] == "named" || object["code"] == "taken";
        let answers: Vec<Value> = callers.iter_mut().map(|caller| object(caller, is_answer)).collect();
        let named = answers.iter().filter(|answer| answer["code"] == "named").count();
        assert_eq!(named, 1, "{answers:?}");
    }
    // The key takes it from another node.
    let mut ann = nodes[0].join();
    ann.say("/view json\n/nick ann\n");
    let key = object(&mut ann, |object| object["code"] == "named")["key"].as_str().unwrap().to_owned();
    let mut next = nodes[1].join();
    next.say("/view json\n/nick ann 00000000000000000000000000000000\n");
    object(&mut next, |object| object["type"] == "notice" && object["code"] != "viewed");
    next.say(format!("/nick ann {key}\n"));
    object(&mut next, |object| object["code"] == "named" && object["name"] == "ann");
    ann.say("/who\n");
    let who = object(&mut ann, |object| object["code"] == "who");
    let called = who["members"].as_array().unwrap().iter().filter(|member| member["name"] == "ann");
    assert_eq!(called.count(), 1, "{who}");
}

/// Returns whether somebody in an answer to `/who` has that name.
fn is_called(who: &Value, name: &str) -> bool {
    who["members"].as_array().unwrap().iter().any(|member| member["name"] == name)
}

pub fn who_and_messages_know_all_nodes() {
    let redis = Server::start();
    let nodes = three(&[redis.address()], "");
    let mut callers: Vec<Caller> = nodes.iter().map(Node::join).collect();
    for (caller, name) in callers.iter_mut().zip(["ann", "ben", "eve"]) {
        caller.say(format!("/view json\n/nick {name}\n"));
        object(caller, |object| object["code"] == "named");
    }
    let _guest = nodes[0].join();
    for caller in &mut callers {
        caller.say("/who\n");
        let mut who = object(caller, |object| object["code"] == "who");
        // Another node may hear of a name later than its owner.
        while who["count"] != 4 || !["ann", "ben", "eve"].iter().all(|name| is_called(&who, name)) {
            caller.say("/who\n");
            who = object(caller, |object| object["code"] == "who");
        }
        caller.say("/rooms\n");
        let rooms = object(caller, |object| object["code"] == "rooms");
        assert_eq!(rooms["rooms"][0]["members"], 4, "{rooms}");
    }
    for number in 0..10 {
        callers[0].say(format!("/msg eve psst {number}\n"));
        let text = format!("psst {number}");
        object(&mut callers[2], |object| object["text"] == text.as_str() && object["type"] != "message");
    }
    callers[2].say("/ignore ann\n/sync done\n");
    object(&mut callers[2], |object| object["type"] == "synced");
    callers[0].say("/msg eve psst\n/sync done\n");
    object(&mut callers[0], |object| object["type"] == "synced");
    callers[0].say("/msg joe psst\n");
    object(&mut callers[0], |object| object["code"] == "nobody");
}
