//! `chatctl top`: numbers about chatd and the busiest connections, once a second, until told to stop.
//!
//! On a terminal they are drawn over each other, on the other screen, which is left however it ends. Elsewhere they are
//! printed one after the other.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use super::connection::{Connection, Next, Told};
use super::exit::{Failure, print, print_lines};
use super::show;
use super::table::Look;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(1);

/// The other screen, without a cursor; and back.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";

/// Rows where the terminal does not say how many it has.
const ROWS: usize = 24;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Screen,
    Lines,
    Objects,
}

/// Asks and shows until a signal says stop.
///
/// # Errors
/// Those of the questions, and the output cannot be written.
pub fn run(connection: &mut Connection, is_json: bool) -> Result<(), Failure> {
    let style = match is_json {
        true => Style::Objects,
        false if has_screen() => Style::Screen,
        false => Style::Lines,
    };
    if style == Style::Screen {
        print(OPEN)?;
    }
    let ended = refresh(connection, style);
    if style == Style::Screen {
        print(CLOSE)?;
    }
    ended
}

/// Returns what leaves the other screen, if it is used, for a process that has to end at once.
pub fn restore(is_drawn: bool) -> impl FnOnce() + Send + 'static {
    let has_screen = is_drawn && has_screen();
    move || {
        // Nobody is left to hear of it.
        let _ = if has_screen { print(CLOSE) } else { Ok(()) };
    }
}

fn has_screen() -> bool {
    io::stdout().is_terminal()
        && std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb"))
}

fn refresh(connection: &mut Connection, style: Style) -> Result<(), Failure> {
    loop {
        let started = Instant::now();
        let stats = connection.ask("/stats")?;
        let sessions = connection.ask("/sessions")?;
        draw(&stats, &sessions, style)?;
        // A chatd that is slow to answer is asked less often.
        let next = (started + EVERY).max(Instant::now() + started.elapsed());
        loop {
            match connection.next(Some(next))? {
                Next::Late => break,
                Next::Stop => return Ok(()),
                Next::Resized if style == Style::Screen => draw(&stats, &sessions, style)?,
                _ => {}
            }
        }
    }
}

fn draw(stats: &[Told], sessions: &[Told], style: Style) -> Result<(), Failure> {
    let look = Look::of_output();
    let mut lines = show::status(stats, false, look);
    lines.push(String::new());
    lines.extend(show::sessions(sessions, true, look));
    match style {
        Style::Screen => print(&screen(&lines, rows())),
        Style::Lines => print_lines(&[lines, vec![String::new()]].concat()),
        Style::Objects => print_lines(&[show::objects(stats), show::objects(sessions)].concat()),
    }
}

/// What draws lines over those before, as many as there are rows.
fn screen(lines: &[String], rows: usize) -> String {
    let lines: Vec<String> = lines.iter().take(rows).map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

fn rows() -> usize {
    let rows = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row.into());
    if rows == 0 { ROWS } else { rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_the_one_before_and_never_scrolls() {
        let lines = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(screen(&lines, 2), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
    }
}
