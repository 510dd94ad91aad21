//! chatctl as a process: against a server that says what a test wants, on a pseudo-terminal, and against chatd.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod answers;
mod bad;
mod fake;
// The tests of chatc need more of it.
#[allow(dead_code)]
#[path = "../chatc/process.rs"]
mod process;
mod real;
#[allow(dead_code)]
#[path = "../chatc/server.rs"]
mod server;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../chatc/terminal.rs"]
mod terminal;
mod top;
mod watch;
