//! [`Config`], every setting in force, and the table of keys: one row for each.
//!
//! Made by `load`; read by the server and handed down in parts to the floors below. serde carries values between TOML
//! and [`Config`]: the attribute of a row names what reads and writes its value, with its limits (see `value`). Walked
//! by `file` (which keys exist), `load` (reads each), `print` (writes each), `service::cli` (an option each) and the
//! tests. The order is that of the printed configuration and of chatd.toml(5). A row never looks at another key: what
//! two keys must agree on is in `check`.

use std::time::Duration;

use log::LevelFilter;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::archive::{ArchiveFolder, Days};
use super::check;
use super::cluster::{Engines, NodeName, Prefix, User};
use super::folder::Folder;
use super::listen::Listen;
use super::networks::Networks;
use super::tls::{ClientCertificates, Material};
use super::value::{self, Setting, Size, Within, Word};
use crate::net::Address;
use crate::service::logging::LogKind;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Times are limited in milliseconds.
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
/// Far below where the clock of the system would overflow.
const YEAR: u64 = 365 * 24 * HOUR;
/// Descriptors end long before a million.
const MANY: u64 = 1_000_000;

/// A reload changes the key.
const RELOAD: bool = true;
/// Only a restart changes the key.
const RESTART: bool = false;

/// Keys that earlier versions had, and why they are gone. chatd warns about one that is set, and ignores its value: an
/// upgrade must not fail over it.
pub(crate) const GONE: [(&str, &str); 1] = [("threads", "one thread serves everybody")];

/// One key of the configuration.
pub struct Key {
    /// The key as it stands in the file and in [`Config`].
    pub name: &'static str,
    /// The long option, without its dashes: the name with `-` for `_`.
    pub option: &'static str,
    /// The placeholder of its value in the help: `SIZE`.
    pub takes: &'static str,
    /// What the key does, with its unit, in a line or two without a full stop.
    pub about: &'static str,
    /// A reload changes it; otherwise a restart does.
    pub reloadable: bool,
    /// How its value is written, for error messages.
    pub(super) kind: &'static str,
}

