//! TLS records that the kernel makes and reads (kTLS): the keys are in the socket, so the connection outlives the
//! process.
//!
//! What the kernel does not do is here: records that are not text have a type, which every read must have room for, and
//! a close_notify is sent with one. The socket must not block, and sendfile(2) is never used: both have lost bytes on
//! Linux 6.1.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::libc;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg, setsockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};

use super::Agreed;
use crate::chat::sink;

/// How many records that are no text are taken at once.
const RECORDS_IN_A_ROW: usize = 8;

/// The type of an alert record, and the alerts that chatd sends: level and description (RFC 8446, 6).
const ALERT: u8 = 21;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const UNEXPECTED_MESSAGE: [u8; 2] = [2, 10];
const NO_RENEGOTIATION: [u8; 2] = [1, 100];
/// The type of the handshake message with new keys (RFC 8446, 4.6.3), and of a ClientHello, which asks for another
/// handshake (RFC 5246, 7.4.1.2).
const KEY_UPDATE: u8 = 24;
const CLIENT_HELLO: u8 = 1;

/// The kernel has no TLS: it is asked once.
static IS_MISSING: AtomicBool = AtomicBool::new(false);
/// The ciphers that the kernel has refused, a bit for each [`Cipher`].
static REFUSED: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// Where the slices of a send come together: one piece costs the kernel half as much as many.
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A cipher that the kernel may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

/// A connection whose records the kernel makes and reads.
#[derive(Debug)]
pub struct Kernel {
    agreed: Agreed,
    /// The close_notify is sent.
    is_closing: AtomicBool,
    /// Nothing more can be read: the client has new keys, and the kernel cannot take them.
    is_deaf: AtomicBool,
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

/// Gives the kernel the keys. On an error the connection must be closed: the socket might send plain text.
///
/// # Errors
/// The kernel's.
pub(super) fn set_keys(
    socket: BorrowedFd<'_>,
    version: ProtocolVersion,
    secrets: ExtractedSecrets,
    agreed: Agreed,
) -> io::Result<Kernel> {
    let (cipher, name) = (cipher_of(&secrets.tx.1), agreed.cipher);
    let set = || -> nix::Result<()> {
        setsockopt(&socket, TcpTlsTx, &info(version, &secrets.tx).ok_or(nix::Error::EINVAL)?)?;
        setsockopt(&socket, TcpTlsRx, &info(version, &secrets.rx).ok_or(nix::Error::EINVAL)?)
    };
    match set() {
        Ok(()) => Ok(Kernel::new(agreed)),
        Err(error) => {
            let bit = cipher.filter(|_| lasts(error)).map_or(0, |cipher| 1 << cipher as u8);
            if bit != 0 && REFUSED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
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

fn cipher_of(secrets: &ConnectionTrafficSecrets) -> Option<Cipher> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { .. } => Some(Cipher::Aes128Gcm),
        ConnectionTrafficSecrets::Aes256Gcm { .. } => Some(Cipher::Aes256Gcm),
        ConnectionTrafficSecrets::Chacha20Poly1305 { .. } => Some(Cipher::Chacha20Poly1305),
        _ => None,
    }
}

/// Returns the keys of one direction as the kernel takes them, with the number of the next record.
fn info(
    version: ProtocolVersion,
    (sequence, secrets): &(u64, ConnectionTrafficSecrets),
) -> Option<TlsCryptoInfo> {
    let info = |cipher_type| libc::tls_crypto_info { version: version.into(), cipher_type };
    let rec_seq = sequence.to_be_bytes();
    // With TLS 1.2, GCM sends half of its nonce with each record, and the kernel counts that half up. Those from the
    // start up to the next record are used.
    let parts = |iv: &[u8]| -> Option<([u8; 4], [u8; 8])> {
        let explicit = u64::from_be_bytes(iv.get(4..12)?.try_into().ok()?);
        let used = if version == ProtocolVersion::TLSv1_3 { 0 } else { *sequence };
        Some((iv.get(..4)?.try_into().ok()?, explicit.wrapping_add(used).to_be_bytes()))
    };
    Some(match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
            let (salt, iv) = parts(iv.as_ref())?;
            let key = key.as_ref().try_into().ok()?;
            let info = info(libc::TLS_CIPHER_AES_GCM_128);
            TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 { info, iv, key, salt, rec_seq })
        }
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
            let (salt, iv) = parts(iv.as_ref())?;
            let key = key.as_ref().try_into().ok()?;
            let info = info(libc::TLS_CIPHER_AES_GCM_256);
            TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 { info, iv, key, salt, rec_seq })
        }
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            let (key, iv) = (key.as_ref().try_into().ok()?, iv.as_ref().try_into().ok()?);
            let info = info(libc::TLS_CIPHER_CHACHA20_POLY1305);
            TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                info,
                iv,
                key,
                salt: [],
                rec_seq,
            })
        }
        _ => return None,
    })
}

