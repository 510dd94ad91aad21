//! A line of the file of bans, as people read and write it: pure functions.
//!
//! ```text
//! ban 192.0.2.0/24 until 2026-12-01T00:00:00Z by root since 2026-11-28T15:04:05Z reason flood
//! ban +ann
//! mute bob until 2026-12-01
//! ```
//!
//! Only the first two words are needed. `until` and `since` take a time or a date in UTC, `by` a word, and `reason` the
//! rest of the line. `+` stands before a verified name. `cluster` takes the number of the cluster that has it.
//!
//! A change of bans and mutes is such a line, or `unban` or `unmute` with the subject.

use std::fmt::{Display, Write};
use std::str::FromStr;

use jiff::Timestamp;

use crate::net::bans::Order;
use crate::net::registry::Change;

/// The forms of a line, for messages.
const FORMS: &str =
    "write \"ban NETWORK\", \"ban +LOGIN\" or \"mute NAME\", and then until TIME, by NAME, reason TEXT";

/// Reads a line without its ending; `None` for an empty one and for a comment.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn read_line(line: &str) -> Result<Option<Change>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (kind, rest) = word(line);
    match kind {
        "ban" => order(rest).map(Change::Ban).map(Some),
        "mute" => order(rest).map(Change::Mute).map(Some),
        _ => Err(format!("it begins with neither ban nor mute; {FORMS}")),
    }
}

/// Reads a change; `None` if it cannot be one.
pub fn read_change(text: &str) -> Option<Change> {
    match word(text) {
        ("unban", subject) => subject.parse().map(Change::Unban).ok(),
        ("unmute", whom) => whom.parse().map(Change::Unmute).ok(),
        _ => read_line(text).ok().flatten(),
    }
}

/// Writes a change. What adds something is a line of the file.
pub fn write_change(change: &Change) -> String {
    match change {
        Change::Ban(ban) => write_line("ban", ban),
        Change::Mute(mute) => write_line("mute", mute),
        Change::Unban(subject) => format!("unban {subject}"),
        Change::Unmute(whom) => format!("unmute {whom}"),
    }
}

/// Writes a ban or a mute as a line without its ending.
fn write_line<Whom: Display>(kind: &str, order: &Order<Whom>) -> String {
    let mut line = format!("{kind} {}", order.whom);
    let words = [
        ("until", order.until.map(|until| until.to_string())),
        ("by", Some(order.by.clone()).filter(|by| !by.is_empty())),
        ("since", order.since.map(|since| since.to_string())),
        ("cluster", order.cluster.map(|cluster| cluster.to_string())),
        ("reason", Some(order.reason.clone()).filter(|reason| !reason.is_empty())),
    ];
    for (key, value) in words.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        // Writing to memory cannot fail.
        let _ = write!(line, " {key} {value}");
    }
    line
}

fn order<Whom: FromStr<Err = String>>(text: &str) -> Result<Order<Whom>, String> {
    let (whom, mut rest) = word(text);
    if whom.is_empty() {
        return Err(format!("it does not say whom; {FORMS}"));
    }
    let mut order = Order::of(whom.parse::<Whom>()?);
    while !rest.is_empty() {
        let (key, after) = word(rest);
        let (value, after) = if key == "reason" { (after, "") } else { word(after) };
        match key {
            _ if value.is_empty() => return Err(format!("nothing follows {key:?}; {FORMS}")),
            "until" => order.until = Some(time(value)?),
            "since" => order.since = Some(time(value)?),
            "by" => order.by = value.to_owned(),
            "cluster" => {
                order.cluster = Some(value.parse().map_err(|_| format!("{value:?} is not a number"))?)
            }
            "reason" => order.reason = value.to_owned(),
            _ => return Err(format!("{key:?} is not until, by, since or reason; {FORMS}")),
        }
        rest = after;
    }
    Ok(order)
}

/// Splits off the first word.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// Reads a time; a date is its midnight in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| format!("{text:?} is not a time; write for example 2026-12-01T00:00:00Z or 2026-12-01"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line as it is written after it was read.
    fn again(line: &str) -> Result<Option<String>, String> {
        read_line(line).map(|change| change.map(|change| write_change(&change)))
    }

    #[test]
    fn a_line_reads_as_people_write_it_and_is_written_as_it_is_read() {
        for (line, written) in [
            ("ban 192.0.2.0/24", "ban 192.0.2.0/24"),
            ("  ban\t2001:db8::  by root ", "ban 2001:db8:: by root"),
            ("ban +ann until 2026-12-01", "ban +ann until 2026-12-01T00:00:00Z"),
            ("mute bob until 2026-12-01T01:00:00+01:00", "mute bob until 2026-12-01T00:00:00Z"),
            ("mute +bob", "mute +bob"),
            ("mute guest7 reason until when?", "mute guest7 reason until when?"),
            ("ban ::/0 reason by: a  b", "ban ::/0 reason by: a  b"),
            ("mute bob cluster 7 by root", "mute bob by root cluster 7"),
            (
                "ban 192.0.2.7 until 2026-12-01T00:00:00Z by root since 2026-11-28T15:04:05Z reason flood, again",
                "ban 192.0.2.7 until 2026-12-01T00:00:00Z by root since 2026-11-28T15:04:05Z reason flood, again",
            ),
        ] {
            assert_eq!(again(line), Ok(Some(written.to_owned())), "{line}");
            assert_eq!(again(written), Ok(Some(written.to_owned())), "{line}");
        }
        for line in ["", "   ", "# ban 192.0.2.7", "  # x"] {
            assert_eq!(again(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_damaged_line_is_refused_with_a_remedy() {
        for (line, part) in [
            ("bann 192.0.2.7", "neither ban nor mute; write \"ban NETWORK\""),
            ("ban", "does not say whom"),
            ("ban 192.0.2.7/24", "write \"192.0.2.0/24\" for the network"),
            ("ban bob", "\"bob\" is not a network"),
            ("ban 192.0.2.7 until", "nothing follows \"until\""),
            ("ban 192.0.2.7 until tomorrow", "write for example 2026-12-01T00:00:00Z"),
            ("ban 192.0.2.7 for ever", "\"for\" is not until, by, since or reason"),
            ("mute <bob>", "\"<bob>\""),
            ("mute bob cluster seven", "\"seven\" is not a number"),
        ] {
            let problem = read_line(line).unwrap_err();
            assert!(problem.contains(part), "{line}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "(ban |mute )?.{0,60}") {
            if let Ok(Some(written)) = again(&line) {
                prop_assert_eq!(again(&written), Ok(Some(written)));
            }
        }
    }
}
