//! The numbers of rooms in a crash table.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{WordFile, load, store};
use super::layout::{MAX_ROOMS, ROOM_NAME_BYTES, room_at};

/// Writes the numbers of rooms into a table. Each is in force at once.
#[derive(Debug)]
pub struct RoomNumbers {
    file: Arc<WordFile>,
    indexes: HashMap<String, usize>,
    free: Vec<usize>,
}

impl RoomNumbers {
    /// Goes on with the rooms in the table. A table may have one of these at a time.
    ///
    /// # Errors
    /// The kernel's, where the table cannot be read.
    pub(super) fn new(file: Arc<WordFile>) -> io::Result<Self> {
        let indexes: HashMap<_, _> = rooms_in(&file)?.into_iter().map(|(at, name, _)| (name, at)).collect();
        let used: HashSet<_> = indexes.values().collect();
        let free = (0..MAX_ROOMS).rev().filter(|index| !used.contains(index)).collect();
        Ok(Self { file, indexes, free })
    }

    /// Sets the number of a room. That is one store. Only for a room that has no number yet it is also a system call, which
    /// allocates 144 bytes.
    ///
    /// # Errors
    /// Only for a room that has no number yet: `InvalidInput` if the name is empty or longer than [`ROOM_NAME_BYTES`],
    /// `StorageFull` if there are [`MAX_ROOMS`], the kernel's where there is no memory. Then a crash loses the number.
    pub fn set(&mut self, name: &str, number: u64) -> io::Result<()> {
        let file = &self.file;
        if let Some(index) = self.indexes.get(name) {
            file.words(room_at(*index))[0].store(number, Ordering::Release);
            return Ok(());
        }
        if !(1..=ROOM_NAME_BYTES).contains(&name.len()) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let index = *self.free.last().ok_or(ErrorKind::StorageFull)?;
        file.allocate(room_at(index))?;
        store(file.words(room_at(index)), number, name.as_bytes());
        self.free.pop();
        self.indexes.insert(name.to_owned(), index);
        Ok(())
    }

    /// Forgets a room. Does nothing if the table does not have it.
    pub fn forget(&mut self, name: &str) {
        if let Some(index) = self.indexes.remove(name) {
            self.file.words(room_at(index))[1].store(0, Ordering::Release);
            self.free.push(index);
        }
    }
}

/// Returns the index, the name and the number of each room.
pub(super) fn rooms_in(file: &WordFile) -> io::Result<Vec<(usize, String, u64)>> {
    let words = file.read(room_at(0).start..room_at(MAX_ROOMS).start)?;
    let rooms = words.chunks_exact(room_at(0).len()).enumerate().filter_map(|(index, entry)| {
        let (number, name) = load(entry)?;
        Some((index, String::from_utf8(name).ok()?, number))
    });
    Ok(rooms.collect())
}
