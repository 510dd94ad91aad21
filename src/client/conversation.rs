//! Somebody types, and hears what others say: chatc on a terminal.
//!
//! One thread decides, here, and waits for events alone: from the keyboard, the connection, and signals. A line that
//! was typed is handed over and written before the next is asked for, so what somebody types never waits in a queue;
//! a daemon that takes nothing for a while stops the keyboard, and neither what arrives nor Ctrl-C.

mod ending;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::claim::Claim;
use super::connection::{self, CONNECT_TIMEOUT, Event, Link};
use super::dialogue::Dialogue;
use super::exit::Exit;
use super::failure;
use super::keyboard::{self, Keyboard};
use super::pauses::{self, Pauses};
use super::shown::Shown;
use super::silence::ANSWER_TIMEOUT;
use super::step::Refusal;
use super::target::Target;
use super::{output, signals};
use crate::protocol::command::{self, Command, Line};
use crate::protocol::{Name, NameError};

/// What stands before a line that is being typed.
const PROMPT: &str = "> ";

/// The same, if it is to be a name.
const NAME_PROMPT: &str = "name: ";

/// How long a daemon that greets takes to do so: after that, somebody may wonder.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take to close it after /quit, before more can be typed: where commands are off, /quit is a line.
const QUIT_PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take in all to end: longer than the editor and the daemon may. Then the terminal takes nothing.
const END_PATIENCE: Duration = Duration::from_secs(4);

/// How long the rest is heard after Ctrl-D.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is said of what was typed last if nobody knows whether it has arrived.
const IN_DOUBT: &str = "what was typed last may not have been heard";

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// Not yet connected, or not any more; when it is tried again, if not now.
    Apart(Option<Instant>),
    /// Connected, with what is still to be answered until then.
    Opening(Link, Instant),
    /// Connected, and everything is answered.
    Talking(Link),
    /// Nothing more is said; the rest is heard until then.
    Leaving(Instant),
}

/// How it ends: the code, and what is said last.
type Outcome = (Exit, Option<String>);

/// A conversation on a terminal.
struct Conversation {
    target: Target,
    reconnects: bool,
    dialogue: Dialogue,
    keyboard: Keyboard,
    events: SyncSender<Event>,
    stage: Stage,
    pauses: Pauses,
    /// Whether there was a connection before.
    was_connected: bool,
    /// Whether this connection is not the first.
    is_again: bool,
    /// It has been said that it stands again.
    is_announced: bool,
    connected_at: Instant,
    /// If the last that was typed is to be the last: until when nothing more is asked for.
    quit_until: Option<Instant>,
    /// Whether what is typed next is a name.
    wants_name: bool,
    /// The name that one has no more.
    claim: Claim,
    /// What was typed and is not yet written.
    is_writing: bool,
    /// Until when something should have been heard.
    greeting_until: Option<Instant>,
}

/// Talks until somebody says stop.
pub fn run(target: Target, reconnects: bool, dialogue: Dialogue) -> Exit {
    let (events_tx, events) = connection::events();
    let restore = keyboard::restore();
    let started = signals::watch(events_tx.clone(), END_PATIENCE, restore.clone())
        .and_then(|()| Keyboard::start(events_tx.clone()));
    let keyboard = match started {
        Ok(keyboard) => keyboard,
        Err(error) => {
            output::say(&format!("cannot use the terminal: {error}"));
            return Exit::Failed;
        }
    };
    connection::connect(target.clone(), CONNECT_TIMEOUT, events_tx.clone());
    let mut conversation = Conversation {
        target,
        reconnects,
        dialogue,
        keyboard,
        events: events_tx,
        stage: Stage::Apart(None),
        pauses: Pauses::default(),
        was_connected: false,
        is_again: false,
        is_announced: false,
        connected_at: Instant::now(),
        quit_until: None,
        wants_name: false,
        claim: Claim::default(),
        is_writing: false,
        greeting_until: None,
    };
    let (exit, last) = conversation.follow(&events);
    Exit::at(Instant::now() + END_PATIENCE, move || {
        restore();
        exit
    });
    let Conversation { keyboard, stage, .. } = conversation;
    keyboard.close(&events);
    if let Some(words) = last {
        output::say(&words);
    }
    if let Stage::Opening(link, _) | Stage::Talking(link) = stage {
        link.leave(&events);
    }
    exit
}

