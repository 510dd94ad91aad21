//! The file of bans: keeps bans and mutes through restarts, crashes and stops.
//!
//! It is the file `bans` in the state folder, a line for each, see `bans_text`. People may edit it: chatd reads
//! it at the start and at each reload, and before it writes the file if somebody has changed it. It keeps comments and
//! damaged lines.
//!
//! Operators change bans through [`Net::ban`] and the methods beside it, which wait for nothing. The task of
//! [`BansFile::keep`] stores the changes afterwards, on a thread that may block. The file is replaced as a whole, so that
//! a crash or a full disk leaves the old one. Changes that could not be stored are tried again every second, and once
//! more when chatd stops.
//!
//! In a cluster the file is the copy of this node of the bans that the cluster has. [`BansFile::keep`] puts those in force
//! when the cluster is reached, and has it get what it lacks: see `bans_merge`.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, future};
use jiff::Timestamp;
use rustix::fs::{Access, OFlags};

use super::bans_merge;
use super::bans_text::{read_line, write_change};
use super::config::{Config, Environment};
use crate::chat::ClusterBans;
use crate::net::Net;
use crate::net::bans::{Ban, Bans, TooMany};
use crate::net::registry::{Change, Errand, Registry};
use crate::rt;

/// The name of the file in the state folder.
const NAME: &str = "bans";
/// What the file begins with.
const HEAD: [&str; 3] = [
    "# The bans and mutes of chatd, one on each line; chatd(8) explains them under Access.",
    "# To change them, edit this file, then type: systemctl reload chatd",
    "# In a cluster a line that you remove comes back: lift it with chatctl unban or chatctl unmute.",
];
/// Most bytes of comments and damaged lines that chatd keeps.
const MAX_KEPT: usize = 1 << 20;
/// Bans to look at, at a time. A change waits for that, and is made by the task that all lines go through.
const PAGE: usize = if cfg!(test) { 2 } else { 1000 };
/// How often chatd tries again to store changes.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Most damaged lines that the log names.
const MOST_NAMED: usize = 10;

/// Returns the folder for bans: the key `state`, or the folder that the service manager gives (systemd.exec(5),
/// StateDirectory=), the first one if there are several.
pub fn folder(config: &Config, env: Environment<'_>) -> Option<PathBuf> {
    let given = || env("STATE_DIRECTORY")?.into_string().ok();
    let first =
        |folders: String| folders.split(':').next().filter(|path| path.starts_with('/')).map(PathBuf::from);
    config.state.0.clone().or_else(|| first(given()?))
}

/// Which file it was when it was read or written: its number, size and time.
type Stamp = (u64, u64, i64, i64);

/// The file.
#[derive(Debug, Default)]
pub struct BansFile {
    /// `None` without a folder: then nothing is stored, and the cluster has them.
    path: Option<PathBuf>,
    /// `None` if there is no file.
    stamp: Option<Stamp>,
    /// Comments and damaged lines.
    kept: Vec<Vec<u8>>,
    /// Why the changes in the journal could not be stored; `None` if all are stored.
    failure: Option<String>,
    /// It differs from what is in force, whatever the journal has.
    is_stale: bool,
}

/// A file of bans, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: BansFile,
    /// The bans and mutes; `None` if the file cannot be read. Then nobody knows who is banned.
    pub bans: Option<Bans>,
}

impl Opened {
    /// Returns no bans, and what stores none.
    pub fn nowhere() -> Self {
        Self { file: BansFile::default(), bans: Some(Bans::default()) }
    }
}

/// What is in the file.
#[derive(Debug, Default)]
struct Contents {
    bans: Bans,
    kept: Vec<Vec<u8>>,
    kept_bytes: usize,
    /// Damaged lines with their numbers, and what is wrong.
    damaged: Vec<(usize, String)>,
    stamp: Option<Stamp>,
}

