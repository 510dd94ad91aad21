//! Nobody can hold the others up, and nobody loses a line in silence.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Caller, Daemon, GREETING, TestServer};

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

/// Reads lines up to `end` and says how many it was told that it missed.
fn follow(caller: &mut Caller, end: usize) -> (usize, usize) {
    let (mut next, mut heard, mut missed) = (0, 0, 0);
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
        readers.drain(..).map(|mut reader| thread::spawn(move || follow(&mut reader, 200_000))).collect();
    for reader in reading {
        assert_eq!(reader.join().unwrap(), (200_000, 0));
    }
    flood.join().unwrap();
}

#[test]
fn many_hear_the_same_however_late_each_of_them_reads() {
    // So many that what is said at once lies in pages that all their sockets refer to (`chat::pages`).
    const LINES: usize = 40_000;
    let server = TestServer::with(|config| {
        config.log_size = chatd::service::config::Size::new(1024 * 1024);
        config.min_rate = chatd::service::config::Size::new(1);
    });
    let readers: Vec<Caller> = (0..24).map(|_| server.join()).collect();
    let flood = flood(server.join(), LINES);
    let late = |(place, mut reader): (usize, Caller)| {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20) * place as u32);
            follow(&mut reader, LINES)
        })
    };
    let reading: Vec<_> = readers.into_iter().enumerate().map(late).collect();
    for reader in reading {
        assert_eq!(reader.join().unwrap(), (LINES, 0));
    }
    flood.join().unwrap();
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up_and_is_told_what_it_missed() {
    const LINES: usize = 300_000;
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(1024 * 1024));
    let (mut stalled, mut reader) = (server.join(), server.join());
    let started = Instant::now();
    let flood = flood(server.join(), LINES);
    assert_eq!(follow(&mut reader, LINES), (LINES, 0));
    // The room waits for it once, for a second; the rest is what the lines themselves take here.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let mut flooder = flood.join().unwrap();
    let (heard, missed) = follow(&mut stalled, LINES);
    assert!(missed > 0, "the kernel alone cannot have kept 30 MB");
    assert_eq!(heard + missed, LINES);
    flooder.say("after\n");
    stalled.expect("after\n");
    reader.expect("after\n");
}

#[test]
fn a_reader_of_a_little_every_moment_holds_nobody_up() {
    // It reads at half of min_rate for as long as the others need: all of it would take ten minutes.
    const LINES: usize = 200_000;
    const MOST: Duration = Duration::from_secs(20);
    let server = TestServer::with(|config| config.log_size = chatd::service::config::Size::new(1024 * 1024));
    // With little space the server sees it read several times a second.
    let mut trickling = Caller::connect_with_little_space(server.address);
    trickling.expect(GREETING);
    let mut reader = server.join();
    let is_through = Arc::new(AtomicBool::new(false));
    let trickle = thread::spawn({
        let is_through = Arc::clone(&is_through);
        move || {
            let started = Instant::now();
            while !is_through.load(Ordering::Relaxed) && started.elapsed() < 2 * MOST {
                trickling.stream().read_exact(&mut [0; 2048]).unwrap();
                thread::park_timeout(Duration::from_millis(62));
            }
        }
    });
    let flood = flood(server.join(), LINES);
    let started = Instant::now();
    assert_eq!(follow(&mut reader, LINES), (LINES, 0));
    let elapsed = started.elapsed();
    is_through.store(true, Ordering::Relaxed);
    assert!(elapsed < MOST, "{elapsed:?}");
    flood.join().unwrap();
    trickle.join().unwrap();
}

#[test]
fn half_a_line_that_is_due_costs_nothing_while_the_room_waits() {
    const WATCHED: Duration = Duration::from_secs(2);
    let daemon = Daemon::start(&["--log-size", "1MiB", "--flush-after", "50ms"]);
    let mut slow = Caller::connect_with_little_space(daemon.address);
    slow.expect(GREETING);
    let mut halves: Vec<Caller> = (0..20).map(|_| daemon.join()).collect();
    let mut flooder = daemon.join();
    let is_through = Arc::new(AtomicBool::new(false));
    // It reads at four times min_rate, so that the room waits for it.
    let reading = thread::spawn({
        let is_through = Arc::clone(&is_through);
        move || {
            while !is_through.load(Ordering::Relaxed) {
                slow.stream().read_exact(&mut [0; 16 * 1024]).unwrap();
                thread::park_timeout(Duration::from_millis(62));
            }
        }
    });
    let block: String = (0..1000).map(line).collect();
    while flooder.say_without_waiting(block.as_bytes()) > 0 {
        thread::sleep(Duration::from_millis(20));
    }
    for caller in &mut halves {
        caller.say("half");
    }
    let before = daemon.cpu();
    let started = Instant::now();
    while started.elapsed() < WATCHED {
        flooder.say_without_waiting(block.as_bytes());
        thread::sleep(Duration::from_millis(20));
    }
    let used = daemon.cpu() - before;
    is_through.store(true, Ordering::Relaxed);
    reading.join().unwrap();
    assert!(used < WATCHED / 4, "{used:?}");
}

