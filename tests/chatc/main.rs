//! chatc as a process: on a pseudo-terminal with a screen, in pipes, against chatd and against what is none.
//!
//! What is tested beside its code in src/client/ needs no process; here it is what people and scripts see.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod bad;
mod daemon;
mod examples;
mod garbage;
mod keyboard;
mod lasting;
mod leaving;
mod listen;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../manager.rs"]
mod manager;
mod oracle;
mod output;
mod pipe;
mod process;
// Other tests need more of it.
#[allow(dead_code)]
#[path = "../support/proxy.rs"]
mod proxy;
mod secured;
mod server;
mod setup;
mod ssh;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tls;
mod trust;
mod typing;
