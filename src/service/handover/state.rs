//! The state of a planned restart: everybody, and where they stand, as one file in memory.
//!
//! It begins with a line of text, the version, a checksum and a length; the rest is CBOR (RFC 8949). A version reads
//! its own and those before it; what a later one adds to its own, it ignores.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::memory;
use crate::chat::KeptHouse;
use crate::net::session::KeptSession;

/// What the file begins with.
const MAGIC: &[u8; 12] = b"chatd state\n";

/// The version that is written. It changes when what was written before cannot be read as it is any more.
pub const VERSION: u32 = 1;

const HEAD: usize = MAGIC.len() + 4 + 4 + 8;

/// All that the next process needs, besides the connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// The last number that a session was given.
    pub last: u64,
    /// The rooms, and who is in them.
    pub house: KeptHouse,
    /// Everybody's connection.
    pub sessions: Vec<KeptSession>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum StateError {
    /// It is something else.
    NotOurs,
    /// A later version has written it.
    Newer(u32),
    /// It is not as it was written.
    Damaged(String),
    /// The kernel does not let it be read.
    Unreadable(io::Error),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("it is not a state of chatd's"),
            Self::Newer(version) => {
                write!(f, "a later chatd has written it (version {version}, this one reads up to {VERSION})")
            }
            Self::Damaged(what) => write!(f, "it is damaged: {what}"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl Handover {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        // Neither memory nor these types refuse anything.
        let _ = ciborium::into_writer(self, &mut body);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.append(&mut body);
        bytes
    }

    /// What such bytes mean.
    ///
    /// # Errors
    /// Why they mean nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let Some((head, body)) = bytes.split_at_checked(HEAD) else { return Err(StateError::NotOurs) };
        let Some(numbers) = head.strip_prefix(MAGIC) else { return Err(StateError::NotOurs) };
        let number = |at: usize| numbers[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        match number(0) {
            0 => return Err(StateError::NotOurs),
            version if version > VERSION => return Err(StateError::Newer(version)),
            _ => {}
        }
        let length = numbers[8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if length != body.len() as u64 {
            return Err(StateError::Damaged(format!("{} bytes of {length}", body.len())));
        }
        if number(4) != crc32fast::hash(body) {
            return Err(StateError::Damaged("the checksum is wrong".to_owned()));
        }
        ciborium::from_reader(body).map_err(|error| StateError::Damaged(error.to_string()))
    }

    /// Writes it to a file in memory.
    ///
    /// # Errors
    /// The kernel's, where there is no memory.
    pub fn write(&self) -> io::Result<OwnedFd> {
        memory::sealed(c"chatd-state", &self.encode())
    }

    /// Reads it from such a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(file: impl AsFd) -> Result<Self, StateError> {
        Self::decode(&memory::read(file).map_err(StateError::Unreadable)?)
    }
}
