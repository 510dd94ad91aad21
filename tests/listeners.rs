//! Where chatd listens.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use chatd::net::{Address, Listener};
use chatd::protocol::View;
use chatd::service::config::{Config, Listen};
use chatd::service::listeners;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};

use crate::support::{Caller, Daemon, Folder, GREETING, PATIENCE, clean, text};

/// Runs it to its end; returns exit code and standard error.
fn run(options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let output = clean(&mut command).args(["--log", "stderr"]).args(options).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Leaves a socket file on which nobody answers. Nobody has listened there at all: a process that another test starts has
/// the descriptor for a moment.
fn leave_stale(path: &Path) {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
}

fn read_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') && stream.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn several_addresses_of_all_kinds_lead_into_one_room() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let mut daemon = Daemon::start(&["--listen", "[::1]:0", "--listen", text(&path)]);
    let line = daemon.wait_for_log("listening on [::1]:");
    let address = line.split("listening on ").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    daemon.wait_for_log("listening on /");
    let mut v4 = daemon.join();
    let mut v6 = Caller::join(address);
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_line(&mut unix), GREETING);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    unix.write_all(b"from the machine itself\n").unwrap();
    v4.expect("from the machine itself\n");
    v6.expect("from the machine itself\n");
    v6.say("to all\n");
    assert_eq!(read_line(&mut unix), "to all\n");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!path.exists(), "the socket file is removed at the end");
}

#[test]
fn an_address_in_use_is_named_and_the_exit_code_is_1() {
    let daemon = Daemon::start(&[]);
    let (code, stderr) = run(&["--listen", &daemon.address.to_string()]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!(
            "cannot listen on {}: address already in use; stop the program",
            daemon.address
        )),
        "{stderr}"
    );
}

#[test]
fn what_can_be_done_about_an_address_is_said() {
    // An address of nobody's (RFC 5737), and a folder that is not there.
    for (address, expected) in [
        (
            "192.0.2.77:5001",
            "cannot assign requested address; this machine does not have that address, or not yet: choose another, start \
             chatd when the network is up (After=network-online.target), or use chatd.socket with FreeBind=yes",
        ),
        ("/nonexistent/chat.sock", "no such file or directory; create its folder, or choose another path"),
    ] {
        let (code, stderr) = run(&["--listen", address]);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(&format!("cannot listen on {address}: {expected}")), "{stderr}");
    }
}

