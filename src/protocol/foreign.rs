//! Foreign protocols: recognises who speaks TLS, HTTP or SSH to this port, from the first bytes on.
//!
//! The session shows [`Opening`] the bytes of every read until it is decided, before it passes any line on, and
//! on a [`Foreign`] answers with its notice and closes: otherwise a scanner's bytes would be said to the room.
//! Looks at the first line only, keeps ten bytes of it, and never takes an ordinary line such as
//! `GET well soon` for a request.

use serde::{Deserialize, Serialize};

use super::FOREIGN_LINE_BYTES;

/// A protocol that does not belong on this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A ClientHello: `https://`, `openssl s_client`, a scanner.
    Tls,
    /// A request line: a browser, `curl`, a health check.
    Http,
    /// A version banner: `ssh`.
    Ssh,
}

impl Foreign {
    /// The line that explains the port, a notice without its LF.
    pub fn notice(self) -> &'static str {
        match self {
            Foreign::Tls => "this is chatd, a plain-text chat; it does not speak TLS: use nc or telnet",
            Foreign::Http => "this is chatd, a chat and not a web server: use nc or telnet",
            Foreign::Ssh => "this is chatd, a chat and not an SSH server: use nc or telnet",
        }
    }

    /// The name for logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Tls => "tls",
            Foreign::Http => "http",
            Foreign::Ssh => "ssh",
        }
    }
}

/// How far the beginning of a session has been looked at: a plain value, taken out and put back like the framer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The first bytes; those behind `seen` are zero.
    pub head: [u8; HEAD_BYTES],
    /// Bytes looked at, at most [`FOREIGN_LINE_BYTES`].
    pub seen: u16,
    /// How far the line is an HTTP request.
    pub http: Request,
    /// Whether the answer is known.
    pub decided: bool,
}

/// Enough for `SSH-2.0-` and one byte more.
const HEAD_BYTES: usize = 9;

/// How far a line has followed `METHOD SP target SP HTTP/digit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Before its first byte.
    #[default]
    Start,
    /// In the method: capital letters.
    Method,
    /// In the target; whether it has a byte yet.
    Target(bool),
    /// In `HTTP/`, so many of its bytes matched.
    Version(u8),
    /// No request, or a whole one.
    Over,
}

/// What the bytes so far say about one protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    Maybe,
    Yes,
}

impl Opening {
    /// Takes the next bytes as they were read. Says what they are as soon as it is known, once; the read with
    /// the first LF always decides.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Foreign> {
        for &byte in bytes {
            if self.decided {
                return None;
            }
            if let Some(foreign) = self.step(byte) {
                return Some(foreign);
            }
        }
        None
    }

    /// Whether there is no more reason to ask.
    pub fn is_decided(&self) -> bool {
        self.decided
    }

    fn step(&mut self, byte: u8) -> Option<Foreign> {
        if let Some(place) = self.head.get_mut(usize::from(self.seen)) {
            *place = byte;
        }
        self.seen = self.seen.saturating_add(1);
        let head = &self.head[..HEAD_BYTES.min(self.seen.into())];
        let matches =
            [(Foreign::Tls, tls(head)), (Foreign::Ssh, ssh(head)), (Foreign::Http, self.http.step(byte))];
        let found = matches.iter().find(|(_, how)| *how == Match::Yes).map(|(foreign, _)| *foreign);
        let hopeless = matches.iter().all(|(_, how)| *how == Match::No);
        self.decided = found.is_some() || hopeless || self.seen >= FOREIGN_LINE_BYTES;
        found
    }
}

/// The head of a TLS record of handshake type: 0x16, major version 3, a minor version up to TLS 1.3's.
fn tls(head: &[u8]) -> Match {
    match head {
        [0x16] | [0x16, 0x03] => Match::Maybe,
        [0x16, 0x03, 0x00..=0x04, ..] => Match::Yes,
        _ => Match::No,
    }
}

