//! The keyboard: somebody types, and sees what others say above the line being typed.
//!
//! What is said is shown as others see it. What is typed while there is no connection is kept, and sent when it is back;
//! what may be lost is said to be lost, and Up brings it back. Of a paste of several lines nothing is a command.

use std::io;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::cli::unwritable;
use super::editor::{Action, Editor};
use super::event::{End, Event, Input, Missed, Mode, Outcome, Stage};
use super::link::clean;
use super::render::{Look, marked};
use super::request::{MAX_WAITING, Purpose, as_text};
use super::session::Core;
use super::terminal::{Keys, Row, Terminal};
use crate::exit::Exit;
use crate::protocol::Command;
use crate::protocol::notice::Notice;
use crate::protocol::object::{Noticed, Object};
use crate::protocol::syntax::{self, COMMANDS, Line};

/// How long it may take, after Ctrl-D, until all that was said is in the room.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same after Ctrl-C and signals.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Candidates that are shown at most.
const MAX_SHOWN: usize = 50;

/// Somebody at a keyboard.
#[derive(Debug)]
pub struct Talk {
    /// The terminal that is typed on.
    pub terminal: Terminal,
    keys: Keys,
    editor: Editor,
    look: Look,
    rings: bool,
    away_after: Duration,
    input: Input,
    /// When a key was pressed last.
    pressed_at: Instant,
    /// Lines that were said since, with nobody there.
    unseen: u64,
    /// Until when it is waited for all that was said to be in the room, and the code if it is not.
    leaving: Option<(Instant, Exit)>,
    /// The connection was lost, and is not yet there again.
    was_lost: bool,
}

impl Talk {
    /// Reads keys, and shows lines as `look` has it.
    ///
    /// # Errors
    /// The terminal cannot be set, or no thread can be had.
    pub fn new(look: Look, rings: bool, away_after: Duration, events: SyncSender<Event>) -> io::Result<Self> {
        let input = Input::start(events)?;
        let terminal = Terminal::keyboard()?;
        input.ask();
        Ok(Self {
            terminal,
            keys: Keys::default(),
            editor: Editor::default(),
            look,
            rings,
            away_after,
            input,
            pressed_at: Instant::now(),
            unseen: 0,
            leaving: None,
            was_lost: false,
        })
    }

    fn prompt(core: &Core) -> String {
        match core.stage {
            Stage::Ready => format!("{}@{}> ", marked(&core.you.name, core.you.verified), core.you.room),
            _ if core.is_bare() || !core.was_ready => "> ".to_owned(),
            _ => "(not connected) > ".to_owned(),
        }
    }

    fn read(&mut self, core: &mut Core, bytes: &[u8]) {
        if bytes.is_empty() {
            return self.leave(LEAVE_TIMEOUT, Exit::Failed);
        }
        self.input.ask();
        self.pressed_at = Instant::now();
        let unseen = std::mem::take(&mut self.unseen);
        if unseen > 0 {
            self.terminal.add(&self.look.faint(&format!("-- {unseen} new --")));
        }
        if self.terminal.is_raw() {
            let actions = self.editor.feed(self.keys.decode(bytes), self.pressed_at);
            actions.into_iter().for_each(|action| self.act(core, action));
        } else {
            let text = String::from_utf8_lossy(bytes);
            text.strip_suffix('\n').unwrap_or(&text).split('\n').for_each(|line| self.typed(core, line));
        }
    }

    fn act(&mut self, core: &mut Core, action: Action) {
        match action {
            Action::Line(_) if core.requests.waiting() >= MAX_WAITING => {
                self.remark("too much waits for the connection; this is not kept, Up brings it back");
            }
            Action::Line(text) if text.contains('\n') && !core.is_bare() => {
                let lines = text.split('\n').map(|line| as_text(line.as_bytes()));
                lines.for_each(|line| self.say(core, &String::from_utf8_lossy(&line)));
            }
            Action::Line(text) => text.split('\n').for_each(|line| self.typed(core, line)),
            Action::Ask(lines) => {
                self.remark(&format!("{lines} lines: press Enter again to say them, or Ctrl-C to drop them"));
            }
            Action::Complete => self.complete(core),
            Action::Interrupt => self.leave(STOP_TIMEOUT, Exit::Ok),
            Action::End => self.leave(LEAVE_TIMEOUT, Exit::Failed),
            Action::Suspend => self.terminal.suspend(),
            Action::Clear => self.terminal.clear(),
        }
    }

