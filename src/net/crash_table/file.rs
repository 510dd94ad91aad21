//! A file in memory that outlives its process, mapped as words of 64 bits, and entries of bytes in it.
//!
//! Allocate words with [`WordFile::allocate`] before you touch them in the mapping. Otherwise the first load or store
//! allocates them, and raises SIGBUS if there is no memory. [`read`] allocates nothing.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use memmap2::{Advice, MmapRaw};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals};
use rustix::io::retry_on_intr;
use zeroize::Zeroizing;

use super::layout::ENTRY_HEAD;

/// The file. Offsets and lengths are in words, in native byte order.
#[derive(Debug)]
pub(super) struct WordFile {
    file: File,
    map: MmapRaw,
}

impl WordFile {
    /// Maps a file. It grows to this many words if it has less, and can never shrink again.
    ///
    /// # Errors
    /// `EPERM` or `EINVAL` if it cannot be sealed against that, otherwise the kernel's.
    pub(super) fn map(file: File, length: usize) -> io::Result<Self> {
        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            fcntl_add_seals(&file, SealFlags::SHRINK)?;
        }
        let length = 8 * length as u64;
        if file.metadata()?.len() < length {
            file.set_len(length)?;
        }
        let map = MmapRaw::map_raw(&file)?;
        // It has secrets of TLS.
        map.advise(Advice::DontDump)?;
        Ok(Self { file, map })
    }

    pub(super) fn len(&self) -> usize {
        self.map.len() / size_of::<u64>()
    }

    /// Returns words of the file, which have to be allocated.
    pub(super) fn words(&self, range: Range<usize>) -> &[AtomicU64] {
        // SAFETY: the mapping begins with a page, so it is aligned, and stays for as long as `self`. It has no end before
        // the file's, which is sealed against shrinking. Any bytes make a word. This process accesses the mapping
        // only through these atomics, and the process that had it before is gone.
        #[allow(unsafe_code)]
        let all = |start: *mut u8| unsafe { std::slice::from_raw_parts(start.cast(), self.len()) };
        &all(self.map.as_mut_ptr())[range]
    }

    /// Allocates memory for words, unless they have some.
    ///
    /// # Errors
    /// The kernel's, where there is no memory.
    pub(super) fn allocate(&self, range: Range<usize>) -> io::Result<()> {
        let (at, length) = (8 * range.start as u64, 8 * range.len() as u64);
        // A signal interrupts it.
        Ok(retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), at, length))?)
    }

    /// Has [`WordFile::allocate`] fail from now on.
    #[cfg(test)]
    pub(super) fn have_no_memory(&mut self) {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        self.file = File::open(path).unwrap();
    }

    /// Reads words of the file; see [`read`].
    pub(super) fn read(&self, range: Range<usize>) -> io::Result<Vec<u64>> {
        read(&self.file, range)
    }
}

impl AsFd for WordFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Reads words of a file. What is not allocated is 0.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter, otherwise the kernel's.
pub(super) fn read(file: &File, range: Range<usize>) -> io::Result<Vec<u64>> {
    let mut bytes = Zeroizing::new(vec![0; 8 * range.len()]);
    file.read_exact_at(&mut bytes, 8 * range.start as u64)?;
    Ok(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}

/// Writes an entry: a number, a check, bytes. After a death in the middle the entry is not valid.
pub(super) fn store(entry: &[AtomicU64], number: u64, bytes: &[u8]) {
    entry[1].store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    entry[0].store(number, Ordering::Relaxed);
    for (word, chunk) in entry[ENTRY_HEAD..].iter().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
    }
    entry[1].store(check(bytes), Ordering::Release);
}

/// Returns the number and the bytes of an entry; `None` if there is none, or if it is damaged.
pub(super) fn load(entry: &[u64]) -> Option<(u64, Vec<u8>)> {
    let bytes = entry[ENTRY_HEAD..].iter().flat_map(|word| word.to_ne_bytes());
    // It may be a secret: no copy is left behind by one that grows.
    let mut all = Vec::with_capacity(8 * entry.len());
    all.extend(bytes.take(entry[1] as u32 as usize));
    (!all.is_empty() && entry[1] == check(&all)).then_some((entry[0], all))
}

/// Returns the length and the CRC-32.
fn check(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes)) << 32 | bytes.len() as u64
}
