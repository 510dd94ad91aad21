//! What chatd answers, as people read it: tables, and lines of a word and its value.
//!
//! Times are in the largest unit that says enough, sizes in the units of chatd.toml(5). Pure.

use super::connection::Told;
use super::table::{Column, Look, Table, fitted, number, one_line, styled, text};
use crate::client::render::marked;
use crate::protocol::tls::TlsCount;
use crate::protocol::{ClusterState, NodeEntry, Notice, Report, RoomCount, TlsState};

const SESSIONS: [Column; 9] = [
    number("ID"),
    text("NAME"),
    text("ADDRESS"),
    text("ROOM"),
    text("VIEW"),
    number("IDLE"),
    number("BEHIND"),
    number("LINES/S"),
    text("CLIENT"),
];
const ROOMS: [Column; 2] = [text("ROOM"), number("MEMBERS")];
const NODES: [Column; 6] =
    [text("NODE"), text("STATE"), number("SESSIONS"), number("LAG"), text("SINCE"), text("ADDRESS")];
const BANS: [Column; 5] = [text("KIND"), text("SUBJECT"), text("UNTIL"), text("BY"), text("REASON")];

/// Where the records of a TLS connection are made.
const RECORDS: [&str; 2] = ["in user space", "in the kernel"];

/// Columns of the words before the values.
const WORD: usize = 10;

/// Returns the sentences of an answer.
pub fn sentences(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| told.text.clone()).collect()
}

/// Returns the objects of an answer, as they came.
pub fn objects(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| told.line.clone()).collect()
}

/// Returns the numbers about chatd, and with `slowest` the members that are farthest behind; nothing if they are not in
/// the answer.
pub fn status(told: &[Told], slowest: bool, look: Look) -> Vec<String> {
    let stats = told.iter().filter_map(Told::report).find(|report| matches!(report, Report::Stats { .. }));
    let Some(Report::Stats {
        uptime,
        restarts,
        sessions,
        rooms,
        lines,
        rate,
        skipped,
        memory,
        stopping,
        archive_lost,
        archive_error,
        tls,
        cluster,
        slowest: readers,
    }) = stats
    else {
        return Vec::new();
    };
    let mut rows = vec![
        ("uptime", long_time(*uptime)),
        ("restarts", format!("{restarts} survived")),
        ("sessions", sessions.to_string()),
        ("rooms", rooms.to_string()),
        ("lines", format!("{lines}, {rate:.1} per second")),
        ("skipped", skipped.to_string()),
        ("memory", size(*memory as u64)),
    ];
    rows.extend(stopping.map(|left| ("stopping", format!("in {}", long_time(left)))));
    rows.extend(archive_lost.map(|lost| ("archive", format!("{lost} lines lost"))));
    rows.extend(archive_error.clone().map(|error| ("", format!("cannot write: {error}"))));
    rows.extend(tls.iter().flat_map(tls_rows));
    rows.extend(cluster.iter().flat_map(|cluster| cluster_rows(cluster)));
    for (at, reader) in readers.iter().enumerate().filter(|_| slowest) {
        let (name, behind) = (marked(&reader.name, reader.verified), size(reader.behind));
        let word = if at == 0 { "slowest" } else { "" };
        rows.push((word, format!("{name} (#{}), {behind} behind", reader.id)));
    }
    let line = |(word, value): (&str, String)| {
        let line = fitted(one_line(&format!("{word:<WORD$}{value}")).trim_end(), look);
        let (start, value) = line.split_at(WORD.min(line.len()));
        if word.is_empty() { line } else { styled(start.to_owned(), "1", look) + value }
    };
    rows.into_iter().map(line).collect()
}

/// Returns what to say of TLS: how many, of what kinds, the handshakes, and the end of the certificate.
fn tls_rows(tls: &TlsState) -> Vec<(&'static str, String)> {
    let (all, in_kernel) = tls.counts();
    let kind = |one: &TlsCount| {
        let place = RECORDS[usize::from(one.records == "kernel")];
        format!("{} with {} {}, {place}", one.count, one.version, one.cipher)
    };
    let handshakes = format!("{} handshakes, {} failed", tls.handshakes, tls.failed);
    let first = ("tls", format!("{all} connections, {in_kernel} in the kernel"));
    let rest = tls.connections.iter().map(kind).chain([handshakes]).chain(tls.end()).map(|row| ("", row));
    std::iter::once(first).chain(rest).collect()
}

