//! The signals that chatd listens to, as a stream of what they mean; chatd(8) lists them.
//!
//! A task of its own reads them, so chatd reacts whatever the daemon is waiting for. Before that task runs, see
//! [`Early`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{StreamExt, future};
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use signal_hook_async_std::Signals;

use super::Exit;
use crate::rt;

/// What is asked of the daemon, by a signal or by an operator.
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
    /// `/drain`: stop after this time; `None` for no longer.
    Drain(Option<Duration>),
    /// `/log`: log from this level on.
    LogLevel(LevelFilter),
}

/// What signals do before [`Heard::listen`]: TERM, INT and USR2 make chatd exit with 0, because it has nothing to
/// stop yet. HUP and USR1 do nothing.
#[derive(Debug)]
pub struct Early {
    /// Signals do this.
    is_on: Arc<AtomicBool>,
    /// Signals do what the kernel has them do.
    is_off: Arc<AtomicBool>,
}

impl Early {
    /// Begins. Call this first in the process.
    ///
    /// # Errors
    /// The kernel's, for a signal that cannot be handled.
    pub fn begin() -> io::Result<Self> {
        let early = Self { is_on: Arc::new(AtomicBool::new(true)), is_off: Arc::default() };
        for signal in [SIGTERM, SIGINT, SIGUSR2, SIGHUP, SIGUSR1] {
            if !matches!(signal, SIGHUP | SIGUSR1) {
                flag::register_conditional_shutdown(signal, Exit::Ok as i32, Arc::clone(&early.is_on))?;
            }
            flag::register_conditional_default(signal, Arc::clone(&early.is_off))?;
        }
        Ok(early)
    }

    /// Ends. A signal that ends `--check` must not look like a good result.
    pub fn end(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.is_off.store(true, Ordering::Relaxed);
    }
}

/// The signals that were heard.
#[derive(Debug)]
pub struct Heard {
    /// Their requests, in order.
    pub requests: mpsc::UnboundedReceiver<Request>,
    /// For requests of operators.
    pub requests_tx: mpsc::UnboundedSender<Request>,
    at_once: oneshot::Receiver<()>,
}

impl Heard {
    /// Listens to the signals from now on. Each counts at least once; several of the same kind that come
    /// together may count as one. Call it on the executor.
    ///
    /// It also makes a write beyond the limit of file sizes (RLIMIT_FSIZE in setrlimit(2); `LimitFSIZE=` in a unit)
    /// fail with `EFBIG` instead of killing chatd. The limit holds for files in memory, which chatd can do without.
    ///
    /// # Errors
    /// The kernel's, where there are no descriptors.
    pub fn listen(early: &Early) -> io::Result<Self> {
        // What it sets nobody looks at: it replaces what the kernel would do.
        flag::register(SIGXFSZ, Arc::default())?;
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
        early.is_on.store(false, Ordering::Relaxed);
        let (requests_tx, requests) = mpsc::unbounded();
        let (at_once_tx, at_once) = oneshot::channel();
        rt::spawn(pass_on(signals, requests_tx.clone(), at_once_tx));
        Ok(Self { requests, requests_tx, at_once })
    }

    /// Returns a future that completes at the second signal to stop. Call it once.
    pub fn stop_at_once(&mut self) -> impl Future<Output = ()> + use<> {
        let at_once = std::mem::replace(&mut self.at_once, oneshot::channel().1);
        async move {
            if at_once.await.is_err() {
                future::pending().await
            }
        }
    }
}

/// Passes on the requests of signals, until the second one to stop.
async fn pass_on(
    mut signals: Signals,
    requests_tx: mpsc::UnboundedSender<Request>,
    at_once_tx: oneshot::Sender<()>,
) {
    let mut is_stopping = false;
    while let Some(signal) = signals.next().await {
        let request = match signal {
            SIGHUP => Request::Reload,
            SIGUSR1 => Request::Status,
            SIGUSR2 => Request::HandOver,
            _ => Request::Stop,
        };
        if request == Request::Stop && std::mem::replace(&mut is_stopping, true) {
            let _ = at_once_tx.send(());
            return;
        }
        // It fails when the daemon has ended.
        let _ = requests_tx.unbounded_send(request);
    }
}
