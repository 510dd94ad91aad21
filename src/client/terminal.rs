//! The terminal: how it is set, which keys it sends, what is written to it, and how it is given back.
//!
//! `talk` owns it at the keyboard, `listen` writes to it where standard output is one. Lines go above the row being typed,
//! which is written again after them, all in one go; nothing that was shown is touched, so the terminal's own scrollback
//! works. On a terminal that cannot be written over, lines are written as they are.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use signal_hook::consts::SIGCONT;

use super::render;

/// Columns where the terminal does not say how many it has.
const COLUMNS: usize = 80;

/// How long it takes to be stopped, and how often it is looked at.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
const STOP_POLL: Duration = Duration::from_millis(10);

/// The terminal is to mark pastes, or not any more.
const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l";

/// The longest sequence of a key that is waited for, in bytes.
const MAX_SEQUENCE: usize = 32;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character, no control.
    Char(char),
    /// A letter with Ctrl, or what does the same: Enter is m, Tab i, Backspace h, Escape g; the arrows are p, n, f and b,
    /// Home and End a and e.
    Ctrl(char),
    /// Delete.
    Delete,
    /// A paste begins.
    PasteStart,
    /// A paste ends.
    PasteEnd,
    /// Any other.
    Other,
}

/// Bytes in, keys out.
#[derive(Debug, Default)]
pub struct Keys {
    /// The beginning of a sequence or of a character.
    partial: Vec<u8>,
}

/// The row that is typed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What it shows.
    pub text: String,
    /// Columns before the cursor.
    pub cursor: usize,
}

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    /// How it was set; none if it is not set.
    before: Option<Termios>,
    /// Whether lines are broken where its rows end.
    has_rows: bool,
    /// What is still to be written above the row.
    pending: String,
    shown: Row,
}

impl Terminal {
    /// Standard output, where nothing is typed.
    pub fn output() -> Self {
        let has_rows = io::stdout().is_terminal();
        Self { before: None, has_rows, pending: String::new(), shown: Row::default() }
    }

    /// A terminal on which somebody types: set for it, where it can be written over.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub fn keyboard() -> io::Result<Self> {
        let mut terminal = Self::output();
        if can_be_written_over() {
            let before = tcgetattr(io::stdin())?;
            set(&before)?;
            give_back_on_panic(before.clone());
            terminal.before = Some(before);
            terminal.pending.push_str(PASTE_ON);
        }
        Ok(terminal)
    }

    /// Whether keys come one by one, and a row shows what is typed.
    pub fn is_raw(&self) -> bool {
        self.before.is_some()
    }

    /// Columns of a row.
    pub fn columns(&self) -> usize {
        let size = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into());
        if size == 0 { COLUMNS } else { size }
    }

    /// Adds a line to what is written next: with rows that are broken where those of the terminal end.
    pub fn add(&mut self, line: &str) {
        let rows = if self.has_rows { render::rows(line, self.columns()) } else { vec![line.to_owned()] };
        rows.iter().for_each(|row| self.pending.extend([row, "\n"]));
    }

    /// Rings with what is written next.
    pub fn ring(&mut self) {
        self.pending.push_str(if self.has_rows { "\x07" } else { "" });
    }

    /// Clears the screen, and leaves what has scrolled away.
    pub fn clear(&mut self) {
        self.pending.push_str("\x1b[H\x1b[2J");
        self.forget_row();
    }

    /// The row may be anywhere: it is written again.
    pub fn forget_row(&mut self) {
        self.shown = Row::default();
    }

    /// Writes what is pending, and where somebody types, the row below it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn paint(&mut self, row: Row) -> io::Result<()> {
        if self.pending.is_empty() && row == self.shown {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.pending);
        if !self.is_raw() {
            return write(&lines);
        }
        let cursor = if row.cursor > 0 { format!("\x1b[{}C", row.cursor) } else { String::new() };
        let written = write(&format!("\r\x1b[J{lines}{}\r{cursor}", row.text));
        self.shown = row;
        written
    }

    /// Ctrl-Z: gives the terminal back, stops the process and those in its pipeline, and sets it again when it goes on.
    /// Where nobody could let it go on, the system does not stop it.
    pub fn suspend(&mut self) {
        let Some(before) = self.before.clone() else { return };
        let _ = write(&format!("\r\x1b[J{PASTE_OFF}"));
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
        let goes_on = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(SIGCONT, Arc::clone(&goes_on));
        let _ = kill_current_process_group(Signal::TSTP);
        // The process may run for a moment before it is stopped.
        let deadline = Instant::now() + STOP_PATIENCE;
        while !goes_on.load(Ordering::Relaxed) && Instant::now() < deadline {
            thread::sleep(STOP_POLL);
        }
        let _ = set(&before);
        self.pending.insert_str(0, PASTE_ON);
        self.forget_row();
    }

    /// Writes what is pending, and gives the terminal back as it was, without the row.
    pub fn close(mut self) {
        if let Some(before) = &self.before {
            let _ = write(&format!("\r\x1b[J{}{PASTE_OFF}", std::mem::take(&mut self.pending)));
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        } else {
            let _ = write(&self.pending);
        }
    }
}

