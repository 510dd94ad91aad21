//! The table of keys: name, help, range, default, and how each is read and written.
//!
//! Walked by `file` (which keys exist), `load` (reads each), `print` (writes each), `service::cli` (an option each)
//! and the tests. The order is that of the printed configuration and of chatd.toml(5). A row never looks at
//! another key; what two keys must agree on is checked in `settings`.

use std::ops::RangeInclusive;
use std::time::Duration;

use log::LevelFilter;

use super::error::Problem;
use super::listen;
use super::raw::Raw;
use super::settings::Config;
use super::unit::{self, Size};
use crate::net::Address;
use crate::service::logging::LogKind;

/// The most addresses to listen on.
pub(super) const MAX_LISTEN: usize = 64;
/// The longest greeting, in bytes.
pub(super) const MAX_GREETING: usize = 4096;

/// The fewest lines of `max_line` that the log of a room holds.
///
/// In a log of about one line, every reader of a long line would be a slow one.
pub(super) const LINES_IN_LOG: u64 = 8;

/// Below 64 bytes not even the notices of chatd would fit; above 1 MiB a "line" is a file.
const MAX_LINE: RangeInclusive<Size> = Size::new(64)..=Size::new(1 << 20);
/// Below 10 ms a line typed by hand over a slow network would be cut at every packet.
const FLUSH_AFTER: RangeInclusive<Duration> = Duration::from_millis(10)..=LONGEST;
/// Bytes a second.
const MIN_RATE: RangeInclusive<Size> = Size::new(1)..=Size::new(1 << 30);
/// Members are looked at once a second.
const TIME_OUT: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST;
/// Below 16 KiB a reader is woken for every few lines; more than the kernel gives by itself bounds nothing.
const SEND_BUFFER: RangeInclusive<Size> = Size::new(16 << 10)..=Size::new(64 << 20);
/// Descriptors end long before a million.
const MAX_CLIENTS: RangeInclusive<usize> = 1..=1_000_000;
/// 0 means no limit.
const MAX_PER_IP: RangeInclusive<usize> = 0..=1_000_000;
/// Bits.
const IPV6_PREFIX: RangeInclusive<usize> = 1..=128;
/// The memory of a room's log, in bytes.
const LOG_SIZE: RangeInclusive<Size> = Size::new(1 << 20)..=Size::new(1 << 30);
/// 0 closes at once; no unit of systemd waits as long as an hour for a stop.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
/// Executor threads.
const THREADS: RangeInclusive<usize> = 1..=64;
/// Lines for `/last`: more than anybody scrolls back.
const HISTORY: RangeInclusive<usize> = 0..=100_000;
/// Lines a second; 0 means no limit.
const RATE: RangeInclusive<usize> = 0..=1_000_000;
/// Lines; a burst of none would let nobody speak.
const BURST: RangeInclusive<usize> = 1..=1_000_000;
/// Each room has a log in memory.
const MAX_ROOMS: RangeInclusive<usize> = 1..=10_000;
/// A year, in hours: far below where the clock of the system would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const LOGS: [(&str, LogKind); 4] = [
    ("auto", LogKind::Auto),
    ("stderr", LogKind::Stderr),
    ("syslog", LogKind::Syslog),
    ("none", LogKind::None),
];

const LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
];

/// One key of the configuration.
pub struct Key {
    /// The key as it stands in the file and in [`Config`].
    pub name: &'static str,
    /// The long option, without its dashes: the name with `-` for `_`.
    pub option: &'static str,
    /// What the option takes, for the help: `SIZE`.
    pub takes: &'static str,
    /// What the key does, with its unit, in a line or two without a full stop.
    pub about: &'static str,
    /// Whether a reload changes it; otherwise it takes a restart.
    pub reloadable: bool,
    set: fn(&mut Config, &Raw) -> Result<(), Problem>,
    show: fn(&Config) -> String,
}

impl Key {
    /// Puts `raw` into `config`; on an error `config` is as it was.
    pub fn set(&self, config: &mut Config, raw: &Raw) -> Result<(), Problem> {
        (self.set)(config, raw)
    }

    /// The value in `config` as TOML on one line; it reads back equal.
    pub fn value(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// The environment variable: `CHATD_MAX_LINE` for `max_line`.
    pub fn variable(&self) -> String {
        super::error::variable(self.name)
    }

    /// Whether the option can be given several times and the variable holds a list.
    pub fn is_list(&self) -> bool {
        self.name == "listen"
    }

    /// Whether the option alone, without a value, means `true`.
    pub fn is_switch(&self) -> bool {
        matches!(self.name, "raw" | "commands")
    }

    /// The words of which the value is one; none if it can be anything else.
    pub fn words(&self) -> Vec<&'static str> {
        match self.name {
            "log" => LOGS.map(|(word, _)| word).to_vec(),
            "log_level" => LEVELS.map(|(word, _)| word).to_vec(),
            _ if self.is_switch() => vec!["true", "false"],
            _ => Vec::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 5001).into()).into()],
            greeting: "Hello, connection to the server ok!".to_owned(),
            raw: false,
            max_line: Size::new(16 << 10),
            flush_after: None,
            min_rate: Size::new(64 << 10),
            slow_timeout: Duration::from_secs(60),
            max_clients: 10_000,
            max_per_ip: 0,
            send_buffer: Size::new(128 << 10),
            ipv6_prefix: 64,
            log_size: Size::new(4 << 20),
            history: 200,
            max_rooms: 100,
            commands: true,
            rate: 0,
            burst: 300,
            idle_timeout: None,
            drain: Duration::from_secs(5),
            log: LogKind::Auto,
            log_level: LevelFilter::Info,
            threads: 1,
        }
    }
}

