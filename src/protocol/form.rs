//! Forms: how lines look to a member.
//!
//! A room encodes lines once for each [`Form`] that a member of it wants, however many members want it. In `plain`
//! lines go out as they were sent. In `names` each line begins with its sender, and in `json` each is an object. No
//! text of a member can begin a line in `names`, or end a string in `json`: lines come in clean and without their
//! endings, and chatd writes what stands before them. chatd-protocol(7) has both, field by field.

use std::fmt;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use super::notice::Notice;
use super::object::{self, Object};
use super::said::{Event, Kind, Said, Scene, Who};
use super::view::View;

/// A view, with everything else that decides how a line looks. All members with the same form get the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FormName", into = "FormName")]
pub struct Form {
    view: View,
    /// Whether the time stands before each line. Only in `names`: `json` always has it.
    times: bool,
    /// Whether lines end with CR LF, as in telnet (RFC 854), and not with LF.
    crlf: bool,
}

/// The name of a form in a snapshot: the first four are those of version 1. The order is that of [`Form::ALL`].
#[derive(Serialize, Deserialize)]
enum FormName {
    Plain,
    Names,
    TimedNames,
    Json,
    PlainCrlf,
    NamesCrlf,
    TimedNamesCrlf,
    JsonCrlf,
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Self {
        Self::ALL[name as usize]
    }
}

impl From<Form> for FormName {
    fn from(form: Form) -> Self {
        match (form.view, form.times, form.crlf) {
            (View::Plain, _, false) => Self::Plain,
            (View::Names, false, false) => Self::Names,
            (View::Names, true, false) => Self::TimedNames,
            (View::Json, _, false) => Self::Json,
            (View::Plain, _, true) => Self::PlainCrlf,
            (View::Names, false, true) => Self::NamesCrlf,
            (View::Names, true, true) => Self::TimedNamesCrlf,
            (View::Json, _, true) => Self::JsonCrlf,
        }
    }
}

impl Form {
    /// `plain`.
    pub const PLAIN: Self = Self { view: View::Plain, times: false, crlf: false };
    /// `names`, without times.
    pub const NAMES: Self = Self { view: View::Names, times: false, crlf: false };
    /// `names`, with the time before each line.
    pub const TIMED_NAMES: Self = Self { view: View::Names, times: true, crlf: false };
    /// `json`.
    pub const JSON: Self = Self { view: View::Json, times: false, crlf: false };

    /// Every form, in the order of [`Form::index`].
    pub const ALL: [Self; 8] = [
        Self::PLAIN,
        Self::NAMES,
        Self::TIMED_NAMES,
        Self::JSON,
        Self::PLAIN.with_crlf(),
        Self::NAMES.with_crlf(),
        Self::TIMED_NAMES.with_crlf(),
        Self::JSON.with_crlf(),
    ];

    /// Returns the form of a view, with times or without. `times` counts only in `names`. Lines end with LF.
    pub fn new(view: View, times: bool) -> Self {
        Self { view, times: times && view == View::Names, crlf: false }
    }

    /// Returns the same form with CR LF at the end of each line.
    pub const fn with_crlf(self) -> Self {
        Self { crlf: true, ..self }
    }

    /// Returns the form of another view, with times or without, and with the same line ending.
    pub fn with(self, view: View, times: bool) -> Self {
        Self { crlf: self.crlf, ..Self::new(view, times) }
    }

    /// Returns the view.
    pub fn view(self) -> View {
        self.view
    }

    /// Returns whether lines end with CR LF.
    pub fn has_crlf(self) -> bool {
        self.crlf
    }

    /// Returns the place of this form in [`Form::ALL`].
    pub fn index(self) -> usize {
        FormName::from(self) as usize
    }

    /// Calls `encode`, which appends whole lines, each with LF, and gives them the line ending of the form.
    fn append<T>(self, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = out.len();
        let encoded = encode(out);
        if self.crlf {
            let lines = out.split_off(start);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
        }
        encoded
    }
}

/// Most names in a line about members that joined or left. The line has the number of the others.
const NAMES_IN_A_LINE: usize = 5;

