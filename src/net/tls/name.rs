//! The name that the certificate of a client gives it.

use rustls::pki_types::CertificateDer;

use crate::protocol::Name;

/// Returns the name in a certificate that has been verified; `None` if it has none that chatd takes.
pub fn name_of(_certificate: &CertificateDer<'_>) -> Option<Name> {
    None
}
