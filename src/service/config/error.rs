//! A mistake in the configuration, and the source of a value.
//!
//! Made by `file` and `load`; shown by `src/bin/chatd.rs` on standard error and by the server in the log when a reload
//! is refused. Every message begins with the place (file and line, `--option` or variable), then the key, the value in
//! quotes and the remedy, on one line.

use std::fmt;
use std::path::PathBuf;

use crate::service::Exit;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default.
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
    /// Returns the place of `key`, as the operator finds it: `default`, `FILE:LINE`, `CHATD_KEY` or `--key`.
    pub fn place(&self, key: &str) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, line } => format!("{}:{line}", path.display()),
            Self::Environment => variable(key),
            Self::Option => format!("--{}", key.replace('_', "-")),
        }
    }
}

/// Returns the environment variable of `key`: `CHATD_MAX_LINE` for `max_line`.
pub(super) fn variable(key: &str) -> String {
    format!("CHATD_{}", key.to_ascii_uppercase())
}

/// The first mistake in a configuration, with its place and a remedy.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    exit: Exit,
}

impl ConfigError {
    /// Makes one at `place`: a file, or a line of one.
    pub(in crate::service) fn at(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {problem}"), exit: Exit::Config }
    }

    /// Makes one about a key with a value that it cannot have.
    pub(super) fn value(origin: &Origin, key: &str, problem: impl fmt::Display) -> Self {
        let place = origin.place(key);
        match origin {
            Origin::File { .. } => Self::at(place, format_args!("{key}: {problem}")),
            Origin::Option => Self { exit: Exit::Usage, ..Self::at(place, problem) },
            _ => Self::at(place, problem),
        }
    }

    /// Returns the exit code for it: [`Exit::Usage`] for an option, otherwise [`Exit::Config`].
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
