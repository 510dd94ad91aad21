//! Ctrl-Z: chatc stops, and until it goes on the terminal is as it was.
//!
//! `keyboard` binds it to the key; the editor calls it on its own thread, and paints the line being typed again after
//! it. rustyline would do this by itself, but it would give back the modes that `keyboard` has set, and set its own
//! again before the process has stopped. Knows nothing of lines.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, KeyEvent, Modifiers, RepeatCount};
use signal_hook::consts::SIGCONT;
use signal_hook::iterator::Signals;

/// How long it takes to stop. Where nobody could let it go on, the system does not stop it, and nothing comes of it.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What rustyline sets and takes back.
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Stops the process, and gives the terminal back meanwhile.
#[derive(Debug)]
pub struct Suspend {
    before: Termios,
    continued: Mutex<Receiver<()>>,
}

impl Suspend {
    /// For a terminal that was set like this before.
    ///
    /// # Errors
    /// Those of sigaction(2), and no thread can be had.
    pub fn new(before: Termios) -> io::Result<Self> {
        let (continued_tx, continued) = mpsc::sync_channel(1);
        let mut signals = Signals::new([SIGCONT])?;
        // One that is noted already is enough.
        thread::Builder::new().spawn(move || {
            signals.forever().for_each(|_| {
                let _ = continued_tx.try_send(());
            })
        })?;
        Ok(Self { before, continued: Mutex::new(continued) })
    }

    fn stop(&self) -> io::Result<()> {
        let editing = tcgetattr(io::stdin())?;
        let continued = self.continued.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = continued.try_recv();
        write(PASTE_OFF)?;
        tcsetattr(io::stdin(), OptionalActions::Drain, &self.before)?;
        // Those in the same pipeline as well, as the terminal does it.
        let stopped = kill_current_process_group(Signal::TSTP);
        // Other threads run on for a moment after that: not this one.
        let _ = continued.recv_timeout(STOP_PATIENCE);
        tcsetattr(io::stdin(), OptionalActions::Drain, &editing)?;
        write(PASTE_ON)?;
        Ok(stopped?)
    }
}

impl ConditionalEventHandler for Suspend {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        // A terminal that is gone cannot be set; the editor finds that out.
        let _ = self.stop();
        Some(Cmd::Repaint)
    }
}

/// The key that suspends, if there is one.
pub fn key(before: &Termios) -> Option<KeyEvent> {
    let code = before.special_codes[SpecialCodeIndex::VSUSP];
    (code != 0).then(|| KeyEvent::new(char::from(code), Modifiers::NONE))
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}
