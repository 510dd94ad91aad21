//! Marks: what has to be known of connections after a crash besides who they are, in a file in memory that outlives the
//! process.
//!
//! Without them the rest of a line of which the dead process had read the first half would be taken for a line, and
//! the next line would be written behind half of another. Whoever has read half a line marks that at once. Whoever sends
//! marks it before, and takes it back when whole lines have been sent: a signal that kills acts when the system call
//! returns. The file is mapped, so a mark costs a store, and no system call. The number of the next session is kept here,
//! too, so that none is given twice.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;
use rustix::fs::{self, FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::{pread, pwrite};
use rustix::process::{Resource, getrlimit};

use crate::chat::SessionId;
use crate::chat::outlet::Mark;

/// Half a line of it has been read.
pub const READING: u64 = 1;
/// Half a line has been written to it, or may have been.
pub const WRITING: u64 = 2;

/// What the file begins with, its version in it.
const MAGIC: &[u8; 8] = b"marks 2\n";
/// Where the number is that no session has reached.
const NEXT_AT: u64 = 8;
/// Where it stands how often in a row somebody has begun to take sessions over, and has not come to an end.
const ATTEMPTS_AT: u64 = 16;
/// Where the marks begin: two for each descriptor, each with the number of its session.
const HEAD: u64 = 64;
const MARK: usize = 16;
/// A descriptor with a greater number has no marks: who reads or writes half a line there is like the others after a
/// crash.
const MOST_DESCRIPTORS: u64 = 1 << 20;
/// The most of the file that is read.
const MOST_BYTES: u64 = HEAD + 2 * MARK as u64 * MOST_DESCRIPTORS;
/// Numbers are reserved so many at a time: after a crash, as many may be missing.
const RESERVED: u64 = 64;

/// The file.
#[derive(Debug)]
pub struct Marks {
    file: OwnedFd,
    /// All of it, as memory.
    table: MmapRaw,
    /// Numbers below this are reserved.
    reserved: AtomicU64,
}

/// What another process has left in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// No session has had this number, or a greater one.
    pub next: u64,
    /// How often in a row somebody has begun to take sessions over, without coming to an end.
    pub attempts: u64,
    /// The marks that are set: a session may have two.
    pub marks: Vec<(SessionId, u64)>,
}

