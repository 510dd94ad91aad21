//! Going on with everybody's connection in the next process: after a restart, an upgrade, or a crash.
//!
//! While chatd runs, `keeper` stores a copy of each connection in the descriptor store, in parcels (`net::parcel`). The
//! store also has the crash table (`net::crash_table`): what the next process must know if this one dies.
//! For a planned restart all sessions freeze, and [`state`] writes everything to one file in memory.
//! The next process sorts what is stored with `stored`, and goes on with it: [`take_over`].
//!
//! What is stored may come from another version, or from anywhere. chatd logs and closes what it cannot use, and starts
//! all the same.

mod crash;
pub mod incarnation;
mod keeper;
mod memory;
pub mod state;
mod stored;
mod survived;
mod takeover;

pub use keeper::Keeper;
pub use state::Handover;
pub use stored::Stored;
pub use survived::Survived;
pub use takeover::{GoingOn, TakenOver, take_over};

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use crate::chat;
use crate::net::crash_table::Notes;
use crate::service::systemd::{self, Latest};

/// Stores the configuration in force, for a next process that finds a mistake in the file. Logs a warning if it cannot.
pub fn keep_config(text: String) {
    if !systemd::is_listening() {
        return;
    }
    static CONFIGS: LazyLock<Arc<Latest<OwnedFd>>> = LazyLock::new(Arc::default);
    match memory::sealed(c"chatd-config", text.as_bytes()) {
        Ok(file) => CONFIGS.tell(
            file,
            |_, latest| latest,
            |file| {
                systemd::forget(CONFIG);
                systemd::keep(CONFIG, &[file.as_fd()]);
            },
        ),
        Err(error) => log::warn!("cannot store the configuration for the next process: {error}"),
    }
}

impl chat::Notes for Notes {
    fn set(&mut self, text: &str, number: u64) {
        if let Err(error) = self.set(text, number) {
            // What it says is a secret in the case of a key.
            log::debug!("after a crash a room would begin anew, or a key would be lost: {error}");
        }
    }

    fn forget(&mut self, text: &str) {
        self.forget(text);
    }

    fn texts(&self) -> Vec<String> {
        self.texts()
            .filter(|text| !Survived::has(text) && !incarnation::has(text))
            .map(str::to_owned)
            .collect()
    }
}

/// The name under which the state of a planned restart is stored.
pub const STATE: &str = "state";
/// The name under which the configuration in force is stored.
pub const CONFIG: &str = "config";
/// The name under which the crash table is stored.
pub const TABLE: &str = "table";
