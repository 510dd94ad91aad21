//! What arrives is printed: `chatc --listen`.
//!
//! A line goes out as soon as it is there. What is not for a script is left out: the greeting of chatd, what comes
//! before the room, name and view that were asked for, and the answers to that. Says nothing, and reads nothing of
//! standard input.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::connection::{self, CONNECT_TIMEOUT, Event, Link};
use super::dialogue::Dialogue;
use super::exit::Exit;
use super::failure::{ConnectError, End, unanswered};
use super::pauses::{self, Pauses};
use super::shown::Shown;
use super::silence::ANSWER_TIMEOUT;
use super::target::Target;
use super::{output, signals};

/// What chatd greets with, unless it is configured otherwise: the one greeting that can be told from a line.
pub const GREETING: &str = "Hello, connection to the server ok!";

/// How long a signal or the deadline waits for a reader that takes nothing, and the last words as well.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After so many lines that were said; where it is told what was, nothing else is printed then.
    pub count: Option<NonZeroU64>,
    /// After that time.
    pub timeout: Option<Duration>,
    /// Not when the connection is lost.
    pub reconnects: bool,
}

#[derive(Debug)]
enum Stage {
    /// Not connected; when it is tried again, if not now.
    Apart(Option<Instant>),
    /// The daemon is to answer until then. The link keeps the connection.
    Opening(Link, Instant),
    Listening(Link),
}

struct Listener {
    target: Target,
    limits: Limits,
    dialogue: Dialogue,
    events: SyncSender<Event>,
    stage: Stage,
    pauses: Pauses,
    was_connected: bool,
    connected_at: Instant,
    /// Whether the next line is the first of this connection.
    is_first: bool,
    /// How many lines were printed.
    printed: Arc<AtomicU64>,
    deadline: Option<Instant>,
}

/// How it ends, and why.
type Outcome = (Exit, Option<String>);

/// Prints what arrives.
pub fn run(target: Target, limits: Limits, dialogue: Dialogue) -> Exit {
    let (events_tx, events) = connection::events();
    if let Err(error) = signals::watch(events_tx.clone(), READER_PATIENCE, || {}) {
        output::say(&format!("cannot listen to signals: {error}"));
        return Exit::Failed;
    }
    let deadline = limits.timeout.map(|timeout| Instant::now() + timeout);
    let patience = limits.timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
    connection::connect(target.clone(), patience, events_tx.clone());
    let mut listener = Listener {
        target,
        limits,
        dialogue,
        events: events_tx,
        stage: Stage::Apart(None),
        pauses: Pauses::default(),
        was_connected: false,
        connected_at: Instant::now(),
        is_first: true,
        printed: Arc::default(),
        deadline,
    };
    tell(listener.follow(&events))
}

/// Says why it ends, if anybody wants to know.
fn tell((exit, words): Outcome) -> Exit {
    Exit::at(Instant::now() + READER_PATIENCE, move || exit);
    if let Some(words) = words {
        output::say(&words);
    }
    exit
}

/// The time is up, and so many lines were printed.
fn out_of_time(target: &Target, limits: Limits, printed: u64) -> Outcome {
    match limits.count {
        Some(count) if printed < count.get() => {
            (Exit::Failed, Some(format!("{target}: {printed} of {count} lines came in time")))
        }
        _ => (Exit::Ok, None),
    }
}