    /// Leaves when all that was said is in the room; with that code if it is not by then.
    fn leave(&mut self, patience: Duration, exit: Exit) {
        self.leaving = Some((Instant::now() + patience, exit));
    }

    /// One line, which may be a command.
    fn typed(&mut self, core: &mut Core, text: &str) {
        let read = if core.is_bare() { Line::Unknown("") } else { syntax::read(text.as_bytes()) };
        match read {
            Line::Command(Command::Quit) if core.was_ready => return self.leave(LEAVE_TIMEOUT, Exit::Failed),
            // The wire is always json; how it looks is decided here.
            Line::Command(Command::View(view)) => {
                self.look.view = view;
                return self.answer(core, text, &Notice::Viewed { view });
            }
            Line::Command(Command::Time(times)) => {
                self.look.times = times;
                return self.answer(core, text, &Notice::Timed { times, view: self.look.view });
            }
            Line::Command(Command::Nick(..)) => core.you.give_up_name(),
            Line::Text(_) | Line::Command(Command::Me(_)) => return self.say(core, text),
            _ => {}
        }
        self.echo(core, text);
        core.requests.add(Purpose::Say, text);
    }

    /// Shows what was typed.
    fn echo(&mut self, core: &Core, text: &str) {
        if self.terminal.is_raw() {
            self.terminal.add(&format!("{}{}", Self::prompt(core), clean(text.as_bytes())));
        }
    }

    fn answer(&mut self, core: &Core, text: &str, notice: &Notice) {
        self.echo(core, text);
        self.terminal.add(&self.look.notice(&notice.to_string()));
    }

    /// Says a line, and shows it as others see it.
    fn say(&mut self, core: &mut Core, line: &str) {
        let (text, is_emote) = match syntax::read(line.as_bytes()) {
            Line::Command(Command::Me(text)) => (text, true),
            Line::Text(text) => (clean(text), false),
            _ => (line.to_owned(), false),
        };
        // Nobody hears an empty line.
        if !line.is_empty() {
            core.requests.add(Purpose::Say, line);
        }
        if !core.was_ready {
            self.echo(core, line);
        } else if self.terminal.is_raw() {
            self.terminal.add(&self.look.own(&core.you.name, core.you.verified, &text, is_emote));
        }
    }

    /// Tab: a command, or a name or room, which chatd is asked for.
    fn complete(&mut self, core: &mut Core) {
        let before = self.editor.before_cursor();
        if before.starts_with('/') && before == self.editor.word() {
            let blank = |has_more: bool| if has_more { " " } else { "" };
            let commands = COMMANDS.iter();
            return self.fill_in(
                commands.map(|one| format!("/{}{}", one.name, blank(!one.arguments.is_empty()))).collect(),
            );
        }
        if core.stage == Stage::Ready {
            core.requests.add(Purpose::Ask, if before.starts_with("/join ") { "/rooms" } else { "/who" });
        }
    }

    /// Completes the word before the cursor, or shows what it may be.
    fn fill_in(&mut self, candidates: Vec<String>) {
        let several = self.editor.complete(candidates.into_iter());
        if !several.is_empty() {
            let shown: Vec<_> = several.iter().take(MAX_SHOWN).map(|one| one.trim_end()).collect();
            self.terminal.add(&self.look.faint(&shown.join(" ")));
        }
    }

    /// An answer to a question of chatc itself.
    fn answered(&mut self, notice: &Notice) {
        let is_first = self.editor.before_cursor() == self.editor.word();
        let end = if is_first { ": " } else { " " };
        let named = |name: &str| format!("{}{end}", clean(name.as_bytes()));
        match notice {
            Notice::Who { members, .. } => self.fill_in(members.iter().map(|one| named(&one.name)).collect()),
            Notice::Rooms { rooms, .. } => self.fill_in(rooms.iter().map(|one| named(&one.room)).collect()),
            _ => {}
        }
    }

    /// How it ends where something may be lost.
    fn left(core: &mut Core, words: &str) -> Outcome {
        let lost = core.requests.give_up("perhaps nobody got this", "nobody got this");
        (Exit::Failed, [vec![words.to_owned()], lost].concat())
    }

