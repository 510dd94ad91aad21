//! What real clients send: telnet's keys, Windows' encodings, serial lines, clients that send each key.

use crate::support::{Caller, TestServer};

/// A server, somebody who listens in `plain`, and `bob`.
fn room() -> (TestServer, Caller, Caller) {
    let server = TestServer::start();
    let (room, bob) = (server.join(), named(&server, "bob"));
    (server, room, bob)
}

fn named(server: &TestServer, name: &str) -> Caller {
    let mut caller = server.join();
    caller.say(format!("/nick {name}\n"));
    caller.expect(format!("-!- you are {name} now; /help says what else there is\n"));
    caller
}

/// Fails unless `from`'s message is what bob hears next, and the room has heard nothing.
#[track_caller]
fn expect_private(server: &TestServer, room: &mut Caller, bob: &mut Caller, from: &str) {
    let heard = bob.until("the secret is 42\n");
    assert!(heard.ends_with(&format!("[{from} -> you] ")), "{heard}");
    server.join().say("the first thing heard\n");
    room.expect("the first thing heard\n");
}

#[test]
fn a_key_of_telnet_does_not_make_a_private_message_public() {
    // End of file, suspend, abort (RFC 1184), end of record (RFC 885); erase, a synch, a subnegotiation.
    for key in [
        &b"\xff\xec"[..],
        b"\xff\xed",
        b"\xff\xee",
        b"\xff\xef",
        b"\xff\xf7",
        b"\xff\xf2",
        b"\xff\xfa\x1f\0P\0\x18\xff\xf0",
    ] {
        let (server, mut room, mut bob) = room();
        let mut ann = named(&server, "ann");
        ann.say(key);
        ann.say("/msg bob the secret is 42\r\n");
        expect_private(&server, &mut room, &mut bob, "ann");
    }
}

#[test]
fn a_byte_order_mark_does_not_make_a_private_message_public() {
    let (server, mut room, mut bob) = room();
    let mut windows = server.join();
    for byte in b"\xef\xbb\xbf/msg bob the secret is 42\r\n" {
        windows.say([*byte]);
    }
    expect_private(&server, &mut room, &mut bob, "guest3");
    server.join().say("\u{feff}deploy done\r\n");
    room.expect("deploy done\n");
}

#[test]
fn utf16_is_not_said_and_its_sender_is_told_once() {
    let explanation = "-!- this is UTF-16, and nobody got it: send UTF-8\n";
    let (server, mut room, _bob) = room();
    let of = [u16::to_le_bytes, u16::to_be_bytes];
    for (mark, of) in ["\u{feff}", ""].into_iter().flat_map(|mark| of.map(|of| (mark, of))) {
        let text = format!("{mark}hello\r\nagain\r\n");
        let bytes: Vec<u8> = text.encode_utf16().flat_map(of).collect();
        let mut whole = server.join();
        whole.say(&bytes);
        whole.expect(explanation);
        whole.expect_end();
        let mut pieces = server.join();
        bytes.chunks(1).for_each(|byte| pieces.try_say(byte));
        pieces.expect(explanation);
        pieces.expect_end();
    }
    // PowerShell appends to a file whose beginning is something else.
    let appended: Vec<u8> = "from here on\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut mixed = server.join();
    mixed.say([&b"before\n"[..], &appended].concat());
    room.expect("before\n");
    mixed.expect(explanation);
    mixed.expect_end();
    server.join().say("the first thing heard\n");
    room.expect("the first thing heard\n");
}

#[test]
fn where_enter_is_a_bare_cr_lines_are_heard() {
    let (_server, mut room, _bob) = room();
    let mut modem = Caller::join(_server.address);
    for key in b"hello\r" {
        modem.say([*key]);
    }
    room.expect("hello\n");
    modem.say("anybody here\r/msg bob psst\r");
    room.expect("anybody here\n");
    modem.expect("-!- told bob\n");
}

#[test]
fn the_crs_of_a_progress_bar_are_shown() {
    let (server, mut room, _bob) = room();
    let mut script = server.join();
    script.say("get\n10%\r");
    room.expect("get\n");
    script.say("100%\n");
    room.expect("10%^M100%\n");
}

#[test]
fn what_was_corrected_on_the_senders_screen_is_what_is_said_and_done() {
    let (server, mut room, mut bob) = room();
    let mut windows = server.join();
    let mut type_keys = |keys: &[u8]| keys.iter().for_each(|key| windows.say([*key]));
    type_keys(b"helo\x08lo\r\n");
    room.expect("hello\n");
    type_keys("gr\u{fc}n\x7f\x7f\u{fc}n\r\n".as_bytes());
    room.expect("grün\n");
    type_keys(b"/mgs\x08\x08sg bob the secret is 42\r\n");
    expect_private(&server, &mut room, &mut bob, "guest3");
}

#[test]
fn a_command_that_nobody_can_see_is_refused_and_not_said() {
    let hint = "-!- no such command, nobody got it; did you mean /msg NAME TEXT?\n";
    let (server, mut room, _bob) = room();
    let mut ann = named(&server, "ann");
    for before in [" ", "\t", "\x01", "\x1b[A", "\u{200b}", "\u{feff}", "\u{202e}", "\u{a0}"] {
        ann.say(format!("{before}/msg bob the secret is 42\n"));
        ann.expect(hint);
        ann.say(format!("before\n{before}/mgs bob the secret is 42\nafter\n"));
        ann.expect(hint);
        room.expect("before\nafter\n");
    }
    ann.say("\u{ff0f}msg bob the secret is 42\n");
    ann.expect(hint);
    ann.say("  // a comment\n and /usr/bin\n");
    room.expect("  // a comment\n and /usr/bin\n");
    // A script may say anything.
    server.join().say(" /msg bob hi\n");
    room.expect(" /msg bob hi\n");
}

#[test]
fn who_has_spoken_telnet_gets_cr_lf_and_nobody_else_does() {
    let (server, mut room, mut bob) = room();
    let mut putty = server.join();
    putty.say(b"\xff\xfb\x1f\xff\xfd\x01hi\r\n");
    putty.expect(b"\xff\xfe\x1f\xff\xfc\x01");
    room.expect("hi\n");
    let mut ann = server.join();
    ann.say("one\ntwo\n");
    room.expect("one\ntwo\n");
    putty.expect("one\r\ntwo\r\n");
    putty.say("/nick carol\r\n");
    putty.expect("-!- you are carol now; /help says what else there is\r\n");
    ann.say("three\n");
    putty.expect(format!("<guest{}> three\r\n", 4));
    bob.until("three\n");
}

#[test]
fn a_line_in_any_view_fits_what_programs_read_as_one() {
    const LONGEST_LINE: usize = 64 * 1024;
    let server = TestServer::start();
    let mut sender = server.join();
    let mut readers = ["plain", "names", "json"].map(|view| {
        let mut reader = server.join();
        reader.say(format!("/view {view}\n"));
        reader.until(&format!("lines are shown in {view} now"));
        reader.until("\n");
        reader
    });
    for longest in [
        vec![0xe9; 16_384],
        vec![b'"'; 16_384],
        vec![0x1c; 16_384],
        [[0xe9; 5_461].as_slice(), &[b'"'; 10_923]].concat(),
    ] {
        sender.say([&longest[..], b"\n"].concat());
        for reader in &mut readers {
            let line = reader.take_until(b"\n");
            assert!(line.len() < LONGEST_LINE && line.len() >= 16_384, "{} bytes", line.len());
        }
    }
    sender.expect("-!- line cut after 32768 bytes: each byte that is not UTF-8 is shown as four\n");
}
