//! A connection that stands, and the threads that read and write it.
//!
//! `dialer` has made it. [`Link`] is the connection, [`Lines`] cuts what arrives, [`Backoff`] says when to try again. Knows
//! nothing of what the lines mean.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use memchr::memchr;
use rustix::io::{read, retry_on_intr};

use super::event::{End, Event};
use super::tls::Stream;
use crate::protocol::text;

/// Bytes that one read takes.
const READ_BYTES: usize = 64 << 10;

/// How long it may take at the end to tell the server so.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest line that is kept, in bytes as they were sent: what the largest `max_line` of chatd, 1 MiB, can become in
/// `json`. The rest is cut off.
pub const MAX_BYTES: usize = 4 << 20;

/// What stands at the end of a line that was too long.
pub const CUT: &str = " [cut]";

/// A connection that stands. Dropping it tells the daemon that nothing more comes, when all that was handed over is
/// written.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    bytes: Sender<Vec<u8>>,
    /// Nothing comes of it, and it ends when everything is written.
    writing: Receiver<()>,
}

impl Link {
    /// Starts the threads that read and write: [`Event::Heard`], [`Event::Written`] and in the end [`Event::Ended`] follow.
    ///
    /// # Errors
    /// No thread or no descriptor can be had.
    pub fn start(stream: Stream, events: SyncSender<Event>) -> io::Result<Self> {
        let (bytes, bytes_rx) = mpsc::channel();
        let (until_written, writing) = mpsc::channel();
        let (to_read, to_write, written) = (stream.try_clone()?, stream.try_clone()?, events.clone());
        thread::Builder::new().spawn(move || {
            write(to_write, &bytes_rx, &written);
            drop(until_written);
        })?;
        thread::Builder::new().spawn(move || {
            let end = hear(&to_read, &events);
            let _ = to_read.socket.shutdown(Shutdown::Both);
            let _ = events.send(Event::Ended(end));
        })?;
        Ok(Self { stream, bytes, writing })
    }

    /// Hands over bytes to be written; never waits, so bound what is under way. The reading thread tells when the
    /// connection is lost.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.bytes.send(bytes);
    }

    /// Gives the connection up: [`Event::Ended`] follows.
    pub fn close(&self) {
        let _ = self.stream.socket.shutdown(Shutdown::Both);
    }

    /// Tells the server that nothing more comes, before the process ends. With TLS that is a record, which has to be
    /// written: it waits a moment for that.
    pub fn finish(self) {
        drop(self.bytes);
        if self.stream.tls.is_some() {
            let _ = self.writing.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

fn hear(stream: &Stream, events: &SyncSender<Event>) -> End {
    let mut lines = Lines::new(MAX_BYTES);
    let (mut buffer, mut text) = (vec![0; READ_BYTES], Vec::new());
    loop {
        text.clear();
        let (read, is_end) = match &stream.tls {
            None => match retry_on_intr(|| read(&stream.socket, &mut buffer)) {
                Err(error) => (&[][..], Err(error.into())),
                Ok(count) => (&buffer[..count], Ok(count == 0)),
            },
            Some(tls) => {
                let is_end = tls.read(&stream.socket, &mut buffer, &mut text);
                (&text[..], is_end)
            }
        };
        let mut heard = lines.feed(read);
        if matches!(is_end, Ok(true)) {
            heard.extend(lines.finish());
        }
        let heard: Vec<String> = heard.into_iter().map(shown).collect();
        let is_over = !heard.is_empty() && events.send(Event::Heard(heard)).is_err();
        match is_end {
            Err(error) => return End::Broken(error),
            Ok(is_end) if is_end || is_over => return End::Closed,
            Ok(_) => {}
        }
    }
}

/// Writes what is handed over. What cannot be written is lost; then the reading thread finds the connection broken.
fn write(stream: Stream, pieces: &Receiver<Vec<u8>>, events: &SyncSender<Event>) {
    let mut socket = &stream.socket;
    for bytes in pieces {
        let written = match &stream.tls {
            None => socket.write_all(&bytes),
            Some(tls) => tls.seal(&bytes).and_then(|records| socket.write_all(&records)),
        };
        if written.is_err() {
            return;
        }
        let _ = events.send(Event::Written);
    }
    let _ = stream.tls.iter().try_for_each(|tls| socket.write_all(&tls.end()));
    let _ = socket.shutdown(Shutdown::Write);
}

/// Cuts bytes into lines, and keeps so many bytes of each.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    partial: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Keeps at most so many bytes of a line.
    pub fn new(most: usize) -> Self {
        Self { most, partial: Vec::new(), is_cut: false }
    }

    /// Takes the next bytes. Returns the lines that are whole with them, and whether each was cut.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Vec::new();
        while let Some(at) = memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            lines.push(self.take());
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
        lines
    }

    /// Returns the unfinished line at the end, if there is one.
    pub fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let space = self.most - self.partial.len();
        self.is_cut |= bytes.len() > space;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    fn take(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.partial), std::mem::take(&mut self.is_cut))
    }
}

