//! Marks: what has to be known of connections after a crash besides who they are, in a file in memory that outlives the
//! process.
//!
//! Without them the rest of a line of which the dead process had read the first half would be taken for a line, and
//! the next line would be written behind half of another. Whoever reads or writes half a line marks that at once, which
//! is seldom; the number of the next session is kept here, too, so that none is given twice.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, MemfdFlags};
use rustix::io::{pread, pwrite};

use crate::chat::SessionId;

/// Half a line of it has been read.
pub const READING: u8 = 1;
/// Half a line has been written to it.
pub const WRITING: u8 = 2;

/// What the file begins with, its version in it.
const MAGIC: &[u8; 8] = b"marks 1\n";
/// Where the number is that no session has reached.
const NEXT_AT: u64 = 8;
/// Where it stands how often in a row somebody has begun to take sessions over, and has not come to an end.
const ATTEMPTS_AT: u64 = 16;
/// Where the marks begin: two for each descriptor, each with the number of its session.
const HEAD: u64 = 64;
const MARK: usize = 16;
/// The most of the file that is read: marks of a million descriptors.
const MOST_BYTES: usize = 32 << 20;
/// Numbers are reserved so many at a time: after a crash, as many may be missing.
const RESERVED: u64 = 64;

/// The file.
#[derive(Debug)]
pub struct Marks {
    file: OwnedFd,
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
    pub marks: Vec<(SessionId, u8)>,
}

impl Marks {
    /// An empty file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let file = fs::memfd_create(c"chatd-marks", MemfdFlags::CLOEXEC)?;
        let marks = Self { file, reserved: AtomicU64::new(0) };
        marks.write(MAGIC, 0)?;
        Ok(marks)
    }

    /// Takes the file over from another process, and what is in it out of it, but for the numbers that are reserved.
    ///
    /// # Errors
    /// `InvalidData` if it is not such a file.
    pub fn take_over(file: OwnedFd) -> io::Result<(Self, Left)> {
        let is_file = rustix::fs::FileType::from_raw_mode(fs::fstat(&file)?.st_mode).is_file();
        let mut bytes = vec![0; if is_file { fs::fstat(&file)?.st_size as usize } else { 0 }.min(MOST_BYTES)];
        let len = if is_file { pread(&file, &mut *bytes, 0)? } else { 0 };
        bytes.truncate(len);
        if !bytes.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "they are not marks of this version"));
        }
        let number = |at: u64| {
            let bytes = bytes.get(at as usize..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let places = (HEAD..bytes.len() as u64).step_by(MARK);
        let marks = places.filter_map(|at| {
            let mark = bytes.get(at as usize + 8).copied().filter(|mark| *mark != 0)?;
            Some((SessionId(number(at)), mark))
        });
        let left = Left { next: number(NEXT_AT), attempts: number(ATTEMPTS_AT), marks: marks.collect() };
        let marks = Self { file, reserved: AtomicU64::new(left.next) };
        Ok((marks, left))
    }

    /// Says that sessions are being taken over for so many times in a row; 0 if that has come to its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_attempts(&self, attempts: u64) -> io::Result<()> {
        self.write(&attempts.to_le_bytes(), ATTEMPTS_AT)
    }

    /// Puts the marks of sessions that have been taken over in the place of those that another process has left: its
    /// descriptors had other numbers. It is one write, and only a death within that may lose some of them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace<'a>(
        &self,
        marked: impl IntoIterator<Item = (BorrowedFd<'a>, SessionId, u8)>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (socket, id, marks) in marked {
            for mark in [READING, WRITING].into_iter().filter(|mark| marks & mark != 0) {
                let at = place_of(socket, mark);
                bytes.resize(bytes.len().max(at + MARK), 0);
                bytes[at..at + MARK].copy_from_slice(&entry(id, mark));
            }
        }
        self.write(&bytes, HEAD)?;
        fs::ftruncate(&self.file, HEAD + bytes.len() as u64)?;
        Ok(())
    }

    /// A session has that number: it will not be given again, in this process or another.
    pub fn reserve(&self, id: SessionId) {
        if id.0 >= self.reserved.load(Ordering::Relaxed) {
            let next = id.0 + RESERVED;
            self.reserved.store(next, Ordering::Relaxed);
            // There is no reason why it should fail, and nothing to be done but go on.
            let _ = self.write(&next.to_le_bytes(), NEXT_AT);
        }
    }

    /// Marks a connection with [`READING`] or [`WRITING`], or takes that back.
    pub fn set(&self, socket: BorrowedFd<'_>, id: SessionId, mark: u8, is_set: bool) {
        let bytes = entry(id, if is_set { mark } else { 0 });
        // Where there is no memory for it, what is marked would be lost by a crash: half a line.
        let _ = self.write(&bytes, HEAD + place_of(socket, mark) as u64);
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        // It is short where there is no memory for all of it.
        if pwrite(&self.file, bytes, at)? < bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

/// Where in the table a mark of a connection is. Who reads and who writes mark it at the same time.
fn place_of(socket: BorrowedFd<'_>, mark: u8) -> usize {
    (2 * socket.as_raw_fd() as usize + usize::from(mark == WRITING)) * MARK
}

/// What is in that place.
fn entry(id: SessionId, mark: u8) -> [u8; MARK] {
    let mut bytes = [0; MARK];
    bytes[..8].copy_from_slice(&id.0.to_le_bytes());
    bytes[8] = mark;
    bytes
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
        marks.set(one.as_fd(), SessionId(7), READING, true);
        marks.set(one.as_fd(), SessionId(7), WRITING, true);
        marks.set(other.as_fd(), SessionId(8), READING, true);
        marks.set(other.as_fd(), SessionId(8), READING, false);
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
