//! The file of a unix socket that chatd makes: put in the place of one that is stale, and removed at the end.
//!
//! The listener binds through it. It never removes a file on which somebody answers, or which is no socket.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::net::options;

/// How often to try the lock of the folder. With [`LOCK_PAUSE`] between, that is a second; a start needs the lock for
/// less than a millisecond.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A socket file; it is removed when this is dropped, unless there is another one at its place by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

/// Which file it is: device and inode.
type FileId = (u64, u64);

impl SocketFile {
    /// Binds a socket to a file at `path`, which replaces a stale one, and listens. It may block for a second.
    ///
    /// # Errors
    /// The kernel's; `AddrInUse` also for a file on which somebody answers, and for one that is no socket.
    pub(super) fn listen(path: &Path, backlog: i32) -> io::Result<(OwnedFd, Self)> {
        // Between the check and listen(2), somebody else who starts would take this file for a stale one, and remove
        // it.
        let _lock = lock_folder(path);
        remove_stale(path)?;
        let socket = options::stream_socket(AddressFamily::UNIX)?;
        match rustix::net::bind(&socket, &SocketAddrUnix::new(path)?) {
            Err(Errno::ADDRINUSE) => return Err(answered()),
            bound => bound?,
        }
        let file = Self { path: path.to_owned(), id: file_id(path)? };
        // Everybody who can enter the folder may chat, as everybody may on this machine over TCP.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        rustix::net::listen(&socket, backlog)?;
        Ok((socket, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it, and put another one there; then there is nothing to be done.
        if file_id(&self.path).is_ok_and(|there| there == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Locks the folder of `path` against others who start there, until the descriptor is closed.
///
/// Returns `None` if the folder cannot be opened or locked, or if another process holds the lock for too long: every
/// user who may read the folder can hold it, and must not prevent a start.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path.parent()?, flags, Mode::empty()).ok()?;
    for attempt in 1..=LOCK_ATTEMPTS {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
            Err(error) => {
                log::debug!("{}: going on without a lock on its folder: {error}", path.display());
                return None;
            }
        }
    }
    None
}

/// Returns the device and inode of the file at a path.
fn file_id(path: &Path) -> io::Result<FileId> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a socket file on which nobody answers.
///
/// # Errors
/// `AddrInUse` if another program answers, or if it is not a socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        let what = if kind.is_dir() { "a directory" } else { "a file that is not a socket" };
        return Err(in_use(format!("there is {what} at that path; name a path of its own for the socket")));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        Err(Errno::NOENT) => Ok(()),
        // Without space for another caller, somebody is there all the same.
        Ok(()) | Err(Errno::AGAIN) => Err(answered()),
        Err(error) => Err(error.into()),
    }
}

fn answered() -> io::Error {
    in_use("another program answers on it; stop that one, or choose another path".to_owned())
}

fn in_use(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// A folder with a stale socket file, removed at the end of the test.
    struct Stale(PathBuf);

    impl Stale {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("chatd-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            // Nobody has listened there: a process that another test starts may have the descriptor for a moment.
            let socket = crate::net::options::stream_socket(AddressFamily::UNIX).unwrap();
            rustix::net::bind(&socket, &SocketAddrUnix::new(folder.join("sock")).unwrap()).unwrap();
            Self(folder)
        }

        fn path(&self) -> PathBuf {
            self.0.join("sock")
        }
    }

    impl Drop for Stale {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_folder_is_free_again_once_it_listens() {
        let stale = Stale::new("free");
        let (_socket, file) = SocketFile::listen(&stale.path(), 8).unwrap();
        // This waits for ever if it is not.
        let folder = fs::File::open(&stale.0).unwrap();
        rustix::fs::flock(&folder, FlockOperation::LockExclusive).unwrap();
        UnixStream::connect(stale.path()).unwrap();
        drop(file);
        assert!(!stale.path().exists());
    }

    #[test]
    fn nobody_keeps_it_from_listening_by_holding_the_lock() {
        let stale = Stale::new("held");
        let folder = fs::File::open(&stale.0).unwrap();
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).unwrap();
        let _listening = SocketFile::listen(&stale.path(), 8).unwrap();
        UnixStream::connect(stale.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_none_or_is_not_there_is_not_locked() {
        for path in ["/dev/null/sock", "/nonexistent/sock"] {
            assert!(lock_folder(Path::new(path)).is_none());
            assert!(SocketFile::listen(Path::new(path), 8).is_err());
        }
    }
}
