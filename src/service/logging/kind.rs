//! Where log lines go: the setting, and what it means for this process.
//!
//! `config` reads a [`LogKind`], `backend` asks for its [`Destination`]. The decision is a pure function of three facts, so
//! that each case is a test; [`Facts::gather`] is the only part that looks at the process.

use std::io::IsTerminal;
use std::path::Path;

/// The setting `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Standard error if it is the journal or a terminal, otherwise syslog if there is one, otherwise standard
    /// error.
    Auto,
    /// Standard error, with priorities if it is the journal.
    Stderr,
    /// The syslog socket of this machine.
    Syslog,
    /// Nowhere.
    None,
}

/// The output of log lines in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// Standard error, each line with its `<N>`, see sd-daemon(3).
    Journal,
    /// Standard error, each line with its time and level.
    People,
    /// The syslog socket.
    Syslog,
    /// Nowhere.
    Nowhere,
}

/// The facts that decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Standard error is the stream that systemd connected to the journal.
    pub(super) journal: bool,
    /// Standard error is a terminal.
    pub(super) terminal: bool,
    /// The syslog socket is there.
    pub(super) syslog: bool,
}

impl Facts {
    pub(super) fn gather(socket: &Path) -> Self {
        Self {
            journal: stderr_is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()),
            terminal: std::io::stderr().is_terminal(),
            syslog: socket.exists(),
        }
    }
}

impl LogKind {
    pub(super) fn output(self, facts: Facts) -> Destination {
        match self {
            Self::None => Destination::Nowhere,
            Self::Syslog => Destination::Syslog,
            Self::Auto | Self::Stderr if facts.journal => Destination::Journal,
            Self::Auto if !facts.terminal && facts.syslog => Destination::Syslog,
            Self::Auto | Self::Stderr => Destination::People,
        }
    }
}

/// The variable alone proves nothing: it is inherited by processes whose standard error was redirected since.
fn stderr_is_journal(journal_stream: Option<&str>) -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    journal_stream.is_some_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(kind: LogKind, journal: bool, terminal: bool, syslog: bool) -> Destination {
        kind.output(Facts { journal, terminal, syslog })
    }

    #[test]
    fn auto_prefers_the_journal_then_a_terminal_then_syslog() {
        assert_eq!(choice(LogKind::Auto, true, false, true), Destination::Journal);
        assert_eq!(choice(LogKind::Auto, false, true, true), Destination::People);
        assert_eq!(choice(LogKind::Auto, false, false, true), Destination::Syslog);
        assert_eq!(choice(LogKind::Auto, false, false, false), Destination::People);
    }

    #[test]
    fn what_was_asked_for_is_done() {
        assert_eq!(choice(LogKind::Stderr, true, false, true), Destination::Journal);
        assert_eq!(choice(LogKind::Stderr, false, false, true), Destination::People);
        assert_eq!(choice(LogKind::Syslog, true, true, false), Destination::Syslog);
        assert_eq!(choice(LogKind::None, true, true, true), Destination::Nowhere);
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode_of_standard_error() {
        let stat = rustix::fs::fstat(std::io::stderr()).unwrap();
        assert!(stderr_is_journal(Some(&format!("{}:{}", stat.st_dev, stat.st_ino))));
        assert!(!stderr_is_journal(Some(&format!("{}:{}", stat.st_dev, stat.st_ino + 1))));
        assert!(!stderr_is_journal(Some("")));
        assert!(!stderr_is_journal(None));
    }
}
