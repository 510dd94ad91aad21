//! A session's turn: what comes next of what it has sent, and what that has to wait for.

use super::commands;
use super::directory::Directory;
use super::dispatcher::Dispatcher;
use super::feed::MOST_PUT_ASIDE;
use super::id::SessionId;
use super::interpreter::{self, Next};
use super::pending::{End, Wait};
use crate::protocol::Command;

/// Most bytes owed to a session, beyond which chatd takes in nothing more from it until it reads.
pub(super) const MOST_UNREAD: usize = 16 * 1024;

/// When a session goes on with what it has sent.
pub(super) enum Step {
    /// Now.
    Go,
    /// When it has waited for that.
    Wait(Wait),
    /// When it sends more.
    End,
}

/// What all sessions have to go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The daemon stops: nobody is waited for any more in order to read.
    pub(super) is_hurried: bool,
    /// Somebody has looked through a history since the last delivery.
    pub(super) has_searched: bool,
}

/// Returns what comes first of what a session has sent, and how many bytes of it that is.
///
/// # Errors
/// What it has to wait for, or that there is nothing.
pub(super) fn look(dispatcher: &mut Dispatcher, id: SessionId, terms: Terms) -> Result<(Next, usize), Step> {
    let Terms { is_hurried, has_searched } = terms;
    let place = dispatcher.directory.place(id).ok_or(Step::End)?;
    let is_fresh = dispatcher.fresh.contains(&place.room);
    let directory = &mut dispatcher.directory;
    let unsent = directory.feed(id).and_then(|feed| feed.unsent(id)).ok_or(Step::End)?;
    let member = directory.member(id).ok_or(Step::End)?;
    let input = member.input.as_ref().ok_or(Step::End)?;
    let can_move = is_hurried || unsent <= MOST_PUT_ASIDE as u64;
    let has_read = is_hurried || member.is_broken || member.owed_bytes() <= MOST_UNREAD;
    let is_last = input.rest().is_empty() && input.end != End::No;
    if if input.is_telnet { !can_move } else { !has_read && !is_last } {
        return Err(Step::Wait(Wait::Reader));
    }
    if input.is_telnet || input.rest().is_empty() {
        return Ok((if input.is_telnet { Next::Telnet } else { Next::End }, 0));
    }
    let (next, bytes) = interpreter::next(input.rest(), member.is_named(), directory.limits.commands);
    let wait = match &next {
        Next::Ask(command) if command.moves() && !can_move => Some(Wait::Reader),
        Next::Ask(Command::Msg { to, .. }) if !is_hurried && has_had_enough(directory, id, to) => {
            Some(Wait::Quota)
        }
        Next::Ask(Command::Last(_)) if has_searched => Some(Wait::Turn),
        Next::Ask(Command::Sync(_)) if is_fresh && input.wait != Wait::Delivery => Some(Wait::Delivery),
        _ => None,
    };
    wait.map_or(Ok((next, bytes)), |wait| Err(Step::Wait(wait)))
}

/// Returns whether a private message to that member has to wait.
fn has_had_enough(directory: &Directory, from: SessionId, to: &str) -> bool {
    let target = commands::find(directory, to).ok().filter(|target| directory.quota.is_used_up(*target));
    let member = target.and_then(|target| directory.member(target));
    member.is_some_and(|member| !member.ignored.contains(&from))
}
