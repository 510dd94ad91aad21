//! The broker: the only task that owns the hub.
//!
//! The broker takes all inputs that are ready, has the hub apply them, and sends what is new. Sending never waits, so
//! no session can hold up the broker. (To wake a task for every member and line costs a quarter more than the sending
//! itself.) The broker ends when every sender has been dropped and the hub has nothing to go on with. Before that,
//! entries that wait for a reader get their place, unless the next process takes them over.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::channel::mpsc;
use futures::{StreamExt, future};

use super::hub::Hub;
use super::id::Now;
use super::input::Input;
use super::traffic::Traffic;
use crate::rt;

/// Most inputs to apply, and most steps to go on with, before the hub delivers what is new.
const BATCH: usize = 1024;

/// Number of members to send to before the other tasks run.
const DELIVERIES_IN_A_ROW: usize = 128;

/// Why the broker wakes up.
enum Event {
    Input(Input),
    /// The hub has something to go on with.
    Work,
    /// The sequencer has given entries a place.
    Sequenced,
    /// It is time to look at members that do not read.
    Tick,
    /// All senders are gone, and nothing waits.
    End,
}

/// The task that owns the hub.
pub struct Broker {
    hub: Hub,
    traffic: Arc<Traffic>,
    inputs_rx: mpsc::UnboundedReceiver<Input>,
    /// Whether all senders are gone. Entries that wait in a room still get their place.
    has_ended: bool,
    /// Whether the next process takes over what waits.
    is_frozen: bool,
    timer: rt::Timer,
    /// When the timer fires.
    next_tick: Option<Instant>,
}

impl Broker {
    /// Returns a broker for `hub`, and the sender that each session clones. The channel has no limit of its own: a
    /// session has at most one [`Input::Read`] under way, and one of each other kind.
    pub fn new(hub: Hub) -> (Self, mpsc::UnboundedSender<Input>) {
        let (inputs_tx, inputs_rx) = mpsc::unbounded();
        let timer = rt::Timer::default();
        let traffic = Arc::clone(hub.traffic());
        let (has_ended, is_frozen) = (false, false);
        (Self { hub, traffic, inputs_rx, has_ended, is_frozen, timer, next_tick: None }, inputs_tx)
    }

