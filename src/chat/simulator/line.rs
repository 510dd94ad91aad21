//! A line of a room, as a reader has read it, and whether it is what the order of the room has.

use serde_json::Value;

use super::order::{Unit, What};

/// A line of a room, as it was read.
pub enum Line {
    Said { is_emote: bool, who: Option<String>, text: String },
    Told(String),
    Object(Value),
}

impl Line {
    /// Reads a line of the views `plain` and `names`, without its time.
    pub fn read(line: &str, is_plain: bool) -> Self {
        let emote = line.strip_prefix("* ").and_then(|rest| rest.split_once(' '));
        if let Some((who, text)) = emote {
            return Self::Said { is_emote: true, who: Some(who.to_owned()), text: text.to_owned() };
        }
        if is_plain {
            return Self::Said { is_emote: false, who: None, text: line.to_owned() };
        }
        if is_event(line) {
            let end = if line.contains(" is now ") { line.len() } else { line.rfind(" (").unwrap() };
            return Self::Told(line[..end].to_owned());
        }
        let said = line.strip_prefix('<').and_then(|rest| rest.split_once("> "));
        let (who, text) = said.unwrap_or_else(|| panic!("what is this? {line:?}"));
        Self::Said { is_emote: false, who: Some(who.to_owned()), text: text.to_owned() }
    }

    /// Returns it for the one who looks into a failure.
    pub fn shown(&self) -> String {
        match self {
            Self::Said { who, text, .. } => {
                format!("{who:?}: {}", text.chars().take(100).collect::<String>())
            }
            Self::Told(text) => text.clone(),
            Self::Object(object) => object.to_string(),
        }
    }

    /// Returns whether it is that unit of the order of a room.
    pub fn fits(&self, unit: &Unit, room: &str) -> bool {
        match (self, &unit.what) {
            (Self::Said { is_emote, who, text }, What::Said { is_emote: emote, text: said }) => {
                let is_from = who.as_ref().is_none_or(|who| *who == unit.who.to_string());
                is_emote == emote && text == said && is_from
            }
            (Self::Told(told), _) => {
                let told = told.strip_prefix("-!- ").unwrap_or(told);
                unit.told.strip_prefix("-!- ") == Some(told)
            }
            (Self::Object(object), what) => fits_object(unit, what, object, room),
            _ => false,
        }
    }
}

/// Returns whether a line tells who came or went, or is called something else.
pub fn is_event(line: &str) -> bool {
    line.contains(" joined (") || line.contains(" left (") || line.contains(" is now ")
}

fn fits_object(unit: &Unit, what: &What, object: &Value, room: &str) -> bool {
    let is_it = |key: &str, value: &str| object[key].as_str() == Some(value);
    let is_who = |key: &str| {
        object["id"].as_u64() == Some(unit.who.id)
            && is_it(key, unit.who.name.as_str())
            && object["verified"].as_bool() == Some(unit.who.verified)
            && object["host"].as_str() == unit.who.name.node()
    };
    let kind = match what {
        What::Said { is_emote: false, .. } => "message",
        What::Said { .. } => "emote",
        What::Joined => "join",
        What::Left => "leave",
        What::Renamed { .. } => "rename",
        What::Skipped => return false,
    };
    let is_same = match what {
        What::Said { text, .. } => is_who("from") && is_it("text", text),
        What::Renamed { from } => is_who("name") && is_it("from", from.name.as_str()),
        _ => is_who("name"),
    };
    is_it("type", kind) && is_it("room", room) && is_same
}
