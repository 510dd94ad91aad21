//! Socket options that chatd sets and reads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::SockRef;

/// A connection on which nothing has arrived for this long is probed (tcp(7), TCP_KEEPIDLE).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Time between probes (TCP_KEEPINTVL).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// This many probes without an answer end the connection (TCP_KEEPCNT).
const KEEPALIVE_PROBES: u32 = 6;
/// Data that is not acknowledged for this long ends the connection, in milliseconds (TCP_USER_TIMEOUT).
const USER_TIMEOUT_MS: u32 = 120_000;

/// Makes a stream socket that is closed on exec.
///
/// # Errors
/// The kernel's, if there are no descriptors or no such family.
pub fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Sets the TCP options: short lines go out at once (TCP_NODELAY), urgent data (telnet's Ctrl-C) is read inline
/// (SO_OOBINLINE), and keep-alive finds dead clients. Set on a listening socket, they hold for the connections that are
/// accepted from it.
///
/// # Errors
/// The kernel's, for example if the socket is not TCP.
pub fn set_tcp(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_oobinline(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Limits what the kernel buffers for a connection that does not read, to about `bytes`. Over TCP the limit is for
/// unsent bytes only (tcp(7), TCP_NOTSENT_LOWAT), so it does not slow down distant readers. Over a unix socket it is
/// for all of them (socket(7), SO_SNDBUF).
///
/// # Errors
/// The kernel's, if the connection has ended.
pub fn bound_unsent(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    if sockopt::socket_domain(&socket)? == AddressFamily::UNIX {
        return Ok(sockopt::set_socket_send_buffer_size(&socket, bytes)?);
    }
    SockRef::from(&socket).set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// Returns how many bytes a stream socket has taken that the other side has not acknowledged (tcp(7), SIOCOUTQ).
/// Returns 0 if the kernel cannot tell, and for a unix socket, whose bytes are on the other side at once.
pub fn unacknowledged(socket: impl AsFd) -> usize {
    if sockopt::socket_domain(&socket).is_ok_and(|domain| domain == AddressFamily::UNIX) {
        return 0;
    }
    // The same number as TIOCOUTQ, which differs between architectures.
    const SIOCOUTQ: rustix::ioctl::Opcode = nix::libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: SIOCOUTQ stores one int at the address it is given, which `Getter` provides, and has no
    // other effect.
    #[allow(unsafe_code)]
    let answer =
        unsafe { rustix::ioctl::ioctl(socket, rustix::ioctl::Getter::<SIOCOUTQ, std::ffi::c_int>::new()) };
    answer.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::SendFlags;
    use std::net::{TcpListener, TcpStream};

    /// How many bytes the kernel takes of a stream whose other side never reads.
    fn taken(socket: impl AsFd, bound: usize) -> usize {
        bound_unsent(&socket, bound).unwrap();
        let (text, mut taken) = (vec![b'x'; 16 * 1024], 0);
        while let Ok(count) = rustix::net::send(&socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            taken += count;
        }
        taken
    }

    #[test]
    fn the_kernel_keeps_little_for_who_does_not_read() {
        const BOUND: usize = 64 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = || {
            let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, caller)
        };
        let (bounded, other) = (pair(), pair());
        let (bounded, other) = (taken(&bounded.0, BOUND), taken(&other.0, 64 << 20));
        // Besides that, both have sent what the other side has space for.
        assert!(bounded > BOUND && bounded + 4 * BOUND < other, "{bounded} and {other}");
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let little = taken(&one, BOUND);
        assert!(little <= 4 * BOUND, "{little}");
    }

    #[test]
    fn what_the_other_side_has_no_space_for_is_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&socket), 0);
        let taken = taken(&socket, 64 * 1024);
        assert!((1..=taken).contains(&unacknowledged(&socket)));
    }

    #[test]
    fn what_is_set_on_a_listener_holds_for_who_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_tcp(&listener).unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        for socket in [accepted.as_fd(), listener.as_fd()] {
            assert!(sockopt::tcp_nodelay(socket).unwrap());
            assert!(sockopt::socket_oobinline(socket).unwrap());
            assert!(sockopt::socket_keepalive(socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(socket).unwrap().as_secs(), 60);
            assert_eq!(sockopt::tcp_keepintvl(socket).unwrap().as_secs(), 10);
            assert_eq!(sockopt::tcp_keepcnt(socket).unwrap(), 6);
            assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), 120_000);
        }
        assert!(!sockopt::socket_keepalive(&caller).unwrap(), "it is not so by itself");
    }
}
