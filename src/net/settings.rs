//! The settings of sessions and listeners, from floor 3; chatd.toml(5) explains each.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
pub use super::rate::Rate;
use super::tls;
use crate::protocol::Rules;

/// The settings of sessions and listeners that can change while they run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this node; `None` without a cluster.
    pub node: Option<Arc<str>>,
    /// The bytes that a new session is sent first, with line endings; may be empty.
    pub greeting: Vec<u8>,
    /// How lines are framed and cleaned.
    pub rules: Rules,
    /// How fast a session may send lines; `None` for no limit.
    pub rate: Option<Rate>,
    /// A line to which nothing is added for this long counts as finished.
    pub flush_after: Option<Duration>,
    /// A session that reads nothing of what is pending for it for this long is closed.
    pub slow_timeout: Duration,
    /// A session that sends nothing for this long is closed.
    pub idle_timeout: Option<Duration>,
    /// How long chatd goes on sending to a session whose input has ended.
    pub drain: Duration,
    /// About how many bytes the kernel buffers for a session that does not read; applies to new sessions.
    pub send_buffer: usize,
    /// What new TLS connections need; `None` if there is no certificate.
    pub tls: Option<Arc<tls::Identity>>,
    /// How long a TLS handshake may take.
    pub tls_timeout: Duration,
    /// Who may connect.
    pub access: Access,
    /// Most sessions at a time.
    pub max_clients: usize,
    /// Most sessions from one address at a time; 0 for no limit.
    pub max_per_ip: usize,
    /// The first bits of an IPv6 address that count as one address there, from 1 to 128.
    pub ipv6_prefix: usize,
}
