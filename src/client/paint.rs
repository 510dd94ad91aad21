//! How what was heard looks: the `names` view with colours and times, or the `plain` one.
//!
//! `dialogue` hands in what it has heard and shows what comes back. Only names and notices are coloured, and only in
//! lines of which the daemon says who is behind them: in text that came as it was said, a colour would lend trust to
//! what anybody can type. Pure: the time zone is handed in.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::heard::{Heard, Said};
use crate::protocol::View;

/// The colours that names have, as SGR parameters: those that can be read on dark and on light screens.
const COLOURS: [&str; 6] = ["31", "32", "33", "34", "35", "36"];

/// A notice: faint.
const NOTICE: &str = "2";

/// Most names in one line about who came or went; the others are counted.
const NAMES_IN_A_LINE: usize = 5;

/// How lines are shown.
#[derive(Clone, Debug)]
pub struct Paint {
    /// Which view they look like.
    pub view: View,
    /// Whether there is a time before each.
    pub times: bool,
    /// Whether names and notices have colours.
    pub has_colours: bool,
    /// The zone of the times.
    pub zone: TimeZone,
}

impl Paint {
    /// The line for something that was heard; `line` is what it was read from. None for what the view does not show.
    pub fn heard(&self, heard: &Heard, line: &str) -> Option<String> {
        if self.view == View::Json {
            return Some(line.to_owned());
        }
        let is_plain = self.view == View::Plain;
        let (time, shown) = match heard {
            Heard::Said(said) => (said.place.as_ref().map(|place| place.time), self.said(said)),
            Heard::Private { time, from, text } => (*time, format!("[{} -> you] {text}", self.name(from))),
            Heard::Moved { .. } | Heard::Renamed { .. } if is_plain => return None,
            Heard::Moved { time, names, has_come, members } => {
                let verb = if *has_come { "joined" } else { "left" };
                (*time, self.notice(&format!("{} {verb} ({members} here)", listed(names))))
            }
            Heard::Renamed { time, from, to } => (*time, self.notice(&format!("{from} is now {to}"))),
            Heard::Notice(text) => (None, self.notice(text)),
            Heard::Skipped(1) => (None, self.notice("1 line skipped (you were not reading)")),
            Heard::Skipped(lines) => {
                (None, self.notice(&format!("{lines} lines skipped (you were not reading)")))
            }
            Heard::Other(line) => (None, line.clone()),
        };
        Some(format!("{}{shown}", time.map_or_else(String::new, |time| self.clock(time))))
    }

    /// A line that came as text, at this time.
    pub fn text(&self, line: String, now: Timestamp) -> String {
        if self.times { self.clock(now) + &line } else { line }
    }

    fn said(&self, said: &Said) -> String {
        let name = self.name(&said.from);
        match said.is_emote {
            true => format!("* {name} {}", said.text),
            false if self.view == View::Plain => said.text.clone(),
            false => format!("<{name}> {}", said.text),
        }
    }

    /// A line from the daemon itself.
    fn notice(&self, text: &str) -> String {
        self.coloured(NOTICE, &format!("-!- {text}"))
    }

