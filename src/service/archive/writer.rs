//! The writer: appends what rooms took in to their files, whole lines or nothing.
//!
//! Owned by the thread of the archive. After an error it puts the file back to its last whole line, and the caller tries
//! the same again later. A [`Mark`] reserves numbers before lines have them, so that no number is given twice after a
//! crash.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use super::folder::{DayFile, Folder};
use super::mark::{MARK_BYTES, Mark};
use super::queue::{MOST_LINES, Queue};
use crate::chat::Archived;
use crate::protocol::Name;

/// Most open files. With more the writer closes all of them, and waits for no disk: strangers can make rooms.
const MOST_FILES: usize = 64;
/// Most rooms to know of, more than `max_rooms` can be. With more the writer forgets those without an open file: strangers
/// can make rooms. After a stop such a room goes on as after a crash.
const MOST_ROOMS: usize = if cfg!(test) { 150 } else { 20_000 };
/// Most bytes to write at once, besides one entry.
const PIECE: usize = 128 * 1024;
/// Lines for which a mark reserves numbers: the hub gets at most [`MOST_LINES`] ahead of what is written.
const RESERVED: u64 = 2 * MOST_LINES;

/// Where a room stands, on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub epoch: u64,
    /// The number of the last line.
    pub said: u64,
    pub reserved: u64,
}

/// A room that has been written to, or is known from an earlier process.
#[derive(Debug)]
struct Room {
    numbers: Numbers,
    /// The day of its last file.
    day: Option<Date>,
    file: Option<DayFile>,
    /// Its folder says that it is in use.
    is_used: bool,
    /// Nothing has been written to it in this process.
    is_new: bool,
    /// Bytes since the last mark.
    unmarked: u64,
    /// Lines that the kernel may not have stored.
    unsynced: u64,
    is_dirty: bool,
    /// Lines that are missing, as the next mark says.
    lost: u64,
    /// The process before crashed, as the next mark says.
    has_crashed: bool,
}

/// Writes the files of an archive.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    folder: Option<Folder>,
    rooms: HashMap<Box<str>, (Arc<Name>, Room)>,
    /// Files opened since all were closed: not fewer than are open.
    opened: usize,
    /// A file was closed that the kernel may not have stored.
    is_behind: bool,
    queue: Queue,
    /// What is written at once; empty between two writes.
    buffer: Vec<u8>,
}

/// What failed, and where.
#[derive(Debug)]
pub struct Failed {
    pub path: PathBuf,
    pub error: io::Error,
}

impl Failed {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { path, error }
    }
}

impl Writer {
    /// Returns a writer that has yet to open its folder. Opens nothing.
    pub fn new(path: PathBuf, queue: Queue) -> Self {
        let (rooms, buffer) = (HashMap::new(), Vec::new());
        Self { path, folder: None, rooms, opened: 0, is_behind: false, queue, buffer }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder. Opens it if that was not done, or if it is not there any more.
    ///
    /// # Errors
    /// See [`Folder::own`].
    pub fn folder(&mut self) -> Result<&Folder, Failed> {
        if !self.folder.as_ref().is_some_and(Folder::is_there) {
            self.close_files();
            // First the old one, for it holds the lock.
            self.folder = None;
            self.folder = Some(Folder::own(&self.path).map_err(Failed::at(&self.path))?);
        }
        self.folder.as_ref().ok_or_else(|| Failed::at(&self.path)(io::ErrorKind::NotFound.into()))
    }

    /// Goes on with a room of an earlier process, and reserves numbers for it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn go_on(&mut self, name: Name, day: Date, numbers: Numbers, now: Timestamp) -> Result<(), Failed> {
        let said = numbers.said.max(numbers.reserved);
        let has_crashed = said > numbers.said;
        let (name, numbers) = (Arc::new(name), Numbers { said, reserved: said, ..numbers });
        let room = Room { numbers, day: Some(day), is_new: true, has_crashed, ..Room::default() };
        self.rooms.insert(name.as_str().into(), (Arc::clone(&name), room));
        self.write_mark(&name, Numbers { reserved: said + RESERVED, ..numbers }, now)
    }