/// Makes [`Config`], its defaults and [`KEYS`] of rows like this, whose first line is the help as well:
///
/// ```text
/// /// What the key does
/// #[serde(what reads and writes its value)]
/// name: Type = default, "option", "WHAT IT TAKES", RELOAD or RESTART;
/// ```
macro_rules! keys {
    ($(
        #[doc = $about:literal]
        $(#[doc = $more:literal])*
        #[serde($($carrier:tt)*)]
        $name:ident: $type:ty = $default:expr, $option:literal, $takes:literal, $reloadable:ident;
    )*) => {
        /// Every setting in force. The fields are the keys of chatd.toml(5).
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        // `[IPV6]` is no link.
        #[allow(rustdoc::broken_intra_doc_links)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $(
                #[doc = $about]
                $(#[doc = $more])*
                #[serde($($carrier)*)]
                pub $name: $type,
            )*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Config {
            /// Takes over from `old` what only a restart changes.
            fn keep_what_is_fixed(&mut self, old: &Self) {
                $(if !$reloadable {
                    self.$name = old.$name.clone();
                })*
            }
        }

        /// Every key.
        pub static KEYS: [Key; [$(stringify!($name)),*].len()] = [$(Key {
            name: stringify!($name),
            option: $option,
            takes: $takes,
            about: $about.trim_ascii(),
            reloadable: $reloadable,
            kind: <$type as Setting>::KIND,
        }),*];
    };
}

keys! {
    /// Listen on IP:PORT, [IPV6]:PORT or the path of a unix socket; you can give it several times
    ///
    /// At least one, all different. Not used when systemd passes sockets.
    #[serde(with = "value")]
    listen: Vec<Listen> = vec![Address::Tcp(([127, 0, 0, 1], 5001).into()).into()], "listen", "ADDRESS", RESTART;

    /// Send this text to each new connection; empty for nothing
    ///
    /// Lines separated by LF, and without one at the end.
    #[serde(with = "value")]
    greeting: String = "Hello, connection to the server ok!".to_owned(), "greeting", "TEXT", RELOAD;

    /// Relay all bytes unchanged, control bytes included; true or false
    #[serde(with = "value")]
    raw: bool = false, "raw", "BOOL", RELOAD;

    /// Longest line, in bytes; chatd drops a longer line and tells its sender
    ///
    /// Its ending does not count.
    // Below 64 bytes not even the notices of chatd would fit; above 1 MiB a "line" is a file.
    #[serde(with = "Within::<64, MIB>")]
    max_line: Size = Size::new(16 * KIB), "max-line", "SIZE", RELOAD;

    /// Send an unfinished line after this time; or off
    // Below 10 ms a line typed by hand over a slow network would be cut at every packet.
    #[serde(with = "Within::<10, YEAR>")]
    flush_after: Option<Duration> = None, "flush-after", "TIME", RELOAD;

    /// Slowest reader that a room waits for, in bytes per second
    #[serde(with = "Within::<1, GIB>")]
    min_rate: Size = Size::new(64 * KIB), "min-rate", "SIZE", RELOAD;

    /// Close a connection that reads nothing of what is pending for it for this time
    // Members are looked at once a second.
    #[serde(with = "Within::<SECOND, YEAR>")]
    slow_timeout: Duration = Duration::from_secs(60), "slow-timeout", "TIME", RELOAD;

    /// What the kernel buffers for a connection that does not read, in bytes
    // Below 16 KiB a reader is woken for every few lines; more than the kernel gives by itself bounds nothing.
    #[serde(with = "Within::<{ 16 * KIB }, { 64 * MIB }>")]
    send_buffer: Size = Size::new(128 * KIB), "send-buffer", "SIZE", RELOAD;

    /// Most connections at a time
    #[serde(with = "Within::<1, MANY>")]
    max_clients: usize = 10_000, "max-clients", "COUNT", RELOAD;

    /// Most connections at a time from one IP address; 0 for no limit
    #[serde(with = "Within::<0, MANY>")]
    max_per_ip: usize = 0, "max-per-ip", "COUNT", RELOAD;

    /// How many bits of an IPv6 address count as one address for max_per_ip, 1 to 128
    #[serde(with = "Within::<1, 128>")]
    ipv6_prefix: usize = 64, "ipv6-prefix", "BITS", RELOAD;

    /// Let clients connect only from these networks; empty for all; you can give it several times
    #[serde(with = "value")]
    allow: Networks = Networks::default(), "allow", "NETWORK", RELOAD;

    /// Let no clients connect from these networks; the longest network that matches decides
    #[serde(with = "value")]
    deny: Networks = Networks::default(), "deny", "NETWORK", RELOAD;

    /// Store bans and mutes in this folder; empty for the one that systemd gives the service
    ///
    /// Without either, they last until chatd stops.
    #[serde(with = "value")]
    state: Folder = Folder::default(), "state", "FOLDER", RESTART;

    /// Most memory for the lines of all rooms and for pending answers, in bytes
    // With less, a room could not have eight lines of 1 MiB in two forms.
    #[serde(with = "Within::<{ 16 * MIB }, { 1024 * GIB }>")]
    memory: Size = Size::new(256 * MIB), "memory", "SIZE", RELOAD;

    /// How far a reader may fall behind, in bytes of lines; at least 8 times max_line
    #[serde(with = "Within::<MIB, GIB>")]
    log_size: Size = Size::new(4 * MIB), "log-size", "SIZE", RESTART;

    /// How many lines a room holds for /last; 0 for none
    // More than anybody scrolls back.
    #[serde(with = "Within::<0, 100_000>")]
    history: usize = 200, "history", "COUNT", RESTART;

    /// Most rooms at a time, including main
    // Each room has a log in memory.
    #[serde(with = "Within::<1, 10_000>")]
    max_rooms: usize = 100, "max-rooms", "COUNT", RESTART;

    /// Treat lines that begin with / as commands; false makes a pure relay
    #[serde(with = "value")]
    commands: bool = true, "commands", "BOOL", RELOAD;

    /// Group whose members are operators on a unix socket, besides root; empty for none
    #[serde(with = "value")]
    operators: String = "chatd-operators".to_owned(), "operators", "GROUP", RELOAD;

    /// Lines per second that a connection may send; faster ones wait; 0 for no limit
    #[serde(with = "Within::<0, MANY>")]
    rate: usize = 0, "rate", "COUNT", RELOAD;

    /// Lines that a connection may send at once before rate applies
    // A burst of none would let nobody speak.
    #[serde(with = "Within::<1, MANY>")]
    burst: usize = 300, "burst", "COUNT", RELOAD;

    /// Close a connection that sends nothing for this time; or off
    #[serde(with = "Within::<SECOND, YEAR>")]
    idle_timeout: Option<Duration> = None, "idle-timeout", "TIME", RELOAD;

    /// Speak TLS with the certificate in this file, and the chain after it (PEM); empty for no TLS
    #[serde(with = "value")]
    tls_cert: Material = Material::None, "tls-cert", "FILE", RELOAD;

    /// The file with the key of tls_cert (PEM); or credential:NAME, as for the other files of TLS
    #[serde(with = "value")]
    tls_key: Material = Material::None, "tls-key", "FILE", RELOAD;

    /// Give a client that shows a certificate of these authorities the name in it (PEM); empty for none
    #[serde(with = "value")]
    tls_client_ca: Material = Material::None, "tls-client-ca", "FILE", RELOAD;

    /// Whether a TLS client needs such a certificate: optional or required
    #[serde(with = "value")]
    tls_client: ClientCertificates = ClientCertificates::Optional, "tls-client", "WHETHER", RELOAD;

    /// Longest TLS handshake
    // Below a second a client far away could not connect at all.
    #[serde(with = "Within::<SECOND, HOUR>")]
    tls_timeout: Duration = Duration::from_secs(10), "tls-timeout", "TIME", RELOAD;

    /// Store what is said in rooms in this folder, as JSON, a file for each room and day; or off
    #[serde(with = "value")]
    archive: ArchiveFolder = ArchiveFolder::default(), "archive", "PATH", RESTART;

    /// Remove files of the archive after so many days; or off
    // A hundred years: a year has a day more now and then.
    #[serde(with = "Within::<1, 36_525>")]
    archive_keep: Days = Days::new(30), "archive-keep", "DAYS", RESTART;

    /// Be a node of a cluster, with the order of this engine (Redis or Valkey); you can give it several times
    ///
    /// With several, the first that says that it is the primary counts.
    #[serde(with = "value")]
    cluster: Engines = Engines::default(), "cluster", "ADDRESS", RESTART;

    /// User of the engine; empty for the default one
    #[serde(with = "value")]
    cluster_user: User = User::default(), "cluster-user", "NAME", RESTART;

    /// The file with the password of the engine; or credential:NAME; empty for none
    #[serde(with = "value")]
    cluster_password_file: Material = Material::None, "cluster-password-file", "FILE", RESTART;

    /// What the names of all keys in the engine begin with
    #[serde(with = "value")]
    cluster_prefix: Prefix = Prefix::default(), "cluster-prefix", "PREFIX", RESTART;

    /// Name of this node in the cluster; empty for the host name
    #[serde(with = "value")]
    node: NodeName = NodeName::default(), "node", "NAME", RESTART;

    /// How many replicas of the engine must have a line before this node forgets it
    // More than anybody sets up.
    #[serde(with = "Within::<0, 16>")]
    replicas: usize = 0, "replicas", "COUNT", RESTART;

    /// Longest wait for slow readers when chatd stops
    // 0 closes at once; no unit of systemd waits as long as an hour for a stop.
    #[serde(with = "Within::<0, HOUR>")]
    drain: Duration = Duration::from_secs(5), "drain", "TIME", RELOAD;

    /// Where to write log lines: auto, stderr, syslog or none
    #[serde(with = "value")]
    log: LogKind = LogKind::Auto, "log", "WHERE", RESTART;

    /// Least important level to log: error, warn, info or debug
    #[serde(with = "value")]
    log_level: LevelFilter = LevelFilter::Info, "log-level", "LEVEL", RELOAD;
}

impl Key {
    /// Returns the key of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Puts `value` into `config`.
    ///
    /// # Errors
    /// What is wrong with the value; then `config` is unchanged.
    pub fn set(&self, config: &mut Config, value: &Value) -> Result<(), String> {
        let mut table = config.table();
        table.insert(self.name.to_owned(), value.clone());
        *config = table.try_into().map_err(|error| error.message().to_owned())?;
        Ok(())
    }

    /// Returns the value in `config` as TOML; it reads back equal.
    pub fn value(&self, config: &Config) -> String {
        config.table()[self.name].to_string()
    }

    /// Returns the environment variable: `CHATD_MAX_LINE` for `max_line`.
    pub fn variable(&self) -> String {
        super::error::variable(self.name)
    }

    /// Returns whether the option can be given several times, and the variable is a list.
    pub fn is_list(&self) -> bool {
        ["listen", "allow", "deny", "cluster"].contains(&self.name)
    }

    /// Returns whether the option without a value means `true`.
    pub fn is_switch(&self) -> bool {
        self.takes == "BOOL"
    }

    /// Returns the words that the value can be; none if it can be anything else.
    pub fn words(&self) -> Vec<&'static str> {
        fn words<T: Word>() -> Vec<&'static str> {
            T::WORDS.iter().map(|(word, _)| *word).collect()
        }
        match self.takes {
            "BOOL" => vec!["true", "false"],
            "WHERE" => words::<LogKind>(),
            "LEVEL" => words::<LevelFilter>(),
            "WHETHER" => words::<ClientCertificates>(),
            _ => Vec::new(),
        }
    }
}

