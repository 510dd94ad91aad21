//! chatd-cluster(7), held against the units that it speaks of and the keys that it sets.

use std::path::Path;

use chatd::service::config::parse_file;

use super::{displays, read};

const PAGE: &str = "man/chatd-cluster.7";
const FOLDER: &str = "packaging/cluster";

#[test]
fn the_sockets_the_group_and_the_credential_have_one_name_everywhere() {
    let [socket, service, drop_in] = ["chatd-engine@.socket", "chatd-engine@.service", "cluster.conf"]
        .map(|name| read(&format!("{FOLDER}/{name}")));
    let page = read(PAGE);
    for (text, lines) in [
        (&socket, ["ListenStream=/run/chatd-engine/%i.sock", "SocketGroup=chatd-engine"]),
        (&service, ["Requires=chatd-engine@%i.socket", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"]),
        (
            &drop_in,
            ["SupplementaryGroups=chatd-engine", "LoadCredential=chatd.redis:/etc/chatd/redis.password"],
        ),
    ] {
        for line in lines {
            assert!(text.lines().any(|other| other == line), "{line}");
        }
    }
    for said in ["groupadd --system chatd-engine", "credential:chatd.redis", "/etc/chatd/redis.password"] {
        assert!(page.contains(said), "{said}");
    }
    // Without a network of its own, the service reaches them all the same.
    assert!(read("packaging/systemd/chatd.service").lines().any(|line| line == "PrivateNetwork=yes"));
}

#[test]
fn the_configuration_of_the_manual_is_right() {
    let displays = displays(&read(PAGE));
    let configuration = displays.iter().find(|display| display.starts_with("cluster = ")).unwrap();
    let part = parse_file(configuration, Path::new("example")).unwrap();
    for key in ["cluster", "cluster_password_file", "replicas"] {
        assert!(part.get(key).is_some(), "{key}");
    }
}
