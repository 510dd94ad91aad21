//! The configuration file: from its text to checked values, each with its line.
//!
//! Called by `load`, and by the fuzz target through [`parse_file`]. It checks every value, even one that an option
//! overrides, so that `--check` finds every mistake. Never panics, whatever the bytes, and never
//! reads more than [`MAX_FILE`] bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::error::{ConfigError, Origin};
use super::settings::{Config, GONE, KEYS, Key};
use super::value::quoted;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// How similar a word must be to be suggested: 1 is equal, 0 has nothing in common.
const ALIKE: f64 = 0.8;

/// The names that other daemons have for our keys.
const ELSEWHERE: [(&str, &str); 24] = [
    ("address", "listen"),
    ("backlog", "log_size"),
    ("banner", "greeting"),
    ("bind", "listen"),
    ("host", "listen"),
    ("motd", "greeting"),
    ("port", "listen"),
    ("welcome", "greeting"),
    ("max_connections", "max_clients"),
    ("max_users", "max_clients"),
    ("timeout", "idle_timeout"),
    ("verbosity", "log_level"),
    ("buffer_size", "log_size"),
    ("tls", "tls_cert"),
    ("ssl", "tls_cert"),
    ("cert", "tls_cert"),
    ("certificate", "tls_cert"),
    ("ssl_certificate", "tls_cert"),
    ("ssl_certificate_key", "tls_key"),
    ("key", "tls_key"),
    ("redis", "cluster"),
    ("valkey", "cluster"),
    ("cluster_password", "cluster_password_file"),
    ("node_name", "node"),
];

/// The content of a file: a valid value of each known key, and its line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilePart {
    values: BTreeMap<&'static str, (Value, Origin)>,
    gone: BTreeMap<&'static str, Origin>,
}

impl FilePart {
    /// Returns the value of a key and its place, if the file has it.
    pub fn get(&self, key: &str) -> Option<&(Value, Origin)> {
        self.values.get(key)
    }

    /// Returns the place of a key of an earlier version, if the file has it.
    pub(super) fn gone(&self, key: &str) -> Option<&Origin> {
        self.gone.get(key)
    }
}

