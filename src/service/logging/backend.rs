//! The backend of the `log` crate: installs the queue, starts the thread, stops it.
//!
//! Called by the server once at the start and once at the end. [`Logging`] owns the thread; dropping it writes what is
//! left, for at most [`STOP_PATIENCE`]. Never writes a log line itself.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

use super::kind::{Destination, Facts, LogKind};
use super::queue::{Entry, Queue};
use super::stderr::{Format, StreamOutput};
use super::syslog::Syslog;
use super::writer;

/// The socket of the syslog daemon on this machine, as in syslog(3).
pub const DEV_LOG: &str = "/dev/log";

/// How long a stop or a flush waits for a log that does not take its lines.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The log of the daemon, while it runs.
///
/// [`Logging::stop`] and dropping it are the same: no more lines are taken, and those in the queue are written, for
/// at most a second.
pub struct Logging {
    queue: Arc<Queue>,
    /// `None` if log lines go nowhere.
    thread: Option<JoinHandle<()>>,
    on_stderr: bool,
}

/// Starts to log: from now on `log::info!` and the like write to `kind`. Leaves out records of other crates below
/// `warn`.
///
/// # Errors
/// If this process already has a logger, or the system refuses a thread. A log that is away is not an error: lines
/// wait for it, and those that do not fit are counted.
pub fn start(kind: LogKind, level: LevelFilter) -> Result<Logging, LogError> {
    start_with_socket(kind, level, Path::new(DEV_LOG))
}

/// [`start`] with another syslog socket than [`DEV_LOG`]: for tests.
#[doc(hidden)]
pub fn start_with_socket(kind: LogKind, level: LevelFilter, socket: &Path) -> Result<Logging, LogError> {
    let output = kind.output(Facts::gather(socket));
    if output == Destination::Nowhere {
        return Ok(Logging { queue: Arc::default(), thread: None, on_stderr: false });
    }
    let mut logging = open(output, socket).map_err(LogError::Thread)?;
    logging.on_stderr = output != Destination::Syslog;
    log::set_boxed_logger(Box::new(Front { queue: Arc::clone(&logging.queue) }))
        .map_err(LogError::Installed)?;
    logging.set_level(level);
    Ok(logging)
}

fn open(output: Destination, socket: &Path) -> io::Result<Logging> {
    match output {
        Destination::Syslog => Logging::open(Syslog::new(socket)),
        Destination::Journal => Logging::open(StreamOutput::new(io::stderr(), Format::Journal)),
        Destination::People | Destination::Nowhere => {
            Logging::open(StreamOutput::new(io::stderr(), Format::People { colour: colour() }))
        }
    }
}

/// Colours on a terminal, unless its owner says otherwise: <https://no-color.org>.
fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Logging {
    /// Starts the thread; nothing is installed in the `log` crate.
    pub(super) fn open(output: impl writer::Output) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let theirs = Arc::clone(&queue);
        let thread =
            thread::Builder::new().name("log".to_owned()).spawn(move || writer::run(&theirs, output))?;
        Ok(Self { queue, thread: Some(thread), on_stderr: false })
    }

    /// Adds a line past the `log` crate, of which a process has only one.
    #[cfg(test)]
    pub(super) fn log(&self, entry: Entry) {
        self.queue.push(entry);
    }

    /// Returns whether the log goes to standard error.
    pub fn is_on_stderr(&self) -> bool {
        self.on_stderr
    }

    /// Changes the level, as a reload does. Nothing changes if log lines go nowhere.
    pub fn set_level(&self, level: LevelFilter) {
        if self.thread.is_some() {
            log::set_max_level(level);
        }
    }

    /// Writes what is left, for at most a second, and ends the thread.
    ///
    /// Lines logged from now on are dropped. A thread that is stuck in a write is left behind; it ends with the
    /// process.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.queue.close();
        if self.queue.wait_drained(STOP_PATIENCE) {
            // An error here is a panic of the thread, which has told standard error about itself.
            let _ = thread.join();
        }
    }
}

/// The logger of the `log` crate.
struct Front {
    queue: Arc<Queue>,
}

impl Log for Front {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
            && (metadata.level() <= Level::Warn || is_ours(metadata.target()))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue.push(Entry::new(record.level(), *record.args()));
        }
    }

    /// Waits until everything is written, at most for a second.
    fn flush(&self) {
        self.queue.wait_drained(STOP_PATIENCE);
    }
}

fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some("chatd")
}

/// Why logging cannot start.
#[derive(Debug)]
pub enum LogError {
    /// A logger is installed in this process already; there can be only one.
    Installed(SetLoggerError),
    /// The system refuses a thread.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(_) => f.write_str("the log was started already; start it once"),
            Self::Thread(error) => {
                write!(f, "cannot start the thread of the log: {error}; raise the limit of tasks")
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Installed(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::service::scratch::Scratch;
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc;

    /// Fails if the log does not stop: after a time in which it would have, however busy the machine.
    pub(in crate::service::logging) fn expect_stop(logging: Logging) {
        let (stopped, stops) = mpsc::channel();
        thread::spawn(move || {
            logging.stop();
            let _ = stopped.send(());
        });
        stops.recv_timeout(30 * STOP_PATIENCE).expect("the log stops");
    }

    /// The one test that installs a logger: a process can have only one.
    #[test]
    fn the_log_crate_writes_here_with_level_and_origin() {
        let folder = Scratch::new();
        let socket = UnixDatagram::bind(folder.file("log")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let logging = start_with_socket(LogKind::Syslog, LevelFilter::Info, &folder.file("log")).unwrap();
        let start_again = || start_with_socket(LogKind::Stderr, LevelFilter::Info, &folder.file("log"));
        assert!(matches!(start_again(), Err(LogError::Installed(_))));

        log::debug!(target: "chatd::net", "too fine");
        log::info!(target: "chatdrum", "of another crate");
        log::warn!(target: "polling", "worth a line");
        logging.set_level(LevelFilter::Debug);
        log::debug!("fine\nenough");
        logging.stop();

        let mut buffer = [0; 200];
        let mut next = || {
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(next(), format!("<28>chatd[{}]: worth a line", std::process::id()));
        assert_eq!(next(), format!("<31>chatd[{}]: fine\\nenough", std::process::id()));
    }

    #[test]
    fn nowhere_starts_no_thread_and_installs_nothing() {
        for _ in 0..2 {
            let logging = start(LogKind::None, LevelFilter::Debug).unwrap();
            assert!(logging.thread.is_none());
            logging.stop();
        }
    }

    /// An output that never comes back.
    struct Stuck;

    impl writer::Output for Stuck {
        fn write(&mut self, _: &Entry) -> Result<(), writer::Failure> {
            thread::park();
            Err(writer::Failure::Away)
        }
    }

    #[test]
    fn a_stop_does_not_wait_for_ever() {
        let logging = Logging::open(Stuck).unwrap();
        for n in 0..10_000 {
            logging.log(Entry::new(Level::Info, format_args!("{n}")));
        }
        expect_stop(logging);
    }
}
