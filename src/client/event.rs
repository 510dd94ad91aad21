//! What happens to chatc, what a mode has to do with it, and the threads that tell of it: signals, standard input, the
//! reader of standard output.
//!
//! Everything that chatc waits for is an [`Event`], through one bounded channel, to the one loop in `session`. `link`
//! tells of the connection, `listen` of commands that have ended. Decides nothing.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{read, retry_on_intr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::cli::{exit_at, say};
use super::target::Problem;
use super::tls::Stream;
use crate::exit::Exit;
use crate::protocol::object::{Noticed, Object};

/// Events that wait. With more, the threads wait, and the daemon in the end.
pub const EVENTS: usize = 8;

/// Bytes that are read of standard input at a time.
const READ_BYTES: usize = 64 << 10;

/// The signals that say stop.
const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Something has happened.
#[derive(Debug)]
pub enum Event {
    /// A connection stands, to the target of this number.
    Connected(Stream, usize),
    /// There is none: why, for each target.
    NotConnected(Vec<Problem>),
    /// Lines have arrived, cleaned.
    Heard(Vec<String>),
    /// A piece that was handed over is written.
    Written,
    /// The connection has ended: nothing more is heard.
    Ended(End),
    /// Bytes of standard input; none at its end.
    Read(io::Result<Vec<u8>>),
    /// A signal says stop, or nobody reads standard output any more.
    Stop,
    /// The terminal has another size, or chatc goes on after Ctrl-Z.
    Resized,
    /// A command has ended.
    Ran(Ran),
}

/// How it ends: the code, and what is said last.
pub type Outcome = (Exit, Vec<String>);

/// What a `session`, the core, does with what happens. Each may end it.
pub trait Mode<Core> {
    /// Input, a signal, or the end of a command.
    fn event(&mut self, core: &mut Core, event: Event) -> Option<Outcome>;
    /// An object of the daemon and the line that it was read from, or what is none.
    fn object(&mut self, core: &mut Core, object: &Object<'_>, line: &str) -> Option<Outcome>;
    /// A line of a server that says no objects.
    fn text(&mut self, _: &str) {}
    /// What was missed follows.
    fn missed(&mut self, _: &Missed) {}
    /// Something to say about the connection.
    fn remark(&mut self, words: &str) {
        say(words);
    }
    /// The name or the room was refused. Ends it, unless chatc was connected before.
    fn refused(&mut self, core: &mut Core, noticed: &Noticed<'_>) -> Option<Outcome>;
    /// The connection stands, and everything is answered that was asked for.
    fn ready(&mut self, _: &mut Core) {}
    /// The connection is lost. Ends it, or leaves it to the loop to connect again.
    fn lost(&mut self, core: &mut Core, words: &str, end: &End) -> Option<Outcome>;
    /// The time is up.
    fn late(&mut self, _: &mut Core) -> Outcome {
        (Exit::Ok, Vec::new())
    }
    /// Everything that has happened is dealt with, for now.
    fn rest(&mut self, core: &mut Core) -> Option<Outcome>;
    /// When `rest` wants to be called again, if nothing happens before.
    fn until(&self) -> Option<Instant> {
        None
    }
}

/// What was said while there was no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Lines that are shown.
    pub shown: u64,
    /// Lines that the daemon no longer keeps.
    pub missing: u64,
    /// The room is another one of the same name.
    pub is_anew: bool,
}

impl Missed {
    /// What to say before the lines that are shown, if there is anything to say.
    pub fn marker(&self) -> Option<String> {
        match (self.shown, self.missing) {
            (0, 0) => None,
            (shown, 0) => Some(format!("-- {shown} new --")),
            (0, missing) => Some(format!("-- {missing} new, no longer kept --")),
            (shown, missing) => {
                Some(format!("-- {} new, {missing} of them no longer kept --", shown + missing))
            }
        }
    }
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    Apart,
    /// The daemon is to answer.
    Greeting,
    /// Name, room and what was missed are asked for.
    Setup,
    /// Everything is answered.
    Ready,
    /// The server says no objects.
    Bare,
}

/// How a connection has ended.
#[derive(Debug)]
pub enum End {
    /// The daemon has closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the daemon has closed the connection"),
            Self::Broken(error) => write!(f, "the connection was lost ({error})"),
        }
    }
}

/// How a command of `--exec` has ended.
#[derive(Debug)]
pub struct Ran {
    /// What is to be said because of it.
    pub lines: Vec<Vec<u8>>,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
}

/// The channel for events.
pub fn channel() -> (SyncSender<Event>, Receiver<Event>) {
    mpsc::sync_channel(EVENTS)
}

/// Returns the next event, unless `until` comes first: however many there are, the time comes.
///
/// # Errors
/// The time has come; or nobody is left who could tell of something.
pub fn next(events: &Receiver<Event>, until: Option<Instant>) -> Result<Event, RecvTimeoutError> {
    let Some(until) = until else { return events.recv().map_err(|_| RecvTimeoutError::Disconnected) };
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(RecvTimeoutError::Timeout),
        left => events.recv_timeout(left),
    }
}

/// Turns signals into events. Signals that were ignored at the start stay ignored, as nohup(1) wants. The first one that
/// says stop ends the process after `patience`, if it still runs then; `restore` comes before that.
///
/// # Errors
/// Those of sigaction(2), and no thread can be had.
pub fn watch_signals(
    events: SyncSender<Event>,
    patience: Duration,
    restore: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // Without /proc nothing is known of it; then they count.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stops = SIGNALS.into_iter().filter(|signal| !is_ignored(&status, *signal));
    let mut signals = Signals::new(stops.chain([SIGCONT, SIGWINCH]))?;
    let mut restore = Some(restore);
    thread::Builder::new().spawn(move || {
        signals.forever().try_for_each(|signal| {
            if matches!(signal, SIGCONT | SIGWINCH) {
                return events.send(Event::Resized);
            }
            if let Some(restore) = restore.take() {
                exit_at(Instant::now() + patience, || {
                    restore();
                    Exit::Ok
                });
            }
            events.send(Event::Stop)
        })
    })?;
    Ok(())
}

/// Returns whether a signal is ignored, by what proc(5) has in `status`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Tells when nobody reads standard output any more, as a signal would: otherwise the next line would find it out, which
/// may never come. A terminal that is gone says so with a signal; a file never does.
pub fn watch_reader(events: SyncSender<Event>) {
    if io::stdout().is_terminal() {
        return;
    }
    // Where no thread can be had, the next line finds it out.
    let _ = thread::Builder::new().spawn(move || {
        let stdout = io::stdout();
        // Nothing is asked for: that all readers are gone is told anyway.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        if retry_on_intr(|| poll(&mut polled, None)).is_ok() {
            // If nobody receives it, chatc has ended already.
            let _ = events.send(Event::Stop);
        }
    });
}

/// Standard input, read on a thread of its own, as much as is asked for.
#[derive(Debug)]
pub struct Input {
    asks: SyncSender<()>,
}

impl Input {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(events: SyncSender<Event>) -> io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(1);
        thread::Builder::new().spawn(move || {
            let mut buffer = vec![0; READ_BYTES];
            for () in asked {
                let read = retry_on_intr(|| read(io::stdin(), &mut buffer)).map_err(io::Error::from);
                if events.send(Event::Read(read.map(|count| buffer[..count].to_vec()))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { asks })
    }

    /// Asks for more: one [`Event::Read`] follows. While one is under way, it is enough.
    pub fn ask(&self) {
        let _ = self.asks.try_send(());
    }
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
