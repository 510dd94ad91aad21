//! Answers: the words with which chatd answers whoever has typed a command.
//!
//! Each is one notice, or a few, for that member alone. What somebody has typed comes back in them only as a name,
//! which cannot contain anything that means something.

use std::fmt;

use super::command::{COMMANDS, CommandError, Spec};
use super::name::Name;
use super::said::Who;
use super::view::{Form, View};

/// An answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `/help`.
    Help,
    /// The command is meant otherwise.
    Refused(CommandError),
    /// There is no such command, but perhaps this one was meant.
    Unknown(Option<&'static Spec>),
    /// To `/nick`.
    Named(Name),
    /// Somebody else is called that, or nearly so.
    Taken {
        /// What was asked for.
        name: Name,
        /// What is free.
        hint: Option<Name>,
    },
    /// To `/who`.
    Who {
        /// How many are there.
        count: usize,
        /// The first of them.
        names: Vec<String>,
    },
    /// The kernel says what one is called: one cannot be called anything else.
    IsVerified(Name),
    /// One is a guest again, for somebody has come of whom the kernel says that he or she is called that.
    Deposed {
        /// What the kernel says.
        name: Name,
        /// What one is called now.
        now: Name,
    },
    /// To `/msg`.
    Told(Who),
    /// Nobody is called that.
    NobodyCalledThat,
    /// Nobody is called that, but these look like it.
    OnlyAlike(Vec<String>),
    /// One cannot talk to oneself, or ignore oneself.
    ThatIsYou,
    /// The other does not want to hear.
    IgnoresYou(Who),
    /// The other has too much to read already.
    DoesNotRead(Who),
    /// To `/join`.
    Entered {
        /// Where one is now.
        room: Name,
        /// With whom, oneself counted.
        members: usize,
    },
    /// One is in that room.
    AlreadyThere,
    /// There are as many as there may be.
    TooManyRooms(usize),
    /// There is no memory for another room, or for a view that nobody there has.
    NoMemory,
    /// To `/rooms`.
    Rooms {
        /// How many there are.
        count: usize,
        /// The fullest of them, with how many members.
        rooms: Vec<(Name, usize)>,
    },
    /// So many lines follow.
    Last(usize),
    /// They are over.
    EndOfLast,
    /// Nothing is kept.
    NoHistory,
    /// To `/view`.
    Viewed(View),
    /// To `/time`.
    Timed {
        /// What was asked for.
        times: bool,
        /// How lines are shown.
        view: View,
    },
    /// To `/ignore`.
    Ignored(Who),
    /// To `/ignore`, the second time.
    HeardAgain(Who),
    /// One ignores as many as one may.
    IgnoresTooMany(usize),
}

impl Answer {
    /// Appends the answer as lines in a form.
    pub fn encode(&self, form: Form, out: &mut Vec<u8>) {
        match self {
            Self::Help => {
                for spec in &COMMANDS {
                    form.notice(format_args!("{:<24} {}", spec.to_string(), spec.about), out);
                }
                form.notice(format_args!("{:<24} {}", "//TEXT", "say /TEXT"), out);
            }
            one => form.notice(one, out),
        }
    }
}

/// The words, without what marks them as chatd's.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("see /help"),
            Self::Refused(CommandError::Usage(spec)) => write!(f, "usage: {spec}"),
            Self::Refused(CommandError::Name(error)) => error.fmt(f),
            Self::Unknown(Some(spec)) => write!(f, "no such command, nobody got it; did you mean {spec}?"),
            Self::Unknown(None) => {
                f.write_str("no such command, nobody got it; see /help, or say it with two slashes")
            }
            Self::Named(name) => write!(f, "you are {name} now; /help says what else there is"),
            Self::Taken { name, hint: Some(hint) } => {
                write!(f, "{name} is taken, or looks like a name that is; {hint} is free")
            }
            Self::Taken { name, hint: None } => write!(f, "{name} is taken, or looks like a name that is"),
            Self::Who { count, names } => listed(f, *count, "here", names),
            Self::IsVerified(name) => {
                write!(f, "you are +{name}: this machine says so, and nobody can change it")
            }
            Self::Deposed { name, now } => {
                write!(f, "+{name} has come, a user of this machine: you are {now} now")
            }
            Self::Told(name) => write!(f, "told {name}"),
            Self::NobodyCalledThat => f.write_str("nobody is called that; see /who"),
            Self::OnlyAlike(names) => {
                write!(f, "nobody is called exactly that; there is {}", names.join(", "))
            }
            Self::ThatIsYou => f.write_str("that is you"),
            Self::IgnoresYou(name) => write!(f, "{name} ignores you, and did not get it"),
            Self::DoesNotRead(name) => write!(f, "{name} does not read, and did not get it"),
            Self::Entered { room, members } => write!(f, "you are in {room} now ({members} here)"),
            Self::AlreadyThere => f.write_str("you are there"),
            Self::TooManyRooms(1) => f.write_str("there is 1 room already; see /rooms"),
            Self::TooManyRooms(most) => write!(f, "there are {most} rooms already; see /rooms"),
            Self::NoMemory => f.write_str("chatd has little memory left; try again later"),
            Self::Rooms { count, rooms } => {
                let texts: Vec<_> =
                    rooms.iter().map(|(name, members)| format!("{name} ({members})")).collect();
                let noun = if *count == 1 { "room" } else { "rooms" };
                listed(f, *count, noun, &texts)
            }
            Self::Last(0) => f.write_str("nothing has been said yet"),
            Self::Last(1) => f.write_str("the last line:"),
            Self::Last(lines) => write!(f, "the last {lines} lines:"),
            Self::EndOfLast => f.write_str("that was the last"),
            Self::NoHistory => f.write_str("nothing is kept here to be shown again"),
            Self::Viewed(view) => write!(f, "lines are shown in {} now", view.name()),
            Self::Timed { times: false, .. } => f.write_str("times are not shown"),
            Self::Timed { view: View::Plain, .. } => f.write_str("times will be shown in names"),
            Self::Timed { .. } => f.write_str("times are shown"),
            Self::Ignored(name) => write!(f, "you do not hear {name} any more; /ignore {name} undoes it"),
            Self::HeardAgain(name) => write!(f, "you hear {name} again"),
            Self::IgnoresTooMany(most) => write!(f, "you ignore {most} already, and hear this one still"),
        }
    }
}

/// `3 here: ann, bob, guest7`; of very many, the first and how many more.
fn listed(f: &mut fmt::Formatter<'_>, count: usize, noun: &str, names: &[String]) -> fmt::Result {
    write!(f, "{count} {noun}: {}", names.join(", "))?;
    match count - names.len() {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
