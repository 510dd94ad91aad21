//! A reader: what one member has been sent, held against the order of the room that it is in.
//!
//! It follows the stream line by line. It keeps every place in the order at which the member may stand, and how many
//! lines it may have missed and not been told of; a line that fits to none of them is a failure. Where a member joins a
//! room or leaves one is known to within the input that asked for it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use jiff::Timestamp;
use serde_json::Value;

use super::answers::{is_known, is_refusal};
use super::ignored::Ignored;
use super::line::{Line, is_event};
use super::order::{Order, Unit, What};
use super::window::Window;
use crate::chat::Standing;
use crate::protocol::View;

/// A private message that was read.
#[derive(Debug)]
pub struct Private {
    pub from: String,
    pub to: Option<String>,
    pub text: String,
}

/// How many lines it has missed and not been told of: at least, at most; negative for what it has been told too early.
type Debt = (i64, i64);

#[derive(Debug)]
pub struct Reader {
    id: u64,
    pub room: usize,
    pub view: View,
    pub times: bool,
    pub is_named: bool,
    has_crlf: bool,
    pub may_have_crlf: bool,
    partial: Vec<u8>,
    /// The line that is being read was begun before a crash.
    is_cut: bool,
    /// The first line that is read must tell of a crash.
    pub wants_crash: bool,
    places: BTreeMap<usize, Debt>,
    pub moves: VecDeque<Window>,
    /// Names that it asked for before a crash: it may still get them.
    late_names: Vec<String>,
    /// Names that it asked for.
    pub asked: HashSet<String>,
    /// It may be given one of those: an engine has lost acts, or its node was declared gone, and that is not over.
    pub may_have_back: bool,
    /// So many lines of `/last` are still to come; the last of them.
    last: (usize, Option<(u64, u64)>),
    pub ignored: Ignored,
    /// The number of the first line of the room, as `json` has it.
    base: Option<i64>,
    pub floor: Vec<u64>,
    pub seqs: Vec<u64>,
    pub privates: Vec<Private>,
    pub heard: usize,
    pub skipped: u64,
    knows_of_archive: bool,
    /// The last epoch of each room that it was told of.
    epochs: BTreeMap<String, u64>,
    /// What it was told when it asked who is there.
    pub who: Option<String>,
    /// The last lines that it read, for the one who looks into a failure.
    recent: VecDeque<(usize, String)>,
}

impl Reader {
    pub fn new(
        id: u64,
        room: usize,
        view: View,
        is_named: bool,
        start: (usize, usize),
        rooms: usize,
    ) -> Self {
        Self {
            id,
            room,
            view,
            times: false,
            is_named,
            has_crlf: false,
            may_have_crlf: false,
            partial: Vec::new(),
            is_cut: false,
            wants_crash: false,
            places: (start.0..=start.1).map(|place| (place, (0, 0))).collect(),
            moves: VecDeque::new(),
            late_names: Vec::new(),
            asked: HashSet::new(),
            may_have_back: false,
            last: (0, None),
            ignored: Ignored::default(),
            base: None,
            floor: vec![0; rooms],
            seqs: vec![0; rooms],
            privates: Vec::new(),
            heard: 0,
            skipped: 0,
            knows_of_archive: false,
            epochs: BTreeMap::new(),
            who: None,
            recent: VecDeque::new(),
        }
    }

    /// The hub is gone, and another one knows who it is: its reading goes on at `place`.
    pub fn crash(&mut self, standing: &Standing, room: usize, place: usize) {
        let is_named = standing.who.as_ref().is_some_and(|who| !who.name.is_guest());
        let Standing { view, times, .. } = *standing;
        (self.room, self.view, self.times, self.is_named) = (room, view, times, is_named);
        self.is_cut = !self.partial.is_empty();
        self.wants_crash = view != View::Plain;
        self.knows_of_archive = false;
        self.places = [(place, (0, 0))].into();
        self.late_names.extend(self.moves.drain(..).filter_map(|window| window.name));
        (self.last, self.base) = ((0, None), None);
    }

