//! The conversation with the service manager: sd_notify(3).
//!
//! Without NOTIFY_SOCKET all of this does nothing. Each message opens a blocking socket, so it is sent
//! from a thread that may block. A message that cannot be sent is told to the log once; the daemon goes
//! on, for its callers need it more than its manager does.

use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;

use crate::rt;

/// A message to the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// chatd accepts connections. The text is for `systemctl status`.
    Ready(String),
    /// How things are, for `systemctl status`.
    Status(String),
    /// The configuration is being read again; [`Message::Ready`] follows.
    Reloading,
    /// chatd is draining.
    Stopping(String),
}

/// Says whether a service manager listens.
pub fn is_listening() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sends a message and waits until the service manager's socket has taken it.
pub async fn notify(message: Message) {
    if is_listening() {
        rt::blocking(move || send(&message)).await;
    }
}

fn send(message: &Message) {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    let sent = match message {
        Message::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
        // From v253 on systemd kills a service that reloads without saying since when.
        Message::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|since| sd_notify::notify(&[NotifyState::Reloading, since])),
        Message::Stopping(status) => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)]),
    };
    if let Err(error) = sent
        && !REPORTED.swap(true, Ordering::Relaxed)
    {
        log::warn!("cannot talk to the service manager at NOTIFY_SOCKET: {error}");
    }
}
