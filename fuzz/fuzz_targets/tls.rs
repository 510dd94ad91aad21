//! Anything that comes in the place of a handshake of TLS, through the listener: chatd closes the connection when its
//! input has ended, and says nothing but records before that.
//!
//! The first byte of the input says what it is: bytes as they are, or what happens to a real handshake. Run by
//! `cargo fuzz run tls`.

#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use chatd::net::Address;
use chatd::rt;
use chatd::service::config::{Config, KEYS, parse_file};
use chatd::service::server::Server;
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// A server that is silent for so long has forgotten the connection. It ends an input that would hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// The type of the first record of a handshake.
const HANDSHAKE: u8 = 22;
/// Bytes of the header of a record, and the longest record behind it.
const HEADER: usize = 5;
const LONGEST: usize = 16 * 1024 + 2048;

/// Where it listens, a client that trusts it, and the server, which goes on until the process ends.
static SERVER: LazyLock<(SocketAddr, Arc<ClientConfig>, Mutex<Server>)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("chatd-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let text = format!("listen = \"127.0.0.1:0\"\ntls_cert = {certificate:?}\ntls_key = {key:?}\n");
    let part = parse_file(&text, Path::new("chatd.toml")).unwrap();
    let mut config = Config::default();
    for key in &KEYS {
        if let Some((raw, _)) = part.get(key.name) {
            key.set(&mut config, raw).unwrap();
        }
    }
    let server = rt::run(2, async move { Server::start(&config) }).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let (Address::Tcp(address), _) = server.addresses()[0] else { panic!("the first address is no TCP") };
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (address, Arc::new(client), Mutex::new(server))
});

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let (address, client, _) = &*SERVER;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    // Nothing is left behind of it: there are only so many ports.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    let mut heard = Vec::new();
    let first = if kind % 4 == 0 {
        // It may be closed before it has all.
        let _ = stream.write_all(input);
        input.first().copied()
    } else {
        handshake(&mut stream, client, input, &mut heard)
    };
    let _ = stream.shutdown(Shutdown::Write);
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it does not end");
    }
    if first == Some(HANDSHAKE) {
        expect_records(&heard);
    }
});

/// A handshake, of which one flight or what comes after it is not as it should be. Returns the first byte that was sent.
fn handshake(
    stream: &mut TcpStream,
    client: &Arc<ClientConfig>,
    mut input: &[u8],
    heard: &mut Vec<u8>,
) -> Option<u8> {
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut tls = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut first = None;
    loop {
        let mut flight = Vec::new();
        if !tls.is_handshaking() {
            tls.writer().write_all(b"hello\n").unwrap();
        }
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        let is_spoilt = spoil(&mut flight, &mut input);
        first = first.or(flight.first().copied());
        if stream.write_all(&flight).is_err() || is_spoilt || !tls.is_handshaking() {
            return first;
        }
        while tls.is_handshaking() && !tls.wants_write() {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).expect("a handshake goes on");
            heard.extend_from_slice(&buffer[..count]);
            let mut bytes = &buffer[..count];
            assert!(!bytes.is_empty(), "a good handshake is not closed");
            while !bytes.is_empty() {
                tls.read_tls(&mut bytes).unwrap();
                tls.process_new_packets().expect("a good handshake");
            }
        }
    }
}

/// Does to a flight what the next four bytes of the input say. Returns whether it is another one now.
fn spoil(flight: &mut Vec<u8>, input: &mut &[u8]) -> bool {
    let Some(([kind, high, low, value], rest)) = input.split_first_chunk() else { return false };
    *input = rest;
    let at = usize::from(u16::from_be_bytes([*high, *low])) % flight.len().max(1);
    let before = flight.clone();
    match kind % 5 {
        0 if !flight.is_empty() => flight[at] ^= value,
        1 => flight.truncate(at),
        2 => drop(flight.splice(at..at, rest.iter().copied())),
        3 => flight.extend_from_slice(rest),
        _ => {}
    }
    *flight != before
}

/// All of it is records; the last one may have been cut by the end.
fn expect_records(mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        assert!(
            (20..=23).contains(&header[0]) && header[1] == 3,
            "it is no record: {:?}",
            bytes.escape_ascii()
        );
        assert!(length <= LONGEST, "a record of {length} bytes");
        bytes = rest.get(length..).unwrap_or_default();
    }
}
