//! The connection of chatctl: one question after the other, each with everything that chatd answers.
//!
//! [`Connection::open`] goes to a room of its own, asks for the json view, and has chatd send a token back. Nothing is believed before it comes: a
//! member may say what looks like a notice, and cannot know the token. Each question is followed by another token, and
//! the notices up to that token are its answer. What members say meanwhile is passed over. No sentence is read.
//! In a room of its own, it does not get what a busy room says, waits for no reader there, and holds nobody up.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::io::Errno;

use super::exit::{Exit, Failure};
use super::hint;
use crate::client::dialer::Dialer;
use crate::client::event::{self, Event};
use crate::client::link::{Link, clean};
use crate::client::request::Requests;
use crate::client::target::{Problem, Target};
use crate::client::trust::Trust;
use crate::protocol::object::Noticed;
use crate::protocol::{Notice, Object, Report};

/// Random digits in the name of its room.
const ROOM_DIGITS: usize = 12;

/// A connection to a daemon that has answered.
#[derive(Debug)]
pub struct Connection {
    socket: Target,
    link: Link,
    events: Receiver<Event>,
    /// Lines that have arrived and are not looked at yet.
    lines: VecDeque<String>,
    tokens: Requests,
    timeout: Duration,
    /// What chatd said about the end of the connection.
    farewell: Option<String>,
}

/// A notice, and the line that it was read from.
#[derive(Clone, Debug)]
pub struct Told {
    /// The notice; `None` for one of a later version.
    pub notice: Option<Notice>,
    /// Its sentence, with commands of chatctl.
    pub text: String,
    /// The line, cleaned.
    pub line: String,
}

/// What happens next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, cleaned.
    Line(String),
    /// A signal says stop.
    Stop,
    /// The terminal has another size.
    Resized,
    /// The time has come.
    Late,
}

impl Told {
    /// Returns the report, if the notice is one.
    pub fn report(&self) -> Option<&Report> {
        if let Some(Notice::Report(report)) = &self.notice { Some(report) } else { None }
    }

    fn new(noticed: Noticed<'_>, line: String) -> Self {
        let text = noticed.notice.as_ref().and_then(hint::sentence).unwrap_or(noticed.text.into_owned());
        Self { notice: noticed.notice, text: clean(text.as_bytes()), line }
    }

    /// Whether chatd says with it why it closes the connection.
    fn is_farewell(&self) -> bool {
        use Notice::{Banned, Closing, Kicked};
        let farewell = |notice: &Notice| matches!(notice, Banned { .. } | Closing { .. } | Kicked { .. });
        self.notice.as_ref().is_some_and(farewell)
    }
}

impl Connection {
    /// Connects, and waits until chatd has answered. What happens later goes through `events`.
    ///
    /// # Errors
    /// Nobody is there, the user may not connect, or chatd does not answer within `timeout`.
    pub fn open(
        socket: &Path,
        timeout: Duration,
        (events_tx, events): (SyncSender<Event>, Receiver<Event>),
    ) -> Result<Self, Failure> {
        let target = Target::Unix(socket.to_owned());
        Dialer::new(vec![target.clone()], Trust::default(), timeout).connect(events_tx.clone());
        let stream = loop {
            match event::next(&events, None) {
                Ok(Event::Connected(stream, _)) => break stream,
                Ok(Event::NotConnected(problems)) => {
                    let words = problems.iter().map(|problem| problem.line(&target)).collect();
                    return Err(unreachable(socket, words));
                }
                Ok(Event::Stop) => return Err(Failure::stopped()),
                Ok(_) => {}
                Err(error) => return Err(Failure::new(Exit::Refused, format!("cannot start: {error}"))),
            }
        };
        let link = Link::start(stream, events_tx).map_err(cannot_start)?;
        let tokens = Requests::new().map_err(cannot_start)?;
        let lines = VecDeque::new();
        let mut connection = Self { socket: target, link, events, lines, tokens, timeout, farewell: None };
        connection.greet()?;
        Ok(connection)
    }

