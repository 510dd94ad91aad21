//! The keyboard and the screen: reads a line when asked for one, and shows lines meanwhile.
//!
//! `conversation` owns it. On a terminal that can be written over, rustyline reads, on a thread of its own, for it
//! blocks; on one that cannot, lines are read as the terminal gives them. Each question is answered by exactly one
//! [`Event::Typed`] or [`Event::Hung`]. [`Keyboard::close`] gives the terminal back as it was.

use std::cell::OnceCell;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Cmd, ColorMode, Config, Editor, EventHandler, ExternalPrinter, KeyEvent};

use super::connection::{Event, Hung};
use super::screen::{Assistant, Screen, WAKE};
use super::suspend::{self, Suspend};

/// The lines that Up brings back.
const HISTORY_LINES: usize = 1000;

/// How long the editor may take to let go of the terminal; it takes a moment.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How often the editor is told to, for it may just have been about to begin.
const CLOSE_RETRY: Duration = Duration::from_millis(50);

/// A keyboard and a screen.
#[derive(Debug)]
pub struct Keyboard {
    questions: SyncSender<String>,
    /// None on a terminal that cannot be written over.
    waker: Option<SyncSender<()>>,
    screen: Screen,
    /// Whether a line is being typed.
    is_asked: bool,
    before: Option<Termios>,
    /// Whether it is a terminal on which lines are shown.
    is_on_terminal: bool,
    /// Why they cannot be, if it is none.
    failure: OnceCell<io::Error>,
}

impl Keyboard {
    /// Starts the thread that reads.
    ///
    /// # Errors
    /// Those of rustyline for a terminal that cannot be used, and no thread can be had.
    pub fn start(events: SyncSender<Event>) -> io::Result<Self> {
        let (questions, questions_rx) = mpsc::sync_channel(1);
        let screen = Screen::default();
        let before = tcgetattr(io::stdin()).ok();
        let waker = if can_be_written_over() {
            let (mut editor, printer) = editor(&screen).map_err(io::Error::other)?;
            bind_suspend(&mut editor, before.as_ref())?;
            let waker = wake(printer)?;
            thread::Builder::new().spawn(move || edit(editor, &questions_rx, &events))?;
            leave_to_editor(before.as_ref());
            give_back_on_panic(before.clone());
            Some(waker)
        } else {
            thread::Builder::new().spawn(move || read(&questions_rx, &events))?;
            None
        };
        let is_on_terminal = io::stdout().is_terminal();
        let failure = OnceCell::new();
        Ok(Self { questions, waker, screen, is_asked: false, before, is_on_terminal, failure })
    }

    /// Asks for a line.
    pub fn ask(&mut self, prompt: &str) {
        let prompt = if self.waker.is_some() { prompt } else { "" };
        self.is_asked = self.questions.send(prompt.to_owned()).is_ok();
    }

    /// Whether a line is being typed.
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Notes that the question was answered.
    pub fn answered(&mut self) {
        self.is_asked = false;
        self.screen.ended();
    }

    /// Shows a line: above the one being typed, if there is one. Never waits for the terminal while there is.
    pub fn show(&self, line: &str) {
        let has_to_wake = self.screen.push(line);
        match &self.waker {
            Some(waker) if self.is_asked => {
                // One that is full wakes it anyway.
                let _ = has_to_wake.then(|| waker.try_send(()));
            }
            _ => self.flush(),
        }
    }

    /// Writes what still waits, where nobody else writes.
    fn flush(&self) {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(self.screen.take(false).as_bytes()).and_then(|()| stdout.flush());
        // A terminal that is gone takes nothing; the keyboard finds that out.
        if let Err(error) = written
            && !self.is_on_terminal
        {
            // The first is enough.
            let _ = self.failure.set(error);
        }
    }

    /// Why standard output cannot be written any more, if it is a file or a pipe.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }

    /// Ends the editor, shows what still waits, and leaves the terminal as it was.
    pub fn close(mut self, events: &Receiver<Event>) {
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while self.waker.is_some() && self.is_asked && Instant::now() < deadline {
            // While rustyline reads, it takes this signal for Ctrl-C; at other times `signals` does, and nothing comes of it.
            let _ = kill_process(getpid(), Signal::INT);
            let retry = Instant::now() + CLOSE_RETRY;
            while self.is_asked
                && let Ok(event) = events.recv_timeout(retry.saturating_duration_since(Instant::now()))
            {
                self.is_asked = !matches!(event, Event::Typed(_) | Event::Hung(_));
            }
        }
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
        self.flush();
    }
}

/// What sets the terminal as it is now, and does not wait until it takes what is still to be shown.
pub fn restore() -> impl FnOnce() + Clone + Send + 'static {
    let before = tcgetattr(io::stdin()).ok();
    move || {
        if let Some(before) = before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

/// Whether lines can be shown above the one being typed.
fn can_be_written_over() -> bool {
    let can =
        std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb" | "cons25" | "emacs"));
    can && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Binds the key that suspends.
fn bind_suspend(editor: &mut LineEditor, before: Option<&Termios>) -> io::Result<()> {
    // Where there is none, rustyline takes this for it.
    editor.bind_sequence(KeyEvent::ctrl('@'), Cmd::Noop);
    if let Some(before) = before
        && let Some(key) = suspend::key(before)
    {
        let suspend = Suspend::new(before.clone())?;
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(suspend)));
    }
    Ok(())
}

/// What is typed while the editor does not read is left to it: not shown twice, and no key of it is the terminal's but
/// those for signals that end it.
fn leave_to_editor(before: Option<&Termios>) {
    if let Some(mut settings) = before.cloned() {
        settings.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN);
        settings.special_codes[SpecialCodeIndex::VSUSP] = 0;
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &settings);
    }
}

/// A thread that panics takes the whole program with it, as in a release, and leaves the terminal as it was.
fn give_back_on_panic(before: Option<Termios>) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(before) = &before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        report(panic);
        std::process::abort();
    }));
}

type LineEditor = Editor<Assistant, MemHistory>;

fn editor(screen: &Screen) -> rustyline::Result<(LineEditor, impl ExternalPrinter + Send + use<>)> {
    let config = Config::builder().max_history_size(HISTORY_LINES)?.auto_add_history(true);
    // Without colours it would not ask the assistant; with NO_COLOR set it has none unless it is forced to.
    let config = config.color_mode(ColorMode::Forced).build();
    let mut editor = Editor::with_history(config.clone(), MemHistory::with_config(&config))?;
    editor.set_helper(Some(Assistant::new(screen.clone())));
    let printer = editor.create_external_printer()?;
    Ok((editor, printer))
}

/// A thread that wakes the editor, for its printer waits while it does not read.
fn wake(mut printer: impl ExternalPrinter + Send + 'static) -> io::Result<SyncSender<()>> {
    let (waker, wakes) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || wakes.iter().try_for_each(|()| printer.print(WAKE.to_owned())))?;
    Ok(waker)
}

/// Reads a line with rustyline for each question.
fn edit(mut editor: LineEditor, questions: &Receiver<String>, events: &SyncSender<Event>) {
    for prompt in questions {
        let event = match editor.readline(&prompt) {
            Ok(line) => Event::Typed(line),
            Err(ReadlineError::Eof) => Event::Hung(Hung::EndOfInput),
            Err(ReadlineError::Interrupted) => Event::Hung(Hung::Interrupted),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                Event::Hung(Hung::NotText)
            }
            Err(_) => Event::Hung(Hung::Broken),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Reads a line as the terminal gives it for each question.
fn read(questions: &Receiver<String>, events: &SyncSender<Event>) {
    let mut stdin = io::stdin().lock();
    for _ in questions {
        let mut line = Vec::new();
        let event = match stdin.read_until(b'\n', &mut line) {
            Ok(0) => Event::Hung(Hung::EndOfInput),
            Ok(_) => {
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                Event::Typed(String::from_utf8_lossy(line).into_owned())
            }
            Err(_) => Event::Hung(Hung::Broken),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}
