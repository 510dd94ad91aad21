//! What feeds the watchdog of the service manager (sd_watchdog_enabled(3)): not a timer, which proves nothing, but
//! something that has gone through the broker and back.

use std::time::Duration;

use futures::SinkExt;
use futures::channel::{mpsc, oneshot};

use crate::chat::Input;
use crate::rt;

/// A way through the broker and back.
#[derive(Debug)]
pub struct Probe {
    inputs_tx: mpsc::Sender<Input>,
}

impl Probe {
    /// Through the broker that these inputs go to.
    pub fn new(inputs_tx: mpsc::Sender<Input>) -> Self {
        Self { inputs_tx }
    }

    /// Completes when the broker has taken in an input and answered it; never, if it hangs. False if it has ended.
    pub async fn round_trip(&mut self) -> bool {
        let (answer_tx, answer_rx) = oneshot::channel();
        self.inputs_tx.send(Input::Probe(answer_tx)).await.is_ok() && answer_rx.await.is_ok()
    }
}

/// Does `tell` each time something has gone through the broker and back, and `interval` after the last time. If it does
/// not come back, nothing is told, and the service manager starts chatd again.
pub async fn watch(mut probe: Probe, interval: Duration, tell: impl Fn()) {
    while probe.round_trip().await {
        tell();
        rt::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::StreamExt;
    use futures::future::{self, Either};

    use super::*;

    #[test]
    fn only_what_the_broker_has_answered_is_told() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let (inputs_tx, mut inputs) = mpsc::channel(0);
        let watching = watch(Probe::new(inputs_tx), Duration::from_millis(1), || {
            TOLD.fetch_add(1, Ordering::Relaxed);
        });
        let broker = async move {
            for answered in 0..3 {
                let Some(Input::Probe(answer_tx)) = inputs.next().await else { panic!("a probe") };
                // Longer than many intervals.
                rt::sleep(Duration::from_millis(50)).await;
                assert_eq!(TOLD.load(Ordering::Relaxed), answered, "the broker hangs");
                answer_tx.send(()).unwrap();
            }
            assert!(inputs.next().await.is_some(), "it goes on");
            drop(inputs);
        };
        rt::run(1, async move {
            let both = future::join(Box::pin(watching), Box::pin(broker));
            let late = rt::sleep(Duration::from_secs(30));
            assert!(matches!(future::select(both, Box::pin(late)).await, Either::Left(_)));
        });
        assert_eq!(TOLD.load(Ordering::Relaxed), 3);
    }
}
