//! The oracle sees what it is there for: made-up streams with one fault each, and a server without any.

use std::time::Duration;

use crate::support::oracle::ear::{CRASHED, Ear};
use crate::support::oracle::order::Order;
use crate::support::oracle::tally::{Crash, Tally, Times};
use crate::support::oracle::text::{Numbered, Shown, View, now};
use crate::support::oracle::{Oracle, Plan};
use crate::support::{Daemon, Folder, text};

/// When the made-up lines were due: a second apart.
const BEGINNING: u64 = 1_000_000_000;

/// A line of sender 1 or another, with its end.
fn line(sender: u32, counter: u32) -> Vec<u8> {
    let time = BEGINNING + u64::from(counter) * 1_000_000;
    let mut line = Numbered { sender, counter, time, is_last: false }.text().to_vec();
    line.push(b'\n');
    line
}

fn lines(numbers: &[(u32, u32)]) -> Vec<u8> {
    numbers.iter().flat_map(|(sender, counter)| line(*sender, *counter)).collect()
}

/// Some ears in one room.
struct Room {
    order: Order,
    tally: Tally,
    ears: Vec<Ear>,
}

impl Room {
    /// Ears that only listen, in plain; with `speaks` they are senders 0, 1, ... themselves.
    fn new(ears: u32, speaks: bool) -> Self {
        let ears = (0..ears).map(|number| Ear::new(number, View::Plain, speaks, 0)).collect();
        Self { order: Order::default(), tally: Tally::default(), ears }
    }

    fn hear(&mut self, ear: usize, bytes: &[u8]) {
        self.ears[ear].hear(bytes, now(), &mut self.order, &mut self.tally);
    }

    /// The faults, with the lines that were lost and have no crash to be lost in.
    fn faults(&mut self) -> Vec<String> {
        self.ears.iter().for_each(|ear| ear.check_end(&mut self.tally));
        self.tally.losses(time_of, |_| 0, |sender, counter| self.order.has(sender, counter));
        std::mem::take(&mut self.tally.faults)
    }
}

fn time_of(_sender: u32, counter: u32) -> u64 {
    BEGINNING + u64::from(counter) * 1_000_000
}

#[track_caller]
fn expect_fault(room: &mut Room, text: &str) {
    let faults = room.faults();
    assert!(faults.len() == 1 && faults[0].contains(text), "expected {text:?} alone: {faults:#?}");
}

const GOOD: [(u32, u32); 5] = [(7, 0), (8, 0), (7, 1), (7, 2), (8, 1)];

#[test]
fn it_finds_nothing_where_nothing_is_wrong_wherever_the_bytes_are_cut() {
    let bytes = lines(&GOOD);
    for speaks in [false, true] {
        for cut in 0..bytes.len() {
            let mut room = Room::new(2, speaks);
            room.hear(0, &bytes[..cut]);
            room.hear(1, &bytes);
            room.hear(0, &bytes[cut..]);
            assert_eq!(room.faults(), [""; 0], "cut at {cut}");
            assert_eq!(room.tally.deliveries, 10);
        }
    }
}

#[test]
fn it_sees_a_line_that_one_of_several_has_not_heard() {
    for speaks in [false, true] {
        for missing in 0..GOOD.len() - 2 {
            let mut room = Room::new(2, speaks);
            let mut less = GOOD.to_vec();
            let (sender, counter) = less.remove(missing);
            room.hear(0, &lines(&GOOD));
            room.hear(1, &lines(&less));
            expect_fault(&mut room, &format!("line {counter} of {sender} is lost"));
        }
    }
}

#[test]
fn it_sees_a_line_that_the_first_to_hear_has_not_heard() {
    let mut room = Room::new(2, false);
    room.hear(0, &lines(&[(7, 0), (7, 2)]));
    expect_fault(&mut room, "line 1 of 7 is lost");
    room.hear(1, &lines(&GOOD[..2]));
    room.hear(1, &lines(&[(7, 1)]));
    assert!(room.faults()[0].contains("after later ones"));
}

