//! The traffic secrets of TLS 1.3, from which new keys follow (RFC 8446, 7.2 and 7.3), for the case that the kernel has
//! the keys. rustls tells them in one place, its log of keys.

use std::cell::RefCell;
use std::fmt;

use rustls::KeyLog;
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use zeroize::Zeroizing;

/// The most that the crash table has of secrets for a session, in bytes.
pub const SECRETS_BYTES: usize = 104;
/// The longest secret of one side, in bytes.
const LONGEST: usize = 48;
/// What follows the secrets in [`Secrets::bytes`]: whether this side owes new keys.
const OWES: usize = 8;
/// How many times in a row a process may have renewed a key before it notes that: the next one finds the key.
pub(super) const MOST_BEHIND: usize = 8;
/// The length of a nonce.
const IV_BYTES: usize = 12;
/// What the log of keys calls the secrets of the client and the server.
const LABELS: [&str; 2] = ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];

thread_local! {
    /// The secrets of each side that a step of a handshake on this thread has made.
    static LOGGED: RefCell<[Option<OkmBlock>; 2]> = const { RefCell::new([None, None]) };
}

/// Whose records are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

/// The secrets of both sides.
pub(super) struct Secrets([OkmBlock; 2]);

/// A key, and what goes into the nonce of each record.
pub(super) struct Key {
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) iv: [u8; IV_BYTES],
}

/// Puts secrets where [`Secrets::take_logged`] finds them.
#[derive(Debug)]
pub(super) struct Tap;

impl KeyLog for Tap {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if let Some(side) = LABELS.iter().position(|one| *one == label) {
            LOGGED.with_borrow_mut(|logged| logged[side] = Some(OkmBlock::new(secret)));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        LABELS.contains(&label)
    }
}

impl Secrets {
    /// Takes the secrets that rustls has made on this thread since the last call.
    pub(super) fn take_logged() -> Option<Self> {
        match LOGGED.take() {
            [Some(client), Some(server)] => Some(Self([client, server])),
            _ => None,
        }
    }

    /// Reads what [`Secrets::bytes`] has given.
    pub(super) fn read(bytes: &[u8]) -> (Self, bool) {
        let bytes = &bytes[..bytes.len().min(SECRETS_BYTES)];
        let (secrets, owes) = bytes.split_at(bytes.len().saturating_sub(OWES));
        let (client, server) = secrets.split_at(secrets.len() / 2);
        (Self([client, server].map(OkmBlock::new)), owes.first() == Some(&1))
    }

    /// Returns both secrets, and whether this side owes new keys, in one piece.
    pub(super) fn bytes(&self, owes: bool) -> Zeroizing<Vec<u8>> {
        let [client, server] = self.0.each_ref().map(AsRef::as_ref);
        Zeroizing::new([client, server, &[u8::from(owes); OWES]].concat())
    }

    /// Goes on to the secret after the one whose key is in use. Returns its key; `None` if that key is not known here.
    ///
    /// If the process before has died after it had set keys and before it had noted that, this one goes on from there.
    pub(super) fn renew(&mut self, side: Side, in_use: &[u8]) -> Option<Key> {
        let mut secret = self.0[side as usize].clone();
        for _ in 0..=MOST_BEHIND {
            let is_in_use = self.key(&secret, in_use.len())?.key[..] == *in_use;
            secret = self.next(&secret)?;
            if is_in_use {
                let key = self.key(&secret, in_use.len());
                self.0[side as usize] = secret;
                return key;
            }
        }
        None
    }

    fn next(&self, secret: &OkmBlock) -> Option<OkmBlock> {
        let mut next = Zeroizing::new([0; LONGEST]);
        let next = &mut next[..secret.as_ref().len()];
        self.expand(secret, b"traffic upd", next).map(|()| OkmBlock::new(next))
    }

    fn key(&self, secret: &OkmBlock, length: usize) -> Option<Key> {
        let mut key = Key { key: vec![0; length].into(), iv: [0; IV_BYTES] };
        self.expand(secret, b"key", &mut key.key)?;
        self.expand(secret, b"iv", &mut key.iv)?;
        Some(key)
    }

    /// HKDF-Expand-Label, without a context.
    fn expand(&self, secret: &OkmBlock, label: &[u8], output: &mut [u8]) -> Option<()> {
        const PREFIX: &[u8] = b"tls13 ";
        let length = u16::try_from(output.len()).ok()?.to_be_bytes();
        let label_length = [(PREFIX.len() + label.len()) as u8];
        let info: [&[u8]; 5] = [&length, &label_length, PREFIX, label, &[0]];
        hkdf(secret.as_ref().len())?.expander_for_okm(secret).expand_slice(&info, output).ok()
    }
}

/// Returns the function for secrets of that length: the hash has the same.
fn hkdf(length: usize) -> Option<&'static dyn Hkdf> {
    let suite = match length {
        32 => TLS13_AES_128_GCM_SHA256,
        48 => TLS13_AES_256_GCM_SHA384,
        _ => return None,
    };
    suite.tls13().map(|suite| suite.hkdf_provider)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret number `n` of one side, and the key of another number.
    fn key(secrets: &Secrets, number: usize) -> Zeroizing<Vec<u8>> {
        let mut secret = secrets.0[0].clone();
        for _ in 0..number {
            secret = secrets.next(&secret).unwrap();
        }
        secrets.key(&secret, 32).unwrap().key
    }

    #[test]
    fn the_key_in_use_says_which_one_is_next() {
        for length in [64, 96] {
            let bytes: Vec<u8> = (0..length).chain([1; OWES]).collect();
            let keys: Vec<_> =
                (0..MOST_BEHIND + 2).map(|number| key(&Secrets::read(&bytes).0, number)).collect();
            for in_use in 0..keys.len() {
                let (mut secrets, owes) = Secrets::read(&bytes);
                let next = keys.get(in_use + 1);
                let renewed = secrets.renew(Side::Client, &keys[in_use]).map(|key| key.key);
                assert_eq!(renewed.as_ref(), next);
                assert_eq!(*secrets.bytes(owes) == bytes, next.is_none(), "{in_use}");
            }
        }
        let (mut short, _) = Secrets::read(&[1; 7]);
        assert!(short.renew(Side::Server, &[0; 16]).is_none());
    }

    #[test]
    fn the_keys_are_those_of_the_standard() {
        // RFC 8448, 3: the server's application traffic secret, its key and its nonce.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let secret = hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
        let (secrets, owes) = Secrets::read(&[&secret.repeat(2)[..], &[0; OWES]].concat());
        assert!(!owes);
        let key = secrets.key(&OkmBlock::new(&secret), 16).unwrap();
        assert_eq!(*key.key, hex("9f02283b6c9c07efc26bb9f2ac92e356"));
        assert_eq!(key.iv.to_vec(), hex("cf782b88dd83549aadf1e984"));
    }
}
