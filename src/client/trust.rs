//! Whom chatc trusts: the certificates that count, and why one does not.
//!
//! [`Trust`] is what the command line says. `tls` shakes hands with it; a [`Check`] looks at the certificate of one server.
//! Speaks to nobody; reads files at the start alone.

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    RootCertStore, SignatureScheme,
};

use crate::certificate::pem::{Content, TOO_LARGE};
use crate::certificate::{KEYS_TAKEN, validity};

/// Bytes of a fingerprint (SHA-256).
const FINGERPRINT_BYTES: usize = 32;
/// Names of a certificate that a message has at most.
const SHOWN_NAMES: usize = 5;

/// The SHA-256 of a certificate. As text `sha256:` and 64 hexadecimal digits, with or without colons, as openssl-x509(1)
/// prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
        let hash = suite.map(|suite| suite.common.hash_provider.hash(certificate));
        Self(hash.map_or_else(Vec::new, |hash| hash.as_ref().to_vec()))
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "no fingerprint; write sha256: and 64 hexadecimal digits";
        let digits = text.strip_prefix("sha256:").ok_or(BAD)?.replace(':', "");
        let byte = |at: usize| digits.get(at..at + 2).filter(|_| !digits.contains('+'));
        let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(byte(at)?, 16).ok());
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes.filter(|bytes| bytes.len() == FINGERPRINT_BYTES).map(Self).ok_or(BAD)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which servers are trusted, and what a server gets to see. By default no server is trusted.
#[derive(Debug, Default)]
pub struct Trust {
    pins: Vec<Fingerprint>,
    /// The certificates of `--ca`. One of them may be the server's own.
    certificates: Vec<CertificateDer<'static>>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// The certificate that the server gets to see, and its key.
    own: Option<Arc<SingleCertAndKey>>,
}

impl Trust {
    /// Trusts the servers with one of `pins`; without pins, those for which a certificate of the file `ca` vouches; without
    /// that, those for which the certificates of this machine do. `own` are the files of a certificate and its key.
    ///
    /// # Errors
    /// What is wrong with a file, in words.
    pub fn new(ca: Option<&Path>, pins: &[Fingerprint], own: Option<(&Path, &Path)>) -> Result<Self, String> {
        let mut trust = Self { pins: pins.to_vec(), ..Self::default() };
        if let Some((cert, key)) = own {
            let (chain, pem) =
                (take("--cert", cert, Content::certificates)?, take("--key", key, Content::key)?);
            let own = CertifiedKey::from_der(chain, pem, &ring::default_provider())
                .map_err(|error| unusable(&error, cert, key))?;
            trust.own = Some(Arc::new(own.into()));
        }
        if trust.pins.is_empty() {
            let mut roots = RootCertStore::empty();
            match ca {
                Some(path) => trust.certificates = take("--ca", path, Content::certificates)?,
                None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            }
            roots.add_parsable_certificates(trust.certificates.iter().cloned());
            let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
            let none =
                |_| "this machine has no certificates to trust; install ca-certificates, or use --ca FILE";
            trust.authorities = Some(builder.build().map_err(none)?);
        }
        Ok(trust)
    }

    /// A connection to a server that `check` checks.
    ///
    /// # Errors
    /// The name is none that a certificate can have.
    pub fn begin(&self, check: &Arc<Check>, host: &str) -> Result<ClientConnection, Error> {
        let host = host.split('%').next().unwrap_or_default().trim_end_matches('.').to_owned();
        let name = ServerName::try_from(host).map_err(|error| Error::General(error.to_string()))?;
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::<Check>::clone(check));
        let mut config = match &self.own {
            Some(own) => builder.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(own)),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        ClientConnection::new(Arc::new(config), name)
    }

    /// Whether the certificate is one that is trusted.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.pins.is_empty() {
            let is_pinned = self.pins.contains(&Fingerprint::of(certificate));
            return match is_pinned {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(CertificateError::ApplicationVerificationFailure.into()),
            };
        }
        // `openssl req -x509` makes a certificate of an authority, which webpki does not take for a server's.
        if self.certificates.contains(certificate) {
            verify_dates(certificate, now)?;
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(certificate, chain, name, &[], now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    /// Why there is no connection, and what to do.
    pub fn words(&self, error: &Error, certificate: Option<&CertificateDer<'_>>) -> String {
        let fingerprint = certificate.map_or_else(String::new, |der| Fingerprint::of(der).to_string());
        match error {
            Error::InvalidCertificate(problem) => bad_certificate(problem, &fingerprint),
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                "it asks for a certificate of yours; use --cert FILE and --key FILE".to_owned()
            }
            Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
                format!("it speaks no TLS that chatc speaks, which is 1.2 and 1.3 ({error})")
            }
            Error::AlertReceived(alert) if self.own.is_some() => {
                format!("it refuses you with your certificate ({alert:?}); ask who runs it")
            }
            Error::AlertReceived(alert) => format!("it refuses TLS ({alert:?}); ask who runs it"),
            _ => format!("TLS with it fails: {error}"),
        }
    }
}

