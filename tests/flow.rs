//! Nobody can hold the others up, and nobody loses a line in silence.
//!
//! For how long a room waits for whom is held against a clock that the tests set: see `chat::room`, and `net::session`
//! for when a session is closed. Here it is real sockets, and what comes before what.

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Caller, Daemon, GREETING, PATIENCE, TestServer};

/// Whoever has never paused for so long between two reads has missed nothing: a room waits for a second for somebody who
/// reads too little, and this reads far more.
const TOO_SHORT_A_PAUSE: Duration = Duration::from_millis(250);

/// A line of 100 bytes that says which one it is.
fn line(number: usize) -> String {
    format!("{number:099}\n")
}

/// Says lines from a thread of its own, as fast as they are taken.
fn flood(mut caller: Caller, lines: usize) -> thread::JoinHandle<Caller> {
    thread::spawn(move || {
        for block in 0..lines.div_ceil(100) {
            let text: String = (block * 100..lines.min(block * 100 + 100)).map(line).collect();
            caller.say(text);
        }
        caller
    })
}

/// Reads lines up to `end`; fails if it has missed any, unless this machine has kept it from reading for too long.
#[track_caller]
fn hear_all(caller: &mut Caller, end: usize) {
    let (heard, missed) = follow(caller, end);
    assert_eq!(heard + missed, end);
    expect_good_reason(caller, missed);
}

#[track_caller]
fn expect_good_reason(caller: &Caller, missed: usize) {
    let pause = caller.longest_pause();
    assert!(
        missed == 0 || pause >= TOO_SHORT_A_PAUSE,
        "{missed} missed without a pause of more than {pause:?}"
    );
}

/// Reads lines up to `end`; returns how many it has heard, and how many it was told that it missed.
fn follow(caller: &mut Caller, end: usize) -> (usize, usize) {
    follow_from(0, caller, end)
}

/// The same from `next` on, which may end beyond `end` if it is told that it missed more.
fn follow_from(mut next: usize, caller: &mut Caller, end: usize) -> (usize, usize) {
    let (mut heard, mut missed) = (0, 0);
    while next < end {
        let text = caller.until("\n");
        if let Some(notice) = text.strip_prefix("-!- ") {
            let count: usize = notice.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(notice.split_once(' ').unwrap().1, "lines skipped (you were not reading)");
            missed += count;
            next += count;
        } else {
            assert_eq!(text, line(next).trim_end(), "after {heard} lines heard and {missed} missed");
            heard += 1;
            next += 1;
        }
    }
    (heard, missed)
}

#[test]
fn a_flood_into_a_room_of_readers_loses_nothing() {
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(1024 * 1024));
    let mut readers: Vec<Caller> = (0..5).map(|_| server.join()).collect();
    let flood = flood(server.join(), 200_000);
    let reading: Vec<_> =
        readers.drain(..).map(|mut reader| thread::spawn(move || hear_all(&mut reader, 200_000))).collect();
    reading.into_iter().for_each(|reader| reader.join().unwrap());
    flood.join().unwrap();
}

#[test]
fn many_hear_the_same_however_late_each_of_them_reads() {
    // So many that what is said at once lies in pages that all their sockets refer to (`chat::pages`).
    const LINES: usize = 40_000;
    const READERS: usize = 24;
    // It has space for all of it, so nobody loses anything.
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(8 << 20));
    let readers: Vec<Caller> = (0..READERS).map(|_| server.join()).collect();
    let mut flooder = server.join();
    let late = |mut reader: Caller| {
        let (begin, begins) = mpsc::channel::<()>();
        let reading = thread::spawn(move || {
            begins.recv().unwrap();
            follow(&mut reader, LINES)
        });
        (begin, reading)
    };
    let (begin, reading): (Vec<_>, Vec<_>) = readers.into_iter().map(late).unzip();
    // Each of them begins when so much more has been said; the last when all has.
    for (place, begin) in begin.iter().enumerate() {
        let text: String = (place * LINES / READERS..(place + 1) * LINES / READERS).map(line).collect();
        flooder.say(text);
        begin.send(()).unwrap();
    }
    for reader in reading {
        assert_eq!(reader.join().unwrap(), (LINES, 0));
    }
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up_and_is_told_what_it_missed() {
    const LINES: usize = 300_000;
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(1024 * 1024));
    let (mut stalled, mut reader) = (server.join(), server.join());
    let flood = flood(server.join(), LINES);
    // All of it comes before the other has read a byte. That the room waits for that one once, for a second, is in
    // `chat::room`.
    hear_all(&mut reader, LINES);
    let mut flooder = flood.join().unwrap();
    let (heard, missed) = follow(&mut stalled, LINES);
    assert!(missed > 0, "the kernel alone cannot have kept 30 MB");
    assert_eq!(heard + missed, LINES);
    flooder.say("after\n");
    stalled.expect("after\n");
    reader.expect("after\n");
}

