//! The configuration file: from its text to checked values, each with its line.
//!
//! Called by `load`, and by the fuzz target through [`parse_file`]. Every value is checked here, also one that an
//! option will override, so that `--check` finds every mistake. Never panics, whatever the bytes, and never
//! reads more than [`MAX_FILE`] bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use super::error::{ConfigError, Origin, Problem, Unsuitable};
use super::key::{KEYS, Key};
use super::raw::Raw;
use super::settings::Config;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// How alike two words must be for one to be suggested for the other: 1 is equal, 0 is nothing in common.
const ALIKE: f64 = 0.8;

/// What other daemons call our keys.
const ELSEWHERE: [(&str, &str); 14] = [
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
    ("workers", "threads"),
    ("buffer_size", "log_size"),
];

/// What a file says: values of known keys, each within its range.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePart {
    path: PathBuf,
    values: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
struct Value {
    key: &'static str,
    raw: Raw,
    line: usize,
}

impl FilePart {
    /// The value of a key and where it stands, if the file has one.
    pub fn get(&self, key: &str) -> Option<(&Raw, Origin)> {
        let value = self.values.iter().find(|value| value.key == key)?;
        Some((&value.raw, Origin::File { path: self.path.clone(), line: value.line }))
    }
}

/// Reads the file at `path`; `named_by` is the option or variable that named it, for the message.
///
/// `Ok(None)` when no file is there and nothing named it.
pub(super) fn load_file(
    path: &Path,
    named_by: Option<&'static str>,
) -> Result<Option<FilePart>, ConfigError> {
    match read(path) {
        Ok(bytes) => parse_bytes(bytes, path).map(Some),
        Err(source) if source.kind() == io::ErrorKind::NotFound && named_by.is_none() => Ok(None),
        Err(source) if source.kind() == io::ErrorKind::IsADirectory => {
            Err(unsuitable(path, Unsuitable::Directory))
        }
        Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), named_by, source }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_bytes(bytes: Vec<u8>, path: &Path) -> Result<FilePart, ConfigError> {
    ensure_not_too_large(bytes.len(), path)?;
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::NotUtf8 {
        path: path.to_owned(),
        line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
    })?;
    parse_file(&text, path)
}

fn ensure_not_too_large(bytes: usize, path: &Path) -> Result<(), ConfigError> {
    if bytes as u64 > MAX_FILE { Err(unsuitable(path, Unsuitable::TooLarge)) } else { Ok(()) }
}

fn unsuitable(path: &Path, why: Unsuitable) -> ConfigError {
    ConfigError::Unsuitable { path: path.to_owned(), why }
}

/// Reads the text of a configuration file; `path` is only for the messages.
///
/// # Errors
/// The first mistake in the file: bad TOML, an unknown key, a value that its key cannot have. That the values of
/// several keys fit together is checked by [`load`](super::load) alone, since an option may still change one.
pub fn parse_file(text: &str, path: &Path) -> Result<FilePart, ConfigError> {
    ensure_not_too_large(text.len(), path)?;
    let table = DeTable::parse(text).map_err(|error| syntax(&error, text, path))?.into_inner();
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let values = entries.into_iter().map(|(key, value)| parse_entry(&key, value.into_inner(), text, path));
    Ok(FilePart { path: path.to_owned(), values: values.collect::<Result<_, _>>()? })
}

fn parse_entry(
    name: &Spanned<DeString<'_>>,
    value: DeValue<'_>,
    text: &str,
    path: &Path,
) -> Result<Value, ConfigError> {
    let line = line_at(text.as_bytes(), name.span().start);
    let key = KEYS
        .iter()
        .find(|key| key.name == name.as_ref())
        .ok_or_else(|| unknown(name.as_ref(), line, path))?;
    let raw = raw(value);
    key.set(&mut Config::default(), &raw).map_err(|problem| ConfigError::Value {
        origin: Origin::File { path: path.to_owned(), line },
        key: key.name,
        problem,
    })?;
    Ok(Value { key: key.name, raw, line })
}

fn raw(value: DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.into_owned()),
        DeValue::Integer(integer) => whole(&integer),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Boolean(value) => Raw::Bool(value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(table) => Raw::Table(fields(table)),
        DeValue::Array(array) => Raw::List(array.into_iter().map(|item| raw(item.into_inner())).collect()),
    }
}

fn fields(table: DeTable<'_>) -> Vec<(String, Raw)> {
    let mut fields: Vec<_> = table.into_iter().collect();
    fields.sort_by_key(|(name, _)| name.span().start);
    fields
        .into_iter()
        .map(|(name, value)| (name.into_inner().into_owned(), raw(value.into_inner())))
        .collect()
}

