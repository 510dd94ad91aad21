//! How chatctl ends: the only place with these numbers.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// How chatctl ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or you said stop.
    Ok = 0,
    /// chatd refuses it; or the output cannot be written.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No chatd is there, or it does not answer: `EX_UNAVAILABLE` of sysexits(3).
    NoDaemon = 69,
    /// You are not an operator: `EX_NOPERM` of sysexits(3).
    NotOperator = 77,
}

/// Why it ends before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What to say, a line each.
    pub words: Vec<String>,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
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
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::stopped(),
        _ => Failure::new(Exit::Refused, format!("cannot write to standard output: {error}")),
    }
}

/// Says something on standard error. Where that cannot be written, nobody wants to know.
pub fn say(words: &str) {
    let _ = io::stderr().write_all(format!("chatctl: {words}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let codes = [Exit::Ok, Exit::Refused, Exit::Usage, Exit::NoDaemon, Exit::NotOperator];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 69, 77]);
    }
}
