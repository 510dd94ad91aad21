//! The certificate that chatd shows, with its key: reads the files that the keys of TLS name, and checks all of them.
//!
//! Called by `load`, for `--check`, at the start and on each reload; it blocks. Each mistake is found here, with the key
//! to blame and a remedy. What rustls makes of the files is in [`tls::Identity`].

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::OFlags;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::listen::Listen;
use super::settings::Config;
use super::tls::{ClientCertificates, Material};
use crate::certificate::pem::{Content, TOO_LARGE};
use crate::certificate::{Facts, KEYS_TAKEN};
use crate::net::tls::{self, Mode};

/// The variable in which systemd names the folder of the credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The variable in which systemd gives ExecReload= the number of the main process.
const MAIN_PROCESS: &str = "MAINPID";
/// Why chatd refuses a certificate of the version that has no extensions.
const OLD: &str = "has the old form X.509 version 1, which clients refuse; get one with subjectAltName";

/// A certificate, as it was read.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What new connections need of it.
    pub identity: Arc<tls::Identity>,
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    facts: Facts,
    /// The certificate itself.
    der: CertificateDer<'static>,
    /// Anybody on this machine can read the key.
    exposed: Option<Problem>,
    /// systemd passes it, or its key, and reads the file only when chatd starts.
    is_credential: bool,
}

/// Two are equal if they show the same certificate.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        (&self.der, &self.path) == (&other.der, &other.path)
    }
}

/// Its file, whom it is for, and its end.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, names, ends) = (self.path.display(), self.facts.names.join(", "), date(self.facts.ends));
        write!(f, "TLS with the certificate in {path}, for {names}, until {ends}")
    }
}

/// A mistake, and the key to blame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    /// The name of the key.
    pub key: &'static str,
    /// The mistake, with a remedy.
    pub text: String,
}

/// Returns a mistake with this key.
pub(super) fn problem(key: &'static str, text: impl Into<String>) -> Problem {
    Problem { key, text: text.into() }
}

/// A file that a key of the configuration names, as it was read.
pub(super) struct Source {
    /// The name of the key.
    key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
}

impl Source {
    /// Reads it. `folder` is that of the credentials.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(key: &'static str, material: &Material, folder: Option<&Path>) -> Result<Self, Problem> {
        let Some(path) = material.path(folder) else {
            let text = "there are no credentials here, because systemd has passed none; \
                        add LoadCredential= to chatd.service, or write a path";
            return Err(problem(key, text));
        };
        // A pipe would never end.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(&path);
        match file.and_then(|file| Content::read(&file)) {
            Ok(content) => Ok(Self { key, path, content }),
            Err(error) => Err(problem(key, unreadable(&error, &path, material))),
        }
    }

    /// Returns a warning if anybody can read it.
    pub fn exposed(&self) -> Option<Problem> {
        let what = format!(
            "anybody on this machine can read \"{}\"; take that away with chmod o-r",
            self.path.display()
        );
        self.content.is_exposed.then(|| problem(self.key, what))
    }

    /// Returns a mistake in it.
    pub fn is(&self, what: &str) -> Problem {
        problem(self.key, format!("\"{}\" {what}", self.path.display()))
    }
}

fn unreadable(error: &io::Error, path: &Path, material: &Material) -> String {
    let shown = path.display();
    let remedy = match (error.kind(), material) {
        (ErrorKind::FileTooLarge, _) => return format!("\"{shown}\" {TOO_LARGE}"),
        (ErrorKind::IsADirectory, _) => return format!("\"{shown}\" is a directory; name the file in it"),
        (ErrorKind::NotFound, Material::Credential(name)) => {
            format!("add LoadCredential={name}:FILE to chatd.service, and restart chatd")
        }
        (ErrorKind::NotFound | ErrorKind::PermissionDenied, _) if is_hidden(path) => {
            "correct the path; chatd.service sees no files in /home, /root and /tmp, so pass one there with \
             LoadCredential="
                .to_owned()
        }
        (ErrorKind::NotFound, _) => "correct the path".to_owned(),
        (ErrorKind::PermissionDenied, _) => {
            "chatd.service has a user of its own (DynamicUser=); pass it with LoadCredential=".to_owned()
        }
        _ => "make it readable for the user that runs chatd".to_owned(),
    };
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("\"{shown}\" cannot be read: {text}; {remedy}")
}