#[test]
fn whoever_reads_late_may_have_heard_what_a_crash_kept_from_others() {
    for (late, is_good) in [
        ([(7, 0), (7, 1), (7, 2)], true),
        ([(7, 1), (7, 1), (7, 2)], false),
        ([(7, 0), (7, 2), (7, 1)], false),
    ] {
        let mut room = Room::new(2, false);
        room.tally.crashes.push(Crash { from: time_of(7, 1), to: time_of(7, 1), ..Crash::default() });
        room.hear(0, &lines(&[(7, 0), (7, 2), (7, 3)]));
        room.hear(1, &lines(&late));
        assert_eq!(room.tally.faults.is_empty(), is_good, "{late:?}: {:?}", room.tally.faults);
    }
}

#[test]
fn it_sees_a_line_that_nobody_has_heard() {
    for speaks in [false, true] {
        let mut room = Room::new(2, speaks);
        for ear in 0..2 {
            room.hear(ear, &lines(&[(7, 0), (7, 1), (7, 3)]));
        }
        expect_fault(&mut room, "line 2 of 7 is lost");
    }
}

#[test]
fn it_sees_a_repeated_line() {
    for speaks in [false, true] {
        for (place, again) in GOOD.into_iter().enumerate() {
            let mut room = Room::new(2, speaks);
            let mut more = GOOD.to_vec();
            more.insert(place, again);
            room.hear(0, &lines(&GOOD));
            room.hear(1, &lines(&more));
            expect_fault(&mut room, "again, ");
        }
    }
}

#[test]
fn it_sees_lines_of_one_sender_in_another_order() {
    for speaks in [false, true] {
        let mut room = Room::new(2, speaks);
        room.hear(0, &lines(&[(7, 0), (7, 1), (7, 2)]));
        room.hear(1, &lines(&[(7, 0), (7, 2), (7, 1)]));
        assert!(room.faults().iter().any(|fault| fault.contains("again, ")), "somebody heard it too late");
    }
}

#[test]
fn it_sees_that_two_do_not_agree_on_the_order_of_two_senders() {
    let mut room = Room::new(3, false);
    room.hear(0, &lines(&[(7, 0), (8, 0)]));
    room.hear(1, &lines(&[(8, 0), (7, 0)]));
    assert!(room.faults().iter().any(|fault| fault.contains("again, or too late")));
    // One that speaks is held against those who only listen.
    room.ears.push(Ear::new(9, View::Plain, true, 0));
    room.hear(3, &lines(&[(8, 0), (7, 0)]));
    expect_fault(&mut room, "in another order");
}

#[test]
fn it_sees_a_torn_line_wherever_it_is_torn() {
    let (one, other) = (line(7, 0), line(8, 0));
    for at in 1..one.len() - 1 {
        for torn in [&one[at..], &[&one[..at], b"\n"].concat(), &[&one[..at], &other[..]].concat()] {
            for speaks in [false, true] {
                let mut room = Room::new(1, speaks);
                room.hear(0, torn);
                expect_fault(&mut room, "has heard a torn line");
            }
        }
        // As long as a line, and made of two.
        let mixed = [&one[..at], &line(8, 1)[at..]].concat();
        let mut room = Room::new(1, false);
        room.hear(0, &mixed);
        let faults = room.faults();
        assert!(at < 6 || faults.len() == 1, "at {at}: {faults:#?}");
    }
    let mut room = Room::new(1, false);
    room.hear(0, &one[..20]);
    expect_fault(&mut room, "half a line");
}

#[test]
fn it_sees_more_empty_lines_than_crashes() {
    for (crashes, empty) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)] {
        let mut room = Room::new(2, false);
        room.tally.crashes = vec![Crash { from: BEGINNING, to: BEGINNING, ..Crash::default() }; crashes];
        (0..empty).for_each(|at| room.hear(at % 2, b"\n"));
        assert_eq!(room.faults().is_empty(), empty <= crashes, "{empty} with {crashes}");
    }
}

