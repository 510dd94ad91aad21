//! The interpreter: what comes next of what a session has sent. Pure.

use memchr::{memchr, memchr_iter, memmem};

use crate::protocol::command::{self, Line, Spec};
use crate::protocol::{Answer, Command, disguise};

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// So many lines for everybody.
    Say(u32),
    /// A line for everybody, written with two slashes, without the first of them.
    SayRest,
    /// A command.
    Ask(Command),
    /// A line that nobody gets; its sender is told so.
    Refuse(Answer),
}

/// What comes first in `rest`, which is not empty, and how many bytes of it that is.
pub(super) fn next(rest: &[u8], is_named: bool) -> (Next, usize) {
    if !has_command(rest, is_named) {
        return all_lines(rest);
    }
    let (line, after) = first_line(rest);
    match command::read(line) {
        Line::Command(command) => (Next::Ask(command), after),
        Line::Refused(error) => (Next::Refuse(Answer::Refused(error)), after),
        Line::Unknown(word) if is_named => (Next::Refuse(Answer::Unknown(Spec::nearest(word))), after),
        // A script may say /usr/bin/foo failed, and many such lines at once.
        Line::Unknown(_) => lines_until(rest, |rest| {
            rest[0] == b'/' && !matches!(command::read(first_line(rest).0), Line::Unknown(_))
        }),
        Line::Text(text) if text.len() < line.len() => (Next::SayRest, after),
        Line::Text(_) if is_named => match disguise::find(line) {
            Some(disguised) => (Next::Refuse(Answer::Unknown(disguised.meant)), after),
            None => lines_until(rest, |rest| rest[0] == b'/' || disguise::find(first_line(rest).0).is_some()),
        },
        Line::Text(_) => lines_until(rest, |rest| rest[0] == b'/'),
    }
}

/// All of it, where there are no commands.
pub(super) fn all_lines(rest: &[u8]) -> (Next, usize) {
    (Next::Say(memchr_iter(b'\n', rest).count() as u32), rest.len())
}

/// Returns whether some of the lines may be commands.
fn has_command(text: &[u8], is_named: bool) -> bool {
    let has_slash = text.starts_with(b"/") || memmem::find(text, b"\n/").is_some();
    has_slash || (is_named && disguise::is_worth_a_look(text))
}

/// The first line, without its LF, and how many bytes it has with that.
fn first_line(rest: &[u8]) -> (&[u8], usize) {
    let end = memchr(b'\n', rest).unwrap_or(rest.len());
    (&rest[..end], rest.len().min(end + 1))
}

/// All lines up to the first that is not to be said.
fn lines_until(rest: &[u8], is_other: impl Fn(&[u8]) -> bool) -> (Next, usize) {
    let (mut end, mut lines) = (0, 0);
    while end < rest.len() && !is_other(&rest[end..]) {
        end += first_line(&rest[end..]).1;
        lines += 1;
    }
    (Next::Say(lines), end)
}
