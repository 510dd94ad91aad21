//! Bans: whom they cover, what those are told, and what a file of bans does that people have edited.

use std::path::PathBuf;

use chatd::net::bans::{Ban, Mute};

use crate::support::{Caller, Daemon, Folder, GREETING, TestServer, text, wait_until};

/// The name of [`Caller::user`].
fn login() -> String {
    let login = std::process::Command::new("id").args(["-un", &Caller::user().to_string()]).output().unwrap();
    String::from_utf8(login.stdout).unwrap().trim().to_owned()
}

fn ban(subject: &str, reason: &str) -> Ban {
    let until = Some("2999-01-01T00:00:00.5Z".parse().unwrap());
    Ban { until, reason: reason.to_owned(), by: "root".to_owned(), ..Ban::of(subject.parse().unwrap()) }
}

/// A daemon with the files in `folder`: the configuration, and the bans.
fn start(folder: &Folder, options: &[&str]) -> Daemon {
    let file = folder.write("chatd.toml", "");
    let state = folder.path("");
    Daemon::start(&[&["--config", text(&file), "--state", text(&state)], options].concat())
}

/// Waits until the file of bans is as `is_it` wants it.
#[track_caller]
fn wait_for_file(folder: &Folder, is_it: impl Fn(&str) -> bool) {
    let text = || std::fs::read_to_string(folder.path("bans"));
    wait_until("the file of bans is as expected", || text().is_ok_and(|text| is_it(&text)));
}

#[track_caller]
fn reload(daemon: &mut Daemon) {
    daemon.signal("HUP");
    daemon.wait_for_log("the bans were read again");
}

#[test]
fn a_ban_closes_those_whom_it_covers_and_is_stored() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let listen = toml::Value::from(vec!["127.0.0.1:0".to_owned(), text(&path).to_owned()]);
    let server = TestServer::with(|config| {
        for (name, value) in [("state", text(&folder.path("")).into()), ("listen", listen)] {
            chatd::service::config::KEYS
                .iter()
                .find(|key| key.name == name)
                .unwrap()
                .set(config, &value)
                .unwrap();
        }
    });
    let (mut ann, mut ben) = (server.join(), Caller::connect_from("127.0.0.2", server.address));
    ben.expect(GREETING);
    let mut local = Caller::connect_unix_as_user(&path);
    local.expect(GREETING);
    let net = server.server().net();
    assert_eq!(net.ban(ban("127.0.0.2", "flood")), Ok(1));
    let notice = "-!- you are banned until 2999-01-01T00:00:00Z: flood\n";
    ben.expect(notice);
    ben.expect_end();
    let mut again = Caller::connect_from("127.0.0.2", server.address);
    again.expect(notice);
    again.expect_end();
    let login = login();
    assert_eq!(net.ban(Ban::of(format!("+{login}").parse().unwrap())), Ok(1));
    local.expect("-!- you are banned\n");
    local.expect_end();
    let mut again = Caller::connect_unix_as_user(&path);
    again.expect("-!- you are banned\n");
    again.expect_end();
    if rustix::process::getuid().is_root() {
        let mut owner = Caller::connect_unix(&path);
        owner.expect(GREETING);
        assert_eq!(net.ban(Ban::of("+root".parse().unwrap())), Ok(0));
        Caller::connect_unix(&path).expect(GREETING);
        assert!(net.unban(&"+root".parse().unwrap()));
        owner.say("/who\n");
        owner.until(" here");
    }
    net.mute(Mute::of("bob".parse().unwrap())).unwrap();
    let expected =
        format!("ban 127.0.0.2 until 2999-01-01T00:00:00Z by root reason flood\nban +{login}\nmute bob\n");
    wait_for_file(&folder, |text| text.ends_with(&expected));
    assert!(net.unban(&"127.0.0.2".parse().unwrap()));
    Caller::connect_from("127.0.0.2", server.address).expect(GREETING);
    ann.say("/who\n");
    ann.until(" here");
}

