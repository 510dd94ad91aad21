//! Foreign protocols: recognises a client of another protocol by its first bytes.
//!
//! The session calls [`Opening::feed`] with the bytes of every read until that is decided, before it passes on any
//! line. If it gets a [`Foreign`], it sends one notice and closes the connection: otherwise the bytes of a scanner
//! would go to the room. The first line decides, with the bytes behind it in the same read. A line such as `GET well
//! soon` or `EHLO world` is never taken for a request.

use std::net::IpAddr;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::FOREIGN_BYTES;

/// A protocol that does not belong on this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Foreign {
    /// A ClientHello (RFC 8446, 4.1.2): `https://`, `openssl s_client`, a scanner.
    Tls,
    /// A request line (RFC 9112, 3): a browser, `curl`, a health check.
    Http,
    /// A request line of a protocol like HTTP: RTSP, SIP, ICAP.
    Request,
    /// A version banner (RFC 4253, 4.2): `ssh`.
    Ssh,
    /// A command as an array: `redis-cli` (RESP).
    Redis,
    /// A greeting with a domain: a mail server (RFC 5321, 4.1.1.1).
    Smtp,
    /// The header that a load balancer puts before a connection (PROXY protocol, versions 1 and 2).
    Proxy,
    /// A connection request: a remote desktop (TPKT, RFC 1006).
    Rdp,
    /// Text in UTF-16, as Windows PowerShell redirects it.
    Utf16,
}

/// Whether the bytes so far belong to a protocol. More bytes never change [`Match::Yes`] or [`Match::No`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    Maybe,
    Yes,
}

/// Recognises a protocol by the bytes so far.
type Recognise = fn(&[u8]) -> Match;

/// Every protocol, with the function that recognises it.
const PROTOCOLS: [(Foreign, Recognise); 9] = [
    (Foreign::Tls, tls),
    (Foreign::Http, http),
    (Foreign::Request, request),
    (Foreign::Ssh, ssh),
    (Foreign::Redis, redis),
    (Foreign::Smtp, smtp),
    (Foreign::Proxy, proxy),
    (Foreign::Rdp, rdp),
    (Foreign::Utf16, utf16),
];

impl Foreign {
    /// Returns every protocol that chatd recognises.
    pub fn all() -> impl Iterator<Item = Self> {
        PROTOCOLS.iter().map(|(foreign, _)| *foreign)
    }

    /// Returns the sentence of the notice.
    pub fn notice(self) -> &'static str {
        match self {
            Foreign::Tls => "this is chatd, a chat; this connection does not speak TLS: use nc or telnet",
            Foreign::Http => "this is chatd, a chat and not a web server: use nc or telnet",
            Foreign::Request => "this is chatd, a chat and not a media or telephony server: use nc or telnet",
            Foreign::Ssh => "this is chatd, a chat and not an SSH server: use nc or telnet",
            Foreign::Redis => "this is chatd, a chat and not a Redis server: use nc or telnet",
            Foreign::Smtp => "this is chatd, a chat and not an SMTP server: use nc or telnet",
            Foreign::Proxy => {
                "this is chatd; it does not take the PROXY protocol here: set proxy for this address, or turn it off in the proxy"
            }
            Foreign::Rdp => "this is chatd, a chat and not an RDP server: use nc or telnet",
            Foreign::Utf16 => "this is UTF-16, and nobody got it: send UTF-8",
        }
    }

    /// Returns the name for the log file.
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Tls => "tls",
            Foreign::Http => "http",
            Foreign::Request => "rtsp or sip",
            Foreign::Ssh => "ssh",
            Foreign::Redis => "redis",
            Foreign::Smtp => "smtp",
            Foreign::Proxy => "proxy",
            Foreign::Rdp => "rdp",
            Foreign::Utf16 => "utf-16",
        }
    }
}

/// The first bytes of a session, until it is decided whether they belong to another protocol: a plain value, which a
/// snapshot stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The first bytes, at most [`FOREIGN_BYTES`]; empty once it is decided.
    #[serde(default, with = "serde_bytes")]
    pub begun: Vec<u8>,
    /// Whether it is decided.
    pub decided: bool,
}

