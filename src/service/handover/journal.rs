//! The journal: notes of who everybody is, in a file in memory that the service manager holds as well.
//!
//! Each note is a length, a checksum and CBOR; of one that is cut off, as of all that comes after something that cannot
//! be read, nothing is known. When the journal is long, a new one takes its place.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::MemfdFlags;

use super::memory;
use crate::chat::{Journal, Note};
use crate::service::systemd::{self, Latest};

/// What the file begins with, its version in it.
const MAGIC: &[u8; 16] = b"chatd journal 1\n";

/// How much longer a journal may get than it was when it was begun, in bytes; and how many times.
const MORE: usize = 256 * 1024;
const TIMES: usize = 2;

/// The longest note: a session that ignores as many others as it may is far below.
const MOST_BYTES: usize = 64 * 1024;

/// The most notes that pass between two attempts to begin anew where there is no memory.
const MOST_WAIT: u32 = 1024;

/// A journal in a file.
#[derive(Debug)]
pub struct FileJournal {
    file: Option<File>,
    number: u64,
    /// What it is to be begun anew at.
    long: usize,
    length: usize,
    /// Under which names the service manager holds those that are over.
    over: Vec<String>,
    /// A new one that the service manager is to hold.
    begun: Arc<Latest<Begun>>,
    has_failed: bool,
    /// How many notes pass until it is tried again to begin anew, once a note could not be written; and how many the next
    /// time.
    wait: u32,
    next_wait: u32,
}

/// A journal that has been begun, and those that it takes the place of.
#[derive(Debug)]
struct Begun {
    name: String,
    file: File,
    over: Vec<String>,
}

impl Begun {
    /// In this order: there is no moment without one.
    fn pass_on(self) {
        systemd::keep(&self.name, &[self.file.as_fd()]);
        self.over.iter().for_each(|name| systemd::forget(name));
    }
}

/// What a journal is stored as.
pub(super) fn name_of(number: u64) -> String {
    format!("journal-{number}")
}

impl FileJournal {
    /// A journal that will have the numbers after `last`, and take the place of all those in `over`.
    pub fn after(last: u64, over: Vec<String>) -> Self {
        let (wait, next_wait) = (0, 1);
        let begun = Arc::default();
        Self { file: None, number: last, long: 0, length: 0, over, begun, has_failed: false, wait, next_wait }
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        match file.write_all(bytes) {
            Ok(()) => self.length += bytes.len(),
            Err(error) => self.fail(&error),
        }
    }

    /// Says once that names will be lost if chatd crashes.
    fn fail(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            log::warn!("cannot note who is there, a crash would make everybody a guest: {error}");
        }
    }

    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(rustix::fs::memfd_create(c"chatd-journal", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        let copy = file.try_clone()?;
        self.number += 1;
        let name = name_of(self.number);
        let over = std::mem::replace(&mut self.over, vec![name.clone()]);
        // One that has not been passed on never will be: what is to be forgotten is what was there before it.
        let merge = |before: Begun, latest: Begun| Begun { over: before.over, ..latest };
        self.begun.tell(Begun { name, file: copy, over }, merge, Begun::pass_on);
        self.file = Some(file);
        self.length = bytes.len();
        self.long = bytes.len() * TIMES + MORE;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn note(&mut self, note: &Note) {
        // What comes behind half a note would never be read: all of it has to be written anew.
        if self.has_failed {
            self.wait = self.wait.saturating_sub(1);
        } else {
            self.append(&encode(note));
        }
    }

    fn is_long(&self) -> bool {
        if self.has_failed { self.wait == 0 } else { self.length > self.long }
    }

    fn begin_anew(&mut self, notes: &[Note]) {
        let mut bytes = MAGIC.to_vec();
        notes.iter().for_each(|note| bytes.extend(encode(note)));
        match self.begin(&bytes) {
            Ok(()) => {
                self.next_wait = 1;
                if std::mem::take(&mut self.has_failed) {
                    log::info!("who is there is noted again: a crash would lose no names");
                }
            }
            Err(error) => {
                self.fail(&error);
                self.wait = self.next_wait;
                self.next_wait = MOST_WAIT.min(2 * self.wait);
            }
        }
    }
}

fn encode(note: &Note) -> Vec<u8> {
    let mut body = Vec::new();
    // Neither memory nor these types refuse anything.
    let _ = ciborium::into_writer(note, &mut body);
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.append(&mut body);
    bytes
}

/// The notes in a file, the first first, up to the first that cannot be read.
///
/// # Errors
/// `InvalidData` if it is no journal of this version; otherwise the kernel's.
pub fn read(file: impl AsFd) -> io::Result<Vec<Note>> {
    let bytes = memory::read(file)?;
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a journal of this version"));
    };
    let mut notes = Vec::new();
    while let Some((note, after)) = first(rest) {
        notes.push(note);
        rest = after;
    }
    Ok(notes)
}

fn first(bytes: &[u8]) -> Option<(Note, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (body, after) = rest.split_at_checked(length).filter(|_| length <= MOST_BYTES)?;
    let is_whole = crc32fast::hash(body) == u32::from_le_bytes(*sum);
    let note = ciborium::from_reader(body).ok().filter(|_| is_whole)?;
    Some((note, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{SessionId, Standing};

    #[test]
    fn notes_are_read_up_to_the_first_that_is_not_whole() {
        let mut journal = FileJournal::after(0, Vec::new());
        let notes: Vec<Note> = (1..4).map(|id| Note::Standing(Standing::plain(SessionId(id)))).collect();
        journal.begin_anew(&notes[..1]);
        journal.note(&notes[1]);
        journal.note(&notes[2]);
        let file = journal.file.as_ref().unwrap();
        assert_eq!(read(file).unwrap(), notes);
        file.set_len(journal.length as u64 - 1).unwrap();
        assert_eq!(read(file).unwrap(), notes[..2]);
        file.set_len(7).unwrap();
        assert!(read(file).is_err());
    }

    #[test]
    fn a_note_that_could_not_be_written_is_written_again_with_all_others() {
        let mut journal = FileJournal::after(0, Vec::new());
        let notes: Vec<Note> = (1..4).map(|id| Note::Standing(Standing::plain(SessionId(id)))).collect();
        journal.begin_anew(&notes[..1]);
        assert!(!journal.is_long());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        journal.file = Some(full);
        journal.note(&notes[1]);
        assert!(journal.has_failed && journal.is_long(), "at once");
        journal.begin_anew(&notes[..2]);
        journal.note(&notes[2]);
        assert!(!journal.has_failed && !journal.is_long());
        assert_eq!(read(journal.file.as_ref().unwrap()).unwrap(), notes);
    }

    #[test]
    fn while_there_is_no_memory_it_is_tried_again_now_and_then() {
        let mut journal = FileJournal::after(0, Vec::new());
        (journal.has_failed, journal.wait) = (true, 3);
        let note = Note::Gone(SessionId(1));
        let tries = (0..3).map(|_| {
            journal.note(&note);
            journal.is_long()
        });
        assert_eq!(tries.collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn a_long_journal_is_begun_anew() {
        let mut journal = FileJournal::after(0, Vec::new());
        journal.begin_anew(&[]);
        let note = Note::Gone(SessionId(1));
        while !journal.is_long() {
            journal.note(&note);
        }
        journal.begin_anew(std::slice::from_ref(&note));
        assert!(!journal.is_long());
        assert_eq!(read(journal.file.as_ref().unwrap()).unwrap(), [note]);
    }
}