/// Every key.
pub static KEYS: [Key; 22] = [
    Key {
        name: "listen",
        option: "listen",
        takes: "ADDRESS",
        about: "Where to listen: IP:PORT, [IPV6]:PORT or the path of a unix socket; may be given several times",
        reloadable: false,
        set: |config, raw| listen::read_all(raw, MAX_LISTEN).map(|value| config.listen = value),
        show: |config| {
            let texts: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
            format!("[{}]", texts.join(", "))
        },
    },
    Key {
        name: "greeting",
        option: "greeting",
        takes: "TEXT",
        about: "What a new connection gets first; empty for nothing",
        reloadable: true,
        set: |config, raw| raw.text(MAX_GREETING).map(|value| config.greeting = value),
        show: |config| quote(&config.greeting),
    },
    Key {
        name: "raw",
        option: "raw",
        takes: "BOOL",
        about: "Relay bytes as they are, control bytes and all; true or false",
        reloadable: true,
        set: |config, raw| raw.boolean().map(|value| config.raw = value),
        show: |config| config.raw.to_string(),
    },
    Key {
        name: "max_line",
        option: "max-line",
        takes: "SIZE",
        about: "The longest line, in bytes; a longer one is dropped and its sender told",
        reloadable: true,
        set: |config, raw| raw.size(MAX_LINE).map(|value| config.max_line = value),
        show: |config| quote(&config.max_line.to_string()),
    },
    Key {
        name: "flush_after",
        option: "flush-after",
        takes: "TIME",
        about: "Send an unfinished line after this time; or off",
        reloadable: true,
        set: |config, raw| raw.time_out(FLUSH_AFTER).map(|value| config.flush_after = value),
        show: |config| show_time_out(config.flush_after),
    },
    Key {
        name: "min_rate",
        option: "min-rate",
        takes: "SIZE",
        about: "A room waits for a member that takes at least this much a second, in bytes",
        reloadable: true,
        set: |config, raw| raw.size(MIN_RATE).map(|value| config.min_rate = value),
        show: |config| quote(&config.min_rate.to_string()),
    },
    Key {
        name: "slow_timeout",
        option: "slow-timeout",
        takes: "TIME",
        about: "Close a connection that takes nothing of what waits for it for this time",
        reloadable: true,
        set: |config, raw| raw.duration(TIME_OUT).map(|value| config.slow_timeout = value),
        show: |config| quote(&unit::show_duration(config.slow_timeout)),
    },
    Key {
        name: "send_buffer",
        option: "send-buffer",
        takes: "SIZE",
        about: "What the kernel keeps for a connection that does not read, in bytes",
        reloadable: true,
        set: |config, raw| raw.size(SEND_BUFFER).map(|value| config.send_buffer = value),
        show: |config| quote(&config.send_buffer.to_string()),
    },
    Key {
        name: "max_clients",
        option: "max-clients",
        takes: "COUNT",
        about: "The most connections at a time",
        reloadable: true,
        set: |config, raw| raw.count(MAX_CLIENTS).map(|value| config.max_clients = value),
        show: |config| config.max_clients.to_string(),
    },
    Key {
        name: "max_per_ip",
        option: "max-per-ip",
        takes: "COUNT",
        about: "The most connections at a time from one IP address; 0 for no limit",
        reloadable: true,
        set: |config, raw| raw.count(MAX_PER_IP).map(|value| config.max_per_ip = value),
        show: |config| config.max_per_ip.to_string(),
    },
    Key {
        name: "ipv6_prefix",
        option: "ipv6-prefix",
        takes: "BITS",
        about: "The bits of an IPv6 address that count as one address for max_per_ip, 1 to 128",
        reloadable: true,
        set: |config, raw| raw.count(IPV6_PREFIX).map(|value| config.ipv6_prefix = value),
        show: |config| config.ipv6_prefix.to_string(),
    },
    Key {
        name: "log_size",
        option: "log-size",
        takes: "SIZE",
        about: "The memory for the recent lines of a room, in bytes; at least 8 times max_line",
        reloadable: false,
        set: |config, raw| raw.size(LOG_SIZE).map(|value| config.log_size = value),
        show: |config| quote(&config.log_size.to_string()),
    },
    Key {
        name: "history",
        option: "history",
        takes: "COUNT",
        about: "The lines that a room keeps for /last; 0 for none",
        reloadable: false,
        set: |config, raw| raw.count(HISTORY).map(|value| config.history = value),
        show: |config| config.history.to_string(),
    },
    Key {
        name: "max_rooms",
        option: "max-rooms",
        takes: "COUNT",
        about: "The most rooms at a time, main counted",
        reloadable: false,
        set: |config, raw| raw.count(MAX_ROOMS).map(|value| config.max_rooms = value),
        show: |config| config.max_rooms.to_string(),
    },
    Key {
        name: "commands",
        option: "commands",
        takes: "BOOL",
        about: "Lines that begin with / may be commands; false makes a pure relay",
        reloadable: true,
        set: |config, raw| raw.boolean().map(|value| config.commands = value),
        show: |config| config.commands.to_string(),
    },
    Key {
        name: "rate",
        option: "rate",
        takes: "COUNT",
        about: "The lines a second that a connection may say; more wait unread; 0 for no limit",
        reloadable: true,
        set: |config, raw| raw.count(RATE).map(|value| config.rate = value),
        show: |config| config.rate.to_string(),
    },
    Key {
        name: "burst",
        option: "burst",
        takes: "COUNT",
        about: "The lines that a connection may say at once before rate counts",
        reloadable: true,
        set: |config, raw| raw.count(BURST).map(|value| config.burst = value),
        show: |config| config.burst.to_string(),
    },
    Key {
        name: "idle_timeout",
        option: "idle-timeout",
        takes: "TIME",
        about: "Close a connection that says nothing for this time; or off",
        reloadable: true,
        set: |config, raw| raw.time_out(TIME_OUT).map(|value| config.idle_timeout = value),
        show: |config| show_time_out(config.idle_timeout),
    },
    Key {
        name: "drain",
        option: "drain",
        takes: "TIME",
        about: "When stopping, how long to wait until everybody has read what waits for them",
        reloadable: true,
        set: |config, raw| raw.duration(DRAIN).map(|value| config.drain = value),
        show: |config| quote(&unit::show_duration(config.drain)),
    },
    Key {
        name: "log",
        option: "log",
        takes: "WHERE",
        about: "Where log lines go: auto, stderr, syslog or none",
        reloadable: false,
        set: |config, raw| {
            raw.word("a place for the log", "auto, stderr, syslog or none", &LOGS)
                .map(|value| config.log = value)
        },
        show: |config| show_word(config.log, &LOGS),
    },
    Key {
        name: "log_level",
        option: "log-level",
        takes: "LEVEL",
        about: "What is logged: error, warn, info or debug",
        reloadable: true,
        set: |config, raw| {
            raw.word("a level", "error, warn, info or debug", &LEVELS).map(|value| config.log_level = value)
        },
        show: |config| show_word(config.log_level, &LEVELS),
    },
    Key {
        name: "threads",
        option: "threads",
        takes: "COUNT",
        about: "The number of threads that serve connections, 1 to 64",
        reloadable: false,
        set: |config, raw| raw.count(THREADS).map(|value| config.threads = value),
        show: |config| config.threads.to_string(),
    },
];

