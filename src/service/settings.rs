//! The settings of the floors below, from the configuration.

use std::sync::Arc;

use super::config::{Config, Listen, Networks, Serve};
use crate::chat::Limits;
use crate::net::access::{Access, AccessList, Gate};
use crate::net::networks::NetworkMap;
use crate::net::settings::Rate;
use crate::net::tls::{self, Mode};
use crate::net::{Address, Settings};
use crate::protocol::Rules;

/// Returns the limits of the hub.
pub fn limits(config: &Config) -> Limits {
    Limits {
        log_size: config.log_size.bytes(),
        history: config.history,
        max_rooms: config.max_rooms,
        min_rate: config.min_rate.bytes() as u64,
        memory: config.memory.bytes(),
        commands: config.commands,
    }
}

fn rate(config: &Config) -> Option<Rate> {
    let [per_second, burst] =
        [config.rate, config.burst].map(|lines| u32::try_from(lines).unwrap_or(u32::MAX));
    (per_second > 0).then_some(Rate { per_second, burst })
}

/// A listener: its real address, and the one that its entry of `listen` has.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The address of the socket, with the real port.
    pub real: Address,
    /// The address as it is configured.
    pub configured: Address,
    /// What it serves.
    pub serve: Serve,
}

/// Returns who may connect, in general and to each listener.
fn access(config: &Config, bound: &[Bound]) -> Access {
    let gate = |bound: &Bound| {
        let listen = config.listen.iter().find(|listen| listen.address == bound.configured);
        let mut proxies = NetworkMap::default();
        for proxy in listen.and_then(|listen| listen.proxy.as_ref()).into_iter().flat_map(|list| &list.0) {
            proxies.insert(*proxy, ());
        }
        let tls = tls_mode(config, bound.serve, listen);
        Gate { address: bound.real.clone(), list: listen.and_then(own_list), proxies, tls }
    };
    let gates = bound.iter().filter(|bound| bound.real.is_tcp()).map(gate).collect();
    Access { general: AccessList::new(&config.allow.0, &config.deny.0), gates }
}

/// Returns whether a listener speaks TLS: by itself it does with a certificate, but never for metrics.
fn tls_mode(config: &Config, serve: Serve, listen: Option<&Listen>) -> Mode {
    match listen.and_then(|listen| listen.tls) {
        _ if serve == Serve::Metrics => Mode::Off,
        Some(mode) => mode,
        None if config.tls_cert.is_some() => Mode::Optional,
        None => Mode::Off,
    }
}

/// Returns the lists that a listener has in place of those for all.
fn own_list(listen: &Listen) -> Option<AccessList> {
    let own = |list: &Option<Networks>| list.as_ref().map_or(Vec::new(), |list| list.0.clone());
    (listen.allow.is_some() || listen.deny.is_some())
        .then(|| AccessList::new(&own(&listen.allow), &own(&listen.deny)))
}

/// Returns the settings of sessions and listeners. `identity` is what `tls_cert` and `tls_key` make.
pub fn settings(config: &Config, bound: &[Bound], identity: Option<Arc<tls::Identity>>) -> Settings {
    let mut greeting = config.greeting.clone().into_bytes();
    if !greeting.is_empty() {
        greeting.push(b'\n');
    }
    // A name that cannot be is a mistake of the configuration, which was checked.
    let node = config.is_clustered().then(|| config.node.name().unwrap_or_default().into());
    Settings {
        node,
        greeting,
        rules: Rules { max_line: config.max_line.bytes(), raw: config.raw },
        rate: rate(config),
        flush_after: config.flush_after,
        slow_timeout: config.slow_timeout,
        idle_timeout: config.idle_timeout,
        drain: config.drain,
        send_buffer: config.send_buffer.bytes(),
        tls: identity,
        tls_timeout: config.tls_timeout,
        access: access(config, bound),
        max_clients: config.max_clients,
        max_per_ip: config.max_per_ip,
        ipv6_prefix: config.ipv6_prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::Material;

    #[test]
    fn a_listener_speaks_tls_if_there_is_a_certificate_unless_it_says_otherwise() {
        let mode = |tls_cert: Material, tls: Option<Mode>, serve: Serve| {
            let address: Address = "127.0.0.1:1".parse().unwrap();
            let listen = Listen { tls, serve, ..Listen::from(address.clone()) };
            let config = Config { tls_cert, listen: vec![listen], ..Config::default() };
            let gate = |configured: &str| {
                let bound = Bound { real: address.clone(), configured: configured.parse().unwrap(), serve };
                settings(&config, &[bound], None).access.gates[0].tls
            };
            // A listener that was passed, and has no entry.
            (gate("127.0.0.1:1"), gate("127.0.0.1:2"))
        };
        let file = || Material::File("/x".into());
        let (chat, metrics) = (Serve::Chat, Serve::Metrics);
        assert_eq!(mode(Material::None, None, chat), (Mode::Off, Mode::Off));
        assert_eq!(mode(file(), None, chat), (Mode::Optional, Mode::Optional));
        assert_eq!(mode(file(), None, metrics), (Mode::Off, Mode::Off));
        assert_eq!(mode(file(), Some(Mode::Off), chat), (Mode::Off, Mode::Optional));
        // Without a certificate that could be read: it must not become plain text.
        assert_eq!(mode(Material::None, Some(Mode::Required), chat), (Mode::Required, Mode::Off));
    }
}
