//! Who has connected a unix socket: the kernel's word for it (unix(7), SO_PEERCRED).

use std::os::fd::AsFd;

use nix::unistd::{Uid, User};
use rustix::net::sockopt;

use crate::protocol::Name;
use crate::rt;

/// What the kernel shows for a user that does not exist where chatd runs (user_namespaces(7), overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// The user who has connected a unix socket; nothing for other sockets, and where the kernel cannot tell.
fn user_of(socket: impl AsFd) -> Option<u32> {
    let uid = sockopt::socket_peercred(socket).ok()?.uid.as_raw();
    (uid != OVERFLOW_UID).then_some(uid)
}

/// The login name of whoever has connected a unix socket, or `uid1000` for one that has none, or none that can be
/// shown. Nothing where the kernel cannot tell.
///
/// The names of users may come from a network service that takes its time: that is waited for elsewhere, and for this
/// session alone.
pub(super) async fn login_of(socket: impl AsFd) -> Option<Name> {
    let uid = user_of(socket)?;
    let user = rt::blocking(move || User::from_uid(Uid::from_raw(uid))).await;
    let login = user.ok().flatten().and_then(|user| Name::login(&user.name).ok());
    Some(login.unwrap_or_else(|| Name::user(uid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_says_who_has_connected() {
        let (_here, there) = UnixStream::pair().unwrap();
        let mine = rustix::process::getuid().as_raw();
        assert_eq!(user_of(&there), Some(mine).filter(|uid| *uid != OVERFLOW_UID));
    }

    #[test]
    fn a_tcp_socket_has_no_user() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(user_of(&socket), None);
    }
}