impl Marks {
    /// An empty file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let file = fs::memfd_create(c"chatd-marks", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let marks = Self::map(file, 0)?;
        marks.write(MAGIC, 0)?;
        Ok(marks)
    }

    /// A file that has space for all descriptors that this process may have; numbers below `reserved` are.
    fn map(file: OwnedFd, reserved: u64) -> io::Result<Self> {
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).min(MOST_DESCRIPTORS);
        let length = HEAD + 2 * MARK as u64 * descriptors;
        if (fs::fstat(&file)?.st_size as u64) < length {
            fs::ftruncate(&file, length)?;
        }
        // What is mapped has to stay there.
        fs::fcntl_add_seals(&file, SealFlags::SHRINK)?;
        let table = MmapRaw::map_raw(&file)?;
        Ok(Self { file, table, reserved: AtomicU64::new(reserved) })
    }

    /// Takes the file over from another process, and what is in it out of it, but for the numbers that are reserved.
    ///
    /// # Errors
    /// `InvalidData` if it is not such a file, `EPERM` if it is one that can be made shorter.
    pub fn take_over(file: OwnedFd) -> io::Result<(Self, Left)> {
        let is_file = rustix::fs::FileType::from_raw_mode(fs::fstat(&file)?.st_mode).is_file();
        let length = if is_file { fs::fstat(&file)?.st_size as u64 } else { 0 };
        let mut bytes = vec![0; length.min(MOST_BYTES) as usize];
        let len = if is_file { pread(&file, &mut *bytes, 0)? } else { 0 };
        bytes.truncate(len);
        if !bytes.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "they are not marks of this version"));
        }
        let number = |at: u64| {
            let bytes = bytes.get(at as usize..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        let places = (HEAD..bytes.len() as u64).step_by(MARK);
        let marks = places.map(|at| (SessionId(number(at)), number(at + 8))).filter(|(_, mark)| *mark != 0);
        let left = Left { next: number(NEXT_AT), attempts: number(ATTEMPTS_AT), marks: marks.collect() };
        Ok((Self::map(file, left.next)?, left))
    }

    /// Says that sessions are being taken over for so many times in a row; 0 if that has come to its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_attempts(&self, attempts: u64) -> io::Result<()> {
        self.write(&attempts.to_ne_bytes(), ATTEMPTS_AT)
    }

    /// Puts the marks of sessions that have been taken over in the place of those that another process has left: its
    /// descriptors had other numbers. It is one write, and only a death within that may lose some of them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace<'a>(
        &self,
        marked: impl IntoIterator<Item = (BorrowedFd<'a>, SessionId, u64)>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (socket, id, marks) in marked {
            for mark in [READING, WRITING].into_iter().filter(|mark| marks & mark != 0) {
                let at = place_of(socket, mark);
                bytes.resize(bytes.len().max(at + MARK), 0);
                bytes[at..at + 8].copy_from_slice(&id.0.to_ne_bytes());
                bytes[at + 8..at + MARK].copy_from_slice(&mark.to_ne_bytes());
            }
        }
        self.write(&bytes, HEAD)?;
        let (end, length) = (HEAD + bytes.len() as u64, self.table.len() as u64);
        if end < length {
            let zeros = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fs::fallocate(&self.file, zeros, end, length - end)?;
        }
        Ok(())
    }

    /// A session has that number: it will not be given again, in this process or another.
    pub fn reserve(&self, id: SessionId) {
        if id.0 >= self.reserved.load(Ordering::Relaxed) {
            let next = id.0 + RESERVED;
            self.reserved.store(next, Ordering::Relaxed);
            // There is no reason why it should fail, and nothing to be done but go on.
            let _ = self.write(&next.to_ne_bytes(), NEXT_AT);
        }
    }

    /// The mark of a connection that `which` is, [`READING`] or [`WRITING`]. One at a time may have it.
    pub fn of(&self, socket: BorrowedFd<'_>, id: SessionId, which: u64) -> Option<Mark<'_>> {
        let at = HEAD as usize + place_of(socket, which);
        let (owner, word) = (self.word(at)?, self.word(at + 8)?);
        if owner.load(Ordering::Relaxed) != id.0 {
            // That was the mark of one that is gone.
            word.store(0, Ordering::Release);
            owner.store(id.0, Ordering::Release);
        }
        Some(Mark::new(word, which))
    }

    /// The word that is there in the file.
    fn word(&self, at: usize) -> Option<&AtomicU64> {
        debug_assert!(at.is_multiple_of(8));
        // SAFETY: it lies within what is mapped, which begins with a page, so it is aligned; what is mapped stays for as
        // long as `self`, and the file, which is sealed, cannot become shorter than it. This process touches these
        // words in no other way while a mark of theirs is in use, and others only after its death.
        #[allow(unsafe_code)]
        let word = |at| unsafe { AtomicU64::from_ptr(self.table.as_mut_ptr().add(at).cast()) };
        (at + 8 <= self.table.len()).then_some(at).map(word)
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        // It is short where there is no memory for all of it.
        if pwrite(&self.file, bytes, at)? < bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

/// Where in the table a mark of a connection is, after the number of its session. Who reads and who writes mark it at the
/// same time.
fn place_of(socket: BorrowedFd<'_>, mark: u64) -> usize {
    (2 * socket.as_raw_fd() as usize + usize::from(mark == WRITING)) * MARK
}

impl AsFd for Marks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_by_another_process() {
        let marks = Marks::new().unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        marks.reserve(SessionId(7));
        let mark = |socket: &std::os::unix::net::UnixStream, id, which| {
            marks.of(socket.as_fd(), SessionId(id), which).unwrap()
        };
        mark(&one, 6, READING).set(true);
        mark(&one, 7, READING).set(true);
        mark(&one, 7, WRITING).set(true);
        mark(&other, 8, READING).set(true);
        mark(&other, 8, READING).set(false);
        mark(&other, 9, WRITING).set(true);
        let _ = mark(&other, 8, WRITING);
        marks.set_attempts(2).unwrap();
        let (again, left) = Marks::take_over(marks.file.try_clone().unwrap()).unwrap();
        let both = vec![(SessionId(7), READING), (SessionId(7), WRITING)];
        assert_eq!(left, Left { next: 7 + RESERVED, attempts: 2, marks: both });
        again.set_attempts(0).unwrap();
        // There they have other descriptors.
        let sockets = [&one, &other].map(|socket| socket.try_clone().unwrap());
        let [one, other] = [sockets[0].as_fd(), sockets[1].as_fd()];
        again.replace([(one, SessionId(8), WRITING), (other, SessionId(9), 0)]).unwrap();
        let (again, left) = Marks::take_over(marks.file.try_clone().unwrap()).unwrap();
        assert_eq!(left, Left { next: 7 + RESERVED, attempts: 0, marks: vec![(SessionId(8), WRITING)] });
        again.replace([]).unwrap();
        let (_, left) = Marks::take_over(marks.file).unwrap();
        assert_eq!(left.marks, []);
    }

    #[test]
    fn what_is_no_file_of_marks_is_told_from_one() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Marks::take_over(one.into()).is_err());
        let file = fs::memfd_create(c"other", MemfdFlags::CLOEXEC).unwrap();
        assert!(Marks::take_over(file).is_err());
    }
}