    /// Writes and removes items. Those of a room that cannot be written stay, in their order.
    ///
    /// # Errors
    /// The first of the kernel's.
    pub fn write(&mut self, items: &mut VecDeque<Archived>) -> Result<(), Failed> {
        let (mut left, mut failed, mut result) = (VecDeque::new(), HashSet::new(), Ok(()));
        while let Some(first) = items.front() {
            let name = Arc::clone(&first.room);
            if failed.contains(name.as_str()) {
                left.extend(items.pop_front());
            } else if let Err(error) = self.write_first(items) {
                failed.insert(name.to_string());
                result = result.and(Err(error));
            }
        }
        *items = left;
        result
    }

    /// Writes and removes what comes first, and what of the same room and day follows.
    fn write_first(&mut self, items: &mut VecDeque<Archived>) -> Result<(), Failed> {
        let Some(first) = items.front() else { return Ok(()) };
        let (name, day, queue) = (Arc::clone(&first.room), day_of(first.time), self.queue.clone());
        let mut out = std::mem::take(&mut self.buffer);
        out.clear();
        let Some(room) = self.open(&name, day, first.lines() > 0)? else {
            // Nobody has said anything there yet.
            queue.count_written(items.pop_front().iter());
            return Ok(());
        };
        let (day, before) =
            (room.day, (room.numbers, room.unmarked, room.lost, room.has_crashed, room.is_new));
        let (mut count, mut is_renewed, mut lines) = (0, false, 0);
        for item in items.iter().take_while(|item| item.room == name && Some(day_of(item.time)) <= day) {
            if out.len() >= PIECE {
                break;
            }
            is_renewed |= room.encode(item, &mut out);
            (count, lines) = (count + 1, lines + item.lines());
        }
        if let Err(error) = room.append(&out, lines, is_renewed) {
            (room.numbers, room.unmarked, room.lost, room.has_crashed, room.is_new) = before;
            return Err(room.failed(error));
        }
        let is_first = !std::mem::replace(&mut room.is_used, true);
        // The numbers are reserved only when the file is there after a power cut.
        let is_new = room.file.as_ref().is_some_and(|file| file.is_new);
        // A file that was closed in between no longer looks new.
        let is_unsafe = is_renewed && (is_new || self.is_behind);
        if let Some(folder) = self.folder.as_ref().filter(|_| is_first) {
            // The lines are there, whether or not the next start finds this room among the last ones.
            let _ = folder.touch(&name);
        }
        queue.count_written(&items.drain(..count).collect::<Vec<_>>());
        // As large as most writes need, and no larger: an entry may be long.
        if out.capacity() <= 4 * PIECE {
            self.buffer = out;
        }
        if is_unsafe { self.sync() } else { Ok(()) }
    }

    /// Has the kernel store everything on the disk: each file, or the whole file system at once if files were closed.
    ///
    /// # Errors
    /// The kernel's. Open files that are not there any more are an error, too: their lines are lost.
    pub fn sync(&mut self) -> Result<(), Failed> {
        let behind = self.folder.as_ref().filter(|_| self.is_behind);
        let (is_all, all) = (behind.is_some(), behind.map_or(Ok(()), Folder::sync));
        self.is_behind &= !is_all;
        let mut result = all.map_err(io::Error::from).map_err(Failed::at(&self.path));
        for (name, room) in self.rooms.values_mut().filter(|(_, room)| room.is_dirty) {
            let entries = |folder: &Folder| folder.sync_entries(name);
            let stored = match &room.file {
                Some(file) if !file.is_there() => {
                    Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed it"))
                }
                _ if is_all => all.map_err(io::Error::from),
                Some(file) => {
                    let folder = self.folder.as_ref().filter(|_| file.is_new);
                    file.file.sync_data().and_then(|()| folder.map_or(Ok(()), entries))
                }
                None => continue,
            };
            if let Err(error) = stored {
                // The kernel says only once that it could not store something.
                self.queue.count_gone(room.unsynced);
                room.lost += room.unsynced;
                room.unmarked = u64::MAX;
                let path = room.file.take().map_or_else(|| self.path.join(name.as_str()), |file| file.path);
                result = Err(Failed { path, error });
            }
            room.file.iter_mut().for_each(|file| file.is_new = false);
            (room.unsynced, room.is_dirty) = (0, false);
        }
        result
    }

