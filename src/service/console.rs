//! What chatd writes to standard output and standard error, besides its log.
//!
//! Never panics if a disk is full or a terminal is gone, as `print!` does.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Exit;
use super::archive::export::Export;

/// Writes an error to standard error. It is lost if that fails.
pub fn complain(what: impl Display) {
    // One write, so that it is one line also where several programs write to the same file.
    let _ = io::stderr().write_all(format!("chatd: {what}\n").as_bytes());
}

/// Writes a text to standard output. Returns [`Exit::Failed`] if that fails, except if the reader has closed the pipe.
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

/// Prints what the archive has of a room. Returns [`Exit::Failed`] if that fails, except if the reader has closed the pipe.
pub fn export(export: &Export) -> Exit {
    match export.run(io::stdout().lock()) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}
