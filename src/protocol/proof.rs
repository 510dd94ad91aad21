//! Proofs: how chatd knows who somebody is, and why a certificate can give no name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::NameError;

/// What proves a verified name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The kernel says which user of this machine is at the other end of a unix socket.
    Kernel,
    /// The client has shown a certificate that an authority of the configuration has signed.
    Certificate,
}

/// Writes whom it proves, for people.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "a user of this machine",
            Self::Certificate => "somebody with a certificate",
        })
    }
}

/// Why a certificate gives its client no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoName {
    /// Its subject cannot be read.
    Unreadable,
    /// Its subject has no common name.
    NoCommonName,
    /// Its subject has several common names.
    SeveralCommonNames,
    /// Its common name cannot be a name.
    #[serde(untagged)]
    Bad(NameError),
}

/// Writes the rule, without anything that the certificate says.
impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("its subject cannot be read"),
            Self::NoCommonName => f.write_str("its subject has no common name (CN)"),
            Self::SeveralCommonNames => f.write_str("its subject has several common names (CN)"),
            Self::Bad(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_one_word_and_is_read_again() {
        for (reason, word) in [
            (NoName::Unreadable, "\"unreadable\""),
            (NoName::NoCommonName, "\"no_common_name\""),
            (NoName::SeveralCommonNames, "\"several_common_names\""),
            (NoName::Bad(NameError::BadCharacter), "\"bad_character\""),
            (NoName::Bad(NameError::Reserved), "\"reserved\""),
        ] {
            assert_eq!(serde_json::to_string(&reason).unwrap(), word);
            assert_eq!(serde_json::from_str::<NoName>(word).unwrap(), reason);
        }
    }
}
