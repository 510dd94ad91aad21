//! The listeners: sockets that the service manager has passed, or else the addresses of the configuration; and what the
//! log says about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use super::bind_error::BindError;
use super::config::{Config, Listen, Loaded, Origin, Serve};
use super::systemd::{self, Message, Passed};
use crate::chat::Arrival;
use crate::net::address::{Address, LinkLocal};
use crate::net::{Listener, http, listener};
use crate::protocol::{Notice, Reason};

/// A listener, and what the configuration has for its address.
#[derive(Debug)]
pub struct BoundListener {
    /// The listening socket.
    pub listener: Listener,
    /// Its entry of `listen`; one with the defaults if the configuration has none.
    pub listen: Listen,
}

/// The name of a passed socket (FileDescriptorName=) that serves metrics, whatever its address.
pub const METRICS: &str = "metrics";

/// Takes the sockets that were passed, if chatd can accept from any of them. Binds the addresses of `loaded` if none of
/// them is for the chat.
///
/// # Errors
/// The first address that cannot be bound; then none is.
pub fn open(loaded: &Loaded, passed: Vec<Passed>) -> Result<Vec<BoundListener>, BindError> {
    let (metrics, passed): (Vec<_>, Vec<_>) = passed.into_iter().partition(|passed| passed.name == METRICS);
    let (metrics, inherited) = (inherit(metrics), inherit(passed));
    let is_own = inherited.is_empty();
    let mut listeners =
        if is_own { bind_all(&loaded.config)? } else { inherited_listeners(inherited, &loaded.config) };
    listeners.extend(metrics.into_iter().map(|listener| {
        let listen = Listen { serve: Serve::Metrics, ..Listen::from(listener.address().clone()) };
        BoundListener { listener, listen }
    }));
    if !is_own {
        tell_what_is_not_used(loaded, &listeners);
    }
    Ok(listeners)
}

/// Binds all addresses of `config`.
///
/// # Errors
/// The first that cannot be bound; then none is.
pub fn bind_all(config: &Config) -> Result<Vec<BoundListener>, BindError> {
    let bind = |(at, listen): (usize, &Listen)| match Listener::bind(&listen.address) {
        Ok(listener) => Ok(BoundListener { listener, listen: listen.clone() }),
        Err(error) => {
            let before = config.listen[..at].iter().map(|listen| &listen.address);
            Err(BindError::new(&listen.address, before, error))
        }
    };
    config.listen.iter().enumerate().map(bind).collect()
}

/// Pairs passed listeners with what `config` has for the same address.
pub fn inherited_listeners(listeners: Vec<Listener>, config: &Config) -> Vec<BoundListener> {
    let one = |listener: Listener| {
        let listen = listen_at(&listener, config).cloned();
        let listen = listen.unwrap_or_else(|| Listen::from(listener.address().clone()));
        BoundListener { listener, listen }
    };
    listeners.into_iter().map(one).collect()
}

/// Returns the view and room that `config` has for the address of `socket`; the defaults if it has none.
pub fn arrival_at(socket: impl AsFd, config: &Config) -> Arrival {
    listen_at(socket, config).map_or_else(Arrival::default, arrival)
}

/// Returns the entry that `config` has for the address of `socket`.
fn listen_at(socket: impl AsFd, config: &Config) -> Option<&Listen> {
    config.listen.iter().find(|listen| listen.address.is_of(&socket))
}

/// Returns the view and room in which clients of this address begin.
pub fn arrival(listen: &Listen) -> Arrival {
    Arrival { view: listen.view, room: listen.room.clone(), ..Arrival::default() }
}

/// Tells clients that wait at the passed sockets that nobody will serve them, and closes them. Otherwise they would
/// make the service manager start the next process at once.
pub fn turn_away(passed: &[Passed]) {
    let notice = Notice::Closing { reason: Reason::CannotStart };
    passed.iter().for_each(|passed| listener::turn_away_waiting(&passed.fd, &notice));
}

/// Returns the passed listeners. Closes the other descriptors, logs why, and has the service manager forget them.
fn inherit(passed: Vec<Passed>) -> Vec<Listener> {
    let mut inherited = Vec::new();
    for Passed { fd, name } in passed {
        match Listener::inherit(fd) {
            Ok(listener) => inherited.push(listener),
            Err(error) => {
                let shown = name.escape_default();
                log::warn!("cannot use the passed descriptor \"{shown}\": {error}");
                systemd::notify(Message::Forget(name));
            }
        }
    }
    inherited
}

/// Logs that `listen` is set but not used.
fn tell_what_is_not_used(loaded: &Loaded, listeners: &[BoundListener]) {
    let origin = loaded.origin("listen");
    let is_used = |listen: &Listen| listeners.iter().any(|one| listen.address.is_of(&one.listener));
    if *origin != Origin::Default && !loaded.config.listen.iter().all(is_used) {
        log::warn!(
            "{}: \"listen\" is not used, because the service manager passes the sockets; change the addresses with: systemctl edit chatd.socket",
            origin.place("listen")
        );
    }
}

/// Logs where chatd listens, and how to try it. `requires_tls` tells the listeners that turn plain text away.
pub fn announce(addresses: &[(Address, Serve)], requires_tls: impl Fn(&Address) -> bool) {
    for (address, serve) in addresses {
        if *serve == Serve::Metrics {
            log::info!("metrics on {address}; try: {}", curl(address));
        } else if requires_tls(address) {
            log::info!("listening on {address}; try: {}", s_client(address));
        } else {
            log::info!("listening on {address}; try: {}", nc(address));
        }
    }
}

/// Returns a command that begins a chat at an address.
fn nc(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("nc {} {}", reachable(address.ip()), address.port()),
        Address::LinkLocal(LinkLocal { ip, zone, port }) => format!("nc {ip}%{zone} {port}"),
        Address::Unix(path) => format!("nc -U {}", path.display()),
    }
}

/// Returns a command that begins a chat at an address where only TLS is spoken.
fn s_client(address: &Address) -> String {
    let address = match address {
        Address::Tcp(address) => SocketAddr::new(reachable(address.ip()), address.port()).to_string(),
        _ => address.to_string(),
    };
    format!("openssl s_client -quiet -connect {address}")
}

/// Returns a command that shows the metrics at an address.
fn curl(address: &Address) -> String {
    let path = http::PATH;
    match address {
        Address::Tcp(address) => {
            format!("curl http://{}{path}", SocketAddr::new(reachable(address.ip()), address.port()))
        }
        Address::LinkLocal(LinkLocal { ip, zone, port }) => {
            format!("curl 'http://[{ip}%25{zone}]:{port}{path}'")
        }
        Address::Unix(file) => format!("curl --unix-socket {} http://localhost{path}", file.display()),
    }
}

/// Returns an address at which a program on this machine reaches a socket that is bound to `ip`.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_tried_reaches_the_listener() {
        for (address, plain, tls) in [
            ("0.0.0.0:5001", "nc 127.0.0.1 5001", "127.0.0.1:5001"),
            ("[::]:5001", "nc ::1 5001", "[::1]:5001"),
            ("[fe80::7%lo]:5001", "nc fe80::7%lo 5001", "[fe80::7%lo]:5001"),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(nc(&address), plain);
            assert_eq!(s_client(&address), format!("openssl s_client -quiet -connect {tls}"));
        }
        assert_eq!(nc(&"/run/a".parse().unwrap()), "nc -U /run/a");
    }
}
