//! The protocol of the engine (RESP2): commands as bytes, and replies as values that borrow from the bytes.
//!
//! It is read by hand, and not by the `redis` crate, because what is in a stream may be hostile: here a string that is
//! too long is thrown away while it comes, and no reply takes more memory than a bound. The crate allocates whatever the
//! engine sends, and each field of each entry by itself. It would also bring an executor beside `rt`.

use memchr::memchr_iter;

/// Most bytes of one string in a reply: the limit of the engine itself.
const MAX_BULK: usize = 512 << 20;
/// How deep arrays may nest: a reply to XREAD has five levels.
const MAX_DEPTH: usize = 8;
/// Most bytes of a reply that are kept in full.
const MAX_FULL: usize = 128 << 20;
/// Most bytes of a string behind that: identifiers, names of fields and numbers are shorter, and so is a common line.
const MAX_BEHIND: usize = 64 << 10;
/// Most bytes of a reply, without the longest string that is wanted.
const MAX_REPLY: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// A buffer that has grown beyond this is given back, in bytes.
pub const MAX_IDLE: usize = 1 << 20;

/// Commands to be sent in one go.
#[derive(Debug, Default)]
pub struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Adds a command: its name and its arguments.
    pub fn add(&mut self, parts: &[&[u8]]) {
        self.begin(parts.len());
        parts.iter().for_each(|part| self.part(part));
    }

    /// Begins a command of so many parts, which come next.
    pub fn begin(&mut self, parts: usize) {
        self.count += 1;
        self.header(b'*', parts);
    }

    /// Adds a part of the command that has begun.
    pub fn part(&mut self, part: &[u8]) {
        self.header(b'$', part.len());
        self.bytes.extend_from_slice(part);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a number as a part.
    pub fn number(&mut self, number: u64) {
        self.part(number.to_string().as_bytes());
    }

    fn header(&mut self, kind: u8, length: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(length.to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Returns how many commands there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Forgets them. Up to [`MAX_IDLE`] bytes stay allocated.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(MAX_IDLE);
        self.count = 0;
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A reply, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Nil,
    /// A number.
    Number(i64),
    /// A string.
    Text(&'a [u8]),
    /// The engine refuses: a code in capitals, and why.
    Error(&'a [u8]),
    /// Several values.
    Array(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// Returns the parts of an array; none of anything else.
    pub fn parts(&self) -> &[Value<'a>] {
        if let Self::Array(parts) = self { parts } else { &[] }
    }

    /// Returns the string; `None` if it is none.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Text(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns the string, if it is UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Returns the number, also one that is written as a string.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => (*number).try_into().ok(),
            _ => self.text()?.parse().ok(),
        }
    }
}

/// The engine sends what is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What is to be done with the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// More has to come.
    More,
    /// The reply has this length.
    Whole(usize),
    /// A string is too long to be kept: its header is at `at`, the string begins at `from` and ends before `to`. Without
    /// the string, [`NIL`] has to stand at `at`.
    TooLong { at: usize, from: usize, to: usize },
}

/// Stands for a string that is not kept.
pub const NIL: &[u8] = b"$-1\r\n";

/// Finds where a reply ends, in bytes that come in pieces.
#[derive(Debug)]
pub struct Scanner {
    /// Where the next value begins.
    at: usize,
    /// How many values have yet to come.
    open: usize,
    /// Most bytes of a string.
    longest: usize,
}

impl Scanner {
    /// Makes one that keeps strings of up to so many bytes.
    pub fn new(longest: usize) -> Self {
        Self { at: 0, open: 1, longest }
    }

    /// Scans what has come. The next time, `bytes` has to begin with the same.
    ///
    /// # Errors
    /// It is no reply, or longer than any that is asked for.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, Malformed> {
        while self.open > 0 {
            if self.at > MAX_REPLY + self.longest {
                return Err(Malformed);
            }
            let Some((kind, line, after)) = line(bytes, self.at) else {
                let is_endless = bytes.len() - self.at > (64 << 10);
                return if is_endless { Err(Malformed) } else { Ok(Scanned::More) };
            };
            let most = if self.at > MAX_FULL { self.longest.min(MAX_BEHIND) } else { self.longest };
            let (next, more) = match kind {
                b'+' | b'-' | b':' => (after, 0),
                b'$' => match length(line)? {
                    None => (after, 0),
                    Some(length) if length > MAX_BULK => return Err(Malformed),
                    Some(length) if length > most => {
                        return Ok(Scanned::TooLong { at: self.at, from: after, to: after + length + 2 });
                    }
                    Some(length) if after + length + 2 > bytes.len() => return Ok(Scanned::More),
                    Some(length) => (after + length + 2, 0),
                },
                b'*' => (after, length(line)?.unwrap_or(0)),
                _ => return Err(Malformed),
            };
            self.at = next;
            self.open = (self.open - 1).checked_add(more).ok_or(Malformed)?;
        }
        Ok(Scanned::Whole(self.at))
    }
}

/// Returns the first byte, the rest of the line at `at`, and where the next line begins.
fn line(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let is_end = |at: &usize| rest.get(at + 1) == Some(&b'\n');
    let end = memchr_iter(b'\r', &rest[..rest.len().min(64 << 10)]).find(is_end)?;
    let (kind, line) = rest[..end].split_first().unwrap_or((&0, &[]));
    Some((*kind, line, at + end + 2))
}

/// Returns a length; `None` for that of nothing.
fn length(line: &[u8]) -> Result<Option<usize>, Malformed> {
    let number: i64 = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)?;
    if number == -1 { Ok(None) } else { usize::try_from(number).map(Some).map_err(|_| Malformed) }
}

