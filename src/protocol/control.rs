//! Control: what operators ask of chatd, and how they type it.
//!
//! The rows of these commands stand in [`COMMANDS`](super::syntax::COMMANDS) with all others. The hub asks floor 3
//! whether a session is an operator before it carries one out, in `chat::control`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::duration::parse_duration;

/// How long people have before the end, if `/drain` names no time.
pub const DRAIN_TIME: Duration = Duration::from_secs(60);

/// The longest time that `/drain` takes: it can be added to any moment.
pub const LONGEST_DRAIN: Duration = Duration::from_secs(8760 * 3600);

/// The command with which an operator leaves all rooms.
pub(super) const OPERATE: &str = "control";

/// Returns whether text begins with the line `/control`.
pub fn begins_with_operate(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"/").and_then(|rest| rest.strip_prefix(OPERATE.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `/kick`: close a connection.
    Kick {
        /// The name, or `#` and the number of the connection, as typed.
        whom: String,
        /// The reason, for the person; may be empty.
        reason: String,
    },
    /// `/ban`: turn away an address, a network or a login.
    Ban {
        /// The address, the network or the login, as typed.
        subject: String,
        /// How long; `None` until somebody lifts it.
        time: Option<Duration>,
        /// The reason, for those turned away; may be empty.
        reason: String,
        /// Also if it covers the operator.
        is_forced: bool,
    },
    /// `/unban`: lift a ban. As typed.
    Unban(String),
    /// `/bans`: list bans and mutes, those after this one.
    Bans(Option<String>),
    /// `/mute`: nobody hears this member any more.
    Mute {
        /// The name, as typed.
        whom: String,
        /// How long; `None` until somebody lifts it.
        time: Option<Duration>,
    },
    /// `/unmute`: lift a mute. As typed.
    Unmute(String),
    /// `/say`: tell everybody.
    Say(String),
    /// `/drain`: let nobody in, tell everybody, and stop after this time; `None` for no longer.
    Drain(Option<Duration>),
    /// `/stats`: numbers about the daemon.
    Stats,
    /// `/nodes`: list the nodes of the cluster.
    Nodes,
    /// `/sessions`: list the connections with a higher number than this.
    Sessions(u64),
    /// `/watch`: hear a room without being in it; `None` for no longer.
    Watch(Option<Watched>),
    /// `/log`: log from this level on.
    Log(log::LevelFilter),
}

impl Control {
    /// Returns whether it only asks for an answer, which may be long.
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Bans(_) | Self::Sessions(_) | Self::Stats | Self::Nodes)
    }
}

/// What an operator hears without being there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watched {
    /// One room.
    Room(Name),
    /// Every room.
    All,
}

/// Reads `NAME|#ID [REASON]`.
pub(super) fn kick(text: &str) -> Option<Control> {
    let (whom, reason) = first(text)?;
    Some(Control::Kick { whom: whom.to_owned(), reason: reason.to_owned() })
}

/// Reads `[--force] ADDRESS[/BITS]|+LOGIN [TIME] [REASON]`.
pub(super) fn ban(text: &str) -> Option<Control> {
    let (word, rest) = first(text)?;
    let is_forced = word == "--force";
    let (subject, rest) = if is_forced { first(rest)? } else { (word, rest) };
    let (time, reason) = time_first(rest)?;
    Some(Control::Ban { subject: subject.to_owned(), time, reason: reason.to_owned(), is_forced })
}

/// Reads `NAME|#ID [TIME]`.
pub(super) fn mute(text: &str) -> Option<Control> {
    let (whom, time) = first(text)?;
    let time = if time.is_empty() { None } else { Some(parse_duration(time)?) };
    Some(Control::Mute { whom: whom.to_owned(), time })
}

/// Reads `[TIME|off]`.
pub(super) fn drain(text: &str) -> Option<Control> {
    match text {
        "" => Some(Control::Drain(Some(DRAIN_TIME))),
        off if off.eq_ignore_ascii_case("off") => Some(Control::Drain(None)),
        time => {
            let time = parse_duration(time).filter(|time| *time <= LONGEST_DRAIN)?;
            Some(Control::Drain(Some(time)))
        }
    }
}

