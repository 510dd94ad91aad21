//! Whom a reader ignores, or may ignore while it waits for an answer.

use std::collections::{HashMap, HashSet};

/// Whom a reader ignores, or may.
#[derive(Debug, Default)]
pub struct Ignored {
    /// Those whom it does, as it has been told.
    hidden: HashSet<u64>,
    spans: Vec<Span>,
    /// How often it has asked to ignore whom, and has not been answered.
    asked: HashMap<u64, usize>,
}

/// A session is ignored, or may be, until a step.
#[derive(Debug)]
struct Span {
    author: u64,
    to: Option<usize>,
}

impl Ignored {
    /// After a crash it ignores these.
    pub fn after_crash(&mut self, ids: &[u64], step: usize) {
        self.hidden = ids.iter().copied().collect();
        self.asked.clear();
        for one in self.spans.iter_mut().filter(|one| one.to.is_none() && !ids.contains(&one.author)) {
            one.to = Some(step);
        }
        ids.iter().for_each(|id| self.begin(*id));
    }

    /// It asks to ignore somebody, or to hear that session again.
    pub fn ask(&mut self, author: u64) {
        self.hidden.remove(&author);
        *self.asked.entry(author).or_default() += 1;
        self.begin(author);
    }

    /// It may ignore a session from now on.
    fn begin(&mut self, author: u64) {
        if !self.may_hide(author) {
            self.spans.push(Span { author, to: None });
        }
    }

    /// Returns whether it ignores a session, or may.
    pub fn may_hide(&self, author: u64) -> bool {
        self.spans.iter().any(|one| one.author == author && one.to.is_none())
    }

    /// Returns whether it may have ignored a session in that step.
    pub fn may_have_hidden(&self, author: u64, step: usize) -> bool {
        self.spans.iter().any(|one| one.author == author && one.to.is_none_or(|to| to >= step))
    }

    /// Returns whether it ignores a session for sure.
    pub fn hides(&self, author: u64) -> bool {
        self.hidden.contains(&author)
    }

    /// It is answered that it ignores somebody, or hears that session. Only the last answer to come says what is so.
    pub fn answered(&mut self, about: &str, is_hidden: bool, step: usize) {
        let Some(author) = about.split(' ').next().and_then(number_of) else { return };
        if let Some(asked) = self.asked.get_mut(&author) {
            *asked = asked.saturating_sub(1);
            if *asked > 0 {
                return;
            }
        }
        if is_hidden {
            self.hidden.insert(author);
        } else {
            let open = self.spans.iter_mut().filter(|one| one.author == author && one.to.is_none());
            open.for_each(|one| one.to = Some(step));
        }
    }
}

/// The number of a session in a name that nobody else can have.
fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("guest").or_else(|| name.strip_prefix('u')?.split('x').next())?.parse().ok()
}
