//! Going on with everybody's connection in the next process: after a restart, an upgrade, or a crash.
//!
//! While chatd runs, `keeper` sees to it that the service manager holds a copy of each connection, in parcels
//! (`net::parcel`), and the crash table (`net::crash_table`), which has what is to be known of them if chatd dies.
//! When chatd is to be restarted, everybody stops where they stand, and [`state`] is all of that as one file in memory.
//! The next process finds out with `stored` what there is, and goes on with it: [`take_over`].
//!
//! What is stored may come from another version, or from nobody knows where: it is told to the log and closed then, and
//! never a reason not to start.

mod crash;
mod keeper;
mod memory;
pub mod state;
mod stored;
mod takeover;

pub use keeper::Keeper;
pub use state::Handover;
pub use stored::Stored;
pub use takeover::{GoingOn, TakenOver, take_over};

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use crate::chat::Numbers;
use crate::net::crash_table::RoomNumbers;
use crate::protocol::Name;
use crate::service::systemd::{self, Latest};

/// Has the service manager hold the configuration that is in force: the next process may find that the file has a
/// mistake by then, and everybody is still connected.
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
        Err(error) => log::warn!("cannot keep the configuration for the next process: {error}"),
    }
}

impl Numbers for RoomNumbers {
    fn set(&mut self, room: &Name, below: u64) {
        if let Err(error) = self.set(room.as_str(), below) {
            log::debug!("after a crash the lines of room {room} would be numbered from 1 again: {error}");
        }
    }

    fn forget(&mut self, room: &Name) {
        self.forget(room.as_str());
    }
}

/// What the state of a planned restart is stored as.
pub const STATE: &str = "state";
/// What the configuration in force is stored as.
pub const CONFIG: &str = "config";
/// What the crash table is stored as.
pub const TABLE: &str = "table";
