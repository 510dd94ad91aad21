//! The tools that people have: `nc` and `telnet`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::support::pty::Pty;
use crate::support::{GREETING, PATIENCE, TestServer};

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
    let (mut nc, mut telnet) = (Tool::start("nc", &[], &server), Tool::start("telnet", &[], &server));
    // telnet prints three lines of its own before what it hears.
    let banner: Vec<String> = (0..3).map(|_| telnet.hear()).collect();
    assert!(banner[1].starts_with("Connected"), "{banner:?}");
    assert_eq!(telnet.hear().trim_end(), GREETING.trim_end());
    assert_eq!(nc.hear(), GREETING);
    telnet.say("from telnet\n");
    assert_eq!(nc.hear(), "from telnet\n");
    nc.say("from nc\n");
    assert_eq!(telnet.hear().trim_end(), "from nc");
}

/// A telnet in a terminal, as people have it.
struct Telnet {
    pty: Pty,
    shown: String,
}

impl Telnet {
    fn start(server: &TestServer) -> Self {
        let mut command = Command::new("telnet");
        command.arg(server.address.ip().to_string()).arg(server.address.port().to_string());
        Self { pty: Pty::start(&command, (24, 80)), shown: String::new() }
    }

    /// Waits until that is shown, after all that was waited for before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
            match self.pty.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {text:?} ({error}) in {:?}", self.shown),
            }
        }
        let (_, after) = self.shown.split_once(text).unwrap();
        self.shown = after.to_owned();
    }
}

/// What telnet throws output away for: it waits for an answer to its DO TIMING-MARK.
#[test]
fn after_ctrl_c_in_telnet_its_output_goes_on() {
    let server = TestServer::start();
    let mut witness = server.join();
    let mut telnet = Telnet::start(&server);
    telnet.expect(GREETING.trim_end());
    for round in 0..3 {
        telnet.pty.keys(&format!("before {round}\r"));
        witness.expect(format!("before {round}\n"));
        witness.say(format!("heard before {round}\n"));
        telnet.expect(&format!("heard before {round}"));
        telnet.pty.keys("\x03");
        telnet.pty.keys(&format!("after {round}\r"));
        witness.expect(format!("after {round}\n"));
        witness.say(format!("heard after {round}\n"));
        telnet.expect(&format!("heard after {round}"));
    }
}
