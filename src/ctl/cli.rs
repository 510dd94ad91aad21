//! The command line of `chatctl`: options, subcommands, and the line that each of them sends to chatd.
//!
//! `ctl::main` parses it. No argument can become a second command, or another argument: control characters are refused,
//! and so are blanks where chatd reads one word. Connects to nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueHint};

use crate::client::cli::duration;
use crate::duration::{parse_duration, show_duration};
use crate::net::address::MAX_UNIX_PATH;
use crate::protocol::Name;
use crate::protocol::control::LONGEST_DRAIN;

/// The socket of the package.
pub const DEFAULT_SOCKET: &str = "/run/chatd/chat.sock";

/// The variable that names another socket.
pub const SOCKET_VARIABLE: &str = "CHATCTL_SOCKET";

/// How long chatd may take to answer, unless `--timeout` says otherwise.
pub const DEFAULT_TIMEOUT: &str = "10s";

/// At most 78 columns, so that no terminal breaks a line of it.
const AFTER: &str = "\
TIME is a number of seconds, or has a unit: 60s, 5m, 1h, 7d. WHO is a name, or
# and the number of a connection, quoted for the shell: '#7'.

Examples:
  chatctl status                            is chatd well?
  chatctl sessions                          who is connected, and from where
  chatctl ban 192.0.2.0/24 --for 1h spam    turn a network away for an hour
  chatctl kick bob be nice                  close a connection
  chatctl watch ops                         hear a room

Exit status: 0 done, 1 refused, 2 wrong usage, 69 no chatd is there, 77 you
are not an operator.
Manual: chatctl(1); chatd(8), \"Operators\", for who is one.";

/// What you typed.
#[derive(Debug, Clone, Parser)]
#[command(name = "chatctl", version, about = "Controls chatd, for its operators.", after_help = AFTER)]
#[command(max_term_width = 110, subcommand_required = true, arg_required_else_help = false)]
pub struct Cli {
    /// The unix socket of chatd
    #[arg(long, global = true, value_name = "PATH", env = SOCKET_VARIABLE, hide_env_values = true, display_order = 101)]
    #[arg(default_value = DEFAULT_SOCKET, value_parser = socket, value_hint = ValueHint::FilePath)]
    pub socket: PathBuf,
    /// Print one JSON object per line
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
    /// How long chatd may take to answer
    #[arg(long, global = true, value_name = "TIME", default_value = DEFAULT_TIMEOUT, display_order = 102)]
    #[arg(value_parser = duration, value_hint = ValueHint::Other)]
    pub timeout: Duration,
    /// What to do
    #[command(subcommand)]
    pub task: Task,
}

/// What chatctl is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Show how chatd is doing
    Status,
    /// Show the status and the busiest connections, once a second
    Top,
    /// List the connections
    Sessions,
    /// List the 100 fullest rooms
    Rooms,
    /// List the nodes of the cluster
    Nodes,
    /// Close the connection of WHO
    Kick {
        /// A name, or # and a number
        #[arg(value_parser = word, value_hint = ValueHint::Other)]
        who: String,
        /// Why, for the person
        #[arg(value_parser = text, value_hint = ValueHint::Other)]
        reason: Vec<String>,
    },
    /// Turn away an address, a network or a login
    Ban {
        /// ADDRESS, ADDRESS/BITS or +LOGIN
        #[arg(value_parser = word, value_hint = ValueHint::Other)]
        subject: String,
        /// End the ban after this time: 60s, 5m, 1h, 7d; a number is seconds
        #[arg(long = "for", value_name = "TIME", value_parser = time, value_hint = ValueHint::Other)]
        time: Option<String>,
        /// Ban it even if that covers you
        #[arg(long)]
        force: bool,
        /// Why, for the person
        #[arg(value_parser = text, value_hint = ValueHint::Other)]
        reason: Vec<String>,
    },
    /// Lift a ban
    Unban {
        /// ADDRESS, ADDRESS/BITS or +LOGIN
        #[arg(value_parser = word, value_hint = ValueHint::Other)]
        subject: String,
    },
    /// List bans and mutes
    Bans,
    /// Let nobody get what WHO says
    Mute {
        /// A name, or # and a number
        #[arg(value_parser = word, value_hint = ValueHint::Other)]
        who: String,
        /// End the mute after this time: 60s, 5m, 1h, 7d; a number is seconds
        #[arg(long = "for", value_name = "TIME", value_parser = time, value_hint = ValueHint::Other)]
        time: Option<String>,
    },
    /// Lift a mute
    Unmute {
        /// A name
        #[arg(value_parser = word, value_hint = ValueHint::Other)]
        name: String,
    },
    /// Tell everybody TEXT
    Say {
        /// What to tell them
        #[arg(required = true, value_parser = text, value_hint = ValueHint::Other)]
        text: Vec<String>,
    },
    /// Turn newcomers away, and stop chatd after TIME; or "off"
    Drain {
        /// 60s, 5m, 1h, 7d; a number is seconds; or "off" to go on [default: 60s]
        #[arg(value_parser = end, value_hint = ValueHint::Other)]
        time: Option<String>,
    },
    /// Hear a room, or all rooms, until told to stop
    Watch {
        /// The room [default: all of them]
        #[arg(value_parser = room, value_hint = ValueHint::Other)]
        room: Option<String>,
    },
    /// Log from LEVEL on, until chatd reloads or restarts
    Log {
        /// error, warn, info or debug
        #[arg(value_parser = ["error", "warn", "info", "debug"], hide_possible_values = true)]
        level: String,
    },
}

