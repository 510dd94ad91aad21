//! What operators cause and get, as notices: at least one for each code. Used by `protocol`.

use chatd::protocol::{ClusterState, NodeEntry, Notice, Reader, Report, TlsCount, TlsState, View};

/// Every notice that an operator causes, with its code, as it stands in the manual.
pub fn notices() -> Vec<(&'static str, Notice)> {
    let until = || Some("2026-11-28T16:00:00Z".to_owned());
    let mut notices = vec![
        ("not_operator", Notice::NotOperator),
        ("operating", Notice::Operating),
        ("nowhere", Notice::Nowhere),
        ("kicked", Notice::Kicked { reason: "be nice".to_owned() }),
        ("kicked", Notice::Kicked { reason: String::new() }),
        ("muted", Notice::Muted { until: until() }),
        ("muted", Notice::Muted { until: None }),
        ("announcement", Notice::Announcement { announcement: "back at nine".to_owned() }),
        ("draining", Notice::Draining { seconds: 60 }),
        ("not_draining", Notice::NotDraining),
        ("watched", Notice::Watched),
        ("denied", Notice::Denied),
        banned(None, None),
        banned(Some("2026-12-01T00:00:00Z"), None),
        banned(Some("2026-12-01T00:00:00Z"), Some("they flood")),
    ];
    notices.extend(reports().into_iter().map(|(code, report)| (code, Notice::from(report))));
    notices
}

/// Every answer to an operator, with its code.
fn reports() -> Vec<(&'static str, Report)> {
    let text = |text: &str| text.to_owned();
    let until = || Some(text("2026-11-28T16:00:00Z"));
    let network = || text("192.0.2.0/24");
    vec![
        ("kick", Report::Kick { id: 7, name: text("alice"), verified: false }),
        ("ban", Report::Ban { subject: network(), until: until(), closed: 3 }),
        ("ban", Report::Ban { subject: network(), until: None, closed: 0 }),
        ("bans_yourself", Report::BansYourself { subject: text("+bob") }),
        (
            "cannot_ban",
            Report::CannotBan {
                reason: text("there are 100000 already, the most; remove some, or ban a network"),
            },
        ),
        ("lifted", Report::Lifted { kind: text("ban"), subject: network() }),
        ("not_banned", Report::NotBanned { kind: text("ban"), subject: network() }),
        ("ban_entry", entry("ban", &network(), until(), "spam")),
        ("ban_entry", entry("mute", "alice", None, "")),
        ("bans", Report::Bans { count: 2, more: 0 }),
        ("bans", Report::Bans { count: 700, more: 200 }),
        ("mute", Report::Mute { name: text("alice"), verified: false, until: until() }),
        ("mute", Report::Mute { name: text("alice"), verified: false, until: None }),
        ("stats", stats(None, None)),
        ("stats", stats(Some(7), Some("No space left on device".to_owned()))),
        ("session", session("192.0.2.1:4711")),
        ("session", session("")),
        ("sessions", Report::Sessions { count: 2, more: 0 }),
        ("sessions", Report::Sessions { count: 700, more: 200 }),
        ("watch", Report::Watch { room: text("ops") }),
        ("watch", Report::Watch { room: text("*") }),
        ("not_watching", Report::NotWatching),
        ("no_room", Report::NoRoom { room: text("ops") }),
        ("node", Report::Node { entry: node("alpha", "here", Some(0)) }),
        ("node", Report::Node { entry: node("beta", "away", None) }),
        ("nodes", Report::Nodes { count: 3 }),
        ("no_cluster", Report::NoCluster),
        ("logging", Report::Logging { level: text("debug") }),
    ]
}

fn entry(kind: &str, subject: &str, until: Option<String>, reason: &str) -> Report {
    let [kind, subject, by, reason] = [kind, subject, "bob", reason].map(str::to_owned);
    Report::BanEntry { kind, subject, until, by, reason }
}

fn stats(archive_lost: Option<u64>, archive_error: Option<String>) -> Report {
    let [version, cipher, records] = ["1.3", "TLS_AES_128_GCM_SHA256", "kernel"].map(str::to_owned);
    let connections = vec![TlsCount { version, cipher, records, count: 12 }];
    let tls = archive_lost.map(|_| TlsState { connections, handshakes: 40, failed: 2, days: Some(80) });
    let slowest = vec![Reader { id: 7, name: "alice".to_owned(), verified: false, behind: 2048 }];
    Report::Stats {
        uptime: 7200,
        restarts: 3,
        sessions: 42,
        rooms: 2,
        lines: 12345,
        rate: 4.5,
        skipped: 0,
        memory: 65536,
        stopping: archive_lost.map(|_| 290),
        archive_lost,
        archive_error,
        tls,
        cluster: archive_lost.map(|_| Box::new(cluster())),
        slowest,
    }
}

fn cluster() -> ClusterState {
    ClusterState {
        node: "alpha".to_owned(),
        nodes: 3,
        engine: Some("redis://192.0.2.1:6379".to_owned()),
        away: Some(12),
        problem: Some("connection refused".to_owned()),
        lag_lines: 0,
        lag_seconds: 12.5,
        retries: 1,
        failovers: 0,
        epochs: 0,
        skipped: 0,
    }
}

fn node(name: &str, state: &str, lag_lines: Option<u64>) -> NodeEntry {
    let [node, state] = [name, state].map(str::to_owned);
    let since = Some("2026-11-28T16:00:00Z".to_owned());
    let engine = lag_lines.map(|_| "redis://192.0.2.1:6379".to_owned());
    NodeEntry { node, state, sessions: lag_lines.map(|_| 42), engine, since, lag_lines }
}

fn session(address: &str) -> Report {
    let [name, address, room, client] = ["alice", address, "main", "line"].map(str::to_owned);
    let (id, verified, view) = (7, false, View::Names);
    Report::Session { id, name, verified, address, room, view, idle: 12, behind: 2048, rate: 0.5, client }
}

fn banned(until: Option<&str>, reason: Option<&str>) -> (&'static str, Notice) {
    let [until, reason] = [until, reason].map(|text| text.map(str::to_owned));
    ("banned", Notice::Banned { until, reason })
}
