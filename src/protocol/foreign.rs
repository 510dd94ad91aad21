//! Callers that speak something else: TLS, HTTP and SSH, told apart by the first bytes.
//!
//! The session shows each read to an [`Opening`] before it passes anything on, until the first line is
//! over. Whoever is recognised gets one line of explanation instead of a room full of garbage.

use super::MAX_OPENING;

/// What a caller speaks, if not lines of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A TLS handshake (RFC 8446, 5.1: a record of type 22, version 3.x).
    Tls,
    /// An HTTP request (RFC 9112, 3).
    Http,
    /// An SSH identification (RFC 4253, 4.2).
    Ssh,
}

impl Foreign {
    /// What such a caller is told, without the line ending.
    pub fn notice(self) -> &'static str {
        match self {
            Self::Tls => "-!- this port speaks plain text, not TLS; connect with nc or telnet",
            Self::Http => "-!- this is a chat for lines of text, not a web server; connect with nc or telnet",
            Self::Ssh => "-!- this is a chat for lines of text, not SSH; connect with nc or telnet",
        }
    }

    /// Its name, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
        }
    }
}

/// The first line of a connection, as far as it has come; empty again when it is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// What has come of the first line.
    pub seen: Vec<u8>,
    /// It is what chatd speaks.
    pub decided: bool,
}

impl Opening {
    /// Says whether the caller has shown what it speaks, so that nothing more need be fed.
    pub fn is_decided(&self) -> bool {
        self.decided
    }

    /// Takes the next bytes of the connection and says what they speak, if it is something else.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Foreign> {
        if self.decided {
            return None;
        }
        let room = MAX_OPENING - self.seen.len();
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len()).min(room);
        self.seen.extend_from_slice(&bytes[..taken]);
        let foreign = recognise(&self.seen);
        let is_over = end.is_some() || taken == room || !may_be_foreign(&self.seen);
        if foreign.is_some() || is_over {
            *self = Self { seen: Vec::new(), decided: true };
        }
        foreign
    }
}

fn recognise(seen: &[u8]) -> Option<Foreign> {
    match seen {
        [22, 3, 0..=4, ..] => Some(Foreign::Tls),
        _ if is_ssh(seen) => Some(Foreign::Ssh),
        [line @ .., b'\n'] if is_request(line) => Some(Foreign::Http),
        _ => None,
    }
}

fn is_ssh(seen: &[u8]) -> bool {
    let old = seen.strip_prefix(b"SSH-1.").and_then(|rest| rest.first());
    seen.starts_with(b"SSH-2.0-") || old.is_some_and(u8::is_ascii_digit)
}

/// `METHOD SP target SP HTTP/d`, as `GET / HTTP/1.1` or `PRI * HTTP/2.0`.
fn is_request(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let version = version.strip_prefix(b"HTTP/").and_then(|rest| rest.first());
    is_method(method) && !target.is_empty() && version.is_some_and(u8::is_ascii_digit)
}

fn is_method(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_uppercase)
}

/// Says whether a first line that begins with `seen` may still turn out to be foreign: an ordinary line
/// is decided with its first word.
fn may_be_foreign(seen: &[u8]) -> bool {
    let word = seen.split(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(seen, [] | [22] | [22, 3])
        || b"SSH-2.0-".starts_with(seen)
        || b"SSH-1.".starts_with(seen)
        || is_method(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `bytes` are recognised as in one piece and byte by byte, and whether it was decided.
    fn feed(bytes: &[u8]) -> (Option<Foreign>, bool) {
        let (mut whole, mut cut) = (Opening::default(), Opening::default());
        let in_one = whole.feed(bytes);
        let in_pieces = bytes.iter().find_map(|byte| cut.feed(&[*byte]));
        assert_eq!((in_one, whole.is_decided()), (in_pieces, cut.is_decided()), "{bytes:?}");
        assert!(!whole.is_decided() || whole.seen.capacity() == 0);
        (in_one, whole.is_decided())
    }

    #[test]
    fn tls_is_recognised_by_its_first_three_bytes() {
        assert_eq!(feed(b"\x16\x03\x01").0, Some(Foreign::Tls));
        assert_eq!(feed(b"\x16\x03"), (None, false));
        assert_eq!(feed(b"\x16x"), (None, true));
        assert_eq!(feed(b"x\x16\x03\x01"), (None, true));
    }

    #[test]
    fn http_is_recognised_by_its_first_line() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /x?y HTTP/1.0\n",
            "PRI * HTTP/2.0\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(feed(line.as_bytes()).0, Some(Foreign::Http), "{line}");
        }
    }

    #[test]
    fn ssh_is_recognised_by_its_banner() {
        assert_eq!(feed(b"SSH-2.0-OpenSSH_9.2p1\r\n").0, Some(Foreign::Ssh));
        assert_eq!(feed(b"SSH-1.99-x\n").0, Some(Foreign::Ssh));
    }

    #[test]
    fn ordinary_first_lines_are_not_foreign() {
        for line in [
            "GET well soon\n",
            "SSH is fine\n",
            "SSH-2.0 is old\n",
            "hello HTTP/1.1\n",
            "get / HTTP/1.1\n",
            "\n",
            "GET  HTTP/1.1\n",
        ] {
            assert_eq!(feed(line.as_bytes()), (None, true), "{line}");
        }
    }

    #[test]
    fn an_ordinary_line_is_decided_with_its_first_bytes() {
        assert_eq!(feed(b"h"), (None, true));
        assert_eq!(feed(b"GET /"), (None, false));
    }

    #[test]
    fn only_the_first_line_counts() {
        let mut opening = Opening::default();
        assert_eq!(opening.feed(b"hello\n"), None);
        assert_eq!(opening.feed(b"GET / HTTP/1.1\n"), None);
        assert_eq!(feed(b"hello\nGET / HTTP/1.1\n").0, None);
    }

    #[test]
    fn a_first_line_without_an_end_holds_bounded_memory() {
        let mut opening = Opening::default();
        for _ in 0..3 * MAX_OPENING {
            assert_eq!(opening.feed(b"A"), None);
            assert!(opening.seen.len() <= MAX_OPENING);
        }
        assert_eq!((opening.is_decided(), opening.seen.capacity()), (true, 0));
    }
}