impl Task {
    /// The line that asks chatd for it, without LF; for lists the first page.
    ///
    /// # Errors
    /// A reason that chatd would read as a time, or as a mistake in one.
    pub fn line(&self) -> Result<String, &'static str> {
        let line = match self {
            Self::Status | Self::Top => "/stats".to_owned(),
            Self::Sessions => "/sessions".to_owned(),
            Self::Rooms => "/rooms".to_owned(),
            Self::Nodes => "/nodes".to_owned(),
            Self::Bans => "/bans".to_owned(),
            Self::Kick { who, reason } => format!("/kick {who} {}", reason.join(" ")),
            Self::Ban { time: None, reason, .. }
                if reason.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) =>
            {
                return Err(
                    "the reason begins with a digit; write a time behind --for, or another word first",
                );
            }
            Self::Ban { subject, time, force, reason } => {
                let (forced, time) = (if *force { "--force " } else { "" }, optional(time));
                format!("/ban {forced}{subject}{time} {}", reason.join(" "))
            }
            Self::Unban { subject } => format!("/unban {subject}"),
            Self::Mute { who, time } => format!("/mute {who}{}", optional(time)),
            Self::Unmute { name } => format!("/unmute {name}"),
            Self::Say { text } => format!("/say {}", text.join(" ")),
            Self::Drain { time } => format!("/drain{}", optional(time)),
            Self::Watch { room } => format!("/watch {}", room.as_deref().unwrap_or("*")),
            Self::Log { level } => format!("/log {level}"),
        };
        Ok(line.trim_end().to_owned())
    }
}

/// A word with a blank before it; nothing for none.
fn optional(word: &Option<String>) -> String {
    word.as_ref().map_or_else(String::new, |word| format!(" {word}"))
}

/// A time in one word, in whole seconds, which chatd reads back.
fn shown(time: Duration) -> String {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    show_duration(Duration::from_secs(whole))
}

/// Text without control characters: one that ends a line would begin another command.
fn text(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("there is nothing in it; write some text"),
        _ if text.chars().any(char::is_control) => {
            Err("a control character; write it on one line, without TABs")
        }
        text => Ok(text.to_owned()),
    }
}

/// One word, which is no option of a command of chatd.
fn word(word: &str) -> Result<String, &'static str> {
    let word = text(word)?;
    match word.contains(char::is_whitespace) || word.starts_with('-') {
        true => Err("not one word; write a name, # and a number, an address or +LOGIN"),
        false => Ok(word),
    }
}

/// A time from one second on.
fn time(text: &str) -> Result<String, &'static str> {
    match parse_duration(text) {
        None => Err("not a time; write 60s, 5m, 1h or 7d"),
        Some(time) if time.is_zero() => Err("no time at all; write at least 1s"),
        Some(time) => Ok(shown(time)),
    }
}

/// When a drain ends: a time, or `off`.
fn end(text: &str) -> Result<String, &'static str> {
    match parse_duration(text) {
        _ if text == "off" => Ok(text.to_owned()),
        None => Err("not a time; write 10s, 5m or 1h; or off"),
        Some(time) if time > LONGEST_DRAIN => Err("too long a time; write at most 8760h"),
        Some(time) => Ok(shown(time)),
    }
}

fn room(text: &str) -> Result<String, String> {
    match text {
        "*" => Ok(text.to_owned()),
        name => Name::parse(name).map(|name| name.to_string()).map_err(|error| error.to_string()),
    }
}

