//! The end of a room in the archive: its numbers and its last lines, for the next start.
//!
//! Reads backwards, as far as the lines that a room holds for `/last`, and not the whole file. Skips what is no object,
//! and names the file once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::civil::Date;
use memchr::memrchr;

use super::folder::Folder;
use super::mark::{BEGINNING, Mark};
use super::writer::Numbers;
use crate::chat::{Limits, Recalled};
use crate::protocol::{Name, Object};

/// Bytes that are read at first; then four times as many.
const BLOCK: u64 = 64 * 1024;

/// How a room ended.
#[derive(Debug)]
pub struct Tail {
    /// The day of its last file.
    pub day: Date,
    pub numbers: Numbers,
    pub recalled: Recalled,
}

/// Reads the end of a room. Returns `None` if there is no mark in its files.
///
/// # Errors
/// The kernel's.
pub fn read(folder: &Folder, room: &Name, limits: &Limits) -> io::Result<Option<Tail>> {
    let days = folder.days(room)?;
    let Some(last) = days.last().copied() else { return Ok(None) };
    let (mut pieces, mut lines) = (Vec::new(), 0);
    // What a history holds, as objects; a file has a mark far more often.
    let mut bytes = limits.log_size as u64;
    for day in days.into_iter().rev() {
        let piece = end_of(&folder.read(room, day)?, limits.history.saturating_sub(lines), bytes)?;
        lines += count(&piece);
        bytes = bytes.saturating_sub(piece.len() as u64);
        let is_known = contains_mark(&piece);
        pieces.push((day, piece));
        if is_known && (lines >= limits.history || bytes == 0) {
            break;
        }
    }
    let mut reading = Reading::default();
    for (day, piece) in pieces.into_iter().rev() {
        let bad = reading.read(room, &piece);
        if bad > 0 {
            let path = folder.path_of(room).join(format!("{day}.jsonl"));
            log::warn!("{}: skipped {bad} lines that are no objects of the archive", path.display());
        }
    }
    Ok(reading.end(last, limits))
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Reading {
    room: Option<Recalled>,
    reserved: u64,
    last: u64,
}

impl Reading {
    /// Reads whole lines. Returns how many of them are nothing that belongs there.
    fn read(&mut self, name: &Name, text: &[u8]) -> u64 {
        let mut bad = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
            if let Some(mark) = Mark::read(line) {
                let is_same = self.room.as_ref().is_some_and(|room| room.epoch() == mark.epoch);
                if !is_same {
                    self.room = Some(Recalled::new(name.clone(), mark.epoch, mark.seq));
                }
                (self.last, self.reserved) = (mark.seq, mark.reserved);
                continue;
            }
            let object = std::str::from_utf8(line).ok().and_then(|line| serde_json::from_str(line).ok());
            match (object, &mut self.room) {
                (None, _) => bad += 1,
                (Some(object @ (Object::Message(_) | Object::Emote(_))), Some(room)) => {
                    if room.push(&object) {
                        self.last = self.last.max(room.said());
                    } else {
                        bad += 1;
                    }
                }
                (Some(Object::Join(change) | Object::Leave(change) | Object::Rename(change)), Some(room)) => {
                    room.note_session(change.id);
                }
                // The epoch is not known.
                _ => {}
            }
        }
        bad
    }

    fn end(self, day: Date, limits: &Limits) -> Option<Tail> {
        let mut recalled = self.room?.trimmed(limits);
        recalled.go_on_after(self.last, self.reserved);
        let numbers = Numbers { epoch: recalled.epoch(), said: self.last, reserved: self.reserved };
        Some(Tail { day, numbers, recalled })
    }
}

/// Returns whole lines from the end of a file: with so many lines of members behind a mark, or so many bytes and a mark;
/// or all of it. Leaves out what is at the end and is no whole line.
fn end_of(file: &File, lines: usize, bytes: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let mut size = BLOCK;
    loop {
        let start = len.saturating_sub(size);
        let mut text = vec![0; (len - start) as usize];
        file.read_exact_at(&mut text, start)?;
        text.truncate(memrchr(b'\n', &text).map_or(0, |at| at + 1));
        if start == 0 {
            return Ok(text);
        }
        if let Some(mark) = first_mark(&text) {
            text.drain(..mark);
            if count(&text) >= lines || text.len() as u64 >= bytes {
                return Ok(text);
            }
        }
        size = size.saturating_mul(4);
    }
}

