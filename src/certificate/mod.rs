//! Certificates (X.509) and keys: what they say of themselves, and in [`pem`] what is in a file of them.
//!
//! Pure functions, but for the file that [`pem::Content::read`] is given. All of chatd and chatc reads certificates here.
//! Whether a certificate is to be trusted is a question for rustls.

pub mod pem;

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_cert::attr::AttributeValue;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::{Certificate, Version};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The type of a common name (X.520, 6.2.2).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// The seconds of a day.
const DAY: i64 = 24 * 3600;
/// Which keys can be used.
pub const KEYS_TAKEN: &str = "use ECDSA (P-256 or P-384), Ed25519, or RSA with 2048 to 4096 bits";

/// How many bits the modulus of an RSA key may have.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a certificate says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The first moment at which it holds.
    pub begins: Timestamp,
    /// The first moment at which it does not hold any more.
    pub ends: Timestamp,
    /// The names and addresses that it is for (subjectAltName).
    pub names: Vec<String>,
    /// The name of its owner, as bytes.
    pub subject: Vec<u8>,
    /// The name of who has signed it, as bytes.
    pub issuer: Vec<u8>,
    /// Its public key, as bytes.
    pub public_key: Vec<u8>,
    /// The kind of the key, if it cannot be used.
    pub unusable_key: Option<String>,
    /// It may sign others.
    pub is_authority: bool,
    /// It has the form that X.509 had before version 3, which has no extensions.
    pub is_old: bool,
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// A message without the file.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let broken = |error| format!("has a certificate that cannot be read: {error}");
        let certificate = Certificate::from_der(der).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        // One that says nothing of it is none; so is one of version 1, except that those who trust it may say so.
        let constraints = body.get::<BasicConstraints>().map_err(broken)?;
        let is_authority = constraints.map_or(body.subject == body.issuer, |(_, constraints)| constraints.ca);
        let (begins, ends) = validity_of(&certificate);
        Ok(Self {
            begins,
            ends,
            names: names(&certificate).map_err(broken)?,
            subject: body.subject.to_der().map_err(broken)?,
            issuer: body.issuer.to_der().map_err(broken)?,
            public_key: body.subject_public_key_info.to_der().map_err(broken)?,
            unusable_key: unusable(&body.subject_public_key_info),
            is_authority,
            is_old: body.version != Version::V3,
        })
    }

    /// Returns whether it is for this machine: one of its names is `host`, or begins with it.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let domain = host.split_once('.').map(|(_, domain)| domain);
        self.names.iter().map(|name| name.to_ascii_lowercase()).any(|name| match name.strip_prefix("*.") {
            // The machine may not know its domain.
            Some(of) => domain.is_none_or(|domain| domain == of),
            None => name == host || name.split('.').next() == Some(host.as_str()),
        })
    }
}

/// Returns the first moment at which a certificate holds, and the first at which it does not hold any more.
///
/// # Errors
/// It cannot be read.
pub fn validity(der: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), der::Error> {
    Certificate::from_der(der).map(|certificate| validity_of(&certificate))
}

fn validity_of(certificate: &Certificate) -> (Timestamp, Timestamp) {
    let time = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    };
    let validity = &certificate.tbs_certificate.validity;
    (time(validity.not_before), time(validity.not_after))
}

/// Returns in how many days a certificate ends, rounded down; less than 0 if it has ended.
pub fn days_left(ends: Timestamp, now: Timestamp) -> i64 {
    (ends.as_second() - now.as_second()).div_euclid(DAY)
}

/// Returns the common names (CN) of the owner of a certificate; `None` for one in an encoding that new certificates must
/// not have (RFC 5280, 4.1.2.4), or that is not in the one that it claims.
///
/// # Errors
/// It cannot be read.
pub fn common_names(der: &CertificateDer<'_>) -> Result<Vec<Option<String>>, der::Error> {
    let certificate = Certificate::from_der(der)?;
    let attributes = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let names = attributes.filter(|one| one.oid == COMMON_NAME).map(|one| text_of(&one.value));
    Ok(names.map(|name| name.map(str::to_owned)).collect())
}

fn text_of(value: &AttributeValue) -> Option<&str> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString => std::str::from_utf8(value.value()).ok(),
        _ => None,
    }
}

fn names(certificate: &Certificate) -> Result<Vec<String>, der::Error> {
    let Some((_, SubjectAltName(names))) = certificate.tbs_certificate.get::<SubjectAltName>()? else {
        return Ok(Vec::new());
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    };
    Ok(names.iter().filter_map(name).collect())
}

/// Returns the kind of a key that cannot be used; `None` for one that can.
fn unusable(key: &SubjectPublicKeyInfoOwned) -> Option<String> {
    let curve = || key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok();
    match key.algorithm.oid {
        RSA => match rsa_bits(key.subject_public_key.as_bytes()?) {
            Some(bits) if RSA_BITS.contains(&bits) => None,
            Some(bits) => Some(format!("RSA with {bits} bits")),
            None => Some("a damaged RSA key".to_owned()),
        },
        EC => match curve() {
            Some(P256 | P384) => None,
            Some(P521) => Some("ECDSA P-521".to_owned()),
            curve => {
                Some(format!("ECDSA with the curve {}", curve.map_or("?".to_owned(), |oid| oid.to_string())))
            }
        },
        ED25519 => None,
        DSA => Some("DSA".to_owned()),
        ED448 => Some("Ed448".to_owned()),
        other => Some(other.to_string()),
    }
}

/// Returns the number of bits of the modulus of an RSA key (RFC 8017, A.1.1).
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader
        .sequence(|fields| {
            let modulus = fields.decode::<UintRef<'_>>()?;
            fields.decode::<UintRef<'_>>()?;
            Ok(modulus)
        })
        .ok()?;
    let bytes = modulus.as_bytes();
    Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize)
}
