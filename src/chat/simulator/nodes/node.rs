//! A node: its house, its end of the way to the engine, and what has happened to it.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::bans::NodeBans;
use super::end::End;
use super::engine::Engine;
use crate::chat::simulator::common::Common;
use crate::chat::simulator::given::Givens;
use crate::chat::simulator::house::House;
use crate::chat::{EngineEvent, Hub, HubSnapshot, Limits};

/// Members are told of an engine that has been away for so long.
const AWAY: Duration = Duration::from_secs(1);

/// How often a node says that it lives.
const REFRESH: Duration = Duration::from_secs(5);

/// A node that has not said so for longer is gone.
const LIFETIME: Duration = Duration::from_secs(15);

pub struct Node {
    pub name: Arc<str>,
    pub house: House,
    pub end: End,
    pub is_up: bool,
    /// It does not run.
    pub is_paused: bool,
    /// Since when it has been cut off from the engine.
    cut: Option<Instant>,
    is_away: bool,
    /// When it said that it lives; `None` if it has said that it does not.
    refreshed: Option<Instant>,
    /// Which nodes it takes for gone.
    gone: Vec<Arc<str>>,
    pub incarnation: u64,
    keeps: bool,
    pub bans: NodeBans,
}

impl Node {
    pub fn new(
        name: &str,
        limits: Limits,
        rooms: usize,
        (keeps, bans): (bool, NodeBans),
        common: &mut Common,
    ) -> Self {
        let (name, given) = (Arc::<str>::from(name), Givens::default());
        let end = End::new(&name, 1, keeps, given.clone(), common.random.below(1 << 30) as u64);
        let mut house = House::new(limits, rooms, Box::new(end.clone()), given);
        house.hub.administer(Box::new(bans.clone()));
        let refreshed = Some(common.now);
        let (gone, incarnation) = (Vec::new(), 1);
        let (is_up, is_paused, cut, is_away) = (true, false, None, false);
        Self { name, house, end, is_up, is_paused, cut, is_away, refreshed, gone, incarnation, keeps, bans }
    }

    /// Returns whether it does what it is there for.
    pub fn runs(&self) -> bool {
        self.is_up && !self.is_paused
    }

    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub fn cut(&mut self, common: &Common) {
        self.cut.get_or_insert(common.now);
    }

    pub fn heal(&mut self) {
        self.cut = None;
        if std::mem::take(&mut self.is_away) {
            self.end.state().tell(EngineEvent::Back);
        }
    }

    /// Something travels to the engine, and back.
    pub fn exchange(&mut self, engine: &mut Engine, is_all: bool, common: &mut Common) {
        if !self.runs() {
            return;
        }
        let brought = self.bans.take_brought();
        if !brought.is_empty() {
            self.end.state().change_bans(brought, true);
        }
        if common.random.has_luck(300) {
            self.bans.store();
        }
        match self.cut {
            None => {
                self.end.state().push(engine, is_all);
                self.end.state().pull(engine, is_all);
            }
            Some(since) if !self.is_away && common.now >= since + AWAY => {
                self.is_away = true;
                self.end.state().tell(EngineEvent::Away);
            }
            Some(_) => {}
        }
        if self.house.hub.poll_sequenced(&mut Context::from_waker(Waker::noop())).is_ready() {
            let now = self.house.time(common);
            self.house.hub.take_sequenced(now);
        }
        self.house.settle(common);
    }

    /// Time has gone on.
    pub fn tick(&mut self, common: &mut Common) {
        if !self.runs() {
            return;
        }
        if self.cut.is_none() && self.refreshed.is_none_or(|at| common.now >= at + REFRESH) {
            self.refreshed = Some(common.now);
        }
        if self.house.hub.next_tick().is_some_and(|tick| tick <= common.now) {
            self.house.tick(common);
        }
    }

    /// Returns whether others take it for gone.
    pub fn is_expired(&self, common: &Common) -> bool {
        self.refreshed.is_none_or(|at| common.now > at + LIFETIME)
    }

    /// Says of nodes that are gone that they are, once of each.
    pub fn look_for_others(&mut self, others: &[(Arc<str>, bool)]) {
        if !self.runs() || self.is_cut() {
            return;
        }
        for (name, is_expired) in others.iter().filter(|(name, _)| *name != self.name) {
            let is_known = self.gone.contains(name);
            if *is_expired && !is_known {
                self.gone.push(Arc::clone(name));
                self.end.state().declare_gone(name);
            } else if !is_expired {
                self.gone.retain(|gone| gone != name);
            }
        }
    }

    /// Another process goes on with all that can be written down.
    pub fn hand_over(&mut self, common: &mut Common) {
        let (snapshot, mut sequencer) = self.house.stop_for_handover(common);
        self.end = self.end.next_process(Some(&sequencer.save()));
        self.bans.store();
        self.go_on_with(&snapshot, common);
    }

    /// The process dies at once. What it had not sent is lost; some of it may have been on its way.
    pub fn crash(&mut self, engine: &mut Engine, common: &mut Common) {
        self.forget_bans(engine);
        self.house.absorb(common);
        if !self.is_cut() && common.random.has_luck(500) {
            self.end.state().push(engine, false);
        }
        let snapshot = self.house.crash(common);
        self.end = self.end.next_process(None);
        self.go_on_with(&snapshot, common);
        self.house.end_again(common);
    }

    fn go_on_with(&mut self, snapshot: &HubSnapshot, common: &mut Common) {
        self.bans.begin();
        let bans = self.bans.clone();
        let begin = |hub: &mut Hub| hub.administer(Box::new(bans));
        self.house.go_on_with(snapshot, Box::new(self.end.clone()), begin, common);
    }

    /// What the engine has lost, and this node has not told it yet, may be forgotten.
    fn forget_bans(&self, engine: &mut Engine) {
        let known = self.bans.known().into_iter();
        engine.forgotten.extend(known.filter(|whom| !engine.primary.bans.contains(whom)).collect::<Vec<_>>());
    }

    /// The machine is gone, and everybody who was connected to it.
    pub fn die(&mut self, engine: &mut Engine) {
        self.forget_bans(engine);
        (self.is_up, self.is_paused) = (false, false);
        let ids: Vec<_> = self.house.people.keys().copied().collect();
        ids.into_iter().for_each(|id| self.house.forget(id));
        self.house.take_hub();
    }

    /// Everybody is sent away, and the node stops.
    pub fn stop(&mut self, engine: &mut Engine, common: &mut Common) {
        let ids: Vec<_> = self.house.people.keys().copied().collect();
        ids.into_iter().for_each(|id| self.house.leave(id, common));
        self.house.settle(common);
        self.end.state().push(engine, true);
        if self.keeps {
            // It waits for that.
            engine.replicate();
        }
        self.bans.store();
        self.refreshed = None;
        self.die(engine);
    }

    /// It begins anew, and knows nothing.
    pub fn start(&mut self, common: &mut Common) {
        let house = &self.house;
        self.bans.begin();
        let kept = (self.keeps, self.bans.clone());
        let mut new = Self::new(&self.name, house.limits, house.rooms, kept, common);
        let seed = common.random.below(1 << 30) as u64;
        new.incarnation = self.incarnation + 1;
        let given = Givens::default();
        new.end = End::new(&self.name, new.incarnation, self.keeps, given.clone(), seed);
        new.house = House::new(house.limits, house.rooms, Box::new(new.end.clone()), given);
        new.house.hub.administer(Box::new(self.bans.clone()));
        (new.house.ahead, new.house.heard) = (house.ahead, house.heard);
        *self = new;
    }
}