fn show_time_out(time_out: Option<Duration>) -> String {
    quote(&time_out.map_or_else(|| "off".to_owned(), unit::show_duration))
}

/// The word of `value`, quoted; every value that `Raw::word` can give has one.
fn show_word<T: PartialEq>(value: T, words: &[(&str, T)]) -> String {
    quote(words.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word))
}

/// `text` as a basic string of TOML, on one line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_its_key_with_dashes() {
        for key in &KEYS {
            assert_eq!(key.option, key.name.replace('_', "-"));
        }
    }

    #[test]
    fn every_key_explains_itself_on_a_line_or_two() {
        for key in &KEYS {
            assert!((20..=110).contains(&key.about.len()), "{}", key.name);
            assert!(!key.about.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn the_defaults_are_within_their_ranges() {
        for key in &KEYS {
            let mut config = Config::default();
            let text = key.value(&config);
            let raw = match text.trim_matches(['[', ']', '"']) {
                bare if text.starts_with(['[', '"']) => Raw::Text(bare.to_owned()),
                bare => bare.parse().map(Raw::Integer).unwrap_or_else(|_| Raw::Text(bare.to_owned())),
            };
            assert_eq!(key.set(&mut config, &raw), Ok(()), "{}", key.name);
            assert_eq!(config, Config::default(), "{}", key.name);
        }
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn what_has_words_takes_each_of_them_and_nothing_else() {
        for key in &KEYS {
            let takes = |word: &str| key.set(&mut Config::default(), &Raw::Text(word.to_owned())).is_ok();
            let wants_words = ["BOOL", "WHERE", "LEVEL"].contains(&key.takes);
            assert_eq!(!key.words().is_empty(), wants_words, "{}", key.name);
            assert!(key.words().into_iter().all(takes), "{}", key.name);
            assert!(!wants_words || !takes("other"), "{}", key.name);
        }
    }

    #[test]
    fn every_log_and_every_level_has_its_word() {
        for (word, kind) in LOGS {
            assert_eq!(show_word(kind, &LOGS), format!("\"{word}\""));
        }
        for (word, level) in LEVELS {
            assert_eq!(show_word(level, &LEVELS), format!("\"{word}\""));
        }
    }
}
