//! The log in syslog: the local socket, through the `syslog` crate.
//!
//! One of the outputs of `writer`. The crate never reconnects (Geal/rust-syslog#21) and its plain socket blocks for
//! ever when the daemon does not read; so the sockets are made here, with a time-out, and made anew after an
//! error. Its `init()`, which falls back to TCP in silence, and its `Formatter3164`, which stamps UTC where RFC 3164
//! means local time, are never used.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use log::Level;
use syslog::{Error, Facility, LogFormat, Logger, LoggerBackend, Severity};

use super::queue::Entry;
use super::writer::{Failure, Output};

/// How long one attempt waits for a syslog daemon that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// `<PRIORITY>chatd[PID]: text`, as RFC 3164 has it, but for the time.
///
/// Syslog daemons and the journal stamp what comes from their own machine themselves.
struct Undated {
    facility: Facility,
    pid: u32,
}

impl<T: Display> LogFormat<T> for Undated {
    fn format<W: Write>(&self, socket: &mut W, severity: Severity, message: T) -> Result<(), Error> {
        let priority = self.facility as u8 | severity as u8;
        write!(socket, "<{priority}>chatd[{}]: {message}", self.pid).map_err(Error::Write)
    }
}

/// Writes log lines to the syslog daemon behind a socket, whenever it is there.
pub(super) struct Syslog {
    path: PathBuf,
    logger: Option<Logger<LoggerBackend, Undated>>,
}

impl Syslog {
    /// Connects with the first line, not now.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), logger: None }
    }

    /// Writes with the socket at hand, or with a new one.
    fn attempt(&mut self, entry: &Entry) -> io::Result<()> {
        let mut logger = match self.logger.take() {
            Some(logger) => logger,
            None => {
                let formatter = Undated { facility: Facility::LOG_DAEMON, pid: process::id() };
                Logger::new(connect(&self.path)?, formatter)
            }
        };
        send(&mut logger, entry)?;
        self.logger = Some(logger);
        Ok(())
    }
}

impl Output for Syslog {
    fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
        let had_socket = self.logger.is_some();
        match self.attempt(entry) {
            // The daemon may have been restarted since the last line: a new socket before the first pause.
            Err(_) if had_socket => self.attempt(entry).map_err(failure),
            outcome => outcome.map_err(failure),
        }
    }
}

fn failure(error: io::Error) -> Failure {
    match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::MSGSIZE) => Failure::Lost,
        _ => Failure::Away,
    }
}

/// Connects as syslog(3) does: a datagram socket, or a stream if the daemon has one.
fn connect(path: &Path) -> io::Result<LoggerBackend> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok(LoggerBackend::Unix(socket))
        }
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::PROTOTYPE) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok(LoggerBackend::UnixStream(BufWriter::new(stream)))
        }
        Err(error) => Err(error),
    }
}