    /// Whether it is time to leave, and how.
    fn leaves(&self, core: &mut Core) -> Option<Outcome> {
        let (until, exit) = self.leaving?;
        let is_late = until <= Instant::now();
        let is_sent = core.stage == Stage::Ready || !core.was_ready;
        if (is_sent && core.requests.is_settled()) || (is_late && exit == Exit::Ok) {
            return Some((Exit::Ok, Vec::new()));
        }
        if is_late || core.stage == Stage::Apart {
            let words = core.says("the daemon does not answer");
            return Some(Self::left(core, &words));
        }
        if core.stage == Stage::Bare {
            core.end();
        }
        None
    }
}

impl Mode<Core> for Talk {
    fn event(&mut self, core: &mut Core, event: Event) -> Option<Outcome> {
        match event {
            Event::Read(Ok(bytes)) => self.read(core, &bytes),
            Event::Read(Err(_)) => return Some((Exit::Ok, Vec::new())),
            Event::Stop => self.leave(STOP_TIMEOUT, Exit::Ok),
            _ => self.terminal.forget_row(),
        }
        None
    }

    fn object(&mut self, core: &mut Core, object: &Object<'_>, line: &str) -> Option<Outcome> {
        if let Object::Notice(Noticed { notice: Some(notice), .. }) = object {
            let is_again = core.stage == Stage::Setup && core.was_ready;
            match notice {
                Notice::Who { .. } | Notice::Rooms { .. }
                    if core.requests.purpose() == Some(Purpose::Ask) =>
                {
                    self.answered(notice);
                    return None;
                }
                Notice::Named { .. } | Notice::Entered { .. } if is_again => return None,
                _ => {}
            }
        }
        let shown = self.look.object(object, line, &core.you.name)?;
        if self.rings && shown.is_for_you {
            self.terminal.ring();
        }
        let is_away = self.pressed_at.elapsed() >= self.away_after;
        self.unseen += u64::from(is_away && shown.is_said);
        self.terminal.add(&shown.text);
        None
    }

    fn text(&mut self, line: &str) {
        self.terminal.add(&self.look.text(line));
    }

    fn missed(&mut self, missed: &Missed) {
        if missed.is_anew {
            self.remark("the room has begun anew");
        }
        missed.marker().iter().for_each(|marker| self.terminal.add(&self.look.faint(marker)));
    }

    fn remark(&mut self, words: &str) {
        self.terminal.add(&format!("chatc: {}", clean(words.as_bytes())));
    }

    fn refused(&mut self, core: &mut Core, noticed: &Noticed<'_>) -> Option<Outcome> {
        self.terminal.add(&self.look.notice(&noticed.text));
        if !core.was_ready {
            core.you.give_up_name();
        } else if matches!(noticed.notice, Some(Notice::Taken { .. })) {
            self.remark("the name is asked for again until it is free, or you type /nick");
        }
        None
    }

    fn ready(&mut self, core: &mut Core) {
        if std::mem::take(&mut self.was_lost) && self.leaving.is_none() {
            self.remark(&format!("connected again to {}", core.dialer.target()));
        }
        for line in std::mem::take(&mut core.requests.doubtful) {
            let text = String::from_utf8_lossy(&line);
            self.remark(&format!("perhaps nobody got this; Up brings it back: {text}"));
            self.editor.remember(&text);
        }
    }

    fn lost(&mut self, core: &mut Core, words: &str, end: &End) -> Option<Outcome> {
        let is_done = core.requests.is_settled() && core.requests.doubtful.is_empty();
        match self.leaving {
            Some((_, Exit::Ok)) => return Some((Exit::Ok, Vec::new())),
            Some(_) if is_done && matches!(end, End::Closed) => return Some((Exit::Ok, Vec::new())),
            None if core.reconnects => {}
            _ => return Some(Self::left(core, words)),
        }
        self.was_lost = true;
        self.remark(&format!("{words}; connecting again"));
        None
    }

    fn rest(&mut self, core: &mut Core) -> Option<Outcome> {
        if let Some(outcome) = self.leaves(core) {
            return Some(outcome);
        }
        let row = match self.leaving {
            Some(_) => Row::default(),
            None => self.editor.row(&Self::prompt(core), self.terminal.columns()),
        };
        let failed = self.terminal.paint(row).err().filter(|_| !self.terminal.is_raw());
        failed.map(|error| unwritable(&error))
    }

    fn until(&self) -> Option<Instant> {
        self.leaving.map(|(until, _)| until)
    }
}
