//! Syntax: how commands are typed.
//!
//! [`COMMANDS`] is the only list of them. `/help` prints it, and a test holds chatd-protocol(7) against it. The hub
//! calls [`read`] for each line of a session. Reading never fails: a line that is no command, or a wrong one, is a value
//! of [`Line`] too.

use std::fmt;

use super::command::{Command, Recall};
use super::control::{self, Control, Watched};
use super::key::Key;
use super::name::{Name, NameError};
use super::notice::Notice;
use super::view::View;

/// Why [`read`] refuses a known command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CommandError {
    /// Wrong arguments.
    Usage(&'static Spec),
    /// An argument cannot be a name.
    Name(NameError),
}

impl CommandError {
    /// Returns the notice for the sender.
    pub fn notice(self) -> Notice {
        match self {
            Self::Usage(spec) => Notice::Usage { command: spec.to_string() },
            Self::Name(reason) => Notice::BadName { reason },
        }
    }
}

/// A row of [`COMMANDS`].
#[derive(Debug)]
pub struct Spec {
    /// The word in lower case, without the slash.
    pub name: &'static str,
    /// The arguments as the manual writes them; may be empty.
    pub arguments: &'static str,
    /// What it does, for `/help`.
    pub about: &'static str,
    /// Whether only operators can use it.
    pub is_control: bool,
    read: fn(&str) -> Option<Result<Command, NameError>>,
}

/// Longest word that can be a mistyped command, in bytes.
const MAX_MISTYPED: usize = 16;

/// Longest token of `/sync`, in characters.
pub const MAX_TOKEN: usize = 64;