/// Finds out what another process has left in a socket.
pub fn left_in(socket: impl AsFd) -> Left {
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
    let version = if is_new { "1.3" } else { "1.2" };
    Left::Keys(Kernel::new(Agreed { version, cipher, is_in_kernel: true, name: None }))
}

/// Reads a socket option into a buffer. Returns its length; `None` on an error.
#[allow(unsafe_code)]
fn option(socket: BorrowedFd<'_>, level: i32, name: i32, buffer: &mut [u8]) -> Option<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, and their number to `length`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    (result == 0).then_some(length as usize)
}

/// Sends a record with an alert.
#[allow(unsafe_code)]
fn send_alert(socket: BorrowedFd<'_>, alert: [u8; 2]) -> io::Result<()> {
    let mut room = Room::default();
    let mut slice = IoSlice::new(&alert);
    // SAFETY: a msghdr of zeros is valid. Its pointers are to `slice`, which has the layout of an iovec, and to `room`,
    // and live as long as the call. `room` is aligned for a cmsghdr and has space for one with one byte. sendmsg(2)
    // changes nothing.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = (&raw mut slice).cast();
        message.msg_iovlen = 1;
        message.msg_control = room.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(1) as _;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_TLS;
        (*head).cmsg_type = libc::TLS_SET_RECORD_TYPE;
        (*head).cmsg_len = libc::CMSG_LEN(1) as _;
        *libc::CMSG_DATA(head) = ALERT;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for the type of a record.
#[repr(align(8))]
#[derive(Default)]
struct Room([u8; 32]);

/// Returns whether a socket takes more.
fn takes_more(socket: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

impl Kernel {
    fn new(agreed: Agreed) -> Self {
        Self { agreed, is_closing: AtomicBool::new(false), is_deaf: AtomicBool::new(false) }
    }

    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(super) fn receive(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..RECORDS_IN_A_ROW {
            if self.is_deaf.load(Ordering::Relaxed) {
                break;
            }
            let (count, kind) = receive_record(socket, buffer)?;
            match kind {
                TlsGetRecordType::ApplicationData => return Ok(count),
                TlsGetRecordType::Alert if count < 2 || buffer[1] == CLOSE_NOTIFY[1] => return Ok(0),
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
        match (self.agreed.version, message.first()) {
            ("1.3", Some(&KEY_UPDATE)) => {
                // After the next read, sending would fail as well.
                self.is_deaf.store(true, Ordering::Relaxed);
                Err(io::ErrorKind::Unsupported.into())
            }
            ("1.2", Some(&CLIENT_HELLO)) => send_alert(socket, NO_RENEGOTIATION),
            _ => Err(refuse(socket)),
        }
    }

    pub(super) fn send(&self, socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
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

/// Receives text, or a record that is none. Returns the length and the type.
fn receive_record(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, TlsGetRecordType)> {
    let mut room = Room::default();
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room.0), MsgFlags::MSG_DONTWAIT)?;
    let kind = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::TlsGetRecordType(kind) => Some(kind),
        _ => None,
    });
    Ok((received.bytes, kind.unwrap_or(TlsGetRecordType::ApplicationData)))
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
        let agreed = Agreed { version: "1.3", cipher: "", is_in_kernel: true, name: None };
        let kernel = Kernel::new(agreed);
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(kernel.unreadable(here.as_fd()), 0);
        let error = kernel.take_handshake(here.as_fd(), &[KEY_UPDATE]).unwrap_err();
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
