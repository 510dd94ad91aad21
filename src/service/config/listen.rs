//! One entry of `listen`: an address, and what those who connect there get unless they ask for something else.
//!
//! The short form is the address alone; the long one a table, `{ address = "...", view = "names", room = "ops" }`.

use std::fmt;

use super::error::{Problem, quoted};
use super::key::quote;
use super::raw::Raw;
use crate::net::Address;
use crate::protocol::{Name, View};

/// How an address is written.
const ADDRESS: &str = "\"127.0.0.1:5001\" or a list of such";

const VIEWS: &str = "plain, names or json";

/// Where to listen, and what those who connect there get.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// How lines are shown to them.
    pub view: View,
    /// Where they come in; `None` for the main room.
    pub room: Option<Name>,
}

/// With the plain view, and in the main room.
impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self { address, view: View::Plain, room: None }
    }
}

/// As TOML; it reads back equal.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = quote(&self.address.to_string());
        if self.view == View::Plain && self.room.is_none() {
            return f.write_str(&address);
        }
        write!(f, "{{ address = {address}, view = \"{}\"", self.view.name())?;
        if let Some(room) = &self.room {
            write!(f, ", room = {}", quote(room.as_str()))?;
        }
        f.write_str(" }")
    }
}

/// One entry, or a list of at least one and at most `max` of them.
pub(super) fn read_all(raw: &Raw, max: usize) -> Result<Vec<Listen>, Problem> {
    let entries = match raw {
        Raw::Text(_) | Raw::Table(_) => std::slice::from_ref(raw),
        Raw::List(entries) => entries.as_slice(),
        _ => return Err(raw.not_a("an address", ADDRESS)),
    };
    match entries.len() {
        0 => return Err(Problem::NoAddress),
        count if count > max => return Err(Problem::ManyAddresses(count)),
        _ => {}
    }
    let mut all: Vec<Listen> = Vec::with_capacity(entries.len());
    for entry in entries {
        let one = read(entry)?;
        if all.iter().any(|other| other.address == one.address) {
            return Err(Problem::Twice(one.address));
        }
        all.push(one);
    }
    Ok(all)
}

fn read(entry: &Raw) -> Result<Listen, Problem> {
    let Raw::Table(fields) = entry else { return address(entry).map(Listen::from) };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| raw);
    if let Some((unknown, _)) =
        fields.iter().find(|(name, _)| !["address", "view", "room"].contains(&&**name))
    {
        return Err(Problem::UnknownField(quoted(unknown)));
    }
    let mut listen = Listen::from(address(field("address").ok_or(Problem::NoAddressField)?)?);
    if let Some(raw) = field("view") {
        listen.view = raw.word("a view", VIEWS, &View::ALL.map(|view| (view.name(), view)))?;
    }
    if let Some(raw) = field("room") {
        listen.room = Some(room(raw)?);
    }
    Ok(listen)
}

fn address(raw: &Raw) -> Result<Address, Problem> {
    match raw {
        Raw::Text(text) => text.parse().map_err(Problem::Address),
        _ => Err(raw.not_a("an address", ADDRESS)),
    }
}

fn room(raw: &Raw) -> Result<Name, Problem> {
    let Raw::Text(text) = raw else { return Err(raw.not_a("a room", "its name in quotes")) };
    Name::parse(text).map_err(|error| Problem::Room { value: quoted(text), error })
}
