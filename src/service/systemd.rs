//! The conversation with the service manager: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
//!
//! Without NOTIFY_SOCKET, LISTEN_FDS and WATCHDOG_USEC all of this does nothing. Sending blocks for as long as the
//! service manager takes nothing, so one thread does all of it, in order, and nobody waits for it without a bound. A
//! message that cannot be sent is told to the log once; the daemon goes on, for its callers need it more than its
//! manager does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{self, Either};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use sd_notify::NotifyState;

use crate::rt;

/// A message to the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// chatd accepts connections. The text is for `systemctl status`.
    Ready(String),
    /// The status, for `systemctl status`.
    Status(String),
    /// The configuration is being read again; [`Message::Ready`] follows.
    Reloading,
    /// chatd is draining.
    Stopping {
        /// The status, for `systemctl status`.
        status: String,
        /// How long that may take, whatever TimeoutStopSec= says.
        at_most: Duration,
    },
    /// A probe has gone through the broker and back.
    Alive,
    /// Forget what is stored under this name: otherwise every process gets it.
    Forget(String),
}

/// A descriptor that the service manager has passed.
#[derive(Debug)]
pub struct Passed {
    /// The descriptor, unchecked: it may be anything.
    pub fd: OwnedFd,
    /// FileDescriptorName= of its unit, or the name under which it was stored.
    pub name: String,
}

/// Takes the descriptors that the service manager has passed to this process (sd_listen_fds(3)); none at the second
/// call. Other programs do not inherit them. Call this before anything else opens descriptors.
///
/// # Errors
/// If LISTEN_FDS or LISTEN_FDNAMES are wrong, or name descriptors that are not open.
pub fn take_passed() -> io::Result<Vec<Passed>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: the service manager has opened these descriptors for this process alone (LISTEN_PID), they are open
    // (sd-notify has just set FD_CLOEXEC on each of them), and `TAKEN` sees to it that each is taken once.
    #[allow(unsafe_code)]
    let take = |(fd, name)| Passed { fd: unsafe { OwnedFd::from_raw_fd(fd) }, name };
    Ok(passed.map(take).collect())
}

/// Returns how often to tell the service manager that chatd is alive: half of WatchdogSec=; `None` if that is not set.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// A message to the service manager, or several; sending it may block.
type Job = Box<dyn FnOnce() + Send>;

/// The thread that does the jobs, one after the other.
struct Talk {
    jobs_tx: mpsc::Sender<Job>,
}

static TALK: LazyLock<Talk> = LazyLock::new(Talk::start);

/// How long [`ask`] waits for an answer: longer than [`PATIENCE`], in which the service manager must answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// How long [`flush`] waits at the end, when nobody needs an answer any more.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How many jobs the thread has not done yet.
static PENDING: AtomicUsize = AtomicUsize::new(0);

/// With more pending jobs than this, what can wait does.
const MANY_PENDING: usize = 16;

/// An answer has not come in time, and the service manager has taken nothing since: [`ask`] does not wait any more.
static IS_HUNG: AtomicBool = AtomicBool::new(false);

impl Talk {
    fn start() -> Self {
        let (jobs_tx, jobs_rx) = mpsc::channel::<Job>();
        let run = move || {
            jobs_rx.iter().for_each(|job| {
                job();
                PENDING.fetch_sub(1, Ordering::Relaxed);
                IS_HUNG.store(false, Ordering::Relaxed);
            });
        };
        if let Err(error) = std::thread::Builder::new().name("chatd/manager".into()).spawn(run) {
            log::error!("cannot talk to the service manager: cannot start a thread: {error}");
        }
        Self { jobs_tx }
    }
}

/// Queues a job for the thread that talks to the service manager, after all earlier ones. Does not wait.
pub fn tell(job: impl FnOnce() + Send + 'static) {
    PENDING.fetch_add(1, Ordering::Relaxed);
    // Without a thread nothing is said; that has been told to the log.
    let _ = TALK.jobs_tx.send(Box::new(job));
}

/// Queues a job as [`tell`] does, and waits for its answer. Returns `None` if there is none within six seconds, or if
/// there was none the last time: then the service manager hangs. The job stays queued, and runs when it takes
/// messages again.
pub async fn ask<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    ask_within(ANSWER_TIMEOUT, job).await
}

