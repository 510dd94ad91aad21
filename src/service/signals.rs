//! The signals that chatd listens to, as a stream of what they mean; chatd(8) lists them.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use signal_hook_async_std::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// TERM, INT: drain and exit; the second time, exit now.
    Stop,
    /// HUP: read the configuration again.
    Reload,
    /// USR1: write a summary to the log.
    Status,
    /// USR2: exit, and let the next process go on with everybody.
    HandOver,
}

/// Listens to the signals from now on. Each counts at least once; several of the same kind that come
/// together may count as one.
///
/// From now on, too, a write beyond the limit of file sizes (RLIMIT_FSIZE in setrlimit(2); `LimitFSIZE=` in a unit) is an
/// error of that write, `EFBIG`, and not the end of chatd: the limit counts for files in memory, which chatd can do
/// without.
///
/// # Errors
/// The kernel's, where there are no descriptors.
pub fn requests() -> io::Result<impl Stream<Item = Request> + Send + Unpin> {
    // What it sets nobody looks at: it replaces what the kernel would do.
    flag::register(SIGXFSZ, Arc::default())?;
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    Ok(signals.map(|signal| match signal {
        SIGHUP => Request::Reload,
        SIGUSR1 => Request::Status,
        SIGUSR2 => Request::HandOver,
        _ => Request::Stop,
    }))
}
