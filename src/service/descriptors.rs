//! The limit of open files (RLIMIT_NOFILE in getrlimit(2)): raised at the start to the hard limit.

use rustix::process::Resource;

/// Descriptors that chatd needs besides one for each session: listeners, epoll, signals, log, the spare one.
const OTHER_DESCRIPTORS: u64 = 32;

/// Raises the soft limit of open files to the hard one. Shells and service managers set it low for programs that use
/// select(2). Logs a warning if it is still too low for `max_clients` connections.
pub fn raise_limit(max_clients: usize) {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let is_low = limit.current != limit.maximum;
    limit.current = limit.maximum;
    // Only if it changes something: the unit forbids the system call.
    if is_low && let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
        log::warn!("cannot raise the limit of open files: {error}");
    }
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if most < max_clients as u64 + OTHER_DESCRIPTORS {
        log::warn!(
            "{most} open files are allowed, too few for max_clients = {max_clients}: raise LimitNOFILE= or ulimit -n, or lower max_clients"
        );
    }
}
