//! The crash table: what the next process has to know of connections if this process dies at any instruction.
//!
//! The table is a file in memory (memfd_create(2)) that the service manager holds as well. This process maps it, so a
//! write costs stores and no system call. Each session has a slot, with its number and its marks. A slot has up to
//! three entries of bytes, which mean nothing here: the record says who the session is, the ignored list says whom it
//! ignores, and from the secrets follow new keys of TLS.
//!
//! An entry has two copies. A write goes to the copy that is not in force, then one store puts it in force. So a
//! death in the middle of a write leaves the entry before.
//!
//! A descriptor gets a slot with its first session, and later sessions of this descriptor have the same slot. After a
//! takeover a session has another descriptor, but it keeps its slot. So a takeover writes nothing, and a second crash
//! loses nothing. The file does not say which descriptor has which slot.
//!
//! Slots are allocated at the start, so setting a mark cannot fail. An entry is allocated when it is first written.

mod file;
mod layout;
mod notes;

pub use layout::{IGNORED_BYTES, MAX_DESCRIPTORS, MAX_NOTES, NOTE_BYTES, RECORD_BYTES};
pub use notes::Notes;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, getrlimit};
use zeroize::Zeroizing;

use crate::chat::Mark;
use crate::chat::SessionId;
use file::{WordFile, load, store};
use layout::{
    ATTEMPTS_AT, Column, GEOMETRY, GEOMETRY_AT, IGNORED, MAGIC, MAGIC_AT, NEXT_AT, OWNER, PAGE, RECORD,
    SECRETS, STATE, STOP_AT,
};

/// The mark of a session of which half a line has been read.
pub const READING: u64 = 1;
/// The mark of a session that has been sent half a line, or may have been.
pub const WRITING: u64 = 2;
/// The mark of a session that has not joined, and can do so in the next process. It has the place of [`READING`].
pub const FIRST_BYTE: u64 = 4;
/// The mark of a session in the handshake of TLS, with keys that end with the process, or with a name in a certificate
/// that the hub does not have yet. It has the place of [`READING`].
pub const HANDSHAKE: u64 = 8;
/// The mark of a session that is reading: how much it has read is not known. It has the place of [`READING`].
pub const RECEIVING: u64 = 16;
/// Session numbers are reserved this many at a time.
const RESERVED: u64 = 64;

/// The content of the table of the previous process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// No session has had this number, or a greater one.
    pub next: u64,
    /// How many takeovers in a row did not finish.
    pub attempts: u64,
    /// The sessions, in no order.
    pub sessions: Vec<LeftSession>,
    /// The notes and their numbers, in no order.
    pub notes: Vec<(String, u64)>,
}

/// A session of the previous process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftSession {
    /// Its number.
    pub id: SessionId,
    /// [`READING`] or what has its place, and [`WRITING`]; or 0.
    pub marks: u64,
    /// The record of who it is, if there is one.
    pub record: Option<Vec<u8>>,
    /// The list of sessions that it ignores, if there is one.
    pub ignored: Option<Vec<u8>>,
    /// The secrets of TLS, if there are any.
    pub secrets: Option<Zeroizing<Vec<u8>>>,
}

/// The table; see the module.
#[derive(Debug)]
pub struct CrashTable {
    file: Arc<WordFile>,
    /// The slot of each descriptor, plus 1; 0 if it has had no session.
    slots: Vec<AtomicUsize>,
    unbound: Mutex<Unbound>,
}

/// The slots that no descriptor has.
#[derive(Debug, Default)]
struct Unbound {
    /// Those of sessions that another process has left, by their numbers.
    left: HashMap<u64, usize>,
    free: Vec<usize>,
}

