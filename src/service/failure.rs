//! Why the daemon could not serve, for the log and for standard error.

use std::fmt;

use super::bind_error::BindError;
use super::config::ConfigError;

/// Why the daemon could not serve.
#[derive(Debug)]
pub(super) enum Failure {
    Bind(BindError),
    Passed(std::io::Error),
    Signals(std::io::Error),
    /// The configuration has a mistake, and nobody is connected.
    Config(ConfigError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Passed(error) => {
                write!(
                    f,
                    "cannot take the sockets that LISTEN_FDS names: {error}; unset LISTEN_FDS, or start chatd with chatd.socket"
                )
            }
            Self::Config(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot wait for signals: {error}"),
        }
    }
}
