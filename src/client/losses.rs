//! Whether something that was piped in has got lost, as far as the daemon says so.
//!
//! `pipe` tells it what is said and what is heard. In an object only the daemon can say that it refuses something. In
//! text anybody could, so a line that says so counts only if it can be true: one that was too long has to have been
//! said, and what a daemon says instead of a greeting has to be the only one. That it has crashed is told in no text
//! that could be believed.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memchr_iter;

use super::heard::Heard;
use crate::protocol::command::{self, Command, Line};
use crate::protocol::{Answer, Foreign, Notice, Opening};

/// The least `max_line` that chatd can have.
const LEAST_MAX_LINE: usize = 64;

/// The bytes of a line that are looked at: as many as any chatd takes, and a `/quit` that is longer is none.
const HEAD_BYTES: usize = LEAST_MAX_LINE;

#[derive(Debug, Default)]
struct Seen {
    /// Whether anything was said.
    has_said: bool,
    /// The line that is being said, in bytes.
    length: usize,
    /// The beginning of it, as far as it can be `/quit`.
    head: Vec<u8>,
    /// Whether a line before it was that.
    has_quit: bool,
    /// Whether anything was said after that.
    has_more: bool,
    /// How far what was said looks like another protocol, and which it is.
    opening: Opening,
    foreign: Option<Foreign>,
    /// The longest that was said.
    longest: usize,
    /// What the daemon has said of it.
    refusal: Option<String>,
    /// How many lines were heard.
    heard: u64,
    /// What was heard last, if that was a notice.
    last: Option<String>,
}

impl Seen {
    /// More of the line that is being said.
    fn say(&mut self, bytes: &[u8]) {
        self.has_more |= self.has_quit && !bytes.is_empty();
        self.length += bytes.len();
        self.longest = self.longest.max(self.length);
        let left = HEAD_BYTES - self.head.len();
        self.head.extend(bytes.iter().take(left));
    }

    /// The line has ended.
    fn end_line(&mut self) {
        let is_whole = self.length < HEAD_BYTES;
        let line = self.head.strip_suffix(b"\r").unwrap_or(&self.head);
        self.has_more |= self.has_quit;
        self.has_quit |= is_whole && command::read(line) == Line::Command(Command::Quit);
        self.length = 0;
        self.head.clear();
    }
}

/// What was said, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<Seen>>);

impl Losses {
    /// These bytes are going to be said.
    pub fn say(&self, bytes: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.foreign.is_none() {
            seen.foreign = seen.opening.feed(bytes);
        }
        seen.has_said |= !bytes.is_empty();
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            seen.say(&bytes[start..end]);
            seen.end_line();
            start = end + 1;
        }
        seen.say(&bytes[start..]);
    }

    /// A line has arrived.
    pub fn hear(&self, line: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notice = notice_in(line);
        if let Some(text) = &notice
            && too_long(text).is_some_and(|limit| limit >= LEAST_MAX_LINE && limit < seen.longest)
        {
            seen.refusal.clone_from(&notice);
        }
        seen.last = notice;
        seen.heard += 1;
    }

    /// The daemon itself has said that.
    pub fn notice(&self, text: &str) {
        let nobody = Answer::NobodyCalledThat.to_string();
        let is_loss =
            ["nobody got it", "nobody got them", "and did not get it"].iter().any(|part| text.contains(part));
        let is_crash = [Notice::Crashed, Notice::Unknown].iter().any(|notice| notice.to_string() == text);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_loss || text == nobody || text.starts_with("usage: ") || (is_crash && seen.has_said) {
            seen.refusal = Some(text.to_owned());
        }
    }

    /// What the daemon has said, if something has got lost.
    pub fn words(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = seen.heard == 1;
        let last = seen.last.clone();
        seen.refusal.clone().or_else(|| last.filter(|text| is_farewell(text, is_first, seen.foreign)))
    }

    /// Whether `/quit` was said last: the daemon closes the connection of its own accord when it comes to that, and
    /// has taken all before it by then.
    pub fn has_quit(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stopping = seen.last.as_ref().is_some_and(|text| *text == Notice::Stopping.to_string());
        seen.has_quit && !seen.has_more && !is_stopping
    }

    /// Whether something was said after `/quit`.
    pub fn has_more(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).has_more
    }
}

/// The words of a line that looks like a notice, in text or in an object.
fn notice_in(line: &str) -> Option<String> {
    let in_text = line.strip_prefix("-!- ").map(str::to_owned);
    in_text.or_else(|| match Heard::read(line) {
        Heard::Notice(text) => Some(text),
        _ => None,
    })
}

/// The limit that a notice speaks of.
fn too_long(text: &str) -> Option<usize> {
    let (before, after) = text.split_once(" (over ")?;
    let (limit, _) = after.split_once(" bytes), nobody got ")?;
    (before == "line too long" || before.ends_with(" lines too long")).then(|| limit.parse().ok())?
}

