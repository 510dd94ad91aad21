//! Removes what is older than `archive_keep`: whole days, and then the folders of rooms that are empty.

use std::io;

use jiff::ToSpan;
use jiff::civil::Date;

use super::folder::Folder;

/// Removes the files of days that are more than `days` days before `today`, in UTC, until `is_over`. Returns how many it
/// removed.
///
/// # Errors
/// The first of the kernel's; the others are removed all the same.
pub fn remove_old(folder: &Folder, today: Date, days: u32, is_over: impl Fn() -> bool) -> io::Result<usize> {
    let Ok(first) = today.checked_sub(i64::from(days).days()) else { return Ok(0) };
    let (mut removed, mut result) = (0, Ok(()));
    for room in folder.last_used()?.take_while(|_| !is_over()) {
        let all = folder.days(&room)?;
        for day in all.iter().copied().filter(|day| *day < first) {
            match folder.remove(&room, day) {
                Ok(()) => removed += 1,
                Err(error) => result = result.and(Err(error)),
            }
        }
        if all.last().is_none_or(|last| *last < first) {
            result = result.and(folder.remove_room(&room));
        }
    }
    result.map(|()| removed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::Name;
    use crate::service::scratch::Scratch;

    #[test]
    fn old_days_and_empty_rooms_are_removed_and_nothing_else() {
        let scratch = Scratch::new();
        let folder = Folder::own(&scratch.file("archive")).unwrap();
        let files = [
            "main/2026-10-23.jsonl",
            "main/2026-10-24.jsonl",
            "main/2026-11-23.jsonl",
            "main/notes.txt",
            "old/2025-01-01.jsonl",
            "mixed/2025-01-01.jsonl",
            "mixed/notes.txt",
        ];
        for file in files {
            let path = scratch.file("archive").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let remove = |is_over| remove_old(&folder, "2026-11-23".parse().unwrap(), 30, || is_over).unwrap();
        assert_eq!(remove(true), 0, "chatd stops, and many rooms take their time");
        assert_eq!(remove(false), 3);
        let left: Vec<bool> = files.iter().map(|file| scratch.file("archive").join(file).exists()).collect();
        assert_eq!(left, [false, true, true, true, false, false, true]);
        assert!(!scratch.file("archive/old").exists());
        assert_eq!(folder.days(&Name::parse("main").unwrap()).unwrap().len(), 2);
    }
}
