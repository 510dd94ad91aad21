//! The log on standard error: with priorities for the journal, with time and level for people.
//!
//! One of the outputs of `writer`. A line is put together first and written in one piece, so that lines of several
//! processes on one terminal stay whole. Never ends or panics because standard error is closed: the line is lost.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::SystemTime;

use jiff::Timestamp;
use log::Level;
use rustix::event::{PollFd, PollFlags, poll};

use super::queue::Entry;
use super::writer::{Failure, Output};

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `<6>text`: the journal takes the priority off, see sd-daemon(3).
    Journal,
    /// `2026-01-31T15:48:02.123Z info  text`, the level in colour if `colour`.
    People {
        /// The output is a terminal that shows colours.
        colour: bool,
    },
}

/// Writes log lines to a stream; may block as long as its reader does not read.
pub(super) struct StreamOutput<W> {
    stream: W,
    format: Format,
}

impl<W: Write + AsFd> StreamOutput<W> {
    pub(super) fn new(stream: W, format: Format) -> Self {
        Self { stream, format }
    }

    /// Writes all of `line`, also to a descriptor that somebody else has set non-blocking.
    fn write_line(&mut self, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            match self.stream.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        match poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<W: Write + AsFd + Send + 'static> Output for StreamOutput<W> {
    fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
        // A closed standard error never comes back: no second attempt.
        self.write_line(self.format.line(entry).as_bytes()).map_err(|_| Failure::Lost)
    }
}

impl Format {
    fn line(self, entry: &Entry) -> String {
        match self {
            Self::Journal => format!("<{}>{}\n", priority(entry.level), entry.text),
            Self::People { colour } => {
                let (word, paint) = word(entry.level);
                let (on, off) = if colour { (paint, "\x1b[0m") } else { ("", "") };
                format!("{} {on}{word}{off} {}\n", utc(entry.time), entry.text)
            }
        }
    }
}

/// The priority of syslog(3), which the journal shares.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn word(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Error => ("error", "\x1b[31m"),
        Level::Warn => ("warn ", "\x1b[33m"),
        Level::Info => ("info ", "\x1b[32m"),
        Level::Debug | Level::Trace => ("debug", "\x1b[2m"),
    }
}

/// Formats `time` as RFC 3339 in UTC with milliseconds; a time before 1970 is shown as 1970.
fn utc(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    format!("{:.3}", time.max(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::logging::backend::Logging;
    use std::io::{BufRead, BufReader};
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(level: Level, text: &str) -> Entry {
        let mut entry = Entry::new(level, format_args!("{text}"));
        entry.time = UNIX_EPOCH + Duration::from_millis(951_782_461_007);
        entry
    }

    #[test]
    fn the_journal_gets_the_priority_in_front() {
        for (level, line) in [
            (Level::Error, "<3>x\n"),
            (Level::Warn, "<4>x\n"),
            (Level::Info, "<6>x\n"),
            (Level::Debug, "<7>x\n"),
        ] {
            assert_eq!(Format::Journal.line(&entry(level, "x")), line);
        }
    }

    #[test]
    fn people_get_time_and_level_in_colour_only_if_they_want() {
        let line = |colour| Format::People { colour }.line(&entry(Level::Warn, "x"));
        assert_eq!(line(false), "2000-02-29T00:01:01.007Z warn  x\n");
        assert_eq!(line(true), "2000-02-29T00:01:01.007Z \x1b[33mwarn \x1b[0m x\n");
    }

    #[test]
    fn times_are_in_utc_to_the_millisecond() {
        let second = Duration::from_secs(951_868_799);
        assert_eq!(utc(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(UNIX_EPOCH - second), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(UNIX_EPOCH + second), "2000-02-29T23:59:59.000Z");
        // What is less than a millisecond is cut off.
        assert_eq!(utc(UNIX_EPOCH + second + Duration::from_nanos(999_999_999)), "2000-02-29T23:59:59.999Z");
        assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(4_107_542_400)), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_pipe_that_nobody_reads_makes_nobody_wait_and_the_loss_is_told() {
        const LINES: usize = 20_000;
        let (reader, writer) = io::pipe().unwrap();
        let logging = Logging::open(StreamOutput::new(writer, Format::Journal)).unwrap();
        // More than the pipe, the line in hand and the queue can hold together.
        for n in 0..LINES {
            logging.log(entry(Level::Info, &n.to_string()));
        }
        let mut written = 0;
        for line in BufReader::new(reader).lines().map(Result::unwrap) {
            if let Some(lost) = line.strip_prefix("<4>log lines lost: ") {
                written += lost.parse::<usize>().unwrap();
            } else {
                assert_eq!(line, format!("<6>{written}"));
                written += 1;
            }
            if written == LINES {
                break;
            }
        }
        logging.stop();
    }

    #[test]
    fn a_closed_pipe_loses_lines_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut stream = StreamOutput::new(writer, Format::Journal);
        assert_eq!(stream.write(&entry(Level::Info, "x")), Err(Failure::Lost));
        Logging::open(stream).unwrap().log(entry(Level::Info, "x"));
    }

    #[test]
    fn a_pipe_set_non_blocking_by_somebody_else_gets_whole_lines() {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let mut stream = StreamOutput::new(writer, Format::Journal);
        let text = "x".repeat(1000);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..200).for_each(|_| stream.write(&entry(Level::Info, &text)).unwrap()));
            for line in BufReader::new(reader).lines().take(200) {
                assert_eq!(line.unwrap(), format!("<6>{text}"));
            }
        });
    }
}