impl Keys {
    /// Takes bytes; what is not whole is kept until the rest comes.
    pub fn decode(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.partial.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some((key, len)) = key(&self.partial) {
            self.partial.drain(..len);
            keys.push(key);
        }
        keys
    }
}

/// The first key, and its length in bytes; none while it is not whole.
fn key(bytes: &[u8]) -> Option<(Key, usize)> {
    let key = match *bytes.first()? {
        0x1b => return sequence(bytes),
        0x7f => Key::Ctrl('h'),
        control @ 1..0x1b => Key::Ctrl(char::from(control | 0x60)),
        0..0x20 => Key::Other,
        _ => return character(bytes),
    };
    Some((key, 1))
}

/// A character in UTF-8; what is none is U+FFFD.
fn character(bytes: &[u8]) -> Option<(Key, usize)> {
    let chunk = bytes.get(..bytes.len().min(4))?.utf8_chunks().next()?;
    let is_begun = || std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
    match chunk.valid().chars().next() {
        Some(c) if c.is_control() => Some((Key::Other, c.len_utf8())),
        Some(c) => Some((Key::Char(c), c.len_utf8())),
        // The rest of the character may come.
        None if chunk.invalid().len() == bytes.len() && is_begun() => None,
        None => Some((Key::Char(char::REPLACEMENT_CHARACTER), chunk.invalid().len().max(1))),
    }
}

/// A key that sends a sequence.
fn sequence(bytes: &[u8]) -> Option<(Key, usize)> {
    match bytes.get(1)? {
        b'[' => match bytes[2..].iter().position(|byte| (0x40..=0x7e).contains(byte)) {
            Some(end) => Some((control(&bytes[2..=end + 2]), end + 3)),
            None => (bytes.len() > MAX_SEQUENCE).then_some((Key::Other, bytes.len())),
        },
        b'O' => Some((control(bytes.get(2..3)?), 3)),
        // Escape alone, and then another key.
        _ => Some((Key::Ctrl('g'), 1)),
    }
}

fn control(sequence: &[u8]) -> Key {
    match sequence {
        b"A" => Key::Ctrl('p'),
        b"B" => Key::Ctrl('n'),
        b"C" => Key::Ctrl('f'),
        b"D" => Key::Ctrl('b'),
        b"H" | b"1~" | b"7~" => Key::Ctrl('a'),
        b"F" | b"4~" | b"8~" => Key::Ctrl('e'),
        b"3~" => Key::Delete,
        b"200~" => Key::PasteStart,
        b"201~" => Key::PasteEnd,
        _ => Key::Other,
    }
}

/// What sets the terminal as it is now, and does not wait until it takes what is still to be written.
pub fn restore() -> impl FnOnce() + Clone + Send + 'static {
    let before = tcgetattr(io::stdin()).ok();
    move || {
        if let Some(before) = before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

/// Whether lines can be shown above the one being typed.
fn can_be_written_over() -> bool {
    let can =
        std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb" | "cons25" | "emacs"));
    can && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Keys come one by one, none of them does anything, and the terminal does not show them.
fn set(before: &Termios) -> io::Result<()> {
    let mut raw = before.clone();
    raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG);
    raw.input_modes.remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IXON | InputModes::ISTRIP);
    (raw.special_codes[SpecialCodeIndex::VMIN], raw.special_codes[SpecialCodeIndex::VTIME]) = (1, 0);
    Ok(tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?)
}

/// A thread that panics takes the whole program with it, as in a release, and gives the terminal back as it was.
fn give_back_on_panic(before: Termios) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        report(panic);
        std::process::abort();
    }));
}

fn write(bytes: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes.as_bytes())?;
    stdout.flush()
}
