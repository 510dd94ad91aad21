//! A numbered line: who says it, which of its lines it is, when it was due, and a sum over all of that.
//!
//! Every byte is accounted for, so a line that is cut, or made of two, is none.

use std::time::{SystemTime, UNIX_EPOCH};

/// The length of each line, without its end.
pub const LENGTH: usize = 63;

/// Where the counter begins, the time, the padding and the sum: each after a space.
const COUNTER: usize = 6;
const TIME: usize = 15;
const PADDING: usize = 32;
const SUM: usize = 55;

const MORE_PADDING: &str = "......................";
const LAST_PADDING: &str = "that was the last one.";

/// What a numbered line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub sender: u32,
    /// From 0, one more each time.
    pub counter: u32,
    /// When it was due, in microseconds of the clock; see [`now`].
    pub time: u64,
    /// Whether this sender says no more.
    pub is_last: bool,
}

/// The clock in microseconds: the same in all processes.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros().try_into().unwrap()
}

impl Numbered {
    /// The line, without its end.
    pub fn text(&self) -> [u8; LENGTH] {
        let padding = if self.is_last { LAST_PADDING } else { MORE_PADDING };
        let Self { sender, counter, time, .. } = self;
        let head = format!("{sender:05} {counter:08} {time:016} {padding} ");
        let sum = sum(head.as_bytes());
        format!("{head}{sum:08x}").into_bytes().try_into().unwrap()
    }

    /// What the line says; none if it is not exactly as [`Numbered::text`] makes them.
    pub fn read(text: &[u8]) -> Option<Self> {
        if text.len() != LENGTH || hexadecimal(&text[SUM..])? != sum(&text[..SUM]) {
            return None;
        }
        Some(Self {
            sender: decimal(&text[..COUNTER - 1])?.try_into().ok()?,
            counter: decimal(&text[COUNTER..TIME - 1])?.try_into().ok()?,
            time: decimal(&text[TIME..PADDING - 1])?,
            is_last: text[PADDING..].starts_with(LAST_PADDING.as_bytes()),
        })
    }
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = digit.wrapping_sub(b'0');
        (value < 10).then(|| number * 10 + u64::from(value))
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// How lines are shown to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Plain,
    Names,
    Json,
}

/// What a program is told when another engine goes on with the room, as if it were a sentence.
const EPOCH: &[u8] = b"the room has another epoch";

/// A line, as it is shown in some view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Somebody has said it; the name is empty in plain, the number none but in json.
    Said { name: &'a [u8], seq: Option<u64>, text: &'a [u8] },
    /// chatd has said it.
    Notice(&'a [u8]),
    /// It is nothing that this view can have.
    Strange,
}

impl View {
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Names => "names",
            Self::Json => "json",
        }
    }

    /// What a notice looks like that has these words as its sentence; `fields` are its code and fields in json.
    pub fn notice(self, fields: &str, text: &str) -> String {
        match self {
            Self::Plain | Self::Names => format!("-!- {text}\n"),
            Self::Json => format!("{{\"type\":\"notice\",{fields},\"text\":\"{text}\"}}\n"),
        }
    }

    pub fn read(self, line: &[u8]) -> Shown<'_> {
        match self {
            Self::Plain => plain(line),
            Self::Names => names(line).unwrap_or(Shown::Strange),
            Self::Json => json(line).unwrap_or(Shown::Strange),
        }
    }
}

fn plain(line: &[u8]) -> Shown<'_> {
    match line.strip_prefix(b"-!- ") {
        Some(text) => Shown::Notice(text),
        None => Shown::Said { name: b"", seq: None, text: line },
    }
}

fn names(line: &[u8]) -> Option<Shown<'_>> {
    if let Some(text) = line.strip_prefix(b"-!- ") {
        return Some(Shown::Notice(text));
    }
    // Who the kernel says it is has a mark that json has in a field of its own.
    let line = line.strip_prefix(b"<").map(|line| line.strip_prefix(b"+").unwrap_or(line))?;
    let end = memchr::memchr(b'>', line)?;
    Some(Shown::Said { name: &line[..end], seq: None, text: line[end + 1..].strip_prefix(b" ")? })
}

fn json(line: &[u8]) -> Option<Shown<'_>> {
    if line.starts_with(b"{\"type\":\"epoch\",") {
        return Some(Shown::Notice(EPOCH));
    }
    let line = line.strip_suffix(b"\"}")?;
    if line.starts_with(b"{\"type\":\"notice\",") {
        let text = b",\"text\":\"";
        return Some(Shown::Notice(&line[memchr::memmem::rfind(line, text)? + text.len()..]));
    }
    let rest = line.strip_prefix(b"{\"type\":\"message\",\"seq\":")?;
    let seq = decimal(&rest[..memchr::memchr(b',', rest)?])?;
    // The text is of one length, and has nothing in it that json would write otherwise.
    let (fields, text) = line.split_at(line.len().checked_sub(LENGTH)?);
    let fields = fields.strip_suffix(b"\"text\":\"")?;
    let from = memchr::memmem::rfind(fields, b"\"from\":\"")?;
    let name = &fields[from + b"\"from\":\"".len()..];
    Some(Shown::Said { name: &name[..memchr::memchr(b'"', name)?], seq: Some(seq), text })
}
