//! Telnet: removes the commands from the byte stream, and refuses every option (RFC 854).
//!
//! [`Telnet`] is the state between two reads. The framer calls it before it looks for lines. chatd answers only WILL
//! and DO, with DONT and WONT, so two programs that refuse never answer each other for ever. An answer is as long as
//! its question, so chatd never sends more than it received. After Ctrl-C (`FF F4 FF FD 06`), telnet(1) shows nothing
//! until it gets `FF FC 06`. chatd agrees to no option, and never removes the LF of a line (except as the number of
//! option 10).

use super::SUBNEGOTIATION_BYTES;
use memchr::memchr;
use serde::{Deserialize, Serialize};

/// The first byte of every command: "interpret as command".
pub const IAC: u8 = 0xff;
const DONT: u8 = 0xfe;
const DO: u8 = 0xfd;
const WONT: u8 = 0xfc;
const WILL: u8 = 0xfb;
const SB: u8 = 0xfa;
/// The end of a subnegotiation.
const SE: u8 = 0xf0;
/// The lowest command: end of file. After it come suspend and abort (RFC 1184), and end of record (RFC 885).
const EOF: u8 = 0xec;

/// Position of the stream within a telnet command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Telnet {
    /// Outside of a command: the next byte is text, or IAC.
    #[default]
    Text,
    /// After IAC.
    Command {
        /// Whether the line was finished at this point, so that the IAC is already part of its text.
        shown: bool,
    },
    /// After IAC and this WILL, WONT, DO or DONT. The number of the option comes next.
    Verb(u8),
    /// After IAC SB, before its end.
    Subnegotiation {
        /// Number of bytes since IAC SB, below [`SUBNEGOTIATION_BYTES`].
        taken: u16,
        /// Whether the last byte was IAC, so that SE ends the subnegotiation.
        iac: bool,
    },
}

impl Telnet {
    /// Appends the text in `bytes` to `text`, and the answers to `reply`. Returns whether there was a command.
    pub fn strip(&mut self, mut bytes: &[u8], text: &mut Vec<u8>, reply: &mut Vec<u8>) -> bool {
        let mut has_command = false;
        while let [first, rest @ ..] = bytes {
            if *self == Telnet::Text && *first != IAC {
                let run = memchr(IAC, bytes).unwrap_or(bytes.len());
                text.extend_from_slice(&bytes[..run]);
                bytes = &bytes[run..];
            } else {
                has_command |= matches!(*self, Telnet::Command { .. }) && matches!(*first, EOF..=DONT);
                *self = self.step(*first, text, reply);
                bytes = rest;
            }
        }
        has_command
    }

    /// Returns whether the last byte was an IAC that may begin a command, or be text in Latin-1.
    pub fn has_lone_iac(self) -> bool {
        self == Telnet::Command { shown: false }
    }

    /// Counts a lone IAC as text from now on. Returns whether there was one. The bytes after it still complete its
    /// command, so chatd answers a question even if the line was finished in the middle of it.
    pub fn finish(&mut self) -> bool {
        let lone = self.has_lone_iac();
        if lone {
            *self = Telnet::Command { shown: true };
        }
        lone
    }

    fn step(self, byte: u8, text: &mut Vec<u8>, reply: &mut Vec<u8>) -> Telnet {
        match self {
            Telnet::Text if byte == IAC => return Telnet::Command { shown: false },
            Telnet::Text => text.push(byte),
            Telnet::Command { shown } => return command(byte, shown, text),
            Telnet::Verb(verb) => refuse(verb, byte, reply),
            Telnet::Subnegotiation { taken, iac } => return subnegotiation(byte, taken, iac, text),
        }
        Telnet::Text
    }
}

/// Takes the byte after IAC. A byte below EOF is no command: it is text, and so was the IAC (`ÿ` in Latin-1).
fn command(byte: u8, shown: bool, text: &mut Vec<u8>) -> Telnet {
    match byte {
        SB => return Telnet::Subnegotiation { taken: 0, iac: false },
        WILL | WONT | DO | DONT => return Telnet::Verb(byte),
        IAC if shown => {}
        IAC => text.push(IAC),
        EOF.. => {}
        _ if shown => text.push(byte),
        _ => text.extend_from_slice(&[IAC, byte]),
    }
    Telnet::Text
}

fn refuse(verb: u8, option: u8, reply: &mut Vec<u8>) {
    match verb {
        WILL => reply.extend_from_slice(&[IAC, DONT, option]),
        DO => reply.extend_from_slice(&[IAC, WONT, option]),
        _ => {}
    }
}

