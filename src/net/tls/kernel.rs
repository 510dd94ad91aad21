//! TLS records that the kernel makes and reads (kTLS): the keys are in the socket, so the connection outlives the
//! process.
//!
//! What the kernel does not do is here: what follows from records that are not text, and the close_notify. The socket must not block, and sendfile(2) is never used: both have lost bytes on
//! Linux 6.1.

use std::cell::RefCell;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::libc;
use nix::sys::socket::sockopt::TcpUlp;
use nix::sys::socket::{TlsGetRecordType, setsockopt};
use rustix::net::Shutdown;
use rustix::net::sockopt::socket_error;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};
use zeroize::Zeroizing;

use super::Agreed;
use super::alert::HANDSHAKE_RECORD;
use super::secrets::{MOST_BEHIND, Secrets, Side};
use super::socket::{self, Cipher, option, receive_record, send_record, takes_more};
use crate::chat::sink;

/// How many records that are no text are taken at once. Each may have new keys, and they are noted behind all.
const RECORDS_IN_A_ROW: usize = MOST_BEHIND;

/// The type of an alert record, and the alerts that chatd sends: level and description (RFC 8446, 6).
const ALERT: u8 = 21;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const UNEXPECTED_MESSAGE: [u8; 2] = [2, 10];
const NO_RENEGOTIATION: [u8; 2] = [1, 100];
/// How often in a row a client may have new keys and say nothing. rustls has the same limit.
const MOST_UPDATES: u8 = 32;
/// The type of the handshake message with new keys (RFC 8446, 4.6.3), and of a ClientHello, which asks for another
/// handshake (RFC 5246, 7.4.1.2).
const KEY_UPDATE: u8 = 24;
const CLIENT_HELLO: u8 = 1;

/// The kernel has no TLS: it is asked once.
static IS_MISSING: AtomicBool = AtomicBool::new(false);
/// The kernel takes new keys for a connection that has some (Linux 6.14): it counts how often that succeeds.
static TAKES_NEW_KEYS: LazyLock<bool> = LazyLock::new(|| {
    fs::read_to_string("/proc/self/net/tls_stat").is_ok_and(|counters| counters.contains("RekeyOk"))
});
/// The ciphers that the kernel has refused, a bit for each [`Cipher`].
static REFUSED: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// Where the slices of a send come together: one piece costs the kernel half as much as many.
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection whose records the kernel makes and reads.
#[derive(Debug)]
pub struct Kernel {
    agreed: Agreed,
    /// The close_notify is sent.
    is_closing: AtomicBool,
    /// Nothing more can be read: the client has new keys, and the kernel cannot take them.
    is_deaf: AtomicBool,
    /// What new keys follow from; `None` if there cannot be any.
    secrets: Option<Box<Mutex<Secrets>>>,
    /// They are others than [`Kernel::take_secrets`] has given.
    has_new_secrets: AtomicBool,
    /// The client has asked for new keys of this side, which come before the next text.
    owes_keys: AtomicBool,
    /// How often in a row the client has had new keys, and no text in between.
    updates: AtomicU8,
}

/// What another process has left of TLS in a socket.
#[derive(Debug)]
pub enum Left {
    /// Nothing: it speaks plain text.
    Nothing,
    /// Half a handshake, or keys for one direction: it is of no use.
    Half,
    /// The keys.
    Keys(Kernel),
}

/// Prepares a socket for keys. It speaks plain text until [`set_keys`]. Call it before the handshake: after the FIN of
/// the client, it fails. Returns whether the kernel can take keys.
pub(super) fn prepare(socket: BorrowedFd<'_>) -> bool {
    if IS_MISSING.load(Ordering::Relaxed) {
        return false;
    }
    match setsockopt(&socket, TcpUlp::default(), b"tls") {
        Ok(()) => true,
        Err(error) => {
            if error == nix::Error::ENOENT && !IS_MISSING.swap(true, Ordering::Relaxed) {
                log::info!(
                    "the kernel has no TLS: connections with TLS end at a restart; load its module with: modprobe tls"
                );
            }
            false
        }
    }
}

