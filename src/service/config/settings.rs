//! [`Config`]: every setting in force, checked and typed.
//!
//! Made by `load`; read by the server and handed down in parts to the floors below. It is a plain value: it knows
//! nothing of where a setting came from. Limits, units and defaults are in `key`.

use std::time::Duration;

use log::LevelFilter;

use super::error::Problem;
use super::key::{KEYS, LINES_IN_LOG};
use super::listen::Listen;
use super::unit::Size;
use crate::service::logging::LogKind;

/// Every setting in force. The fields are the keys of chatd.toml(5).
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to listen; at least one, all different. Not used when systemd passes sockets.
    pub listen: Vec<Listen>,
    /// The lines that a new session gets, separated by LF and without one at the end; empty means none.
    pub greeting: String,
    /// Relay bytes as they are, without showing control bytes and bad UTF-8 as text.
    pub raw: bool,
    /// The longest line, without its ending.
    pub max_line: Size,
    /// How long a line may stay unfinished before it counts as finished; `None` waits for ever.
    pub flush_after: Option<Duration>,
    /// The bytes a second that a member takes at least while the room waits for it.
    pub min_rate: Size,
    /// How long a session may take nothing of what is pending for it before it is closed.
    pub slow_timeout: Duration,
    /// What the kernel keeps for a connection that does not read.
    pub send_buffer: Size,
    /// The most sessions at a time.
    pub max_clients: usize,
    /// The most sessions at a time from one IP address; 0 means no limit.
    pub max_per_ip: usize,
    /// The first bits of an IPv6 address that count as one address for [`Config::max_per_ip`].
    pub ipv6_prefix: usize,
    /// The memory of a room's log; at least 8 times `max_line`.
    pub log_size: Size,
    /// The lines that a room keeps for `/last`; 0 for none.
    pub history: usize,
    /// The most rooms at a time, `main` counted.
    pub max_rooms: usize,
    /// Lines that begin with a slash may be commands.
    pub commands: bool,
    /// The lines a second that a session may say, beyond [`Config::burst`] in a row; 0 means no limit.
    pub rate: usize,
    /// The lines that a session may say at once, where there is a rate.
    pub burst: usize,
    /// How long a session may be silent before it is closed; `None` means for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a stop waits for sessions to take what is pending for them.
    pub drain: Duration,
    /// Where log lines go.
    pub log: LogKind,
    /// The least important log lines that are written: `Error`, `Warn`, `Info` or `Debug`.
    pub log_level: LevelFilter,
    /// The number of executor threads.
    pub threads: usize,
}

impl Config {
    /// The keys that differ in `new` and cannot change while chatd runs, in the order of the table of keys.
    ///
    /// `max_line` is one of them only when the log in force is too small for the new one.
    pub fn fixed_changes(&self, new: &Config) -> Vec<&'static str> {
        let next = self.reloaded(new);
        KEYS.iter().filter(|key| key.value(&next) != key.value(new)).map(|key| key.name).collect()
    }

    /// What is in force after a reload: `new`, with the old value of each key that [`Config::fixed_changes`] names.
    pub fn reloaded(&self, new: &Config) -> Config {
        let mut next = Config {
            listen: self.listen.clone(),
            log: self.log,
            log_size: self.log_size,
            history: self.history,
            max_rooms: self.max_rooms,
            threads: self.threads,
            ..new.clone()
        };
        if next.check().is_err() {
            next.max_line = self.max_line;
        }
        next
    }

    /// Checks what no key can check alone: that the log of a room holds a few lines of the longest kind.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let (log_size, max_line) = (self.log_size, self.max_line);
        if log_size >= max_line.times(LINES_IN_LOG) {
            return Ok(());
        }
        Err(Problem::SmallLog { log_size, max_line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::Raw;

    fn with(name: &str, value: &str) -> Config {
        let mut config = Config::default();
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        key.set(&mut config, &Raw::Text(value.to_owned())).unwrap();
        config
    }

    /// A value other than the default for every key.
    const OTHER: [(&str, &str); 22] = [
        ("listen", "[::1]:7000"),
        ("greeting", "hi"),
        ("raw", "true"),
        ("max_line", "1KiB"),
        ("flush_after", "500ms"),
        ("min_rate", "1KiB"),
        ("slow_timeout", "5s"),
        ("send_buffer", "64KiB"),
        ("max_clients", "5"),
        ("max_per_ip", "5"),
        ("ipv6_prefix", "56"),
        ("log_size", "8MiB"),
        ("history", "5"),
        ("max_rooms", "5"),
        ("commands", "false"),
        ("rate", "5"),
        ("burst", "5"),
        ("idle_timeout", "1h"),
        ("drain", "1s"),
        ("log", "stderr"),
        ("log_level", "debug"),
        ("threads", "2"),
    ];

    #[test]
    fn a_reload_changes_the_reloadable_keys_and_names_the_others() {
        assert_eq!(
            OTHER.map(|(name, _)| name).as_slice(),
            KEYS.iter().map(|key| key.name).collect::<Vec<_>>()
        );
        let old = Config::default();
        for (key, (name, value)) in KEYS.iter().zip(OTHER) {
            let new = with(name, value);
            assert_ne!(new, old, "{name}");
            let (expected, fixed) = if key.reloadable { (&new, vec![]) } else { (&old, vec![name]) };
            assert_eq!(&old.reloaded(&new), expected, "{name}");
            assert_eq!(old.fixed_changes(&new), fixed, "{name}");
        }
    }

    #[test]
    fn a_longer_line_waits_for_a_restart_when_the_log_in_force_is_too_small_for_it() {
        let old = Config::default();
        let new = Config { max_line: Size::new(1 << 20), log_size: Size::new(8 << 20), ..Config::default() };
        assert_eq!(new.check(), Ok(()));
        assert_eq!(old.fixed_changes(&new), ["max_line", "log_size"]);
        assert_eq!(old.reloaded(&new), old);
    }
}
