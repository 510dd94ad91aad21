//! The numbers of sessions: each is given once. They count up in one process; where several nodes share them, they come
//! in blocks, and who wants one waits while there is none.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::{FutureExt, future};

use crate::chat::SessionId;

/// With fewer numbers than these, another block is wanted. The engine's client has two more.
const AHEAD: u64 = 500;

/// The numbers of sessions.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The largest number that is known.
    last: AtomicU64,
    /// The blocks, if they come in blocks.
    blocks: OnceLock<Mutex<Blocks>>,
}

/// Numbers that nobody has yet.
#[derive(Debug, Default)]
struct Blocks {
    free: VecDeque<Range<u64>>,
    /// Listeners that wait for a number.
    waiting: Vec<Waker>,
    /// The task that gets blocks, while there are enough.
    filler: Option<Waker>,
}

/// From here on, a node takes numbers at random if it has none of a block. No block reaches so far, and a program can
/// still read them as numbers of JSON.
const FIRST_AT_RANDOM: u64 = 1 << 52;

/// Returns whether a number was taken at random. It says nothing of those that are given later.
pub(super) fn is_at_random(id: SessionId) -> bool {
    id.0 >= FIRST_AT_RANDOM
}

/// A number for the next caller. If nobody gets it, it is the next one again.
#[derive(Debug)]
pub struct Number<'a> {
    numbers: &'a Numbers,
    /// From a block; `None` if it is only then given when it is taken.
    reserved: Option<u64>,
}

impl Numbers {
    /// From now on, gives numbers of [`Numbers::add`] alone.
    pub fn come_in_blocks(&self) {
        let _ = self.blocks.set(Mutex::default());
    }

    /// Returns whether they come in blocks.
    pub fn are_shared(&self) -> bool {
        self.blocks.get().is_some()
    }

