//! Acts: what sessions do that all nodes have to know in one order: who is there, who is called what, and what is for
//! somebody on another node.

use serde::{Deserialize, Serialize};

use super::id::SessionId;
use crate::protocol::{Key, Name, Proof, Who};

/// What all nodes have to know, in one order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// A session is there. It may bring a verified name: then its input waits until the act has its place.
    Arrived(Listed),
    /// A session wants a name. Its input waits until the claim has its place.
    Claimed(Claim),
    /// A session is in another room, or is announced there.
    Moved {
        /// The session.
        id: SessionId,
        /// Its room.
        room: Name,
        /// Whether the room knows of it.
        is_present: bool,
    },
    /// A session is gone.
    Left(SessionId),
    /// These are all sessions of the node that says so, with the names that they have, or want back.
    Returned {
        /// The sessions.
        sessions: Vec<Listed>,
        /// Tells the node that it is the one that it waits for.
        mark: u64,
    },
    /// A node has not been heard of for too long: its sessions are gone.
    Gone(String),
    /// A private message for a session on another node.
    Told {
        /// The sender. Its input waits until the message has its place.
        from: SessionId,
        /// The session that gets it.
        to: SessionId,
        /// The line, without its LF.
        text: String,
    },
    /// A session did not get a private message from another node.
    Refused {
        /// The session that was to get it.
        by: SessionId,
        /// The sender.
        to: SessionId,
        /// Whether it ignores the sender; otherwise it does not read.
        ignores: bool,
    },
    /// What an operator has a node do: the command as typed, for the session on another node that it is about, or for
    /// all nodes.
    Ordered {
        /// The operator. Its input waits until the command has its place.
        by: Who,
        /// The command, as typed.
        line: String,
        /// The session that it is about; `None` if it is for all nodes.
        about: Option<SessionId>,
        /// What it changes of the bans and mutes, see [`Host::change`](super::Host::change).
        #[serde(default)]
        changes: Vec<String>,
    },
    /// What a node has, or has not, of the bans and mutes that the cluster has or has not: also such changes.
    Brought(Vec<String>),
}

/// A session wants a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The session.
    pub id: SessionId,
    /// Its room.
    pub room: Name,
    /// The name.
    pub name: Name,
    /// The key that takes it from another session.
    pub key: Option<Key>,
    /// The key that the session gets with the name.
    pub new_key: Option<Key>,
}

/// A session, as all nodes know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its number.
    pub id: SessionId,
    /// Its room.
    pub room: Name,
    /// Its name; `None` for a guest.
    pub name: Option<Name>,
    /// What verifies the name.
    pub proof: Option<Proof>,
    /// The key that takes its name back.
    pub key: Option<Key>,
    /// Whether its room knows of it: then the room is told when it is gone.
    #[serde(default)]
    pub is_present: bool,
}

impl Act {
    /// Returns the session whose input waits until the act has its place.
    pub fn asked_by(&self) -> Option<SessionId> {
        match self {
            Self::Arrived(listed) => listed.name.is_some().then_some(listed.id),
            Self::Claimed(claim) => Some(claim.id),
            Self::Told { from, .. } => Some(*from),
            Self::Ordered { by, .. } => Some(SessionId(by.id)),
            _ => None,
        }
    }
}
