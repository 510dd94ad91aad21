//! The pipe: what is on standard input is said, and the exit code tells whether it is in the room.
//!
//! Nothing is printed of what arrives. It ends with 0 when the daemon has confirmed every line; otherwise standard error
//! has the lines that were refused, those that are in doubt, and those that were not said.

use std::io;
use std::sync::mpsc::SyncSender;

use memchr::memchr;

use super::cli::Exit;
use super::event::{End, Event, Input, Mode, Outcome, Stage};
use super::link::clean;
use super::request::Purpose;
use super::session::Core;
use crate::protocol::command::{self, Command, Line};
use crate::protocol::notice::Notice;
use crate::protocol::object::{Noticed, Object};

/// The longest line, in bytes: the largest `max_line` of chatd.
const MAX_BYTES: usize = 1 << 20;

/// Bytes of a longer line that are kept, to name it.
const NAMED_BYTES: usize = 60;

/// Standard input that is being said.
#[derive(Debug)]
pub struct Pipe {
    input: Input,
    /// Something was asked of it that has not come.
    is_reading: bool,
    /// The line that is not whole yet.
    partial: Vec<u8>,
    /// The beginning of it was thrown away.
    is_cut: bool,
    /// Nothing more is to be said.
    is_over: bool,
    /// The end was told.
    has_ended: bool,
    /// Name, room or view were asked for.
    has_wishes: bool,
    /// Why lines are in doubt, in the words of the daemon.
    reason: Option<String>,
}

impl Pipe {
    /// Nothing is said yet. With `has_wishes` no server will do that does not grant them.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new(has_wishes: bool, events: SyncSender<Event>) -> io::Result<Self> {
        Ok(Self {
            input: Input::start(events)?,
            is_reading: false,
            partial: Vec::new(),
            is_cut: false,
            is_over: false,
            has_ended: false,
            has_wishes,
            reason: None,
        })
    }

    /// Takes bytes of standard input.
    fn feed(&mut self, core: &mut Core, mut bytes: &[u8]) {
        while let Some(at) = memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            self.say(core);
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.is_cut |= self.partial.len() + bytes.len() > MAX_BYTES;
        let most = if self.is_cut { NAMED_BYTES } else { MAX_BYTES };
        self.partial.truncate(most);
        let space = most - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    fn say(&mut self, core: &mut Core) {
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.is_cut) {
            return core.requests.refused.push((line, format!("longer than {MAX_BYTES} bytes")));
        }
        match command::read(line.strip_suffix(b"\r").unwrap_or(&line)) {
            _ if self.is_over => {}
            Line::Command(Command::Quit) => self.is_over = true,
            // Nobody sees how lines look here, and chatc reads them in json.
            Line::Command(Command::View(_) | Command::Time(_)) => {}
            _ => core.requests.add(Purpose::Say, line),
        }
    }

    /// Nothing more comes.
    fn finish(&mut self, core: &mut Core) {
        if !self.partial.is_empty() {
            self.say(core);
        }
        self.is_over = true;
    }

    /// How it ends where something has gone wrong: `words` say what, then each line.
    fn failed(&self, core: &mut Core, words: String) -> Outcome {
        core.requests.lose();
        let named = |what: &str, line: &[u8]| format!("{what}: {}", clean(line));
        let refused = |(line, why): &(Vec<u8>, String)| format!("{} ({why})", named("refused", line));
        let mut lines = vec![words];
        lines.extend(core.requests.refused.iter().map(refused));
        lines.extend(core.requests.unclear.iter().map(|text| format!("refused: {}", clean(text.as_bytes()))));
        lines.extend(core.requests.doubtful.iter().map(|line| named("in doubt", line)));
        let waiting = core.requests.give_up_waiting();
        let partial = (!self.partial.is_empty()).then_some(&self.partial);
        let unsaid = waiting.iter().chain(partial);
        lines.extend(unsaid.map(|line| named("not said", line)));
        if !self.is_over {
            lines.push("not said: the rest of the input".to_owned());
        }
        (Exit::Failed, lines)
    }

    /// Everything is confirmed, or was refused or lost before.
    fn verdict(&self, core: &mut Core) -> Outcome {
        let words = match &self.reason {
            Some(reason) if !core.requests.doubtful.is_empty() => reason,
            _ if !core.requests.refused.is_empty() || !core.requests.unclear.is_empty() => {
                "the daemon has refused a part of it"
            }
            _ => return (Exit::Ok, Vec::new()),
        };
        let words = core.says(words);
        self.failed(core, words)
    }

    /// The end of a connection on which nothing was confirmed.
    fn bare_end(&self, core: &mut Core, words: &str, end: &End) -> Outcome {
        match end {
            End::Closed if core.is_plain && self.has_ended => (Exit::Ok, Vec::new()),
            End::Closed if self.has_ended => {
                let words =
                    "all was sent, and nobody can tell whether it was taken; --plain takes that for granted";
                (Exit::Failed, vec![core.says(words)])
            }
            _ => (Exit::Failed, vec![format!("{words}, before it had taken everything")]),
        }
    }
}

impl Mode<Core> for Pipe {
    const CATCHES_UP: bool = false;

    fn takes_any_server(&self, _: &Core) -> bool {
        !self.has_wishes
    }

    fn event(&mut self, core: &mut Core, event: Event) -> Option<Outcome> {
        let Event::Read(bytes) = event else { return None };
        self.is_reading = false;
        match bytes {
            Ok(bytes) if bytes.is_empty() => self.finish(core),
            Ok(bytes) if core.is_bare() => core.send(bytes),
            Ok(bytes) => self.feed(core, &bytes),
            Err(error) => return Some(self.failed(core, format!("cannot read standard input: {error}"))),
        }
        None
    }

    fn object(&mut self, core: &mut Core, object: &Object<'_>, _: &str) -> Option<Outcome> {
        let Object::Notice(Noticed { notice: Some(notice), text }) = object else { return None };
        match notice {
            Notice::Crashed | Notice::Closing { .. } => self.reason = Some(clean(text.as_bytes())),
            Notice::Deposed { .. } | Notice::NameTakenOver { .. } if self.has_wishes => {
                let words = core.says(text);
                return Some(self.failed(core, words));
            }
            _ => {}
        }
        None
    }

    fn refused(&mut self, core: &mut Core, noticed: &Noticed<'_>) -> Option<Outcome> {
        let words = core.says(&clean(noticed.text.as_bytes()));
        Some(self.failed(core, words))
    }

    fn lost(&mut self, core: &mut Core, words: &str, end: &End) -> Option<Outcome> {
        if core.was_bare {
            return Some(self.bare_end(core, words, end));
        }
        let words = self.reason.as_ref().map_or(words.to_owned(), |reason| core.says(reason));
        Some(self.failed(core, words))
    }

    fn late(&mut self, core: &mut Core) -> Outcome {
        let words = core.says("the time is up before everything was in the room; allow more with --timeout");
        self.failed(core, words)
    }

    fn rest(&mut self, core: &mut Core) -> Option<Outcome> {
        let has_room = match core.stage {
            Stage::Bare => core.unwritten == 0,
            stage => stage == Stage::Ready && core.requests.has_room(),
        };
        if has_room && !self.is_over && !self.is_reading {
            self.input.ask();
            self.is_reading = true;
        }
        match self.is_over {
            true if core.is_bare() && !self.has_ended => {
                self.has_ended = true;
                core.end();
                None
            }
            true if core.stage == Stage::Ready && core.requests.is_settled() => Some(self.verdict(core)),
            _ => None,
        }
    }
}
