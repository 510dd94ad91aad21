//! The broker: the one task that owns the rooms.
//!
//! It takes in all inputs that are ready, has the room apply them, and sends what is new to those who
//! had been sent everything before: sending never waits, and whoever cannot take it all at once is left
//! to its own task, so no session can hold the broker up. (Waking a task for every member and line
//! costs a quarter more than the sending itself.) It ends when its last
//! input is gone, that is, when every sender has been dropped: nothing else needs to be said. What waits for somebody
//! to read is said before that, unless another process takes it over.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::channel::mpsc;
use futures::{StreamExt, future};

use super::house::{House, Input};
use super::room_log::RoomLog;
use super::traffic::Traffic;
use super::{Effects, Now};
use crate::rt;

/// Most inputs that are applied before the members are woken for them.
const BATCH_INPUTS: usize = 1024;

/// As how many of those something that is asked for counts: it can take that much longer than a line.
const ASK_INPUTS: usize = 16;

/// To how many members the broker sends before the other tasks have their turn.
const DELIVERIES_IN_A_ROW: usize = 128;

/// What the channel to the broker holds besides the one input that each of its senders may have under
/// way: nothing. A session has one sender and never clones it, so that is the bound.
const CHANNEL_BUFFER: usize = 0;

/// What the broker is woken for.
enum Event {
    Input(Input),
    /// The members have read, or it is time to look at who does not.
    Tick,
    /// All senders are gone.
    End,
}

/// The task that owns the rooms.
pub struct Broker {
    house: House,
    inputs_rx: mpsc::Receiver<Input>,
    /// All senders are gone; what waits in the room is still to be said.
    ended: bool,
    /// It will be said by another process.
    frozen: bool,
    timer: rt::Timer,
    /// When it fires.
    next_tick: Option<Instant>,
}

impl Broker {
    /// A broker for `house`, and the sender from which each session gets its own.
    pub fn new(house: House) -> (Self, mpsc::Sender<Input>) {
        let (inputs_tx, inputs_rx) = mpsc::channel(CHANNEL_BUFFER);
        (
            Self {
                house,
                inputs_rx,
                ended: false,
                frozen: false,
                timer: rt::Timer::default(),
                next_tick: None,
            },
            inputs_tx,
        )
    }

    /// The log that new sessions read.
    pub fn entrance(&mut self) -> Arc<RoomLog> {
        self.house.entrance()
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(self.house.traffic())
    }

    /// Runs until the last input has been said and no more can come; leaves the house as it is then.
    pub async fn run(mut self) -> House {
        let mut effects = Effects::default();
        loop {
            let event = future::poll_fn(|cx| self.poll_event(cx)).await;
            match event {
                Event::End => return self.house,
                Event::Tick => self.house.tick(now(), &mut effects),
                Event::Input(first) => self.apply_all(first, &mut effects),
            }
            self.perform(&mut effects).await;
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.frozen && (self.house.has_space(cx.waker()) || self.poll_tick(cx).is_ready()) {
            return Poll::Ready(Event::Tick);
        }
        if !self.ended {
            match self.inputs_rx.poll_next_unpin(cx) {
                Poll::Ready(Some(input)) => return Poll::Ready(Event::Input(input)),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.house.is_waiting() && !self.frozen { Poll::Pending } else { Poll::Ready(Event::End) }
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.house.next_tick() {
            None => self.timer.clear(),
            Some(when) => {
                // One that fires too early does no harm, and setting it costs a system call.
                let is_late = !self.timer.is_set() || self.next_tick.is_none_or(|set| when < set);
                if is_late {
                    self.timer.set(when);
                    self.next_tick = Some(when);
                }
            }
        }
        self.timer.poll(cx)
    }

    fn apply_all(&mut self, first: Input, effects: &mut Effects) {
        let (now, mut next, mut inputs) = (now(), Some(first), 0);
        while let Some(input) = next {
            inputs += if matches!(input, Input::Ask { .. }) { ASK_INPUTS } else { 1 };
            self.apply(input, now, effects);
            next = if inputs < BATCH_INPUTS { self.inputs_rx.try_recv().ok() } else { None };
        }
    }

    fn apply(&mut self, input: Input, now: Now, effects: &mut Effects) {
        self.frozen |= matches!(input, Input::Freeze);
        self.house.apply(input, now, effects);
    }

    async fn perform(&mut self, effects: &mut Effects) {
        for member in effects.wake.drain(..) {
            member.wake();
        }
        while let Some(room) = self.house.take_fresh() {
            let mut next = self.house.deliver(room, (0, None), DELIVERIES_IN_A_ROW);
            while let Some(after) = next {
                rt::yield_now().await;
                next = self.house.deliver(room, after, DELIVERIES_IN_A_ROW);
            }
        }
    }
}

fn now() -> Now {
    Now { instant: rt::now(), wall: rt::wall_clock() }
}
