//! Floor 3: being a Unix daemon.
//!
//! The command line, the configuration, the log and the exit codes; `src/bin/chatd.rs` calls it.
//! It may use every floor below and is the only one that reads argv, the environment and files.

pub mod archive;
pub mod bans_file;
mod bans_merge;
mod bans_text;
pub mod bind_error;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod console;
pub mod daemon;
mod descriptors;
pub mod expiry;
mod failure;
pub mod handover;
pub mod host;
pub mod listeners;
pub mod logging;
pub mod metrics;
mod resident;
pub mod server;
mod settings;
pub mod signals;
pub mod status;
pub mod stores;
pub mod systemd;
pub mod watchdog;

pub use crate::exit::Exit;

#[cfg(test)]
mod scratch;