    pub fn is_inside_of_a_line(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Reads what was sent to it.
    pub fn read(&mut self, bytes: &[u8], order: &Order, step: usize) {
        for byte in bytes {
            if std::mem::take(&mut self.is_cut) {
                assert_eq!(*byte, b'\n', "half a line is ended by an LF: {:?}", self.partial_text());
                self.partial.clear();
                continue;
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
                continue;
            }
            let mut line = String::from_utf8(std::mem::take(&mut self.partial)).unwrap();
            let has_crlf = line.ends_with('\r');
            assert!(self.may_have_crlf || !has_crlf, "a CR without telnet: {line:?}");
            assert!(has_crlf || !self.has_crlf, "an LF where CR LF was before: {line:?}");
            self.has_crlf = has_crlf;
            line.truncate(line.len() - usize::from(has_crlf));
            self.read_line(&line, order, step);
        }
    }

    fn partial_text(&self) -> String {
        String::from_utf8_lossy(&self.partial).into_owned()
    }

    fn read_line(&mut self, line: &str, order: &Order, step: usize) {
        self.recent.push_back((step, line.chars().take(100).collect()));
        if self.recent.len() > 8 {
            self.recent.pop_front();
        }
        // The answer to /view is shown in the new view.
        let is_object = line.starts_with(r#"{"type":"notice","code":"viewed","view":"json""#);
        if is_object || (self.view == View::Json && !line.starts_with("-!- lines are shown in ")) {
            return self.read_object(line, order, step);
        }
        if let Some(notice) = line.strip_prefix("-!- ")
            && !is_event(notice)
        {
            return self.notice(notice, order, step);
        }
        let line = self.without_clock(line);
        assert!(!self.wants_crash, "not told of the crash: {line:?}");
        if let Some((from, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once(" -> you] ")) {
            return self.privates.push(Private { from: from.to_owned(), to: None, text: text.to_owned() });
        }
        let line = Line::read(line, self.view == View::Plain);
        self.room_line(&line, order, step);
    }

    fn without_clock<'a>(&self, line: &'a str) -> &'a str {
        if self.view != View::Names || !self.times {
            return line;
        }
        let bytes = line.as_bytes();
        assert!(bytes.len() > 6 && bytes[2] == b':' && bytes[5] == b' ', "no time: {line:?}");
        &line[6..]
    }

    fn read_object(&mut self, line: &str, order: &Order, step: usize) {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no object: {line:?}"));
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        match object["type"].as_str().unwrap() {
            "notice" => return self.notice(&text("text"), order, step),
            "skipped" => return self.told_of_gap(object["lines"].as_u64().unwrap()),
            "history" => {
                assert!(!self.wants_crash, "not told of the crash: {line:?}");
                self.last = (object["lines"].as_u64().unwrap() as usize, None);
                return;
            }
            "epoch" => {
                let before = self.epochs.insert(text("room"), object["epoch"].as_u64().unwrap());
                assert!(!self.wants_crash, "not told of the crash: {line:?}");
                return assert!(before <= object["epoch"].as_u64(), "it goes back: {line:?}");
            }
            "history_end" => return assert_eq!(self.last.0, 0, "/last shows less than it says"),
            "synced" => return assert!(!self.wants_crash, "not told of the crash: {line:?}"),
            "private" => {
                return self.privates.push(Private {
                    from: text("from"),
                    to: Some(text("to")),
                    text: text("text"),
                });
            }
            _ => {}
        }
        assert!(!self.wants_crash, "not told of the crash: {line:?}");
        self.room_line(&Line::Object(object), order, step);
    }

    fn told_of_gap(&mut self, lines: u64) {
        assert!(!self.wants_crash && lines > 0);
        self.skipped += lines;
        let lines = lines as i64;
        self.places.values_mut().for_each(|debt| *debt = (debt.0 - lines, debt.1 - lines));
    }

    /// A line of the room, or of what `/last` shows.
    fn room_line(&mut self, line: &Line, order: &Order, step: usize) {
        if self.last.0 > 0 {
            return self.line_of_last(line, order);
        }
        let places = std::mem::take(&mut self.places);
        let units = order.units(self.room);
        for (place, debt) in &places {
            let mut debt = *debt;
            for (at, unit) in units.iter().enumerate().skip(*place) {
                if debt.0 > 0 {
                    break;
                }
                if self.is_for_me(unit)
                    && debt.0 <= 0
                    && debt.1 >= 0
                    && line.fits(unit, order.name(self.room))
                {
                    self.places.insert(at + 1, (0, 0));
                    self.check(unit, line);
                    if debt.1 == 0 {
                        break;
                    }
                }
                self.miss(unit, &mut debt);
            }
        }
        if self.places.is_empty() {
            self.complain(line, &places, order, step);
        }
        self.heard += 1;
    }

    fn is_for_me(&self, unit: &Unit) -> bool {
        unit.author != self.id && unit.is_in(self.view)
    }

    /// It goes past a unit that it was not sent.
    fn miss(&self, unit: &Unit, debt: &mut Debt) {
        if self.is_for_me(unit) {
            let may_be_hidden = self.ignored.may_have_hidden(unit.author, unit.step);
            *debt = (debt.0 + i64::from(!may_be_hidden), debt.1 + 1);
        }
    }

    /// What more is to be said of a line that fits.
    fn check(&mut self, unit: &Unit, line: &Line) {
        assert!(!self.ignored.hides(unit.author), "it ignores #{}: {unit:?}", unit.author);
        if let (Line::Object(object), What::Said { .. }) = (line, &unit.what) {
            let seq = object["seq"].as_u64().unwrap();
            if let Some(((_, number), time)) = unit.stamp {
                let told: Timestamp = object["time"].as_str().unwrap().parse().unwrap();
                return assert_eq!((seq, told), (number, time), "number and time: {object}");
            }
            let base = seq as i64 - unit.said as i64;
            assert_eq!(*self.base.get_or_insert(base), base, "numbers go on one by one: {object}");
            assert!(seq > self.floor[self.room], "a number that was used before a crash: {object}");
            self.seqs[self.room] = self.seqs[self.room].max(seq);
        }
    }

    fn complain(&self, line: &Line, places: &BTreeMap<usize, Debt>, order: &Order, step: usize) {
        let shown = line.shown();
        let units = order.units(self.room);
        let place = places.keys().next().copied().unwrap_or(0);
        let near: Vec<String> = units
            .iter()
            .enumerate()
            .skip(place.saturating_sub(3))
            .take(12)
            .map(|(at, unit)| {
                format!("    {at}: #{} {:?} {:?} step {}", unit.author, unit.what, unit.told, unit.step)
            })
            .collect();
        let text = if let Line::Said { text, .. } = line { order.find(text) } else { None };
        panic!(
            "#{} in {} sees {:?}, at {places:?}, reads in step {step}: {shown}, which is {text:?} of {}; ignoring {:?}\n{}\nit read {:#?}",
            self.id,
            order.name(self.room),
            self.view,
            units.len(),
            self.ignored,
            near.join("\n"),
            self.recent
        );
    }

    fn line_of_last(&mut self, line: &Line, order: &Order) {
        self.last.0 -= 1;
        let text = match line {
            Line::Said { text, .. } => text.clone(),
            Line::Told(text) => panic!("/last shows {text}"),
            Line::Object(object) => object["text"].as_str().unwrap().to_owned(),
        };
        let Some((room, rank, unit)) = order.recall(&text) else {
            panic!("/last shows what nobody said: {text}")
        };
        assert!(room == self.room && line.fits(unit, order.name(room)), "/last shows {text}");
        let before = self.last.1.replace(rank);
        assert!(before.is_none_or(|before| rank > before), "/last shows {text} again, or too late");
        assert!(!self.ignored.hides(unit.author), "/last shows whom it ignores: {text}");
    }

    fn notice(&mut self, text: &str, order: &Order, step: usize) {
        if std::mem::take(&mut self.wants_crash) {
            return assert!(text.starts_with("chatd crashed"), "not told of the crash: {text}");
        }
        let words: Vec<&str> = text.split(' ').collect();
        if text.ends_with("skipped (you were not reading)") {
            self.told_of_gap(words[0].parse().unwrap());
        } else if text.starts_with("the last ") {
            self.last = (if words[2] == "line:" { 1 } else { words[2].parse().unwrap() }, None);
        } else if words.get(1).is_some_and(|word| word.starts_with("line")) && words.get(2) == Some(&"after")
        {
            self.last = (words[0].parse().unwrap(), None);
        } else if text == "that was the last" {
            assert_eq!(self.last.0, 0, "/last shows less than it says");
        } else if let Some(rest) = text.strip_prefix("you do not hear ") {
            self.ignored.answered(rest, true, step);
        } else if let Some(rest) = text.strip_prefix("you hear ") {
            self.ignored.answered(rest, false, step);
        } else if text.contains(", whose name is verified, has connected: you are ")
            || text.contains(" was here before you: you cannot be +")
            || text.contains(" while this server was cut off: you are ")
        {
            self.is_named = false;
        } else {
            self.answer(text, order);
        }
    }

    /// The answer to something that moves it, or another.
    fn answer(&mut self, text: &str, order: &Order) {
        if let Some(room) = text.strip_prefix("you are in ") {
            let room = order.room(room.split(' ').next().unwrap());
            self.relocate(room, self.view, order);
        } else if let Some(view) = text.strip_prefix("lines are shown in ") {
            let view = View::parse(view.split(' ').next().unwrap()).unwrap();
            self.relocate(self.room, view, order);
        } else if let Some((name, _)) =
            text.strip_prefix("you are ").and_then(|text| text.split_once(" now; /help"))
        {
            let next = self.moves.front().and_then(|window| window.name.as_deref());
            let is_back = self.may_have_back && self.asked.contains(name);
            if next != Some(name) && (self.is_late(name) || is_back) {
                let (low, name) = (vec![0; order.lengths().len()], Some(name.to_owned()));
                self.moves.push_front(Window { low, high: None, input: 0, name });
            }
            let is_first = !std::mem::replace(&mut self.is_named, true) && self.view == View::Plain;
            self.relocate(self.room, if is_first { View::Names } else { self.view }, order);
        } else if matches!(text, "times are shown" | "times will be shown after /view names") {
            self.times = true;
            self.relocate(self.room, self.view, order);
        } else if text == "times are not shown" {
            self.times = false;
            self.relocate(self.room, self.view, order);
        } else if text.starts_with("what is said in rooms here is archived") {
            assert!(!std::mem::replace(&mut self.knows_of_archive, true), "it is told twice");
        } else if self.is_late_refusal(text) {
            // What it had asked for before a crash.
        } else if is_refusal(text) {
            assert!(
                self.moves.pop_front().is_some(),
                "#{}: an answer that nobody asked for: {text}; it read {:#?}",
                self.id,
                self.recent
            );
        } else {
            assert!(is_known(text), "what is this? {text:?}");
            if text.contains(" here: ") {
                self.who = Some(text.to_owned());
            }
        }
    }

    /// Returns once whether it asked for that name before a crash.
    fn is_late(&mut self, name: &str) -> bool {
        let at = self.late_names.iter().position(|late| late == name);
        at.map(|at| self.late_names.remove(at)).is_some()
    }

    /// Returns whether it asked for a name before a crash that it is refused now.
    fn is_late_refusal(&mut self, text: &str) -> bool {
        let next = self.moves.front().and_then(|window| window.name.clone());
        if let Some((name, _)) = text.split_once(" is taken, or looks like a name that is") {
            return next.as_deref() != Some(name) && self.is_late(name);
        }
        text.contains(": the name is verified, and") && next.is_none() && self.late_names.pop().is_some()
    }

    /// It goes to another place within the window of what it asked for first.
    fn relocate(&mut self, room: usize, view: View, order: &Order) {
        let window = self.moves.pop_front().unwrap_or_else(|| {
            panic!("#{}: an answer that nobody asked for; it read {:#?}", self.id, self.recent)
        });
        let (low, high) = window.of(self.room, order);
        let is_same = room == self.room;
        let left = self.leave(low, high, order);
        assert!(
            !left.is_empty(),
            "it was sent more than there was when it asked: {:?} {window:?}",
            self.places
        );
        if is_same {
            self.places = left;
        } else {
            let debt =
                left.values().fold((i64::MAX, i64::MIN), |one, next| (one.0.min(next.0), one.1.max(next.1)));
            let (low, high) = window.of(room, order);
            self.places = (low..=high).map(|place| (place, debt)).collect();
            self.base = None;
        }
        (self.room, self.view) = (room, view);
    }

    /// The places from `low` to `high` that it may have come to, and what it has missed before them.
    fn leave(&self, low: usize, high: usize, order: &Order) -> BTreeMap<usize, Debt> {
        let units = order.units(self.room);
        let mut left: BTreeMap<usize, Debt> = BTreeMap::new();
        for (place, debt) in &self.places {
            let mut debt = *debt;
            for at in *place..=high {
                if at >= low {
                    let one = left.entry(at).or_insert(debt);
                    *one = (one.0.min(debt.0), one.1.max(debt.1));
                }
                if let Some(unit) = units.get(at) {
                    self.miss(unit, &mut debt);
                }
            }
        }
        left
    }

    /// It has been sent all there is, up to a place in that window.
    pub fn assert_complete(&self, window: &Window, order: &Order) {
        let (low, high) = window.of(self.room, order);
        let left = self.leave(low, high, order);
        let is_complete = left.values().any(|debt| debt.0 <= 0 && debt.1 >= 0);
        assert!(
            is_complete && !self.is_inside_of_a_line() && !self.wants_crash && self.last.0 == 0,
            "#{} has not been sent all of {}: of {low}..={high}, half a line {:?}, crash {}, last {}, at {:?}, first {:?}\nit read {:#?}",
            self.id,
            order.name(self.room),
            self.partial_text(),
            self.wants_crash,
            self.last.0,
            self.places.iter().next(),
            left.iter().next(),
            self.recent
        );
    }
}
