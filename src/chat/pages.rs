//! Pages: kernel memory that holds what many members get.
//!
//! send(2) copies the bytes once for each receiver. sendfile(2) makes a socket refer to the pages of a file, so the
//! bytes for a hundred receivers are copied once, and are in memory once, however slowly they read. That pays for many
//! bytes to many receivers, at full load. It takes the server a third less time. Two hundred members that read nothing
//! of a flood cost the machine 0.1 GiB instead of 0.85 (each has 4 MiB in its socket). For a single line or a few
//! receivers, send(2) is faster than to make a file.
//!
//! sendfile(2) is not atomic: the kernel sends 64 KiB at a time, and a signal can kill the process in between. The same
//! holds for send(2) when the socket has no space. The caller sets a mark before, for the next process (`sink::Mark`).
//!
//! A page that a socket refers to must never change, because the socket would send the new bytes. So the broker makes a
//! file each time that it sends to many in a row, and writes to it once. When the file is closed, the kernel frees its
//! pages as soon as the last socket has sent them.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// Fewest bytes for which pages pay. Measured against copies: 32 KiB to 16 receivers take three quarters of the time,
/// 64 KiB to 100 six tenths, and 16 KiB or 8 receivers about the same.
pub(super) const MIN_BYTES: usize = 32 * 1024;

/// Fewest receivers for which pages pay.
pub(super) const MIN_RECEIVERS: usize = 16;

/// Bytes for many receivers, in a file of the kernel's memory (memfd_create(2)).
#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    len: usize,
}

impl Pages {
    /// Has what is in `slices` in pages, if that pays for so many receivers. Nothing if there are no descriptors or no
    /// memory left, either: then each has a copy.
    pub(super) fn for_many(slices: &[IoSlice<'_>], receivers: usize) -> Option<Self> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        let pays = len >= MIN_BYTES && receivers >= MIN_RECEIVERS;
        pays.then(|| Self::with(slices, len).ok()).flatten()
    }

    fn with(slices: &[IoSlice<'_>], len: usize) -> io::Result<Self> {
        let mut file = File::from(memfd_create(c"chatd-broadcast", MemfdFlags::CLOEXEC)?);
        slices.iter().try_for_each(|slice| file.write_all(slice))?;
        Ok(Self { file, len })
    }

    /// Sends them to a non-blocking stream socket, and says how many bytes it took. Where the peer is gone, that is an
    /// error and a SIGPIPE, which Rust's runtime has ignored since before `main`.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` if the socket can take nothing now.
    pub(super) fn send_to(&self, socket: impl AsFd) -> io::Result<usize> {
        Ok(sendfile(socket, &self.file, Some(&mut 0), self.len)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A broadcast in which no two places look alike.
    fn text(seed: usize, len: usize) -> Vec<u8> {
        (0..).map(|line| format!("{seed} {line}\n")).flat_map(String::into_bytes).take(len).collect()
    }

    #[test]
    fn one_that_reads_late_gets_what_was_sent_whatever_has_been_sent_since() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut sent = Vec::new();
        for seed in 0.. {
            let bytes = text(seed, MIN_BYTES + seed);
            match Pages::for_many(&[IoSlice::new(&bytes)], MIN_RECEIVERS).unwrap().send_to(&ours) {
                Ok(length) => sent.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        drop(ours);
        assert!(sent.len() > 2 * MIN_BYTES, "only {} bytes fit", sent.len());
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        assert!(received == sent);
    }

    #[test]
    fn all_of_it_goes_to_each_of_many() {
        let bytes = text(0, MIN_BYTES);
        let pages = Pages::for_many(&[IoSlice::new(&bytes)], MIN_RECEIVERS).unwrap();
        for _ in 0..MIN_RECEIVERS {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let reading = thread::spawn(move || {
                let mut received = Vec::new();
                theirs.read_to_end(&mut received).map(|_| received)
            });
            assert_eq!(pages.send_to(&ours).unwrap(), bytes.len());
            drop(ours);
            assert!(reading.join().unwrap().unwrap() == bytes);
        }
    }

    #[test]
    fn whoever_is_gone_is_an_error_and_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let pages = Pages::for_many(&[IoSlice::new(&text(0, MIN_BYTES))], MIN_RECEIVERS).unwrap();
        assert_eq!(pages.send_to(&ours).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn little_and_few_have_copies() {
        assert!(Pages::for_many(&[IoSlice::new(&text(0, MIN_BYTES - 1))], 10_000).is_none());
        assert!(Pages::for_many(&[IoSlice::new(&text(0, 256 * 1024))], MIN_RECEIVERS - 1).is_none());
    }
}
