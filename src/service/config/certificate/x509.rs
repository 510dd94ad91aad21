//! What a certificate says of itself.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
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

/// How many bits the modulus of an RSA key may have.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a certificate says of itself.
#[derive(Debug, Clone)]
pub(super) struct Facts {
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
    /// The kind of the key, if chatd cannot use it.
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
    pub(super) fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let broken = |error| format!("has a certificate that cannot be read: {error}");
        let certificate = Certificate::from_der(der).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        // One that says nothing of it is none; so is one of version 1, except that those who trust it may say so.
        let constraints = body.get::<BasicConstraints>().map_err(broken)?;
        let is_authority = constraints.map_or(body.subject == body.issuer, |(_, constraints)| constraints.ca);
        Ok(Self {
            begins: time(body.validity.not_before),
            ends: time(body.validity.not_after),
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
    pub(super) fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let domain = host.split_once('.').map(|(_, domain)| domain);
        self.names.iter().map(|name| name.to_ascii_lowercase()).any(|name| match name.strip_prefix("*.") {
            // The machine may not know its domain.
            Some(of) => domain.is_none_or(|domain| domain == of),
            None => name == host || name.split('.').next() == Some(host.as_str()),
        })
    }
}

fn names(certificate: &Certificate) -> Result<Vec<String>, x509_cert::der::Error> {
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

/// Returns the kind of a key that chatd cannot use; `None` for one that it can.
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