    /// Stores everything, and notes that each room has ended in order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn end(&mut self, now: Timestamp) -> Result<(), Failed> {
        let rooms = self.rooms.values().map(|(name, room)| (Arc::clone(name), room.numbers));
        let open: Vec<_> = rooms.filter(|(_, numbers)| numbers.reserved != numbers.said).collect();
        for (name, numbers) in open {
            self.write_mark(&name, Numbers { reserved: numbers.said, ..numbers }, now)?;
        }
        self.sync()
    }

    /// Closes all files. What is not stored yet waits for [`Writer::sync`].
    pub fn close_files(&mut self) {
        for (_, room) in self.rooms.values_mut() {
            room.is_used = false;
            self.is_behind |= room.file.take().is_some() && room.is_dirty;
        }
        self.opened = 0;
    }

    /// Opens the file of a room for a day, or for a later one that it already has: the order of the files is that of the
    /// lines. Returns `None` if there is none, unless one is to be made.
    fn open(&mut self, name: &Arc<Name>, day: Date, is_made: bool) -> Result<Option<&mut Room>, Failed> {
        let is_known = self.rooms.contains_key(name.as_str());
        if !is_known || self.rooms[name.as_str()].1.file.is_none() {
            let path = self.folder()?.path_of(name);
            let newest = self.folder()?.days(name).map_err(Failed::at(&path))?.last().copied();
            if newest.is_none() && !is_made {
                return Ok(None);
            }
            if self.opened >= MOST_FILES {
                self.close_files();
            }
            if !is_known && self.rooms.len() >= MOST_ROOMS {
                self.sync()?;
                self.rooms.retain(|_, (_, room)| room.file.is_some());
            }
            let new = || (Arc::clone(name), Room { is_new: true, ..Room::default() });
            let (_, room) = self.rooms.entry(name.as_str().into()).or_insert_with(new);
            room.day = newest;
        }
        let is_next = self.rooms.get(name.as_str()).is_some_and(|(_, room)| room.day < Some(day));
        if is_next && self.rooms.get(name.as_str()).is_some_and(|(_, room)| room.is_dirty) {
            self.sync()?;
        }
        let Some((_, room)) = self.rooms.get_mut(name.as_str()) else { return Ok(None) };
        if is_next {
            (room.day, room.file) = (Some(day), None);
        }
        if let (None, Some(day), Some(folder)) = (&room.file, room.day, &self.folder) {
            let file = folder.append(name, day).map_err(Failed::at(&folder.path_of(name)))?;
            room.unmarked = if file.len == 0 { u64::MAX } else { room.unmarked };
            room.file = Some(file);
            self.opened += 1;
        }
        Ok(Some(room))
    }

    /// Writes a mark to the last file of a room.
    fn write_mark(&mut self, name: &Arc<Name>, numbers: Numbers, now: Timestamp) -> Result<(), Failed> {
        // A mark is for a file that is there: it makes none, or the folders of rooms would never go.
        let Some(room) = self.open(name, Date::MIN, false)? else { return Ok(()) };
        let mut out = Vec::new();
        room.mark(name, numbers, now).append(&mut out);
        if let Err(error) = room.append(&out, 0, false) {
            return Err(room.failed(error));
        }
        (room.numbers, room.unmarked, room.lost) = (numbers, out.len() as u64, 0);
        room.has_crashed = false;
        Ok(())
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            numbers: Numbers::default(),
            day: None,
            file: None,
            is_used: false,
            is_new: false,
            unmarked: u64::MAX,
            unsynced: 0,
            is_dirty: false,
            lost: 0,
            has_crashed: false,
        }
    }
}

