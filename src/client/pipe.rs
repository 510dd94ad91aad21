//! The pipe: what is on standard input is said, and the exit code tells whether it is in the room.
//!
//! Nothing is printed of what arrives. It ends with 0 when the daemon has confirmed every line; otherwise standard error
//! has the lines that were refused, those that are in doubt, and those that were not said.

use std::io;
use std::sync::mpsc::SyncSender;

use super::event::{End, Event, Input, Mode, Outcome, Stage};
use super::link::{Lines, clean};
use super::request::{MAX_BYTES, Purpose};
use super::session::Core;
use crate::exit::Exit;
use crate::protocol::Command;
use crate::protocol::notice::Notice;
use crate::protocol::object::{Noticed, Object};
use crate::protocol::syntax::{self, Line};

/// Bytes of a longer line that are kept, to name it.
const NAMED_BYTES: usize = 60;

/// Standard input that is being said.
#[derive(Debug)]
pub struct Pipe {
    input: Input,
    lines: Lines,
    /// Nothing more is to be said.
    is_over: bool,
    /// Why lines are in doubt, in the words of the daemon.
    reason: Option<String>,
}

impl Pipe {
    /// Nothing is said yet.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new(events: SyncSender<Event>) -> io::Result<Self> {
        let (input, lines) = (Input::start(events)?, Lines::new(MAX_BYTES));
        Ok(Self { input, lines, is_over: false, reason: None })
    }

    fn say(&mut self, core: &mut Core, line: Vec<u8>, is_cut: bool) {
        match syntax::read(line.strip_suffix(b"\r").unwrap_or(&line)) {
            _ if self.is_over => {}
            _ if is_cut => {
                let named = clean(&line[..NAMED_BYTES]);
                core.requests.refused.push(format!("{named} (longer than {MAX_BYTES} bytes)"));
            }
            Line::Command(Command::Quit) => self.is_over = true,
            // Nobody sees how lines look here, and chatc reads them in json.
            Line::Command(Command::View(_) | Command::Time(_)) => {}
            _ => core.requests.add(Purpose::Say, line),
        }
    }

    /// How it ends where something has gone wrong: `words` say what, then each line.
    fn failed(&mut self, core: &mut Core, words: String) -> Outcome {
        let mut lines = vec![words];
        lines.extend(core.requests.refused.iter().map(|refused| format!("refused: {refused}")));
        lines.extend(core.requests.give_up("in doubt", "not said"));
        lines.extend(self.lines.finish().map(|(line, _)| format!("not said: {}", clean(&line))));
        if !self.is_over {
            lines.push("not said: the rest of the input".to_owned());
        }
        (Exit::Failed, lines)
    }

    /// Everything is confirmed, or was refused or lost before.
    fn verdict(&mut self, core: &mut Core) -> Outcome {
        let words = match &self.reason {
            Some(reason) if !core.requests.doubtful.is_empty() => reason,
            _ if !core.requests.refused.is_empty() => "the daemon has refused a part of it",
            _ => return (Exit::Ok, Vec::new()),
        };
        let words = core.says(words);
        self.failed(core, words)
    }

    /// The end of a connection on which nothing was confirmed.
    fn bare_end(&self, core: &mut Core, words: &str, end: &End) -> Outcome {
        match end {
            End::Closed if core.is_plain && self.is_over => (Exit::Ok, Vec::new()),
            End::Closed if self.is_over => {
                let words =
                    "all was sent, and nobody can tell whether it was taken; --plain takes that for granted";
                (Exit::Failed, vec![core.says(words)])
            }
            _ => (Exit::Failed, vec![format!("{words}, before it had taken everything")]),
        }
    }
}

impl Mode<Core> for Pipe {
    fn event(&mut self, core: &mut Core, event: Event) -> Option<Outcome> {
        let Event::Read(bytes) = event else { return None };
        match bytes {
            Ok(bytes) if core.is_bare() && !bytes.is_empty() => core.send(bytes),
            Ok(bytes) => {
                let is_end = bytes.is_empty();
                let lines =
                    if is_end { Vec::from_iter(self.lines.finish()) } else { self.lines.feed(&bytes) };
                lines.into_iter().for_each(|(line, is_cut)| self.say(core, line, is_cut));
                self.is_over |= is_end;
            }
            Err(error) => return Some(self.failed(core, format!("cannot read standard input: {error}"))),
        }
        None
    }

    fn object(&mut self, core: &mut Core, object: &Object<'_>, _: &str) -> Option<Outcome> {
        let Object::Notice(Noticed { notice: Some(notice), text }) = object else { return None };
        match notice {
            Notice::Crashed | Notice::Closing { .. } => self.reason = Some(clean(text.as_bytes())),
            Notice::Deposed { .. } | Notice::NameTakenOver { .. } if core.needs_chatd => {
                let words = core.says(text);
                return Some(self.failed(core, words));
            }
            _ => {}
        }
        None
    }

    fn refused(&mut self, core: &mut Core, noticed: &Noticed<'_>) -> Option<Outcome> {
        let words = core.says(&noticed.text);
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
        if has_room && !self.is_over {
            self.input.ask();
        }
        if self.is_over && core.stage == Stage::Bare {
            core.end();
        }
        let is_done = self.is_over && core.stage == Stage::Ready && core.requests.is_settled();
        is_done.then(|| self.verdict(core))
    }
}
