//! What arrives while somebody types: lines wait here until the editor paints them above the line being typed.
//!
//! rustyline has a printer for this, but while no line is read it writes at once, and a line that arrives just when the
//! editor begins or ends would tear the one being typed. So nothing is printed past the editor: it paints what waits
//! here each time it paints its prompt, in one go, and its printer is used for waking it alone. The thread that decides
//! calls [`Screen::push`] and never waits; the thread of the editor calls [`Screen::painted`] from within rustyline.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::protocol::command::COMMANDS;

/// The most bytes that wait for a terminal that does not take them; what comes then is counted and left out.
const WAITING_BYTES: usize = 1 << 20;

/// What waits.
#[derive(Debug, Default)]
struct Waiting {
    text: String,
    left_out: usize,
}

/// The lines that are to be shown.
#[derive(Clone, Debug, Default)]
pub struct Screen(Arc<Mutex<Waiting>>);

impl Screen {
    /// Adds a line.
    pub fn push(&self, line: &str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.text.len() + line.len() > WAITING_BYTES {
            waiting.left_out += 1;
            return;
        }
        waiting.text.push_str(line);
        waiting.text.push('\n');
    }

    /// Takes all lines out.
    pub fn take(&self) -> String {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match waiting.left_out {
            0 => waiting.text,
            count => format!("{}chatc: {count} lines left out: the terminal does not take them\n", waiting.text),
        }
    }

    /// The prompt as it is painted: after what waits, where the prompt was.
    fn painted<'a>(&self, prompt: &'a str) -> Cow<'a, str> {
        let text = self.take();
        if text.is_empty() { Cow::Borrowed(prompt) } else { Cow::Owned(text + prompt) }
    }
}

/// What rustyline asks while it reads a line.
#[derive(Debug)]
pub struct Assistant(pub Screen);

impl Helper for Assistant {}
impl Hinter for Assistant {
    type Hint = String;
}
impl Validator for Assistant {}

/// rustyline computes where the cursor is from the prompt itself, so what stands above it does not matter to it.
impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        self.0.painted(prompt)
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
        screen.push("one");
        screen.push("two");
        assert_eq!(screen.painted("> "), "one\ntwo\n> ");
        assert_eq!(screen.painted("> "), "> ");
    }

    #[test]
    fn what_a_terminal_does_not_take_is_bounded_and_counted() {
        let screen = Screen::default();
        let line = "x".repeat(1023);
        (0..2048).for_each(|_| screen.push(&line));
        let text = screen.take();
        assert!(text.len() < WAITING_BYTES + 100);
        assert!(text.ends_with("chatc: 1024 lines left out: the terminal does not take them\n"), "{}", text.len());
    }

    #[test]
    fn tab_completes_commands() {
        assert_eq!(completions("/ni"), ["/nick "]);
        assert_eq!(completions("/wh"), ["/who"]);
        assert_eq!(completions("/").len(), COMMANDS.len());
        assert!(completions("ni").is_empty() && completions("").is_empty() && completions("/nick a").is_empty());
    }
}