#[test]
fn bans_survive_a_stop_and_a_kill() {
    let folder = Folder::new();
    folder.write("bans", "ban 127.0.0.2\n");
    for signal in ["KILL", "TERM", "TERM"] {
        let mut daemon = start(&folder, &[]);
        let mut caller = Caller::connect_from("127.0.0.2", daemon.address);
        caller.expect("-!- you are banned\n");
        caller.expect_end();
        daemon.join();
        daemon.signal(signal);
        daemon.wait();
    }
}

/// The same with a unix socket, at which the group of this process is the operators.
fn start_with_operators(folder: &Folder) -> (Daemon, PathBuf) {
    let socket = folder.path("socket");
    let group = std::process::Command::new("id").arg("-gn").output().unwrap();
    let operators = format!("--operators={}", String::from_utf8(group.stdout).unwrap().trim());
    (start(folder, &["--listen", text(&socket), &operators]), socket)
}

#[test]
fn an_operator_who_would_ban_themselves_is_asked_to_mean_it() {
    let folder = Folder::new();
    let (_daemon, socket) = start_with_operators(&folder);
    let mut operator = Caller::connect_unix_as_user(&socket);
    operator.say(format!("/ban +{}\n", login()));
    operator.until("because that covers you, too");
    operator.say(format!("/ban --force +{}\n", login()));
    operator.until("-!- you are banned\n");
    operator.expect_end();
}

#[test]
fn a_ban_that_could_not_be_stored_is_stored_when_it_can() {
    let folder = Folder::new();
    let (mut daemon, socket) = start_with_operators(&folder);
    let mut operator = Caller::connect_unix(&socket);
    operator.until("\n");
    // In place of the new file: root may write to any folder.
    let obstacle = folder.path("bans.new");
    let failed = "changes of bans are in force, but not stored: trying again every second";
    std::fs::create_dir(&obstacle).unwrap();
    operator.say("/ban 192.0.2.1\n/ban 192.0.2.2\n");
    daemon.wait_for_log(failed);
    std::fs::remove_dir(&obstacle).unwrap();
    daemon.wait_for_log("the changes of bans are stored again");
    wait_for_file(&folder, |text| {
        text.contains("\nban 192.0.2.1 by ") && text.contains("\nban 192.0.2.2 by ")
    });
    let failures = daemon.log.iter().filter(|line| line.contains(failed)).count();
    assert_eq!(failures, 1, "{:#?}", daemon.log);
    // The same just before a stop.
    std::fs::create_dir(&obstacle).unwrap();
    operator.say("/ban 192.0.2.3\n");
    daemon.wait_for_log(failed);
    std::fs::remove_dir(&obstacle).unwrap();
    daemon.signal("TERM");
    daemon.wait();
    let stored = std::fs::read_to_string(folder.path("bans")).unwrap();
    assert!(stored.contains("\nban 192.0.2.3 by "), "{stored}");
}

#[test]
fn people_edit_the_file_and_a_reload_puts_it_in_force() {
    let folder = Folder::new();
    let mut daemon = start(&folder, &[]);
    let (mut ann, mut ben) = (daemon.join(), Caller::connect_from("127.0.0.2", daemon.address));
    ben.expect(GREETING);
    folder.write("bans", "ban 127.0.0.2/31 reason see the rules\nban 127.0.0.9 until 2001-01-01\n");
    reload(&mut daemon);
    ben.expect("-!- you are banned: see the rules\n");
    ben.expect_end();
    // Its end is past.
    Caller::connect_from("127.0.0.9", daemon.address).expect(GREETING);
    folder.write("bans", "");
    reload(&mut daemon);
    Caller::connect_from("127.0.0.3", daemon.address).expect(GREETING);
    ann.say("/who\n");
    ann.until(" here");
}

#[test]
fn a_damaged_line_is_named_with_its_remedy_and_the_others_hold() {
    let folder = Folder::new();
    folder.write("bans", "ban 127.0.0.2\nban 127.0.0.7/24\nbann 127.0.0.3\nban 127.0.0.4\n");
    let mut daemon = start(&folder, &[]);
    for (number, remedy) in [
        (2, "write \"127.0.0.0/24\" for the network or \"127.0.0.7\" for the address"),
        (3, "write \"ban NETWORK\""),
    ] {
        let place = format!("bans:{number}: ");
        let is_it = |line: &String| {
            line.contains(&place) && line.contains(remedy) && line.contains("the other lines hold")
        };
        assert!(daemon.log.iter().any(is_it), "{number}: {:#?}", daemon.log);
    }
    for banned in ["127.0.0.2", "127.0.0.4"] {
        Caller::connect_from(banned, daemon.address).expect("-!- you are banned\n");
    }
    daemon.join();
    reload(&mut daemon);
}

