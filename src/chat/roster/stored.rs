//! The roster as it is stored: plain texts, which are checked when they are read. What breaks a rule is left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Roster;
use super::seat::{Location, Seat};
use crate::chat::act::Listed;
use crate::chat::id::{Node, SessionId};
use crate::chat::keys::LeftKey;
use crate::protocol::{Key, Name, Proof};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    nodes: BTreeMap<String, Vec<Row>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<LeftRow>,
}

/// A session.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    id: u64,
    room: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    present: bool,
}

/// A key of a session that is gone.
#[derive(Debug, Serialize, Deserialize)]
struct LeftRow {
    name: String,
    key: String,
    until: i64,
}

impl Row {
    fn of(id: SessionId, seat: &Seat, location: &Location, key: Option<Key>) -> Self {
        Self {
            id: id.0,
            room: location.room.to_string(),
            name: seat.who.as_ref().map(|who| who.name.to_string()),
            proof: seat.proof,
            key: key.map(|key| key.to_string()),
            present: location.is_present,
        }
    }

    /// Returns the session; a guest if its name breaks a rule, and `None` if its room does.
    fn read(&self, rooms: &mut HashMap<String, Option<Name>>) -> Option<Listed> {
        let room = rooms.entry(self.room.clone()).or_insert_with(|| Name::parse(&self.room).ok());
        let parse = if self.proof.is_some() { Name::verified } else { Name::parse };
        let name = self.name.as_deref().and_then(|name| parse(name).ok());
        Some(Listed {
            id: SessionId(self.id),
            room: room.clone()?,
            proof: self.proof.filter(|_| name.is_some()),
            key: self.key.as_deref().and_then(Key::parse),
            name,
            is_present: self.present,
        })
    }
}

impl Serialize for Roster {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut stored = Stored::default();
        for (id, seat) in &self.seats {
            let Some(location) = &seat.location else { continue };
            stored.nodes.entry(location.node.to_string()).or_default().push(Row::of(
                *id,
                seat,
                location,
                self.key(*id),
            ));
        }
        stored.keys.extend(self.keys.left().map(|left| LeftRow {
            name: left.name.to_string(),
            key: left.key.to_string(),
            until: left.until,
        }));
        stored.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (stored, mut roster, mut rooms) = (Stored::deserialize(from)?, Self::default(), HashMap::new());
        for (node, rows) in &stored.nodes {
            let node: Node = Some(Arc::from(node.as_str()));
            for listed in rows.iter().filter_map(|row| row.read(&mut rooms)) {
                roster.bring(&listed, &node);
            }
        }
        roster.keys.restore(stored.keys.iter().filter_map(|left| {
            let (name, key) = (Name::parse(&left.name).ok()?, Key::parse(&left.key)?);
            Some(LeftKey { key, name, until: left.until })
        }));
        Ok(roster)
    }
}
