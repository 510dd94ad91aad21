//! The engine's client against real engines: several nodes, each without a hub, and redis-server processes on unix sockets.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod bans;
mod faults;
mod hostile;
mod identity;
mod node;
mod order;
mod primaries;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../support/redis.rs"]
mod redis;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod tls;
