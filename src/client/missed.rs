//! What was missed while there was no connection, and what was not.
//!
//! `dialogue` shows it each line that somebody has said, and what `/last` answers after the connection came back; what
//! it gives back is to be shown, each line once and in the order of the room. A daemon that has started anew numbers
//! its lines from 1 again, so a line is new if it was said later than the last one heard, or has a higher number.
//! Knows nothing of connections and clocks: times are those of the daemon.

use jiff::Timestamp;

use super::gap::Gap;
use super::heard::{Place, Said};
use super::own::{Lost, Own};

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
    /// Whether the last line that was heard is among those of `/last`: then it shows all that was said since.
    is_whole: bool,
    /// What is known of the lines that are missing before those of `/last`.
    gap: Option<Gap>,
    /// Whether somebody may be ignored on this connection, whose lines have numbers like others.
    is_ignoring: bool,
    /// Whether the numbers after the last line that was heard may be left out although nothing was missed.
    is_doubtful: bool,
    /// What one has said after the last line that was heard.
    pub own: Own,
}

impl Missed {
    /// One goes to another room, of which nothing has been heard.
    pub fn forget(&mut self) {
        self.mark = None;
        self.is_doubtful = false;
        self.own.clear();
    }

    /// Somebody is not heard any more, as long as the connection lasts.
    pub fn ignore(&mut self) {
        self.is_ignoring = true;
    }

    /// Numbers are left out before the next line, or lines that cannot be missed any more.
    pub fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Whether it is known where the room was: if not, nothing can be missed.
    pub fn has_mark(&self) -> bool {
        self.mark.is_some()
    }

    /// A new connection: what comes has to wait if `/last` is asked for what was missed.
    pub fn hold(&mut self, is_asked: bool) {
        self.is_doubtful |= std::mem::take(&mut self.is_ignoring);
        self.stage = if is_asked { Stage::Held } else { Stage::Live };
        self.found.clear();
        self.held.clear();
        self.waiting_bytes = 0;
    }

    /// The answer of `/last` begins: to find out where the room is, or what was missed.
    pub fn begin(&mut self, is_for_missed: bool) {
        self.stage = if is_for_missed { Stage::Replayed } else { Stage::Finding };
        self.is_whole = false;
        self.gap = None;
        self.mark.get_or_insert(Mark::START);
    }

    /// Takes a line; gives those that are to be shown now.
    pub fn take(&mut self, entry: Entry) -> Vec<Entry> {
        match self.stage {
            Stage::Live => {
                self.forget_said_before(&entry);
                self.note(&entry);
                return vec![entry];
            }
            Stage::Finding => self.note(&entry),
            Stage::Held => {
                self.waiting_bytes += entry.line.len();
                self.held.push(entry);
            }
            Stage::Replayed => {
                self.is_whole |= self.is_mark(&entry);
                self.measure(&entry);
                let is_new = self.is_new(&entry);
                if is_new && self.is_own(&entry.said) {
                    self.gap.iter_mut().for_each(Gap::find);
                } else if is_new {
                    self.waiting_bytes += entry.line.len();
                    self.found.push(entry);
                }
            }
        }
        if self.held.len() + self.found.len() < HELD_LINES && self.waiting_bytes < HELD_BYTES {
            return Vec::new();
        }
        let (mut found, held) = self.end();
        self.gap = self.gap.take().filter(|_| !self.is_whole);
        self.is_whole = false;
        found.extend(held);
        found
    }

    /// What one has said and nobody got, after the answer of `/last`, or if there is none.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        self.own.take_lost(std::mem::take(&mut self.is_whole))
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

    /// What is missing is known from the first of the last lines.
    fn measure(&mut self, entry: &Entry) {
        if let Some((place, mark)) = entry.said.place.as_ref().zip(self.mark)
            && self.gap.is_none()
        {
            let gap = Gap::new(place.seq, mark.seq, &self.own);
            self.gap = Some(if self.is_doubtful { gap.doubtful() } else { gap });
        }
    }

    /// How many of the lines that were missed `/last` has not shown, if any: at least so many. Once it has ended.
    pub fn take_missing(&mut self) -> Option<u64> {
        // The last one that was heard is the first that is not missing.
        self.gap.take().filter(|_| !self.is_whole)?.missing(&self.own)
    }

    fn is_new(&self, entry: &Entry) -> bool {
        let place = entry.said.place.as_ref();
        place.zip(self.mark).is_none_or(|(place, mark)| mark.is_before(place))
    }

