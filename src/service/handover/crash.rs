//! What can be known of sessions whose process has died: who they are, from its journal, and what half of a line is
//! where, from its marks. What it had read and not passed on is lost; each is told so that can be.

use std::collections::{HashMap, HashSet};

use crate::chat::{KeptHouse, KeptMember, KeptRoom, Note, SessionId, Standing};
use crate::net::session::KeptSession;
use crate::protocol::{Form, Name, Notice, View};

use super::Handover;

/// What the dead process has left, put together.
#[derive(Debug, Default)]
pub(super) struct Remains {
    standings: HashMap<SessionId, Standing>,
    gone: HashSet<SessionId>,
    said: Vec<(Name, u64)>,
    marks: HashMap<SessionId, u64>,
    /// No session has had this number, or a greater one.
    next: u64,
}

impl Remains {
    pub(super) fn new(notes: Vec<Note>, marks: Vec<(SessionId, u64)>, next: u64) -> Self {
        let mut remains = Self { next, ..Self::default() };
        for (id, mark) in marks {
            *remains.marks.entry(id).or_default() |= mark;
        }
        for note in notes {
            match note {
                Note::Standing(standing) => drop(remains.standings.insert(standing.id, standing)),
                Note::Gone(id) => {
                    remains.standings.remove(&id);
                    remains.gone.insert(id);
                }
                Note::Said { room, below } => match remains.said.iter_mut().find(|(name, _)| *name == room) {
                    Some((_, before)) => *before = below,
                    None => remains.said.push((room, below)),
                },
            }
        }
        remains
    }

    /// How to go on with those whose connections there still are.
    pub(super) fn handover(mut self, ids: &[SessionId]) -> Handover {
        let rooms = self.said.drain(..).map(|(name, below)| KeptRoom::without_lines(name, below)).collect();
        let mut house = KeptHouse { rooms, ..KeptHouse::default() };
        let mut sessions = Vec::new();
        for id in ids.iter().filter(|id| !self.gone.contains(id)) {
            let standing = self.standings.remove(id).unwrap_or_else(|| Standing::plain(*id));
            let marks = self.marks.get(id).copied().unwrap_or(0);
            let told = told(marks, standing.form());
            house.members.push(KeptMember { standing, place: None, told });
            sessions.push(KeptSession::marked(*id, marks));
        }
        Handover { last: self.next, house, sessions }
    }
}

/// What one of them is told: half a line that was written to it gets an end. Where a send was under way, nobody knows
/// whether it was half a line: then an empty line may come of it, for one of them.
fn told(marks: u64, form: Form) -> Vec<u8> {
    let mut told = Vec::new();
    if marks & crate::net::marks::WRITING != 0 {
        told.push(b'\n');
    }
    if form.view() != View::Plain {
        Notice::Crashed.encode(form, &mut told);
    }
    told
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::testing::{Person, Socket, TestHouse};
    use crate::chat::{House, Limits, Outlet, Reader};
    use crate::net::marks::{READING, WRITING};

    #[test]
    fn half_a_line_is_marked_until_it_has_an_end() {
        let (id, socket, clock) = (SessionId(7), Arc::new(Socket::default()), TestHouse::default());
        let limits = Limits { log_size: 4096, history: 0, max_rooms: 1, min_rate: 1 };
        let notes = vec![Note::Standing(Standing::plain(id))];
        let Handover { house, sessions, .. } =
            Remains::new(notes, vec![(id, READING | WRITING)], 8).handover(&[id]);
        let outlet_of = |_| Some(Arc::clone(&socket) as Arc<dyn Outlet>);
        let house = House::put_back(limits, house, clock.time(), outlet_of).unwrap();
        let member = Arc::clone(house.members().next().unwrap());
        let mut person = Person { reader: Reader::new(member), socket };
        let marks = |person: &Person| sessions[0].marks(person.reader.member().is_torn());
        assert_eq!(marks(&person), READING | WRITING);
        person.read(0);
        assert_eq!(marks(&person), READING | WRITING, "the end has not been sent");
        person.read(1);
        assert_eq!((person.heard().as_str(), marks(&person)), ("\n", READING));
    }
}
