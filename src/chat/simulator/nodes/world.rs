//! A world of several nodes: one run, from a seed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::bans::NodeBans;
use super::check;
use super::engine::{ACTS, Engine};
use super::node::Node;
use super::plan::Plan;
use crate::chat::simulator::common::{Common, Trace};
use crate::chat::simulator::house::{House, ROOMS};
use crate::chat::simulator::random::Random;
use crate::chat::testing;
use crate::chat::{End, Read, SessionId};

/// Time goes on in steps that are not longer than this.
const STEP: Duration = Duration::from_millis(400);

const NODES: [&str; 3] = ["alpha", "beta", "gamma"];

pub struct World {
    common: Common,
    plan: Plan,
    engine: Engine,
    nodes: Vec<Node>,
    /// Who was banned at a node alone.
    banned: Vec<String>,
}

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        trace.borrow_mut().1.push_back(format!("{plan:?}"));
        let mut common = Common::new(random, trace);
        let kept = || (plan.has_replicas, NodeBans::default());
        let node = |name: &&str| Node::new(name, plan.limits, plan.rooms, kept(), &mut common);
        let nodes = NODES[..plan.nodes].iter().map(node).collect();
        let engine = Engine::new(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24));
        Self { common, plan, engine, nodes, banned: Vec::new() }
    }

    /// Returns how many lines were heard.
    pub fn run(&mut self) -> usize {
        for step in 1..=self.plan.steps {
            self.common.step = step;
            if !self.something_fails() {
                self.act();
            }
            if self.common.random.has_luck(50) {
                self.change_bans();
            }
            if self.common.random.has_luck(600) {
                self.exchange(false);
            }
            check::names(&self.nodes);
            check::rosters(&self.nodes);
        }
        self.rest();
        self.nodes.iter().map(|node| heard(&node.house)).sum()
    }

    fn anybody(&mut self, is_meant: impl Fn(&Node) -> bool) -> Option<usize> {
        let meant: Vec<usize> = (0..self.nodes.len()).filter(|at| is_meant(&self.nodes[*at])).collect();
        if meant.is_empty() { None } else { Some(self.common.random.pick(&meant)) }
    }

    /// One thing happens.
    fn act(&mut self) {
        let Some(at) = self.anybody(Node::runs) else { return self.wait() };
        let everybody: Vec<u64> =
            self.nodes.iter().flat_map(|node| node.house.people.keys()).map(|id| id.0).collect();
        let (house, common) = (&mut self.nodes[at].house, &mut self.common);
        let is_full = house.people.len() >= self.plan.members;
        match common.random.below(100) {
            0..45 => house.talk(&everybody, common),
            45..63 => house.make_space(common),
            63..81 => return self.wait(),
            81..92 if !is_full => {
                common.note(format!("at {}:", NODES[at]));
                house.join(common);
            }
            81..92 => house.make_space(common),
            92..94 => house.change_pace(common),
            94..96 => house.end(common),
            96..97 => house.break_off(common),
            97..98 => house.stall(common),
            _ => house.walk_away(common),
        }
        if self.common.random.has_luck(700) {
            self.nodes[at].house.settle(&mut self.common);
        } else {
            self.nodes[at].house.absorb(&mut self.common);
        }
    }

    /// Somebody is banned, or that is lifted: by an operator, or at a node that is not there for the others.
    fn change_bans(&mut self) {
        let at = self.common.random.below(self.nodes.len());
        let (node, number) = (&self.nodes[at], self.common.step);
        if !node.runs() {
            if !node.is_up {
                self.common.note(format!("{} bans alone{number}", NODES[at]));
                node.bans.ban_alone(format!("alone{number}"));
                self.banned.push(format!("alone{number}"));
            }
            return;
        }
        // One that was banned everywhere, and is not banned again.
        let known = self.engine.primary.bans.iter().find(|one| one.starts_with("lift"));
        let again = self.common.random.below(4);
        let change = match self.common.random.below(6) {
            0 => format!("ban stay{number}"),
            1 => format!("ban lift{number}"),
            2 if known.is_some() => format!("unban {}", known.unwrap()),
            3 => format!("unban again{again}"),
            _ => format!("ban again{again}"),
        };
        self.common.note(format!("{}: {change}", NODES[at]));
        node.end.state().change_bans(vec![change], false);
    }

    /// Perhaps something fails, or is there again; returns whether it does.
    fn something_fails(&mut self) -> bool {
        let Some(at) = self.anybody(|_| true) else { return false };
        let (plan, name) = (&self.plan, NODES[at]);
        let (node, common, engine) = (&mut self.nodes[at], &mut self.common, &mut self.engine);
        if node.runs() && common.random.has_luck(plan.handovers) {
            common.note(format!("{name} is restarted"));
            let before = node.end.state().reached.clone();
            node.hand_over(common);
            check::opened(node, &before, false);
        } else if node.runs() && common.random.has_luck(plan.crashes) {
            common.note(format!("{name} crashes"));
            let before = node.end.state().reached.clone();
            node.crash(engine, common);
            check::opened(node, &before, true);
        } else if node.is_up && common.random.has_luck(plan.deaths) {
            common.note(format!("{name} dies"));
            node.die(engine);
        } else if node.runs() && !node.is_cut() && common.random.has_luck(plan.stops) {
            common.note(format!("{name} stops"));
            node.stop(engine, common);
        } else if !node.is_up && node.is_expired(common) && common.random.has_luck(200) {
            common.note(format!("{name} starts"));
            node.start(common);
        } else if node.is_cut() && common.random.has_luck(150) {
            common.note(format!("{name} reaches the engine again"));
            node.heal();
        } else if !node.is_cut() && common.random.has_luck(plan.cuts) {
            self.cut(at);
        } else if node.is_paused && common.random.has_luck(150) {
            common.note(format!("{name} runs again"));
            node.is_paused = false;
        } else if node.runs() && common.random.has_luck(plan.pauses) {
            common.note(format!("{name} does not run for a while"));
            node.is_paused = true;
        } else {
            return self.engine_fails();
        }
        true
    }

    /// One node does not reach the engine, or none does.
    fn cut(&mut self, at: usize) {
        let is_all = self.common.random.has_luck(300);
        self.common.note(format!("{} is cut off; all of them: {is_all}", NODES[at]));
        let cut = self.nodes.iter_mut().enumerate().filter(|(other, _)| is_all || *other == at);
        cut.for_each(|(_, node)| node.cut(&self.common));
    }

    fn engine_fails(&mut self) -> bool {
        let random = &mut self.common.random;
        if random.has_luck(100) {
            self.engine.replicate();
        } else if random.has_luck(self.plan.failovers) {
            let ahead = SignedDuration::from_millis(random.between(0, 20_000) as i64 - 10_000);
            self.common.note(format!("another engine takes over, ahead by {ahead:?}"));
            self.common.has_failed_over = true;
            let house = &self.nodes[self.common.random.below(self.nodes.len())].house;
            let seen = |key: &str| check::seen(house, key);
            let before = self.engine.primary.bans.clone();
            self.engine.fail_over(seen, ahead);
            let up = self.nodes.iter().filter(|node| node.is_up);
            let known: BTreeSet<String> = up.flat_map(|node| node.bans.known()).collect();
            let lost = before.difference(&self.engine.primary.bans).filter(|whom| !known.contains(*whom));
            self.engine.forgotten.extend(lost.cloned());
            self.nodes.iter().for_each(|node| node.end.state().note_failover(&self.engine));
        } else if random.has_luck(self.plan.trims) {
            let key =
                if random.has_luck(300) { ACTS.to_owned() } else { format!("room:{}", random.pick(&ROOMS)) };
            let most = random.between(1, 5);
            self.common.note(format!("{key} is trimmed to {most}"));
            self.engine.trim(&key, most);
        } else if random.has_luck(self.plan.jumps) {
            let jump = SignedDuration::from_millis(random.between(0, 100_000) as i64 - 50_000);
            let at = random.below(self.nodes.len());
            self.common.note(format!("the clock of {} jumps by {jump:?}", NODES[at]));
            // It is never before 1970.
            let house = &mut self.nodes[at].house;
            house.ahead = (house.ahead + jump).max(SignedDuration::ZERO);
        } else {
            return false;
        }
        true
    }

    /// Some nodes exchange something with the engine.
    fn exchange(&mut self, is_all: bool) {
        for node in &mut self.nodes {
            if is_all || self.common.random.has_luck(700) {
                node.exchange(&mut self.engine, is_all, &mut self.common);
            }
        }
    }

    /// Time goes on.
    fn wait(&mut self) {
        let random = &mut self.common.random;
        let time = match random.below(10) {
            0..5 => random.between(1, 300),
            5..9 => random.between(300, 2500),
            _ => random.between(2500, 25_000),
        };
        self.common.note(format!("{time} ms go by"));
        self.go_on(Duration::from_millis(time as u64), false);
    }

    fn go_on(&mut self, time: Duration, is_all: bool) {
        let end = self.common.now + time;
        while self.common.now < end {
            let runs = self.nodes.iter().filter(|node| node.runs());
            let due = runs.filter_map(|node| node.house.hub.next_tick()).min();
            let now = self.common.now;
            let next = due.map_or(end, |due| due.max(now)).min(end).min(now + STEP);
            // A tick that is due changes that it is, or time goes on all the same.
            let next = next.max((now + Duration::from_millis(1)).min(end));
            self.common.now = next;
            self.engine.time += SignedDuration::try_from(next - now).unwrap();
            self.nodes.iter_mut().for_each(|node| node.tick(&mut self.common));
            let fates: Vec<(Arc<str>, bool)> = self
                .nodes
                .iter()
                .map(|node| (Arc::clone(&node.name), node.is_expired(&self.common)))
                .collect();
            self.nodes.iter_mut().for_each(|node| node.look_for_others(&fates));
            self.exchange(is_all);
        }
    }

    /// Everything works again, and everybody reads everything, until there is nothing more.
    fn rest(&mut self) {
        self.common.step += 1;
        self.common.note("everything works again, and everybody reads".to_owned());
        for node in &mut self.nodes {
            node.is_paused = false;
            node.heal();
        }
        // Those who are gone are known to be; then they are there again.
        for _ in 0..2 {
            self.read_all();
            self.go_on(Duration::from_secs(20), true);
            let down = self.nodes.iter_mut().filter(|node| !node.is_up);
            down.for_each(|node| node.start(&mut self.common));
        }
        self.read_all();
        self.nodes.iter().for_each(|node| node.house.check_all(false));
        check::names(&self.nodes);
        check::rosters(&self.nodes);
        // A ban that was lifted may come back after a failover.
        let is_whole = !self.common.has_failed_over;
        check::bans(&self.nodes, &self.engine, &self.banned, is_whole);
        self.ask_around();
    }

    /// When all is quiet, everybody asks who is there, and tells somebody something.
    fn ask_around(&mut self) {
        let mut privates = Vec::new();
        let everybody: Vec<(usize, SessionId)> = (self.nodes.iter().enumerate())
            .flat_map(|(at, node)| node.house.people.values().map(move |person| (at, person)))
            .filter(|(_, person)| person.may_type())
            .map(|(at, person)| (at, person.id))
            .collect();
        let people = self.nodes.iter_mut().flat_map(|node| node.house.people.values_mut());
        people.for_each(|person| person.reader.who = None);
        for (at, id) in &everybody {
            let mut text = "/who\n".to_owned();
            let (to, other) = self.common.random.pick(&everybody);
            let may_ignore = self.nodes[to].house.people[&other].reader.ignored.may_hide(id.0);
            if other != *id && !may_ignore {
                let private = self.common.private_to(id.0, other.0);
                text += &format!("/msg #{} {private}\n", other.0);
                privates.push(private);
            }
            let read = Read { text: text.into_bytes(), ..Read::default() };
            self.nodes[*at].house.submit(*id, read, End::No, &self.common);
        }
        self.read_all();
        check::who(&self.nodes);
        let unread: Vec<_> = privates.iter().filter(|text| !self.common.privates[*text].1).collect();
        assert!(unread.is_empty(), "nobody has read {unread:?}");
        self.nodes.iter().for_each(|node| node.house.check_all(false));
    }

    fn read_all(&mut self) {
        for turn in 0..5_000 {
            self.exchange(true);
            let mut is_moving = false;
            for node in self.nodes.iter_mut().filter(|node| node.is_up) {
                node.house.settle(&mut self.common);
                is_moving |= node.house.read_on(&self.common) || node.house.hub.is_waiting();
                is_moving |= !node.end.state().outstanding(&self.engine).is_empty();
            }
            if !is_moving {
                return;
            }
            if turn % 10 == 9 {
                self.go_on(Duration::from_millis(250), true);
            }
        }
        let behind: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let outstanding = node.end.state().outstanding(&self.engine);
                (testing::behind(node.house.hub.dispatcher()), outstanding)
            })
            .collect();
        panic!("it does not come to rest: {behind:#?}");
    }
}

fn heard(house: &House) -> usize {
    house.heard + house.people.values().map(|person| person.reader.heard).sum::<usize>()
}
