//! What one has said oneself: what of it is known to have arrived, and what nobody got.
//!
//! `dialogue` notes what was sent, and asks the daemon something after it: whoever answers that has taken all that came
//! before it. `missed` shows it what was said in the room, for what stands there has arrived too. When a connection is
//! lost, what is left has not arrived, as far as anybody can know. Knows nothing of connections and clocks.

use std::collections::VecDeque;

use super::arriving::clean;
use crate::protocol::command::{self, Command};

/// The lines that `/last` is asked for after the connection came back; chatd keeps 200 unless configured.
pub const ASKED_LINES: usize = 1000;

/// The lines that are remembered: as many as that, for `/last` shows them as well.
const LINES: usize = ASKED_LINES;

/// Of what nobody got, the lines that are shown; the rest is counted.
const SHOWN_LINES: usize = 10;

/// What has become of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It was sent.
    Sent,
    /// And something was asked after it.
    Asked,
    /// Which the daemon has answered.
    Taken,
    /// The connection was lost before that.
    Lost,
}

/// A line of one's own.
#[derive(Debug)]
struct Line {
    /// What one was called, if the daemon has said so.
    name: Option<String>,
    /// What the room is told; none for a line that is for one member alone.
    text: Option<String>,
    /// What was typed.
    typed: String,
    fate: Fate,
}

/// Lines that one has said, the oldest first.
#[derive(Debug, Default)]
pub struct Own {
    lines: VecDeque<Line>,
}

/// What a line that is sent tells others: the room, or somebody alone, which is none. Nothing if it tells nobody anything.
pub fn said_in(line: &str) -> Option<Option<String>> {
    match command::read(line.as_bytes()) {
        command::Line::Text(text) => Some(Some(String::from_utf8_lossy(text).into_owned())),
        command::Line::Command(Command::Me(text)) => Some(Some(text)),
        command::Line::Command(Command::Msg { .. }) => Some(None),
        _ => None,
    }
}

/// Lines that have not arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// What was typed.
    pub lines: Vec<String>,
    /// Whether that is sure, for everything that the room was told is known.
    pub is_sure: bool,
}

impl Own {
    /// A line was sent; `text` is what a room is told.
    pub fn say(&mut self, name: Option<&str>, text: Option<String>, typed: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        let (name, typed) = (name.map(str::to_owned), typed.to_owned());
        self.lines.push_back(Line { name, text, typed, fate: Fate::Sent });
    }

    /// Whether there is something to ask for.
    pub fn is_unasked(&self) -> bool {
        self.lines.iter().any(|line| line.fate == Fate::Sent)
    }

    /// Nobody can be asked: what was sent counts as arrived.
    pub fn trust(&mut self) {
        self.change(&[Fate::Sent], Fate::Taken);
    }

    /// Something was asked after all that was sent so far.
    pub fn ask(&mut self) {
        self.change(&[Fate::Sent], Fate::Asked);
    }

    /// That was answered.
    pub fn answered(&mut self) {
        self.change(&[Fate::Asked], Fate::Taken);
    }

    /// The connection is lost.
    pub fn lose(&mut self) {
        self.change(&[Fate::Sent, Fate::Asked], Fate::Lost);
    }

    fn change(&mut self, from: &[Fate], to: Fate) {
        let changed = self.lines.iter_mut().filter(|line| from.contains(&line.fate));
        changed.for_each(|line| line.fate = to);
    }

    /// How many of them the room was told.
    pub fn room_lines(&self) -> usize {
        self.lines.iter().filter(|line| line.text.is_some()).count()
    }

    /// Whether there are as many as are remembered: there may have been more.
    pub fn is_full(&self) -> bool {
        self.lines.len() == LINES
    }

    /// Whether a connection was lost before all had arrived.
    pub fn has_lost(&self) -> bool {
        self.lines.iter().any(|line| line.fate == Fate::Lost)
    }

    /// All of it is of no interest any more: one is in another room.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// The room was told so many of them: the oldest.
    pub fn forget(&mut self, mut count: usize) {
        while count > 0
            && let Some(line) = self.lines.pop_front()
        {
            count -= usize::from(line.text.is_some());
        }
    }

    /// Whether what the room was told is one of them. Each line counts once, and none that was said before it.
    pub fn take(&mut self, name: &str, text: &str) -> bool {
        let is_it = |line: &Line| line.name.as_deref() == Some(name) && line.text.as_deref() == Some(text);
        let at = self.lines.iter().position(is_it);
        at.is_some_and(|at| self.lines.drain(..=at).len() > 0)
    }

