//! Files in PEM: what is in them, and what is wrong with them.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use memchr::memmem;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::KEYS_TAKEN;

/// The largest file that is read, in bytes. All authorities of an operating system are in 250 KiB.
const MAX_FILE: u64 = 1 << 20;
/// What a file in PEM has before each part.
const BEGIN: &str = "-----BEGIN ";
/// The first byte of a certificate or key that is not in PEM.
const DER: u8 = 0x30;

/// What is wrong with a key that has a password.
const ENCRYPTED: &str = "has an encrypted key, and nobody is asked for its password; \
                         take the password away with: openssl pkey -in FILE -out FILE.new";
/// What is wrong with a file that has more than is read.
pub const TOO_LARGE: &str = "is larger than 1MiB; is it a certificate or a key?";

/// What is in a file. What is wrong with it is said in words that follow its name.
#[derive(Debug, Default)]
pub struct Content {
    /// Anybody on this machine can read it.
    pub is_exposed: bool,
    text: Vec<u8>,
}

impl Content {
    /// Reads a file.
    ///
    /// # Errors
    /// `FileTooLarge`; otherwise the kernel's.
    pub fn read(file: &File) -> io::Result<Self> {
        let (about, mut text) = (file.metadata()?, Vec::new());
        file.take(MAX_FILE + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(Self { is_exposed: about.is_file() && about.mode() & 0o004 != 0, text })
    }

    /// Returns all of it.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Returns one with this text.
    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        Self { is_exposed: false, text: text.as_bytes().to_vec() }
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
    /// What is wrong with the file.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let all = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|error| format!("is damaged: {}", said(&error)))?;
        let kinds = self.kinds();
        let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        if !all.is_empty() {
            return Ok(all);
        }
        Err(match () {
            () if self.has_key() => {
                "has a key in the place of a certificate; write the file of the certificate here".to_owned()
            }
            () if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") => {
                "has a request for a certificate; have an authority sign it, and use what it sends back"
                    .to_owned()
            }
            () if has("PUBLIC KEY") => "has a public key in the place of a certificate".to_owned(),
            () => self.has_no("certificate", "CERTIFICATE", "x509"),
        })
    }

    /// Returns the key.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let kinds = self.kinds();
        let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        if has("ENCRYPTED PRIVATE KEY") || memmem::find(&self.text, b"Proc-Type: 4,ENCRYPTED").is_some() {
            return Err(ENCRYPTED.to_owned());
        }
        let error = match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        Err(match error {
            _ if has("CERTIFICATE") && !self.has_key() => {
                "has a certificate in the place of a key; write the file of the key here".to_owned()
            }
            _ if has("DSA PRIVATE KEY") => {
                format!("has a key of a kind that cannot be used, DSA; {KEYS_TAKEN}")
            }
            _ if has("OPENSSH PRIVATE KEY") => "has a key of ssh; TLS needs one of its own".to_owned(),
            _ if has("PUBLIC KEY") => "has a public key; TLS needs the private one".to_owned(),
            PemError::NoItemsFound => self.has_no("key", "PRIVATE KEY", "pkey"),
            error => format!("is damaged: {}", said(&error)),
        })
    }

    /// Returns what is wrong with a file that has no such thing in PEM. `tool` is what openssl converts it with.
    fn has_no(&self, what: &str, label: &str, tool: &str) -> String {
        match self.text.first() {
            None => "is empty".to_owned(),
            Some(&DER) => format!("is not PEM but DER; convert it with: openssl {tool} -inform DER"),
            Some(_) => format!("has no {what} in PEM ({BEGIN}{label}-----)"),
        }
    }
}

/// Returns the words of an error without those of Rust.
fn said(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "the line -----END is missing; copy all of it",
        PemError::Base64Decode(_) => "what is between its lines is no base64; copy it again",
        _ => "it is no PEM; copy it again",
    }
}
