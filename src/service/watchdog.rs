//! Feeds the watchdog of the service manager (sd_watchdog_enabled(3)) with probes that have gone through the broker and
//! back. A timer would prove nothing.

use std::time::Duration;

use futures::SinkExt;
use futures::channel::{mpsc, oneshot};

use crate::chat::Input;
use crate::rt;

/// A way through the broker and back.
#[derive(Debug)]
pub struct Probe {
    inputs_tx: mpsc::UnboundedSender<Input>,
}

impl Probe {
    /// Makes a probe of the broker that takes these inputs.
    pub fn new(inputs_tx: mpsc::UnboundedSender<Input>) -> Self {
        Self { inputs_tx }
    }

    /// Waits until the broker has answered an input; for ever, if it hangs. Returns false if it has ended.
    pub async fn round_trip(&mut self) -> bool {
        let (answer_tx, answer_rx) = oneshot::channel();
        self.inputs_tx.send(Input::Probe(answer_tx)).await.is_ok() && answer_rx.await.is_ok()
    }
}

/// Calls `tell` after each round trip through the broker, every `interval`. If the broker hangs, it stops calling,
/// and the service manager restarts chatd.
pub async fn watch(mut probe: Probe, interval: Duration, tell: impl Fn()) {
    while probe.round_trip().await {
        tell();
        rt::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Waker};

    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::chat::testing::TestHub;
    use crate::chat::{Broker, Hub, Local};

    /// How often a task is polled that is to get no further.
    const POLLS: usize = 100;

    /// Polls a task, and no other.
    fn poll<T>(task: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        task.poll_unpin(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_what_the_broker_has_answered_is_told() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let (inputs_tx, mut inputs) = mpsc::unbounded();
        // No time has to pass between one and the next: what a timer told would be told at once.
        let mut watching = Box::pin(watch(Probe::new(inputs_tx), Duration::ZERO, || {
            TOLD.fetch_add(1, Ordering::Relaxed);
        }));
        for answered in 0..3 {
            assert!(poll(&mut watching).is_pending());
            let Poll::Ready(Some(Input::Probe(answer_tx))) = poll(&mut inputs.next()) else {
                panic!("a probe")
            };
            (0..POLLS).for_each(|_| assert!(poll(&mut watching).is_pending()));
            assert_eq!(TOLD.load(Ordering::Relaxed), answered, "the broker hangs");
            answer_tx.send(()).unwrap();
            assert!(poll(&mut watching).is_pending(), "it goes on");
            assert_eq!(TOLD.load(Ordering::Relaxed), answered + 1);
        }
        drop(inputs);
        assert!(poll(&mut watching).is_ready(), "the broker has ended");
        assert_eq!(TOLD.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_probe_comes_back_only_through_the_broker() {
        let hub = Hub::new(TestHub::default().limits, Box::<Local>::default(), rt::wall_clock());
        let (broker, inputs_tx) = Broker::new(hub);
        let mut probe = Probe::new(inputs_tx);
        let mut trip = Box::pin(probe.round_trip());
        (0..POLLS).for_each(|_| assert!(poll(&mut trip).is_pending(), "the broker does not run"));
        let mut running = Box::pin(broker.run());
        assert!(poll(&mut running).is_pending());
        assert_eq!(poll(&mut trip), Poll::Ready(true));
        drop((trip, running));
        assert_eq!(poll(&mut Box::pin(probe.round_trip())), Poll::Ready(false), "there is no broker");
    }
}
