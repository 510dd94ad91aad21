//! A handshake, record by record: no byte behind it is read, so that the kernel can go on with the next one.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use rustix::net::{RecvFlags, Shutdown};
use rustls::{ProtocolVersion, ServerConnection, SupportedCipherSuite};

use super::alert::{Alert, HANDSHAKE_RECORD};
use super::channel::Channel;
use super::kernel;
use super::name::name_of;
use super::secrets::Secrets;
use super::socket::Cipher;
use super::user::{User, write_out};
use super::{Agreed, Identity};
use crate::chat::sink;
use crate::rt::BlockingJobs;

/// What computes handshakes: so many at a time, on threads of their own. That is half of the processors, so that one is
/// left for those who chat.
pub static JOBS: LazyLock<BlockingJobs> = LazyLock::new(|| {
    BlockingJobs::new(thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
});

/// The type of encrypted records, which have the certificate of a client in TLS 1.3.
const ENCRYPTED_RECORD: u8 = 23;

/// The bytes before a record: its type, a version, its length.
const HEAD: usize = 5;
/// The longest record (RFC 5246, 6.2.3).
const MAX_RECORD: usize = 16 * 1024 + 2048;
/// How much all records together have of a client that is not asked for a certificate. Most clients send less than 2 KiB.
/// rustls would store messages of up to 64 KiB.
const MAX_UNASKED: usize = 20 * 1024;

/// Why there is no TLS with a client.
#[derive(Debug)]
pub enum Failure {
    /// rustls does not go on: what the client sends is wrong, or they have nothing in common.
    Refused(rustls::Error),
    /// The connection failed.
    Broken(io::Error),
    /// It ended.
    Cut,
    /// The client sends more than a handshake takes.
    TooLong,
    /// It took longer than `tls_timeout`.
    Late,
    /// The client speaks plain text, which the listener does not.
    Plain,
    /// chatd stops.
    Stopping,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "TLS failed: {error}"),
            Self::Broken(error) => write!(f, "the connection failed during the handshake of TLS: {error}"),
            Self::Cut => f.write_str("it ended during the handshake of TLS"),
            Self::TooLong => f.write_str("it sent more than a handshake of TLS takes"),
            Self::Late => f.write_str("it did not finish the handshake of TLS within tls_timeout"),
            Self::Plain => f.write_str("it does not speak TLS"),
            Self::Stopping => f.write_str("chatd stops during the handshake of TLS"),
        }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    /// `None` while a step has it.
    tls: Option<Box<ServerConnection>>,
    /// What has come of a record.
    record: Vec<u8>,
    /// How much of it rustls has.
    fed: usize,
    /// How many bytes may come after this record.
    left: usize,
    /// The kernel can take keys.
    is_prepared: bool,
    /// Since when the session waits for it.
    since: Instant,
    /// See [`Identity::asks_clients`].
    asks_client: bool,
    /// What the keys follow from, as soon as that is agreed upon.
    secrets: Option<Secrets>,
}

/// A record to be taken, which may take long.
#[derive(Debug)]
pub struct Step {
    tls: Box<ServerConnection>,
    record: Vec<u8>,
    fed: usize,
    secrets: Option<Secrets>,
}

impl Step {
    /// Takes the record. What rustls answers is left for [`Handshake::write`], also where this fails.
    pub fn run(mut self) -> (Self, Result<(), Failure>) {
        let result = feed(&mut self.tls, &std::mem::take(&mut self.record)[self.fed..]);
        self.secrets = Secrets::take_logged().or(self.secrets);
        (self, result)
    }
}

/// Returns whether a record may begin so. rustls says what is wrong with one that does not.
///
/// It gets all others in one piece: its buffer for the rest of half a record is twice as large, and what it gives back
/// of that lies between the sessions and is of no use.
fn can_be_head(head: &[u8]) -> bool {
    matches!(*head, [20..=24, 3, _, high, low]
        if (1..MAX_RECORD).contains(&usize::from(u16::from_be_bytes([high, low]))))
}

/// Has rustls look at bytes of a record.
fn feed(tls: &mut ServerConnection, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets()?;
    }
    Ok(())
}

impl Handshake {
    /// Begins one, which the session has awaited `since` then. Nothing may have been read from the socket.
    ///
    /// # Errors
    /// That of rustls, if the configuration is unfit.
    pub fn new(identity: &Identity, socket: BorrowedFd<'_>, since: Instant) -> Result<Self, Failure> {
        let tls = Some(Box::new(ServerConnection::new(identity.config.clone())?));
        let (is_prepared, asks_client) = (kernel::prepare(socket), identity.asks_clients);
        let left = if asks_client { usize::MAX } else { MAX_UNASKED };
        Ok(Self { tls, record: Vec::new(), fed: 0, left, is_prepared, since, asks_client, secrets: None })
    }