impl Conversation {
    fn follow(&mut self, events: &Receiver<Event>) -> Outcome {
        loop {
            let ended = match self.wait(events) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.time_is_up(),
                Err(RecvTimeoutError::Disconnected) => Some((Exit::Failed, None)),
            };
            if let Some(outcome) = ended.or_else(|| self.keyboard.failure().map(output::unwritable)) {
                return outcome;
            }
            self.go_on();
        }
    }

    fn wait(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        let stage = match &self.stage {
            Stage::Apart(when) => *when,
            Stage::Opening(_, until) | Stage::Leaving(until) => Some(*until),
            Stage::Talking(_) => None,
        };
        let quit = self.quit_until.filter(|_| self.is_quitting());
        let others = self.greeting_until.into_iter().chain(quit).chain(self.claim.when());
        connection::next(events, others.chain(stage).min())
    }

    fn take(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Connected(link) => self.open(link),
            Event::NotConnected(error) => return self.not_connected(&error),
            Event::Heard(lines) => self.hear(lines),
            Event::Written => self.is_writing = false,
            Event::Ended(end) => return self.ended(&end),
            Event::Typed(line) => self.typed(&line),
            Event::Hung(hung) => return self.hung(hung),
            Event::Stop => return Some((Exit::Ok, None)),
            Event::SaidAll | Event::Copied(_) => {}
        }
        None
    }

    /// Asks for the next line, when there is somewhere to send it.
    fn go_on(&mut self) {
        let is_ready = match &self.stage {
            Stage::Apart(_) => self.was_connected,
            // Until the daemon has answered, what is typed may go elsewhere, or have no name.
            Stage::Opening(..) => self.wants_name || self.was_connected,
            Stage::Talking(_) => true,
            Stage::Leaving(_) => false,
        };
        if is_ready && !self.is_writing && !self.is_quitting() && !self.keyboard.is_asked() {
            self.keyboard.ask(if self.wants_name { NAME_PROMPT } else { PROMPT });
        }
        if let Stage::Opening(link, _) = &self.stage
            && self.dialogue.is_settled()
            && !self.wants_name
        {
            self.stage = Stage::Talking(link.clone());
            self.was_connected = true;
            self.go_on();
        }
    }

    /// Whether the daemon is about to close the connection, because it was asked to.
    fn is_quitting(&self) -> bool {
        self.quit_until.is_some_and(|until| Instant::now() < until)
    }

    fn open(&mut self, link: Link) {
        self.is_again = self.was_connected;
        if !self.is_again {
            output::watch(self.events.clone());
        }
        self.dialogue.open();
        self.claim = Claim::default();
        self.is_writing = false;
        self.connected_at = Instant::now();
        self.greeting_until = Some(Instant::now() + GREETING_PATIENCE);
        self.stage = Stage::Opening(link, Instant::now() + ANSWER_TIMEOUT);
        // A connection that stands takes a few lines.
        let _ = self.send();
    }

    /// Sends what the dialogue wants to be sent. Says why that cannot be, if it cannot.
    fn send(&mut self) -> Result<(), &'static str> {
        let lines = self.dialogue.take_to_send();
        if lines.is_empty() {
            return Ok(());
        }
        let (Stage::Opening(link, _) | Stage::Talking(link)) = &self.stage else {
            return Err("not connected");
        };
        if !link.offer(&lines) {
            self.dialogue.not_sent(&lines);
            return Err("the daemon takes nothing");
        }
        self.is_writing = true;
        self.dialogue.sent(&lines, Timestamp::now());
        Ok(())
    }

    fn hear(&mut self, lines: Vec<String>) {
        // One that ends as soon as it stands is not worth mentioning.
        if self.greeting_until.take().is_some() && self.is_again {
            self.remark("connected again");
            self.is_announced = true;
            self.remark_on_doubt();
        }
        self.dialogue.hear(lines, Timestamp::now()).into_iter().for_each(|shown| self.show(shown));
        // A question that cannot be asked is asked another time, or not at all: nobody has typed it.
        let _ = self.send();
    }

    /// In text nobody can tell what has arrived of what was typed just before the connection was lost.
    fn remark_on_doubt(&mut self) {
        if self.dialogue.take_doubt() {
            self.remark(&format!("{IN_DOUBT}; Up brings it back"));
        }
    }

    fn show(&mut self, shown: Shown) {
        match shown {
            Shown::Line(line) | Shown::Aside(line) | Shown::Notice { line, .. } | Shown::Granted(line) => {
                self.keyboard.show(&line)
            }
            Shown::Lost(lost) => lost.words().iter().for_each(|words| self.remark(words)),
            Shown::Missed(count) => count.words().iter().for_each(|words| self.remark(words)),
            Shown::Refused(refusal) => self.refused(&refusal),
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        let former = self.dialogue.former().filter(|_| refusal.is_taken && self.was_connected);
        if let Some(name) = former.map(str::to_owned) {
            if self.claim.refused(Instant::now(), pauses::spread()) {
                self.remark(&refusal.words);
                // Somebody may have typed /nick, or Ctrl-D, before this answer came.
                if !self.claim.is_given_up() {
                    self.remark(&format!(
                        "you are a guest until {name} is free; it is asked for again until you type /nick"
                    ));
                }
            }
            return;
        }
        self.claim.give_up();
        self.remark(&refusal.words);
        // Whoever has talked already can type /nick; a question would take the line that is being typed.
        if refusal.is_name && !self.was_connected {
            self.wants_name = true;
        } else if refusal.is_name {
            self.remark("you have no name now; type /nick NAME");
        }
    }

    /// Asks once more for the name that somebody else had.
    fn claim(&mut self) {
        let Some(name) = self.dialogue.former().map(str::to_owned) else { return };
        self.dialogue.ask_for_name(&name);
        if self.send().is_err() {
            self.claim.refused(Instant::now(), pauses::spread());
        }
    }

    /// A line of chatc itself.
    fn remark(&self, text: &str) {
        self.keyboard.show(&format!("chatc: {text}"));
    }

    fn typed(&mut self, text: &str) {
        self.keyboard.answered();
        if self.wants_name {
            self.typed_name(text.trim());
        } else {
            // What was pasted may have several lines.
            text.split('\n').for_each(|line| self.say(line));
            self.dialogue.ask_whether_taken();
            let has_quit = command::read(text.as_bytes()) == Line::Command(Command::Quit);
            self.quit_until = has_quit.then(|| Instant::now() + QUIT_PATIENCE);
        }
        if let Err(why) = self.send() {
            self.remark(&format!("{why}, nobody got that; Up brings it back"));
        }
    }

    fn say(&mut self, line: &str) {
        if matches!(command::read(line.as_bytes()), Line::Command(Command::Nick(_))) {
            self.claim.give_up();
        }
        self.dialogue.say(line);
    }

    fn typed_name(&mut self, text: &str) {
        self.wants_name = false;
        match Name::parse(text) {
            Ok(name) => self.dialogue.ask_for_name(name.as_str()),
            // Nothing typed: a guest, then.
            Err(NameError::Empty) => {}
            Err(error) => {
                self.remark(&error.to_string());
                self.wants_name = true;
            }
        }
    }

    fn time_is_up(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        if self.greeting_until.is_some_and(|until| until <= now) {
            self.greeting_until = None;
            let again = if self.is_again { " again" } else { "" };
            self.remark(&format!("connected{again} to {}, which says nothing so far", self.target));
            self.is_announced = true;
            self.remark_on_doubt();
        }
        if self.claim.is_due(now) {
            self.claim();
        }
        match &self.stage {
            Stage::Leaving(until) if *until <= now => {
                self.dialogue.lost(Timestamp::now());
                return Some(self.left(format!("{}: the daemon does not answer", self.target)));
            }
            Stage::Apart(Some(when)) if *when <= now => {
                self.stage = Stage::Apart(None);
                connection::connect(self.target.clone(), CONNECT_TIMEOUT, self.events.clone());
            }
            Stage::Opening(link, until) if *until <= now => {
                let link = link.clone();
                if let Some(wish) = self.dialogue.open_wish() {
                    self.remark(&failure::unanswered(&self.target, wish));
                }
                self.dialogue.take_lost().into_iter().for_each(|lost| self.show(lost));
                self.was_connected = true;
                self.stage = Stage::Talking(link);
            }
            _ => {}
        }
        None
    }
}