/// Waits until the thread has done all queued jobs, for a second at most.
pub async fn flush() {
    let _ = ask_within(FLUSH_TIMEOUT, || ()).await;
}

async fn ask_within<T: Send + 'static>(
    timeout: Duration,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer_tx, answer_rx) = oneshot::channel();
    tell(move || drop(answer_tx.send(job())));
    if IS_HUNG.load(Ordering::Relaxed) {
        return None;
    }
    match future::select(answer_rx, Box::pin(rt::sleep(timeout))).await {
        Either::Left((answer, _)) => answer.ok(),
        Either::Right(_) => {
            IS_HUNG.store(true, Ordering::Relaxed);
            None
        }
    }
}

/// Returns whether so many jobs are pending that what can wait should.
pub fn is_behind() -> bool {
    PENDING.load(Ordering::Relaxed) > MANY_PENDING
}

/// A queued message of which only the latest counts: a new value replaces one that is still pending.
#[derive(Debug)]
pub struct Latest<T>(Mutex<Option<T>>);

/// Nothing is pending.
impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Send + 'static> Latest<T> {
    /// Queues a call of `say` with `value`. If an earlier value is still pending, replaces it with `merge(earlier,
    /// value)`.
    pub fn tell(self: &Arc<Self>, value: T, merge: impl FnOnce(T, T) -> T, say: fn(T)) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = latest.take() {
            *latest = Some(merge(before, value));
            return;
        }
        *latest = Some(value);
        let this = Arc::clone(self);
        tell(move || {
            let value = this.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            value.into_iter().for_each(say);
        });
    }
}

/// Returns whether a service manager listens: whether NOTIFY_SOCKET is set.
pub fn is_listening() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Stores descriptors in the descriptor store under a name (sd_notify(3), FDSTORE=1 and FDPOLL=0). Blocks: do not
/// call it on the executor. Without a store nothing is stored, and nothing says so: see [`can_keep`].
pub fn keep(name: &str, descriptors: &[BorrowedFd<'_>]) {
    if is_listening() {
        let message = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
        report(sd_notify::notify_with_fds(&message, descriptors));
    }
}

/// Removes what is stored under a name (FDSTOREREMOVE=1). Blocks: do not call it on the executor.
pub fn forget(name: &str) {
    if is_listening() {
        report(sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]));
    }
}

/// The name under which [`can_keep`] stores a descriptor.
const PROBE: &str = "probe";

/// How long after a barrier the service manager may close what it does not hold: from v254 on systemd has another
/// process do so, which takes a millisecond on a machine that is not busy.
const CLOSED_WITHIN: Duration = Duration::from_millis(300);

/// Returns whether the service manager stores descriptors: it may have no store, or a full one. Blocks for a third of a
/// second if it does, and for six seconds at most: do not call it on the executor.
pub fn can_keep() -> bool {
    let Ok((reader, writer)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else { return false };
    keep(PROBE, &[writer.as_fd()]);
    drop(writer);
    // Nobody writes: it ends when nobody holds the other end.
    let is_held = barrier() && !has_ended(&reader, CLOSED_WITHIN);
    forget(PROBE);
    is_held
}

/// Waits until the service manager has dealt with all earlier messages (sd_notify_barrier(3)), for five seconds at
/// most. Returns whether it has. Blocks: do not call it on the executor.
pub fn barrier() -> bool {
    if !is_listening() {
        return false;
    }
    let Ok((reader, writer)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else { return false };
    let sent = sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[writer.as_fd()]);
    drop(writer);
    let is_sent = sent.is_ok();
    report(sent);
    is_sent && has_ended(&reader, PATIENCE)
}

/// How long the service manager may take, as sd_notify_barrier(3) suggests.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns whether every copy of the other end of a pipe is closed, after waiting `patience` for that.
fn has_ended(reader: impl AsFd, patience: Duration) -> bool {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    let mut polled = [PollFd::new(&reader, PollFlags::empty())];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&timeout)));
    ready.is_ok_and(|count| count > 0)
}

