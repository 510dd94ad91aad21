//! The notes in a crash table: short texts, each with a number. What they mean is not known here.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{WordFile, load, store};
use super::layout::{MAX_NOTES, NOTE_BYTES, note_at};

/// Writes notes into a table. Each is in force at once.
#[derive(Debug)]
pub struct Notes {
    file: Arc<WordFile>,
    indexes: HashMap<String, usize>,
    free: Vec<usize>,
}

impl Notes {
    /// Goes on with the notes in the table. A table may have one of these at a time.
    ///
    /// # Errors
    /// The kernel's, where the table cannot be read.
    pub(super) fn new(file: Arc<WordFile>) -> io::Result<Self> {
        let indexes: HashMap<_, _> = notes_in(&file)?.into_iter().map(|(at, text, _)| (text, at)).collect();
        let used: HashSet<_> = indexes.values().collect();
        let free = (0..MAX_NOTES).rev().filter(|index| !used.contains(index)).collect();
        Ok(Self { file, indexes, free })
    }

    /// Sets the number of a text. That is one store. Only for a text that is not there yet it is also a system call, which
    /// allocates 184 bytes.
    ///
    /// # Errors
    /// Only for a text that is not there yet: `InvalidInput` if it is empty or longer than [`NOTE_BYTES`], `StorageFull` if
    /// there are [`MAX_NOTES`], the kernel's where there is no memory. Then a crash loses the note.
    pub fn set(&mut self, text: &str, number: u64) -> io::Result<()> {
        let file = &self.file;
        if let Some(index) = self.indexes.get(text) {
            file.words(note_at(*index))[0].store(number, Ordering::Release);
            return Ok(());
        }
        if !(1..=NOTE_BYTES).contains(&text.len()) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let index = *self.free.last().ok_or(ErrorKind::StorageFull)?;
        file.allocate(note_at(index))?;
        store(file.words(note_at(index)), number, text.as_bytes());
        self.free.pop();
        self.indexes.insert(text.to_owned(), index);
        Ok(())
    }

    /// The texts that are there.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.indexes.keys().map(String::as_str)
    }

    /// Removes a note. Does nothing if the table does not have it.
    pub fn forget(&mut self, text: &str) {
        if let Some(index) = self.indexes.remove(text) {
            self.file.words(note_at(index))[1].store(0, Ordering::Release);
            self.free.push(index);
        }
    }
}

/// Returns the index, the text and the number of each note.
pub(super) fn notes_in(file: &WordFile) -> io::Result<Vec<(usize, String, u64)>> {
    let words = file.read(note_at(0).start..note_at(MAX_NOTES).start)?;
    let notes = words.chunks_exact(note_at(0).len()).enumerate().filter_map(|(index, entry)| {
        let (number, text) = load(entry)?;
        Some((index, String::from_utf8(text).ok()?, number))
    });
    Ok(notes.collect())
}