impl Form {
    /// Appends lines of a member: as many as `said` has.
    pub fn said(self, said: &Said<'_>, out: &mut Vec<u8>) {
        self.append(out, |out| match self.view {
            View::Plain if said.kind == Kind::Message => out.extend_from_slice(said.text),
            View::Names if self.times => {
                prefixed(&[clock(said.time), prefix(said)].concat(), said.text, out);
            }
            View::Plain | View::Names => prefixed(&prefix(said), said.text, out),
            View::Json => object::said(said, out),
        });
    }

    /// Appends an event: nothing in `plain`, a line in `names`, an object for each member in `json`. Returns the number
    /// of lines.
    pub fn event(self, event: Event<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> u64 {
        self.append(out, |out| match self.view {
            View::Plain => 0,
            View::Names if self.times => event_line(&clock(scene.time), event, scene, out),
            View::Names => event_line(b"", event, scene, out),
            View::Json => object::event(event, scene, out),
        })
    }

    /// Appends a private message from one member to another.
    pub fn private(self, from: &Who, to: &Who, text: &str, time: Timestamp, out: &mut Vec<u8>) {
        self.append(out, |out| {
            if self.view == View::Json {
                let (time, text) = (object::milliseconds(time).into(), text.into());
                let (id, verified, host) = (from.id, from.verified, from.name.node().map(Into::into));
                let (from, to) = (from.name.as_str().into(), to.name.as_str().into());
                return Object::Private { time, id, from, verified, host, to, text }.append(out);
            }
            if self.times {
                out.extend_from_slice(&clock(time));
            }
            push_line(format_args!("[{from} -> you] {text}"), out);
        });
    }

    /// Appends a notice, as one line.
    pub fn notice(self, notice: &Notice, out: &mut Vec<u8>) {
        self.object(&Object::notice(notice.clone()), out);
    }

    /// Appends an object of chatd itself: as JSON in `json`, as a sentence behind `-!- ` in the other views.
    pub fn object(self, object: &Object<'_>, out: &mut Vec<u8>) {
        self.append(out, |out| match self.view {
            View::Json => object.append(out),
            _ => push_line(format_args!("-!- {object}"), out),
        });
    }
}

fn push_line(text: fmt::Arguments<'_>, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = writeln!(out, "{text}");
}

/// Returns what stands before each line of a member: `<alice> ` or `* alice `.
fn prefix(said: &Said<'_>) -> Vec<u8> {
    match said.kind {
        Kind::Message => format!("<{}> ", said.who),
        Kind::Emote => format!("* {} ", said.who),
    }
    .into_bytes()
}

/// Formats the time of day in the time zone of the daemon: `15:48 `. Reads the zone, and nothing else of the system.
fn clock(time: Timestamp) -> Vec<u8> {
    let local = TimeZone::system().to_datetime(time);
    format!("{:02}:{:02} ", local.hour(), local.minute()).into_bytes()
}

fn prefixed(prefix: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    out.reserve(text.len() + prefix.len() * memchr_iter(b'\n', text).count());
    for end in memchr_iter(b'\n', text) {
        out.extend_from_slice(prefix);
        out.extend_from_slice(&text[start..=end]);
        start = end + 1;
    }
}

fn event_line(clock: &[u8], event: Event<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> u64 {
    out.extend_from_slice(clock);
    let members = scene.members;
    match event {
        Event::Joined(who) => push_line(format_args!("-!- {} joined ({members} here)", Listed(who)), out),
        Event::Left(who) => push_line(format_args!("-!- {} left ({members} here)", Listed(who)), out),
        Event::Renamed { from, to } => push_line(format_args!("-!- {from} is now {to}"), out),
    }
    1
}

/// Writes `alice`, `alice and bob`, or `alice, bob, carol, dave, eve and 95 others`.
struct Listed<'a>(&'a [Who]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.0[..self.0.len().min(NAMES_IN_A_LINE)];
        let others = self.0.len() - named.len();
        for (number, who) in named.iter().enumerate() {
            let is_last = number + 1 == named.len() && others == 0;
            let before = if number == 0 {
                ""
            } else if is_last {
                " and "
            } else {
                ", "
            };
            write!(f, "{before}{who}")?;
        }
        match others {
            0 => Ok(()),
            1 => f.write_str(" and 1 other"),
            _ => write!(f, " and {others} others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Name, Notice};
    use proptest::prelude::*;

    fn who(name: &str) -> Who {
        Who { id: 7, name: Name::parse(name).unwrap(), verified: false }
    }

    fn time() -> Timestamp {
        "2026-11-23T15:48:01.5004Z".parse().unwrap()
    }

    fn shown(form: Form, kind: Kind, who: &Who, text: &str) -> String {
        let mut out = Vec::new();
        form.said(&Said { kind, who, room: "main", time: time(), seq: 41, text: text.as_bytes() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn told(form: Form, event: Event<'_>) -> String {
        let mut out = Vec::new();
        let lines = form.event(event, Scene { room: "main", time: time(), members: 3 }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, lines);
        text
    }

    #[test]
    fn plain_is_what_was_said_and_tells_of_no_event() {
        assert_eq!(shown(Form::PLAIN, Kind::Message, &who("ann"), "a\n\nb\n"), "a\n\nb\n");
        assert_eq!(shown(Form::PLAIN, Kind::Emote, &who("ann"), "waves\n"), "* ann waves\n");
        assert_eq!(told(Form::PLAIN, Event::Joined(&[who("ann")])), "");
    }

    #[test]
    fn names_stand_before_every_line() {
        let ann = who("ann");
        assert_eq!(
            shown(Form::NAMES, Kind::Message, &ann, "a\n\n<bob> b\n"),
            "<ann> a\n<ann> \n<ann> <bob> b\n"
        );
        assert_eq!(shown(Form::NAMES, Kind::Emote, &ann, "waves\n"), "* ann waves\n");
        let verified = Who { verified: true, ..ann };
        assert_eq!(shown(Form::NAMES, Kind::Message, &verified, "a\n"), "<+ann> a\n");
    }

    #[test]
    fn times_stand_before_the_names() {
        let line = shown(Form::TIMED_NAMES, Kind::Message, &who("ann"), "a\n");
        let (clock, rest) = line.split_at(6);
        assert!(clock.ends_with(":48 ") || clock.ends_with(":18 "), "{line}");
        assert_eq!(rest, "<ann> a\n");
        assert!(told(Form::TIMED_NAMES, Event::Left(&[who("ann")])).ends_with(" -!- ann left (3 here)\n"));
    }

    #[test]
    fn many_who_come_are_one_line() {
        let many: Vec<_> = ["a1", "b2", "c3", "d4", "e5", "f6", "g7"].map(who).to_vec();
        let joined = |count: usize| told(Form::NAMES, Event::Joined(&many[..count]));
        assert_eq!(joined(1), "-!- a1 joined (3 here)\n");
        assert_eq!(joined(2), "-!- a1 and b2 joined (3 here)\n");
        assert_eq!(joined(5), "-!- a1, b2, c3, d4 and e5 joined (3 here)\n");
        assert_eq!(joined(6), "-!- a1, b2, c3, d4, e5 and 1 other joined (3 here)\n");
        assert_eq!(joined(7), "-!- a1, b2, c3, d4, e5 and 2 others joined (3 here)\n");
        let renamed = Event::Renamed { from: &who("ann"), to: &who("bob") };
        assert_eq!(told(Form::NAMES, renamed), "-!- ann is now bob\n");
    }

    #[test]
    fn json_is_an_object_for_each_line() {
        let text = shown(Form::JSON, Kind::Message, &who("ann"), "say \"hi\"\n\n");
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            objects[0],
            serde_json::json!({
                "type": "message", "seq": 41, "time": "2026-11-23T15:48:01.500Z", "room": "main", "id": 7,
                "from": "ann", "verified": false, "text": "say \"hi\""
            })
        );
        assert_eq!((&objects[1]["seq"], &objects[1]["text"]), (&42.into(), &"".into()));
        let text = told(Form::JSON, Event::Joined(&[who("ann"), who("bob")]));
        assert_eq!(
            text.lines().next().unwrap(),
            "{\"type\":\"join\",\"time\":\"2026-11-23T15:48:01.500Z\",\"room\":\"main\",\"id\":7,\
             \"name\":\"ann\",\"verified\":false,\"members\":3}"
        );
        let text = told(Form::JSON, Event::Renamed { from: &who("ann"), to: &who("bob") });
        assert!(text.contains("\"name\":\"bob\"") && text.contains("\"from\":\"ann\""), "{text}");
    }

    #[test]
    fn every_object_has_its_fields_in_the_order_of_the_manual() {
        let (ann, bob) = (who("ann"), Who { verified: true, ..who("bob") });
        let mut out =
            shown(Form::JSON, Kind::Message, &bob, "a\n\"\n") + &shown(Form::JSON, Kind::Emote, &ann, "a\n");
        out += &told(Form::JSON, Event::Joined(std::slice::from_ref(&bob)));
        out += &told(Form::JSON, Event::Left(&[ann.clone(), bob.clone()]));
        out += &told(Form::JSON, Event::Renamed { from: &ann, to: &bob });
        let mut out = out.into_bytes();
        Form::JSON.private(&bob, &ann, "psst", time(), &mut out);
        Form::JSON.object(&Object::notice(Notice::Nobody), &mut out);
        Form::JSON.object(&Object::Skipped { lines: 7 }, &mut out);
        let expected = r#"
{"type":"message","seq":41,"time":"TIME","room":"main","id":7,"from":"bob","verified":true,"text":"a"}
{"type":"message","seq":42,"time":"TIME","room":"main","id":7,"from":"bob","verified":true,"text":"\""}
{"type":"emote","seq":41,"time":"TIME","room":"main","id":7,"from":"ann","verified":false,"text":"a"}
{"type":"join","time":"TIME","room":"main","id":7,"name":"bob","verified":true,"members":3}
{"type":"leave","time":"TIME","room":"main","id":7,"name":"ann","verified":false,"members":3}
{"type":"leave","time":"TIME","room":"main","id":7,"name":"bob","verified":true,"members":3}
{"type":"rename","time":"TIME","room":"main","id":7,"name":"bob","verified":true,"from":"ann"}
{"type":"private","time":"TIME","id":7,"from":"bob","verified":true,"to":"ann","text":"psst"}
{"type":"notice","code":"nobody","text":"nobody is called that; see /who"}
{"type":"skipped","lines":7}
"#;
        let expected = expected.trim_start().replace("TIME", "2026-11-23T15:48:01.500Z");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_for_one_member_says_so() {
        let mut out = Vec::new();
        let (ann, bob) = (who("ann"), who("bob"));
        Form::NAMES.private(&ann, &bob, "psst", time(), &mut out);
        Form::NAMES.object(&Object::notice(Notice::Yourself), &mut out);
        let expected = "[ann -> you] psst\n-!- that is you\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        Form::JSON.private(&ann, &bob, "psst", time(), &mut out);
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&object["type"], &object["to"]), (&"private".into(), &"bob".into()));
    }

    proptest! {
        /// Whatever is typed, cleaned as lines are.
        #[test]
        fn nothing_that_is_typed_begins_a_line(typed: Vec<u8>) {
            let mut text = Vec::new();
            for line in typed.split(|&byte| byte == b'\n') {
                super::super::text::clean(line, &mut text);
                text.push(b'\n');
            }
            let text = String::from_utf8(text).unwrap();
            for line in shown(Form::NAMES, Kind::Message, &who("ann"), &text).lines() {
                prop_assert!(line.starts_with("<ann> "));
            }
            for line in shown(Form::JSON, Kind::Message, &who("ann"), &text).lines() {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(&object["from"], "ann");
            }
            let lines = text.lines().count();
            prop_assert_eq!(shown(Form::JSON, Kind::Message, &who("ann"), &text).lines().count(), lines);
        }
    }
}