impl Opening {
    /// Takes the bytes of the next read. Returns the protocol once, as soon as it is known; `None` before, after that,
    /// and for a chat.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Foreign> {
        if self.decided {
            return None;
        }
        self.begun.extend_from_slice(&bytes[..bytes.len().min(FOREIGN_BYTES - self.begun.len())]);
        self.decide()
    }

    /// Call this when there is nothing more to read for now. A CR that came last then ends the line, and the line
    /// decides.
    pub fn pause(&mut self) -> Option<Foreign> {
        if self.decided || !self.begun.ends_with(b"\r") {
            return None;
        }
        self.begun.push(b'\n');
        let found = self.decide();
        self.decided = true;
        self.begun = Vec::new();
        found
    }

    fn decide(&mut self) -> Option<Foreign> {
        let matches = PROTOCOLS.map(|(foreign, recognise)| (foreign, recognise(&self.begun)));
        let found = matches.iter().find(|(_, how)| *how == Match::Yes).map(|(foreign, _)| *foreign);
        let is_hopeless = matches.iter().all(|(_, how)| *how == Match::No);
        self.decided = found.is_some() || is_hopeless || self.begun.len() >= FOREIGN_BYTES;
        if self.decided {
            self.begun = Vec::new();
        }
        found
    }

    /// Returns whether it is decided, so that there is no reason to call [`Opening::feed`] again.
    pub fn is_decided(&self) -> bool {
        self.decided
    }
}

/// Returns [`Match::Yes`] if `head` is `start` and a byte for which `next` is true, [`Match::Maybe`] if it can become
/// that.
fn follows(head: &[u8], start: &[u8], next: impl Fn(u8) -> bool) -> Match {
    match head.strip_prefix(start) {
        Some([first, ..]) if next(*first) => Match::Yes,
        Some([]) => Match::Maybe,
        None if start.starts_with(head) => Match::Maybe,
        _ => Match::No,
    }
}

/// Returns the better of two matches.
fn either(one: Match, other: Match) -> Match {
    match (one, other) {
        (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        _ => Match::No,
    }
}

/// Recognises a TLS handshake record (RFC 8446, 5.1): 0x16, major version 3, minor version up to 4. Or a ClientHello in
/// the form of SSL 2 (RFC 5246, E.2).
fn tls(head: &[u8]) -> Match {
    match head {
        [0x16] | [0x16, 0x03] => Match::Maybe,
        [0x16, 0x03, 0x00..=0x04, ..] => Match::Yes,
        [0x80] | [0x80, _] | [0x80, _, 0x01] => Match::Maybe,
        [0x80, _, 0x01, 0x03, ..] => Match::Yes,
        _ => Match::No,
    }
}

/// Recognises `SSH-2.0-` or `SSH-1.` and a printable byte (RFC 4253, 4.2). `SSH-2.0- is new` is a chat line.
fn ssh(head: &[u8]) -> Match {
    let is_word = |next: u8| next.is_ascii_graphic();
    either(follows(head, b"SSH-2.0-", is_word), follows(head, b"SSH-1.", is_word))
}

/// Recognises a TPKT header: version 3 and a reserved byte, which is 0 (RFC 1006, 6).
fn rdp(head: &[u8]) -> Match {
    follows(head, &[3], |next| next == 0)
}

/// Recognises `*2`, CR LF, `$` and a digit in the same read (RESP). `*2` alone may be a chat line.
fn redis(head: &[u8]) -> Match {
    let Some(rest) = head.strip_prefix(b"*") else { return Match::No };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match &rest[digits..] {
        [] if digits < 8 => Match::Maybe,
        after if digits > 0 => follows(after, b"\r\n$", |next| next.is_ascii_digit()),
        _ => Match::No,
    }
}

/// Recognises a line of `PROXY TCP4` or `PROXY TCP6`, two addresses and two ports; a line of `PROXY UNKNOWN`; or the
/// signature of version 2 (HAProxy, proxy-protocol.txt).
fn proxy(head: &[u8]) -> Match {
    let signature = follows(head, b"\r\n\r\n\0\r\nQUIT", |next| next == b'\n');
    let Some(rest) = head.strip_prefix(b"PROXY ") else {
        return either(signature, if b"PROXY ".starts_with(head) { Match::Maybe } else { Match::No });
    };
    let Some(end) = memchr(b'\n', rest) else { return Match::Maybe };
    let words: Vec<&str> = std::str::from_utf8(&rest[..end]).unwrap_or("").trim_end().split(' ').collect();
    let are_ips = |words: &[&str]| words.iter().all(|word| word.parse::<IpAddr>().is_ok());
    let are_ports = |words: &[&str]| words.iter().all(|word| word.parse::<u16>().is_ok());
    match words[..] {
        ["UNKNOWN"] => Match::Yes,
        ["TCP4" | "TCP6", ref ips @ .., _, _] if ips.len() == 2 && are_ips(ips) && are_ports(&words[3..]) => {
            Match::Yes
        }
        _ => Match::No,
    }
}

/// Recognises a byte order mark, or NUL as every second byte of the first four, or of a shorter line.
fn utf16(head: &[u8]) -> Match {
    match *head {
        [0xfe] | [0xff] | [0xff, 0xfe] | [0xff, 0xfe, _] => Match::Maybe,
        [0xfe, 0xff, ..] => Match::Yes,
        [0xff, 0xfe, _, ref rest @ ..] => marked(rest),
        [b'\r', 0, b'\n', 0, ..] => Match::Yes,
        // Enter in telnet may send CR NUL (RFC 854).
        [b'\r', 0, _, ..] => Match::No,
        [0, 0, ..] => Match::No,
        [0, _, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] | [1..=255, 0, b'\n', ..] => Match::Yes,
        [_] | [0, _] | [0, _, 0] | [_, 0] | [_, 0, 1..=255] => Match::Maybe,
        _ => Match::No,
    }
}

/// Decides about the bytes after FF FE and one more. The telnet command IAC DONT begins with FF FE too, and then text
/// or another command comes. UTF-16 has a byte before the end of the line that no text has.
fn marked(rest: &[u8]) -> Match {
    let text = &rest[..memchr(0xff, rest).unwrap_or(rest.len())];
    let is_odd = |at: usize| match text[at] {
        0 => at == 0 || text[at - 1] != b'\r',
        byte => byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x08 | 0x1b),
    };
    let is_invalid = std::str::from_utf8(text).is_err_and(|error| error.error_len().is_some());
    if is_invalid || (0..text.len()).any(is_odd) {
        Match::Yes
    } else if text.len() < rest.len() || memchr(b'\n', text).is_some() {
        Match::No
    } else {
        Match::Maybe
    }
}

