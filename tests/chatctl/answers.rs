//! What each task asks for, and how its answer is shown.

use crate::fake::{Fake, answered, end_of, message, notice, session, stats};
use crate::process::{Left, Process};
use crate::support::text;

/// Fails unless it has ended well, and returns the lines that it has printed.
#[track_caller]
fn lines(left: Left) -> Vec<String> {
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""), "{left:?}");
    left.output.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_done_is_told_in_the_words_of_chatd() {
    let fake = Fake::start();
    for (options, asked, code) in [
        (["kick", "bob", "be", "nice"].as_slice(), "/kick bob be nice", "kick"),
        (&["ban", "192.0.2.0/24", "--for", "1h", "spam"], "/ban 192.0.2.0/24 1h spam", "ban"),
        (&["ban", "--force", "+ann"], "/ban --force +ann", "ban"),
        (&["unban", "+ann"], "/unban +ann", "lifted"),
        (&["mute", "#7", "--for", "30s"], "/mute #7 30s", "mute"),
        (&["unmute", "bob"], "/unmute bob", "lifted"),
        (&["say", "back", "at nine"], "/say back at nine", "announcement"),
        (&["drain"], "/drain", "draining"),
        (&["drain", "5m"], "/drain 5m", "draining"),
        (&["drain", "off"], "/drain off", "not_draining"),
        (&["log", "debug"], "/log debug", "logging"),
    ] {
        let answer = notice(&format!("\"code\":\"{code}\",\"later\":1"), "it is done");
        // What members say is no part of the answer.
        let around = message("main", "eve", "it is refused");
        let left = fake.answer(options, asked, &format!("{around}{answer}{around}"));
        assert_eq!(lines(left), ["it is done"], "{options:?}");
    }
}

#[test]
fn objects_are_printed_as_they_came() {
    let fake = Fake::start();
    let answer = stats(42);
    let left = fake.answer(&["status", "--json"], "/stats", &(message("main", "eve", "hi") + &answer));
    assert_eq!(lines(left), [answer.trim_end()]);
    let pages = [session(1, "ann", 0.0, 0), end_of("sessions", 1, 0)].concat();
    let left = fake.answer(&["--json", "sessions"], "/sessions", &pages);
    assert_eq!(lines(left).join("\n") + "\n", pages);
}

#[test]
fn the_status_has_the_numbers_and_the_slowest() {
    let fake = Fake::start();
    let left = fake.answer(&["status"], "/stats", &stats(42));
    assert_eq!(
        lines(left),
        [
            "uptime    3d 5h",
            "restarts  7 survived",
            "sessions  42",
            "rooms     3",
            "lines     12345, 45.2 per second",
            "skipped   2",
            "memory    3.4MiB",
            "slowest   bob (#7), 2.0KiB behind",
            "          +ann (#9), 10B behind",
        ]
    );
}

#[test]
fn the_status_has_tls() {
    let fake = Fake::start();
    let tls = "\"tls\":{\"connections\":[{\"version\":\"1.3\",\"cipher\":\"TLS_AES_128_GCM_SHA256\",\
               \"records\":\"kernel\",\"count\":12}],\"handshakes\":40,\"failed\":2,\"days\":80},\"slowest\"";
    let left = fake.answer(&["status"], "/stats", &stats(42).replace("\"slowest\"", tls));
    assert_eq!(
        lines(left)[7..11],
        [
            "tls       12 connections, 12 in the kernel",
            "          12 with 1.3 TLS_AES_128_GCM_SHA256, in the kernel",
            "          40 handshakes, 2 failed",
            "          the certificate ends in 80 days",
        ]
    );
}

#[test]
fn the_status_has_the_cluster() {
    let fake = Fake::start();
    let cluster = "\"cluster\":{\"node\":\"alpha\",\"nodes\":3,\"engine\":\"redis://192.0.2.1:6379\",\"lag_lines\":5,\
                   \"lag_seconds\":0.25,\"retries\":1,\"failovers\":0,\"epochs\":1,\"skipped\":2},\"slowest\"";
    let left = fake.answer(&["status"], "/stats", &stats(42).replace("\"slowest\"", cluster));
    assert_eq!(
        lines(left)[7..11],
        [
            "cluster   node alpha of 3 nodes",
            "          engine redis://192.0.2.1:6379",
            "          5 lines behind, 0.2 s waited",
            "          1 retry, 0 failovers, 1 new epoch, 2 entries skipped",
        ]
    );
}

#[test]
fn nodes_are_a_table() {
    let fake = Fake::start();
    let own = "\"code\":\"node\",\"node\":\"alpha\",\"state\":\"here\",\"sessions\":42,\"engine\":\"redis://192.0.2.1:6379\",\
               \"since\":\"2026-11-28T16:00:00Z\",\"lag_lines\":0";
    let other = "\"code\":\"node\",\"node\":\"beta\",\"state\":\"away\"";
    let answer =
        [notice(own, "alpha"), notice(other, "beta"), notice("\"code\":\"nodes\",\"count\":2", "2 nodes")];
    let left = fake.answer(&["nodes"], "/nodes", &answer.concat());
    assert_eq!(
        lines(left),
        [
            "NODE   STATE  SESSIONS  LAG  SINCE                 ADDRESS",
            "alpha  here         42    0  2026-11-28T16:00:00Z  redis://192.0.2.1:6379",
            "beta   away          -    -  -                     -",
        ]
    );
    let left = fake.answer(&["nodes", "--json"], "/nodes", &answer.concat());
    assert_eq!(lines(left).len(), 3);
    let alone = notice("\"code\":\"no_cluster\"", "this chatd is no node of a cluster; see the key cluster");
    let left = fake.answer(&["nodes"], "/nodes", &alone);
    assert_eq!(left.code, Some(1));
    assert!(left.errors.contains("no node of a cluster"), "{left:?}");
}

