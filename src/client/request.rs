//! What chatc has sent and the daemon has not yet confirmed: batches of lines, each followed by `/sync` and a token.
//!
//! All modes say what they say through [`Requests`]. Answers come in the order of what was asked, so what is answered
//! before a batch is synced belongs to the oldest batch under way. A command is a batch of its own: what is refused then
//! is that command. What is under way is bounded, so a daemon that takes nothing fills no memory. Pure.

use std::collections::VecDeque;

use super::link::clean;
use crate::protocol::{Notice, disguise, text};

/// Bytes under way at most, until the daemon has confirmed some of them.
const WINDOW_BYTES: usize = 256 << 10;

/// Bytes and lines of one batch at most.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_LINES: usize = 256;

/// The longest line that can be said, in bytes: the largest `max_line` of chatd.
pub const MAX_BYTES: usize = 1 << 20;

/// Lines that wait at most.
pub const MAX_WAITING: usize = 1000;

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Lines that somebody wants to be said, or commands that were typed.
    Say,
    /// A question of chatc itself, whose answer is not shown.
    Ask,
    /// What chatc asks for at the beginning: objects, name, room and what was missed.
    Setup,
}

#[derive(Debug)]
struct Batch {
    token: String,
    purpose: Purpose,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

/// Lines on their way.
#[derive(Debug, Default)]
pub struct Requests {
    /// 128 random bits in hex: nobody can guess them.
    secret: String,
    count: u64,
    waiting: VecDeque<(Purpose, Vec<u8>)>,
    under_way: VecDeque<Batch>,
    under_way_bytes: usize,
    /// Lines that were under way when something was lost.
    pub doubtful: Vec<Vec<u8>>,
    /// What was refused, to be shown: lines, each with the words of the daemon, or its words alone.
    pub refused: Vec<String>,
}

impl Requests {
    /// Nothing is under way; tokens begin with 128 random bits.
    ///
    /// # Errors
    /// The kernel has no randomness.
    pub fn new() -> std::io::Result<Self> {
        let mut random = [0; 16];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
        Ok(Self { secret: format!("{:032x}", u128::from_ne_bytes(random)), ..Self::default() })
    }

    /// Returns a token that nobody has seen.
    pub fn token(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.secret, self.count)
    }

    /// Whether a token is one of these.
    pub fn is_own(&self, token: &str) -> bool {
        token.starts_with(&self.secret)
    }

    /// Adds a line without its ending.
    pub fn add(&mut self, purpose: Purpose, line: impl Into<Vec<u8>>) {
        self.waiting.push_back((purpose, line.into()));
    }

    /// Returns what asks for something at the beginning, to be sent before all that waits: commands, and a token.
    pub fn set_up(&mut self, commands: &[String]) -> Vec<u8> {
        let token = self.token();
        let lines: String = commands.iter().map(|command| format!("{command}\n")).collect();
        let bytes = format!("{lines}/sync {token}\n").into_bytes();
        self.under_way.push_back(Batch { token, purpose: Purpose::Setup, lines: Vec::new(), bytes: 0 });
        bytes
    }

    /// How many lines wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is room for more lines: what waits is less than a window.
    pub fn has_room(&self) -> bool {
        let bytes = || self.waiting.iter().map(|(_, line)| line.len()).sum::<usize>();
        self.waiting.len() < MAX_WAITING && bytes() < BATCH_BYTES
    }

    /// Whether the daemon has confirmed everything.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && matches!(self.purpose(), None | Some(Purpose::Setup))
    }

    /// Takes what may be sent now: whole batches, each with its `/sync`, as long as the window allows.
    pub fn take_to_send(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while !self.waiting.is_empty() && self.under_way_bytes < WINDOW_BYTES {
            let token = self.token();
            let batch = self.take_batch(token);
            for line in &batch.lines {
                // Telnet's IAC stands for itself if it comes twice (RFC 854).
                line.iter().for_each(|byte| {
                    bytes.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == 0xff)))
                });
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(format!("/sync {}\n", batch.token).as_bytes());
            self.under_way_bytes += batch.bytes;
            self.under_way.push_back(batch);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The next lines of one purpose; a command is alone.
    fn take_batch(&mut self, token: String) -> Batch {
        let purpose = self.waiting.front().map_or(Purpose::Say, |(purpose, _)| *purpose);
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        while let Some((_, line)) = self.waiting.pop_front_if(|(other, line)| {
            let fits = lines.len() < BATCH_LINES && bytes + line.len() <= BATCH_BYTES;
            lines.is_empty() || (*other == purpose && fits && !is_command(line) && !is_command(&lines[0]))
        }) {
            bytes += line.len();
            lines.push(line);
        }
        Batch { token, purpose, bytes: bytes + lines.len(), lines }
    }

    /// Takes all that waits: as it is, where nobody confirms anything.
    pub fn take_waiting(&mut self) -> Option<Vec<u8>> {
        let lines = self.waiting.drain(..).map(|(_, line)| line);
        let bytes = lines.flat_map(|line| [&line[..], b"\n"].concat()).collect::<Vec<u8>>();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Takes the lines that are not confirmed, to be shown: those that may be lost after the words `in_doubt`, those that
    /// were not sent after `unsent`.
    pub fn give_up(&mut self, in_doubt: &str, unsent: &str) -> Vec<String> {
        self.lose();
        let named = |words: &str, line: Vec<u8>| format!("{words}: {}", clean(&line));
        let doubtful = self.doubtful.drain(..).map(|line| named(in_doubt, line));
        doubtful.chain(self.waiting.drain(..).map(|(_, line)| named(unsent, line))).collect()
    }

    /// The daemon has sent a token back: all before it has its place. Returns whether it was under way.
    pub fn synced(&mut self, token: &str) -> bool {
        let Some(at) = self.under_way.iter().position(|batch| batch.token == token) else { return false };
        self.under_way_bytes -= self.under_way.drain(..=at).map(|batch| batch.bytes).sum::<usize>();
        true
    }

    /// What the oldest batch under way is for.
    pub fn purpose(&self) -> Option<Purpose> {
        self.under_way.front().map(|batch| batch.purpose)
    }

    /// Notes the lines that a notice refuses, or the notice alone where none of those under way is meant. A command is one
    /// of the oldest batch. A line that is too long may be one of any batch: its notice does not wait for its turn.
    pub fn note_refusal(&mut self, notice: &Notice, text: &str) {
        let is_meant = |line: &[u8]| match notice {
            Notice::TooLong { max, .. } => line.strip_suffix(b"\r").unwrap_or(line).len() > *max,
            Notice::Cut { max, .. } => shown(line).len() > *max,
            _ => is_command(line) || disguise::find(shown(line).as_bytes()).is_some(),
        };
        let (batches, lines) = match notice {
            Notice::TooLong { lines, .. } | Notice::Cut { lines, .. } => {
                (self.under_way.len(), *lines as usize)
            }
            _ if self.purpose() != Some(Purpose::Say) => return,
            _ => (1, 1),
        };
        let (text, before) = (clean(text.as_bytes()), self.refused.len());
        let said = self.under_way.iter_mut().take(batches).filter(|batch| batch.purpose == Purpose::Say);
        let meant = said.flat_map(|batch| batch.lines.extract_if(.., |line| is_meant(line)));
        self.refused.extend(meant.take(lines).map(|line| format!("{} ({text})", clean(&line))));
        if self.refused.len() == before {
            self.refused.push(text);
        }
    }

    /// The connection is lost, or the daemon has crashed: what was under way is in doubt.
    pub fn lose(&mut self) {
        self.under_way_bytes = 0;
        let lost = self.under_way.drain(..).filter(|batch| batch.purpose == Purpose::Say);
        self.doubtful.extend(lost.flat_map(|batch| batch.lines));
    }
}

