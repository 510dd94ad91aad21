//! The list of sessions that are there: admits them within the limits, and can wake them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::future;
use futures::task::AtomicWaker;

use crate::chat::{Member, Outlet, RoomLog, SessionId};

use super::Settings;
use crate::protocol::Notice;

/// Who is there.
#[derive(Debug, Default)]
pub struct Sessions {
    next: AtomicU64,
    present: Mutex<Present>,
    empty: AtomicWaker,
}

#[derive(Debug, Default)]
struct Present {
    members: HashMap<SessionId, (Arc<Member>, Option<IpAddr>)>,
    per_ip: HashMap<IpAddr, usize>,
}

/// Why a caller cannot become a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `max_clients` are there.
    Full,
    /// `max_per_ip` are there from the same address.
    TooManyFromThere,
}

impl Refusal {
    /// What the caller is told.
    pub fn notice(self) -> Notice {
        match self {
            Self::Full => Notice::ServerFull,
            Self::TooManyFromThere => Notice::AddressFull,
        }
    }
}

impl Sessions {
    /// Lets a caller in and gives it a number of its own; what is said in `room` goes to `outlet`.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub fn admit(
        &self,
        from: Option<IpAddr>,
        settings: &Settings,
        outlet: Arc<dyn Outlet>,
        room: &Arc<RoomLog>,
    ) -> Result<Arc<Member>, Refusal> {
        let mut present = self.present();
        if present.members.len() >= settings.max_clients {
            return Err(Refusal::Full);
        }
        if let Some(ip) = from {
            let count = present.per_ip.entry(ip).or_default();
            if settings.max_per_ip > 0 && *count >= settings.max_per_ip {
                return Err(Refusal::TooManyFromThere);
            }
            *count += 1;
        }
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let member = Arc::new(Member::new(id, outlet, Arc::clone(room)));
        present.members.insert(id, (Arc::clone(&member), from));
        Ok(member)
    }

    /// Lets in a session that another process has let in, whatever the limits are, with the number that it has.
    pub fn readmit(&self, member: &Arc<Member>, from: Option<IpAddr>) {
        let mut present = self.present();
        if let Some(ip) = from {
            *present.per_ip.entry(ip).or_default() += 1;
        }
        present.members.insert(member.id(), (Arc::clone(member), from));
        self.next.fetch_max(member.id().0, Ordering::Relaxed);
    }

    /// Gives no number up to `last`.
    pub fn go_on_after(&self, last: u64) {
        self.next.fetch_max(last, Ordering::Relaxed);
    }

    /// The last number that was given.
    pub fn last(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// A session is gone.
    pub fn remove(&self, id: SessionId) {
        let mut present = self.present();
        let removed = present.members.remove(&id);
        if present.members.is_empty() {
            self.empty.wake();
        }
        let Some((_, Some(ip))) = removed else { return };
        if let Some(count) = present.per_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                present.per_ip.remove(&ip);
            }
        }
    }

    /// How many are there.
    pub fn count(&self) -> usize {
        self.present().members.len()
    }

    /// Waits until nobody is there. For one task at a time.
    pub async fn all_gone(&self) {
        future::poll_fn(|cx| {
            self.empty.register(cx.waker());
            if self.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    /// Wakes every session, so that it looks at what has changed.
    pub fn wake_all(&self) {
        for (member, _) in self.present().members.values() {
            member.wake();
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::testing::{Socket, TestHouse};

    /// A list of sessions, and what they come into.
    struct Porch {
        sessions: Sessions,
        room: Arc<RoomLog>,
        settings: Settings,
    }

    impl Porch {
        fn new() -> Self {
            let settings = Settings { max_clients: 2, max_per_ip: 1, ..crate::net::testing::settings() };
            Self { sessions: Sessions::default(), room: TestHouse::default().house.entrance(), settings }
        }

        fn member(&self, id: u64) -> Arc<Member> {
            Arc::new(Member::new(SessionId(id), Arc::<Socket>::default(), Arc::clone(&self.room)))
        }

        fn admit(&self, from: Option<IpAddr>) -> Result<u64, Refusal> {
            let admitted = self.sessions.admit(from, &self.settings, Arc::<Socket>::default(), &self.room);
            admitted.map(|member| member.id().0)
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        let porch = Porch::new();
        assert_eq!([porch.admit(None), porch.admit(None)], [Ok(1), Ok(2)]);
        // Not even that of the last one.
        porch.sessions.remove(SessionId(2));
        assert_eq!(porch.admit(None), Ok(3));
        porch.sessions.remove(SessionId(1));
        porch.sessions.remove(SessionId(3));
        assert_eq!((porch.sessions.count(), porch.sessions.last()), (0, 3));
        assert_eq!(porch.admit(None), Ok(4));
        assert_eq!(porch.sessions.last(), 4);
    }

    #[test]
    fn nor_is_one_that_another_process_has_given() {
        let porch = Porch::new();
        for id in [10, 7] {
            porch.sessions.readmit(&porch.member(id), None);
            porch.sessions.remove(SessionId(id));
        }
        assert_eq!(porch.admit(None), Ok(11));
        // Those that have gone before it ended.
        porch.sessions.go_on_after(20);
        porch.sessions.go_on_after(5);
        assert_eq!(porch.admit(None), Ok(21));
    }

    #[test]
    fn the_limits_hold_for_those_who_are_there() {
        let porch = Porch::new();
        let (one, other) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        assert_eq!(porch.admit(one), Ok(1));
        assert_eq!(porch.admit(one), Err(Refusal::TooManyFromThere));
        porch.sessions.readmit(&porch.member(5), other);
        assert_eq!(porch.admit(None), Err(Refusal::Full));
        porch.sessions.remove(SessionId(1));
        assert_eq!(porch.admit(other), Err(Refusal::TooManyFromThere));
        assert_eq!(porch.admit(one), Ok(6), "a refusal has cost no number, and does not count");
    }
}
