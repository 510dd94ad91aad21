//! The connection of chatctl: one question after the other, each with everything that chatd answers.
//!
//! [`Connection::open`] goes to a room of its own, asks for the json view, and has chatd send a token back. Nothing is believed before it comes: a
//! member may say what looks like a notice, and cannot know the token. Each question is followed by another token, and
//! the notices up to that token are its answer. What members say meanwhile is passed over. No sentence is read.
//! In a room of its own, it does not get what a busy room says, waits for no reader there, and holds nobody up.

use std::collections::VecDeque;
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

/// The commands whose answers come in pages, which a notice closes.
const LISTS: [&str; 2] = ["/sessions", "/bans"];

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
    /// The first token has come back.
    is_trusted: bool,
    /// What chatd said about the end of the connection; the last line, as long as it is not trusted.
    said: Option<String>,
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
#[derive(Debug)]
pub enum Next {
    /// A notice.
    Told(Told),
    /// A token has come back, with whether the name is verified.
    Synced(String, bool),
    /// Another line, cleaned.
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
        matches!(self.notice, Some(Banned { .. } | Closing { .. } | Kicked { .. }))
    }
}

impl Next {
    fn from_line(line: String) -> Self {
        match serde_json::from_str(&line) {
            Ok(Object::Notice(noticed)) => Self::Told(Told::new(noticed, line.clone())),
            Ok(Object::Synced { token, verified, .. }) => Self::Synced(token.to_string(), verified),
            _ => Self::Line(line),
        }
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
                Err(error) => return Err(cannot_start(error)),
            }
        };
        let link = Link::start(stream, events_tx).map_err(cannot_start)?;
        let tokens = Requests::new().map_err(cannot_start)?;
        // Members see the name of the room, so its digits are not those of the tokens.
        let room = Requests::new().map_err(cannot_start)?.token();
        let lines = VecDeque::new();
        let mut connection =
            Self { socket: target, link, events, lines, tokens, timeout, is_trusted: false, said: None };
        connection.greet(&room[..ROOM_DIGITS])?;
        Ok(connection)
    }

    /// Goes to a room of its own, asks for the json view, and waits for the token. If there are too many rooms, it stays
    /// where it is.
    fn greet(&mut self, room: &str) -> Result<(), Failure> {
        let greeting = format!("/join chatctl-{room}\n/view json");
        let (_, is_verified) = self.exchange(&greeting, Instant::now() + self.timeout)?;
        (self.is_trusted, self.said) = (true, None);
        if is_verified { Ok(()) } else { self.expect_operator() }
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
                return Ok(self.hear(line));
            }
            match event::next(&self.events, until) {
                Ok(Event::Heard(lines)) => self.lines.extend(lines),
                Ok(Event::Stop) => return Ok(Next::Stop),
                Ok(Event::Resized) => return Ok(Next::Resized),
                Ok(Event::Ended(end)) => {
                    let mut failure = Failure::new(Exit::NoDaemon, format!("{}: {end}", self.socket));
                    failure.words.extend(self.said.take().map(|said| format!("it says: {said}")));
                    return Err(failure);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::stopped()),
            }
        }
    }

    fn hear(&mut self, line: String) -> Next {
        if !self.is_trusted {
            self.said = Some(line.clone());
        }
        let next = Next::from_line(line);
        if let Next::Told(told) = &next
            && self.is_trusted
            && told.is_farewell()
        {
            self.said = Some(told.text.clone());
        }
        next
    }

    /// Sends a command, and does not wait for its answer.
    pub fn say(&mut self, command: &str) {
        self.link.send(format!("{command}\n").into_bytes());
    }

    /// Sends a command, and returns what chatd answers: all pages of it.
    ///
    /// # Errors
    /// chatd refuses it, closes the connection, or does not answer in time. A page is without its end.
    pub fn ask(&mut self, command: &str) -> Result<Vec<Told>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut all, mut asked) = (Vec::new(), command.to_owned());
        loop {
            let (page, _) = self.exchange(&asked, deadline)?;
            if let Some(refusal) =
                page.iter().find(|told| told.notice.as_ref().is_some_and(Notice::is_refusal))
            {
                return Err(match refusal.notice {
                    Some(Notice::NotOperator) => not_operator(&refusal.text),
                    _ => Failure::new(Exit::Refused, refusal.text.clone()),
                });
            }
            let rest = if LISTS.contains(&command) { after(&page) } else { Ok(None) };
            all.extend(page);
            match rest.map(|last| last.map(|last| format!("{command} {last}"))) {
                Ok(None) => return Ok(all),
                Ok(Some(next)) if next != asked => asked = next,
                _ => {
                    let words = format!("{}: a list without its end; is this chatd?", self.socket);
                    return Err(Failure::new(Exit::Refused, words));
                }
            }
        }
    }

    /// Sends a command and a token. Returns the notices before the token comes back, and whether the name is verified.
    fn exchange(&mut self, command: &str, deadline: Instant) -> Result<(Vec<Told>, bool), Failure> {
        let (token, mut told) = (self.tokens.token(), Vec::new());
        self.say(&format!("{command}\n/sync {token}"));
        loop {
            match self.next(Some(deadline)) {
                Ok(Next::Synced(back, is_verified)) if back == token => return Ok((told, is_verified)),
                Ok(Next::Told(one)) => told.push(one),
                Ok(Next::Stop) => return Err(Failure::stopped()),
                Ok(Next::Late) => return Err(self.no_answer()),
                Ok(_) => {}
                // With no time left, chatd ends before it sends the token back.
                Err(_) if command.starts_with("/drain") && told.iter().any(is_draining) => {
                    return Ok((told, true));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn no_answer(&mut self) -> Failure {
        if self.is_trusted {
            let words = format!("{}: no answer within {:?}", self.socket, self.timeout);
            return Failure::new(Exit::NoDaemon, words);
        }
        let no_chatd = Problem::NoChatd(self.said.take().unwrap_or_default()).line(&self.socket);
        let words = vec![
            no_chatd,
            "chatctl needs a chatd with commands = true".to_owned(),
            "a node of a cluster answers only while its engine does: see the log of chatd, or systemctl status chatd"
                .to_owned(),
        ];
        Failure { exit: Exit::NoDaemon, words }
    }
}

/// Returns the last entry of a page of a list if others follow, for the command that asks for them.
///
/// # Errors
/// The page is without its end, or nothing can be asked for after its last entry.
fn after(page: &[Told]) -> Result<Option<String>, ()> {
    let mut last = None;
    for report in page.iter().filter_map(Told::report) {
        match report {
            Report::Session { id, .. } => last = Some(format!("#{id}")),
            Report::BanEntry { subject, .. } => last = Some(subject.clone()),
            Report::Sessions { more: 0, .. } | Report::Bans { more: 0, .. } => return Ok(None),
            Report::Sessions { .. } | Report::Bans { .. } => {
                return last.filter(|last| !last.contains(char::is_control)).map(Some).ok_or(());
            }
            _ => {}
        }
    }
    Err(())
}

pub(super) fn cannot_start(error: impl std::fmt::Display) -> Failure {
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
