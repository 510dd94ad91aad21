//! What rustls needs to speak TLS, made of a certificate and a key.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::Identity;
use super::secrets::Tap;

/// Every version with every cipher suite that it may agree upon, as IANA writes it.
pub const CIPHERS: [(&str, &str); 9] = [
    ("1.3", "TLS_CHACHA20_POLY1305_SHA256"),
    ("1.3", "TLS_AES_256_GCM_SHA384"),
    ("1.3", "TLS_AES_128_GCM_SHA256"),
    ("1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
];

/// A certificate, its key, and what is asked of clients, as they were read.
#[derive(Debug)]
pub struct Parts {
    /// The chain: the own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// When the own certificate ends.
    pub not_after: Timestamp,
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
    /// Makes one, for TLS 1.2 and 1.3. There are no session tickets, no sessions that are resumed, and no early data.
    /// ChaCha20-Poly1305 comes first: a key of AES-GCM wears out, and the kernel may not be able to replace it
    /// (RFC 8446, 5.5).
    ///
    /// # Errors
    /// Why there can be no TLS with these.
    pub fn new(parts: Parts) -> Result<Self, IdentityError> {
        let Parts { chain, key, not_after, client_authorities, requires_client } = parts;
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            !name.contains("CHACHA20")
        });
        let provider = Arc::new(provider);
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(failed)?;
        let asks_clients = !client_authorities.is_empty();
        let builder = match asks_clients {
            false => builder.with_no_client_auth(),
            true => {
                builder.with_client_cert_verifier(verifier(client_authorities, requires_client, provider)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(failed)?;
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(Tap);
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ignore_client_order = true;
        Ok(Self { config: Arc::new(config), not_after, asks_clients })
    }
}

/// Returns what checks the certificates of clients. Without one a client is let in, unless `requires` says otherwise.
fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    requires: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for one in authorities {
        roots.add(one).map_err(failed)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if requires { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(failed)
}

fn failed(error: impl fmt::Display) -> IdentityError {
    IdentityError(error.to_string())
}

#[cfg(test)]
mod tests {
    use rustls::ProtocolVersion;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn every_cipher_suite_that_may_be_agreed_upon_is_in_the_list_in_this_order() {
        const PEM: &[u8] = include_bytes!("../../../tests/data/tls/ed25519.pem");
        let chain = vec![CertificateDer::from_pem_slice(PEM).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(PEM).unwrap();
        let not_after = Timestamp::MAX;
        let parts = Parts { chain, key, not_after, client_authorities: vec![], requires_client: false };
        let identity = Identity::new(parts).unwrap();
        let suites = identity.config.crypto_provider().cipher_suites.iter().map(|suite| {
            let version = match suite.version().version {
                ProtocolVersion::TLSv1_3 => "1.3",
                _ => "1.2",
            };
            (version, suite.suite().as_str().unwrap().replace("TLS13_", "TLS_"))
        });
        let mut suites: Vec<_> = suites.collect();
        suites.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        assert_eq!(suites, CIPHERS.map(|(version, name)| (version, name.to_owned())));
    }
}
