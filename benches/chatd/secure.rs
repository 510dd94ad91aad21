//! TLS in the benchmark: a certificate for the server, and a client that trusts it.
//!
//! There is one cipher, the one that chatd prefers, so that the floor and chatd do the same work.

use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// A certificate and its key in a folder, which is gone when this is.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    /// Trusts it.
    pub(crate) client: Arc<ClientConfig>,
}

impl Identity {
    pub(crate) fn prepare() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("chatd-bench-tls-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(Error::other)?;
        std::fs::write(folder.join(CERTIFICATE), made.cert.pem())?;
        std::fs::write(folder.join(KEY), made.signing_key.serialize_pem())?;
        let config = format!(
            "listen = \"127.0.0.1:0\"\ntls_cert = {:?}\ntls_key = {:?}\n",
            folder.join(CERTIFICATE),
            folder.join(KEY)
        );
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(Error::other)?;
        let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let client = client.map_err(Error::other)?.with_root_certificates(roots).with_no_client_auth();
        let identity = Self { folder, client: Arc::new(client) };
        std::fs::write(identity.config(), config)?;
        Ok(identity)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration of a chatd that has it.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("chatd.toml")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn provider() -> Arc<CryptoProvider> {
    let suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..default_provider() })
}

/// What a server needs that has the certificate in this folder: no tickets, as with chatd.
pub(crate) fn server(folder: &Path) -> io::Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE)).map_err(Error::other)?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(Error::other)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(Error::other)?.with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate], key).map_err(Error::other)?;
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
