//! The signals that tell chatc to stop: a thread that turns them into events.
//!
//! `conversation` and `listen` want them; in a pipe they do what they always do. While rustyline reads, SIGINT is its.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::connection::Event;

/// From now on, signals are events.
///
/// # Errors
/// Those of sigaction(2).
pub fn watch(events: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || signals.forever().try_for_each(|_| events.send(Event::Stop)));
    Ok(())
}