impl Certificate {
    /// Reads what `config` names; `Ok(None)` if it names none. Does not look at the clock.
    ///
    /// # Errors
    /// The first mistake.
    pub(super) fn read(
        config: &Config,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, Problem> {
        ensure_keys_fit(config)?;
        if !config.tls_cert.is_some() {
            return Ok(None);
        }
        let folder = credentials(env);
        let read = |key, material: &Material| Source::read(key, material, folder.as_deref());
        let (certificates, keys) = (read("tls_cert", &config.tls_cert)?, read("tls_key", &config.tls_key)?);
        let chain = certificates.content.certificates().map_err(|what| certificates.is(&what))?;
        let key = keys.content.key().map_err(|what| keys.is(&what))?;
        let chain = sorted(chain, &key, &certificates, &keys)?;
        let facts = Facts::of(&chain[0]).map_err(|what| certificates.is(&what))?;
        if facts.is_old {
            return Err(certificates.is(OLD));
        }
        let client_authorities = match config.tls_client_ca.is_some() {
            true => authorities(&read("tls_client_ca", &config.tls_client_ca)?)?,
            false => Vec::new(),
        };
        let requires_client = config.tls_client == ClientCertificates::Required;
        let der = chain[0].clone();
        let not_after = facts.ends;
        let parts = tls::Parts { chain, key, not_after, client_authorities, requires_client };
        let identity = tls::Identity::new(parts).map_err(|error| certificates.is(&error.to_string()))?;
        let exposed = keys.exposed();
        let is_credential =
            [&config.tls_cert, &config.tls_key].iter().any(|one| matches!(one, Material::Credential(_)));
        let (identity, path) = (Arc::new(identity), certificates.path);
        Ok(Some(Self { identity, path, facts, der, exposed, is_credential }))
    }

    /// Returns when it ends.
    pub fn ends(&self) -> Timestamp {
        self.facts.ends
    }

    /// Returns what puts a new one in force.
    pub fn remedy(&self) -> &'static str {
        if self.is_credential { "renew it, and restart chatd" } else { "renew it, and reload chatd" }
    }

    /// Checks that it holds at `now`.
    ///
    /// # Errors
    /// It has ended, or not begun.
    pub(super) fn ensure_valid(&self, now: Timestamp) -> Result<(), Problem> {
        let path = self.path.display();
        let text = if now >= self.facts.ends {
            format!("\"{path}\" ended on {}; renew it", date(self.facts.ends))
        } else if now < self.facts.begins {
            format!(
                "\"{path}\" begins on {}; wait, or set the clock of this machine",
                date(self.facts.begins)
            )
        } else {
            return Ok(());
        };
        Err(problem("tls_cert", text))
    }

    /// Returns what should be mended, but makes nothing fail. `host` is the name of this machine.
    pub(super) fn warnings(&self, host: &str) -> Vec<Problem> {
        let path = self.path.display();
        let names = &self.facts.names;
        let name = if names.is_empty() {
            Some(format!("\"{path}\" is for no name (subjectAltName), so clients refuse it"))
        } else if !self.facts.is_for(host) {
            let names = names.join(", ");
            Some(format!(
                "\"{path}\" is for {names}, and this machine is {host}: clients must use one of the former"
            ))
        } else {
            None
        };
        self.exposed.clone().into_iter().chain(name.map(|text| problem("tls_cert", text))).collect()
    }
}

/// Returns the folder of the credentials; `None` if systemd has passed none.
///
/// A command of ExecReload= gets none: systemd 252 names the folder and lets nobody in, 257 does not name it. But it has
/// the user of the main process, and so the way that this one sees the file system.
pub(super) fn credentials(env: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = env(CREDENTIALS).map(PathBuf::from);
    let main = env(MAIN_PROCESS).and_then(|pid| pid.into_string().ok()?.parse::<u32>().ok());
    let Some(main) = main.filter(|_| own.as_ref().is_none_or(|own| fs::read_dir(own).is_err())) else {
        return own;
    };
    let main = Path::new("/proc").join(main.to_string());
    let folder = own.or_else(|| named_in(&fs::read(main.join("environ")).ok()?))?;
    Some(main.join("root").join(folder.strip_prefix("/").unwrap_or(&folder)))
}

