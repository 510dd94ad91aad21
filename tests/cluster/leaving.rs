//! A node whose machine is gone: its sessions have left, once, and chatc goes on at the next one.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::nodes::{object, three};
use crate::redis::Server;
use crate::support::PATIENCE;

pub fn a_killed_node_is_gone_once() {
    let redis = Server::start();
    let mut nodes = three(&[redis.address()], "");
    let mut watchers = [nodes[1].join_as("ben"), nodes[2].join_as("eve")];
    let mut ann = nodes[0].join_as("ann");
    let mut joe = nodes[0].join_as("joe");
    for caller in [&mut ann, &mut joe] {
        caller.say("hello\n");
    }
    nodes[0].lose();
    for watcher in &mut watchers {
        let mut left = Vec::new();
        while left.len() < 2 {
            let object = object(watcher, |object| object["type"] == "leave");
            let members = object["members"].as_array().cloned().unwrap_or_else(|| vec![object.clone()]);
            left.extend(members.iter().filter_map(|member| member["name"].as_str().map(str::to_owned)));
        }
        left.sort_unstable();
        assert_eq!(left, ["ann", "joe"]);
        watcher.say("/sync done\n");
        let after = object(watcher, |object| object["type"] == "leave" || object["type"] == "synced");
        assert_eq!(after["type"], "synced", "once");
    }
    // The name is free.
    nodes[1].join_as("ann");
}

/// Also if the engine was away meanwhile, and each room has another epoch.
pub fn chatc_goes_on_at_the_next_node() {
    let mut redis = Server::start();
    let mut nodes = three(&[redis.address()], "");
    let mut ben = nodes[2].join_as("ben");
    let addresses = [nodes[0].address().to_string(), nodes[1].address().to_string()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatc"));
    command.args(["--listen", "--reconnect", "--nick", "ann", "--view", "json"]).arg(addresses.join(","));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _input = child.stdin.take();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (lines_tx, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line)));
    object(&mut ben, |object| object["name"] == "ann");
    for number in 0..100 {
        ben.say(format!("before {number}\n"));
    }
    // It knows where it is once it shows lines; before that, nothing could be missed.
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard.extend(said_in(&lines.recv_timeout(PATIENCE).expect("it listens")));
    }
    redis.kill();
    redis.start_again();
    let mut is_told = false;
    for (word, is_lost) in [("between", false), ("after", true)] {
        if is_lost {
            nodes[0].lose();
        }
        for number in 0..100 {
            ben.say(format!("{word} {number}\n"));
        }
        let last = format!("{word} 99");
        while heard.last() != Some(&last) {
            let line = lines.recv_timeout(PATIENCE).expect("it goes on");
            is_told |= line.starts_with("{\"type\":\"epoch\"");
            heard.extend(said_in(&line));
        }
    }
    assert!(is_told, "the room has another epoch");
    let said =
        ["before", "between", "after"].iter().flat_map(|word| (0..100).map(move |n| format!("{word} {n}")));
    assert_eq!(heard, said.collect::<Vec<_>>());
    ben.say("/who\n");
    let who = object(&mut ben, |object| object["code"] == "who");
    assert!(who.to_string().contains("\"ann\""), "{who}");
    let _ = child.kill();
    let _ = child.wait();
}

/// What ben has said in a line of chatc; `None` if that is about something else.
fn said_in(line: &str) -> Option<String> {
    let at = ["before ", "between ", "after "].iter().find_map(|word| line.find(word))?;
    Some(line[at..].chars().take_while(|c| c.is_alphanumeric() || *c == ' ').collect())
}
