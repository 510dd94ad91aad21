//! The values of a cluster: where engines are, who this node is, and what the names of keys begin with.
//!
//! Nothing here opens a file: [`super::password`] does.

use toml::Value;

use super::value::{Setting, is_not, list, quoted};
use crate::cluster::{Address, AddressError};
use crate::protocol::{is_node, is_word};

/// Most addresses of engines.
const MAX_ENGINES: usize = 16;
/// The longest name of a user, in bytes.
const MAX_USER: usize = 128;

/// The addresses of engines, all different; none without a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Engines(pub Vec<Address>);

/// A list of addresses, or one alone; the empty text is none.
impl Setting for Engines {
    const KIND: &'static str = "the address of an engine; write \"redis+unix:///run/redis/redis.sock\", \"redis://IP:PORT\" or a list of such";

    fn read(value: &Value) -> Result<Self, String> {
        let read = |entry: &Value| {
            let text = entry.as_str().ok_or_else(|| is_not::<Self>(entry))?;
            // One with a password in it is not shown.
            let shown = || if text.contains('@') { "this".to_owned() } else { quoted(text) };
            text.parse().map_err(|error: AddressError| {
                format!("{} is not the address of an engine: {error}", shown())
            })
        };
        list(value, (MAX_ENGINES, "addresses"), read, Address::to_string).map(Self)
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.0.iter().map(|engine| engine.to_string().into()).collect())
    }
}

/// The user that chatd is at the engine; empty for the default one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User(String);

impl User {
    /// Returns the name; `None` for the default user.
    pub fn name(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|name| !name.is_empty())
    }
}

impl Setting for User {
    const KIND: &'static str = "a user of the engine; write its name in quotes, without blanks";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        let is_good = text.len() <= MAX_USER && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if is_good { Ok(Self(text.to_owned())) } else { Err(is_not::<Self>(value)) }
    }

    fn to_toml(&self) -> Value {
        self.0.as_str().into()
    }
}

/// What the names of all keys in the engine begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct Prefix(String);

impl Prefix {
    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("chatd".to_owned())
    }
}

impl Setting for Prefix {
    const KIND: &'static str =
        "a prefix; write up to 64 letters and digits of ASCII, with - . _ and : between them";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if is_word(text, "-._:") { Ok(Self(text.to_owned())) } else { Err(is_not::<Self>(value)) }
    }

    fn to_toml(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The name of this node; empty for that of the machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeName(String);

impl NodeName {
    /// Returns the name: the one that is set, or that of the machine.
    ///
    /// # Errors
    /// The name of the machine cannot be one of a node.
    pub fn name(&self) -> Result<String, String> {
        if self.0.is_empty() { of_host(&host()) } else { Ok(self.0.clone()) }
    }
}

impl Setting for NodeName {
    const KIND: &'static str =
        "the name of a node; write up to 64 letters and digits of ASCII, with - . and _ between them";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if text.is_empty() || is_node(text) { Ok(Self(text.to_owned())) } else { Err(is_not::<Self>(value)) }
    }

    fn to_toml(&self) -> Value {
        self.0.as_str().into()
    }
}

/// Returns the name of this machine.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the name that a machine gives its node.
fn of_host(host: &str) -> Result<String, String> {
    if is_node(host) && host != "localhost" {
        return Ok(host.to_owned());
    }
    Err(format!(
        "the name of this machine is {}, which cannot be that of a node; set node as well",
        quoted(host)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_a_list_one_alone_or_none() {
        let read = |toml: &str| Engines::read(&toml::from_str::<toml::Table>(toml).unwrap()["it"]);
        let shown = |toml: &str| read(toml).map(|engines| engines.to_toml().to_string());
        let one = "[\"redis+unix:///run/redis/redis.sock\"]";
        assert_eq!(shown("it = \"redis+unix:///run/redis/redis.sock\""), Ok(one.to_owned()));
        let two = "[\"redis://192.0.2.1:6379\", \"rediss://192.0.2.2:6379\"]";
        assert_eq!(shown(&format!("it = {two}")), Ok(two.to_owned()));
        assert_eq!([read("it = []"), read("it = \"\"")], [Ok(Engines::default()), Ok(Engines::default())]);
        for bad in ["it = 7", "it = [7]", "it = true", "it = [\"http://192.0.2.1\"]", "it = \"redis:\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let twice = read("it = [\"redis://192.0.2.1:6379\", \"redis://192.0.2.1:6379\"]");
        assert_eq!(twice, Err("\"redis://192.0.2.1:6379\" is listed twice; leave one out".to_owned()));
        let many = format!("it = [{}]", "\"redis://192.0.2.1:6379\",".repeat(MAX_ENGINES + 1));
        assert_eq!(read(&many), Err("17 addresses are too many; the most is 16".to_owned()));
    }

    /// It would be in the log, in --print-config, and in the list of processes.
    #[test]
    fn no_address_has_a_password() {
        for text in [
            "redis://:hunter2@192.0.2.1:6379",
            "rediss://chatd:hunter2@192.0.2.1:6379",
            "redis//:hunter2@192.0.2.1:6379",
            "http://:hunter2@192.0.2.1:6379/@",
        ] {
            let refusal = Engines::read(&text.into()).unwrap_err();
            assert!(!refusal.contains("hunter2"), "{refusal}");
            assert_eq!(
                refusal.contains("cluster_password_file"),
                text.contains("s://") || text.starts_with("redis:")
            );
        }
    }

    #[test]
    fn nodes_prefixes_and_users_are_words() {
        for (text, is_node, is_prefix) in [
            ("alpha", true, true),
            ("a", true, true),
            ("chat-1.example.org", true, true),
            ("Alpha_2", true, true),
            ("chatd:test", false, true),
            (&"a".repeat(64), true, true),
            (&"a".repeat(65), false, false),
            ("-alpha", false, false),
            ("alpha.", false, false),
            ("al pha", false, false),
            ("al@pha", false, false),
            ("al\npha", false, false),
            ("älpha", false, false),
        ] {
            let value = Value::from(text);
            assert_eq!(NodeName::read(&value).is_ok(), is_node, "{text}");
            assert_eq!(Prefix::read(&value).is_ok(), is_prefix, "{text}");
        }
        assert_eq!(NodeName::read(&"".into()), Ok(NodeName::default()));
        assert!(Prefix::read(&"".into()).is_err() && Prefix::read(&7.into()).is_err());
        assert_eq!(User::read(&"".into()).unwrap().name(), None);
        assert_eq!(User::read(&"chat".into()).unwrap().name(), Some("chat"));
        for bad in ["a b", "a\nb", &"a".repeat(129)] {
            assert!(User::read(&bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_node_is_called_as_its_machine_unless_it_says_otherwise() {
        assert_eq!(of_host("alpha.example.org"), Ok("alpha.example.org".to_owned()));
        let said = "which cannot be that of a node; set node as well";
        for host in ["localhost", "(none)", ""] {
            assert_eq!(of_host(host), Err(format!("the name of this machine is {host:?}, {said}")));
        }
        assert_eq!(NodeName("beta".to_owned()).name(), Ok("beta".to_owned()));
    }
}
