//! The values of TLS: where certificates and keys are, and what is asked of clients and listeners.
//!
//! Nothing here opens a file: [`super::certificate`] does.

use std::path::{Path, PathBuf};

use toml::Value;

use super::value::{Setting, Word, is_not, quoted};
use crate::net::tls::Mode;

/// The longest path, in bytes: PATH_MAX.
const MAX_PATH: usize = 4096;
/// What comes before the name of a credential.
const CREDENTIAL: &str = "credential:";
/// The longest name of a credential that systemd takes, in bytes.
const MAX_CREDENTIAL: usize = 255;

/// Where a certificate or a key is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Material {
    /// Nowhere: there is none.
    #[default]
    None,
    /// In a file, by its absolute path.
    File(PathBuf),
    /// In a credential of systemd, by its name (LoadCredential=).
    Credential(String),
}

impl Material {
    /// Returns whether there is one.
    pub fn is_some(&self) -> bool {
        *self != Self::None
    }

    /// Returns its file; `folder` is that of the credentials. `None` if there is none, or no folder for it.
    pub fn path(&self, folder: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::File(path) => Some(path.clone()),
            Self::Credential(name) => Some(folder?.join(name)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::File(path) => path.display().to_string(),
            Self::Credential(name) => format!("{CREDENTIAL}{name}"),
        }
    }
}

/// An absolute path, or a credential; the empty text is none.
impl Setting for Material {
    const KIND: &'static str = "a file; write its path from /, or credential:NAME";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        let is_wrong = |text: &str, most| text.contains(char::is_control) || text.len() > most;
        if text.is_empty() {
            return Ok(Self::None);
        }
        if let Some(name) = text.strip_prefix(CREDENTIAL) {
            if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', ':']) {
                return Err(format!("{} has no name of a credential; see LoadCredential=", quoted(text)));
            }
            return if is_wrong(name, MAX_CREDENTIAL) {
                Err(is_not::<Self>(value))
            } else {
                Ok(Self::Credential(name.to_owned()))
            };
        }
        if text.starts_with("-----BEGIN") {
            return Err("this is the content of a file; write the path of the file".to_owned());
        }
        if !text.starts_with('/') {
            return Err(format!("{} is no path from /; write it in full, or credential:NAME", quoted(text)));
        }
        if is_wrong(text, MAX_PATH) {
            return Err(is_not::<Self>(value));
        }
        Ok(Self::File(text.into()))
    }

    fn to_toml(&self) -> Value {
        self.text().into()
    }
}

/// Whether a TLS client needs a certificate of `tls_client_ca`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Without one it is a guest.
    Optional,
    /// Without one it cannot connect.
    Required,
}

impl Word for ClientCertificates {
    const KIND: &'static str = "what is asked of clients; write optional or required";
    const WORDS: &'static [(&'static str, Self)] =
        &[("optional", Self::Optional), ("required", Self::Required)];
}

impl Word for Mode {
    const KIND: &'static str = "a way to speak TLS; write off, optional or required";
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Material, String> {
        Material::read(&text.into())
    }

    #[test]
    fn a_certificate_is_in_a_file_or_a_credential_or_nowhere() {
        for text in ["", "/etc/chatd/tls/cert.pem", "credential:tls_cert"] {
            assert_eq!(read(text).unwrap().to_toml(), text.into());
        }
        let folder = Some(Path::new("/run/credentials/chatd.service"));
        let path = |text: &str, folder| read(text).unwrap().path(folder);
        assert_eq!(path("", folder), None);
        assert_eq!(path("/a", None), Some("/a".into()));
        assert_eq!(path("credential:a", folder), Some("/run/credentials/chatd.service/a".into()));
        assert_eq!(path("credential:a", None), None);
    }

    #[test]
    fn what_is_no_file_is_refused_with_a_remedy() {
        let credential = "has no name of a credential; see LoadCredential=";
        for (text, problem) in [
            ("cert.pem", "\"cert.pem\" is no path from /; write it in full, or credential:NAME"),
            ("-----BEGIN CERTIFICATE-----", "this is the content of a file; write the path of the file"),
            ("credential:", &format!("\"credential:\" {credential}")),
            ("credential:a/b", &format!("\"credential:a/b\" {credential}")),
            ("credential:..", &format!("\"credential:..\" {credential}")),
            ("/a\nb", "\"/a\\nb\" is not a file; write its path from /, or credential:NAME"),
        ] {
            assert_eq!(read(text), Err(problem.to_owned()), "{text}");
        }
        assert!(read(&format!("credential:{}", "a".repeat(256))).is_err());
        assert!(read(&format!("/{}", "a".repeat(4096))).is_err());
        assert_eq!(
            Material::read(&7.into()),
            Err("\"7\" is not a file; write its path from /, or credential:NAME".to_owned())
        );
    }
}
