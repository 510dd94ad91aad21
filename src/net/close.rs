//! The origin of a session, the reason for its end, and how a client is turned away that is no session yet.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::proxy::BadHeader;
use super::tls::Mode;
use super::tls::alert::{self, Alert};
use super::tls::handshake::Failure;
use crate::protocol::{Form, Notice};

/// The origin of a session, for the log.
pub(super) struct Origin(pub(super) Option<SocketAddr>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// The reason for the end of a session.
#[derive(Debug)]
pub(super) enum Close {
    /// It has been sent everything.
    Done,
    /// The connection failed.
    Broken(io::Error),
    /// It did not read for `slow_timeout`.
    Slow,
    /// It had not read everything within `drain`.
    Late,
    /// Another process goes on with it.
    Frozen,
    /// A proxy sent no header, or chatd stops before it did.
    NoHeader(BadHeader),
    /// It may not connect; it was told so.
    Refused(Notice),
    /// There is no TLS with it.
    NoTls(Failure),
    /// chatd restarts, and its keys end with the process.
    Unkept,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("it ended"),
            Self::Broken(error) => write!(f, "the connection failed: {error}"),
            Self::Slow => f.write_str("it did not read"),
            Self::Late => f.write_str("it had not read everything within drain"),
            Self::NoHeader(reason) => reason.fmt(f),
            Self::Refused(notice) => write!(f, "it was refused: {notice}"),
            Self::NoTls(failure) => failure.fmt(f),
            Self::Unkept => f.write_str("its keys end with this process"),
            Self::Frozen => f.write_str("another process goes on with it"),
        }
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Sends a client the reason why it cannot connect. `mode` is that of its listener. The reason is lost if the kernel does
/// not take it at once.
pub(super) fn turn_away(socket: impl AsFd, notice: &Notice, form: Form, mode: Mode) {
    // It fails if the client is gone already.
    let reason = reason(&socket, notice, form, mode);
    let _ = rustix::net::send(&socket, &reason, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let _ = rustix::net::shutdown(&socket, Shutdown::Write);
    discard(&socket);
}

/// Returns what tells a client why it cannot connect, before any handshake: a line, or an alert of TLS.
pub(super) fn reason(socket: impl AsFd, notice: &Notice, form: Form, mode: Mode) -> Vec<u8> {
    let first = || {
        let mut first = [0];
        let has_come = rustix::net::recv(&socket, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        has_come.is_ok_and(|(count, _)| count > 0).then_some(first[0])
    };
    if mode != Mode::Off && alert::understands_alerts(mode, first()) {
        return Alert::of(notice).record().to_vec();
    }
    let mut line = Vec::new();
    form.notice(notice, &mut line);
    line
}

/// Reads and drops what has arrived, up to 64 KiB. The kernel resets a connection that is closed with unread input, and
/// what was sent last would be lost.
fn discard(socket: impl AsFd) {
    for _ in 0..16 {
        let received = rustix::net::recv(&socket, &mut [0; 4096], RecvFlags::DONTWAIT);
        if !received.is_ok_and(|(_, len)| len == 4096) {
            return;
        }
    }
}
