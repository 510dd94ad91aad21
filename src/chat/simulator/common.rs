//! What all houses have in common: the seed, the clock, and what was asked for so far.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use super::random::Random;
use super::reader::Private;
use super::talk;
use crate::protocol::Who;

/// How many of the last steps a failure shows.
const SHOWN: usize = 30;

/// The number of the step, and the last ones. A failed run shows them.
pub type Trace = Rc<RefCell<(usize, VecDeque<String>)>>;

pub struct Common {
    pub random: Random,
    pub start: Instant,
    pub now: Instant,
    pub step: usize,
    /// What each session may be called.
    pub names: HashMap<u64, HashSet<String>>,
    /// To whom each private message goes, if to one only, and whether it was read.
    pub privates: HashMap<String, (Option<u64>, bool)>,
    /// Another engine has taken over, and has perhaps lost acts.
    pub has_failed_over: bool,
    /// The number of the next session.
    next: u64,
    texts: usize,
    trace: Trace,
}

impl Common {
    pub fn new(random: Random, trace: Trace) -> Self {
        let now = Instant::now();
        Self {
            random,
            start: now,
            now,
            step: 0,
            names: HashMap::new(),
            privates: HashMap::new(),
            has_failed_over: false,
            next: 1,
            texts: 0,
            trace,
        }
    }

    pub fn note(&self, what: String) {
        let trace = &mut *self.trace.borrow_mut();
        trace.0 = self.step;
        trace.1.push_back(format!("{}: {what}", self.step));
        if trace.1.len() > SHOWN + 1 {
            trace.1.remove(1);
        }
    }

    pub fn next_session(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A text that nobody has said.
    pub fn text(&mut self, filler: usize) -> String {
        self.texts += 1;
        format!("t{} {}", self.texts, talk::filler(filler)).trim_end().to_owned()
    }

    /// A private message that nobody has sent; `to` says who is to get it.
    pub fn private(&mut self, from: u64, to: &str) -> String {
        self.texts += 1;
        let text = format!("pm{}.{from}.", self.texts);
        let only = to.strip_prefix("guest").map(|number| number.parse().unwrap());
        self.privates.insert(text.clone(), (only, false));
        text
    }

    /// A private message from one session to another.
    pub fn private_to(&mut self, from: u64, to: u64) -> String {
        let text = self.private(from, "");
        self.privates.insert(text.clone(), (Some(to), false));
        text
    }

    /// Returns whether a session has asked for that name.
    pub fn may_be_called(&self, who: &Who) -> bool {
        self.names.get(&who.id).is_some_and(|names| names.contains(who.name.as_str()))
    }

    /// A session has read a private message.
    pub fn read_private(&mut self, id: u64, private: &Private) {
        let Some((to, is_seen)) = self.privates.get_mut(&private.text) else { panic!("{private:?}") };
        assert!(!std::mem::replace(is_seen, true), "twice: {private:?}");
        assert!(to.is_none_or(|to| to == id), "#{id} hears {private:?}");
        let from = private.text.split('.').nth(1).unwrap().parse().unwrap();
        let is_from = self.names[&from].contains(private.from.trim_start_matches('+'));
        let is_to = private.to.as_ref().is_none_or(|to| self.names[&id].contains(to));
        assert!(is_from && is_to, "names: {private:?}");
    }
}
