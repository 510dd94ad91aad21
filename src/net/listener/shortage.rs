//! Getting through a time without descriptors or memory: whether an error means one, how long the next attempt waits,
//! and how often the log hears of it.
//!
//! The listener asks after each accept(2) that failed. What depends on the time is told the time.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// The first wait after running out of descriptors or memory; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest such wait, hence the longest that newcomers wait once there are descriptors again.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The log says at most once in this time that there are no descriptors.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Says whether an error of accept(2) is a shortage that lasts, rather than the fate of one connection.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

/// What can be done about it.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise LimitNOFILE= or lower max_clients",
        _ => "the whole machine is short of it",
    }
}

/// How a listener gets through.
#[derive(Debug)]
pub(super) struct Shortage {
    /// A descriptor kept for telling newcomers.
    spare: Option<OwnedFd>,
    pause: Duration,
    reported: Option<Instant>,
}

impl Shortage {
    pub(super) fn new() -> Self {
        Self { spare: spare_descriptor(), pause: MIN_PAUSE, reported: None }
    }

    /// Somebody has been accepted.
    pub(super) fn is_over(&mut self) {
        self.pause = MIN_PAUSE;
        if self.spare.is_none() {
            self.spare = spare_descriptor();
        }
    }

    /// Does something with one descriptor more, if there is one to spare.
    pub(super) fn with_spare(&mut self, job: impl FnOnce()) {
        if self.spare.take().is_some() {
            job();
            self.spare = spare_descriptor();
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_PAUSE);
        pause
    }

    /// Says whether the log is to be told of it at `now`: then it has been.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.reported.is_none_or(|last| now.duration_since(last) >= REPORT_INTERVAL);
        if is_news {
            self.reported = Some(now);
        }
        is_news
    }
}

fn spare_descriptor() -> Option<OwnedFd> {
    fs::File::open("/dev/null").ok().map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_from_the_fate_of_one_connection() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(is_shortage(&errno.into()), "{errno:?}");
        }
        // Those that accept(2) names, and what a firewall may answer.
        for errno in [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::AGAIN,
            Errno::PROTO,
            Errno::PERM,
            Errno::NETDOWN,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
        ] {
            assert!(!is_shortage(&errno.into()), "{errno:?}");
        }
        assert!(!is_shortage(&io::ErrorKind::Other.into()));
    }

    #[test]
    fn the_wait_doubles_up_to_a_second_and_begins_anew_when_somebody_was_accepted() {
        let mut shortage = Shortage::new();
        let millis = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
        assert_eq!(millis.map(|_| shortage.next_pause().as_millis()), millis);
        shortage.is_over();
        assert_eq!(shortage.next_pause().as_millis(), 10);
    }

    #[test]
    fn the_log_hears_of_it_once_a_minute() {
        let (mut shortage, start) = (Shortage::new(), Instant::now());
        let heard =
            (0..=180_000).step_by(250).filter(|ms| shortage.is_news(start + Duration::from_millis(*ms)));
        assert_eq!(heard.collect::<Vec<_>>(), [0, 60_000, 120_000, 180_000]);
        // Also where somebody is let in now and then.
        shortage.is_over();
        assert!(!shortage.is_news(start + Duration::from_secs(239)));
    }

    #[test]
    fn the_spare_descriptor_is_there_again_afterwards() {
        let mut shortage = Shortage::new();
        for _ in 0..2 {
            let mut done = false;
            shortage.with_spare(|| done = true);
            assert!(done);
        }
        shortage.spare = None;
        shortage.with_spare(|| panic!("there is none"));
        shortage.is_over();
        assert!(shortage.spare.is_some());
    }
}
