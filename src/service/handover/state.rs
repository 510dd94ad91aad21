//! The state of a planned restart: all sessions and rooms, as one file in memory.
//!
//! It begins with a line of text, the version, a checksum and a length; the rest is CBOR (RFC 8949). Each version reads
//! its own files and those of earlier versions, and ignores unknown fields.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::memory;
use crate::chat::{HubSnapshot, version_1};

/// The first bytes of the file.
const MAGIC: &[u8; 12] = b"chatd state\n";

/// The version that is written. It changes when old files need another decoder.
pub const VERSION: u32 = 2;

const HEAD: usize = MAGIC.len() + 4 + 4 + 8;

/// Everything that the next process needs, except the connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// The last number that a session was given.
    pub last: u64,
    /// The rooms and the members.
    pub hub: HubSnapshot,
    /// What the sequencer of a cluster has saved; empty without one.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<u8>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum StateError {
    /// It is not a state of chatd.
    NotOurs,
    /// A later version has written it.
    Newer(u32),
    /// Its bytes have changed since it was written.
    Damaged(String),
    /// The kernel refuses to read it.
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
    /// Encodes it as the bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        // Neither memory nor these types refuse anything.
        let _ = ciborium::into_writer(self, &mut body);
        Self::frame(&body)
    }

    /// Puts the header before the CBOR.
    pub fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(crc32fast::hash(body).to_le_bytes());
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let Some((head, body)) = bytes.split_at_checked(HEAD) else { return Err(StateError::NotOurs) };
        let Some(numbers) = head.strip_prefix(MAGIC) else { return Err(StateError::NotOurs) };
        let number = |at: usize| numbers[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let version = number(0);
        match version {
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
        let handover = if version == 1 {
            let old: Result<version_1::Handover, _> = ciborium::from_reader(body);
            old.map(version_1::Handover::upgrade).map(|(last, hub)| Self { last, hub, cluster: Vec::new() })
        } else {
            ciborium::from_reader(body)
        };
        handover.map_err(|error| StateError::Damaged(error.to_string()))
    }

    /// Writes it to a file in memory.
    ///
    /// # Errors
    /// The kernel's, if there is no memory.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::testing::{TestHub, lines};
    use crate::chat::{Hub, Local, Phase, Read, Reading};

    /// What a chatd of that version has left, of the conversation below.
    fn corpus(version: u32) -> PathBuf {
        let name = format!("tests/data/handover/version-{version}.state");
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// Everything that can be in a state, once.
    fn conversation() -> Handover {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join_as("ann"), hub.join(), hub.join());
        hub.ask(&mut eve, "/view json");
        hub.ask(&mut eve, "/join attic");
        hub.ask(&mut eve, "/me waves");
        hub.say(&mut ben, &lines(0, 100));
        ann.read(333);
        hub.ask(&mut ann, "/ignore guest2");
        hub.ask(&mut ann, "/time on");
        hub.say(&mut ann, &lines(100, 180));
        hub.say(&mut ben, &lines(180, 300));
        ben.read(7);
        hub.send(&eve, Read { text: b"one\n/me waves\ntwo\n".to_vec(), ..Read::default() });
        let mut snapshot = hub.snapshot(&[ann.id(), ben.id(), eve.id()]);
        snapshot.sessions[0].reading =
            Reading { phase: Phase::Ended, unsaid: b"more\n".to_vec(), ..Reading::default() };
        Handover { last: 9, hub: snapshot, cluster: Vec::new() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let handover = conversation();
        assert!(Handover::read(handover.write().unwrap()).unwrap().encode() == handover.encode());
    }

    #[test]
    fn what_the_sequencer_of_a_cluster_has_saved_is_read_again() {
        let cluster = b"epoch, counter\0\xff".to_vec();
        let handover = Handover { cluster: cluster.clone(), ..conversation() };
        assert_eq!(Handover::decode(&handover.encode()).unwrap().cluster, cluster);
        // Without one it is not there, and what has none can be read: an upgrade and a downgrade.
        assert!(Handover::decode(&conversation().encode()).unwrap().cluster.is_empty());
        let mut body = Vec::new();
        ciborium::into_writer(&conversation(), &mut body).unwrap();
        assert!(memchr::memmem::find(&body, b"cluster").is_none());
    }

    /// If this fails, chatd writes something else than before under the same version. If those before can read it all
    /// the same, CHATD_WRITE_STATE=1 writes the file anew; otherwise it takes a new version, and this file stays.
    #[test]
    fn what_is_written_is_what_was_written_before() {
        let path = corpus(VERSION);
        if std::env::var_os("CHATD_WRITE_STATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, conversation().encode()).unwrap();
        }
        assert!(conversation().encode() == std::fs::read(path).unwrap());
    }

    #[test]
    fn what_every_version_before_has_written_can_be_read() {
        for version in 1..=VERSION {
            let handover = Handover::decode(&std::fs::read(corpus(version)).unwrap()).unwrap();
            assert_eq!((handover.last, handover.hub.sessions.len()), (9, 3), "{version}");
            assert!(handover.hub.sessions.iter().all(|session| session.member.is_some()), "{version}");
            let sockets = || Some(std::sync::Arc::<crate::chat::testing::Socket>::default() as _);
            let hub = TestHub::default();
            let (limits, now) = (hub.limits, hub.time());
            let restored = Hub::restore(limits, Box::<Local>::default(), handover.hub, now, |_| sockets());
            assert_eq!(restored.unwrap().1.len(), 3, "{version}");
        }
    }

    #[test]
    fn each_reason_not_to_read_it_is_told() {
        let bytes = conversation().encode();
        let refusal = |bytes: &[u8]| Handover::decode(bytes).unwrap_err().to_string();
        assert_eq!(refusal(b"something else"), "it is not a state of chatd's");
        assert_eq!(refusal(&bytes[..100]), format!("it is damaged: 72 bytes of {}", bytes.len() - HEAD));
        let changed = |at: usize, byte: u8| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            changed
        };
        assert_eq!(
            refusal(&changed(MAGIC.len(), 200)),
            "a later chatd has written it (version 200, this one reads up to 2)"
        );
        assert_eq!(refusal(&changed(500, bytes[500] ^ 1)), "it is damaged: the checksum is wrong");
        assert!(refusal(&Handover::frame(b"no state")).starts_with("it is damaged: "));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Handover::decode(&bytes);
            let _ = Handover::decode(&Handover::frame(&bytes));
        }
    }
}
