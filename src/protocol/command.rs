//! Commands: what a line that begins with a slash asks for.
//!
//! [`COMMANDS`] is the one list of them: `/help`, chatd-protocol(7) and the hub are held against it. [`read`] is called
//! for each line of a session; who it is that speaks, and what is done, is decided elsewhere. Never fails: what is not
//! understood is said to be so.

use std::fmt;

use super::name::{Name, NameError};
use super::view::View;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What there is to ask for.
    Help,
    /// To be called that.
    Nick(Name),
    /// Who is in the room.
    Who,
    /// To say what one does.
    Me(String),
    /// To say something to one member alone.
    Msg {
        /// To whom, as it was typed.
        to: String,
        /// What.
        text: String,
    },
    /// To go to another room.
    Join(Name),
    /// Which rooms there are.
    Rooms,
    /// What has been said last; so many lines.
    Last(Option<u32>),
    /// To be shown lines in another way.
    View(View),
    /// To be shown times, or not.
    Time(bool),
    /// To hear somebody, as typed, no more; or again.
    Ignore(String),
    /// To leave.
    Quit,
}

impl Command {
    /// Says whether it changes which lines a member is shown, or how.
    pub fn moves(&self) -> bool {
        matches!(self, Self::Nick(_) | Self::View(_) | Self::Time(_) | Self::Join(_))
    }

    /// Returns whether all that comes of it is an answer, which may be long.
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Help | Self::Who | Self::Rooms | Self::Last(_))
    }
}

/// Why a known command is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CommandError {
    /// It is meant otherwise.
    Usage(&'static Spec),
    /// It has something that cannot be a name.
    Name(NameError),
}

/// One command.
#[derive(Debug)]
pub struct Spec {
    /// The word, without its slash.
    pub name: &'static str,
    /// What comes after it.
    pub arguments: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    read: fn(&str) -> Option<Result<Command, NameError>>,
}

/// The longest word, in bytes, that may be a mistyped command.
const MAX_MISTYPED: usize = 16;

/// Every command, in the order in which `/help` shows them.
pub static COMMANDS: [Spec; 12] = [
    Spec { name: "help", arguments: "", about: "show this", read: |text| alone(text, Command::Help) },
    Spec {
        name: "nick",
        arguments: "NAME",
        about: "be called NAME, and see who says what",
        read: |text| word(text).map(|name| Name::parse(name).map(Command::Nick)),
    },
    Spec { name: "who", arguments: "", about: "who is here", read: |text| alone(text, Command::Who) },
    Spec {
        name: "me",
        arguments: "TEXT",
        about: "say what you do: * NAME TEXT",
        read: |text| (!text.is_empty()).then(|| Ok(Command::Me(text.to_owned()))),
    },
    Spec {
        name: "msg",
        arguments: "NAME TEXT",
        about: "say TEXT to NAME alone",
        read: |text| {
            let (to, text) = text.split_once([' ', '\t'])?;
            Some(Ok(Command::Msg { to: to.to_owned(), text: trimmed(text).to_owned() }))
        },
    },
    Spec {
        name: "join",
        arguments: "ROOM",
        about: "go to another room, made on demand",
        read: |text| word(text).map(|name| Name::parse(name).map(Command::Join)),
    },
    Spec {
        name: "rooms",
        arguments: "",
        about: "which rooms there are",
        read: |text| alone(text, Command::Rooms),
    },
    Spec {
        name: "last",
        arguments: "[N]",
        about: "show the last lines again",
        read: |text| {
            if text.is_empty() {
                Some(Ok(Command::Last(None)))
            } else {
                count(text).map(|n| Ok(Command::Last(Some(n))))
            }
        },
    },
    Spec {
        name: "view",
        arguments: "plain|names|json",
        about: "how lines are shown to you",
        read: |text| View::parse(text).map(|view| Ok(Command::View(view))),
    },
    Spec {
        name: "time",
        arguments: "on|off",
        about: "show when each line was said",
        read: |text| match text.to_ascii_lowercase().as_str() {
            "on" => Some(Ok(Command::Time(true))),
            "off" => Some(Ok(Command::Time(false))),
            _ => None,
        },
    },
    Spec {
        name: "ignore",
        arguments: "NAME",
        about: "hear NAME no more; once more: again",
        read: |text| word(text).map(|name| Ok(Command::Ignore(name.to_owned()))),
    },
    Spec { name: "quit", arguments: "", about: "leave", read: |text| alone(text, Command::Quit) },
];