#[test]
fn a_reader_somewhat_above_the_rate_loses_nothing() {
    // 100,000 lines of 100 bytes at four times min_rate take 5 s, far longer than a member is waited for; they are
    // more than the kernel keeps: reading is what counts.
    const LINES: usize = 100_000;
    let server = TestServer::with(|config| {
        config.log_size = chatd::service::config::Size::new(1024 * 1024);
        config.min_rate = chatd::service::config::Size::new(512 * 1024);
    });
    let mut slow = server.join();
    let flood = flood(server.join(), LINES);
    let mut heard = Vec::new();
    let started = Instant::now();
    while heard.len() < LINES * 100 {
        let due = (started.elapsed().as_secs_f64() * 2.0 * 1024.0 * 1024.0) as usize;
        if due > heard.len() {
            heard.extend(slow.take((due - heard.len()).min(LINES * 100 - heard.len())));
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    flood.join().unwrap();
    let expected: String = (0..LINES).map(line).collect();
    assert!(heard == expected.as_bytes(), "something was skipped");
}

#[test]
fn a_reader_that_takes_nothing_for_slow_timeout_is_closed() {
    let options = ["--log-size", "1MiB", "--slow-timeout", "4s", "--log-level", "debug"];
    let mut daemon = Daemon::start(&options);
    let (mut stalled, mut reader) = (daemon.join(), daemon.join());
    let address = stalled.stream().local_addr().unwrap();
    let flood = flood(daemon.join(), 200_000);
    assert_eq!(follow(&mut reader, 200_000), (200_000, 0));
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
fn a_reader_is_not_closed_because_the_daemon_has_stood_still() {
    const LINES: usize = 60_000;
    const SLOW_TIMEOUT: Duration = Duration::from_secs(10);
    let daemon = Daemon::start(&["--log-size", "16MiB", "--slow-timeout", "10s"]);
    let mut stalled = Caller::connect_with_little_space(daemon.address);
    stalled.expect(GREETING);
    let mut reader = daemon.join();
    flood(daemon.join(), LINES).join().unwrap();
    assert_eq!(follow(&mut reader, LINES), (LINES, 0));
    daemon.signal("STOP");
    // Now it reads all that the kernel has for it, and the daemon does not see it.
    let stopped = Instant::now();
    stalled.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut kept = Vec::new();
    let error = stalled.stream().read_to_end(&mut kept).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(kept.len() < LINES * 100, "the kernel has all of it");
    thread::sleep(SLOW_TIMEOUT.saturating_sub(stopped.elapsed()) + Duration::from_millis(100));
    daemon.signal("CONT");
    kept.extend(stalled.take(LINES * 100 - kept.len()));
    let expected: String = (0..LINES).map(line).collect();
    assert!(kept == expected.as_bytes(), "something was skipped");
}

#[test]
fn a_session_that_floods_gets_its_rate_and_delays_the_answer_to_another_only_a_little() {
    const LINES: usize = 3_100;
    const RATE: usize = 500;
    const BURST: usize = 100;
    let server = TestServer::with(|config| (config.rate, config.burst) = (RATE, BURST));
    let (mut ann, mut ben) = (server.join(), server.join());
    let flooder = server.join();
    let started = Instant::now();
    let flood = flood(flooder, LINES);
    let mut heard = 0;
    // Hears up to that, and fails where lines of the flood come out of order or too early.
    let mut hear = |until: &str| {
        loop {
            let text = ben.until("\n");
            if text != line(heard).trim_end() {
                assert_eq!(text, until, "after {heard} lines");
                return heard;
            }
            heard += 1;
            let earliest = Duration::from_secs(1) * heard.saturating_sub(BURST) as u32 / RATE as u32;
            assert!(started.elapsed() >= earliest, "line {heard} after {:?}", started.elapsed());
        }
    };
    for number in 0..10 {
        ann.say(format!("from ann {number}\n"));
        let heard = hear(&format!("from ann {number}"));
        // All of it takes six seconds.
        assert!(heard < LINES, "the flood was through before answer {number}");
    }
    let mut flooder = flood.join().unwrap();
    flooder.say("through\n");
    assert_eq!(hear("through"), LINES);
}