/// Every command, in the order in which `/help` shows them.
pub static COMMANDS: [Spec; 27] = [
    Spec {
        name: "help",
        arguments: "",
        about: "show this list",
        is_control: false,
        read: |text| alone(text, Command::Help),
    },
    Spec {
        name: "nick",
        arguments: "NAME [KEY]",
        about: "take a name, and see who says what",
        is_control: false,
        read: |text| {
            let (name, key) =
                text.split_once([' ', '\t']).map_or((text, None), |(name, key)| (name, Some(key)));
            let key = key.map(|key| Key::parse(trimmed(key)).ok_or(())).transpose().ok()?;
            word(name).map(|name| Name::parse(name).map(|name| Command::Nick(name, key)))
        },
    },
    Spec {
        name: "who",
        arguments: "",
        about: "list the members of the room",
        is_control: false,
        read: |text| alone(text, Command::Who),
    },
    Spec {
        name: "me",
        arguments: "TEXT",
        about: "say what you do: * NAME TEXT",
        is_control: false,
        read: |text| (!text.is_empty()).then(|| Ok(Command::Me(text.to_owned()))),
    },
    Spec {
        name: "msg",
        arguments: "NAME TEXT",
        about: "send TEXT to NAME alone",
        is_control: false,
        read: |text| {
            let (to, text) = text.split_once([' ', '\t'])?;
            Some(Ok(Command::Msg { to: to.to_owned(), text: trimmed(text).to_owned() }))
        },
    },
    Spec {
        name: "join",
        arguments: "ROOM",
        about: "go to ROOM; chatd makes it if needed",
        is_control: false,
        read: |text| word(text).map(|name| Name::parse(name).map(Command::Join)),
    },
    Spec {
        name: "rooms",
        arguments: "",
        about: "list the rooms",
        is_control: false,
        read: |text| alone(text, Command::Rooms),
    },
    Spec {
        name: "last",
        arguments: "[N] [TEXT]",
        about: "show the last N lines, or those with TEXT",
        is_control: false,
        read: |text| recall(text).map(|recall| Ok(Command::Last(recall))),
    },
    Spec {
        name: "view",
        arguments: "plain|names|json",
        about: "change how lines are shown to you",
        is_control: false,
        read: |text| View::parse(text).map(|view| Ok(Command::View(view))),
    },
    Spec {
        name: "time",
        arguments: "on|off",
        about: "show the time before each line",
        is_control: false,
        read: |text| match text.to_ascii_lowercase().as_str() {
            "on" => Some(Ok(Command::Time(true))),
            "off" => Some(Ok(Command::Time(false))),
            _ => None,
        },
    },
    Spec {
        name: "ignore",
        arguments: "NAME",
        about: "hide what NAME says; again to undo",
        is_control: false,
        read: |text| word(text).map(|name| Ok(Command::Ignore(name.to_owned()))),
    },
    Spec {
        name: "sync",
        arguments: "TOKEN",
        about: "get TOKEN back after your earlier lines",
        is_control: false,
        read: |text| {
            let is_token = text.len() <= MAX_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
            word(text).filter(|_| is_token).map(|token| Ok(Command::Sync(token.to_owned())))
        },
    },
    Spec {
        name: "quit",
        arguments: "",
        about: "leave",
        is_control: false,
        read: |text| alone(text, Command::Quit),
    },
    Spec {
        name: control::OPERATE,
        arguments: "",
        about: "be in no room, for these commands alone",
        is_control: true,
        read: |text| alone(text, Command::Operate),
    },
    Spec {
        name: "kick",
        arguments: "NAME|#ID [REASON]",
        about: "close the connection of NAME",
        is_control: true,
        read: |text| controlled(control::kick(text)),
    },
    Spec {
        name: "ban",
        arguments: "ADDRESS|+LOGIN [TIME] [REASON]",
        about: "turn away an address or a user",
        is_control: true,
        read: |text| controlled(control::ban(text)),
    },
    Spec {
        name: "unban",
        arguments: "ADDRESS|+LOGIN",
        about: "lift a ban",
        is_control: true,
        read: |text| controlled(word(text).map(|subject| Control::Unban(subject.to_owned()))),
    },
    Spec {
        name: "bans",
        arguments: "[AFTER]",
        about: "list bans and mutes",
        is_control: true,
        read: |text| {
            let after = (!text.is_empty()).then(|| word(text).map(str::to_owned));
            controlled(after.map_or(Some(None), |after| after.map(Some)).map(Control::Bans))
        },
    },
    Spec {
        name: "mute",
        arguments: "NAME|#ID [TIME]",
        about: "nobody hears NAME any more",
        is_control: true,
        read: |text| controlled(control::mute(text)),
    },
    Spec {
        name: "unmute",
        arguments: "NAME",
        about: "lift a mute",
        is_control: true,
        read: |text| controlled(word(text).map(|whom| Control::Unmute(whom.to_owned()))),
    },
    Spec {
        name: "say",
        arguments: "TEXT",
        about: "tell everybody TEXT",
        is_control: true,
        read: |text| controlled((!text.is_empty()).then(|| Control::Say(text.to_owned()))),
    },
    Spec {
        name: "drain",
        arguments: "[TIME|off]",
        about: "let nobody in, and stop after TIME",
        is_control: true,
        read: |text| controlled(control::drain(text)),
    },
    Spec {
        name: "stats",
        arguments: "",
        about: "show numbers about chatd",
        is_control: true,
        read: |text| alone(text, Command::Control(Control::Stats)),
    },
    Spec {
        name: "nodes",
        arguments: "",
        about: "list the nodes of the cluster",
        is_control: true,
        read: |text| alone(text, Command::Control(Control::Nodes)),
    },
    Spec {
        name: "sessions",
        arguments: "[#ID]",
        about: "list 500 connections, those after #ID",
        is_control: true,
        read: |text| controlled(control::sessions(text)),
    },
    Spec {
        name: "watch",
        arguments: "[ROOM|*]",
        about: "hear a room without being in it, or no longer",
        is_control: true,
        read: |text| match text {
            "" => controlled(Some(Control::Watch(None))),
            "*" => controlled(Some(Control::Watch(Some(Watched::All)))),
            room => word(room).map(|room| Name::parse(room).map(watch)),
        },
    },
    Spec {
        name: "log",
        arguments: "error|warn|info|debug",
        about: "log from this level on, until a reload",
        is_control: true,
        read: |text| controlled(control::log(text)),
    },
];

/// Names are unique, so they decide.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Spec {
    /// Returns the command with this name, in upper or lower case; `None` if there is none.
    pub fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
    }

    /// Returns whether the command means nothing to an operator who is in no room, as [`Command::needs_room`] does.
    pub fn needs_room(&self) -> bool {
        !self.is_control && !["help", "rooms", "sync", "quit"].contains(&self.name)
    }

    /// Returns the command that a mistyped word probably means: at most two edits away, one if the word has up to three
    /// characters (optimal string alignment distance). `None` if there is none.
    pub fn nearest(word: &str) -> Option<&'static Self> {
        // The cost is the product of the two lengths, and no such long word is a mistyped command.
        if word.len() > MAX_MISTYPED {
            return None;
        }
        let word = word.to_ascii_lowercase();
        // Operators know what they can do; the others need not.
        let open = COMMANDS.iter().filter(|spec| !spec.is_control);
        let distance = |spec: &&Self| strsim::osa_distance(spec.name, &word);
        let most = if word.chars().count() <= 3 { 1 } else { 2 };
        open.min_by_key(distance).filter(|spec| distance(spec) <= most)
    }
}

/// Writes how to type the command: `/nick NAME [KEY]`.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.arguments.is_empty() { "" } else { " " };
        write!(f, "/{}{space}{}", self.name, self.arguments)
    }
}

