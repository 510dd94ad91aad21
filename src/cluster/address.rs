//! Where the engine is: addresses as people write them, and the password, which is never shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of an engine whose address has none.
const PORT: u16 = 6379;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `redis+unix:///run/redis/redis-server.sock`, or with a database: `redis+unix:///run/redis.sock?db=2`.
    Unix {
        /// The path of the socket.
        path: PathBuf,
        /// The number of the database.
        database: u32,
    },
    /// `redis://host:port`, or with TLS `rediss://host:port`; with a database: `redis://host:port/2`.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether it speaks TLS.
        is_tls: bool,
        /// The number of the database.
        database: u32,
    },
}

/// Why an address cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It begins with none of the schemes.
    Scheme,
    /// It has a user or a password.
    Password,
    /// The path of its socket is not absolute.
    Path,
    /// It has no host.
    Host,
    /// Its port is not a number from 1 to 65535.
    Port,
    /// Its database is not a number.
    Database,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it must begin with redis+unix://, redis:// or rediss://",
            Self::Password => {
                "it must have no user and no password; use cluster_user and cluster_password_file"
            }
            Self::Path => {
                "the path of the socket must be absolute: redis+unix:///run/redis/redis-server.sock"
            }
            Self::Host => "it has no host: redis://HOST:PORT",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Database => "the database must be a number: redis://HOST:PORT/0, redis+unix:///PATH?db=0",
        })
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix("redis+unix://") {
            let (path, database) = match rest.split_once('?') {
                None => (rest, 0),
                Some((path, query)) => (path, number(query.strip_prefix("db=").unwrap_or_default())?),
            };
            if !path.starts_with('/') {
                let is_secret = path.split('/').next().is_some_and(|host| host.contains('@'));
                return Err(if is_secret { AddressError::Password } else { AddressError::Path });
            }
            return Ok(Self::Unix { path: path.into(), database });
        }
        let (rest, is_tls) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(AddressError::Scheme),
        };
        let (place, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), 0),
            Some((place, database)) if !place.contains('@') => (place, number(database)?),
            Some((place, _)) => (place, 0),
        };
        if place.contains('@') {
            return Err(AddressError::Password);
        }
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(AddressError::Port)?)),
            None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let is_host = |c: char| c.is_alphanumeric() || ".-_:%".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(AddressError::Host);
        }
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| AddressError::Port))?;
        if port == 0 {
            return Err(AddressError::Port);
        }
        Ok(Self::Tcp { host: host.to_owned(), port, is_tls, database })
    }
}

fn number(text: &str) -> Result<u32, AddressError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().ok_or(AddressError::Database)
}

impl Address {
    /// Returns whether it has TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { is_tls: true, .. })
    }

    /// Returns the number of its database.
    pub(super) fn database(&self) -> u32 {
        match self {
            Self::Unix { database, .. } | Self::Tcp { database, .. } => *database,
        }
    }
}

/// Writes it as people do.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, database: 0 } => write!(f, "redis+unix://{}", path.display()),
            Self::Unix { path, database } => write!(f, "redis+unix://{}?db={database}", path.display()),
            Self::Tcp { host, port, is_tls, database } => {
                let scheme = if *is_tls { "rediss" } else { "redis" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                write!(f, "{scheme}://{host}:{port}")?;
                if *database > 0 { write!(f, "/{database}") } else { Ok(()) }
            }
        }
    }
}

/// A password. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a password as its file has it: without the line ending.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_again() {
        for text in [
            "redis+unix:///run/redis/redis-server.sock",
            "redis+unix:///run/redis.sock?db=2",
            "redis://127.0.0.1:6380",
            "redis://[::1]:6379/3",
            "rediss://engine.example.org:6379",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (short, long) in [
            ("redis://engine", "redis://engine:6379"),
            ("redis://engine:1/", "redis://engine:1"),
            ("rediss://[::1]", "rediss://[::1]:6379"),
        ] {
            assert_eq!(short.parse::<Address>().unwrap().to_string(), long);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, error) in [
            ("", AddressError::Scheme),
            ("127.0.0.1:6379", AddressError::Scheme),
            ("tcp://engine", AddressError::Scheme),
            ("redis://:secret@engine", AddressError::Password),
            ("redis://ann:secret@engine/1", AddressError::Password),
            ("redis+unix://ann:secret@/run/redis.sock", AddressError::Password),
            ("redis+unix://run/redis.sock", AddressError::Path),
            ("redis+unix:///run/redis.sock?db=x", AddressError::Database),
            ("redis+unix:///run/redis.sock?x=1", AddressError::Database),
            ("redis://", AddressError::Host),
            ("redis://a b", AddressError::Host),
            ("redis://engine:0", AddressError::Port),
            ("redis://engine:65536", AddressError::Port),
            ("redis://[::1]6379", AddressError::Port),
            ("redis://engine/x", AddressError::Database),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let secret = Secret::new("open sesame\n");
        assert_eq!((secret.reveal(), format!("{secret:?}")), ("open sesame", "Secret(..)".to_owned()));
    }
}
