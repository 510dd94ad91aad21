//! What was missed while there was no connection, and what was not.
//!
//! `dialogue` shows it each line that somebody has said, and what `/last` answers after the connection came back; what
//! it gives back is to be shown, each line once and in the order of the room. A daemon that has started anew numbers
//! its lines from 1 again, so a line is new if it was said later than the last one heard, or has a higher number.
//! Knows nothing of connections and clocks: times are those of the daemon.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::heard::{Place, Said};

/// The lines that are asked for after the connection came back; chatd keeps 200 unless configured.
pub const ASKED_LINES: usize = 1000;

/// The own lines that are remembered: `/last` shows them as well.
const OWN_LINES: usize = ASKED_LINES;

/// The lines that wait until `/last` has answered, and their bytes; if more come, it is not waited for.
const HELD_LINES: usize = 10_000;

/// See [`HELD_LINES`].
const HELD_BYTES: usize = 16 << 20;

/// A line that somebody has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was said.
    pub said: Said,
    /// The line in which it came.
    pub line: String,
}

/// Where the last line that was heard stands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    time: Timestamp,
    seq: u64,
}

impl Mark {
    /// Before everything.
    const START: Self = Self { time: Timestamp::MIN, seq: 0 };

    fn is_before(self, place: &Place) -> bool {
        place.time > self.time || place.seq > self.seq
    }
}

/// What the lines that come are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// Said now.
    #[default]
    Live,
    /// Said now, but what was missed comes before.
    Held,
    /// The last ones, to know where the room is.
    Finding,
    /// The last ones, among which are those that were missed.
    Replayed,
}

/// What was heard last, and what comes back.
#[derive(Debug, Default)]
pub struct Missed {
    mark: Option<Mark>,
    stage: Stage,
    /// What was missed, as far as `/last` has said it.
    found: Vec<Entry>,
    /// What was said since the connection came back.
    held: Vec<Entry>,
    /// The bytes of both.
    waiting_bytes: usize,
    own: VecDeque<String>,
}

impl Missed {
    /// One goes to another room, of which nothing has been heard.
    pub fn forget(&mut self) {
        self.mark = None;
    }

    /// Whether it is known where the room was: if not, nothing can be missed.
    pub fn has_mark(&self) -> bool {
        self.mark.is_some()
    }

    /// Something that one says oneself.
    pub fn say(&mut self, text: &str) {
        if self.own.len() == OWN_LINES {
            self.own.pop_front();
        }
        self.own.push_back(text.to_owned());
    }

    /// A new connection: what comes has to wait if `/last` is asked for what was missed.
    pub fn hold(&mut self, is_asked: bool) {
        self.stage = if is_asked { Stage::Held } else { Stage::Live };
        self.found.clear();
        self.held.clear();
        self.waiting_bytes = 0;
    }

    /// The answer of `/last` begins: to find out where the room is, or what was missed.
    pub fn begin(&mut self, is_for_missed: bool) {
        self.stage = if is_for_missed { Stage::Replayed } else { Stage::Finding };
        self.mark.get_or_insert(Mark::START);
    }

    /// Takes a line; gives those that are to be shown now. `name` is what one is called oneself, if that is known.
    pub fn take(&mut self, entry: Entry, name: Option<&str>) -> Vec<Entry> {
        match self.stage {
            Stage::Live => {
                self.note(&entry);
                return vec![entry];
            }
            Stage::Finding => self.note(&entry),
            Stage::Held => {
                self.waiting_bytes += entry.line.len();
                self.held.push(entry);
            }
            Stage::Replayed => {
                let is_new = self.is_new(&entry);
                if is_new && !self.is_own(&entry.said, name) {
                    self.waiting_bytes += entry.line.len();
                    self.found.push(entry);
                }
            }
        }
        if self.held.len() + self.found.len() < HELD_LINES && self.waiting_bytes < HELD_BYTES {
            return Vec::new();
        }
        let (mut found, held) = self.end();
        found.extend(held);
        found
    }

    /// The answer of `/last` has ended: what was missed, and what was said since.
    pub fn end(&mut self) -> (Vec<Entry>, Vec<Entry>) {
        self.stage = Stage::Live;
        self.waiting_bytes = 0;
        self.mark.get_or_insert(Mark::START);
        let found = std::mem::take(&mut self.found);
        found.iter().for_each(|entry| self.note(entry));
        let mut held = std::mem::take(&mut self.held);
        held.retain(|entry| self.is_new(entry));
        held.iter().for_each(|entry| self.note(entry));
        (found, held)
    }

    fn is_new(&self, entry: &Entry) -> bool {
        let place = entry.said.place.as_ref();
        place.zip(self.mark).is_none_or(|(place, mark)| mark.is_before(place))
    }

