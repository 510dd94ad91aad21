//! One entry of `listen`: an address, the view and room in which its clients begin, who may connect, and
//! whether TLS is spoken.
//!
//! The short form is the address alone; the long one a table, `{ address = "...", view = "names", room = "ops" }`.

use toml::{Table, Value};

use super::networks::Networks;
use super::value::{Setting, Word, is_not, list, quoted, shown};
use crate::net::tls::Mode;
use crate::net::{Address, AddressError};
use crate::protocol::{Name, View};

/// Most addresses to listen on.
const MAX_LISTEN: usize = 64;
/// The field that every entry has.
const ADDRESS: &str = "address";
/// An example.
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
    /// Its own `allow`. If it has this or `deny`, the keys of that name do not apply to it.
    pub allow: Option<Networks>,
    /// Its own `deny`.
    pub deny: Option<Networks>,
    /// The networks of proxies, which send a PROXY header. With one, nobody else may connect.
    pub proxy: Option<Networks>,
    /// Whether TLS is spoken; `None` for optional with a certificate, and off without.
    pub tls: Option<Mode>,
    /// What its clients get.
    pub serve: Serve,
}

/// What the clients of an address get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// The chat.
    Chat,
    /// The metrics, over HTTP.
    Metrics,
}

impl Word for Serve {
    const KIND: &'static str = "something that an address can serve; write chat or metrics";
    const WORDS: &'static [(&'static str, Self)] = &[("chat", Self::Chat), ("metrics", Self::Metrics)];
}

/// Makes one for the chat, with the plain view, in the main room.
impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self {
            address,
            view: View::Plain,
            room: None,
            allow: None,
            deny: None,
            proxy: None,
            tls: None,
            serve: Serve::Chat,
        }
    }
}

/// A field of an entry beside its address.
struct Field {
    name: &'static str,
    /// Reads its value into an entry; fails with a message without the place.
    read: fn(&mut Listen, &Value) -> Result<(), String>,
    /// Writes its value; `None` for the default.
    write: fn(&Listen) -> Option<Value>,
}

/// The fields of an entry beside its address: a row for each.
const FIELDS: [Field; 7] = [
    Field {
        name: "view",
        read: |listen, value| View::read(value).map(|view| listen.view = view),
        write: |listen| (listen.view != View::Plain).then(|| listen.view.to_toml()),
    },
    Field {
        name: "room",
        read: |listen, value| room(value).map(|room| listen.room = Some(room)),
        write: |listen| listen.room.as_ref().map(|room| room.as_str().into()),
    },
    Field {
        name: "allow",
        read: |listen, value| networks(&listen.address, "allow", value).map(|list| listen.allow = Some(list)),
        write: |listen| listen.allow.as_ref().map(Setting::to_toml),
    },
    Field {
        name: "deny",
        read: |listen, value| networks(&listen.address, "deny", value).map(|list| listen.deny = Some(list)),
        write: |listen| listen.deny.as_ref().map(Setting::to_toml),
    },
    Field {
        name: "proxy",
        read: |listen, value| networks(&listen.address, "proxy", value).map(|list| listen.proxy = Some(list)),
        write: |listen| listen.proxy.as_ref().map(Setting::to_toml),
    },
    Field {
        name: "tls",
        read: |listen, value| tls(&listen.address, value).map(|mode| listen.tls = Some(mode)),
        write: |listen| listen.tls.as_ref().map(Setting::to_toml),
    },
    Field {
        name: "serve",
        read: |listen, value| Serve::read(value).map(|serve| listen.serve = serve),
        write: |listen| (listen.serve != Serve::Chat).then(|| listen.serve.to_toml()),
    },
];

impl Listen {
    fn read(entry: &Value) -> Result<Self, String> {
        let Value::Table(fields) = entry else { return address(entry).map(Self::from) };
        let is_known = |name: &str| name == ADDRESS || FIELDS.iter().any(|field| field.name == name);
        if let Some(unknown) = fields.keys().find(|name| !is_known(name)) {
            return Err(format!("{} is not known here; write {FULL}", quoted(unknown)));
        }
        let given = fields.get(ADDRESS).ok_or_else(|| format!("a table without an address; write {FULL}"))?;
        let mut listen = Self::from(address(given)?);
        for field in FIELDS {
            fields.get(field.name).map_or(Ok(()), |value| (field.read)(&mut listen, value))?;
        }
        if listen.serve == Serve::Metrics && (listen.view != View::Plain || listen.room.is_some()) {
            return Err("metrics have no view and no room; leave these out".to_owned());
        }
        if listen.serve == Serve::Metrics && listen.tls.is_some() {
            return Err("metrics are served without TLS; leave tls out".to_owned());
        }
        Ok(listen)
    }

    /// Takes over from `new`, the same entry after a reload, what a reload changes.
    pub(super) fn reload(&mut self, new: &Self) {
        self.allow.clone_from(&new.allow);
        self.deny.clone_from(&new.deny);
        self.proxy.clone_from(&new.proxy);
        self.tls = new.tls;
    }

    fn to_toml(&self) -> Value {
        let address = Value::String(self.address.to_string());
        let set = FIELDS.iter().filter_map(|field| Some((field.name.to_owned(), (field.write)(self)?)));
        let mut fields: Table = set.collect();
        if fields.is_empty() {
            return address;
        }
        fields.insert(ADDRESS.to_owned(), address);
        fields.into()
    }
}

/// One entry, or a list of at least one.
impl Setting for Vec<Listen> {
    const KIND: &'static str = "an address; write \"127.0.0.1:5001\" or a list of such";

    fn read(value: &Value) -> Result<Self, String> {
        let address = |listen: &Listen| listen.address.to_string();
        let all = list(value, (MAX_LISTEN, "addresses"), Listen::read, address)?;
        if all.is_empty() {
            return Err("no address; write at least one, for example \"127.0.0.1:5001\"".to_owned());
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

/// Reads the networks of a field that only TCP has.
fn networks(address: &Address, field: &str, value: &Value) -> Result<Networks, String> {
    if !address.is_tcp() {
        return Err(format!(
            "\"{address}\" is a unix socket, which has no {field}; set its SocketMode= instead"
        ));
    }
    Networks::read(value)
}

/// Reads the field `tls`, which only TCP has.
fn tls(address: &Address, value: &Value) -> Result<Mode, String> {
    if !address.is_tcp() {
        return Err(format!("\"{address}\" is a unix socket, where nobody can listen in; leave tls out"));
    }
    Mode::read(value)
}

fn room(value: &Value) -> Result<Name, String> {
    let shown = shown(value);
    let text = value.as_str().ok_or_else(|| format!("{shown} is not a room; write its name in quotes"))?;
    Name::parse(text).map_err(|error| format!("{shown} cannot be the name of a room: {error}"))
}
