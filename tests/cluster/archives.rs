//! Archives at several nodes: the same lines in the same order, with the same numbers and times.

use std::process::Command;

use crate::nodes::{Node, object, three};
use crate::redis::Server;
use crate::support::{clean, text, wait_until};

const LINES: usize = 200;

/// What a node has in its archive of the main room, as objects.
fn export(node: &Node) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    command.args(["--config", "/dev/null", "--archive", text(&node.path("archive"))]);
    command.args(["--export", "main", "--format", "json"]);
    String::from_utf8(clean(&mut command).output().unwrap().stdout).unwrap()
}

pub fn all_archives_are_the_same() {
    let redis = Server::start();
    let mut nodes = three(&[redis.address()], "archive = \"FOLDERarchive\"\n");
    let mut callers: Vec<_> =
        nodes.iter().zip(["ann", "ben", "eve"]).map(|(node, name)| node.join_as(name)).collect();
    for number in 0..LINES {
        callers.iter_mut().for_each(|caller| caller.say(format!("line {number}\n")));
        if number == LINES / 2 {
            nodes[1].restart();
        }
    }
    callers.iter_mut().for_each(|caller| caller.say("/sync done\n"));
    callers.iter_mut().for_each(|caller| {
        object(caller, |object| object["type"] == "synced");
    });
    let is_message = |line: &&str| line.contains("\"type\":\"message\"");
    let lines = |node: &Node| export(node).lines().filter(is_message).count();
    for node in &nodes {
        wait_until("all is in the archive", || lines(node) >= 3 * LINES);
    }
    let all: Vec<String> = nodes.iter().map(export).collect();
    let messages = |text: &str| text.lines().filter(is_message).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(messages(&all[0]).len(), 3 * LINES);
    assert!(messages(&all[0]) == messages(&all[1]) && messages(&all[1]) == messages(&all[2]), "{all:#?}");
}
