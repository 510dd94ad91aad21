//! What the kernel is asked about TLS: keys in a socket, and records that are no text. The types in which it takes all
//! that are here alone.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TlsCryptoInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg, setsockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ProtocolVersion;
use zeroize::Zeroizing;

use super::secrets::Side;

/// A cipher that the kernel may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Cipher {
    /// Returns that of a cipher suite, by its name.
    pub(super) fn of(suite: &str) -> Option<Self> {
        let all = [
            ("AES_128_GCM", Self::Aes128Gcm),
            ("AES_256_GCM", Self::Aes256Gcm),
            ("CHACHA20_POLY1305", Self::Chacha20Poly1305),
        ];
        all.into_iter().find_map(|(part, cipher)| suite.contains(part).then_some(cipher))
    }

    /// Returns where its key is in what the kernel gives out: behind the version, the cipher and the nonce.
    fn key_at(self) -> std::ops::Range<usize> {
        match self {
            Self::Aes128Gcm => 12..28,
            Self::Aes256Gcm => 12..44,
            Self::Chacha20Poly1305 => 16..48,
        }
    }
}

/// Gives the kernel the key of one side and what goes into each nonce, with the number of the next record.
///
/// # Errors
/// The kernel's; `EINVAL` if they do not fit the cipher.
pub(super) fn set_key(
    socket: BorrowedFd<'_>,
    side: Side,
    version: ProtocolVersion,
    cipher: Cipher,
    key: (&[u8], &[u8]),
    sequence: u64,
) -> nix::Result<()> {
    let info = info(version, cipher, key, sequence).ok_or(nix::Error::EINVAL)?;
    match side {
        Side::Client => setsockopt(&socket, TcpTlsRx, &info),
        Side::Server => setsockopt(&socket, TcpTlsTx, &info),
    }
}

/// Returns the key of one side that the kernel has.
pub(super) fn key_in_use(socket: BorrowedFd<'_>, side: Side, cipher: Cipher) -> Option<Zeroizing<Vec<u8>>> {
    let name = match side {
        Side::Client => libc::TLS_RX,
        Side::Server => libc::TLS_TX,
    };
    // It gives all or nothing. Behind the key is the number of a record, and with GCM the salt before that.
    let mut all = Zeroizing::new([0; 64]);
    let tail = if cipher == Cipher::Chacha20Poly1305 { 8 } else { 12 };
    option(socket, libc::SOL_TLS, name, &mut all[..cipher.key_at().end + tail])?;
    Some(all[cipher.key_at()].to_vec().into())
}

/// Returns the keys of one direction as the kernel takes them, with the number of the next record.
fn info(
    version: ProtocolVersion,
    cipher: Cipher,
    key: (&[u8], &[u8]),
    sequence: u64,
) -> Option<TlsCryptoInfo> {
    let (key, iv) = key;
    let info = |cipher_type| libc::tls_crypto_info { version: version.into(), cipher_type };
    let rec_seq = sequence.to_be_bytes();
    // With TLS 1.2, GCM sends half of its nonce with each record, and the kernel counts that half up. Those from the
    // start up to the next record are used.
    let parts = || -> Option<([u8; 4], [u8; 8])> {
        let explicit = u64::from_be_bytes(iv.get(4..12)?.try_into().ok()?);
        let used = if version == ProtocolVersion::TLSv1_3 { 0 } else { sequence };
        Some((iv.get(..4)?.try_into().ok()?, explicit.wrapping_add(used).to_be_bytes()))
    };
    Some(match cipher {
        Cipher::Aes128Gcm => {
            let (salt, iv) = parts()?;
            let (info, key) = (info(libc::TLS_CIPHER_AES_GCM_128), key.try_into().ok()?);
            TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 { info, iv, key, salt, rec_seq })
        }
        Cipher::Aes256Gcm => {
            let (salt, iv) = parts()?;
            let (info, key) = (info(libc::TLS_CIPHER_AES_GCM_256), key.try_into().ok()?);
            TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 { info, iv, key, salt, rec_seq })
        }
        Cipher::Chacha20Poly1305 => {
            let (key, iv) = (key.try_into().ok()?, iv.try_into().ok()?);
            let info = info(libc::TLS_CIPHER_CHACHA20_POLY1305);
            TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                info,
                iv,
                key,
                salt: [],
                rec_seq,
            })
        }
    })
}

/// Reads a socket option into a buffer. Returns its length; `None` on an error.
#[allow(unsafe_code)]
pub(super) fn option(socket: BorrowedFd<'_>, level: i32, name: i32, buffer: &mut [u8]) -> Option<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, and their number to `length`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    (result == 0).then_some(length as usize)
}

/// Sends a record of that type.
#[allow(unsafe_code)]
pub(super) fn send_record(socket: BorrowedFd<'_>, kind: u8, content: &[u8]) -> io::Result<()> {
    let mut room = Room::default();
    let mut slice = IoSlice::new(content);
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
        *libc::CMSG_DATA(head) = kind;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for the type of a record.
#[repr(align(8))]
#[derive(Default)]
struct Room([u8; 32]);

/// Returns whether a socket takes more.
pub(super) fn takes_more(socket: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Receives text, or a record that is none. Returns the length and the type.
pub(super) fn receive_record(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, TlsGetRecordType)> {
    let mut room = Room::default();
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room.0), MsgFlags::MSG_DONTWAIT)?;
    let kind = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::TlsGetRecordType(kind) => Some(kind),
        _ => None,
    });
    Ok((received.bytes, kind.unwrap_or(TlsGetRecordType::ApplicationData)))
}
