//! The broker: the one task that owns the rooms.
//!
//! It takes in all inputs that are ready, has the room apply them, and sends what is new to those who
//! had been sent everything before: sending never waits, and whoever cannot take it all at once is left
//! to its own task, so no session can hold the broker up. (Waking a task for every member and line
//! costs a quarter more than the sending itself.) It ends when its last
//! input is gone, that is, when every sender has been dropped: nothing else needs to be said.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{StreamExt, future};

use super::room::{Effects, Input, Room};
use super::room_log::RoomLog;
use crate::rt;

/// Most inputs that are applied before the members are woken for them.
const BATCH_INPUTS: usize = 1024;

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
    room: Room,
    inputs_rx: mpsc::Receiver<Input>,
    /// All senders are gone; what waits in the room is still to be said.
    ended: bool,
    timer: rt::Timer,
}

impl Broker {
    /// A broker for `room`, and the sender from which each session gets its own.
    pub fn new(room: Room) -> (Self, mpsc::Sender<Input>) {
        let (inputs_tx, inputs_rx) = mpsc::channel(CHANNEL_BUFFER);
        (Self { room, inputs_rx, ended: false, timer: rt::Timer::default() }, inputs_tx)
    }

    /// What readers of the room need.
    pub fn log(&self) -> Arc<RoomLog> {
        Arc::clone(self.room.log())
    }

    /// Runs until the last input has been said and no more can come.
    pub async fn run(mut self) {
        let mut effects = Effects::default();
        loop {
            let event = future::poll_fn(|cx| self.poll_event(cx)).await;
            match event {
                Event::End => return,
                Event::Tick => self.room.tick(rt::now(), &mut effects),
                Event::Input(first) => self.apply_all(first, &mut effects),
            }
            self.perform(&mut effects).await;
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.room.has_space(cx.waker()) || self.poll_tick(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        if !self.ended {
            match self.inputs_rx.poll_next_unpin(cx) {
                Poll::Ready(Some(input)) => return Poll::Ready(Event::Input(input)),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.room.is_waiting() { Poll::Pending } else { Poll::Ready(Event::End) }
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.room.next_tick() {
            None => self.timer.clear(),
            Some(when) if !self.timer.is_set() => self.timer.set(when),
            Some(_) => {}
        }
        self.timer.poll(cx)
    }

    fn apply_all(&mut self, first: Input, effects: &mut Effects) {
        let now = rt::now();
        self.room.apply(first, now, effects);
        for _ in 1..BATCH_INPUTS {
            match self.inputs_rx.try_recv() {
                Ok(input) => self.room.apply(input, now, effects),
                Err(_) => break,
            }
        }
    }

    async fn perform(&mut self, effects: &mut Effects) {
        for member in effects.wake.drain(..) {
            member.wake();
        }
        if !std::mem::take(&mut effects.appended) {
            return;
        }
        let mut next = self.room.deliver(None, DELIVERIES_IN_A_ROW);
        while next.is_some() {
            rt::yield_now().await;
            next = self.room.deliver(next, DELIVERIES_IN_A_ROW);
        }
    }
}
