//! Orders: what an operator, here or at another node, has all nodes do. `chat::control` has them put in order.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::directory::Directory;
use super::host::{NewBan, Use};
use super::id::{Now, SessionId};
use super::pending::End;
use super::sink::Signal;
use crate::protocol::control::{number, shown};
use crate::protocol::syntax::{self, Line};
use crate::protocol::{Command, Control, Notice, Report, Who};

/// Does what an operator, here or at another node, has all nodes do. The operator is answered by its own node.
pub(super) fn carry_out(
    directory: &mut Directory,
    (by, node): (&Who, Option<&str>),
    line: &str,
    about: Option<SessionId>,
    now: Now,
) {
    let Line::Command(Command::Control(control)) = syntax::read(line.as_bytes()) else { return };
    let Some(host) = &mut directory.operators.host else { return };
    match node {
        None => host.log_use(by, line, Use::Done),
        Some(node) => host.log_order(by, node, line),
    }
    let answer = match control {
        Control::Kick { reason, .. } => about.and_then(|target| kick(directory, target, reason)),
        Control::Mute { time, .. } => about.map(|target| mute(directory, target, end(time, now), by)),
        Control::Ban { subject, time, reason, is_forced } => {
            let until = end(time, now);
            Some(host.ban(NewBan { subject, until, reason, by: by.clone(), is_forced }))
        }
        Control::Unban(subject) => Some(lifted(host.unban(&subject), "ban", subject)),
        Control::Unmute(whom) => Some(unmute(directory, whom)),
        Control::Say(announcement) => {
            tell_all(directory, &Notice::Announcement { announcement });
            None
        }
        _ => None,
    };
    if let Some(answer) = answer.filter(|_| node.is_none()) {
        directory.notify(SessionId(by.id), &answer);
    }
}

/// Returns when something ends that lasts so long from now on; `None` if it does not end.
pub(super) fn end(time: Option<Duration>, now: Now) -> Option<Timestamp> {
    now.wall.checked_add(time?).ok()
}

fn lifted(is_lifted: bool, kind: &str, subject: String) -> Notice {
    let kind = kind.to_owned();
    Notice::from(if is_lifted {
        Report::Lifted { kind, subject }
    } else {
        Report::NotBanned { kind, subject }
    })
}

fn unmute(directory: &mut Directory, whom: String) -> Notice {
    // By its number, if it is there.
    let who = number(&whom).and_then(|id| directory.who(SessionId(id)));
    let name = who.map_or_else(|| whom.clone(), |who| who.to_string());
    let Some(host) = &mut directory.operators.host else { return Notice::Nobody };
    // The plus of a verified name may be left out.
    let is_lifted = host.unmute(&name) || host.unmute(&format!("+{name}"));
    lifted(is_lifted, "mute", name)
}

/// Gives notice to all sessions of this node.
pub(super) fn tell_all(directory: &mut Directory, notice: &Notice) {
    let ids: Vec<SessionId> = directory.sessions().collect();
    ids.into_iter().for_each(|id| directory.notify(id, notice));
}

fn kick(directory: &mut Directory, target: SessionId, reason: String) -> Option<Notice> {
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

fn mute(directory: &mut Directory, target: SessionId, until: Option<Timestamp>, by: &Who) -> Notice {
    let who = directory.who(target);
    let (Some(who), Some(host)) = (who, &mut directory.operators.host) else { return Notice::Nobody };
    if let Err(refusal) = host.mute(&who, until, by) {
        return refusal;
    }
    directory.notify(target, &Notice::Muted { until: shown(until) });
    Notice::from(Report::Mute { name: who.name.to_string(), verified: who.verified, until: shown(until) })
}
