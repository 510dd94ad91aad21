//! Finds the user at the other end of a unix socket, as the kernel says (unix(7), SO_PEERCRED).

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::unistd::{Group, Uid, User};
use rustix::net::sockopt;

use crate::protocol::Name;
use crate::rt::BlockingJobs;

/// The user that the kernel shows for one that does not exist where chatd runs (user_namespaces(7), overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// Returns the user at the other end of a unix socket; `None` for other sockets, and if the kernel cannot tell.
fn user_of(socket: impl AsFd) -> Option<u32> {
    let uid = sockopt::socket_peercred(socket).ok()?.uid.as_raw();
    (uid != OVERFLOW_UID).then_some(uid)
}

/// Returns whether the user at the other end of a unix socket is root, or in this group (SO_PEERCRED and SO_PEERGROUPS
/// in unix(7)). The kernel notes the groups when the client connects.
pub(super) fn is_operator(socket: impl AsFd, group: Option<u32>) -> bool {
    let Ok(peer) = sockopt::socket_peercred(&socket) else { return false };
    let is_member = |group: u32| peer.gid.as_raw() == group || groups_of(&socket).contains(&group);
    peer.uid.is_root() || group.is_some_and(is_member)
}

/// Returns the ID of a group; `None` if there is no such group. Waits for the lookup.
pub fn find_group(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// Does the same as [`find_group`] in another thread; `None` if the lookup takes longer than five seconds.
pub async fn group_of(name: String) -> Option<u32> {
    LOOKUPS.run(LOOKUP_TIMEOUT, move || find_group(&name)).await.flatten()
}

/// Returns the supplementary groups of the user at the other end of a unix socket; none for other sockets.
fn groups_of(socket: impl AsFd) -> Vec<u32> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes to `groups`, and any bits are a u32.
        #[allow(unsafe_code)]
        let result = unsafe {
            let fd = socket.as_fd().as_raw_fd();
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return groups;
        }
        if count <= groups.len() {
            return Vec::new();
        }
        // There are more (ERANGE).
        groups.resize(count, 0);
    }
}

/// How long a client waits for its login name, which may come from a network service that hangs.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// At most eight lookups at a time. The time in the queue counts against [`LOOKUP_TIMEOUT`].
static LOOKUPS: BlockingJobs = BlockingJobs::new(8);

/// Returns the login name of the user at the other end of a unix socket. It is `uid1000` if the user has no name that
/// can be shown, or if the lookup takes longer than [`LOOKUP_TIMEOUT`]; `None` if the kernel cannot tell the user.
pub(super) async fn login_of(socket: impl AsFd) -> Option<Name> {
    let uid = user_of(socket)?;
    let lookup = move || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    Some(name_of(uid, &LOOKUPS, LOOKUP_TIMEOUT, lookup).await)
}

/// Returns the result of `lookup`, if it is a valid name.
async fn name_of(
    uid: u32,
    lookups: &'static BlockingJobs,
    within: Duration,
    lookup: impl FnOnce() -> Option<String> + Send + 'static,
) -> Name {
    let login = lookups.run(within, lookup).await.flatten();
    login.and_then(|login| Name::login(&login).ok()).unwrap_or_else(|| Name::user(uid))
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
    fn who_cannot_be_looked_up_in_time_is_a_number_and_the_next_one_has_a_name() {
        const AT_ONCE: Duration = Duration::from_millis(1);
        static LOOKUPS: BlockingJobs = BlockingJobs::new(2);
        let found = |name: &str| Some(name.to_owned());
        crate::rt::run(1, async move {
            let (ends_tx, ends_rx) = std::sync::mpsc::channel::<()>();
            let ends_rx = std::sync::Arc::new(std::sync::Mutex::new(ends_rx));
            for _ in 0..5 {
                let ends_rx = std::sync::Arc::clone(&ends_rx);
                let hang = move || {
                    let _ = ends_rx.lock().unwrap().recv();
                    found("late")
                };
                // The first two hang; the others do not even begin.
                assert_eq!(name_of(1000, &LOOKUPS, AT_ONCE, hang).await, Name::user(1000));
            }
            drop(ends_tx);
            let ann = name_of(1000, &LOOKUPS, LOOKUP_TIMEOUT, move || found("ann")).await;
            assert_eq!(ann, Name::login("ann").unwrap());
        });
    }

    #[test]
    fn a_tcp_socket_has_no_user() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(user_of(&socket), None);
    }
}
