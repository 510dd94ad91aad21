//! What can be wrong with a configuration, and how that is told.
//!
//! Made by `file`, `raw` and `load`; shown by `src/bin/chatd.rs` on standard error and by the server in the log when
//! a reload is refused. Every message begins with the place (file and line, `--option` or variable), then the
//! key, the value in quotes and the remedy, on one line. Never shows more than the start of a long value.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::key::{LINES_IN_LOG, MAX_GREETING, MAX_LISTEN};
use super::unit::Size;
use crate::net::{Address, AddressError};
use crate::protocol::NameError;
use crate::service::Exit;

/// The longest part of a bad value that a message shows, in characters.
const SHOWN: usize = 60;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line of the key, counted from 1.
        line: usize,
    },
    /// The environment of the process.
    Environment,
    /// The command line.
    Option,
}

impl Origin {
    /// The place of `key` here, as an operator finds it: `default`, `FILE:LINE`, `CHATD_KEY` or `--key`.
    pub fn place(&self, key: &str) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, line } => format!("{}:{line}", path.display()),
            Self::Environment => variable(key),
            Self::Option => format!("--{}", key.replace('_', "-")),
        }
    }
}

/// The environment variable of `key`: `CHATD_MAX_LINE` for `max_line`.
pub(super) fn variable(key: &str) -> String {
    format!("CHATD_{}", key.to_ascii_uppercase())
}

/// A configuration that chatd refuses.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What named it: `--config`, `CHATD_CONFIG`, or nothing for the default file.
        named_by: Option<&'static str>,
        /// What the system said.
        source: io::Error,
    },
    /// The file can be read and is not a configuration.
    Unsuitable {
        /// The file as it was named.
        path: PathBuf,
        /// What it is instead.
        why: Unsuitable,
    },
    /// The file has bytes that are not UTF-8.
    NotUtf8 {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is not TOML.
    Syntax {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the TOML parser said.
        message: String,
    },
    /// The file has a key twice.
    DuplicateKey {
        /// The file as it was named.
        path: PathBuf,
        /// The line of the second one, counted from 1.
        line: usize,
        /// The key as it stands there.
        key: String,
    },
    /// The file has a key that chatd does not have.
    UnknownKey {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key as it stands there.
        key: String,
        /// The key that was probably meant.
        meant: Option<&'static str>,
    },
    /// A key has a value that it cannot have.
    Value {
        /// Where the value was given.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        problem: Problem,
    },
}

impl ConfigError {
    /// How chatd ends with this error: [`Exit::Usage`] for an option, [`Exit::Config`] for all else.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Value { origin: Origin::Option, .. } => Exit::Usage,
            _ => Exit::Config,
        }
    }
}

/// Why a file that can be read is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsuitable {
    /// A directory.
    Directory,
    /// More than [`MAX_FILE`](super::MAX_FILE) bytes.
    TooLarge,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Not of the kind that the key has.
    NotA {
        /// The value, quoted.
        value: String,
        /// The kind, with its article: `a size`.
        kind: &'static str,
        /// How the kind is written.
        write: &'static str,
    },
    /// Right, but for the quotes that TOML wants.
    NoQuotes {
        /// The key.
        key: &'static str,
        /// The value as it stands.
        value: String,
    },
    /// Below the range of the key.
    TooSmall {
        /// The value, quoted.
        value: String,
        /// The least, as it is written.
        least: String,
    },
    /// Above the range of the key.
    TooLarge {
        /// The value, quoted.
        value: String,
        /// The most, as it is written.
        most: String,
    },
    /// Not an address.
    Address(AddressError),
    /// An address that the same list already has.
    Twice(Address),
    /// A table of `listen` without an address.
    NoAddressField,
    /// A table of `listen` with something else than it can have, quoted.
    UnknownField(String),
    /// What cannot be the name of a room.
    Room {
        /// The name, quoted.
        value: String,
        /// Why not.
        error: NameError,
    },
    /// No address at all.
    NoAddress,
    /// More than 64 addresses.
    ManyAddresses(usize),
    /// A control character in a text that goes to terminals.
    Control(char),
    /// A text of more than 4096 bytes.
    LongText(usize),
    /// An environment variable that is not UTF-8.
    NotUtf8,
    /// A log of a room that holds too few lines of `max_line`.
    SmallLog {
        /// `log_size`.
        log_size: Size,
        /// `max_line`.
        max_line: Size,
    },
}

