//! The reading of a session: what it has read and not passed on. The hub stores it in the snapshot, and does not look
//! into it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::protocol::{Framer, Opening};

/// State of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It sends and receives.
    #[default]
    Open,
    /// Its input has ended, and it still receives what is pending.
    Ended,
    /// Everything is sent. The kernel still delivers it.
    Lingering,
}

/// What a session has read and not passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// State of the connection.
    pub phase: Phase,
    /// State of framing, with an unfinished line.
    pub framer: Framer,
    /// The first bytes, until it is decided whether they belong to another protocol.
    pub opening: Opening,
    /// Clean lines that wait for the rate limiter.
    #[serde(with = "serde_bytes")]
    pub unsaid: Vec<u8>,
    /// Whether there was a telnet command that the hub does not know of yet.
    pub is_telnet: bool,
    /// Time until the rate limiter allows a whole burst again.
    pub used: Duration,
    /// Time since the last byte from the client.
    pub idle: Duration,
    /// The address of a client behind a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
    /// What has come of the header of a proxy, if that is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ByteBuf>,
}
