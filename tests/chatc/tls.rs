//! TLS on the wire: handshakes that fail, records in every shape, the end; and that nothing is ever said in plain text.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::{ServerConnection, StreamOwned};

use crate::process::{Process, pipe};
use crate::proxy::Proxy;
use crate::secured::{Authority, Certificate, HERE, NOTHING, Secured};
use crate::server::{Fake, Guest};
use crate::support::{TestServer, text};
use crate::terminal::Terminal;
use crate::trust::reason;

#[test]
fn a_server_without_tls_is_quoted_and_gets_nothing_but_a_handshake() {
    let server = TestServer::start();
    let left = pipe("secret\n", &["--tls", &server.address.to_string()]);
    let says = "it does not speak TLS; connect without TLS if plain text will do; it says: ";
    assert!(reason(&left).starts_with(says) && left.errors.contains("this is chatd"), "{left:?}");
    // A line about TLS counts more than a greeting; and nothing of it can drive a terminal.
    for (said, quoted) in [
        ("SSH-2.0-x\r\nInvalid\r\n", "SSH-2.0-x"),
        ("welcome\r\nno TLS \x1b[31mhere\r\n", "no TLS ^[[31mhere"),
        ("\n", ""),
    ] {
        let fake = Fake::start();
        let mut process = Process::start(&["--tls", &fake.address()]);
        process.say("secret\n");
        let mut guest = fake.accept();
        guest.say(said);
        let mut heard = Vec::new();
        guest.stream().take(5).read_to_end(&mut heard).unwrap();
        assert_eq!(heard[0], 0x16, "a handshake");
        guest.end();
        assert_eq!(reason(&process.finish()), format!("{says}{quoted}"));
        guest.stream().read_to_end(&mut heard).unwrap();
        assert!(!heard.windows(6).any(|bytes| bytes == b"secret" || bytes == b"/view "));
    }
}

#[test]
fn who_wants_tls_is_known_by_what_it_says() {
    for (said, says) in [
        ("this chatd takes TLS only\n", "it speaks TLS only; use --tls; it says: this chatd takes TLS only"),
        ("\x15\x03\x03\0\x02\x02\x0a", "it speaks TLS only; use --tls"),
    ] {
        let fake = Fake::start();
        let mut process = Process::start(&[&fake.address()]);
        process.say("hello\n");
        let mut guest = fake.accept();
        guest.line();
        guest.say(said);
        drop(guest);
        let left = process.finish();
        assert_eq!((left.code, left.errors), (Some(69), format!("chatc: {}: {says}\n", fake.address())));
    }
}

#[test]
fn a_handshake_that_does_not_come_to_an_end_is_given_up() {
    let fake = Fake::start();
    let address = fake.address();
    // Nothing, and the beginning of a record.
    for said in [&[][..], &[0x16, 3, 3, 0, 80, 2]] {
        let mut process = Process::start(&["--tls", "--timeout", "2s", &address]);
        process.say("hello\n");
        let mut guest = fake.accept();
        guest.say(said);
        let left = process.finish();
        let says = "no end of the TLS handshake within 2s; does it speak TLS on this port?";
        assert_eq!(reason(&left), says);
    }
    let mut process = Process::start(&["--tls", &address]);
    let guest = fake.accept();
    guest.stream().take(5).read_to_end(&mut Vec::new()).unwrap();
    guest.end();
    let left = process.wait();
    assert!(reason(&left).starts_with("it ended the connection in the TLS handshake ("), "{left:?}");
}

#[test]
fn garbage_ends_it() {
    let fake = Fake::start();
    for garbage in
        [&[0x16; 40][..], b"\x16\x03\x03\0\x04\x02\0\0\0", b"\x17\x03\x03\0\x01x", b"\x16\x03\x03\xff\xff"]
    {
        let mut process = Process::start(&["--tls", &fake.address()]);
        process.say("secret\n");
        let mut guest = fake.accept();
        guest.say(garbage);
        let left = process.finish();
        assert!(reason(&left).contains("TLS"), "{left:?}");
    }
}

#[test]
fn records_a_byte_at_a_time_are_read() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let secured = Secured::in_pieces(server.address, authority.issue(&HERE, NOTHING).config(), 1);
    let left = pipe("hello\n", &["--tls", "--ca", text(&authority.file()), &secured.address]);
    assert_eq!(left.code, Some(0), "{left:?}");
}

#[test]
fn much_is_said_and_heard_at_the_same_time() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let secured = Secured::to(server.address, authority.issue(&HERE, NOTHING).config());
    let file = authority.file();
    let options = ["--tls", "--ca", text(&file), secured.address.as_str()];
    let mut listener = Process::start(&[&["--listen"], &options[..]].concat());
    let lines: String = (0..20_000).map(|number| format!("{number} {}\n", "x".repeat(100))).collect();
    server.join().say("are you there?\n");
    while !listener.hears_soon() {
        server.join().say("are you there?\n");
    }
    let speaking = pipe(&lines, &options);
    assert_eq!(speaking.code, Some(0), "{:?}", speaking.errors);
    for number in 0..20_000 {
        let line = listener.next();
        assert!(line.starts_with(&format!("{number} ")), "{number}: {line}");
    }
}

/// A server with its own records: what it does not do by itself, tests do.
struct Raw {
    tls: StreamOwned<ServerConnection, TcpStream>,
}