/// How an entry of `listen` is written with all that it can have.
const LISTEN: &str = "{ address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }";

/// `text` in quotes, on one line, and not more than its start.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, named_by, source } => {
                write!(f, "{}: cannot be read: {}; ", path.display(), plain(source))?;
                match named_by {
                    Some(name) if source.kind() == io::ErrorKind::NotFound => write!(f, "correct {name}"),
                    _ => f.write_str("make it readable for the user that runs chatd"),
                }
            }
            Self::NotUtf8 { path, line } => {
                write!(f, "{}:{line}: bytes that are not UTF-8; save the file as UTF-8", path.display())
            }
            Self::Unsuitable { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Syntax { path, line, message } => {
                write!(f, "{}:{line}: {message}; write KEY = VALUE, and text in quotes", path.display())
            }
            Self::DuplicateKey { path, line, key } => {
                write!(f, "{}:{line}: key {} stands there twice; leave one out", path.display(), quoted(key))
            }
            Self::UnknownKey { path, line, key, meant } => {
                write!(f, "{}:{line}: unknown key {}; ", path.display(), quoted(key))?;
                match meant {
                    Some(meant) => write!(f, "did you mean {meant:?}?"),
                    None => f.write_str("chatd.toml(5) lists the keys"),
                }
            }
            Self::Value { origin: origin @ Origin::File { .. }, key, problem } => {
                write!(f, "{}: {key}: {problem}", origin.place(key))
            }
            Self::Value { origin, key, problem } => write!(f, "{}: {problem}", origin.place(key)),
        }
    }
}

/// The system's words in lower case and without the number: `no such file or directory`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("is a directory; name the file in it"),
            Self::TooLarge => f.write_str("is larger than 1MiB; is this the configuration of chatd?"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotA { value, kind, write } => write!(f, "{value} is not {kind}; write {write}"),
            Self::NoQuotes { key, value } => {
                let value = quoted(value);
                write!(f, "{value} needs its quotes; write {key} = {value}")
            }
            Self::TooSmall { value, least } => write!(f, "{value} is too small; the least is {least}"),
            Self::TooLarge { value, most } => write!(f, "{value} is too large; the most is {most}"),
            Self::Address(error) => error.fmt(f),
            Self::Twice(address) => write!(f, "\"{address}\" is listed twice; leave one out"),
            Self::NoAddressField => write!(f, "a table without an address; write {LISTEN}"),
            Self::UnknownField(name) => write!(f, "{name} is not known here; write {LISTEN}"),
            Self::Room { value, error } => write!(f, "{value} cannot be the name of a room: {error}"),
            Self::NoAddress => f.write_str("no address; write at least one, for example \"127.0.0.1:5001\""),
            Self::ManyAddresses(count) => {
                write!(f, "{count} addresses are too many; the most is {}", MAX_LISTEN)
            }
            Self::Control(control) => {
                let control = control.escape_default();
                write!(f, "the control character \"{control}\" would reach terminals; leave it out")
            }
            Self::LongText(bytes) => {
                write!(f, "{bytes} bytes are too long; the most is {}", MAX_GREETING)
            }
            Self::NotUtf8 => f.write_str("bytes that are not UTF-8; write UTF-8"),
            Self::SmallLog { log_size, max_line } => write!(
                f,
                "log_size \"{log_size}\" holds less than {LINES_IN_LOG} lines of max_line \"{max_line}\"; \
                 raise log_size to {} or lower max_line to {}",
                max_line.times(LINES_IN_LOG),
                log_size.divided_by(LINES_IN_LOG)
            ),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Value { problem: Problem::Address(error), .. } => Some(error),
            _ => None,
        }
    }
}
