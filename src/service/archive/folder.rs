//! The folder of the archive, the folders of rooms in it, and the files of days in these.
//!
//! Opens everything step by step from the folder, and follows no link on the way. chatd uses the folder only if it is its
//! own, and if no other process uses it: two writers would mix their lines.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use memchr::memrchr;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::protocol::Name;

/// The mode of new folders.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);
/// The mode of new files.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
/// What the name of a file ends with.
const EXTENSION: &str = ".jsonl";

/// The folder of an archive.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file of lines, and what tells it from another one of the same name.
#[derive(Debug)]
pub struct DayFile {
    pub file: File,
    pub path: PathBuf,
    /// Bytes that are whole lines.
    pub len: u64,
    /// The entry of its folder may not be on the disk yet.
    pub is_new: bool,
    /// There may be more in the file, which is to be removed first.
    is_torn: bool,
    identity: (u64, u64),
}

impl Folder {
    /// Opens the folder to read.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, folder_flags() - OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the folder to write, and makes it if its parent is there. Nobody else can write to it until it is dropped.
    ///
    /// # Errors
    /// The kernel's; or the folder belongs to somebody else, everybody may write to it, or another process uses it.
    pub fn own(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = Self::open(path)?;
        let stat = rustix::fs::fstat(&folder.fd)?;
        let (owner, user) = (stat.st_uid, rustix::process::geteuid().as_raw());
        if owner != user {
            let problem = format!("it belongs to user {owner}, and chatd runs as user {user}");
            return Err(io::Error::new(ErrorKind::PermissionDenied, problem));
        }
        if stat.st_mode & 0o002 != 0 {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "everybody may write to it"));
        }
        match rustix::fs::flock(&folder.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(folder),
            Err(Errno::WOULDBLOCK) => {
                Err(io::Error::new(ErrorKind::ResourceBusy, "another process writes to it"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether the folder is still where it was opened.
    pub fn is_there(&self) -> bool {
        let (opened, there) = (rustix::fs::fstat(&self.fd), rustix::fs::stat(&self.path));
        matches!((opened, there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Has the kernel store everything on the disk of the folder.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.fd)
    }

    /// Has every sync fail.
    #[cfg(test)]
    pub fn spoil(&mut self) {
        self.fd = rustix::fs::open(&self.path, folder_flags() | OFlags::PATH, Mode::empty()).unwrap();
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the rooms that have a folder: the main room, and then the one that was used last first. Opens none of them,
    /// and looks at a name only when it comes to it: strangers can make rooms.
    ///
    /// # Errors
    /// The kernel's.
    pub fn last_used(&self) -> io::Result<impl Iterator<Item = Name>> {
        let mut used = Vec::new();
        for name in names(self.fd.as_fd())? {
            // It may be gone already.
            let stat = rustix::fs::statat(&self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            used.extend(stat.ok().map(|stat| (name == "main", stat.st_mtime, stat.st_mtime_nsec, name)));
        }
        used.sort_unstable_by(|a, b| b.cmp(a));
        Ok(used.into_iter().filter_map(|(.., name)| read_room(&name)))
    }

    /// A room is used now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn touch(&self, room: &Name) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(rustix::fs::futimens(self.room(room)?, &Timestamps { last_access: now, last_modification: now })?)
    }

    /// Returns the path of a room.
    pub fn path_of(&self, room: &Name) -> PathBuf {
        self.path.join(room.as_str())
    }

    /// Returns the rooms that have a folder. Ignores folders whose names no room can have.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rooms(&self) -> io::Result<Vec<Name>> {
        let mut rooms = Vec::new();
        for name in names(self.fd.as_fd())? {
            rooms.extend(read_room(&name));
        }
        Ok(rooms)
    }

    /// Returns the days of a room, the first one first; none if it has no folder.
    ///
    /// # Errors
    /// The kernel's.
    pub fn days(&self, room: &Name) -> io::Result<Vec<Date>> {
        let folder = match self.room(room) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut days: Vec<Date> = names(folder.as_fd())?.iter().filter_map(|name| read_day(name)).collect();
        days.sort_unstable();
        Ok(days)
    }

    /// Opens the file of a day to read.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, room: &Name, day: Date) -> io::Result<File> {
        let folder = self.room(room)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(folder, file_name(day), flags, Mode::empty())?.into())
    }

    /// Opens the file of a day to append, and makes it and the folder of the room. Drops a line at its end that was cut.
    ///
    /// # Errors
    /// The kernel's.
    pub fn append(&self, room: &Name, day: Date) -> io::Result<DayFile> {
        match rustix::fs::mkdirat(&self.fd, c_name(room)?, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = self.room(room)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file: File = rustix::fs::openat(&folder, file_name(day), flags, FILE_MODE)?.into();
        let stat = rustix::fs::fstat(&file)?;
        let path = self.path_of(room).join(file_name(day));
        let (len, identity) = (stat.st_size.unsigned_abs(), (stat.st_dev, stat.st_ino));
        let mut opened = DayFile { file, path, len, is_new: len == 0, is_torn: false, identity };
        opened.drop_cut_line()?;
        Ok(opened)
    }

    /// Has the kernel store the entries of a room's folder, and of the folder itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync_entries(&self, room: &Name) -> io::Result<()> {
        rustix::fs::fsync(self.room(room)?)?;
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Removes the file of a day. That does not count as a use of the room.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, room: &Name, day: Date) -> io::Result<()> {
        let folder = self.room(room)?;
        let used = rustix::fs::fstat(&folder)?;
        rustix::fs::unlinkat(&folder, file_name(day), AtFlags::empty())?;
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: used.st_mtime, tv_nsec: used.st_mtime_nsec as _ };
        Ok(rustix::fs::futimens(folder, &Timestamps { last_access, last_modification })?)
    }

    /// Removes the folder of a room, if it is empty.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_room(&self, room: &Name) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, c_name(room)?, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn room(&self, room: &Name) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.fd, c_name(room)?, folder_flags(), Mode::empty())
    }
}