fn socket(path: &str) -> Result<PathBuf, &'static str> {
    match path.strip_prefix("unix:").unwrap_or(path) {
        "" => Err("no path; write the path of the unix socket of chatd"),
        path if path.len() > MAX_UNIX_PATH => Err("too long for a unix socket; a path has at most 107 bytes"),
        path => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Command;
    use crate::protocol::control::Control;
    use crate::protocol::syntax::{Line, read};
    use clap::CommandFactory;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["chatctl"], words].concat())
    }

    fn line(words: &[&str]) -> String {
        parse(words).unwrap_or_else(|error| panic!("{words:?}: {error}")).task.line().unwrap()
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
        assert!(AFTER.lines().all(|line| line.chars().count() <= 78));
    }

    #[test]
    fn each_task_is_a_line_that_chatd_reads() {
        for (words, expected) in [
            (["status"].as_slice(), "/stats"),
            (&["top"], "/stats"),
            (&["sessions"], "/sessions"),
            (&["rooms"], "/rooms"),
            (&["nodes"], "/nodes"),
            (&["kick", "bob"], "/kick bob"),
            (&["kick", "#7", "be", "nice, please"], "/kick #7 be nice, please"),
            (&["ban", "192.0.2.0/24"], "/ban 192.0.2.0/24"),
            (&["ban", "+ann", "--for", "1h 30m", "5", "strikes"], "/ban +ann 5400s 5 strikes"),
            (&["ban", "--force", "::1", "--for", "500ms"], "/ban --force ::1 1s"),
            (&["ban", "::1", "too", "loud"], "/ban ::1 too loud"),
            (&["unban", "+ann"], "/unban +ann"),
            (&["bans"], "/bans"),
            (&["mute", "bob"], "/mute bob"),
            (&["mute", "bob", "--for", "5m"], "/mute bob 5m"),
            (&["unmute", "bob"], "/unmute bob"),
            (&["say", "hello", "all of  you"], "/say hello all of  you"),
            (&["drain"], "/drain"),
            (&["drain", "2m"], "/drain 2m"),
            (&["drain", "off"], "/drain off"),
            (&["watch"], "/watch *"),
            (&["watch", "*"], "/watch *"),
            (&["watch", "ops"], "/watch ops"),
            (&["log", "debug"], "/log debug"),
        ] {
            let line = line(words);
            // Minutes from two on are shown as minutes.
            assert_eq!(line.replace("90m", "5400s"), expected, "{words:?}");
            assert!(matches!(read(line.as_bytes()), Line::Command(_)), "{line}");
        }
    }

    #[test]
    fn a_reason_stays_a_reason() {
        let line = line(&["ban", "+ann", "--for", "90s", "1h", "of", "noise"]);
        let Line::Command(Command::Control(Control::Ban { time, reason, .. })) = read(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!((time, reason.as_str()), (Some(Duration::from_secs(90)), "1h of noise"));
        for reason in [["5", "strikes"], [" 5m ", "late"]] {
            let ban = parse(&["ban", "+ann", reason[0], reason[1]]).unwrap();
            assert!(ban.task.line().is_err(), "{reason:?}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_2_and_help_with_0() {
        for words in [
            [].as_slice(),
            &["restart"],
            &["status", "now"],
            &["kick"],
            &["kick", ""],
            &["kick", "bob now"],
            &["kick", "bob", "be\n/drain 0"],
            &["kick", "bob\n/drain"],
            &["kick", "bob", " "],
            &["ban"],
            &["ban", "--", "--force"],
            &["ban", "+ann 1h"],
            &["ban", "+ann", "--for", "soon"],
            &["ban", "+ann", "--for", "0"],
            &["ban", "+ann", "a\rb"],
            &["unban"],
            &["unban", "a", "b"],
            &["mute", "bob", "5m"],
            &["mute", "bob", "--for", "-1"],
            &["unmute"],
            &["say"],
            &["say", ""],
            &["say", "a\u{1b}[2J"],
            &["say", "a\u{85}b"],
            &["drain", "soon"],
            &["drain", "18446744073709551615"],
            &["drain", "5m", "5m"],
            &["watch", "a b"],
            &["watch", "ops\n/drain"],
            &["log"],
            &["log", "trace"],
            &["bans", "x"],
            &["status", "--timeout", "0"],
            &["status", "--socket", ""],
        ] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
        let long = "x".repeat(MAX_UNIX_PATH + 1);
        assert_eq!(parse(&["status", "--socket", &long]).unwrap_err().exit_code(), 2);
        for words in [["--help"].as_slice(), &["-h"], &["--version"], &["ban", "--help"]] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 0, "{words:?}");
        }
    }

    #[test]
    fn options_stand_before_and_behind_the_task() {
        for words in [["--json", "--socket", "s", "status"], ["status", "--socket", "s", "--json"]] {
            let cli = parse(&words).unwrap();
            assert_eq!((cli.json, cli.socket.to_str(), cli.timeout.as_secs()), (true, Some("s"), 10));
        }
    }
}