impl BansFile {
    /// Reads the file in `folder`. A missing file is an empty one. Logs damaged lines, why it cannot be read, and that
    /// changes could not be stored. Blocks.
    pub fn open(folder: &Path) -> Opened {
        if let Err(error) = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            let (path, error) = (folder.display(), io::Error::from(error));
            log::warn!(
                "cannot store bans and mutes in {path}: {error}; make this folder, and give it to the user that chatd runs as"
            );
        }
        let path = folder.join(NAME);
        let mut file = Self { path: Some(path.clone()), ..Self::default() };
        let bans = match file.read(&path) {
            Ok(bans) => Some(bans),
            Err(error) => {
                let path = path.display();
                log::error!(
                    "cannot read {path}: {error}; only operators may connect until it can be read: correct it, then reload"
                );
                None
            }
        };
        Opened { file, bans }
    }

    /// Stores changes and reads the file again, until the channel ends.
    pub async fn keep(mut self, net: Arc<Net>, mut errands: UnboundedReceiver<Errand>) {
        let mut retry = rt::Timer::default();
        loop {
            if self.failure.is_none() {
                retry.clear();
            } else if !retry.is_set() {
                retry.set(rt::now() + RETRY_INTERVAL);
            }
            let first = future::poll_fn(|cx| match errands.poll_next_unpin(cx) {
                Poll::Pending => retry.poll(cx).map(|()| Some(Errand::Store)),
                first => first,
            });
            let first = first.await;
            if first.is_none() && self.failure.is_none() {
                return;
            }
            let is_end = first.is_none();
            let (mut rereads, mut joined, mut next) = (false, Vec::new(), first);
            while let Some(errand) = next {
                match errand {
                    Errand::Read => rereads = true,
                    Errand::Join(bans) => joined.push(bans),
                    Errand::Store => {}
                }
                next = errands.try_recv().ok();
            }
            let shared = Arc::clone(&net);
            self = rt::blocking(move || {
                joined.iter().for_each(|bans| self.join(&shared, bans));
                self.sync(&shared, rereads);
                self
            })
            .await;
            if is_end {
                if let Some(failure) = self.failure {
                    log::error!("cannot store the last changes of bans: {failure}");
                }
                return;
            }
        }
    }

    /// Puts the bans of the cluster in force, and has it get those here that it lacks.
    fn join(&mut self, net: &Net, cluster: &ClusterBans) {
        let (registry, now) = (&net.registry, rt::wall_clock());
        let (mut bans, bad) = bans_merge::read(cluster, now);
        if bad > 0 {
            log::warn!("{bad} bans that the engine has cannot be read, or are too many: the others hold");
        }
        let brought = bans_merge::add(&mut bans, in_force(registry, now), |one| cluster.lacks(one), now);
        let (count, more) = (bans.count(), brought.len());
        registry.replace_from_cluster(bans, now);
        let closed = net.examine_all();
        log::info!(
            "the cluster has {count} bans and mutes, {more} of them from this node; {closed} connections closed"
        );
        bans_merge::bring(registry, brought);
        self.is_stale = true;
    }

    /// Takes over what somebody has edited, and stores the changes since. Logs what fails: at a reload, and otherwise
    /// once.
    fn sync(&mut self, net: &Net, rereads: bool) {
        let (registry, Some(file)) = (&net.registry, self.path.clone()) else {
            return drop(net.registry.take_journal());
        };
        let path = file.display();
        let now = stamp_of(&file);
        // A file that somebody has removed is written again, unless a reload is to read it.
        if rereads || now.is_some() && now != self.stamp {
            match self.read(&file) {
                Ok(bans) => {
                    self.take_over(registry, bans, rt::wall_clock());
                    let closed = net.examine_all();
                    log::info!("the bans were read again; {closed} connections closed");
                }
                Err(error) => {
                    let failure = format!("cannot read {path}: {error}");
                    let is_due = registry.has_journal() || self.is_stale;
                    if !is_due || self.failure.as_ref() != Some(&failure) || rereads {
                        log::error!(
                            "cannot read {path}: {error}; the bans in force stay: correct it, then reload"
                        );
                    }
                    self.failure = is_due.then_some(failure);
                    return;
                }
            }
        }
        let journal = registry.take_journal();
        if journal.is_empty() && !self.is_stale {
            return;
        }
        let text = self.text(registry, rt::wall_clock());
        let written = self.write(&file, &text);
        let failure = written.err().map(|error| (format!("cannot write {path}: {error}"), error));
        match failure {
            None => {
                self.is_stale = false;
                if self.failure.take().is_some() {
                    log::info!("{path}: the changes of bans are stored again");
                }
            }
            Some((failure, error)) => {
                if self.failure.as_ref() != Some(&failure) || rereads {
                    log::error!(
                        "cannot write {path}: {error}; changes of bans are in force, but not stored: trying again every second"
                    );
                }
                self.failure = Some(failure);
                registry.put_back(journal);
            }
        }
    }

    /// Puts in force what was read from the file. What a cluster has stays, and the cluster gets what it lacks.
    fn take_over(&mut self, registry: &Registry, file: Bans, now: Timestamp) {
        let Some(cluster) = registry.cluster() else { return registry.replace(file, now) };
        let mut bans = Bans::default();
        for change in in_force(registry, now) {
            // There were not too many before.
            let _ = change.apply(&mut bans, now);
        }
        let lacks = |known: Option<u64>| known != Some(cluster);
        let brought = bans_merge::add(&mut bans, bans_merge::all(&file, now), lacks, now);
        registry.replace(bans, now);
        bans_merge::bring(registry, brought);
        self.is_stale = true;
    }

    /// Reads the file, and logs its damaged lines.
    fn read(&mut self, path: &Path) -> io::Result<Bans> {
        let Contents { bans, kept, damaged, stamp, .. } = Contents::read(path)?;
        let path = path.display();
        for (number, problem) in damaged.iter().take(MOST_NAMED) {
            log::warn!(
                "{path}:{number}: {problem}; the other lines hold: correct or remove this one, then reload"
            );
        }
        if damaged.len() > MOST_NAMED {
            log::warn!("{path}: {} more lines are damaged", damaged.len() - MOST_NAMED);
        }
        (self.kept, self.stamp) = (kept, stamp);
        Ok(bans)
    }

    /// Returns the text of the file. What changes in the meantime may be in it or not, and is in the journal.
    fn text(&self, registry: &Registry, now: Timestamp) -> Vec<u8> {
        let mut text = Vec::new();
        let mut write = |line: &[u8]| {
            text.extend_from_slice(line);
            text.push(b'\n');
        };
        HEAD.iter().for_each(|line| write(line.as_bytes()));
        self.kept.iter().for_each(|line| write(line));
        in_force(registry, now).iter().for_each(|change| write(write_change(change).as_bytes()));
        text
    }

    /// Replaces the file. After a crash at any moment there is the old file or the new one.
    fn write(&mut self, path: &Path, text: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        let stamp = stamp(&file.metadata()?);
        fs::rename(&new, path)?;
        self.stamp = Some(stamp);
        let folder = path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

impl Contents {
    fn read(path: &Path) -> io::Result<Self> {
        // A FIFO would make chatd wait.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
        }
        let mut contents = Self { stamp: Some(stamp(&data)), ..Self::default() };
        let (mut reader, now) = (BufReader::new(file), rt::wall_clock());
        let too_large = |number: usize, what: &str| {
            Err(io::Error::new(ErrorKind::FileTooLarge, format!("line {number}: {what}")))
        };
        let (mut number, mut line) = (0, Vec::new());
        while reader.by_ref().take(MAX_KEPT as u64).read_until(b'\n', &mut line)? > 0 {
            number += 1;
            if let Err(error) = contents.take(number, line.strip_suffix(b"\n").unwrap_or(&line), now) {
                return too_large(number, &error.to_string());
            }
            if contents.kept_bytes >= MAX_KEPT {
                return too_large(number, "there is more than 1 MiB of comments and damaged lines");
            }
            line.clear();
        }
        Ok(contents)
    }

    /// Takes in a line.
    ///
    /// # Errors
    /// There are as many bans or mutes as there can be.
    fn take(&mut self, number: usize, line: &[u8], now: Timestamp) -> Result<(), TooMany> {
        let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
        match text.and_then(read_line) {
            Ok(Some(change)) => return change.apply(&mut self.bans, now).map(drop),
            Ok(None) if HEAD.iter().any(|head| head.as_bytes() == line) => return Ok(()),
            Ok(None) => {}
            Err(problem) => self.damaged.push((number, problem)),
        }
        self.kept_bytes += line.len() + 1;
        self.kept.push(line.to_vec());
        Ok(())
    }
}

