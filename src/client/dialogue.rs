//! What is said to the daemon, and what its lines mean: the state of one conversation, over all its connections.
//!
//! `conversation`, `pipe` and `listen` each own one: they hand in what was typed and what has arrived, send what it
//! wants to be sent, and show what comes back. Without a name, a room or a view it sends nothing of its own, and shows
//! what arrives as it came. With a name or a view it asks for `json`, in which nobody can forge what the daemon says,
//! and shows that as the view that was wanted. Pure: it opens nothing, waits for nothing, reads no clock.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::gap::Count;
use super::heard::Heard;
use super::identity::{Identity, Wishes};
use super::missed::{Entry, Missed};
use super::own::{self, ASKED_LINES};
use super::paint::Paint;
use super::shown::Shown;
use super::step::{Answered, Step};
use crate::protocol::command::{self, Command, CommandError, Line};
use crate::protocol::{Answer, Notice, View};

/// What is asked for to be shown objects, and also to know what was taken: it changes nothing then, and has one answer.
const QUESTION: &str = "/view json";

/// How long after something was said a lost connection may have taken it along. Later than that it was taken: a network
/// that takes nothing is found out after two minutes (`net::options`), a service that hangs is killed after half a one.
const DOUBT: SignedDuration = SignedDuration::from_secs(180);

/// One conversation.
#[derive(Debug)]
pub struct Dialogue {
    wishes: Wishes,
    paint: Paint,
    /// Whether the daemon sends objects: it does when it has said so.
    is_json: bool,
    /// What is still to be answered, in the order in which it was asked.
    steps: VecDeque<Step>,
    /// Who one is, and where.
    identity: Identity,
    /// Who has come or gone, and is not told of yet, for there may be more.
    moved: Option<Heard>,
    missed: Missed,
    to_send: Vec<String>,
    /// When something was said last after which nothing was heard, where no answer tells whether it was taken.
    unheard: Option<Timestamp>,
    /// Whether the connection was lost soon after that.
    is_in_doubt: bool,
}

impl Dialogue {
    /// Nothing has been said yet.
    pub fn new(wishes: Wishes, paint: Paint) -> Self {
        Self {
            wishes,
            paint,
            is_json: false,
            steps: VecDeque::new(),
            identity: Identity::default(),
            moved: None,
            missed: Missed::default(),
            to_send: Vec::new(),
            unheard: None,
            is_in_doubt: false,
        }
    }

    /// A connection stands: asks for what is wanted, or for what was there before.
    pub fn open(&mut self) {
        self.is_json = false;
        self.steps.clear();
        self.to_send.clear();
        let wants_json = self.wants_json();
        let (name, room) = self.identity.open(&self.wishes);
        if wants_json && let Some(name) = &name {
            self.ask(Step::Early, format!("/nick {name}"));
        }
        if wants_json {
            self.ask(Step::View, QUESTION.into());
        }
        if let Some(name) = name {
            self.ask_for_name(&name);
        }
        if let Some(room) = room {
            self.ask(Step::Join, format!("/join {room}"));
        }
        let catches_up = wants_json && self.wishes.catches_up;
        let is_again = catches_up && self.missed.has_mark();
        self.missed.hold(is_again);
        if is_again {
            self.ask(Step::Missed, format!("/last {ASKED_LINES}"));
        } else if catches_up {
            self.ask(Step::Find, "/last 1".into());
        }
    }

    fn wants_json(&self) -> bool {
        self.wishes.nick.is_some() || self.wishes.view.is_some()
    }

    fn ask(&mut self, step: Step, line: String) {
        self.steps.push_back(step);
        self.to_send.push(line);
    }

    /// Asks to be called that.
    pub fn ask_for_name(&mut self, name: &str) {
        self.identity.ask(name);
        self.ask(Step::Nick, format!("/nick {name}"));
    }

    /// What one was called when the connection was lost, or is called now.
    pub fn former(&self) -> Option<&str> {
        self.identity.former()
    }

    /// The lines that are to be sent, without their endings.
    pub fn take_to_send(&mut self) -> Vec<String> {
        std::mem::take(&mut self.to_send)
    }

    /// Whether everything that was asked for has been answered, so that what is said goes where it should.
    pub fn is_settled(&self) -> bool {
        !self.steps.iter().any(|step| step.is_wish())
    }

