//! The limits of the hub, which floor 3 sets. chatd.toml(5) describes each of them.

/// The limits of the hub. A reload may change them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a log. A room has a log for each form in use.
    pub log_size: usize,
    /// Lines that each room stores for `/last`; 0 turns `/last` off.
    pub history: usize,
    /// Most rooms, the main room included.
    pub max_rooms: usize,
    /// Slowest reader that a room waits for, in bytes a second.
    pub min_rate: u64,
    /// Most bytes of all logs, histories and pending answers and private messages together.
    pub memory: usize,
    /// Whether lines that begin with a slash can be commands.
    pub commands: bool,
}