#[test]
fn a_reader_that_takes_nothing_for_slow_timeout_is_closed() {
    let options = ["--log-size", "1MiB", "--slow-timeout", "4s", "--log-level", "debug"];
    let mut daemon = Daemon::start(&options);
    let (mut stalled, mut reader) = (daemon.join(), daemon.join());
    let address = stalled.stream().local_addr().unwrap();
    let flood = flood(daemon.join(), 200_000);
    hear_all(&mut reader, 200_000);
    daemon.wait_for_log(&format!("session 1 from {address} is over: it did not read"));
    let mut flooder = flood.join().unwrap();
    flooder.say("the others go on\n");
    reader.expect("the others go on\n");
    daemon.signal("USR1");
    daemon.wait_for_log("status: 2 sessions");
    daemon.wait_for_log("closed: 1 for not reading");
    let kept = stalled.rest();
    assert!(kept.len() < 200_000 * 100, "{}", kept.len());
}

#[test]
fn a_reader_of_a_little_now_and_then_holds_nobody_up() {
    const LINES: usize = 200_000;
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(1024 * 1024));
    // With little space the server sees each time that it reads.
    let mut trickling = Caller::connect_with_little_space(server.address);
    trickling.expect(GREETING);
    trickling.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = server.join();
    let flood = flood(server.join(), LINES);
    let (mut next, mut all_missed) = (0, 0);
    while next < LINES {
        let (heard, missed) = follow_from(next, &mut reader, (next + 1000).min(LINES));
        (next, all_missed) = (next + heard + missed, all_missed + missed);
        assert!(trickling.stream().read(&mut [0; 2048]).unwrap() > 0);
    }
    // 20 MB have come while that one has taken less than half of one, and the log and the kernel keep a few.
    expect_good_reason(&reader, all_missed);
    flood.join().unwrap();
}

#[test]
fn a_session_that_floods_is_held_to_its_rate_and_the_answer_to_another_does_not_wait_for_it() {
    const LINES: usize = 100_000;
    const RATE: usize = 1;
    const BURST: usize = 100;
    let server = TestServer::with(|config| (config.rate, config.burst) = (RATE, BURST));
    let (mut ann, mut ben, mut flooder) = (server.join(), server.join(), server.join());
    let started = Instant::now();
    let flood: String = (0..LINES).map(line).collect();
    // As much of it as the kernel takes: that takes longer than the patience of all that is waited for here.
    let said = flooder.say_without_waiting(flood.as_bytes()) / 100;
    assert!(said > 1000, "{said} lines");
    let mut heard = 0;
    for number in 0..10 {
        ann.say(format!("from ann {number}\n"));
        // Up to that, what comes is the flood, in its order and no earlier than it may.
        loop {
            let text = ben.until("\n");
            if text == format!("from ann {number}") {
                break;
            }
            assert_eq!(text, line(heard).trim_end());
            heard += 1;
            let earliest = Duration::from_secs(1) * heard.saturating_sub(BURST) as u32 / RATE as u32;
            assert!(started.elapsed() >= earliest, "line {heard} after {:?}", started.elapsed());
        }
    }
    assert!(heard < said, "the flood was through before the last answer");
}
