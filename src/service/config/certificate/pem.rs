//! Files in PEM: what is in them, and what is wrong with them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::is_hidden;
use crate::service::config::tls::Material;

/// The largest file that is read, in bytes. All authorities of an operating system are in 250 KiB.
const MAX_FILE: u64 = 1 << 20;
/// What a file in PEM has before each part.
const BEGIN: &str = "-----BEGIN ";
/// The first byte of a certificate or key that is not in PEM.
const DER: u8 = 0x30;

/// What is in a file.
pub(super) struct Content {
    /// The file.
    pub path: PathBuf,
    /// Anybody on this machine can read it.
    pub is_exposed: bool,
    text: Vec<u8>,
}

/// Reads a file. `folder` is that of the credentials.
///
/// # Errors
/// A message without the key.
pub(super) fn read(material: &Material, folder: Option<&Path>) -> Result<Content, String> {
    let Some(path) = material.path(folder) else {
        return Err("there are no credentials here, because systemd has passed none; \
                    add LoadCredential= to chatd.service, or write a path"
            .to_owned());
    };
    let content = read_file(&path).map_err(|error| unreadable(&error, &path, material))?;
    if content.text.len() as u64 > MAX_FILE {
        return Err(content.is("is larger than 1MiB; is it a certificate or a key?"));
    }
    Ok(content)
}

fn read_file(path: &Path) -> io::Result<Content> {
    let mut text = Vec::new();
    // A pipe would never end.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    Ok(Content { path: path.to_owned(), is_exposed: about.is_file() && about.mode() & 0o004 != 0, text })
}

pub(super) fn unreadable(error: &io::Error, path: &Path, material: &Material) -> String {
    let shown = path.display();
    let remedy = match (error.kind(), material) {
        (io::ErrorKind::IsADirectory, _) => {
            return format!("\"{shown}\" is a directory; name the file in it");
        }
        (io::ErrorKind::NotFound, Material::Credential(name)) => {
            format!("add LoadCredential={name}:FILE to chatd.service, and restart chatd")
        }
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, _) if is_hidden(path) => {
            "correct the path; chatd.service sees no files in /home, /root and /tmp, so pass one there with \
             LoadCredential="
                .to_owned()
        }
        (io::ErrorKind::NotFound, _) => "correct the path".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => {
            "chatd.service has a user of its own (DynamicUser=); pass it with LoadCredential=".to_owned()
        }
        _ => "make it readable for the user that runs chatd".to_owned(),
    };
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("\"{shown}\" cannot be read: {text}; {remedy}")
}

impl Content {
    /// Returns one with this text.
    #[cfg(test)]
    pub(super) fn of(path: &str, text: &str) -> Self {
        Self { path: path.into(), is_exposed: false, text: text.as_bytes().to_vec() }
    }

    /// Returns a message about the file.
    pub(super) fn is(&self, what: &str) -> String {
        format!("\"{}\" {what}", self.path.display())
    }

    /// Returns what kinds of parts it has.
    fn kinds(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.text);
        let kind = |line: &str| Some(line.trim().strip_prefix(BEGIN)?.strip_suffix("-----")?.to_owned());
        text.lines().filter_map(kind).collect()
    }

    fn has_key(&self) -> bool {
        self.kinds().iter().any(|kind| kind.ends_with("PRIVATE KEY"))
    }

    /// Returns the certificates, at least one.
    ///
    /// # Errors
    /// A message without the key of the configuration.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let all = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|error| self.is(&format!("is damaged: {}", said(&error))))?;
        let kinds = self.kinds();
        let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        if !all.is_empty() {
            return Ok(all);
        }
        Err(match () {
            () if self.has_key() => {
                self.is("has a key in the place of a certificate; write the file of the certificate here")
            }
            () if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") => self
                .is("has a request for a certificate; have an authority sign it, and use what it sends back"),
            () if has("PUBLIC KEY") => self.is("has a public key in the place of a certificate"),
            () => self.has_no("certificate", "CERTIFICATE", "x509"),
        })
    }

    /// Returns the key.
    ///
    /// # Errors
    /// A message without the key of the configuration.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let kinds = self.kinds();
        let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        let is_encrypted = has("ENCRYPTED PRIVATE KEY")
            || memchr::memmem::find(&self.text, b"Proc-Type: 4,ENCRYPTED").is_some();
        if is_encrypted {
            let remedy = "take the password away with: openssl pkey -in FILE -out FILE.new";
            return Err(
                self.is(&format!("has an encrypted key, and chatd asks nobody for a password; {remedy}"))
            );
        }
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(_) if has("CERTIFICATE") && !self.has_key() => {
                Err(self.is("has a certificate in the place of a key; write the file of the key here"))
            }
            Err(_) if has("DSA PRIVATE KEY") => {
                Err(self
                    .is(&format!("has a key of a kind that chatd cannot use, DSA; {}", super::KEYS_TAKEN)))
            }
            Err(_) if has("OPENSSH PRIVATE KEY") => {
                Err(self.is("has a key of ssh; TLS needs one of its own"))
            }
            Err(_) if has("PUBLIC KEY") => Err(self.is("has a public key; TLS needs the private one")),
            Err(rustls::pki_types::pem::Error::NoItemsFound) => {
                Err(self.has_no("key", "PRIVATE KEY", "pkey"))
            }
            Err(error) => Err(self.is(&format!("is damaged: {}", said(&error)))),
        }
    }

    /// Returns a message about a file that has no such thing in PEM. `tool` is what openssl converts it with.
    fn has_no(&self, what: &str, label: &str, tool: &str) -> String {
        match self.text.first() {
            None => self.is("is empty"),
            Some(&DER) => {
                self.is(&format!("is not PEM but DER; convert it with: openssl {tool} -inform DER"))
            }
            Some(_) => self.is(&format!("has no {what} in PEM ({BEGIN}{label}-----)")),
        }
    }
}

/// Returns the words of an error without those of Rust.
fn said(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "the line -----END is missing; copy all of it",
        Error::Base64Decode(_) => "what is between its lines is no base64; copy it again",
        _ => "it is no PEM; copy it again",
    }
}