fn send(logger: &mut Logger<LoggerBackend, Undated>, entry: &Entry) -> io::Result<()> {
    let text = &entry.text;
    let sent = match entry.level {
        Level::Error => logger.err(text),
        Level::Warn => logger.warning(text),
        Level::Info => logger.info(text),
        Level::Debug | Level::Trace => logger.debug(text),
    };
    sent.map_err(|error| match error {
        Error::Write(error) | Error::Io(error) => error,
        Error::Initialization(error) => io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::logging::backend::Logging;
    use crate::service::logging::backend::tests::expect_stop;
    use crate::service::scratch::Scratch;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A syslog daemon of one socket.
    struct Daemon {
        socket: UnixDatagram,
    }

    impl Daemon {
        fn bind(path: &Path) -> Self {
            let socket = UnixDatagram::bind(path).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            Self { socket }
        }

        fn next(&self) -> String {
            let mut buffer = [0; 8192];
            let length = self.socket.recv(&mut buffer).expect("a log line before the deadline");
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        }

        /// Reads lines that count upwards from 0 until `lines` are accounted for; returns how many were lost.
        fn count(&self, lines: usize) -> usize {
            let (mut seen, mut lost) = (0, 0);
            while seen < lines {
                let line = self.next();
                match line.split_once("log lines lost: ") {
                    Some((_, count)) => {
                        lost += count.parse::<usize>().unwrap();
                        seen += count.parse::<usize>().unwrap();
                    }
                    None => {
                        assert!(line.ends_with(&format!(" {seen}")), "{seen}: {line}");
                        seen += 1;
                    }
                }
            }
            lost
        }
    }

    fn entry(level: Level, text: &str) -> Entry {
        Entry::new(level, format_args!("{text}"))
    }

    #[test]
    fn each_level_arrives_with_its_priority_and_the_facility_daemon() {
        let folder = Scratch::new();
        let daemon = Daemon::bind(&folder.file("log"));
        let mut syslog = Syslog::new(&folder.file("log"));
        for (level, priority) in
            [(Level::Error, 27), (Level::Warn, 28), (Level::Info, 30), (Level::Debug, 31), (Level::Trace, 31)]
        {
            syslog.write(&entry(level, "a\nb")).unwrap();
            assert_eq!(daemon.next(), format!("<{priority}>chatd[{}]: a\\nb", process::id()));
        }
    }

    #[test]
    fn a_daemon_with_a_stream_socket_is_served_too() {
        let folder = Scratch::new();
        let listener = UnixListener::bind(folder.file("log")).unwrap();
        let mut syslog = Syslog::new(&folder.file("log"));
        syslog.write(&entry(Level::Info, "one")).unwrap();
        syslog.write(&entry(Level::Info, "two")).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let lines: Vec<_> = BufReader::new(stream).split(0).take(2).map(Result::unwrap).collect();
        let expected =
            ["one", "two"].map(|text| format!("<30>chatd[{}]: {text}", process::id()).into_bytes());
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_restart_of_the_daemon_costs_no_line() {
        let folder = Scratch::new();
        let path = folder.file("log");
        let daemon = Daemon::bind(&path);
        let logging = Logging::open(Syslog::new(&path)).unwrap();
        logging.log(entry(Level::Info, "before"));
        assert!(daemon.next().ends_with(" before"));
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        logging.log(entry(Level::Info, "meanwhile"));
        let daemon = Daemon::bind(&path);
        logging.log(entry(Level::Info, "after"));
        assert!(daemon.next().ends_with(" meanwhile"));
        assert!(daemon.next().ends_with(" after"));
    }

    #[test]
    fn a_long_absence_of_the_daemon_is_counted_and_told() {
        const LINES: usize = 3000;
        let folder = Scratch::new();
        let path = folder.file("log");
        let logging = Logging::open(Syslog::new(&path)).unwrap();
        for n in 0..LINES {
            logging.log(entry(Level::Info, &n.to_string()));
        }
        let daemon = Daemon::bind(&path);
        assert!(daemon.count(LINES) > 0);
        logging.log(entry(Level::Info, "after"));
        assert!(daemon.next().ends_with(" after"));
    }

    #[test]
    fn a_daemon_that_does_not_read_makes_nobody_wait() {
        const LINES: usize = 10_000;
        let folder = Scratch::new();
        let daemon = Daemon::bind(&folder.file("log"));
        let logging = Logging::open(Syslog::new(&folder.file("log"))).unwrap();
        // Each that waited for it would wait for half a second.
        for n in 0..LINES {
            logging.log(entry(Level::Info, &n.to_string()));
        }
        assert!(daemon.count(LINES) > 0);
    }

    #[test]
    fn a_stop_does_not_wait_for_a_daemon_that_is_away_or_does_not_read() {
        let folder = Scratch::new();
        let _silent = Daemon::bind(&folder.file("silent"));
        for name in ["away", "silent"] {
            let logging = Logging::open(Syslog::new(&folder.file(name))).unwrap();
            for n in 0..1000 {
                logging.log(entry(Level::Info, &n.to_string()));
            }
            // To write all of them takes minutes.
            expect_stop(logging);
        }
    }
}