/// A line that looks like a request: `METHOD SP target SP NAME/`, as far as it has arrived.
struct RequestLine<'h> {
    target: &'h [u8],
    /// The text after the second space; `None` before that has arrived.
    version: Option<&'h [u8]>,
    has_ended: bool,
}

impl<'h> RequestLine<'h> {
    /// Returns the parts of the first line; `None` if it does not begin with a method and a target.
    fn parse(head: &'h [u8]) -> Option<Self> {
        let end = memchr(b'\n', head);
        let line = &head[..end.unwrap_or(head.len())];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (method, target, version) = (words.next()?, words.next(), words.next());
        let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
        let is_empty = method.first().is_none_or(|first| !first.is_ascii_uppercase()) && !head.is_empty();
        let is_cut = |word: Option<&[u8]>| word.is_some_and(<[u8]>::is_empty);
        if is_empty || !method.iter().all(is_method) || (version.is_some() && is_cut(target)) {
            return None;
        }
        let target = target.unwrap_or_default();
        let is_target = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        is_target.then_some(Self { target, version, has_ended: end.is_some() })
    }

    /// Returns the name of the protocol, and the text behind the slash.
    fn protocol(&self) -> Option<(&'h [u8], &'h [u8])> {
        let version = self.version?;
        let at = memchr(b'/', version)?;
        Some((&version[..at], &version[at + 1..]))
    }

    /// Returns whether the line can still become a request.
    fn is_open(&self) -> bool {
        let is_name = |version: &[u8]| version.iter().all(u8::is_ascii_uppercase);
        !self.has_ended && self.version.is_none_or(|version| is_name(version) || self.protocol().is_some())
    }
}

/// Recognises `METHOD target HTTP/1`; or a target that is longer than anybody types.
fn http(head: &[u8]) -> Match {
    let Some(line) = RequestLine::parse(head) else { return Match::No };
    let is_long = head.len() == FOREIGN_BYTES && line.version.is_none() && line.target.starts_with(b"/");
    match line.protocol() {
        Some((b"HTTP", [b'0'..=b'9', ..])) => Match::Yes,
        Some((b"HTTP", [_, ..])) => Match::No,
        Some((name, _)) if name != b"HTTP" => Match::No,
        _ if is_long => Match::Yes,
        _ if line.is_open() => Match::Maybe,
        _ => Match::No,
    }
}