/// Why a certificate is not trusted, and what to do.
fn bad_certificate(problem: &CertificateError, fingerprint: &str) -> String {
    let pin = format!("--pin {fingerprint} if this fingerprint is the server's");
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "its certificate expired on {}; ask who runs it to renew it, or use {pin}",
                day(*not_after)
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "its certificate is valid from {} on; is the clock of this machine right?",
                day(*not_before)
            )
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("its certificate is for {}; connect by such a name, or use {pin}", names(presented))
        }
        // An authority may have the name of another one, and a server the certificate of an authority.
        CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
            format!("nobody whom you trust vouches for its certificate; use --ca FILE, or {pin}")
        }
        CertificateError::ApplicationVerificationFailure => {
            format!("its certificate has the fingerprint {fingerprint}, not that of --pin; ask who runs it")
        }
        other => format!("its certificate does not count ({other}); ask who runs it, or use {pin}"),
    }
}

/// The names in a certificate, as rustls writes them: `DnsName("chat.example.org")`.
fn names(presented: &[String]) -> String {
    let inner = |name: &String| name.split(['(', ')']).nth(1).unwrap_or(name).trim_matches('"').to_owned();
    match presented.iter().take(SHOWN_NAMES).map(inner).collect::<Vec<_>>() {
        none if none.is_empty() => "no name at all".to_owned(),
        shown if shown.len() < presented.len() => format!("{} and others", shown.join(", ")),
        shown => shown.join(", "),
    }
}

/// The day in UTC.
fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|time| jiff::Timestamp::from_second(time).ok());
    time.map_or_else(|| "a day that no calendar has".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn verify_dates(certificate: &CertificateDer<'_>, time: UnixTime) -> Result<(), CertificateError> {
    let validity = validity(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let [not_before, not_after] = [validity.0, validity.1].map(|time| {
        UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().try_into().unwrap_or_default()))
    });
    match time {
        time if time < not_before => Err(CertificateError::NotValidYetContext { time, not_before }),
        time if time > not_after => Err(CertificateError::ExpiredContext { time, not_after }),
        _ => Ok(()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads the file that an option names, and takes something from it.
fn take<T>(option: &str, path: &Path, what: impl FnOnce(&Content) -> Result<T, String>) -> Result<T, String> {
    let taken = match File::open(path).and_then(|file| Content::read(&file)) {
        Ok(content) => what(&content),
        Err(error) => Err(match error.kind() {
            ErrorKind::FileTooLarge => TOO_LARGE.to_owned(),
            ErrorKind::IsADirectory => "is a directory; write the path of the file in it".to_owned(),
            ErrorKind::NotFound => "does not exist; correct the path".to_owned(),
            _ => format!("cannot be read: {error}"),
        }),
    };
    taken.map_err(|problem| format!("{option} {} {problem}", path.display()))
}

/// Says why a certificate and its key cannot be shown to a server.
fn unusable(error: &Error, cert: &Path, key: &Path) -> String {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => {
            format!("--key {key} is not the key of {cert}; write the one that belongs to it")
        }
        Error::InvalidCertificate(_) if error.to_string().contains("UnsupportedCertVersion") => {
            format!(
                "--cert {cert} has the old form X.509 version 1; have it signed again, with -extfile of openssl"
            )
        }
        Error::InvalidCertificate(_) => format!("--cert {cert} is damaged: {error}; copy it again"),
        _ => format!("--key {key} has a key that cannot be used: {error}; {KEYS_TAKEN}"),
    }
}

/// What checks the certificate of one server.
#[derive(Debug)]
pub struct Check {
    trust: Arc<Trust>,
    /// What the server has shown.
    pub certificate: OnceLock<CertificateDer<'static>>,
}

impl Check {
    /// Has seen nothing yet.
    pub fn by(trust: &Arc<Trust>) -> Self {
        Self { trust: Arc::clone(trust), certificate: OnceLock::new() }
    }
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let _ = self.certificate.set(certificate.clone().into_owned());
        self.trust.verify(certificate, chain, name, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_with_colons_or_without() {
        let shown = format!("sha256:{}", "0a".repeat(32));
        let with_colons = format!("sha256:{}", vec!["0A"; 32].join(":"));
        for text in [&shown, &with_colons] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), shown);
        }
        let too_long = "0a".repeat(33);
        for text in
            ["", "sha256:", "sha1:0a", &shown[7..], &shown[..70], &shown[..69], &format!("sha256:{too_long}")]
        {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
        for wrong in ["+a", "é", "0g"] {
            let text = format!("sha256:{}{}", "0a".repeat(31), wrong);
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_a_certificate() {
        let of_nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Fingerprint::of(b"").to_string(), of_nothing);
    }

    #[test]
    fn by_default_nobody_is_trusted() {
        let name = ServerName::try_from("localhost").unwrap();
        let verified = Trust::default().verify(&CertificateDer::from(vec![0]), &[], &name, UnixTime::now());
        assert!(verified.is_err());
    }

    #[test]
    fn names_of_a_certificate_are_listed_and_not_all_of_many() {
        let presented =
            |names: &[&str]| names.iter().map(|name| format!("DnsName(\"{name}\")")).collect::<Vec<_>>();
        assert_eq!(names(&[]), "no name at all");
        assert_eq!(names(&presented(&["a", "b"])), "a, b");
        assert_eq!(names(&presented(&["a"; SHOWN_NAMES + 1])), "a, a, a, a, a and others");
        assert_eq!(names(&["IpAddress(::1)".to_owned(), "DirectoryName".to_owned()]), "::1, DirectoryName");
    }
}