/// A line as others see it.
fn shown(line: &[u8]) -> String {
    clean(&text::take_back(line))
}

/// Whether a line is a command: it begins with one slash.
pub fn is_command(line: &[u8]) -> bool {
    line.first() == Some(&b'/') && line.get(1) != Some(&b'/')
}

/// A line that is said as it is: what begins with a slash gets another.
pub fn as_text(line: &[u8]) -> Vec<u8> {
    if line.starts_with(b"/") { [b"/", line].concat() } else { line.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(lines: &[&str]) -> Requests {
        let mut requests = Requests { secret: "s".into(), ..Requests::default() };
        lines.iter().for_each(|line| requests.add(Purpose::Say, *line));
        requests
    }

    fn sent(requests: &mut Requests) -> String {
        String::from_utf8(requests.take_to_send().unwrap()).unwrap()
    }

    #[test]
    fn each_batch_is_followed_by_a_token_and_a_command_is_alone() {
        let mut requests = requests(&["one", "//two", "/who", "three"]);
        assert_eq!(sent(&mut requests), "one\n//two\n/sync s-1\n/who\n/sync s-2\nthree\n/sync s-3\n");
        assert!(!requests.is_settled());
        requests.synced("other");
        requests.synced("s-2");
        requests.lose();
        assert_eq!(requests.doubtful, [b"three"]);
        assert!(requests.is_settled());
    }

    #[test]
    fn what_is_refused_is_the_command_or_the_lines_that_are_too_long() {
        let mut requests = requests(&["short", "much too long", "12345678\r", "too long as well", "/mgs"]);
        requests.take_to_send();
        let too_long = Notice::TooLong { lines: 1, max: 8 };
        requests.note_refusal(&too_long, "long");
        requests.note_refusal(&too_long, "long too");
        requests.synced("s-1");
        requests.note_refusal(&Notice::UnknownCommand { nearest: None }, "what?");
        let refused = ["much too long (long)", "too long as well (long too)", "/mgs (what?)"];
        assert_eq!(requests.refused, refused);
        requests.lose();
        assert!(requests.doubtful.is_empty(), "what was refused is not in doubt");
    }

    #[test]
    fn what_is_cut_is_the_line_that_is_too_long_as_it_is_shown() {
        let mut requests = requests(&["a long line of text", "\u{202e}\u{202e}\u{202e}\u{202e}"]);
        requests.take_to_send();
        requests.note_refusal(&Notice::Cut { lines: 1, max: 30 }, "cut");
        assert_eq!(requests.refused, [format!("{} (cut)", "\\u{202e}".repeat(4))]);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let line = "x".repeat(40_000);
        let mut requests = requests(&[]);
        (0..100).for_each(|_| requests.add(Purpose::Say, line.as_str()));
        let most = WINDOW_BYTES + BATCH_BYTES;
        assert!(requests.take_to_send().unwrap().len() <= most && !requests.has_room());
        assert_eq!(requests.take_to_send(), None);
        let mut synced = 0;
        while !requests.is_settled() {
            synced += 1;
            requests.synced(&format!("s-{synced}"));
            assert!(requests.take_to_send().is_none_or(|bytes| bytes.len() <= most));
        }
        assert_eq!(synced, 100);
    }

    #[test]
    fn tokens_are_random() {
        let (mut one, mut two) = (Requests::new().unwrap(), Requests::new().unwrap());
        let (one, two) = (one.token(), two.token());
        assert!(one != two && (33..=64).contains(&one.len()), "{one} {two}");
    }
}
