//! Notices: the words of the lines that chatd says itself, to one session or to all.
//!
//! Every notice is one line that starts with `-!- `, so that people and scripts can tell it from what others say.
//! Sessions and the hub say which notice; how it reads is decided here and nowhere else. Never contains
//! anything that a stranger has typed.

use std::fmt;

use super::Foreign;
use super::view::Form;

/// A line from chatd itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Some of the session's lines were dropped for their length: one notice for all of a read.
    LineTooLong {
        /// The limit in bytes.
        max_line: usize,
        /// How many were dropped.
        lines: u32,
    },
    /// Some of the session's lines were cut off, since others see much more than was sent: one notice for all of a read.
    LineCut {
        /// How many bytes others saw.
        most: usize,
        /// How many were cut.
        lines: u32,
    },
    /// The session did not read for so long that the log has moved on.
    Skipped {
        /// How many lines it will never get.
        lines: u64,
    },
    /// There are as many sessions as there may be, or no descriptor is left.
    ServerFull,
    /// There are as many sessions from the same address as there may be.
    AddressFull,
    /// The configuration has a mistake: nobody serves those who connect.
    CannotStart,
    /// The session has said nothing for as long as the configuration allows.
    Idle,
    /// Another protocol was spoken.
    Foreign(Foreign),
    /// The daemon stops, and has said all that there was to say.
    Stopping,
    /// The daemon has crashed, and the connection lives on.
    Crashed,
    /// Another process of the daemon knows nothing of the connection.
    Unknown,
}

impl Notice {
    /// Appends the notice as a line in a form, its LF included.
    pub fn encode(&self, form: Form, out: &mut Vec<u8>) {
        match *self {
            Notice::Skipped { lines } => form.skipped(lines, self, out),
            _ => form.notice(self, out),
        }
    }
}

/// The words, without what marks them as chatd's.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Notice::LineTooLong { max_line, lines: 1 } => {
                write!(f, "line too long (over {max_line} bytes), nobody got it")
            }
            Notice::LineTooLong { max_line, lines } => {
                write!(f, "{lines} lines too long (over {max_line} bytes), nobody got them")
            }
            Notice::LineCut { most, lines: 1 } => {
                write!(f, "line cut after {most} bytes: a byte that is not UTF-8 shows as four")
            }
            Notice::LineCut { most, lines } => {
                write!(f, "{lines} lines cut after {most} bytes: a byte that is not UTF-8 shows as four")
            }
            Notice::Skipped { lines: 1 } => f.write_str("1 line skipped (you were not reading)"),
            Notice::Skipped { lines } => write!(f, "{lines} lines skipped (you were not reading)"),
            Notice::ServerFull => f.write_str("server full"),
            Notice::AddressFull => f.write_str("too many connections from your address"),
            Notice::CannotStart => {
                f.write_str("closing: chatd cannot start, for its configuration has a mistake")
            }
            Notice::Idle => f.write_str("closing: you were idle for too long"),
            Notice::Foreign(foreign) => f.write_str(foreign.notice()),
            Notice::Stopping => f.write_str("closing: chatd is stopping"),
            Notice::Crashed => f.write_str("chatd has crashed and gone on: lines of that moment may be lost"),
            Notice::Unknown => f.write_str(
                "closing: chatd was restarted and cannot go on with this connection; connect again",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_is_one_marked_line_of_ascii() {
        let mut out = Vec::new();
        let mut all = vec![
            Notice::LineTooLong { max_line: usize::MAX, lines: 0 },
            Notice::LineCut { most: usize::MAX, lines: 0 },
            Notice::LineCut { most: usize::MAX, lines: 1 },
            Notice::Skipped { lines: u64::MAX },
            Notice::ServerFull,
            Notice::AddressFull,
            Notice::CannotStart,
            Notice::Idle,
        ];
        all.extend(Foreign::all().map(Notice::Foreign));
        for notice in &all {
            notice.encode(Form::PLAIN, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n'));
        assert_eq!(text.lines().count(), all.len());
        for line in text.lines() {
            assert!(
                line.starts_with("-!- ") && line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{line}"
            );
        }
    }

    #[test]
    fn counts_are_worded() {
        let said = |notice: Notice| notice.to_string();
        let too_long = |lines| said(Notice::LineTooLong { max_line: 16, lines });
        assert_eq!(too_long(1), "line too long (over 16 bytes), nobody got it");
        assert_eq!(too_long(2), "2 lines too long (over 16 bytes), nobody got them");
        assert_eq!(said(Notice::Skipped { lines: 1 }), "1 line skipped (you were not reading)");
        assert_eq!(said(Notice::Skipped { lines: 7 }), "7 lines skipped (you were not reading)");
    }
}
