//! Who may connect: lists of networks, for all listeners and for one, and what a reload of them does.

use std::net::SocketAddr;

use chatd::net::Address;

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, GREETING, TestServer, text};

const DENIED: &str = "-!- your address may not connect here\n";

/// A server whose keys are those of a file.
fn server(keys: &str) -> TestServer {
    let keys: toml::Table = toml::from_str(keys).unwrap();
    TestServer::with(|config| {
        for (name, value) in &keys {
            let key = chatd::service::config::KEYS.iter().find(|key| key.name == name).unwrap();
            key.set(config, value).unwrap();
        }
    })
}

#[track_caller]
fn expect_let_in(from: &str, to: SocketAddr) {
    Caller::connect_from(from, to).expect(GREETING);
}

#[track_caller]
fn expect_denied(from: &str, to: SocketAddr) {
    let mut caller = Caller::connect_from(from, to);
    caller.expect(DENIED);
    caller.expect_end();
}

#[test]
fn the_longest_network_says_who_may_connect() {
    let open = server(r#"deny = ["127.0.0.0/29", "127.0.0.5"]"#);
    expect_denied("127.0.0.1", open.address);
    expect_let_in("127.0.0.8", open.address);
    let closed = server("allow = [\"127.0.0.0/24\"]\ndeny = [\"127.0.0.2\"]");
    expect_let_in("127.0.0.1", closed.address);
    expect_denied("127.0.0.2", closed.address);
    expect_denied("127.0.1.1", closed.address);
}

#[test]
fn the_lists_of_a_listener_replace_those_for_all_and_a_unix_socket_has_none() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let listen =
        format!(r#"[{{ address = "127.0.0.1:0", allow = ["127.0.0.2"] }}, "{}", "0.0.0.0:0"]"#, text(&path));
    let server = server(&format!("deny = \"127.0.0.0/8\"\nlisten = {listen}"));
    expect_let_in("127.0.0.2", server.address);
    expect_denied("127.0.0.1", server.address);
    Caller::connect_unix(&path).expect(GREETING);
    let (Address::Tcp(other), _) = server.server().addresses()[2] else { panic!("no TCP") };
    expect_denied("127.0.0.2", ([127, 0, 0, 1], other.port()).into());
}

/// What somebody hears who is closed: all that it is told is why.
#[track_caller]
fn expect_closed(caller: &mut Caller) {
    caller.expect(DENIED);
    caller.expect_end();
}

#[test]
fn a_reload_closes_those_who_may_not_stay_and_nobody_else() {
    let folder = Folder::new();
    let file = folder.write("chatd.toml", "");
    let mut daemon = Daemon::start(&["--config", text(&file), "--rate", "1", "--burst", "1"]);
    let (mut ann, mut ben) = (daemon.join(), Caller::connect_from("127.0.0.2", daemon.address));
    ben.expect(GREETING);
    // What waits for the rate limit is never said.
    ben.say("one\ntwo\nthree\n");
    ann.expect("one\n");
    folder.write("chatd.toml", "deny = [\"127.0.0.2/31\"]\n");
    daemon.signal("HUP");
    daemon.wait_for_log("the configuration was read again");
    expect_closed(&mut ben);
    expect_denied("127.0.0.3", daemon.address);
    ann.say("still here\n");
    let mut eve = daemon.join();
    folder.write("chatd.toml", "");
    daemon.signal("HUP");
    daemon.wait_for_log("the configuration was read again");
    expect_let_in("127.0.0.2", daemon.address);
    ann.say("/who\n");
    eve.say("hi\n");
    ann.until("hi\n");
}

#[test]
fn after_a_restart_a_reload_knows_which_listener_a_session_came_from() {
    let manager = Manager::with_store();
    let folder = Folder::new();
    let listen = |more: &str| {
        let address = manager.address();
        folder.write(
            "chatd.toml",
            format!("listen = [{{ address = \"{address}\"{more} }}]\ndeny = [\"::/0\"]\n"),
        )
    };
    let file = listen("");
    // In place of the options that it would get: --listen would replace the table.
    let script = format!("set -- \"$1\" --log stderr --config {};", text(&file));
    let restart = |daemon: &mut Daemon| {
        manager.stop_for_restart(daemon);
        *daemon = manager.start(&script, &[]);
    };
    let mut daemon = manager.start(&script, &[]);
    let (mut ann, mut ben) = (daemon.join(), Caller::connect_from("127.0.0.2", daemon.address));
    ben.expect(GREETING);
    restart(&mut daemon);
    listen(", deny = [\"127.0.0.2\"]");
    daemon.signal("HUP");
    daemon.wait_for_log("the configuration was read again");
    expect_closed(&mut ben);
    expect_denied("127.0.0.2", daemon.address);
    // A restart closes as well whom the file does not admit any more.
    listen(", deny = [\"127.0.0.1\"]");
    restart(&mut daemon);
    expect_closed(&mut ann);
}

#[test]
fn a_network_with_host_bits_is_refused_with_what_was_meant() {
    for (option, meant) in
        [("--allow=192.0.2.7/24", "192.0.2.0/24"), ("--deny=2001:db8::1/32", "2001:db8::/32")]
    {
        let output = crate::configuration::chatd(&["--check", option]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("write \"{meant}\" for the network")), "{said}");
    }
}

#[test]
fn one_who_is_muted_is_not_heard_at_a_restart_or_a_crash() {
    let (manager, folder) = (Manager::with_store(), Folder::new());
    folder.write("bans", "mute ann\n");
    let state = folder.path("");
    let options = ["--state", text(&state)];
    let mut daemon = manager.start("", &options);
    let [mut ann, mut ben, mut eve] = [(); 3].map(|()| daemon.join());
    ann.say("/nick ann\n");
    ann.until("you are ann now");
    for is_crash in [false, true, false] {
        if !is_crash {
            manager.stop_for_restart(&mut daemon);
        }
        // It is there when the next process begins to read.
        ann.say("muted words\n");
        if is_crash {
            manager.crash(&mut daemon, 3, &options);
            // The first one may have been lost with the process.
            ann.say("muted words\n");
        } else {
            daemon = manager.start("", &options);
        }
        ann.until("-!- an operator has muted you");
        eve.say("free words\n");
        assert!(!ben.until("free words\n").contains("muted words"));
    }
}
