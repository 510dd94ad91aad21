//! What arrives while somebody types: lines wait here until the editor paints them above the line being typed.
//!
//! rustyline has a printer for this, but while no line is read it writes at once, and a line that arrives just when the
//! editor begins or ends would tear the one being typed. So nothing is printed past the editor: it paints what waits
//! here each time it paints its prompt, in one go, and its printer is used for waking it alone. The thread that decides
//! calls [`Screen::push`] and never waits; the thread of the editor asks the [`Assistant`] from within rustyline.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::protocol::command::COMMANDS;

/// The most bytes that wait for a terminal that does not take them, or one line; what comes then is counted and left
/// out.
const WAITING_BYTES: usize = 1 << 20;

/// What wakes the editor. Its printer takes whole lines alone, and this one is to leave no trace: the cursor is noted,
/// goes a row up, so that the end of the line does not scroll, and comes back from wherever it is then with `WOKEN`.
pub const WAKE: &str = "\x1b7\x1b[A\n";

/// The cursor goes back to where it was noted.
const WOKEN: &str = "\x1b8";

/// What waits.
#[derive(Debug, Default)]
struct Waiting {
    text: String,
    left_out: usize,
    /// Whether the editor has painted its prompt, and has not been noticed to have ended since.
    is_painted: bool,
}

/// The lines that are to be shown.
#[derive(Clone, Debug, Default)]
pub struct Screen(Arc<Mutex<Waiting>>);

impl Screen {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. Says whether the editor has to be woken for it: it has not if it is about to paint anyway.
    pub fn push(&self, line: &str) -> bool {
        let mut waiting = self.waiting();
        if !waiting.text.is_empty() && waiting.text.len() + line.len() > WAITING_BYTES {
            waiting.left_out += 1;
        } else {
            waiting.text.push_str(line);
            waiting.text.push('\n');
        }
        waiting.is_painted
    }

    /// Takes all lines out; `is_painted` says whether it is the editor that does.
    pub fn take(&self, is_painted: bool) -> String {
        let waiting = std::mem::replace(&mut *self.waiting(), Waiting { is_painted, ..Waiting::default() });
        match waiting.left_out {
            0 => waiting.text,
            count => {
                format!("{}chatc: {count} lines left out: the terminal does not take them\n", waiting.text)
            }
        }
    }

    /// The editor has ended.
    pub fn ended(&self) {
        self.waiting().is_painted = false;
    }
}

/// What rustyline asks while it reads a line.
#[derive(Debug)]
pub struct Assistant {
    screen: Screen,
    /// Whether the editor is about to paint by itself: if not, its printer has woken it.
    is_painting: Cell<bool>,
}

impl Assistant {
    /// Paints what waits for this screen.
    pub fn new(screen: Screen) -> Self {
        Self { screen, is_painting: Cell::new(false) }
    }
}

impl Helper for Assistant {}
impl Hinter for Assistant {
    type Hint = String;
}
impl Validator for Assistant {}

/// rustyline computes where the cursor is from the prompt itself, so what stands above it does not matter to it.
impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let woken = if self.is_painting.replace(false) { "" } else { WOKEN };
        Cow::Owned([woken, &self.screen.take(true), prompt].concat())
    }

    /// Asked before each painting but those after the printer. The answer is that all of the line has to be painted,
    /// so that there is a painting.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.is_painting.set(true);
        true
    }
}

/// Tab completes commands.
impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, completions(&line[..at])))
    }
}

/// The commands that begin like this, each as it would be typed.
fn completions(typed: &str) -> Vec<String> {
    let Some(word) = typed.strip_prefix('/') else { return Vec::new() };
    let fits = COMMANDS.iter().filter(|spec| spec.name.starts_with(word));
    fits.map(|spec| format!("/{}{}", spec.name, if spec.arguments.is_empty() { "" } else { " " })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_painted_once_before_the_prompt() {
        let screen = Screen::default();
        let assistant = Assistant::new(screen.clone());
        assert!(!screen.push("one"), "it will be painted with the prompt");
        screen.push("two");
        assert!(assistant.highlight_char("", 0, CmdKind::Other));
        assert_eq!(assistant.highlight_prompt("> ", true), "one\ntwo\n> ");
        assert!(screen.push("three"));
        assert_eq!(assistant.highlight_prompt("> ", true), "\x1b8three\n> ", "woken");
        assistant.highlight_char("", 0, CmdKind::Other);
        assert_eq!(assistant.highlight_prompt("> ", true), "> ");
        screen.ended();
        assert!(!screen.push("four"));
    }

    #[test]
    fn what_a_terminal_does_not_take_is_bounded_and_counted() {
        let screen = Screen::default();
        let line = "x".repeat(1023);
        (0..2048).for_each(|_| {
            screen.push(&line);
        });
        let text = screen.take(false);
        assert!(text.len() < WAITING_BYTES + 100);
        assert!(
            text.ends_with("chatc: 1024 lines left out: the terminal does not take them\n"),
            "{}",
            text.len()
        );
    }

    #[test]
    fn tab_completes_commands() {
        assert_eq!(completions("/ni"), ["/nick "]);
        assert_eq!(completions("/wh"), ["/who"]);
        assert_eq!(completions("/").len(), COMMANDS.len());
        assert!(
            completions("ni").is_empty() && completions("").is_empty() && completions("/nick a").is_empty()
        );
    }
}