    fn note(&mut self, entry: &Entry) {
        if let Some(place) = &entry.said.place {
            self.mark = Some(Mark { time: place.time, seq: place.seq });
        }
    }

    /// Whether one has said it oneself and hence has seen it. Each line counts once.
    fn is_own(&mut self, said: &Said, name: Option<&str>) -> bool {
        let at = self.own.iter().position(|own| *own == said.text);
        let at = at.filter(|_| name.is_none_or(|name| said.from.trim_start_matches('+') == name));
        at.and_then(|at| self.own.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, second: i64, text: &str) -> Entry {
        let time = Timestamp::from_second(1_000_000 + second).unwrap();
        let place = Some(Place { room: "main".into(), time, seq });
        Entry {
            said: Said { is_emote: false, place, from: "ann".into(), text: text.into() },
            line: text.into(),
        }
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.said.text.as_str()).collect()
    }

    /// Has heard line 5, and lost the connection.
    fn lost() -> Missed {
        let mut missed = Missed::default();
        assert_eq!(missed.take(entry(5, 5, "five"), None).len(), 1);
        missed.hold(true);
        missed
    }

    fn replay(missed: &mut Missed, entries: &[Entry], name: Option<&str>) -> (Vec<Entry>, Vec<Entry>) {
        missed.begin(true);
        for entry in entries {
            assert_eq!(missed.take(entry.clone(), name), []);
        }
        missed.end()
    }

    #[test]
    fn what_was_seen_is_not_repeated() {
        let mut missed = lost();
        let all: Vec<_> = (3..8).map(|seq| entry(seq, seq as i64, &seq.to_string())).collect();
        let (found, held) = replay(&mut missed, &all, None);
        assert_eq!((texts(&found), texts(&held)), (vec!["6", "7"], vec![]));
        assert_eq!(texts(&missed.take(entry(8, 8, "8"), None)), ["8"]);
    }

    #[test]
    fn what_is_said_meanwhile_comes_after_it_and_once() {
        let mut missed = lost();
        assert_eq!(missed.take(entry(7, 7, "7"), None), []);
        assert_eq!(missed.take(entry(8, 8, "8"), None), []);
        let (found, held) = replay(&mut missed, &[entry(6, 6, "6"), entry(7, 7, "7")], None);
        assert_eq!((texts(&found), texts(&held)), (vec!["6", "7"], vec!["8"]));
    }

    #[test]
    fn a_daemon_that_has_started_anew_numbers_from_one() {
        let mut missed = lost();
        let (found, _) = replay(&mut missed, &[entry(1, 10, "1"), entry(2, 11, "2")], None);
        assert_eq!(texts(&found), ["1", "2"]);
        assert_eq!(texts(&missed.take(entry(3, 12, "3"), None)), ["3"]);
    }

    #[test]
    fn lines_of_one_moment_are_told_apart_by_their_numbers() {
        let mut missed = lost();
        let (found, _) = replay(&mut missed, &[entry(4, 5, "4"), entry(5, 5, "5"), entry(6, 5, "6")], None);
        assert_eq!(texts(&found), ["6"]);
    }

    #[test]
    fn own_lines_are_left_out_each_once_and_only_ones_own() {
        let mut missed = lost();
        missed.say("hi");
        let (found, _) = replay(&mut missed, &[entry(6, 6, "hi"), entry(7, 7, "hi")], Some("ann"));
        assert_eq!(texts(&found), ["hi"]);
        let mut missed = lost();
        missed.say("hi");
        let (found, _) = replay(&mut missed, &[entry(6, 6, "hi")], Some("bob"));
        assert_eq!(texts(&found), ["hi"]);
    }

    #[test]
    fn where_a_room_is_can_be_found_out_before() {
        let mut missed = Missed::default();
        assert!(!missed.has_mark());
        missed.begin(false);
        assert_eq!(missed.take(entry(5, 5, "old"), None), []);
        assert_eq!(missed.end(), (vec![], vec![]));
        missed.hold(true);
        let (found, _) = replay(&mut missed, &[entry(5, 5, "old"), entry(6, 6, "new")], None);
        assert_eq!(texts(&found), ["new"]);
    }

    #[test]
    fn a_room_where_nothing_was_said_misses_everything_after_that() {
        let mut missed = Missed::default();
        missed.end();
        missed.hold(true);
        let (found, _) = replay(&mut missed, &[entry(1, 1, "first")], None);
        assert_eq!(texts(&found), ["first"]);
    }

    #[test]
    fn an_answer_that_never_comes_holds_up_so_many_lines_and_no_more() {
        let mut missed = lost();
        let mut shown = 0;
        for seq in 6..6 + HELD_LINES as u64 {
            shown += missed.take(entry(seq, seq as i64, "x"), None).len();
        }
        assert_eq!(shown, HELD_LINES);
    }
}