/// Returns what to say of the cluster: the node, the engine, how far it is behind, and what has gone wrong.
fn cluster_rows(cluster: &ClusterState) -> [(&'static str, String); 4] {
    let nodes = if cluster.nodes == 1 { "node" } else { "nodes" };
    let first = format!("node {} of {} {nodes}", cluster.node, cluster.nodes);
    [("cluster", first), ("", cluster.engine()), ("", cluster.lag()), ("", cluster.troubles())]
}

/// Returns the nodes in an answer as a table. One that is away stands out.
pub fn nodes(told: &[Told], look: Look) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    table(&NODES, told, look, |report| {
        let Report::Node { entry } = report else { return None };
        let NodeEntry { node, state, sessions, engine, since, lag_lines } = entry.clone();
        let is_away = state == "away";
        let [since, engine] = [since, engine].map(Option::unwrap_or_default);
        Some((vec![node, state, number(sessions), number(lag_lines), since, engine], is_away))
    })
}

/// Returns a table with the rows that an answer has for it, each with whether it stands out.
fn table(
    columns: &[Column],
    told: &[Told],
    look: Look,
    row: impl Fn(&Report) -> Option<(Vec<String>, bool)>,
) -> Vec<String> {
    let mut table = Table::new(columns);
    let rows = told.iter().filter_map(Told::report).filter_map(row);
    rows.for_each(|(cells, stands_out)| table.add(cells, stands_out));
    table.lines(look)
}

/// Returns the connections in an answer as a table. With `is_busiest`, those that say most come first, and of those that
/// say as much, those that are farthest behind.
pub fn sessions(told: &[Told], is_busiest: bool, look: Look) -> Vec<String> {
    let mut rows = Vec::new();
    for report in told.iter().filter_map(Told::report) {
        if let Report::Session { id, name, verified, address, room, view, idle, behind, rate, client } =
            report
        {
            let (id, name) = (id.to_string(), marked(name, *verified));
            let address = if address.is_empty() { "unix" } else { address }.to_owned();
            let (view, rate_shown) = (view.name().to_owned(), format!("{rate:.1}"));
            let (idle, waiting) = (time(*idle), size(*behind));
            let cells = [id, name, address, room.clone(), view, idle, waiting, rate_shown, client.clone()];
            rows.push((*rate, *behind, cells));
        }
    }
    if is_busiest {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    }
    let mut table = Table::new(&SESSIONS);
    rows.into_iter().for_each(|(_, behind, cells)| table.add(cells.into(), behind > 0));
    table.lines(look)
}

/// Returns the rooms in an answer as a table; nothing if there are none.
pub fn rooms(told: &[Told], look: Look) -> Vec<String> {
    let mut table = Table::new(&ROOMS);
    let mut all = 0;
    let mut shown = 0;
    for told in told {
        if let Some(Notice::Rooms { count, rooms }) = &told.notice {
            (all, shown) = (*count, shown + rooms.len());
            for RoomCount { room, members } in rooms {
                table.add(vec![room.clone(), members.to_string()], false);
            }
        }
    }
    let mut lines = if shown > 0 { table.lines(look) } else { Vec::new() };
    lines.extend((all > shown).then(|| fitted(&format!("and {} more", all - shown), look)));
    lines
}

/// Returns the bans and mutes in an answer as a table.
pub fn bans(told: &[Told], look: Look) -> Vec<String> {
    table(&BANS, told, look, |report| {
        let Report::BanEntry { kind, subject, until, by, reason } = report else { return None };
        let until = until.as_deref().unwrap_or_default();
        Some(([kind, subject, until, by, reason].map(str::to_owned).to_vec(), false))
    })
}

/// A time in one unit: `90s`, `15m`, `30h`, `5d`.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time in two units: `4m 10s`, `2h 5m`, `3d 4h`.
fn long_time(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A number of bytes: `512B`, `12.5KiB`, `3.4MiB`.
fn size(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)].into_iter().find(|(_, bits)| bytes >> bits > 0);
    let Some((unit, bits)) = unit else { return format!("{bytes}B") };
    let tenths = (u128::from(bytes) * 10) >> bits;
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_the_largest_unit_that_says_enough() {
        let times = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(time);
        assert_eq!(times, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        let times = [59, 60, 3599, 3600, 86_399, 86_400, 277_200].map(long_time);
        assert_eq!(times, ["59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h", "3d 5h"]);
        let sizes = [0, 1023, 1024, 1_048_575, 3_600_000, 5 << 30, u64::MAX].map(size);
        let expected = ["0B", "1023B", "1.0KiB", "1023.9KiB", "3.4MiB", "5.0GiB", "17179869183.9GiB"];
        assert_eq!(sizes, expected);
    }
}
