//! The PROXY protocol, versions 1 and 2: a header in which a proxy says from where a client has connected to it.
//!
//! A listener with `proxy` expects a header from the networks listed there, and nobody else may connect. The crate
//! `proxy-header` parses it; this file finds its end, and bounds it. It also has the form in which the address of a
//! client stands in the crash table, before the standing of its session.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// Longest header, in bytes. Version 1 has at most 107. What a proxy adds to the addresses in version 2 is short.
pub const MAX_HEADER: usize = 4096;
/// How long a header may take. A proxy sends it first of all.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The header of a proxy, as far as it has come.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) begun: Vec<u8>,
    /// Since when it is awaited.
    pub(super) since: Instant,
}

/// What version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, in bytes, with CR LF.
const MAX_TEXT: usize = 107;
/// What version 2 begins with.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of version 2 before the addresses. The last two are the length of what follows.
const BINARY_HEAD: usize = 16;

/// The record of a session whose header is not complete.
const AWAITED: u8 = 1;
/// The first byte of the record of a session with a client behind a proxy; address and port follow. No standing begins
/// with either: it is an array of CBOR.
const CLIENT: u8 = 0;
/// The bytes of `CLIENT`, of an IPv6 address and of a port.
pub const PREFIX_BYTES: usize = 1 + 16 + 2;

/// Who is at the other side, says a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client at this address.
    Client(SocketAddr),
    /// The proxy itself, for example with a health check; or a client whose address it does not know.
    Proxy,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// They are something else.
    Malformed,
    /// It is longer than [`MAX_HEADER`].
    TooLong,
    /// The connection ended before the header did.
    Cut,
    /// The header took longer than [`HEADER_TIMEOUT`].
    Late,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it sent no PROXY header",
            Self::TooLong => "its PROXY header is too long",
            Self::Cut => "its PROXY header is cut",
            Self::Late => "its PROXY header did not come in time",
        })
    }
}

/// Reads a header at the beginning of `bytes`. Returns who is there, and the length of the header; `None` if more bytes
/// are needed.
///
/// # Errors
/// Why it is no header, as soon as that is clear.
pub fn read_header(bytes: &[u8]) -> Result<Option<(Source, usize)>, BadHeader> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let begins = |start: &[u8]| bytes.starts_with(&start[..start.len().min(bytes.len())]);
    let end = if begins(TEXT) {
        end_of_text(bytes)?
    } else if begins(BINARY) {
        end_of_binary(bytes)?
    } else {
        return Err(BadHeader::Malformed);
    };
    end.map(|end| Ok((parse(&bytes[..end])?, end))).transpose()
}

/// Returns the length of a header of version 1; `None` if its end is not there.
fn end_of_text(bytes: &[u8]) -> Result<Option<usize>, BadHeader> {
    let line = &bytes[..bytes.len().min(MAX_TEXT)];
    match memchr::memchr(b'\n', line) {
        Some(last) => Ok(Some(last + 1)),
        None if line.len() == MAX_TEXT => Err(BadHeader::TooLong),
        None => Ok(None),
    }
}

/// Returns the length of a header of version 2; `None` if its end is not there.
fn end_of_binary(bytes: &[u8]) -> Result<Option<usize>, BadHeader> {
    let rest = bytes.get(BINARY_HEAD - 2..).and_then(|bytes| bytes.first_chunk());
    let Some(rest) = rest else { return Ok(None) };
    match BINARY_HEAD + usize::from(u16::from_be_bytes(*rest)) {
        length if length > MAX_HEADER => Err(BadHeader::TooLong),
        length => Ok(Some(length).filter(|length| *length <= bytes.len())),
    }
}

/// Parses a whole header.
fn parse(header: &[u8]) -> Result<Source, BadHeader> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| BadHeader::Malformed)?;
    match parsed.proxied_address() {
        _ if length != header.len() => Err(BadHeader::Malformed),
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Source::Client(SocketAddr::new(address.source.ip().to_canonical(), address.source.port())))
        }
        // No client connects with datagrams.
        Some(_) => Err(BadHeader::Malformed),
        None => Ok(Source::Proxy),
    }
}

/// What the crash table has of a session before its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It has connected directly.
    Direct,
    /// Its header was not complete.
    Awaited,
    /// It is a client behind a proxy.
    Client(SocketAddr),
}