impl Room {
    fn mark<'a>(&self, name: &'a Name, numbers: Numbers, time: Timestamp) -> Mark<'a> {
        let Numbers { epoch, said, reserved } = numbers;
        let time = format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time));
        let (time, room) = (time.into(), name.as_str().into());
        Mark { time, room, epoch, seq: said, reserved, lost: self.lost, crashed: self.has_crashed }
    }

    /// Appends the objects of an entry, after a mark if that is needed. Returns whether the mark reserves numbers that
    /// were not reserved. (In a new epoch none of them has been given before.)
    fn encode(&mut self, item: &Archived, out: &mut Vec<u8>) -> bool {
        let (said, last) = (item.seq - 1, item.seq - 1 + item.lines());
        let Numbers { epoch, said: before, reserved } = self.numbers;
        let is_same = epoch == item.epoch;
        let is_renewed = !is_same || last + MOST_LINES > reserved;
        if is_renewed || said != before || self.unmarked >= MARK_BYTES {
            if is_same && !self.is_new {
                self.lost += said.saturating_sub(before);
            }
            let reserved = if is_renewed { last + RESERVED } else { reserved };
            self.numbers = Numbers { epoch: item.epoch, said, reserved };
            self.mark(&item.room, self.numbers, item.time).append(out);
            (self.unmarked, self.lost, self.has_crashed) = (0, 0, false);
        }
        self.is_new = false;
        let start = out.len();
        item.encode(out);
        self.unmarked += (out.len() - start) as u64;
        self.numbers.said = last;
        is_renewed && is_same
    }

    /// Returns what failed at its file. Closes a file that is not there any more.
    fn failed(&mut self, error: io::Error) -> Failed {
        let path = self.file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        self.file.take_if(|file| !file.is_there());
        Failed { path, error }
    }

    /// Appends whole lines to the file, or nothing.
    fn append(&mut self, text: &[u8], lines: u64, is_stored: bool) -> io::Result<()> {
        let Some(opened) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        opened.append(text, is_stored)?;
        self.unsynced += lines;
        self.is_dirty = true;
        Ok(())
    }
}