/// Returns the folder of the credentials in the environment of a process (proc(5)).
fn named_in(environ: &[u8]) -> Option<PathBuf> {
    let value = |one: &[u8]| Some(one.strip_prefix(CREDENTIALS.as_bytes())?.strip_prefix(b"=")?.to_vec());
    Some(OsString::from_vec(environ.split(|byte| *byte == 0).find_map(value)?).into())
}

/// Returns the day of a time, in UTC.
fn date(time: Timestamp) -> String {
    time.strftime("%F").to_string()
}

/// Checks that no key of TLS misses another one.
fn ensure_keys_fit(config: &Config) -> Result<(), Problem> {
    let (has_certificate, has_key) = (config.tls_cert.is_some(), config.tls_key.is_some());
    let speaks = |listen: &&Listen| matches!(listen.tls, Some(Mode::Optional | Mode::Required));
    match (has_certificate, has_key) {
        (true, false) => return Err(problem("tls_cert", "there is no key for it; set tls_key as well")),
        (false, true) => {
            return Err(problem("tls_key", "there is no certificate for it; set tls_cert as well"));
        }
        _ => {}
    }
    if !has_certificate && let Some(listen) = config.listen.iter().find(speaks) {
        let text =
            format!("\"{}\" has tls, and there is no certificate; set tls_cert and tls_key", listen.address);
        return Err(problem("listen", text));
    }
    if !has_certificate && config.tls_client_ca.is_some() {
        return Err(problem("tls_client_ca", "does nothing without a certificate; set tls_cert and tls_key"));
    }
    if config.tls_client == ClientCertificates::Required && !config.tls_client_ca.is_some() {
        return Err(problem(
            "tls_client",
            "\"required\" needs the authorities of clients; set tls_client_ca",
        ));
    }
    Ok(())
}

/// Returns the chain in its order: first the certificate of the key, and after each certificate that of its issuer.
/// What is no part of the chain is left out.
fn sorted(
    mut chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    certificates: &Source,
    keys: &Source,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let facts = |der: &CertificateDer<'_>| Facts::of(der).map_err(|what| certificates.is(&what));
    let all = chain.iter().map(facts).collect::<Result<Vec<_>, _>>()?;
    let provider = rustls::crypto::ring::default_provider();
    let Ok(signing) = provider.key_provider.load_private_key(key.clone_key()) else {
        return Err(match all.iter().find_map(|facts| facts.unusable_key.as_ref()) {
            Some(kind) => {
                certificates.is(&format!("has a key of a kind that cannot be used, {kind}; {KEYS_TAKEN}"))
            }
            None => keys.is(&format!("has a key that cannot be used; {KEYS_TAKEN}")),
        });
    };
    let own = signing.public_key().map(|public| public.as_ref().to_vec());
    let fits = |facts: &Facts| own.as_ref().is_none_or(|own| *own == facts.public_key);
    let Some(first) = all.iter().position(fits) else {
        let path = certificates.path.display();
        let what =
            format!("is not the key of the certificate in \"{path}\"; write the one that belongs to it");
        return Err(keys.is(&what));
    };
    let mut order = vec![first];
    let mut last = first;
    while let Some(next) =
        (0..all.len()).find(|at| !order.contains(at) && all[*at].subject == all[last].issuer)
    {
        order.push(next);
        last = next;
    }
    Ok(order
        .into_iter()
        .map(|at| std::mem::replace(&mut chain[at], CertificateDer::from_slice(&[])))
        .collect())
}

/// Returns the certificates of the authorities of clients.
fn authorities(source: &Source) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let all = source.content.certificates().map_err(|what| source.is(&what))?;
    for one in &all {
        let facts = Facts::of(one).map_err(|what| source.is(&what))?;
        if !facts.is_authority {
            let what = "has the certificate of no authority, which signs others; write that of the authority";
            return Err(source.is(what));
        }
        RootCertStore::empty().add(one.clone()).map_err(|error| source.is(&error.to_string()))?;
    }
    Ok(all)
}

/// Returns whether a file is hidden from the service by its unit.
fn is_hidden(path: &Path) -> bool {
    ["/home", "/root", "/tmp", "/var/tmp", "/run/user"].iter().any(|hidden| path.starts_with(hidden))
}