/// Queues a message. Returns whether it will be sent. It will not if there is no service manager, or if a status or
/// sign of life is still pending: so nothing piles up while the service manager takes nothing.
pub fn notify(message: Message) -> bool {
    static STATUS: AtomicBool = AtomicBool::new(false);
    static ALIVE: AtomicBool = AtomicBool::new(false);
    let pending = match message {
        Message::Status(_) => Some(&STATUS),
        Message::Alive => Some(&ALIVE),
        _ => None,
    };
    if !is_listening() || pending.is_some_and(|pending| pending.swap(true, Ordering::Relaxed)) {
        return false;
    }
    tell(move || {
        send(&message);
        if let Some(pending) = pending {
            pending.store(false, Ordering::Relaxed);
        }
    });
    true
}

fn send(message: &Message) {
    let status = |text: &str| format!("STATUS={}", one_line(text));
    let sent = match message {
        Message::Ready(text) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Custom(&status(text))]),
        Message::Status(text) => sd_notify::notify(&[NotifyState::Custom(&status(text))]),
        // From v253 on systemd kills a service that reloads without saying since when.
        Message::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|since| sd_notify::notify(&[NotifyState::Reloading, since])),
        Message::Stopping { status: text, at_most } => {
            let extend = format!("EXTEND_TIMEOUT_USEC={}", at_most.as_micros());
            let (status, extend) = (status(text), NotifyState::Custom(&extend));
            sd_notify::notify(&[NotifyState::Stopping, NotifyState::Custom(&status), extend])
        }
        Message::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Message::Forget(name) => return forget(name),
    };
    report(sent);
}

/// Logs the first message that could not be sent.
fn report(sent: io::Result<()>) {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if let Err(error) = sent
        && !REPORTED.swap(true, Ordering::Relaxed)
    {
        log::warn!("cannot talk to the service manager at NOTIFY_SOCKET: {error}");
    }
}

/// Most bytes of a text for `systemctl status`: systemd drops a message of more than 4,096.
const MOST_STATUS: usize = 2048;

/// Makes one line of a text, since a message has one assignment a line. Cuts it after [`MOST_STATUS`] bytes.
fn one_line(text: &str) -> String {
    let mut line = text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
    if line.len() > MOST_STATUS {
        line.truncate(line.floor_char_boundary(MOST_STATUS));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_several_lines_is_one_assignment() {
        assert_eq!(one_line("reload refused:\n  READY=1\r\nbad"), "reload refused: READY=1  bad");
    }

    #[test]
    fn a_status_fits_a_message_however_long_it_is() {
        let long = one_line(&"é".repeat(10_000));
        assert!(long.ends_with("é...") && long.len() <= MOST_STATUS + 3);
        assert_eq!(one_line(&"x".repeat(MOST_STATUS)).len(), MOST_STATUS);
    }

    #[test]
    fn of_what_is_still_to_be_said_only_the_latest_is() {
        static SAID: Mutex<Vec<u32>> = Mutex::new(Vec::new());
        let latest = Arc::new(Latest::default());
        let (go_on_tx, go_on) = mpsc::channel::<()>();
        // The service manager takes nothing for now.
        tell(move || {
            let _ = go_on.recv();
        });
        (1..=5).for_each(|number| {
            latest.tell(number, |one, other| one * 10 + other, |said| SAID.lock().unwrap().push(said))
        });
        drop(go_on_tx);
        assert_eq!(rt::run(1, ask(|| ())), Some(()));
        assert_eq!(*SAID.lock().unwrap(), [12345]);
        latest.tell(6, |_, _| 0, |said| SAID.lock().unwrap().push(said));
        assert_eq!(rt::run(1, ask(|| ())), Some(()));
        assert_eq!(*SAID.lock().unwrap(), [12345, 6]);
    }

    #[test]
    fn what_is_to_be_said_is_said_in_order() {
        let (said_tx, said_rx) = mpsc::channel();
        for number in 0..100 {
            let said_tx = said_tx.clone();
            tell(move || said_tx.send(number).unwrap());
        }
        assert_eq!(rt::run(1, ask(|| "an answer")), Some("an answer"));
        assert_eq!(said_rx.try_iter().collect::<Vec<_>>(), Vec::from_iter(0..100));
    }
}