#[test]
fn a_file_that_cannot_be_read_lets_nobody_in_over_ip_until_it_can() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("bans")).unwrap();
    let socket = folder.path("socket");
    let mut daemon = start(&folder, &["--listen", text(&socket)]);
    assert!(daemon.log.iter().any(|line| line.contains("only operators may connect until it can be read")));
    let mut ann = Caller::connect(daemon.address);
    ann.expect("-!- your address may not connect here\n");
    ann.expect_end();
    Caller::connect_unix(&socket).expect(GREETING);
    daemon.signal("HUP");
    daemon.wait_for_log("the bans in force stay");
    std::fs::remove_dir(folder.path("bans")).unwrap();
    folder.write("bans", "ban 127.0.0.2\n");
    reload(&mut daemon);
    let mut ann = daemon.join();
    // A file that becomes unreadable lifts no ban.
    std::fs::remove_file(folder.path("bans")).unwrap();
    std::fs::create_dir(folder.path("bans")).unwrap();
    daemon.signal("HUP");
    daemon.wait_for_log("the bans in force stay");
    Caller::connect_from("127.0.0.2", daemon.address).expect("-!- you are banned\n");
    ann.say("/who\n");
    ann.until(" here");
}

#[test]
fn a_group_and_a_state_folder_that_are_not_there_are_named() {
    let folder = Folder::new();
    let (group, state) = ("cannot find the group", "cannot store bans and mutes in ");
    let mut daemon = start(&folder, &[]);
    let has = |daemon: &Daemon, text: &str| daemon.log.iter().any(|line| line.contains(text));
    assert!(!has(&daemon, group) && !has(&daemon, state), "{:#?}", daemon.log);
    reload(&mut daemon);
    assert!(!has(&daemon, group), "{:#?}", daemon.log);
    let missing = folder.path("missing");
    // There can be operators only at a unix socket.
    let socket = folder.path("socket");
    let options = ["--state", text(&missing), "--operators", "no such group", "--listen", text(&socket)];
    let mut daemon = Daemon::start(&options);
    assert!(has(&daemon, &format!("{state}{}: No such file", missing.display())), "{:#?}", daemon.log);
    assert!(has(&daemon, "cannot find the group \"no such group\" of operators"), "{:#?}", daemon.log);
    let count = |daemon: &Daemon| daemon.log.iter().filter(|line| line.contains(group)).count();
    let before = count(&daemon);
    daemon.signal("HUP");
    daemon.wait_for_log(group);
    assert_eq!(count(&daemon), before + 1);
    // Nobody but root is an operator, and nobody asks for one.
    let daemon = Daemon::start(&["--operators", "", "--listen", text(&folder.path("other"))]);
    assert!(!has(&daemon, group), "{:#?}", daemon.log);
}

#[test]
fn without_a_state_folder_a_ban_holds_until_the_stop() {
    let server = TestServer::start();
    let mut ann = server.join();
    assert_eq!(server.server().net().ban(ban("127.0.0.0/8", "")), Ok(1));
    ann.expect("-!- you are banned until 2999-01-01T00:00:00Z\n");
    ann.expect_end();
}

#[test]
fn a_program_gets_the_end_and_the_reason_of_a_ban_as_fields() {
    let address = "127.0.0.1:0".parse::<chatd::net::Address>().unwrap();
    let listen = chatd::service::config::Listen { view: chatd::protocol::View::Json, ..address.into() };
    let server = TestServer::with(|config| config.listen = vec![listen]);
    let mut bot = Caller::connect(server.address);
    bot.until("\n");
    assert_eq!(server.server().net().ban(ban("127.0.0.1", "flood")), Ok(1));
    let line = bot.until("\n");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["code"], "banned");
    assert_eq!((&object["until"], &object["reason"]), (&"2999-01-01T00:00:00Z".into(), &"flood".into()));
    bot.expect_end();
}
