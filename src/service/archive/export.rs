//! Prints what the archive has of a room: `chatd --export`.
//!
//! Reads the files while the daemon may write them, and leaves out a line that is not complete yet. Never locks and never
//! changes anything.

use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::folder::Folder;
use super::mark::Mark;
use super::writer::day_of;
use crate::duration::parse_duration;
use crate::protocol::object::{Change, Line};
use crate::protocol::{Name, Object};

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// As people read it: the time, the name and the line.
    #[default]
    Text,
    /// As it is stored: an object a line.
    Json,
}

/// What to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The folder of the archive.
    pub path: PathBuf,
    /// The room, as it was typed.
    pub room: String,
    /// The first time to print; `None` for all.
    pub since: Option<Timestamp>,
    /// The time before which to print; `None` for all.
    pub until: Option<Timestamp>,
    /// How to print.
    pub format: Format,
}

/// Why nothing, or not all, was printed.
#[derive(Debug)]
pub enum ExportError {
    /// The archive has no such room.
    NoRoom(String),
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// Standard output takes nothing.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom(room) => write!(f, "the archive has no room {room:?}"),
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

/// Reads a time: a date (its beginning in UTC), a time of RFC 3339, or a duration before `now`: `90m`, `2h`, `7d`.
pub fn parse_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // A date with a time, but without its zone, is no date.
    if let Some(day) = text.parse::<Date>().ok().filter(|day| day.to_string() == text) {
        return TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    }
    now.checked_sub(SignedDuration::try_from(parse_duration(text)?).ok()?).ok()
}

impl Export {
    /// Prints to `out`. A reader that closes the pipe is no error.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn run(&self, out: impl Write) -> Result<(), ExportError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            |error| ExportError::Read(path, error)
        };
        let folder = Folder::open(&self.path).map_err(read(&self.path))?;
        let room = self.find(&folder.rooms().map_err(read(&self.path))?)?;
        let path = folder.path_of(&room);
        let (first, last) = (self.since.map_or(Date::MIN, day_of), self.until.map_or(Date::MAX, day_of));
        let mut out = BufWriter::new(out);
        let days = folder.days(&room).map_err(read(&path))?;
        for day in days.into_iter().filter(|day| (first..=last).contains(day)) {
            let file = match folder.read(&room, day) {
                // The daemon has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(read(&path))?,
            };
            let mut lines = BufReader::with_capacity(256 * 1024, file);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).map_err(read(&path))? > 0 {
                let shown = line.strip_suffix(b"\n").and_then(|line| self.show(line));
                match shown.map_or(Ok(()), |shown| out.write_all(&shown)) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.map_err(ExportError::Write)?,
                }
                line.clear();
            }
        }
        match out.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(ExportError::Write(error)),
            _ => Ok(()),
        }
    }

    /// Returns the room of that name, or of one that looks like it.
    fn find(&self, rooms: &[Name]) -> Result<Name, ExportError> {
        let wanted = Name::parse(&self.room).ok();
        let is_exact = |room: &&Name| room.as_str() == self.room;
        let is_alike = |room: &&Name| wanted.as_ref().is_some_and(|wanted| wanted.looks_like(room));
        let found = rooms.iter().find(is_exact).or_else(|| rooms.iter().find(is_alike));
        found.cloned().ok_or_else(|| ExportError::NoRoom(self.room.clone()))
    }

    /// Returns a line as it is printed; `None` for one that is not.
    fn show(&self, line: &[u8]) -> Option<Vec<u8>> {
        let shown = match Mark::read(line) {
            Some(mark) if !self.is_wanted(&mark.time) => return None,
            Some(Mark { lost: 0, crashed: false, .. }) => return None,
            Some(mark @ Mark { lost: 0, .. }) => {
                format!("{} -!- lines may be missing here: chatd crashed\n", mark.time)
            }
            Some(mark) => format!("{} -!- {} lines are missing here\n", mark.time, mark.lost),
            None => {
                let object = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
                let (time, text) = show(&object)?;
                if !self.is_wanted(time) {
                    return None;
                }
                format!("{time} {text}\n")
            }
        };
        Some(match self.format {
            Format::Json => [line, b"\n"].concat(),
            Format::Text => shown.replace(|c: char| c.is_control() && !"\t\n".contains(c), "?").into_bytes(),
        })
    }

    fn is_wanted(&self, time: &str) -> bool {
        let is_after = |time| self.since.is_none_or(|since| time >= since);
        let is_before = |time| self.until.is_none_or(|until| time < until);
        let has_limit = self.since.is_some() || self.until.is_some();
        !has_limit || time.parse::<Timestamp>().is_ok_and(|time| is_after(time) && is_before(time))
    }
}