/// `SSH-2.0-` or `SSH-1.` with something behind it (RFC 4253, 4.2): `SSH-2.0- is new` is a line like any other.
fn ssh(head: &[u8]) -> Match {
    let follows = |start: &[u8]| match head.strip_prefix(start) {
        Some([next, ..]) if next.is_ascii_graphic() => Match::Yes,
        Some([]) => Match::Maybe,
        None if start.starts_with(head) => Match::Maybe,
        _ => Match::No,
    };
    match (follows(b"SSH-2.0-"), follows(b"SSH-1.")) {
        (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        _ => Match::No,
    }
}

impl Request {
    fn step(&mut self, byte: u8) -> Match {
        const VERSION: &[u8] = b"HTTP/";
        let next = match (*self, byte) {
            (Request::Version(at), b'0'..=b'9') if usize::from(at) == VERSION.len() => {
                *self = Request::Over;
                return Match::Yes;
            }
            (Request::Start | Request::Method, b'A'..=b'Z') => Request::Method,
            (Request::Method, b' ') => Request::Target(false),
            (Request::Target(_), b'!'..=b'~' | 0x80..) => Request::Target(true),
            (Request::Target(true), b' ') => Request::Version(0),
            (Request::Version(at), _) if VERSION.get(usize::from(at)) == Some(&byte) => {
                Request::Version(at + 1)
            }
            _ => Request::Over,
        };
        *self = next;
        if next == Request::Over { Match::No } else { Match::Maybe }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The verdict and how many bytes it took, the same for every cut of the bytes in two.
    #[track_caller]
    fn verdict(bytes: &[u8]) -> (Option<Foreign>, Opening) {
        let mut whole = Opening::default();
        let foreign = whole.feed(bytes);
        for at in 0..=bytes.len() {
            let mut cut = Opening::default();
            let first = cut.feed(&bytes[..at]);
            let second = cut.clone().feed(&bytes[at..]);
            assert!(first.is_none() || (cut.is_decided() && second.is_none()), "one verdict");
            cut.feed(&bytes[at..]);
            assert_eq!((first.or(second), cut), (foreign, whole), "cut at {at}");
        }
        (foreign, whole)
    }

    #[test]
    fn tls_is_known_by_its_third_byte() {
        for minor in 0..=4 {
            assert_eq!(verdict(&[0x16, 3, minor]).0, Some(Foreign::Tls));
        }
        assert_eq!(verdict(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").0, Some(Foreign::Tls));
        for other in [&b"\x16\x03\x05"[..], b"\x16\x02\x01", b"\x17\x03\x03", b"\x16\n", b"a\x16\x03\x01"] {
            let (foreign, opening) = verdict(other);
            assert!(foreign.is_none() && opening.is_decided(), "{other:?}");
        }
    }

    #[test]
    fn an_http_request_is_known_before_its_line_ends() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /a?b=c HTTP/1.0\n",
            "OPTIONS * HTTP/1",
            "CONNECT example.org:443 HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /caf\u{e9} HTTP/1.1",
        ] {
            assert_eq!(verdict(line.as_bytes()).0, Some(Foreign::Http), "{line}");
        }
    }

    #[test]
    fn an_ssh_banner_is_known() {
        for line in ["SSH-2.0-OpenSSH_9.2\r\n", "SSH-1.99-x", "SSH-1.5-1.2.33\n"] {
            assert_eq!(verdict(line.as_bytes()).0, Some(Foreign::Ssh), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_not_foreign() {
        for line in [
            "hello\n",
            "\n",
            "\r\n",
            "GET well soon\n",
            "GET well HTTP\n",
            "GET / HTTP/\n",
            "GET / HTTP/x\n",
            "GET  HTTP/1.1\n",
            " GET / HTTP/1.1\n",
            "get / HTTP/1.1\n",
            "GET\n",
            "GET /\r\nHost: HTTP/1.1\r\n",
            "SSH is fine\n",
            "SSH-2.0- is new\n",
            "SSH-2.0-\n",
            "SSH-1. is old\n",
            "SSH-3.0-x\n",
            "\u{ff}\u{fb}\x01\n",
        ] {
            let (foreign, opening) = verdict(line.as_bytes());
            assert!(foreign.is_none() && opening.is_decided(), "{line:?}");
        }
    }

    #[test]
    fn most_lines_are_decided_by_their_first_byte() {
        for line in ["h", "0", "\n", "\u{e9}", "/nick alice"] {
            assert!(verdict(&line.as_bytes()[..1]).1.is_decided(), "{line:?}");
        }
    }

    #[test]
    fn only_the_first_line_counts() {
        assert_eq!(verdict(b"hi\nGET / HTTP/1.1\r\n").0, None);
        assert_eq!(verdict(b"\n\x16\x03\x01").0, None);
        assert_eq!(verdict(b"hi\nSSH-2.0-x\n").0, None);
    }

    #[test]
    fn a_first_line_past_its_bound_is_not_foreign() {
        let mut opening = Opening::default();
        assert_eq!(opening.feed(b"GET /"), None);
        for _ in 5..FOREIGN_LINE_BYTES {
            assert!(!opening.is_decided());
            assert_eq!(opening.feed(b"x"), None);
        }
        assert!(opening.is_decided());
        assert_eq!(opening.feed(b" HTTP/1.1\r\n"), None);
    }

    #[test]
    fn each_explains_itself_in_one_notice() {
        for foreign in [Foreign::Tls, Foreign::Http, Foreign::Ssh] {
            assert!(!foreign.notice().starts_with('-') && !foreign.notice().contains('\n'));
            assert!(foreign.notice().to_lowercase().contains(match foreign {
                Foreign::Http => "web",
                other => other.name(),
            }));
        }
    }

    /// The rule for HTTP, said the long way round over a whole line.
    fn is_request(line: &str) -> bool {
        let mut words = line.splitn(3, ' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return false;
        };
        !method.is_empty()
            && method.bytes().all(|byte| byte.is_ascii_uppercase())
            && !target.is_empty()
            && !target.bytes().any(|byte| byte.is_ascii_control())
            && version
                .strip_prefix("HTTP/")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    proptest! {
        #[test]
        fn http_follows_its_rule(line in "[GP]{0,2}[ /]{0,2}[a/ \t]{0,2} ?H?TTP/[1x]?[.0 ]{0,2}") {
            let (foreign, opening) = verdict(format!("{line}\n").as_bytes());
            prop_assert_eq!(foreign == Some(Foreign::Http), is_request(&line));
            prop_assert!(opening.is_decided());
        }

        #[test]
        fn a_newline_always_decides(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            bytes.push(b'\n');
            prop_assert!(verdict(&bytes).1.is_decided());
        }
    }
}
