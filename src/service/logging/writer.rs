//! The thread that writes the log.
//!
//! `backend` starts [`run`] on a thread of its own with one [`Output`]. It may wait and block as long as it likes; the
//! queue stays bounded meanwhile. It holds one line until that is written or cannot be, so that an outage costs
//! only what does not fit into the queue, and it tries again ever more rarely.

use std::time::Duration;

use super::queue::{Entry, Queue};

/// The pause after the first failed attempt; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: how late the log comes back after an outage, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Something that log lines are written to.
pub(super) trait Output: Send + 'static {
    /// Writes one line; may block.
    fn write(&mut self, entry: &Entry) -> Result<(), Failure>;
}

/// Why a line was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The output is away or full: the same line can be tried again.
    Away,
    /// This line will never be written.
    Lost,
}

/// Writes what is in `queue` to `output` until the queue is closed and empty.
pub(super) fn run(queue: &Queue, mut output: impl Output) {
    while let Some(entry) = queue.pop() {
        let written = deliver(queue, &mut output, &entry);
        queue.settle(&entry, written);
    }
}

fn deliver(queue: &Queue, output: &mut impl Output, entry: &Entry) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        match output.write(entry) {
            Ok(()) => return true,
            Err(Failure::Lost) => return false,
            Err(Failure::Away) if !queue.pause(pause) => return false,
            Err(Failure::Away) => pause = LONGEST_PAUSE.min(pause * 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;
    use std::sync::mpsc::{Sender, channel};

    /// Answers each attempt with the next of a list of outcomes, then with success; tells what it was given.
    struct Scripted {
        outcomes: Vec<Result<(), Failure>>,
        attempts: Sender<String>,
    }

    impl Output for Scripted {
        fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
            self.attempts.send(entry.text.clone()).unwrap();
            if self.outcomes.is_empty() { Ok(()) } else { self.outcomes.remove(0) }
        }
    }

    /// What is attempted when three lines meet these outcomes.
    fn attempts(outcomes: &[Result<(), Failure>], closed: bool) -> Vec<String> {
        let queue = Queue::default();
        let push = |text: &str| queue.push(Entry::new(Level::Info, format_args!("{text}")));
        let (attempts, seen) = channel();
        let output = Scripted { outcomes: outcomes.to_vec(), attempts };
        ["one", "two", "three"].into_iter().for_each(push);
        if closed {
            queue.close();
            run(&queue, output);
        } else {
            std::thread::scope(|scope| {
                scope.spawn(|| run(&queue, output));
                assert!(queue.wait_drained(Duration::from_secs(10)));
                queue.close();
            });
        }
        seen.try_iter().collect()
    }

    #[test]
    fn a_line_is_tried_until_the_output_is_back() {
        let away = Err(Failure::Away);
        assert_eq!(
            attempts(&[away, away, Ok(()), away], false),
            ["one", "one", "one", "two", "two", "three"]
        );
    }

    #[test]
    fn a_line_that_cannot_be_written_is_told_after_the_next_that_can() {
        assert_eq!(attempts(&[Err(Failure::Lost)], false), ["one", "two", "three", "log lines lost: 1"]);
    }

    #[test]
    fn an_output_that_always_fails_is_not_tried_without_end() {
        for failure in [Failure::Lost, Failure::Away] {
            assert_eq!(attempts(&[Err(failure); 3], true), ["one", "two", "three"]);
        }
        assert_eq!(attempts(&[Err(Failure::Lost); 3], false), ["one", "two", "three"]);
    }
}