/// Returns the time of an object and what `names` shows; `None` for what is no part of an archive.
fn show<'a>(object: &'a Object<'a>) -> Option<(&'a str, String)> {
    let mark = |verified: bool| if verified { "+" } else { "" };
    let said = |line: &'a Line<'a>, before: &str, after: &str| {
        (&*line.time, format!("{before}{}{}{after} {}", mark(line.verified), line.from, line.text))
    };
    let moved = |change: &'a Change<'a>, what: &str| {
        let (name, members) = (&change.name, change.members.unwrap_or(0));
        (&*change.time, format!("-!- {}{name} {what} ({members} here)", mark(change.verified)))
    };
    match object {
        Object::Message(line) => Some(said(line, "<", ">")),
        Object::Emote(line) => Some(said(line, "* ", "")),
        Object::Join(change) => Some(moved(change, "joined")),
        Object::Leave(change) => Some(moved(change, "left")),
        Object::Rename(change) => {
            let (name, from) = (&change.name, change.from.as_deref().unwrap_or_default());
            Some((&*change.time, format!("-!- {from} is now {}{name}", mark(change.verified))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::service::scratch::Scratch;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_a_date_or_a_time_or_so_long_ago() {
        let now = time("2026-11-23T12:00:00Z");
        for (text, expected) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T10:00:00+02:00", "2026-11-01T08:00:00Z"),
            ("2h", "2026-11-23T10:00:00Z"),
            ("1h 30m", "2026-11-23T10:30:00Z"),
            ("7d", "2026-11-16T12:00:00Z"),
        ] {
            assert_eq!(parse_time(text, now), Some(time(expected)), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "-1d", "2026-11-01T10:00:00"] {
            assert_eq!(parse_time(text, now), None, "{text}");
        }
    }

    const FILES: [(&str, &str); 2] = [
        (
            "2026-11-22",
            r#"{"type":"archive","time":"2026-11-22T10:00:00.000Z","room":"ops","epoch":7,"seq":0,"reserved":99,"lost":0}
{"type":"join","time":"2026-11-22T10:00:00.000Z","room":"ops","id":7,"name":"ann","verified":false,"members":3}
{"type":"message","seq":1,"time":"2026-11-22T10:00:00.500Z","room":"ops","id":7,"from":"ann","verified":false,"text":"one \u001b[2J"}
{"type":"rename","time":"2026-11-22T10:00:01.000Z","room":"ops","id":7,"name":"anna","verified":false,"from":"ann"}
"#,
        ),
        (
            "2026-11-23",
            r#"{"type":"archive","time":"2026-11-23T10:00:00.000Z","room":"ops","epoch":7,"seq":3,"reserved":99,"lost":2}
{"type":"archive","time":"2026-11-23T10:00:00.200Z","room":"ops","epoch":7,"seq":3,"reserved":99,"lost":0,"crashed":true}
by hand
{"type":"emote","seq":4,"time":"2026-11-23T10:00:00.500Z","room":"ops","id":8,"from":"root","verified":true,"text":"waves"}
{"type":"message","seq":5,"ti"#,
        ),
    ];

    fn export(room: &str, since: Option<&str>, format: Format) -> Result<String, String> {
        export_between(room, since, None, format)
    }

    fn export_between(
        room: &str,
        since: Option<&str>,
        until: Option<&str>,
        format: Format,
    ) -> Result<String, String> {
        let scratch = Scratch::new();
        let folder = scratch.file("archive");
        fs::create_dir_all(folder.join("ops")).unwrap();
        for (day, text) in FILES {
            fs::write(folder.join("ops").join(format!("{day}.jsonl")), text).unwrap();
        }
        let mut out = Vec::new();
        let export = Export {
            path: folder,
            room: room.to_owned(),
            since: since.map(time),
            until: until.map(time),
            format,
        };
        export.run(&mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_is_the_view_names_with_the_whole_time() {
        let expected = "\
2026-11-22T10:00:00.000Z -!- ann joined (3 here)
2026-11-22T10:00:00.500Z <ann> one ?[2J
2026-11-22T10:00:01.000Z -!- ann is now anna
2026-11-23T10:00:00.000Z -!- 2 lines are missing here
2026-11-23T10:00:00.200Z -!- lines may be missing here: chatd crashed
2026-11-23T10:00:00.500Z * +root waves
";
        assert_eq!(export("OPS", None, Format::Text).unwrap(), expected);
    }

    #[test]
    fn json_is_what_is_stored_without_what_nobody_has_said() {
        let all = export("ops", None, Format::Json).unwrap();
        assert_eq!(all.lines().count(), 6);
        assert!(all.lines().all(|line| FILES.iter().any(|(_, text)| text.contains(line))));
        let late = export("ops", Some("2026-11-22T10:00:00.501Z"), Format::Json).unwrap();
        assert_eq!(late.lines().count(), 4);
        assert!(late.starts_with("{\"type\":\"rename\""));
    }

    #[test]
    fn until_a_time_is_before_it() {
        let between = |since, until| export_between("ops", since, Some(until), Format::Text).unwrap();
        let until = between(None, "2026-11-22T10:00:01Z");
        assert!(until.ends_with("<ann> one ?[2J\n") && until.lines().count() == 2, "{until}");
        let rename = "2026-11-22T10:00:01.000Z -!- ann is now anna\n";
        assert_eq!(between(Some("2026-11-22T10:00:01Z"), "2026-11-23T00:00:00Z"), rename);
        assert_eq!(between(Some("2026-11-23T00:00:00Z"), "2026-11-22T00:00:00Z"), "");
    }

    #[test]
    fn a_room_that_is_not_there_is_named() {
        assert_eq!(export("dev", None, Format::Text).unwrap_err(), "the archive has no room \"dev\"");
        assert_eq!(export("../ops", None, Format::Text).unwrap_err(), "the archive has no room \"../ops\"");
    }

    #[test]
    fn a_pipe_that_is_closed_is_no_error_and_a_full_disk_is() {
        struct Broken(ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.file("ops")).unwrap();
        fs::write(scratch.file("ops/2026-11-22.jsonl"), FILES[0].1).unwrap();
        let path = scratch.path().to_owned();
        let export = Export { path, room: "ops".to_owned(), since: None, until: None, format: Format::Text };
        assert!(export.run(Broken(ErrorKind::BrokenPipe)).is_ok());
        assert!(export.run(Broken(ErrorKind::StorageFull)).is_err());
    }
}
