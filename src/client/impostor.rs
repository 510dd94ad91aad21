//! What is not chatd: recognises other protocols by the first bytes that a server sends.
//!
//! The reading thread shows it what has arrived until it is decided, which the first line always does. It is sure or
//! says nothing: the greeting of chatd may be anything, and may be empty, so silence means nothing either. What is in
//! question is known by CR LF, with which chatd ends no line; only one that is `raw` does, if somebody has sent that.
//! Where that one has no greeting either, what comes first may be mistaken.

/// The bytes of the first line that are looked at.
const HEAD_BYTES: usize = 128;

/// How other protocols greet, or answer a line that they do not understand, and what to call them.
const GREETINGS: [(&str, &str); 19] = [
    ("SSH-2.0-", "an SSH server"),
    ("SSH-1.", "an SSH server"),
    ("HTTP/1.0 ", "a web server"),
    ("HTTP/1.1 ", "a web server"),
    ("<!DOCTYPE HTML", "a web server"),
    ("<html", "a web server"),
    ("* OK ", "an IMAP server"),
    ("-ERR ", "a Redis or POP3 server"),
    ("-NOAUTH ", "a Redis server"),
    ("-DENIED ", "a Redis server"),
    ("INFO {\"server_id\":", "a NATS server"),
    ("RFB 003.", "a VNC server"),
    ("@RSYNCD: ", "an rsync server"),
    ("AMQP\0", "an AMQP server"),
    ("<stream:stream ", "an XMPP server"),
    ("<?xml version='1.0'?><stream:", "an XMPP server"),
    ("RTSP/1.0 ", "a media server"),
    ("SIP/2.0 ", "a telephone server"),
    ("OK MPD ", "a music player"),
];

/// The bytes of a packet before its content: a server that frames its packets has a zero in them, for they are short.
const FRAME_BYTES: usize = 5;

/// How far the beginning has been looked at.
#[derive(Debug, Default)]
pub struct Impostor {
    head: Vec<u8>,
    is_decided: bool,
}

impl Impostor {
    /// Takes the next bytes. Says once what is at the other end, if that is surely no chatd.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<&'static str> {
        if self.is_decided {
            return None;
        }
        let space = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(space)]);
        let found = recognise(&self.head);
        self.is_decided = found.is_some() || self.head.contains(&b'\n') || self.head.len() == HEAD_BYTES;
        found
    }
}

fn recognise(head: &[u8]) -> Option<&'static str> {
    // A TLS alert: the content type, and a version of SSL 3 to TLS 1.3.
    if matches!(head, [0x15, 3, 0..=4, ..]) {
        return Some("a TLS server");
    }
    // Telnet servers open with an option; chatd offers none.
    if matches!(head, [0xff, 0xfb..=0xfe, ..]) {
        return Some("a telnet server");
    }
    let starts =
        |start: &str| head.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
    let greeting = GREETINGS.iter().find(|(start, _)| starts(start));
    greeting.map(|(_, what)| *what).or_else(|| by_frame(head)).or_else(|| by_line(head))
}

/// The servers that speak no text. chatd says a zero only where it relays bytes as they are.
fn by_frame(head: &[u8]) -> Option<&'static str> {
    // The length in three bytes, the number of the packet, and the version or an error.
    if let [_, _, 0, 0, 10 | 0xff, ..] = head {
        return Some("a MySQL server");
    }
    let line = head.split(|byte| *byte == b'\n').next()?;
    let is_frame = line.get(..FRAME_BYTES).is_some_and(|frame| frame.contains(&0));
    is_frame.then_some("a server that speaks no text")
}

/// The protocols whose first line has to be whole to be known: theirs ends with CR LF.
fn by_line(head: &[u8]) -> Option<&'static str> {
    let end = head.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&head[..end]).to_ascii_uppercase();
    let line = line.strip_suffix('\r')?;
    let is_irc =
        ["NOTICE AUTH :", "NOTICE * :", "ERROR :", "PING :"].iter().any(|start| line.starts_with(start));
    match line {
        "ERROR" => Some("a memcached server"),
        "+OK" => Some("a POP3 server"),
        _ if line.starts_with("+OK ") => Some("a POP3 server"),
        _ if line.starts_with("* BYE ") => Some("an IMAP server"),
        _ if is_irc || is_of_irc(line) => Some("an IRC server"),
        _ => by_code(line),
    }
}

/// `:irc.example.org 451 * :Connection not registered`, `:irc.example.org NOTICE * :*** Looking up your hostname`.
fn is_of_irc(line: &str) -> bool {
    let Some((server, rest)) = line.strip_prefix(':').and_then(|line| line.split_once(' ')) else {
        return false;
    };
    let is_server = !server.is_empty() && server.chars().all(|c| c.is_alphanumeric() || "-._:".contains(c));
    let (word, _) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_number = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_server && (is_number || word == "NOTICE" || word == "PING")
}

