//! The handle: how floor 3 asks how the engine is doing, gets numbers for sessions, and ends it all.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future;

use super::keeper::BLOCK;
use super::pending::Pending;
use super::settings::Identity;
use super::state::{Ending, Shared};
use super::status::EngineState;
use crate::chat::{Act, Item};
use crate::rt;

/// How long the task has to end once it is to end at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The way to the task that talks to the engine.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Returns who this node is: to be known after a crash.
    pub fn identity(&self) -> Identity {
        self.0.lock().identity
    }

    /// Returns how the engine is doing.
    pub fn state(&self) -> EngineState {
        let state = self.0.lock();
        let waiting = state.pending().filter(|one| !one.is_given);
        EngineState {
            lag_lines: state.lag_lines(),
            lag: waiting.map(|one| one.since.elapsed()).max().unwrap_or_default(),
            ..state.engine.clone()
        }
    }

    /// Has all nodes make changes of bans and mutes.
    pub fn bring(&self, changes: Vec<String>) {
        self.0.lock().submit(Item::Act(Act::Brought(changes)));
    }

    /// Tells the other nodes how many sessions this one has, within five seconds.
    pub fn set_sessions(&self, sessions: u64) {
        self.0.lock().sessions = sessions;
    }

    /// Returns a block of numbers that no other node has, all above `last`. Waits until the engine gives one, and after
    /// a start until the main room is open: who is greeted hears what is said from then on.
    pub async fn numbers(&self, last: u64) -> Range<u64> {
        let first = poll_fn(|cx| {
            let state = &mut *self.0.lock();
            state.numbers_above = state.numbers_above.max(last);
            while state.has_opened
                && let Some(first) = state.blocks.pop_front()
            {
                state.wake_keeper();
                if first > last {
                    return Poll::Ready(first);
                }
            }
            state.wants_blocks.push(cx.waker().clone());
            Poll::Pending
        });
        let first = first.await;
        first..first + BLOCK
    }

    /// Ends the task. A node that leaves waits until the engine has everything, for at most as long as `most`. Returns
    /// how many entries of rooms the engine has not taken, as far as this node knows.
    pub async fn stop(&self, ending: Ending, most: Duration) -> usize {
        {
            let state = &mut *self.0.lock();
            if ending == Ending::Leave {
                state.submit(Item::Act(Act::Returned { sessions: Vec::new(), mark: 0 }));
            }
            state.ending = Some(ending);
            state.wake_all();
        }
        let most = if ending == Ending::Leave { most } else { AT_ONCE };
        future::select(Box::pin(self.ended()), Box::pin(rt::sleep(most))).await;
        {
            let state = &mut *self.0.lock();
            let leaves = ending == Ending::Leave && state.is_settled();
            state.ending = Some(if leaves { Ending::LeaveNow } else { Ending::HandOver });
            state.wake_all();
        }
        future::select(Box::pin(self.ended()), Box::pin(rt::sleep(AT_ONCE))).await;
        let state = self.0.lock();
        let is_lost = |one: &&Pending| !one.is_placed() && matches!(*one.item, Item::Entry(..));
        state.pending().filter(is_lost).count()
    }

    async fn ended(&self) {
        poll_fn(|cx| {
            let state = &mut *self.0.lock();
            if state.has_ended {
                return Poll::Ready(());
            }
            state.wants_end.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Identity, Settings};
    use futures::FutureExt;

    #[test]
    fn after_a_start_who_comes_waits_until_the_rooms_are_open() {
        let shared = Arc::new(Shared::new(&Settings::for_tests(), Identity { incarnation: 7, replaces: 0 }));
        let handle = Handle::new(Arc::clone(&shared));
        shared.lock().blocks.push_back(1);
        assert_eq!(handle.numbers(0).now_or_never(), None);
        shared.lock().has_opened = true;
        assert_eq!(handle.numbers(0).now_or_never(), Some(1..1 + BLOCK));
    }
}