/// What a line is.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// Text for the room: the line, without the first of two slashes.
    Text(&'a [u8]),
    /// A command.
    Command(Command),
    /// A known command with wrong arguments.
    Refused(CommandError),
    /// A line with a slash and no known command: the word after the slash. Empty if the line is not UTF-8.
    Unknown(&'a str),
}

impl Line<'_> {
    /// Returns whether this is a command that only operators can use, with right or wrong arguments.
    pub fn is_control(&self) -> bool {
        match self {
            Self::Command(Command::Control(_)) => true,
            Self::Refused(CommandError::Usage(spec)) => spec.is_control,
            _ => false,
        }
    }
}

/// Returns what a line is. It has to be clean (except with `raw`) and without its LF.
pub fn read(line: &[u8]) -> Line<'_> {
    let Some(rest) = line.strip_prefix(b"/") else { return Line::Text(line) };
    if rest.starts_with(b"/") {
        return Line::Text(rest);
    }
    // With `raw` the line may not be UTF-8. Then it is no command.
    let Ok(rest) = std::str::from_utf8(rest) else { return Line::Unknown("") };
    let (word, text) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let Some(spec) = Spec::find(word) else { return Line::Unknown(word) };
    match (spec.read)(trimmed(text)) {
        Some(Ok(command)) => Line::Command(command),
        Some(Err(error)) => Line::Refused(CommandError::Name(error)),
        None => Line::Refused(CommandError::Usage(spec)),
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Reads the arguments of a command that takes none.
fn alone(text: &str, command: Command) -> Option<Result<Command, NameError>> {
    text.is_empty().then_some(Ok(command))
}

/// What only operators can ask for.
fn controlled(control: Option<Control>) -> Option<Result<Command, NameError>> {
    control.map(|control| Ok(Command::Control(control)))
}

fn watch(room: Name) -> Command {
    Command::Control(Control::Watch(Some(Watched::Room(room))))
}

/// Reads an argument that is one word.
fn word(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains([' ', '\t'])).then_some(text)
}

/// Parses which lines to show: `since SEQ [EPOCH]`, or how many and with which text.
fn recall(text: &str) -> Option<Recall> {
    let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if first.eq_ignore_ascii_case("since") {
        let mut numbers = rest.split([' ', '\t']).filter(|word| !word.is_empty()).map(str::parse);
        let seq = numbers.next()?.ok()?;
        let epoch = numbers.next().transpose().ok()?;
        return numbers.next().is_none().then_some(Recall::Since { seq, epoch });
    }
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    let lines = if is_number { Some(count(first)?) } else { None };
    let pattern = if is_number { trimmed(rest) } else { text };
    Some(Recall::Last { lines, pattern: (!pattern.is_empty()).then(|| pattern.to_owned()) })
}

