//! What chatd promises, by capability: conversations over real sockets against a server in this process,
//! and the real binary for signals, descriptors, exit codes, `nc` and `telnet`.
//!
//! Nothing here sleeps, and nothing is held against how fast it is (`tests/tidy.rs` sees to that): order is proved by
//! reading up to a line with a unique text, and every wait has a deadline that ends a test which would hang, with all
//! that was heard. Ports are chosen by the kernel, and the tests run side by side. A new test goes into the module of its
//! capability.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod archive;
mod manager;
mod support;

// What people see.
mod chat;
mod clients;
mod lines;
mod protocols;

// Who may connect.
mod access;
mod bans;
mod proxy;
mod tls;
mod tls_refused;

// Who may hold whom up, and what is enough.
mod flow;
mod limits;

// The daemon as a process.
mod certificates;
mod configuration;
mod draining;
mod handover;
mod hanging;
mod interface;
mod listeners;
mod metrics;
mod names;
mod nodes;
mod reasons;
mod service_manager;
mod shutdown;
mod tls_names;
mod tools;

// What the checks of tests/systemd rely on.
mod oracle;
