//! The limit of open files (RLIMIT_NOFILE in getrlimit(2)): raised at the start as far as it goes.

use rustix::process::Resource;

/// Descriptors that are needed besides one for each session: listeners, epoll, signals, log, the spare one.
const OTHER_DESCRIPTORS: u64 = 32;

/// Raises the limit of open files as far as this process may, for shells and service managers set it low for
/// the sake of programs that use select(2). Says so where it is too low for `max_clients` all the same.
pub fn raise_limit(max_clients: usize) {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let is_low = limit.current != limit.maximum;
    limit.current = limit.maximum;
    // Where nothing is to be changed, nothing is asked for: the unit forbids the system call.
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
