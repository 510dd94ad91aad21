//! Who one is and where: what was asked for, what the daemon has said of it, and what to ask for again.
//!
//! `dialogue` owns it, tells it what was typed and shows it each notice. In text anybody can have said what looks like
//! one, so that counts only if it is what was asked for. Sends nothing itself.

use super::step;
use crate::protocol::{Name, View};

/// What was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// What to be called.
    pub nick: Option<Name>,
    /// Where to go.
    pub room: Option<Name>,
    /// How lines should look.
    pub view: Option<View>,
    /// Whether what was missed is asked for when the connection comes back.
    pub catches_up: bool,
}

/// Who one is, and where.
#[derive(Debug, Default)]
pub struct Identity {
    /// What one is called, if the daemon has said so on this connection.
    name: Option<String>,
    /// What one was called last, to be called that again.
    former: Option<String>,
    /// The name that was asked for last.
    asked: Option<String>,
    /// Where one is, if one has gone anywhere.
    room: Option<String>,
    /// The name and the room that were typed last, where anybody could forge the answers.
    typed: (Option<String>, Option<String>),
}

impl Identity {
    /// A new connection: the name and the room to ask for.
    pub fn open(&mut self, wishes: &Wishes) -> (Option<String>, Option<String>) {
        // Until it is granted, somebody else may have it.
        self.name = None;
        let wish = |former: &Option<String>, wish: &Option<Name>| {
            former.clone().or_else(|| wish.as_ref().map(Name::to_string))
        };
        (wish(&self.former, &wishes.nick), wish(&self.room, &wishes.room))
    }

    /// What one is called, if the daemon has said so on this connection.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What one was called when the connection was lost, or is called now.
    pub fn former(&self) -> Option<&str> {
        self.former.as_deref()
    }

    /// That name is asked for.
    pub fn ask(&mut self, name: &str) {
        self.asked = Some(name.to_owned());
    }

    /// Whether these lines do nothing but that.
    pub fn is_asked_in(&self, lines: &[String]) -> bool {
        let [line] = lines else { return false };
        line.strip_prefix("/nick ").is_some_and(|name| self.asked.as_deref() == Some(name))
    }

    /// That name was typed.
    pub fn type_name(&mut self, name: &Name) {
        self.typed.0 = Some(name.to_string());
    }

    /// That room was typed.
    pub fn type_room(&mut self, room: &Name) {
        self.typed.1 = Some(room.to_string());
    }

    /// Notes what a notice says of one's name; unless it is sure, it has to be what was typed.
    pub fn note_name(&mut self, text: &str, is_sure: bool) {
        let name = step::name_given(text);
        let is_typed = name.is_some() && name == self.typed.0.as_deref();
        if let Some(name) = name.filter(|_| is_sure || is_typed) {
            self.take_name(name);
        }
    }

    /// Whether a notice says that one's name is what was asked for, and that nobody can change it.
    pub fn note_verified(&mut self, text: &str) -> bool {
        let name = step::name_verified(text).filter(|name| self.asked.as_deref() == Some(name));
        name.inspect(|name| self.take_name(name)).is_some()
    }

    fn take_name(&mut self, name: &str) {
        self.name = Some(name.to_owned());
        self.former.clone_from(&self.name);
    }

    /// Notes what a notice says of one's room, in the same way; says whether it does.
    pub fn note_room(&mut self, text: &str, is_sure: bool) -> bool {
        let room = step::room_entered(text);
        let is_typed = room.is_some() && room == self.typed.1.as_deref();
        let room = room.filter(|_| is_sure || is_typed);
        room.inspect(|room| self.room = Some((*room).to_owned())).is_some()
    }
}
