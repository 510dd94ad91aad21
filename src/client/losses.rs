//! Whether something that was piped in has got lost, as far as the daemon says so.
//!
//! `pipe` tells it what is said and what is heard. In an object only the daemon can say that it refuses something. In
//! text anybody could, so a line that says so counts only if it can be true: one that was too long has to have been
//! said, and what a daemon says before it closes has to be the last line.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memchr_iter;

use super::heard::Heard;
use crate::protocol::{Answer, Foreign, Notice};

/// The least `max_line` that chatd can have.
const LEAST_MAX_LINE: usize = 64;

#[derive(Debug, Default)]
struct Seen {
    /// The line that is being said, in bytes.
    length: usize,
    /// The longest that was said.
    longest: usize,
    /// What the daemon has said of it.
    refusal: Option<String>,
    /// What was heard last, if that was a notice.
    last: Option<String>,
}

/// What was said, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<Seen>>);

impl Losses {
    /// These bytes are going to be said.
    pub fn say(&self, bytes: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            seen.longest = seen.longest.max(seen.length + end - start);
            (seen.length, start) = (0, end + 1);
        }
        seen.length += bytes.len() - start;
        seen.longest = seen.longest.max(seen.length);
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
    }

    /// The daemon itself has said that.
    pub fn notice(&self, text: &str) {
        let nobody = Answer::NobodyCalledThat.to_string();
        let is_loss =
            ["nobody got it", "nobody got them", "and did not get it"].iter().any(|part| text.contains(part));
        if is_loss || text == nobody || text.starts_with("usage: ") {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.refusal = Some(text.to_owned());
        }
    }

    /// What the daemon has said, if something has got lost.
    pub fn words(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.refusal.clone().or_else(|| seen.last.clone().filter(|text| is_farewell(text)))
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

/// Whether chatd says that before it closes a connection of its own accord.
fn is_farewell(text: &str) -> bool {
    let all = [Notice::ServerFull, Notice::AddressFull, Notice::Idle, Notice::Unknown]
        .into_iter()
        .chain([Foreign::Tls, Foreign::Http, Foreign::Ssh].map(Notice::Foreign));
    all.into_iter().any(|notice| notice.to_string() == text)
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
    fn what_is_said_before_the_end_counts_at_the_end() {
        assert_eq!(heard(b"", "-!- server full"), Some("server full".into()));
        let object = r#"{"type":"notice","text":"server full"}"#;
        assert_eq!(heard(b"", object), Some("server full".into()), "where connections begin in json");
        let losses = Losses::default();
        losses.hear("-!- server full");
        losses.hear("just kidding");
        assert_eq!(losses.words(), None);
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
