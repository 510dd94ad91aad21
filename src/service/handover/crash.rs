//! Makes a handover from the crash table of a process that has died: who each session is, and where half a line is.
//! What that process had read and not passed on is lost. Members in `names` and `json` are told.

use std::collections::{HashMap, HashSet};

use zeroize::Zeroizing;

use super::Handover;
use crate::chat::{HubSnapshot, MemberSnapshot, Reading, SessionId, SessionSnapshot, Standing};
use crate::net::crash_table::{FIRST_BYTE, HANDSHAKE, Left, LeftSession, READING, RECEIVING, WRITING};
use crate::net::proxy::Recorded;
use crate::protocol::{Form, Framer, Notice, Opening, View};

/// Returns a handover of the sessions in the table that still have a connection. `has_input` says whether something has
/// come to one of them that has not been read.
pub(super) fn handover(left: Left, ids: &[SessionId], has_input: impl Fn(SessionId) -> bool) -> Handover {
    let known: HashMap<SessionId, LeftSession> =
        left.sessions.into_iter().map(|session| (session.id, session)).collect();
    let sessions =
        ids.iter().filter_map(|id| known.get(id)).filter_map(|left| go_on(left, &has_input)).collect();
    let hub = HubSnapshot { sessions, ..HubSnapshot::from_notes(left.notes) };
    Handover { last: left.next, hub, cluster: Vec::new() }
}

/// Returns the sessions that cannot be told anything: nobody has the keys of their TLS connections.
pub(super) fn silent(left: &Left) -> HashSet<SessionId> {
    let is_silent = |session: &&LeftSession| session.marks & HANDSHAKE != 0;
    left.sessions.iter().filter(is_silent).map(|session| session.id).collect()
}

/// Returns from what new keys of TLS follow, of each session that may have some.
pub(super) fn secrets(left: &Left) -> HashMap<SessionId, Zeroizing<Vec<u8>>> {
    left.sessions.iter().filter_map(|session| Some((session.id, session.secrets.clone()?))).collect()
}

/// Returns how a session goes on; `None` if a proxy had not said who the client is, or in a handshake of TLS.
fn go_on(left: &LeftSession, has_input: impl Fn(SessionId) -> bool) -> Option<SessionSnapshot> {
    let id = left.id;
    let (client, record) = match left.record.as_deref().map(Recorded::split) {
        Some((Recorded::Awaited, _)) => return None,
        Some((Recorded::Client(client), record)) => (Some(client), Some(record)),
        Some((Recorded::Direct, record)) => (None, Some(record)),
        None => (None, None),
    };
    if left.marks & HANDSHAKE != 0 {
        return None;
    }
    let ignored = left.ignored.as_deref().unwrap_or_default();
    let standing = record.and_then(|record| Standing::decode(record, ignored));
    let standing = standing.filter(|one| one.id == id);
    // The hub had it if it was being greeted, or had its name.
    let has_joined = left.marks & WRITING != 0 || standing.as_ref().is_some_and(|one| one.who.is_some());
    if left.marks & FIRST_BYTE != 0 && !has_joined {
        // It goes on waiting for that, and then joins.
        return Some(SessionSnapshot { id, member: None, reading: Reading { client, ..Reading::default() } });
    }
    let standing = standing
        .unwrap_or_else(|| Standing { ignored: Standing::decode_ignored(ignored), ..Standing::plain(id) });
    let told = told(left.marks, standing.form());
    // Half of the line is lost, so drop the rest. If it died while it read, that may be so, too; what comes later is
    // another line.
    let is_half = left.marks & READING != 0 || left.marks & RECEIVING != 0 && has_input(id);
    let framer = Framer { dropping: is_half, ..Framer::default() };
    let opening = Opening { decided: true, ..Opening::default() };
    let reading = Reading { framer, opening, client, ..Reading::default() };
    Some(SessionSnapshot { id, member: Some(MemberSnapshot::after_crash(standing, told)), reading })
}

/// Returns what a session is sent first: the end of half a line, and the notice. If a send was under way, half a line
/// may or may not have gone out; then the session may get one empty line.
fn told(marks: u64, form: Form) -> Vec<u8> {
    let mut told = Vec::new();
    if marks & WRITING != 0 {
        told.push(b'\n');
    }
    if form.view() != View::Plain {
        form.notice(&Notice::Crashed, &mut told);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_being_greeted_is_not_greeted_again() {
        let id = SessionId(7);
        let joined = MemberSnapshot::after_crash(Standing::plain(id), b"\n".to_vec());
        for (marks, expected) in [(FIRST_BYTE, None), (FIRST_BYTE | WRITING, Some(joined))] {
            let sessions = vec![LeftSession { id, marks, record: None, ignored: None, secrets: None }];
            let handover = handover(Left { sessions, ..Left::default() }, &[id], |_| false);
            assert_eq!(handover.hub.sessions[0].member, expected, "{marks}");
        }
    }

    #[test]
    fn what_may_be_the_rest_of_a_line_is_dropped() {
        let id = SessionId(7);
        for (marks, has_input, drops) in [
            (READING, false, true),
            (RECEIVING, true, true),
            // What comes later is another line.
            (RECEIVING, false, false),
            (0, true, false),
        ] {
            let sessions = vec![LeftSession { id, marks, record: None, ignored: None, secrets: None }];
            let handover = handover(Left { sessions, ..Left::default() }, &[id], |_| has_input);
            assert_eq!(handover.hub.sessions[0].reading.framer.dropping, drops, "{marks} {has_input}");
        }
    }
}