impl Listener {
    fn follow(&mut self, events: &Receiver<Event>) -> Outcome {
        loop {
            let stage = match &self.stage {
                Stage::Apart(when) => *when,
                Stage::Opening(_, until) => Some(*until),
                Stage::Listening(_) => None,
            };
            // The first attempt to connect has a bound of its own, and an error that says more.
            let deadline = self.deadline.filter(|_| self.was_connected || stage.is_some());
            let event = connection::next(events, deadline.into_iter().chain(stage).min());
            let ended = match event {
                Ok(event) => self.take(event),
                Err(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    Some(self.time_is_up())
                }
                Err(RecvTimeoutError::Timeout) => self.go_on(),
                Err(RecvTimeoutError::Disconnected) => Some((Exit::Failed, None)),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Connected(link) => {
                self.is_first = true;
                self.connected_at = Instant::now();
                self.dialogue.open();
                self.stage = Stage::Opening(link, Instant::now() + ANSWER_TIMEOUT);
                self.send();
                self.settle();
            }
            Event::NotConnected(error) => return self.not_connected(&error),
            Event::Heard(lines) => {
                // Until all is answered, each line may change what becomes of the next.
                let is_settled = matches!(self.stage, Stage::Listening(_)) && !self.is_first;
                let parts =
                    if is_settled { vec![lines] } else { lines.into_iter().map(|line| vec![line]).collect() };
                for lines in parts {
                    if let Some(outcome) = self.hear(lines) {
                        return Some(outcome);
                    }
                }
                self.send();
            }
            Event::Ended(end) => return self.ended(&end),
            Event::Stop => return Some((Exit::Ok, None)),
            _ => {}
        }
        None
    }

    fn send(&mut self) {
        let lines = self.dialogue.take_to_send();
        if let Stage::Opening(link, _) | Stage::Listening(link) = &self.stage
            && !lines.is_empty()
        {
            link.offer(&lines);
        }
    }

    fn settle(&mut self) {
        if let Stage::Opening(link, _) = &self.stage
            && self.dialogue.is_settled()
        {
            self.stage = Stage::Listening(link.clone());
            if !self.was_connected {
                self.end_in_time();
                output::watch(self.events.clone());
            }
            self.was_connected = true;
        }
    }

    /// The time counts also when nobody reads what is printed.
    fn end_in_time(&self) {
        if let Some(deadline) = self.deadline {
            let (target, limits, printed) = (self.target.clone(), self.limits, Arc::clone(&self.printed));
            Exit::at(deadline + READER_PATIENCE, move || {
                tell(out_of_time(&target, limits, printed.load(Ordering::Relaxed)))
            });
        }
    }

    fn hear(&mut self, lines: Vec<String>) -> Option<Outcome> {
        let is_greeting = std::mem::take(&mut self.is_first) && lines == [GREETING];
        let is_listening = matches!(self.stage, Stage::Listening(_));
        for shown in self.dialogue.hear(lines, Timestamp::now()) {
            match shown {
                Shown::Line(line) if is_listening && !is_greeting => {
                    if let Some(outcome) = self.print(&line) {
                        return Some(outcome);
                    }
                }
                // Whoever waits for so many lines waits for what is said.
                Shown::Aside(line) | Shown::Notice { line, .. }
                    if is_listening && self.limits.count.is_none() =>
                {
                    if let Some(outcome) = self.print(&line) {
                        return Some(outcome);
                    }
                }
                Shown::Missed(count) => {
                    let words = count.missing_words();
                    words.iter().for_each(|words| output::say(&format!("{}: {words}", self.target)));
                }
                // The name may be held by the connection that was lost, until the daemon finds that out.
                Shown::Refused(_) if self.was_connected => self.give_up(),
                Shown::Refused(refusal) => {
                    return Some((Exit::Failed, Some(format!("{}: {}", self.target, refusal.words))));
                }
                _ => {}
            }
        }
        self.settle();
        None
    }

    /// Prints a line.
    fn print(&mut self, line: &str) -> Option<Outcome> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Ok(()) => {
                let printed = self.printed.fetch_add(1, Ordering::Relaxed) + 1;
                let is_enough = self.limits.count.is_some_and(|count| printed >= count.get());
                is_enough.then_some((Exit::Ok, None))
            }
            Err(error) => Some(output::unwritable(&error)),
        }
    }

    fn not_connected(&mut self, error: &ConnectError) -> Option<Outcome> {
        if !self.was_connected {
            return Some((Exit::NoDaemon, Some(error.to_string())));
        }
        self.pause();
        None
    }

    fn ended(&mut self, end: &End) -> Option<Outcome> {
        let says = format!("{}: {end}", self.target);
        match end {
            End::NotChatd(_) => return Some((Exit::NoDaemon, Some(says))),
            _ if !self.limits.reconnects || !self.was_connected => return Some((Exit::Failed, Some(says))),
            _ => {}
        }
        if self.pauses.lost(self.connected_at.elapsed()) {
            output::say(&format!("{says}; connecting again"));
        }
        self.pause();
        None
    }

    /// Ends the connection; another is tried when it has ended.
    fn give_up(&self) {
        if let Stage::Opening(link, _) | Stage::Listening(link) = &self.stage {
            link.close();
        }
    }

    /// Tries again later.
    fn pause(&mut self) {
        self.stage = Stage::Apart(Some(Instant::now() + self.pauses.next(pauses::spread())));
    }

    /// Something other than the end has been waited for long enough.
    fn go_on(&mut self) -> Option<Outcome> {
        match &self.stage {
            Stage::Apart(Some(_)) => {
                self.stage = Stage::Apart(None);
                connection::connect(self.target.clone(), CONNECT_TIMEOUT, self.events.clone());
                None
            }
            _ => {
                let wish = self.dialogue.open_wish().unwrap_or_default();
                Some((Exit::Failed, Some(unanswered(&self.target, wish))))
            }
        }
    }

    fn time_is_up(&self) -> Outcome {
        if let (Stage::Opening(..), Some(wish)) = (&self.stage, self.dialogue.open_wish()) {
            return (Exit::Failed, Some(unanswered(&self.target, wish)));
        }
        out_of_time(&self.target, self.limits, self.printed.load(Ordering::Relaxed))
    }
}