/// Returns where the first mark begins, behind a line.
fn first_mark(text: &[u8]) -> Option<usize> {
    let finder = memchr::memmem::Finder::new(BEGINNING);
    finder.find_iter(text).find(|at| *at > 0 && text[at - 1] == b'\n')
}

fn contains_mark(text: &[u8]) -> bool {
    text.starts_with(BEGINNING) || first_mark(text).is_some()
}

/// Returns the number of lines of members.
fn count(text: &[u8]) -> usize {
    let is_said =
        |line: &&[u8]| line.starts_with(br#"{"type":"message","#) || line.starts_with(br#"{"type":"emote","#);
    text.split(|byte| *byte == b'\n').filter(is_said).count()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::chat::testing::TestHub;
    use crate::service::scratch::Scratch;

    fn name() -> Name {
        Name::parse("main").unwrap()
    }

    fn mark(epoch: u64, seq: u64, reserved: u64) -> String {
        let mut out = Vec::new();
        let (time, room) = ("2026-11-23T15:48:01.500Z".into(), "main".into());
        Mark { time, room, epoch, seq, reserved, lost: 0, crashed: false }.append(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn line(seq: u64) -> String {
        format!(
            r#"{{"type":"message","seq":{seq},"time":"2026-11-23T15:48:01.500Z","room":"main","id":7,"from":"ann","verified":false,"text":"line {seq} {}"}}"#,
            "x".repeat(100)
        ) + "\n"
    }

    fn lines(from: u64, to: u64) -> String {
        (from..to).map(line).collect()
    }

    fn limits() -> Limits {
        let hub = TestHub::default();
        let limits = hub.hub().limits();
        Limits { history: 200, log_size: 1 << 20, ..limits }
    }

    /// Reads a room with these files.
    fn tail(files: &[(&str, String)]) -> Option<Tail> {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        fs::create_dir(scratch.file("archive/main")).unwrap();
        for (day, text) in files {
            fs::write(scratch.file("archive/main").join(format!("{day}.jsonl")), text).unwrap();
        }
        read(&folder, &name(), &limits()).unwrap()
    }

    #[test]
    fn the_numbers_are_those_of_the_last_line_and_the_last_mark() {
        let text = mark(7, 0, 100) + &lines(1, 5);
        let Tail { day, numbers, recalled } = tail(&[("2026-11-23", text)]).unwrap();
        assert_eq!(day, "2026-11-23".parse().unwrap());
        assert_eq!(numbers, Numbers { epoch: 7, said: 4, reserved: 100 });
        assert_eq!((recalled.epoch(), recalled.said(), recalled.last_session()), (7, 4, 7));
        let text = mark(7, 0, 100) + &lines(1, 5) + &mark(7, 4, 4) + "{\"type\":\"mess";
        assert_eq!(
            tail(&[("2026-11-23", text)]).unwrap().numbers,
            Numbers { epoch: 7, said: 4, reserved: 4 }
        );
    }

    #[test]
    fn the_end_of_a_large_file_is_enough_and_the_day_before_has_the_rest() {
        let large =
            mark(7, 0, 1 << 20) + &lines(1, 10_000) + &mark(7, 9_999, 1 << 20) + &lines(10_000, 10_050);
        let found = tail(&[("2026-11-23", large.clone())]).unwrap();
        assert_eq!(found.numbers.said, 10_049);
        assert!(found.recalled.lines() >= 200);
        let next = mark(7, 10_049, 1 << 20) + &lines(10_050, 10_060);
        let found = tail(&[("2026-11-23", large), ("2026-11-24", next)]).unwrap();
        assert_eq!((found.numbers.said, found.day), (10_059, "2026-11-24".parse().unwrap()));
        assert!((200..400).contains(&found.recalled.lines()));
    }

    #[test]
    fn lines_of_another_epoch_and_what_is_no_object_are_left_out() {
        let text =
            mark(7, 0, 9) + &lines(1, 5) + &mark(8, 0, 9) + &line(1) + "by hand\n\n" + &line(2) + &line(2);
        let found = tail(&[("2026-11-23", text)]).unwrap();
        assert_eq!(found.numbers, Numbers { epoch: 8, said: 2, reserved: 9 });
        assert_eq!(found.recalled.lines(), 2);
    }

    #[test]
    fn what_has_no_mark_is_no_room() {
        assert!(tail(&[("2026-11-23", line(1))]).is_none());
        assert!(tail(&[("2026-11-23", String::new())]).is_none());
        assert!(tail(&[]).is_none());
    }
}