    /// Returns since when the session waits for it.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Returns whether the connection may outlive the process.
    pub fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    /// Reads what has come of a record, and no byte behind it. Returns whether it is complete: [`Handshake::step`] comes
    /// next.
    ///
    /// # Errors
    /// `Cut` at the end of input; `Refused` if it cannot be a record; `TooLong` if it would be too much. Otherwise that of
    /// the connection.
    pub fn read(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failure> {
        loop {
            let wanted = match self.record[..] {
                [_, _, _, high, low, ..] => HEAD + usize::from(u16::from_be_bytes([high, low])),
                _ => HEAD,
            };
            let has = self.record.len();
            if wanted > self.left {
                return Err(Failure::TooLong);
            }
            if has == wanted {
                self.left -= wanted;
                return Ok(true);
            }
            self.record.resize(wanted.min(HEAD + MAX_RECORD), 0);
            let received = rustix::net::recv(socket, &mut self.record[has..], RecvFlags::empty());
            self.record.truncate(has + received.map_or(0, |(count, _)| count));
            match received.map_err(io::Error::from) {
                Ok((0, _)) => return Err(Failure::Cut),
                Ok(_) if has < HEAD && self.record.len() == HEAD && !can_be_head(&self.record) => {
                    // It is refused before the rest has come.
                    self.fed = HEAD;
                    self.tls.as_mut().map_or(Ok(()), |tls| feed(tls, &self.record))?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns whether the record may take long to compute: it is one of a handshake, or may have a certificate in it.
    pub fn is_costly(&self) -> bool {
        match self.record.first() {
            Some(&HANDSHAKE_RECORD) => true,
            Some(&ENCRYPTED_RECORD) => self.asks_client,
            _ => false,
        }
    }

    /// Returns the step that takes the record; [`Handshake::go_on`] comes next.
    pub fn step(&mut self) -> Option<Step> {
        let (record, fed) = (std::mem::take(&mut self.record), std::mem::take(&mut self.fed));
        self.tls.take().map(|tls| Step { tls, record, fed, secrets: self.secrets.take() })
    }

    /// Goes on after a step.
    pub fn go_on(&mut self, step: Step) {
        (self.tls, self.secrets) = (Some(step.tls), step.secrets);
    }

    /// Sends what is to be sent. Returns whether the socket has taken all of it.
    ///
    /// # Errors
    /// That of the connection.
    pub fn write(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.tls.as_mut().map_or(Ok(true), |tls| write_out(tls, socket, &mut 0))
    }

    /// Returns whether it is finished, and all is sent.
    pub fn is_done(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking() && !tls.wants_write())
    }

    /// Ends the connection: the client gets an alert, if the socket takes it.
    pub fn give_up(&mut self, socket: BorrowedFd<'_>, failure: &Failure) {
        let tls = self.tls.as_mut();
        match failure {
            // rustls has an alert for it already.
            Failure::Refused(_) => {}
            Failure::TooLong => _ = sink::send(socket, &[IoSlice::new(&Alert::IllegalParameter.record())]),
            _ => tls.into_iter().for_each(|tls| tls.send_close_notify()),
        }
        // All of it fails if the connection has ended already.
        let _ = self.write(socket);
        let _ = rustix::net::shutdown(socket, Shutdown::Write);
    }

    /// Gives the kernel the keys, if it takes them. Otherwise rustls keeps them.
    ///
    /// # Errors
    /// The kernel does not take the keys: the connection must be closed.
    pub fn finish(self, socket: BorrowedFd<'_>) -> Result<Channel, Failure> {
        let Self { tls: Some(mut tls), is_prepared, secrets, .. } = self else { return Err(Failure::Cut) };
        let (version, version_name) = match tls.protocol_version() {
            Some(version @ ProtocolVersion::TLSv1_3) => (version, "1.3"),
            version => (version.unwrap_or(ProtocolVersion::TLSv1_2), "1.2"),
        };
        let suite = tls.negotiated_cipher_suite();
        let name = suite.map_or("unknown", iana_name);
        let has_text = tls.process_new_packets()?.plaintext_bytes_to_read() > 0;
        let is_in_kernel =
            is_prepared && !has_text && Cipher::of(name).is_some_and(|cipher| !kernel::has_refused(cipher));
        let agreed = Agreed {
            version: version_name,
            cipher: name,
            name: tls.peer_certificates().and_then(|chain| chain.first().map(name_of)),
        };
        if !is_in_kernel {
            return Ok(Channel::User(User::new(agreed, tls)));
        }
        let keys = tls.dangerous_extract_secrets()?;
        Ok(Channel::Kernel(kernel::set_keys(socket, version, &keys, secrets, agreed)?))
    }
}

/// Returns the name of a cipher suite as IANA writes it. rustls writes those of TLS 1.3 in another way.
fn iana_name(suite: SupportedCipherSuite) -> &'static str {
    match suite.suite().as_str().unwrap_or("unknown") {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::net::tls::Parts;
    use crate::rt;

    /// A certificate and its key.
    const PEM: &[u8] = include_bytes!("../../../tests/data/tls/ed25519.pem");

    /// A handshake that reads what is written to the other end.
    fn begin(client_authorities: Vec<CertificateDer<'static>>) -> (Handshake, UnixStream, UnixStream) {
        let key = PrivateKeyDer::from_pem_slice(PEM).unwrap();
        let (chain, not_after) = (vec![own()], jiff::Timestamp::MAX);
        let parts = Parts { chain, key, client_authorities, requires_client: false, not_after };
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let handshake = Handshake::new(&Identity::new(parts).unwrap(), here.as_fd(), rt::now()).unwrap();
        (handshake, here, there)
    }

    fn own() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(PEM).unwrap()
    }

    #[test]
    fn what_may_have_the_certificate_of_a_client_is_checked_elsewhere() {
        for client_authorities in [vec![own()], Vec::new()] {
            let asks_clients = !client_authorities.is_empty();
            for (kind, is_costly) in [(HANDSHAKE_RECORD, true), (ENCRYPTED_RECORD, asks_clients), (20, false)]
            {
                let (mut handshake, here, mut there) = begin(client_authorities.clone());
                there.write_all(&[kind, 3, 3, 0, 1, 1]).unwrap();
                assert!(handshake.read(here.as_fd()).unwrap());
                assert_eq!(handshake.is_costly(), is_costly, "{kind} {asks_clients}");
            }
        }
    }

    #[test]
    fn a_client_that_shows_no_certificate_cannot_have_much_stored() {
        for (client_authorities, is_bounded) in [(Vec::new(), true), (vec![own()], false)] {
            let (mut handshake, here, mut there) = begin(client_authorities);
            // A ClientHello of 60,000 bytes, in records that may come.
            let first = [&[HANDSHAKE_RECORD, 3, 1, 0x3a, 0x98, 1, 0, 0xea, 0x60][..], &[3; 14_996]].concat();
            let next = [&[HANDSHAKE_RECORD, 3, 1, 0x3a, 0x98][..], &[3; 15_000]].concat();
            there.write_all(&first).unwrap();
            assert!(handshake.read(here.as_fd()).unwrap());
            let (step, taken) = handshake.step().unwrap().run();
            taken.unwrap();
            handshake.go_on(step);
            // The head is enough.
            there.write_all(&next[..HEAD]).unwrap();
            match handshake.read(here.as_fd()) {
                Err(failure @ Failure::TooLong) => {
                    assert!(is_bounded);
                    handshake.give_up(here.as_fd(), &failure);
                    let mut heard = Vec::new();
                    there.read_to_end(&mut heard).unwrap();
                    assert_eq!(heard, Alert::IllegalParameter.record());
                }
                read => assert!(!read.unwrap() && !is_bounded),
            }
        }
    }

    #[test]
    fn rustls_gets_a_record_in_one_piece_or_refuses_its_head() {
        let heads = (0..=255).map(|kind| [kind, 3, 1, 2, 0]);
        let heads = heads.chain((0..=255).map(|version| [HANDSHAKE_RECORD, version, 1, 2, 0]));
        let heads = heads.chain((0..=255).map(|high| [HANDSHAKE_RECORD, 3, 3, high, 0]));
        let (mut taken, mut refused) = (0, 0);
        for head in heads {
            let (mut handshake, here, mut there) = begin(Vec::new());
            there.write_all(&head).unwrap();
            match handshake.read(here.as_fd()) {
                Ok(is_complete) => {
                    assert!(!is_complete && handshake.fed == 0, "{head:?}");
                    taken += 1;
                }
                Err(failure) => {
                    assert!(matches!(failure, Failure::Refused(_)), "{head:?}: {failure}");
                    refused += 1;
                }
            }
        }
        // Five types, one version, and lengths below 18 KiB in steps of 256 bytes.
        assert_eq!((taken, refused), (5 + 1 + 71, 251 + 255 + 185));
    }
}
