//! Clients of TLS that get no handshake: they may not connect, or the listener speaks none. Each has to learn why.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::{Daemon, GREETING, PATIENCE};
use crate::tls::{Files, expect};

/// What chatc says that cannot connect with TLS.
fn chatc(daemon: &Daemon) -> String {
    let address = daemon.address.to_string();
    let output =
        Command::new(env!("CARGO_BIN_EXE_chatc")).args(["--tls", &address]).stdin(Stdio::null()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let before = format!("chatc: tls://{address}: ");
    said.strip_prefix(&before).unwrap_or_else(|| panic!("{said}")).trim_end().to_owned()
}

/// What openssl-s_client(1) says that cannot connect.
fn openssl(daemon: &Daemon) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &daemon.address.to_string()]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a client gets that waits for somebody to speak first.
fn silent(daemon: &Daemon) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut heard).unwrap();
    heard
}

#[test]
fn who_is_refused_where_only_tls_is_spoken_gets_an_alert_and_no_handshake() {
    for (keys, alert, ssl, words) in [
        (
            "max_clients = 1",
            80,
            "alert internal error",
            "it is full, stops, or has too many connections from your address; try again later",
        ),
        (
            "max_per_ip = 1",
            80,
            "alert internal error",
            "it is full, stops, or has too many connections from your address; try again later",
        ),
        (
            "deny = \"127.0.0.1\"",
            49,
            "alert access denied",
            "your address is denied or banned; ask who runs it",
        ),
    ] {
        let files =
            Files::with(&format!("{keys}\nlisten = {{ address = \"127.0.0.1:0\", tls = \"required\" }}"));
        let daemon = files.start_alone();
        let first = (!keys.starts_with("deny")).then(|| {
            let mut first = files.connect(daemon.address);
            expect(&mut first, GREETING);
            first
        });
        assert_eq!(silent(&daemon), [21, 3, 3, 0, 2, 2, alert], "{keys}");
        assert_eq!(chatc(&daemon), format!("it turned you away before TLS began: {words}"));
        let said = openssl(&daemon);
        assert!(said.contains(ssl), "{keys}: {said}");
        drop(first);
    }
}

#[test]
fn who_is_refused_where_both_are_spoken_is_told_as_it_speaks() {
    let files = Files::with("deny = \"127.0.0.1\"");
    let daemon = files.start();
    // Nobody knows yet what it speaks.
    assert_eq!(silent(&daemon), b"-!- your address may not connect here\n");
    let said = chatc(&daemon);
    let words = [
        "it turned you away before TLS began: your address is denied or banned; ask who runs it",
        "it turned you away before TLS began; it says, not encrypted: your address may not connect here",
    ];
    assert!(words.contains(&said.as_str()), "{said}");
}

#[test]
fn where_no_tls_is_spoken_a_client_of_it_gets_plain_text() {
    let daemon = Daemon::start(&[]);
    let says = "it does not speak TLS; connect without TLS if plain text will do; it says: ";
    let said = chatc(&daemon);
    assert!(said.starts_with(says) && said.contains("this connection does not speak TLS"), "{said}");
    // The usual words for a port that speaks plain text.
    let said = openssl(&daemon);
    assert!(said.contains("wrong version number"), "{said}");
}
