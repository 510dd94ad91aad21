//! The interpreter: reads what comes next in the input of a session. Pure functions.

use memchr::{memchr, memchr_iter, memmem};

use crate::protocol::syntax::{self, Line, Spec};
use crate::protocol::{Command, Notice, control, disguise};

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// This number of lines for the room.
    Say(u32),
    /// A line for the room that begins with two slashes, without the first of them.
    SayRest,
    /// A command.
    Ask(Command),
    /// Nothing: the hub has taken all of it.
    End,
    /// The first telnet command, which comes before all lines.
    Telnet,
    /// A line that nobody gets, with the notice for its sender.
    Refuse(Notice),
}

/// Returns what comes first in `rest`, which must not be empty, and its length in bytes. Without `has_commands`, all of
/// it is lines. `is_operator` is asked only about a command for operators.
pub(super) fn next(
    rest: &[u8],
    is_named: bool,
    has_commands: bool,
    is_operator: impl Fn() -> bool,
) -> (Next, usize) {
    if !has_commands && control::begins_with_operate(rest) && is_operator() {
        return (Next::Ask(Command::Operate), first_line(rest).1);
    }
    if !has_commands || !has_command(rest, is_named) {
        return (Next::Say(memchr_iter(b'\n', rest).count() as u32), rest.len());
    }
    let (line, after) = first_line(rest);
    if is_named && syntax::read(line).is_control() && !is_operator() {
        return (Next::Refuse(Notice::NotOperator), after);
    }
    match read(line, &is_operator) {
        Line::Command(command) => (Next::Ask(command), after),
        Line::Refused(error) => (Next::Refuse(error.notice()), after),
        Line::Unknown(word) if is_named => (Next::Refuse(unknown(Spec::nearest(word))), after),
        // A script may say /usr/bin/foo failed, and many such lines at once.
        Line::Unknown(_) => lines_until(rest, |rest| {
            rest[0] == b'/' && !matches!(read(first_line(rest).0, &is_operator), Line::Unknown(_))
        }),
        Line::Text(text) if text.len() < line.len() => (Next::SayRest, after),
        Line::Text(_) if is_named => match disguise::find(line) {
            Some(disguised) => (Next::Refuse(unknown(disguised.meant)), after),
            None => lines_until(rest, |rest| rest[0] == b'/' || disguise::find(first_line(rest).0).is_some()),
        },
        Line::Text(_) => lines_until(rest, |rest| rest[0] == b'/'),
    }
}

/// Returns what comes first of an operator who is in no room, as [`next`] does: nothing goes to a room.
pub(super) fn next_nowhere(rest: &[u8], is_operator: impl Fn() -> bool) -> (Next, usize) {
    let (line, after) = first_line(rest);
    let next = match syntax::read(line) {
        // Not any more.
        _ if !is_operator() => Next::Refuse(Notice::NotOperator),
        Line::Command(command) if !command.needs_room() => Next::Ask(command),
        Line::Command(_) | Line::Text(_) => Next::Refuse(Notice::Nowhere),
        Line::Refused(error) => Next::Refuse(error.notice()),
        Line::Unknown(word) => Next::Refuse(unknown(Spec::nearest(word))),
    };
    (next, after)
}

/// Returns what a line is. A script that says what only operators can ask for goes on as before.
fn read<'l>(line: &'l [u8], is_operator: &impl Fn() -> bool) -> Line<'l> {
    match syntax::read(line) {
        read if read.is_control() && !is_operator() => Line::Unknown(""),
        read => read,
    }
}

/// Returns the notice for an unknown command, with the one that was probably meant.
fn unknown(meant: Option<&Spec>) -> Notice {
    Notice::UnknownCommand { nearest: meant.map(Spec::to_string) }
}

/// Returns whether some of the lines may be commands.
fn has_command(text: &[u8], is_named: bool) -> bool {
    let has_slash = text.starts_with(b"/") || memmem::find(text, b"\n/").is_some();
    has_slash || (is_named && disguise::is_worth_a_look(text))
}

/// Returns the first line without its LF, and its length in bytes with it.
fn first_line(rest: &[u8]) -> (&[u8], usize) {
    let end = memchr(b'\n', rest).unwrap_or(rest.len());
    (&rest[..end], rest.len().min(end + 1))
}

/// Returns all lines up to the first one for which `is_other` is true.
fn lines_until(rest: &[u8], is_other: impl Fn(&[u8]) -> bool) -> (Next, usize) {
    let (mut end, mut lines) = (0, 0);
    while end < rest.len() && !is_other(&rest[end..]) {
        end += first_line(&rest[end..]).1;
        lines += 1;
    }
    (Next::Say(lines), end)
}