#[test]
fn a_list_is_asked_for_page_by_page() {
    let fake = Fake::start();
    let process = Process::run(fake.command(&["sessions"]));
    let mut guest = fake.greeted();
    let page = [session(1, "ann", 0.25, 0), session(3, "bob", 12.0, 2048), end_of("sessions", 3, 1)];
    answered(&mut guest, "/sessions", &page.concat());
    answered(&mut guest, "/sessions #3", &[session(700, "cem", 0.0, 0), end_of("sessions", 3, 0)].concat());
    assert_eq!(
        lines(process.finish()),
        [
            " ID  NAME  ADDRESS        ROOM  VIEW   IDLE  BEHIND  LINES/S  CLIENT",
            "  1  ann   192.0.2.1:1    main  names    1s      0B      0.2  line",
            "  3  bob   192.0.2.1:3    main  names    3s  2.0KiB     12.0  line",
            "700  cem   192.0.2.1:700  main  names   11m      0B      0.0  line",
        ]
    );
}

fn ban(kind: &str, subject: &str, until: &str, reason: &str) -> String {
    let until = if until.is_empty() { String::new() } else { format!("\"until\":\"{until}\",") };
    let fields = format!(
        "\"code\":\"ban_entry\",\"kind\":\"{kind}\",\"subject\":\"{subject}\",{until}\"by\":\"root\",\"reason\":\"{reason}\""
    );
    notice(&fields, "an entry")
}

#[test]
fn bans_and_mutes_are_a_table() {
    let fake = Fake::start();
    let process = Process::run(fake.command(&["bans"]));
    let mut guest = fake.greeted();
    let page = [ban("ban", "192.0.2.0/24", "2026-11-28T16:00:00Z", "spam"), end_of("bans", 2, 1)];
    answered(&mut guest, "/bans", &page.concat());
    let page = [ban("mute", "bob", "", ""), end_of("bans", 2, 0)];
    answered(&mut guest, "/bans 192.0.2.0/24", &page.concat());
    assert_eq!(
        lines(process.finish()),
        [
            "KIND  SUBJECT       UNTIL                 BY    REASON",
            "ban   192.0.2.0/24  2026-11-28T16:00:00Z  root  spam",
            "mute  bob           -                     root  -",
        ]
    );
    let left = fake.answer(&["bans"], "/bans", &end_of("bans", 0, 0));
    assert_eq!(lines(left), ["KIND  SUBJECT  UNTIL  BY  REASON"]);
}

#[test]
fn rooms_are_a_table() {
    let fake = Fake::start();
    let rooms = "\"code\":\"rooms\",\"count\":9,\"rooms\":[{\"room\":\"main\",\"members\":12},{\"room\":\"ops\",\"members\":3}]";
    let left = fake.answer(&["rooms"], "/rooms", &notice(rooms, "rooms"));
    assert_eq!(lines(left), ["ROOM  MEMBERS", "main       12", "ops         3", "and 7 more"]);
}

#[test]
fn a_notice_of_a_later_chatd_is_shown_by_its_sentence() {
    let fake = Fake::start();
    let left = fake.answer(&["unban", "+ann"], "/unban +ann", &notice("\"code\":\"later\"", "gone, it is"));
    assert_eq!(lines(left), ["gone, it is"]);
}

#[test]
fn a_drain_without_time_may_end_before_the_answer_does() {
    let fake = Fake::start();
    let process = Process::run(fake.command(&["drain", "0"]));
    let mut guest = fake.greeted();
    assert_eq!(guest.asked().0, ["/drain 0s\n"]);
    guest.say(notice("\"code\":\"draining\",\"seconds\":0", "chatd stops in 0 s"));
    drop(guest);
    assert_eq!(lines(process.finish()), ["chatd stops in 0 s"]);
}

#[test]
fn an_option_wins_over_the_variable() {
    let (fake, other) = (Fake::start(), Fake::start());
    let process = Process::run(other.command(&["log", "warn", "--socket", text(&fake.path())]));
    answered(
        &mut fake.greeted(),
        "/log warn",
        &notice("\"code\":\"logging\",\"level\":\"warn\"", "so be it"),
    );
    assert_eq!(lines(process.finish()), ["so be it"]);
}

#[test]
fn columns_says_how_wide_a_table_is() {
    let fake = Fake::start();
    let mut command = fake.command(&["bans"]);
    let process = Process::run({
        command.env("COLUMNS", "40");
        command
    });
    let entry = ban("ban", "2001:db8:1234:5678::/64", "2026-11-28T16:00:00Z", "noise, every day");
    answered(&mut fake.greeted(), "/bans", &[entry, end_of("bans", 1, 0)].concat());
    let lines = lines(process.finish());
    assert!(lines.iter().all(|line| line.chars().count() <= 40) && lines[1].contains('…'), "{lines:#?}");
}