/// Recognises a line of `METHOD target SIP/2.0`, or of RTSP or ICAP. `MOVE it PYTHON/3.9` is a chat line.
fn request(head: &[u8]) -> Match {
    let Some(line) = RequestLine::parse(head) else { return Match::No };
    let has_target = line.target.iter().any(|byte| matches!(byte, b':' | b'/' | b'*'));
    match line.protocol() {
        Some((b"RTSP" | b"SIP" | b"ICAP", [b'0'..=b'9', b'.', b'0'..=b'9']))
            if line.has_ended && has_target =>
        {
            Match::Yes
        }
        _ if line.is_open() => Match::Maybe,
        _ => Match::No,
    }
}

/// Recognises a line of `EHLO` or `HELO` and a domain or an address in brackets. `EHLO world` may be a chat line.
fn smtp(head: &[u8]) -> Match {
    let (word, rest) = head.split_at(head.len().min(5));
    let starts = |start: &[u8]| start.len() >= word.len() && start[..word.len()].eq_ignore_ascii_case(word);
    if !starts(b"EHLO ") && !starts(b"HELO ") {
        return Match::No;
    }
    let Some(end) = memchr(b'\n', rest) else { return Match::Maybe };
    let domain = std::str::from_utf8(&rest[..end]).unwrap_or("").trim_end();
    if is_domain(domain) || is_literal(domain) { Match::Yes } else { Match::No }
}

/// Returns whether the text is a domain of at least two labels, or `localhost`.
fn is_domain(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut labels = text.split('.');
    let are_labels = labels.all(|label| !label.is_empty() && label.chars().all(is_letter));
    (are_labels && text.contains('.')) || text.eq_ignore_ascii_case("localhost")
}

