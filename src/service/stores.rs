//! What chatd stores on disk: bans and mutes, and the archive; and what it needs of other files.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{self, Either};

use super::archive::{self, Archive, Queue};
use super::bans_file::{self, BansFile};
use super::config::Config;
use super::settings::limits;
use crate::chat::{Hub, Recalled};
use crate::cluster;
use crate::net::Net;
use crate::net::tls::Identity;
use crate::rt::{self, JoinHandle};

/// How long the last changes of bans may take at a stop.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// What was read from the disk.
#[derive(Debug, Default)]
pub struct Stores {
    /// What TLS needs; `None` without a certificate. Others read that, since a mistake with it is one of the
    /// configuration.
    pub identity: Option<Arc<Identity>>,
    /// How to reach the engine; `None` without a cluster. Others read the password, as for TLS.
    pub cluster: Option<cluster::Settings>,
    bans: Option<bans_file::Opened>,
    archive: Option<archive::Opened>,
}

impl Stores {
    /// Opens what `config` says, and reads what is there. Blocks.
    pub fn open(config: &Config, env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let bans = bans_file::folder(config, env).map(|folder| BansFile::open(&folder));
        // A cluster has the bans of its nodes, also of one that stores nothing.
        let bans = bans.or_else(|| config.is_clustered().then(bans_file::Opened::nowhere));
        let archive = archive::Settings::of(config).and_then(|settings| {
            let opened = archive::open(settings, &limits(config));
            opened.inspect_err(|error| log::error!("cannot start the thread of the archive: {error}")).ok()
        });
        Self { identity: None, cluster: None, bans, archive }
    }

    /// Puts the bans in force, and has the hub go on from the archive. Stores from now on what changes. No number of a
    /// connection that is in the archive is given again.
    pub fn begin(self, hub: &mut Hub, net: &Arc<Net>) -> Storing {
        let bans = self.bans.map(|bans_file::Opened { file, bans }| {
            match bans {
                Some(bans) => net.registry.replace(bans, rt::wall_clock()),
                None => net.registry.shut(),
            }
            let (errands_tx, errands_rx) = mpsc::unbounded();
            net.registry.begin(errands_tx);
            rt::spawn(file.keep(Arc::clone(net), errands_rx))
        });
        let archive = self.archive.map(|archive::Opened { archive, rooms }| {
            net.sessions.numbers.go_on_after(rooms.iter().map(Recalled::last_session).max().unwrap_or(0));
            hub.recall(rooms);
            hub.archive(Box::new(archive.queue()), archive.days());
            archive
        });
        Storing { bans, archive }
    }
}

/// The tasks that store.
#[derive(Debug)]
pub struct Storing {
    /// `None` without a state folder.
    bans: Option<JoinHandle<()>>,
    /// `None` if that is off.
    archive: Option<Archive>,
}

impl Storing {
    /// Returns the queue of the archive, which knows how the archive is doing; `None` if it is off.
    pub fn archive(&self) -> Option<Queue> {
        self.archive.as_ref().map(Archive::queue)
    }

    /// Stores what is left. The last changes of bans may take three seconds: the disk may hang.
    pub async fn stop(self, net: &Net) {
        net.registry.end();
        if let Some(bans) = self.bans {
            let late = Box::pin(rt::sleep(STORE_PATIENCE));
            if let Either::Right(_) = future::select(bans, late).await {
                log::error!("cannot store the last changes of bans: the disk does not answer");
            }
        }
        if let Some(archive) = self.archive {
            rt::blocking(move || archive.stop()).await;
        }
    }
}