    /// Goes to a room of its own, asks for the json view, and waits for the token. If there are too many rooms, it stays
    /// where it is.
    fn greet(&mut self) -> Result<(), Failure> {
        let (deadline, token) = (Instant::now() + self.timeout, self.tokens.token());
        let room = Requests::new().map_err(cannot_start)?.token();
        let room = &room[..ROOM_DIGITS];
        self.link.send(format!("/join chatctl-{room}\n/view json\n/sync {token}\n").into_bytes());
        let mut last = None;
        loop {
            match self.next(Some(deadline)) {
                Ok(Next::Line(line)) => match synced(&line, &token) {
                    Some(true) => return Ok(()),
                    Some(false) => return self.expect_operator(),
                    None => last = Some(line),
                },
                Ok(Next::Stop) => return Err(Failure::stopped()),
                Ok(Next::Resized) => {}
                Ok(Next::Late) => {
                    let no_chatd = Problem::NoChatd(last.unwrap_or_default()).line(&self.socket);
                    let words = vec![no_chatd, "chatctl needs a chatd with commands = true".to_owned()];
                    return Err(Failure { exit: Exit::NoDaemon, words });
                }
                Err(failure) => return Err(failure.because(last)),
            }
        }
    }

    /// For a guest: what one who is no operator types goes to the room. The list of commands shows whether it does.
    fn expect_operator(&mut self) -> Result<(), Failure> {
        let is_control = |told: &Told| match &told.notice {
            Some(Notice::Help { command, .. }) => command.starts_with("/stats"),
            _ => false,
        };
        let is_operator = self.ask("/help")?.iter().any(is_control);
        if is_operator { Ok(()) } else { Err(not_operator(&Notice::NotOperator.to_string())) }
    }

