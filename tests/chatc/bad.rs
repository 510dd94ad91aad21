//! What is not there, not reachable, or not chatd: the message says what was tried, and the exit code is 69.

use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use crate::process::{Left, Process, command, pipe};
use crate::server::{Fake, Nowhere};
use crate::support::{Daemon, Folder, PATIENCE, text};
use crate::terminal::Terminal;

/// The message, after the name of the program; the code has to be 69.
#[track_caller]
fn unavailable(left: &Left) -> &str {
    assert_eq!((left.code, left.output.as_str()), (Some(69), ""), "{left:?}");
    let line = left.errors.strip_suffix('\n').and_then(|line| line.strip_prefix("chatc: "));
    line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("one line: {left:?}"))
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let nowhere = Nowhere::new();
    let address = nowhere.address.as_str();
    let says = format!("{address}: nobody listens there; is chatd running, and on this port?");
    assert_eq!(unavailable(&pipe("hello\n", &[address])), says);
    assert_eq!(unavailable(&Process::start(&["--listen", "--reconnect", address]).wait()), says);
    let (code, rows) = Terminal::start(&[address]).finish();
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
    let _waiting = std::net::TcpStream::connect(address).unwrap();
    // One is all that it takes, as soon as that has arrived.
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut [PollFd::new(&full, PollFlags::IN)], Some(&patience)).unwrap(), 1);
    let left = pipe("", &["--timeout", "200ms", &address.to_string()]);
    assert!(unavailable(&left).starts_with(&format!("{address}: no answer within 200ms; ")), "{left:?}");
}

#[test]
fn a_socket_where_nobody_accepts_is_given_up() {
    let folder = Folder::new();
    let path = folder.path("full.sock");
    let full = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&full, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&full, 0).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    for options in
        [&["--timeout", "200ms", text(&path)][..], &["--listen", "--timeout", "200ms", text(&path)]]
    {
        let left = pipe("", options);
        let says = format!("{}: no answer within 200ms; ", text(&path));
        assert!(unavailable(&left).starts_with(&says), "{left:?}");
    }
}

#[test]
fn what_is_no_chatd_and_closes_is_quoted() {
    for (greeting, quoted) in [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2"),
        ("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (
            ":irc.example.org NOTICE * :*** Hello\r\nERROR :Closing Link\r\n",
            ":irc.example.org NOTICE * :*** Hello",
        ),
    ] {
        let fake = Fake::start();
        let address = fake.address();
        let says = format!("{address}: this does not answer as chatd does; it says: {quoted}");
        for options in [&["--listen", &address][..], &[&address]] {
            let mut process = Process::start(options);
            process.say("deploy done\n");
            let mut guest = fake.accept();
            assert_eq!(guest.line(), "/view json\n", "and nothing is said");
            guest.say(greeting);
            drop(guest);
            assert_eq!(unavailable(&process.wait()), says);
        }
        let terminal = Terminal::start(&[&address]);
        let mut guest = fake.accept();
        guest.line();
        guest.say(greeting);
        drop(guest);
        let (code, rows) = terminal.finish();
        assert_eq!(code, Some(69));
        assert!(rows.concat().replace(' ', "").ends_with(&says.replace(' ', "")), "{rows:#?}");
    }
}

#[test]
fn who_says_nothing_at_all_is_no_daemon_after_a_while() {
    // Nobody accepts what connects there: a daemon that hangs.
    let hanging = Fake::narrow();
    let address = hanging.address();
    let mut pipe = Process::start(&[&address]);
    let mut listener = Process::start(&["--listen", &address]);
    let mut hasty = Process::start(&["--listen", "--timeout", "1s", &address]);
    let says = format!("{address}: this does not answer as chatd does; check the address and the port");
    for process in [&mut hasty, &mut pipe, &mut listener] {
        assert_eq!(unavailable(&process.wait()), says);
    }
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
    // It stays when nobody listens on it any more.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let left = pipe("", &[text(&path)]);
    let says = format!("{}: nobody listens on this socket; is chatd running?", path.display());
    assert_eq!(unavailable(&left), says);
    let (file, link) = (folder.write("file", ""), folder.path("link"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for none in [&file, &link, file.parent().unwrap()] {
        let left = pipe("", &[text(none)]);
        assert_eq!(unavailable(&left), format!("{}: this is no socket; check the path", none.display()));
    }
}

/// A copy of the command that anybody may run, as somebody who is nobody else: to root nothing is forbidden.
fn as_somebody(program: &Command, folder: &Folder, id: u32) -> Command {
    let copy = folder.path("chatc");
    // By another process: a file that another test's child happens to have open for writing cannot be run.
    let mut cp = Command::new("cp");
    assert!(cp.arg(program.get_program()).arg(&copy).status().unwrap().success());
    let mut somebody = Command::new("setpriv");
    somebody.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".to_owned()]);
    somebody.arg(copy).args(program.get_args()).env("TERM", "xterm").env("LC_ALL", "C");
    somebody
}

#[test]
fn where_no_thread_can_be_had_it_ends_with_a_code() {
    let (fake, folder) = (Fake::start(), Folder::new());
    let address = fake.address();
    for (options, code, words) in [
        (&[address.as_str()][..], 1, "chatc: cannot start: ".to_owned()),
        (&["--listen", &address], 1, "chatc: cannot start: ".to_owned()),
    ] {
        let program = command(options);
        let restricted = match rustix::process::geteuid().is_root() {
            true => as_somebody(&program, &folder, 54_321),
            false => program,
        };
        let mut limited = Command::new("prlimit");
        limited.arg("--nproc=1").arg(restricted.get_program()).args(restricted.get_args());
        let left = Process::run(limited).finish();
        assert_eq!(left.code, Some(code), "{left:?}");
        assert!(left.errors.starts_with(&words), "{left:?}");
    }
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
        as_somebody(&program, &folder, 65_534)
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