    /// A name, always in the same colour.
    fn name(&self, name: &str) -> String {
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.coloured(COLOURS[sum % COLOURS.len()], name)
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `15:48 `, or nothing.
    fn clock(&self, time: Timestamp) -> String {
        if !self.times {
            return String::new();
        }
        let local = self.zone.to_datetime(time);
        format!("{:02}:{:02} ", local.hour(), local.minute())
    }
}

/// `alice`, `alice and bob`, `alice, bob, carol, dave, eve and 95 others`, as chatd has it.
fn listed(names: &[String]) -> String {
    let (named, others) = names.split_at(names.len().min(NAMES_IN_A_LINE));
    match (named, others.len()) {
        ([], _) => String::new(),
        ([name], 0) => name.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (named, 1) => format!("{} and 1 other", named.join(", ")),
        (named, others) => format!("{} and {others} others", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::heard::Place;
    use crate::protocol::{Event, Form, Name, Scene, Who};

    fn paint(view: View) -> Paint {
        Paint { view, times: false, has_colours: false, zone: TimeZone::UTC }
    }

    fn said(text: &str) -> Heard {
        let time = "2026-11-23T15:48:01.5Z".parse().unwrap();
        let place = Some(Place { room: "main".into(), time, seq: 1 });
        Heard::Said(Said { is_emote: false, place, from: "ann".into(), text: text.into() })
    }

    #[test]
    fn names_look_as_chatd_writes_them() {
        let shown = |heard: Heard| paint(View::Names).heard(&heard, "").unwrap();
        assert_eq!(shown(said("hello")), "<ann> hello");
        let Heard::Said(hello) = said("waves") else { unreachable!() };
        assert_eq!(shown(Heard::Said(Said { is_emote: true, ..hello })), "* ann waves");
        assert_eq!(
            shown(Heard::Private { time: None, from: "+bob".into(), text: "psst".into() }),
            "[+bob -> you] psst"
        );
        let moved = |has_come| Heard::Moved { time: None, names: vec!["ann".into()], has_come, members: 3 };
        assert_eq!(shown(moved(true)), "-!- ann joined (3 here)");
        assert_eq!(shown(moved(false)), "-!- ann left (3 here)");
        assert_eq!(
            shown(Heard::Renamed { time: None, from: "ann".into(), to: "bob".into() }),
            "-!- ann is now bob"
        );
        assert_eq!(shown(Heard::Notice("that is you".into())), "-!- that is you");
        assert_eq!(shown(Heard::Skipped(1)), "-!- 1 line skipped (you were not reading)");
        assert_eq!(shown(Heard::Skipped(7)), "-!- 7 lines skipped (you were not reading)");
    }

    #[test]
    fn many_who_come_are_one_line_as_chatd_has_it() {
        let names: Vec<String> = ["a1", "b2", "c3", "d4", "e5", "f6", "g7"].map(str::to_owned).into();
        for count in 1..=names.len() {
            let everybody: Vec<_> = names[..count].iter().map(|name| Name::parse(name).unwrap()).collect();
            let everybody: Vec<_> =
                everybody.into_iter().map(|name| Who { id: 1, name, verified: false }).collect();
            let scene = Scene { room: "main", time: Timestamp::UNIX_EPOCH, members: 9 };
            let mut expected = Vec::new();
            Form::NAMES.event(Event::Joined(&everybody), scene, &mut expected);
            let heard =
                Heard::Moved { time: None, names: names[..count].to_vec(), has_come: true, members: 9 };
            let shown = paint(View::Names).heard(&heard, "").unwrap() + "\n";
            assert_eq!(shown, String::from_utf8(expected).unwrap());
        }
    }

    #[test]
    fn plain_has_neither_names_nor_who_comes_and_goes() {
        assert_eq!(paint(View::Plain).heard(&said("hello"), ""), Some("hello".into()));
        let moved = Heard::Moved { time: None, names: vec!["ann".into()], has_come: true, members: 3 };
        assert_eq!(paint(View::Plain).heard(&moved, ""), None);
    }

    #[test]
    fn json_is_shown_as_it_came() {
        assert_eq!(paint(View::Json).heard(&said("hello"), "{\"type\"}"), Some("{\"type\"}".into()));
    }

    #[test]
    fn times_stand_first_if_they_are_asked_for() {
        let paint = Paint { times: true, ..paint(View::Names) };
        assert_eq!(paint.heard(&said("hello"), ""), Some("15:48 <ann> hello".into()));
        let now = "2026-11-23T23:01:00Z".parse().unwrap();
        assert_eq!(paint.text("hello".into(), now), "23:01 hello");
    }

    #[test]
    fn colours_are_for_names_and_notices_and_stay_the_same() {
        let paint = Paint { has_colours: true, ..paint(View::Names) };
        let line = paint.heard(&said("hello"), "").unwrap();
        assert!(line.starts_with("<\x1b[3") && line.ends_with("mann\x1b[0m> hello"), "{line:?}");
        assert_eq!(paint.heard(&said("hello"), "").unwrap(), line);
        assert_eq!(paint.heard(&Heard::Notice("hi".into()), "").unwrap(), "\x1b[2m-!- hi\x1b[0m");
        let now = "2026-11-23T23:01:00Z".parse().unwrap();
        assert_eq!(paint.text("-!- hi".into(), now), "-!- hi", "anybody can have typed that");
    }
}
