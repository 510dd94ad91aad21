//! The runtime: the only file that names `async_std` and the crates below it.
//!
//! It owns what everything above needs of an executor and a reactor: spawning tasks, waiting for a
//! descriptor to become ready, timers, and starting it all. The rest of chatd speaks the `futures`
//! traits, so that a move to smol, which stands on the same reactor and executor, is a change to
//! this file alone. It must never know what a session, a room or a line is.

use std::future::Future;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Async;
use async_lock::Semaphore;
use futures::future::{self, Either};

pub use async_std::task::JoinHandle;

/// Starts the executor with `threads` threads (at least one) and blocks until `main` is done. Only the first call in a
/// process sets the number of threads.
///
/// The calling thread only waits and takes no part in the reactor: a thread that waits in the reactor
/// for others would have to wake them for every event, which costs more than the event itself.
pub fn run<T: Send + 'static>(threads: usize, main: impl Future<Output = T> + Send + 'static) -> T {
    let config = async_global_executor::GlobalExecutorConfig::default()
        .with_min_threads(threads.max(1))
        .with_max_threads(threads.max(1))
        .with_thread_name_fn(|| "chatd/task".to_string());
    with_timer_slack(HAND_OVER_SLACK, || async_global_executor::init_with_config(config));
    futures::executor::block_on(spawn(main))
}

/// How late the timers of the runtime's own threads may be.
///
/// async-io has a thread that takes the reactor over when nobody has looked at it for 50 microseconds, and from
/// then on every event wakes that thread first and the one with the tasks second: a quarter of what a line to a
/// hundred members costs. It backs off if the reactor is in use when it looks, so it is enough that it looks late.
/// Timers that tasks wait for are timerfds, to which slack does not apply (prctl(2), PR_SET_TIMERSLACK).
const HAND_OVER_SLACK: NonZeroU64 = NonZeroU64::new(5_000_000).expect("five milliseconds are not zero");

/// Calls `start` with that much timer slack, in nanoseconds, which the threads that it starts inherit.
fn with_timer_slack(slack: NonZeroU64, start: impl FnOnce()) {
    // If the kernel refuses, everything still works, more slowly.
    let _ = rustix::thread::set_current_timer_slack(Some(slack));
    start();
    let _ = rustix::thread::set_current_timer_slack(None);
}

/// Runs `task` on the executor. Dropping the handle leaves the task running.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    async_std::task::spawn(task)
}

/// The same for tasks of which there are thousands: it has no handle, no number and no values of its own, which take 40
/// bytes.
pub fn spawn_session(task: impl Future<Output = ()> + Send + 'static) {
    async_global_executor::spawn(task).detach();
}

/// Runs `job` on a thread where it may block, away from the executor.
pub async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    async_std::task::spawn_blocking(job).await
}

/// Runs a bounded number of jobs at a time that may block for long, so that threads are left for [`blocking`].
#[derive(Debug)]
pub struct BlockingJobs {
    permits: Semaphore,
}

impl BlockingJobs {
    /// Makes one that runs at most `most` jobs at a time.
    pub const fn new(most: usize) -> Self {
        Self { permits: Semaphore::new(most) }
    }

    /// Runs `job` when it is its turn. Returns `None` if it has not ended `within` this time. A job that has begun
    /// goes on, and counts, until it ends.
    pub async fn run<T: Send + 'static>(
        &'static self,
        within: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match future::select(Box::pin(self.run_to_end(job)), Box::pin(sleep(within))).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }

    /// Runs `job` when it is its turn, however long that takes. If this is dropped, a job that has begun goes on, and
    /// counts, until it ends.
    pub async fn run_to_end<T: Send + 'static>(&'static self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.permits.acquire().await;
        blocking(move || (job(), drop(permit)).0).await
    }
}

/// Completes after `duration`. Each call is a timer of its own in the reactor: use it for a few tasks, not
/// for every session (see [`crate::net::alarm`]).
pub async fn sleep(duration: Duration) {
    async_io::Timer::after(duration).await;
}

/// A timer that can be set, set again and cleared; while it is not set it never fires.
#[derive(Debug)]
pub struct Timer(async_io::Timer);

impl Default for Timer {
    fn default() -> Self {
        Self(async_io::Timer::never())
    }
}

impl Timer {
    /// Sets it to fire at `when`, and only then.
    pub fn set(&mut self, when: Instant) {
        self.0.set_at(when);
    }

    /// Returns whether a time is set that has not been reported yet.
    pub fn is_set(&self) -> bool {
        self.0.will_fire()
    }

    /// Clears it: it does not fire until it is set again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns `Ready` once when the time has come; then it is clear.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// A descriptor that the reactor watches. It is closed when this is dropped.
#[derive(Debug)]
pub struct Io(Async<OwnedFd>);

impl Io {
    /// Takes over `fd` and makes it non-blocking.
    ///
    /// # Errors
    /// The kernel's, for a descriptor that epoll(7) refuses (a regular file, say).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(Async::new_nonblocking(fd)?))
    }

    /// Returns `Ready` when the descriptor has become readable since the last `Ready`. The caller reads it. Until
    /// then only readability wakes `cx`.
    ///
    /// Only one task may wait: two would wake each other for ever.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(cx)
    }

    /// As [`Io::poll_readable`], for the other direction.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_writable(cx)
    }
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the time. Prefer to take the time as an argument.
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the time of day, which the operator may set forward or back.
pub fn wall_clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Lets the other tasks run first.
pub async fn yield_now() {
    async_std::task::yield_now().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::executor::block_on;
    use futures::future::poll_fn;

    #[test]
    fn a_timer_fires_once_each_time_it_is_set() {
        let mut timer = Timer::default();
        let is_ready = |timer: &mut Timer| poll_fn(|cx| timer.poll(cx)).now_or_never().is_some();
        assert!(!timer.is_set() && !is_ready(&mut timer));
        for _ in 0..2 {
            timer.set(now() + Duration::from_millis(1));
            assert!(timer.is_set());
            block_on(poll_fn(|cx| timer.poll(cx)));
            assert!(!timer.is_set() && !is_ready(&mut timer));
        }
    }

    #[test]
    fn a_timer_that_is_cleared_or_set_later_does_not_fire() {
        let mut timer = Timer::default();
        let is_ready = |timer: &mut Timer| poll_fn(|cx| timer.poll(cx)).now_or_never().is_some();
        let past = now();
        timer.set(past);
        timer.set(past + Duration::from_secs(3600));
        assert!(!is_ready(&mut timer) && timer.is_set());
        timer.clear();
        assert!(!is_ready(&mut timer) && !timer.is_set());
        // It was waited for, so the reactor is told of the new time at once.
        timer.set(past);
        assert!(is_ready(&mut timer) && !timer.is_set());
    }
}