/// Returns a certificate that ends on 2030-01-01, and the folder that it is in.
#[cfg(test)]
pub(crate) fn certificate_for_tests() -> (Certificate, crate::service::scratch::Scratch) {
    let folder = crate::service::scratch::Scratch::new();
    let made = tests::Made::new(&["chat.example.org"]);
    let config = made.write(&folder);
    (Certificate::read(&config, &|_| None).expect("it has no mistake").expect("it is set"), folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;
    use crate::service::scratch::Scratch;

    /// A certificate and its key, in PEM.
    pub(super) struct Made {
        certificate: String,
        key: String,
    }

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params
    }

    impl Made {
        pub(super) fn new(names: &[&str]) -> Self {
            let key = KeyPair::generate().unwrap();
            let certificate = params(names).self_signed(&key).unwrap();
            Self { certificate: certificate.pem(), key: key.serialize_pem() }
        }

        /// Writes both, and returns the configuration that names them.
        pub(super) fn write(&self, folder: &Scratch) -> Config {
            write(folder, &self.certificate, &self.key)
        }
    }

    fn secret(folder: &Scratch, name: &str, text: &[u8]) -> Material {
        let path = folder.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Material::File(path)
    }

    fn write(folder: &Scratch, certificate: &str, key: &str) -> Config {
        let tls_cert = secret(folder, "cert.pem", certificate.as_bytes());
        let tls_key = secret(folder, "key.pem", key.as_bytes());
        Config { tls_cert, tls_key, ..Config::default() }
    }

    fn read(config: &Config) -> Result<Option<Certificate>, Problem> {
        Certificate::read(config, &|_| None)
    }

    /// The mistake with these, with the names of files alone.
    #[track_caller]
    fn mistake(folder: &Scratch, config: &Config) -> String {
        let Problem { key, text } = read(config).expect_err("a mistake");
        format!("{key}: {text}").replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_certificate_is_read_with_its_key() {
        assert_eq!(read(&Config::default()), Ok(None));
        let (certificate, folder) = certificate_for_tests();
        let path = folder.file("cert.pem");
        let shown =
            format!("TLS with the certificate in {}, for chat.example.org, until 2030-01-01", path.display());
        assert_eq!(certificate.to_string(), shown);
        assert_eq!(certificate.identity.not_after, certificate.ends());
        let config = &certificate.identity.config;
        assert!(
            config.enable_secret_extraction
                && config.send_tls13_tickets == 0
                && !config.session_storage.can_cache()
        );
        let first = config.crypto_provider().cipher_suites[0].suite();
        assert_eq!(first, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }

    #[test]
    fn both_may_be_in_one_file_or_in_credentials() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let all = secret(&folder, "all.pem", format!("{}{}", made.key, made.certificate).as_bytes());
        assert!(read(&Config { tls_cert: all.clone(), tls_key: all, ..Config::default() }).is_ok());
        made.write(&folder);
        let credential = |name: &str| Material::Credential(name.to_owned());
        let config =
            Config { tls_cert: credential("cert.pem"), tls_key: credential("key.pem"), ..Config::default() };
        let env = |name: &str| (name == CREDENTIALS).then(|| folder.path().into());
        assert_eq!(
            Certificate::read(&config, &env).unwrap().unwrap().remedy(),
            "renew it, and restart chatd"
        );
        let none = "tls_cert: there are no credentials here, because systemd has passed none; \
                    add LoadCredential= to chatd.service, or write a path";
        assert_eq!(mistake(&folder, &config), none);
        let config = Config { tls_key: credential("k"), ..config };
        let missing = Certificate::read(&config, &env).unwrap_err().text;
        assert!(missing.ends_with(
            "no such file or directory; add LoadCredential=k:FILE to chatd.service, and restart chatd"
        ));
    }

    #[test]
    fn what_checks_at_a_reload_sees_the_credentials_of_the_main_process() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        made.write(&folder);
        let mut main = Command::new("cat");
        let main = main.stdin(Stdio::piped()).env(CREDENTIALS, folder.path());
        let mut main = main.spawn().unwrap();
        let env = |own: Option<&str>, pid: String| {
            let own = own.map(OsString::from);
            move |name: &str| match name {
                CREDENTIALS => own.clone(),
                MAIN_PROCESS => Some(pid.clone().into()),
                _ => None,
            }
        };
        let pid = main.id().to_string();
        // Its environment is there a moment after it runs.
        let has_environment =
            |bytes: Vec<u8>| bytes.windows(CREDENTIALS.len()).any(|at| at == CREDENTIALS.as_bytes());
        while !std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(has_environment) {
            std::thread::yield_now();
        }
        let seen = |folder: &str| Some(PathBuf::from(format!("/proc/{pid}/root{folder}")));
        // systemd 257, and 252.
        let folder = folder.path().to_str().unwrap();
        assert_eq!(credentials(&env(None, pid.clone())), seen(folder));
        assert!(seen(folder).unwrap().join("key.pem").exists());
        assert_eq!(credentials(&env(Some("/nonexistent/x"), pid.clone())), seen("/nonexistent/x"));
        assert_eq!(credentials(&env(Some(folder), pid.clone())), Some(folder.into()), "it sees them itself");
        assert_eq!(credentials(&env(None, "../1".to_owned())), None);
        assert_eq!(credentials(&|_| None), None);
        drop(main.stdin.take());
        main.wait().unwrap();
    }

    #[test]
    fn files_that_cannot_be_read_are_told_apart() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let good = made.write(&folder);
        let file = |path: PathBuf| Config { tls_cert: Material::File(path), ..good.clone() };
        assert_eq!(
            mistake(&folder, &file("/nonexistent".into())),
            "tls_cert: \"/nonexistent\" cannot be read: no such file or directory; correct the path"
        );
        assert_eq!(
            mistake(&folder, &file("/home/nobody/cert.pem".into())),
            "tls_cert: \"/home/nobody/cert.pem\" cannot be read: no such file or directory; correct the path; chatd.service sees no files in /home, /root and /tmp, so pass one there with LoadCredential="
        );
        let place = format!("\"{}\"", folder.path().display());
        assert_eq!(
            mistake(&folder, &file(folder.path().into())),
            format!("tls_cert: {place} is a directory; name the file in it")
        );
        assert!(
            mistake(&folder, &file("/dev/zero".into()))
                .ends_with("is larger than 1MiB; is it a certificate or a key?")
        );
        // Root may read everything, so the kernel's refusal is made up.
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(
            unreadable(&denied, Path::new("/etc/k"), &Material::File("/etc/k".into())),
            "\"/etc/k\" cannot be read: permission denied; chatd.service has a user of its own (DynamicUser=); pass it with LoadCredential="
        );
    }

    #[test]
    fn a_pipe_is_no_file_to_wait_for() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let pipe = folder.file("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let config = Config { tls_key: Material::File(pipe), ..made.write(&folder) };
        assert_eq!(mistake(&folder, &config), "tls_key: \"pipe\" is empty");
    }

    #[test]
    fn what_is_no_certificate_and_no_key_is_told_apart() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let Made { certificate, key } = &made;
        let damaged = certificate.replacen("MI", "!!", 1);
        let cut = &key[..key.len() / 2];
        let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        for (certificate, key, problem) in [
            (
                key,
                certificate,
                "tls_cert: \"cert.pem\" has a key in the place of a certificate; write the file of the certificate here",
            ),
            (
                certificate,
                certificate,
                "tls_key: \"key.pem\" has a certificate in the place of a key; write the file of the key here",
            ),
            (&String::new(), key, "tls_cert: \"cert.pem\" is empty"),
            (
                &"hello".to_owned(),
                key,
                "tls_cert: \"cert.pem\" has no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            ),
            (
                certificate,
                &"hello".to_owned(),
                "tls_key: \"key.pem\" has no key in PEM (-----BEGIN PRIVATE KEY-----)",
            ),
            (
                &"0\u{1}".to_owned(),
                key,
                "tls_cert: \"cert.pem\" is not PEM but DER; convert it with: openssl x509 -inform DER",
            ),
            (
                certificate,
                &"0\u{1}".to_owned(),
                "tls_key: \"key.pem\" is not PEM but DER; convert it with: openssl pkey -inform DER",
            ),
            (
                &request.to_owned(),
                key,
                "tls_cert: \"cert.pem\" has a request for a certificate; have an authority sign it, and use what it sends back",
            ),
            (
                &damaged,
                key,
                "tls_cert: \"cert.pem\" is damaged: what is between its lines is no base64; copy it again",
            ),
            (
                certificate,
                &cut.to_owned(),
                "tls_key: \"key.pem\" is damaged: the line -----END is missing; copy all of it",
            ),
        ] {
            assert_eq!(mistake(&folder, &write(&folder, certificate, key)), problem);
        }
        let encrypted = [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n",
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
        ];
        for key in encrypted {
            let text = "tls_key: \"key.pem\" has an encrypted key, and nobody is asked for its password; \
                        take the password away with: openssl pkey -in FILE -out FILE.new";
            assert_eq!(mistake(&folder, &write(&folder, certificate, key)), text);
        }
        let other = Made::new(&["x"]);
        assert_eq!(
            mistake(&folder, &write(&folder, certificate, &other.key)),
            "tls_key: \"key.pem\" is not the key of the certificate in \"cert.pem\"; write the one that belongs to it"
        );
    }

    #[test]
    fn keys_that_are_weak_or_of_an_unknown_kind_are_named() {
        const WEAK: [(&str, &str); 4] = [
            (include_str!("../../../tests/data/tls/rsa-1024.pem"), "RSA with 1024 bits"),
            (include_str!("../../../tests/data/tls/p-521.pem"), "ECDSA P-521"),
            (include_str!("../../../tests/data/tls/ed448.pem"), "Ed448"),
            (include_str!("../../../tests/data/tls/dsa.pem"), "DSA"),
        ];
        for (text, kind) in WEAK {
            let folder = Scratch::new();
            let config = write(&folder, text, text);
            let expected = format!(
                "tls_cert: \"cert.pem\" has a key of a kind that cannot be used, {kind}; {KEYS_TAKEN}"
            );
            assert_eq!(mistake(&folder, &config), expected);
        }
        const STRONG: [&str; 3] = [
            include_str!("../../../tests/data/tls/rsa-2048.pem"),
            include_str!("../../../tests/data/tls/p-384.pem"),
            include_str!("../../../tests/data/tls/ed25519.pem"),
        ];
        for text in STRONG {
            let folder = Scratch::new();
            assert!(read(&write(&folder, text, text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_certificate_without_extensions_is_refused_with_a_remedy() {
        let folder = Scratch::new();
        let text = include_str!("../../../tests/data/tls/version-1.pem");
        assert_eq!(mistake(&folder, &write(&folder, text, text)), format!("tls_cert: \"cert.pem\" {OLD}"));
    }

    #[test]
    fn a_chain_is_put_in_order() {
        let [root_key, middle_key, key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let authority = |name: &str| {
            let mut params = params(&[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let (root, middle) = (authority("root"), authority("middle"));
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let issuer = Issuer::new(root, root_key);
        let middle_pem = middle.signed_by(&middle_key, &issuer).unwrap().pem();
        let issuer = Issuer::new(middle, middle_key);
        let own_pem = params(&["chat.example.org"]).signed_by(&key, &issuer).unwrap().pem();
        let stranger = Made::new(&["other.example.org"]).certificate;
        let folder = Scratch::new();
        let order = |parts: [&String; 4]| {
            let text = parts.map(String::as_str).concat();
            let all = Content::of(&text).certificates().unwrap();
            let read = read(&write(&folder, &text, &key.serialize_pem())).unwrap().unwrap();
            assert_eq!(read.facts.names, ["chat.example.org"]);
            let signing = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let source = Source { key: "", path: PathBuf::new(), content: Content::default() };
            let sorted = sorted(all.clone(), &signing, &source, &source).unwrap();
            sorted.iter().map(|one| all.iter().position(|other| other == one).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(order([&own_pem, &middle_pem, &root_pem, &stranger]), [0, 1, 2]);
        assert_eq!(order([&root_pem, &stranger, &middle_pem, &own_pem]), [3, 2, 0]);
        assert_eq!(order([&middle_pem, &own_pem, &stranger, &stranger]), [1, 0], "the root may be missing");
    }

    #[test]
    fn one_key_needs_the_other() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let both = made.write(&folder);
        let none = Config::default();
        let ca = Config { tls_client_ca: both.tls_cert.clone(), ..none.clone() };
        let required = Config { tls_client: ClientCertificates::Required, ..both.clone() };
        let mut listen = Listen::from("127.0.0.1:1".parse::<crate::net::Address>().unwrap());
        listen.tls = Some(Mode::Required);
        let speaks = Config { listen: vec![listen.clone()], ..none.clone() };
        for (config, problem) in [
            (
                Config { tls_key: Material::None, ..both.clone() },
                "tls_cert: there is no key for it; set tls_key as well",
            ),
            (
                Config { tls_cert: Material::None, ..both.clone() },
                "tls_key: there is no certificate for it; set tls_cert as well",
            ),
            (ca, "tls_client_ca: does nothing without a certificate; set tls_cert and tls_key"),
            (required, "tls_client: \"required\" needs the authorities of clients; set tls_client_ca"),
            (
                speaks,
                "listen: \"127.0.0.1:1\" has tls, and there is no certificate; set tls_cert and tls_key",
            ),
        ] {
            assert_eq!(mistake(&folder, &config), problem);
        }
        listen.tls = Some(Mode::Off);
        assert_eq!(read(&Config { listen: vec![listen], ..none }), Ok(None));
    }

    #[test]
    fn authorities_of_clients_are_checked_as_well() {
        let (folder, made) = (Scratch::new(), Made::new(&["x"]));
        let with = |text: &str| Config {
            tls_client_ca: secret(&folder, "ca.pem", text.as_bytes()),
            ..made.write(&folder)
        };
        let problem = "tls_client_ca: \"ca.pem\" has the certificate of no authority, which signs others; write that of the authority";
        let leaf = {
            let key = KeyPair::generate().unwrap();
            let mut params = params(&["x"]);
            params.is_ca = IsCa::ExplicitNoCa;
            params.self_signed(&key).unwrap().pem()
        };
        assert_eq!(mistake(&folder, &with(&leaf)), problem);
        let key = "tls_client_ca: \"ca.pem\" has a key in the place of a certificate; write the file of the certificate here";
        assert_eq!(mistake(&folder, &with(&made.key)), key);
        assert_eq!(mistake(&folder, &with("")), "tls_client_ca: \"ca.pem\" is empty");
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        for tls_client in [ClientCertificates::Optional, ClientCertificates::Required] {
            let config = Config { tls_client, ..with(&format!("{authority}{authority}")) };
            let identity = read(&config).unwrap().unwrap().identity;
            let asks = format!("{:?}", identity.config);
            assert!(asks.contains("WebPkiClientVerifier"), "{asks}");
        }
    }

    #[test]
    fn a_certificate_holds_from_its_first_day_to_its_last() {
        let (certificate, folder) = certificate_for_tests();
        let at = |text: &str| certificate.ensure_valid(text.parse().unwrap()).map_err(|problem| problem.text);
        let path = folder.file("cert.pem").display().to_string();
        assert_eq!(at("2020-01-01T00:00:00Z"), Ok(()));
        assert_eq!(at("2029-12-31T23:59:59Z"), Ok(()));
        assert_eq!(at("2030-01-01T00:00:00Z"), Err(format!("\"{path}\" ended on 2030-01-01; renew it")));
        let early = format!("\"{path}\" begins on 2020-01-01; wait, or set the clock of this machine");
        assert_eq!(at("2019-12-31T23:59:59Z"), Err(early));
    }

    #[test]
    fn a_certificate_for_another_name_is_warned_of() {
        let warnings = |names: &[&str], host: &str| {
            let folder = Scratch::new();
            let certificate = read(&Made::new(names).write(&folder)).unwrap().unwrap();
            let texts: Vec<String> =
                certificate.warnings(host).into_iter().map(|problem| problem.text).collect();
            texts.concat().replace(&format!("{}/", folder.path().display()), "")
        };
        for (names, host) in [
            (["chat.example.org"].as_slice(), "chat.example.org"),
            (&["chat.example.org"], "chat"),
            (&["a.example.org", "CHAT.example.org"], "chat"),
            (&["*.example.org"], "chat"),
            (&["*.example.org"], "chat.example.org"),
        ] {
            assert_eq!(warnings(names, host), "", "{names:?} {host}");
        }
        assert_eq!(
            warnings(&["chat.example.org", "192.0.2.1"], "web1"),
            "\"cert.pem\" is for chat.example.org, 192.0.2.1, and this machine is web1: clients must use one of the former"
        );
        assert!(warnings(&["*.example.org"], "chat.example.com").contains("*.example.org"));
        assert!(warnings(&["chat.example.org"], "chat.example.com").contains("chat.example.org"));
        assert_eq!(warnings(&[], "x"), "\"cert.pem\" is for no name (subjectAltName), so clients refuse it");
    }

    #[test]
    fn a_key_that_anybody_can_read_is_warned_of() {
        let folder = Scratch::new();
        let config = Made::new(&["x"]).write(&folder);
        let path = folder.file("key.pem");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = read(&config).unwrap().unwrap().warnings("x");
        let text =
            format!("anybody on this machine can read \"{}\"; take that away with chmod o-r", path.display());
        assert_eq!(warnings, [problem("tls_key", text)]);
    }
}
