//! Pages of the kernel that hold what many are sent.
//!
//! send(2) copies what it is given, once for each receiver. sendfile(2) has a socket refer to the pages that a file
//! is made of: what a hundred are sent is copied once, and lies in memory once, however much of it they have not
//! received yet. That pays where much is sent to many, at full load: it takes the server a third less time, and two
//! hundred who read nothing of a flood cost the machine 0.1 GiB instead of 0.85 (each has 4 MiB in its socket). A line
//! alone, or a few receivers, are sent to sooner than a file is made.
//!
//! It is not one step: the kernel sends 64 KiB at a time, and a signal that kills acts in between. So does it when
//! send(2) finds no space. Whoever sends has marked it before, for the process that goes on (`sink::Mark`).
//!
//! A page that sockets refer to must never change again, for they would send what it says then. So there is a file for
//! each time that the broker sends to many in a row, and nobody writes to it a second time: when it is closed, its pages
//! are gone as soon as the last socket has done with them.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// From so many bytes on it pays. Measured against copying: at 32 KiB to 16 receivers it takes three quarters of the
/// time, at 64 KiB to 100 six tenths, at 16 KiB or to 8 receivers about the same.
pub(super) const MIN_BYTES: usize = 32 * 1024;

/// With so many receivers it pays.
pub(super) const MIN_RECEIVERS: usize = 16;

/// What many are sent, in memory of the kernel (memfd_create(2)).
#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    len: usize,
}

impl Pages {
    /// Has what is in `slices` in pages, if that pays for so many receivers. Nothing if there are no descriptors or no memory left,
    /// either: then each has a copy.
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
