//! The engine's client against real engines: several nodes, each without a hub, and redis-server processes on unix sockets.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod faults;
mod hostile;
mod identity;
mod node;
mod order;
mod server;
