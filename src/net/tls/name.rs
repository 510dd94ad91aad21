//! The name that the certificate of a client gives it: the common name (CN) of its subject.

use rustls::pki_types::CertificateDer;

use crate::certificate::common_names;
use crate::protocol::{Name, NameError, NoName};

/// Returns the name in a certificate, which has to be verified already.
///
/// # Errors
/// Why it gives no name.
pub fn name_of(certificate: &CertificateDer<'_>) -> Result<Name, NoName> {
    match common_names(certificate).map_err(|_| NoName::Unreadable)?.as_slice() {
        [] => Err(NoName::NoCommonName),
        [name] => parse(name.as_deref().ok_or(NoName::Unreadable)?),
        // Clients could choose between them, and an authority may have looked at one alone.
        _ => Err(NoName::SeveralCommonNames),
    }
}

/// Returns a name that keeps all rules of `/nick`, and that chatd gives to no user of this machine without a login name.
///
/// # Errors
/// The first rule that it breaks.
fn parse(text: &str) -> Result<Name, NoName> {
    let name = Name::parse(text).map_err(NoName::Bad)?;
    let is_number = Name::login(name.as_str()) == Err(NameError::Reserved);
    if is_number { Err(NoName::Bad(NameError::Reserved)) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn with(subject: &[(DnType, DnValue)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn called(name: &str) -> Result<Name, NoName> {
        name_of(&with(&[(DnType::CommonName, DnValue::Utf8String(name.to_owned()))]))
    }

    #[test]
    fn the_common_name_is_the_name() {
        for name in ["ann", "Zoë", "алиса", "bob-2"] {
            assert_eq!(called(name).unwrap().as_str(), name);
        }
        assert_eq!(called("Zoe\u{308}").unwrap().as_str(), "Zo\u{eb}", "NFC");
        let printable = DnValue::PrintableString("ann".try_into().unwrap());
        let organization = (DnType::OrganizationName, DnValue::Utf8String("eve".to_owned()));
        let ann = with(&[organization.clone(), (DnType::CommonName, printable)]);
        assert_eq!(name_of(&ann).unwrap().as_str(), "ann");
        assert_eq!(name_of(&with(&[organization])), Err(NoName::NoCommonName));
        assert_eq!(name_of(&with(&[])), Err(NoName::NoCommonName));
    }

    #[test]
    fn a_common_name_keeps_the_rules_of_names() {
        for (name, error) in [
            ("", NameError::Empty),
            ("Ann Smith", NameError::BadCharacter),
            ("ann@example.com", NameError::BadCharacter),
            ("ann\0.example.com", NameError::BadCharacter),
            ("+ann", NameError::BadCharacter),
            ("<ann>", NameError::BadCharacter),
            ("ann\n-!- chatd", NameError::BadCharacter),
            ("\u{202e}nna", NameError::BadCharacter),
            ("_apt", NameError::BadStart),
            ("a.very.long.name.of.somebody", NameError::TooLong),
            ("pаypal", NameError::MixedScripts),
            ("guest7", NameError::Reserved),
            ("chatd", NameError::Reserved),
            ("uid1000", NameError::Reserved),
            ("UID0", NameError::Reserved),
        ] {
            assert_eq!(called(name), Err(NoName::Bad(error)), "{name:?}");
        }
    }

    #[test]
    fn of_several_common_names_none_counts() {
        // rcgen writes each type once, so this one is made by hand: the name of another type of the same length.
        let other = DnType::CustomDnType(vec![2, 5, 4, 4]);
        let text = |name: &str| DnValue::Utf8String(name.to_owned());
        let one = with(&[(DnType::CommonName, text("ann")), (other, text("eve"))]);
        assert_eq!(name_of(&one).unwrap().as_str(), "ann");
        let both: Vec<u8> = replaced(&one, &[6, 3, 0x55, 4, 4], &[6, 3, 0x55, 4, 3]);
        assert_eq!(name_of(&both.into()), Err(NoName::SeveralCommonNames));
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
        bytes
    }

    #[test]
    fn what_cannot_be_read_gives_no_name() {
        let ann = with(&[(DnType::CommonName, DnValue::Utf8String("ann".to_owned()))]);
        for end in 0..ann.len() {
            assert_eq!(name_of(&ann[..end].into()), Err(NoName::Unreadable), "{end} bytes");
        }
        let latin = replaced(&ann, b"\x0c\x03ann", b"\x0c\x03an\xff");
        assert_eq!(name_of(&latin.into()), Err(NoName::Unreadable));
        let old = DnValue::BmpString("ann".try_into().unwrap());
        assert_eq!(name_of(&with(&[(DnType::CommonName, old)])), Err(NoName::Unreadable));
    }
}
