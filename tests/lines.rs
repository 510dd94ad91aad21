//! Framing and cleaning, as a receiver sees them.

use std::time::Duration;

use crate::support::{Daemon, TestServer};

#[test]
fn crlf_and_cr_nul_are_line_endings_and_go_out_as_lf() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("one\r\ntwo\r\0three\n");
    ben.expect("one\ntwo\nthree\n");
}

#[test]
fn lines_cut_anywhere_arrive_whole() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    for byte in "grüße\r\nzwei\n".bytes() {
        ann.say([byte]);
    }
    ben.expect("grüße\nzwei\n");
}

#[test]
fn control_characters_are_escaped() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say(b"\x1b]52;c;x\x07 \x1b[2J caf\xe9 \xc2\x9b31m \xe2\x80\xae a\tb \r!\n");
    ben.expect(r"^[]52;c;x^G ^[[2J caf\xe9 \u{9b}31m \u{202e} a".to_string() + "\tb ^M!\n");
}

#[test]
fn nobody_can_forge_a_second_line() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    for separator in ["\r", "\u{85}", "\u{2028}", "\u{2029}", "\x0b", "\x0c"] {
        ann.say(format!("hi{separator}<user7> forged\n"));
        let line = ben.until("\n");
        assert!(line.starts_with("hi") && !line.contains(separator), "{line:?}");
    }
}

#[test]
fn raw_relays_the_bytes_as_they_are() {
    let server = TestServer::with(|config| config.raw = true);
    let (mut ann, mut ben) = (server.join(), server.join());
    let bytes = b"\xff\xfd\x06\x1b[2J\xe9\0\r\n\x16\x03\x01\n";
    ann.say(bytes);
    ben.expect(bytes);
}

#[test]
fn an_overlong_line_is_dropped_and_its_sender_told_once() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("x".repeat(16 * 1024) + "\n");
    ben.expect("x".repeat(16 * 1024) + "\n");
    ann.say("x".repeat(16 * 1024 + 1) + "\nfine\n");
    ben.expect("fine\n");
    ann.expect("-!- line too long (over 16384 bytes), nobody got it\n");
    ben.say("still there?\n");
    ann.expect("still there?\n");
}

#[test]
fn a_million_bytes_without_newline_cost_nobody_anything() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    ann.say(vec![b'x'; 1_000_000]);
    ben.say("meanwhile\n");
    eve.expect("meanwhile\n");
    // Told once, before or after she hears ben.
    let before = ann.until("-!- line too long (over 16384 bytes), nobody got it\n");
    ann.say("\nback\n");
    eve.expect("back\n");
    eve.say("after\n");
    assert_eq!(before + &ann.until("after\n"), "meanwhile\n");
}

/// What they cost when they are read is in `protocol::line`: no second look at what is held.
#[test]
fn nor_do_they_keep_the_daemon_busy_while_they_stand_there() {
    for options in [&[][..], &["--flush-after", "10ms"]] {
        let daemon = Daemon::start(options);
        let (mut ann, mut ben) = (daemon.join(), daemon.join());
        ann.say(vec![b'x'; 1_000_000]);
        ann.expect("-!- line too long (over 16384 bytes), nobody got it\n");
        for _ in 0..3 {
            daemon.wait_until_at_rest();
            ben.say("meanwhile\n");
            ann.expect("meanwhile\n");
        }
    }
}

#[test]
fn flush_after_finishes_what_has_no_newline() {
    let server = TestServer::with(|config| config.flush_after = Some(Duration::from_millis(50)));
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("from the older client");
    ben.expect("from the older client\n");
    ann.say("with a newline\nand without");
    ben.expect("with a newline\nand without\n");
}

#[test]
fn without_flush_after_an_unfinished_line_waits() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    ann.say("unfinished");
    for number in 0..20 {
        eve.say(format!("{number}\n"));
        ben.expect(format!("{number}\n"));
    }
    ann.say(" and finished\n");
    ben.expect("unfinished and finished\n");
}
