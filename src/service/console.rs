//! What chatd itself says on standard output and standard error, besides its log.
//!
//! Nobody has to listen: `print!` and its sisters panic where a disk is full or a terminal is gone, and nothing here does.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Exit;

/// Says on standard error what is wrong. Lost where that cannot be written.
pub fn complain(what: impl Display) {
    // One write, so that it is one line also where several programs write to the same file.
    let _ = io::stderr().write_all(format!("chatd: {what}\n").as_bytes());
}

/// Writes what was asked for to standard output. A reader that has seen enough is no failure; anything else is, and
/// standard error says so.
pub fn print(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to standard output: {error}"));
            Exit::Failed
        }
        _ => Exit::Ok,
    }
}
