//! What the tests of this floor have in common.

use std::time::Duration;

use super::Settings;
use super::access::Access;
use crate::protocol::{DEFAULT_MAX_LINE, Rules};

/// Settings under which nothing happens by itself.
pub fn settings() -> Settings {
    const LONG: Duration = Duration::from_secs(24 * 3600);
    Settings {
        node: None,
        greeting: b"hello\n".to_vec(),
        rules: Rules { max_line: DEFAULT_MAX_LINE, raw: false },
        rate: None,
        flush_after: None,
        slow_timeout: LONG,
        idle_timeout: None,
        drain: LONG,
        send_buffer: 1 << 20,
        tls: None,
        tls_timeout: LONG,
        access: Access::default(),
        max_clients: 10,
        max_per_ip: 0,
        ipv6_prefix: 64,
    }
}
