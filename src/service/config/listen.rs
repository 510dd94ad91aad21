//! One entry of `listen`: an address, and the view and room in which its clients begin.
//!
//! The short form is the address alone; the long one a table, `{ address = "...", view = "names", room = "ops" }`.

use toml::{Table, Value};

use super::value::{Setting, is_not, quoted, shown};
use crate::net::{Address, AddressError};
use crate::protocol::{Name, View};

/// Most addresses to listen on.
const MAX_LISTEN: usize = 64;
/// An example with every field.
const FULL: &str = "{ address = \"127.0.0.1:5001\", view = \"names\", room = \"ops\" }";

/// An address to listen on, and how its clients begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// The address.
    pub address: Address,
    /// The view in which its clients begin.
    pub view: View,
    /// The room in which its clients begin; `None` for the main room.
    pub room: Option<Name>,
}

/// Makes one with the plain view, in the main room.
impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self { address, view: View::Plain, room: None }
    }
}

impl Listen {
    fn read(entry: &Value) -> Result<Self, String> {
        let Value::Table(fields) = entry else { return address(entry).map(Self::from) };
        let is_known = |name: &String| ["address", "view", "room"].contains(&name.as_str());
        if let Some(unknown) = fields.keys().find(|name| !is_known(name)) {
            return Err(format!("{} is not known here; write {FULL}", quoted(unknown)));
        }
        let given =
            fields.get("address").ok_or_else(|| format!("a table without an address; write {FULL}"))?;
        Ok(Self {
            address: address(given)?,
            view: fields.get("view").map_or(Ok(View::Plain), View::read)?,
            room: fields.get("room").map(room).transpose()?,
        })
    }

    fn to_toml(&self) -> Value {
        let address = Value::String(self.address.to_string());
        if self.view == View::Plain && self.room.is_none() {
            return address;
        }
        let room = self.room.as_ref().map(|room| ("room".to_owned(), room.as_str().into()));
        let fields = [("address".to_owned(), address), ("view".to_owned(), self.view.to_toml())];
        fields.into_iter().chain(room).collect::<Table>().into()
    }
}

/// One entry, or a list of at least one.
impl Setting for Vec<Listen> {
    const KIND: &'static str = "an address; write \"127.0.0.1:5001\" or a list of such";

    fn read(value: &Value) -> Result<Self, String> {
        let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        match entries.len() {
            0 => return Err("no address; write at least one, for example \"127.0.0.1:5001\"".to_owned()),
            1..=MAX_LISTEN => {}
            count => return Err(format!("{count} addresses are too many; the most is {MAX_LISTEN}")),
        }
        let all = entries.iter().map(Listen::read).collect::<Result<Self, _>>()?;
        for (at, Listen { address, .. }) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.address == *address) {
                return Err(format!("\"{address}\" is listed twice; leave one out"));
            }
        }
        Ok(all)
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.iter().map(Listen::to_toml).collect())
    }
}

fn address(value: &Value) -> Result<Address, String> {
    let text = value.as_str().ok_or_else(|| is_not::<Vec<Listen>>(value))?;
    text.parse().map_err(|error: AddressError| error.to_string())
}

fn room(value: &Value) -> Result<Name, String> {
    let shown = shown(value);
    let text = value.as_str().ok_or_else(|| format!("{shown} is not a room; write its name in quotes"))?;
    Name::parse(text).map_err(|error| format!("{shown} cannot be the name of a room: {error}"))
}
