//! The tools that people have: `nc` and `telnet`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{GREETING, TestServer};

/// A running tool.
struct Tool {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tool {
    fn start(program: &str, options: &[&str], server: &TestServer) -> Self {
        let mut command = Command::new(program);
        command.args(options).arg(server.address.ip().to_string()).arg(server.address.port().to_string());
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Closes its input, and returns all that it still prints until it ends.
    fn finish(mut self) -> String {
        self.input = None;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_nc_see_the_greeting_and_each_other() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (Tool::start("nc", &[], &server), Tool::start("nc", &[], &server));
    assert_eq!((ann.hear(), ben.hear()), (GREETING.into(), GREETING.into()));
    ann.say("hello\n");
    assert_eq!(ben.hear(), "hello\n");
    ben.say("grüß dich\n");
    assert_eq!(ann.hear(), "grüß dich\n");
}

#[test]
fn echo_into_nc_is_delivered_and_returns() {
    let server = TestServer::start();
    let mut witness = server.join();
    let mut nc = Tool::start("nc", &["-N"], &server);
    nc.say("deploy done");
    assert_eq!(nc.finish(), GREETING);
    witness.expect("deploy done\n");
}

#[test]
fn a_file_piped_into_nc_arrives_whole() {
    let server = TestServer::start();
    let mut witness = server.join();
    let text: String = (0..100_000).map(|number| format!("line {number} of the file\n")).collect();
    let mut nc = Tool::start("nc", &["-N"], &server);
    let writing = std::thread::spawn({
        let text = text.clone();
        move || {
            nc.say(&text);
            nc.finish()
        }
    });
    assert!(witness.take(text.len()) == text.as_bytes());
    assert_eq!(writing.join().unwrap(), GREETING);
}

#[test]
fn telnet_and_nc_talk_to_each_other() {
    let server = TestServer::start();
    let mut witness = server.join();
    let mut telnet = Tool::start("telnet", &[], &server);
    // telnet prints three lines of its own before what it hears.
    let banner: Vec<String> = (0..3).map(|_| telnet.hear()).collect();
    assert!(banner[1].starts_with("Connected"), "{banner:?}");
    assert_eq!(telnet.hear().trim_end(), GREETING.trim_end());
    telnet.say("from telnet\n");
    witness.expect("from telnet\n");
    witness.say("to telnet\n");
    assert_eq!(telnet.hear().trim_end(), "to telnet");
}
