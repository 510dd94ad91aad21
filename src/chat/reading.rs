//! What a session has read and not passed on: the hub keeps it for the next process, and does not look into it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::{Framer, Opening};

/// How far reading from a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It hears and speaks.
    #[default]
    Open,
    /// Its input has ended: it is sent what there is.
    Ended,
    /// All has been sent; the kernel is getting rid of it.
    Lingering,
}

/// What a session has read and not passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// How far it has come.
    pub phase: Phase,
    /// Unfinished input.
    pub framer: Framer,
    /// Whether the first bytes have shown what the other side speaks.
    pub opening: Opening,
    /// Clean lines that wait for the rate limit.
    #[serde(with = "serde_bytes")]
    pub unsaid: Vec<u8>,
    /// It has spoken telnet, and the hub does not know yet.
    pub is_telnet: bool,
    /// How long it takes until it may say a whole burst again.
    pub used: Duration,
    /// How long it has said nothing.
    pub idle: Duration,
}
