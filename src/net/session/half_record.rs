//! Half a record of TLS, which the kernel cannot give out yet, and which the reactor reports again and again (Linux 6.1).
//!
//! A session looks away from it for a while, and longer each time that nothing has been added.

use std::time::{Duration, Instant};

/// How long a session looks away: first, and at most.
const FIRST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(320);

/// What has come of a record when there was nothing to receive; `None` for most sessions.
#[derive(Debug, Default)]
pub(super) struct HalfRecord(Option<Box<Seen>>);

#[derive(Debug)]
struct Seen {
    bytes: u64,
    /// How long the session looks away, and until when.
    wait: Duration,
    until: Instant,
}

impl HalfRecord {
    /// Notes that there was nothing to receive, and how many bytes of a record have come. The session looks away if these
    /// are as many as the last time.
    pub(super) fn note(&mut self, bytes: u64, now: impl FnOnce() -> Instant) {
        let before = self.0.take().filter(|seen| seen.bytes == bytes);
        if bytes > 0 {
            let wait = before.map_or(Duration::ZERO, |seen| (2 * seen.wait).clamp(FIRST, MOST));
            self.0 = Some(Box::new(Seen { bytes, wait, until: now() + wait }));
        }
    }

    /// Returns whether the session looks away.
    pub(super) fn is_overlooked(&self) -> bool {
        self.0.as_ref().is_some_and(|seen| !seen.wait.is_zero() && crate::rt::now() < seen.until)
    }

    /// Returns until when the session looks away, if it does.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.as_ref().filter(|seen| !seen.wait.is_zero()).map(|seen| seen.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_looks_away_longer_each_time_until_something_is_added() {
        let (mut half, now) = (HalfRecord::default(), Instant::now() + Duration::from_secs(3600));
        let mut noted = |bytes| {
            half.note(bytes, || now);
            assert_eq!(half.is_overlooked(), half.until().is_some());
            half.until().map(|until| until.duration_since(now).as_millis())
        };
        assert_eq!([0, 0, 7, 7, 7].map(&mut noted), [None, None, None, Some(10), Some(20)]);
        assert_eq!([7, 7, 7, 7, 7].map(&mut noted), [40, 80, 160, 320, 320].map(Some));
        assert_eq!([8, 8, 0, 8].map(&mut noted), [None, Some(10), None, None]);
    }
}
