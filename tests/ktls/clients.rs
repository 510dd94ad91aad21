//! A certificate for chatd, and clients that trust it: each speaks with one cipher alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedCipherSuite};

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, GREETING, text};

/// Each way to encrypt that the kernel has to have: its name, and what rustls calls it.
pub const CIPHERS: [(&str, SupportedCipherSuite); 6] = [
    ("TLS 1.3 with AES-128-GCM", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS 1.3 with AES-256-GCM", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS 1.3 with ChaCha20-Poly1305", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS 1.2 with AES-128-GCM", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS 1.2 with AES-256-GCM", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS 1.2 with ChaCha20-Poly1305", cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Looks at the daemon, one after the other, that find it asleep: it may look at a part of a record a few times a second.
/// There is one processor, so one that spins is always ready to run.
pub const LOOKS: u32 = 5;

/// The daemon, which speaks TLS, and what plays its service manager.
pub struct Service {
    pub manager: Manager,
    pub daemon: Daemon,
    /// What the process before has logged.
    log_before: Vec<String>,
    folder: Folder,
    roots: Arc<RootCertStore>,
}

impl Service {
    /// Starts it. It listens on a unix socket besides, for those who do not speak TLS.
    pub fn start() -> Self {
        Self::with(true)
    }

    /// The same, or without TLS.
    pub fn with(tls: bool) -> Self {
        let (manager, folder) = (Manager::with_store(), Folder::new());
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = folder.write("cert.pem", made.cert.pem());
        let key = folder.write("key.pem", made.signing_key.serialize_pem());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let keys = [("tls_cert", certificate), ("tls_key", key)];
        let content: String =
            keys.iter().filter(|_| tls).map(|(key, path)| format!("{key} = \"{}\"\n", text(path))).collect();
        folder.write("chatd.toml", format!("{content}log_level = \"debug\"\nmax_per_ip = 2000\n"));
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        manager.replace("chatd.socket", UnixListener::bind(folder.path("chat.sock")).unwrap());
        let config = folder.path("chatd.toml");
        let daemon = manager.start("", &["--config", text(&config)]);
        Self { manager, daemon, log_before: Vec::new(), folder, roots: Arc::new(roots) }
    }

    /// What the daemon is started with.
    fn options(&self) -> [String; 2] {
        ["--config".to_owned(), text(&self.folder.path("chatd.toml")).to_owned()]
    }

    /// Where those come in who do not speak TLS.
    pub fn unix(&self) -> PathBuf {
        self.folder.path("chat.sock")
    }

    /// A client that speaks with one of [`CIPHERS`].
    pub fn client(&self, cipher: usize) -> Arc<ClientConfig> {
        let suite = CIPHERS[cipher].1;
        let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
        let versions = match suite {
            SupportedCipherSuite::Tls13(_) => [&TLS13],
            SupportedCipherSuite::Tls12(_) => [&TLS12],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&versions).unwrap();
        Arc::new(builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth())
    }

    /// Somebody who speaks TLS and has been greeted.
    pub fn join(&self, cipher: usize) -> Caller {
        let mut caller = Caller::connect_tls(self.manager.address(), &self.client(cipher));
        caller.expect(GREETING);
        caller
    }

    /// Somebody at the unix socket who has been greeted.
    pub fn join_plain(&self) -> Caller {
        let mut caller = Caller::connect_unix(&self.unix());
        caller.expect(GREETING);
        caller
    }

    /// Restarts the daemon as the unit has it.
    #[track_caller]
    pub fn restart(&mut self) {
        let options = self.options();
        self.manager.restart(&mut self.daemon, &options.each_ref().map(String::as_str));
    }

    /// Kills the daemon when so many connections are kept, and it sends nothing: a client gets no empty line.
    #[track_caller]
    pub fn kill_at_rest(&mut self, sessions: u32) {
        self.daemon.wait_until_asleep(LOOKS);
        self.kill(sessions);
    }

    /// Kills the daemon at any moment when so many connections are kept.
    #[track_caller]
    pub fn kill(&mut self, sessions: u32) {
        self.manager.kill(&mut self.daemon, sessions.into());
    }

    /// Starts the daemon again.
    #[track_caller]
    pub fn start_again(&mut self) {
        let options = self.options();
        let next = self.manager.start("", &options.each_ref().map(String::as_str));
        self.log_before = std::mem::take(&mut self.daemon.log);
        self.daemon = next;
    }
}

impl Drop for Service {
    /// Says what has been logged around a failure.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.daemon.hear_log();
            println!("the process before: {:#?}\nthe last one: {:#?}", self.log_before, self.daemon.log);
        }
    }
}
