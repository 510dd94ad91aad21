//! Entries of the lists in notices, and how their sentences are put together.

use serde::{Deserialize, Serialize};

use super::said::Who;

/// A member in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The number of its connection.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether the name is verified.
    pub verified: bool,
    /// The node whose kernel proves the name. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether the name of another user looks the same. The sentence then also has the number. Not in `json`.
    #[serde(skip)]
    pub is_lookalike: bool,
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomCount {
    /// The name of the room.
    pub room: String,
    /// Number of members.
    pub members: usize,
}

/// A member that has not read all there is for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// The number of its connection.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether the name is verified.
    pub verified: bool,
    /// Bytes that wait for it.
    pub behind: u64,
}

impl Person {
    /// Returns the member as it stands in a list.
    pub fn of(who: &Who, is_lookalike: bool) -> Self {
        let (name, host) = (who.name.to_string(), who.name.node().map(str::to_owned));
        Self { id: who.id, name, verified: who.verified, host, is_lookalike }
    }

    pub(super) fn shown(&self) -> String {
        let name = marked(&self.name, self.verified);
        if self.is_lookalike { format!("{name} (#{})", self.id) } else { name }
    }
}

/// Returns the name with `+` before it if it is verified.
pub(super) fn marked(name: &str, verified: bool) -> String {
    format!("{}{name}", if verified { "+" } else { "" })
}

/// Formats a list: `3 here: ann, bob, guest7`. If `count` is more than the names, `and 7 more` follows.
pub(super) fn listed(count: usize, noun: &str, names: Vec<String>) -> String {
    let more = match count.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{count} {noun}: {}{more}", names.join(", "))
}

/// Returns a number with its noun.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns the reason as the end of a sentence; nothing if it is empty.
pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Returns the end of a ban or a mute as a part of a sentence; nothing if it has none.
pub(super) fn until_when(until: Option<&str>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until}"))
}

/// Formats numbers about the daemon, and then the members that are farthest behind.
pub(super) fn stats(numbers: Vec<String>, slowest: &[Reader]) -> String {
    let reader = |one: &Reader| {
        format!("{} (#{}) {} bytes behind", marked(&one.name, one.verified), one.id, one.behind)
    };
    numbers.into_iter().chain(slowest.iter().map(reader)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_many_are_not_in_it() {
        let who = |count| listed(count, "here", vec!["ann".to_owned(), "bob".to_owned()]);
        assert_eq!(who(2), "2 here: ann, bob");
        assert_eq!(who(9), "9 here: ann, bob and 7 more");
    }
}
