//! TLS in front of any server of these tests, and the certificates for it.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::support::{Folder, PATIENCE};

/// What is changed of a certificate.
pub type Change = fn(&mut CertificateParams);

/// Nothing is.
pub const NOTHING: Change = |_| {};

/// The names of this machine.
pub const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate and its key.
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub pem: String,
    key: KeyPair,
}

impl Certificate {
    /// One that nobody vouches for, made as `openssl req -x509` makes it: it may vouch for others.
    pub fn self_signed(names: &[&str], change: Change) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let made = params.self_signed(&key).unwrap();
        Self { der: made.der().clone(), pem: made.pem(), key }
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// What `--pin` takes.
    pub fn pin(&self) -> String {
        let folder = Folder::new();
        let path = folder.write("cert.pem", &self.pem);
        let mut openssl = std::process::Command::new("openssl");
        let output = openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(path).output();
        let printed = String::from_utf8(output.unwrap().stdout).unwrap();
        format!("sha256:{}", printed.trim().split_once('=').unwrap().1)
    }

    /// A server with it.
    pub fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder().with_no_client_auth();
        builder
            .with_single_cert(vec![self.der.clone()], self.key.serialize_der().try_into().unwrap())
            .unwrap()
    }

    /// A server with it that wants certificates of this authority.
    pub fn config_for(&self, authority: &Authority) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        builder
            .with_single_cert(vec![self.der.clone()], self.key.serialize_der().try_into().unwrap())
            .unwrap()
    }
}

/// Who vouches for certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

impl Authority {
    pub fn new() -> Self {
        // Only one provider is built in; tests say so for all that follow.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own.
        let (key, kind) = (KeyPair::generate().unwrap(), DnType::CommonName);
        params.distinguished_name.push(kind, format!("authority {:02x?}", &key.public_key_raw()[1..9]));
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer, folder: Folder::new() }
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.write("ca.pem", self.issuer.pem())
    }

    /// Files of a certificate and its key.
    pub fn files_for(&self, names: &[&str]) -> [PathBuf; 2] {
        let made = self.issue(names, NOTHING);
        let path = self.folder.write(&format!("{}.key", names[0]), "");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, made.key_pem()).unwrap();
        [self.folder.write(&format!("{}.pem", names[0]), &made.pem), path]
    }

    pub fn issue(&self, names: &[&str], change: Change) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(owned(names)).unwrap();
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.extended_key_usages = both.into();
        names.iter().take(1).for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
        change(&mut params);
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { der: made.der().clone(), pem: made.pem(), key }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A port that speaks TLS, and leads to a server that does not.
pub struct Secured {
    pub address: String,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    ends: Receiver<bool>,
}

impl Secured {
    pub fn to(server: SocketAddr, config: ServerConfig) -> Self {
        Self::in_pieces(server, config, usize::MAX)
    }

    /// What it says comes in pieces of so many bytes, each in a packet of its own.
    pub fn in_pieces(server: SocketAddr, config: ServerConfig, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let (ends_tx, ends) = mpsc::channel();
        let shared = Arc::clone(&config);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let (config, ends_tx) = (Arc::clone(&shared.lock().unwrap()), ends_tx.clone());
                thread::spawn(move || serve(near, server, config, most, &ends_tx));
            }
        });
        Self { address, config, ends }
    }

    /// From now on it has another certificate.
    pub fn use_config(&self, config: ServerConfig) {
        *self.config.lock().unwrap() = Arc::new(config);
    }

    /// Waits for the next connection to end; returns whether the client said that nothing more comes.
    #[track_caller]
    pub fn ended_well(&self) -> bool {
        self.ends.recv_timeout(PATIENCE).unwrap()
    }
}

/// Both directions of one connection. Where the handshake fails, nothing reaches the server.
fn serve(near: TcpStream, server: SocketAddr, config: Arc<ServerConfig>, most: usize, ends: &Sender<bool>) {
    near.set_nodelay(true).unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    let mut said = Pieces { socket: &near, most };
    while tls.is_handshaking() {
        if tls.complete_io(&mut said).is_err() {
            return;
        }
    }
    let far = TcpStream::connect(server).unwrap();
    let (tls, back) = (Arc::new(Mutex::new(tls)), (near.try_clone().unwrap(), far.try_clone().unwrap()));
    let answering = Arc::clone(&tls);
    thread::spawn(move || answer(&back.1, &back.0, most, &answering));
    let _ = ends.send(hear(&near, &far, &tls));
}

fn answer(mut far: &TcpStream, near: &TcpStream, most: usize, tls: &Mutex<ServerConnection>) {
    let (mut buffer, mut pieces) = ([0; 4096], Pieces { socket: near, most });
    loop {
        let count = far.read(&mut buffer).unwrap_or_default();
        let mut tls = tls.lock().unwrap();
        match count {
            0 => tls.send_close_notify(),
            _ => tls.writer().write_all(&buffer[..count]).unwrap(),
        }
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records).unwrap();
        }
        drop(tls);
        if pieces.write_all(&records).is_err() || count == 0 {
            let _ = near.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Returns whether it was told the end.
fn hear(mut near: &TcpStream, mut far: &TcpStream, tls: &Mutex<ServerConnection>) -> bool {
    let mut buffer = [0; 4096];
    let mut count = 0;
    loop {
        let mut bytes = &buffer[..count];
        let mut text = Vec::new();
        let mut tls = tls.lock().unwrap();
        let is_over = loop {
            let Ok(state) = tls.process_new_packets() else { break true };
            let start = text.len();
            text.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut text[start..]).unwrap();
            if state.peer_has_closed() || bytes.is_empty() {
                break state.peer_has_closed();
            }
            tls.read_tls(&mut bytes).unwrap();
        };
        drop(tls);
        let _ = far.write_all(&text);
        if !is_over {
            count = near.read(&mut buffer).unwrap_or_default();
        }
        if is_over || count == 0 {
            let _ = far.shutdown(Shutdown::Write);
            return is_over;
        }
    }
}

struct Pieces<'a> {
    socket: &'a TcpStream,
    most: usize,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.write(&bytes[..bytes.len().min(self.most)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(buffer)
    }
}
