//! What a line of the `json` view says, as a value.
//!
//! `dialogue` reads each line that arrives in that view, `paint` shows it. Every text in it is cleaned here, for JSON can
//! spell control characters that no cleaning of the line itself would see. What is no such object is [`Heard::Other`]:
//! fields and types may be added, and a server may send anything.

use jiff::Timestamp;
use serde_json::Value;

use super::arriving::clean;

/// What has been heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Somebody has said something in a room.
    Said(Said),
    /// Somebody has said something to this member alone.
    Private {
        /// When.
        time: Option<Timestamp>,
        /// Who.
        from: String,
        /// What.
        text: String,
    },
    /// Somebody has come, or gone: one, or several at once.
    Moved {
        /// When.
        time: Option<Timestamp>,
        /// Who.
        names: Vec<String>,
        /// Whether it has come.
        has_come: bool,
        /// How many are there now.
        members: u64,
    },
    /// Somebody is called something else now.
    Renamed {
        /// When.
        time: Option<Timestamp>,
        /// What it was called.
        from: String,
        /// What it is called now.
        to: String,
    },
    /// The daemon says something.
    Notice(String),
    /// Lines were skipped, so many.
    Skipped(u64),
    /// A line that is none of these: as it came.
    Other(String),
}

/// What somebody has said in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Whether it is what somebody does.
    pub is_emote: bool,
    /// Where it stands among all that was said.
    pub place: Option<Place>,
    /// Who, with a `+` if the kernel says so.
    pub from: String,
    /// What.
    pub text: String,
}

/// Where a line stands in its room.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The room.
    pub room: String,
    /// When the room took it in.
    pub time: Timestamp,
    /// Its number there; a daemon that has started anew begins with 1.
    pub seq: u64,
}

impl Heard {
    /// Reads a clean line.
    pub fn read(line: &str) -> Self {
        let object = serde_json::from_str(line).ok();
        object.and_then(|object: Value| read(&object)).unwrap_or_else(|| Self::Other(line.to_owned()))
    }

    /// Adds those who have come or gone at the same time to those who have. Says whether they have.
    pub fn gather(&mut self, other: &Self) -> bool {
        let Self::Moved { time, names, has_come, members } = self else { return false };
        let Self::Moved { time: at, names: more, has_come: comes, members: count } = other else {
            return false;
        };
        let is_same = (*time, *has_come, *members) == (*at, *comes, *count);
        if is_same {
            names.extend_from_slice(more);
        }
        is_same
    }
}

fn read(object: &Value) -> Option<Heard> {
    let text = |key: &str| object.get(key)?.as_str().map(|text| clean(text.as_bytes()));
    let number = |key: &str| object.get(key)?.as_u64();
    let time = text("time").and_then(|time| time.parse::<Timestamp>().ok());
    let mark = if object.get("verified").and_then(Value::as_bool) == Some(true) { "+" } else { "" };
    let who = |key: &str| text(key).map(|name| format!("{mark}{name}"));
    Some(match object.get("type")?.as_str()? {
        kind @ ("message" | "emote") => Heard::Said(Said {
            is_emote: kind == "emote",
            place: text("room").zip(time).zip(number("seq")).map(|((room, time), seq)| Place {
                room,
                time,
                seq,
            }),
            from: who("from")?,
            text: text("text")?,
        }),
        "private" => Heard::Private { time, from: who("from")?, text: text("text")? },
        kind @ ("join" | "leave") => Heard::Moved {
            time,
            names: vec![who("name")?],
            has_come: kind == "join",
            members: number("members")?,
        },
        "rename" => Heard::Renamed { time, from: text("from")?, to: who("name")? },
        "notice" => Heard::Notice(text("text")?),
        "skipped" => Heard::Skipped(number("lines")?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Form, Kind, Name, Notice, Who};
    use proptest::prelude::*;

    #[test]
    fn what_chatd_writes_is_read() {
        let who = Who { id: 7, name: Name::parse("ann").unwrap(), verified: true };
        let time: Timestamp = "2026-11-23T15:48:01.500Z".parse().unwrap();
        let mut out = Vec::new();
        let said = crate::protocol::Said {
            kind: Kind::Emote,
            who: &who,
            room: "main",
            time,
            seq: 41,
            text: b"waves\n",
        };
        Form::JSON.said(&said, &mut out);
        Form::JSON.private(&who, &who, "psst", time, &mut out);
        Notice::Skipped { lines: 3 }.encode(Form::JSON, &mut out);
        Form::JSON.notice("that is you", &mut out);
        let text = String::from_utf8(out).unwrap();
        let heard: Vec<_> = text.lines().map(Heard::read).collect();
        let place = Some(Place { room: "main".into(), time, seq: 41 });
        let from = "+ann".to_owned();
        assert_eq!(
            heard,
            [
                Heard::Said(Said { is_emote: true, place, from: from.clone(), text: "waves".into() }),
                Heard::Private { time: Some(time), from, text: "psst".into() },
                Heard::Skipped(3),
                Heard::Notice("that is you".into()),
            ]
        );
    }

    #[test]
    fn what_a_string_spells_is_cleaned() {
        let line = r#"{"type":"message","from":"a\u001b[2J","text":"\u001b]0;x\u0007\n<bob> hi"}"#;
        let Heard::Said(said) = Heard::read(line) else { panic!("{line}") };
        assert_eq!((said.from.as_str(), said.text.as_str()), ("a^[[2J", "^[]0;x^G^J<bob> hi"));
    }

    #[test]
    fn those_who_come_at_the_same_time_are_gathered() {
        let read = |kind: &str, name: &str, second: u8| {
            Heard::read(&format!(
                r#"{{"type":"{kind}","time":"2026-11-23T15:48:0{second}Z","name":"{name}","members":3}}"#
            ))
        };
        let mut ann = read("join", "ann", 1);
        assert!(ann.gather(&read("join", "bob", 1)));
        for other in [read("leave", "eve", 1), read("join", "eve", 2), Heard::Skipped(1)] {
            assert!(!ann.gather(&other));
        }
        assert!(matches!(ann, Heard::Moved { names, .. } if names == ["ann", "bob"]));
    }

    #[test]
    fn anything_else_is_left_as_it_is() {
        for line in ["", "hello", "{}", "[1]", r#"{"type":"new"}"#, r#"{"type":"message"}"#, "{\"type\":"] {
            assert_eq!(Heard::read(line), Heard::Other(line.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: String) {
            Heard::read(&line);
        }
    }
}
