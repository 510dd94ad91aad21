//! The settings of the floors below, from the configuration.

use super::config::Config;
use crate::chat::Limits;
use crate::net::Settings;
use crate::net::settings::Rate;
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

/// Returns the settings of sessions and listeners.
pub fn settings(config: &Config) -> Settings {
    let mut greeting = config.greeting.clone().into_bytes();
    if !greeting.is_empty() {
        greeting.push(b'\n');
    }
    Settings {
        greeting,
        rules: Rules { max_line: config.max_line.bytes(), raw: config.raw },
        rate: rate(config),
        flush_after: config.flush_after,
        slow_timeout: config.slow_timeout,
        idle_timeout: config.idle_timeout,
        drain: config.drain,
        send_buffer: config.send_buffer.bytes(),
        max_clients: config.max_clients,
        max_per_ip: config.max_per_ip,
        ipv6_prefix: config.ipv6_prefix,
    }
}