impl Raw {
    fn accept(fake: &Fake, certificate: &Certificate) -> Self {
        let tls = ServerConnection::new(certificate.config().into()).unwrap();
        Self { tls: StreamOwned::new(tls, fake.accept().into_stream()) }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            self.tls.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn say(&mut self, text: &str) {
        self.tls.write_all(text.as_bytes()).unwrap();
        self.tls.flush().unwrap();
    }

    #[track_caller]
    fn greet(&mut self) {
        assert_eq!(self.line(), "/view json\n");
        self.say("{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"any sentence\"}\n");
        self.sync();
        self.sync();
    }

    fn sync(&mut self) -> String {
        let line = self.line();
        match line.strip_prefix("/sync ") {
            Some(token) => self.say(&Guest::answer(token.trim_end(), false)),
            None => {
                let rest = self.sync();
                return line + &rest;
            }
        }
        String::new()
    }
}

#[test]
fn the_end_of_tls_is_the_end_and_an_end_without_it_is_none() {
    let (fake, authority) = (Fake::start(), Authority::new());
    let (certificate, file) = (authority.issue(&HERE, NOTHING), authority.file());
    for (is_told, code) in [(true, 0), (false, 1)] {
        let address = fake.address();
        let mut process = Process::start(&["--tls", "--plain", "--ca", text(&file), &address]);
        process.say("hello\n");
        let mut raw = Raw::accept(&fake, &certificate);
        assert_eq!(raw.line(), "hello\n");
        process.end_input();
        // The half-close arrives, and the other half goes on.
        assert_eq!(raw.tls.read(&mut [0]).unwrap(), 0, "close_notify, or this is an error");
        raw.say("bye\n");
        if is_told {
            raw.tls.conn.send_close_notify();
            raw.tls.flush().unwrap();
        }
        drop(raw);
        let left = process.wait();
        assert_eq!(left.code, Some(code), "{left:?}");
        let says = format!(
            "chatc: tls://{address}: the connection was lost \
             (it ended without the end of TLS, so something may be missing), before it had taken everything\n"
        );
        assert_eq!(left.errors, if is_told { "" } else { says.as_str() });
    }
}

#[test]
fn keys_are_renewed_when_the_server_wants_it() {
    let (fake, authority) = (Fake::start(), Authority::new());
    let (certificate, file) = (authority.issue(&HERE, NOTHING), authority.file());
    let mut process = Process::start(&["--tls", "--ca", text(&file), &fake.address()]);
    let mut raw = Raw::accept(&fake, &certificate);
    raw.greet();
    for number in 0..3 {
        raw.tls.conn.refresh_traffic_keys().unwrap();
        raw.tls.flush().unwrap();
        process.say(format!("line {number}\n"));
        assert_eq!(raw.sync(), format!("line {number}\n"));
    }
    process.end_input();
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_it() {
    let (fake, authority) = (Fake::start(), Authority::new());
    let (certificate, file) = (authority.issue(&HERE, NOTHING), authority.file());
    let mut process = Process::start(&["--tls", "--ca", text(&file), &fake.address()]);
    let mut raw = Raw::accept(&fake, &certificate);
    raw.greet();
    raw.tls.sock.write_all(b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345").unwrap();
    let left = process.wait();
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.errors.contains("the connection was lost (TLS with it fails: "), "{left:?}");
    assert!(raw.tls.read(&mut [0]).unwrap_err().to_string().contains("BadRecordMac"), "it is told");
}

#[test]
fn at_the_keyboard_a_lost_connection_comes_back_only_to_a_server_that_is_trusted() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let good = authority.issue(&HERE, NOTHING);
    let secured = Secured::to(server.address, good.config());
    let way = Proxy::to(secured.address.parse().unwrap());
    let mut witness = server.join();
    let file = authority.file();
    let mut terminal = Terminal::start(&["--tls", "--ca", text(&file), "--nick", "ann", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == "ann@main>"));
    terminal.keys("one\r");
    witness.expect("one\n");
    way.cut();
    let screen = |terminal: &Terminal| terminal.rows().concat().replace(' ', "");
    terminal.until("a remark", |terminal| screen(terminal).contains(";connectingagain"));
    // Somebody else is there now.
    secured.use_config(Authority::new().issue(&HERE, NOTHING).config());
    way.mend();
    let says = "nobodywhomyoutrustvouchesforitscertificate";
    terminal.until("why not", |terminal| screen(terminal).contains(says));
    terminal.keys("two\r");
    // The third time, it wants a certificate, and says so after the handshake of the client.
    secured.use_config(good.config_for(&authority));
    let wants = "itasksforacertificateofyours";
    terminal.until("what it wants", |terminal| screen(terminal).contains(wants));
    // The fourth time, the right one is back; each was told once.
    way.cut();
    way.mend();
    secured.use_config(good.config());
    terminal.until("it is back", |terminal| screen(terminal).contains("connectedagaintotls://"));
    witness.expect("two\n");
    // The first may be out of sight by now.
    let counts = [says, wants].map(|words| screen(&terminal).matches(words).count());
    assert!(counts[0] <= 1 && counts[1] == 1, "{counts:?}");
    terminal.keys("\u{4}");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn a_bot_listens_and_answers_over_tls_and_connects_again() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let secured = Secured::to(server.address, authority.issue(&HERE, NOTHING).config());
    let way = Proxy::to(secured.address.parse().unwrap());
    let file = authority.file();
    let mut options = vec!["--tls", "--ca", text(&file), "--listen", "--reconnect", "--nick", "bot"];
    options.extend(["--exec", "echo pong", &way.address]);
    let mut caller = server.join();
    caller.say("/nick ann\n");
    caller.until("ann");
    let mut bot = Process::start(&options);
    caller.until("bot");
    for _ in 0..3 {
        caller.say("ping\n");
        caller.until("<bot> pong\n");
        way.cut();
        bot.until_error(|line| line.contains("connecting again"));
        way.mend();
    }
    bot.signal("TERM");
    assert_eq!(bot.wait().code, Some(0));
}
