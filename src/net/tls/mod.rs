//! TLS on the port of the chat: the handshake, and the records after it.
//!
//! rustls does the handshake, which the session reads record by record. Then the keys go to the kernel, if it takes
//! them: from then on the socket speaks plain text to the process that holds it, also to the next one. Otherwise rustls
//! makes and reads the records, and the connection ends with the process.

pub mod alert;
mod channel;
mod config;
pub mod handshake;
pub mod kernel;
pub mod name;
mod secrets;
mod socket;
#[cfg(test)]
pub mod testing;
mod user;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use channel::Channel;
pub use config::{CIPHERS, IdentityError, Parts};
pub use secrets::SECRETS_BYTES;

use crate::protocol::{Name, NoName};

/// How long a listener with [`Mode::Optional`] waits for the first byte of a client before it takes it for one that
/// speaks plain text and waits for a greeting.
pub const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Whether a listener speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does not: a client that begins a handshake is told so.
    #[default]
    Off,
    /// It speaks TLS with a client that begins with a handshake, and plain text with all others.
    Optional,
    /// It speaks TLS alone: a client that does not is told so.
    Required,
}

/// What chatd needs to speak TLS: certificate, key, and what it asks of clients. A reload replaces it for new
/// connections.
#[derive(Debug)]
pub struct Identity {
    /// What rustls needs.
    pub config: Arc<rustls::ServerConfig>,
    /// When the certificate ends.
    pub not_after: Timestamp,
    /// Clients are asked for a certificate, which takes long to check.
    pub asks_clients: bool,
}

/// What a TLS connection has agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The version of the protocol: `1.2` or `1.3`.
    pub version: &'static str,
    /// The name of the cipher suite, as IANA writes it.
    pub cipher: &'static str,
    /// The name in the certificate of the client, or why it has none there; `None` if it has shown no certificate.
    pub name: Option<Result<Name, NoName>>,
}
