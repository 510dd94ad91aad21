//! Who hears what: the conversation itself.

use std::thread;

use crate::support::{Caller, GREETING, TestServer};

#[test]
fn each_hears_what_the_others_say_and_never_its_own() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    ann.say("hello\n");
    ben.expect("hello\n");
    eve.expect("hello\n");
    ben.say("hi ann\n");
    ann.expect("hi ann\n");
    eve.expect("hi ann\n");
    eve.say("end\n");
    ann.expect("end\n");
    ben.expect("end\n");
}

#[test]
fn whoever_comes_later_hears_what_is_said_from_then_on() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("early\n");
    ben.expect("early\n");
    let mut eve = server.join();
    ann.say("late\n");
    eve.expect("late\n");
}

#[test]
fn whoever_is_gone_is_removed_and_the_others_go_on() {
    let server = TestServer::start();
    let (mut ann, ben, mut eve) = (server.join(), server.join(), server.join());
    drop(ben);
    for number in 0..100 {
        ann.say(format!("{number}\n"));
        eve.expect(format!("{number}\n"));
    }
    assert!(server.server().status().sessions <= 3);
    let mut fay = server.join();
    eve.say("all well\n");
    fay.expect("all well\n");
    assert_eq!(server.server().status().sessions, 3);
}

#[test]
fn the_greeting_is_configurable_and_may_be_empty() {
    let server = TestServer::with(|config| config.greeting = "Welcome!\nType away.".into());
    Caller::connect(server.address).expect("Welcome!\nType away.\n");
    let server = TestServer::with(|config| config.greeting = String::new());
    let (mut ann, mut ben) = (Caller::connect(server.address), Caller::connect(server.address));
    // Without a greeting nobody knows that the other is in, but by asking; the first answer is the first thing heard.
    loop {
        ann.say("/who\n");
        ann.expect("-!- ");
        if ann.until("\n").starts_with("2 here: ") {
            break;
        }
    }
    ann.say("is anybody there?\n");
    ben.expect("is anybody there?\n");
    ben.say("yes\n");
    ann.expect("yes\n");
}

#[test]
fn empty_lines_are_lines() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ann.say("\n\r\n\n.\n");
    ben.expect("\n\n\n.\n");
}

#[test]
fn an_unterminated_last_line_is_delivered_and_the_connection_closed() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    ben.say("for ann\n");
    ann.say("last words");
    ann.end_input();
    ben.expect("last words\n");
    let heard = String::from_utf8(ann.rest()).unwrap();
    assert!(heard.is_empty() || heard == "for ann\n", "{heard:?}");
}

#[test]
fn what_was_pending_at_the_end_of_input_is_still_written() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    let paste = ("x".repeat(99) + "\n").repeat(20_000);
    let hearing = thread::spawn(move || eve.until("done\n").len());
    ann.say(&paste);
    ann.say("done\n");
    assert_eq!(hearing.join().unwrap(), paste.len());
    ben.end_input();
    assert_eq!(ben.rest().len(), paste.len() + "done\n".len());
}

#[test]
fn a_paste_of_any_size_arrives_whole_and_stays_together() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    let paste: String = (0..300).map(|number| format!("pasted line {number}\n")).collect();
    for _ in 0..20 {
        ann.say(&paste);
        ben.say("between\n");
        let heard = String::from_utf8(eve.take(paste.len() + "between\n".len())).unwrap();
        assert!(heard == format!("{paste}between\n") || heard == format!("between\n{paste}"), "{heard}");
    }
}

#[test]
fn everybody_hears_the_same_order_without_gaps_and_without_their_own() {
    const TALKERS: usize = 20;
    const LINES: usize = 500;
    let server = TestServer::start();
    let callers: Vec<Caller> = (0..TALKERS).map(|_| server.join()).collect();
    let mut listener = server.join();
    let address = server.address;
    let talkers: Vec<_> =
        callers.into_iter().enumerate().map(|(number, caller)| talk(number, caller, LINES)).collect();
    let mut order = Vec::new();
    while order.len() < TALKERS * LINES {
        order.push(listener.until("\n"));
    }
    for (number, talker) in talkers.into_iter().enumerate() {
        let heard = talker.join().unwrap();
        let own = format!("{number} ");
        let others: Vec<_> = order.iter().filter(|line| !line.starts_with(&own)).cloned().collect();
        assert!(heard == others, "talker {number} heard another order");
        let said: Vec<_> = order.iter().filter(|line| line.starts_with(&own)).cloned().collect();
        assert_eq!(said, (0..LINES).map(|line| format!("{number} {line}")).collect::<Vec<_>>());
    }
    Caller::connect(address).expect(GREETING);
}

/// Says `lines` lines while it hears those of 19 others; returns what it heard.
fn talk(number: usize, caller: Caller, lines: usize) -> thread::JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut caller = caller;
        let mut heard = Vec::new();
        for line in 0..lines {
            caller.say(format!("{number} {line}\n"));
            for _ in 0..19 {
                heard.push(caller.until("\n"));
            }
        }
        heard
    })
}

#[test]
fn what_somebody_said_who_was_gone_at_once_is_heard() {
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    for number in 0..100 {
        // Closed with the greeting unread, which resets the connection, while others are talking to it.
        let mut eve = Caller::connect(server.address);
        ann.say("chatter\n".repeat(100));
        eve.say(format!("alert {number}"));
        drop(eve);
        ben.until(&format!("alert {number}\n"));
        ann.until(&format!("alert {number}\n"));
    }
}
