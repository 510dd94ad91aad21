//! Standard output and standard error, when they cannot be written.
//!
//! Everybody who ends or has something to say uses it: a full disk or a reader that is gone is an exit code, never a
//! panic, which would end the process with a code that no script knows. Knows nothing of lines and of what they mean.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::SyncSender;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::connection::Event;
use super::exit::Exit;

/// Says something on standard error. Where that cannot be written, nobody wants to know.
pub fn say(words: &str) {
    let _ = io::stderr().write_all(format!("chatc: {words}\n").as_bytes());
}

/// How it ends when standard output cannot be written, and why. A reader that is gone has had enough, as one that has
/// read its `--count`.
pub fn unwritable(error: &io::Error) -> (Exit, Option<String>) {
    match error.kind() {
        ErrorKind::BrokenPipe => (Exit::Ok, None),
        _ => (Exit::Failed, Some(format!("cannot write to standard output: {error}"))),
    }
}

/// Tells when nobody reads standard output any more, as a signal would: otherwise it would be found out with the next
/// line, which may never come. A terminal that is gone says so with a signal; a file never does.
pub fn watch(events: SyncSender<Event>) {
    if io::stdout().is_terminal() {
        return;
    }
    // Where no thread can be had, the next line finds it out.
    let _ = thread::Builder::new().spawn(move || {
        let stdout = io::stdout();
        // Nothing is asked for: that all readers are gone is told anyway.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut polled, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
        // Whoever does not hear it any more has ended already.
        let _ = events.send(Event::Stop);
    });
}
