//! The signals that tell chatc to stop: a thread that turns them into events.
//!
//! `conversation` and `listen` want them; in a pipe they do what they always do. While rustyline reads, SIGINT is its.
//! If nothing comes of the event, because nobody takes what is to be written, they end the process all the same.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::connection::Event;
use super::exit::Exit;

/// Those that say stop.
const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// From now on, signals are events; but not those that whoever started this wants to be ignored, as nohup(1) does.
/// `patience` after the first, the process ends if it still runs, after `restore`.
///
/// # Errors
/// Those of sigaction(2), and no thread can be had.
pub fn watch(
    events: SyncSender<Event>,
    patience: Duration,
    restore: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // Without /proc nothing is known of it; then they count.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals = Signals::new(SIGNALS.into_iter().filter(|signal| !is_ignored(&status, *signal)))?;
    let mut restore = Some(restore);
    thread::Builder::new().spawn(move || {
        signals.forever().try_for_each(|_| {
            if let Some(restore) = restore.take() {
                Exit::at(Instant::now() + patience, || {
                    restore();
                    Exit::Ok
                });
            }
            events.send(Event::Stop)
        })
    })?;
    Ok(())
}

/// Whether a signal is ignored, by what proc(5) has in `status`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stays_ignored() {
        let status = "Name:\tchatc\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, SIGHUP));
        assert!(!is_ignored(status, SIGINT) && !is_ignored(status, SIGTERM) && !is_ignored("", SIGHUP));
    }
}
