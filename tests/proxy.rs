//! The PROXY protocol: who comes through a proxy has its own address, in limits, bans and the log, and keeps it.

use std::net::SocketAddr;

use crate::manager::Manager;
use crate::support::{Caller, Daemon, Folder, GREETING, text};

const UNKNOWN: &str =
    "-!- closing: chatd was restarted and cannot go on with this connection; connect again\n";

/// A header of version 1.
fn header(client: &str) -> String {
    format!("PROXY TCP4 {client} 198.51.100.1 50000 5001\r\n")
}

/// A header of version 2, with so many bytes more than that of an IPv4 address.
fn binary(client: [u8; 4], more: u16) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    let length = (12 + more).to_be_bytes();
    [&head[..], &length, &client, &[198, 51, 100, 1, 0xc3, 0x50, 0x13, 0x89], &vec![0; more.into()]].concat()
}

/// A daemon whose listener takes headers from 127.0.0.1.
fn start(folder: &Folder, keys: &str) -> Daemon {
    Daemon::run(crate::manager::shell(&script(folder, "127.0.0.1:0", keys), &[]))
}

/// What runs the daemon without the option --listen, which would replace the table.
fn script(folder: &Folder, address: &str, keys: &str) -> String {
    let listen = format!("listen = [{{ address = \"{address}\", proxy = [\"127.0.0.1\"] }}]");
    let state = folder.path("");
    let keys = format!("{listen}\nlog_level = \"debug\"\nstate = \"{}\"\n{keys}\n", text(&state));
    let file = folder.write("chatd.toml", keys);
    format!("set -- \"$1\" --log stderr --config {};", text(&file))
}

/// Somebody who has come through the proxy.
fn through(address: SocketAddr, client: &str) -> Caller {
    let mut caller = Caller::connect(address);
    caller.say(header(client));
    caller
}

fn join_through(address: SocketAddr, client: &str) -> Caller {
    let mut caller = through(address, client);
    caller.expect(GREETING);
    caller
}

#[test]
fn limits_and_the_log_have_the_address_from_the_header() {
    let folder = Folder::new();
    let mut daemon = start(&folder, "max_per_ip = 1");
    let mut ann = join_through(daemon.address, "192.0.2.1");
    let mut ben = Caller::connect(daemon.address);
    // What comes with the header is said.
    ben.say([&binary([192, 0, 2, 2], 100)[..], b"hello\n"].concat());
    ben.expect(GREETING);
    ann.expect("hello\n");
    let mut eve = through(daemon.address, "192.0.2.1");
    eve.expect("-!- too many connections from your address\n");
    eve.expect_end();
    drop(ann);
    daemon.wait_for_log("session 1 from 192.0.2.1:50000 is over");
    join_through(daemon.address, "192.0.2.1");
}

#[test]
fn a_header_in_pieces_is_one_and_nothing_is_sent_before_it_is_there() {
    let folder = Folder::new();
    let daemon = start(&folder, "");
    for header in [header("192.0.2.7").into_bytes(), binary([192, 0, 2, 7], 1)] {
        let mut slow = Caller::connect(daemon.address);
        slow.stream().set_nodelay(true).unwrap();
        let (last, first) = header.split_last().unwrap();
        first.iter().for_each(|byte| slow.say([*byte]));
        // The daemon has one thread, and has seen to all of that before this.
        join_through(daemon.address, "192.0.2.8").say("x\n");
        let mut byte = [0];
        slow.stream().set_nonblocking(true).unwrap();
        assert!(slow.stream().peek(&mut byte).is_err(), "{byte:?}");
        slow.stream().set_nonblocking(false).unwrap();
        slow.say([*last]);
        slow.until(GREETING.trim_end());
    }
}

