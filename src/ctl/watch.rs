//! `chatctl watch`: prints what is said in a room, or in all of them, until told to stop.

use super::connection::{Connection, Next, Told};
use super::exit::{Failure, print, unwritable};
use crate::client::render::Look;
use crate::client::terminal::{Row, Terminal};
use crate::protocol::{Notice, Object, Report, View};

/// Every room.
const ALL: &str = "*";

/// Prints what follows the answer to `/watch`, until a signal says stop.
///
/// # Errors
/// The connection is lost, or the output cannot be written.
pub fn run(connection: &mut Connection, told: &[Told], is_json: bool) -> Result<(), Failure> {
    let room = told.iter().filter_map(Told::report).find_map(|report| match report {
        Report::Watch { room } => Some(room.as_str()),
        _ => None,
    });
    let room = room.unwrap_or(ALL);
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
            Next::Resized | Next::Late => continue,
        };
        if is_json {
            print(&format!("{line}\n"))?;
        } else if let Ok(object) = serde_json::from_str(&line)
            && let Some(shown) = shown(&object, &line, room == ALL, &look)
        {
            terminal.add(&shown);
            terminal.paint(Row::default()).map_err(unwritable)?;
        }
    }
}

/// The line as it is shown; `None` for what is not.
fn shown(object: &Object<'_>, line: &str, has_room: bool, look: &Look) -> Option<String> {
    let shown = look.object(object, line, "")?.text;
    let has_time = !matches!(object, Object::Notice(_) | Object::Skipped { .. });
    let shown = if has_time { shown } else { look.text(&shown) };
    Some(match room_of(object).filter(|_| has_room) {
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