fn whole(integer: &DeInteger<'_>) -> Raw {
    match i64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(value) => Raw::Integer(value),
        Err(_) => Raw::Other("a number of more than 64 bits"),
    }
}

fn syntax(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let line = line_at(text.as_bytes(), span.start);
    if let Some((key, problem)) = text.lines().nth(line - 1).and_then(unquoted) {
        let origin = Origin::File { path: path.to_owned(), line };
        return ConfigError::Value { origin, key, problem };
    }
    if error.message() == "duplicate key" {
        let key = text.get(span).unwrap_or_default().trim_matches(['"', '\'']).to_owned();
        return ConfigError::DuplicateKey { path: path.to_owned(), line, key };
    }
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    ConfigError::Syntax { path: path.to_owned(), line, message }
}

/// What is wrong with a line like `max_line = 64KiB`, which TOML takes for a broken number.
fn unquoted(line: &str) -> Option<(&'static str, Problem)> {
    let (name, value) = line.split_once('=')?;
    let key = KEYS.iter().find(|key| key.name == name.trim())?;
    let value = value.split('#').next()?.trim();
    if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) || DeValue::parse(value).is_ok() {
        return None;
    }
    let as_text = key.set(&mut Config::default(), &Raw::Text(value.to_owned()));
    Some((
        key.name,
        as_text.err().unwrap_or_else(|| Problem::NoQuotes { key: key.name, value: value.to_owned() }),
    ))
}

/// The line of the byte at `offset`, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text[..offset.min(text.len())]).count()
}

fn unknown(key: &str, line: usize, path: &Path) -> ConfigError {
    ConfigError::UnknownKey { path: path.to_owned(), line, key: key.to_owned(), meant: meant(key) }
}

/// The key that `word` was probably meant to be.
fn meant(word: &str) -> Option<&'static str> {
    // No key is that long, and the comparison takes the square of the length.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let likeness = |key: &&Key| strsim::jaro_winkler(&word, key.name);
    let nearest = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    if likeness(&nearest) >= ALIKE {
        return Some(nearest.name);
    }
    ELSEWHERE.into_iter().find(|(other, _)| *other == word).map(|(_, name)| name)
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
            ("port = 5001", "1: unknown key \"port\"; did you mean \"listen\"?"),
            ("\"a\\nb\" = 1", "1: unknown key \"a\\nb\"; chatd.toml(5) lists the keys"),
        ] {
            assert_eq!(refusal(text), format!("chatd.toml:{message}"), "{text}");
        }
    }

    #[test]
    fn each_bad_value_gets_its_message() {
        const SIZE: &str = "is not a size; write bytes (16384) or a unit: 16KiB, 4MiB (powers of 1024), 16kB, 4MB (powers of 1000)";
        const TIME: &str = "is not a time; write seconds (60) or a unit: 500ms, 60s, 5m, 1h";
        const COUNT: &str = "is not a number; write a whole number without a unit";
        for (text, message) in [
            ("listen = []", "no address; write at least one, for example \"127.0.0.1:5001\"".to_owned()),
            ("listen = 5001", "\"5001\" is not an address; write \"127.0.0.1:5001\" or a list of such".to_owned()),
            ("listen = [1]", "\"1\" is not an address; write \"127.0.0.1:5001\" or a list of such".to_owned()),
            ("listen = [{ view = \"json\" }]", "a table without an address; write { address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }".to_owned()),
            ("listen = { address = \"/a\", port = 1 }", "\"port\" is not known here; write { address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }".to_owned()),
            ("listen = { address = \"/a\", view = \"pretty\" }", "\"pretty\" is not a view; write plain, names or json".to_owned()),
            ("listen = { address = \"/a\", room = \"a b\" }", "\"a b\" cannot be the name of a room: a name has letters, digits, - and _".to_owned()),
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
            ("log_size = \"1kB\"", "\"1kB\" is too small; the least is 1MiB".to_owned()),
            ("idle_timeout = \"9999h\"", "\"9999h\" is too large; the most is 8760h".to_owned()),
            ("drain = 2026-01-01", format!("a date {TIME}")),
            ("drain = \"2h\"", "\"2h\" is too large; the most is 1h".to_owned()),
            ("log = \"file\"", "\"file\" is not a place for the log; write auto, stderr, syslog or none".to_owned()),
            ("log = syslog", "\"syslog\" needs its quotes; write log = \"syslog\"".to_owned()),
            ("log_level = \"INFO\"", "\"INFO\" is not a level; write error, warn, info or debug".to_owned()),
            ("threads = 65", "\"65\" is too large; the most is 64".to_owned()),
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
        for word in ["", "zebra", "tls", "rooms", &"listen".repeat(20)] {
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
