//! The other servers, which are measured on request where they are installed: redis, nats, ngircd and ncat.
//!
//! One table says how each is started, what it speaks, and how many it can serve. All of them listen on the loopback
//! address alone, and keep nothing on disk. What one does at rest beside the lines, such as the pings of nats, is not
//! counted as lines, nor is it left out of its cost.

use std::io::{self, Error, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Count, LINE, MARK, Server, Wire};

/// One of them.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    program: &'static str,
    /// What it is started with; `PORT` stands for the port.
    arguments: &'static [&'static str],
    /// What it reads on standard input; `PORT` stands for the port.
    input: &'static str,
    wire: fn() -> Wire,
    /// It serves no more connections than this.
    pub(crate) most: usize,
}

pub(crate) static REDIS: Foreign = Foreign {
    name: "redis",
    program: "redis-server",
    arguments: &["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", "PORT"],
    input: "",
    wire: redis,
    most: 10_000,
};

static NATS: Foreign = Foreign {
    name: "nats",
    program: "nats-server",
    arguments: &["--addr", "127.0.0.1", "--port", "PORT"],
    input: "",
    wire: nats,
    most: 65_536,
};

static NGIRCD: Foreign = Foreign {
    name: "ngircd",
    program: "ngircd",
    arguments: &["--nodaemon", "--config", "/dev/stdin"],
    input: NGIRCD_CONF,
    wire: irc,
    most: 65_536,
};

static NCAT: Foreign = Foreign {
    name: "ncat",
    program: "ncat",
    arguments: &["-l", "--keep-open", "--chat", "--max-conns", "1000", "127.0.0.1", "PORT"],
    input: "",
    wire: ncat,
    // It waits with select(2).
    most: 1_000,
};

/// All of them.
pub(crate) static ALL: [&Foreign; 4] = [&REDIS, &NATS, &NGIRCD, &NCAT];

/// It looks nothing up and limits nothing: a penalty would make speakers wait.
const NGIRCD_CONF: &str = "\
[Global]
Name = bench.example.net
Info = bench
AdminEMail = bench@example.net
Listen = 127.0.0.1
Ports = PORT
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
IncludeDir =
DNS = no
Ident = no
PAM = no
";

impl Foreign {
    /// Returns whether it is installed here.
    pub(crate) fn is_there(&self) -> bool {
        let mut command = Command::new(self.program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Starts it on a free port, and waits until it listens there.
    pub(crate) fn start(&self) -> io::Result<Server> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let with_port = |text: &str| text.replace("PORT", &port.to_string());
        let mut command = Command::new(self.program);
        command.args(self.arguments.iter().map(|argument| with_port(argument)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let server = Server::new(child, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), (self.wire)());
        if let Some(mut input) = input {
            input.write_all(with_port(self.input).as_bytes())?;
        }
        let start = Instant::now();
        while let Err(error) = TcpStream::connect(server.address) {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(Error::other(format!("{command:?}: {error}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // The probe above leaves; let that be over.
        std::thread::sleep(Duration::from_millis(100));
        Ok(server)
    }
}

/// One line of [`MARK`]s, without an end.
fn text() -> String {
    char::from(MARK).to_string().repeat(LINE)
}

/// Redis pub/sub, one channel, in RESP2.
fn redis() -> Wire {
    let text = text();
    let heard = format!("*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n${LINE}\r\n{text}\r\n");
    Wire {
        join: |_| b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nroom\r\n".to_vec(),
        greets_first: false,
        greeting: Some(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n".to_vec()),
        speaker_greeting: Some(Vec::new()),
        line: format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n${LINE}\r\n{text}\r\n").into_bytes(),
        count: Count::Bytes(heard.len() as u64),
        ..Wire::chat(LINE)
    }
}

/// One subject, no answers to what went well.
fn nats() -> Wire {
    Wire {
        join: |_| b"CONNECT {\"verbose\":false}\r\nSUB chat 1\r\n".to_vec(),
        speaker_join: b"CONNECT {\"verbose\":false}\r\n",
        line: format!("PUB chat {LINE}\r\n{}\r\n", text()).into_bytes(),
        ..garrulous()
    }
}

/// One channel for the first hundred, who are all there are where lines are said; those after them are idle, in
/// channels of a hundred: each is told of everybody else who comes.
fn irc() -> Wire {
    Wire {
        join: |who| {
            format!("NICK n{who}\r\nUSER bench 0 * :bench\r\nJOIN &chat{}\r\n", who / 100).into_bytes()
        },
        speaker_join: b"NICK speaker\r\nUSER bench 0 * :bench\r\nJOIN &chat0\r\n",
        line: format!("PRIVMSG &chat0 :{}\r\n", text()).into_bytes(),
        ..garrulous()
    }
}

/// Newcomers and others are sent things that are no lines.
fn garrulous() -> Wire {
    Wire {
        greets_first: false,
        greeting: None,
        speaker_greeting: None,
        count: Count::Marks(LINE as u64),
        ..Wire::chat(LINE)
    }
}

fn ncat() -> Wire {
    Wire { greeting: None, speaker_greeting: None, count: Count::Ends, ..Wire::chat(LINE) }
}