/// Returns the day of a time, in UTC.
pub fn day_of(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::chat::Archive;
    use crate::chat::testing::TestHub;
    use crate::service::archive::tail;
    use crate::service::scratch::Scratch;

    struct Fixture {
        scratch: Scratch,
        queue: Queue,
        writer: Writer,
        room: Arc<Name>,
        next: u64,
    }

    const DAY: &str = "2026-11-23T10:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    impl Fixture {
        fn new() -> Self {
            let (scratch, queue) = (Scratch::new(), Queue::default());
            let writer = Writer::new(scratch.file("archive"), queue.clone());
            Self { scratch, queue, writer, room: Arc::new(Name::parse("ops").unwrap()), next: 1 }
        }

        /// Says lines, which have the next numbers.
        fn say(&mut self, when: &str, text: &str) {
            let archived = Archived::said(&self.room, 5, self.next, time(when), text);
            self.next += archived.lines();
            self.queue.append(archived);
        }

        fn write(&mut self) -> Result<(), Failed> {
            self.writer.write(&mut self.queue.take())
        }

        fn path(&self, day: &str) -> PathBuf {
            self.scratch.file("archive").join(self.room.as_str()).join(format!("{day}.jsonl"))
        }

        /// What is in a file: a mark as its numbers, a line as its number and text, and anything else by its type.
        fn lines(&self, day: &str) -> Vec<String> {
            let text = fs::read_to_string(self.path(day)).unwrap();
            assert!(text.ends_with('\n'));
            let show = |line: &str| match Mark::read(line.as_bytes()) {
                Some(mark) => {
                    let crash = if mark.crashed { " crash" } else { "" };
                    format!("mark {} {} lost {}{crash}", mark.epoch, mark.seq, mark.lost)
                }
                None => {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    match value["seq"].as_u64() {
                        Some(seq) => format!("{seq} {}", value["text"].as_str().unwrap()),
                        None => value["type"].as_str().unwrap().to_owned(),
                    }
                }
            };
            text.lines().map(show).collect()
        }

        fn numbers(&mut self) -> Numbers {
            let limits = TestHub::default().hub().limits();
            let room = Name::clone(&self.room);
            tail::read(self.writer.folder().unwrap(), &room, &limits).unwrap().unwrap().numbers
        }
    }

    #[test]
    fn lines_are_written_in_order_behind_a_mark_and_days_have_files_of_their_own() {
        let mut all = Fixture::new();
        all.say(DAY, "one\ntwo\n");
        all.say("2026-11-23T23:59:59.999Z", "three\n");
        all.say("2026-11-24T00:00:00Z", "four\n");
        // The clock goes back: the order of the files stays that of the lines.
        all.say("2026-11-23T12:00:00Z", "five\n");
        all.write().unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 one", "2 two", "3 three"]);
        assert_eq!(all.lines("2026-11-24"), ["mark 5 3 lost 0", "4 four", "5 five"]);
        assert_eq!(all.queue.state().written, 5);
    }

    #[test]
    fn a_room_in_which_nobody_has_said_anything_has_no_folder() {
        let mut all = Fixture::new();
        all.queue.append(Archived::joined(&all.room, 5, 1, time(DAY)));
        all.write().unwrap();
        assert!(!all.scratch.file("archive/ops").exists());
        all.say(DAY, "one\n");
        all.queue.append(Archived::joined(&all.room, 5, 2, time(DAY)));
        all.write().unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 one", "join"]);
    }

    #[test]
    fn numbers_are_reserved_until_the_end_and_not_behind_it() {
        let mut all = Fixture::new();
        all.say(DAY, "one\ntwo\n");
        all.write().unwrap();
        assert_eq!(all.numbers(), Numbers { epoch: 5, said: 2, reserved: 2 + RESERVED });
        all.writer.end(time(DAY)).unwrap();
        assert_eq!(all.numbers(), Numbers { epoch: 5, said: 2, reserved: 2 });
        let mut next = Writer::new(all.scratch.file("archive"), all.queue.clone());
        let (room, day) = (Name::clone(&all.room), day_of(time(DAY)));
        assert!(next.folder().is_err(), "another writer has it");
        all.writer = Writer::new(PathBuf::new(), Queue::default());
        next.go_on(room, day, Numbers { epoch: 5, said: 2, reserved: 9 }, time(DAY)).unwrap();
        all.writer = next;
        assert_eq!(all.numbers(), Numbers { epoch: 5, said: 9, reserved: 9 + RESERVED });
        all.next = 10;
        all.say(DAY, "ten\n");
        all.write().unwrap();
        all.next = 13;
        all.say(DAY, "thirteen\n");
        all.write().unwrap();
        let lines = all.lines("2026-11-23");
        assert_eq!(
            lines[lines.len() - 5..],
            ["mark 5 2 lost 0", "mark 5 9 lost 0 crash", "10 ten", "mark 5 12 lost 2", "13 thirteen"]
        );
    }

    #[test]
    fn reserved_numbers_are_always_ahead_of_what_the_hub_may_have_given() {
        let mut all = Fixture::new();
        for _ in 0..20 {
            all.next += MOST_LINES / 3;
            all.say(DAY, "x\n");
            all.write().unwrap();
            assert!(all.numbers().reserved >= all.next - 1 + MOST_LINES);
        }
    }

    #[test]
    fn after_a_failed_write_the_file_has_whole_lines_and_nothing_twice() {
        let mut all = Fixture::new();
        all.say(DAY, "one\n");
        all.write().unwrap();
        // A limit of the file size would end the test itself; a file that is only read fails as well.
        let path = all.path("2026-11-23");
        let before = fs::read(&path).unwrap();
        let (_, room) = all.writer.rooms.get_mut("ops").unwrap();
        room.file.as_mut().unwrap().file = fs::File::open(&path).unwrap();
        all.say(DAY, "two\n");
        let mut items = all.queue.take();
        assert!(all.writer.write(&mut items).is_err());
        assert_eq!((items.len(), fs::read(&path).unwrap()), (1, before));
        all.writer.close_files();
        all.writer.write(&mut items).unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 one", "2 two"]);
        assert_eq!(all.queue.state().written, 2);
    }

    #[test]
    fn what_a_write_has_left_behind_is_removed_before_the_next_one() {
        let mut all = Fixture::new();
        all.say(DAY, "one\n");
        all.write().unwrap();
        let path = all.path("2026-11-23");
        // As if a part was written, and could not be taken back.
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"type\":\"history_end\"}\n{\"ty");
        fs::write(&path, text).unwrap();
        let (_, room) = all.writer.rooms.get_mut("ops").unwrap();
        room.file.as_mut().unwrap().tear();
        all.say(DAY, "two\n");
        all.write().unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 one", "2 two"]);
    }

    #[test]
    fn a_folder_that_is_removed_is_made_again_and_what_was_in_it_counts_as_lost() {
        let mut all = Fixture::new();
        all.say(DAY, "one\n");
        all.write().unwrap();
        all.writer.sync().unwrap();
        all.say(DAY, "two\nthree\n");
        all.write().unwrap();
        fs::remove_dir_all(all.scratch.file("archive")).unwrap();
        assert!(all.writer.sync().unwrap_err().error.to_string().contains("removed"));
        all.say(DAY, "four\n");
        all.write().unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 3 lost 2", "4 four"]);
        let state = all.queue.state();
        assert_eq!((state.written, state.lost), (2, 2));
    }

    #[test]
    fn a_room_that_cannot_be_written_does_not_hold_up_the_others() {
        let mut all = Fixture::new();
        all.writer.folder().unwrap();
        fs::write(all.scratch.file("archive/ops"), "no folder").unwrap();
        let main = Arc::new(Name::parse("main").unwrap());
        for turn in 0..3 {
            all.say(DAY, "x\n");
            all.queue.append(Archived::said(&main, 5, 1 + turn, time(DAY), "x\n"));
        }
        let mut items = all.queue.take();
        assert!(all.writer.write(&mut items).is_err());
        assert_eq!((items.len(), all.queue.state().written), (3, 3));
        fs::remove_file(all.scratch.file("archive/ops")).unwrap();
        all.writer.write(&mut items).unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 x", "2 x", "3 x"]);
    }

    #[test]
    fn many_rooms_need_few_files_and_little_memory() {
        let mut all = Fixture::new();
        let rooms: Vec<Arc<Name>> =
            (0..200).map(|number| Arc::new(Name::parse(&format!("r{number}")).unwrap())).collect();
        for turn in 0..2 {
            rooms
                .iter()
                .for_each(|room| all.queue.append(Archived::said(room, 5, 1 + turn, time(DAY), "x\n")));
            all.write().unwrap();
        }
        assert!(all.writer.rooms.values().filter(|(_, room)| room.file.is_some()).count() <= MOST_FILES);
        assert!(all.writer.rooms.len() <= MOST_ROOMS);
        // Those that were forgotten have another mark.
        for (room, lines) in [("r0", 4), ("r199", 4)] {
            let text = fs::read_to_string(all.scratch.file("archive").join(room).join("2026-11-23.jsonl"));
            assert_eq!(text.unwrap().lines().count(), lines, "{room}");
        }
    }

    /// Says a line in each of some rooms, more than may be open. Returns the rooms.
    fn say_in_many_rooms(all: &mut Fixture) -> Vec<Arc<Name>> {
        let name = |number| Arc::new(Name::parse(&format!("r{number}")).unwrap());
        let rooms: Vec<Arc<Name>> = (0..2 * MOST_FILES + 10).map(name).collect();
        rooms.iter().for_each(|room| all.queue.append(Archived::said(room, 5, 1, time(DAY), "x\n")));
        all.write().unwrap();
        rooms
    }

    #[test]
    fn many_rooms_wait_for_no_disk_until_all_of_them_are_stored_at_once() {
        let mut all = Fixture::new();
        let rooms = say_in_many_rooms(&mut all);
        let dirty = |all: &Fixture| all.writer.rooms.values().filter(|(_, room)| room.is_dirty).count();
        assert!(all.writer.is_behind);
        assert_eq!(dirty(&all), rooms.len(), "nothing was stored in between");
        all.writer.sync().unwrap();
        assert_eq!((dirty(&all), all.writer.is_behind), (0, false));
        all.writer.end(time(DAY)).unwrap();
        assert_eq!((dirty(&all), all.writer.is_behind), (0, false));
        for room in rooms {
            all.room = room;
            assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 x", "mark 5 1 lost 0"]);
        }
    }

    #[test]
    fn what_the_kernel_cannot_store_of_closed_files_counts_as_lost() {
        let mut all = Fixture::new();
        let rooms = say_in_many_rooms(&mut all);
        all.writer.folder.as_mut().unwrap().spoil();
        assert!(all.writer.sync().is_err());
        let state = all.queue.state();
        assert_eq!((state.written, state.lost), (0, rooms.len() as u64));
        all.writer.sync().unwrap();
        all.room = Arc::clone(&rooms[0]);
        all.next = 2;
        all.say(DAY, "two\n");
        all.write().unwrap();
        assert_eq!(all.lines("2026-11-23"), ["mark 5 0 lost 0", "1 x", "mark 5 1 lost 1", "2 two"]);
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_counted_and_the_next_mark_says_so() {
        let mut all = Fixture::new();
        let text = format!("{}\n", "x".repeat(1 << 20));
        for _ in 0..20 {
            all.say(DAY, &text);
        }
        let lost = all.queue.state().lost;
        assert!((4..10).contains(&lost), "{lost}");
        all.write().unwrap();
        all.say(DAY, "again\n");
        all.write().unwrap();
        let lines = all.lines("2026-11-23");
        assert_eq!(lines[lines.len() - 2..], [format!("mark 5 20 lost {lost}"), "21 again".to_owned()]);
    }
}
