//! A node of a cluster whose engine is away: chatd starts all the same, says so, and lets nobody in. tests/cluster has the
//! rest, with real engines.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Daemon, clean};

const NOWHERE: &str = "redis+unix:///nonexistent/redis.sock";

#[test]
fn a_node_starts_without_an_engine_and_nobody_is_let_in() {
    let mut daemon = Daemon::start(&["--cluster", NOWHERE, "--node", "alpha"]);
    let mut caller = TcpStream::connect(daemon.address).unwrap();
    daemon.wait_for_log(
        "the engine is away, and what members say waits: redis+unix:///nonexistent/redis.sock: ",
    );
    daemon.signal("USR1");
    daemon.wait_for_log(
        "status: 0 sessions, 1 room, 0 lines; node alpha waits for the engine, which has been away since ",
    );
    daemon.wait_for_log("cluster: node alpha of 1 node, the engine has been away for ");
    caller.set_nonblocking(true).unwrap();
    let heard = caller.read(&mut [0]).unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::WouldBlock, "the caller waits in the backlog");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(
        !daemon.log.iter().any(|line| line.contains(" lost ") || line.contains("closed ")),
        "{:#?}",
        daemon.log
    );
}

#[test]
fn a_reload_does_not_change_the_cluster() {
    let folder = std::env::temp_dir().join(format!("chatd-nodes-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("chatd.toml");
    std::fs::write(&file, "").unwrap();
    let mut daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    std::fs::write(&file, format!("cluster = {NOWHERE:?}\nnode = \"alpha\"\n")).unwrap();
    daemon.signal("HUP");
    for key in ["cluster", "node"] {
        let fixed = format!("\"{key}\" cannot change while chatd runs: restart chatd to use the new value");
        daemon.wait_for_log(&fixed);
    }
    daemon.wait_for_log("the configuration was read again");
    drop(daemon.join());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_check_finds_mistakes_of_a_cluster_and_shows_no_password() {
    let folder = std::env::temp_dir().join(format!("chatd-password-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let password = folder.join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let password = password.to_str().unwrap();
    let checked = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        let output =
            clean(&mut command).args(["--check", "--config", "/dev/null"]).args(options).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("hunter2"), "{said}");
        (output.status.code(), said)
    };
    let own = ["--cluster", NOWHERE, "--node", "alpha"];
    let exposed = format!(
        "warning: --cluster-password-file: anybody on this machine can read \"{password}\"; take that away with chmod o-r\n"
    );
    let ok = "/dev/null: ok\n";
    assert_eq!(checked(&own), (Some(0), ok.to_owned()));
    let with_password = [own.as_slice(), &["--cluster-password-file", password]].concat();
    assert_eq!(checked(&with_password), (Some(0), exposed + ok));
    for (options, mistake) in [
        (
            ["--cluster", "redis://:hunter2@192.0.2.1"].as_slice(),
            "--cluster: this is not the address of an engine: ",
        ),
        (&["--cluster-user", "chat"], "--cluster-user: does nothing without an engine; set cluster as well"),
        (&["--cluster", NOWHERE, "--node", "al pha"], "--node: \"al pha\" is not the name of a node; "),
        (
            &["--cluster", NOWHERE, "--node", "alpha", "--raw"],
            "--raw: nodes of a cluster take clean lines alone; ",
        ),
        (
            &["--cluster", NOWHERE, "--node", "a", "--cluster-password-file", "/nonexistent"],
            "--cluster-password-file: \"/nonexistent\" cannot be read: no such file or directory; ",
        ),
    ] {
        let (code, said) = checked(options);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with(&format!("chatd: {mistake}")), "{said}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