#[test]
fn who_is_no_proxy_is_told_and_a_proxy_without_a_header_is_closed() {
    let folder = Folder::new();
    let mut daemon = start(&folder, "");
    let mut stranger = Caller::connect_from("127.0.0.2", daemon.address);
    stranger.expect("-!- your address may not connect here\n");
    stranger.expect_end();
    let oversized = binary([192, 0, 2, 7], 5000);
    for (bytes, reason) in [
        (&b"hello\n"[..], "it sent no PROXY header"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 1\r\n", "it sent no PROXY header"),
        (&oversized[..16], "its PROXY header is too long"),
        (&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), "its PROXY header is too long"),
        (&header("192.0.2.7").as_bytes()[..20], "its PROXY header is cut"),
        (b"", "its PROXY header is cut"),
    ] {
        let mut caller = Caller::connect(daemon.address);
        caller.say(bytes);
        caller.end_input();
        let from = caller.stream().local_addr().unwrap();
        daemon.wait_for_log(&format!("from the proxy {from}: {reason}"));
        caller.expect_end();
    }
}

#[test]
fn local_and_unknown_are_the_proxy_itself() {
    let folder = Folder::new();
    let mut daemon = start(&folder, "");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let mut caller = Caller::connect(daemon.address);
        caller.say(header);
        caller.expect(GREETING);
        let from = caller.stream().local_addr().unwrap();
        drop(caller);
        daemon.wait_for_log(&format!("from {from} is over"));
    }
}

#[test]
fn lists_and_bans_are_about_the_client() {
    let folder = Folder::new();
    folder.write("bans", "ban 192.0.2.7 reason flood\n");
    let daemon = start(&folder, "allow = [\"192.0.2.0/24\"]");
    join_through(daemon.address, "192.0.2.8");
    for (client, notice) in [
        ("192.0.2.7", "-!- you are banned: flood\n"),
        ("198.51.100.7", "-!- your address may not connect here\n"),
    ] {
        let mut caller = through(daemon.address, client);
        caller.expect(notice);
        caller.expect_end();
    }
}

#[test]
fn the_address_outlives_a_restart_and_a_crash() {
    let (manager, folder) = (Manager::with_store(), Folder::new());
    let script = script(&folder, &manager.address().to_string(), "");
    let mut daemon = manager.start(&script, &[]);
    let mut people =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|client| join_through(daemon.address, client));
    // One whose name is recorded as well.
    people[2].say("/nick ann\n");
    people[2].until("\n");
    let ban = |daemon: &mut Daemon, bans: &str, caller: &mut Caller| {
        folder.write("bans", bans);
        daemon.signal("HUP");
        caller.until("-!- you are banned");
        caller.until("\n");
        caller.expect_end();
    };
    manager.stop_for_restart(&mut daemon);
    daemon = manager.start(&script, &[]);
    ban(&mut daemon, "ban 192.0.2.1\n", &mut people[0]);
    manager.crash_with(&mut daemon, 2, &script);
    ban(&mut daemon, "ban 192.0.2.2\n", &mut people[1]);
    ban(&mut daemon, "ban 192.0.2.3\n", &mut people[2]);
}

#[test]
fn a_header_in_two_processes_is_one_and_after_a_crash_it_is_nobody() {
    let (manager, folder) = (Manager::with_store(), Folder::new());
    let script = script(&folder, &manager.address().to_string(), "");
    let mut daemon = manager.start(&script, &[]);
    let mut slow = Caller::connect(daemon.address);
    let header = header("192.0.2.7");
    slow.say(&header[..20]);
    let _other = join_through(daemon.address, "192.0.2.8");
    manager.stop_for_restart(&mut daemon);
    daemon = manager.start(&script, &[]);
    slow.say(&header[20..]);
    slow.expect(GREETING);
    let mut late = Caller::connect(daemon.address);
    late.say(&header[..20]);
    let _another = join_through(daemon.address, "192.0.2.9");
    manager.crash_with(&mut daemon, 4, &script);
    late.expect(UNKNOWN);
    late.expect_end();
}