/// A line that has arrived, as it is shown.
fn shown((line, is_cut): (Vec<u8>, bool)) -> String {
    clean(line.strip_suffix(b"\r").unwrap_or(&line)) + if is_cut { CUT } else { "" }
}

/// Bytes as text that can do nothing to a terminal.
pub fn clean(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    text::clean(bytes, &mut out);
    // Clean text is valid; if it were not, it would still be shown.
    String::from_utf8(out).unwrap_or_else(|error| error.to_string())
}

/// The first pause: a daemon that is restarted is back at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause: a daemon that is back should not have to wait for long.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses between attempts: each is twice the one before, more or less a quarter, so that of all who lost their
/// connection at the same time no two come back at the same time.
#[derive(Debug, Default)]
pub struct Backoff {
    taken: u32,
}

impl Backoff {
    /// Returns the next pause; `jitter` is any number that differs between processes.
    pub fn next(&mut self, jitter: u32) -> Duration {
        // 250 ms doubled seven times is more than 30 s.
        let pause = (FIRST * (1 << self.taken.min(7))).min(LONGEST);
        self.taken += 1;
        (pause * (75 + jitter % 51) / 100).min(LONGEST)
    }

    /// Begins anew, after something has lasted.
    pub fn reset(&mut self) {
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(MAX_BYTES);
        let mut out = lines.feed(bytes);
        out.extend(lines.finish());
        out.into_iter().map(shown).collect()
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf() {
        assert_eq!(lines(b"a\r\n\nb\rc\nd"), ["a", "", "b^Mc", "d"]);
    }

    #[test]
    fn nothing_that_drives_a_terminal_comes_out() {
        assert_eq!(lines(b"\x1b]0;owned\x07\xff\n"), ["^[]0;owned^G\\xff"]);
    }

    #[test]
    fn lines_that_wait_fill_no_memory() {
        let longest = shown((vec![0xff; MAX_BYTES], true)).len();
        assert!(crate::client::event::EVENTS * longest <= 129 << 20);
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let mut bytes = vec![b'x'; MAX_BYTES + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines(&bytes);
        assert_eq!((lines[0].len(), &lines[1]), (MAX_BYTES + CUT.len(), &"next".to_owned()));
        assert!(lines[0].ends_with(CUT));
    }

    proptest! {
        #[test]
        fn every_cut_gives_the_same_lines(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            let mut cut = Lines::new(MAX_BYTES);
            let mut out = cut.feed(&bytes[..at]);
            out.extend(cut.feed(&bytes[at..]));
            out.extend(cut.finish());
            let out: Vec<String> = out.into_iter().map(shown).collect();
            prop_assert_eq!(&out, &lines(&bytes));
            prop_assert!(out.iter().all(|line| !line.chars().any(|c| c.is_control() && c != '\t')));
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next(25).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.next(25), FIRST);
        let pause = |jitter| Backoff::default().next(jitter);
        assert_eq!((pause(0), pause(50)), (FIRST * 75 / 100, FIRST * 125 / 100));
    }
}