/// Whether chatd says that before it closes a connection of its own accord: instead of a greeting, or after something
/// that looks like another protocol.
fn is_farewell(text: &str, is_first: bool, foreign: Option<Foreign>) -> bool {
    let instead = [Notice::ServerFull, Notice::AddressFull, Notice::Idle, Notice::Unknown];
    let is_instead = is_first && instead.iter().any(|notice| notice.to_string() == text);
    is_instead || foreign.is_some_and(|foreign| Notice::Foreign(foreign).to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Name, Who};

    fn heard(said: &[u8], line: &str) -> Option<String> {
        let losses = Losses::default();
        losses.say(said);
        losses.hear(line);
        losses.words()
    }

    #[test]
    fn a_line_that_was_too_long_is_lost() {
        let notice = |lines| format!("-!- {}", Notice::LineTooLong { max_line: 64, lines });
        let words = Some("line too long (over 64 bytes), nobody got it".to_owned());
        assert_eq!(heard(&[b'x'; 65], &notice(1)), words);
        let losses = Losses::default();
        losses.say(b"short\nlong");
        losses.say(&[b'x'; 61]);
        losses.say(b"\n");
        losses.hear(&notice(2));
        losses.hear("something else");
        assert_eq!(losses.words().unwrap(), "2 lines too long (over 64 bytes), nobody got them");
    }

    #[test]
    fn a_line_that_was_not_said_cannot_have_been_too_long() {
        for line in [
            "-!- line too long (over 64 bytes), nobody got it",
            "-!- line too long (over 3 bytes), nobody got it",
        ] {
            assert_eq!(heard(b"deploy done\n", line), None);
        }
    }

    #[test]
    fn what_is_said_instead_of_a_greeting_counts_if_nothing_follows() {
        assert_eq!(heard(b"", "-!- server full"), Some("server full".into()));
        let object = r#"{"type":"notice","text":"server full"}"#;
        assert_eq!(heard(b"", object), Some("server full".into()), "where connections begin in json");
        for lines in [["-!- server full", "just kidding"], ["Hello", "-!- server full"]] {
            let losses = Losses::default();
            lines.iter().for_each(|line| losses.hear(line));
            assert_eq!(losses.words(), None, "{lines:?}");
        }
    }

    #[test]
    fn another_protocol_is_sent_away_only_if_it_was_spoken() {
        let notice = format!("-!- {}", Notice::Foreign(Foreign::Http));
        for (said, is_loss) in [("GET / HTTP/1.1\r\n", true), ("hello\nGET / HTTP/1.1\r\n", false)] {
            let losses = Losses::default();
            losses.hear("Hello");
            losses.say(said.as_bytes());
            losses.hear(&notice);
            assert_eq!(losses.words().is_some(), is_loss, "{said}");
        }
    }

    #[test]
    fn quit_counts_only_as_the_last_line() {
        for (said, has_quit) in [
            ("hi\n/quit\n", true),
            ("/quit\r\n", true),
            ("/quit\nhi", false),
            ("/quit\nhi\n", false),
            ("/quit now\n", false),
            ("hi /quit\n", false),
            ("/quit", false),
        ] {
            let losses = Losses::default();
            said.as_bytes().chunks(3).for_each(|part| losses.say(part));
            assert_eq!(losses.has_quit(), has_quit, "{said:?}");
            assert_eq!(losses.has_more(), said.starts_with("/quit\nhi"), "{said:?}");
        }
        let losses = Losses::default();
        losses.say(b"/quit\n");
        losses.hear(&format!("-!- {}", Notice::Stopping));
        assert!(!losses.has_quit(), "it may have been closed for that");
    }

    #[test]
    fn a_crash_may_have_lost_what_was_said_before_it() {
        for notice in [Notice::Crashed, Notice::Unknown] {
            let losses = Losses::default();
            losses.hear("Hello");
            losses.notice(&notice.to_string());
            assert_eq!(losses.words(), None, "nothing was said yet");
            losses.say(b"\n");
            losses.hear(&format!("-!- {notice}"));
            assert_eq!(losses.words(), None, "anybody can have said that");
            losses.notice(&notice.to_string());
            assert_eq!(losses.words(), Some(notice.to_string()));
        }
    }

    #[test]
    fn refused_commands_are_losses_and_answers_are_not() {
        let name = || Name::parse("bob").unwrap();
        let bob = || Who { id: 2, name: name(), verified: false };
        for (answer, is_loss) in [
            (Answer::Unknown(None), true),
            (Answer::NobodyCalledThat, true),
            (Answer::IgnoresYou(bob()), true),
            (Answer::DoesNotRead(bob()), true),
            (Answer::Told(bob()), false),
            (Answer::Named(name()), false),
        ] {
            let losses = Losses::default();
            losses.notice(&answer.to_string());
            assert_eq!(losses.words().is_some(), is_loss, "{answer}");
        }
    }
}
