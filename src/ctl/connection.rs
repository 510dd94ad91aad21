//! The connection of chatctl: one question after the other, each with everything that chatd answers.
//!
//! [`Connection::open`] asks chatd to be in no room. From then on chatd sends objects alone, and what members say only
//! with `/watch`. Behind each question comes `/sync` with a token that nobody else knows: what arrives before that token is
//! the answer. No sentence is read.

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
use crate::client::target::Target;
use crate::client::trust::Trust;
use crate::protocol::{Notice, Object, Report};

/// How an operator becomes one.
const HOW_TO_BE_ONE: &str =
    "to become one: usermod -aG chatd-operators USER as root, and then log in again; or use sudo";

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
    /// What chatd said last that may explain why it does not answer.
    said: Option<String>,
}

/// A notice, or a line that is no object, and the line that it was read from.
#[derive(Clone, Debug)]
pub struct Told {
    /// The notice; `None` for one of a later version, or none.
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
    /// Another object, cleaned.
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
}

impl Connection {
    /// Connects, and waits until chatd has answered. What happens later goes through `events`.
    ///
    /// # Errors
    /// Nobody is there, the user is no operator, or chatd does not answer within `timeout`.
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
        let lines = VecDeque::new();
        let mut connection = Self { socket: target, link, events, lines, tokens, timeout, said: None };
        connection.leave_rooms()?;
        Ok(connection)
    }

    /// Asks to be in no room.
    fn leave_rooms(&mut self) -> Result<(), Failure> {
        let (told, synced) = self.exchange("/control", Instant::now() + self.timeout)?;
        let is_refused = || told.iter().any(|told| told.text.contains(&Notice::NotOperator.to_string()));
        self.said.take_if(|said| *said != Notice::EngineAway.to_string());
        match serde_json::from_str(&synced) {
            Ok(Object::Synced { room, .. }) if room.is_empty() => Ok(()),
            _ if is_refused() => Err(not_operator()),
            _ => Err(Failure::new(
                Exit::Failed,
                format!("{}: this chatd is older than chatctl; restart it", self.socket),
            )),
        }
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
                Ok(Event::Ended(end)) => return Err(self.no_daemon(&end.to_string())),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::stopped()),
            }
        }
    }

    fn hear(&mut self, line: String) -> Next {
        use Notice::{Banned, Closing, EngineAway, Kicked};
        let (notice, text) = match serde_json::from_str(&line) {
            Ok(Object::Notice(noticed)) => (noticed.notice, noticed.text.into_owned()),
            Ok(_) => return Next::Line(line),
            Err(_) => (None, line.clone()),
        };
        let text = notice.as_ref().and_then(hint::sentence).unwrap_or(text);
        let told = Told { notice, text: clean(text.as_bytes()), line };
        if matches!(told.notice, None | Some(Banned { .. } | Closing { .. } | EngineAway | Kicked { .. })) {
            self.said = Some(told.text.clone());
        }
        Next::Told(told)
    }

    /// Sends a command, and does not wait for its answer.
    pub fn say(&mut self, command: &str) {
        self.link.send(format!("{command}\n").into_bytes());
    }

    /// Sends a command, and returns what chatd answers: all pages of it.
    ///
    /// # Errors
    /// chatd refuses it, closes the connection, or does not answer in time.
    pub fn ask(&mut self, command: &str) -> Result<Vec<Told>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut all, mut asked) = (Vec::new(), command.to_owned());
        loop {
            let (page, _) = self.exchange(&asked, deadline)?;
            let is_refusal = |told: &&Told| told.notice.as_ref().is_some_and(Notice::is_refusal);
            match page.iter().find(is_refusal) {
                Some(Told { notice: Some(Notice::NotOperator), .. }) => return Err(not_operator()),
                Some(refusal) => return Err(Failure::new(Exit::Failed, refusal.text.clone())),
                None => {}
            }
            let last = last_of_page(&page);
            all.extend(page);
            match last {
                Some(last) => asked = format!("{command} {last}"),
                None => return Ok(all),
            }
        }
    }

    /// Sends a command and a token. Returns the notices before the token comes back, and the line with that.
    fn exchange(&mut self, command: &str, deadline: Instant) -> Result<(Vec<Told>, String), Failure> {
        let (token, mut told) = (self.tokens.token(), Vec::new());
        self.say(&format!("{command}\n/sync {token}"));
        loop {
            match self.next(Some(deadline)) {
                Ok(Next::Line(line) | Next::Told(Told { line, .. })) if line.contains(&token) => {
                    return Ok((told, line));
                }
                Ok(Next::Told(one)) => told.push(one),
                Ok(Next::Stop) => return Err(Failure::stopped()),
                Ok(Next::Late) => return Err(self.no_daemon(&format!("no answer within {:?}", self.timeout))),
                Ok(_) => {}
                // With no time left, chatd ends before it sends the token back.
                Err(_) if command.starts_with("/drain") && told.iter().any(is_draining) => {
                    return Ok((told, token));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// chatd does not answer, or not any more.
    fn no_daemon(&mut self, words: &str) -> Failure {
        let mut failure = Failure::new(Exit::NoDaemon, format!("{}: {words}", self.socket));
        failure.words.extend(self.said.take().map(|said| format!("it says: {said}")));
        failure
    }
}

/// Returns the last entry of a page of a list if others follow, for the command that asks for them.
fn last_of_page(page: &[Told]) -> Option<String> {
    let mut last = None;
    for report in page.iter().filter_map(Told::report) {
        match report {
            Report::Session { id, .. } => last = Some(format!("#{id}")),
            Report::BanEntry { subject, .. } => last = Some(subject.clone()),
            Report::Sessions { more: 1.., .. } | Report::Bans { more: 1.., .. } => return last,
            _ => {}
        }
    }
    None
}

pub(super) fn cannot_start(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start: {error}"))
}

/// Why there is no connection. Who may not connect may be let in.
fn unreachable(socket: &Path, mut words: Vec<String>) -> Failure {
    if rustix::fs::access(socket, Access::WRITE_OK) == Err(Errno::ACCESS) {
        words.push(HOW_TO_BE_ONE.to_owned());
        return Failure { exit: Exit::NotOperator, words };
    }
    Failure { exit: Exit::NoDaemon, words }
}

fn not_operator() -> Failure {
    Failure {
        exit: Exit::NotOperator,
        words: vec![Notice::NotOperator.to_string(), HOW_TO_BE_ONE.to_owned()],
    }
}

fn is_draining(told: &Told) -> bool {
    matches!(told.notice, Some(Notice::Draining { .. }))
}