/// Returns what makes the bans and mutes in force. What changes in the meantime may be in it or not.
fn in_force(registry: &Registry, now: Timestamp) -> Vec<Change> {
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let page: Vec<Ban> =
            registry.look(|bans| bans.following(last.as_ref()).take(PAGE).cloned().collect());
        let Some(ban) = page.last() else { break };
        last = Some(ban.whom.clone());
        all.extend(page.into_iter().filter(|ban| ban.holds(now)).map(Change::Ban));
    }
    all.extend(registry.look(|bans| bans.mutes(now)).into_iter().map(Change::Mute));
    all
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|data| stamp(&data))
}

fn stamp(data: &Metadata) -> Stamp {
    (data.ino(), data.size(), data.mtime(), data.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;
    use crate::net::bans::{MAX_BANS, Mute};
    use crate::service::config::Config;
    use crate::service::scratch::Scratch;
    use crate::service::settings::settings;

    /// A file of bans, and what it is stored for; nothing is written before [`Kept::sync`].
    struct Kept {
        folder: Scratch,
        file: BansFile,
        net: Arc<Net>,
        errands: UnboundedReceiver<Errand>,
    }

    impl Kept {
        fn of(text: Option<&[u8]>) -> Self {
            let folder = Scratch::new();
            text.inspect(|text| fs::write(folder.file(NAME), text).unwrap());
            Self::open(folder)
        }

        fn open(folder: Scratch) -> Self {
            let Opened { file, bans } = BansFile::open(folder.path());
            let net = Net::new(settings(&Config::default(), &[], None), Arc::default());
            match bans {
                Some(bans) => net.registry.replace(bans, rt::wall_clock()),
                None => net.registry.shut(),
            }
            let (errands_tx, errands) = mpsc::unbounded();
            net.registry.begin(errands_tx);
            Self { folder, file, net, errands }
        }

        fn ban(&self, subject: &str) {
            self.net.ban(Ban::of(subject.parse().unwrap())).unwrap();
        }

        fn sync(&mut self) {
            self.file.sync(&self.net, false);
        }

        fn edit(&self, text: &str) {
            fs::write(self.folder.file(NAME), text).unwrap();
        }

        /// The lines of the file that chatd has not written at its head.
        fn lines(&self) -> Vec<String> {
            let text = fs::read(self.folder.file(NAME)).unwrap();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().filter(|line| !HEAD.contains(line)).map(str::to_owned).collect()
        }

        fn bans(&self) -> Vec<String> {
            self.net.bans().iter().map(|ban| ban.whom.to_string()).collect()
        }
    }

    #[test]
    fn bans_and_mutes_are_there_in_the_next_process() {
        let mut kept = Kept::of(None);
        kept.ban("192.0.2.0/24");
        let until = Some("2999-01-01T00:00:00Z".parse().unwrap());
        kept.net
            .mute(Mute { until, reason: "flood".to_owned(), ..Mute::of("bob".parse().unwrap()) })
            .unwrap();
        kept.sync();
        let lines = ["ban 192.0.2.0/24", "mute bob until 2999-01-01T00:00:00Z reason flood"];
        assert_eq!(kept.lines(), lines);
        let next = Kept::open(kept.folder);
        assert_eq!((next.bans(), next.net.mutes().len()), (vec!["192.0.2.0/24".to_owned()], 1));
        let mut next = next;
        assert!(next.net.unban(&"192.0.2.0/24".parse().unwrap()));
        next.sync();
        assert_eq!(next.lines(), lines[1..], "the head is there once");
        assert_eq!(fs::read_dir(next.folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn all_bans_are_stored_however_many_are_looked_at_at_a_time() {
        let mut kept = Kept::of(None);
        for count in 1..=2 * PAGE {
            kept.ban(&format!("192.0.2.{count}"));
            kept.ban(&format!("+user{count}"));
            kept.net.ban(Ban { until: Some(Timestamp::UNIX_EPOCH), ..ended(count) }).unwrap();
            kept.sync();
            let networks = (1..=count).map(|number| format!("ban 192.0.2.{number}"));
            let logins = (1..=count).map(|number| format!("ban +user{number}"));
            assert_eq!(kept.lines(), networks.chain(logins).collect::<Vec<_>>());
        }
    }

    fn ended(number: usize) -> Ban {
        Ban::of(format!("10.0.0.{number}").parse().unwrap())
    }

    #[test]
    fn damaged_lines_and_comments_stay_and_the_others_hold() {
        let mut kept = Kept::of(Some(b"# ours\nban 192.0.2.1\nban 192.0.2.7/24\n\xff\nban +ann\n"));
        assert_eq!(kept.bans(), ["192.0.2.1", "+ann"]);
        kept.ban("10.0.0.0/8");
        kept.sync();
        let lines = ["# ours", "ban 192.0.2.7/24", "\u{fffd}", "ban 10.0.0.0/8", "ban 192.0.2.1", "ban +ann"];
        assert_eq!(kept.lines(), lines);
        assert!(fs::read(kept.folder.file(NAME)).unwrap().contains(&0xff));
    }

    #[test]
    fn what_somebody_has_edited_is_taken_over_with_the_changes_since() {
        let mut kept = Kept::of(Some(b"ban 192.0.2.1\nban 192.0.2.2\n"));
        kept.ban("192.0.2.3");
        kept.edit("ban 192.0.2.2\nban 192.0.2.4\n");
        kept.sync();
        let all = ["192.0.2.2", "192.0.2.3", "192.0.2.4"];
        assert_eq!(kept.bans(), all);
        assert_eq!(kept.lines(), all.map(|one| format!("ban {one}")));
        kept.edit("ban 192.0.2.4\n");
        kept.file.sync(&kept.net, true);
        assert_eq!(kept.bans(), ["192.0.2.4"]);
        assert_eq!(kept.lines(), ["ban 192.0.2.4"], "nothing is written that has not changed");
    }

    #[test]
    fn a_file_that_cannot_be_read_opens_up_nothing_and_is_never_replaced() {
        let folder = Scratch::new();
        fs::create_dir(folder.file(NAME)).unwrap();
        let mut kept = Kept::open(folder);
        let stranger = Some("192.0.2.1".parse().unwrap());
        let admit = |kept: &Kept| kept.net.registry.admit(stranger, None, rt::wall_clock()).is_ok();
        assert!(!admit(&kept), "nobody knows who is banned");
        kept.ban("10.0.0.0/8");
        kept.sync();
        assert!(fs::metadata(kept.folder.file(NAME)).unwrap().is_dir());
        fs::remove_dir(kept.folder.file(NAME)).unwrap();
        kept.edit("ban 192.0.2.2\n");
        kept.sync();
        assert!(admit(&kept));
        assert_eq!(kept.lines(), ["ban 10.0.0.0/8", "ban 192.0.2.2"]);
        // Later on, the bans in force stay.
        fs::remove_file(kept.folder.file(NAME)).unwrap();
        fs::create_dir(kept.folder.file(NAME)).unwrap();
        kept.file.sync(&kept.net, true);
        assert_eq!(kept.bans(), ["10.0.0.0/8", "192.0.2.2"]);
        assert!(admit(&kept));
    }

    #[test]
    fn what_cannot_be_written_is_in_force_and_is_written_later() {
        let mut kept = Kept::of(Some(b"ban 192.0.2.1\n"));
        // In place of the new file: root may write to any folder.
        let obstacle = kept.folder.file("bans.new");
        fs::create_dir(&obstacle).unwrap();
        kept.ban("192.0.2.2");
        kept.sync();
        assert_eq!((kept.lines(), kept.bans().len()), (vec!["ban 192.0.2.1".to_owned()], 2));
        fs::remove_dir(obstacle).unwrap();
        kept.sync();
        assert_eq!(kept.lines(), ["ban 192.0.2.1", "ban 192.0.2.2"]);
    }

    #[test]
    fn what_could_not_be_written_is_tried_once_more_at_the_end() {
        for is_removed in [true, false] {
            let mut kept = Kept::of(Some(b"ban 192.0.2.1\n"));
            let obstacle = kept.folder.file("bans.new");
            fs::create_dir(&obstacle).unwrap();
            kept.ban("192.0.2.2");
            kept.sync();
            assert_eq!(kept.errands.try_recv(), Ok(Errand::Store));
            if is_removed {
                fs::remove_dir(obstacle).unwrap();
            }
            // Nothing else wakes the task.
            kept.net.registry.end();
            let Kept { folder, file, net, errands } = kept;
            rt::run(2, file.keep(Arc::clone(&net), errands));
            assert_eq!(net.registry.has_journal(), !is_removed);
            let text = fs::read_to_string(folder.file(NAME)).unwrap();
            assert_eq!(text.ends_with("ban 192.0.2.1\nban 192.0.2.2\n"), is_removed, "{text}");
        }
    }

    #[test]
    fn changes_beside_a_file_that_cannot_be_read_are_stored_once_it_can() {
        let mut kept = Kept::of(Some(b"ban 192.0.2.1\n"));
        fs::remove_file(kept.folder.file(NAME)).unwrap();
        fs::create_dir(kept.folder.file(NAME)).unwrap();
        kept.file.sync(&kept.net, true);
        assert_eq!(kept.file.failure, None, "there is nothing to store");
        kept.ban("192.0.2.2");
        kept.sync();
        assert!(kept.file.failure.is_some());
        fs::remove_dir(kept.folder.file(NAME)).unwrap();
        kept.sync();
        assert_eq!(
            (kept.lines(), kept.file.failure),
            (vec!["ban 192.0.2.1".to_owned(), "ban 192.0.2.2".to_owned()], None)
        );
    }

    #[test]
    fn a_file_with_a_million_bans_is_refused_and_opens_up_nothing() {
        let line = |n: u32| format!("ban {}\n", std::net::Ipv4Addr::from(n));
        let text: String = (0..1_000_000).map(line).collect();
        let mut kept = Kept::of(Some(text.as_bytes()));
        let error = Contents::read(&kept.folder.file(NAME)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {}: there are 100000 already", MAX_BANS + 1)), "{error}");
        assert!(kept.net.registry.admit("192.0.2.1".parse().ok(), None, rt::wall_clock()).is_err());
        kept.ban("192.0.2.1");
        kept.sync();
        assert_eq!(fs::read(kept.folder.file(NAME)).unwrap().len(), text.len(), "it stays as it is");
    }

    #[test]
    fn what_is_too_much_to_keep_is_refused_and_a_long_line_is_kept() {
        let comments = format!("# {}\n", "x".repeat(1000)).repeat(2000);
        let mut kept = Kept::of(Some(comments.as_bytes()));
        let error = Contents::read(&kept.folder.file(NAME)).unwrap_err().to_string();
        assert!(error.contains("more than 1 MiB of comments and damaged lines"), "{error}");
        kept.ban("192.0.2.2");
        kept.sync();
        assert_eq!(fs::read(kept.folder.file(NAME)).unwrap(), comments.as_bytes());
        let long = "x".repeat(100_000);
        let mut kept = Kept::of(Some(format!("{long}\nban 192.0.2.1\n").as_bytes()));
        kept.ban("192.0.2.2");
        kept.sync();
        assert_eq!(kept.lines(), [&long, "ban 192.0.2.1", "ban 192.0.2.2"]);
    }

    /// Goes on with what the cluster 7 has. Returns what the node brings.
    fn join(kept: &mut Kept, lines: &[&str], has_lost: bool) -> Vec<String> {
        let mut brought = kept.net.registry.begin_cluster();
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let bans = Arc::new(ClusterBans { id: 7, lines, has_lost });
        kept.net.registry.join(Arc::clone(&bans));
        kept.file.join(&kept.net, &bans);
        kept.sync();
        brought.try_recv().unwrap_or_default()
    }

    #[test]
    fn a_cluster_gets_what_it_lacks_and_what_was_lifted_elsewhere_does_not_come_back() {
        let text =
            b"ban 192.0.2.1 cluster 7\nban 192.0.2.2\nban 192.0.2.3 cluster 6\nmute guest7\nmute bob\n\
                     ban 192.0.2.4 until 2999-01-01\nban 192.0.2.5 until 2999-01-01\n";
        let cluster = [
            "ban 192.0.2.4 until 2998-01-01 cluster 1",
            "ban 192.0.2.5 reason flood",
            "ban 10.0.0.1 until 1999-01-01",
            "mute amy",
            // What nobody can be.
            "",
            "ban",
            "ban 192.0.2.7/24",
            "unban 192.0.2.2",
            "ban \x1b[2J",
            "shout amy",
        ];
        let mut kept = Kept::of(Some(text));
        let brought = join(&mut kept, &cluster, false);
        let own = ["ban 192.0.2.2", "ban 192.0.2.3", "ban 192.0.2.4 until 2999-01-01T00:00:00Z", "mute bob"];
        assert_eq!(brought, own);
        let others = ["ban 192.0.2.5 cluster 7 reason flood", "mute amy cluster 7"];
        let mut lines = [&own[..3], &others, &own[3..]].concat();
        assert_eq!(kept.lines(), lines);
        // A process that ends now brings them again; one that goes on has them from the cluster.
        kept.ban("192.0.2.2");
        kept.sync();
        lines[0] = "ban 192.0.2.2 cluster 7";
        assert_eq!(kept.lines(), lines);
        let mut next = Kept::open(kept.folder);
        let cluster = ["ban 192.0.2.4", "ban 192.0.2.5", "mute amy", "mute bob"];
        assert_eq!(join(&mut next, &cluster, false), ["ban 192.0.2.3"], "the other one was lifted");
        assert_eq!(join(&mut next, &[], true).len(), 5, "the engine has lost them");
    }

    #[test]
    fn what_changes_while_the_cluster_is_joined_counts_and_what_changed_before_does_not() {
        let mut kept = Kept::of(None);
        assert_eq!(join(&mut kept, &["ban 192.0.2.1"], false), [""; 0]);
        kept.ban("192.0.2.2");
        let bans = Arc::new(ClusterBans { id: 7, lines: vec!["ban 192.0.2.1".to_owned()], has_lost: false });
        kept.net.registry.join(Arc::clone(&bans));
        kept.ban("192.0.2.3");
        assert!(kept.net.unban(&"192.0.2.1".parse().unwrap()));
        kept.file.join(&kept.net, &bans);
        kept.sync();
        assert_eq!(kept.bans(), ["192.0.2.3"]);
        assert_eq!(kept.lines(), ["ban 192.0.2.3 cluster 7"]);
    }

    #[test]
    fn in_a_cluster_a_line_that_somebody_adds_is_brought_and_one_that_is_gone_comes_back() {
        let mut kept = Kept::of(None);
        join(&mut kept, &["ban 192.0.2.1"], false);
        let mut brought = kept.net.registry.begin_cluster();
        kept.edit("ban 192.0.2.2\nban 192.0.2.3 cluster 7\n");
        kept.file.sync(&kept.net, true);
        assert_eq!(kept.bans(), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(brought.try_recv(), Ok(vec!["ban 192.0.2.2".to_owned()]));
        assert_eq!(kept.lines(), ["ban 192.0.2.1 cluster 7", "ban 192.0.2.2"]);
    }

    #[test]
    fn a_cluster_opens_nothing_while_the_file_cannot_be_read() {
        let folder = Scratch::new();
        fs::create_dir(folder.file(NAME)).unwrap();
        let mut kept = Kept::open(folder);
        join(&mut kept, &["ban 192.0.2.1"], false);
        let stranger = "192.0.2.9".parse().ok();
        assert!(kept.net.registry.admit(stranger, None, rt::wall_clock()).is_err());
        fs::remove_dir(kept.folder.file(NAME)).unwrap();
        let mut brought = kept.net.registry.begin_cluster();
        kept.edit("ban 192.0.2.2\n");
        kept.sync();
        assert!(kept.net.registry.admit(stranger, None, rt::wall_clock()).is_ok());
        assert_eq!(kept.bans(), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(brought.try_recv(), Ok(vec!["ban 192.0.2.2".to_owned()]));
    }

    #[test]
    fn a_node_without_a_folder_has_the_bans_of_its_cluster() {
        let net = Net::new(settings(&Config::default(), &[], None), Arc::default());
        let bans = Arc::new(ClusterBans { id: 7, lines: vec!["ban +ann".to_owned()], has_lost: false });
        net.registry.join(Arc::clone(&bans));
        let mut file = Opened::nowhere().file;
        file.join(&net, &bans);
        file.sync(&net, true);
        assert_eq!(net.bans().len(), 1);
        assert!(file.failure.is_none() && !net.registry.has_journal());
    }

    #[test]
    fn the_folder_is_that_of_the_key_or_of_the_service_manager() {
        let folder_of = |key: Option<&str>, variable: Option<&str>| {
            let config =
                Config { state: crate::service::config::Folder(key.map(PathBuf::from)), ..Config::default() };
            folder(&config, &|name| variable.filter(|_| name == "STATE_DIRECTORY").map(Into::into))
        };
        assert_eq!(folder_of(Some("/a"), Some("/b")), Some("/a".into()));
        assert_eq!(folder_of(None, Some("/b:/c")), Some("/b".into()));
        assert_eq!(folder_of(None, Some("")), None);
        assert_eq!(folder_of(None, None), None);
    }
}