impl Recorded {
    /// Returns the bytes before the standing.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Direct => Vec::new(),
            Self::Awaited => vec![AWAITED],
            Self::Client(client) => {
                let address = match client.ip() {
                    IpAddr::V4(four) => four.to_ipv6_mapped(),
                    IpAddr::V6(six) => six,
                };
                [&[CLIENT][..], &address.octets(), &client.port().to_be_bytes()].concat()
            }
        }
    }

    /// Splits a record: what is before the standing, and the standing.
    pub fn split(record: &[u8]) -> (Self, &[u8]) {
        match record {
            [AWAITED, ..] => (Self::Awaited, &[]),
            [CLIENT, rest @ ..] => {
                let Some((address, rest)) = rest.split_first_chunk::<16>() else {
                    return (Self::Awaited, &[]);
                };
                let Some((port, standing)) = rest.split_first_chunk() else { return (Self::Awaited, &[]) };
                let address = IpAddr::from(Ipv6Addr::from(*address)).to_canonical();
                (Self::Client(SocketAddr::new(address, u16::from_be_bytes(*port))), standing)
            }
            standing => (Self::Direct, standing),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 5001\r\n";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A header of version 2 with so many bytes of extras.
    fn binary(source: &str, extra: usize) -> Vec<u8> {
        let to = if source.starts_with('[') { "[2001:db8::1]:1" } else { "198.51.100.1:5001" };
        let mut header = ProxyHeader::with_address(ProxiedAddress::stream(address(source), address(to)));
        if extra > 0 {
            header.append_tlv(Tlv::Noop(extra));
        }
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    /// What is read of a header with a line behind it, and of each beginning of it.
    fn read(header: &[u8]) -> Result<Source, BadHeader> {
        for cut in 0..header.len() {
            if let Some((_, length)) = read_header(&header[..cut])? {
                panic!("{length} bytes of {cut}");
            }
        }
        let (source, length) = read_header(&[header, b"PROXY hello\n"].concat())?.expect("it is complete");
        assert_eq!(length, header.len(), "the line behind it is not part of it");
        Ok(source)
    }

    #[test]
    fn a_header_is_read_when_it_is_complete_and_not_before() {
        assert_eq!(read(V1), Ok(Source::Client(address("192.0.2.7:50000"))));
        assert_eq!(
            read(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n"),
            Ok(Source::Client(address("[2001:db8::7]:1")))
        );
        assert_eq!(
            read(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"),
            Ok(Source::Client(address("192.0.2.7:1")))
        );
        assert_eq!(read(&binary("192.0.2.7:50000", 0)), Ok(Source::Client(address("192.0.2.7:50000"))));
        assert_eq!(read(&binary("[2001:db8::7]:1", 500)), Ok(Source::Client(address("[2001:db8::7]:1"))));
    }

    #[test]
    fn local_and_unknown_are_the_proxy_itself() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(Source::Proxy));
        assert_eq!(read(b"PROXY UNKNOWN ffff:f::f ffff:f::f 65535 65535\r\n"), Ok(Source::Proxy));
        assert_eq!(read(&[BINARY, &[0x20, 0, 0, 0]].concat()), Ok(Source::Proxy));
        // A health check may have addresses, which count for nothing.
        let mut local = binary("192.0.2.7:50000", 0);
        local[BINARY.len()] = 0x20;
        assert_eq!(read(&local), Ok(Source::Proxy));
        assert_eq!(read(&[BINARY, &[0x21, 0x31, 0, 216], &[0; 216]].concat()), Ok(Source::Proxy));
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_clear() {
        for text in [
            "hello\n",
            "P\n",
            "PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 50000 5001\n",
            "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
            "PROXY TCP4 192.0.2.7\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY \r\n\r\n\r\n\r\n",
            "\r\n\r\n\0\r\nQUIT?",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(BadHeader::Malformed), "{text:?}");
        }
        let mut datagram = binary("192.0.2.7:50000", 0);
        datagram[BINARY.len() + 1] = 0x12;
        assert_eq!(read(&datagram), Err(BadHeader::Malformed));
        let short = [BINARY, &[0x21, 0x11, 0, 4], &[0; 4]].concat();
        assert_eq!(read(&short), Err(BadHeader::Malformed));
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"), Err(BadHeader::Malformed));
    }

    #[test]
    fn a_header_without_an_end_is_refused_at_its_bound() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        assert_eq!(read_header(&long[..MAX_TEXT - 1]), Ok(None));
        assert_eq!(read_header(&long[..MAX_TEXT]), Err(BadHeader::TooLong));
        let bound = (MAX_HEADER - BINARY_HEAD) as u16;
        let head = |length: u16| [BINARY, &[0x21, 0x11], &length.to_be_bytes()].concat();
        assert_eq!(read_header(&head(bound)), Ok(None));
        assert_eq!(read_header(&head(bound + 1)), Err(BadHeader::TooLong));
        assert!(read_header(&[head(bound), vec![0; usize::from(bound)]].concat()).is_ok());
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let clients = ["192.0.2.7:50000", "[2001:db8::7]:1"].map(|text| Recorded::Client(address(text)));
        for recorded in [Recorded::Direct, clients[0], clients[1]] {
            let record = [&recorded.encode()[..], &[0x88, 1, 2]].concat();
            assert_eq!(Recorded::split(&record), (recorded, &[0x88, 1, 2][..]));
        }
        assert_eq!(clients[0].encode().len(), PREFIX_BYTES);
        assert_eq!(Recorded::split(&Recorded::Awaited.encode()), (Recorded::Awaited, &[][..]));
        assert_eq!(Recorded::split(&[CLIENT, 1, 2]), (Recorded::Awaited, &[][..]), "it is cut");
        assert_eq!(Recorded::split(&[]), (Recorded::Direct, &[][..]));
    }

    proptest! {
        #[test]
        fn anything_is_a_header_or_not(version in 0..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let start = [TEXT, BINARY, &[]][version as usize];
            let all = [start, &bytes].concat();
            if let Ok(Some((_, length))) = read_header(&all) {
                prop_assert!(length <= all.len() && length <= MAX_HEADER);
            }
        }
    }
}
