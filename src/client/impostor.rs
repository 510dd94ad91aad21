//! What is not chatd: recognises other protocols by the first bytes that a server sends.
//!
//! The reading thread shows it what has arrived until it is decided, which the first line always does. It is sure or
//! says nothing: the greeting of chatd may be anything, and may be empty, so silence means nothing either.

/// The bytes of the first line that are looked at.
const HEAD_BYTES: usize = 128;

/// How other protocols greet, or answer a line that they do not understand, and what to call them.
const GREETINGS: [(&str, &str); 12] = [
    ("SSH-2.0-", "an SSH server"),
    ("SSH-1.", "an SSH server"),
    ("HTTP/1.0 ", "a web server"),
    ("HTTP/1.1 ", "a web server"),
    ("<!DOCTYPE HTML", "a web server"),
    ("<html", "a web server"),
    ("+OK ", "a POP3 server"),
    ("* OK ", "an IMAP server"),
    ("-ERR ", "a Redis or POP3 server"),
    ("RFB 003.", "a VNC server"),
    ("@RSYNCD: ", "an rsync server"),
    ("AMQP\0", "an AMQP server"),
];

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
    greeting.map(|(_, what)| *what).or_else(|| by_code(head))
}

/// The greetings with a code: `220 mail.example.org ESMTP`, `220 (vsFTPd 3.0.3)`, `220-`.
fn by_code(head: &[u8]) -> Option<&'static str> {
    let end = head.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&head[..end]).to_ascii_uppercase();
    let rest = line.strip_prefix("220").or_else(|| line.strip_prefix("554"))?;
    match rest {
        _ if !rest.starts_with([' ', '-']) => None,
        _ if rest.contains("SMTP") => Some("a mail server"),
        _ if rest.contains("FTP") => Some("an FTP server"),
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