/// Reads the file at `path`; `named_by` is the option or variable that named it, for the message. Returns `Ok(None)`
/// if there is no file and nothing named it.
pub(super) fn load_file(
    path: &Path,
    named_by: Option<&'static str>,
) -> Result<Option<FilePart>, ConfigError> {
    match read(path) {
        Ok(bytes) => parse_bytes(bytes, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named_by.is_none() => Ok(None),
        Err(error) => Err(ConfigError::at(path.display(), unreadable(&error, named_by))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(error: &io::Error, named_by: Option<&str>) -> String {
    let remedy = match (error.kind(), named_by) {
        (io::ErrorKind::IsADirectory, _) => return "is a directory; name the file in it".to_owned(),
        (io::ErrorKind::NotFound, Some(name)) => &format!("correct {name}"),
        _ => "make it readable for the user that runs chatd",
    };
    // The system's words, without the number of the error.
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("cannot be read: {text}; {remedy}")
}

fn parse_bytes(bytes: Vec<u8>, path: &Path) -> Result<FilePart, ConfigError> {
    ensure_not_too_large(bytes.len(), path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = in_file(path, error.as_bytes(), error.utf8_error().valid_up_to()).place("");
        ConfigError::at(place, "bytes that are not UTF-8; save the file as UTF-8")
    })?;
    parse_file(&text, path)
}

fn ensure_not_too_large(bytes: usize, path: &Path) -> Result<(), ConfigError> {
    let problem = "is larger than 1MiB; is this the configuration of chatd?";
    if bytes as u64 > MAX_FILE { Err(ConfigError::at(path.display(), problem)) } else { Ok(()) }
}

/// Returns the place of the byte at `offset`.
fn in_file(path: &Path, text: &[u8], offset: usize) -> Origin {
    let line = 1 + memchr::memchr_iter(b'\n', &text[..offset.min(text.len())]).count();
    Origin::File { path: path.to_owned(), line }
}

/// Reads the text of a configuration file; `path` is only for the messages.
///
/// # Errors
/// The first mistake in the file: bad TOML, an unknown key, a value that its key cannot have. Only
/// [`load`](super::load) checks that the values of several keys fit together, since an option may still change one.
pub fn parse_file(text: &str, path: &Path) -> Result<FilePart, ConfigError> {
    ensure_not_too_large(text.len(), path)?;
    let table = DeTable::parse(text).map_err(|error| syntax(&error, text, path))?.into_inner();
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut part = FilePart::default();
    for (name, value) in entries {
        let origin = in_file(path, text.as_bytes(), name.span().start);
        if let Some((gone, _)) = GONE.iter().find(|(gone, _)| *gone == name.as_ref()) {
            part.gone.insert(gone, origin);
            continue;
        }
        let key = Key::find(name.as_ref()).ok_or_else(|| unknown(name.as_ref(), &origin))?;
        let value = value_of(key, value).map_err(|problem| ConfigError::value(&origin, key.name, problem))?;
        part.values.insert(key.name, (value, origin));
    }
    Ok(part)
}

fn value_of(key: &Key, value: Spanned<DeValue<'_>>) -> Result<Value, String> {
    let refuse = |what| Err(format!("{what} is not {}", key.kind));
    match Value::deserialize(ValueDeserializer::from(value)) {
        // serde would hand it on as text.
        Ok(Value::Datetime(_)) => refuse("a date"),
        Ok(value) => key.set(&mut Config::default(), &value).map(|()| value),
        // Nothing else is too much for a `Value`.
        Err(_) => refuse("a number of more than 64 bits"),
    }
}

fn unknown(name: &str, origin: &Origin) -> ConfigError {
    let remedy = match meant(name) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => "chatd.toml(5) lists the keys".to_owned(),
    };
    ConfigError::at(origin.place(name), format_args!("unknown key {}; {remedy}", quoted(name)))
}

fn syntax(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let origin = in_file(path, text.as_bytes(), span.start);
    let start = memchr::memrchr(b'\n', &text.as_bytes()[..span.start.min(text.len())]).map_or(0, |at| at + 1);
    if let Some((key, problem)) = text[start..].lines().next().and_then(unquoted) {
        return ConfigError::value(&origin, key, problem);
    }
    if error.message() == "duplicate key" {
        let key = quoted(text.get(span).unwrap_or_default().trim_matches(['"', '\'']));
        return ConfigError::at(
            origin.place(""),
            format_args!("key {key} stands there twice; leave one out"),
        );
    }
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    ConfigError::at(origin.place(""), format_args!("{message}; write KEY = VALUE, and text in quotes"))
}

/// Returns what is wrong with a line like `max_line = 64KiB`, which TOML takes for a broken number.
fn unquoted(line: &str) -> Option<(&'static str, String)> {
    let (name, value) = line.split_once('=')?;
    let key = Key::find(name.trim())?;
    let value = value.split('#').next()?.trim();
    if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) || DeValue::parse(value).is_ok() {
        return None;
    }
    let as_text = key.set(&mut Config::default(), &value.into());
    let value = quoted(value);
    let problem = || format!("{value} needs its quotes; write {} = {value}", key.name);
    Some((key.name, as_text.err().unwrap_or_else(problem)))
}

/// Returns the key that `word` was probably meant to be.
fn meant(word: &str) -> Option<&'static str> {
    // No key is that long, and the comparison takes the square of the length.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    if let Some((_, name)) = ELSEWHERE.into_iter().find(|(other, _)| *other == word) {
        return Some(name);
    }
    let likeness = |key: &&Key| strsim::jaro_winkler(&word, key.name);
    let nearest = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) >= ALIKE).then_some(nearest.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<FilePart, ConfigError> {
        parse_file(text, Path::new("chatd.toml"))
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn each_bad_line_gets_its_message() {
        for (text, message) in [
            ("nothing", "1: key with no value, expected `=`; write KEY = VALUE, and text in quotes"),
            (
                "\n\ngreeting = \"a",
                "3: invalid basic string, expected `\"`; write KEY = VALUE, and text in quotes",
            ),
            ("raw = true\nraw = true", "2: key \"raw\" stands there twice; leave one out"),
            ("raw = 1\nlog = \"none\"\n'raw' = 1", "3: key \"raw\" stands there twice; leave one out"),
            (
                "listen = { address = \"/a\", address = \"/b\" }",
                "1: key \"address\" stands there twice; leave one out",
            ),
            ("zebra = 1", "1: unknown key \"zebra\"; chatd.toml(5) lists the keys"),
            ("[server]\nraw = 1", "1: unknown key \"server\"; chatd.toml(5) lists the keys"),
            ("# x\nmax-line = 5", "2: unknown key \"max-line\"; did you mean \"max_line\"?"),
            ("greting = \"\"", "1: unknown key \"greting\"; did you mean \"greeting\"?"),
            ("tls = \"required\"", "1: unknown key \"tls\"; did you mean \"tls_cert\"?"),
            ("redis = \"\"", "1: unknown key \"redis\"; did you mean \"cluster\"?"),
            ("port = 5001", "1: unknown key \"port\"; did you mean \"listen\"?"),
            ("\"a\\nb\" = 1", "1: unknown key \"a\\nb\"; chatd.toml(5) lists the keys"),
        ] {
            assert_eq!(refusal(text), format!("chatd.toml:{message}"), "{text}");
        }
    }

    #[test]
    fn each_bad_value_gets_its_message() {
        const SIZE: &str = "is not a size; write bytes (16384) or a unit: 16KiB, 4MiB (powers of 1024), 16kB, 4MB (powers of 1000)";
        const TIME: &str = "is not a time; write seconds (60) or a unit: 500ms, 60s, 5m, 1h, 7d";
        const COUNT: &str = "is not a number; write a whole number without a unit";
        for (text, message) in [
            ("listen = []", "no address; write at least one, for example \"127.0.0.1:5001\"".to_owned()),
            ("listen = 5001", "\"5001\" is not an address; write \"127.0.0.1:5001\" or a list of such".to_owned()),
            ("listen = [1]", "\"1\" is not an address; write \"127.0.0.1:5001\" or a list of such".to_owned()),
            ("listen = [{ view = \"json\" }]", "a table without an address; write { address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }".to_owned()),
            ("listen = { address = \"/a\", port = 1 }", "\"port\" is not known here; write { address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }".to_owned()),
            ("listen = { address = \"/a\", view = \"pretty\" }", "\"pretty\" is not a view; write plain, names or json".to_owned()),
            ("listen = { address = \"/a\", room = \"a b\" }", "\"a b\" cannot be the name of a room: a name can have only letters, digits, - and _".to_owned()),
            ("listen = [\"/a\", { address = \"/a\" }]", "\"/a\" is listed twice; leave one out".to_owned()),
            ("listen = [\"/a\", \"/a\"]", "\"/a\" is listed twice; leave one out".to_owned()),
            ("listen = \"*:1\"", "\"*:1\" does not say which addresses; write 0.0.0.0:PORT for IPv4 or [::]:PORT for IPv6".to_owned()),
            ("greeting = 1", "\"1\" is not text; write it in quotes".to_owned()),
            ("greeting = \"a\\u001b\"", "the control character \"\\u{1b}\" would reach terminals; leave it out".to_owned()),
            ("raw = \"on\"", "\"on\" is not a switch; write true or false".to_owned()),
            ("raw = yes", "\"yes\" is not a switch; write true or false".to_owned()),
            ("max_line = \"16k\"", format!("\"16k\" {SIZE}")),
            ("max_line = -1", format!("\"-1\" {SIZE}")),
            ("max_line = 1e3", format!("a number with a fraction {SIZE}")),
            ("max_line = 99999999999999999999", format!("a number of more than 64 bits {SIZE}")),
            ("max_line = 63", "\"63\" is too small; the least is 64".to_owned()),
            ("max_line = \"2MiB\"", "\"2MiB\" is too large; the most is 1MiB".to_owned()),
            ("max_line = 64KiB # long", "\"64KiB\" needs its quotes; write max_line = \"64KiB\"".to_owned()),
            ("flush_after = \"9ms\"", "\"9ms\" is too small; the least is 10ms".to_owned()),
            ("flush_after = \"never\"", format!("\"never\" {TIME}; or off")),
            ("min_rate = 0", "\"0\" is too small; the least is 1".to_owned()),
            ("slow_timeout = \"off\"", format!("\"off\" {TIME}")),
            ("slow_timeout = 5m", "\"5m\" needs its quotes; write slow_timeout = \"5m\"".to_owned()),
            ("max_clients = 0", "\"0\" is too small; the least is 1".to_owned()),
            ("max_clients = \"1KiB\"", format!("\"1KiB\" {COUNT}")),
            ("max_clients = []", format!("a list {COUNT}")),
            ("max_per_ip = {}", format!("a table {COUNT}")),
            ("memory = \"15MiB\"", "\"15MiB\" is too small; the least is 16MiB".to_owned()),
            ("log_size = \"1kB\"", "\"1kB\" is too small; the least is 1MiB".to_owned()),
            ("idle_timeout = \"9999h\"", "\"9999h\" is too large; the most is 8760h".to_owned()),
            ("drain = 2026-01-01", format!("a date {TIME}")),
            ("drain = \"2h\"", "\"2h\" is too large; the most is 1h".to_owned()),
            ("log = \"file\"", "\"file\" is not a place for the log; write auto, stderr, syslog or none".to_owned()),
            ("log = syslog", "\"syslog\" needs its quotes; write log = \"syslog\"".to_owned()),
            ("log_level = \"INFO\"", "\"INFO\" is not a level; write error, warn, info or debug".to_owned()),
            ("listen = { address = \"/a\", tls = \"required\" }", "\"/a\" is a unix socket, where nobody can listen in; leave tls out".to_owned()),
            ("listen = { address = \"[::1]:1\", tls = \"on\" }", "\"on\" is not a way to speak TLS; write off, optional or required".to_owned()),
            ("listen = { address = \"[::1]:1\", tls = \"off\", serve = \"metrics\" }", "metrics are served without TLS; leave tls out".to_owned()),
            ("tls_cert = \"cert.pem\"", "\"cert.pem\" is no path from /; write it in full, or credential:NAME".to_owned()),
            ("tls_client = \"never\"", "\"never\" is not what is asked of clients; write optional or required".to_owned()),
            ("tls_timeout = \"off\"", format!("\"off\" {TIME}")),
            ("cluster = \"redis://:x@192.0.2.1:6379\"", "this is not the address of an engine: it must have no user and no password; use cluster_user and cluster_password_file".to_owned()),
            ("cluster = [7]", "\"7\" is not the address of an engine; write \"redis+unix:///run/redis/redis.sock\", \"redis://IP:PORT\" or a list of such".to_owned()),
            ("cluster_password_file = \"password\"", "\"password\" is no path from /; write it in full, or credential:NAME".to_owned()),
            ("cluster_prefix = \"\"", "\"\" is not a prefix; write up to 64 letters and digits of ASCII, with - . _ and : between them".to_owned()),
            ("cluster_user = \"a b\"", "\"a b\" is not a user of the engine; write its name in quotes, without blanks".to_owned()),
            ("node = \"al pha\"", "\"al pha\" is not the name of a node; write up to 64 letters and digits of ASCII, with - . and _ between them".to_owned()),
            ("replicas = 17", "\"17\" is too large; the most is 16".to_owned()),
            ("max_rooms = 10001", "\"10001\" is too large; the most is 10000".to_owned()),
        ] {
            let key = text.split(' ').next().unwrap();
            assert_eq!(refusal(text), format!("chatd.toml:1: {key}: {message}"), "{text}");
        }
    }

    #[test]
    fn a_greeting_is_bounded_and_a_long_value_is_shown_in_part() {
        let long = "x".repeat(4097);
        assert_eq!(
            refusal(&format!("greeting = \"{long}\"")),
            "chatd.toml:1: greeting: 4097 bytes are too long; the most is 4096"
        );
        assert_eq!(
            refusal(&format!("log = \"{long}\"")),
            format!(
                "chatd.toml:1: log: \"{}\"... is not a place for the log; write auto, stderr, syslog or none",
                &long[..60]
            )
        );
    }

    #[test]
    fn the_first_mistake_in_the_file_is_the_one_that_is_told() {
        assert!(refusal("zebra = 1\nmax_line = 1").starts_with("chatd.toml:1: "));
        assert!(refusal("max_line = 1\nant = 1").starts_with("chatd.toml:1: "));
    }

    #[test]
    fn every_key_can_stand_in_the_file() {
        for key in &KEYS {
            let part = parse(&format!("\n{} = {}", key.name, key.value(&Config::default()))).unwrap();
            let (raw, origin) = part.get(key.name).unwrap();
            assert_eq!(key.set(&mut Config::default(), raw), Ok(()));
            assert_eq!(origin.place(key.name), "chatd.toml:2");
        }
    }

    #[test]
    fn a_suggestion_is_near_or_there_is_none() {
        for (word, name) in
            [("maxline", "max_line"), ("LogLevel", "log_level"), ("listne", "listen"), ("motd", "greeting")]
        {
            assert_eq!(meant(word), Some(name));
        }
        for word in ["", "zebra", "rooms", &"listen".repeat(20)] {
            assert_eq!(meant(word), None);
        }
        assert!(ELSEWHERE.iter().all(|(_, name)| KEYS.iter().any(|key| key.name == *name)));
    }

    fn fragments() -> impl Strategy<Value = String> {
        let keys = proptest::sample::select(KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
        let values = "(\"[^\"]{0,9}\"|-?[0-9]{1,20}|\\[\"[a-z0-9:./]{0,9}\"\\]|[a-z0-9\\[{]{0,5})";
        proptest::collection::vec((keys, values).prop_map(|(key, value)| format!("{key} = {value}")), 0..4)
            .prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_on_one_line(text in prop_oneof![".{0,80}", "(?s).{0,80}", fragments()]) {
            if let Err(error) = parse(&text) {
                let message = error.to_string();
                prop_assert!(message.starts_with("chatd.toml") && !message.contains('\n'), "{message}");
            }
        }
    }
}
