//! A TLS connection in one process, for tests.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite};

use super::handshake::Handshake;
use super::user::Wire;
use super::{Channel, Identity, Parts};
use crate::rt;

/// Both ends of a connection after its handshake.
pub struct Ends {
    /// What chatd has of it.
    pub channel: Channel,
    /// The socket of chatd.
    pub here: UnixStream,
    /// The client.
    pub client: ClientConnection,
    /// The socket of the client.
    pub there: UnixStream,
}

/// Makes a certificate for `localhost`, and what speaks TLS with it.
pub fn identity() -> (Identity, CertificateDer<'static>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::new(Parts {
        chain: vec![own.cert.der().clone()],
        key: PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into(),
        client_authorities: Vec::new(),
        requires_client: false,
        not_after: jiff::Timestamp::MAX,
    });
    (identity.unwrap(), own.cert.der().clone())
}

/// Returns a client that trusts this certificate, and speaks with one cipher suite alone, or with all.
pub fn client(
    certificate: &CertificateDer<'static>,
    suite: Option<SupportedCipherSuite>,
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|one| suite.is_none_or(|suite| suite == *one));
    let mut versions = vec![&rustls::version::TLS13, &rustls::version::TLS12];
    versions.retain(|one| suite.is_none_or(|suite| suite.version() == *one));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

impl Ends {
    /// Does the handshake.
    pub fn shake_hands() -> Self {
        let (identity, certificate) = identity();
        let (there, here) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let mut client = client(&certificate, None);
        let mut handshake = Handshake::new(&identity, here.as_fd(), rt::now()).unwrap();
        while !handshake.is_done() {
            while client.wants_write() {
                client.write_tls(&mut Wire(there.as_fd())).unwrap();
            }
            if handshake.read(here.as_fd()).unwrap() {
                let (step, taken) = handshake.step().unwrap().run();
                taken.unwrap();
                handshake.go_on(step);
                assert!(handshake.write(here.as_fd()).unwrap());
            }
            if client.read_tls(&mut Wire(there.as_fd())).is_ok() {
                client.process_new_packets().unwrap();
            }
        }
        let channel = handshake.finish(here.as_fd()).unwrap();
        Self { channel, here, client, there }
    }

    /// Receives what has come, as chatd does.
    pub fn receive(&self) -> Result<String, io::ErrorKind> {
        let mut buffer = [0; 100];
        let received = self.channel.receive(self.here.as_fd(), &mut buffer);
        received.map_err(|error| error.kind()).map(|count| String::from_utf8_lossy(&buffer[..count]).into())
    }
}