/// Takes a byte of a subnegotiation. It ends at IAC SE, at LF, and after [`SUBNEGOTIATION_BYTES`]: a stray IAC SB must
/// not hide the rest of the session.
fn subnegotiation(byte: u8, taken: u16, iac: bool, text: &mut Vec<u8>) -> Telnet {
    let taken = taken.saturating_add(1);
    if byte == b'\n' {
        text.push(byte);
    } else if !(iac && byte == SE) && taken < SUBNEGOTIATION_BYTES {
        return Telnet::Subnegotiation { taken, iac: byte == IAC && !iac };
    }
    Telnet::Text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text and reply, the same whether the bytes come at once or one at a time.
    fn stripped(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut text, mut reply, mut telnet) = (Vec::new(), Vec::new(), Telnet::default());
        telnet.strip(bytes, &mut text, &mut reply);
        let (mut slow_text, mut slow_reply, mut slow) = (Vec::new(), Vec::new(), Telnet::default());
        for byte in bytes {
            slow.strip(&[*byte], &mut slow_text, &mut slow_reply);
        }
        assert_eq!((&slow, &slow_text, &slow_reply), (&telnet, &text, &reply));
        (text, reply)
    }

    #[track_caller]
    fn check(bytes: &[u8], text: &[u8], reply: &[u8]) {
        let (got_text, got_reply) = stripped(bytes);
        assert_eq!(got_text.escape_ascii().to_string(), text.escape_ascii().to_string(), "text");
        assert_eq!(got_reply, reply, "reply");
    }

    #[test]
    fn every_offer_and_request_is_taken_out_and_refused() {
        for option in 0..=255 {
            check(&[b'a', IAC, WILL, option, b'b'], b"ab", &[IAC, DONT, option]);
            check(&[b'a', IAC, DO, option, b'b'], b"ab", &[IAC, WONT, option]);
        }
    }

    #[test]
    fn a_refusal_is_taken_out_and_not_answered() {
        check(b"a\xff\xfc\x01b\xff\xfe\x03c", b"abc", b"");
    }

    #[test]
    fn ctrl_c_in_telnet_is_answered() {
        check(b"\xff\xf4\xff\xfd\x06", b"", b"\xff\xfc\x06");
    }

    #[test]
    fn other_commands_are_taken_out() {
        for byte in 0xec..=0xf9 {
            check(&[b'a', IAC, byte, b'b'], b"ab", b"");
        }
    }

    #[test]
    fn a_doubled_iac_is_one_byte_of_text() {
        check(b"a\xff\xffb", b"a\xffb", b"");
        check(b"\xff\xff\xfd\x06", b"\xff\xfd\x06", b"");
    }

    #[test]
    fn an_iac_before_no_command_is_text() {
        check(b"\xff\n", b"\xff\n", b"");
        check(b"a\xffb", b"a\xffb", b"");
        check(b"\xff\xeb", b"\xff\xeb", b"");
        check(b"\xff\xe4\xff\xf1", b"\xff\xe4", b"");
    }

    #[test]
    fn a_subnegotiation_is_taken_out() {
        check(b"a\xff\xfa\x18\x00xterm\xff\xf0b", b"ab", b"");
        check(b"a\xff\xfa\x1f\x00\xff\xff\xf0x\xff\xf0b", b"ab", b"");
    }

    #[test]
    fn a_subnegotiation_ends_at_a_newline() {
        check(b"\xff\xfa\x18oops\nnext", b"\nnext", b"");
        check(b"\xff\xfa\x18\xff\nnext", b"\nnext", b"");
    }

    #[test]
    fn a_subnegotiation_ends_after_its_limit() {
        let mut bytes = vec![IAC, SB];
        bytes.resize(2 + usize::from(SUBNEGOTIATION_BYTES), b'x');
        check(&bytes, b"", b"");
        bytes.push(b'y');
        check(&bytes, b"y", b"");
    }

    #[test]
    fn a_finished_lone_iac_still_starts_its_command() {
        for (rest, text, reply) in [
            (&b"\xfd\x06z"[..], &b"z"[..], &b"\xff\xfc\x06"[..]),
            (b"\xffz", b"z", b""),
            (b"az", b"az", b""),
            (b"\xf1z", b"z", b""),
        ] {
            let (mut got, mut answer, mut telnet) = (Vec::new(), Vec::new(), Telnet::default());
            telnet.strip(b"a\xff", &mut got, &mut answer);
            assert!(telnet.has_lone_iac() && telnet.finish(), "the IAC waits");
            assert!(!telnet.finish(), "counted once");
            got.clear();
            telnet.strip(rest, &mut got, &mut answer);
            assert_eq!((&got[..], &answer[..], telnet), (text, reply, Telnet::Text));
        }
    }

    proptest! {
        #[test]
        fn text_and_replies_are_never_longer_than_the_bytes_behind_them(
            bytes in proptest::collection::vec(prop_oneof![2 => any::<u8>(), 3 => 0xf0u8..], 0..300)
        ) {
            let (text, reply) = stripped(&bytes);
            prop_assert!(text.len() + reply.len() <= bytes.len());
        }
    }
}
