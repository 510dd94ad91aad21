//! The thread of the archive: writes what the queue has, and tries again once a second what failed.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use super::folder::Folder;
use super::queue::{ArchiveState, Queue};
use super::tail::{self, Tail};
use super::writer::{Failed, Writer, day_of};
use super::{Settings, keep};
use crate::chat::{Archived, Limits, Recalled};
use crate::protocol::Name;
use crate::rt;
use crate::service::logging::Throttle;

/// How often the kernel stores everything, and how often a failed write is tried again.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// How long lines are gathered, to be written at once.
const GATHER: Duration = Duration::from_millis(10);
/// How often the thread looks whether a new day has begun.
const DAY_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a stop waits for the disk.
const STOP_TIME: Duration = Duration::from_secs(3);

/// The archive of a running server.
#[derive(Debug)]
pub struct Archive {
    queue: Queue,
    settings: Settings,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

/// An archive that was opened at a start, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// Writes what rooms take in.
    pub archive: Archive,
    /// The rooms, the one that was used last at the end.
    pub rooms: Vec<Recalled>,
}

/// Opens the archive, reads the ends of its rooms, and starts its thread. If the folder cannot be used, logs it; the
/// thread tries again. Blocks.
///
/// # Errors
/// The kernel has no thread.
pub fn open(settings: Settings, limits: &Limits) -> io::Result<Opened> {
    let queue = Queue::default();
    let mut writer = Writer::new(settings.path.clone(), queue.clone());
    let mut worker = Worker::new(settings.clone(), queue.clone());
    let rooms = recall(&mut writer, limits).unwrap_or_else(|failed| {
        worker.fail(&failed);
        Vec::new()
    });
    let (ended_tx, ended) = mpsc::channel::<()>();
    thread::Builder::new().name("archive".to_owned()).spawn(move || {
        worker.run(writer);
        drop(ended_tx);
    })?;
    Ok(Opened { archive: Archive { queue, settings, ended }, rooms })
}

/// Reads the end of the rooms that were used last, and has the writer go on with them.
fn recall(writer: &mut Writer, limits: &Limits) -> Result<Vec<Recalled>, Failed> {
    let folder = writer.folder()?;
    let mut tails: Vec<(Name, Tail)> = Vec::new();
    let rooms = folder.last_used().map_err(|error| Failed { path: folder.path().to_owned(), error })?;
    for room in rooms.take(limits.max_rooms) {
        match tail::read(folder, &room, limits) {
            Ok(tail) => tails.extend(tail.map(|tail| (room, tail))),
            Err(error) => log::error!("cannot read {}: {error}", folder.path_of(&room).display()),
        }
    }
    tails.reverse();
    let now = rt::wall_clock();
    for (room, tail) in &tails {
        writer.go_on(room.clone(), tail.day, tail.numbers, now)?;
    }
    let stored = writer.folder()?.sync().map_err(io::Error::from);
    stored.map_err(|error| Failed { path: writer.path().to_owned(), error })?;
    Ok(tails.into_iter().map(|(_, tail)| tail.recalled).collect())
}

impl Archive {
    /// Returns the end of the queue that the hub gets.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Returns how long lines are stored, in days; `None` for ever.
    pub fn days(&self) -> Option<u32> {
        self.settings.days
    }

    /// Returns how it is doing.
    pub fn state(&self) -> ArchiveState {
        self.queue.state()
    }

    /// Takes nothing more, writes what is there, and notes that each room has ended in order. Blocks, but not longer than
    /// a few seconds for a disk that hangs.
    pub fn stop(self) {
        self.queue.end();
        if self.ended.recv_timeout(STOP_TIME) == Err(mpsc::RecvTimeoutError::Timeout) {
            let path = self.settings.path.display();
            log::error!("{path}: the disk does not answer: the last lines of the archive are lost");
        }
    }
}

/// What the thread does.
#[derive(Debug)]
struct Worker {
    settings: Settings,
    queue: Queue,
    /// What is to be written next.
    items: VecDeque<Archived>,
    /// When the kernel is to store what was written.
    sync_at: Option<Instant>,
    /// The day on which old files were removed last.
    cleaned: Option<Date>,
    is_failing: bool,
    failures: Throttle,
    losses: Throttle,
    /// Lines that were logged as lost.
    lost: u64,
}

impl Worker {
    fn new(settings: Settings, queue: Queue) -> Self {
        Self {
            settings,
            queue,
            items: VecDeque::new(),
            sync_at: None,
            cleaned: None,
            is_failing: false,
            failures: Throttle::default(),
            losses: Throttle::default(),
            lost: 0,
        }
    }

    fn run(mut self, mut writer: Writer) {
        self.remove_old(&mut writer, rt::wall_clock());
        let mut has_ended = false;
        while !has_ended {
            has_ended = if self.is_failing {
                self.queue.rest(SYNC_INTERVAL)
            } else {
                let until_sync = |at: Instant| at.saturating_duration_since(rt::now());
                self.queue.wait(Some(self.sync_at.map_or(DAY_INTERVAL, until_sync)))
            };
            has_ended |= !self.is_failing && self.queue.gather(GATHER);
            self.work(&mut writer);
        }
        self.work(&mut writer);
        if let Err(failed) = writer.end(rt::wall_clock()) {
            self.fail(&failed);
        }
        self.queue.give_up(&self.items);
        self.queue.give_up(&self.queue.take());
        self.log_losses(true);
    }

