//! A session's turn: takes in what comes next of what it has sent, or says what that has to wait for.

use super::commands;
use super::control;
use super::directory::Directory;
use super::dispatcher::Dispatcher;
use super::feed::MOST_PUT_ASIDE;
use super::id::{Now, RoomId, SessionId};
use super::interpreter::{self, Next};
use super::nowhere;
use super::opening;
use super::orders;
use super::pending::{End, Wait};
use crate::protocol::{Command, Kind};

/// Most bytes owed to a session, beyond which chatd takes in nothing more from it until it reads.
const MOST_UNREAD: usize = 16 * 1024;

/// What became of a session's turn.
pub(super) enum Step {
    /// It goes on.
    Go,
    /// It goes on when it has waited for that.
    Wait(Wait),
    /// All that it has sent is taken in.
    Taken,
    /// There is nothing to take in.
    Nothing,
}

/// Takes in what comes first of what a session has sent. `is_hurried` if the daemon stops: then nobody is waited for in
/// order to read.
pub(super) fn take(dispatcher: &mut Dispatcher, id: SessionId, is_hurried: bool, now: Now) -> Step {
    let (next, bytes) = match look(dispatcher, id, is_hurried) {
        Ok(next) => next,
        Err(step) => return step,
    };
    let directory = &mut dispatcher.directory;
    let has_unread = directory.member(id).is_some_and(|member| member.owed_bytes() > MOST_UNREAD);
    let Some(input) = directory.input(id) else { return Step::Nothing };
    let text = input.take(bytes);
    if let Some(muted) = control::muted(directory, id, &next, now) {
        directory.notify(id, &muted);
        return Step::Go;
    }
    let Some(input) = directory.input(id) else { return Step::Nothing };
    let mut wait = None;
    match (next, text) {
        (Next::End, _) => return Step::Taken,
        (Next::Telnet, _) => {
            input.is_telnet = false;
            commands::end_lines_for_telnet(directory, id, now);
        }
        (Next::Say(lines), text) => directory.say(id, Kind::Message, text, lines, now),
        (Next::SayRest, mut text) => {
            text.remove(0);
            directory.say(id, Kind::Message, text, 1, now);
        }
        (Next::Refuse(notice), text) => {
            orders::log_refused(directory, id, &notice, &text);
            directory.notify(id, &notice);
        }
        (Next::Ask(Command::Quit), _) => input.quit(),
        // There is no time to wait until it has read the answers that it has.
        (Next::Ask(command), _) if command.is_question() && has_unread => {}
        (Next::Ask(Command::Operate), text) => nowhere::go(directory, id, &text, now),
        (Next::Ask(Command::Control(asked)), text) => {
            let line = String::from_utf8_lossy(text.trim_ascii_end());
            control::execute(dispatcher, id, asked, &line, now);
            wait = Some(Wait::Turn);
        }
        (Next::Ask(command), _) => {
            dispatcher.has_searched |= matches!(command, Command::Last(_));
            commands::execute(directory, id, command, now);
            wait = Some(Wait::Turn);
        }
    }
    let directory = &mut dispatcher.directory;
    let is_in_flight = directory.input(id).is_some_and(|input| input.wait == Wait::Place);
    wait.filter(|_| !is_in_flight).or(is_in_flight.then_some(Wait::Place)).map_or(Step::Go, Step::Wait)
}

/// Returns what comes first of what a session has sent, and how many bytes of it that is.
///
/// # Errors
/// What it has to wait for, or that there is nothing.
fn look(dispatcher: &mut Dispatcher, id: SessionId, is_hurried: bool) -> Result<(Next, usize), Step> {
    let has_searched = dispatcher.has_searched;
    let place = dispatcher.directory.place(id).ok_or(Step::Nothing)?;
    let is_fresh = dispatcher.fresh.contains(&place.room);
    let directory = &mut dispatcher.directory;
    let unsent = directory.feed(id).and_then(|feed| feed.unsent(id)).ok_or(Step::Nothing)?;
    let member = directory.member(id).ok_or(Step::Nothing)?;
    let input = member.input.as_ref().ok_or(Step::Nothing)?;
    let can_move = is_hurried || unsent <= MOST_PUT_ASIDE as u64;
    let has_read = is_hurried || member.is_broken || member.owed_bytes() <= MOST_UNREAD;
    let is_last = input.rest().is_empty() && input.end != End::No;
    if if input.is_telnet { !can_move } else { !has_read && !is_last } {
        return Err(Step::Wait(Wait::Reader));
    }
    if input.is_telnet || input.rest().is_empty() {
        return Ok((if input.is_telnet { Next::Telnet } else { Next::End }, 0));
    }
    let is_operator = || directory.operators.is_operator(id);
    let has_commands = directory.limits.commands;
    // In a pure relay, what a program of an operator passes on must not become a command.
    let may_control = || is_operator() && (has_commands || !member.has_spoken);
    let (next, bytes) = match place.room {
        RoomId::NOWHERE => interpreter::next_nowhere(input.rest(), is_operator),
        _ => interpreter::next(input.rest(), member.is_named(), has_commands, may_control),
    };
    let wait = match &next {
        Next::Ask(command) if command.moves() && !can_move => Some(Wait::Reader),
        Next::Ask(Command::Msg { to, .. }) if !is_hurried && has_had_enough(directory, id, to) => {
            Some(Wait::Quota)
        }
        Next::Ask(Command::Last(_)) if has_searched => Some(Wait::Turn),
        Next::Ask(Command::Sync(_)) if is_fresh && input.wait != Wait::Delivery => Some(Wait::Delivery),
        _ => None,
    };
    if wait.is_none() && directory.cluster.is_on && opening::is_awaited(directory, id, &next) {
        return Err(Step::Wait(Wait::Opened));
    }
    wait.map_or(Ok((next, bytes)), |wait| Err(Step::Wait(wait)))
}

/// Returns whether a private message to that member has to wait.
fn has_had_enough(directory: &Directory, from: SessionId, to: &str) -> bool {
    let target = commands::find(directory, to).ok().filter(|target| directory.quota.is_used_up(*target));
    let member = target.and_then(|target| directory.member(target));
    member.is_some_and(|member| !member.ignored().contains(&from))
}