#[test]
fn it_sees_what_nobody_said_and_who_is_called_something_else() {
    for (view, strange) in [
        (View::Plain, "-!- hello\n"),
        (View::Plain, "-!- chatd crashed and was restarted: some lines may be lost\n"),
        (View::Names, "-!- ann left (2 here)\n"),
        (View::Names, "hello\n"),
        (View::Json, "{\"type\":\"skipped\",\"lines\":3}\n"),
    ] {
        let mut room = Room::new(0, false);
        room.ears.push(Ear::new(0, view, false, 0));
        room.hear(0, strange.as_bytes());
        expect_fault(&mut room, "what nobody said");
    }
    let mut room = Room::new(0, false);
    room.ears.push(Ear::new(0, View::Names, false, 0));
    let shown = |name: &str, counter| [format!("<{name}> ").as_bytes(), &line(7, counter)].concat();
    room.hear(0, &[shown("ann", 0), shown("ann", 1)].concat());
    assert_eq!(room.faults(), [""; 0]);
    room.hear(0, &shown("guest1", 2));
    expect_fault(&mut room, "7 was ann and is guest1 now");
}

#[test]
fn it_reads_json_and_sees_a_number_that_is_missing_or_comes_again() {
    let shown = |seq: u32, counter| {
        let line = line(7, counter);
        let text = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
        format!(
            "{{\"type\":\"message\",\"seq\":{seq},\"time\":\"2026-01-01T00:00:00.000Z\",\"room\":\"main\",\"id\":3,\
                 \"from\":\"ann\",\"verified\":false,\"text\":\"{text}\"}}\n"
        )
    };
    let said = shown(41, 0);
    let Shown::Said { name: b"ann", seq: Some(41), text } = View::Json.read(said.trim_end().as_bytes())
    else {
        panic!("it reads {said}");
    };
    assert_eq!(Numbered::read(text).unwrap().counter, 0);
    for (second, is_good) in [(42, true), (41, false), (43, false), (1, false)] {
        let mut room = Room::new(0, false);
        room.ears.push(Ear::new(0, View::Json, false, 0));
        room.hear(0, (shown(41, 0) + &shown(second, 1)).as_bytes());
        assert_eq!(room.faults().is_empty(), is_good, "41, {second}");
    }
}

#[test]
fn lines_may_be_lost_right_around_a_crash_and_nowhere_else() {
    let crash = Crash { from: time_of(7, 3) + 100_000, to: time_of(7, 3) + 200_000, ..Crash::default() };
    for (lost, is_allowed) in [(2, false), (3, true), (4, false)] {
        let mut room = Room::new(2, false);
        room.tally.crashes.push(crash);
        room.hear(0, &lines(&[(7, 0), (7, 1), (7, 2), (7, 3), (7, 4), (7, 5)]));
        let others: Vec<_> = (0..6).filter(|counter| *counter != lost).map(|counter| (7, counter)).collect();
        room.hear(1, &lines(&others));
        let losses = room.tally.losses(time_of, |_| 0, |sender, counter| room.order.has(sender, counter));
        assert_eq!(room.tally.faults.is_empty(), is_allowed, "{lost}: {:?}", room.tally.faults);
        assert_eq!((losses[0].lines, losses[0].heard), if is_allowed { (1, 1) } else { (0, 0) });
    }
}

#[test]
fn whoever_is_told_of_crashes_is_told_of_each_once() {
    for (view, told, crashes, is_good) in [
        (View::Names, 1, 1, true),
        (View::Json, 1, 1, true),
        (View::Json, 1, 2, true),
        (View::Names, 0, 1, false),
        (View::Names, 2, 1, false),
        (View::Json, 1, 0, false),
        (View::Plain, 0, 1, true),
    ] {
        let mut room = Room::new(0, false);
        room.ears.push(Ear::new(0, view, false, 0));
        (0..told).for_each(|_| room.hear(0, view.notice("\"code\":\"crashed\"", CRASHED).as_bytes()));
        assert_eq!(room.ears[0].is_to_be_told(), view != View::Plain && told == 0);
        room.ears[0].check_notices(crashes, &mut room.tally);
        assert_eq!(room.faults().is_empty(), is_good, "{view:?}: told {told} times of {crashes}");
    }
}

