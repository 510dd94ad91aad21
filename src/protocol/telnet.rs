//! Telnet's commands, taken out of a stream of bytes (RFC 854, RFC 855).
//!
//! chatd supports no option, so every offer and request is refused and nothing else is answered. A
//! byte 255 that begins no command is text: somebody with a Latin-1 `ÿ` speaks no telnet. Used by
//! `line` before it looks for lines; commands may be cut anywhere.

use super::MAX_SUBNEGOTIATION;

const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
/// Interpret as command: what begins every command.
pub const IAC: u8 = 255;

/// Where in a command the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telnet {
    /// In none.
    #[default]
    Text,
    /// After IAC.
    Command,
    /// After IAC and WILL, WONT, DO or DONT: the option comes.
    Option(u8),
    /// In a subnegotiation, of which so many bytes have been taken out.
    Sub(u16),
    /// After IAC in a subnegotiation.
    SubCommand(u16),
}

impl Telnet {
    /// Says whether bytes without IAC can be taken as they are.
    pub fn is_text(self) -> bool {
        self == Self::Text
    }

    /// Appends what is text in `bytes` to `text`, and the answers to what is not to `reply`. An answer is
    /// as long as the request that caused it.
    pub fn strip(&mut self, bytes: &[u8], text: &mut Vec<u8>, reply: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let run = if self.is_text() { memchr::memchr(IAC, rest).unwrap_or(rest.len()) } else { 0 };
            if run > 0 {
                text.extend_from_slice(&rest[..run]);
                rest = &rest[run..];
            } else {
                *self = self.step(byte, text, reply);
                rest = after;
            }
        }
    }

    fn step(self, byte: u8, text: &mut Vec<u8>, reply: &mut Vec<u8>) -> Self {
        match (self, byte) {
            (Self::Text, IAC) => Self::Command,
            (Self::Text, byte) => {
                text.push(byte);
                Self::Text
            }
            (Self::Command, WILL | WONT | DO | DONT) => Self::Option(byte),
            (Self::Command, SB) => Self::Sub(0),
            (Self::Command, IAC) => {
                text.push(IAC);
                Self::Text
            }
            (Self::Command, ..SE) => {
                text.extend_from_slice(&[IAC, byte]);
                Self::Text
            }
            (Self::Command, _) => Self::Text,
            (Self::Option(verb), option) => {
                match verb {
                    WILL => reply.extend_from_slice(&[IAC, DONT, option]),
                    DO => reply.extend_from_slice(&[IAC, WONT, option]),
                    _ => {}
                }
                Self::Text
            }
            (Self::SubCommand(_), SE) => Self::Text,
            (Self::Sub(_) | Self::SubCommand(_), b'\n') => {
                text.push(byte);
                Self::Text
            }
            (Self::Sub(taken) | Self::SubCommand(taken), _) if taken + 1 >= MAX_SUBNEGOTIATION => Self::Text,
            (Self::Sub(taken), IAC) => Self::SubCommand(taken + 1),
            (Self::Sub(taken) | Self::SubCommand(taken), _) => Self::Sub(taken + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of `bytes`, in one piece and byte by byte.
    fn strip(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut whole, mut text, mut reply) = (Telnet::default(), Vec::new(), Vec::new());
        whole.strip(bytes, &mut text, &mut reply);
        let (mut cut, mut text_cut, mut reply_cut) = (Telnet::default(), Vec::new(), Vec::new());
        for byte in bytes {
            cut.strip(&[*byte], &mut text_cut, &mut reply_cut);
        }
        assert_eq!((whole, &text, &reply), (cut, &text_cut, &reply_cut));
        (text, reply)
    }

    #[test]
    fn offers_and_requests_are_refused_and_the_rest_is_taken_out() {
        let (text, reply) = strip(b"a\xff\xfb\x18b\xff\xfd\x01c\xff\xfc\x03d\xff\xfe\x03e\xff\xf1f\xff\xf9");
        assert_eq!((&text[..], &reply[..]), (&b"abcdef"[..], &b"\xff\xfe\x18\xff\xfc\x01"[..]));
    }

    #[test]
    fn interrupt_in_telnet_is_answered_so_that_telnet_shows_output_again() {
        assert_eq!(strip(b"\xff\xf4\xff\xfd\x06"), (vec![], b"\xff\xfc\x06".to_vec()));
    }

    #[test]
    fn an_option_that_looks_like_a_command_is_an_option() {
        assert_eq!(strip(b"\xff\xfd\xffx"), (b"x".to_vec(), b"\xff\xfc\xff".to_vec()));
    }

    #[test]
    fn subnegotiation_is_taken_out() {
        assert_eq!(strip(b"a\xff\xfa\x18\x00xterm\xff\xf0b").0, b"ab");
        assert_eq!(strip(b"a\xff\xfa\x1f\x00\xff\xff\x00\xff\xf0b").0, b"ab", "IAC IAC inside");
    }

    #[test]
    fn subnegotiation_without_an_end_does_not_swallow_the_rest() {
        assert_eq!(strip(b"\xff\xfa\x18abc\nd").0, b"\nd");
        let mut endless = b"\xff\xfa".to_vec();
        endless.extend([b'x'; 1000]);
        assert_eq!(strip(&endless).0.len(), 1000 - usize::from(MAX_SUBNEGOTIATION));
    }

    #[test]
    fn a_byte_255_that_begins_no_command_is_text() {
        assert_eq!(strip(b"\xff\xff \xffz \xff\n\xff").0, b"\xff \xffz \xff\n");
    }
}
