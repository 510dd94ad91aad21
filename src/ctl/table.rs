//! Tables that fit a terminal: what is too long for it ends with `…`.
//!
//! Cells are cleaned here, so nothing in them can do anything to a terminal. Only [`Look::of_output`] asks the system anything.

use std::io::{self, IsTerminal};

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::client::has_colours;
use crate::client::link::clean;
use crate::client::terminal::Terminal;

/// A column that may be cut keeps at least as many columns of the terminal.
const LEAST: usize = 6;

/// What stands between two columns.
const GAP: &str = "  ";

/// Where a table goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal; `None` for as many as are needed.
    pub columns: Option<usize>,
    /// Whether there are colours.
    pub has_colours: bool,
}

impl Look {
    /// How standard output is: `COLUMNS` says how wide tables are, then the terminal. Elsewhere they are as wide as they
    /// need to be.
    pub fn of_output() -> Self {
        let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let of_terminal = || io::stdout().is_terminal().then(|| Terminal::output().columns());
        let columns = set.filter(|columns| *columns > 0).or_else(of_terminal);
        Self { columns, has_colours: has_colours() }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    is_number: bool,
}

/// Returns a column of text, which may be cut.
pub const fn text(title: &'static str) -> Column {
    Column { title, is_number: false }
}

/// Returns a column of numbers, at the right, never cut.
pub const fn number(title: &'static str) -> Column {
    Column { title, is_number: true }
}

/// Rows of cells under titles.
#[derive(Debug)]
pub struct Table<'a> {
    columns: &'a [Column],
    /// Each with whether it stands out.
    rows: Vec<(Vec<String>, bool)>,
}

impl<'a> Table<'a> {
    /// A table without rows.
    pub fn new(columns: &'a [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column. An empty cell is shown as `-`.
    pub fn add(&mut self, cells: Vec<String>, stands_out: bool) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { one_line(&cell) };
        self.rows.push((cells.into_iter().map(shown).collect(), stands_out));
    }

    /// Returns the lines of the table, the titles first.
    pub fn lines(&self, look: Look) -> Vec<String> {
        let widths = self.widths(look.columns);
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let mut lines = vec![styled(self.line(&titles, &widths, look), "1", look)];
        for (cells, stands_out) in &self.rows {
            let line = self.line(cells, &widths, look);
            lines.push(if *stands_out { styled(line, "33", look) } else { line });
        }
        lines
    }

    /// The widths of the columns: those that they need, or less for text if there is no room.
    fn widths(&self, most: Option<usize>) -> Vec<usize> {
        let needed = |at: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(at));
            cells.map(|cell| cell.width()).max().unwrap_or(0).max(column.title.len())
        };
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(at, column)| needed(at, column)).collect();
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        while most.is_some_and(|most| widths.iter().sum::<usize>() + gaps > most) {
            let texts = self.columns.iter().zip(&mut widths).filter(|(column, _)| !column.is_number);
            let widest = texts.map(|(_, width)| width).max();
            match widest.filter(|width| **width > LEAST) {
                Some(width) => *width -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize], look: Look) -> String {
        let cell = |((column, cell), most): ((&Column, &String), &usize)| {
            let cell = cut(cell, *most);
            let blanks = " ".repeat(most.saturating_sub(cell.width()));
            if column.is_number { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") }
        };
        let cells: Vec<String> = self.columns.iter().zip(cells).zip(widths).map(cell).collect();
        fitted(cells.join(GAP).trim_end(), look)
    }
}

/// Returns text that fits a row of the terminal.
pub fn fitted(line: &str, look: Look) -> String {
    look.columns.map_or_else(|| line.to_owned(), |columns| cut(line, columns))
}

/// Returns text as a terminal can show it, without TABs.
pub fn one_line(text: &str) -> String {
    clean(text.as_bytes()).replace('\t', " ")
}

/// Returns text in a style, if there are colours; an SGR parameter says which.
pub fn styled(text: String, style: &str, look: Look) -> String {
    if look.has_colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text }
}

/// Cuts text to at most so many columns, with `…` at its end.
fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let mut cut = String::new();
    for cluster in text.graphemes(true) {
        if cut.width() + cluster.width() >= most {
            break;
        }
        cut.push_str(cluster);
    }
    if most > 0 { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [Column; 3] = [number("ID"), text("NAME"), text("ADDRESS")];

    fn lines(rows: &[[&str; 3]], columns: Option<usize>) -> Vec<String> {
        let mut table = Table::new(&COLUMNS);
        rows.iter().for_each(|row| table.add(row.map(str::to_owned).to_vec(), false));
        table.lines(Look { columns, has_colours: false })
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [["7", "ann", "192.0.2.1:4711"], ["1234", "", ""]];
        assert_eq!(
            lines(&rows, None),
            ["  ID  NAME  ADDRESS", "   7  ann   192.0.2.1:4711", "1234  -     -"]
        );
    }

    #[test]
    fn the_widest_text_is_cut_first_and_numbers_are_not() {
        let rows = [["1234567", "ann", "[2001:db8::1234:5678:9abc]:4711"]];
        assert_eq!(lines(&rows, Some(30))[1], "1234567  ann   [2001:db8::123…");
        assert_eq!(lines(&rows, Some(18)), ["     ID  NAME  AD…", "1234567  ann   [2…"]);
        assert_eq!(lines(&rows, Some(4)), ["   …", "123…"]);
        assert_eq!(lines(&rows, Some(0)), ["", ""]);
    }

    #[test]
    fn wide_characters_count_twice_and_stay_whole() {
        let rows = [["1", "漢漢漢漢漢漢", "x"]];
        assert_eq!(lines(&rows, Some(17))[1], " 1  漢漢…   x");
    }

    #[test]
    fn nothing_in_a_cell_drives_a_terminal() {
        let rows = [["1", "a\x1b]0;x\x07\tb\nc", "\u{9b}2J\u{202e}"]];
        assert_eq!(lines(&rows, None)[1], " 1  a^[]0;x^G b^Jc  \\u{9b}2J\\u{202e}");
    }

    #[test]
    fn titles_and_what_stands_out_have_a_colour() {
        let mut table = Table::new(&COLUMNS[..1]);
        table.add(vec!["7".to_owned()], true);
        let lines = table.lines(Look { columns: None, has_colours: true });
        assert_eq!(lines, ["\x1b[1mID\x1b[0m", "\x1b[33m 7\x1b[0m"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(cells in prop::array::uniform3(".{0,60}"), most in 0usize..100) {
            let cells = cells.each_ref().map(String::as_str);
            for line in lines(&[cells], Some(most)) {
                prop_assert!(line.width() <= most, "{line:?}");
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
