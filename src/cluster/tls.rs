//! TLS to an engine: whom this node trusts, and why it does not.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, InvalidMessage};
use rustls::{RootCertStore, crypto::ring};

/// Begins a connection to an engine that must have a certificate for that host. The certificates that this machine trusts
/// are read once.
///
/// # Errors
/// The host cannot be in a certificate.
pub fn begin(host: &str) -> Result<Box<ClientConnection>, Error> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, Error>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    });
    let config = config.clone()?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::General(error.to_string()))?;
    Ok(Box::new(ClientConnection::new(config, name)?))
}

/// Returns why an engine cannot be used, and what to do.
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "TLS: this machine does not trust its certificate; add the authority to the certificates of this \
             machine, and restart chatd"
                .to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS; correct the port, or write redis: in place of rediss:".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "TLS: it asks for a certificate of chatd; set tls-auth-clients of the engine to no".to_owned()
        }
        error => format!("TLS: {error}"),
    }
}
