//! The status in one line, for `systemctl status` and the log.

use std::fmt;

use rustix::io::Errno;

/// The status, for `systemctl status` and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Number of sessions.
    pub sessions: usize,
    /// Number of rooms.
    pub rooms: usize,
    /// Number of lines since the start.
    pub lines: u64,
    /// The error of accept(2), while chatd cannot accept connections.
    pub accept_failure: Option<Errno>,
    /// How the cluster is doing; `None` without one.
    pub cluster: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u64, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{} {noun}{plural}", grouped(count))
        };
        let (sessions, rooms) = (count(self.sessions as u64, "session"), count(self.rooms as u64, "room"));
        write!(f, "{sessions}, {rooms}, {}", count(self.lines, "line"))?;
        self.cluster.iter().try_for_each(|cluster| write!(f, "; {cluster}"))?;
        let Some(errno) = self.accept_failure else { return Ok(()) };
        let reason = errno.to_string();
        write!(f, "; cannot accept connections: {}", reason.split(" (os error").next().unwrap_or_default())
    }
}

/// A number as people read it: 1,204.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b","[..])).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_counts_as_people_do() {
        let status = |sessions, lines| {
            Status { sessions, rooms: 1, lines, accept_failure: None, cluster: None }.to_string()
        };
        assert_eq!(status(1, 0), "1 session, 1 room, 0 lines");
        assert_eq!(status(999, 1), "999 sessions, 1 room, 1 line");
        assert_eq!(status(1_000, 1_234_567), "1,000 sessions, 1 room, 1,234,567 lines");
    }

    #[test]
    fn a_status_says_how_the_cluster_is_doing() {
        let cluster = Some("node alpha of 3 nodes".to_owned());
        let status = Status { sessions: 3, rooms: 1, lines: 12, accept_failure: None, cluster };
        assert_eq!(status.to_string(), "3 sessions, 1 room, 12 lines; node alpha of 3 nodes");
    }

    #[test]
    fn a_status_says_why_nobody_can_connect() {
        let accept_failure = Some(Errno::PERM);
        let status = Status { sessions: 3, rooms: 1, lines: 12, accept_failure, cluster: None };
        let expected = "3 sessions, 1 room, 12 lines; cannot accept connections: Operation not permitted";
        assert_eq!(status.to_string(), expected);
    }
}
