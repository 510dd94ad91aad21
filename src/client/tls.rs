//! TLS to chatd: the handshake, and the records after it.
//!
//! [`handshake`] makes a [`Stream`] of a socket, as `trust` has it. Its records are made and read here by hand, so the
//! threads of `link` go on reading and writing as they do without TLS. Whatever goes wrong, the connection is not used:
//! nothing is sent in plain text.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{read, retry_on_intr};
use rustix::net::{SendFlags, send};
use rustls::{AlertDescription, ClientConnection};

use super::trust::{Check, Trust};
use crate::protocol::text;

/// The first bytes of records: change of cipher, alert, handshake, text.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 0x14..=0x17;
/// How long a server that does not speak TLS may go on to say what it is, and how many bytes of that are read.
const PLAIN_TIMEOUT: Duration = Duration::from_secs(1);
const PLAIN_BYTES: u64 = 4096;
/// How a notice begins.
const NOTICE: &str = "-!- ";
/// The type of records with an alert.
const ALERT_RECORD: u8 = 0x15;
/// What a server does that answers no handshake.
const TURNED_AWAY: &str = "it turned you away before TLS began";

/// Shakes hands until `deadline`. `host` is the name that the certificate has to have, or an IP address.
///
/// # Errors
/// [`ErrorKind::InvalidData`] with the reason in words if the server is not trusted, or speaks no TLS; otherwise what
/// has happened to the connection.
pub fn handshake(trust: &Arc<Trust>, socket: TcpStream, host: &str, deadline: Instant) -> io::Result<Stream> {
    let check = Arc::new(Check::by(trust));
    let refused = |error| refused(&trust.words(&error, check.certificate.get()));
    let mut tls = trust.begin(&check, host).map_err(refused)?;
    let (mut buffer, mut is_first) = ([0; 4096], true);
    while tls.is_handshaking() || tls.wants_write() {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left))?;
        socket.set_write_timeout(Some(left))?;
        if tls.wants_write() {
            tls.write_tls(&mut &socket)?;
            continue;
        }
        let count = retry_on_intr(|| read(&socket, &mut buffer))?;
        let mut bytes = &buffer[..count];
        let is_alert = match bytes.first() {
            None => return Err(ErrorKind::UnexpectedEof.into()),
            Some(first) if is_first && !RECORD_TYPES.contains(first) => return Err(plain(&socket, bytes)),
            Some(_) if Instant::now() >= deadline => return Err(ErrorKind::TimedOut.into()),
            Some(first) => is_first && *first == ALERT_RECORD,
        };
        is_first = false;
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            if let Err(error) = tls.process_new_packets() {
                // It is to know why; whether it hears it or not.
                let _ = tls.write_tls(&mut &socket);
                return Err(turned_away(&error).filter(|_| is_alert).unwrap_or_else(|| refused(error)));
            }
        }
    }
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    Ok(Stream { socket, tls: Some(Arc::new(Records { tls: Mutex::new(tls), trust: Arc::clone(trust) })) })
}

/// The reason why there is no TLS; some of it may come from the server.
fn refused(words: &str) -> io::Error {
    let mut cleaned = Vec::new();
    text::clean(words.as_bytes(), &mut cleaned);
    io::Error::new(ErrorKind::InvalidData, String::from_utf8_lossy(&cleaned))
}

/// Returns the error for an alert that comes before anything else: chatd sends these to a client that it turns away.
fn turned_away(error: &rustls::Error) -> Option<io::Error> {
    let words = match error {
        rustls::Error::AlertReceived(AlertDescription::AccessDenied) => {
            "your address is denied or banned; ask who runs it"
        }
        rustls::Error::AlertReceived(AlertDescription::InternalError) => {
            "it is full, stops, or has too many connections from your address; try again later"
        }
        _ => return None,
    };
    Some(refused(&format!("{TURNED_AWAY}: {words}")))
}

/// What a server says in plain text: why it turns you away, the line about TLS, or else the first.
fn plain(socket: &TcpStream, first: &[u8]) -> io::Error {
    let mut said = first.to_vec();
    let _ = socket.set_read_timeout(Some(PLAIN_TIMEOUT));
    let _ = socket.take(PLAIN_BYTES).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.contains("TLS")).or(said.lines().next()).unwrap_or_default();
    // A greeting comes before any other notice.
    if let Some(reason) = line.strip_prefix(NOTICE).filter(|_| !line.contains("TLS")) {
        return refused(&format!("{TURNED_AWAY}; it says, not encrypted: {reason}"));
    }
    refused(&format!("it does not speak TLS; connect without TLS if plain text will do; it says: {line}"))
}

/// A socket, and the TLS on it if there is any.
#[derive(Debug)]
pub struct Stream {
    /// What is read and written.
    pub socket: TcpStream,
    /// What makes records of text, and text of records; none in plain text.
    pub tls: Option<Arc<Records>>,
}

impl Stream {
    /// Another descriptor of the same connection.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, tls: self.tls.clone() })
    }
}

/// The records of a connection. One thread may read while another writes.
#[derive(Debug)]
pub struct Records {
    tls: Mutex<ClientConnection>,
    trust: Arc<Trust>,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what the server says next, and appends it to `text`. Returns whether it has said that nothing more comes.
    /// `buffer` is for what is read.
    ///
    /// # Errors
    /// The connection is lost, or has ended without the end of TLS. There may be text before that.
    pub fn read(&self, socket: &TcpStream, buffer: &mut [u8], text: &mut Vec<u8>) -> io::Result<bool> {
        // The first lines may have come with the end of the handshake.
        let is_over = self.open(&[], text)?;
        if is_over || !text.is_empty() {
            return Ok(is_over);
        }
        let count = retry_on_intr(|| read(socket, &mut *buffer))?;
        if count == 0 {
            let words = "it ended without the end of TLS, so something may be missing";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, words));
        }
        self.open(&buffer[..count], text).inspect_err(|_| {
            let mut alert = Vec::new();
            let _ = flush(&mut self.lock(), &mut alert);
            // Whether it hears it or not: what writes may be in the middle of something.
            let _ = send(socket, &alert, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        })
    }

    fn open(&self, mut bytes: &[u8], text: &mut Vec<u8>) -> io::Result<bool> {
        let mut tls = self.lock();
        loop {
            let state =
                tls.process_new_packets().map_err(|error| refused(&self.trust.words(&error, None)))?;
            let start = text.len();
            text.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut text[start..])?;
            if bytes.is_empty() || state.peer_has_closed() {
                return Ok(state.peer_has_closed());
            }
            tls.read_tls(&mut bytes)?;
        }
    }

    /// Returns the records for a text. Write all of them before those of the next one.
    ///
    /// # Errors
    /// TLS has ended.
    pub fn seal(&self, mut text: &[u8]) -> io::Result<Vec<u8>> {
        let (mut tls, mut records) = (self.lock(), Vec::new());
        while !text.is_empty() {
            let count = tls.writer().write(text)?;
            text = &text[count..];
            flush(&mut tls, &mut records)?;
        }
        Ok(records)
    }

    /// Returns the record that tells the server that nothing more comes.
    pub fn end(&self) -> Vec<u8> {
        let (mut tls, mut records) = (self.lock(), Vec::new());
        tls.send_close_notify();
        // A vector takes everything.
        let _ = flush(&mut tls, &mut records);
        records
    }
}

fn flush(tls: &mut ClientConnection, records: &mut Vec<u8>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(records)?;
    }
    Ok(())
}