impl Config {
    /// As TOML.
    fn table(&self) -> Table {
        Table::try_from(self).expect("every value has a form in TOML")
    }

    /// Returns the keys that differ in `new` and cannot change while chatd runs, in the order of the table of keys.
    ///
    /// `max_line` is one of them only when the log in force is too small for the new one, `raw` only in a cluster.
    pub fn fixed_changes(&self, new: &Config) -> Vec<&'static str> {
        let next = self.reloaded(new);
        KEYS.iter().filter(|key| key.value(&next) != key.value(new)).map(|key| key.name).collect()
    }

    /// Returns what is in force after a reload: `new`, with the old value of each key that [`Config::fixed_changes`]
    /// names. Of an entry of `listen`, a reload changes who may connect, and whether TLS is spoken.
    pub fn reloaded(&self, new: &Config) -> Config {
        let mut next = new.clone();
        next.keep_what_is_fixed(self);
        for listen in &mut next.listen {
            if let Some(new) = new.listen.iter().find(|new| new.address == listen.address) {
                listen.reload(new);
            }
        }
        if check::log(next.log_size, next.max_line).is_err() {
            next.max_line = self.max_line;
        }
        // The cluster stays, and takes clean lines alone.
        next.raw &= !next.is_clustered();
        next
    }

    /// Returns whether there is an engine that gives several nodes one order.
    pub fn is_clustered(&self) -> bool {
        !self.cluster.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Config {
        let mut config = Config::default();
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        key.set(&mut config, &value.into()).unwrap();
        config
    }

    /// A value other than the default for every key.
    const OTHER: [(&str, &str); 39] = [
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
        ("allow", "192.0.2.0/24"),
        ("deny", "192.0.2.0/24"),
        ("state", "/var/lib/chatd"),
        ("memory", "64MiB"),
        ("log_size", "8MiB"),
        ("history", "5"),
        ("max_rooms", "5"),
        ("commands", "false"),
        ("operators", "wheel"),
        ("rate", "5"),
        ("burst", "5"),
        ("idle_timeout", "1h"),
        ("tls_cert", "/etc/chatd/tls/cert.pem"),
        ("tls_key", "credential:tls_key"),
        ("tls_client_ca", "/etc/chatd/tls/clients.pem"),
        ("tls_client", "required"),
        ("tls_timeout", "5s"),
        ("archive", "/var/lib/chatd/archive"),
        ("archive_keep", "off"),
        ("cluster", "redis+unix:///run/redis/redis.sock"),
        ("cluster_user", "chat"),
        ("cluster_password_file", "credential:chatd.redis"),
        ("cluster_prefix", "chat"),
        ("node", "alpha"),
        ("replicas", "1"),
        ("drain", "1s"),
        ("log", "stderr"),
        ("log_level", "debug"),
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
        assert_eq!(check::log(new.log_size, new.max_line), Ok(()));
        assert_eq!(old.fixed_changes(&new), ["max_line", "log_size"]);
        assert_eq!(old.reloaded(&new), old);
    }

    #[test]
    fn a_reload_changes_who_may_connect_to_a_listener_that_stays() {
        let config = |listen: &str| -> Config {
            let mut config = Config::default();
            let table: Table = toml::from_str(&format!("listen = [{listen}]")).unwrap();
            Key::find("listen").unwrap().set(&mut config, &table["listen"]).unwrap();
            config
        };
        let old = config(r#""127.0.0.1:1", { address = "127.0.0.1:2", room = "ops", deny = ["::1"] }"#);
        let new = config(
            r#"{ address = "127.0.0.1:1", allow = ["::1"], tls = "off" }, { address = "127.0.0.1:2", room = "ops" }"#,
        );
        assert_eq!(old.fixed_changes(&new), [""; 0]);
        assert_eq!(old.reloaded(&new), new);
        let moved = config(r#"{ address = "127.0.0.1:1", allow = ["::1"], room = "ops" }"#);
        let next = config(
            r#"{ address = "127.0.0.1:1", allow = ["::1"] }, { address = "127.0.0.1:2", room = "ops", deny = ["::1"] }"#,
        );
        assert_eq!(old.fixed_changes(&moved), ["listen"]);
        assert_eq!(old.reloaded(&moved), next);
    }

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
            let bare = text.trim_matches(['[', ']', '"']);
            assert_eq!(key.set(&mut config, &bare.into()), Ok(()), "{}", key.name);
            assert_eq!(config, Config::default(), "{}", key.name);
        }
    }

    #[test]
    fn what_has_words_takes_each_of_them_and_nothing_else() {
        for key in &KEYS {
            let takes = |word: &str| key.set(&mut Config::default(), &word.into()).is_ok();
            let wants_words = ["BOOL", "WHERE", "LEVEL", "WHETHER"].contains(&key.takes);
            assert_eq!(!key.words().is_empty(), wants_words, "{}", key.name);
            assert!(key.words().into_iter().all(takes), "{}", key.name);
            assert!(!wants_words || !takes("other"), "{}", key.name);
        }
    }
}
