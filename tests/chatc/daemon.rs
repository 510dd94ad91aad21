//! chatc and the TLS of chatd itself.

use std::process::Command;

use crate::manager::Manager;
use crate::process::{Process, pipe};
use crate::secured::{Authority, HERE};
use crate::support::{Daemon, Folder, text};
use crate::terminal::Terminal;
use crate::trust::reason;

/// A daemon with a listener that is so about TLS, and more keys.
fn start(authority: &Authority, mode: &str, keys: &str) -> (Daemon, Folder) {
    let ([cert, key], folder) = (authority.files_for(&HERE), Folder::new());
    let listen = format!("listen = [{{ address = \"127.0.0.1:0\", tls = \"{mode}\" }}]");
    let keys = format!("{listen}\ntls_cert = {cert:?}\ntls_key = {key:?}\n{keys}");
    let file = folder.write("chatd.toml", keys);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    command.args(["--config", text(&file), "--log", "stderr"]);
    (Daemon::run(command), folder)
}

#[test]
fn a_daemon_says_whether_it_wants_tls_and_chatc_says_what_to_do() {
    let authority = Authority::new();
    let file = authority.file();
    let over_tls = ["--tls", "--ca", text(&file)];
    for mode in ["optional", "required"] {
        let (daemon, _keys) = start(&authority, mode, "");
        let address = daemon.address.to_string();
        let left = pipe("hello\n", &[&over_tls[..], &[&address]].concat());
        assert_eq!((left.code, left.errors.as_str()), (Some(0), ""), "{mode}");
        let left = pipe("hello\n", &[&address]);
        if mode == "optional" {
            assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
            continue;
        }
        assert_eq!(left.code, Some(69), "{left:?}");
        let says = format!("chatc: {address}: it speaks TLS only; use --tls; it says: ");
        assert!(left.errors.starts_with(&says), "{left:?}");
    }
    let (daemon, _keys) = start(&authority, "off", "");
    let left = pipe("hello\n", &[&over_tls[..], &[&daemon.address.to_string()]].concat());
    assert!(
        reason(&left).starts_with("it does not speak TLS; connect without TLS if plain text will do; "),
        "{left:?}"
    );
}

#[test]
fn the_name_in_a_certificate_is_the_name_of_whoever_shows_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let keys = format!("tls_client_ca = {:?}\ntls_client = \"required\"\n", clients.file());
    let (daemon, _keys) = start(&authority, "optional", &keys);
    let (address, file) = (daemon.address.to_string(), authority.file());
    let [cert, key] = clients.files_for(&["ann"]);
    let mut witness = daemon.join();
    witness.say("/nick bob\n");
    witness.until("bob");
    let options = ["--tls", "--ca", text(&file), "--cert", text(&cert), "--key", text(&key), &address];
    let left = pipe("hello\n", &options);
    assert_eq!(left.code, Some(0), "{left:?}");
    witness.until("<+ann> hello\n");
    let left = pipe("hello\n", &["--tls", "--ca", text(&file), &address]);
    assert_eq!(reason(&left), "it asks for a certificate of yours; use --cert FILE and --key FILE");
}

#[test]
fn over_a_restart_and_a_crash_a_bot_goes_on_or_comes_back() {
    let (manager, authority) = (Manager::with_store(), Authority::new());
    let ([cert, key], file) = (authority.files_for(&HERE), authority.file());
    let tls = ["--tls-cert", text(&cert), "--tls-key", text(&key)];
    let mut daemon = manager.start("", &tls);
    let address = manager.address().to_string();
    let mut caller = manager.join();
    caller.say("/nick ann\n");
    caller.until("ann");
    let mut options = vec!["--tls", "--ca", text(&file), "--listen", "--reconnect", "--nick", "bot"];
    options.extend(["--exec", "echo pong", &address]);
    let mut bot = Process::start(&options);
    // It answers nothing that was said before it was there.
    caller.until("bot");
    let mut terminal = Terminal::start(&["--tls", "--ca", text(&file), "--nick", "eve", &address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == "eve@main>"));
    for turn in 0..2 {
        caller.say(format!("ping {turn}\n"));
        caller.until("<bot> pong\n");
        let heard = format!("<ann> ping {turn}");
        terminal.until("it", |terminal| terminal.rows().contains(&heard));
        match turn {
            0 => manager.restart(&mut daemon, &tls),
            _ => manager.crash(&mut daemon, 1, &tls),
        }
    }
    caller.say("ping 2\n");
    caller.until("<bot> pong\n");
    terminal.until("it", |terminal| terminal.rows().contains(&"<ann> ping 2".to_owned()));
    bot.signal("TERM");
    assert_eq!(bot.wait().code, Some(0));
}