impl CrashTable {
    /// Makes an empty table. It has a slot for each descriptor below the hard limit of RLIMIT_NOFILE, at most
    /// [`MAX_DESCRIPTORS`], and allocates 32 bytes for each.
    ///
    /// # Errors
    /// The kernel's, where there is no memory. Without a table a crash loses all sessions.
    pub fn new() -> io::Result<Self> {
        let file = memfd_create(c"chatd-table", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let (table, _) = Self::map(file.into())?;
        table.head(GEOMETRY_AT).store(GEOMETRY, Ordering::Relaxed);
        table.head(MAGIC_AT).store(MAGIC, Ordering::Release);
        Ok(table)
    }

    /// Takes over the table of a process that is gone. Returns what that process left, except what is damaged. A
    /// session that is there twice counts once.
    ///
    /// Call [`CrashTable::own`] for each session that goes on, then [`CrashTable::forget_left`]. If this process dies
    /// before that, the next one finds all sessions again.
    ///
    /// # Errors
    /// `InvalidData` if the file is not a table of this version. `EPERM` or `EINVAL` if it cannot be sealed against
    /// shrinking. The kernel's, where there is no memory. Then nothing is known of any session.
    pub fn take_over(file: OwnedFd) -> io::Result<(Self, Left)> {
        let file = File::from(file);
        if !is_table(&file) {
            return Err(io::Error::new(ErrorKind::InvalidData, "not a crash table of this version"));
        }
        let (table, sessions) = Self::map(file)?;
        let [next, attempts] = [NEXT_AT, ATTEMPTS_AT].map(|at| table.head(at).load(Ordering::Relaxed));
        let notes =
            notes::notes_in(&table.file)?.into_iter().map(|(_, text, number)| (text, number)).collect();
        Ok((table, Left { next, attempts, sessions, notes }))
    }

    /// Maps the table, grows it to have all slots, and finds the sessions in it.
    fn map(file: File) -> io::Result<(Self, Vec<LeftSession>)> {
        let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let descriptors = limit.clamp(1, MAX_DESCRIPTORS as u64) as usize;
        let file = WordFile::map(file, layout::length_for(descriptors))?;
        file.allocate(0..PAGE)?;
        let all = 0..layout::slots_in(file.len());
        layout::pages_in(file.len()).try_for_each(|page| file.allocate(page))?;
        let slots = (0..descriptors).map(|_| AtomicUsize::new(0)).collect();
        let table = Self { file: Arc::new(file), slots, unbound: Mutex::default() };
        let mut sessions = Vec::new();
        let mut unbound = table.unbound();
        // The last in the list is taken first. That is the lowest, so that entries are on few pages.
        for slot in all.rev() {
            match table.left_in(slot) {
                Some(session) if !unbound.left.contains_key(&session.id.0) => {
                    unbound.left.insert(session.id.0, slot);
                    sessions.push(session);
                }
                _ => unbound.free.push(slot),
            }
        }
        drop(unbound);
        Ok((table, sessions))
    }

    /// Returns what writes notes into the table. There may be one of these at a time.
    ///
    /// # Errors
    /// The kernel's, where the table cannot be read.
    pub fn notes(&self) -> io::Result<Notes> {
        Notes::new(Arc::clone(&self.file))
    }

    /// Sets how many takeovers in a row did not finish.
    pub fn set_attempts(&self, attempts: u64) {
        self.head(ATTEMPTS_AT).store(attempts, Ordering::Release);
    }

    /// Sets when chatd stops, in seconds since 1970, as an operator has said; `None` if it does not.
    pub fn set_stop(&self, at: Option<u64>) {
        self.head(STOP_AT).store(at.unwrap_or(0), Ordering::Release);
    }

    /// Returns when chatd stops, in seconds since 1970, as an operator has said to this process or to the one before.
    pub fn stop(&self) -> Option<u64> {
        Some(self.head(STOP_AT).load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Notes that a session has this number. No process gives it again; after a crash the next one skips up to 63
    /// numbers.
    pub fn reserve(&self, id: SessionId) {
        let next = self.head(NEXT_AT);
        if id.0 >= next.load(Ordering::Relaxed) {
            next.fetch_max(id.0.saturating_add(RESERVED), Ordering::Relaxed);
        }
    }

    /// Gives a descriptor's slot to a session, whose number is not 0. If another process left the session, it keeps
    /// its marks, record and ignored list. Otherwise it has none. Call it again as often as you like.
    ///
    /// Does nothing if there is no slot: [`CrashTable::mark`] returns `None` then, and after a crash nothing is known
    /// of the session. That happens for a descriptor above the limit at the start, or while left sessions have all
    /// slots.
    pub fn own(&self, socket: BorrowedFd<'_>, id: SessionId) {
        let Some(bound) = self.slots.get(socket.as_raw_fd() as usize) else { return };
        if self.slot_of(socket, id).is_some() {
            return;
        }
        let mut unbound = self.unbound();
        let before = bound.load(Ordering::Relaxed).checked_sub(1);
        let left = unbound.left.remove(&id.0);
        if left.is_some() {
            before.inspect(|slot| self.clear(*slot));
            unbound.free.extend(before);
        }
        let Some(slot) = left.or(before).or_else(|| unbound.free.pop()) else { return };
        if left.is_none() {
            self.clear(slot);
            self.slot(slot)[OWNER].store(id.0, Ordering::Release);
        }
        bound.store(slot + 1, Ordering::Release);
    }

    /// Forgets a session that is over. Does nothing if the session does not own the descriptor. Call it before you
    /// close the descriptor: otherwise the next process finds the session until another one owns that descriptor.
    pub fn disown(&self, socket: BorrowedFd<'_>, id: SessionId) {
        if let Some(slot) = self.slot_of(socket, id) {
            self.clear(slot);
        }
    }

    /// Forgets all sessions that another process left and that own no descriptor.
    pub fn forget_left(&self) {
        let Unbound { left, free } = &mut *self.unbound();
        free.extend(left.drain().map(|(_, slot)| slot).inspect(|slot| self.clear(*slot)));
    }

    /// Returns a mark of a session: [`WRITING`], or [`READING`] or what has its place; `None` if it does not own the descriptor. Two
    /// threads may set the two marks at the same time. Do not set a mark when the descriptor is closed.
    pub fn mark(&self, socket: BorrowedFd<'_>, id: SessionId, which: u64) -> Option<Mark<'_>> {
        let slot = self.slot(self.slot_of(socket, id)?);
        Some(Mark::new(&slot[if which == WRITING { WRITING } else { READING } as usize], which))
    }

    /// Notes who a session is. This replaces the record before; an empty one removes it. The first record of a
    /// session takes a system call that allocates 672 bytes; later ones are only stores. Do not call this or
    /// [`CrashTable::disown`] for one session in two threads at the same time.
    ///
    /// # Errors
    /// `InvalidInput` if the session does not own the descriptor, or if the record is longer than [`RECORD_BYTES`]. The
    /// kernel's, where there is no memory: only for the first record, or the first after an empty one. Then the session
    /// has no record, not even the one before: after a crash nobody knows who it is.
    pub fn record(&self, socket: BorrowedFd<'_>, id: SessionId, record: &[u8]) -> io::Result<()> {
        self.write(&RECORD, socket, id, record)
    }

    /// Notes whom a session ignores, in the same way as [`CrashTable::record`]. The first list allocates 1648 bytes.
    /// Other threads may call `record` at the same time.
    ///
    /// # Errors
    /// Those of `record`, with [`IGNORED_BYTES`]. Then the session has no list: after a crash it ignores nobody.
    pub fn set_ignored(&self, socket: BorrowedFd<'_>, id: SessionId, list: &[u8]) -> io::Result<()> {
        self.write(&IGNORED, socket, id, list)
    }

    /// Notes the secrets of TLS, in the same way as [`CrashTable::record`], and overwrites those before. The first
    /// allocates 240 bytes. Other threads may call `record` or `set_ignored` at the same time.
    ///
    /// # Errors
    /// Those of `record`, with [`SECRETS_BYTES`](super::tls::SECRETS_BYTES). Then the session has none.
    pub fn set_secrets(&self, socket: BorrowedFd<'_>, id: SessionId, secrets: &[u8]) -> io::Result<()> {
        self.write(&SECRETS, socket, id, secrets)?;
        if let Some(slot) = self.slot_of(socket, id).filter(|_| !secrets.is_empty()) {
            // The keys of what was sent before follow from the secrets before.
            let in_force = self.slot(slot)[STATE].load(Ordering::Acquire) >> SECRETS.shift & 3;
            let [one, two] = SECRETS.copies(slot);
            self.wipe(if in_force == 1 { two } else { one });
        }
        Ok(())
    }

    fn write(&self, column: &Column, socket: BorrowedFd<'_>, id: SessionId, bytes: &[u8]) -> io::Result<()> {
        let slot = self.slot_of(socket, id).ok_or(ErrorKind::InvalidInput)?;
        let state = &self.slot(slot)[STATE];
        let current = state.load(Ordering::Acquire) >> column.shift & 3;
        let [one, two] = column.copies(slot);
        let written = match bytes.len() {
            0 => Ok(0),
            length if length > column.most_bytes => Err(ErrorKind::InvalidInput.into()),
            _ if current == 0 => self.file.allocate(one.start..two.end).map(|()| 1),
            _ => Ok(3 - current),
        };
        let next = *written.as_ref().unwrap_or(&0);
        if next != 0 {
            store(self.file.words(if next == 1 { one } else { two }), id.0, bytes);
        }
        // The other entry may change at the same time. No store of a later write comes before this.
        state.fetch_xor((current ^ next) << column.shift, Ordering::AcqRel);
        written.map(drop)
    }

    /// Returns what is in a slot; `None` if it is free.
    fn left_in(&self, slot: usize) -> Option<LeftSession> {
        let words = self.slot(slot);
        let [owner, reading, writing] =
            [0, READING, WRITING].map(|at| words[at as usize].load(Ordering::Acquire));
        let reading =
            if matches!(reading, 0 | FIRST_BYTE | HANDSHAKE | RECEIVING) { reading } else { READING };
        let writing = if writing == 0 { 0 } else { WRITING };
        (owner != 0).then(|| LeftSession {
            id: SessionId(owner),
            marks: reading | writing,
            record: self.bytes_in(&RECORD, slot, owner),
            ignored: self.bytes_in(&IGNORED, slot, owner),
            secrets: self.bytes_in(&SECRETS, slot, owner).map(Zeroizing::new),
        })
    }

    fn bytes_in(&self, column: &Column, slot: usize, owner: u64) -> Option<Vec<u8>> {
        let state = &self.slot(slot)[STATE];
        let [one, two] = column.copies(slot);
        let copy = match state.load(Ordering::Acquire) >> column.shift & 3 {
            1 => Some(one),
            2 => Some(two),
            _ => None,
        };
        let entry = copy
            .and_then(|copy| load(&Zeroizing::new(self.file.read(copy).ok()?)))
            .filter(|(id, _)| *id == owner);
        if entry.is_none() {
            // If it is damaged, it may not be allocated. The next write does that.
            state.fetch_and(!(3 << column.shift), Ordering::AcqRel);
        }
        entry.map(|(_, bytes)| bytes)
    }

    /// Returns the slot of a descriptor, if the session owns it.
    fn slot_of(&self, socket: BorrowedFd<'_>, id: SessionId) -> Option<usize> {
        let bound = self.slots.get(socket.as_raw_fd() as usize)?;
        let slot = bound.load(Ordering::Acquire).checked_sub(1)?;
        (self.slot(slot)[OWNER].load(Ordering::Acquire) == id.0).then_some(slot)
    }

    fn slot(&self, slot: usize) -> &[AtomicU64] {
        self.file.words(layout::slot_at(slot))
    }

    /// Frees a slot, and overwrites the secrets in it. The owner is cleared first, so after a death in the middle it is
    /// free, too. The state is cleared last, so the next session that gets the slot overwrites the secrets then.
    fn clear(&self, slot: usize) {
        let words = self.slot(slot);
        words[OWNER].store(0, Ordering::SeqCst);
        if words[STATE].load(Ordering::SeqCst) >> SECRETS.shift & 3 != 0 {
            SECRETS.copies(slot).into_iter().for_each(|copy| self.wipe(copy));
        }
        words.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// Overwrites an entry, which has to be allocated.
    fn wipe(&self, copy: Range<usize>) {
        self.file.words(copy).iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn head(&self, word: usize) -> &AtomicU64 {
        &self.file.words(0..PAGE)[word]
    }

    fn unbound(&self) -> MutexGuard<'_, Unbound> {
        self.unbound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for CrashTable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_table(file: &File) -> bool {
    let length = file.metadata().ok().filter(|data| data.is_file()).map_or(0, |data| data.len());
    let slots = layout::slots_in(length as usize / 8);
    let is_whole = (1..=MAX_DESCRIPTORS).contains(&slots) && length == 8 * layout::length_for(slots) as u64;
    is_whole
        && file::read(file, 0..PAGE)
            .is_ok_and(|head| head[MAGIC_AT] == MAGIC && head[GEOMETRY_AT] == GEOMETRY)
}

#[cfg(test)]
mod tests {
    use std::os::fd::RawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustix::fs::SealFlags;

    use super::*;
    use crate::net::tls::SECRETS_BYTES;

    /// A descriptor with at least that number.
    fn socket(number: RawFd) -> OwnedFd {
        rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), number).unwrap()
    }

    /// What another process finds.
    fn next_process(table: &CrashTable) -> (CrashTable, Left) {
        CrashTable::take_over(table.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    fn left_by(table: &CrashTable) -> Vec<LeftSession> {
        let mut sessions = next_process(table).1.sessions;
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    fn left(id: u64, marks: u64, record: &str, list: &str) -> LeftSession {
        let bytes = |text: &str| Some(text.as_bytes().to_vec()).filter(|bytes| !bytes.is_empty());
        let (record, list) = (bytes(record), bytes(list));
        LeftSession { ignored: list, id: SessionId(id), marks, record, secrets: None }
    }

    /// A table with one session, which has a record.
    fn table_with(socket: &OwnedFd, id: u64, record: &str) -> CrashTable {
        let table = CrashTable::new().unwrap();
        table.own(socket.as_fd(), SessionId(id));
        table.record(socket.as_fd(), SessionId(id), record.as_bytes()).unwrap();
        table
    }

    /// The memory that a table takes, in bytes.
    fn memory_of(table: &CrashTable) -> u64 {
        rustix::fs::fstat(table.as_fd()).unwrap().st_blocks as u64 * 512
    }

    /// A file that has as many bytes as a table with that many slots and these more.
    fn file_of(slots: usize, more: i64, head: &[u64], flags: MemfdFlags) -> OwnedFd {
        let file = File::from(memfd_create(c"test", flags | MemfdFlags::CLOEXEC).unwrap());
        let bytes: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        file.set_len((8 * layout::length_for(slots) as u64).strict_add_signed(more)).unwrap();
        file.into()
    }

    #[test]
    fn the_next_process_finds_what_was_written_last() {
        let table = CrashTable::new().unwrap();
        assert_eq!(next_process(&table).1, Left::default());
        let [one, other, third] = [1, 2, 3].map(SessionId);
        let [a, b, c] = [0, 0, 300].map(socket);
        for (socket, id) in [(&a, one), (&b, other), (&c, third)] {
            table.own(socket.as_fd(), id);
        }
        for name in ["ann", "bob", "ann in lobby"] {
            table.record(a.as_fd(), one, name.as_bytes()).unwrap();
        }
        table.set_ignored(a.as_fd(), one, b"eve").unwrap();
        table.record(b.as_fd(), other, &[b'x'; RECORD_BYTES]).unwrap();
        table.set_secrets(b.as_fd(), other, &[b'z'; SECRETS_BYTES]).unwrap();
        table.set_ignored(b.as_fd(), other, &[b'y'; IGNORED_BYTES]).unwrap();
        table.set_ignored(c.as_fd(), third, b"ann").unwrap();
        table.set_ignored(c.as_fd(), third, b"").unwrap();
        for (socket, id, which, is_set) in [
            (&a, one, READING, true),
            (&a, one, WRITING, true),
            (&c, third, WRITING, true),
            (&a, one, READING, false),
        ] {
            table.mark(socket.as_fd(), id, which).unwrap().set(is_set);
        }
        table.reserve(third);
        table.set_attempts(2);
        let full = left(2, 0, &"x".repeat(RECORD_BYTES), &"y".repeat(IGNORED_BYTES));
        let full = LeftSession { secrets: Some(vec![b'z'; SECRETS_BYTES].into()), ..full };
        let all = [left(1, WRITING, "ann in lobby", "eve"), full, left(3, WRITING, "", "")];
        assert_eq!(left_by(&table), all);
        let (_, left) = next_process(&table);
        assert_eq!((left.next, left.attempts), (3 + RESERVED, 2));
        table.reserve(one);
        assert_eq!(next_process(&table).1.next, 3 + RESERVED, "it only grows");
        assert_eq!(next_process(&table).0.stop(), None);
        table.set_stop(Some(1000));
        assert_eq!(next_process(&table).0.stop(), Some(1000));
        table.set_stop(None);
        assert_eq!(next_process(&table).0.stop(), None);
    }

    #[test]
    fn a_death_in_the_middle_of_a_write_leaves_the_record_before() {
        let (socket, id) = (socket(0), SessionId(7));
        let table = table_with(&socket, 7, "before this");
        let slot = table.slot_of(socket.as_fd(), id).unwrap();
        for (before, after, copy) in [("before this", "and after it", 1), ("and after it", "once more", 0)] {
            let copy = table.file.words(RECORD.copies(slot)[copy].clone());
            // It writes the words in this order, and dies after any of them.
            for count in 0..copy.len() {
                copy[1].store(0, Ordering::Relaxed);
                copy[0].store(7, Ordering::Relaxed);
                copy[2..][..count.min(copy.len() - 2)]
                    .iter()
                    .for_each(|word| word.store(!0, Ordering::Relaxed));
                assert_eq!(left_by(&table), [left(7, 0, before, "")], "{count}");
            }
            store(copy, 7, after.as_bytes());
            assert_eq!(left_by(&table), [left(7, 0, before, "")], "all but the last store");
            table.record(socket.as_fd(), id, after.as_bytes()).unwrap();
            assert_eq!(left_by(&table), [left(7, 0, after, "")]);
        }
    }

    #[test]
    fn a_damaged_record_is_left_out_and_can_be_written_again() {
        let (socket, id) = (socket(0), SessionId(7));
        let table = table_with(&socket, 7, "ann");
        table.set_ignored(socket.as_fd(), id, b"eve").unwrap();
        let slot = table.slot_of(socket.as_fd(), id).unwrap();
        let [record, _] = RECORD.copies(slot);
        for word in [0, 1, 2] {
            let word = &table.file.words(record.clone())[word];
            word.fetch_xor(1 << 20, Ordering::Relaxed);
            assert_eq!(left_by(&table), [left(7, 0, "", "eve")]);
            table.record(socket.as_fd(), id, b"ann").unwrap();
            assert_eq!(left_by(&table), [left(7, 0, "ann", "eve")]);
        }
        table.slot(slot)[STATE].store(!0, Ordering::Relaxed);
        assert_eq!(left_by(&table), [left(7, 0, "", "")]);
        assert_eq!(table.slot(slot)[STATE].load(Ordering::Relaxed) & 15, 0);
    }

    #[test]
    fn a_reused_descriptor_has_nothing_of_the_session_before() {
        let (socket, ann, bob) = (socket(0), SessionId(7), SessionId(8));
        for is_told in [true, false] {
            let table = table_with(&socket, 7, "ann");
            let socket = socket.as_fd();
            table.set_ignored(socket, ann, b"eve").unwrap();
            table.mark(socket, ann, READING).unwrap().set(true);
            if is_told {
                table.disown(socket, ann);
                assert_eq!(left_by(&table), []);
            }
            table.own(socket, bob);
            assert_eq!(left_by(&table), [left(8, 0, "", "")]);
            // All of that comes too late.
            table.disown(socket, ann);
            assert!(table.mark(socket, ann, READING).is_none());
            assert_eq!(table.record(socket, ann, b"ann").unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(left_by(&table), [left(8, 0, "", "")]);
            table.record(socket, bob, b"bob").unwrap();
            table.own(socket, bob);
            assert_eq!(left_by(&table), [left(8, 0, "bob", "")], "it is owned already");
        }
    }

    #[test]
    fn a_record_of_another_session_is_nobodys() {
        let (socket, id) = (socket(0), SessionId(7));
        let table = table_with(&socket, 7, "ann");
        // As if the session before wrote its record when this one had got the slot.
        let slot = table.slot_of(socket.as_fd(), id).unwrap();
        store(table.file.words(RECORD.copies(slot)[0].clone()), 6, b"somebody else");
        assert_eq!(left_by(&table), [left(7, 0, "", "")]);
    }

    #[test]
    fn sessions_keep_everything_whatever_descriptors_they_get() {
        let sockets: [OwnedFd; 4] = [0; 4].map(socket);
        let first = CrashTable::new().unwrap();
        for (socket, id) in sockets.iter().zip(1..) {
            first.own(socket.as_fd(), SessionId(id));
            first.record(socket.as_fd(), SessionId(id), format!("user {id}").as_bytes()).unwrap();
            first.mark(socket.as_fd(), SessionId(id), READING).unwrap().set(true);
        }
        let all: Vec<_> = (1..5).map(|id| left(id, READING, &format!("user {id}"), "")).collect();
        // Session 1 does not go on; the others have other descriptors, one of which somebody has had before.
        let (second, found) = next_process(&first);
        assert_eq!(found.sessions.len(), 4);
        second.own(sockets[2].as_fd(), SessionId(9));
        for (socket, id) in sockets[1..].iter().rev().zip(2..) {
            second.own(socket.as_fd(), SessionId(id));
            // It may die at any time.
            assert_eq!(
                left_by(&second).iter().filter(|left| left.id.0 < 9).collect::<Vec<_>>(),
                all.iter().collect::<Vec<_>>()
            );
        }
        second.forget_left();
        assert_eq!(left_by(&second), all[1..]);
        second.mark(sockets[3].as_fd(), SessionId(2), READING).unwrap().set(false);
        second.record(sockets[3].as_fd(), SessionId(2), b"another").unwrap();
        second.own(sockets[0].as_fd(), SessionId(10));
        second.disown(sockets[1].as_fd(), SessionId(4));
        assert_eq!(left_by(&second), [left(2, 0, "another", ""), all[2].clone(), left(10, 0, "", "")]);
    }

    #[test]
    fn a_session_that_is_there_twice_counts_once() {
        let table = CrashTable::new().unwrap();
        let (a, b, id) = (socket(0), socket(0), SessionId(7));
        table.own(a.as_fd(), id);
        table.own(b.as_fd(), id);
        assert_eq!(left_by(&table), [left(7, 0, "", "")]);
        let (table, _) = next_process(&table);
        table.own(a.as_fd(), id);
        table.forget_left();
        table.own(b.as_fd(), SessionId(8));
        assert_eq!(left_by(&table), [left(7, 0, "", ""), left(8, 0, "", "")]);
    }

    #[test]
    fn secrets_end_with_their_session() {
        let (socket, id) = (socket(0), SessionId(7));
        let table = table_with(&socket, 7, "ann");
        let slot = table.slot_of(socket.as_fd(), id).unwrap();
        for secrets in [[b'x'; SECRETS_BYTES], [b'y'; SECRETS_BYTES]] {
            table.set_secrets(socket.as_fd(), id, &secrets).unwrap();
            assert_eq!(left_by(&table)[0].secrets.as_ref().map(|all| all.as_slice()), Some(&secrets[..]));
        }
        let words = || SECRETS.copies(slot).into_iter().flat_map(|copy| table.file.words(copy));
        assert!(words().any(|word| word.load(Ordering::Relaxed) != 0));
        let before = u64::from_ne_bytes([b'x'; 8]);
        assert!(words().all(|word| word.load(Ordering::Relaxed) != before), "new ones overwrite them");
        table.disown(socket.as_fd(), id);
        assert!(words().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn many_sessions_come_and_go() {
        let table = CrashTable::new().unwrap();
        let sockets: Vec<OwnedFd> = (0..150).map(|_| socket(0)).collect();
        for round in [0, 1000] {
            for (socket, id) in sockets.iter().zip(round..) {
                let (socket, id) = (socket.as_fd(), SessionId(id + 1));
                table.own(socket, id);
                table.record(socket, id, id.0.to_string().as_bytes()).unwrap();
                table.set_ignored(socket, id, (id.0 + 1).to_string().as_bytes()).unwrap();
            }
        }
        let all = (1001..1151).map(|id| left(id, 0, &id.to_string(), &(id + 1).to_string()));
        assert_eq!(left_by(&table), all.collect::<Vec<_>>());
        assert!(table.unbound().free.len() + 150 >= table.slots.len(), "each descriptor has one slot");
    }

    #[test]
    fn without_a_slot_nothing_is_noted() {
        let (socket, id) = (socket(0), SessionId(7));
        let (mut small, full) = (CrashTable::new().unwrap(), CrashTable::new().unwrap());
        small.slots.truncate(socket.as_raw_fd() as usize);
        full.unbound().free.clear();
        for table in [small, full] {
            table.own(socket.as_fd(), id);
            assert!(table.mark(socket.as_fd(), id, READING).is_none());
            let error = table.record(socket.as_fd(), id, b"ann").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            table.disown(socket.as_fd(), id);
            assert_eq!(left_by(&table), []);
        }
    }

    #[test]
    fn only_records_take_memory() {
        let table = CrashTable::new().unwrap();
        let at_first = memory_of(&table);
        let sockets: Vec<OwnedFd> = (0..200).map(|_| socket(0)).collect();
        for (socket, id) in sockets.iter().zip(1..).map(|(socket, id)| (socket.as_fd(), SessionId(id))) {
            table.own(socket, id);
            table.mark(socket, id, WRITING).unwrap().set(true);
            table.record(socket, id, b"").unwrap();
        }
        let (table, left) = next_process(&table);
        assert_eq!(left.sessions.len(), 200);
        table.forget_left();
        let mut rooms = next_process(&table).0.notes().unwrap();
        rooms.forget("lobby");
        assert_eq!(memory_of(&table), at_first);
        table.own(sockets[0].as_fd(), SessionId(1));
        table.record(sockets[0].as_fd(), SessionId(1), b"ann").unwrap();
        assert!(memory_of(&table) > at_first);
    }

    #[test]
    fn where_there_is_no_memory_there_is_an_error_and_no_stale_record() {
        let (a, b) = (socket(0), socket(0));
        let (one, other) = (SessionId(1), SessionId(2));
        let mut table = table_with(&a, 1, "ann");
        table.own(b.as_fd(), other);
        table.record(b.as_fd(), other, b"bob").unwrap();
        table.record(b.as_fd(), other, &[0; RECORD_BYTES + 1]).unwrap_err();
        assert_eq!(left_by(&table), [left(1, 0, "ann", ""), left(2, 0, "", "")]);
        let file = table.as_fd().try_clone_to_owned().unwrap();
        Arc::get_mut(&mut table.file).unwrap().have_no_memory();
        let left_in = |file: &OwnedFd| CrashTable::take_over(file.try_clone().unwrap()).unwrap().1.sessions;
        table.record(b.as_fd(), other, b"bob again").unwrap_err();
        table.record(a.as_fd(), one, b"ann again").unwrap();
        table.set_ignored(a.as_fd(), one, b"bob").unwrap_err();
        assert_eq!(left_in(&file), [left(2, 0, "", ""), left(1, 0, "ann again", "")]);
        let mut rooms = table.notes().unwrap();
        rooms.set("lobby", 1).unwrap_err();
        assert_eq!(CrashTable::take_over(file).unwrap().1.notes, []);
    }

    #[test]
    fn what_is_no_table_is_told_from_one() {
        let (one, _other) = UnixStream::pair().unwrap();
        let (sealing, none) = (MemfdFlags::ALLOW_SEALING, MemfdFlags::empty());
        let head = [MAGIC, GEOMETRY];
        let not_tables = [
            one.into(),
            File::open("/dev/zero").unwrap().into(),
            memfd_create(c"test", none).unwrap(),
            file_of(0, 0, &head, sealing),
            file_of(128, -1, &head, sealing),
            file_of(128, 8, &head, sealing),
            file_of(MAX_DESCRIPTORS + 1, 0, &head, sealing),
            file_of(128, 0, &[MAGIC ^ 1, GEOMETRY], sealing),
            file_of(128, 0, &[MAGIC, GEOMETRY + 1], sealing),
        ];
        for file in not_tables {
            assert_eq!(CrashTable::take_over(file).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        let error = CrashTable::take_over(file_of(128, 0, &head, none)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let file = file_of(128, 0, &head, sealing);
        // No seal can be added any more, and none has to be.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL).unwrap();
        let (table, left) = CrashTable::take_over(file).unwrap();
        assert_eq!(left, Left::default());
        assert!(layout::slots_in(table.file.len()) >= table.slots.len(), "it has grown");
        assert!(File::from(table.as_fd().try_clone_to_owned().unwrap()).set_len(4096).is_err());
    }

    #[test]
    fn rooms_have_their_last_numbers() {
        let table = Arc::new(CrashTable::new().unwrap());
        let mut rooms = table.notes().unwrap();
        let left_by = |table: &CrashTable| {
            let mut rooms = next_process(table).1.notes;
            rooms.sort();
            rooms.iter().map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>().join(", ")
        };
        let long = "x".repeat(NOTE_BYTES);
        for (name, number) in [("lobby", 1), ("café", 5), ("lobby", 3), (&long, u64::MAX)] {
            rooms.set(name, number).unwrap();
        }
        assert_eq!(left_by(&table), format!("café 5, lobby 3, {long} {}", u64::MAX));
        for name in ["", &"x".repeat(NOTE_BYTES + 1)] {
            assert_eq!(rooms.set(name, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        rooms.forget(&long);
        rooms.forget("café");
        rooms.forget("nowhere");
        let table = Arc::new(next_process(&table).0);
        let mut rooms = table.notes().unwrap();
        rooms.set("lobby", 4).unwrap();
        rooms.set("garden", 0).unwrap();
        assert_eq!(left_by(&table), "garden 0, lobby 4");
        for number in 2..MAX_NOTES {
            rooms.set(&number.to_string(), 0).unwrap();
        }
        assert_eq!(rooms.set("one more", 0).unwrap_err().kind(), ErrorKind::StorageFull);
        rooms.forget("7");
        rooms.set("one more", 0).unwrap();
        assert_eq!(next_process(&table).1.notes.len(), MAX_NOTES);
    }

    #[test]
    fn a_death_in_the_middle_of_a_new_room_leaves_no_room() {
        let table = Arc::new(CrashTable::new().unwrap());
        let mut rooms = table.notes().unwrap();
        rooms.set("lobby", 1).unwrap();
        rooms.forget("lobby");
        // The next one comes to the same place.
        let words = table.file.words(layout::note_at(0));
        for word in [0, 2, 3] {
            words[word].store(u64::from_ne_bytes(*b"the gard"), Ordering::Relaxed);
            assert_eq!(next_process(&table).1.notes, []);
        }
        rooms.set("the garden", 2).unwrap();
        assert_eq!(next_process(&table).1.notes, [("the garden".to_owned(), 2)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn whatever_is_in_it_can_be_taken_over(
            slots in prop::collection::vec((0..128_usize, [0..6_u64, 0..2, 0..2, 0..16]), 0..20),
            entries in prop::collection::vec((0..128_usize, 0..2_usize, 0..6_u64, ".{0,60}"), 0..20),
            junk in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u64>(), 1..40)), 0..20),
        ) {
            let file = file_of(128, 0, &[MAGIC, GEOMETRY], MemfdFlags::ALLOW_SEALING);
            let words = WordFile::map(file.try_clone().unwrap().into(), 0).unwrap();
            let put = |at: usize, values: &[u64]| {
                let values = &values[..values.len().min(words.len() - at)];
                let words = words.words(at..at + values.len());
                words.iter().zip(values).for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
            };
            for (slot, values) in slots {
                put(layout::slot_at(slot).start, &values);
            }
            for (slot, copy, id, bytes) in entries {
                let column = if id % 2 == 0 { &RECORD } else { &IGNORED };
                store(words.words(column.copies(slot)[copy].clone()), id, bytes.as_bytes());
                store(words.words(layout::note_at(slot)), id, bytes.as_bytes());
            }
            for (at, values) in junk {
                put(layout::PAGE + at.index(words.len() - layout::PAGE), &values);
            }
            let (table, left) = CrashTable::take_over(file).unwrap();
            let ids: std::collections::HashSet<_> = left.sessions.iter().map(|session| session.id).collect();
            prop_assert_eq!(ids.len(), left.sessions.len());
            // What was found there is found again, and can be gone on with.
            prop_assert_eq!(&next_process(&table).1, &left);
            let sockets: Vec<_> = left.sessions.iter().map(|session| (session, socket(0))).collect();
            for (session, socket) in &sockets {
                table.own(socket.as_fd(), session.id);
                table.record(socket.as_fd(), session.id, b"name").unwrap();
                table.set_ignored(socket.as_fd(), session.id, b"others").unwrap();
            }
            table.forget_left();
            let mut expected = left.sessions.clone();
            for session in &mut expected {
                (session.record, session.ignored) = (Some(b"name".to_vec()), Some(b"others".to_vec()));
            }
            prop_assert_eq!(next_process(&table).1.sessions, expected);
            let mut rooms = table.notes().unwrap();
            rooms.set("lobby", 1).unwrap();
        }
    }
}