impl DayFile {
    /// Returns whether the file is still where it was opened.
    pub fn is_there(&self) -> bool {
        let there = rustix::fs::stat(&self.path);
        there.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity)
    }

    /// Appends whole lines, or nothing. Has the kernel store them if `is_stored`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn append(&mut self, text: &[u8], is_stored: bool) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
            self.is_torn = false;
        }
        let written = self.file.write_all(text);
        let stored = written.and_then(|()| if is_stored { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = stored {
            self.is_torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += text.len() as u64;
        Ok(())
    }

    /// Has it look as if a write had left something behind.
    #[cfg(test)]
    pub fn tear(&mut self) {
        self.is_torn = true;
    }

    /// Removes what is at the end of the file and is no whole line, and logs it.
    fn drop_cut_line(&mut self) -> io::Result<()> {
        const BLOCK: u64 = 64 * 1024;
        let (end, mut start) = (self.len, self.len);
        let mut block = Vec::new();
        let whole = loop {
            if start == 0 {
                break 0;
            }
            let from = start.saturating_sub(BLOCK);
            block.resize((start - from) as usize, 0);
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(&mut block)?;
            if let Some(at) = memrchr(b'\n', &block) {
                break from + at as u64 + 1;
            }
            start = from;
        };
        if whole < end {
            self.file.set_len(whole)?;
            let (path, bytes) = (self.path.display(), end - whole);
            log::warn!("{path}: dropped {bytes} bytes of a line that was cut");
            self.len = whole;
        }
        Ok(())
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW
}

/// Returns the names in a folder that are UTF-8.
fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
    }
    Ok(names)
}

/// Returns the name of a room's folder: the name of the room. No name of a room has a slash or begins with a dot.
fn c_name(room: &Name) -> Result<CString, Errno> {
    let name = room.as_str();
    if name.starts_with('.') || name.contains('/') {
        return Err(Errno::INVAL);
    }
    CString::new(name).map_err(|_| Errno::INVAL)
}

/// Returns the name of the file of a day: `2026-11-23.jsonl`.
fn file_name(day: Date) -> String {
    format!("{day}{EXTENSION}")
}

fn read_room(name: &str) -> Option<Name> {
    Name::parse(name).ok().filter(|room| room.as_str() == name)
}

