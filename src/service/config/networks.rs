//! The value of `allow`, `deny` and `proxy`: a list of networks.

use ipnet::IpNet;
use toml::Value;

use super::value::{Setting, is_not, list};
use crate::net::networks::{parse_network, show_network};

/// Most networks in a list.
const MAX_NETWORKS: usize = 10_000;

/// Networks, all different, in the order of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Networks(pub Vec<IpNet>);

/// A list of networks and addresses, or one alone; the empty text is none.
impl Setting for Networks {
    const KIND: &'static str = "a network; write \"192.0.2.0/24\" or a list of such";

    fn read(value: &Value) -> Result<Self, String> {
        let read = |entry: &Value| parse_network(entry.as_str().ok_or_else(|| is_not::<Self>(entry))?);
        list(value, (MAX_NETWORKS, "networks"), read, show_network).map(Self)
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.0.iter().map(|network| show_network(network).into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_a_list_one_alone_or_none() {
        let read = |toml: &str| Networks::read(&toml::from_str::<toml::Table>(toml).unwrap()["it"]);
        let shown = |toml: &str| read(toml).map(|networks| networks.to_toml().to_string());
        assert_eq!(shown("it = \"10.0.0.0/8\""), Ok("[\"10.0.0.0/8\"]".to_owned()));
        assert_eq!(shown("it = [\"10.0.0.0/8\", \"::1\"]"), Ok("[\"10.0.0.0/8\", \"::1\"]".to_owned()));
        assert_eq!(read("it = []"), Ok(Networks::default()));
        assert_eq!(read("it = \"\""), Ok(Networks::default()));
        for (toml, problem) in [
            ("it = 10", "\"10\" is not a network; write \"192.0.2.0/24\" or a list of such"),
            ("it = [\"10.0.0.0/8\", 7]", "\"7\" is not a network; write \"192.0.2.0/24\" or a list of such"),
            ("it = [\"10.0.0.0/8\", \"10.0.0.0/8\"]", "\"10.0.0.0/8\" is listed twice; leave one out"),
        ] {
            assert_eq!(read(toml), Err(problem.to_owned()));
        }
        let many = format!("it = [{}]", "\"10.0.0.0/8\",".repeat(MAX_NETWORKS + 1));
        assert_eq!(read(&many), Err("10001 networks are too many; the most is 10000".to_owned()));
    }
}