/// Returns whether the kernel has refused this cipher.
pub(super) fn has_refused(cipher: Cipher) -> bool {
    REFUSED.load(Ordering::Relaxed) & (1 << cipher as u8) != 0
}

/// Gives the kernel the keys; `secrets` are what they follow from. On an error the connection must be closed: the socket
/// might send plain text.
///
/// # Errors
/// The kernel's.
pub(super) fn set_keys(
    socket: BorrowedFd<'_>,
    version: ProtocolVersion,
    keys: &ExtractedSecrets,
    secrets: Option<Secrets>,
    agreed: Agreed,
) -> io::Result<Kernel> {
    let cipher = Cipher::of(agreed.cipher);
    let set = |side, (sequence, keys): &(u64, ConnectionTrafficSecrets)| {
        let (key, iv) = match keys {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv.as_ref()),
            _ => return Err(nix::Error::EINVAL),
        };
        let cipher = cipher.ok_or(nix::Error::EINVAL)?;
        socket::set_key(socket, side, version, cipher, (key, iv), *sequence)
    };
    match set(Side::Server, &keys.tx).and_then(|()| set(Side::Client, &keys.rx)) {
        Ok(()) => Ok(Kernel::new(agreed, secrets.filter(|_| *TAKES_NEW_KEYS))),
        Err(error) => {
            let bit = cipher.filter(|_| lasts(error)).map_or(0, |cipher| 1 << cipher as u8);
            if bit != 0 && REFUSED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                let name = agreed.cipher;
                log::warn!(
                    "the kernel does not take the keys of {name}: {error}; connections with it end at a restart"
                );
            }
            Err(error.into())
        }
    }
}

/// Returns whether the kernel would refuse the next keys as well: it had memory and time.
fn lasts(error: nix::Error) -> bool {
    use nix::Error as E;
    !matches!(error, E::ENOMEM | E::ENOBUFS | E::EAGAIN | E::EINTR | E::ETIMEDOUT)
}

/// Finds out what another process has left in a socket. `secrets` are what that process has had from
/// `Kernel::take_secrets`.
pub fn left_in(socket: impl AsFd, secrets: Option<&[u8]>) -> Left {
    let socket = socket.as_fd();
    let mut name = [0; 16];
    match option(socket, libc::IPPROTO_TCP, libc::TCP_ULP, &mut name) {
        Some(length) if name[..length].starts_with(b"tls") => {}
        _ => return Left::Nothing,
    }
    // So short a buffer gets the version and the cipher, without the key.
    let (mut tx, mut rx) = ([0; 4], [0; 4]);
    let has_keys = option(socket, libc::SOL_TLS, libc::TLS_TX, &mut tx).is_some()
        && option(socket, libc::SOL_TLS, libc::TLS_RX, &mut rx).is_some();
    let [version, cipher] = [[tx[0], tx[1]], [tx[2], tx[3]]].map(u16::from_ne_bytes);
    let is_new = version == libc::TLS_1_3_VERSION;
    let cipher = match cipher {
        libc::TLS_CIPHER_AES_GCM_128 if is_new => "TLS_AES_128_GCM_SHA256",
        libc::TLS_CIPHER_AES_GCM_256 if is_new => "TLS_AES_256_GCM_SHA384",
        libc::TLS_CIPHER_CHACHA20_POLY1305 if is_new => "TLS_CHACHA20_POLY1305_SHA256",
        // The kernel does not know whether the certificate is one of RSA or ECDSA.
        libc::TLS_CIPHER_AES_GCM_128 => "TLS_ECDHE_WITH_AES_128_GCM_SHA256",
        libc::TLS_CIPHER_AES_GCM_256 => "TLS_ECDHE_WITH_AES_256_GCM_SHA384",
        libc::TLS_CIPHER_CHACHA20_POLY1305 => "TLS_ECDHE_WITH_CHACHA20_POLY1305_SHA256",
        _ => return Left::Half,
    };
    if !has_keys {
        return Left::Half;
    }
    // If that process was killed while it received, the kernel may not have reached its memory, and says EBADMSG. The
    // record is still there, and one that is really damaged gives that again. One whose peer is gone is read to its end.
    let _ = socket_error(socket);
    let version = if is_new { "1.3" } else { "1.2" };
    let (secrets, owes) = secrets.map(Secrets::read).unzip();
    let kernel = Kernel::new(Agreed { version, cipher, name: None }, secrets);
    kernel.owes_keys.store(owes == Some(true), Ordering::Relaxed);
    kernel.has_new_secrets.store(false, Ordering::Relaxed);
    Left::Keys(kernel)
}

