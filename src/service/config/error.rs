//! A configuration that chatd refuses, and where a value comes from.
//!
//! Made by `file` and `load`; shown by `src/bin/chatd.rs` on standard error and by the server in the log when a reload
//! is refused. Every message begins with the place (file and line, `--option` or variable), then the key, the value in
//! quotes and the remedy, on one line.

use std::fmt;
use std::path::PathBuf;

use crate::service::Exit;

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

/// A configuration that chatd refuses: the first mistake in it, and what to do.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    exit: Exit,
}

impl ConfigError {
    /// A mistake at `place`: a file, or a line of one.
    pub(super) fn at(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {problem}"), exit: Exit::Config }
    }

    /// A key with a value that it cannot have.
    pub(super) fn value(origin: &Origin, key: &str, problem: impl fmt::Display) -> Self {
        let place = origin.place(key);
        match origin {
            Origin::File { .. } => Self::at(place, format_args!("{key}: {problem}")),
            Origin::Option => Self { exit: Exit::Usage, ..Self::at(place, problem) },
            _ => Self::at(place, problem),
        }
    }

    /// How chatd ends with this error: [`Exit::Usage`] for an option, [`Exit::Config`] for all else.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
