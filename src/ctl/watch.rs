//! `chatctl watch`: prints what is said in a room, or in all of them, until told to stop.
//!
//! Where chatctl could have no room of its own, it is a member of the first room. What it hears there and was not asked for
//! is not printed.

use super::connection::{Connection, Next, Told};
use super::exit::{Failure, print, unwritable};
use crate::client::render::Look;
use crate::client::terminal::{Row, Terminal};
use crate::protocol::{Name, Notice, Object, Report, View};

/// Every room.
const ALL: &str = "*";

/// Prints what follows the answer to `/watch`, until a signal says stop.
///
/// # Errors
/// The connection is lost, or the output cannot be written.
pub fn run(connection: &mut Connection, told: &[Told], is_json: bool) -> Result<(), Failure> {
    let room = told.iter().filter_map(Told::report).find_map(|report| match report {
        Report::Watch { room } => Some(room.clone()),
        _ => None,
    });
    let room = room.unwrap_or_else(|| ALL.to_owned());
    let look = Look { view: View::Names, times: true, has_colours: crate::client::has_colours() };
    let mut terminal = Terminal::output();
    loop {
        let line = match connection.next(None)? {
            Next::Told(told) => {
                // A crash ends what was heard.
                if told.notice == Some(Notice::Crashed) {
                    connection.say(&format!("/watch {room}"));
                }
                told.line
            }
            Next::Line(line) => line,
            Next::Stop => return Ok(()),
            Next::Synced(..) | Next::Resized | Next::Late => continue,
        };
        let Some(object) = serde_json::from_str(&line).ok().filter(|object| is_wanted(object, &room)) else {
            continue;
        };
        if is_json {
            print(&format!("{line}\n"))?;
        } else if let Some(shown) = shown(&object, &line, &room, &look) {
            terminal.add(&shown);
            terminal.paint(Row::default()).map_err(unwritable)?;
        }
    }
}

/// Whether an object is about that room, or about none.
fn is_wanted(object: &Object<'_>, room: &str) -> bool {
    room == ALL || room_of(object).is_none_or(|other| is_same(other, room))
}

/// Whether two names are those of one room, as chatd has it.
fn is_same(one: &str, other: &str) -> bool {
    let names = [one, other].map(Name::parse);
    one == other || matches!(names, [Ok(one), Ok(other)] if one.looks_like(&other))
}

/// The line as it is shown; `None` for what is not.
fn shown(object: &Object<'_>, line: &str, room: &str, look: &Look) -> Option<String> {
    let shown = look.object(object, line, "")?.text;
    let has_time = !matches!(object, Object::Notice(_) | Object::Skipped { .. });
    let shown = if has_time { shown } else { look.text(&shown) };
    Some(match room_of(object).filter(|_| room == ALL) {
        Some(room) => format!("[{}] {shown}", crate::client::link::clean(room.as_bytes())),
        None => shown,
    })
}

fn room_of<'a>(object: &'a Object<'_>) -> Option<&'a str> {
    match object {
        Object::Message(line) | Object::Emote(line) => Some(&line.room),
        Object::Join(change) | Object::Leave(change) | Object::Rename(change) => Some(&change.room),
        _ => None,
    }
}
