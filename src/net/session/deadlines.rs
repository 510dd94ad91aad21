//! What a session does though nothing happens: it flushes, gives up, or is closed.

use std::task::Context;
use std::time::{Duration, Instant};

use super::reading::Then;
use super::{Close, Origin, Phase, Session};
use crate::chat::Delivery;
use crate::net::{Counters, Settings, Stage};
use crate::protocol::Notice;
use crate::rt;

/// How often a session that is closing looks whether the kernel has got rid of what it was given.
const LINGER_CHECK: Duration = Duration::from_millis(20);

/// How often it looks whether half a line that has waited long enough can be taken in by now.
const FLUSH_CHECK: Duration = Duration::from_millis(20);

impl Session {
    /// The next time at which something has to be done though nothing happens.
    pub(super) fn deadline(&self, settings: &Settings) -> Option<Instant> {
        let pending = Some(self.last_read).filter(|_| self.phase == Phase::Open);
        let pending = pending.filter(|_| self.unsaid.is_none());
        let flush = settings.flush_after.filter(|_| self.framer.is_begun());
        let wait = if self.ending.is_some() { settings.drain } else { settings.slow_timeout };
        [
            pending.zip(flush).map(|(last, wait)| (last + wait).max(rt::now() + FLUSH_CHECK)),
            pending.zip(settings.idle_timeout).map(|(last, wait)| last + wait),
            self.pace.as_deref().and_then(|pace| pace.next),
            self.blocked.map(|since| since + wait),
            (self.phase == Phase::Lingering).then(|| rt::now() + LINGER_CHECK),
            self.net.drain_until(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn set_alarm(&mut self) {
        if let Some(when) = self.deadline(&self.net.settings()) {
            // One that rings too early is set again then; that is cheaper than moving it each time.
            if self.alarm.is_none_or(|set| when < set) {
                self.net.alarms.set(&mut self.alarm, when, self.reader.member());
            }
        }
    }

    /// Does what is due if the alarm has rung.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let Some(now) = self.alarm.map(|_| rt::now()).filter(|now| self.alarm.is_some_and(|set| set <= *now))
        else {
            return Ok(());
        };
        self.alarm = None;
        let settings = self.net.settings();
        let is_due = |since: Option<Instant>, wait: Duration| since.is_some_and(|since| now >= since + wait);
        if self.net.drain_until().is_some_and(|until| now >= until)
            || is_due(self.lingering_since(), settings.drain)
        {
            return Err(Close::Late);
        }
        let wait = if self.ending.is_some() { settings.drain } else { settings.slow_timeout };
        // It may be chatd that has not run for so long.
        if is_due(self.blocked, wait) && !self.takes_something() {
            Counters::count(&self.net.counters.slow);
            return Err(Close::Slow);
        }
        if self.phase == Phase::Open && self.net.stage() == Stage::Running && self.unsaid.is_none() {
            if settings.flush_after.is_some_and(|wait| is_due(Some(self.last_read), wait))
                && self.can_take_in(cx)
            {
                self.take_in(&[], Then::Flush);
            }
            if settings.idle_timeout.is_some_and(|wait| is_due(Some(self.last_read), wait)) {
                self.close_idle(cx);
            }
        }
        Ok(())
    }

    /// Tries to send something though the kernel has not said that it takes any.
    fn takes_something(&mut self) -> bool {
        let takes = !matches!(self.reader.deliver(), Ok(Delivery::Blocked { sent: 0 }));
        if takes {
            self.blocked = None;
        }
        takes
    }

    fn lingering_since(&self) -> Option<Instant> {
        self.ending.filter(|_| self.phase == Phase::Lingering)
    }

    fn close_idle(&mut self, cx: &mut Context<'_>) {
        Counters::count(&self.net.counters.idle);
        log::debug!("session {} from {} was idle for too long", self.reader.id().0, Origin(self.from));
        self.notice(&Notice::Idle);
        if self.can_take_in(cx) {
            self.take_in(&[], Then::End);
        }
        self.phase = Phase::Ended;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Poll, Wake, Waker};

    use super::super::handover::tests::Passage;
    use super::*;
    use crate::net::testing::settings;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn half_a_line_that_is_due_while_the_room_waits_is_looked_at_only_now_and_then() {
        let mut passage = Passage::greeted(Settings { flush_after: Some(FLUSH_CHECK), ..settings() });
        passage.say("half");
        passage.until(|passage| passage.session.framer.has_unfinished());
        let Passage { session, .. } = &mut passage;
        // What was said before is on its way to the room, which does not take it in.
        session.reader.member().begin_input();
        session.last_read -= HOUR;
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        for _ in 0..3 {
            let now = rt::now();
            session.alarm = Some(now);
            assert!(session.poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(session.alarm.is_some_and(|when| when >= now + FLUSH_CHECK));
        }
        assert!(session.framer.has_unfinished());
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "it does not wake itself");
    }

    #[test]
    fn a_pause_ends_a_line_that_is_dropped_as_well() {
        let flush_after = Some(HOUR);
        let mut passage = Passage::greeted(Settings { flush_after, ..settings() });
        passage.say(vec![b'x'; settings().rules.max_line + 1]);
        passage.expect("-!- line too long (over 16384 bytes), nobody got it\n");
        passage.session.last_read -= HOUR;
        passage.session.alarm = Some(rt::now());
        passage.until(|passage| !passage.session.framer.is_begun());
        passage.say("and this\n");
        passage.expect_said("and this\n");
    }

    /// A session that has been blocked for an hour; its caller has read all that the kernel has, if it reads.
    /// Returns what becomes of it when it looks.
    fn after_an_hour(reads: bool) -> Poll<Close> {
        let mut passage = Passage::greeted(Settings { slow_timeout: HOUR, ..settings() });
        let Passage { house, witness, .. } = &mut passage;
        house.say(witness, &format!("{}\n", "x".repeat(999)).repeat(100));
        passage.until(|passage| passage.session.blocked.is_some());
        while reads && passage.caller.read(&mut [0; 4096]).is_ok() {}
        passage.session.blocked = Some(rt::now() - HOUR);
        passage.session.alarm = passage.session.blocked;
        let poll = passage.session.poll(&mut Context::from_waker(Waker::noop()));
        assert!(!reads || passage.caller.read(&mut [0; 4096]).is_ok(), "it is sent more");
        poll
    }

    #[test]
    fn who_takes_nothing_for_slow_timeout_is_closed() {
        assert!(matches!(after_an_hour(false), Poll::Ready(Close::Slow)));
    }

    #[test]
    fn nobody_is_closed_who_has_read_while_chatd_did_not_look() {
        assert!(after_an_hour(true).is_pending());
    }
}
