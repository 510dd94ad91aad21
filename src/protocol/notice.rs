//! Notices: the lines that come from chatd itself. All of them begin with `-!- `; chatd-protocol(7)
//! lists them word for word.

use std::io::Write;
use std::time::Duration;

/// Something chatd tells one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Lines of this session were dropped because they were longer than `max_line`.
    LineTooLong {
        /// The limit, in bytes.
        max_line: usize,
        /// How many lines were dropped.
        lines: u32,
    },
    /// The log has moved on over a session that did not read.
    Skipped {
        /// How many lines of others it will not get.
        lines: u64,
    },
    /// There is no room for another session.
    ServerFull,
    /// There are `max_per_ip` sessions from the caller's address.
    TooManyFromThere,
    /// The session said nothing for `idle_timeout`.
    Idle {
        /// How long that is.
        after: Duration,
    },
}

impl Notice {
    /// Appends the notice as it goes out, with its LF.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let written = match self {
            Self::LineTooLong { max_line, lines: 1 } => {
                writeln!(out, "-!- line dropped (longer than {max_line} bytes)")
            }
            Self::LineTooLong { max_line, lines } => {
                writeln!(out, "-!- {lines} lines dropped (longer than {max_line} bytes)")
            }
            Self::Skipped { lines: 1 } => writeln!(out, "-!- 1 line skipped (you were not reading)"),
            Self::Skipped { lines } => writeln!(out, "-!- {lines} lines skipped (you were not reading)"),
            Self::ServerFull => writeln!(out, "-!- server full"),
            Self::TooManyFromThere => writeln!(out, "-!- too many connections from your address"),
            Self::Idle { after } => writeln!(out, "-!- closed (nothing said for {after:?})"),
        };
        written.expect("writing to memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_read_as_the_manual_says() {
        let read = |notice: Notice| {
            let mut out = Vec::new();
            notice.encode(&mut out);
            String::from_utf8(out).unwrap()
        };
        let too_long = |lines| Notice::LineTooLong { max_line: 16384, lines };
        assert_eq!(read(too_long(1)), "-!- line dropped (longer than 16384 bytes)\n");
        assert_eq!(read(too_long(3)), "-!- 3 lines dropped (longer than 16384 bytes)\n");
        assert_eq!(read(Notice::Skipped { lines: 1 }), "-!- 1 line skipped (you were not reading)\n");
        assert_eq!(read(Notice::Skipped { lines: 1204 }), "-!- 1204 lines skipped (you were not reading)\n");
        assert_eq!(read(Notice::ServerFull), "-!- server full\n");
        assert_eq!(read(Notice::TooManyFromThere), "-!- too many connections from your address\n");
        assert_eq!(
            read(Notice::Idle { after: Duration::from_secs(600) }),
            "-!- closed (nothing said for 600s)\n"
        );
    }
}