    /// Whether it is the last that was heard.
    fn is_mark(&self, entry: &Entry) -> bool {
        let place = entry.said.place.as_ref();
        place.zip(self.mark).is_some_and(|(place, mark)| (place.time, place.seq) == (mark.time, mark.seq))
    }

    fn note(&mut self, entry: &Entry) {
        if let Some(place) = &entry.said.place {
            self.mark = Some(Mark { time: place.time, seq: place.seq });
            self.is_doubtful = false;
        }
    }

    /// The room numbers its lines one after the other, and the daemon sends nobody what he has said himself: so the
    /// numbers that are left out before this line are those of own lines, which cannot be missed any more.
    fn forget_said_before(&mut self, entry: &Entry) {
        let Some((place, mark)) = entry.said.place.as_ref().zip(self.mark) else { return };
        if !mark.is_before(place) {
            // What somebody has asked for.
            return;
        }
        // Of a daemon that has started anew, nothing is left.
        let left_out = place.seq.checked_sub(mark.seq.saturating_add(1));
        self.own.forget(left_out.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)));
    }

    /// Whether one has said it oneself and hence has seen it.
    fn is_own(&mut self, said: &Said) -> bool {
        self.own.take(said.from.trim_start_matches('+'), &said.text)
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

    fn say(missed: &mut Missed, name: &str, text: &str) {
        missed.own.say(Some(name), Some(text.to_owned()), text);
    }

    /// What has not arrived.
    fn unheard(missed: &mut Missed) -> Vec<String> {
        missed.own.lose();
        missed.take_lost().into_iter().flat_map(|lost| lost.lines).collect()
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.said.text.as_str()).collect()
    }

    /// Has heard line 5, and lost the connection.
    fn lost() -> Missed {
        let mut missed = Missed::default();
        assert_eq!(missed.take(entry(5, 5, "five")).len(), 1);
        missed.hold(true);
        missed
    }

    fn replay(missed: &mut Missed, entries: &[Entry]) -> (Vec<Entry>, Vec<Entry>) {
        missed.begin(true);
        for entry in entries {
            assert_eq!(missed.take(entry.clone()), []);
        }
        missed.end()
    }

    #[test]
    fn what_was_seen_is_not_repeated() {
        let mut missed = lost();
        let all: Vec<_> = (3..8).map(|seq| entry(seq, seq as i64, &seq.to_string())).collect();
        let (found, held) = replay(&mut missed, &all);
        assert_eq!((texts(&found), texts(&held)), (vec!["6", "7"], vec![]));
        assert_eq!(texts(&missed.take(entry(8, 8, "8"))), ["8"]);
    }

    #[test]
    fn what_is_said_meanwhile_comes_after_it_and_once() {
        let mut missed = lost();
        assert_eq!(missed.take(entry(7, 7, "7")), []);
        assert_eq!(missed.take(entry(8, 8, "8")), []);
        let (found, held) = replay(&mut missed, &[entry(6, 6, "6"), entry(7, 7, "7")]);
        assert_eq!((texts(&found), texts(&held)), (vec!["6", "7"], vec!["8"]));
    }

    #[test]
    fn a_daemon_that_has_started_anew_numbers_from_one() {
        let mut missed = lost();
        let (found, _) = replay(&mut missed, &[entry(1, 10, "1"), entry(2, 11, "2")]);
        assert_eq!(texts(&found), ["1", "2"]);
        assert_eq!(texts(&missed.take(entry(3, 12, "3"))), ["3"]);
    }

    #[test]
    fn lines_of_one_moment_are_told_apart_by_their_numbers() {
        let mut missed = lost();
        let (found, _) = replay(&mut missed, &[entry(4, 5, "4"), entry(5, 5, "5"), entry(6, 5, "6")]);
        assert_eq!(texts(&found), ["6"]);
    }

    #[test]
    fn what_was_said_before_the_last_lines_is_counted_unless_they_reach_back_far_enough() {
        for (first, missing) in [(4, None), (5, None), (6, None), (7, Some(1)), (106, Some(100))] {
            let mut missed = lost();
            let all: Vec<_> = (first..first + 3).map(|seq| entry(seq, seq as i64, "x")).collect();
            replay(&mut missed, &all);
            assert_eq!(missed.take_missing(), missing, "{first}");
            assert_eq!(missed.take_missing(), None, "once");
        }
        let mut missed = lost();
        replay(&mut missed, &[]);
        assert_eq!(missed.take_missing(), None, "nobody knows");
    }

    #[test]
    fn numbers_that_are_left_out_for_another_reason_count_no_lines_until_a_line_is_heard() {
        let missing = |missed: &mut Missed| {
            let first = missed.mark.unwrap().seq + 100;
            replay(missed, &[entry(first, first as i64, "x")]);
            missed.take_missing()
        };
        let mut missed = lost();
        missed.doubt();
        assert_eq!(missing(&mut missed), Some(0));
        missed.hold(true);
        assert_eq!(missing(&mut missed), Some(99), "that was heard since");
        missed.ignore();
        missed.take(entry(300, 300, "somebody else"));
        missed.hold(true);
        missed.hold(true);
        assert_eq!(missing(&mut missed), Some(0), "whoever was ignored may have spoken after it");
        missed.hold(true);
        assert_eq!(missing(&mut missed), Some(99), "who comes back ignores nobody");
    }

    #[test]
    fn a_server_may_send_any_numbers() {
        let mut missed = Missed::default();
        missed.take(entry(u64::MAX, 5, "the last there can be"));
        missed.take(entry(1, 6, "anew"));
    }

    #[test]
    fn own_lines_are_left_out_each_once_and_only_ones_own() {
        let mut missed = lost();
        say(&mut missed, "ann", "hi");
        let (found, _) = replay(&mut missed, &[entry(6, 6, "hi"), entry(7, 7, "hi")]);
        assert_eq!(texts(&found), ["hi"]);
        let mut missed = lost();
        say(&mut missed, "bob", "hi");
        let (found, _) = replay(&mut missed, &[entry(6, 6, "hi")]);
        assert_eq!(texts(&found), ["hi"], "somebody else has said the same");
    }

    #[test]
    fn own_lines_before_the_last_one_heard_are_forgotten() {
        let mut missed = Missed::default();
        missed.take(entry(1, 1, "one"));
        say(&mut missed, "ann", "ok");
        say(&mut missed, "ann", "yes");
        missed.take(entry(2, 2, "it was on its way already"));
        missed.take(entry(4, 4, "now it has an own line before it"));
        missed.hold(true);
        let (found, _) = replay(&mut missed, &[entry(5, 5, "yes"), entry(6, 6, "ok")]);
        assert_eq!(texts(&found), ["ok"]);
        assert!(unheard(&mut missed).is_empty());
    }

    #[test]
    fn what_nobody_got_is_sure_if_all_that_was_said_since_is_there() {
        for (first, is_sure) in [(5, true), (6, false)] {
            let mut missed = lost();
            say(&mut missed, "ann", "ok");
            say(&mut missed, "ann", "yes");
            missed.own.lose();
            missed.begin(true);
            for seq in first..8 {
                let mut entry = entry(seq, seq as i64, "ok");
                entry.said.from = if seq == 6 { "ann" } else { "bob" }.into();
                missed.take(entry);
            }
            missed.end();
            assert_eq!(missed.take_lost(), [Lost { lines: vec!["yes".into()], is_sure }]);
        }
    }

    #[test]
    fn own_lines_to_a_daemon_that_has_started_anew_are_forgotten() {
        let mut missed = Missed::default();
        missed.take(entry(5, 5, "five"));
        say(&mut missed, "ann", "ok");
        missed.take(entry(1, 6, "anew"));
        assert!(unheard(&mut missed).is_empty());
    }

    #[test]
    fn where_a_room_is_can_be_found_out_before() {
        let mut missed = Missed::default();
        assert!(!missed.has_mark());
        missed.begin(false);
        assert_eq!(missed.take(entry(5, 5, "old")), []);
        assert_eq!(missed.end(), (vec![], vec![]));
        missed.hold(true);
        let (found, _) = replay(&mut missed, &[entry(5, 5, "old"), entry(6, 6, "new")]);
        assert_eq!(texts(&found), ["new"]);
    }

    #[test]
    fn a_room_where_nothing_was_said_misses_everything_after_that() {
        let mut missed = Missed::default();
        missed.end();
        missed.hold(true);
        let (found, _) = replay(&mut missed, &[entry(1, 1, "first")]);
        assert_eq!(texts(&found), ["first"]);
    }

    #[test]
    fn an_answer_that_never_comes_holds_up_so_many_lines_and_no_more() {
        let mut missed = lost();
        let mut shown = 0;
        for seq in 6..6 + HELD_LINES as u64 {
            shown += missed.take(entry(seq, seq as i64, "x")).len();
        }
        assert_eq!(shown, HELD_LINES);
    }
}
