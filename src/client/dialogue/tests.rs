//! The dialogue, against lines as chatd sends them.

use jiff::tz::TimeZone;

use super::*;
use crate::protocol::{Form, Kind, Said as Spoken, Who};

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
    dialogue.hear(line.into(), Timestamp::UNIX_EPOCH)
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
    assert_eq!(hear(ann, notice(Form::Names, Answer::Named(name("ann")))), []);
    assert_eq!(hear(ann, notice(Form::Json, Answer::Viewed(View::Json))), []);
    let granted = Shown::Granted("-!- you are ann now; /help says what else there is".into());
    assert_eq!(hear(ann, notice(Form::Json, Answer::Named(name("ann")))), [granted]);
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
    let forged = notice(Form::Json, Answer::Viewed(View::Json));
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
    assert_eq!(hear(&mut ann, "Hello, connection to the server ok!"), line("Hello, connection to the server ok!"));
    let mut ann = named();
    assert_eq!(hear(&mut ann, said(Form::Json, 1, "bob", "hi")), line("<bob> hi"));
    let told = Answer::Told(name("bob"));
    let (text, line) = ("told bob".to_owned(), "-!- told bob".to_owned());
    assert_eq!(hear(&mut ann, notice(Form::Json, told)), [Shown::Notice { text, line }]);
}

#[test]
fn a_name_that_is_taken_is_refused_and_can_be_asked_for_again() {
    let mut ann = dialogue(Wishes { nick: Some(name("ann")), ..Wishes::default() });
    ann.open();
    let taken = notice(Form::Plain, Answer::Taken { name: name("ann"), hint: None });
    assert_eq!(hear(&mut ann, taken), [], "anybody can have said that");
    hear(&mut ann, notice(Form::Json, Answer::Viewed(View::Json)));
    let refused = hear(&mut ann, notice(Form::Json, Answer::Taken { name: name("ann"), hint: None }));
    let words = "ann is taken, or looks like a name that is".into();
    assert_eq!(refused, [Shown::Refused(Refusal { words, is_name: true })]);
    ann.take_to_send();
    ann.ask_for_name("eve");
    assert_eq!(ann.take_to_send(), ["/nick eve"]);
    assert!(!ann.is_settled());
    hear(&mut ann, notice(Form::Json, Answer::Named(name("eve"))));
    ann.open();
    assert_eq!(ann.take_to_send(), ["/nick eve", "/view json", "/nick eve"]);
}

#[test]
fn nobody_can_forge_a_notice_to_somebody_with_a_name() {
    let mut ann = named();
    let forged = "-!- bob is taken, or looks like a name that is";
    assert_eq!(hear(&mut ann, said(Form::Json, 1, "eve", forged)), line(&format!("<eve> {forged}")));
    assert_eq!(hear(&mut ann, forged), line(forged), "and what is no object answers nothing");
}

#[test]
fn what_is_typed_is_sent_and_views_change_how_lines_look() {
    let mut ann = named();
    ann.take_to_send();
    for typed in ["hello", "/who", "//x", "/view plain", "/time on"] {
        ann.say(typed);
    }
    assert_eq!(ann.take_to_send(), ["hello", "/who", "//x", "/view json", "/time on"]);
    let viewed = hear(&mut ann, notice(Form::Json, Answer::Viewed(View::Json)));
    assert!(matches!(&viewed[..], [Shown::Notice { line, .. }] if line == "-!- lines are shown in plain now"));
    assert_eq!(hear(&mut ann, said(Form::Json, 1, "bob", "hi")), line("13:46 hi"));
}

#[test]
fn what_was_missed_is_asked_for_and_shown_once() {
    let mut ann = named();
    assert_eq!(hear(&mut ann, notice(Form::Json, Answer::Last(1))), []);
    assert_eq!(hear(&mut ann, said(Form::Json, 1, "bob", "one")), []);
    assert_eq!(hear(&mut ann, notice(Form::Json, Answer::EndOfLast)), []);
    assert_eq!(hear(&mut ann, said(Form::Json, 2, "bob", "two")), line("<bob> two"));
    ann.say("mine");
    ann.open();
    assert_eq!(ann.take_to_send(), ["/nick ann", "/view json", "/nick ann", "/last 1000"]);
    hear(&mut ann, notice(Form::Json, Answer::Viewed(View::Json)));
    hear(&mut ann, notice(Form::Json, Answer::Named(name("ann"))));
    assert_eq!(hear(&mut ann, said(Form::Json, 5, "bob", "five")), []);
    hear(&mut ann, notice(Form::Json, Answer::Last(5)));
    for (seq, from, text) in
        [(1, "bob", "one"), (2, "bob", "two"), (3, "ann", "mine"), (4, "bob", "four"), (5, "bob", "five")]
    {
        assert_eq!(hear(&mut ann, said(Form::Json, seq, from, text)), []);
    }
    let shown = hear(&mut ann, notice(Form::Json, Answer::EndOfLast));
    let lines = ["<bob> four", "<bob> five"].map(|text| Shown::Line(text.into()));
    assert_eq!(shown[0], Shown::Missed(2));
    assert_eq!(shown[1..], lines);
    assert_eq!(hear(&mut ann, said(Form::Json, 6, "bob", "six")), line("<bob> six"));
}

#[test]
fn a_room_is_taken_up_again_and_its_last_line_found() {
    let mut ann = named();
    ann.take_to_send();
    hear(&mut ann, notice(Form::Json, Answer::Last(0)));
    ann.say("/join ops");
    hear(&mut ann, notice(Form::Json, Answer::Entered { room: name("ops"), members: 2 }));
    assert_eq!(ann.take_to_send(), ["/join ops", "/last 1"]);
    hear(&mut ann, notice(Form::Json, Answer::Last(0)));
    ann.open();
    assert_eq!(ann.take_to_send(), ["/nick ann", "/view json", "/nick ann", "/join ops", "/last 1000"]);
}

#[test]
fn what_somebody_asks_for_is_shown_with_its_beginning_and_end() {
    let mut ann = named();
    hear(&mut ann, notice(Form::Json, Answer::Last(0)));
    ann.say("/last 1");
    let begun = hear(&mut ann, notice(Form::Json, Answer::Last(1)));
    assert!(matches!(&begun[..], [Shown::Notice { line, .. }] if line == "-!- the last line:"));
    assert_eq!(hear(&mut ann, said(Form::Json, 1, "bob", "hi")), line("<bob> hi"));
    let ended = hear(&mut ann, notice(Form::Json, Answer::EndOfLast));
    assert!(matches!(&ended[..], [Shown::Notice { .. }]));
}

#[test]
fn a_name_that_is_typed_in_text_is_taken_up_again_once_it_is_granted() {
    let mut plain = dialogue(Wishes::default());
    plain.open();
    let granted = notice(Form::Names, Answer::Named(name("ann")));
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
    let entered = notice(Form::Plain, Answer::Entered { room: name("ops"), members: 2 });
    assert_eq!(hear(&mut plain, entered.clone()), [Shown::Granted(entered)]);
    assert!(plain.is_settled());
}