fn read_day(name: &str) -> Option<Date> {
    let day: Date = name.strip_suffix(EXTENSION)?.parse().ok()?;
    (file_name(day) == name).then_some(day)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::service::scratch::Scratch;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn folders_and_files_are_made_for_chatd_and_its_group_alone() {
        let scratch = Scratch::new();
        let path = scratch.file("archive");
        let folder = Folder::own(&path).unwrap();
        let opened = folder.append(&name("ops"), day("2026-11-23")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o027;
        assert_eq!(opened.path, path.join("ops/2026-11-23.jsonl"));
        assert_eq!((mode(&path) & 0o7, mode(&path.join("ops")) & 0o7, mode(&opened.path) & 0o7), (0, 0, 0));
        assert_eq!(folder.days(&name("ops")).unwrap(), [day("2026-11-23")]);
        assert!(opened.is_there());
        fs::rename(&path, scratch.file("elsewhere")).unwrap();
        assert!(!opened.is_there() && !folder.is_there());
    }

    #[test]
    fn a_folder_of_somebody_else_or_of_everybody_and_one_in_use_are_refused() {
        let scratch = Scratch::new();
        let path = scratch.file("archive");
        let refusal = || Folder::own(&path).unwrap_err().to_string();
        let _owned = Folder::own(&path).unwrap();
        assert_eq!(refusal(), "another process writes to it");
        drop(_owned);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o757)).unwrap();
        assert_eq!(refusal(), "everybody may write to it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
            assert_eq!(refusal(), "it belongs to user 4242, and chatd runs as user 0");
        } else {
            assert!(Folder::own(Path::new("/")).unwrap_err().to_string().starts_with("it belongs to user 0"));
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        symlink("/tmp", scratch.file("archive/ops")).unwrap();
        assert!(folder.append(&name("ops"), day("2026-11-23")).is_err());
        fs::create_dir(scratch.file("archive/dev")).unwrap();
        let target = scratch.file("target");
        fs::write(&target, "untouched").unwrap();
        symlink(&target, scratch.file("archive/dev/2026-11-23.jsonl")).unwrap();
        assert!(folder.append(&name("dev"), day("2026-11-23")).is_err());
        assert_eq!(fs::read_to_string(target).unwrap(), "untouched");
    }

    #[test]
    fn only_names_of_rooms_and_of_days_count() {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        for name in ["main", "lost+found", ".hidden", "guest7", "chatd"] {
            fs::create_dir(scratch.file("archive").join(name)).unwrap();
        }
        for name in
            ["2026-11-24.jsonl", "2026-11-23.jsonl", "2026-11-23.jsonl.gz", "x.jsonl", "20261123.jsonl"]
        {
            fs::write(scratch.file("archive/main").join(name), "").unwrap();
        }
        let rooms: Vec<String> = folder.rooms().unwrap().iter().map(Name::to_string).collect();
        assert_eq!(rooms, ["main"]);
        assert_eq!(folder.days(&name("main")).unwrap(), [day("2026-11-23"), day("2026-11-24")]);
        assert_eq!(folder.days(&name("none")).unwrap(), []);
    }

    #[test]
    fn a_room_is_used_when_it_is_touched_and_not_when_a_file_goes_or_a_file_changes() {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        let ops = name("ops");
        let mut opened = folder.append(&ops, day("2026-11-23")).unwrap();
        let last_used = Timespec { tv_sec: 1_000_000_000, tv_nsec: 7 };
        let times = Timestamps { last_access: last_used, last_modification: last_used };
        rustix::fs::futimens(folder.room(&ops).unwrap(), &times).unwrap();
        opened.append(b"a mark\n", false).unwrap();
        folder.remove(&ops, day("2026-11-23")).unwrap();
        let used = || fs::metadata(scratch.file("archive/ops")).unwrap().modified().unwrap();
        assert_eq!(used(), UNIX_EPOCH + Duration::new(1_000_000_000, 7));
        folder.touch(&ops).unwrap();
        assert!(used() > UNIX_EPOCH + Duration::new(1_000_000_000, 7));
    }

    #[test]
    fn a_line_that_was_cut_is_dropped_however_long_it_is() {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        let path = folder.append(&name("main"), day("2026-11-23")).unwrap().path;
        for (text, whole) in [
            ("a\nb\n".to_owned(), 4),
            ("a\nb".to_owned(), 2),
            ("cut".to_owned(), 0),
            (format!("a\n{}", "x".repeat(200_000)), 2),
            ("a\n\0\0\0".to_owned(), 2),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(folder.append(&name("main"), day("2026-11-23")).unwrap().len, whole);
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes()[..whole as usize]);
        }
    }
}