/// Reads a whole reply, as a [`Scanner`] has found it.
///
/// # Errors
/// It is no reply.
pub fn read(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut at = 0;
    value(bytes, &mut at, 0)
}

fn value<'a>(bytes: &'a [u8], at: &mut usize, depth: usize) -> Result<Value<'a>, Malformed> {
    let (kind, line, after) = line(bytes, *at).ok_or(Malformed)?;
    *at = after;
    Ok(match kind {
        b'+' => Value::Text(line),
        b'-' => Value::Error(line),
        b':' => {
            let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
            Value::Number(text.parse().map_err(|_| Malformed)?)
        }
        b'$' => match length(line)? {
            None => Value::Nil,
            Some(length) => {
                let text = bytes.get(after..).and_then(|rest| rest.get(..length)).ok_or(Malformed)?;
                *at = after + length + 2;
                Value::Text(text)
            }
        },
        b'*' if depth < MAX_DEPTH => match length(line)? {
            None => Value::Nil,
            Some(count) => {
                Value::Array((0..count).map(|_| value(bytes, at, depth + 1)).collect::<Result<_, _>>()?)
            }
        },
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(bytes: &[u8]) -> Result<Scanned, Malformed> {
        Scanner::new(MAX_BULK).scan(bytes)
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut commands = Commands::default();
        commands.add(&[b"GET", b"a\r\nb"]);
        commands.begin(2);
        commands.part(b"PING");
        commands.number(7);
        assert_eq!(commands.bytes(), b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*2\r\n$4\r\nPING\r\n$1\r\n7\r\n");
        assert_eq!(commands.count(), 2);
    }

    #[test]
    fn a_reply_is_found_in_pieces_of_any_size() {
        let reply = b"*4\r\n$3\r\na\r\n\r\n:-7\r\n*2\r\n+OK\r\n$-1\r\n*-1\r\n-ERR no\r\n";
        for step in 1..reply.len() {
            let mut scanner = Scanner::new(3);
            let mut found = Scanned::More;
            for end in (0..reply.len()).step_by(step).chain([reply.len()]) {
                found = scanner.scan(&reply[..end]).unwrap();
                assert!(found == Scanned::More || end + 9 >= reply.len());
            }
            assert_eq!(found, Scanned::Whole(reply.len() - b"-ERR no\r\n".len()), "in steps of {step}");
        }
        let Value::Array(parts) = read(reply).unwrap() else { panic!("no array") };
        assert_eq!(parts[0], Value::Text(b"a\r\n"));
        assert_eq!(parts[1], Value::Number(-7));
        assert_eq!(parts[2], Value::Array(vec![Value::Text(b"OK"), Value::Nil]));
        assert_eq!(parts[3], Value::Nil);
        assert_eq!(read(b"-ERR no\r\n").unwrap(), Value::Error(b"ERR no"));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"*18446744073709551615\r\n",
        ] {
            assert_eq!(scanned(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
        assert_eq!(scanned(&vec![b'+'; 70 << 10]), Err(Malformed), "a line without an end");
        assert_eq!(read(&b"*1\r\n".repeat(100)), Err(Malformed), "too deep");
        assert_eq!(scanned(b"*9999999\r\n"), Ok(Scanned::More), "nothing is allocated for what has not come");
    }

    #[test]
    fn a_string_that_is_too_long_is_found_before_it_has_come() {
        let mut scanner = Scanner::new(3);
        let reply = b"*3\r\n$3\r\nabc\r\n$4\r\nab";
        assert_eq!(scanner.scan(reply), Ok(Scanned::TooLong { at: 13, from: 17, to: 23 }));
        let without = b"*3\r\n$3\r\nabc\r\n$-1\r\n:7\r\n";
        assert_eq!(scanner.scan(without), Ok(Scanned::Whole(without.len())));
    }

    #[test]
    fn a_reply_without_an_end_is_refused() {
        let mut endless = b"*999999999\r\n".to_vec();
        endless.resize(MAX_REPLY + 100, b'x');
        endless[12..].as_chunks_mut().0.iter_mut().for_each(|value| *value = *b":7\r\n");
        assert_eq!(Scanner::new(3).scan(&endless), Err(Malformed));
        let mut nested = b"*1\r\n".repeat(MAX_REPLY / 4 + 10);
        assert_eq!(Scanner::new(3).scan(&nested), Err(Malformed));
        nested.truncate(400);
        assert_eq!(Scanner::new(3).scan(&nested), Ok(Scanned::More));
    }
}