    /// What is still to be answered, as it was asked.
    pub fn open_wish(&self) -> Option<&'static str> {
        self.steps.iter().find(|step| step.is_wish()).map(|step| step.name())
    }

    /// Something was typed: what is to be sent for it.
    pub fn say(&mut self, line: &str) {
        let mut sent = line.to_owned();
        match command::read(line.as_bytes()) {
            Line::Command(Command::Last(_)) if self.is_json => self.steps.push_back(Step::Last),
            // The objects hold everything that the other views show.
            Line::Command(Command::View(view)) if self.is_json => {
                self.paint.view = view;
                self.steps.push_back(Step::Look);
                sent = QUESTION.into();
            }
            Line::Command(Command::Time(times)) if self.is_json => self.paint.times = times,
            Line::Command(Command::Nick(name)) => self.identity.type_name(&name),
            Line::Command(Command::Join(room)) => self.identity.type_room(&room),
            Line::Command(Command::Ignore(_)) => self.missed.ignore(),
            Line::Refused(CommandError::Name(_)) if self.is_json => self.steps.push_back(Step::Mistyped),
            _ => {}
        }
        self.to_send.push(sent);
    }

    /// Whether the daemon can be asked what it has taken: in text anybody could forge the answer, and who does not come
    /// back need not know.
    fn can_ask(&self) -> bool {
        self.is_json && self.wishes.catches_up
    }

    /// All that was typed together is there: asks whether it has been taken, one question at a time.
    pub fn ask_whether_taken(&mut self) {
        let is_said = self.to_send.iter().any(|line| own::said_in(line).is_some());
        if self.can_ask() && (is_said || self.missed.own.is_unasked()) && !self.steps.contains(&Step::Taken) {
            self.ask(Step::Taken, QUESTION.into());
        }
    }

    /// These lines were sent: of what was taken to be sent, nothing else.
    pub fn sent(&mut self, lines: &[String], now: Timestamp) {
        for line in lines {
            let Some(text) = own::said_in(line) else { continue };
            self.missed.own.say(self.identity.name(), text, line);
            if !self.can_ask() {
                self.missed.own.trust();
                self.unheard = Some(now);
            }
        }
        if self.steps.back() == Some(&Step::Taken) && lines.last().is_some_and(|line| line == QUESTION) {
            self.missed.own.ask();
        }
    }

    /// These lines could not be sent: nobody answers the questions among them.
    pub fn not_sent(&mut self, lines: &[String]) {
        let is_question = |line: &&String| {
            matches!(
                command::read(line.as_bytes()),
                Line::Command(Command::Last(_) | Command::View(_)) | Line::Refused(CommandError::Name(_))
            )
        };
        if self.is_json {
            let count = lines.iter().filter(is_question).count();
            self.steps.truncate(self.steps.len().saturating_sub(count));
        }
        if self.steps.back() == Some(&Step::Nick) && self.identity.is_asked_in(lines) {
            self.steps.pop_back();
        }
    }

    /// The connection is lost: what was said just before may have been lost with it.
    pub fn lost(&mut self, now: Timestamp) {
        self.missed.own.lose();
        self.is_in_doubt |= self.unheard.take().is_some_and(|said| now.duration_since(said) <= DOUBT);
    }

    /// Whether anything that was said may have been lost with a connection, and was not told of yet.
    pub fn has_lost(&self) -> bool {
        self.is_in_doubt || self.missed.own.has_lost()
    }

    /// The same, where nobody knows what it was; told of once.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_in_doubt)
    }

    /// What was lost with a connection, as far as it is known, and was not told of yet.
    pub fn take_lost(&mut self) -> Vec<Shown> {
        self.missed.take_lost().into_iter().map(Shown::Lost).collect()
    }

    /// Lines have arrived.
    pub fn hear(&mut self, lines: Vec<String>, now: Timestamp) -> Vec<Shown> {
        self.unheard = None;
        let mut shown: Vec<_> = lines.into_iter().flat_map(|line| self.hear_line(line, now)).collect();
        shown.extend(self.show_moved());
        shown
    }

    fn hear_line(&mut self, line: String, now: Timestamp) -> Vec<Shown> {
        if !self.is_json {
            return self.hear_text(line, now);
        }
        let heard = Heard::read(&line);
        if self.paint.view == View::Names && matches!(heard, Heard::Moved { .. }) {
            return self.gather(heard);
        }
        let mut shown = self.show_moved();
        shown.extend(self.hear_object(heard, line));
        shown
    }

    /// Those who come or go at the same time are told of in one line.
    fn gather(&mut self, heard: Heard) -> Vec<Shown> {
        if self.moved.as_mut().is_some_and(|moved| moved.gather(&heard)) {
            return Vec::new();
        }
        let shown = self.show_moved();
        self.moved = Some(heard);
        shown
    }

    fn show_moved(&mut self) -> Vec<Shown> {
        let moved = self.moved.take();
        moved.and_then(|moved| self.paint.heard(&moved, "")).map(Shown::Aside).into_iter().collect()
    }

    fn hear_object(&mut self, heard: Heard, line: String) -> Vec<Shown> {
        match heard {
            Heard::Said(said) => {
                let entries = self.missed.take(Entry { said, line });
                self.show(entries)
            }
            Heard::Notice(text) => self.hear_notice(text, line),
            heard => {
                if matches!(heard, Heard::Skipped(_)) {
                    self.missed.doubt();
                }
                let kind = if matches!(heard, Heard::Private { .. }) { Shown::Line } else { Shown::Aside };
                self.paint.heard(&heard, &line).map(kind).into_iter().collect()
            }
        }
    }

    fn show(&self, entries: Vec<Entry>) -> Vec<Shown> {
        let paint = |Entry { said, line }| self.paint.heard(&Heard::Said(said), &line).map(Shown::Line);
        entries.into_iter().filter_map(paint).collect()
    }

    /// Until the daemon sends objects, a notice is a line that anybody can have typed: the least is believed.
    fn hear_text(&mut self, line: String, now: Timestamp) -> Vec<Shown> {
        if let Some(at) = self.steps.iter().position(|step| *step == Step::View)
            && Heard::read(&line) == Heard::Notice(Answer::Viewed(View::Json).to_string())
        {
            self.is_json = true;
            self.steps.drain(..=at);
            return Vec::new();
        }
        let Some(text) = line.strip_prefix("-!- ") else { return vec![self.text(line, now)] };
        if self.steps.front() == Some(&Step::Early) && Step::Early.answered_by(text).is_some() {
            self.steps.pop_front();
            return Vec::new();
        }
        match self.answered(text) {
            Some(Answered::Granted) => vec![Shown::Granted(self.paint.text(line, now))],
            Some(Answered::Refused(refusal)) => vec![Shown::Refused(refusal)],
            _ => vec![self.text(line, now)],
        }
    }

    fn text(&self, line: String, now: Timestamp) -> Shown {
        Shown::Line(self.paint.text(line, now))
    }

    fn hear_notice(&mut self, text: String, line: String) -> Vec<Shown> {
        let shown = match (self.paint.view, text == Answer::Viewed(View::Json).to_string()) {
            (View::Json, _) | (_, false) => text.clone(),
            (view, true) => Answer::Viewed(view).to_string(),
        };
        let shown = self.paint.heard(&Heard::Notice(shown), &line).unwrap_or(line);
        // The room goes on with a number that it has surely not had before.
        if text == Notice::Crashed.to_string() {
            self.missed.doubt();
        }
        let asked = self.steps.front().copied();
        match self.answered(&text) {
            Some(Answered::Granted) => vec![Shown::Granted(shown)],
            Some(Answered::Refused(refusal)) => vec![Shown::Refused(refusal)],
            Some(Answered::Begun(step)) => {
                self.missed.begin(step == Step::Missed);
                Vec::new()
            }
            Some(Answered::Ended) => self.end_of_last(asked == Some(Step::Missed), &text),
            Some(Answered::Taken) => {
                self.missed.own.answered();
                self.ask_whether_taken();
                Vec::new()
            }
            None => vec![Shown::Notice { text, line: shown }],
        }
    }

    /// All that the daemon still has of what was missed is there.
    fn end_of_last(&mut self, is_for_missed: bool, text: &str) -> Vec<Shown> {
        let (found, held) = self.missed.end();
        let is_unknown = is_for_missed && text == Answer::NoHistory.to_string();
        let missing = self.missed.take_missing().or(is_unknown.then_some(0));
        let count = Count { shown: found.len(), missing };
        let count = (count != Count::default()).then_some(Shown::Missed(count));
        let lost = self.take_lost();
        count.into_iter().chain(self.show(found)).chain(self.show(held)).chain(lost).collect()
    }

    /// Which question a notice answers; and notes what it says of oneself.
    fn answered(&mut self, text: &str) -> Option<Answered> {
        let first = self.steps.front().copied();
        self.identity.note_name(text, self.is_json || first == Some(Step::Nick));
        self.note_room(text, first == Some(Step::Join));
        let step = first?;
        let mut answered = step.answered_by(text)?;
        if step == Step::Nick && self.identity.note_verified(text) {
            answered = Answered::Granted;
        }
        if !matches!(answered, Answered::Begun(_)) {
            self.steps.pop_front();
        }
        // What answers somebody who has typed is shown as it comes.
        if matches!(step, Step::Last | Step::Look | Step::Mistyped) { None } else { Some(answered) }
    }

    fn note_room(&mut self, text: &str, is_asked: bool) {
        if !self.identity.note_room(text, self.is_json || is_asked) {
            return;
        }
        if self.is_json && !is_asked {
            self.missed.forget();
            // Once is enough, also for a daemon that says it again and again.
            if self.wishes.catches_up && !self.steps.contains(&Step::Find) {
                self.ask(Step::Find, "/last 1".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::client::own::Lost;
    use crate::client::step::Refusal;
    use crate::protocol::{Event, Form, Kind, Name, NameError, Said as Spoken, Scene, Who};

    /// What a daemon with this view would send.
    fn said(form: Form, seq: u64, from: &str, text: &str) -> String {
        let who = Who { id: 1, name: Name::parse(from).unwrap(), verified: false };
        let time = Timestamp::from_second(1_000_000 + seq as i64).unwrap();
        let text = format!("{text}\n");
        let mut out = Vec::new();
        form.said(
            &Spoken { kind: Kind::Message, who: &who, room: "main", time, seq, text: text.as_bytes() },
            &mut out,
        );
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    fn notice(form: Form, answer: Answer) -> String {
        let mut out = Vec::new();
        form.notice(&answer, &mut out);
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn dialogue(wishes: Wishes) -> Dialogue {
        let view = wishes.view.unwrap_or(if wishes.nick.is_some() { View::Names } else { View::Plain });
        Dialogue::new(wishes, Paint { view, times: false, has_colours: false, zone: TimeZone::UTC })
    }

    fn hear(dialogue: &mut Dialogue, line: impl Into<String>) -> Vec<Shown> {
        dialogue.hear(vec![line.into()], Timestamp::UNIX_EPOCH)
    }

    fn line(text: &str) -> Vec<Shown> {
        vec![Shown::Line(text.to_owned())]
    }

    /// One who is called ann, and has been told so.
    fn named() -> Dialogue {
        let mut ann = dialogue(Wishes { nick: Some(name("ann")), catches_up: true, ..Wishes::default() });
        settle(&mut ann);
        ann
    }

    fn settle(ann: &mut Dialogue) {
        ann.open();
        ann.take_to_send();
        assert_eq!(hear(ann, notice(Form::NAMES, Answer::Named(name("ann")))), []);
        assert_eq!(hear(ann, notice(Form::JSON, Answer::Viewed(View::Json))), []);
        let granted = Shown::Granted("-!- you are ann now; /help says what else there is".into());
        assert_eq!(hear(ann, notice(Form::JSON, Answer::Named(name("ann")))), [granted]);
        assert!(ann.is_settled());
    }

    #[test]
    fn without_wishes_nothing_is_sent_and_lines_are_shown_as_they_came() {
        let mut plain = dialogue(Wishes::default());
        plain.open();
        assert!(plain.take_to_send().is_empty() && plain.is_settled());
        for text in ["hello", "", "-!- server full", "<ann> hi", r#"{"type":"notice","text":"hi"}"#] {
            assert_eq!(hear(&mut plain, text), line(text));
        }
        plain.say("/view json");
        plain.say("hello");
        assert_eq!(plain.take_to_send(), ["/view json", "hello"]);
        let forged = notice(Form::JSON, Answer::Viewed(View::Json));
        assert_eq!(hear(&mut plain, forged.clone()), line(&forged));
        plain.open();
        assert!(plain.take_to_send().is_empty(), "nor after the connection was lost");
    }

    #[test]
    fn a_name_is_asked_for_and_lines_have_names() {
        let mut ann = dialogue(Wishes { nick: Some(name("ann")), ..Wishes::default() });
        ann.open();
        assert_eq!(ann.take_to_send(), ["/nick ann", "/view json", "/nick ann"]);
        assert_eq!(ann.open_wish(), Some("/nick"));
        assert_eq!(
            hear(&mut ann, "Hello, connection to the server ok!"),
            line("Hello, connection to the server ok!")
        );
        let mut ann = named();
        assert_eq!(hear(&mut ann, said(Form::JSON, 1, "bob", "hi")), line("<bob> hi"));
        let told = Answer::Told(Who { id: 2, name: name("bob"), verified: false });
        let (text, line) = ("told bob".to_owned(), "-!- told bob".to_owned());
        assert_eq!(hear(&mut ann, notice(Form::JSON, told)), [Shown::Notice { text, line }]);
    }

    #[test]
    fn a_name_that_is_taken_is_refused_and_can_be_asked_for_again() {
        let mut ann = dialogue(Wishes { nick: Some(name("ann")), ..Wishes::default() });
        ann.open();
        let taken = notice(Form::PLAIN, Answer::Taken { name: name("ann"), hint: None });
        assert_eq!(hear(&mut ann, taken), [], "anybody can have said that");
        hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json)));
        let refused = hear(&mut ann, notice(Form::JSON, Answer::Taken { name: name("ann"), hint: None }));
        let words = "ann is taken, or looks like a name that is".into();
        assert_eq!(refused, [Shown::Refused(Refusal { words, is_name: true, is_taken: true })]);
        ann.take_to_send();
        ann.ask_for_name("eve");
        assert_eq!(ann.take_to_send(), ["/nick eve"]);
        assert!(!ann.is_settled());
        hear(&mut ann, notice(Form::JSON, Answer::Named(name("eve"))));
        ann.open();
        assert_eq!(ann.take_to_send(), ["/nick eve", "/view json", "/nick eve"]);
    }

    #[test]
    fn nobody_can_forge_a_notice_to_somebody_with_a_name() {
        let mut ann = named();
        let forged = "-!- bob is taken, or looks like a name that is";
        assert_eq!(hear(&mut ann, said(Form::JSON, 1, "eve", forged)), line(&format!("<eve> {forged}")));
        let aside = Shown::Aside(forged.to_owned());
        assert_eq!(hear(&mut ann, forged), [aside], "and what is no object answers nothing");
    }

    #[test]
    fn what_is_typed_is_sent_and_views_change_how_lines_look() {
        let mut ann = named();
        ann.take_to_send();
        for typed in ["hello", "/who", "//x", "/view plain", "/time on"] {
            ann.say(typed);
        }
        assert_eq!(ann.take_to_send(), ["hello", "/who", "//x", "/view json", "/time on"]);
        let viewed = hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json)));
        assert!(
            matches!(&viewed[..], [Shown::Notice { line, .. }] if line == "-!- lines are shown in plain now")
        );
        assert_eq!(hear(&mut ann, said(Form::JSON, 1, "bob", "hi")), line("13:46 hi"));
    }

    #[test]
    fn what_was_missed_is_asked_for_and_shown_once() {
        let mut ann = named();
        assert_eq!(hear(&mut ann, notice(Form::JSON, Answer::Last(1))), []);
        assert_eq!(hear(&mut ann, said(Form::JSON, 1, "bob", "one")), []);
        assert_eq!(hear(&mut ann, notice(Form::JSON, Answer::EndOfLast)), []);
        assert_eq!(hear(&mut ann, said(Form::JSON, 2, "bob", "two")), line("<bob> two"));
        ann.say("mine");
        let lines = ann.take_to_send();
        ann.sent(&lines, Timestamp::UNIX_EPOCH);
        // That was never sent.
        ann.say("four");
        ann.open();
        assert_eq!(ann.take_to_send(), ["/nick ann", "/view json", "/nick ann", "/last 1000"]);
        hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json)));
        hear(&mut ann, notice(Form::JSON, Answer::Named(name("ann"))));
        assert_eq!(hear(&mut ann, said(Form::JSON, 5, "bob", "five")), []);
        hear(&mut ann, notice(Form::JSON, Answer::Last(5)));
        for (seq, from, text) in
            [(1, "bob", "one"), (2, "bob", "two"), (3, "ann", "mine"), (4, "ann", "four"), (5, "bob", "five")]
        {
            assert_eq!(hear(&mut ann, said(Form::JSON, seq, from, text)), []);
        }
        let shown = hear(&mut ann, notice(Form::JSON, Answer::EndOfLast));
        let lines = ["<ann> four", "<bob> five"].map(|text| Shown::Line(text.into()));
        assert_eq!(shown[0], Shown::Missed(Count { shown: 2, missing: None }));
        assert_eq!(shown[1..], lines);
        assert_eq!(hear(&mut ann, said(Form::JSON, 6, "bob", "six")), line("<bob> six"));
    }

    fn say(ann: &mut Dialogue, typed: &str) -> Vec<String> {
        typed.split('\n').for_each(|line| ann.say(line));
        ann.ask_whether_taken();
        let lines = ann.take_to_send();
        ann.sent(&lines, Timestamp::UNIX_EPOCH);
        lines
    }

    /// The connection is lost and comes back; `/last` has nothing. What is shown of what one has said.
    fn come_back(ann: &mut Dialogue) -> Vec<Shown> {
        ann.lost(Timestamp::UNIX_EPOCH);
        settle(ann);
        hear(ann, notice(Form::JSON, Answer::Last(0)))
    }

    fn perhaps(lines: &[&str]) -> Vec<Shown> {
        vec![Shown::Lost(Lost { lines: lines.iter().map(|&line| line.into()).collect(), is_sure: false })]
    }

    #[test]
    fn the_daemon_is_asked_what_it_has_taken_and_the_rest_is_told() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        assert_eq!(say(&mut ann, "one\ntwo"), ["one", "two", "/view json"]);
        assert_eq!(say(&mut ann, "three"), ["three"], "one question at a time");
        assert_eq!(say(&mut ann, "/who"), ["/who"], "which has an answer of its own");
        let taken = notice(Form::JSON, Answer::Viewed(View::Json));
        assert_eq!(hear(&mut ann, taken.clone()), [], "nobody has typed that");
        let lines = ann.take_to_send();
        assert_eq!(lines, ["/view json"]);
        ann.sent(&lines, Timestamp::UNIX_EPOCH);
        say(&mut ann, "/msg bob psst");
        assert_eq!(come_back(&mut ann), perhaps(&["three", "/msg bob psst"]));
        assert_eq!(come_back(&mut ann), [], "once");
        say(&mut ann, "four");
        hear(&mut ann, taken);
        assert_eq!(come_back(&mut ann), []);
        assert!(!ann.has_lost() && !ann.take_doubt());
    }

    #[test]
    fn what_could_not_be_sent_asks_nothing() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.say("one");
        ann.say("/last 5");
        ann.ask_whether_taken();
        let lines = ann.take_to_send();
        ann.not_sent(&lines);
        assert_eq!(say(&mut ann, "two"), ["two", "/view json"]);
        assert_eq!(hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json))), []);
        assert_eq!(come_back(&mut ann), []);
    }

    #[test]
    fn a_name_that_could_not_be_asked_for_is_not_waited_for() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.open();
        assert_eq!(ann.former(), Some("ann"));
        settle(&mut ann);
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.ask_for_name("ann");
        let lines = ann.take_to_send();
        ann.not_sent(&lines);
        assert!(ann.is_settled());
    }

    #[test]
    fn what_was_mistyped_answers_nothing_that_was_asked_for() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        for typed in ["/nick <b>", "/join <b>"] {
            ann.say(typed);
            ann.ask_for_name("ann");
            let wrong = Answer::Refused(CommandError::Name(NameError::BadCharacter));
            let heard = hear(&mut ann, notice(Form::JSON, wrong));
            assert!(matches!(&heard[..], [Shown::Notice { .. }]), "{heard:?}");
            let taken = hear(&mut ann, notice(Form::JSON, Answer::Taken { name: name("ann"), hint: None }));
            assert!(matches!(&taken[..], [Shown::Refused(refusal)] if refusal.is_taken), "{taken:?}");
        }
        ann.take_to_send();
        ann.say("/nick <b>");
        let lines = ann.take_to_send();
        ann.not_sent(&lines);
        assert_eq!(say(&mut ann, "two"), ["two", "/view json"]);
        assert_eq!(
            hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json))),
            [],
            "nobody waits for that"
        );
    }

    #[test]
    fn under_another_name_nobody_knows_whether_what_was_said_is_lost() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.lost(Timestamp::UNIX_EPOCH);
        ann.open();
        hear(&mut ann, notice(Form::JSON, Answer::Viewed(View::Json)));
        hear(&mut ann, notice(Form::JSON, Answer::Taken { name: name("ann"), hint: None }));
        hear(&mut ann, notice(Form::JSON, Answer::Last(1)));
        hear(&mut ann, said(Form::JSON, 1, "bob", "one"));
        hear(&mut ann, notice(Form::JSON, Answer::EndOfLast));
        ann.take_to_send();
        say(&mut ann, "as a guest");
        ann.lost(Timestamp::UNIX_EPOCH);
        settle(&mut ann);
        hear(&mut ann, notice(Form::JSON, Answer::Last(2)));
        hear(&mut ann, said(Form::JSON, 1, "bob", "one"));
        hear(&mut ann, said(Form::JSON, 2, "eve", "two"));
        let shown = hear(&mut ann, notice(Form::JSON, Answer::EndOfLast));
        assert_eq!(shown[1..], [line("<eve> two"), perhaps(&["as a guest"])].concat());
    }

    #[test]
    fn in_text_what_was_said_last_is_in_doubt_if_nothing_was_heard_after_it() {
        let mut plain = dialogue(Wishes::default());
        plain.open();
        let mut is_in_doubt = |typed: &str, heard: Option<&str>, after| {
            assert_eq!(say(&mut plain, typed), [typed], "nothing else is sent");
            heard.into_iter().for_each(|line| drop(hear(&mut plain, line)));
            plain.lost(Timestamp::UNIX_EPOCH + after);
            plain.open();
            (plain.take_doubt(), plain.take_doubt())
        };
        assert_eq!(is_in_doubt("hello", None, DOUBT), (true, false), "told once");
        assert_eq!(is_in_doubt("hello", Some("hi"), DOUBT), (false, false));
        assert_eq!(is_in_doubt("hello", None, DOUBT * 2), (false, false), "that was taken long ago");
        assert_eq!(is_in_doubt("/who", None, DOUBT), (false, false), "nobody was to hear that");
    }

    #[test]
    fn without_a_name_nothing_that_was_missed_is_left_out() {
        let mut guest = dialogue(Wishes { view: Some(View::Names), catches_up: true, ..Wishes::default() });
        guest.open();
        hear(&mut guest, notice(Form::JSON, Answer::Viewed(View::Json)));
        hear(&mut guest, notice(Form::JSON, Answer::Last(0)));
        guest.take_to_send();
        guest.say("ok");
        let lines = guest.take_to_send();
        guest.sent(&lines, Timestamp::UNIX_EPOCH);
        guest.open();
        hear(&mut guest, notice(Form::JSON, Answer::Viewed(View::Json)));
        hear(&mut guest, notice(Form::JSON, Answer::Last(1)));
        hear(&mut guest, said(Form::JSON, 1, "bob", "ok"));
        let shown = hear(&mut guest, notice(Form::JSON, Answer::EndOfLast));
        assert_eq!(shown, [Shown::Missed(Count { shown: 1, missing: None }), Shown::Line("<bob> ok".into())]);
    }

    #[test]
    fn a_room_is_taken_up_again_and_its_last_line_found() {
        let mut ann = named();
        ann.take_to_send();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.say("/join ops");
        hear(&mut ann, notice(Form::JSON, Answer::Entered { room: name("ops"), members: 2 }));
        assert_eq!(ann.take_to_send(), ["/join ops", "/last 1"]);
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.open();
        assert_eq!(ann.take_to_send(), ["/nick ann", "/view json", "/nick ann", "/join ops", "/last 1000"]);
    }

    #[test]
    fn after_a_crash_or_with_somebody_ignored_the_numbers_tell_nothing() {
        let mut crash = Vec::new();
        Notice::Crashed.encode(Form::JSON, &mut crash);
        let crash = String::from_utf8(crash).unwrap().trim_end().to_owned();
        let skipped = r#"{"type":"skipped","lines":7}"#.to_owned();
        for (typed, heard, missing) in [
            (None, Some(crash), 0),
            (None, Some(skipped), 0),
            (Some("/ignore bot"), None, 0),
            (Some("/who"), None, 4095),
        ] {
            let mut ann = named();
            hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
            hear(&mut ann, said(Form::JSON, 1, "bob", "one"));
            typed.into_iter().for_each(|line| drop(say(&mut ann, line)));
            heard.into_iter().for_each(|line| drop(hear(&mut ann, line)));
            ann.lost(Timestamp::UNIX_EPOCH);
            settle(&mut ann);
            hear(&mut ann, notice(Form::JSON, Answer::Last(1)));
            hear(&mut ann, said(Form::JSON, 4097, "bob", "hi"));
            let shown = hear(&mut ann, notice(Form::JSON, Answer::EndOfLast));
            assert_eq!(shown[0], Shown::Missed(Count { shown: 1, missing: Some(missing) }));
        }
    }

    #[test]
    fn those_who_come_together_are_told_of_in_one_line() {
        let mut ann = named();
        let who = |name: &str| Who { id: 1, name: Name::parse(name).unwrap(), verified: false };
        let scene = Scene { room: "main", time: Timestamp::UNIX_EPOCH, members: 4 };
        let mut out = Vec::new();
        Form::JSON.event(Event::Joined(&[who("bob"), who("carl"), who("dora")]), scene, &mut out);
        Form::JSON.event(Event::Left(&[who("eve")]), scene, &mut out);
        let lines = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        let shown = ann.hear(lines, Timestamp::UNIX_EPOCH);
        let lines = ["-!- bob, carl and dora joined (4 here)", "-!- eve left (4 here)"];
        assert_eq!(shown, lines.map(|line| Shown::Aside(line.into())));
    }

    #[test]
    fn what_somebody_asks_for_is_shown_with_its_beginning_and_end() {
        let mut ann = named();
        hear(&mut ann, notice(Form::JSON, Answer::Last(0)));
        ann.say("/last 1");
        let begun = hear(&mut ann, notice(Form::JSON, Answer::Last(1)));
        assert!(matches!(&begun[..], [Shown::Notice { line, .. }] if line == "-!- the last line:"));
        assert_eq!(hear(&mut ann, said(Form::JSON, 1, "bob", "hi")), line("<bob> hi"));
        let ended = hear(&mut ann, notice(Form::JSON, Answer::EndOfLast));
        assert!(matches!(&ended[..], [Shown::Notice { .. }]));
    }

    #[test]
    fn a_name_that_is_typed_in_text_is_taken_up_again_once_it_is_granted() {
        let mut plain = dialogue(Wishes::default());
        plain.open();
        let granted = notice(Form::NAMES, Answer::Named(name("ann")));
        assert_eq!(hear(&mut plain, granted.clone()), line(&granted));
        plain.open();
        assert!(plain.take_to_send().is_empty(), "somebody else has typed that");
        plain.say("/nick ann");
        hear(&mut plain, granted);
        plain.take_to_send();
        plain.open();
        assert_eq!(plain.take_to_send(), ["/nick ann"]);
    }

    #[test]
    fn a_room_alone_is_asked_for_in_text() {
        let mut plain = dialogue(Wishes { room: Some(name("ops")), ..Wishes::default() });
        plain.open();
        assert_eq!(plain.take_to_send(), ["/join ops"]);
        assert!(!plain.is_settled());
        let entered = notice(Form::PLAIN, Answer::Entered { room: name("ops"), members: 2 });
        assert_eq!(hear(&mut plain, entered.clone()), [Shown::Granted(entered)]);
        assert!(plain.is_settled());
    }
}
