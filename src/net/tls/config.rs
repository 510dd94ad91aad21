//! What rustls needs to speak TLS, made of a certificate and a key.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Identity;

/// A certificate, its key, and what is asked of clients, as they were read.
#[derive(Debug)]
pub struct Material {
    /// The chain: the own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// The authorities whose certificates give clients their names; empty if clients need none.
    pub client_authorities: Vec<CertificateDer<'static>>,
    /// A client without a certificate may not connect.
    pub requires_client: bool,
}

/// Why there can be no TLS with a certificate and a key.
#[derive(Debug)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Makes one. There are no session tickets and no early data, and ChaCha20-Poly1305 comes first: a key of AES-GCM
    /// wears out, and the kernel may not be able to replace it (RFC 8446, 5.5).
    ///
    /// # Errors
    /// Why there can be no TLS with these.
    pub fn new(material: Material) -> Result<Self, IdentityError> {
        let Material { chain, key, .. } = material;
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            !name.contains("CHACHA20")
        });
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, key))
            .map_err(|error| IdentityError(error.to_string()))?;
        let mut config = config;
        config.enable_secret_extraction = true;
        config.send_tls13_tickets = 0;
        config.ignore_client_order = true;
        Ok(Self { config: Arc::new(config) })
    }
}