#[test]
fn a_link_local_address_needs_an_interface_that_is_there() {
    let (code, stderr) = run(&["--listen", "[fe80::7]:5001"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("\"[fe80::7]:5001\" is a link-local address without its interface"), "{stderr}");
    let (code, stderr) = run(&["--listen", "[fe80::7%nonexistent0]:5001"]);
    assert_eq!(code, Some(1));
    let expected = "cannot listen on [fe80::7%nonexistent0]:5001: there is no interface nonexistent0; `ip link` lists those";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn a_link_local_address_is_listened_on_and_shown_with_the_name_of_its_interface() {
    // In a network namespace of its own, where the loopback interface gets such an address.
    let script = "ip link set lo up && ip addr add fe80::7/64 dev lo nodad || exit 77; \
                  exec \"$0\" --log stderr --listen '[fe80::7%1]:5001'";
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "sh", "-c", script, env!("CARGO_BIN_EXE_chatd")]);
    let may = Command::new("unshare").args(["--net", "--map-root-user", "ip", "link"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "this test needs unshare(1) and ip(8)");
        return;
    }
    let mut daemon = Daemon::silent(command);
    let line = daemon.wait_for_log("listening on ");
    assert!(line.ends_with("listening on [fe80::7%lo]:5001; try: nc fe80::7%lo 5001"), "{line}");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn what_listen_says_of_a_link_local_address_holds_for_a_socket_that_is_passed() {
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    // The loopback interface need not have that address.
    sockopt::set_ipv6_freebind(&socket, true).unwrap();
    let lo = rustix::net::netdevice::name_to_index(&socket, "lo").unwrap();
    let address = SocketAddrV6::new("fe80::7".parse().unwrap(), 0, 0, lo);
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    let port = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap().port();
    for zone in ["lo".to_owned(), lo.to_string()] {
        let address = format!("[fe80::7%{zone}]:{port}").parse::<Address>().unwrap();
        let listen = vec![Listen { view: View::Json, ..Listen::from(address) }];
        let config = Config { listen, ..Config::default() };
        let listener = Listener::inherit(socket.try_clone().unwrap()).unwrap();
        assert_eq!(listener.address().to_string(), format!("[fe80::7%lo]:{port}"));
        let listeners = listeners::inherited_listeners(vec![listener], &config);
        assert_eq!(listeners[0].listen.view, View::Json, "{zone}");
    }
}

#[test]
fn two_addresses_of_which_one_has_the_other_in_it_are_both_named() {
    // Somebody else may take the port before it is listened on.
    let attempts = (0..5).map(|_| {
        let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let [all, one] = ["0.0.0.0", "127.0.0.1"].map(|ip| format!("{ip}:{port}"));
        let (code, stderr) = run(&["--listen", &all, "--listen", &one]);
        let expected =
            format!("listen on {one}: address already in use; chatd itself already listens on {all}");
        (code == Some(1) && stderr.contains(&expected), stderr)
    });
    let failed: Vec<_> = attempts.take_while(|(is_as_expected, _)| !is_as_expected).collect();
    assert!(failed.len() < 5, "{failed:#?}");
}

#[test]
fn a_failed_start_says_why_wherever_the_log_goes() {
    let daemon = Daemon::start(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let address = daemon.address.to_string();
    let output = clean(&mut command).args(["--log", "none", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("chatd: cannot listen on"));
}

#[test]
fn a_stale_socket_file_is_taken_over() {
    let folder = Folder::new();
    let path = folder.path("stale.sock");
    leave_stale(&path);
    let mut daemon = Daemon::start(&["--listen", text(&path)]);
    daemon.wait_for_log("listening on /");
    assert_eq!(read_line(&mut UnixStream::connect(&path).unwrap()), GREETING);
}

#[test]
fn of_two_that_start_over_a_stale_socket_file_one_listens_and_the_other_says_so() {
    let folder = Folder::new();
    for round in 0..500 {
        let path = folder.path(&format!("{round}.sock"));
        leave_stale(&path);
        let address = Address::Unix(path.clone());
        let start = Barrier::new(2);
        let bind = || {
            start.wait();
            Listener::bind(&address)
        };
        let bound = std::thread::scope(|scope| {
            [scope.spawn(bind), scope.spawn(bind)].map(|thread| thread.join().unwrap())
        });
        let (listening, refused): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
        assert_eq!(listening.len(), 1, "round {round}: {refused:?}");
        let error = refused[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("another program answers on it"), "round {round}: {error}");
        // The file is that of the one who listens.
        let _caller = UnixStream::connect(&path).unwrap();
        rustix::net::accept(listening[0].as_ref().unwrap()).unwrap();
    }
}

#[test]
fn a_socket_file_on_which_somebody_answers_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("taken.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let (code, stderr) = run(&["--listen", text(&path)]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another program answers on it"), "{stderr}");
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_socket_that_nobody_accepts_from_is_somebodys_all_the_same() {
    let folder = Folder::new();
    let path = folder.path("hung.sock");
    let hung = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    );
    let hung = hung.unwrap();
    rustix::net::bind(&hung, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&hung, 0).unwrap();
    // There is no space for another one.
    let _waiting = UnixStream::connect(&path).unwrap();
    let (code, stderr) = run(&["--listen", text(&path)]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another program answers on it"), "{stderr}");
}

#[test]
fn what_is_at_the_place_of_the_socket_by_then_is_kept_at_the_end() {
    let folder = Folder::new();
    let path = folder.path("moved.sock");
    let mut before = Daemon::start(&["--listen", text(&path)]);
    before.wait_for_log("listening on /");
    std::fs::rename(&path, folder.path("away.sock")).unwrap();
    let mut after = Daemon::start(&["--listen", text(&path)]);
    after.wait_for_log("listening on /");
    before.signal("TERM");
    assert!(before.wait().success());
    assert_eq!(read_line(&mut UnixStream::connect(&path).unwrap()), GREETING);
}

#[test]
fn a_directory_or_a_file_in_the_place_of_the_socket_is_refused_and_kept() {
    let folder = Folder::new();
    let file = folder.write("file", "precious");
    std::fs::create_dir(folder.path("directory")).unwrap();
    for (path, what) in [(folder.path("directory"), "a directory"), (file, "not a socket")] {
        let (code, stderr) = run(&["--listen", text(&path)]);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(what) && stderr.contains(text(&path)), "{stderr}");
        assert!(path.exists());
    }
}