    /// Takes out what has not arrived. If all is known that the room was told, what one has said under a name is surely
    /// lost; what went to somebody alone, or has no name, may have got there just before the connection was lost.
    pub fn take_lost(&mut self, knows_all: bool) -> Vec<Lost> {
        let is_lost = |line: &Line| line.fate == Fate::Lost;
        let (lost, rest): (VecDeque<_>, _) = std::mem::take(&mut self.lines).into_iter().partition(is_lost);
        self.lines = rest;
        let lost = lost.into_iter().filter(|line| !line.typed.trim().is_empty());
        let (sure, unsure): (Vec<_>, Vec<_>) =
            lost.partition(|line| knows_all && line.name.is_some() && line.text.is_some());
        let lost = [(sure, true), (unsure, false)].map(|(lines, is_sure)| Lost {
            lines: lines.into_iter().map(|line| line.typed).collect(),
            is_sure,
        });
        lost.into_iter().filter(|lost| !lost.lines.is_empty()).collect()
    }
}

impl Lost {
    /// What to say of it, line by line.
    pub fn words(&self) -> Vec<String> {
        let perhaps = if self.is_sure { "" } else { "perhaps " };
        let clean = |line: &String| clean(line.as_bytes());
        if let [line] = &self.lines[..] {
            return vec![format!("{perhaps}nobody got this; Up brings it back: {}", clean(line))];
        }
        let count = self.lines.len();
        let mut words = vec![format!("{perhaps}nobody got these {count} lines; Up brings them back:")];
        words.extend(self.lines.iter().take(SHOWN_LINES).map(clean));
        if count > SHOWN_LINES {
            words.push(format!("and {} more", count - SHOWN_LINES));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(texts: &[&str]) -> Own {
        let mut own = Own::default();
        texts.iter().for_each(|text| own.say(Some("ann"), Some((*text).to_owned()), text));
        own
    }

    fn lost(own: &mut Own, knows_all: bool) -> Vec<String> {
        own.lose();
        own.take_lost(knows_all).iter().flat_map(Lost::words).collect()
    }

    #[test]
    fn what_was_sent_before_a_question_that_is_answered_has_arrived() {
        let mut own = own(&["one"]);
        own.ask();
        own.say(Some("ann"), Some("two".into()), "two");
        own.answered();
        assert!(own.is_unasked());
        assert_eq!(lost(&mut own, true), ["nobody got this; Up brings it back: two"]);
        assert!(own.take("ann", "one"), "it is still known as one's own");
        assert!(!own.has_lost() && lost(&mut own, true).is_empty(), "told once");
    }

    #[test]
    fn what_stands_in_the_room_has_arrived_and_what_was_said_before_it() {
        let mut own = own(&["one", "two", "three"]);
        own.lose();
        assert!(!own.take("bob", "two") && own.take("ann", "two") && !own.take("ann", "one"));
        assert_eq!(lost(&mut own, false), ["perhaps nobody got this; Up brings it back: three"]);
    }

    #[test]
    fn what_is_for_one_alone_is_never_surely_lost_and_counts_for_no_line_of_the_room() {
        let mut own = own(&["one"]);
        own.say(Some("ann"), None, "/msg bob psst");
        own.say(Some("ann"), Some("waves".into()), "/me waves");
        own.forget(1);
        let words = [
            "nobody got this; Up brings it back: /me waves",
            "perhaps nobody got this; Up brings it back: /msg bob psst",
        ];
        assert_eq!(lost(&mut own, true), words);
    }

    #[test]
    fn many_lines_are_counted_and_none_drives_the_terminal() {
        let mut own = own(&["a\u{1b}b", " "]);
        assert_eq!(
            lost(&mut own, true),
            ["nobody got this; Up brings it back: a^[b"],
            "nor are there empty ones"
        );
        (0..12).for_each(|_| own.say(None, Some("x".into()), "x"));
        let words = lost(&mut own, true);
        assert_eq!(words[0], "perhaps nobody got these 12 lines; Up brings them back:");
        assert_eq!((words.len(), words[11].as_str()), (12, "and 2 more"));
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut own = Own::default();
        (0..2 * LINES).for_each(|_| own.say(None, None, "x"));
        assert_eq!(own.lines.len(), LINES);
    }
}