/// Each has a name of its own.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Spec {
    /// The command of that name, in lower or upper case.
    pub fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
    }

    /// The command that a mistyped word probably means.
    pub fn nearest(word: &str) -> Option<&'static Self> {
        // The comparison takes the product of the lengths, and nothing that long is meant to be one of them.
        if word.len() > MAX_MISTYPED {
            return None;
        }
        let word = word.to_ascii_lowercase();
        let distance = |spec: &&Self| strsim::osa_distance(spec.name, &word);
        let most = if word.chars().count() <= 3 { 1 } else { 2 };
        COMMANDS.iter().min_by_key(distance).filter(|spec| distance(spec) <= most)
    }
}

/// How it is typed: `/nick NAME`.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.arguments.is_empty() { "" } else { " " };
        write!(f, "/{}{space}{}", self.name, self.arguments)
    }
}

/// What a line is.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// Something to be said: all of it, or without the first of two slashes.
    Text(&'a [u8]),
    /// A command.
    Command(Command),
    /// A command that is not meant so.
    Refused(CommandError),
    /// It begins with a slash, and is no command: the word.
    Unknown(&'a str),
}

/// What a clean line, without its LF, is.
pub fn read(line: &[u8]) -> Line<'_> {
    let Some(rest) = line.strip_prefix(b"/") else { return Line::Text(line) };
    if rest.starts_with(b"/") {
        return Line::Text(rest);
    }
    // With `raw` it may be no text; then it is no command either.
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

/// A command that takes nothing.
fn alone(text: &str, command: Command) -> Option<Result<Command, NameError>> {
    text.is_empty().then_some(Ok(command))
}

/// One word.
fn word(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains([' ', '\t'])).then_some(text)
}

/// A number of lines; what is too large is very many.
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
        assert_eq!(command("/NICK  ann "), Command::Nick(name("ann")));
        assert_eq!(command("/who"), Command::Who);
        assert_eq!(command("/me waves  both hands"), Command::Me("waves  both hands".into()));
        assert_eq!(
            command("/msg bob  psst, you "),
            Command::Msg { to: "bob".into(), text: "psst, you".into() }
        );
        assert_eq!(command("/join ops"), Command::Join(name("ops")));
        assert_eq!(command("/rooms"), Command::Rooms);
        assert_eq!((command("/last"), command("/last 5")), (Command::Last(None), Command::Last(Some(5))));
        assert_eq!(command("/last 99999999999"), Command::Last(Some(u32::MAX)));
        assert_eq!(command("/view JSON"), Command::View(View::Json));
        assert_eq!((command("/time on"), command("/time Off")), (Command::Time(true), Command::Time(false)));
        assert_eq!(command("/ignore guest7"), Command::Ignore("guest7".into()));
        assert_eq!(command("/quit"), Command::Quit);
    }

    #[test]
    fn a_command_that_is_not_meant_so_says_how_it_is() {
        for (line, meant) in [
            ("/help me", "/help"),
            ("/nick", "/nick NAME"),
            ("/nick a b", "/nick NAME"),
            ("/me", "/me TEXT"),
            ("/msg bob", "/msg NAME TEXT"),
            ("/msg", "/msg NAME TEXT"),
            ("/last 0", "/last [N]"),
            ("/last -1", "/last [N]"),
            ("/last many", "/last [N]"),
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
