//! The log of the daemon: from `log::info!` to syslog, the journal or a terminal.
//!
//! The server calls [`start`] once, keeps the [`Logging`], and stops it last. A caller of `log::info!` only puts
//! a line into a bounded `queue`; one thread (`writer`) writes. Nothing here may make a caller wait, grow
//! without bound, write a raw byte from the network, or fail the daemon because a log is away.

mod backend;
mod escape;
mod kind;
mod queue;
mod stderr;
mod syslog;
mod throttle;
mod writer;

pub use backend::{DEV_LOG, LogError, Logging, start, start_with_socket};
pub use kind::LogKind;
pub use queue::{QUEUE_LINES, lost_lines};
pub use throttle::Throttle;
