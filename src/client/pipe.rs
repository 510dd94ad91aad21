//! What is piped in is said: `echo deploy done | chatc`.
//!
//! Prints nothing of what arrives, for a script that says something has no use for what others say at that moment. It
//! ends with 0 only when the daemon has been told that nothing more comes, and has closed the connection in good order
//! after that, or after `/quit`: then it has taken all of it. What goes wrong is said on standard error, and never anything else.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::connection::{self, CONNECT_TIMEOUT, Event, Link};
use super::dialogue::Dialogue;
use super::exit::Exit;
use super::failure::{End, unanswered};
use super::losses::Losses;
use super::output;
use super::shown::Shown;
use super::silence::{ANSWER_TIMEOUT, Silence};
use super::target::Target;

/// Bytes that are read of standard input at a time.
const READ_BYTES: usize = 64 << 10;

/// How far it has come.
#[derive(Debug)]
enum Stage {
    Connecting,
    /// The daemon is to answer until then.
    Opening(Link, Instant),
    /// Standard input is being said.
    Saying,
    /// All is said and written.
    Said,
}

struct Pipe {
    target: Target,
    dialogue: Dialogue,
    events: SyncSender<Event>,
    stage: Stage,
    losses: Losses,
    silence: Silence,
    deadline: Option<Instant>,
}

/// Says what is on standard input, within `timeout` if there is one.
pub fn run(target: Target, timeout: Option<Duration>, dialogue: Dialogue) -> Exit {
    let (events_tx, events) = connection::events();
    let patience = timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
    connection::connect(target.clone(), patience, events_tx.clone());
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let (losses, silence) = (Losses::default(), Silence::new(Instant::now()));
    let stage = Stage::Connecting;
    let mut pipe = Pipe { target, dialogue, events: events_tx, stage, losses, silence, deadline };
    let (exit, words) = pipe.follow(&events);
    if let Some(words) = words {
        output::say(&words);
    }
    exit
}

/// How it ends, and why.
type Outcome = (Exit, Option<String>);

impl Pipe {
    fn follow(&mut self, events: &Receiver<Event>) -> Outcome {
        loop {
            let silence = self.silence.until(Instant::now());
            let until = match &self.stage {
                // Connecting has a bound of its own, and an error that says more.
                Stage::Connecting => None,
                Stage::Opening(_, until) => self.deadline.into_iter().chain([*until]).min(),
                // Somebody has said how long it may take: a daemon may need so long to find out who one is.
                _ => self.deadline.or(silence),
            };
            let Ok(event) = connection::next(events, until) else {
                match self.time_is_up(Instant::now()) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            };
            if let Some(outcome) = self.take(event) {
                return outcome;
            }
        }
    }

    fn says(&self, words: &str) -> String {
        format!("{}: {words}", self.target)
    }

    fn time_is_up(&self, now: Instant) -> Option<Outcome> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Some((Exit::Failed, Some(self.late())));
        }
        let is_unanswered = matches!(self.stage, Stage::Opening(_, until) if until <= now);
        let is_hanging = self.deadline.is_none() && self.silence.is_over(now);
        if is_hanging || (is_unanswered && !self.silence.is_heard()) {
            return Some((Exit::NoDaemon, Some(self.says(&self.silent()))));
        }
        is_unanswered.then(|| (Exit::Failed, Some(self.late())))
    }

    /// Nothing was heard for too long.
    fn silent(&self) -> String {
        let words = match self.dialogue.open_wish() {
            Some(_) => {
                "; is it chatd, does it hang, or has it no commands, which --nick, --room and --view need?"
            }
            // A daemon that is slow takes it all the same, once it goes on.
            None => ", and what was sent may still be said; is it chatd, and does it hang?",
        };
        format!("no answer within {ANSWER_TIMEOUT:?}, not even a greeting{words}")
    }

    fn late(&self) -> String {
        match self.dialogue.open_wish() {
            Some(wish) => unanswered(&self.target, wish),
            None => {
                "the daemon has not taken all of it in time; try again, or allow more with --timeout".into()
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Connected(link) => {
                self.dialogue.open();
                let lines = self.dialogue.take_to_send();
                self.silence.hand_over(Instant::now());
                link.offer(&lines);
                self.stage = Stage::Opening(link, Instant::now() + ANSWER_TIMEOUT);
            }
            Event::NotConnected(error) => return Some((Exit::NoDaemon, Some(error.to_string()))),
            Event::Written => self.silence.take(Instant::now()),
            Event::Heard(lines) => {
                self.silence.hear();
                for line in lines {
                    self.losses.hear(&line);
                    if let Some(words) = self.hear(line) {
                        return Some((Exit::Failed, Some(self.says(&words))));
                    }
                }
            }
            Event::Copied(Err(error)) => {
                return Some((Exit::Failed, Some(format!("cannot read standard input: {error}"))));
            }
            Event::SaidAll => {
                self.silence.take_all(Instant::now());
                self.stage = Stage::Said;
            }
            Event::Ended(end) => return Some(self.ended(&end)),
            _ => {}
        }
        self.begin()
    }

    fn hear(&mut self, line: String) -> Option<String> {
        for shown in self.dialogue.hear(vec![line], Timestamp::now()) {
            match shown {
                Shown::Refused(refusal) => return Some(refusal.words),
                Shown::Notice { text, .. } => self.losses.notice(&text),
                // Among objects, text is that of a daemon that cannot go on with them.
                Shown::Aside(line) => {
                    line.strip_prefix("-!- ").into_iter().for_each(|text| self.losses.notice(text))
                }
                _ => {}
            }
        }
        None
    }

    /// Begins to say what is on standard input, once everything is answered.
    fn begin(&mut self) -> Option<Outcome> {
        if let Stage::Opening(link, _) = &self.stage
            && self.dialogue.is_settled()
        {
            let (link, events) = (link.clone(), self.events.clone());
            let (losses, silence) = (self.losses.clone(), self.silence.clone());
            self.stage = Stage::Saying;
            let started = thread::Builder::new().spawn(move || {
                let copied = copy(&link, &losses, &silence);
                let is_whole = copied.is_ok();
                let _ = events.send(Event::Copied(copied));
                if is_whole {
                    link.end();
                }
            });
            let words = started.err().map(|error| format!("cannot read standard input: {error}"));
            return words.map(|words| (Exit::Failed, Some(words)));
        }
        None
    }

    fn ended(&self, end: &End) -> Outcome {
        if let End::NotChatd(_) = end {
            return (Exit::NoDaemon, Some(self.says(&end.to_string())));
        }
        match (self.losses.words(), end, &self.stage) {
            (Some(words), ..) => (Exit::Failed, Some(self.says(&words))),
            (None, End::Closed, _) if self.losses.has_more() => {
                (Exit::Failed, Some(self.says("nobody got what comes after /quit")))
            }
            (None, End::Closed, Stage::Said) => (Exit::Ok, None),
            (None, End::Closed, Stage::Saying) if self.losses.has_quit() => (Exit::Ok, None),
            (None, End::Closed, _) => {
                let words = "the daemon has closed the connection before it had taken all of it";
                (Exit::Failed, Some(self.says(words)))
            }
            (None, end, _) => {
                let words = format!("{end}, perhaps before the daemon had taken all of it");
                (Exit::Failed, Some(self.says(&words)))
            }
        }
    }
}

/// Hands over what is on standard input, as it is, as soon as it is there.
fn copy(link: &Link, losses: &Losses, silence: &Silence) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                losses.say(&buffer[..count]);
                silence.hand_over(Instant::now());
                link.send(buffer[..count].to_vec());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