#[test]
fn a_crash_may_cut_a_line_of_a_slow_reader_alone() {
    for (is_slow, crashes, cut, is_good) in [
        (true, 1, 1, true),
        (true, 2, 2, true),
        (true, 1, 2, false),
        (true, 0, 1, false),
        (false, 1, 1, false),
    ] {
        let mut room = Room::new(1, false);
        room.ears[0].is_slow = is_slow;
        room.tally.crashes = vec![Crash { from: BEGINNING, to: BEGINNING, ..Crash::default() }; crashes];
        room.hear(0, &line(7, 0));
        (0..cut).for_each(|_| room.hear(0, b"00007 00000001 00\n"));
        assert_eq!(room.faults().is_empty(), is_good, "{is_slow} {crashes} {cut}");
    }
}

#[test]
fn times_are_told_to_a_tenth_of_a_millisecond() {
    let mut times = Times::default();
    (1..=1000).for_each(|number| times.add(number * 1000 - 1));
    assert_eq!([500, 990, 1000].map(|thousandth| times.at(thousandth).as_millis()), [500, 990, 1000]);
}

#[test]
fn a_server_that_goes_on_passes() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let daemon = Daemon::start(&["--listen", text(&path)]);
    let mut plan = Plan::new(daemon.address, 60, 1000);
    plan.unix = Some(path);
    plan.nap = Duration::from_millis(200);
    let oracle = Oracle::start(plan);
    oracle.begin();
    oracle.wait_until_heard(100_000);
    let report = oracle.finish();
    println!("{report}");
    report.expect_everything();
    assert!(report.lines > 100_000 / 60 && report.tally.deliveries > 100_000, "they have talked");
}

#[test]
fn a_server_that_ends_does_not() {
    let mut daemon = Daemon::start(&[]);
    let oracle = Oracle::start(Plan::new(daemon.address, 30, 500));
    oracle.begin();
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let report = oracle.finish();
    assert_eq!(report.tally.disconnected, 30, "{report}");
    assert!(std::panic::catch_unwind(|| report.expect_no_faults()).is_err());
}

/// Two ears at different nodes; what the second hears is said to have another place.
fn two_nodes(second: &[(u32, u32)], crash: Option<Crash>) -> Room {
    let mut room = Room::new(2, false);
    room.ears[1].node = 1;
    room.tally.crashes.extend(crash);
    room.hear(0, &lines(&GOOD));
    room.hear(1, &lines(second));
    room
}

#[test]
fn only_a_failover_gives_lines_another_place() {
    let other = [(8, 0), (7, 0), (7, 1), (7, 2), (8, 1)];
    let at = Crash { from: time_of(7, 0), to: time_of(7, 2), ..Crash::default() };
    for (crash, is_good) in
        [(None, false), (Some(at), false), (Some(Crash { is_failover: true, ..at }), true)]
    {
        let mut room = two_nodes(&other, crash);
        assert_eq!(room.faults().is_empty(), is_good, "{crash:?}");
        assert_eq!(room.tally.reordered, u64::from(is_good));
    }
    let mut room =
        two_nodes(&[(8, 0), (7, 0), (7, 0), (7, 1), (7, 2), (8, 1)], Some(Crash { is_failover: true, ..at }));
    expect_fault(&mut room, "again, or too late");
}

#[test]
fn a_crash_of_one_node_excuses_nothing_at_the_others() {
    let less = [(7, 0), (8, 0), (7, 2), (8, 1)];
    let at = Crash { from: time_of(7, 1), to: time_of(7, 2), ..Crash::default() };
    // The senders are at node 0 for `faults`, so what they say may be lost with it.
    for (node, is_good) in [(Some(1), true), (Some(0), true), (Some(2), false), (None, true)] {
        let mut room = two_nodes(&less, Some(Crash { node, ..at }));
        assert_eq!(room.faults().is_empty(), is_good, "{node:?}");
    }
}

#[test]
fn news_are_counted_and_no_faults() {
    let mut room = Room { ears: vec![Ear::new(0, View::Names, false, 0)], ..Room::new(0, false) };
    room.tally.news = vec![("news: ", 0)];
    room.hear(0, b"-!- news: hello\n");
    assert_eq!((room.tally.news[0].1, room.faults()), (1, Vec::new()));
    room.hear(0, b"-!- old: hello\n");
    expect_fault(&mut room, "nobody said");
}
