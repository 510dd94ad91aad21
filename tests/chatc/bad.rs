//! What is not there, not reachable, or not chatd: the message says what was tried, and the exit code is 69.

use std::net::TcpListener;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use crate::process::{Left, Process, command, pipe};
use crate::server::Fake;
use crate::support::{Daemon, Folder, text};
use crate::terminal::Terminal;

/// The message, after the name of the program; the code has to be 69.
#[track_caller]
fn unavailable(left: &Left) -> &str {
    assert_eq!((left.code, left.output.as_str()), (Some(69), ""), "{left:?}");
    let line = left.errors.strip_suffix('\n').and_then(|line| line.strip_prefix("chatc: "));
    line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("one line: {left:?}"))
}

/// A port of this machine where nobody listens.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let address = free_port();
    let says = format!("{address}: nobody listens there; is chatd running, and on this port?");
    assert_eq!(unavailable(&pipe("hello\n", &[&address])), says);
    assert_eq!(unavailable(&Process::start(&["--listen", "--reconnect", &address]).wait()), says);
    let (code, rows) = Terminal::start(&[&address]).finish();
    assert_eq!((code, rows.concat()), (Some(69), format!("chatc: {says}")));
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    // A label of more than 63 characters: nobody has to be asked to know that there is no such host.
    let host = "x".repeat(64);
    let left = pipe("", &[&host]);
    assert!(unavailable(&left).starts_with(&format!("{host}:5001: no such host (")), "{left:?}");
}

#[test]
fn a_host_that_does_not_answer_is_given_up() {
    // A queue that is full: what connects then is not answered.
    let full = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&full, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&full, 0).unwrap();
    let address: std::net::SocketAddr = getsockname(&full).unwrap().try_into().unwrap();
    let patience = std::time::Duration::from_millis(200);
    let waiting: Vec<_> =
        std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, patience).ok()).collect();
    let left = pipe("", &["--timeout", "200ms", &address.to_string()]);
    assert!(unavailable(&left).starts_with(&format!("{address}: no answer within 200ms; ")), "{left:?}");
    assert!(!waiting.is_empty());
}

#[test]
fn what_is_no_chatd_is_said_to_be_what_it_seems() {
    for (greeting, what) in [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "an SSH server"),
        ("220 mail.example.org ESMTP Postfix\r\n", "a mail server"),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}", "a TLS server"),
    ] {
        let fake = Fake::start();
        let address = fake.address();
        let says =
            format!("{address}: this is no chatd but seems to be {what}; check the address and the port");
        let mut process = Process::start(&["--listen", &address]);
        fake.accept().say(greeting);
        assert_eq!(unavailable(&process.wait()), says);
        let terminal = Terminal::start(&[&address]);
        fake.accept().say(greeting);
        let (code, rows) = terminal.finish();
        assert_eq!(code, Some(69));
        assert!(rows.concat().ends_with(&says), "{rows:#?}");
    }
}

#[test]
fn a_web_server_answers_what_is_piped_in_and_is_no_chatd() {
    let fake = Fake::start();
    let mut process = Process::start(&[&fake.address()]);
    process.say("deploy done\n");
    let mut guest = fake.accept();
    assert_eq!(guest.line(), "deploy done\n");
    guest.say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let left = process.finish();
    assert!(unavailable(&left).contains("seems to be a web server"), "{left:?}");
}

#[test]
fn silence_is_mentioned_and_no_error() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    terminal.until("a remark", |terminal| terminal.rows().concat().contains(", which says nothing so far"));
    guest.say("hello\n");
    terminal.expect_row("hello");
    terminal.keys("hi\r");
    assert_eq!(guest.line(), "hi\n");
}

#[test]
fn a_socket_that_is_not_there_or_none_is_named() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let left = pipe("", &[text(&path)]);
    assert_eq!(
        unavailable(&left),
        format!("{}: no such socket; is chatd running, and listening there?", path.display())
    );
    let file = folder.write("file", "");
    let left = pipe("", &[text(&file)]);
    assert!(
        unavailable(&left).starts_with(&format!("{}: nobody listens on this socket", file.display())),
        "{left:?}"
    );
}

#[test]
fn a_socket_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let _daemon = Daemon::start(&["--listen", text(&path)]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let program = command(&[text(&path)]);
    let mut restricted = if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root; and the program has to be where anybody may run it.
        let copy = folder.path("chatc");
        std::fs::copy(program.get_program(), &copy).unwrap();
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).arg(&path);
        nobody
    } else {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        program
    };
    restricted.env_remove("NO_COLOR");
    let left = Process::run(restricted).finish();
    let says = format!("{}: no permission to connect; ", path.display());
    assert!(unavailable(&left).starts_with(&says), "{left:?}");
}

#[test]
fn wrong_usage_ends_with_2_before_anything_is_tried() {
    for options in [["--nick", "a b"].as_slice(), &["host:port"], &["--count", "1"], &["--reconnect"]] {
        let left = pipe("", options);
        assert_eq!((left.code, left.output.as_str()), (Some(2), ""), "{left:?}");
        assert!(!left.errors.is_empty());
    }
    let (code, rows) = Terminal::start(&["--timeout", "5"]).finish();
    assert_eq!(code, Some(2), "{rows:#?}");
}