    /// Runs until no more input can come and the hub has nothing to go on with. Returns the hub as it is then.
    pub async fn run(mut self) -> Hub {
        loop {
            let event = future::poll_fn(|cx| self.poll_event(cx)).await;
            let began = rt::now();
            match event {
                Event::End => return self.hub,
                Event::Tick => self.hub.tick(now()),
                Event::Input(first) => self.apply_all(first),
                Event::Sequenced => self.hub.take_sequenced(now()),
                Event::Work => rt::yield_now().await,
            }
            self.hub.work(now(), BATCH);
            self.deliver().await;
            self.traffic.rounds.observe(rt::now().saturating_duration_since(began));
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.is_frozen && self.poll_tick(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        if !self.has_ended {
            match self.inputs_rx.poll_next_unpin(cx) {
                Poll::Ready(Some(input)) => return Poll::Ready(Event::Input(input)),
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => {}
            }
        }
        if self.hub.has_work() {
            return Poll::Ready(Event::Work);
        }
        if self.has_ended && self.is_frozen {
            // What has no place yet, the next process takes over with the rest.
            return Poll::Ready(Event::End);
        }
        // Last of all: with whatever the hub does, it takes in such entries, too.
        if self.hub.poll_sequenced(cx).is_ready() {
            return Poll::Ready(Event::Sequenced);
        }
        let is_over = self.has_ended && !self.hub.is_waiting() && self.hub.is_settled();
        if is_over { Poll::Ready(Event::End) } else { Poll::Pending }
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.hub.next_tick() {
            None => self.timer.clear(),
            Some(when) => {
                // A timer that fires too early does no harm, and setting it costs a system call.
                let is_late = !self.timer.is_set() || self.next_tick.is_none_or(|set| when < set);
                if is_late {
                    self.timer.set(when);
                    self.next_tick = Some(when);
                }
            }
        }
        self.timer.poll(cx)
    }

    fn apply_all(&mut self, first: Input) {
        let (now, mut next) = (now(), Some(first));
        for _ in 0..BATCH {
            let Some(input) = next else { return };
            self.is_frozen |= matches!(input, Input::Freeze);
            self.hub.apply(input, now);
            next = self.inputs_rx.try_recv().ok();
        }
        if let Some(input) = next {
            self.hub.apply(input, now);
        }
    }

    async fn deliver(&mut self) {
        for room in self.hub.take_fresh() {
            let mut next = Some((0, None));
            while let Some(at) = next {
                next = self.hub.deliver(room, at, DELIVERIES_IN_A_ROW, now());
                if next.is_some() {
                    rt::yield_now().await;
                }
            }
        }
    }
}

fn now() -> Now {
    Now { instant: rt::now(), wall: rt::wall_clock() }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use jiff::Timestamp;

    use super::*;
    use crate::chat::script::{Script, at};
    use crate::chat::simulator::random::Random;
    use crate::chat::simulator::sequencer::Engine;
    use crate::chat::testing::{Socket, TestHub};
    use crate::chat::{Arrival, Read, SessionId, Sink};

    /// Whether the broker has been woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Runs the broker for as long as something wakes it.
    fn go_on(broker: &mut Pin<&mut impl Future<Output = Hub>>, woken: &Arc<Woken>) {
        let waker = Waker::from(Arc::clone(woken));
        while woken.0.swap(false, Ordering::Relaxed) {
            assert!(broker.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }

    #[test]
    fn a_line_that_gets_its_place_late_is_heard_although_nothing_else_happens() {
        let (limits, engine) = (TestHub::default().limits, Engine::new(true));
        let hub = Hub::new(limits, Box::new(engine.clone()), Timestamp::UNIX_EPOCH);
        let (broker, inputs_tx) = Broker::new(hub);
        let (mut broker, woken) = (pin!(broker.run()), Arc::new(Woken(AtomicBool::new(true))));
        let [ann, ben] = [1, 2].map(|id| {
            let socket = Arc::new(Socket::default());
            let sink = Arc::clone(&socket) as Arc<dyn Sink>;
            let arrival = Box::<Arrival>::default();
            inputs_tx.unbounded_send(Input::Join { id: SessionId(id), sink, arrival }).unwrap();
            socket
        });
        go_on(&mut broker, &woken);
        ben.set_space(usize::MAX);
        ann.begin_input();
        let read = Read { text: b"hello\n".to_vec(), ..Read::default() };
        inputs_tx.unbounded_send(Input::Read(SessionId(1), Box::new(read))).unwrap();
        go_on(&mut broker, &woken);
        assert!(ben.take().is_empty() && ann.is_outstanding(), "it has no place yet");
        engine.release(&mut Random::new(1), 1);
        go_on(&mut broker, &woken);
        assert_eq!(ben.take(), b"hello\n");
        assert!(!ann.is_outstanding());
    }

    /// Somebody says something on a node among several, and the broker is told that there will be no more.
    fn say_and_end(is_handover: bool) -> (Script, impl Future<Output = Hub>) {
        let script = Script::new();
        let hub = Hub::new(TestHub::default().limits, Box::new(script.clone()), Timestamp::UNIX_EPOCH);
        script.open("main", at(1, 0), 0);
        let (broker, inputs_tx) = Broker::new(hub);
        let id = SessionId(1);
        let (sink, arrival) = (Arc::<Socket>::default() as Arc<dyn Sink>, Box::<Arrival>::default());
        let read = Box::new(Read { text: b"hello\n".to_vec(), ..Read::default() });
        let last = if is_handover { Input::Frozen(id, Box::default()) } else { Input::Leave(id) };
        for input in [Input::Join { id, sink, arrival }, Input::Read(id, read), last] {
            inputs_tx.unbounded_send(input).unwrap();
        }
        if is_handover {
            inputs_tx.unbounded_send(Input::Freeze).unwrap();
        }
        (script, broker.run())
    }

    #[test]
    fn at_a_stop_it_waits_until_everything_has_its_place_although_nobody_is_there() {
        let (script, broker) = say_and_end(false);
        let (mut broker, woken) = (pin!(broker), Arc::new(Woken(AtomicBool::new(true))));
        go_on(&mut broker, &woken);
        assert_eq!(script.submitted(), 1);
        script.place(at(1, 1), 1);
        assert!(woken.0.load(Ordering::Relaxed));
        let waker = Waker::from(Arc::clone(&woken));
        assert!(broker.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn at_a_handover_it_does_not_wait_for_what_has_no_place() {
        let (script, broker) = say_and_end(true);
        let mut broker = pin!(broker);
        let hub = loop {
            if let Poll::Ready(hub) = broker.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                break hub;
            }
        };
        assert!(hub.has_input(SessionId(1)) && script.submitted() == 1);
        assert!(hub.into_snapshot().0.sessions[0].member.is_some());
    }
}
