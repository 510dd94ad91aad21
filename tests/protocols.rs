//! Telnet's bytes, and callers that speak something else altogether.

use crate::support::{Caller, GREETING, TestServer};

#[test]
fn telnet_negotiation_is_taken_out_and_refused() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    // What a telnet that negotiates of its own accord sends: DO SUPPRESS-GO-AHEAD, WILL TERMINAL-TYPE.
    ann.say(b"\xff\xfd\x03\xff\xfb\x18hello\r\n");
    ben.expect("hello\n");
    ann.expect(b"\xff\xfc\x03\xff\xfe\x18");
}

#[test]
fn interrupt_in_telnet_is_answered_whether_or_not_it_is_urgent() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    // telnet sends the data mark as urgent data: IAC IP IAC, then DM out of band, then DO TIMING-MARK.
    ann.say(b"half \xff\xf4\xff");
    rustix::net::send(ann.stream(), b"\xf2", rustix::net::SendFlags::OOB).unwrap();
    ann.say(b"\xff\xfd\x06line\r\n");
    ann.expect(b"\xff\xfc\x06");
    ben.expect("half line\n");
    ben.say("heard again\n");
    ann.expect("heard again\r\n");
}

#[test]
fn commands_cut_into_pieces_are_still_commands() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    for byte in b"a\xff\xfd\x01b\xff\xfa\x18\x00x\xff\xf0c\xff\xffd\r\0" {
        ann.say([*byte]);
    }
    ben.expect(r"abc\xffd".to_string() + "\n");
}

#[test]
fn who_speaks_another_protocol_gets_one_line_of_explanation_and_nobody_hears_it() {
    let server = TestServer::start();
    let mut witness = server.join();
    let openings: [(&[u8], &str); 10] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "-!- this is chatd, a chat; this connection does not speak TLS: use nc or telnet\n",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "-!- this is chatd, a chat and not a web server: use nc or telnet\n",
        ),
        (
            b"POST /chat HTTP/1.1\r\n\r\nbody",
            "-!- this is chatd, a chat and not a web server: use nc or telnet\n",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "-!- this is chatd, a chat and not an SSH server: use nc or telnet\n"),
        (
            b"OPTIONS / RTSP/1.0\r\n\r\n",
            "-!- this is chatd, a chat and not a media or telephony server: use nc or telnet\n",
        ),
        (
            b"OPTIONS sip:nm SIP/2.0\r\nCSeq: 42 OPTIONS\r\n\r\n",
            "-!- this is chatd, a chat and not a media or telephony server: use nc or telnet\n",
        ),
        (b"*1\r\n$4\r\nPING\r\n", "-!- this is chatd, a chat and not a Redis server: use nc or telnet\n"),
        (b"EHLO scan.example\r\n", "-!- this is chatd, a chat and not an SMTP server: use nc or telnet\n"),
        (
            b"\x03\0\0*%\xe0\0\0\0\0\0Cookie: mstshash=nmap\r\n\x01\0\x08\0\x03\0\0\0",
            "-!- this is chatd, a chat and not an RDP server: use nc or telnet\n",
        ),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nhi\r\n",
            "-!- this is chatd; it does not take the PROXY protocol here: set proxy for this address, or turn it off in the proxy\n",
        ),
    ];
    for (opening, explanation) in openings {
        let mut caller = server.join();
        caller.say(opening);
        caller.expect(explanation);
        caller.expect_end();
    }
    server.join().say("the first thing heard\n");
    witness.expect("the first thing heard\n");
}

#[test]
fn an_opening_in_pieces_is_recognised_too() {
    let server = TestServer::start();
    let mut caller = Caller::connect(server.address);
    // It is recognised with the digit; what comes after may find the connection closed.
    for byte in b"GET / HTTP/1" {
        caller.say([*byte]);
    }
    caller.expect(GREETING);
    caller.expect("-!- this is chatd, a chat and not a web server: use nc or telnet\n");
    caller.expect_end();
}

#[test]
fn later_lines_may_look_like_anything() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("GET well soon\nGET / HTTP/1.1\nSSH-2.0-x\nEHLO a.b\n");
    ben.expect("GET well soon\nGET / HTTP/1.1\nSSH-2.0-x\nEHLO a.b\n");
}
