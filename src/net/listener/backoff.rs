//! The backoff of a listener: which errors of accept(2) make it wait, for how long, and how often the log hears of
//! them.
//!
//! The listener asks after each accept(2) that failed, and says when accept(2) works again. What depends on the time
//! is told the time.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// The first pause; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause, hence the longest that newcomers wait once accept(2) works again.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Up to this many errors in a row count as errors of single connections; the next one counts as an error that lasts.
const ERRORS_IN_A_ROW: u32 = 16;

/// The log gets at most one warning in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Returns whether an error of accept(2) means that the process or the machine has run out of something. Such an
/// error lasts from the first one on.
fn is_shortage(errno: Errno) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
}

/// Returns what to do about an error that lasts.
pub(super) fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE => "raise LimitNOFILE= or lower max_clients",
        Errno::NFILE => "the whole machine is out of file descriptors: raise the sysctl fs.file-max",
        Errno::NOBUFS | Errno::NOMEM => "the whole machine is short of memory",
        Errno::PERM | Errno::ACCESS => {
            "a seccomp filter or a security module forbids it: allow accept4(2) in SystemCallFilter= or in the profile"
        }
        _ => {
            "if this lasts, restart the socket: systemctl restart chatd.socket, or restart chatd if you run it by hand"
        }
    }
}

/// How a listener gets through errors of accept(2).
#[derive(Debug)]
pub(super) struct Backoff {
    /// A spare descriptor for telling newcomers that none is left.
    spare: Option<OwnedFd>,
    /// Errors since accept(2) worked last.
    errors: u32,
    pause: Duration,
    /// The error that lasts, while one does.
    lasting: Option<Errno>,
    reported: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { spare: spare_descriptor(), errors: 0, pause: MIN_PAUSE, lasting: None, reported: None }
    }

    /// Ends the backoff, for accept(2) has worked: it has returned a connection, or has said that nobody waits.
    /// Returns the error that had lasted until now.
    pub(super) fn end(&mut self) -> Option<Errno> {
        self.errors = 0;
        self.pause = MIN_PAUSE;
        if self.spare.is_none() {
            self.spare = spare_descriptor();
        }
        self.lasting.take()
    }

    /// Counts an error of accept(2). Returns whether it lasts: whether the next attempt has to wait for
    /// [`Backoff::next_pause`].
    pub(super) fn lasts(&mut self, error: &io::Error) -> bool {
        self.errors = self.errors.saturating_add(1);
        self.errors > ERRORS_IN_A_ROW || Errno::from_io_error(error).is_some_and(is_shortage)
    }

    /// Notes an error that lasts. Returns its number.
    pub(super) fn begin(&mut self, error: &io::Error) -> Errno {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        self.lasting = Some(errno);
        errno
    }

    /// Runs `job` with the spare descriptor free, if descriptors are what is missing.
    pub(super) fn with_spare(&mut self, job: impl FnOnce()) {
        if self.lasting.is_some_and(is_shortage) && self.spare.take().is_some() {
            job();
            self.spare = spare_descriptor();
        }
    }

    /// Returns how long to wait before the next attempt.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_PAUSE);
        pause
    }

    /// Returns whether to log at `now`, and counts that as logged.
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

    const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

    /// Those that accept(2) names for one connection, what a firewall or a filter may say, and what nobody has heard
    /// of.
    const OTHERS: [Errno; 16] = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::ACCESS,
        Errno::INVAL,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
        Errno::NOSYS,
        Errno::from_raw_os_error(3999),
    ];

    #[test]
    fn a_shortage_lasts_at_once() {
        for errno in SHORTAGES {
            assert!(Backoff::new().lasts(&errno.into()), "{errno:?}");
        }
    }

    #[test]
    fn any_other_error_lasts_after_a_few_in_a_row() {
        for errno in OTHERS {
            let mut backoff = Backoff::new();
            for _ in 0..2 {
                let pauses = (0..40).map(|_| backoff.lasts(&errno.into()));
                assert_eq!(pauses.filter(|lasts| !lasts).count(), 16, "{errno:?}");
                // Then somebody is accepted.
                backoff.end();
            }
        }
        let mut backoff = Backoff::new();
        let mixed = OTHERS.iter().cycle().take(40).filter(|errno| !backoff.lasts(&(**errno).into()));
        assert_eq!(mixed.count(), 16, "also where they differ");
        assert!(!Backoff::new().lasts(&io::ErrorKind::Other.into()), "without a number");
    }

    #[test]
    fn the_error_that_lasts_is_known_until_it_is_over() {
        let mut backoff = Backoff::new();
        assert!(backoff.lasts(&Errno::MFILE.into()));
        assert_eq!(backoff.begin(&Errno::MFILE.into()), Errno::MFILE);
        assert_eq!((backoff.end(), backoff.end()), (Some(Errno::MFILE), None));
    }

    #[test]
    fn every_error_has_a_remedy() {
        for errno in SHORTAGES.into_iter().chain(OTHERS) {
            assert!(remedy(errno).len() > 20, "{errno:?}");
        }
        assert!(remedy(Errno::PERM).contains("seccomp"));
    }

    #[test]
    fn the_pause_doubles_up_to_a_second_and_begins_anew_when_accept_works() {
        let mut backoff = Backoff::new();
        let millis = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
        assert_eq!(millis.map(|_| backoff.next_pause().as_millis()), millis);
        backoff.end();
        assert_eq!(backoff.next_pause().as_millis(), 10);
    }

    #[test]
    fn the_log_hears_of_it_once_a_minute() {
        let (mut backoff, start) = (Backoff::new(), Instant::now());
        let heard =
            (0..=180_000).step_by(250).filter(|ms| backoff.is_news(start + Duration::from_millis(*ms)));
        assert_eq!(heard.collect::<Vec<_>>(), [0, 60_000, 120_000, 180_000]);
        // Also where somebody is let in now and then.
        backoff.end();
        assert!(!backoff.is_news(start + Duration::from_secs(239)));
    }

    #[test]
    fn the_spare_descriptor_is_for_shortages_and_is_there_again_afterwards() {
        let mut backoff = Backoff::new();
        backoff.begin(&Errno::PERM.into());
        backoff.with_spare(|| panic!("it would not help"));
        backoff.begin(&Errno::MFILE.into());
        for _ in 0..2 {
            let mut done = false;
            backoff.with_spare(|| done = true);
            assert!(done);
        }
        backoff.spare = None;
        backoff.with_spare(|| panic!("there is none"));
        backoff.end();
        assert!(backoff.spare.is_some());
    }
}
