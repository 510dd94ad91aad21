//! The archive: what is said in rooms, on disk, and back again at a start.
//!
//! `ROOM/YYYY-MM-DD.jsonl` in the folder has the objects of the json view, one a line, in the order of the room. A
//! thread of its own writes them: the hub puts what rooms take in into the `queue` and never waits for a disk. The
//! `writer` appends, once a second it has the kernel store everything, and a `mark` says which epoch the lines have
//! and where some are missing. `tail` reads the end of each room at a start, `export` prints a room, and `keep`
//! removes old days. `folder` opens files, and follows no link.

pub mod export;
mod folder;
mod keep;
mod mark;
mod queue;
mod tail;
mod thread;
mod writer;

pub use queue::{ArchiveState, Queue};
pub use thread::{Archive, Opened, open};

use std::path::PathBuf;

use crate::service::config::Config;

/// Where to store, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the archive.
    pub path: PathBuf,
    /// How long to store lines, in days; `None` for ever.
    pub days: Option<u32>,
}

impl Settings {
    /// Returns the settings; `None` if the archive is off.
    pub fn of(config: &Config) -> Option<Self> {
        let path = config.archive.path()?.to_owned();
        Some(Self { path, days: config.archive_keep.days() })
    }
}