    /// Returns what happens next, or that `until` has come.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Next, Failure> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Next::Line(line));
            }
            match event::next(&self.events, until) {
                Ok(Event::Heard(lines)) => self.lines.extend(lines),
                Ok(Event::Stop) => return Ok(Next::Stop),
                Ok(Event::Resized) => return Ok(Next::Resized),
                Ok(Event::Ended(end)) => {
                    let words = format!("{}: {end}", self.socket);
                    return Err(Failure::new(Exit::NoDaemon, words).because(self.farewell.take()));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::stopped()),
            }
        }
    }

    /// Sends a command, and does not wait for its answer.
    pub fn say(&mut self, command: &str) {
        self.link.send(format!("{command}\n").into_bytes());
    }

    /// Sends a command, and returns what chatd answers.
    ///
    /// # Errors
    /// chatd refuses it, closes the connection, or does not answer in time.
    pub fn ask(&mut self, command: &str) -> Result<Vec<Told>, Failure> {
        let deadline = Instant::now() + self.timeout;
        self.ask_until(command, deadline)
    }

    fn ask_until(&mut self, command: &str, deadline: Instant) -> Result<Vec<Told>, Failure> {
        let token = self.tokens.token();
        self.link.send(format!("{command}\n/sync {token}\n").into_bytes());
        let mut told: Vec<Told> = Vec::new();
        loop {
            match self.next(Some(deadline)) {
                Ok(Next::Line(line)) if synced(&line, &token).is_some() => break,
                Ok(Next::Line(line)) => told.extend(self.notice(line)),
                Ok(Next::Stop) => return Err(Failure::stopped()),
                Ok(Next::Resized) => {}
                Ok(Next::Late) => {
                    let words = format!("{}: no answer within {:?}", self.socket, self.timeout);
                    return Err(Failure::new(Exit::NoDaemon, words));
                }
                // With no time left, chatd ends before it sends the token back.
                Err(_) if command.starts_with("/drain") && told.iter().any(is_draining) => break,
                Err(failure) => return Err(failure),
            }
        }
        match told.iter().find(|told| told.notice.as_ref().is_some_and(Notice::is_refusal)) {
            Some(Told { notice: Some(Notice::NotOperator), text, .. }) => Err(not_operator(text)),
            Some(refusal) => Err(Failure::new(Exit::Refused, refusal.text.clone())),
            None => Ok(told),
        }
    }

    /// Asks for all connections.
    ///
    /// # Errors
    /// Those of [`Connection::ask`].
    pub fn sessions(&mut self) -> Result<Vec<Told>, Failure> {
        let key = |report: &Report| match report {
            Report::Session { id, .. } => Some(format!("#{id}")),
            _ => None,
        };
        let more = |report: &Report| match report {
            Report::Sessions { more, .. } => Some(*more),
            _ => None,
        };
        self.ask_pages("/sessions", key, more)
    }

    /// Asks for all bans and mutes.
    ///
    /// # Errors
    /// Those of [`Connection::ask`].
    pub fn bans(&mut self) -> Result<Vec<Told>, Failure> {
        let key = |report: &Report| match report {
            Report::BanEntry { subject, .. } => Some(subject.clone()),
            _ => None,
        };
        let more = |report: &Report| match report {
            Report::Bans { more, .. } => Some(*more),
            _ => None,
        };
        self.ask_pages("/bans", key, more)
    }

    /// Asks for a list that comes in pages, and returns all of them. `key` returns what an entry is asked on with, and
    /// `more` how many entries follow, from the notice that closes a page.
    ///
    /// # Errors
    /// Those of [`Connection::ask`]; the time is for all pages together. A page is without its end.
    fn ask_pages(
        &mut self,
        command: &str,
        key: impl Fn(&Report) -> Option<String>,
        more: impl Fn(&Report) -> Option<usize>,
    ) -> Result<Vec<Told>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut all, mut asked): (Vec<Told>, _) = (Vec::new(), command.to_owned());
        loop {
            let page = self.ask_until(&asked, deadline)?;
            let reports = || page.iter().filter_map(Told::report);
            let (last, left) = (reports().filter_map(&key).last(), reports().find_map(&more));
            all.extend(page);
            let last = last.filter(|last| !last.contains(char::is_control));
            let next = last.map(|last| format!("{command} {last}"));
            match (left, next) {
                (Some(0), _) => return Ok(all),
                (Some(_), Some(next)) if next != asked => asked = next,
                _ => {
                    let words = format!("{}: a list without its end; is this chatd?", self.socket);
                    return Err(Failure::new(Exit::Refused, words));
                }
            }
        }
    }

    /// The notice in a line; `None` for what members say, and for what is no object.
    pub fn notice(&mut self, line: String) -> Option<Told> {
        let told = match serde_json::from_str(&line) {
            Ok(Object::Notice(noticed)) => Told::new(noticed, line.clone()),
            _ => return None,
        };
        if told.is_farewell() {
            self.farewell = Some(told.text.clone());
        }
        Some(told)
    }
}

pub(super) fn cannot_start(error: io::Error) -> Failure {
    Failure::new(Exit::Refused, format!("cannot start: {error}"))
}

/// Why there is no connection. Who may not connect may be let in.
fn unreachable(socket: &Path, words: Vec<String>) -> Failure {
    let mut failure = Failure { exit: Exit::NoDaemon, words };
    if rustix::fs::access(socket, Access::WRITE_OK) == Err(Errno::ACCESS) {
        failure.exit = Exit::NotOperator;
        failure.words.push(HOW_TO_BE_ONE.to_owned());
    }
    failure
}

fn not_operator(text: &str) -> Failure {
    Failure { exit: Exit::NotOperator, words: vec![text.to_owned(), HOW_TO_BE_ONE.to_owned()] }
}

const HOW_TO_BE_ONE: &str =
    "to become one: usermod -aG chatd-operators USER as root, and then log in again; or use sudo";

fn is_draining(told: &Told) -> bool {
    matches!(told.notice, Some(Notice::Draining { .. }))
}

/// Whether the name is verified, if this is the answer to `/sync` with that token.
fn synced(line: &str, expected: &str) -> Option<bool> {
    match serde_json::from_str(line) {
        Ok(Object::Synced { token, verified, .. }) if token == expected => Some(verified),
        _ => None,
    }
}
