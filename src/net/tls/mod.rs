//! TLS on the port of the chat: the handshake, and the records after it.

mod config;
pub mod name;

use std::sync::Arc;

pub use config::{IdentityError, Material};

use crate::protocol::Name;

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
}

/// What a TLS connection has agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The version of the protocol: `1.2` or `1.3`.
    pub version: &'static str,
    /// The name of the cipher suite, as IANA writes it.
    pub cipher: &'static str,
    /// The kernel has the keys, so the connection outlives the process.
    pub is_in_kernel: bool,
    /// The name in the certificate of the client, if it has shown one that counts.
    pub name: Option<Name>,
}
