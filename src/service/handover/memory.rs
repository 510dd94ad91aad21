//! Files in memory that outlive the process that writes them (memfd_create(2)).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, MemfdFlags, SealFlags, fstat};

/// Longest file that is read, in bytes: far more than all sessions and logs of a chatd.
const MOST_BYTES: u64 = 4 << 30;

/// Makes a sealed file with these bytes, which nobody can change.
///
/// # Errors
/// The kernel's, if there is no memory.
pub(super) fn sealed(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file.into())
}

/// Reads a whole file, whatever its offset is.
///
/// # Errors
/// `InvalidData` if it is not a file or longer than 4 GiB; otherwise the kernel's.
pub(super) fn read(file: impl AsFd) -> io::Result<Vec<u8>> {
    let stat = fstat(&file)?;
    let length = stat.st_size as u64;
    if !FileType::from_raw_mode(stat.st_mode).is_file() || length > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file"));
    }
    let mut bytes = vec![0; length as usize];
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pread(&file, &mut bytes[done..], done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}