/// Reads `[#ID]`.
pub(super) fn sessions(text: &str) -> Option<Control> {
    let after = if text.is_empty() { Some(0) } else { number(text) };
    after.map(Control::Sessions)
}

/// Reads `error|warn|info|debug`.
pub(super) fn log(text: &str) -> Option<Control> {
    use log::LevelFilter::{Debug, Error, Info, Warn};
    let level =
        [Error, Warn, Info, Debug].into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
    level.map(Control::Log)
}

/// Reads the number of a connection: `#7`.
pub fn number(text: &str) -> Option<u64> {
    text.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Writes when something ends, in UTC (RFC 3339).
pub fn shown(until: Option<Timestamp>) -> Option<String> {
    until.map(|until| until.strftime("%FT%TZ").to_string())
}

/// Splits off the first word; `None` if there is none.
fn first(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest.trim_matches([' ', '\t'])))
}

/// Splits off the first word if it is a time: it begins with a digit, and ends with a unit. Returns `None` for another
/// word with a digit first: a ban with a mistyped time would last for ever.
fn time_first(text: &str) -> Option<(Option<Duration>, &str)> {
    match first(text) {
        Some((word, rest)) if word.starts_with(|c: char| c.is_ascii_digit()) => {
            let has_unit = word.ends_with(|c: char| c.is_ascii_alphabetic());
            Some((Some(parse_duration(word).filter(|_| has_unit)?), rest))
        }
        _ => Some((None, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_has_a_time_if_the_next_word_is_one() {
        let read = |text: &str| match ban(text) {
            Some(Control::Ban { subject, time, reason, is_forced }) => {
                Some((subject, time.map(|time| time.as_secs()), reason, is_forced))
            }
            _ => None,
        };
        let is = |subject: &str, time, reason: &str, is_forced| {
            Some((subject.to_owned(), time, reason.to_owned(), is_forced))
        };
        assert_eq!(read("192.0.2.1"), is("192.0.2.1", None, "", false));
        assert_eq!(read("192.0.2.0/24 1h"), is("192.0.2.0/24", Some(3600), "", false));
        assert_eq!(read("+ann 2m  too  loud"), is("+ann", Some(120), "too  loud", false));
        assert_eq!(read("+ann too loud"), is("+ann", None, "too loud", false));
        assert_eq!(read("--force ::1 60s me"), is("::1", Some(60), "me", true));
        assert_eq!(read("::1 7d"), is("::1", Some(7 * 86400), "", false));
        assert_eq!([read("::1 60 me"), read("::1 3 strikes"), read("::1 1x")], [None, None, None]);
        assert_eq!([read(""), read("--force")], [None, None]);
    }

    #[test]
    fn the_other_arguments_are_read() {
        assert_eq!(
            kick("#7 be  nice"),
            Some(Control::Kick { whom: "#7".to_owned(), reason: "be  nice".to_owned() })
        );
        assert_eq!(kick(""), None);
        assert_eq!(
            mute("ann 5m"),
            Some(Control::Mute { whom: "ann".to_owned(), time: parse_duration("5m") })
        );
        assert_eq!([mute("ann soon"), mute("")], [None, None]);
        assert_eq!(drain(""), Some(Control::Drain(Some(DRAIN_TIME))));
        assert_eq!(drain("OFF"), Some(Control::Drain(None)));
        assert_eq!(drain("10s"), Some(Control::Drain(Some(Duration::from_secs(10)))));
        assert_eq!([drain("now"), drain("8761h"), drain("18446744073709551615")], [None, None, None]);
        assert_eq!([sessions(""), sessions("#7")], [Some(Control::Sessions(0)), Some(Control::Sessions(7))]);
        assert_eq!([sessions("7"), sessions("#"), sessions("#+7")], [None, None, None]);
        assert_eq!(log("DEBUG"), Some(Control::Log(log::LevelFilter::Debug)));
        assert_eq!([log(""), log("off"), log("trace")], [None, None, None]);
    }
}
