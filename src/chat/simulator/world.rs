//! A world: one run of a simulated house, from a seed.

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::common::{Common, Trace};
use super::house::House;
use super::person::Pace;
use super::plan::Plan;
use super::random::Random;
use super::sequencer::Engine;
use super::shelf::Shelf;
use super::talk::Typed;
use crate::chat::testing;
use crate::chat::{End, Hub, Input, Limits, Read, SessionId};

/// The most time in any 30 seconds that a room waits for members that take too little: its patience, a look and a step.
/// It may wait longer for those who take what is appended at `min_rate`.
const MOST_WAITED: Duration = Duration::from_millis(1300);

/// When that is used up, a room looks so soon whether one that it waits for reads.
const MOST_LOOKED: Duration = Duration::from_millis(10);

pub struct World {
    common: Common,
    plan: Plan,
    house: House,
    engine: Engine,
    shelf: Shelf,
    has_crashed: bool,
    /// When the room waited.
    waited: VecDeque<(Instant, Instant)>,
    /// How many bytes had been appended to the logs, and when.
    appended_bytes: VecDeque<(Instant, u64)>,
}

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        Self::with(plan, random, trace)
    }

    /// Its sequencer gives back late, and outlives many hubs; none of them crashes.
    pub fn late(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan {
            is_late: true,
            is_patience: false,
            handovers: 40,
            crashes: 0,
            ..Plan::new(seed, &mut random)
        };
        Self::with(plan, random, trace)
    }

    fn with(plan: Plan, mut random: Random, trace: Trace) -> Self {
        let limits = Limits {
            log_size: random.pick(&[4096, 4096, 8192, 65_536]),
            history: random.pick(&[0, 20, 100]),
            max_rooms: random.between(1, plan.rooms),
            min_rate: random.pick(&[200, 1000, 20_000]),
            memory: random.pick(&[1 << 30, 1 << 30, 1 << 30, 200_000, 500_000, 1 << 20]),
            commands: true,
        };
        trace.borrow_mut().1.push_back(format!("{plan:?} {limits:?}"));
        let engine = Engine::new(plan.is_late);
        let mut house = House::new(limits, plan.rooms, Box::new(engine.clone()), engine.given());
        house.is_patience = plan.is_patience;
        let common = Common::new(random, trace);
        Self {
            appended_bytes: VecDeque::from([(common.now, 0)]),
            common,
            plan,
            house,
            engine,
            shelf: Shelf::default(),
            has_crashed: false,
            waited: VecDeque::new(),
        }
    }

    /// Returns how many lines were heard.
    pub fn run(&mut self) -> usize {
        begin_archive(&mut self.house.hub, &self.shelf, self.plan.is_archived);
        for _ in 0..self.plan.members.div_ceil(2) {
            self.house.join(&mut self.common);
        }
        for step in 1..=self.plan.steps {
            self.common.step = step;
            self.act();
            if self.common.random.has_luck(700) {
                self.house.settle(&mut self.common);
            } else {
                self.house.absorb(&mut self.common);
            }
        }
        self.common.step += 1;
        if self.plan.has_drain {
            self.drain()
        } else {
            self.rest()
        }
        self.shelf.check(&self.house.order, self.plan.is_archived && !self.has_crashed);
        let people = self.house.people.values();
        self.house.heard + people.map(|person| person.reader.heard).sum::<usize>()
    }

    /// One thing happens.
    fn act(&mut self) {
        if self.common.random.has_luck(self.plan.handovers) {
            return self.hand_over();
        }
        if self.common.random.has_luck(self.plan.crashes) {
            return self.crash();
        }
        if self.plan.is_late && self.common.random.has_luck(400) {
            self.release(8);
        }
        let is_full = self.house.people.len() >= self.plan.members;
        let (house, common) = (&mut self.house, &mut self.common);
        match common.random.below(100) {
            0..50 => {
                let others: Vec<u64> = house.people.keys().map(|id| id.0).collect();
                house.talk(&others, common)
            }
            50..76 => house.make_space(common),
            76..84 => self.wait(),
            84..91 if !is_full => house.join(common),
            84..91 => house.make_space(common),
            91..93 => house.change_pace(common),
            93..95 => house.end(common),
            95..96 => house.break_off(common),
            96..97 => self.change_limits(),
            97..98 => house.stall(common),
            98..99 => house.walk_away(common),
            _ => self.wait(),
        }
    }

    fn release(&mut self, most: usize) {
        self.engine.release(&mut self.common.random, most);
        if self.house.hub.poll_sequenced(&mut Context::from_waker(Waker::noop())).is_ready() {
            let now = self.house.time(&self.common);
            self.house.hub.take_sequenced(now);
        }
    }

    /// Time goes on.
    fn wait(&mut self) {
        if self.plan.is_patience {
            return self.wait_closely();
        }
        let random = &mut self.common.random;
        let time = match random.below(10) {
            0..4 => random.between(1, 300),
            4..9 => random.between(300, 3000),
            _ => random.between(3000, 200_000),
        };
        let is_busy = random.has_luck(200);
        self.common.note(format!("{time} ms go by"));
        self.house.wait_for_tick(&mut self.common, Duration::from_millis(time as u64), is_busy);
    }

    /// Time goes on, and everybody reads as it does.
    fn wait_closely(&mut self) {
        let pieces = self.common.random.between(1, 60);
        self.common.note(format!("{pieces} times 50 ms go by"));
        self.house.settle(&mut self.common);
        for _ in 0..pieces {
            let end = self.common.now + Duration::from_millis(50);
            let ids: Vec<SessionId> = self.house.people.keys().copied().collect();
            for id in ids {
                self.house.set_space(id);
                self.house.tell_writable(id, &self.common);
            }
            self.house.settle(&mut self.common);
            while let Some(tick) = self.house.hub.next_tick().filter(|tick| *tick <= end) {
                self.go_on_until(tick);
                self.house.tick(&mut self.common);
            }
            self.go_on_until(end);
            self.house.tick(&mut self.common);
        }
    }

    fn go_on_until(&mut self, end: Instant) {
        let (now, end) = (self.common.now, end.max(self.common.now));
        self.appended_bytes.push_back((end, testing::appended(self.house.hub.dispatcher())));
        while self.appended_bytes.front().is_some_and(|(at, _)| *at + Duration::from_secs(31) < end) {
            self.appended_bytes.pop_front();
        }
        if self.house.hub.is_waiting() && end > now {
            self.waited.push_back((now, end));
            while self.waited.front().is_some_and(|(_, to)| *to + Duration::from_secs(30) < end) {
                self.waited.pop_front();
            }
            let waited: Duration = self.waited.iter().map(|(from, to)| *to - *from).sum();
            let people = self.house.people.values();
            let slow = people.filter(|person| person.pace != Pace::Fast).count() as u32;
            let bytes: u64 = self
                .appended_bytes
                .iter()
                .zip(self.appended_bytes.iter().skip(1))
                .map(|(one, next)| next.1.saturating_sub(one.1))
                .sum();
            let taken = Duration::from_millis(1000 * bytes / self.house.limits.min_rate);
            let most = MOST_WAITED + MOST_LOOKED * slow + taken;
            assert!(waited <= most, "the room has waited for {waited:?} in 30 s, {slow} are slow");
        }
        self.common.now = end;
    }

    fn change_limits(&mut self) {
        let (random, mut limits) = (&mut self.common.random, self.house.limits);
        limits.min_rate =
            if self.plan.is_patience { limits.min_rate } else { random.pick(&[200, 1000, 20_000]) };
        limits.max_rooms = random.between(1, self.plan.rooms);
        limits.log_size = random.pick(&[4096, 8192, 65_536]);
        limits.memory = random.pick(&[limits.memory, 1 << 30]);
        self.common.note(format!("{limits:?}"));
        self.house.limits = limits;
        self.house.apply(Input::Limits(limits), &self.common);
    }

    /// Another process goes on, with all that can be written down.
    fn hand_over(&mut self) {
        let (snapshot, sequencer) = self.house.stop_for_handover(&mut self.common);
        let begin = |hub: &mut Hub| begin_archive(hub, &self.shelf, self.plan.is_archived);
        self.house.go_on_with(&snapshot, sequencer, begin, &mut self.common);
    }

    /// The process dies at once; the next one knows what was recorded.
    fn crash(&mut self) {
        self.house.absorb(&mut self.common);
        self.common.note("a crash".to_owned());
        self.has_crashed = true;
        self.engine.crash();
        let snapshot = self.house.crash(&self.common);
        let begin = |hub: &mut Hub| begin_archive(hub, &self.shelf, self.plan.is_archived);
        self.house.go_on_with(&snapshot, Box::new(self.engine.clone()), begin, &mut self.common);
        self.house.end_again(&mut self.common);
    }

    /// Everybody reads everything, until there is nothing more.
    fn read_all(&mut self) {
        let mut turn = 0;
        while turn < 100_000 {
            turn += 1;
            self.house.settle(&mut self.common);
            self.release(64);
            let is_holding = self.engine.is_holding();
            let is_moving = self.house.read_on(&self.common) || is_holding;
            let is_waiting = self.house.hub.is_waiting();
            if !is_moving && !is_waiting {
                return;
            }
            if !is_moving {
                // Whether somebody still has to read is looked at again with each tick.
                assert!(turn < 99_000, "it does not come to rest; behind are {:?}", self.behind());
                turn += 10_000;
                self.common.now += Duration::from_millis(250);
                self.house.tick(&mut self.common);
            }
        }
        panic!("it does not come to rest; behind are {:?}", self.behind());
    }

    fn behind(&self) -> Vec<String> {
        testing::behind(self.house.hub.dispatcher())
    }

    /// At the end everybody reads, and nobody waits.
    fn rest(&mut self) {
        self.common.note("everybody reads".to_owned());
        self.read_all();
        let is_waiting = self.house.hub.is_waiting();
        assert!(!is_waiting, "a room waits, and everybody has read; behind are {:?}", self.behind());
        self.common.now += Duration::from_secs(3);
        self.house.tick(&mut self.common);
        self.read_all();
        self.house.check_all(false);
    }

    /// The daemon stops.
    fn drain(&mut self) {
        self.common.note("a drain".to_owned());
        self.house.settle(&mut self.common);
        self.house.apply(Input::Drain, &self.common);
        for _ in 0..10_000 {
            self.house.settle(&mut self.common);
            let ids: Vec<SessionId> = self.house.people.keys().copied().collect();
            for id in ids {
                let person = &self.house.people[&id];
                if person.end == End::No && !person.socket.with(|state| state.is_outstanding) {
                    let mut text = String::new();
                    let typed = Typed::Lines { count: 1, filler: 5 };
                    self.house.type_in(id, typed, &mut text, &mut self.common);
                    let read = Read { text: text.into_bytes(), end: End::Stopped, ..Read::default() };
                    self.house.submit(id, read, End::Stopped, &self.common);
                }
            }
            self.house.settle(&mut self.common);
            if self.house.people.values().all(|person| person.end != End::No) {
                break;
            }
            // Some read; the others have their second.
            self.release(64);
            self.house.make_space(&mut self.common);
            self.common.now += Duration::from_millis(250);
            self.house.tick(&mut self.common);
        }
        self.read_all();
        self.house.check_all(true);
    }
}

/// Goes on from the archive, if there is one.
fn begin_archive(hub: &mut Hub, shelf: &Shelf, is_archived: bool) {
    if is_archived {
        hub.recall(shelf.recalled());
        hub.archive(Box::new(shelf.clone()), None);
    }
}