/// Returns whether the text is an address in brackets (RFC 5321, 4.1.3).
fn is_literal(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = inside.map(|ip| ip.strip_prefix("IPv6:").unwrap_or(ip));
    ip.is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The verdict, and whether there is one.
    fn read(bytes: &[u8]) -> (Option<Foreign>, bool) {
        let mut opening = Opening::default();
        let foreign = opening.feed(bytes);
        assert!(!opening.decided || opening.begun.is_empty(), "no memory is held for what is decided");
        (foreign, opening.is_decided())
    }

    /// The same, after checking that it is so for every cut of the bytes in two.
    #[track_caller]
    fn verdict(bytes: &[u8]) -> (Option<Foreign>, bool) {
        let whole = read(bytes);
        for at in 0..=bytes.len() {
            let mut cut = Opening::default();
            let first = cut.feed(&bytes[..at]);
            let second = cut.feed(&bytes[at..]);
            assert!(first.is_none() || second.is_none(), "one verdict");
            assert_eq!((first.or(second), cut.is_decided()), whole, "cut at {at}");
        }
        whole
    }

    #[track_caller]
    fn check(foreign: Foreign, beginnings: &[&[u8]]) {
        for bytes in beginnings {
            assert_eq!(verdict(bytes), (Some(foreign), true), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn tls_is_known_by_its_first_bytes() {
        for minor in 0..=4 {
            assert_eq!(verdict(&[0x16, 3, minor]).0, Some(Foreign::Tls));
        }
        check(
            Foreign::Tls,
            &[b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\x80\x9e\x01\x03\x01\0u\0\0\0 "],
        );
        for other in
            [&b"\x16\x03\x05"[..], b"\x16\x02\x01", b"\x17\x03\x03", b"\x16\n", b"a\x16\x03\x01", b"\x80 5\n"]
        {
            assert_eq!(verdict(other), (None, true), "{other:?}");
        }
    }

    #[test]
    fn an_http_request_is_known_before_its_line_ends() {
        check(
            Foreign::Http,
            &[
                b"GET / HTTP/1.1\r\n",
                b"POST /a?b=c HTTP/1.0\n",
                b"OPTIONS * HTTP/1",
                b"CONNECT example.org:443 HTTP/1.1\r\n",
                b"PRI * HTTP/2.0\r\n",
                b"M-SEARCH * HTTP/1.1\r\n",
                b"VERSION-CONTROL /a HTTP/1.1\r\n",
                "GET /caf\u{e9} HTTP/1.1".as_bytes(),
            ],
        );
    }

    #[test]
    fn what_has_the_form_of_a_request_is_one() {
        check(
            Foreign::Request,
            &[
                b"OPTIONS / RTSP/1.0\r\n",
                b"DESCRIBE rtsp://example.org/x RTSP/1.0\n",
                b"GET_PARAMETER * RTSP/2.0\r\n",
                b"OPTIONS sip:nm SIP/2.0\r\n",
                b"REGISTER sip:example.org SIP/2.0\r\n",
                b"OPTIONS icap://example.org/x ICAP/1.0\r\n",
            ],
        );
    }

    #[test]
    fn each_of_the_others_is_known() {
        check(Foreign::Ssh, &[b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-1.99-x", b"SSH-1.5-1.2.33\n"]);
        check(
            Foreign::Smtp,
            &[
                b"EHLO scan.example\r\n",
                b"HELO mail.example.org\n",
                b"ehlo [192.0.2.1]\r\n",
                b"EHLO localhost\r\n",
            ],
        );
        check(
            Foreign::Proxy,
            &[b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", b"PROXY TCP6 ::1 ::1 5 6\r\n", b"PROXY UNKNOWN\r\n"],
        );
        check(Foreign::Rdp, &[b"\x03\x00\x00*%\xe0\x00\x00"]);
        check(Foreign::Redis, &[b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$7\r\nCOMMAND\r\n$4\r\nDOCS\r\n"]);
        check(Foreign::Proxy, &[b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c"]);
    }

    #[test]
    fn a_line_whose_lf_is_still_to_come_is_known_by_its_cr() {
        for (line, foreign) in [
            ("EHLO mail.example.com\r", Some(Foreign::Smtp)),
            ("OPTIONS rtsp://x/ RTSP/1.0\r", Some(Foreign::Request)),
            ("PROXY UNKNOWN\r", Some(Foreign::Proxy)),
            ("HELLO\r", None),
            ("\r", None),
        ] {
            let mut opening = Opening::default();
            assert_eq!((opening.feed(line.as_bytes()), opening.pause()), (None, foreign), "{line:?}");
            assert!(opening.is_decided());
        }
        let mut opening = Opening::default();
        assert_eq!((opening.feed(b"EHLO mail.exa"), opening.pause()), (None, None));
        assert_eq!(opening.feed(b"mple.com\r\n"), Some(Foreign::Smtp));
    }

    fn utf16(text: &str, of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(of).collect()
    }

    #[test]
    fn utf16_is_known_with_its_mark_and_without() {
        for text in [
            "hello\r\n",
            "y\n",
            "\r\n",
            "Привет\n",
            "你好\n",
            "中文你好\r\n",
            "中国 hello\r\n",
            "一丁\n",
            "\u{3000}あ\r\n",
        ] {
            let text = format!("\u{feff}{text}");
            assert_eq!(read(&utf16(&text, u16::to_le_bytes)).0, Some(Foreign::Utf16), "{text}");
            assert_eq!(verdict(&utf16(&text, u16::to_be_bytes)).0, Some(Foreign::Utf16), "{text}");
        }
        for text in ["hello\r\n", "y\n", "y\r\n", "/nick ann\n", "é?"] {
            assert_eq!(read(&utf16(text, u16::to_le_bytes)).0, Some(Foreign::Utf16), "{text}");
            assert_eq!(read(&utf16(text, u16::to_be_bytes)).0, Some(Foreign::Utf16), "{text}");
        }
    }

    #[test]
    fn telnet_is_no_utf16() {
        for bytes in [
            &b"\xff\xfe\x01\xff\xfd\x03"[..],
            b"\xff\xfe\x01hello\r\n",
            b"\xff\xfe\x03\r\n",
            b"\xff\xfb\x1f\xff\xfb\x20hi\r\n",
            b"\xff\xfa\x18\0xterm\xff\xf0",
            b"\xff\xfe\n\r\n",
        ] {
            assert_eq!(read(bytes), (None, true), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_people_say_is_not_foreign() {
        for line in [
            "hello\n",
            "GET well soon\n",
            "GET well HTTP\n",
            "GET / HTTP/\n",
            "GET / HTTP/x\n",
            "GET  HTTP/1.1\n",
            " GET / HTTP/1.1\n",
            "get / HTTP/1.1\n",
            "GET\n",
            "GET /\r\nHost: HTTP/1.1\r\n",
            "RUN it PYTHON/3.9\n",
            "I love RTSP/1.0\n",
            "OPTIONS / RTSP/1.0 please\n",
            "OPTIONS / RTSP/10\n",
            "LOOK at: A/1.0\n",
            "PLUG it: USB/3.0\n",
            "MOVE src/a.py PYTHON/3.9\n",
            "Helo everybody...\n",
            "helo [waves]\n",
            "HELO guys.anyone?\n",
            "PROXY TCP4 does not work here\n",
            "PROXY TCP4 addresses break\n",
            "PROXY TCP4 1 2 3 4\n",
            "SSH is fine\n",
            "SSH-2.0- is new\n",
            "SSH-2.0-\n",
            "SSH-1. is old\n",
            "SSH-3.0-x\n",
            "EHLO\n",
            "EHLO world\n",
            "HELO there.\n",
            "EHLO to example.org\n",
            "*2 for that\n",
            "* waves\n",
            "PROXY TCP4 is broken\n",
            "PROXY UNKNOWN to me\n",
            "PING\r\n",
            "INFO\r\n",
            "\u{3}\n",
            "\u{3}hi\n",
            "\u{ff}\u{fb}\x01\n",
            "þÿ\n",
        ] {
            assert_eq!(verdict(line.as_bytes()), (None, true), "{line:?}");
        }
        for line in ["\n", "\r\n", "*1\r\n"] {
            assert_eq!(verdict(line.as_bytes()), (None, false), "{line:?}, and it is said");
        }
    }

    #[test]
    fn an_enter_of_telnet_is_no_utf16() {
        for bytes in [&b"\r\0\n"[..], b"\r\0hi\r\0", b"\r\0\r\0\n", b"a\r\0b\r\0\n"] {
            assert_eq!(read(bytes).0, None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn most_lines_are_decided_by_their_second_byte() {
        for line in ["hi", "0.", "\u{e9}", "/nick alice", "Good"] {
            assert!(verdict(&line.as_bytes()[..line.len().min(2)]).1, "{line:?}");
        }
    }

    #[test]
    fn only_the_first_line_counts() {
        for bytes in [
            &b"hi\nGET / HTTP/1.1\r\n"[..],
            b"\n\x16\x03\x01",
            b"hi\nSSH-2.0-x\n",
            b"*1\n$4\r\n",
            b"*1\r\nhi\n",
        ] {
            assert_eq!(verdict(bytes).0, None);
        }
    }

    #[test]
    fn a_first_line_past_its_bound_is_a_request_only_if_nobody_types_that() {
        let long = |start: &str| format!("{start}{}", "x".repeat(FOREIGN_BYTES));
        assert_eq!(verdict(long("GET /").as_bytes()), (Some(Foreign::Http), true));
        assert_eq!(verdict(long("GET ").as_bytes()), (None, true));
        assert_eq!(verdict(long("A").to_uppercase().as_bytes()), (None, true));
        let mut opening = Opening::default();
        for _ in 0..FOREIGN_BYTES - 1 {
            assert_eq!((opening.feed(b"A"), opening.is_decided()), (None, false));
        }
        assert_eq!((opening.feed(b"A"), opening.is_decided()), (None, true));
    }

    #[test]
    fn each_explains_itself_in_one_notice() {
        for foreign in Foreign::all() {
            let notice = foreign.notice();
            assert!(
                !notice.starts_with('-') && notice.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{notice}"
            );
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
            let (foreign, decided) = verdict(format!("{line}\n").as_bytes());
            let is_other = foreign == Some(Foreign::Request);
            prop_assert!(is_other || (foreign == Some(Foreign::Http)) == is_request(&line), "{:?}", foreign);
            prop_assert!(decided);
        }

        #[test]
        fn more_bytes_change_nothing(
            head in proptest::collection::vec(any::<u8>(), 0..40),
            start in proptest::sample::select(vec!["", "GET / HTTP/", "EHLO a.", "*1\r", "SSH-2.0", "A: /", "PROXY TCP4"]),
            more in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let bytes = [start.as_bytes(), &head].concat();
            if let (Some(foreign), _) = read(&bytes) {
                prop_assert_eq!(read(&[&bytes[..], &more].concat()).0, Some(foreign));
            }
        }
    }
}
