//! Orders: what an operator, here or at another node, has all nodes do. `chat::control` has them put in order.

use std::sync::Arc;

use super::directory::Directory;
use super::host::Use;
use super::id::SessionId;
use super::pending::End;
use super::sink::Signal;
use crate::protocol::syntax::{self, Line};
use crate::protocol::{Command, Control, Notice, Report, Who};

/// Makes changes of bans and mutes, unless they are known. Returns the answer for who has asked for them.
pub(super) fn change(directory: &mut Directory, changes: &[String], is_known: bool) -> Option<Notice> {
    let host = directory.operators.host.as_mut()?;
    changes.iter().filter_map(|change| host.change(change, is_known)).last()
}

/// Does what an operator, here or at another node, has all nodes do. Its own node gives it the answer: of the changes of
/// bans, or else of what is done here.
pub(super) fn carry_out(
    directory: &mut Directory,
    (by, node): (&Who, Option<&str>),
    (line, about): (&str, Option<SessionId>),
    answer: Option<Notice>,
) {
    let Line::Command(Command::Control(control)) = syntax::read(line.as_bytes()) else { return };
    let Some(host) = &directory.operators.host else { return };
    match node {
        None => host.log_use(by, line, Use::Done),
        Some(node) => host.log_order(by, node, line),
    }
    let answer = match control {
        Control::Kick { reason, .. } => about.and_then(|target| kick(directory, target, reason)),
        Control::Say(announcement) => {
            tell_all(directory, &Notice::Announcement { announcement });
            None
        }
        _ => answer,
    };
    if let (Some(Notice::Report(report)), Some(target)) = (&answer, about)
        && let Report::Mute { until, .. } = &**report
    {
        directory.notify(target, &Notice::Muted { until: until.clone() });
    }
    if let Some(answer) = answer.filter(|_| node.is_none()) {
        directory.notify(SessionId(by.id), &answer);
    }
}

/// Has the host log a command that was refused because only operators can use it.
pub(super) fn log_refused(directory: &Directory, id: SessionId, notice: &Notice, text: &[u8]) {
    if let (Notice::NotOperator, Some(host)) = (notice, &directory.operators.host)
        && let Some(member) = directory.member(id)
    {
        host.log_use(&member.who(), &String::from_utf8_lossy(text.trim_ascii_end()), Use::Refused);
    }
}

/// Gives notice to all sessions of this node.
pub(super) fn tell_all(directory: &mut Directory, notice: &Notice) {
    let ids: Vec<SessionId> = directory.sessions().collect();
    ids.into_iter().for_each(|id| directory.notify(id, notice));
}

/// Closes the connection of a session here. Returns the answer, which is the same if it is on another node.
pub(super) fn kick(directory: &mut Directory, target: SessionId, reason: String) -> Option<Notice> {
    let Some(who) = directory.who(target) else { return Some(Notice::Nobody) };
    let traffic = Arc::clone(&directory.traffic);
    if let Some(member) = directory.member_mut(target) {
        // Nobody hears what it has sent and nobody has got.
        if let Some(input) = member.input.take_if(|input| input.end == End::No) {
            traffic.end_input(input.weight);
            member.sink.signal(Signal::Taken);
        }
        directory.operators.host.as_ref()?.dismiss(target, Notice::Kicked { reason });
    }
    Some(Notice::from(Report::Kick { id: target.0, name: who.name.to_string(), verified: who.verified }))
}