    /// Writes what there is, and what else it is time for.
    fn work(&mut self, writer: &mut Writer) {
        self.items.append(&mut self.queue.take());
        let is_written = !self.items.is_empty();
        let mut result = if self.is_failing { writer.folder().map(drop) } else { Ok(()) };
        result = result.and_then(|()| writer.write(&mut self.items));
        if is_written && self.sync_at.is_none() {
            self.sync_at = Some(rt::now() + SYNC_INTERVAL);
        }
        if self.sync_at.is_some_and(|at| at <= rt::now()) {
            self.sync_at = None;
            result = result.and(writer.sync());
        }
        match result {
            Ok(()) => self.succeed(),
            Err(failed) => self.fail(&failed),
        }
        self.remove_old(writer, rt::wall_clock());
        self.log_losses(false);
    }

    fn succeed(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.queue.set_failing(None);
            log::info!("{}: the archive is written again", self.settings.path.display());
        }
    }

    fn fail(&mut self, Failed { path, error }: &Failed) {
        self.is_failing = true;
        let path = path.display();
        self.queue.set_failing(Some(format!("{path}: {error}")));
        if self.failures.pass(rt::now()).is_some() {
            log::error!("cannot write to the archive: {path}: {error}; trying again every second");
        }
    }

    /// Logs how many lines were lost, at most once a minute.
    fn log_losses(&mut self, is_end: bool) {
        let lost = self.queue.state().lost;
        if lost > self.lost && (is_end || self.losses.pass(rt::now()).is_some()) {
            log::error!("lines lost to the archive: {}", lost - self.lost);
            self.lost = lost;
        }
    }

    /// Removes old files, once a day.
    fn remove_old(&mut self, writer: &mut Writer, now: Timestamp) {
        let (today, Some(days)) = (day_of(now), self.settings.days) else { return };
        if self.is_failing || self.cleaned == Some(today) {
            return;
        }
        if let Err(failed) = writer.sync() {
            return self.fail(&failed);
        }
        self.cleaned = Some(today);
        writer.close_files();
        let removed = writer.folder().and_then(|folder: &Folder| {
            let path = folder.path().to_owned();
            keep::remove_old(folder, today, days, || self.queue.has_ended())
                .map_err(|error| Failed { path, error })
        });
        match removed {
            Ok(0) => {}
            Ok(count) => log::info!("{}: removed {count} old files", self.settings.path.display()),
            Err(Failed { path, error }) => {
                log::error!("cannot remove old files of the archive: {}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::chat::Archive as _;
    use crate::chat::testing::TestHub;
    use crate::service::scratch::Scratch;

    /// Has a room look as if it was last used so many seconds after 1970.
    fn set_used(scratch: &Scratch, room: &str, seconds: u64) {
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
        File::open(scratch.file("archive").join(room)).unwrap().set_times(times).unwrap();
    }

    #[test]
    fn a_start_goes_on_with_the_rooms_that_were_used_last_and_opens_no_other() {
        let scratch = Scratch::new();
        let names = ["main", "old", "middle", "new"].map(|name| Arc::new(Name::parse(name).unwrap()));
        let limits = Limits { max_rooms: 3, ..TestHub::default().hub().limits() };
        let settings = Settings { path: scratch.file("archive"), days: None };
        let opened = open(settings.clone(), &limits).unwrap();
        for name in &names {
            opened.archive.queue().append(Archived::said(name, 5, 1, rt::wall_clock(), "one\n"));
        }
        opened.archive.stop();
        for (room, seconds) in [("main", 1), ("old", 2), ("middle", 3), ("new", 4)] {
            set_used(&scratch, room, seconds);
        }
        // Neither a folder that cannot be read nor a file holds up a start.
        fs::write(scratch.file("archive/old/2999-01-01.jsonl"), "nothing that belongs here").unwrap();
        set_used(&scratch, "old", 2);
        fs::write(scratch.file("archive/stray"), "").unwrap();
        let times = FileTimes::new().set_modified(UNIX_EPOCH);
        File::options().write(true).open(scratch.file("archive/stray")).unwrap().set_times(times).unwrap();
        let rooms = |opened: &Opened| -> Vec<String> {
            opened.rooms.iter().map(|room| room.name().to_string()).collect()
        };
        let opened = open(settings.clone(), &limits).unwrap();
        assert_eq!(rooms(&opened), ["middle", "new", "main"]);
        // What is said in a room counts as a use; the marks of a start and a stop do not.
        opened.archive.queue().append(Archived::said(&names[2], 5, 2, rt::wall_clock(), "two\n"));
        opened.archive.stop();
        let opened = open(settings, &limits).unwrap();
        assert_eq!(rooms(&opened), ["new", "middle", "main"]);
        opened.archive.stop();
    }
}