    /// Returns a number for the next caller. Waits while there is no block.
    pub async fn next(&self) -> Number<'_> {
        let reserved =
            if self.are_shared() { Some(future::poll_fn(|cx| self.poll_reserve(cx)).await) } else { None };
        Number { numbers: self, reserved }
    }

    /// Returns a number for a caller at a unix socket, where nobody waits: operators have to get in when the engine gives
    /// no blocks. There are few of them, so their numbers can be random.
    pub fn at_once(&self) -> Number<'_> {
        let at_random = || FIRST_AT_RANDOM | RandomState::new().hash_one(0) >> 12;
        let number = self.next().now_or_never();
        number.unwrap_or_else(|| Number { numbers: self, reserved: Some(at_random()) })
    }

    fn poll_reserve(&self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some(mut blocks) = self.blocks() else { return Poll::Pending };
        match blocks.free.front_mut().and_then(Iterator::next) {
            Some(number) => {
                blocks.free.retain(|block| !block.is_empty());
                if blocks.count() < AHEAD {
                    blocks.filler.take().into_iter().for_each(Waker::wake);
                }
                Poll::Ready(number)
            }
            None => {
                let waker = cx.waker();
                if !blocks.waiting.iter().any(|one| one.will_wake(waker)) {
                    blocks.waiting.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    /// Waits until another block is wanted.
    pub async fn wanted(&self) {
        future::poll_fn(|cx| {
            let Some(mut blocks) = self.blocks() else { return Poll::Pending };
            if blocks.count() < AHEAD {
                return Poll::Ready(());
            }
            blocks.filler = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Adds a block. Leaves out the numbers up to the largest that is known here: an engine that has lost entries gives
    /// them again.
    pub fn add(&self, block: Range<u64>) {
        let Some(mut blocks) = self.blocks() else { return };
        let start = block.start.max(self.last() + 1);
        if start < block.end {
            blocks.free.push_back(start..block.end);
            self.go_on_after(block.end - 1);
        }
        blocks.waiting.drain(..).for_each(Waker::wake);
    }

    /// Returns the largest number that is known here.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Gives only numbers above `last` from now on. A block that is here already stays.
    pub fn go_on_after(&self, last: u64) {
        if last < FIRST_AT_RANDOM {
            self.last.fetch_max(last, Ordering::Relaxed);
        }
    }

    fn blocks(&self) -> Option<MutexGuard<'_, Blocks>> {
        Some(self.blocks.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blocks {
    fn count(&self) -> u64 {
        self.free.iter().map(|block| block.end - block.start).sum()
    }
}

impl Number<'_> {
    /// Gives it to a session.
    pub fn take(mut self) -> SessionId {
        let counted = || self.numbers.last.fetch_add(1, Ordering::Relaxed) + 1;
        SessionId(self.reserved.take().unwrap_or_else(counted))
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        let reserved = self.reserved.take().filter(|number| *number < FIRST_AT_RANDOM);
        let Some((number, mut blocks)) = reserved.zip(self.numbers.blocks()) else { return };
        match blocks.free.front_mut() {
            Some(first) if first.start == number + 1 => first.start = number,
            _ => blocks.free.push_front(number..number + 1),
        }
        blocks.waiting.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn in_blocks() -> Numbers {
        let numbers = Numbers::default();
        numbers.come_in_blocks();
        numbers
    }

    /// The next number; 0 if there is none.
    fn take(numbers: &Numbers) -> u64 {
        numbers.next().now_or_never().map_or(0, |number| number.take().0)
    }

    #[test]
    fn without_blocks_they_count_up_and_nobody_waits() {
        let numbers = Numbers::default();
        assert_eq!([take(&numbers), take(&numbers)], [1, 2]);
        drop(numbers.next().now_or_never().unwrap());
        numbers.go_on_after(9);
        assert_eq!((take(&numbers), numbers.last()), (10, 10));
        // It may be about a cluster that was there before.
        numbers.add(500..600);
        assert_eq!(take(&numbers), 11);
    }

    #[test]
    fn from_blocks_each_is_given_once_and_one_that_nobody_gets_is_the_next() {
        let numbers = in_blocks();
        assert_eq!(take(&numbers), 0);
        numbers.add(1001..1003);
        numbers.add(5001..5002);
        let (first, second) =
            (numbers.next().now_or_never().unwrap(), numbers.next().now_or_never().unwrap());
        drop(first);
        assert_eq!(second.take().0, 1002);
        assert_eq!([take(&numbers), take(&numbers), take(&numbers)], [1001, 5001, 0]);
    }

    #[test]
    fn without_a_block_a_number_is_there_at_once_and_no_block_suffers_from_it() {
        let numbers = in_blocks();
        drop(numbers.at_once());
        let (first, second) = (numbers.at_once().take().0, numbers.at_once().take().0);
        assert!(first != second && [first, second].iter().all(|one| (1 << 52..1 << 53).contains(one)));
        assert_eq!(take(&numbers), 0, "what nobody has taken does not come back");
        numbers.go_on_after(first);
        numbers.add(1..3);
        assert_eq!((numbers.at_once().take().0, take(&numbers)), (1, 2));
        assert_eq!(Numbers::default().at_once().take().0, 1);
    }

    #[test]
    fn numbers_that_were_there_before_are_not_given_again() {
        let numbers = in_blocks();
        // A session that goes on from the process before.
        numbers.go_on_after(1500);
        numbers.add(1..1001);
        assert_eq!(take(&numbers), 0);
        numbers.add(1001..2001);
        assert_eq!(take(&numbers), 1501);
        // The engine has lost what it had, and gives the same block again.
        numbers.add(1001..2001);
        assert_eq!((take(&numbers), numbers.blocks().unwrap().count()), (1502, 498));
    }

    #[test]
    fn who_waits_is_woken_by_a_block_and_by_a_number_that_comes_back() {
        let (numbers, count) = (in_blocks(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let woken = || count.0.swap(0, Ordering::Relaxed);
        let mut one = Box::pin(numbers.next());
        assert!(one.poll_unpin(&mut cx).is_pending() && woken() == 0);
        numbers.add(1..2);
        assert_eq!(woken(), 1);
        let Poll::Ready(number) = one.poll_unpin(&mut cx) else { panic!("there is one") };
        let mut other = Box::pin(numbers.next());
        assert!(other.poll_unpin(&mut cx).is_pending());
        drop(number);
        assert_eq!(woken(), 1);
        let Poll::Ready(number) = other.poll_unpin(&mut cx) else { panic!("it came back") };
        assert_eq!(number.take().0, 1);
    }

    #[test]
    fn another_block_is_wanted_before_the_last_number_is_given() {
        let (numbers, count) = (in_blocks(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(numbers.wanted().now_or_never().is_some());
        numbers.add(1..400);
        assert!(numbers.wanted().now_or_never().is_some());
        numbers.add(400..501);
        let mut wanted = pin!(numbers.wanted());
        assert!(wanted.as_mut().poll(&mut cx).is_pending());
        assert_eq!(take(&numbers), 1);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(wanted.as_mut().poll(&mut cx).is_ready());
    }
}