/// Reads a number of lines; `None` for 0, [`u32::MAX`] for a larger number.
fn count(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(u32::MAX))?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(line: &str) -> Command {
        match read(line.as_bytes()) {
            Line::Command(command) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn last_takes_a_number_a_text_or_where_to_begin() {
        let last = |lines, pattern: Option<&str>| {
            Command::Last(Recall::Last { lines, pattern: pattern.map(str::to_owned) })
        };
        let since = |seq, epoch| Command::Last(Recall::Since { seq, epoch });
        for (line, expected) in [
            ("/last", last(None, None)),
            ("/last 5", last(Some(5), None)),
            ("/last 99999999999", last(Some(u32::MAX), None)),
            ("/last  deploy  done ", last(None, Some("deploy  done"))),
            ("/last 5 deploy done", last(Some(5), Some("deploy done"))),
            ("/last 5 5", last(Some(5), Some("5"))),
            ("/last 5x", last(None, Some("5x"))),
            ("/last since 0", since(0, None)),
            ("/last since 7  8", since(7, Some(8))),
            ("/last SINCE\t7", since(7, None)),
            ("/last 20 since then", last(Some(20), Some("since then"))),
            ("/last sincere", last(None, Some("sincere"))),
        ] {
            assert_eq!(command(line), expected, "{line}");
        }
    }

    fn usage(line: &str) -> String {
        match read(line.as_bytes()) {
            Line::Refused(CommandError::Usage(spec)) => spec.to_string(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn each_command_is_understood() {
        let name = |text: &str| Name::parse(text).unwrap();
        assert_eq!(command("/help"), Command::Help);
        assert_eq!(command("/NICK  ann "), Command::Nick(name("ann"), None));
        assert_eq!(command("/who"), Command::Who);
        assert_eq!(command("/me waves  both hands"), Command::Me("waves  both hands".into()));
        assert_eq!(
            command("/msg bob  psst, you "),
            Command::Msg { to: "bob".into(), text: "psst, you".into() }
        );
        assert_eq!(command("/join ops"), Command::Join(name("ops")));
        assert_eq!(command("/rooms"), Command::Rooms);
        let key = Key(7);
        assert_eq!(command(&format!("/nick ann  {key} ")), Command::Nick(name("ann"), Some(key)));
        assert_eq!(command("/sync a-1"), Command::Sync("a-1".into()));
        assert_eq!(command("/view JSON"), Command::View(View::Json));
        assert_eq!((command("/time on"), command("/time Off")), (Command::Time(true), Command::Time(false)));
        assert_eq!(command("/ignore guest7"), Command::Ignore("guest7".into()));
        assert_eq!(command("/quit"), Command::Quit);
    }

    const LONG_TOKEN: &str = "/sync 0123456789012345678901234567890123456789012345678901234567890123x";

    #[test]
    fn a_command_that_is_not_meant_so_says_how_it_is() {
        for (line, meant) in [
            ("/help me", "/help"),
            ("/nick", "/nick NAME [KEY]"),
            ("/nick a b", "/nick NAME [KEY]"),
            ("/me", "/me TEXT"),
            ("/msg bob", "/msg NAME TEXT"),
            ("/msg", "/msg NAME TEXT"),
            ("/last 0", "/last [N] [TEXT]"),
            ("/nick ann bob", "/nick NAME [KEY]"),
            ("/last since", "/last [N] [TEXT]"),
            ("/last since -1", "/last [N] [TEXT]"),
            ("/last since 18446744073709551616", "/last [N] [TEXT]"),
            ("/last since 7 8 9", "/last [N] [TEXT]"),
            ("/sync", "/sync TOKEN"),
            ("/sync \u{200b}", "/sync TOKEN"),
            ("/sync a b", "/sync TOKEN"),
            (LONG_TOKEN, "/sync TOKEN"),
            ("/view", "/view plain|names|json"),
            ("/view all", "/view plain|names|json"),
            ("/time 5", "/time on|off"),
            ("/ignore", "/ignore NAME"),
            ("/join", "/join ROOM"),
            ("/quit now", "/quit"),
        ] {
            assert_eq!(usage(line), meant, "{line}");
        }
        assert_eq!(read(b"/nick <b>"), Line::Refused(CommandError::Name(NameError::BadCharacter)));
    }

    #[test]
    fn what_is_no_command_is_said_to_be_so() {
        assert_eq!(read(b"//who"), Line::Text(b"/who"));
        assert_eq!(read(b" /who"), Line::Text(b" /who"));
        assert_eq!(read(b""), Line::Text(b""));
        for (line, word) in
            [("/", ""), ("/usr/bin/foo failed", "usr/bin/foo"), ("/mgs bob x", "mgs"), ("/ who", "")]
        {
            assert_eq!(read(line.as_bytes()), Line::Unknown(word));
        }
    }

    #[test]
    fn a_mistyped_word_has_a_nearest_command() {
        let nearest = |word| Spec::nearest(word).map(|spec| spec.name);
        assert_eq!(nearest("mgs"), Some("msg"));
        assert_eq!(nearest("nik"), Some("nick"));
        assert_eq!(nearest("RoomS"), Some("rooms"));
        assert_eq!(nearest("usr/bin/foo"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn a_command_and_its_row_agree_on_whether_they_need_a_room() {
        for spec in &COMMANDS {
            let arguments = ["", "json", "on", "ann", "ann psst", "1h", "debug"];
            let lines = arguments.map(|arguments| format!("/{} {arguments}", spec.name));
            let command = lines.iter().find_map(|line| match read(line.as_bytes()) {
                Line::Command(command) => Some(command),
                _ => None,
            });
            assert_eq!(command.unwrap().needs_room(), spec.needs_room(), "{spec}");
        }
    }

    #[test]
    fn an_operator_begins_with_a_whole_line() {
        let begins = |text: &str| control::begins_with_operate(text.as_bytes());
        assert!(begins("/control\n") && begins("/control\r\n/stats\n"));
        assert!(!["", "/control", "/control x\n", "/controls\n", "x/control\n"].into_iter().any(begins));
    }

    #[test]
    fn the_table_has_each_word_once_and_fits_a_terminal() {
        for spec in &COMMANDS {
            assert_eq!(Spec::find(spec.name), Some(spec));
            assert!(spec.to_string().len() + spec.about.len() < 66, "{spec}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>) {
            let read = read(&line);
            if !line.starts_with(b"/") {
                prop_assert_eq!(read, Line::Text(&line));
            }
        }
    }
}
