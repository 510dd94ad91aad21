//! A TLS connection in one process, for tests.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

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

impl Ends {
    /// Does the handshake.
    pub fn shake_hands() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let identity = Identity::new(Parts {
            chain: vec![own.cert.der().clone()],
            key: PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into(),
            client_authorities: Vec::new(),
            requires_client: false,
            not_after: jiff::Timestamp::MAX,
        });
        let (there, here) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut handshake = Handshake::new(&identity.unwrap(), here.as_fd(), rt::now()).unwrap();
        while !handshake.is_done() {
            while client.wants_write() {
                client.write_tls(&mut Wire(there.as_fd())).unwrap();
            }
            if handshake.read(here.as_fd()).unwrap() {
                let (tls, taken) = handshake.step().unwrap().run();
                taken.unwrap();
                handshake.go_on(tls);
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
