//! Commands: what a member asks for with a line that begins with a slash.
//!
//! [`super::syntax`] has how they are typed. The hub carries them out in `chat::commands` and `chat::control`.

use super::control::Control;
use super::key::Key;
use super::name::Name;
use super::view::View;

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/help`: list the commands.
    Help,
    /// `/nick`: take a name; with its key, even from another connection.
    Nick(Name, Option<Key>),
    /// `/who`: list the members of the room.
    Who,
    /// `/me`: say what the member does.
    Me(String),
    /// `/msg`: send a private message.
    Msg {
        /// The name of the receiver, as typed.
        to: String,
        /// The message.
        text: String,
    },
    /// `/join`: go to another room.
    Join(Name),
    /// `/rooms`: list the rooms.
    Rooms,
    /// `/last`: show lines of the room again.
    Last(Recall),
    /// `/sync`: send the token back when every earlier line of the session has its place in the room.
    Sync(String),
    /// `/view`: change the view.
    View(View),
    /// `/time`: turn times on or off.
    Time(bool),
    /// `/ignore`: ignore the member with this name, as typed; or no longer ignore it.
    Ignore(String),
    /// `/quit`: leave.
    Quit,
    /// `/control`: be in no room, for commands of operators alone.
    Operate,
    /// What only operators can ask for.
    Control(Control),
}

impl Command {
    /// Returns whether the command changes which lines its member gets, or how they look.
    pub fn moves(&self) -> bool {
        matches!(self, Self::Nick(..) | Self::View(_) | Self::Time(_) | Self::Join(_) | Self::Operate)
    }

    /// Returns whether the command means nothing to an operator who is in no room.
    pub fn needs_room(&self) -> bool {
        !matches!(
            self,
            Self::Help | Self::Rooms | Self::Sync(_) | Self::Quit | Self::Operate | Self::Control(_)
        )
    }

    /// Returns whether the command only asks for an answer, which may be long.
    pub fn is_question(&self) -> bool {
        match self {
            Self::Help | Self::Who | Self::Rooms | Self::Last(_) => true,
            Self::Control(control) => control.is_question(),
            _ => false,
        }
    }
}

/// Which lines `/last` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The last lines of the room.
    Last {
        /// Number of lines, at least 1; `None` for the default of 20.
        lines: Option<u32>,
        /// Text that each line contains, in upper or lower case.
        pattern: Option<String>,
    },
    /// The lines after the one with a number.
    Since {
        /// The number.
        seq: u64,
        /// The epoch in which the line had that number; `None` for the room's epoch now.
        epoch: Option<u64>,
    },
}
