//! What floor 3 sets for sessions and listeners; see chatd.toml(5) for each.

use std::time::Duration;

pub use super::rate::Rate;
use crate::protocol::Rules;

/// The settings of sessions and listeners that can change while they run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a new session is sent first, with its line endings; may be empty.
    pub greeting: Vec<u8>,
    /// How lines are framed and cleaned.
    pub rules: Rules,
    /// How fast a session may say lines.
    pub rate: Option<Rate>,
    /// A line to which nothing is added for this long counts as finished.
    pub flush_after: Option<Duration>,
    /// A session that takes nothing for this long, though there is something for it, is closed.
    pub slow_timeout: Duration,
    /// A session that says nothing for this long is closed.
    pub idle_timeout: Option<Duration>,
    /// How long what is pending for a session may take to be written once its input has ended.
    pub drain: Duration,
    /// Bytes that the kernel keeps for a session that does not read, about; for those who connect from then on.
    pub send_buffer: usize,
    /// Most sessions at a time.
    pub max_clients: usize,
    /// Most sessions from one address at a time; 0 for no limit.
    pub max_per_ip: usize,
    /// The first bits of an IPv6 address that count as one address there, from 1 to 128.
    pub ipv6_prefix: usize,
}
