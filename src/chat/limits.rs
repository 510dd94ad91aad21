//! The limits that floor 3 sets for the hub; see chatd.toml(5) for each.

/// How much a room keeps, and what it asks of its members.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in each log: each room has one for each form in use.
    pub log_size: usize,
    /// Lines for `/last` in each room; 0 for none.
    pub history: usize,
    /// Most rooms.
    pub max_rooms: usize,
    /// Bytes a second that a member takes at least if a room is to wait for it.
    pub min_rate: u64,
    /// Bytes that logs, histories and what is owed may use together.
    pub memory: usize,
    /// Lines that begin with a slash may be commands.
    pub commands: bool,
}