impl Kernel {
    fn new(agreed: Agreed, secrets: Option<Secrets>) -> Self {
        Self {
            agreed,
            is_closing: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            has_new_secrets: AtomicBool::new(secrets.is_some()),
            secrets: secrets.map(|secrets| Box::new(Mutex::new(secrets))),
            owes_keys: AtomicBool::new(false),
            updates: AtomicU8::new(0),
        }
    }

    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(super) fn receive(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..RECORDS_IN_A_ROW {
            if self.is_deaf.load(Ordering::Relaxed) {
                break;
            }
            let (count, kind) = match receive_record(socket, buffer) {
                // A process before has died between a KeyUpdate and the keys.
                Err(error) if error.raw_os_error() == Some(libc::EKEYEXPIRED) => {
                    self.renew_input(socket)?;
                    continue;
                }
                received => received?,
            };
            match kind {
                TlsGetRecordType::ApplicationData => {
                    self.updates.store(0, Ordering::Relaxed);
                    return Ok(count);
                }
                TlsGetRecordType::Alert if count < 2 || buffer[1] == CLOSE_NOTIFY[1] => {
                    // Should this process die, the next one finds the end of input in the socket.
                    let _ = rustix::net::shutdown(socket, Shutdown::Read);
                    return Ok(0);
                }
                // RFC 8446, 6.1: user_canceled comes before a close_notify.
                TlsGetRecordType::Alert if buffer[0] == 1 => {}
                TlsGetRecordType::Alert => return Err(io::ErrorKind::ConnectionAborted.into()),
                TlsGetRecordType::Handshake => self.take_handshake(socket, &buffer[..count])?,
                _ => return Err(refuse(socket)),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns how many bytes the kernel has that nobody can read yet, or any more.
    pub(super) fn unreadable(&self, socket: BorrowedFd<'_>) -> u64 {
        // The reactor also reports the end of input again and again, which is no byte.
        let least = u64::from(self.is_deaf.load(Ordering::Relaxed));
        rustix::io::ioctl_fionread(socket).unwrap_or(0).max(least)
    }

    /// Takes a message of a handshake.
    fn take_handshake(&self, socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
        match (self.agreed.version, message) {
            ("1.3", [KEY_UPDATE, 0, 0, 1, asks @ 0..=1])
                if self.updates.fetch_add(1, Ordering::Relaxed) < MOST_UPDATES =>
            {
                self.owes_keys.fetch_or(*asks == 1, Ordering::Relaxed);
                self.renew_input(socket)
            }
            ("1.2", [CLIENT_HELLO, ..]) => send_alert(socket, NO_RENEGOTIATION),
            _ => Err(refuse(socket)),
        }
    }

    /// Gives the kernel the new keys of the client.
    ///
    /// # Errors
    /// `Unsupported` if it does not take them.
    fn renew_input(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let secrets =
            self.secrets.as_ref().map(|secrets| secrets.lock().unwrap_or_else(PoisonError::into_inner));
        if secrets.is_some_and(|mut secrets| self.renew(socket, &mut secrets, Side::Client).is_some()) {
            return Ok(());
        }
        // After the next read, sending would fail as well.
        self.is_deaf.store(true, Ordering::Relaxed);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives the client and the kernel new keys for what is sent.
    fn renew_output(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Some(secrets) = &self.secrets else { return Ok(()) };
        let mut secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner);
        send_record(socket, HANDSHAKE_RECORD, &[KEY_UPDATE, 0, 0, 1, 0])?;
        self.owes_keys.store(false, Ordering::Relaxed);
        self.renew(socket, &mut secrets, Side::Server).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Gives the kernel the keys of one side that come next.
    fn renew(&self, socket: BorrowedFd<'_>, secrets: &mut Secrets, side: Side) -> Option<()> {
        let cipher = Cipher::of(self.agreed.cipher)?;
        let key = secrets.renew(side, &socket::key_in_use(socket, side, cipher)?)?;
        let set = socket::set_key(socket, side, ProtocolVersion::TLSv1_3, cipher, (&key.key, &key.iv), 0);
        self.has_new_secrets.store(true, Ordering::Relaxed);
        set.ok()
    }

    pub(super) fn takes_new_keys(&self) -> bool {
        self.secrets.is_some()
    }

    pub(super) fn take_secrets(&self) -> Option<Zeroizing<Vec<u8>>> {
        if !self.has_new_secrets.swap(false, Ordering::Relaxed) {
            return None;
        }
        let secrets = self.secrets.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(secrets.bytes(self.owes_keys.load(Ordering::Relaxed)))
    }

    pub(super) fn send(&self, socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.owes_keys.load(Ordering::Relaxed) {
            self.renew_output(socket)?;
        }
        if let [_] = slices {
            return sink::send(socket, slices);
        }
        TOGETHER.with_borrow_mut(|together| {
            together.clear();
            slices.iter().for_each(|slice| together.extend_from_slice(slice));
            sink::send(socket, &[IoSlice::new(together)])
        })
    }

    /// A socket that does not take more may still have records that TCP has not: a FIN would come before them.
    pub(super) fn end_output(&self, socket: BorrowedFd<'_>) -> bool {
        if !self.is_closing.load(Ordering::Relaxed) {
            if !takes_more(socket) {
                return false;
            }
            match send_alert(socket, CLOSE_NOTIFY) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // An error is one of the connection, which has ended then.
                _ => self.is_closing.store(true, Ordering::Relaxed),
            }
        }
        let is_flushed = takes_more(socket);
        if is_flushed {
            // As above.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        is_flushed
    }
}

/// Sends a record with an alert.
fn send_alert(socket: BorrowedFd<'_>, alert: [u8; 2]) -> io::Result<()> {
    send_record(socket, ALERT, &alert)
}

/// Tells the client that it has sent what nobody may. Returns the error of the connection.
fn refuse(socket: BorrowedFd<'_>) -> io::Error {
    // It fails where the connection has.
    let _ = send_alert(socket, UNEXPECTED_MESSAGE);
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_session_looks_away_from_the_end_of_input_behind_new_keys() {
        let agreed = Agreed { version: "1.3", cipher: "", name: None };
        let kernel = Kernel::new(agreed, None);
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(kernel.unreadable(here.as_fd()), 0);
        let error = kernel.take_handshake(here.as_fd(), &[KEY_UPDATE, 0, 0, 1, 0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let error = kernel.receive(here.as_fd(), &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(kernel.unreadable(here.as_fd()), 1);
    }

    #[test]
    fn a_lack_of_memory_says_nothing_about_the_next_keys() {
        assert!(!lasts(nix::Error::ENOMEM) && !lasts(nix::Error::EINTR));
        assert!(lasts(nix::Error::EINVAL) && lasts(nix::Error::ENOENT) && lasts(nix::Error::EOPNOTSUPP));
    }
}
