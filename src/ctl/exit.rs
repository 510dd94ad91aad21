//! How chatctl ends, and why.

use std::io::{self, Write};

use crate::client::cli;
pub use crate::exit::Exit;

/// Why it ends before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What to say, a line each.
    pub words: Vec<String>,
}

impl Failure {
    /// One with a line of words.
    pub fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: vec![words.into()] }
    }

    /// A signal said stop.
    pub fn stopped() -> Self {
        Self { exit: Exit::Ok, words: Vec::new() }
    }
}

/// Writes text to standard output, all of it.
///
/// # Errors
/// It cannot be written. A reader that is gone has had enough: then chatctl ends with 0.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(unwritable)
}

/// Writes lines to standard output, as [`print()`] does.
///
/// # Errors
/// Those of [`print()`].
pub fn print_lines(lines: &[String]) -> Result<(), Failure> {
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// How it ends when standard output cannot be written.
pub(super) fn unwritable(error: io::Error) -> Failure {
    let (exit, words) = cli::unwritable(&error);
    Failure { exit, words }
}

/// Says something on standard error. Where that cannot be written, nobody wants to know.
pub fn say(words: &str) {
    let _ = io::stderr().write_all(format!("chatctl: {words}\n").as_bytes());
}