/// The lines with a code: `220 mail.example.org ESMTP`, `220 (vsFTPd 3.0.3)`, `220-`, `500 unknown command`.
fn by_code(line: &str) -> Option<&'static str> {
    let (code, rest) = line.split_at_checked(3)?;
    let is_greeting = matches!(code, "220" | "554");
    match code {
        _ if !rest.starts_with([' ', '-']) => None,
        _ if is_greeting && rest.contains("SMTP") => Some("a mail server"),
        _ if is_greeting && rest.contains("FTP") => Some("an FTP server"),
        "200" | "201" => Some("a news server"),
        "220" | "421" | "500" | "501" | "502" | "503" | "530" | "554" => Some("a mail or FTP server"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same for every way of cutting the bytes in two.
    #[track_caller]
    fn verdict(bytes: &[u8]) -> Option<&'static str> {
        let whole = Impostor::default().feed(bytes);
        for at in 0..=bytes.len() {
            let mut cut = Impostor::default();
            let first = cut.feed(&bytes[..at]);
            assert_eq!(first.or_else(|| cut.feed(&bytes[at..])), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn other_servers_are_known_by_their_greeting() {
        for (greeting, what) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "an SSH server"),
            (b"HTTP/1.1 400 Bad Request\r\n", "a web server"),
            (b"<html>\r\n<head><title>400", "a web server"),
            (b"220 mail.example.org ESMTP Postfix\r\n", "a mail server"),
            (b"554 mail.example.org ESMTP not accepting\r\n", "a mail server"),
            (b"220 (vsFTPd 3.0.3)\r\n", "an FTP server"),
            (b"\x15\x03\x01\0\x02\x02\x46", "a TLS server"),
            (b"\xff\xfd\x18\xff\xfd\x20", "a telnet server"),
            (b"-ERR unknown command 'deploy'\r\n", "a Redis or POP3 server"),
            (b"* OK IMAP4rev1 ready\r\n", "an IMAP server"),
            (b"* BYE too many connections\r\n", "an IMAP server"),
            (b"+OK\r\n", "a POP3 server"),
            (b"+OK Dovecot ready.\r\n", "a POP3 server"),
            (b"-NOAUTH Authentication required.\r\n", "a Redis server"),
            (b"-DENIED Redis is running in protected mode", "a Redis server"),
            (b"220 Welcome\r\n", "a mail or FTP server"),
            (b"220-\r\n220 ready\r\n", "a mail or FTP server"),
            (b"421 too many connections\r\n", "a mail or FTP server"),
            (b"500 unrecognized command\r\n", "a mail or FTP server"),
            (b"200 news.example.org server ready - posting allowed\r\n", "a news server"),
            (b"INFO {\"server_id\":\"NC\",\"version\":\"2.9.10\"", "a NATS server"),
            (b"J\0\0\0\n8.0.36\0", "a MySQL server"),
            (b"E\0\0\0\xffj\x04Host '10.0.0.1' is not allowed", "a MySQL server"),
            (b"\0\0\x12\x04\0\0\0\0\0\0\0", "a server that speaks no text"),
            (b":irc.example.org NOTICE * :*** Looking up your hostname\r\n", "an IRC server"),
            (b":irc.example.org 451 * :Connection not registered\r\n", "an IRC server"),
            (b"NOTICE AUTH :*** Checking Ident\r\n", "an IRC server"),
            (b"NOTICE * :*** Checking Ident\r\n", "an IRC server"),
            (b"ERROR :Closing Link: 127.0.0.1 (Bad command)\r\n", "an IRC server"),
            (b"ERROR\r\n", "a memcached server"),
            (b"<?xml version='1.0'?><stream:stream", "an XMPP server"),
            (b"RTSP/1.0 400 Bad Request\r\n", "a media server"),
            (b"SIP/2.0 400 Bad Request\r\n", "a telephone server"),
            (b"OK MPD 0.23.5\n", "a music player"),
        ] {
            assert_eq!(verdict(greeting), Some(what), "{}", greeting.escape_ascii());
        }
    }

    #[test]
    fn what_people_say_is_no_greeting_of_a_server() {
        for line in [
            "Hello, connection to the server ok!\n",
            "\n",
            "-!- server full\n",
            "220 people are here\n",
            "2200 SMTP servers\n",
            "SSH is down\n",
            "HTTP/1.1\n",
            "220 Welcome\n",
            "500 miles\n",
            "220 of us, by SMTP\n",
            "554 by FTP\n",
            "+OK\n",
            "+OK then\n",
            "ERROR\n",
            "INFO: the build is done\n",
            "INFO {\"msg\":\"started\"}\n",
            "NOTICE: no lunch today\n",
            "ERROR: the build has failed\n",
            ":) NOTICE\n",
            ":-) 451 times\n",
            "* ann waves\n",
            "J\n\n\n\n8",
            "hi\nSSH-2.0-x\n",
        ] {
            assert_eq!(verdict(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn a_first_line_past_its_bound_is_decided() {
        let mut impostor = Impostor::default();
        assert_eq!(impostor.feed(&[b'x'; HEAD_BYTES + 1]), None);
        assert!(impostor.is_decided);
    }
}
